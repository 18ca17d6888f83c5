/* What is logged of a handler: misuse, what it was answered with, and that it held the loop. */
#include "web/handler_internal.h"

#include <inttypes.h>
#include <xxhash.h>
#include "base/clock.h"
#include "base/counters.h"
#include "web/visitor.h"

const char *
td_handler_name(const td_handler *h)
{
    const td_route *route = td_handler_route(h);

    if (route->class->name != NULL)
        return route->class->name;
    return route->pattern != NULL ? route->pattern : "*";
}

int
td_handler_misuse(const td_handler *h, const char *function, const char *what)
{
    if (h == NULL)
        td_log(TD_LOG_ERROR, "%s: %s", function, what);
    else
        td_log_at(TD_LOG_ERROR, td_handler_instance(h)->name, "%s: %s: %s", td_handler_name(h),
                  function, what);
    return TD_EINVAL;
}

void
td_handler_warn(const td_handler *h, const char *function, const char *what)
{
    td_log_at(TD_LOG_WARNING, td_handler_instance(h)->name, "%s: %s: %s", td_handler_name(h),
              function, what);
}

td_str
td_handler_request_line(const void *owner)
{
    const td_handler *h = owner;

    if (h == NULL || h->request == NULL)
        return td_str_make(NULL, 0);
    const td_str raw = h->request->head.raw;
    const char *end = raw.len > 0 ? memchr(raw.ptr, '\r', raw.len) : NULL;
    return td_str_make(raw.ptr, end != NULL ? (size_t)(end - raw.ptr) : 0);
}

/* Some clients share one, so that a crowd of them cannot fill the log either. */
td_log_gate *
td_handler_gate(const td_handler *h)
{
    static td_log_gate gates[64];
    char ip[TD_PEER_TEXT_SIZE];
    const size_t len = td_peer_format(&h->request->peer, ip);

    return &gates[XXH3_64bits(ip, len) % (sizeof(gates) / sizeof(gates[0]))];
}

void
td_handler_log_error(td_handler *h, td_log_gate *gate, int status, td_str text)
{
    const td_log_level level = status >= 500 ? TD_LOG_ERROR : TD_LOG_WARNING;
    const char *module = td_handler_instance(h)->name;
    const td_head *head = &h->request->head;
    const td_str id = td_visitor_request_id(h->request);
    char ip[TD_PEER_TEXT_SIZE];
    td_str line;

    td_peer_format(&h->request->peer, ip);
    line = td_arena_sprintf(&h->request->arena, "%s: %d %.*s %.*s (%s%s%.*s): %.*s",
                            td_handler_name(h), status, TD_STR_FMT(head->method_name),
                            head->target.len < 256 ? (int)head->target.len : 256,
                            head->target.ptr, ip, id.len > 0 ? ", id " : "", TD_STR_FMT(id),
                            TD_STR_FMT(text));
    if (gate != NULL)
        td_log_gated(gate, level, module, "%s", line.ptr);
    else
        td_log_at(level, module, "%s", line.ptr);
    h->why = text;
}

void
td_handler_log_reason(td_handler *h, td_log_gate *gate, int status, td_str text)
{
    td_count_reason(status, text.ptr);
    td_handler_log_error(h, gate, status, text);
}

void
td_handler_log_stretch(const void *owner, const char *module, int64_t duration_ns)
{
    static td_log_gate gate;
    const td_handler *h = owner;
    const double ms = (double)duration_ns / (double)TD_NS_PER_MS;

    td_counters->slow_callbacks++;
    if (h == NULL) {
        td_log_gated(&gate, TD_LOG_WARNING, module != NULL ? module : "daemon",
                     "a hook, timer or task held the loop for %.0f ms (slow_callback)", ms);
        return;
    }
    const td_head *head = &h->request->head;
    if (h->request->counters != NULL)
        h->request->counters->slow_callbacks++;
    td_log_gated(&gate, TD_LOG_WARNING, td_handler_instance(h)->name,
                 "%s: held the loop for %.0f ms: request %" PRIu64 ", %.*s %.*s (slow_callback)",
                 td_handler_name(h), ms, h->request->number, TD_STR_FMT(head->method_name),
                 head->target.len < 256 ? (int)head->target.len : 256, head->target.ptr);
}

void
td_handler_log_given(td_handler *h, td_log_gate *gate, int status, const char *format, va_list args)
{
    if (format != NULL)
        td_handler_log_error(h, gate, status, td_arena_vsprintf(&h->request->arena, format, args));
}
