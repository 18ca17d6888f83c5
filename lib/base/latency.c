#include "base/latency.h"

#define DECADE(us)                                                                                 \
    (us)*1250, (us)*1600, (us)*2000, (us)*2500, (us)*3200, (us)*4000, (us)*5000, (us)*6400,        \
        (us)*8000, (us)*10000

const uint64_t td_latency_bounds[TD_LATENCY_BUCKETS] = {
    DECADE(UINT64_C(1)),       DECADE(UINT64_C(10)),      DECADE(UINT64_C(100)),
    DECADE(UINT64_C(1000)),    DECADE(UINT64_C(10000)),   DECADE(UINT64_C(100000)),
    DECADE(UINT64_C(1000000)), DECADE(UINT64_C(10000000)), UINT64_MAX};

uint8_t td_latency_cells[TD_LATENCY_CELLS];

void
td_latency_init(void)
{
    unsigned bucket = 0;

    for (unsigned cell = 0; cell < TD_LATENCY_CELLS; cell++) {
        const unsigned octave = TD_LATENCY_OCTAVE_MIN + cell / 8;
        const uint64_t least = (uint64_t)(8 + cell % 8) << (octave - 3);

        while (bucket < TD_LATENCY_BOUNDS && td_latency_bounds[bucket] < least)
            bucket++;
        td_latency_cells[cell] = (uint8_t)bucket;
    }
}

uint64_t
td_latency_count(const uint64_t buckets[TD_LATENCY_BUCKETS])
{
    uint64_t count = 0;

    for (unsigned i = 0; i < TD_LATENCY_BUCKETS; i++)
        count += buckets[i];
    return count;
}

uint64_t
td_latency_quantile(const uint64_t buckets[TD_LATENCY_BUCKETS], double part)
{
    const double wanted = part * (double)td_latency_count(buckets);
    double before = 0;

    if (wanted == 0)
        return 0;
    for (unsigned i = 0; i < TD_LATENCY_BOUNDS; i++) {
        const double low = i > 0 ? (double)td_latency_bounds[i - 1] : 0;
        const double count = (double)buckets[i];
        if (before + count >= wanted)
            return (uint64_t)(low + ((double)td_latency_bounds[i] - low) * (wanted - before) / count);
        before += count;
    }
    return td_latency_bounds[TD_LATENCY_BOUNDS - 1];
}
