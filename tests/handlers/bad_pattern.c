/* Goal: a route that no regular expression describes. */
#include <tornado/tornado.h>

static void
get(td_handler *h)
{
    td_write_text(h, "never");
}

static const td_handler_class Class = {.get = get};

TD_PLUGIN(.name = "bad_pattern", .urls = TD_URLS(TD_URL("/good", &Class), TD_URL("/(bad", &Class)));
