/*
 * cors: which other sites may read our answers (the Fetch standard, section 3.2).
 *
 *     [application]
 *     middleware = cors
 *     [handler:cors]
 *     origins = https://www.example.org, https://app.example.org
 *     credentials = on
 *
 * A preflight is answered here, before anything that wants a user.  An origin that is not listed is
 * served like anybody, without the headers: it is the browser that keeps the answer from the site.
 */
#include <stdlib.h>
#include "fieldname.h"

#define SEPARATORS ", \t"

struct settings {
    const char *origins, *methods, *headers, *expose;
    bool credentials;
    int64_t max_age; /* ms */
};

/* What stands before and behind the star; one without a star has no `after`. */
struct origin {
    td_str before, after;
};

struct policy {
    char *text; /* that the origins lie in */
    struct origin *origins;
    size_t count;
    bool any;
};

/* Nothing in the place of a star may end the host or begin another. */
static bool
is_subdomain(td_str s)
{
    return s.len > 0 && strspn(s.ptr, "abcdefghijklmnopqrstuvwxyz0123456789-.") >= s.len;
}

static bool
matches(const struct origin *allowed, td_str origin)
{
    const size_t fixed = allowed->before.len + allowed->after.len;

    if (td_str_is_null(allowed->after))
        return td_str_equal(allowed->before, origin);
    return origin.len > fixed && memcmp(origin.ptr, allowed->before.ptr, allowed->before.len) == 0 &&
           memcmp(origin.ptr + origin.len - allowed->after.len, allowed->after.ptr,
                  allowed->after.len) == 0 &&
           is_subdomain(td_str_make(origin.ptr + allowed->before.len, origin.len - fixed));
}

static bool
is_allowed(const struct policy *policy, td_str origin)
{
    if (td_str_is_null(origin))
        return false;
    for (size_t i = 0; i < policy->count; i++)
        if (matches(&policy->origins[i], origin))
            return true;
    return policy->any;
}

/* What caches have to tell apart. */
static void
vary(td_handler *h, const char *names)
{
    td_add_header(h, "Vary", names);
}

static void
allow_origin(td_handler *h, td_str origin)
{
    const struct settings *settings = td_settings(h);
    const struct policy *policy = td_state(h);

    if (policy->any)
        td_set_header(h, "Access-Control-Allow-Origin", "*");
    else if (is_allowed(policy, origin))
        td_set_header(h, "Access-Control-Allow-Origin", origin.ptr);
    if (settings->credentials && is_allowed(policy, origin))
        td_set_header(h, "Access-Control-Allow-Credentials", "true");
}

static void
complete(td_handler *h, void *arg)
{
    const struct settings *settings = td_settings(h);
    const struct policy *policy = td_state(h);
    const td_str origin = td_request_header(h, "Origin");

    (void)arg;
    if (!policy->any)
        vary(h, "Origin");
    allow_origin(h, origin);
    if (settings->expose[0] != '\0' && is_allowed(policy, origin))
        td_set_header(h, "Access-Control-Expose-Headers", settings->expose);
}

static bool
is_preflight(td_handler *h)
{
    return td_str_equal(td_request_method(h), TD_STR("OPTIONS")) &&
           !td_str_is_null(td_request_header(h, "Origin")) &&
           !td_str_is_null(td_request_header(h, "Access-Control-Request-Method"));
}

static void
answer_preflight(td_handler *h)
{
    const struct settings *settings = td_settings(h);
    const td_str origin = td_request_header(h, "Origin");

    td_set_status(h, 204, NULL);
    vary(h, "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    if (is_allowed(td_state(h), origin)) {
        allow_origin(h, origin);
        td_set_header(h, "Access-Control-Allow-Methods", settings->methods);
        if (settings->headers[0] != '\0')
            td_set_header(h, "Access-Control-Allow-Headers", settings->headers);
        td_set_header(h, "Access-Control-Max-Age",
                      td_sprintf(h, "%lld", (long long)settings->max_age / 1000).ptr);
    }
    td_finish(h);
}

static void
run(td_handler *h)
{
    if (is_preflight(h)) {
        answer_preflight(h);
        return;
    }
    td_on_head(h, complete, NULL);
    td_next(h);
}

/* ---- the setting */

static bool
ends_in(const char *text, const char *end)
{
    const size_t len = strlen(text), end_len = strlen(end);

    return len > end_len && strcmp(text + len - end_len, end) == 0;
}

