/*
 * Goal: a handler's life is the one that BEHAVIOUR sections 1.8, 5, 9 and the public headers
 * promise, however it ends: hooks in order and once, error pages, cancellation, nothing left
 * behind.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include "base/activity.h"
#include "http/http1connection.h"
#include "web_fixture.h"

static int rc[8];
static td_handler *kept;

static td_method_fn *get, *prepare, *on_finish;
static void (*write_error)(td_handler *h, int status);

static void
call(td_method_fn *fn, td_handler *h)
{
    if (fn != NULL)
        fn(h);
}

static void
do_initialize(td_handler *h, const void *arg)
{
    (void)h;
    note(arg != NULL ? arg : "initialize");
}
static void do_prepare(td_handler *h) { note("prepare"), call(prepare, h); }
static void do_get(td_handler *h) { note("get"), call(get, h); }
static void do_on_finish(td_handler *h) { note("on_finish"), call(on_finish, h); }
static void do_close(td_handler *h) { (void)h, note("close"); }
static void
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
static const td_url urls[] = {
    TD_URL("/plain", &Plain),
    TD_URL("/full", &Full),
    TD_URL("/arg", &Full, .initialize_arg = "initialize_arg"),
    TD_URL("/cancelled", &Cancelled),
    TD_URL("/short", &Short),
    {.pattern = NULL},
};

static void
setup(void)
{
    web_setup();
    web_serve(urls);
    gate = td_future_create();
}

/* Links that only pass on change nothing of it. */
static void
pass_on(td_handler *h)
{
    td_next(h);
}

static void
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

static void say_hello(td_handler *h) { td_write(h, TD_STR("Hello")); }
static void finish_early(td_handler *h) { td_finish(h), note("after"); }
static void redirect_away(td_handler *h) { td_redirect(h, "/x", false); }
static void refuse(td_handler *h) { td_raise(h, 403, "not %s", "you"); }
static void fail_oddly(td_handler *h) { td_raise(h, 200, "odd"); }
static void refuse_silently(td_handler *h) { td_raise(h, 404, NULL); }
static void fail_late(td_handler *h) { say_hello(h), td_flush(h), td_raise(h, 502, "late"); }
static void fail_after_end(td_handler *h) { say_hello(h), td_finish(h), td_raise(h, 502, "after"); }
static void
send_error(td_handler *h)
{
    td_write_text(h, "dropped");
    rc[0] = td_send_error(h, 502, "upstream: %d", 7);
    note("after");
    rc[1] = td_write_text(h, "x");
}
static void
wait_then_hello(td_handler *h)
{
    wait_at_gate();
    note("awake");
    say_hello(h);
}

#define PAGE(text) "<html><title>" text "</title><body>" text "</body></html>"

/* ---- in one go */

static const struct {
    const char *target;
    td_method_fn *get, *prepare, *on_finish;
    int status;
    const char *body, *trace, *log; /* log NULL: nothing is logged */
} lives[] = {
    {"/plain", say_hello, NULL, NULL, 200, "Hello", "get", NULL},
    {"/full", say_hello, NULL, NULL, 200, "Hello", "initialize prepare get on_finish", NULL},
    {"/arg", say_hello, NULL, NULL, 200, "Hello", "initialize_arg prepare get on_finish", NULL},
    {"/full", finish_early, NULL, NULL, 200, "", "initialize prepare get after on_finish", NULL},
    {"/full", say_hello, redirect_away, NULL, 302, "", "initialize prepare on_finish", NULL},
    {"/plain", refuse, NULL, NULL, 403, PAGE("403: Forbidden"), "get",
     "Plain: 403 GET /plain (0.0.0.0): not you"},
    {"/full", refuse, NULL, NULL, 403, "my 403", "initialize prepare get write_error on_finish",
     "Full: 403 GET /full (0.0.0.0): not you"},
    {"/full", NULL, refuse, NULL, 403, "my 403", "initialize prepare write_error on_finish",
     "Full: 403 GET /full (0.0.0.0): not you"},
    {"/full", say_hello, NULL, refuse, 200, "Hello", "initialize prepare get on_finish",
     "Full: 403 GET /full (0.0.0.0): not you"},
    {"/plain", fail_oddly, NULL, NULL, 500, PAGE("500: Internal Server Error"), "get",
     "Plain: 500 GET /plain (0.0.0.0): odd"},
    {"/plain", refuse_silently, NULL, NULL, 404, PAGE("404: Not Found"), "get", NULL},
    {"/full", send_error, NULL, NULL, 502, "my 502",
     "initialize prepare get write_error after on_finish",
     "Full: 502 GET /full (0.0.0.0): upstream: 7"},
    {"/full", fail_after_end, NULL, NULL, 200, "Hello", "initialize prepare get on_finish",
     "Full: 502 GET /full (0.0.0.0): after"},
};

