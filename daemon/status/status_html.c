/* The state as a page for people: no scripts, nothing from elsewhere, texts escaped. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/escape.h"
#include "daemon/status/status.h"

#define REFRESH_S 5
#define ROUTES_SHOWN 200 /* the busiest */

static const char head[] =
    "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
    "<meta name=viewport content=\"width=device-width,initial-scale=1\">"
    "<meta name=color-scheme content=\"light dark\">"
    "<meta http-equiv=refresh content=%d><title>tornadod</title><style>"
    ":root{--line:#ddd;--dim:#666;--bad:#b00;--box:#f6f6f6;--bg:#fff;--fg:#222}"
    "@media(prefers-color-scheme:dark){"
    ":root{--line:#3a3a3a;--dim:#999;--bad:#f77;--box:#222;--bg:#161616;--fg:#ddd}}"
    "*{box-sizing:border-box}"
    "body{font:14px/1.45 system-ui,sans-serif;margin:1em auto;padding:0 1em;max-width:100em;"
    "color:var(--fg);background:var(--bg);font-variant-numeric:tabular-nums}"
    "h1{font-size:1.4em;margin:0}h2{font-size:1.1em;margin:1.5em 0 .3em}"
    "dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5em,1fr));gap:.5em;"
    "margin:1em 0}"
    "dl div{background:var(--box);border-radius:.4em;padding:.4em .7em}"
    "dt,.n{color:var(--dim);font-size:.85em}dd{margin:0;font-size:1.15em;font-weight:600}"
    ".s{overflow-x:auto}table{border-collapse:collapse;min-width:100%%}"
    "td,th{padding:.2em .6em;text-align:right;border-bottom:1px solid var(--line);"
    "white-space:nowrap}"
    "th{font-weight:600;color:var(--dim)}td.t,th.t{text-align:left}"
    "td:first-child,th:first-child{position:sticky;left:0;background:var(--bg);padding-left:0;"
    "max-width:45vw;overflow:hidden;text-overflow:ellipsis}"
    ".bad{color:var(--bad)}"
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

/* 1,234,567 */
static void
put_count(td_buf *to, uint64_t count)
{
    char text[32];
    const int len = snprintf(text, sizeof(text), "%" PRIu64, count);

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            td_buf_append(to, TD_STR(","));
        td_buf_append(to, td_str_make(&text[i], 1));
    }
}

static void
put_count_cell(td_buf *to, uint64_t count)
{
    td_buf_append(to, TD_STR("<td>"));
    put_count(to, count);
}

/* What one would rather see at 0. */
static void
put_bad_cell(td_buf *to, uint64_t count)
{
    td_buf_append(to, count > 0 ? TD_STR("<td class=bad>") : TD_STR("<td>"));
    put_count(to, count);
}

/* In the unit that leaves one to three digits in front of the point; three digits in all. */
static void
put_scaled(td_buf *to, double number, double step, const char *const *units, size_t units_count)
{
    size_t unit = 0;

    while (number >= 999.5 && unit + 1 < units_count) {
        number /= step;
        unit++;
    }
    td_buf_printf(to, "%.*f %s", number >= 99.95 || unit == 0 ? 0 : number >= 9.995 ? 1 : 2, number,
                  units[unit]);
}

/* 0: it was never measured. */
static void
put_duration_cell(td_buf *to, uint64_t ns)
{
    static const char *const units[] = {"ns", "\xc2\xb5s", "ms", "s"};

    td_buf_append(to, TD_STR("<td>"));
    if (ns > 0)
        put_scaled(to, (double)ns, 1000, units, 4);
}

static void
put_size(td_buf *to, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};

    put_scaled(to, (double)bytes, 1024, units, 6);
}

static void
put_size_cell(td_buf *to, uint64_t bytes)
{
    td_buf_append(to, TD_STR("<td>"));
    put_size(to, bytes);
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
    td_buf_printf(to, "<h2>%s</h2><div class=s><table><tr>", title);
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
    td_buf_append(to, TD_STR("</table></div>\n"));
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

/* ---- the daemon as a whole */

static void
open_figure(td_buf *to, const char *title, bool is_bad)
{
    td_buf_printf(to, "<div><dt>%s<dd%s>", title, is_bad ? " class=bad" : "");
}

static void
close_figure(td_buf *to)
{
    td_buf_append(to, TD_STR("</div>\n"));
}

static void
put_figure(td_buf *to, const char *title, uint64_t count)
{
    open_figure(to, title, false);
    put_count(to, count);
    close_figure(to);
}

/* One that is best at 0. */
static void
put_bad_figure(td_buf *to, const char *title, uint64_t count)
{
    open_figure(to, title, count > 0);
    put_count(to, count);
    close_figure(to);
}

static uint64_t
count_serving(const struct status *status)
{
    uint64_t count = 0;

    for (size_t i = 0; i < status->workers_count; i++)
        count += status->workers[i].is.state == METRICS_SERVING;
    return count;
}

static uint64_t
sum_memory(const struct status *status)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < status->workers_count; i++)
        sum += status->workers[i].resident_memory;
    return sum;
}

/* Of those who ask no other server by TLS there is nothing to see. */
static void
put_handshakes(td_buf *to, const td_worker_counters *counters)
{
    const uint64_t *counts = counters->tls_handshakes;

    if (status_sum(counts, TD_HANDSHAKES_COUNT) == 0)
        return;
    put_figure(to, "TLS handshakes", counts[TD_HANDSHAKE_FULL] + counts[TD_HANDSHAKE_RESUMED]);
    put_figure(to, "of them resumed", counts[TD_HANDSHAKE_RESUMED]);
    put_bad_figure(to, "and failed", counts[TD_HANDSHAKE_FAILED]);
}

