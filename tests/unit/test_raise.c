/*
 * Goal: whoever gives up, in the handler or in what it has started, by td_raise or td_send_error,
 * gives the request its error page, once.
 */
#include <pthread.h>
#include "handler_fixture.h"

/* ---- error pages */

static void fail_late(td_handler *h) { say_hello(h), td_flush(h), td_raise(h, 502, "late"); }

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

/* ---- callbacks */

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

/* ---- threads */

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
fill(TCase *tcase)
{
    tcase_add_test(tcase, a_client_error_is_a_warning_and_ours_an_error);
    tcase_add_test(tcase, a_failure_after_the_headers_cuts_the_response_off);
    tcase_add_loop_test(tcase, a_page_that_fails_leaves_the_status, 0, 2);
    tcase_add_test(tcase, a_page_asks_for_no_other_page);
    tcase_add_test(tcase, a_page_may_wait);
    tcase_add_loop_test(tcase, a_failure_of_what_a_request_has_started_is_its_500, 0, 2);
    tcase_add_test(tcase, one_that_is_awaited_is_told_and_decides);
    tcase_add_loop_test(tcase, a_callback_that_fails_fails_the_request, 0, 2);
    tcase_add_test(tcase, a_page_that_fails_in_a_callback_leaves_the_status);
    tcase_add_test(tcase, a_callback_that_fails_ends_the_wait_of_the_method);
    tcase_add_test(tcase, giving_up_is_finishing);
    tcase_add_test(tcase, a_raise_on_another_thread_ends_the_thread);
}

int
main(void)
{
    return handler_run("raise", fill, NULL);
}
