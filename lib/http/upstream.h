/*
 * Connections to servers that are kept for the next request, by where they lead.
 *
 * What comes while one is kept, the end or bytes that nobody has asked for, makes it useless: the
 * loop tells of it, and what came since the last poll is looked for where there was none yet.
 *
 * One that is used again at once finds its buffers as they were.  One that nobody wants for a moment
 * gives them back: it then costs some 700 bytes, whatever it has carried.
 */
#ifndef TORNADO_HTTP_UPSTREAM_H
#define TORNADO_HTTP_UPSTREAM_H

#include <stdbool.h>
#include <tornado/iostream.h>
#include "base/list.h"
#include "base/metric.h"
#include "base/table.h"
#include "http/responsehead.h"
#include "io/ioloop.h"

#pragma GCC visibility push(hidden)

/*
 * Where the server has said how long it keeps it, it is of no use a little earlier, so that a request
 * does not meet its end on the way: that much, and half of the time where that is less.
 */
#define TD_UPSTREAM_MARGIN_MS 1000
#define TD_UPSTREAM_WARM_MS 1000 /* with its buffers; less where it is not kept for twice as long */

typedef struct td_upstreams {
    td_deadlines warm; /* all of them, the one used last behind the others; first these, ... */
    td_deadlines idle; /* ... then those that have no buffers any more, which are older */
    td_table leads;    /* of struct lead, by key */
    struct lead *latest; /* the one that was asked for last; NULL: none, or it has gone */
    size_t count, max, origin_max;
    int64_t lifetime_ns; /* INT64_MAX: any */
    size_t given_back;   /* bytes, since the heap was told */
} td_upstreams;

typedef struct td_upstream {
    td_deadline deadline; /* among all that are as warm */
    td_list lead_link;    /* among those that lead there */
    td_upstreams *kept_in;
    struct lead *lead; /* NULL: it was never kept */
    td_iostream *stream;
    bool was_kept; /* it has served before */
    int idle_max_s;        /* for which its server keeps it; 0: unknown.  Set by whoever keeps it */
    int64_t dies_ns;       /* since it was kept first: when its time is over */
    int64_t good_until_ns; /* while it is kept */
    td_metric *open_gauge, *kept_gauge; /* that it counts in; NULL: none */
    size_t key_len;
    char key[]; /* where it leads */
} td_upstream;

/*
 * max of them, of which origin_max may have the same key; idle for so long, at least 2 ms.
 * lifetime_ms, since each was kept first: who is always busy would never ask for the name again.
 * 0: any.
 */
void td_upstreams_init(td_upstreams *kept, size_t max, size_t origin_max, int64_t idle_timeout_ms,
                       int64_t lifetime_ms);
void td_upstreams_fini(td_upstreams *kept);

/*
 * The one that was used last of those that lead there, the caller's from now on; NULL: none.
 * now_ns: what td_clock_ns has just said.
 */
td_upstream *td_upstreams_take(td_upstreams *kept, td_str key, int64_t now_ns);

/*
 * Takes it over.  When there are too many to the same place it goes, when there are too many the
 * oldest.
 */
void td_upstreams_keep(td_upstreams *kept, td_upstream *upstream);

/* The last head from where it leads; NULL: it was never kept, and neither is that. */
td_response_known *td_upstream_known(const td_upstream *upstream);

td_upstream *td_upstream_create(td_iostream *stream, td_str key); /* takes the stream over */
void td_upstream_count(td_upstream *upstream, td_metric *open_gauge, td_metric *kept_gauge);
void td_upstream_destroy(td_upstream **upstream);                 /* NULL inside is harmless */

#pragma GCC visibility pop

#endif
