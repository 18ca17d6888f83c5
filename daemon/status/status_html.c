/* The state as a page for people: no scripts, nothing from elsewhere, texts escaped. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/escape.h"
#include "daemon/status/status.h"

#define REFRESH_S 5
#define ROUTES_SHOWN 200 /* the busiest */

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    "<meta name=\"viewport\" content=\"width=device-width\">"
    "<meta http-equiv=\"refresh\" content=\"%d\"><title>tornadod</title><style>"
    "body{font:14px/1.4 system-ui,sans-serif;margin:1.5em;color:#222;background:#fff}"
    "table{border-collapse:collapse;margin:0 0 1.5em}"
    "td,th{padding:.15em .7em;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}"
    "td.t,th.t{text-align:left}th{font-weight:600}"
    "h1{font-size:1.4em;margin:0}h2{font-size:1.1em;margin:1em 0 .3em}"
    ".bad{color:#b00}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}"
    "td,th{border-color:#444}.bad{color:#f77}}"
    "</style></head><body>\n";

static void
put_escaped(td_buf *to, const char *text)
{
    td_str left = td_str_of(text);

    while (left.len > 0) {
        const size_t plain = td_html_plain(left);
        td_buf_append(to, td_str_make(left.ptr, plain));
        if (plain == left.len)
            return;
        td_buf_append(to, td_html_entity(left.ptr[plain]));
        left = td_str_make(left.ptr + plain + 1, left.len - plain - 1);
    }
}

static void
put_text_cell(td_buf *to, const char *text)
{
    td_buf_append(to, TD_STR("<td class=t>"));
    put_escaped(to, text);
}

static void
put_count_cell(td_buf *to, uint64_t count)
{
    td_buf_printf(to, "<td>%" PRIu64, count);
}

/* What one would rather see at 0. */
static void
put_bad_cell(td_buf *to, uint64_t count)
{
    td_buf_printf(to, count > 0 ? "<td class=bad>%" PRIu64 : "<td>%" PRIu64, count);
}

static void
put_duration_cell(td_buf *to, uint64_t ns)
{
    if (ns < 10 * (uint64_t)TD_NS_PER_S)
        td_buf_printf(to, "<td>%.3g ms", (double)ns / 1e6);
    else
        td_buf_printf(to, "<td>%.0f s", (double)ns / 1e9);
}

static void
put_size_cell(td_buf *to, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double size = (double)bytes;
    int unit = 0;

    while (size >= 1000 && unit < 5) {
        size /= 1024;
        unit++;
    }
    td_buf_printf(to, "<td>%.3g %s", size, units[unit]);
}

static void
put_time(td_buf *to, int64_t ns)
{
    const int64_t seconds = ns / TD_NS_PER_S;

    if (seconds >= 86400)
        td_buf_printf(to, "%" PRId64 " d ", seconds / 86400);
    td_buf_printf(to, "%" PRId64 ":%02d:%02d", seconds / 3600 % 24, (int)(seconds / 60 % 60),
                  (int)(seconds % 60));
}

/* titles: with commas; those of texts begin with a star. */
static void
open_table(td_buf *to, const char *title, const char *titles)
{
    td_buf_printf(to, "<h2>%s</h2><table><tr>", title);
    while (*titles != '\0') {
        const bool is_text = *titles == '*';
        const size_t len = strcspn(titles + is_text, ",");
        td_buf_printf(to, "<th%s>%.*s", is_text ? " class=t" : "", (int)len, titles + is_text);
        titles += is_text + len;
        titles += *titles == ',';
    }
    td_buf_append(to, TD_STR("\n"));
}

static void
close_table(td_buf *to)
{
    td_buf_append(to, TD_STR("</table>\n"));
}

static void
put_classes(td_buf *to, const uint64_t responses[TD_STATUS_CLASSES])
{
    put_count_cell(to, status_sum(responses, TD_STATUS_CLASSES));
    for (unsigned class = 2; class < 5; class ++)
        put_count_cell(to, responses[class]);
    put_bad_cell(to, responses[5]);
}

#define CLASSES "requests,2xx,3xx,4xx,5xx"

static void
put_daemon(td_buf *to, const struct status *status)
{
    const struct metrics_board *board = status->board;
    const uint64_t restarts = status_sum(board->ends, METRICS_ENDS_COUNT);

    td_buf_append(to, TD_STR("<h1>tornadod " TD_VERSION "</h1><p>up "));
    put_time(to, status->now_ns - board->started_ns);
    td_buf_printf(to,
                  ", pid %d, generation %u, %" PRIu64 " requests, %" PRIu64
                  " connections, %" PRIu64 " workers replaced, %" PRIu64 " reloads and %" PRIu64
                  " failed ones, %" PRIu64 " slow callbacks, %" PRIu64 " log lines lost</p>\n",
                  (int)board->master, board->generation,
                  status_sum(status->responses, TD_STATUS_CLASSES),
                  status_sum(status->gauges.connections, TD_CONNECTION_STATES_COUNT), restarts,
                  board->reloads, board->reloads_failed, status->all.slow_callbacks,
                  status->all.log_dropped + status->all.access_dropped);
}

