/*
 * The state as OpenMetrics 1.0 text (https://prometheus.io/docs/specs/om/open_metrics_spec):
 * families one after the other, each with its TYPE, UNIT and HELP in front of all its samples, and
 * EOF.
 */
#include <inttypes.h>
#include <string.h>
#include "base/clock.h"
#include "base/escape.h"
#include "base/put.h"
#include "daemon/status/status.h"

#define PREFIX "tornadod_"

static const char *const classes[TD_STATUS_CLASSES] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};

/* unit: NULL for none; else the name ends in it. */
static void
put_family(td_buf *to, const char *name, const char *type, const char *unit, const char *help)
{
    td_buf_printf(to, "# TYPE " PREFIX "%s %s\n", name, type);
    if (unit != NULL)
        td_buf_printf(to, "# UNIT " PREFIX "%s %s\n", name, unit);
    td_buf_printf(to, "# HELP " PREFIX "%s %s\n", name, help);
}

/* A backslash, a quote and a line end are escaped; what is not UTF-8 cannot be told. */
static void
put_value(td_buf *to, const char *text)
{
    const bool is_utf8 = td_utf8_is_valid(td_str_of(text));

    for (; *text != '\0'; text++) {
        if (*text == '\n')
            td_buf_append(to, TD_STR("\\n"));
        else if (*text == '\\' || *text == '"')
            td_buf_printf(to, "\\%c", *text);
        else if (!is_utf8 && (unsigned char)*text >= 0x80)
            td_buf_append(to, TD_STR("?"));
        else
            td_buf_append(to, td_str_make(text, 1));
    }
}

/* A label, after a comma or behind the open brace. */
static void
put_label(td_buf *to, const char *name, const char *text)
{
    const char last = to->base[to->start + to->len - 1];

    td_buf_printf(to, "%s%s=\"", last == '{' ? "" : ",", name);
    put_value(to, text);
    td_buf_append(to, TD_STR("\""));
}

static void
open_sample(td_buf *to, const char *name)
{
    td_buf_printf(to, PREFIX "%s{", name);
}

static void
close_sample(td_buf *to, uint64_t number)
{
    char text[TD_DECIMAL_MAX + 3], *at = text;

    at = TD_PUT(at, "} ");
    at = td_put_decimal(at, number);
    *at++ = '\n';
    td_buf_append(to, td_str_make(text, (size_t)(at - text)));
}

static void
close_sample_seconds(td_buf *to, uint64_t ns)
{
    td_buf_printf(to, "} %.9g\n", (double)ns / 1e9);
}

static void
put_plain(td_buf *to, const char *name, const char *suffix, uint64_t number)
{
    td_buf_printf(to, PREFIX "%s%s %" PRIu64 "\n", name, suffix, number);
}

static void
put_counter(td_buf *to, const char *name, const char *help, uint64_t number)
{
    put_family(to, name, "counter", NULL, help);
    put_plain(to, name, "_total", number);
}

static void
put_gauge(td_buf *to, const char *name, const char *help, uint64_t number)
{
    put_family(to, name, "gauge", NULL, help);
    put_plain(to, name, "", number);
}

/* name: of the sample, "..._total". */
static void
put_labelled(td_buf *to, const char *name, const char *label, const char *text, uint64_t number)
{
    open_sample(to, name);
    put_label(to, label, text);
    close_sample(to, number);
}

/* ---- the daemon */

static void
put_workers(td_buf *to, const struct status *status)
{
    static const char *const names[] = {"starting", "serving", "draining"};
    uint64_t counts[3] = {0};

    for (size_t i = 0; i < status->workers_count; i++) {
        const uint32_t state = status->workers[i].is.state;
        if (state >= METRICS_STARTING && state <= METRICS_DRAINING)
            counts[state - METRICS_STARTING]++;
    }
    put_family(to, "workers", "gauge", NULL, "Worker processes, by what they are doing.");
    for (int i = 0; i < 3; i++)
        put_labelled(to, "workers", "state", names[i], counts[i]);
}

