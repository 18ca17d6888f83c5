/*
 * A number of an author's, as <tornado/metrics.h> has it: here, below all, for those of us who count
 * for the author (connections to other servers) where a call is too much.
 */
#ifndef TORNADO_BASE_METRIC_H
#define TORNADO_BASE_METRIC_H

#include <stdint.h>
#include <tornado/metrics.h>

struct td_metric {
    const td_metric_info *info; /* NULL ends the list */
    const char *instance;
    const char *value; /* of its label; NULL: it has none */
    int64_t *number; /* where it is counted: its own, or what all workers see */
    int64_t own;
};

/* td_metric_add of a gauge, or of NULL, which does nothing. */
static inline void
td_metric_count(td_metric *gauge, int by)
{
    if (gauge != NULL)
        __atomic_add_fetch(gauge->number, by, __ATOMIC_RELAXED);
}

#endif
