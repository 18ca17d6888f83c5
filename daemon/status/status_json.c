/* The state as JSON: all there is, for programs; names end in their units. */
#include "daemon/status/status.h"

static void
put_seconds(td_jsontext *text, const char *key, uint64_t ns)
{
    td_jsontext_double(text, key, (double)ns / 1e9);
}

static void
put_responses(td_jsontext *text, const uint64_t responses[TD_STATUS_CLASSES])
{
    static const char *const names[TD_STATUS_CLASSES] = {"other", "1xx", "2xx",
                                                         "3xx",   "4xx", "5xx"};

    td_jsontext_number(text, "requests", status_sum(responses, TD_STATUS_CLASSES));
    td_jsontext_open_object(text, "responses");
    for (unsigned i = 1; i <= TD_STATUS_CLASSES; i++) {
        const unsigned class = i % TD_STATUS_CLASSES; /* what is none of them comes last */
        if (class != 0 || responses[class] != 0)
            td_jsontext_number(text, names[class], responses[class]);
    }
    td_jsontext_close(text);
}

static void
put_reasons(td_jsontext *text, const td_worker_counters *counters)
{
    td_jsontext_open_object(text, "errors_by_reason");
    for (unsigned i = 0; i < TD_REASONS_COUNT; i++) {
        if (counters->reasons[i] != 0)
            td_jsontext_number(text, td_reason_names[i], counters->reasons[i]);
    }
    td_jsontext_close(text);
}

static void
put_refusals(td_jsontext *text, const td_worker_counters *counters)
{
    td_jsontext_open_object(text, "memory_refused");
    for (unsigned i = 0; i < TD_BUDGET_KINDS_COUNT; i++)
        td_jsontext_number(text, td_budget_names[i], counters->memory_refused[i]);
    td_jsontext_close(text);
}

static void
put_handshakes(td_jsontext *text, const td_worker_counters *counters)
{
    td_jsontext_open_object(text, "tls_handshakes");
    for (unsigned i = 0; i < TD_HANDSHAKES_COUNT; i++)
        td_jsontext_number(text, td_handshake_names[i], counters->tls_handshakes[i]);
    put_seconds(text, "duration_seconds", counters->tls_handshake_ns);
    td_jsontext_close(text);
}

static void
put_gauges(td_jsontext *text, const td_worker_gauges *gauges)
{
    td_jsontext_number(text, "connections",
                       status_sum(gauges->connections, TD_CONNECTION_STATES_COUNT));
    td_jsontext_open_object(text, "connections_by_state");
    for (unsigned i = 0; i < TD_CONNECTION_STATES_COUNT; i++)
        td_jsontext_number(text, td_connection_state_names[i], gauges->connections[i]);
    td_jsontext_close(text);
    td_jsontext_number(text, "coroutines", gauges->coroutines);
    td_jsontext_number(text, "coroutines_peak", gauges->coroutines_peak);
    td_jsontext_number(text, "executor_queue", gauges->executor_queue);
    td_jsontext_number(text, "executor_threads", gauges->executor_threads);
    td_jsontext_number(text, "client_requests", gauges->client_active);
    td_jsontext_number(text, "client_connections_idle", gauges->client_idle);
    td_jsontext_number(text, "client_queue", gauges->client_queue);
    td_jsontext_number(text, "memory_bytes", status_sum(gauges->memory, TD_BUDGET_KINDS_COUNT));
    td_jsontext_number(text, "memory_peak_bytes", gauges->memory_peak);
    td_jsontext_number(text, "memory_limit_bytes", gauges->memory_limit);
    td_jsontext_open_object(text, "memory_by_kind");
    for (unsigned i = 0; i < TD_BUDGET_KINDS_COUNT; i++)
        td_jsontext_number(text, td_budget_names[i], gauges->memory[i]);
    td_jsontext_close(text);
}