/* Of those that succeeded the time is known. */
static void
put_handshakes(td_buf *to, const td_worker_counters *counters)
{
    const uint64_t *counts = counters->tls_handshakes;

    put_family(to, "tls_handshakes", "counter", NULL,
               "TLS handshakes with other servers, by how they ended.");
    for (unsigned i = 0; i < TD_HANDSHAKES_COUNT; i++)
        put_labelled(to, "tls_handshakes_total", "result", td_handshake_names[i], counts[i]);
    put_family(to, "tls_handshake_duration_seconds", "summary", "seconds",
               "How long those took that succeeded.");
    put_plain(to, "tls_handshake_duration_seconds", "_count",
              counts[TD_HANDSHAKE_FULL] + counts[TD_HANDSHAKE_RESUMED]);
    td_buf_printf(to, PREFIX "tls_handshake_duration_seconds_sum %.9g\n",
                  (double)counters->tls_handshake_ns / 1e9);
}

static void
put_daemon(td_buf *to, const struct status *status)
{
    const struct metrics_board *board = status->board;

    put_family(to, "build", "info", NULL, "What is running.");
    open_sample(to, "build_info");
    put_label(to, "version", TD_VERSION);
    close_sample(to, 1);
    put_family(to, "start_time_seconds", "gauge", "seconds", "When the daemon began, since 1970.");
    put_plain(to, "start_time_seconds", "", (uint64_t)board->started_s);
    put_gauge(to, "generation", "Number of the generation of workers that serves.",
              board->generation);
    put_gauge(to, "workers_wanted", "Workers that it is to have.", board->workers_wanted);
    put_workers(to, status);
    put_family(to, "reloads", "counter", NULL, "Reloads, by their outcome.");
    put_labelled(to, "reloads_total", "result", "done", board->reloads);
    put_labelled(to, "reloads_total", "result", "failed", board->reloads_failed);
    put_family(to, "worker_restarts", "counter", NULL, "Workers that were replaced, by why.");
    for (unsigned i = 0; i < METRICS_ENDS_COUNT; i++)
        put_labelled(to, "worker_restarts_total", "reason", metrics_end_names[i], board->ends[i]);
    put_family(to, "errors", "counter", NULL,
               "Answers 4xx and 5xx that the daemon itself has made, by the limit or the fault.");
    for (unsigned i = 0; i < TD_REASONS_COUNT; i++)
        put_labelled(to, "errors_total", "reason", td_reason_names[i], status->all.reasons[i]);
    put_family(to, "memory_refused", "counter", NULL, "How often memory had no room, by what for.");
    for (unsigned i = 0; i < TD_BUDGET_KINDS_COUNT; i++)
        put_labelled(to, "memory_refused_total", "kind", td_budget_names[i],
                     status->all.memory_refused[i]);
    put_handshakes(to, &status->all);
    put_counter(to, "slow_callbacks", "Stretches of handlers that held the loop for slow_callback.",
                status->all.slow_callbacks);
    put_family(to, "log_lines_dropped", "counter", NULL, "Lines that a log could not take.");
    put_labelled(to, "log_lines_dropped_total", "log", "log", status->all.log_dropped);
    put_labelled(to, "log_lines_dropped_total", "log", "access", status->all.access_dropped);
}

/* ---- workers: a series for each that lives */

static void
open_worker_sample(td_buf *to, const char *name, const struct status_worker *worker)
{
    td_buf_printf(to, PREFIX "%s{worker=\"%u\",pid=\"%d\"", name, worker->is.number,
                  (int)worker->is.pid);
}

struct worker_gauge {
    const char *name, *unit, *help;
    size_t offset; /* in struct status_worker */
};

#define GAUGE(field_) offsetof(struct status_worker, gauges.field_)

static const struct worker_gauge worker_gauges[] = {
    {"worker_coroutines", NULL, "Handlers and tasks that wait.", GAUGE(coroutines)},
    {"worker_coroutines_peak", NULL, "The most there ever were at once.", GAUGE(coroutines_peak)},
    {"worker_executor_queue", NULL, "Jobs that wait for a thread.", GAUGE(executor_queue)},
    {"worker_executor_threads", NULL, "Threads for jobs.", GAUGE(executor_threads)},
    {"worker_client_requests", NULL, "Requests to other servers that are under way.",
     GAUGE(client_active)},
    {"worker_client_connections_idle", NULL, "Connections to other servers that are kept.",
     GAUGE(client_idle)},
    {"worker_client_queue", NULL, "Requests to other servers that wait for max_clients.",
     GAUGE(client_queue)},
    {"worker_memory_limit_bytes", "bytes", "The setting memory.", GAUGE(memory_limit)},
    {"worker_memory_peak_bytes", "bytes", "The most that was ever used of it.", GAUGE(memory_peak)},
    {"worker_resident_memory_bytes", "bytes", "Memory in use.",
     offsetof(struct status_worker, resident_memory)},
};

