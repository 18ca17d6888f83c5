/*
 * status: what the daemon is doing, all of its workers together.
 *
 *     /status         JSON, a page or OpenMetrics: what Accept likes best, JSON if it likes none
 *     /status.html    the page; it loads itself anew every few seconds
 *     /status.json
 *     /metrics        OpenMetrics, for Prometheus
 *
 *     [handler:status]
 *     allow = 127.0.0.0/8, ::1, 10.1.0.0/16
 *
 * Others get 403.  Behind a proxy on the same machine all clients come from 127.0.0.1 unless the
 * listener is told to trust it (xheaders); then give the handler a listener of its own, or no
 * address.
 */
#include "networks.h"

struct settings {
    const char *allow;
};

static void
prepare(td_handler *h)
{
    if (!networks_have(td_state(h), td_request_remote_addr(h).ptr))
        td_raise(h, 403, "%s is not in allow", td_request_remote_addr(h).ptr);
    td_set_header(h, "Cache-Control", "no-store");
}

static const char json_type[] = "application/json; charset=UTF-8";
static const char page_type[] = "text/html; charset=UTF-8";

static void
tell(td_handler *h, const char *type, td_metrics_format format)
{
    td_set_header(h, "Content-Type", type);
    td_write_metrics(h, format);
}

static void
get_json(td_handler *h)
{
    tell(h, json_type, TD_METRICS_JSON);
}

static void
get_openmetrics(td_handler *h)
{
    tell(h, TD_OPENMETRICS_TYPE, TD_METRICS_OPENMETRICS);
}

static void
get_page(td_handler *h)
{
    td_set_header(h, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    tell(h, page_type, TD_METRICS_HTML);
}

static void
get_best(td_handler *h)
{
    const char *type = td_best_type(h, json_type, page_type, TD_OPENMETRICS_TYPE);

    if (type == page_type)
        get_page(h);
    else if (type == NULL || type == json_type)
        get_json(h);
    else
        get_openmetrics(h);
}

static int
check(const td_instance *instance, td_err *err)
{
    const struct settings *settings = td_instance_settings(instance);
    struct networks allowed = {NULL, 0};
    const int rc = networks_parse("allow", settings->allow, &allowed, err);

    networks_free(&allowed);
    return rc;
}

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    const struct settings *settings = td_instance_settings(instance);
    struct networks *allowed = *state_out = calloc(1, sizeof(*allowed));

    if (allowed == NULL)
        return td_err_errno(err, "allow");
    return networks_parse("allow", settings->allow, allowed, err);
}

static void
stop(td_instance *instance)
{
    networks_free(td_instance_state(instance));
    free(td_instance_state(instance));
}

static const td_handler_class Json = {.get = get_json, .prepare = prepare};
static const td_handler_class OpenMetrics = {.get = get_openmetrics, .prepare = prepare};
static const td_handler_class Page = {.get = get_page, .prepare = prepare};
static const td_handler_class Best = {.get = get_best, .prepare = prepare};

TD_PLUGIN(.name = "status", .version = "1.0", .check = check, .load = load, .stop = stop,
          .urls = TD_URLS(TD_URL("/status", &Best),
                          TD_URL("/status\\.json", &Json),
                          TD_URL("/status\\.html", &Page),
                          TD_URL("/metrics", &OpenMetrics)),
          .options = TD_OPTIONS(struct settings,
                                TD_OPT_STRING(struct settings, allow, "127.0.0.0/8, ::1",
                                              "Addresses and networks that may ask, with commas in "
                                              "between; others get 403.")));
