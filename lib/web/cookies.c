/*
 * Cookies of a handler.  Those of the request are looked for when one is asked for; those of the
 * response are kept beside its headers, so that an error page, which forgets those, keeps them.
 */
#include <time.h>
#include "base/clock.h"
#include "http/cookies.h"
#include "web/visitor.h"

#define SECONDS_PER_DAY 86400

struct td_visitor *
td_visitor_of(td_handler *h)
{
    if (h->visitor == NULL)
        h->visitor = TD_ARENA_NEW(&h->request->arena, struct td_visitor);
    return h->visitor;
}

/* ---- those of the request */

/* RFC 6265 section 5.4 allows one Cookie line; several are as one, joined with "; ". */
static td_str
find_cookie(td_handler *h, td_str name)
{
    const td_headers *headers = &h->request->head.headers;
    const size_t size_max = (size_t)h->request->limits->max_cookie_size;
    td_str found = {NULL, 0};
    size_t size = 0;

    for (const td_header *line = td_headers_find(headers, TD_STR("Cookie")); line != NULL;
         line = td_headers_next(headers, line)) {
        size += line->value.len;
        if (size > size_max)
            td_handler_raise_quietly(h, 431, "the cookies are larger than max_cookie_size");
        const td_str value = td_cookie_find(line->value, name);

        if (!td_str_is_null(value))
            found = value;
    }
    return found;
}

td_str
td_get_cookie(td_handler *h, const char *name)
{
    td_str value = {NULL, 0};

    if (!td_handler_usable(h, "td_get_cookie"))
        return value;
    value = find_cookie(h, td_str_of(name));
    return td_str_is_null(value) ? value : td_cookie_unquote(&h->request->arena, value);
}

/* ---- those of the response */

/* One of the same name makes way, wherever it stood; the new one is the last. */
static void
store_cookie(td_handler *h, td_str name, td_str line)
{
    struct td_new_cookie **at = &td_visitor_of(h)->cookies;
    struct td_new_cookie *cookie = TD_ARENA_NEW(&h->request->arena, struct td_new_cookie);

    while (*at != NULL)
        if (td_str_equal((*at)->name, name))
            *at = (*at)->next;
        else
            at = &(*at)->next;
    cookie->name = td_str_dup(&h->request->arena, name);
    cookie->line = line;
    *at = cookie;
}

/* By the size that it had when the caller was built. */
static int
take_options(td_handler *h, const char *function, const td_cookie_options *given,
             td_cookie_options *out)
{
    *out = (td_cookie_options){.size = sizeof(*out)};
    if (given == NULL)
        return 0;
    if (given->size < sizeof(given->size))
        return td_handler_misuse(h, function, "options are written as &TD_COOKIE(...)");
    memcpy(out, given, given->size < sizeof(*out) ? given->size : sizeof(*out));
    return 0;
}

static int
set_cookie(td_handler *h, const char *function, td_str name, td_str value,
           const td_cookie_options *options)
{
    const char *fault = td_cookie_fault(name, value, options);

    if (fault != NULL)
        return td_handler_misuse(h, function, fault);
    store_cookie(h, name, td_cookie_format(&h->request->arena, name, value, options));
    return 0;
}

int
td_set_cookie(td_handler *h, const char *name, const char *value,
              const td_cookie_options *given)
{
    td_cookie_options options;
    int rc = td_response_check_open(h, "td_set_cookie");

    if (rc == 0)
        rc = take_options(h, "td_set_cookie", given, &options);
    return rc < 0 ? rc : set_cookie(h, "td_set_cookie", td_str_of(name), td_str_of(value), &options);
}

int
td_clear_cookie(td_handler *h, const char *name, const td_cookie_options *given)
{
    td_cookie_options options;
    int rc = td_response_check_open(h, "td_clear_cookie");

    if (rc == 0)
        rc = take_options(h, "td_clear_cookie", given, &options);
    if (rc < 0)
        return rc;
    options.expires = td_clock_cached_wall - 365 * SECONDS_PER_DAY;
    options.max_age = 0;
    return set_cookie(h, "td_clear_cookie", td_str_of(name), TD_STR(""), &options);
}

void
td_response_add_cookies(td_handler *h)
{
    for (const struct td_new_cookie *cookie = h->visitor->cookies; cookie != NULL;
         cookie = cookie->next)
        td_headers_add(&h->headers, &h->request->arena, TD_STR("Set-Cookie"), cookie->line);
}
