/*
 * Cookies of a handler.  Those of the request are looked for when one is asked for; those of the
 * response are kept beside its headers, so that an error page, which forgets those, keeps them.
 */
#include <time.h>
#include "base/clock.h"
#include "base/table.h"
#include "http/cookies.h"
#include "http/signer.h"
#include "web/visitor.h"

#define SECONDS_PER_DAY 86400
#define SIGNED_DAYS 30        /* that a signed cookie lasts */
#define SIGNED_DAYS_MAX 31    /* that its signature is good for */

struct td_visitor *
td_visitor_of(td_handler *h)
{
    if (h->visitor == NULL)
        h->visitor = TD_ARENA_NEW(&h->request->arena, struct td_visitor);
    return h->visitor;
}

/* ---- those of the request */

/*
 * The first Cookie line, and the next one; NULL: none.  RFC 6265 section 5.4 allows one; several
 * are as one, joined with "; ".
 */
static const td_header *
first_line(td_handler *h)
{
    const td_headers *headers = &h->request->head.headers;
    const td_header *first = td_headers_find(headers, TD_STR("Cookie"));
    size_t size = 0;

    for (const td_header *line = first; line != NULL; line = td_headers_next(headers, line)) {
        size += line->value.len;
        if (size > (size_t)h->request->limits->max_cookie_size)
            td_handler_raise_quietly(h, 431, "the cookies are larger than max_cookie_size");
    }
    return first;
}

static const td_header *
next_line(const td_handler *h, const td_header *line)
{
    return td_headers_next(&h->request->head.headers, line);
}