START_TEST(a_life_in_one_go)
{
    web_exchange *x;
    const char *log;

    get = lives[_i].get;
    prepare = lives[_i].prepare;
    on_finish = lives[_i].on_finish;
    x = web_get(lives[_i].target);
    log = web_log();
    ck_assert_int_eq(x->status, lives[_i].status);
    ck_assert_str_eq(x->body, lives[_i].body);
    ck_assert_str_eq(trace, lives[_i].trace);
    ck_assert_int_eq(x->finishes, 1);
    ck_assert_int_eq(x->aborts, 0);
    ck_assert_uint_eq(x->request->references, 1);
    if (lives[_i].log != NULL)
        ck_assert_msg(strstr(log, lives[_i].log) != NULL, "%s", log);
    else
        ck_assert_str_eq(log, "");
    web_done(x);
}
END_TEST

START_TEST(a_client_error_is_a_warning_and_ours_an_error)
{
    get = refuse;
    web_done(web_get("/plain"));
    ck_assert_int_eq(strncmp(web_log(), "[W ", 3), 0);
    get = fail_oddly;
    web_done(web_get("/plain"));
    ck_assert_int_eq(strncmp(web_log(), "[E ", 3), 0);
}
END_TEST

START_TEST(a_failure_after_the_headers_cuts_the_response_off)
{
    web_exchange *x;

    get = fail_late;
    x = web_get("/full");
    ck_assert_int_eq(x->status, 200);
    ck_assert_int_eq(x->aborts, 1);
    ck_assert_int_eq(x->finishes, 0);
    ck_assert_str_eq(trace, "initialize prepare get on_finish");
    web_done(x);
}
END_TEST

static void
fail_in_page(td_handler *h, int status)
{
    td_write_text(h, "dropped");
    td_raise(h, 599, "the page of %d fails", status);
}

static void
fail_in_page_by_return(td_handler *h, int status)
{
    (void)status;
    rc[2] = td_send_error(h, 599, "again");
}

static void
wait_in_page(td_handler *h, int status)
{
    wait_at_gate();
    td_writef(h, "waited for %d", status);
}

START_TEST(a_page_that_fails_leaves_the_status)
{
    td_method_fn *const fails[] = {refuse, send_error};
    web_exchange *x;

    get = fails[_i];
    write_error = fail_in_page;
    x = web_get("/full");
    ck_assert_int_eq(x->status, _i == 0 ? 403 : 502);
    ck_assert_str_eq(x->body, "");
    ck_assert_int_eq(x->length, 0);
    ck_assert_str_eq(trace, "initialize prepare get write_error on_finish");
    web_done(x);
}
END_TEST

START_TEST(a_page_asks_for_no_other_page)
{
    web_exchange *x;

    get = refuse;
    write_error = fail_in_page_by_return;
    x = web_get("/full");
    ck_assert_int_eq(rc[2], TD_EINVAL);
    ck_assert_int_eq(x->status, 403);
    web_done(x);
}
END_TEST

START_TEST(a_page_may_wait)
{
    web_exchange *x;

    get = refuse;
    write_error = wait_in_page;
    x = web_get("/full");
    ck_assert_int_eq(x->heads, 0);
    open_gate();
    ck_assert_str_eq(x->body, "waited for 403");
    ck_assert_str_eq(trace, "initialize prepare get write_error on_finish");
    web_done(x);
}
END_TEST

