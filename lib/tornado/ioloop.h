/*
 * The loop of the worker, for handlers: later, again and again, when a descriptor is ready.
 *
 * Functions given here run on a coroutine of their own, so td_await and its kin work in them, and
 * always from the loop: never inside the call that registers them.  Only td_add_callback may be
 * called from another thread; the others return TD_EINVAL (or NULL) there and log it.
 */
#ifndef TORNADO_IOLOOP_H
#define TORNADO_IOLOOP_H

#include <stdint.h>
#include <tornado/abi.h>

typedef struct td_ioloop td_ioloop;
typedef struct td_timeout td_timeout;
typedef struct td_periodic td_periodic;

typedef void td_callback_fn(void *arg);
typedef void td_fd_fn(int fd, int events, void *arg);

#define TD_READ 1
#define TD_WRITE 2

/* The loop of the calling thread, NULL where there is none. */
TD_API td_ioloop *td_ioloop_current(void);

/* Milliseconds of the monotonic clock, as of this iteration: what td_call_at counts in. */
TD_API int64_t td_ioloop_time_ms(void);

/*
 * Run fn(arg) in the next iteration, first come first served.  Thread-safe.  Returns 0; when the
 * loop is closing, or has ended, the callback is dropped.
 */
TD_API int td_add_callback(td_ioloop *loop, td_callback_fn *fn, void *arg);

/*
 * Run fn(arg) once, not before delay_ms (0..) from now / not before td_ioloop_time_ms() reaches
 * deadline_ms.  Due timers run in the order of their deadlines.  The result is for
 * td_remove_timeout alone, and may be kept for ever: to remove one whose fn has started, or one
 * that was removed before, does nothing.
 */
TD_API td_timeout *td_call_later(td_ioloop *loop, int64_t delay_ms, td_callback_fn *fn, void *arg);
TD_API td_timeout *td_call_at(td_ioloop *loop, int64_t deadline_ms, td_callback_fn *fn, void *arg);
TD_API void td_remove_timeout(td_ioloop *loop, td_timeout *timeout); /* NULL is harmless */

/*
 * Call fn(fd, events, arg) whenever fd is ready for events (TD_READ, TD_WRITE).  A second
 * td_add_handler for the same fd returns TD_EEXISTS; update of an unknown one TD_ENOTFOUND; remove
 * of an unknown one does nothing.  The next call of fn comes after the one before has returned.
 * The descriptor stays yours: remove it before closing.
 */
TD_API int td_add_handler(td_ioloop *loop, int fd, int events, td_fd_fn *fn, void *arg);
TD_API int td_update_handler(td_ioloop *loop, int fd, int events);
TD_API void td_remove_handler(td_ioloop *loop, int fd);

/*
 * PeriodicCallback: fn(arg) every period_ms (1..), first one period after the start; when late it
 * skips and does not burst, and it never runs beside itself.  jitter 0.0..1.0 spreads each period
 * by that share.  destroy stops it, from inside fn too; NULL is harmless.
 */
TD_API td_periodic *td_periodic_create(td_callback_fn *fn, void *arg, int64_t period_ms,
                                       double jitter);
TD_API void td_periodic_start(td_periodic *periodic);
TD_API void td_periodic_stop(td_periodic *periodic);
TD_API void td_periodic_destroy(td_periodic **periodic);

#endif
