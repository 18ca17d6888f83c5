/* Goal: a handler that reaches behind the public headers. */
#include <tornado/tornado.h>

long td_clock_ns(void);

static void
get(td_handler *h)
{
    td_writef(h, "%ld", td_clock_ns());
}

static const td_handler_class Class = {.get = get};

TD_PLUGIN(.name = "private_symbol", .urls = TD_URLS(TD_URL("/private", &Class)));
