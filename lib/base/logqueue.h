/*
 * A worker's lines on their way to the log: they wait in a ring for a thread that writes them, so
 * that no disk and no reader holds up whoever logs.  What does not fit is dropped and counted; one
 * line each 10 s tells how many.  A target that comes back gets what waits.
 */
#ifndef TORNADO_BASE_LOGQUEUE_H
#define TORNADO_BASE_LOGQUEUE_H

#include <tornado/error.h>
#include "base/ring.h"

/* Once in a process, after its last fork; the ring outlives it. */
TD_PRIVATE int td_logqueue_start(td_ring *ring, td_err *err);

/*
 * Write what waits, for at most two seconds; lines go to the target itself again.  What the target
 * does not take stays in the ring.
 */
TD_PRIVATE void td_logqueue_stop(void);

/*
 * What a dead process left in its ring, without waiting; what the target does not take is lost, and
 * counted.  What is added meanwhile, by one that it has forked, is left alone.
 */
TD_PRIVATE void td_logqueue_inherit(td_ring *ring);

#endif