/* Browsers write hosts in lower case and leave the usual port out, so it would match none. */
static bool
is_never_sent(const char *origin)
{
    return strpbrk(origin, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != NULL ||
           (strncmp(origin, "https://", 8) == 0 && ends_in(origin, ":443")) ||
           (strncmp(origin, "http://", 7) == 0 && ends_in(origin, ":80"));
}

static int
add_origin(struct policy *policy, char *text, td_err *err)
{
    struct origin *origin = &policy->origins[policy->count];
    char *star = strchr(text, '*');

    if (strcmp(text, "*") == 0) {
        policy->any = true;
        return 0;
    }
    if (star != NULL && (star - text < 3 || strncmp(star - 3, "://", 3) != 0 || star[1] != '.' ||
                         strchr(star + 1, '*') != NULL))
        return td_err_set(err, TD_ECONFIG,
                          "origins: '%s': a star stands for a subdomain, as in https://*.example.org, "
                          "or alone",
                          text);
    if (strcmp(text, "null") != 0 &&
        (strstr(text, "://") == NULL || strchr(strstr(text, "://") + 3, '/') != NULL))
        return td_err_set(err, TD_ECONFIG,
                          "origins: '%s' is no origin: a scheme, a host and perhaps a port, as in "
                          "https://example.org",
                          text);
    if (is_never_sent(text))
        return td_err_set(err, TD_ECONFIG,
                          "origins: '%s': browsers send it in lower case, without :443 or :80",
                          text);
    origin->before = td_str_of(text);
    if (star != NULL)
        *origin = (struct origin){td_str_make(text, (size_t)(star - text)), td_str_of(star + 1)};
    policy->count++;
    return 0;
}

static int
make(const struct settings *settings, struct policy **out, td_err *err)
{
    struct policy *policy = *out = calloc(1, sizeof(*policy));
    char *rest;
    int rc = 0;

    if (policy == NULL)
        return td_err_errno(err, "origins");
    policy->text = strdup(settings->origins);
    policy->origins = calloc(strlen(settings->origins) / 2 + 1, sizeof(struct origin));
    if (policy->text == NULL || policy->origins == NULL)
        return td_err_errno(err, "origins");
    for (char *text = strtok_r(policy->text, SEPARATORS, &rest); text != NULL && rc == 0;
         text = strtok_r(NULL, SEPARATORS, &rest))
        rc = add_origin(policy, text, err);
    if (rc == 0 && policy->any && settings->credentials)
        rc = td_err_set(err, TD_ECONFIG,
                        "origins = * with credentials = on: every site could act as the user");
    return rc;
}

static void
destroy(struct policy *policy)
{
    if (policy == NULL)
        return;
    free(policy->origins);
    free(policy->text);
    free(policy);
}

static int
check(const td_instance *instance, td_err *err)
{
    const struct settings *settings = td_instance_settings(instance);
    struct policy *policy;
    int rc = make(settings, &policy, err);

    destroy(policy);
    if (rc == 0)
        rc = fieldname_check_list("methods", settings->methods, err);
    if (rc == 0)
        rc = fieldname_check_list("headers", settings->headers, err);
    if (rc == 0)
        rc = fieldname_check_list("expose", settings->expose, err);
    return rc;
}

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    struct policy *policy;
    const int rc = make(td_instance_settings(instance), &policy, err);

    *state_out = policy;
    return rc;
}

static void
stop(td_instance *instance)
{
    destroy(td_instance_state(instance));
}

#define OPTION(type_, ...) TD_OPT_##type_(struct settings, __VA_ARGS__)

TD_PLUGIN(.name = "cors", .version = "1.0", .middleware = run, .check = check,
          .load = load, .stop = stop,
          .options = TD_OPTIONS(
              struct settings,
              OPTION(STRING, origins, "",
                     "Sites that may read answers, with commas in between: https://example.org, "
                     "https://*.example.org for all its subdomains, null, or * for any site."),
              OPTION(STRING, methods, "GET, HEAD, POST, PUT, PATCH, DELETE",
                     "What they may do, as a preflight is told."),
              OPTION(STRING, headers, "Content-Type, Authorization, X-Requested-With",
                     "Request headers that they may set. Empty: none but those that always may be."),
              OPTION(STRING, expose, "", "Response headers that they may read."),
              OPTION(BOOL, credentials, "off", "Whether they may act with the user's cookies."),
              OPTION(TIME, max_age, "10m", 0, 86400000, "How long browsers keep a preflight.")));
