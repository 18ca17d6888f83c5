/* Pieces of HTTP for handlers: URLs that get arguments, dates. */
#include <tornado/httputil.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/escape.h"
#include "web/handler.h"

/* ---- URLs */

/* What has to stand between a URL without its fragment and one more argument. */
static td_str
separator(td_str url)
{
    const char last = url.len > 0 ? url.ptr[url.len - 1] : '\0';

    if (url.len == 0 || memchr(url.ptr, '?', url.len) == NULL)
        return TD_STR("?");
    return last == '?' || last == '&' ? TD_STR("") : TD_STR("&");
}

static void
append_escaped(td_buf *out, td_arena *arena, td_str text)
{
    if (!td_str_is_null(text))
        td_buf_append(out, td_url_escape(arena, text, ""));
}

td_str
td_url_concat(td_handler *h, const char *url, const td_argument_pair *arguments, size_t count)
{
    td_arena *arena;
    td_buf out = {0};
    td_str base, whole;

    if (!td_handler_has(h, "td_url_concat", url))
        return td_str_make(NULL, 0);
    arena = td_handler_arena(h);
    base = td_str_make(url, strcspn(url, "#"));
    td_buf_append(&out, base);
    for (size_t i = 0; arguments != NULL && i < count; i++) {
        td_buf_append(&out, i == 0 ? separator(base) : TD_STR("&"));
        append_escaped(&out, arena, arguments[i].name);
        td_buf_append(&out, TD_STR("="));
        append_escaped(&out, arena, arguments[i].value);
    }
    td_buf_append(&out, td_str_of(url + base.len));
    whole = td_str_dup(arena, td_buf_str(&out));
    td_buf_release(&out);
    return whole;
}

/* ---- dates */

td_str
td_format_timestamp(td_handler *h, int64_t time)
{
    char text[TD_HTTP_DATE_LEN + 1];

    if (!td_handler_usable(h, "td_format_timestamp"))
        return td_str_make(NULL, 0);
    td_http_date_format(time, text);
    return td_str_dup(td_handler_arena(h), td_str_make(text, TD_HTTP_DATE_LEN));
}

int
td_parse_timestamp(td_handler *h, td_str text, int64_t *time_out)
{
    time_t time;
    int rc;

    if (!td_handler_has(h, "td_parse_timestamp", time_out))
        return TD_EINVAL;
    rc = td_http_date_parse(text, &time);
    if (rc == 0)
        *time_out = time;
    return rc;
}