/* ---- waiting */

START_TEST(a_method_that_waits_answers_later)
{
    web_exchange *x, *other;

    get = wait_then_hello;
    x = web_get("/full");
    ck_assert_uint_eq(td_handlers_running(), 1);
    get = say_hello;
    other = web_get("/plain");
    ck_assert_str_eq(other->body, "Hello");
    web_done(other);
    ck_assert_int_eq(x->heads, 0);
    open_gate();
    ck_assert_str_eq(x->body, "Hello");
    ck_assert_str_eq(trace, "initialize prepare get get awake on_finish");
    ck_assert_uint_eq(x->request->references, 1);
    web_done(x);
}
END_TEST

static void
wait_only(td_handler *h)
{
    (void)h;
    wait_at_gate();
    note("awake");
}

START_TEST(prepare_and_on_finish_may_wait)
{
    web_exchange *x;

    get = say_hello;
    prepare = _i == 0 ? wait_only : NULL;
    on_finish = _i == 1 ? wait_only : NULL;
    x = web_get("/full");
    ck_assert_int_eq(x->finishes, _i);
    if (_i == 1)
        web_done(x); /* on_finish outlives the connection's interest */
    open_gate();
    ck_assert_str_eq(trace, _i == 0 ? "initialize prepare awake get on_finish"
                                    : "initialize prepare get on_finish awake");
    if (_i == 0)
        web_done(x);
}
END_TEST

static void
work_after_the_answer(td_handler *h)
{
    say_hello(h);
    td_finish(h);
    wait_at_gate();
    note((const char *)td_sprintf(h, "%.*s", TD_STR_FMT(td_request_path(h))).ptr);
}

START_TEST(work_may_go_on_after_the_answer)
{
    web_exchange *x;

    get = work_after_the_answer;
    x = web_get("/full");
    ck_assert_int_eq(x->finishes, 1);
    ck_assert_uint_eq(td_handlers_running(), 1);
    web_done(x);
    open_gate();
    ck_assert_str_eq(trace, "initialize prepare get /full on_finish");
}
END_TEST

/* ---- finishing later */

static void
finish_kept(void *arg)
{
    td_handler *h = arg;

    note("callback");
    rc[0] = td_write_text(h, "later");
    rc[1] = td_finish(h);
}

static void
fail_kept(void *arg)
{
    note("callback");
    td_raise(arg, 502, "from a callback");
}

static void
send_error_kept(void *arg)
{
    note("callback");
    rc[1] = td_send_error(arg, 502, "from a callback");
}

static void
put_off(td_handler *h)
{
    kept = h;
    rc[2] = td_asynchronous(h);
}

static void
put_off_twice(td_handler *h)
{
    put_off(h);
    rc[2] = td_asynchronous(h);
}

START_TEST(a_response_may_be_finished_by_a_callback)
{
    web_exchange *x;

    get = put_off;
    x = web_get("/full");
    ck_assert_int_eq(rc[2], 0);
    ck_assert_int_eq(x->heads, 0);
    ck_assert_uint_eq(td_handlers_running(), 1);
    td_call_later(web_loop, 1, finish_kept, kept);
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_str_eq(x->body, "later");
    ck_assert_int_eq(rc[1], 0);
    ck_assert_str_eq(trace, "initialize prepare get callback on_finish");
    ck_assert_uint_eq(x->request->references, 1);
    web_done(x);
}
END_TEST

/* As an exception does that nobody catches: it says nothing of the request. */
static void
fail_unattributed(void *arg)
{
    (void)arg;
    td_coroutine_raise();
}

static void
fail_in_callback_later(td_handler *h)
{
    (void)h;
    td_add_callback(web_loop, fail_unattributed, NULL);
    wait_at_gate();
}

static void
fail_in_spawned(td_handler *h)
{
    (void)h;
    td_future_unref(td_spawn(fail_unattributed, NULL));
    wait_at_gate();
}

static void
await_spawned(td_handler *h)
{
    rc[0] = td_await(td_spawn(fail_unattributed, NULL), NULL);
    td_write_text(h, "handled");
}

