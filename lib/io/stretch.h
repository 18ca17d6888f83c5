/*
 * Stretches: how long the code of a handler held the loop without a wait (Tornado's slow
 * callbacks).
 *
 * A stretch begins when the clock was last read on the loop's thread, which is as good as when the
 * handler was called, and ends where the clock is read anyway (a request that is answered in one go
 * is logged then), or when a coroutine that has waited, or is nobody's request, gives the loop
 * back.  So a plain request costs a comparison.
 *
 * Within one tick of the kernel's clock since the loop has polled nothing can have been long, and
 * a coroutine that gives the loop back is not timed: to the next stretch that is timed this adds
 * less than a tick.
 */
#ifndef TORNADO_IO_STRETCH_H
#define TORNADO_IO_STRETCH_H

#include <stdint.h>
#include <tornado/abi.h>
#include "base/assert.h"
#include "base/clock.h"

/*
 * owner: as in td_coroutine_task, NULL for nobody's; module: whose code it was; both may be NULL.
 */
typedef void td_stretch_fn(const void *owner, const char *module, int64_t duration_ns);

TD_PRIVATE extern int64_t td_stretch_max_ns; /* longer ones are told; INT64_MAX, the default: none */
TD_PRIVATE extern td_stretch_fn *td_stretch_tell; /* set before td_stretch_max_ns is */

/* So much longer than a tick is what one may take. */
#define TD_STRETCH_COARSE_NS (50 * TD_NS_PER_MS)

/* Nothing that ran since the loop has polled can have taken too long. */
static inline bool
td_stretch_is_short(void)
{
    return td_stretch_max_ns >= TD_STRETCH_COARSE_NS && td_clock_is_same_tick();
}

/* It ends now. */
static inline void
td_stretch_end(int64_t now_ns, const void *owner, const char *module)
{
    const int64_t duration_ns = now_ns - td_clock_read_ns;

    td_clock_read_ns = now_ns;
    if (TD_UNLIKELY(duration_ns > td_stretch_max_ns))
        td_stretch_tell(owner, module, duration_ns);
}

#endif
