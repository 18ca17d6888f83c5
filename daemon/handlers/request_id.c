/*
 * request_id: a name for each request, the same in our log, our answer and whatever is asked further
 * down: that of the proxy before us, or a new one.
 *
 *     [application]
 *     middleware = request_id
 *
 * Handlers find it as the text td_value(h, "request_id").  It stands in all responses, error pages
 * too.
 */
#include <stdio.h>
#include <sys/random.h>
#include "fieldname.h"

#define ID_SIZE_MAX 128 /* bytes of a client's; a longer one is not believed */

struct settings {
    const char *header;
    bool accept;
};

/* What every log can take without quoting. */
static bool
is_id(td_str s)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-._~+/=:@";

    return s.len > 0 && s.len <= ID_SIZE_MAX && strspn(s.ptr, allowed) == s.len;
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
    td_str id = td_str_make(NULL, 0);

    if (settings->accept)
        id = td_request_header(h, settings->header);
    if (!is_id(id))
        id = new_id(h);
    td_set_value(h, "request_id", (void *)id.ptr);
    td_on_head(h, tell, (void *)id.ptr);
    td_next(h);
}

static int
check(const td_instance *instance, td_err *err)
{
    const struct settings *settings = td_instance_settings(instance);

    return fieldname_check("header", settings->header, err);
}

TD_PLUGIN(.name = "request_id", .version = "1.0", .middleware = run, .check = check,
          .options = TD_OPTIONS(
              struct settings,
              TD_OPT_STRING(struct settings, header, "X-Request-ID", "Name of the header."),
              TD_OPT_BOOL(struct settings, accept, "on",
                          "Whether the id of a client is taken, if it is one of 1 to 128 letters, "
                          "digits and -._~+/=:@. Off: all are new.")));
