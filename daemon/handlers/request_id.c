/*
 * request_id: a name for each request, the same in our log, our answer and whatever is asked
 * further down: that of the proxy before us, or a new one.
 *
 *     [application]
 *     middleware = request_id
 *
 * Handlers find it as td_request_id(h), and as the text td_value(h, "request_id").  It stands in
 * all responses, error pages too, in the error lines of the request, and in access lines (json, or
 * $request_id in access_format).
 */
#include <stdio.h>
#include <sys/random.h>
#include "fieldname.h"

struct settings {
    const char *header;
    const char *accept;
};

static bool
is_believed(td_handler *h, const struct settings *settings)
{
    return strcmp(settings->accept, "all") == 0 ||
           (strcmp(settings->accept, "proxies") == 0 && td_is_from_proxy(h));
}

/* The client's id is ours from here on; false: there is none, or it is not for every log. */
static bool
take_id(td_handler *h, const char *header)
{
    const td_str id = td_request_header(h, header);

    return !td_str_is_null(id) && strlen(id.ptr) == id.len && td_set_request_id(h, id.ptr) == 0;
}

static td_str
new_id(td_handler *h)
{
    unsigned long long words[2] = {0, 0};

    if (getrandom(words, sizeof(words), 0) != (ssize_t)sizeof(words))
        td_raise(h, 500, "there are no random numbers");
    return td_sprintf(h, "%016llx%016llx", words[0], words[1]);
}

static void
tell(td_handler *h, void *id)
{
    const struct settings *settings = td_settings(h);

    td_set_header(h, settings->header, id);
}

static void
run(td_handler *h)
{
    const struct settings *settings = td_settings(h);

    if (!is_believed(h, settings) || !take_id(h, settings->header))
        td_set_request_id(h, new_id(h).ptr);
    const td_str id = td_request_id(h);
    td_set_value(h, "request_id", (void *)id.ptr);
    td_on_head(h, tell, (void *)id.ptr);
    td_next(h);
}

static int
check(const td_instance *instance, td_err *err)
{
    const struct settings *settings = td_instance_settings(instance);

    if (strcmp(settings->accept, "proxies") != 0 && strcmp(settings->accept, "all") != 0 &&
        strcmp(settings->accept, "off") != 0)
        return td_err_set(err, TD_ECONFIG, "accept = %s: it is proxies, all or off",
                          settings->accept);
    return fieldname_check("header", settings->header, err);
}

TD_PLUGIN(.name = "request_id", .version = "1.0", .middleware = run, .check = check,
          .options = TD_OPTIONS(
              struct settings,
              TD_OPT_STRING(struct settings, header, "X-Request-ID", "Name of the header."),
              TD_OPT_STRING(struct settings, accept, "proxies",
                            "Whose id is taken, if it is one of 1 to 128 letters, digits and "
                            "-._~+/=:@. proxies: that of those in trusted_downstream of the "
                            "listener. all: anybody's. off: all are new.")));
