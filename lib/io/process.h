/* td_subprocess, as the daemon sees it. */
#ifndef TORNADO_IO_PROCESS_H
#define TORNADO_IO_PROCESS_H

#include <stddef.h>
#include <tornado/process.h>

/* How many may run at once in this process; default 64. */
TD_PRIVATE void td_processes_configure(size_t count_max);

TD_PRIVATE size_t td_processes_count(void); /* that run, those that nobody knows any more too */

#pragma GCC visibility push(hidden)

/* For td_ioloop_destroy: those that run still are killed. */
void td_processes_close(void);

#pragma GCC visibility pop

#endif
