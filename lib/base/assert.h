/*
 * TD_ASSERT states an invariant of our own; it is always compiled in.  Never for what a peer sent.
 */
#ifndef TORNADO_BASE_ASSERT_H
#define TORNADO_BASE_ASSERT_H

#include <tornado/abi.h>

TD_PRIVATE TD_NORETURN void td_assert_failed(const char *text, const char *file, int line);

#define TD_ASSERT(condition)                                                                       \
    ((condition) ? (void)0 : td_assert_failed(#condition, __FILE__, __LINE__))

#define TD_LIKELY(x) __builtin_expect(!!(x), 1)
#define TD_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Of a function for failures: what leads to a call of it lies apart from what usually runs. */
#define TD_COLD __attribute__((cold))

#endif
