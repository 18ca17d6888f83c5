/* The loop of a worker, and what lives on it whether anybody asks or not, as the settings say. */
#ifndef TORNADO_WEB_WORKERLOOP_H
#define TORNADO_WEB_WORKERLOOP_H

#include <tornado/error.h>
#include "base/settings.h"
#include "io/ioloop.h"

/* workers_count: those that share the memory of this machine, for `memory = auto`. */
TD_PRIVATE int td_workerloop_open(const td_configuration *configuration, size_t workers_count,
                                  td_ioloop **out, td_err *err);
/*
 * What td_workerloop_open will use of these settings and cannot: the key in [tornadod], and
 * TD_ECONFIG in err.  NULL: nothing.  Wants no loop.
 */
TD_PRIVATE const char *td_workerloop_find_fault(const td_configuration *configuration, td_err *err);

TD_PRIVATE void td_workerloop_close(td_ioloop **loop);

/* There are so many now.  Who has more than its share keeps it, and gets no more until it has less. */
TD_PRIVATE void td_workerloop_share_memory(const td_configuration *configuration,
                                           size_t workers_count);

#endif
