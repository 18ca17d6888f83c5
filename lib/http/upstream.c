#include "http/upstream.h"

#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/counters.h"
#include "io/iostream_internal.h"

td_upstream *
td_upstream_create(td_iostream *stream, td_str key)
{
    td_upstream *upstream = td_xcalloc(1, sizeof(*upstream) + key.len);

    upstream->stream = stream;
    upstream->key_len = key.len;
    memcpy(upstream->key, key.ptr, key.len);
    return upstream;
}

void
td_upstream_destroy(td_upstream **upstream)
{
    if (*upstream == NULL)
        return;
    td_iostream_destroy(&(*upstream)->stream);
    free(*upstream);
    *upstream = NULL;
}

static void
take_out(td_upstream *upstream)
{
    td_iostream_on_input(upstream->stream, NULL, NULL);
    td_list_remove(&upstream->link);
    td_deadline_stop(&upstream->deadline);
    upstream->kept_in->count--;
    td_gauge_add(&td_gauges->client_idle, -1);
}

static void
drop(void *arg)
{
    td_upstream *upstream = arg;

    take_out(upstream);
    td_upstream_destroy(&upstream);
}

static void
idle_expired(td_deadline *deadline)
{
    drop(TD_CONTAINER_OF(deadline, td_upstream, deadline));
}

void
td_upstreams_init(td_upstreams *kept, size_t max, size_t origin_max, int64_t idle_timeout_ms)
{
    *kept = (td_upstreams){.max = max, .origin_max = origin_max};
    td_list_init(&kept->idle);
    td_deadlines_init(&kept->deadlines, td_ioloop_current(), idle_timeout_ms, idle_expired);
}

static void
drop_oldest(td_upstreams *kept)
{
    drop(TD_CONTAINER_OF(kept->idle.next, td_upstream, link));
}

void
td_upstreams_fini(td_upstreams *kept)
{
    while (kept->count > 0)
        drop_oldest(kept);
    td_deadlines_fini(&kept->deadlines);
}

static bool
leads_to(const td_upstream *upstream, td_str key)
{
    return td_str_equal(td_str_make(upstream->key, upstream->key_len), key);
}

td_upstream *
td_upstreams_take(td_upstreams *kept, td_str key)
{
    for (td_list *link = kept->idle.prev, *older; link != &kept->idle; link = older) {
        td_upstream *upstream = TD_CONTAINER_OF(link, td_upstream, link);

        older = link->prev;
        if (!leads_to(upstream, key))
            continue;
        if (!td_iostream_is_quiet(upstream->stream)) {
            drop(upstream);
            continue;
        }
        take_out(upstream);
        return upstream;
    }
    return NULL;
}

static size_t
count_to(const td_upstreams *kept, td_str key)
{
    size_t count = 0;

    TD_LIST_FOREACH(link, &kept->idle)
        count += leads_to(TD_CONTAINER_OF(link, td_upstream, link), key);
    return count;
}

void
td_upstreams_keep(td_upstreams *kept, td_upstream *upstream)
{
    if (kept->max == 0 ||
        count_to(kept, td_str_make(upstream->key, upstream->key_len)) >= kept->origin_max) {
        td_upstream_destroy(&upstream);
        return;
    }
    if (kept->count == kept->max)
        drop_oldest(kept);
    upstream->was_kept = true;
    upstream->kept_in = kept;
    td_list_append(&kept->idle, &upstream->link);
    td_deadline_start(&kept->deadlines, &upstream->deadline, td_now_ns());
    td_iostream_on_input(upstream->stream, drop, upstream);
    kept->count++;
    td_gauge_add(&td_gauges->client_idle, 1);
}
