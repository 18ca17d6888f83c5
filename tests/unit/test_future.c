/* Goal: futures are set once and tell everybody in order. */
#include "on_loop.h"

static char one = '1', two = '2', three = '3';

static void
note_done(td_future *future, void *arg)
{
    ck_assert(td_future_is_done(future));
    ck_assert_ptr_nonnull(td_coroutine_current());
    note(*(const char *)arg);
}

/* ---- one future */

START_TEST(callbacks_come_from_the_loop_in_the_order_of_registration)
{
    td_future *future = td_future_create();

    ck_assert_int_eq(td_future_add_done_callback(future, note_done, &one), 0);
    ck_assert_int_eq(td_future_add_done_callback(future, note_done, &two), 0);
    ck_assert_int_eq(td_future_set_result(future, &one), 0);
    ck_assert_str_eq(notes, "");
    turn();
    ck_assert_str_eq(notes, "12");
    td_future_add_done_callback(future, note_done, &three);
    ck_assert_str_eq(notes, "12");
    td_future_unref(future); /* what is registered still comes */
    turn();
    ck_assert_str_eq(notes, "123");
}
END_TEST

START_TEST(it_is_set_once)
{
    td_future *future = td_future_create();

    ck_assert(!td_future_is_done(future));
    ck_assert_ptr_null(td_future_result(future));
    ck_assert_int_eq(td_future_error(future), TD_EINVAL);
    ck_assert_int_eq(td_future_set_error(future, 1), TD_EINVAL);
    ck_assert_int_eq(td_future_set_result(future, &one), 0);
    ck_assert_int_eq(td_future_set_result(future, &two), TD_EINVAL);
    ck_assert_int_eq(td_future_set_error(future, TD_ECLOSED), TD_EINVAL);
    ck_assert(!td_future_cancel(future));
    ck_assert_ptr_eq(td_future_result(future), &one);
    ck_assert_int_eq(td_future_error(future), 0);
    td_future_unref(future);
    td_future_unref(NULL);
}
END_TEST

static void
on_cancel(td_future *future, void *arg)
{
    ck_assert(td_future_is_done(future));
    note(*(const char *)arg);
}

START_TEST(cancelling_tells_the_worker_whose_result_is_then_ignored)
{
    td_future *future = td_future_create();

    td_future_on_cancel(future, on_cancel, &one);
    td_future_add_done_callback(future, note_done, &two);
    ck_assert(td_future_cancel(future));
    ck_assert(!td_future_cancel(future));
    ck_assert_int_eq(td_future_set_result(future, &one), 0);
    ck_assert_int_eq(td_future_set_error(future, TD_ECLOSED), 0);
    ck_assert_int_eq(td_future_error(future), TD_ECANCELED);
    turn();
    ck_assert_str_eq(notes, "12");
    td_future_unref(future);
}
END_TEST

START_TEST(a_failure_that_nobody_looks_at_is_logged)
{
    static const struct {
        int error;
        bool looks;
        int lines;
    } cases[] = {{TD_ECLOSED, false, 1}, {TD_ECLOSED, true, 0}, {0, false, 0}};
    td_future *future = td_future_create();

    if (cases[_i].error != 0)
        td_future_set_error(future, cases[_i].error);
    else
        td_future_set_result(future, NULL);
    if (cases[_i].looks)
        td_future_error(future);
    td_future_unref(future);
    ck_assert_int_eq(logged("a future failed and nobody looked: the other side has gone"),
                     cases[_i].lines);
}
END_TEST

START_TEST(a_future_that_never_ends_frees_its_callbacks)
{
    td_future *future = td_future_create();

    td_future_add_done_callback(future, note_done, &one);
    td_future_unref(future);
    turn();
    ck_assert_str_eq(notes, "");
}
END_TEST

