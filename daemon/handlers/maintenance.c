/*
 * maintenance: as long as a file exists, everybody but the addresses in `allow` gets 503 and a page.
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
#include <arpa/inet.h>
#include "textfile.h"

#define PAGE_SIZE_MAX (1 << 20)
#define LOOK_EVERY_MS 1000
#define SEPARATORS ", \t"

struct settings {
    const char *switch_file, *page, *allow;
    int64_t retry_after; /* ms */
};

/* IPv4 as it stands in IPv6. */
struct network {
    unsigned char address[16];
    int bits;
};

struct notice {
    char *page;
    struct network *allowed;
    size_t allowed_count;
    bool is_on;
    int64_t looked_ms; /* 0: never */
};

static bool
parse_address(const char *text, unsigned char *out)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (inet_pton(AF_INET6, text, out) == 1)
        return true;
    memcpy(out, mapped, sizeof(mapped));
    return inet_pton(AF_INET, text, out + sizeof(mapped)) == 1;
}

static bool
is_in(const struct network *network, const unsigned char *address)
{
    const int whole = network->bits / 8, rest = network->bits % 8;
    const unsigned char mask = (unsigned char)(0xff00 >> rest);

    return memcmp(network->address, address, (size_t)whole) == 0 &&
           (rest == 0 || ((network->address[whole] ^ address[whole]) & mask) == 0);
}

static bool
is_allowed(const struct notice *notice, const char *text)
{
    unsigned char address[16];

    if (!parse_address(text, address))
        return false;
    for (size_t i = 0; i < notice->allowed_count; i++)
        if (is_in(&notice->allowed[i], address))
            return true;
    return false;
}

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
        is_allowed(notice, td_request_remote_addr(h).ptr)) {
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

/* "10.0.0.0/8", or an address alone. */
static int
parse_network(char *text, struct network *out, td_err *err)
{
    char *slash = strchr(text, '/'), *end = NULL;
    const bool is_v4 = strchr(text, ':') == NULL;
    const long bits_max = is_v4 ? 32 : 128;
    long bits = bits_max;

    if (slash != NULL) {
        bits = strtol(slash + 1, &end, 10);
        *slash = '\0';
    }
    if (!parse_address(text, out->address) || bits < 0 || bits > bits_max ||
        (slash != NULL && (end == slash + 1 || *end != '\0')))
        return td_err_set(err, TD_ECONFIG, "allow: '%s%s%s' is no address or network", text,
                          slash != NULL ? "/" : "", slash != NULL ? slash + 1 : "");
    out->bits = (int)bits + (is_v4 ? 96 : 0);
    return 0;
}

static int
parse_allowed(struct notice *notice, const char *list, td_err *err)
{
    char *text = strdup(list), *rest;
    int rc = 0;

    notice->allowed = calloc(strlen(list) / 2 + 1, sizeof(struct network));
    for (char *word = strtok_r(text, SEPARATORS, &rest); word != NULL && rc == 0;
         word = strtok_r(NULL, SEPARATORS, &rest))
        rc = parse_network(word, &notice->allowed[notice->allowed_count++], err);
    free(text);
    return rc;
}

static int
make(const struct settings *settings, struct notice **out, td_err *err)
{
    struct notice *notice = calloc(1, sizeof(*notice));
    int rc = parse_allowed(notice, settings->allow, err);

    *out = notice;
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
    free(notice->allowed);
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