START_TEST(a_failure_of_what_a_request_has_started_is_its_500)
{
    td_method_fn *const failing[] = {fail_in_callback_later, fail_in_spawned};

    get = failing[_i];
    web_exchange *x = web_get("/full");
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(x->status, 500);
    ck_assert_str_eq(x->body, "my 500");
    ck_assert_ptr_null(strstr(web_log(), "outside a request"));
    web_done(x);
}
END_TEST

START_TEST(one_that_is_awaited_is_told_and_decides)
{
    get = await_spawned;
    web_exchange *x = web_get("/full");
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(rc[0], TD_ECANCELED);
    ck_assert_str_eq(x->body, "handled");
    web_done(x);
}
END_TEST

START_TEST(putting_off_twice_is_misuse)
{
    web_exchange *x;

    get = put_off_twice;
    x = web_get("/full");
    ck_assert_int_eq(rc[2], TD_EINVAL);
    ck_assert(strstr(web_log(), "Full: td_asynchronous: called twice"));
    finish_kept(kept);
    web_turn();
    web_done(x);
}
END_TEST

START_TEST(a_callback_that_fails_fails_the_request)
{
    td_callback_fn *const fails[] = {fail_kept, send_error_kept};
    web_exchange *x;

    get = put_off;
    x = web_get("/full");
    td_call_later(web_loop, 1, fails[_i], kept);
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(x->status, 502);
    ck_assert_str_eq(x->body, "my 502");
    ck_assert_str_eq(trace, "initialize prepare get callback write_error on_finish");
    ck_assert_uint_eq(x->request->references, 1);
    web_done(x);
}
END_TEST

START_TEST(a_page_that_fails_in_a_callback_leaves_the_status)
{
    web_exchange *x;

    get = put_off;
    write_error = fail_in_page;
    x = web_get("/full");
    td_call_later(web_loop, 1, send_error_kept, kept);
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(x->status, 502);
    ck_assert_str_eq(x->body, "");
    ck_assert_str_eq(trace, "initialize prepare get callback write_error on_finish");
    ck_assert_uint_eq(x->request->references, 1);
    web_done(x);
}
END_TEST

static void
fail_elsewhere_and_wait(td_handler *h)
{
    td_call_later(web_loop, 1, fail_kept, h);
    wait_at_gate();
    note("never");
}

START_TEST(a_callback_that_fails_ends_the_wait_of_the_method)
{
    web_exchange *x;

    get = fail_elsewhere_and_wait;
    x = web_get("/full");
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(x->status, 502);
    ck_assert_str_eq(trace, "initialize prepare get callback write_error on_finish");
    web_done(x);
}
END_TEST

static void
put_off_then_fail(td_handler *h)
{
    put_off(h);
    refuse(h);
}

START_TEST(giving_up_is_finishing)
{
    web_exchange *x;

    get = put_off_then_fail;
    x = web_get("/plain");
    ck_assert_int_eq(x->status, 403);
    web_turn();
    ck_assert_uint_eq(x->request->references, 1);
    web_done(x);
}
END_TEST

/* ---- the client leaves */

static void
wait_then_write(td_handler *h)
{
    wait_at_gate();
    rc[0] = td_write_text(h, "x");
    rc[1] = td_flush(h);
    rc[2] = td_set_header(h, "X", "y");
    rc[3] = td_finish(h);
    note("after");
}

START_TEST(a_client_that_leaves_is_told_to_the_handler_at_once)
{
    web_exchange *x;

    get = wait_then_write;
    x = web_get("/full");
    web_client_leaves(x);
    web_turn();
    ck_assert_str_eq(trace, "initialize prepare get close");
    web_done(x);
    open_gate();
    ck_assert_str_eq(trace, "initialize prepare get close after on_finish");
    ck_assert_int_eq(rc[0], TD_ECLOSED);
    ck_assert_int_eq(rc[1], TD_ECLOSED);
    ck_assert_int_eq(rc[2], 0);
    ck_assert_int_eq(rc[3], TD_ECLOSED);
    ck_assert_str_eq(web_log(), "");
}
END_TEST