static void
put_worker_gauge(td_buf *to, const struct status *status, const struct worker_gauge *gauge)
{
    put_family(to, gauge->name, "gauge", gauge->unit, gauge->help);
    for (size_t i = 0; i < status->workers_count && status_goes_on(status, to); i++) {
        uint64_t number;
        memcpy(&number, (const char *)&status->workers[i] + gauge->offset, sizeof(number));
        open_worker_sample(to, gauge->name, &status->workers[i]);
        close_sample(to, number);
    }
}

static void
put_each_worker(td_buf *to, const struct status *status)
{
    put_family(to, "worker_uptime_seconds", "gauge", "seconds", "How long the worker has lived.");
    for (size_t i = 0; i < status->workers_count && status_goes_on(status, to); i++) {
        open_worker_sample(to, "worker_uptime_seconds", &status->workers[i]);
        close_sample_seconds(to, (uint64_t)(status->now_ns - status->workers[i].is.started_ns));
    }
    put_family(to, "worker_responses", "counter", NULL, "Answers of a worker that lives, by status.");
    for (size_t i = 0; i < status->workers_count && status_goes_on(status, to); i++) {
        for (unsigned class = 1; class < TD_STATUS_CLASSES; class ++) {
            open_worker_sample(to, "worker_responses_total", &status->workers[i]);
            put_label(to, "class", classes[class]);
            close_sample(to, status->workers[i].responses[class]);
        }
    }
    put_family(to, "worker_connections", "gauge", NULL, "Connections, by what they are doing.");
    for (size_t i = 0; i < status->workers_count && status_goes_on(status, to); i++) {
        for (unsigned state = 0; state < TD_CONNECTION_STATES_COUNT; state++) {
            open_worker_sample(to, "worker_connections", &status->workers[i]);
            put_label(to, "state", td_connection_state_names[state]);
            close_sample(to, status->workers[i].gauges.connections[state]);
        }
    }
    put_family(to, "worker_memory_bytes", "gauge", "bytes", "What is used of memory, by what for.");
    for (size_t i = 0; i < status->workers_count; i++) {
        for (unsigned kind = 0; kind < TD_BUDGET_KINDS_COUNT; kind++) {
            open_worker_sample(to, "worker_memory_bytes", &status->workers[i]);
            put_label(to, "kind", td_budget_names[kind]);
            close_sample(to, status->workers[i].gauges.memory[kind]);
        }
    }
    for (size_t i = 0; i < sizeof(worker_gauges) / sizeof(*worker_gauges); i++)
        put_worker_gauge(to, status, &worker_gauges[i]);
}

/* ---- listeners */

static void
put_listener_counter(td_buf *to, const struct status *status, const char *family, const char *unit,
                     const char *help, size_t offset)
{
    put_family(to, family, "counter", unit, help);
    for (size_t i = 0; i < status->listeners_count && status_goes_on(status, to); i++) {
        uint64_t number;
        memcpy(&number, (const char *)&status->listeners[i].all + offset, sizeof(number));
        td_buf_printf(to, PREFIX "%s_total{", family);
        put_label(to, "listener", status->listeners[i].is->name);
        close_sample(to, number);
    }
}

