/* Goal: futures are set once, tell everybody in order, and combine as Tornado's do (19.3-5). */
#include "tests/unit/on_loop.h"

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

/* ---- td_gather */

static td_future *
done_with(void *result, int error)
{
    td_future *future = td_future_create();

    if (error != 0)
        td_future_set_error(future, error);
    else
        td_future_set_result(future, result);
    return future;
}

static void
gather_results(void *arg)
{
    td_future *twice = td_future_create();
    td_future *futures[] = {td_future_create(), done_with(&two, 0), twice, twice};
    void *results[4] = {NULL};

    (void)arg;
    td_add_callback(loop, set_later, td_future_ref(futures[0]));
    td_future *whole = td_gather(futures, 4, results);
    td_sleep(0);
    td_sleep(0);
    ck_assert(!td_future_is_done(whole));
    td_future_set_result(twice, &three);
    ck_assert_int_eq(td_await(whole, NULL), 0);
    ck_assert_ptr_eq(results[0], &two);
    ck_assert_ptr_eq(results[1], &two);
    ck_assert_ptr_eq(results[2], &three);
    ck_assert_ptr_eq(results[3], &three);
    ck_assert_int_eq(td_await(td_gather(NULL, 0, NULL), NULL), 0);
}

START_TEST(gather_waits_for_all_and_keeps_their_order)
{
    ck_assert_int_eq(on_coroutine(gather_results, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static void
gather_failures(void *arg)
{
    td_future *last = td_future_create();
    td_future *futures[] = {done_with(&one, 0), last, done_with(NULL, TD_ETOOBIG),
                            done_with(NULL, TD_ECANCELED)};
    void *results[4] = {NULL};
    td_future *whole = td_gather(futures, 4, results);

    (void)arg;
    td_sleep(1);
    ck_assert(!td_future_is_done(whole)); /* waits for all, failed or not */
    td_future_set_error(last, TD_ECLOSED);
    ck_assert_int_eq(td_await(whole, NULL), TD_ECLOSED); /* first of the list, last in time */
    ck_assert_ptr_eq(results[0], &one);
    ck_assert_ptr_null(results[1]);

    td_future *missing[] = {NULL};
    ck_assert_int_eq(td_await(td_gather(missing, 1, NULL), NULL), TD_EINVAL);
}

START_TEST(gather_fails_with_the_first_of_the_list_and_logs_the_others)
{
    ck_assert_int_eq(on_coroutine(gather_failures, NULL), TD_COROUTINE_RETURNED);
    ck_assert_int_eq(logged("td_gather: another of its futures failed"), 1);
    ck_assert_int_eq(logged("nobody looked"), 0);
}
END_TEST

static void
gather_on_the_stack(void *arg)
{
    td_future *futures[] = {td_future_ref(arg)};
    void *results[1] = {NULL};

    td_await(td_gather(futures, 1, results), NULL);
}

static void
fill_the_stack(void *arg)
{
    uintptr_t filled[64];

    (void)arg;
    for (int i = 0; i < 64; i++)
        filled[i] = 0x5a;
    td_sleep(1);
    for (int i = 0; i < 64; i++)
        ck_assert_uint_eq(filled[i], 0x5a);
}

START_TEST(results_of_a_cancelled_gather_are_not_written)
{
    td_future *future = td_future_create();
    const td_coroutine_task task = {.run = gather_on_the_stack, .arg = future};
    td_coroutine *co;

    td_coroutine_start(&task, &co);
    td_coroutine_cancel(co);
    td_future_set_result(future, &one);
    td_future_unref(future);
    on_coroutine(fill_the_stack, NULL); /* the same stack */
}
END_TEST

/* ---- td_with_timeout */

static void
await_with_timeout(void *arg)
{
    td_future *slow = td_future_create(), *quick = td_future_create(), *parts[1];
    void *result = NULL, *results[1] = {NULL};

    (void)arg;
    ck_assert_int_eq(td_await(td_with_timeout(1, td_future_ref(slow)), NULL), TD_ETIMEDOUT);
    ck_assert(!td_future_is_done(slow)); /* goes on */
    td_future_set_error(slow, TD_ECLOSED);
    td_future_unref(slow);

    td_add_callback(loop, set_later, td_future_ref(quick));
    ck_assert_int_eq(td_await(td_with_timeout(1000, quick), &result), 0);
    ck_assert_ptr_eq(result, &two);
    ck_assert_int_eq(td_await(td_with_timeout(0, done_with(NULL, TD_ETOOBIG)), NULL), TD_ETOOBIG);

    parts[0] = done_with(&three, 0);
    ck_assert_int_eq(td_await(td_with_timeout(1000, td_gather(parts, 1, results)), NULL), 0);
    ck_assert_ptr_eq(results[0], &three);
}

START_TEST(a_timeout_ends_the_wait_and_not_the_work)
{
    ck_assert_int_eq(on_coroutine(await_with_timeout, NULL), TD_COROUTINE_RETURNED);
    ck_assert_int_eq(logged("nobody looked"), 1); /* the late failure of `slow` */
}
END_TEST

START_TEST(combinations_go_with_the_loop)
{
    td_future *never = td_future_create();
    td_future *futures[] = {td_future_ref(never), td_with_timeout(1000, td_future_ref(never))};
    void *results[2];

    td_future_unref(td_gather(futures, 2, results));
    td_future_set_result(never, NULL); /* posted, never told */
    td_ioloop_destroy(&loop);
    td_future_unref(never);
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
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
    tcase_add_test(tcase, gather_waits_for_all_and_keeps_their_order);
    tcase_add_test(tcase, gather_fails_with_the_first_of_the_list_and_logs_the_others);
    tcase_add_test(tcase, results_of_a_cancelled_gather_are_not_written);
    tcase_add_test(tcase, a_timeout_ends_the_wait_and_not_the_work);
    tcase_add_test(tcase, combinations_go_with_the_loop);
}

int
main(void)
{
    return unit_run("future", fill);
}