static void
wait_then_fail(td_handler *h)
{
    wait_at_gate();
    refuse(h);
}

START_TEST(a_handler_that_fails_without_a_client_just_ends)
{
    web_exchange *x;

    get = wait_then_fail;
    x = web_get("/full");
    web_client_leaves(x);
    web_done(x);
    open_gate();
    ck_assert_str_eq(trace, "initialize prepare get close on_finish");
}
END_TEST

static void
note_defer(void *arg)
{
    note(arg);
}

static void
defer_and_wait(td_handler *h)
{
    (void)h;
    td_defer(note_defer, (void *)(uintptr_t)"deferred");
    wait_at_gate();
    note("never");
}

START_TEST(cancel_on_close_unwinds_the_method)
{
    web_exchange *x;

    get = defer_and_wait;
    x = web_get("/cancelled");
    web_client_leaves(x);
    web_turn();
    ck_assert_str_eq(trace, "get close deferred on_finish");
    ck_assert_uint_eq(x->request->references, 1);
    web_done(x);
}
END_TEST

START_TEST(a_response_put_off_ends_for_nobody)
{
    web_exchange *x;

    get = put_off;
    x = web_get("/full");
    web_client_leaves(x);
    web_done(x);
    web_turn();
    ck_assert_str_eq(trace, "initialize prepare get close");
    finish_kept(kept);
    ck_assert_int_eq(rc[0], TD_ECLOSED);
    ck_assert_int_eq(rc[1], TD_ECLOSED);
    web_turn();
    ck_assert_str_eq(trace, "initialize prepare get close callback on_finish");
}
END_TEST

/* ---- request_timeout, and the end of the worker */

START_TEST(a_handler_that_waits_too_long_is_cancelled)
{
    web_exchange *x;

    get = defer_and_wait;
    x = web_get("/short");
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(x->status, 504);
    ck_assert_str_eq(x->body, PAGE("504: Gateway Timeout"));
    ck_assert_str_eq(trace, "get deferred on_finish");
    ck_assert(strstr(web_log(), "Short: 504 GET /short (0.0.0.0): request_timeout has passed"));
    web_done(x);
}
END_TEST

START_TEST(a_response_put_off_too_long_is_answered)
{
    web_exchange *x;

    get = put_off;
    x = web_get("/short");
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(x->status, 504);
    ck_assert_str_eq(trace, "get on_finish");
    web_done(x);
    finish_kept(kept); /* it is still valid, and this gives it back */
    ck_assert_int_eq(rc[0], TD_ECLOSED);
    ck_assert_int_eq(rc[1], TD_ECLOSED);
    ck_assert_ptr_null(strstr(web_log(), "td_finish"));
}
END_TEST

static void
stream_slowly(td_handler *h)
{
    td_flush(h);
    wait_then_hello(h);
}

START_TEST(an_answer_that_has_begun_has_no_deadline)
{
    td_method_fn *const slow[] = {stream_slowly, work_after_the_answer};
    web_exchange *x;

    get = slow[_i];
    x = web_get("/short");
    WEB_UNTIL(td_clock_ns() > x->request->started_ns + 100 * TD_NS_PER_MS);
    ck_assert_int_eq(x->status, 200);
    open_gate();
    ck_assert_int_eq(x->finishes, 1);
    ck_assert_str_eq(x->body, "Hello");
    ck_assert_str_eq(trace, _i == 0 ? "get awake on_finish" : "get /short on_finish");
    web_done(x);
}
END_TEST

START_TEST(the_end_of_the_worker_cancels_all)
{
    web_exchange *waiting, *putting_off, *working;

    get = defer_and_wait;
    waiting = web_get("/full");
    get = put_off;
    putting_off = web_get("/full");
    get = work_after_the_answer;
    working = web_get("/plain");
    ck_assert_uint_eq(td_handlers_running(), 3);
    td_handlers_cancel_all();
    web_turn();
    ck_assert_int_eq(waiting->status, 503);
    ck_assert_int_eq(putting_off->status, 503);
    ck_assert_int_eq(working->status, 200);
    ck_assert_uint_eq(td_handlers_running(), 0);
    finish_kept(kept);
    web_done(waiting);
    web_done(putting_off);
    web_done(working);
}
END_TEST