static void
put_listeners(td_buf *to, const struct status *status)
{
    put_family(to, "listener_responses", "counter", NULL, "Answers on a listener, by status.");
    for (size_t i = 0; i < status->listeners_count && status_goes_on(status, to); i++) {
        for (unsigned class = 1; class < TD_STATUS_CLASSES; class ++) {
            open_sample(to, "listener_responses_total");
            put_label(to, "listener", status->listeners[i].is->name);
            put_label(to, "class", classes[class]);
            close_sample(to, status->listeners[i].all.responses[class]);
        }
    }
    put_listener_counter(to, status, "listener_connections_accepted", NULL,
                         "Connections that were accepted.",
                         offsetof(td_listener_counters, accepted));
    put_listener_counter(to, status, "listener_received_bytes", "bytes",
                         "What has come over the wire.", offsetof(td_listener_counters, received));
    put_listener_counter(to, status, "listener_sent_bytes", "bytes", "What went over the wire.",
                         offsetof(td_listener_counters, sent));
}

/* ---- handlers and routes */

static void
put_handlers(td_buf *to, const struct status *status)
{
    const struct metrics_board *board = status->board;

    put_family(to, "handler", "info", NULL, "Handlers that are served.");
    for (size_t i = 0; i < board->handlers_count && status_goes_on(status, to); i++) {
        const struct metrics_handler *handler = &board->handlers[i];
        if (handler->generation < board->generation)
            continue;
        open_sample(to, "handler_info");
        put_label(to, "handler", handler->name);
        put_label(to, "file", handler->file);
        put_label(to, "version", handler->version);
        close_sample(to, 1);
    }
    put_family(to, "handler_quarantined", "gauge", NULL, "1: its code is not run any more.");
    for (size_t i = 0; i < board->handlers_count && status_goes_on(status, to); i++)
        put_labelled(to, "handler_quarantined", "handler", board->handlers[i].name,
                     board->handlers[i].is_quarantined != 0);
    put_family(to, "handler_crashes", "counter", NULL, "Workers that it has ended.");
    for (size_t i = 0; i < board->handlers_count && status_goes_on(status, to); i++)
        put_labelled(to, "handler_crashes_total", "handler", board->handlers[i].name,
                     board->handlers[i].crashes);
}

/* Labels that say nothing are left out. */
static void
put_route_labels(td_buf *to, const struct metrics_route *route)
{
    td_buf_append(to, TD_STR("{"));
    put_label(to, "route", route->pattern);
    if (route->handler[0] != '\0')
        put_label(to, "handler", route->handler);
    if (route->application[0] != '\0' && strcmp(route->application, "default") != 0)
        put_label(to, "application", route->application);
    if (route->hosts[0] != '\0' && strcmp(route->hosts, ".*") != 0)
        put_label(to, "hosts", route->hosts);
    if (route->wanted[0] != '\0')
        put_label(to, "wanted", route->wanted);
}

/* labels: as put_route_labels has written them, once for all samples of the route. */
static void
open_route_sample(td_buf *to, td_str name, td_str labels)
{
    td_buf_append(to, TD_STR(PREFIX));
    td_buf_append(to, name);
    td_buf_append(to, labels);
}

/* 1, 2 and 5 of each decade; of td_latency_bounds these are the ones that people know. */
static bool
is_told(uint64_t bound_ns)
{
    while (bound_ns % 10 == 0)
        bound_ns /= 10;
    return bound_ns == 1 || bound_ns == 2 || bound_ns == 5;
}

/* A bound as OpenMetrics wants it: whole numbers have a point, too. */
static void
put_bound(td_buf *to, uint64_t ns)
{
    const bool is_whole = ns % (uint64_t)TD_NS_PER_S == 0;

    td_buf_printf(to, ",le=\"%.9g%s\"", (double)ns / 1e9, is_whole ? ".0" : "");
}

#define DURATION "response_duration_seconds"

/* Of one that was never asked there is none, as there is nothing to be learned from it. */
static void
put_histogram(td_buf *to, const struct status_route *route, td_str labels)
{
    uint64_t count = 0;

    if (td_latency_count(route->all.buckets) == 0)
        return;
    for (unsigned i = 0; i < TD_LATENCY_BOUNDS; i++) {
        count += route->all.buckets[i];
        if (!is_told(td_latency_bounds[i]))
            continue;
        open_route_sample(to, TD_STR(DURATION "_bucket"), labels);
        put_bound(to, td_latency_bounds[i]);
        close_sample(to, count);
    }
    count += route->all.buckets[TD_LATENCY_BOUNDS];
    open_route_sample(to, TD_STR(DURATION "_bucket"), labels);
    put_label(to, "le", "+Inf");
    close_sample(to, count);
    open_route_sample(to, TD_STR(DURATION "_count"), labels);
    close_sample(to, count);
    open_route_sample(to, TD_STR(DURATION "_sum"), labels);
    close_sample_seconds(to, route->all.duration_ns);
}

