/*
 * Memory that will be wanted soon comes while something else is done.  With many connections
 * nothing of one is in the processor's caches any more when its turn is there.
 */
#ifndef TORNADO_BASE_PREFETCH_H
#define TORNADO_BASE_PREFETCH_H

#include <stddef.h>

#define TD_CACHE_LINE 64

/* Whatever lies there is not looked at, and nothing need lie there. */
static inline __attribute__((always_inline)) void
td_prefetch(const void *memory, size_t size)
{
#pragma GCC unroll 32
    for (size_t i = 0; i < size; i += TD_CACHE_LINE)
        __builtin_prefetch((const char *)memory + i, 1);
}

#endif
