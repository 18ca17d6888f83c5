/*
 * What the worker is doing right now, written where the master can read it after a crash.
 *
 * The coroutine layer stores the activity of whatever it resumes, so the cost is a few stores a
 * request.  td_activity_slot points at a private dummy until the worker points it at its slot of
 * the scoreboard.
 */
#ifndef TORNADO_BASE_ACTIVITY_H
#define TORNADO_BASE_ACTIVITY_H

#include <stdint.h>
#include <tornado/abi.h>

typedef struct td_activity {
    uint32_t instance;   /* 1-based index of the handler instance in the manifest; 0: none */
    uint32_t route;      /* 1-based index of the route in that instance; 0: a hook or a timer */
    uint64_t request_no; /* number of the request in this worker, from 1; 0: none */
} td_activity;

TD_PRIVATE extern volatile td_activity *td_activity_slot;

static inline void
td_activity_set(const td_activity *activity)
{
    td_activity_slot->instance = activity->instance;
    td_activity_slot->route = activity->route;
    td_activity_slot->request_no = activity->request_no;
}

#endif
