/*
 * td_census: how many of something each address has, for limits; memory only for those that have
 * any.
 */
#ifndef TORNADO_BASE_CENSUS_H
#define TORNADO_BASE_CENSUS_H

#include <stddef.h>
#include <tornado/str.h>
#include "base/table.h"

#pragma GCC visibility push(hidden)

typedef struct td_census {
    td_table counts;
} td_census;

void td_census_init(td_census *census);
void td_census_fini(td_census *census);

/* address: bytes, 16 at most; the empty one (a unix socket) is nobody's and is not counted. */
void td_census_add(td_census *census, td_str address);
void td_census_remove(td_census *census, td_str address); /* harmless for one that was not added */
size_t td_census_count(const td_census *census, td_str address);

#pragma GCC visibility pop

#endif
