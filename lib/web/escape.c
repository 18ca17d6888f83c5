/*
 * Escaping for handlers, and the look at what td_writef writes that debug has: an argument that
 * brings markup into a page is nearly always one that was not escaped.
 */
#include <tornado/escape.h>
#include "base/escape.h"
#include "base/log.h"
#include "web/handler.h"

/* ---- text to text */

td_str
td_escape(td_handler *h, td_str text)
{
    td_str escaped;

    if (!td_handler_usable(h, "td_escape") || td_str_is_null(text))
        return td_str_make(NULL, 0);
    escaped = td_html_escape(td_handler_arena(h), text);
    return escaped.ptr != text.ptr ? escaped : td_str_dup(td_handler_arena(h), text);
}

td_str
td_escape_url(td_handler *h, td_str text)
{
    if (!td_handler_usable(h, "td_escape_url") || td_str_is_null(text))
        return td_str_make(NULL, 0);
    return td_url_escape(td_handler_arena(h), text, "");
}

td_str
td_unescape_url(td_handler *h, td_str text)
{
    if (!td_handler_usable(h, "td_unescape_url") || td_str_is_null(text))
        return td_str_make(NULL, 0);
    return td_url_unescape(td_handler_arena(h), text, true);
}

/* "</" as "<\/", which is the same to JSON, and does not end a script element. */
td_str
td_escape_json(td_handler *h, td_str text)
{
    td_buf json = {0};
    const char *slash;
    td_str copy;

    if (!td_handler_usable(h, "td_escape_json") || td_str_is_null(text))
        return td_str_make(NULL, 0);
    td_buf_append(&json, TD_STR("\""));
    while ((slash = memmem(text.ptr, text.len, "</", 2)) != NULL) {
        const size_t len = (size_t)(slash + 1 - text.ptr);

        td_json_escape(&json, td_str_make(text.ptr, len));
        td_buf_append(&json, TD_STR("\\/"));
        text = td_str_make(text.ptr + len + 1, text.len - len - 1);
    }
    td_json_escape(&json, text);
    td_buf_append(&json, TD_STR("\""));
    copy = td_str_dup(td_handler_arena(h), td_buf_str(&json));
    td_buf_release(&json);
    return copy;
}

/* ---- debug: what arguments of td_writef bring */

/* Not &, which is what escaped text consists of. */
static bool
is_markup(char c)
{
    return c == '<' || c == '>' || c == '"' || c == '\'';
}

static size_t
count_markup(td_str text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.len; i++)
        count += is_markup(text.ptr[i]);
    return count;
}

/* What the author has written: all of a format but its conversions, in which a ' is a flag. */
static size_t
count_markup_of_format(const char *format)
{
    size_t count = 0;

    while (*format != '\0') {
        if (*format == '%')
            format += 1 + strspn(format + 1, "-+ #0'I123456789.*$hlLqjzt");
        else
            count += is_markup(*format);
        format += *format != '\0';
    }
    return count;
}

static bool
is_html(const td_handler *h)
{
    static const td_str html = TD_STR("text/html");
    const td_header *type = td_headers_find(&h->headers, TD_STR("Content-Type"));

    return type != NULL && type->value.len >= html.len &&
           td_str_equal_nocase(td_str_make(type->value.ptr, html.len), html);
}

/* True the first time that it is asked of the route of this request. */
static bool
is_first_of_route(td_handler *h)
{
    const td_route *route = td_handler_route(h);
    struct td_told_route *told = h->app->told_of_markup;

    while (told != NULL && told->route != route)
        told = told->next;
    if (told != NULL)
        return false;
    told = TD_ARENA_NEW(&h->app->arena, struct td_told_route);
    *told = (struct td_told_route){.next = h->app->told_of_markup, .route = route};
    h->app->told_of_markup = told;
    return true;
}

void
td_escape_check(td_handler *h, const char *format, td_str written)
{
    if (count_markup(written) > count_markup_of_format(format) && is_html(h) &&
        is_first_of_route(h))
        td_handler_warn(h, "td_writef", "an argument has brought markup into text/html; "
                                        "td_write_escaped is for what is not meant as such");
}
