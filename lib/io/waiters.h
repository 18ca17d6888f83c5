/*
 * Coroutines that stand in a line until another one lets them go on: what locks and queues are made
 * of.
 *
 * A waiter lies on the stack that waits.  Who is let go is out of the line at once, so that nobody
 * is let go twice and nobody overtakes, and comes back from the loop.  If it is cancelled on that
 * way it will not take what it was let go for: `declined` hands that on.
 */
#ifndef TORNADO_IO_WAITERS_H
#define TORNADO_IO_WAITERS_H

#include "base/prefetch.h"
#include "io/ioloop.h"

/* Of a stack, beside the waiter on it: what td_coroutine_wait keeps, and those that have called. */
#define TD_WAITERS_BELOW (4 * TD_CACHE_LINE)
#define TD_WAITERS_ABOVE (28 * TD_CACHE_LINE)

#pragma GCC visibility push(hidden)

typedef struct td_waiters {
    td_list line;               /* of struct waiter, the first in front */
    td_list coming;             /* of those let go that are not back yet */
    void (*declined)(void *arg); /* NULL: nothing is lost */
    void *arg;
} td_waiters;

void td_waiters_init(td_waiters *waiters, void (*declined)(void *arg), void *arg);

/*
 * Stand at the end of the line, with something of one's own for whoever lets it go.  The code that
 * it was let go with, or TD_ETIMEDOUT; timeout_ms 0 waits for ever.
 */
int td_waiters_wait(td_waiters *waiters, void *own, int64_t timeout_ms);
int td_waiters_wait_until(td_waiters *waiters, void *own, int64_t deadline_ns); /* INT64_MAX: for ever */

static inline bool
td_waiters_any(const td_waiters *waiters)
{
    return !td_list_is_empty(&waiters->line);
}

/* Let the first go (there is one), with that code as the result of its wait; returns its own. */
void *td_waiters_release(td_waiters *waiters, int code);
void td_waiters_release_all(td_waiters *waiters, int code);

/* The same of one for a caller who calls td_waiters_resume before anything else runs. */
void td_waiters_release_here(td_waiters *waiters, int code);

/*
 * Whoever is the first in line, if anybody, will be let go soon: the stack that it goes on with is
 * on its way to the processor's caches while the kernel is asked.
 */
static inline void
td_waiters_expect(const td_waiters *waiters)
{
    td_prefetch((const char *)waiters->line.next - TD_WAITERS_BELOW,
                TD_WAITERS_BELOW + TD_WAITERS_ABOVE);
}

/*
 * The first of those let go, if any, comes back now and not in the next iteration.  On the loop's
 * stack, as the last thing that is done there: it may end what was waited for.
 */
void td_waiters_resume(td_waiters *waiters);

/*
 * For the public functions of whatever is made of waiters: false, and logged, when it is NULL or
 * this is no loop's thread; may_wait: also where one cannot wait and when the time is negative.
 */
bool td_waiters_are_usable(const void *what, const char *function);
bool td_waiters_may_wait(const void *what, int64_t timeout_ms, const char *function);

/* The end of what was waited for: lets all go with TD_ECLOSED. */
void td_waiters_fini(td_waiters *waiters);

#pragma GCC visibility pop

#endif
