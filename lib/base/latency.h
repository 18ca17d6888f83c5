/*
 * A histogram of durations with buckets at preferred numbers: 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.4, 8,
 * 10 and so on, from 1.25 us to 100 s.  So a quantile is told to a quarter at worst, and what is
 * told to others (1, 2, 5 of each decade) is exact.
 *
 * Finding the bucket is a look at two tables: the leading bits of the number lead to a cell that
 * holds at most one bound.
 */
#ifndef TORNADO_BASE_LATENCY_H
#define TORNADO_BASE_LATENCY_H

#include <stdint.h>
#include <tornado/abi.h>
#include "base/assert.h"

#define TD_LATENCY_BOUNDS 80
#define TD_LATENCY_BUCKETS (TD_LATENCY_BOUNDS + 1) /* the last: longer than the last bound */

#define TD_LATENCY_OCTAVE_MIN 10 /* 2^10 ns: below the first bound */
#define TD_LATENCY_OCTAVE_MAX 36 /* up to 2^37 ns: above the last one */
#define TD_LATENCY_CELLS ((TD_LATENCY_OCTAVE_MAX - TD_LATENCY_OCTAVE_MIN + 1) * 8)

/* In ns; bucket i counts what is at most bounds[i] and more than the one before. */
TD_PRIVATE extern const uint64_t td_latency_bounds[TD_LATENCY_BUCKETS]; /* the last: UINT64_MAX */

/* By the octave and the three bits behind the first: the bucket that the cell begins in. */
TD_PRIVATE extern uint8_t td_latency_cells[TD_LATENCY_CELLS];

TD_PRIVATE void td_latency_init(void); /* once, before the first td_latency_bucket */

#define TD_LATENCY_CELLS_BEFORE (TD_LATENCY_OCTAVE_MIN * 8 + 8)

static inline unsigned
td_latency_bucket(int64_t duration_ns)
{
    const uint64_t min = UINT64_C(1) << TD_LATENCY_OCTAVE_MIN, ns = (uint64_t)duration_ns;

    if (TD_UNLIKELY(ns - min >= (UINT64_C(2) << TD_LATENCY_OCTAVE_MAX) - min))
        return duration_ns < (int64_t)min ? 0 : TD_LATENCY_BOUNDS;
    const unsigned octave = 63 - (unsigned)__builtin_clzll(ns);
    const uint64_t leading = ns >> (octave - 3); /* 8..15 */
    const unsigned bucket = td_latency_cells[octave * 8 + leading - TD_LATENCY_CELLS_BEFORE];
    return bucket + (ns > td_latency_bounds[bucket]);
}

/*
 * The duration that `part` (0..1) of those counted do not exceed, in ns, taken as evenly spread
 * within a bucket; 0 when nothing was counted.  Beyond the last bound it is the last bound.
 */
TD_PRIVATE uint64_t td_latency_quantile(const uint64_t buckets[TD_LATENCY_BUCKETS], double part);

TD_PRIVATE uint64_t td_latency_count(const uint64_t buckets[TD_LATENCY_BUCKETS]);

#endif
