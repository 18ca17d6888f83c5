/* Goal: a handler that calls what nobody has. */
#include <tornado/tornado.h>

int td_there_is_no_such_call(td_handler *h);

static void
get(td_handler *h)
{
    td_there_is_no_such_call(h);
}

static const td_handler_class Class = {.get = get};

TD_PLUGIN(.name = "undefined_symbol", .urls = TD_URLS(TD_URL("/undefined", &Class)));
