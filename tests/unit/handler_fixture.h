/*
 * For the unit tests of a handler's life: classes whose hooks note that they were called and do
 * what the test says; each test runs as it is, and behind middleware that only passes on.
 */
#ifndef TESTS_UNIT_HANDLER_FIXTURE_H
#define TESTS_UNIT_HANDLER_FIXTURE_H

#include "web_fixture.h"

static int rc[8];
static td_handler *kept;

static td_method_fn *get, *prepare, *on_finish, *set_default_headers;
static void (*write_error)(td_handler *h, int status);

static inline void
call(td_method_fn *fn, td_handler *h)
{
    if (fn != NULL)
        fn(h);
}

static inline void
do_initialize(td_handler *h, const void *arg)
{
    (void)h;
    note(arg != NULL ? arg : "initialize");
}
static inline void do_prepare(td_handler *h) { note("prepare"), call(prepare, h); }
static inline void do_get(td_handler *h) { note("get"), call(get, h); }
static inline void do_on_finish(td_handler *h) { note("on_finish"), call(on_finish, h); }
static inline void
do_set_default_headers(td_handler *h)
{
    note("defaults");
    td_set_header(h, "X-Default", "1");
    call(set_default_headers, h);
}
static inline void do_close(td_handler *h) { (void)h, note("close"); }
static inline void
do_write_error(td_handler *h, int status)
{
    note("write_error");
    if (write_error != NULL)
        write_error(h, status);
    else
        td_writef(h, "my %d", status);
}

static const td_handler_class Plain = {.get = do_get, .name = "Plain"};
static const td_handler_class Full = {
    .get = do_get, .initialize = do_initialize, .prepare = do_prepare, .on_finish = do_on_finish,
    .on_connection_close = do_close, .write_error = do_write_error, .name = "Full"};
static const td_handler_class Cancelled = {
    .get = do_get, .on_finish = do_on_finish, .on_connection_close = do_close,
    .flags = TD_CANCEL_ON_CLOSE, .name = "Cancelled"};
static const td_handler_class Short = {
    .get = do_get, .on_finish = do_on_finish, .request_timeout_ms = 30, .name = "Short"};
static const td_handler_class Defaults = {
    .get = do_get, .set_default_headers = do_set_default_headers, .name = "Defaults"};
static const td_handler_class FullDefaults = {
    .get = do_get, .initialize = do_initialize, .prepare = do_prepare, .on_finish = do_on_finish,
    .write_error = do_write_error, .set_default_headers = do_set_default_headers,
    .name = "FullDefaults"};
static const td_url urls[] = {
    TD_URL("/plain", &Plain),
    TD_URL("/full", &Full),
    TD_URL("/arg", &Full, .initialize_arg = "initialize_arg"),
    TD_URL("/cancelled", &Cancelled),
    TD_URL("/short", &Short),
    TD_URL("/defaults", &Defaults),
    TD_URL("/full-defaults", &FullDefaults),
    {.pattern = NULL},
};

static inline void
setup(void)
{
    web_setup();
    web_serve(urls);
    gate = td_future_create();
}

/* Links that only pass on change nothing of it. */
static inline void
pass_on(td_handler *h)
{
    td_next(h);
}

static inline void
setup_behind_middleware(void)
{
    static const td_plugin plugin = {.name = "link", .middleware = pass_on};
    static td_instance links[] = {{.name = "a", .plugin = &plugin, .index = 101},
                                  {.name = "b", .plugin = &plugin, .index = 102}};
    static const td_instance *const chain[] = {&links[0], &links[1], NULL};

    web_setup();
    td_application_set_middleware(web_app, chain);
    web_serve(urls);
    gate = td_future_create();
}

static inline void say_hello(td_handler *h) { td_write(h, TD_STR("Hello")); }
static inline void refuse(td_handler *h) { td_raise(h, 403, "not %s", "you"); }
static inline void fail_oddly(td_handler *h) { td_raise(h, 200, "odd"); }

static inline void
send_error(td_handler *h)
{
    td_write_text(h, "dropped");
    rc[0] = td_send_error(h, 502, "upstream: %d", 7);
    note("after");
    rc[1] = td_write_text(h, "x");
}

static inline void
put_off(td_handler *h)
{
    kept = h;
    rc[2] = td_asynchronous(h);
}

static inline void
finish_kept(void *arg)
{
    td_handler *h = arg;

    note("callback");
    rc[0] = td_write_text(h, "later");
    rc[1] = td_finish(h);
}

#define PAGE(text) "<html><title>" text "</title><body>" text "</body></html>"

static inline TCase *
handler_case(const char *name, void (*set_up)(void), void (*fill)(TCase *tcase))
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, set_up, web_teardown_gate);
    fill(tcase);
    return tcase;
}

/* A suite of these twice, and of those that fill_alone adds, which may be NULL, once. */
static inline int
handler_run(const char *name, void (*fill)(TCase *tcase), void (*fill_alone)(TCase *tcase))
{
    Suite *suite = suite_create(name);
    TCase *alone = handler_case("alone", setup, fill);

    if (fill_alone != NULL)
        fill_alone(alone);
    suite_add_tcase(suite, alone);
    suite_add_tcase(suite, handler_case("behind middleware", setup_behind_middleware, fill));
    return unit_run_suite(suite);
}

#endif