static void
put_route_responses(td_buf *to, const struct status_route *route, td_str labels)
{
    for (unsigned class = 1; class < TD_STATUS_CLASSES; class ++) {
        open_route_sample(to, TD_STR("responses_total"), labels);
        put_label(to, "class", classes[class]);
        close_sample(to, route->all.responses[class]);
    }
}

static void
put_route_received(td_buf *to, const struct status_route *route, td_str labels)
{
    open_route_sample(to, TD_STR("request_body_bytes_total"), labels);
    close_sample(to, route->all.received);
}

static void
put_route_sent(td_buf *to, const struct status_route *route, td_str labels)
{
    open_route_sample(to, TD_STR("response_body_bytes_total"), labels);
    close_sample(to, route->all.sent);
}

static void
put_route_stretches(td_buf *to, const struct status_route *route, td_str labels)
{
    open_route_sample(to, TD_STR("route_slow_callbacks_total"), labels);
    close_sample(to, route->all.slow_callbacks);
}

static void
put_each_route(td_buf *to, struct status *status,
               void (*put)(td_buf *to, const struct status_route *route, td_str labels))
{
    td_buf labels __attribute__((cleanup(td_buf_release))) = {0};
    struct status_route route;

    for (size_t i = 0; i < status->routes_count && status_goes_on(status, to); i++) {
        status_take_route(status, i, &route);
        td_buf_consume(&labels, labels.len);
        put_route_labels(&labels, route.is);
        put(to, &route, td_buf_str(&labels));
    }
}

static void
put_routes(td_buf *to, struct status *status)
{
    put_family(to, "responses", "counter", NULL, "Answers of a route, by status.");
    put_each_route(to, status, put_route_responses);
    put_family(to, "request_body_bytes", "counter", "bytes", "Bodies that came.");
    put_each_route(to, status, put_route_received);
    put_family(to, "response_body_bytes", "counter", "bytes", "Bodies that went.");
    put_each_route(to, status, put_route_sent);
    put_family(to, "route_slow_callbacks", "counter", NULL,
               "Stretches of a route's requests that held the loop for slow_callback.");
    put_each_route(to, status, put_route_stretches);
    put_family(to, DURATION, "histogram", "seconds",
               "From the complete head of a request to the end of its answer.");
    put_each_route(to, status, put_histogram);
}

/* ---- what handlers have declared; their names stand as they are */

/* A backslash and a quote are escaped in HELP, too; a line end was refused. */
static void
put_own_family(td_buf *to, const struct metrics_own *own)
{
    td_buf_printf(to, "# TYPE %s %s\n# HELP %s ", own->name,
                  own->kind == TD_METRIC_COUNTER ? "counter" : "gauge", own->name);
    put_value(to, own->help);
    td_buf_append(to, TD_STR("\n"));
}

static void
put_own(td_buf *to, const struct status_own *own)
{
    td_buf_printf(to, "%s%s{", own->is->name, own->is->kind == TD_METRIC_COUNTER ? "_total" : "");
    put_label(to, "handler", own->is->handler);
    if (own->is->label[0] != '\0')
        put_label(to, own->is->label, own->is->value);
    td_buf_printf(to, "} %" PRId64 "\n", own->all);
}

static void
put_own_families(td_buf *to, const struct status *status)
{
    for (size_t i = 0; i < status->own_count && status_goes_on(status, to); i++) {
        const struct metrics_own *own = status->own[i].is;
        if (i == 0 || strcmp(status->own[i - 1].is->name, own->name) != 0)
            put_own_family(to, own);
        put_own(to, &status->own[i]);
    }
}

void
status_put_openmetrics(td_buf *to, struct status *status)
{
    put_daemon(to, status);
    put_each_worker(to, status);
    put_listeners(to, status);
    put_handlers(to, status);
    put_routes(to, status);
    put_own_families(to, status);
    td_buf_append(to, TD_STR("# EOF\n"));
}
