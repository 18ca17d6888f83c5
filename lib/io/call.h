/* What the functions of <tornado/...> here have in common: complaints, and the loop's end. */
#ifndef TORNADO_IO_CALL_H
#define TORNADO_IO_CALL_H

#include <stdbool.h>
#include <stdint.h>
#include "base/assert.h"
#include "io/coroutine.h"

#pragma GCC visibility push(hidden)

/* Log "function: text" under the name of the handler that runs; returns TD_EINVAL. */
TD_COLD int td_misuse(const char *function, const char *text);

/* False, and logged, on a thread that has no loop. */
bool td_is_on_loop(const char *function);

/* False, and logged, where one cannot wait. */
bool td_is_on_coroutine(const char *function);

/* libev asserts that a descriptor is open when it is first watched; a handler's may not be. */
bool td_is_open(int fd);

/*
 * The monotonic clock in so many milliseconds (0..) from now, in ns.  From now and not from the
 * start of the iteration, or what a handler computed before would make its timer early.  A time
 * that no worker lives to see stands for those that do not fit.
 */
int64_t td_deadline_in_ms(int64_t delay_ms);

/* What is left until then, as a time-out: 1.. ms, 0 (for ever) for INT64_MAX, or TD_ETIMEDOUT. */
int64_t td_time_left_ms(int64_t deadline_ns);

/*
 * For td_coroutine_task.ended of what a handler registered: a failure is that of the request for
 * which it did, or ends in the log.
 */
void td_call_ended(const td_coroutine_task *task, td_coroutine_end end, const char *what);

/* True when somebody may still look at how it ends. */
bool td_future_is_wanted(const td_future *future);

/* For td_ioloop_destroy: let go of what handlers have registered or combined. */
void td_calls_close(td_ioloop *loop);
void td_futures_close(void);

/* Set by the upper layers: end the request of that activity with an error; false: it is over. */
extern bool (*td_call_failed)(const td_activity *activity);

#pragma GCC visibility pop

#endif
