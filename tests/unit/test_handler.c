/*
 * Goal: a handler's life is the one that the public headers promise, however it ends: hooks in
 * order and once, error pages, cancellation, nothing left behind.
 */
#include "base/activity.h"
#include "handler_fixture.h"

static void finish_early(td_handler *h) { td_finish(h), note("after"); }
static void redirect_away(td_handler *h) { td_redirect(h, "/x", false); }
static void refuse_silently(td_handler *h) { td_raise(h, 404, NULL); }
static void fail_after_end(td_handler *h) { say_hello(h), td_finish(h), td_raise(h, 502, "after"); }
static void
wait_then_hello(td_handler *h)
{
    wait_at_gate();
    note("awake");
    say_hello(h);
}

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

/* ---- set_default_headers */

static void
set_and_clear(td_handler *h)
{
    td_set_header(h, "X-Other", "1");
    td_set_header(h, "X-Default", "2");
    td_clear(h);
    say_hello(h);
}

static void
set_another(td_handler *h)
{
    td_set_header(h, "X-Default", "2");
    say_hello(h);
}

static void clear_again(td_handler *h) { td_clear(h), td_set_header(h, "X-Default", "3"); }
static void end_it(td_handler *h) { td_finish(h); }
static void send_403(td_handler *h) { rc[0] = td_send_error(h, 403, NULL); }

static const struct {
    const char *method, *target;
    td_method_fn *get, *set_default_headers;
    int status;
    const char *body, *trace, *header; /* header NULL: there is no X-Default */
} defaults[] = {
    {"GET", "/defaults", say_hello, NULL, 200, "Hello", "defaults get", "1"},
    {"GET", "/defaults", set_another, NULL, 200, "Hello", "defaults get", "2"},
    {"GET", "/defaults", set_and_clear, NULL, 200, "Hello", "defaults get defaults", "1"},
    {"GET", "/defaults", refuse, NULL, 403, PAGE("403: Forbidden"), "defaults get defaults", "1"},
    {"GET", "/defaults", redirect_away, NULL, 302, "", "defaults get", "1"},
    {"GET", "/defaults", say_hello, clear_again, 200, "Hello", "defaults get", "3"},
    {"PUT", "/defaults", NULL, NULL, 405, PAGE("405: Method Not Allowed"), "defaults defaults",
     "1"},
    {"OPTIONS", "/defaults", NULL, NULL, 204, "", "defaults", "1"},
    {"GET", "/full-defaults", say_hello, NULL, 200, "Hello",
     "defaults initialize prepare get on_finish", "1"},
    {"GET", "/full-defaults", refuse, NULL, 403, "my 403",
     "defaults initialize prepare get defaults write_error on_finish", "1"},
    {"GET", "/full-defaults", send_error, NULL, 502, "my 502",
     "defaults initialize prepare get defaults write_error after on_finish", "1"},
    /* One that fails, or ends it. */
    {"GET", "/defaults", say_hello, refuse, 403, PAGE("403: Forbidden"), "defaults", NULL},
    {"GET", "/full-defaults", say_hello, refuse, 403, "my 403", "defaults write_error on_finish",
     NULL},
    {"GET", "/full-defaults", say_hello, end_it, 200, "",
     "defaults initialize on_finish", "1"},
    {"GET", "/defaults", say_hello, send_403, 403, PAGE("403: Forbidden"), "defaults", NULL},
};

START_TEST(headers_of_a_class_are_on_each_of_its_responses)
{
    char line[32] = "";
    web_exchange *x;

    get = defaults[_i].get;
    set_default_headers = defaults[_i].set_default_headers;
    x = web_request(defaults[_i].method, defaults[_i].target, "");
    ck_assert_int_eq(x->status, defaults[_i].status);
    ck_assert_str_eq(x->body, defaults[_i].body);
    ck_assert_str_eq(trace, defaults[_i].trace);
    if (defaults[_i].header != NULL)
        snprintf(line, sizeof(line), "X-Default: %s\n", defaults[_i].header);
    else
        ck_assert_ptr_null(strstr(x->headers, "X-Default"));
    ck_assert_ptr_nonnull(strstr(x->headers, line));
    ck_assert_ptr_null(strstr(x->headers, "X-Other"));
    ck_assert_int_eq(x->finishes, 1);
    web_done(x);
}
END_TEST

static void wait_then_set(td_handler *h) { wait_at_gate(), td_set_header(h, "X-Late", "1"); }

START_TEST(headers_of_a_class_may_be_waited_for)
{
    web_exchange *x;

    get = refuse;
    set_default_headers = wait_then_set;
    x = web_get("/defaults");
    ck_assert_int_eq(x->heads, 0);
    open_gate();
    ck_assert_int_eq(x->status, 403);
    ck_assert_ptr_nonnull(strstr(x->headers, "X-Late: 1\n"));
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

/* ---- crashes */

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

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, a_life_in_one_go, lives);
    ADD_TABLE(tcase, headers_of_a_class_are_on_each_of_its_responses, defaults);
    tcase_add_test(tcase, headers_of_a_class_may_be_waited_for);
    tcase_add_test(tcase, a_method_that_waits_answers_later);
    tcase_add_loop_test(tcase, prepare_and_on_finish_may_wait, 0, 2);
    tcase_add_test(tcase, work_may_go_on_after_the_answer);
    tcase_add_test(tcase, a_client_that_leaves_is_told_to_the_handler_at_once);
    tcase_add_test(tcase, a_handler_that_fails_without_a_client_just_ends);
    tcase_add_test(tcase, cancel_on_close_unwinds_the_method);
    tcase_add_test(tcase, a_response_put_off_ends_for_nobody);
    tcase_add_test(tcase, a_handler_that_waits_too_long_is_cancelled);
    tcase_add_test(tcase, a_response_put_off_too_long_is_answered);
    tcase_add_loop_test(tcase, an_answer_that_has_begun_has_no_deadline, 0, 2);
    tcase_add_test(tcase, the_end_of_the_worker_cancels_all);
    tcase_add_test(tcase, without_a_coroutine_the_answer_is_503);
    tcase_add_test(tcase, what_runs_is_known_after_a_crash);
}

/* Behind middleware it keeps the coroutine that it has. */
static void
fill_alone(TCase *tcase)
{
    tcase_add_test(tcase, hooks_wait_for_a_coroutine);
}

int
main(void)
{
    return handler_run("handler", fill, fill_alone);
}
