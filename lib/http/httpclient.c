/*
 * td_http_client: what the requests of this thread's loop share, places among max_clients and the
 * connections that are kept.
 *
 * Whoever leaves a place hands it on to the first in line, so nobody overtakes.  A connection is
 * kept (upstream.h) when both sides agree and the response had an end before the connection's:
 * nothing behind it has come.
 */
#include "http/httpclient.h"

#include "base/clock.h"
#include "base/counters.h"
#include "http/fetch_internal.h"
#include "io/call.h"
#include "io/waiters.h"

static td_http_client_options settings = {
    .max_clients = 1000, .idle_max = 200, .idle_origin_max = 50, .idle_timeout_ms = 60000,
    .lifetime_ms = 3600000};

static __thread struct client {
    bool is_open;
    size_t active;
    td_waiters queue;
    td_upstreams kept;
} client __attribute__((tls_model("initial-exec")));

void
td_http_client_configure(const td_http_client_options *wanted)
{
    settings = *wanted;
}

/* ---- its life */

/* Who was let in has not come: its place is free again. */
static void
hand_on(void *arg)
{
    (void)arg;
    client.active--;
    td_gauge_add(&td_gauges->client_active, -1);
    if (td_waiters_any(&client.queue)) {
        client.active++;
        td_gauge_add(&td_gauges->client_active, 1);
        td_waiters_release(&client.queue, 0);
    }
}

void
td_http_client_start(void)
{
    if (client.is_open)
        return;
    client.is_open = true;
    client.active = 0;
    td_waiters_init(&client.queue, hand_on, NULL);
    td_upstreams_init(&client.kept, settings.idle_max, settings.idle_origin_max,
                      settings.idle_timeout_ms, settings.lifetime_ms);
}

void
td_http_client_close(void)
{
    if (!client.is_open)
        return;
    td_upstreams_fini(&client.kept);
    td_waiters_fini(&client.queue);
    client.is_open = false;
}

size_t
td_http_client_active(void)
{
    return client.active;
}

size_t
td_http_client_idle(void)
{
    return client.kept.count;
}

/* ---- a place */

static void
set_awaits_place(td_fetch_stream *f, bool awaits)
{
    td_gauge_add(&td_gauges->client_queue, awaits - f->awaits_place);
    f->awaits_place = awaits;
}

int
td_fetch_take_place(td_fetch_stream *f)
{
    int rc = 0;

    f->out->phase = TD_FETCH_QUEUED;
    if (client.active < settings.max_clients && !td_waiters_any(&client.queue)) {
        client.active++;
        td_gauge_add(&td_gauges->client_active, 1);
    } else {
        set_awaits_place(f, true);
        rc = td_waiters_wait_until(&client.queue, NULL, td_fetch_connect_deadline(f));
        set_awaits_place(f, false);
        f->begun_ns = td_clock_ns();
    }
    f->has_place = rc == 0; /* whoever lets one go has counted it */
    return rc == 0 ? 0 : td_fetch_fail_waiting(f, rc);
}

void
td_fetch_leave_place(td_fetch_stream *f)
{
    if (f->awaits_place) /* it was cancelled there */
        set_awaits_place(f, false);
    if (f->has_place)
        hand_on(NULL);
    f->has_place = false;
}

/* ---- a connection */

void
td_http_client_route(td_origin *origin)
{
    const td_client_proxy *proxy = settings.proxy;

    if (proxy == NULL || !td_client_proxy_is_for(proxy, origin->host, origin->port))
        return;
    origin->proxy_host = proxy->host;
    origin->proxy_port = proxy->port;
    origin->proxy_username = proxy->username;
    origin->proxy_password = proxy->password;
}

static bool
may_count(const td_metric *metric)
{
    return metric == NULL || metric->info->kind == TD_METRIC_GAUGE;
}

static int
connect_anew(td_fetch_stream *f, td_str key)
{
    td_iostream *stream;
    td_err err = {0};
    int rc;

    if (!may_count(f->options->connections) || !may_count(f->options->connections_kept))
        return td_fetch_fail(f, TD_EINVAL, "connections and connections_kept have to be gauges");
    rc = td_origin_connect(&f->origin, f->arena, td_fetch_connect_deadline(f), &f->out->phase,
                           &stream, &err);
    if (rc < 0)
        return td_fetch_fail_saying(f, rc, err.text);
    f->upstream = td_upstream_create(stream, key);
    td_upstream_count(f->upstream, f->options->connections, f->options->connections_kept);
    return 0;
}

int
td_fetch_open_upstream(td_fetch_stream *f, bool from_kept)
{
    const td_str key = td_origin_key(f->arena, &f->origin);

    f->out->phase = TD_FETCH_CONNECT;
    f->may_keep = !f->options->no_keep_alive && f->options->source_address == NULL &&
                  (f->asks & TD_ASKS_CONNECTION) == 0;
    if (from_kept && f->may_keep)
        f->upstream = td_upstreams_take(&client.kept, key, f->begun_ns);
    return f->upstream != NULL ? 0 : connect_anew(f, key);
}

void
td_fetch_keep_upstream(td_fetch_stream *f)
{
    f->upstream->idle_max_s = f->response.idle_max_s;
    td_upstreams_keep(&client.kept, f->upstream);
    f->upstream = NULL;
}
