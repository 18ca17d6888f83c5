#include "http/upstream.h"

#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/counters.h"
#include "io/iostream.h"

/*
 * Where connections lead that were kept; it lives as long as one of them, so it is not made each
 * time.
 */
struct lead {
    td_list idle;
    size_t idle_count, upstreams_count;
    td_upstreams *kept;
    td_response_known known;
    td_str key; /* behind this struct */
};

/* ---- where they lead */

static struct lead *
lead_join(td_upstreams *kept, const td_upstream *upstream)
{
    const td_str key = td_str_make(upstream->key, upstream->key_len);
    struct lead *lead = td_table_get(&kept->leads, key);

    if (lead == NULL) {
        lead = td_xcalloc(1, sizeof(*lead) + key.len);
        td_list_init(&lead->idle);
        lead->kept = kept;
        lead->key = td_str_make(memcpy(lead + 1, key.ptr, key.len), key.len);
        td_table_set(&kept->leads, lead->key, lead);
    }
    lead->upstreams_count++;
    return lead;
}

static void
lead_leave(struct lead *lead)
{
    if (lead == NULL || --lead->upstreams_count > 0)
        return;
    if (lead->kept->latest == lead)
        lead->kept->latest = NULL;
    td_table_remove(&lead->kept->leads, lead->key);
    td_response_known_release(&lead->known);
    free(lead);
}

static struct lead *
lead_find(td_upstreams *kept, td_str key)
{
    if (kept->latest == NULL || !td_str_equal(kept->latest->key, key))
        kept->latest = td_table_get(&kept->leads, key);
    return kept->latest;
}

/* ---- connections */

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
td_upstream_count(td_upstream *upstream, td_metric *open_gauge, td_metric *kept_gauge)
{
    upstream->open_gauge = open_gauge;
    upstream->kept_gauge = kept_gauge;
    td_metric_count(open_gauge, 1);
}

void
td_upstream_destroy(td_upstream **upstream)
{
    if (*upstream == NULL)
        return;
    td_metric_count((*upstream)->open_gauge, -1);
    td_iostream_destroy(&(*upstream)->stream);
    lead_leave((*upstream)->lead);
    free(*upstream);
    *upstream = NULL;
}

td_response_known *
td_upstream_known(const td_upstream *upstream)
{
    return upstream->lead != NULL ? &upstream->lead->known : NULL;
}

static void
take_out(td_upstream *upstream)
{
    td_iostream_on_input(upstream->stream, NULL, NULL);
    td_deadline_stop(&upstream->deadline);
    td_list_remove(&upstream->lead_link);
    upstream->lead->idle_count--;
    upstream->kept_in->count--;
    td_gauge_add(&td_gauges->client_idle, -1);
    td_metric_count(upstream->kept_gauge, -1);
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

/*
 * Its buffers lie between small things that stay, and each is too small for the heap to notice that
 * it is given back.
 */
static void
warm_expired(td_deadline *deadline)
{
    td_upstream *upstream = TD_CONTAINER_OF(deadline, td_upstream, deadline);
    td_upstreams *kept = upstream->kept_in;

    td_deadline_start(&kept->idle, deadline, td_now_ns());
    kept->given_back += td_iostream_give_back(upstream->stream);
    if (kept->given_back < TD_LARGE)
        return;
    td_note_large(kept->given_back);
    kept->given_back = 0;
}

void
td_upstreams_init(td_upstreams *kept, size_t max, size_t origin_max, int64_t idle_timeout_ms,
                  int64_t lifetime_ms)
{
    const int64_t half_ms = idle_timeout_ms / 2;
    const int64_t warm_ms = half_ms < TD_UPSTREAM_WARM_MS ? half_ms : TD_UPSTREAM_WARM_MS;

    *kept = (td_upstreams){
        .max = max,
        .origin_max = origin_max,
        .lifetime_ns = lifetime_ms > 0 ? lifetime_ms * TD_NS_PER_MS : INT64_MAX,
    };
    td_table_init(&kept->leads);
    td_deadlines_init(&kept->warm, td_ioloop_current(), warm_ms, warm_expired);
    td_deadlines_init(&kept->idle, td_ioloop_current(), idle_timeout_ms - warm_ms, idle_expired);
}

static void
drop_oldest(td_upstreams *kept)
{
    const td_list *oldest =
        td_list_is_empty(&kept->idle.head) ? kept->warm.head.next : kept->idle.head.next;

    idle_expired(TD_CONTAINER_OF(oldest, td_deadline, link));
}

void
td_upstreams_fini(td_upstreams *kept)
{
    while (kept->count > 0)
        drop_oldest(kept);
    td_deadlines_fini(&kept->warm);
    td_deadlines_fini(&kept->idle);
    td_table_fini(&kept->leads);
}

td_upstream *
td_upstreams_take(td_upstreams *kept, td_str key, int64_t now_ns)
{
    struct lead *lead = lead_find(kept, key);
    size_t left = lead != NULL ? lead->idle_count : 0;

    while (left-- > 0) {
        td_upstream *upstream = TD_CONTAINER_OF(lead->idle.prev, td_upstream, lead_link);

        if (now_ns < upstream->good_until_ns && td_iostream_is_quiet(upstream->stream, now_ns)) {
            take_out(upstream);
            return upstream;
        }
        drop(upstream); /* with the last one the lead may go, too */
    }
    return NULL;
}

static void
join(td_upstreams *kept, td_upstream *upstream)
{
    upstream->lead = lead_join(kept, upstream);
    upstream->dies_ns =
        kept->lifetime_ns < INT64_MAX ? td_now_ns() + kept->lifetime_ns : INT64_MAX;
}

static int64_t
server_keeps_until(const td_upstream *upstream)
{
    const int64_t idle_ms = upstream->idle_max_s * INT64_C(1000);
    const int64_t margin_ms =
        idle_ms / 2 < TD_UPSTREAM_MARGIN_MS ? idle_ms / 2 : TD_UPSTREAM_MARGIN_MS;

    return td_now_ns() + (idle_ms - margin_ms) * TD_NS_PER_MS;
}

void
td_upstreams_keep(td_upstreams *kept, td_upstream *upstream)
{
    if (upstream->lead == NULL)
        join(kept, upstream);
    if (kept->max == 0 || upstream->lead->idle_count >= kept->origin_max) {
        td_upstream_destroy(&upstream);
        return;
    }
    if (kept->count == kept->max)
        drop_oldest(kept);
    upstream->was_kept = true;
    upstream->kept_in = kept;
    upstream->good_until_ns = upstream->dies_ns;
    if (upstream->idle_max_s > 0 && server_keeps_until(upstream) < upstream->good_until_ns)
        upstream->good_until_ns = server_keeps_until(upstream);
    td_deadline_start(&kept->warm, &upstream->deadline, td_now_ns());
    td_list_append(&upstream->lead->idle, &upstream->lead_link);
    upstream->lead->idle_count++;
    td_iostream_on_input(upstream->stream, drop, upstream);
    kept->count++;
    td_gauge_add(&td_gauges->client_idle, 1);
    td_metric_count(upstream->kept_gauge, 1);
}