/* ---- when no coroutine is left */

START_TEST(without_a_coroutine_the_answer_is_503)
{
    web_exchange *first, *second;

    td_coroutine_configure(&(td_coroutine_options){256 * 1024, 1});
    get = wait_then_hello;
    first = web_get("/full");
    second = web_get("/full");
    ck_assert_int_eq(second->status, 503);
    ck_assert_str_eq(second->body, PAGE("503: Service Unavailable"));
    ck_assert_str_eq(trace, "initialize prepare get");
    ck_assert(strstr(web_log(), "Full: 503 GET /full (0.0.0.0): max_coroutines are in use"));
    web_done(second);
    open_gate();
    ck_assert_str_eq(first->body, "Hello");
    web_done(first);
}
END_TEST

START_TEST(hooks_wait_for_a_coroutine)
{
    web_exchange *x, *blocking;

    td_coroutine_configure(&(td_coroutine_options){256 * 1024, 1});
    get = put_off;
    x = web_get("/full");
    get = wait_then_hello;
    blocking = web_get("/plain");
    web_client_leaves(x);
    finish_kept(kept);
    web_done(x);
    web_turn();
    ck_assert_str_eq(trace, "initialize prepare get get callback");
    open_gate();
    ck_assert_str_eq(trace, "initialize prepare get get callback awake close on_finish");
    ck_assert_str_eq(blocking->body, "Hello");
    web_done(blocking);
}
END_TEST

/* ---- a real connection whose client reads slowly */

static char piece[100000];

static void
stream_much(td_handler *h)
{
    for (int i = 0; i < 40 && rc[0] == 0; i++) {
        memset(piece, 'a' + i % 26, sizeof(piece));
        td_write(h, td_str_make(piece, sizeof(piece)));
        rc[0] = td_flush(h);
        rc[1]++;
    }
    note("streamed");
}

static td_http1context context;
static int client;

static void forget_connection(td_http1connection *conn) { (void)conn; }

static void
connect_client(void)
{
    static td_listener_settings listener;
    int fds[2];

    listener = web_configuration->listeners[0];
    listener.limits.write_high_water = 200000;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    client = fds[1];
    context = (td_http1context){
        .loop = web_loop,
        .settings = &listener,
        .delegate = &td_application_delegate,
        .delegate_arg = web_app,
        .connection_closed = forget_connection,
    };
    td_http1context_init(&context);
    td_http1connection_open(&context, fds[0], &(td_peer){.address_len = 0});
}

static void
send_get(const char *target)
{
    char raw[256];

    snprintf(raw, sizeof(raw), "GET %s HTTP/1.0\r\nHost: x\r\n\r\n", target);
    ck_assert_int_eq(write(client, raw, strlen(raw)), (ssize_t)strlen(raw));
}

START_TEST(flush_waits_for_a_slow_client)
{
    static char answer[5000000];
    size_t len = 0;
    ssize_t n;
    const char *body;

    get = stream_much;
    connect_client();
    send_get("/plain");
    WEB_UNTIL(rc[1] > 0);
    web_turn();
    ck_assert_int_lt(rc[1], 20);
    do {
        web_turn();
        while ((n = read(client, answer + len, sizeof(answer) - len)) > 0)
            len += (size_t)n;
    } while (n != 0);
    ck_assert_str_eq(trace, "get streamed");
    body = strstr(answer, "\r\n\r\n") + 4;
    ck_assert_uint_eq(len - (size_t)(body - answer), 40 * sizeof(piece));
    for (size_t i = 0; i < 40 * sizeof(piece); i++)
        if (body[i] != (char)('a' + i / sizeof(piece) % 26))
            ck_abort_msg("byte %zu", i);
    close(client);
    td_http1context_fini(&context);
}
END_TEST

START_TEST(flush_tells_when_the_client_has_left)
{
    get = stream_much;
    connect_client();
    send_get("/full");
    WEB_UNTIL(rc[1] > 0);
    web_turn();
    close(client);
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(rc[0], TD_ECLOSED);
    ck_assert_str_eq(trace, "initialize prepare get close streamed on_finish");
    td_http1context_fini(&context);
}
END_TEST