START_TEST(null_is_misuse_and_logged)
{
    ck_assert_ptr_null(td_future_ref(NULL));
    ck_assert_int_eq(td_future_set_result(NULL, NULL), TD_EINVAL);
    ck_assert_int_eq(td_future_set_error(NULL, TD_ECLOSED), TD_EINVAL);
    ck_assert(!td_future_cancel(NULL));
    td_future_on_cancel(NULL, on_cancel, NULL);
    ck_assert(!td_future_is_done(NULL));
    ck_assert_ptr_null(td_future_result(NULL));
    ck_assert_int_eq(td_future_error(NULL), TD_EINVAL);
    ck_assert_int_eq(td_future_add_done_callback(NULL, note_done, NULL), TD_EINVAL);
    ck_assert_ptr_null(td_gather(NULL, 1, NULL));
    ck_assert_ptr_null(td_with_timeout(1, NULL));
    ck_assert_int_eq(logged("[E "), 10);
}
END_TEST

/* ---- td_await */

static void
set_later(void *arg)
{
    td_future *future = arg;

    note('s');
    td_future_set_result(future, &two);
    td_future_unref(future);
}

static void
await_results(void *arg)
{
    td_future *done = td_future_create(), *later = td_future_create();
    void *result = NULL;

    (void)arg;
    td_future_set_result(done, &one);
    ck_assert_int_eq(td_await(done, &result), 0); /* does not suspend */
    ck_assert_ptr_eq(result, &one);
    td_add_callback(loop, set_later, td_future_ref(later));
    ck_assert_str_eq(notes, "");
    ck_assert_int_eq(td_await(later, &result), 0);
    ck_assert_ptr_eq(result, &two);
    ck_assert_str_eq(notes, "s");

    td_future *failed = td_future_create();
    td_future_set_error(failed, TD_ECLOSED);
    ck_assert_int_eq(td_await(failed, &result), TD_ECLOSED);
    ck_assert_ptr_eq(result, &two);
    ck_assert_int_eq(td_await(NULL, NULL), TD_EINVAL);
}

START_TEST(await_gives_the_result_or_the_error)
{
    ck_assert_int_eq(on_coroutine(await_results, NULL), TD_COROUTINE_RETURNED);
    ck_assert_int_eq(logged("nobody looked"), 0);
}
END_TEST

static void
await_and_note(void *arg)
{
    td_await(td_future_ref(arg), NULL);
    note('w');
}

START_TEST(waiters_and_callbacks_are_told_in_the_order_of_their_coming)
{
    td_future *future = td_future_create();
    const td_coroutine_task task = {.run = await_and_note, .arg = future};
    td_coroutine *second;

    td_future_add_done_callback(future, note_done, &one);
    td_coroutine_start(&task, NULL);
    td_coroutine_start(&task, &second);
    td_future_add_done_callback(future, note_done, &two);
    td_future_set_result(future, NULL);
    td_coroutine_cancel(second); /* after it was set and before it was told */
    turn();
    ck_assert_str_eq(notes, "1w2");
    td_future_unref(future);
}
END_TEST

START_TEST(a_waiter_that_is_cancelled_gives_its_reference_back)
{
    td_future *future = td_future_create();
    const td_coroutine_task task = {.run = await_and_note, .arg = future};
    td_coroutine *co;

    td_coroutine_start(&task, &co);
    td_coroutine_cancel(co);
    td_future_set_error(future, TD_ECLOSED);
    td_future_unref(future);
    ck_assert_int_eq(logged("nobody looked"), 1); /* so it was the last reference */
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_loop, close_loop);
    tcase_add_test(tcase, callbacks_come_from_the_loop_in_the_order_of_registration);
    tcase_add_test(tcase, it_is_set_once);
    tcase_add_test(tcase, cancelling_tells_the_worker_whose_result_is_then_ignored);
    tcase_add_loop_test(tcase, a_failure_that_nobody_looks_at_is_logged, 0, 3);
    tcase_add_test(tcase, a_future_that_never_ends_frees_its_callbacks);
    tcase_add_test(tcase, null_is_misuse_and_logged);
    tcase_add_test(tcase, await_gives_the_result_or_the_error);
    tcase_add_test(tcase, waiters_and_callbacks_are_told_in_the_order_of_their_coming);
    tcase_add_test(tcase, a_waiter_that_is_cancelled_gives_its_reference_back);
}

int
main(void)
{
    return unit_run("future", fill);
}