static void
put_daemon(td_buf *to, const struct status *status)
{
    const struct metrics_board *board = status->board;
    const uint64_t serving = count_serving(status);

    td_buf_printf(to, "<h1>tornadod " TD_VERSION "</h1><p class=n>pid %d, up ", (int)board->master);
    put_time(to, status->now_ns - board->started_ns);
    td_buf_append(to, TD_STR("</p>\n<dl>"));
    put_figure(to, "requests", status_sum(status->responses, TD_STATUS_CLASSES));
    put_bad_figure(to, "answers 5xx", status->responses[5]);
    put_figure(to, "connections",
               status_sum(status->gauges.connections, TD_CONNECTION_STATES_COUNT));
    open_figure(to, "workers", serving < board->workers_wanted);
    td_buf_printf(to, "%" PRIu64 " of %u", serving, board->workers_wanted);
    close_figure(to);
    open_figure(to, "memory", false);
    put_size(to, sum_memory(status));
    close_figure(to);
    put_figure(to, "generation", board->generation);
    put_bad_figure(to, "failed reloads", board->reloads_failed);
    put_bad_figure(to, "workers replaced", status_sum(board->ends, METRICS_ENDS_COUNT));
    put_bad_figure(to, "slow callbacks", status->all.slow_callbacks);
    put_bad_figure(to, "log lines lost", status->all.log_dropped + status->all.access_dropped);
    put_handshakes(to, &status->all);
    td_buf_append(to, TD_STR("</dl>\n"));
}

static void
put_workers(td_buf *to, const struct status *status)
{
    static const char *const states[] = {"", "starting", "serving", "draining"};

    open_table(to, "Workers",
               "worker,pid,generation,*state,up," CLASSES
               ",connections,idle,active,coroutines,jobs waiting,memory");
    for (size_t i = 0; i < status->workers_count && status_goes_on(status, to); i++) {
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
    for (size_t i = 0; i < status->listeners_count && status_goes_on(status, to); i++) {
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

/* ---- the busiest routes */

struct busy {
    uint64_t requests;
    size_t place;
};

static uint64_t
requests_of(const struct status_route *route)
{
    return status_sum(route->all.responses, TD_STATUS_CLASSES);
}

/* Into its place among those that have more; of those with as many the first stays in front. */
static size_t
insert_busy(struct busy busy[ROUTES_SHOWN], size_t count, struct busy one)
{
    size_t i = count < ROUTES_SHOWN ? count : ROUTES_SHOWN - 1;

    if (count == ROUTES_SHOWN && busy[i].requests >= one.requests)
        return count;
    for (; i > 0 && busy[i - 1].requests < one.requests; i--)
        busy[i] = busy[i - 1];
    busy[i] = one;
    return count < ROUTES_SHOWN ? count + 1 : count;
}

/* How many; nothing is written yet, but others have their turns. */
static size_t
find_busiest(td_buf *to, struct status *status, struct busy busy[ROUTES_SHOWN])
{
    struct status_route route;
    size_t count = 0;

    for (size_t i = 0; i < status->routes_count && status_goes_on(status, to); i++) {
        status_take_route(status, i, &route);
        if (i > 0 || requests_of(&route) > 0)
            count = insert_busy(busy, count, (struct busy){requests_of(&route), i});
    }
    return count;
}

static void
put_route(td_buf *to, const struct status_route *route)
{
    td_buf_append(to, TD_STR("<tr>"));
    put_text_cell(to, route->is->pattern);
    put_classes(to, route->all.responses);
    put_duration_cell(to, td_latency_quantile(route->all.buckets, .5));
    put_duration_cell(to, td_latency_quantile(route->all.buckets, .99));
    put_duration_cell(to, td_latency_quantile(route->all.buckets, .999));
    put_size_cell(to, route->all.received);
    put_size_cell(to, route->all.sent);
    put_text_cell(to, route->is->handler);
    put_text_cell(to, route->is->wanted);
    td_buf_append(to, TD_STR("\n"));
}

static void
put_routes(td_buf *to, struct status *status)
{
    struct busy busy[ROUTES_SHOWN];
    struct status_route route;
    const size_t count = find_busiest(to, status, busy);

    open_table(to, "Routes, the busiest first",
               "*route," CLASSES ",p50,p99,p99.9,bodies in,bodies out,*handler,*wanted");
    for (size_t i = 0; i < count && status_goes_on(status, to); i++) {
        status_take_route(status, busy[i].place, &route);
        put_route(to, &route);
    }
    close_table(to);
    if (count == ROUTES_SHOWN && status->routes_count - 1 > count)
        td_buf_printf(to,
                      "<p class=n>The busiest %d of %zu routes; JSON and OpenMetrics have all.\n",
                      ROUTES_SHOWN, status->routes_count - 1);
}

static void
put_handlers(td_buf *to, const struct status *status)
{
    open_table(to, "Handlers", "*handler,*file,*version,crashes,*state");
    for (size_t i = 0; i < status->board->handlers_count && status_goes_on(status, to); i++) {
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
    open_table(to, "What handlers count", "*handler,*metric,*of,*kind,value,*help");
    for (size_t i = 0; i < status->own_count && status_goes_on(status, to); i++) {
        const struct status_own *own = &status->own[i];
        td_buf_append(to, TD_STR("<tr>"));
        put_text_cell(to, own->is->handler);
        put_text_cell(to, own->is->name);
        put_text_cell(to, own->is->value);
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
status_put_html(td_buf *to, struct status *status)
{
    td_buf_printf(to, head, REFRESH_S);
    put_daemon(to, status);
    put_routes(to, status);
    put_workers(to, status);
    put_listeners(to, status);
    put_handlers(to, status);
    put_own(to, status);
    put_errors(to, status);
    td_buf_append(to, TD_STR("</body></html>\n"));
}
