/* td_executor, as the daemon sees it. */
#ifndef TORNADO_IO_EXECUTOR_H
#define TORNADO_IO_EXECUTOR_H

#include <stddef.h>
#include <tornado/abi.h>
#include <tornado/executor.h>
#include "base/activity.h"

typedef struct td_executor_options { /* of a worker's own executor */
    unsigned threads_max; /* 1..1024 */
    size_t queue_max;
} td_executor_options;

/* Before the first job of this thread's loop. */
TD_PRIVATE void td_executor_configure(const td_executor_options *options);

/*
 * Jobs of this thread's loop that wait or run; after the loop's end those that it could not wait
 * for.
 */
TD_PRIVATE size_t td_executor_jobs(void);

/*
 * What the job of the calling thread is for; NULL: it runs none.  A fatal-signal handler may ask.
 */
TD_PRIVATE const td_activity *td_executor_activity(void);

#pragma GCC visibility push(hidden)

/*
 * For td_ioloop_destroy: jobs that run get a moment to end, before anything else; the rest, at
 * last.
 */
void td_executors_stop(void);
void td_executors_close(void);

#pragma GCC visibility pop

#endif
