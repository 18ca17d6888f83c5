/* The state as JSON: all there is, for programs; names end in their units. */
#include <inttypes.h>
#include <string.h>
#include "base/clock.h"
#include "base/escape.h"
#include "daemon/status/status.h"

/* What comes next in an object or an array: its comma, and its key if it has one. */
static void
put_key(td_buf *to, const char *key)
{
    const td_str before = td_buf_str(to);
    const char last = before.len > 0 ? before.ptr[before.len - 1] : '{';

    if (last != '{' && last != '[')
        td_buf_append(to, TD_STR(","));
    if (key != NULL)
        td_buf_printf(to, "\"%s\":", key);
}

static void
put_number(td_buf *to, const char *key, uint64_t number)
{
    put_key(to, key);
    td_buf_printf(to, "%" PRIu64, number);
}

static void
put_signed(td_buf *to, const char *key, int64_t number)
{
    put_key(to, key);
    td_buf_printf(to, "%" PRId64, number);
}

static void
put_seconds(td_buf *to, const char *key, uint64_t ns)
{
    put_key(to, key);
    td_buf_printf(to, "%.9g", (double)ns / 1e9);
}

static void
put_text(td_buf *to, const char *key, const char *text)
{
    put_key(to, key);
    td_buf_append(to, TD_STR("\""));
    td_json_escape(to, td_str_of(text));
    td_buf_append(to, TD_STR("\""));
}

static void
open_object(td_buf *to, const char *key)
{
    put_key(to, key);
    td_buf_append(to, TD_STR("{"));
}

static void
open_array(td_buf *to, const char *key)
{
    put_key(to, key);
    td_buf_append(to, TD_STR("["));
}

#define CLOSE_OBJECT(to) td_buf_append((to), TD_STR("}"))
#define CLOSE_ARRAY(to) td_buf_append((to), TD_STR("]"))

static void
put_responses(td_buf *to, const uint64_t responses[TD_STATUS_CLASSES])
{
    static const char *const names[TD_STATUS_CLASSES] = {"other", "1xx", "2xx",
                                                         "3xx",   "4xx", "5xx"};

    put_number(to, "requests", status_sum(responses, TD_STATUS_CLASSES));
    open_object(to, "responses");
    for (unsigned i = 1; i <= TD_STATUS_CLASSES; i++) {
        const unsigned class = i % TD_STATUS_CLASSES; /* what is none of them comes last */
        if (class != 0 || responses[class] != 0)
            put_number(to, names[class], responses[class]);
    }
    CLOSE_OBJECT(to);
}

static void
put_reasons(td_buf *to, const td_worker_counters *counters)
{
    open_object(to, "errors_by_reason");
    for (unsigned i = 0; i < TD_REASONS_COUNT; i++) {
        if (counters->reasons[i] != 0)
            put_number(to, td_reason_names[i], counters->reasons[i]);
    }
    CLOSE_OBJECT(to);
}

static void
put_refusals(td_buf *to, const td_worker_counters *counters)
{
    open_object(to, "memory_refused");
    for (unsigned i = 0; i < TD_BUDGET_KINDS_COUNT; i++)
        put_number(to, td_budget_names[i], counters->memory_refused[i]);
    CLOSE_OBJECT(to);
}

static void
put_gauges(td_buf *to, const td_worker_gauges *gauges)
{
    put_number(to, "connections", status_sum(gauges->connections, TD_CONNECTION_STATES_COUNT));
    open_object(to, "connections_by_state");
    for (unsigned i = 0; i < TD_CONNECTION_STATES_COUNT; i++)
        put_number(to, td_connection_state_names[i], gauges->connections[i]);
    CLOSE_OBJECT(to);
    put_number(to, "coroutines", gauges->coroutines);
    put_number(to, "coroutines_peak", gauges->coroutines_peak);
    put_number(to, "executor_queue", gauges->executor_queue);
    put_number(to, "executor_threads", gauges->executor_threads);
    put_number(to, "client_requests", gauges->client_active);
    put_number(to, "client_connections_idle", gauges->client_idle);
    put_number(to, "client_queue", gauges->client_queue);
    put_number(to, "memory_bytes", status_sum(gauges->memory, TD_BUDGET_KINDS_COUNT));
    put_number(to, "memory_peak_bytes", gauges->memory_peak);
    put_number(to, "memory_limit_bytes", gauges->memory_limit);
    open_object(to, "memory_by_kind");
    for (unsigned i = 0; i < TD_BUDGET_KINDS_COUNT; i++)
        put_number(to, td_budget_names[i], gauges->memory[i]);
    CLOSE_OBJECT(to);
}

static void
put_worker(td_buf *to, const struct status *status, const struct status_worker *worker)
{
    static const char *const states[] = {"free", "starting", "serving", "draining"};

    open_object(to, NULL);
    put_number(to, "pid", (uint64_t)worker->is.pid);
    put_number(to, "number", worker->is.number);
    put_number(to, "generation", worker->is.generation);
    put_text(to, "state", states[worker->is.state % 4]);
    put_seconds(to, "uptime_seconds", (uint64_t)(status->now_ns - worker->is.started_ns));
    put_responses(to, worker->responses);
    put_gauges(to, &worker->gauges);
    put_number(to, "resident_memory_bytes", worker->resident_memory);
    put_number(to, "slow_callbacks", worker->counters.slow_callbacks);
    put_number(to, "log_lines_dropped", worker->counters.log_dropped);
    put_number(to, "access_lines_dropped", worker->counters.access_dropped);
    put_refusals(to, &worker->counters);
    put_reasons(to, &worker->counters);
    CLOSE_OBJECT(to);
}

