/*
 * Coroutines that wait for each other (Tornado's tornado.locks).
 *
 * For what one worker's coroutines share; threads and other workers have nothing to do with these.
 * Who waits first is served first, and nobody who comes later overtakes: what is given back goes to
 * the one in front.  What was given to a coroutine that is then cancelled goes to the next.
 *
 * Made by load or the first request that needs it, kept in td_state; destroy when nobody waits (who
 * still does is woken with TD_ECLOSED).  On a thread without a loop, and with NULL, they return
 * TD_EINVAL and log it.
 *
 * timeout_ms: 0 waits for ever; when the time is up TD_ETIMEDOUT, and nothing was taken.
 */
#ifndef TORNADO_LOCKS_H
#define TORNADO_LOCKS_H

#include <stdbool.h>
#include <stdint.h>
#include <tornado/abi.h>

typedef struct td_lock td_lock;
typedef struct td_semaphore td_semaphore;
typedef struct td_condition td_condition;
typedef struct td_event td_event;

/* ---- td_lock: one at a time.  Not recursive: who has it and wants it again waits. */

TD_API td_lock *td_lock_create(void);
TD_API void td_lock_destroy(td_lock **lock);
TD_API int td_lock_acquire(td_lock *lock, int64_t timeout_ms); /* 0, or TD_ETIMEDOUT, TD_ECLOSED */
TD_API int td_lock_release(td_lock *lock); /* by whomever; TD_EINVAL when it is free */

/*
 * td_lock_acquire, and td_lock_release when the current coroutine ends, however it ends: with
 * td_raise and td_await in between this is the safe one.  It may release it earlier by itself.
 */
TD_API int td_lock_hold(td_lock *lock, int64_t timeout_ms);

/* ---- td_semaphore: `value` at a time (0..max); release beyond max (1..) is TD_EINVAL. */

TD_API td_semaphore *td_semaphore_create(int64_t value, int64_t max);
TD_API void td_semaphore_destroy(td_semaphore **semaphore);
TD_API int td_semaphore_acquire(td_semaphore *semaphore, int64_t timeout_ms);
TD_API int td_semaphore_release(td_semaphore *semaphore);
TD_API int td_semaphore_hold(td_semaphore *semaphore, int64_t timeout_ms); /* as td_lock_hold */

/*
 * ---- td_condition: wait until somebody says that something has changed.  0 when notified.  Who
 * does not wait yet hears nothing.
 */

TD_API td_condition *td_condition_create(void);
TD_API void td_condition_destroy(td_condition **condition);
TD_API int td_condition_wait(td_condition *condition, int64_t timeout_ms);
TD_API int td_condition_notify(td_condition *condition, unsigned count); /* of those in front */
TD_API int td_condition_notify_all(td_condition *condition);

/* ---- td_event: a flag, first unset; 0 at once while it is set. */

TD_API td_event *td_event_create(void);
TD_API void td_event_destroy(td_event **event);
TD_API int td_event_wait(td_event *event, int64_t timeout_ms);
TD_API int td_event_set(td_event *event); /* wakes all that wait now, even if cleared at once */
TD_API int td_event_clear(td_event *event);
TD_API bool td_event_is_set(const td_event *event);

#endif
