/* Goal: everything that a middleware can do, well or wrong: the header X-Do says what. */
#include <stdlib.h>
#include <tornado/tornado.h>

struct settings {
    const char *mark;
};

/* The sanitizers are not to find this: a real crash is wanted. */
#define UNWATCHED __attribute__((no_sanitize("address", "undefined")))

static int *volatile nowhere;

UNWATCHED static void
crash(void)
{
    *nowhere = 1;
}

static void
mark(td_handler *h, void *arg)
{
    (void)arg;
    td_add_header(h, "X-Mark", ((const struct settings *)td_settings(h))->mark);
}

static bool
is_asked(td_handler *h, const char *what)
{
    return td_str_equal(td_request_header(h, "X-Do"), td_str_of(what));
}

static void
run(td_handler *h)
{
    td_on_head(h, mark, NULL);
    if (is_asked(h, "crash"))
        crash();
    if (is_asked(h, "forget"))
        return;
    if (is_asked(h, "refuse"))
        td_raise(h, 403, "asked to refuse");
    if (is_asked(h, "wait"))
        td_sleep(20);
    if (is_asked(h, "wait long"))
        td_sleep(60000);
    if (is_asked(h, "answer")) {
        td_write_text(h, "mine");
        td_finish(h);
        return;
    }
    td_next(h);
    if (is_asked(h, "crash after"))
        crash();
    if (is_asked(h, "wait after"))
        td_sleep(20);
    if (is_asked(h, "twice"))
        td_next(h);
    td_log_info("link %s: %d", ((const struct settings *)td_settings(h))->mark, td_get_status(h));
}

TD_PLUGIN(.name = "links", .version = "1.0", .middleware = run,
          .options = TD_OPTIONS(struct settings,
                                TD_OPT_STRING(struct settings, mark, "plain", "Value of X-Mark.")));
