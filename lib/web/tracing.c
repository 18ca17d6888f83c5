#include <tornado/tracing.h>

#include <string.h>
#include "http/traceparent.h"
#include "web/visitor.h"

#define ID_SIZE_MAX 128

static const td_str none;

static bool
is_id(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-._~+/=:@";
    const size_t len = strlen(text);

    return len > 0 && len <= ID_SIZE_MAX && strspn(text, allowed) == len;
}

td_str
td_request_id(td_handler *h)
{
    if (!td_handler_usable(h, "td_request_id") || h->visitor == NULL)
        return none;
    return h->visitor->request_id;
}

int
td_set_request_id(td_handler *h, const char *id)
{
    if (!td_handler_has(h, "td_set_request_id", id))
        return TD_EINVAL;
    if (!is_id(id))
        return TD_EINVAL;
    td_visitor_of(h)->request_id = td_str_dup(&h->request->arena, td_str_of(id));
    return 0;
}

bool
td_is_from_proxy(td_handler *h)
{
    return td_handler_usable(h, "td_is_from_proxy") && td_request_is_from_proxy(h->request);
}

td_str
td_traceparent(td_handler *h)
{
    td_trace trace;

    if (!td_handler_usable(h, "td_traceparent") ||
        !td_traceparent_find(&h->request->head.headers, &trace))
        return none;
    return td_request_header(h, "traceparent");
}

td_str
td_visitor_request_id(const td_request *request)
{
    const td_handler *h = request->handler;

    return h != NULL && h->visitor != NULL ? h->visitor->request_id : none;
}

int64_t
td_visitor_fetch_ns(const td_request *request)
{
    const td_handler *h = request->handler;

    return h != NULL && h->fetch_ns > 0 ? h->fetch_ns : -1;
}
