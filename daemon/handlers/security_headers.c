/*
 * security_headers: what tells browsers to trust a site less.  A header that a handler has set
 * itself stays as it is; an option that is empty sets none.
 *
 *     [application]
 *     middleware = security_headers
 *     [handler:security_headers]
 *     hsts = 365d
 *     content_security_policy = default-src 'self'
 */
#include <tornado/tornado.h>

struct settings {
    bool nosniff, hsts_subdomains;
    const char *frame_options, *referrer_policy, *opener_policy, *content_security_policy,
        *permissions_policy;
    int64_t hsts; /* ms */
};

static void
set(td_handler *h, const char *name, const char *value)
{
    if (value[0] != '\0' && td_str_is_null(td_response_header(h, name)))
        td_set_header(h, name, value);
}

static void
complete(td_handler *h, void *arg)
{
    const struct settings *settings = td_settings(h);

    (void)arg;
    if (settings->nosniff)
        set(h, "X-Content-Type-Options", "nosniff");
    set(h, "X-Frame-Options", settings->frame_options);
    set(h, "Referrer-Policy", settings->referrer_policy);
    set(h, "Cross-Origin-Opener-Policy", settings->opener_policy);
    set(h, "Content-Security-Policy", settings->content_security_policy);
    set(h, "Permissions-Policy", settings->permissions_policy);
    /* RFC 6797 section 7.2: not over a transport that is not secure. */
    if (settings->hsts > 0 && td_str_equal(td_request_scheme(h), TD_STR("https")))
        set(h, "Strict-Transport-Security",
            td_sprintf(h, "max-age=%lld%s", (long long)settings->hsts / 1000,
                       settings->hsts_subdomains ? "; includeSubDomains" : "")
                .ptr);
}

static void
run(td_handler *h)
{
    td_on_head(h, complete, NULL);
    td_next(h);
}

#define OPTION(type_, ...) TD_OPT_##type_(struct settings, __VA_ARGS__)

TD_PLUGIN(.name = "security_headers", .version = "1.0", .middleware = run,
          .options = TD_OPTIONS(
              struct settings,
              OPTION(BOOL, nosniff, "on", "X-Content-Type-Options: nosniff."),
              OPTION(STRING, frame_options, "SAMEORIGIN", "X-Frame-Options."),
              OPTION(STRING, referrer_policy, "strict-origin-when-cross-origin",
                     "Referrer-Policy."),
              OPTION(STRING, opener_policy, "same-origin", "Cross-Origin-Opener-Policy."),
              OPTION(STRING, content_security_policy, "", "Content-Security-Policy."),
              OPTION(STRING, permissions_policy, "", "Permissions-Policy."),
              OPTION(TIME, hsts, "0", 0, INT64_C(100) * 365 * 86400 * 1000,
                     "max-age of Strict-Transport-Security, which is sent over https alone. 0: "
                     "none."),
              OPTION(BOOL, hsts_subdomains, "off", "includeSubDomains in it.")));
