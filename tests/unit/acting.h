/* For tests of what handlers may call: the handler at "/" does what the test gives it to do. */
#ifndef TESTS_UNIT_ACTING_H
#define TESTS_UNIT_ACTING_H

#include "web_fixture.h"

static td_method_fn *act;

static inline void
do_act(td_handler *h)
{
    act(h);
}

static const td_handler_class Act = {.get = do_act, .post = do_act, .name = "Act"};

static inline void
acting_setup(void)
{
    static const td_url urls[] = {TD_URL("/", &Act), {.pattern = NULL}};

    web_setup();
    web_serve(urls);
}

/* lines: "Name: value\r\n" each, or "". */
static inline web_exchange *
request(const char *method, const char *lines, td_method_fn *fn)
{
    act = fn;
    return web_request(method, "/", lines);
}

#endif
