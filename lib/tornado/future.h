/*
 * td_future: the result of something that ends later; Tornado's Future.
 *
 * Reference counted, used on the loop's thread.  Set once.  Done-callbacks run from the loop in the
 * order of registration, each on a coroutine, also when added after the completion.  A failure that
 * nobody has looked at when the last reference goes is logged.
 */
#ifndef TORNADO_FUTURE_H
#define TORNADO_FUTURE_H

#include <stdbool.h>
#include <tornado/abi.h>

typedef struct td_future td_future;
typedef void td_future_fn(td_future *future, void *arg);

TD_API td_future *td_future_create(void); /* one reference, the caller's */
TD_API td_future *td_future_ref(td_future *future);
TD_API void td_future_unref(td_future *future); /* NULL is harmless */

/* Resolve it; a second time returns TD_EINVAL, unless it was cancelled (then it is ignored: 0). */
TD_API int td_future_set_result(td_future *future, void *result);
TD_API int td_future_set_error(td_future *future, int error); /* error < 0 */

/*
 * Resolve with TD_ECANCELED and tell whoever works on it (see on_cancel), who may need a while to
 * end: see td_spawn.  False: it was done already.
 */
TD_API bool td_future_cancel(td_future *future);

/* fn(future, arg) is called once, from td_future_cancel; for whoever will set the result. */
TD_API void td_future_on_cancel(td_future *future, td_future_fn *fn, void *arg);

TD_API bool td_future_is_done(const td_future *future);
TD_API void *td_future_result(td_future *future); /* before it is done: NULL and a log line */
TD_API int td_future_error(td_future *future);    /* 0 when it succeeded; before: TD_EINVAL */

/* fn(future, arg) once, when it is done; the caller keeps its reference.  0 or TD_EINVAL. */
TD_API int td_future_add_done_callback(td_future *future, td_future_fn *fn, void *arg);

#endif
