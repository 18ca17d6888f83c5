/*
 * Goal: a handler's life is the one that BEHAVIOUR sections 1.8, 5, 9 and the public headers promise,
 * however it ends: hooks in order and once, error pages, cancellation, nothing left behind.
 */
#include "web_fixture.h"

static char trace[512];

static void
note(const char *word)
{
    if (trace[0] != '\0')
        strcat(trace, " ");
    strcat(trace, word);
}

static void
trace_initialize(td_handler *h, const void *arg)
{
    (void)h;
    note("initialize");
    if (arg != NULL)
        note(arg);
}
static void trace_prepare(td_handler *h) { (void)h; note("prepare"); }
static void trace_on_finish(td_handler *h) { (void)h; note("on_finish"); }
static void trace_close(td_handler *h) { (void)h; note("close"); }

static void
hello(td_handler *h)
{
    note("get");
    td_write(h, TD_STR("Hello"));
}

static const td_handler_class Hello = {
    .get = hello, .initialize = trace_initialize, .prepare = trace_prepare,
    .on_finish = trace_on_finish, .on_connection_close = trace_close,
};

START_TEST(hooks_run_in_order)
{
    web_serve(TD_URLS(TD_URL("/hello", &Hello, .initialize_arg = "arg")));
    web_exchange *x = web_get("/hello");
    ck_assert_str_eq(trace, "initialize arg prepare get on_finish");
    ck_assert_int_eq(x->status, 200);
    ck_assert_str_eq(x->body, "Hello");
    ck_assert_int_eq(x->length, 5);
    ck_assert_int_eq(x->finishes, 1);
    web_done(x);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("handler");
    TCase *tcase = tcase_create("life");

    tcase_add_checked_fixture(tcase, web_setup, web_teardown);
    tcase_add_test(tcase, hooks_run_in_order);
    suite_add_tcase(suite, tcase);
    return web_main(suite);
}
