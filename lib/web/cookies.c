/*
 * Cookies of a handler.  Those of the request are looked for when one is asked for; those of the
 * response are kept beside its headers, so that an error page, which forgets those, keeps them.
 */
#include <time.h>
#include "base/clock.h"
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

    if (!td_handler_has(h, "td_get_cookie", name))
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
    td_cookie_options told = *options;
    const char *fault = td_cookie_fault(name, value, &told);

    if (fault != NULL)
        return td_handler_misuse(h, function, fault);
    if (told.expires == TD_COOKIE_SESSION)
        told.expires = 0;
    store_cookie(h, name, td_cookie_format(&h->request->arena, name, value, &told));
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