static void
put_listener(td_buf *to, const struct status_listener *listener)
{
    open_object(to, NULL);
    put_text(to, "name", listener->is->name);
    put_text(to, "address", listener->is->address);
    put_responses(to, listener->all.responses);
    put_number(to, "connections_accepted", listener->all.accepted);
    put_number(to, "received_bytes", listener->all.received);
    put_number(to, "sent_bytes", listener->all.sent);
    CLOSE_OBJECT(to);
}

static void
put_latency(td_buf *to, const td_route_counters *counters)
{
    open_object(to, "duration_seconds");
    put_seconds(to, "sum", counters->duration_ns);
    put_seconds(to, "p50", td_latency_quantile(counters->buckets, .5));
    put_seconds(to, "p90", td_latency_quantile(counters->buckets, .9));
    put_seconds(to, "p99", td_latency_quantile(counters->buckets, .99));
    put_seconds(to, "p999", td_latency_quantile(counters->buckets, .999));
    CLOSE_OBJECT(to);
}

static void
put_route(td_buf *to, const struct status_route *route)
{
    open_object(to, NULL);
    put_text(to, "handler", route->is->handler);
    put_text(to, "application", route->is->application);
    put_text(to, "hosts", route->is->hosts);
    put_text(to, "route", route->is->pattern);
    put_text(to, "wanted", route->is->wanted);
    put_responses(to, route->all.responses);
    put_number(to, "received_body_bytes", route->all.received);
    put_number(to, "sent_body_bytes", route->all.sent);
    put_number(to, "slow_callbacks", route->all.slow_callbacks);
    put_latency(to, &route->all);
    CLOSE_OBJECT(to);
}

static void
put_handler(td_buf *to, const struct metrics_handler *handler)
{
    open_object(to, NULL);
    put_text(to, "name", handler->name);
    put_text(to, "file", handler->file);
    put_text(to, "version", handler->version);
    put_number(to, "crashes", handler->crashes);
    put_key(to, "quarantined");
    td_buf_append(to, handler->is_quarantined ? TD_STR("true") : TD_STR("false"));
    CLOSE_OBJECT(to);
}

static void
put_own(td_buf *to, const struct status_own *own)
{
    open_object(to, NULL);
    put_text(to, "handler", own->is->handler);
    put_text(to, "name", own->is->name);
    put_text(to, "kind", own->is->kind == TD_METRIC_COUNTER ? "counter" : "gauge");
    put_text(to, "help", own->is->help);
    put_signed(to, "value", own->all);
    CLOSE_OBJECT(to);
}

static void
put_restarts(td_buf *to, const struct metrics_board *board)
{
    open_object(to, "restarts");
    for (unsigned i = 0; i < METRICS_ENDS_COUNT; i++)
        put_number(to, metrics_end_names[i], board->ends[i]);
    CLOSE_OBJECT(to);
}

static void
put_daemon(td_buf *to, const struct status *status)
{
    const struct metrics_board *board = status->board;

    put_text(to, "version", TD_VERSION);
    put_number(to, "pid", (uint64_t)board->master);
    put_number(to, "started_unix_seconds", (uint64_t)board->started_s);
    put_seconds(to, "uptime_seconds", (uint64_t)(status->now_ns - board->started_ns));
    put_number(to, "generation", board->generation);
    put_number(to, "workers_wanted", board->workers_wanted);
    put_number(to, "reloads", board->reloads);
    put_number(to, "reloads_failed", board->reloads_failed);
    put_restarts(to, board);
    put_responses(to, status->responses);
    put_gauges(to, &status->gauges);
    put_number(to, "slow_callbacks", status->all.slow_callbacks);
    put_number(to, "log_lines_dropped", status->all.log_dropped);
    put_number(to, "access_lines_dropped", status->all.access_dropped);
    put_reasons(to, &status->all);
}

/* The first place is for what has none; it is left out where nothing has happened there. */
static bool
is_listed_listener(const struct status_listener *listener, size_t i)
{
    return i > 0 || status_sum(listener->all.responses, TD_STATUS_CLASSES) > 0;
}

void
status_put_json(td_buf *to, const struct status *status)
{
    td_buf_append(to, TD_STR("{"));
    put_daemon(to, status);
    open_array(to, "workers");
    for (size_t i = 0; i < status->workers_count; i++)
        put_worker(to, status, &status->workers[i]);
    CLOSE_ARRAY(to);
    open_array(to, "listeners");
    for (size_t i = 0; i < status->listeners_count; i++) {
        if (is_listed_listener(&status->listeners[i], i))
            put_listener(to, &status->listeners[i]);
    }
    CLOSE_ARRAY(to);
    open_array(to, "handlers");
    for (size_t i = 0; i < status->board->handlers_count; i++) {
        if (status->board->handlers[i].generation >= status->board->generation)
            put_handler(to, &status->board->handlers[i]);
    }
    CLOSE_ARRAY(to);
    open_array(to, "routes");
    for (size_t i = 0; i < status->routes_count; i++)
        put_route(to, &status->routes[i]);
    CLOSE_ARRAY(to);
    open_array(to, "handler_metrics");
    for (size_t i = 0; i < status->own_count; i++)
        put_own(to, &status->own[i]);
    CLOSE_ARRAY(to);
    CLOSE_OBJECT(to);
    td_buf_append(to, TD_STR("\n"));
}
