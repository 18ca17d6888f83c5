/*
 * A child of fork has every descriptor of the master, also the ends of its siblings' channels,
 * whose closing is how they learn that the master has gone.
 */
#include "daemon/descriptors.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

static int
compare_numbers(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

void
descriptors_close_others(int *keep, size_t count)
{
    unsigned from = STDERR_FILENO + 1;

    qsort(keep, count, sizeof(*keep), compare_numbers);
    for (size_t i = 0; i < count; i++) {
        if (keep[i] < (int)from)
            continue;
        if ((unsigned)keep[i] > from)
            close_range(from, (unsigned)keep[i] - 1, 0);
        from = (unsigned)keep[i] + 1;
    }
    close_range(from, UINT_MAX, 0);
}
