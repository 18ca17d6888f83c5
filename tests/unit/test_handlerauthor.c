/*
 * Goal: an answer may be finished later and a handler kept longer, its memory comes and goes as the
 * author says, and what is misuse is told.
 */
#include <pthread.h>
#include "handler_fixture.h"

/* ---- finishing later */

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

/* ---- references, threads, memory */

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

static void
fill(TCase *tcase)
{
    tcase_add_test(tcase, a_response_may_be_finished_by_a_callback);
    tcase_add_test(tcase, putting_off_twice_is_misuse);
    tcase_add_test(tcase, a_reference_keeps_the_memory);
    tcase_add_test(tcase, one_reference_too_many_given_back_is_misuse);
    tcase_add_test(tcase, a_scope_gives_memory_back_early);
    tcase_add_test(tcase, other_threads_are_told_that_they_may_not);
}

int
main(void)
{
    return handler_run("handlerauthor", fill, NULL);
}