/* ---- the rest */

static void
keep_reference(td_handler *h)
{
    int *number = td_alloc(h, sizeof(*number));

    ck_assert_int_eq(*number, 0);
    *number = 7;
    td_set_user_data(h, number);
    kept = td_handler_ref(h);
}

START_TEST(a_reference_keeps_the_memory)
{
    get = keep_reference;
    web_done(web_get("/plain"));
    ck_assert_int_eq(*(int *)td_user_data(kept), 7);
    td_handler_unref(kept);
}
END_TEST

static td_activity seen_activity;

static void
look_at_activity(td_handler *h)
{
    (void)h;
    seen_activity = *(const td_activity *)(uintptr_t)td_activity_slot;
}

START_TEST(what_runs_is_known_after_a_crash)
{
    get = look_at_activity;
    web_done(web_get("/full"));
    ck_assert_uint_eq(seen_activity.instance, 1);
    ck_assert_uint_eq(seen_activity.route, 2);
    ck_assert_uint_eq(seen_activity.request_no, 1);
}
END_TEST

static void *
write_from_elsewhere(void *arg)
{
    rc[0] = td_write_text(arg, "x");
    return NULL;
}

static void
use_a_thread(td_handler *h)
{
    pthread_t thread;

    pthread_create(&thread, NULL, write_from_elsewhere, h);
    pthread_join(thread, NULL);
}

START_TEST(other_threads_are_told_that_they_may_not)
{
    web_exchange *x;

    get = use_a_thread;
    x = web_get("/plain");
    ck_assert_int_eq(rc[0], TD_EINVAL);
    ck_assert_str_eq(x->body, "");
    ck_assert(strstr(web_log(), "Plain: td_write_text: called on another thread"));
    web_done(x);
}
END_TEST

static void *
raise_elsewhere(void *arg)
{
    rc[1] = 1;
    td_raise(arg, 500, "not here");
}

static void
raise_on_a_thread(td_handler *h)
{
    pthread_t thread;

    pthread_create(&thread, NULL, raise_elsewhere, h);
    pthread_join(thread, NULL);
    td_write_text(h, "and goes on");
}

START_TEST(a_raise_on_another_thread_ends_the_thread)
{
    get = raise_on_a_thread;
    web_exchange *x = web_get("/plain");
    ck_assert_int_eq(rc[1], 1);
    ck_assert_str_eq(x->body, "and goes on");
    ck_assert(strstr(web_log(), "Plain: td_raise: called on another thread"));
    web_done(x);
}
END_TEST

static void
unref_too_often(td_handler *h)
{
    td_handler_ref(h);
    td_handler_unref(h);
    td_handler_unref(h);
    td_write_text(h, "still here");
}

START_TEST(one_reference_too_many_given_back_is_misuse)
{
    get = unref_too_often;
    web_exchange *x = web_get("/plain");
    ck_assert_str_eq(x->body, "still here");
    ck_assert(strstr(web_log(), "Plain: td_handler_unref: without a td_handler_ref before"));
    web_done(x);
}
END_TEST

/* Memory of the scope comes again; that of before, of headers and of getters stays. */
static void
stream_rows(td_handler *h)
{
    const td_str before = td_sprintf(h, "before");
    const td_scope scope = td_scope_mark(h);
    const char *first = td_alloc(h, 100);
    const td_scope inner = td_scope_mark(h);

    for (int i = 0; i < 3; i++) {
        memset(td_alloc(h, 9000), '!', 9000);
        td_set_header(h, "X-Row", td_sprintf(h, "row %d of %s", i, td_request_path(h).ptr).ptr);
        rc[0] |= td_scope_rewind(h, inner);
    }
    rc[1] = td_scope_rewind(h, scope);
    rc[2] = td_alloc(h, 100) == first && first[99] == 0;
    td_scope_rewind(h, scope);
    td_alloc(h, 1);
    rc[3] = td_scope_rewind(h, inner);
    rc[4] = td_scope_rewind(NULL, scope);
    td_write(h, before);
    td_write(h, td_request_path(h));
}