static void
put_worker(td_jsontext *text, const struct status *status, const struct status_worker *worker)
{
    static const char *const states[] = {"free", "starting", "serving", "draining"};

    td_jsontext_open_object(text, NULL);
    td_jsontext_number(text, "pid", (uint64_t)worker->is.pid);
    td_jsontext_number(text, "number", worker->is.number);
    td_jsontext_number(text, "generation", worker->is.generation);
    td_jsontext_string(text, "state", states[worker->is.state % 4]);
    put_seconds(text, "uptime_seconds", (uint64_t)(status->now_ns - worker->is.started_ns));
    put_responses(text, worker->responses);
    put_gauges(text, &worker->gauges);
    td_jsontext_number(text, "resident_memory_bytes", worker->resident_memory);
    td_jsontext_number(text, "slow_callbacks", worker->counters.slow_callbacks);
    td_jsontext_number(text, "log_lines_dropped", worker->counters.log_dropped);
    td_jsontext_number(text, "access_lines_dropped", worker->counters.access_dropped);
    put_refusals(text, &worker->counters);
    put_handshakes(text, &worker->counters);
    put_reasons(text, &worker->counters);
    td_jsontext_close(text);
}

static void
put_listener(td_jsontext *text, const struct status_listener *listener)
{
    td_jsontext_open_object(text, NULL);
    td_jsontext_string(text, "name", listener->is->name);
    td_jsontext_string(text, "address", listener->is->address);
    put_responses(text, listener->all.responses);
    td_jsontext_number(text, "connections_accepted", listener->all.accepted);
    td_jsontext_number(text, "received_bytes", listener->all.received);
    td_jsontext_number(text, "sent_bytes", listener->all.sent);
    td_jsontext_close(text);
}

static void
put_latency(td_jsontext *text, const td_route_counters *counters)
{
    td_jsontext_open_object(text, "duration_seconds");
    put_seconds(text, "sum", counters->duration_ns);
    put_seconds(text, "p50", td_latency_quantile(counters->buckets, .5));
    put_seconds(text, "p90", td_latency_quantile(counters->buckets, .9));
    put_seconds(text, "p99", td_latency_quantile(counters->buckets, .99));
    put_seconds(text, "p999", td_latency_quantile(counters->buckets, .999));
    td_jsontext_close(text);
}

static void
put_route(td_jsontext *text, const struct status_route *route)
{
    td_jsontext_open_object(text, NULL);
    td_jsontext_string(text, "handler", route->is->handler);
    td_jsontext_string(text, "application", route->is->application);
    td_jsontext_string(text, "hosts", route->is->hosts);
    td_jsontext_string(text, "route", route->is->pattern);
    td_jsontext_string(text, "wanted", route->is->wanted);
    put_responses(text, route->all.responses);
    td_jsontext_number(text, "received_body_bytes", route->all.received);
    td_jsontext_number(text, "sent_body_bytes", route->all.sent);
    td_jsontext_number(text, "slow_callbacks", route->all.slow_callbacks);
    put_latency(text, &route->all);
    td_jsontext_close(text);
}

static void
put_handler(td_jsontext *text, const struct metrics_handler *handler)
{
    td_jsontext_open_object(text, NULL);
    td_jsontext_string(text, "name", handler->name);
    td_jsontext_string(text, "file", handler->file);
    td_jsontext_string(text, "version", handler->version);
    td_jsontext_number(text, "crashes", handler->crashes);
    td_jsontext_bool(text, "quarantined", handler->is_quarantined != 0);
    td_jsontext_close(text);
}

static void
put_own(td_jsontext *text, const struct status_own *own)
{
    td_jsontext_open_object(text, NULL);
    td_jsontext_string(text, "handler", own->is->handler);
    td_jsontext_string(text, "name", own->is->name);
    td_jsontext_string(text, "kind", own->is->kind == TD_METRIC_COUNTER ? "counter" : "gauge");
    td_jsontext_string(text, "help", own->is->help);
    if (own->is->label[0] != '\0') {
        td_jsontext_open_object(text, "labels");
        td_jsontext_string(text, own->is->label, own->is->value);
        td_jsontext_close(text);
    }
    td_jsontext_signed(text, "value", own->all);
    td_jsontext_close(text);
}

