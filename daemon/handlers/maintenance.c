/*
 * maintenance: as long as a file exists, everybody but the addresses in `allow` gets 503 and a
 * page.
 *
 *     [application]
 *     middleware = maintenance
 *     [handler:maintenance]
 *     switch_file = /run/tornadod/maintenance
 *     page = /etc/tornadod/maintenance.html
 *     allow = 127.0.0.1, 10.0.0.0/8, 2001:db8::/32
 *
 * It is looked for at most once a second, so `touch` and `rm` switch it without a reload.
 */
#include "networks.h"
#include "textfile.h"

#define PAGE_SIZE_MAX (1 << 20)
#define LOOK_EVERY_MS 1000

struct settings {
    const char *switch_file, *page, *allow;
    int64_t retry_after; /* ms */
};

struct notice {
    char *page;
    struct networks allowed;
    bool is_on;
    int64_t looked_ms; /* 0: never */
};

static bool
is_on(struct notice *notice, const char *file)
{
    const int64_t now_ms = td_ioloop_time_ms();

    if (notice->looked_ms == 0 || now_ms - notice->looked_ms >= LOOK_EVERY_MS) {
        notice->looked_ms = now_ms;
        notice->is_on = access(file, F_OK) == 0;
    }
    return notice->is_on;
}

static void
run(td_handler *h)
{
    const struct settings *settings = td_settings(h);
    struct notice *notice = td_state(h);

    if (settings->switch_file[0] == '\0' || !is_on(notice, settings->switch_file) ||
        networks_have(&notice->allowed, td_request_remote_addr(h).ptr)) {
        td_next(h);
        return;
    }
    td_set_status(h, 503, NULL);
    td_set_header(h, "Retry-After",
                  td_sprintf(h, "%lld", (long long)settings->retry_after / 1000).ptr);
    td_set_header(h, "Cache-Control", "no-store");
    td_write_text(h, notice->page != NULL ? notice->page
                                          : "<html><title>Maintenance</title><body>We are working "
                                            "on it and will be back soon.</body></html>");
    td_finish(h);
}

/* ---- the settings */

static int
make(const struct settings *settings, struct notice **out, td_err *err)
{
    struct notice *notice = *out = calloc(1, sizeof(*notice));
    int rc;

    if (notice == NULL)
        return td_err_errno(err, "the notice");
    rc = networks_parse("allow", settings->allow, &notice->allowed, err);
    if (rc == 0 && settings->switch_file[0] != '\0' && settings->switch_file[0] != '/')
        rc = td_err_set(err, TD_ECONFIG, "switch_file = %s: the path has to begin with a slash",
                        settings->switch_file);
    if (rc == 0 && settings->page[0] != '\0')
        rc = textfile_read("page", settings->page, PAGE_SIZE_MAX, &notice->page, err);
    return rc;
}

static void
destroy(struct notice *notice)
{
    if (notice == NULL)
        return;
    networks_free(&notice->allowed);
    free(notice->page);
    free(notice);
}

static int
check(const td_instance *instance, td_err *err)
{
    struct notice *notice;
    const int rc = make(td_instance_settings(instance), &notice, err);

    destroy(notice);
    return rc;
}

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    struct notice *notice;
    const int rc = make(td_instance_settings(instance), &notice, err);

    *state_out = notice;
    return rc;
}

static void
stop(td_instance *instance)
{
    destroy(td_instance_state(instance));
}

#define OPTION(type_, ...) TD_OPT_##type_(struct settings, __VA_ARGS__)

TD_PLUGIN(.name = "maintenance", .version = "1.0", .middleware = run, .check = check,
          .load = load, .stop = stop,
          .options = TD_OPTIONS(
              struct settings,
              OPTION(STRING, switch_file, "",
                     "File that switches maintenance on by being there. Unset: it is never on."),
              OPTION(STRING, page, "", "HTML file that is shown. Unset: a sentence."),
              OPTION(STRING, allow, "",
                     "Addresses and networks that are served nevertheless, with commas in between."),
              OPTION(TIME, retry_after, "5m", 0, 86400000, "The header Retry-After.")));
