/*
 * Waiting in straight-line code.
 *
 * Every handler method, hook, timer and callback runs on a coroutine, so each of these may be
 * called in any of them; the loop serves others meanwhile.  A wait may not return: when the request
 * is cancelled (request_timeout, the end of a drain, a client that left a class with
 * TD_CANCEL_ON_CLOSE) the coroutine unwinds there, running C++ destructors, cleanup variables
 * (compile with -fexceptions, as tornado.pc says) and td_defer actions.  errno is preserved.
 *
 * On a thread that is no loop, or outside a coroutine, they return TD_EINVAL and log it.
 */
#ifndef TORNADO_COROUTINE_H
#define TORNADO_COROUTINE_H

#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/future.h>
#include <tornado/ioloop.h>

/*
 * Wait for a future and take it over: the caller's reference is released.  Returns 0 and the
 * result, or the error it was resolved with.  One that is done already does not suspend.  NULL:
 * TD_EINVAL.
 */
TD_API int td_await(td_future *future, void **result_out);

/* Wait at least that long (0 waits for one iteration of the loop).  Returns 0. */
TD_API int td_sleep(int64_t duration_ms);

/*
 * Wait until fd is readable or writable (events: TD_READ | TD_WRITE).  Returns what it is ready
 * for, or TD_ETIMEDOUT, or -ENOMEM when the system does not watch it; timeout_ms 0 waits for ever.
 * One waiter a descriptor and direction.
 */
TD_API int td_wait_fd(int fd, int events, int64_t timeout_ms);

/*
 * Run fn(arg) on a coroutine of its own, from the next iteration on; it may outlive the request and
 * has an arena of its own.  Returns a future that resolves with NULL when fn returns and with
 * TD_ECANCELED when it is unwound; td_future_unref it when that does not matter.  td_future_cancel
 * unwinds it at its wait, at once or an iteration later; one that has just been woken goes on to
 * its next wait.  So whoever cancels it has to keep what it uses until it has ended.  The future
 * does not tell of that, for it is resolved by td_future_cancel itself: what fn gives to td_defer
 * first does, by td_event_set, say; if fn has begun, which one that is cancelled before does not.
 */
TD_API td_future *td_spawn(td_callback_fn *fn, void *arg);

/*
 * A future that resolves when all count futures (taken over; one that stands there twice, once)
 * have, in whatever order; its result is NULL.  results, when not NULL, gets the result of each in
 * input order when the whole is awaited or its result or error is asked for, and must live until
 * then. The first error in input order is the error of the whole; later ones are logged.
 */
TD_API td_future *td_gather(td_future *const *futures, size_t count, void **results);

/*
 * A future that resolves as `future` (taken over) does, or with TD_ETIMEDOUT after timeout_ms; the
 * other goes on and a later failure of it is logged.
 */
TD_API td_future *td_with_timeout(int64_t timeout_ms, td_future *future);

/*
 * A future that resolves as the first of these (taken over) that is done; the others go on, and a
 * later failure of theirs is logged.
 */
TD_API td_future *td_first(td_future *const *futures, size_t count);

/*
 * Several futures (taken over) in the order in which they end.  next waits for one that has not
 * been given yet and returns it, done, with its index in the list: the iterator's, until destroy.
 * NULL: all were given, of an empty list at once.  One coroutine at a time may wait in it; another is
 * told NULL, and logged.
 *
 *     while ((done = td_wait_iterator_next(iterator, &i)) != NULL)
 *         td_writef(h, "%zu: %s\n", i, td_strerror(td_future_error(done)));
 *
 * Where the loop may be left by td_raise or by cancellation, td_defer the destroy.
 */
typedef struct td_wait_iterator td_wait_iterator;

TD_API td_wait_iterator *td_wait_iterator_create(td_future *const *futures, size_t count);
TD_API td_future *td_wait_iterator_next(td_wait_iterator *iterator, size_t *index_out);
TD_API void td_wait_iterator_destroy(td_wait_iterator **iterator);

/*
 * Run fn(arg) when the current coroutine has ended, however it ended; the last one registered runs
 * first.  Waiting or raising in fn is misuse.
 */
TD_API int td_defer(td_callback_fn *fn, void *arg);

/* Between these, waits of the current coroutine are not unwound; pairs nest. */
TD_API void td_cancel_disable(void);
TD_API void td_cancel_enable(void);

#endif