static void
put_workers(td_buf *to, const struct status *status)
{
    static const char *const states[] = {"", "starting", "serving", "draining"};

    open_table(to, "Workers",
               "worker,pid,generation,*state,up," CLASSES
               ",connections,idle,active,coroutines,jobs waiting,memory");
    for (size_t i = 0; i < status->workers_count; i++) {
        const struct status_worker *worker = &status->workers[i];
        td_buf_printf(to, "<tr><td>%u<td>%d<td>%u", worker->is.number, (int)worker->is.pid,
                      worker->is.generation);
        put_text_cell(to, states[worker->is.state % 4]);
        td_buf_append(to, TD_STR("<td>"));
        put_time(to, status->now_ns - worker->is.started_ns);
        put_classes(to, worker->responses);
        put_count_cell(to, worker->connections);
        put_count_cell(to, worker->gauges.connections[TD_CONNECTION_IDLE]);
        put_count_cell(to, worker->gauges.connections[TD_CONNECTION_HANDLING]);
        put_count_cell(to, worker->gauges.coroutines);
        put_count_cell(to, worker->gauges.executor_queue);
        put_size_cell(to, worker->resident_memory);
        td_buf_append(to, TD_STR("\n"));
    }
    close_table(to);
}

static void
put_listeners(td_buf *to, const struct status *status)
{
    open_table(to, "Listeners", "*listener,*address," CLASSES ",accepted,received,sent");
    for (size_t i = 0; i < status->listeners_count; i++) {
        const struct status_listener *listener = &status->listeners[i];
        if (i == 0 && listener->all.accepted == 0)
            continue; /* there was room for all */
        td_buf_append(to, TD_STR("<tr>"));
        put_text_cell(to, listener->is->name);
        put_text_cell(to, listener->is->address);
        put_classes(to, listener->all.responses);
        put_count_cell(to, listener->all.accepted);
        put_size_cell(to, listener->all.received);
        put_size_cell(to, listener->all.sent);
        td_buf_append(to, TD_STR("\n"));
    }
    close_table(to);
}

static uint64_t
requests_of(const struct status_route *route)
{
    return status_sum(route->all.responses, TD_STATUS_CLASSES);
}

static int
compare_routes(const void *a_, const void *b_)
{
    const uint64_t a = requests_of(a_), b = requests_of(b_);

    return a < b ? 1 : a > b ? -1 : 0;
}

/* They come in any order from here on. */
static void
put_routes(td_buf *to, const struct status *status)
{
    const size_t shown = status->routes_count < ROUTES_SHOWN ? status->routes_count : ROUTES_SHOWN;

    qsort(status->routes, status->routes_count, sizeof(*status->routes), compare_routes);
    open_table(to, "Routes, the busiest first",
               "*handler,*route,*wanted," CLASSES ",p50,p99,p99.9,bodies in,bodies out");
    for (size_t i = 0; i < shown; i++) {
        const struct status_route *route = &status->routes[i];
        td_buf_append(to, TD_STR("<tr>"));
        put_text_cell(to, route->is->handler);
        put_text_cell(to, route->is->pattern);
        put_text_cell(to, route->is->wanted);
        put_classes(to, route->all.responses);
        put_duration_cell(to, td_latency_quantile(route->all.buckets, .5));
        put_duration_cell(to, td_latency_quantile(route->all.buckets, .99));
        put_duration_cell(to, td_latency_quantile(route->all.buckets, .999));
        put_size_cell(to, route->all.received);
        put_size_cell(to, route->all.sent);
        td_buf_append(to, TD_STR("\n"));
    }
    close_table(to);
}

static void
put_handlers(td_buf *to, const struct status *status)
{
    open_table(to, "Handlers", "*handler,*file,*version,crashes,*state");
    for (size_t i = 0; i < status->board->handlers_count; i++) {
        const struct metrics_handler *handler = &status->board->handlers[i];
        if (handler->generation < status->board->generation)
            continue;
        td_buf_append(to, TD_STR("<tr>"));
        put_text_cell(to, handler->name);
        put_text_cell(to, handler->file);
        put_text_cell(to, handler->version);
        put_bad_cell(to, handler->crashes);
        put_text_cell(to, handler->is_quarantined ? "quarantined" : "serving");
        td_buf_append(to, TD_STR("\n"));
    }
    close_table(to);
}

static void
put_own(td_buf *to, const struct status *status)
{
    if (status->own_count == 0)
        return;
    open_table(to, "What handlers count", "*handler,*metric,*kind,value,*help");
    for (size_t i = 0; i < status->own_count; i++) {
        const struct status_own *own = &status->own[i];
        td_buf_append(to, TD_STR("<tr>"));
        put_text_cell(to, own->is->handler);
        put_text_cell(to, own->is->name);
        put_text_cell(to, own->is->kind == TD_METRIC_COUNTER ? "counter" : "gauge");
        td_buf_printf(to, "<td>%" PRId64, own->all);
        put_text_cell(to, own->is->help);
        td_buf_append(to, TD_STR("\n"));
    }
    close_table(to);
}

static void
put_errors(td_buf *to, const struct status *status)
{
    open_table(to, "Errors that the daemon itself has answered", "*reason,answers");
    for (unsigned i = 0; i < TD_REASONS_COUNT; i++) {
        if (status->all.reasons[i] == 0)
            continue;
        td_buf_append(to, TD_STR("<tr>"));
        put_text_cell(to, td_reason_names[i]);
        put_count_cell(to, status->all.reasons[i]);
        td_buf_append(to, TD_STR("\n"));
    }
    close_table(to);
}

void
status_put_html(td_buf *to, const struct status *status)
{
    td_buf_printf(to, head, REFRESH_S);
    put_daemon(to, status);
    put_workers(to, status);
    put_routes(to, status);
    put_listeners(to, status);
    put_handlers(to, status);
    put_own(to, status);
    put_errors(to, status);
    td_buf_append(to, TD_STR("</body></html>\n"));
}