static td_str
find_cookie(td_handler *h, td_str name)
{
    td_str found = {NULL, 0};

    for (const td_header *line = first_line(h); line != NULL; line = next_line(h, line)) {
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

    if (!td_handler_has(h, "td_get_cookie", name))
        return value;
    value = find_cookie(h, td_str_of(name));
    return td_str_is_null(value) ? value : td_cookie_unquote(&h->request->arena, value);
}

/* ---- those of the response */

/* Take the one of that name, if there is any, out of the list; returns the end of the list. */
static struct td_new_cookie **
drop_cookie(struct td_new_cookie **at, td_str name)
{
    while (*at != NULL)
        if (td_str_equal((*at)->name, name))
            *at = (*at)->next;
        else
            at = &(*at)->next;
    return at;
}

static struct td_new_cookie *
make_cookie(td_handler *h, td_str name, td_str value, const td_cookie_options *options)
{
    struct td_new_cookie *cookie = TD_ARENA_NEW(&h->request->arena, struct td_new_cookie);

    cookie->name = td_str_dup(&h->request->arena, name);
    cookie->line = td_cookie_format(&h->request->arena, name, value, options);
    return cookie;
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
    td_cookie_options told = *options;
    const char *fault = td_cookie_fault(name, value, &told);

    if (fault != NULL)
        return td_handler_misuse(h, function, fault);
    if (told.expires == TD_COOKIE_SESSION)
        told.expires = 0;
    *drop_cookie(&td_visitor_of(h)->cookies, name) = make_cookie(h, name, value, &told);
    return 0;
}

int
td_set_cookie(td_handler *h, const char *name, const char *value,
              const td_cookie_options *given)
{
    td_cookie_options options;
    int rc = td_response_check_open(h, "td_set_cookie");

    if (rc == 0 && !td_handler_has(h, "td_set_cookie", value))
        rc = TD_EINVAL;
    if (rc == 0)
        rc = take_options(h, "td_set_cookie", given, &options);
    if (rc < 0)
        return rc;
    return set_cookie(h, "td_set_cookie", td_str_of(name), td_str_of(value), &options);
}

/* The options of a cookie that is over. */
static int
take_options_to_clear(td_handler *h, const char *function, const td_cookie_options *given,
                      td_cookie_options *out)
{
    int rc = td_response_check_open(h, function);

    if (rc == 0)
        rc = take_options(h, function, given, out);
    if (rc < 0)
        return rc;
    out->expires = td_clock_cached_wall - 365 * SECONDS_PER_DAY;
    out->max_age = 0;
    return 0;
}

int
td_clear_cookie(td_handler *h, const char *name, const td_cookie_options *given)
{
    td_cookie_options options;
    int rc = take_options_to_clear(h, "td_clear_cookie", given, &options);

    return rc < 0 ? rc : set_cookie(h, "td_clear_cookie", td_str_of(name), TD_STR(""), &options);
}

/* A prefix of its name tells what a cookie was set with: else no browser would have taken it. */
static td_cookie_options
fit_to_prefix(td_str name, td_cookie_options options)
{
    const bool is_host = name.len > 7 && strncasecmp(name.ptr, "__Host-", 7) == 0;

    if (is_host)
        options.domain = options.path = NULL;
    if (is_host || (name.len > 9 && strncasecmp(name.ptr, "__Secure-", 9) == 0))
        options.secure = true;
    return options;
}

/* The names are the client's, as many as max_cookie_size allows: each is looked for in a table. */
static struct td_new_cookie *
clear_each(td_handler *h, const td_cookie_options *options)
{
    struct td_new_cookie *cleared = NULL, **end = &cleared;
    td_table seen;
    td_str rest, name, value;

    td_table_init(&seen);
    for (const td_header *line = first_line(h); line != NULL; line = next_line(h, line))
        for (rest = line->value; td_cookie_next(&rest, &name, &value);) {
            const td_cookie_options own = fit_to_prefix(name, *options);

            if (td_table_get(&seen, name) != NULL)
                continue;
            *end = make_cookie(h, name, TD_STR(""), &own);
            td_table_set(&seen, (*end)->name, *end);
            drop_cookie(&td_visitor_of(h)->cookies, name);
            end = &(*end)->next;
        }
    td_table_fini(&seen);
    return cleared;
}

int
td_clear_all_cookies(td_handler *h, const td_cookie_options *given)
{
    td_cookie_options options;
    const char *fault;
    int rc = take_options_to_clear(h, "td_clear_all_cookies", given, &options);

    if (rc < 0)
        return rc;
    fault = td_cookie_fault(TD_STR("any"), TD_STR(""), &options);
    if (fault != NULL)
        return td_handler_misuse(h, "td_clear_all_cookies", fault);

    struct td_new_cookie *cleared = clear_each(h, &options);

    *drop_cookie(&td_visitor_of(h)->cookies, TD_STR("")) = cleared; /* no cookie is called so */
    return 0;
}

void
td_response_add_cookies(td_handler *h)
{
    for (const struct td_new_cookie *cookie = h->visitor->cookies; cookie != NULL;
         cookie = cookie->next)
        td_headers_add(&h->headers, &h->request->arena, TD_STR("Set-Cookie"), cookie->line);
}

/* ---- signed ones */

/* Made when it is first wanted.  Raises 500 when there is no secret. */
static const td_signer *
signer_of(td_handler *h, const char *function)
{
    const td_application_settings *settings = h->app->settings;

    if (TD_LIKELY(h->app->signer != NULL))
        return h->app->signer;
    if (settings->cookie_secrets.count == 0)
        td_raise(h, 500, "%s: there is no cookie_secret_file in [application:%s]", function,
                 settings->name);
    h->app->signer = td_signer_create(&settings->cookie_secrets);
    return h->app->signer;
}

static td_str
sign(td_handler *h, const char *function, const char *name, td_str value)
{
    return td_signer_sign(signer_of(h, function), &h->request->arena, td_str_of(name), value,
                          td_clock_cached_wall);
}

static td_str
verify(td_handler *h, const char *function, const char *name, td_str text, double max_age_days)
{
    return td_signer_verify(signer_of(h, function), &h->request->arena, td_str_of(name), text,
                            max_age_days != 0 ? max_age_days : SIGNED_DAYS_MAX,
                            td_clock_cached_wall);
}

/* As td_handler_usable, for a function that also wants a name. */
static bool
is_usable(td_handler *h, const char *function, const char *name)
{
    if (!td_handler_usable(h, function))
        return false;
    if (name != NULL)
        return true;
    td_handler_misuse(h, function, "there is no name");
    return false;
}

td_str
td_create_signed_value(td_handler *h, const char *name, td_str value)
{
    if (!is_usable(h, "td_create_signed_value", name))
        return td_str_make(NULL, 0);
    return sign(h, "td_create_signed_value", name, value);
}

td_str
td_decode_signed_value(td_handler *h, const char *name, td_str text, double max_age_days)
{
    if (!is_usable(h, "td_decode_signed_value", name))
        return td_str_make(NULL, 0);
    return verify(h, "td_decode_signed_value", name, text, max_age_days);
}

td_str
td_get_signed_cookie(td_handler *h, const char *name, double max_age_days)
{
    if (!is_usable(h, "td_get_signed_cookie", name))
        return td_str_make(NULL, 0);
    return verify(h, "td_get_signed_cookie", name, td_get_cookie(h, name), max_age_days);
}

int
td_set_signed_cookie(td_handler *h, const char *name, td_str value,
                     const td_cookie_options *given)
{
    td_cookie_options options;
    int rc = td_response_check_open(h, "td_set_signed_cookie");

    if (rc == 0)
        rc = take_options(h, "td_set_signed_cookie", given, &options);
    if (rc < 0)
        return rc;
    if (!is_usable(h, "td_set_signed_cookie", name))
        return TD_EINVAL;
    if (options.expires == 0)
        options.expires = td_clock_cached_wall + SIGNED_DAYS * SECONDS_PER_DAY;
    return set_cookie(h, "td_set_signed_cookie", td_str_of(name),
                      sign(h, "td_set_signed_cookie", name, value), &options);
}