static void
put_restarts(td_jsontext *text, const struct metrics_board *board)
{
    td_jsontext_open_object(text, "restarts");
    for (unsigned i = 0; i < METRICS_ENDS_COUNT; i++)
        td_jsontext_number(text, metrics_end_names[i], board->ends[i]);
    td_jsontext_close(text);
}

static void
put_daemon(td_jsontext *text, const struct status *status)
{
    const struct metrics_board *board = status->board;

    td_jsontext_string(text, "version", TD_VERSION);
    td_jsontext_number(text, "pid", (uint64_t)board->master);
    td_jsontext_number(text, "started_unix_seconds", (uint64_t)board->started_s);
    put_seconds(text, "uptime_seconds", (uint64_t)(status->now_ns - board->started_ns));
    td_jsontext_number(text, "generation", board->generation);
    td_jsontext_number(text, "workers_wanted", board->workers_wanted);
    td_jsontext_number(text, "reloads", board->reloads);
    td_jsontext_number(text, "reloads_failed", board->reloads_failed);
    put_restarts(text, board);
    put_responses(text, status->responses);
    put_gauges(text, &status->gauges);
    td_jsontext_number(text, "slow_callbacks", status->all.slow_callbacks);
    td_jsontext_number(text, "log_lines_dropped", status->all.log_dropped);
    td_jsontext_number(text, "access_lines_dropped", status->all.access_dropped);
    put_handshakes(text, &status->all);
    put_reasons(text, &status->all);
}

/* The first place is for what has none; it is left out where nothing has happened there. */
static bool
is_listed_listener(const struct status_listener *listener, size_t i)
{
    return i > 0 || status_sum(listener->all.responses, TD_STATUS_CLASSES) > 0;
}

/* ---- lists */

static void
put_workers(td_jsontext *text, const struct status *status)
{
    td_jsontext_open_array(text, "workers");
    for (size_t i = 0; i < status->workers_count && status_goes_on(status, text->to); i++)
        put_worker(text, status, &status->workers[i]);
    td_jsontext_close(text);
}

static void
put_listeners(td_jsontext *text, const struct status *status)
{
    td_jsontext_open_array(text, "listeners");
    for (size_t i = 0; i < status->listeners_count && status_goes_on(status, text->to); i++) {
        if (is_listed_listener(&status->listeners[i], i))
            put_listener(text, &status->listeners[i]);
    }
    td_jsontext_close(text);
}

static void
put_handlers(td_jsontext *text, const struct status *status)
{
    const struct metrics_board *board = status->board;

    td_jsontext_open_array(text, "handlers");
    for (size_t i = 0; i < board->handlers_count && status_goes_on(status, text->to); i++) {
        if (board->handlers[i].generation >= board->generation)
            put_handler(text, &board->handlers[i]);
    }
    td_jsontext_close(text);
}

static void
put_routes(td_jsontext *text, struct status *status)
{
    struct status_route route;

    td_jsontext_open_array(text, "routes");
    for (size_t i = 0; i < status->routes_count && status_goes_on(status, text->to); i++) {
        status_take_route(status, i, &route);
        put_route(text, &route);
    }
    td_jsontext_close(text);
}

static void
put_owns(td_jsontext *text, const struct status *status)
{
    td_jsontext_open_array(text, "handler_metrics");
    for (size_t i = 0; i < status->own_count && status_goes_on(status, text->to); i++)
        put_own(text, &status->own[i]);
    td_jsontext_close(text);
}

void
status_put_json(td_jsontext *text, const char *key, struct status *status)
{
    td_jsontext_open_object(text, key);
    put_daemon(text, status);
    put_workers(text, status);
    put_listeners(text, status);
    put_handlers(text, status);
    put_routes(text, status);
    put_owns(text, status);
    td_jsontext_close(text);
}