START_TEST(a_scope_gives_memory_back_early)
{
    get = stream_rows;
    web_exchange *x = web_get("/plain");
    ck_assert_int_eq(rc[0], 0);
    ck_assert_int_eq(rc[1], 0);
    ck_assert_int_eq(rc[2], 1);
    ck_assert_int_eq(rc[3], TD_EINVAL);
    ck_assert_int_eq(rc[4], TD_EINVAL);
    ck_assert_str_eq(x->body, "before/plain");
    ck_assert(strstr(x->headers, "X-Row: row 2 of /plain\n"));
    web_done(x);
}
END_TEST

static TCase *
make_case(const char *name, void (*set_up)(void))
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, set_up, web_teardown_gate);
    ADD_TABLE(tcase, a_life_in_one_go, lives);
    tcase_add_test(tcase, a_client_error_is_a_warning_and_ours_an_error);
    tcase_add_test(tcase, a_failure_after_the_headers_cuts_the_response_off);
    tcase_add_loop_test(tcase, a_page_that_fails_leaves_the_status, 0, 2);
    tcase_add_test(tcase, a_page_asks_for_no_other_page);
    tcase_add_test(tcase, a_page_may_wait);
    tcase_add_test(tcase, a_method_that_waits_answers_later);
    tcase_add_loop_test(tcase, prepare_and_on_finish_may_wait, 0, 2);
    tcase_add_test(tcase, work_may_go_on_after_the_answer);
    tcase_add_test(tcase, a_response_may_be_finished_by_a_callback);
    tcase_add_loop_test(tcase, a_failure_of_what_a_request_has_started_is_its_500, 0, 2);
    tcase_add_test(tcase, one_that_is_awaited_is_told_and_decides);
    tcase_add_test(tcase, putting_off_twice_is_misuse);
    tcase_add_loop_test(tcase, a_callback_that_fails_fails_the_request, 0, 2);
    tcase_add_test(tcase, a_page_that_fails_in_a_callback_leaves_the_status);
    tcase_add_test(tcase, a_callback_that_fails_ends_the_wait_of_the_method);
    tcase_add_test(tcase, giving_up_is_finishing);
    tcase_add_test(tcase, a_client_that_leaves_is_told_to_the_handler_at_once);
    tcase_add_test(tcase, a_handler_that_fails_without_a_client_just_ends);
    tcase_add_test(tcase, cancel_on_close_unwinds_the_method);
    tcase_add_test(tcase, a_response_put_off_ends_for_nobody);
    tcase_add_test(tcase, a_handler_that_waits_too_long_is_cancelled);
    tcase_add_test(tcase, a_response_put_off_too_long_is_answered);
    tcase_add_loop_test(tcase, an_answer_that_has_begun_has_no_deadline, 0, 2);
    tcase_add_test(tcase, the_end_of_the_worker_cancels_all);
    tcase_add_test(tcase, without_a_coroutine_the_answer_is_503);
    tcase_add_test(tcase, flush_waits_for_a_slow_client);
    tcase_add_test(tcase, flush_tells_when_the_client_has_left);
    tcase_add_test(tcase, a_reference_keeps_the_memory);
    tcase_add_test(tcase, what_runs_is_known_after_a_crash);
    tcase_add_test(tcase, a_raise_on_another_thread_ends_the_thread);
    tcase_add_test(tcase, one_reference_too_many_given_back_is_misuse);
    tcase_add_test(tcase, a_scope_gives_memory_back_early);
    tcase_add_test(tcase, other_threads_are_told_that_they_may_not);
    return tcase;
}

int
main(void)
{
    Suite *suite = suite_create("handler");
    TCase *life = make_case("life", setup);

    tcase_add_test(life, hooks_wait_for_a_coroutine); /* behind middleware it keeps the one it has */
    suite_add_tcase(suite, life);
    suite_add_tcase(suite, make_case("life behind middleware", setup_behind_middleware));
    return unit_run_suite(suite);
}
