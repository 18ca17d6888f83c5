/* Goal: what is made of several futures ends as Tornado's does. */
#include "on_loop.h"

static char one = '1', two = '2', three = '3';

static void
set_later(void *arg)
{
    td_future *future = arg;

    td_future_set_result(future, &two);
    td_future_unref(future);
}

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

/* ---- td_first */

static void
await_first(void *arg)
{
    td_future *slow = td_future_create(), *quick = td_future_create();
    td_future *race[] = {td_future_ref(slow), quick};
    void *result = NULL;

    (void)arg;
    td_add_callback(loop, set_later, td_future_ref(quick));
    ck_assert_int_eq(td_await(td_first(race, 2), &result), 0);
    ck_assert_ptr_eq(result, &two);
    ck_assert(!td_future_is_done(slow)); /* goes on */
    td_future_set_error(slow, TD_ECLOSED);
    td_future_unref(slow);

    td_future *failed = done_with(NULL, TD_ETOOBIG);
    td_future *again[] = {failed, failed, td_future_create()};
    ck_assert_int_eq(td_await(td_first(again, 3), NULL), TD_ETOOBIG);
}

START_TEST(the_first_to_end_decides_and_the_others_go_on)
{
    ck_assert_int_eq(on_coroutine(await_first, NULL), TD_COROUTINE_RETURNED);
    ck_assert_int_eq(logged("nobody looked"), 1); /* the late failure of `slow` */
}
END_TEST

START_TEST(a_race_goes_with_the_loop)
{
    td_future *never = td_future_create();
    td_future *race[] = {td_future_ref(never)};

    td_future_unref(td_first(race, 1));
    td_ioloop_destroy(&loop);
    td_future_unref(never);
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
}
END_TEST

/* ---- td_wait_iterator */

static void
iterate(void *arg)
{
    td_future *late = td_future_create(), *soon = td_future_create(), *twice = done_with(&one, 0);
    td_future *futures[] = {late, soon, twice, twice, done_with(NULL, TD_ECLOSED)};
    td_wait_iterator *iterator = td_wait_iterator_create(futures, 5);
    size_t index = 99;

    (void)arg;
    for (size_t expected = 2; expected <= 4; expected++) {
        ck_assert_ptr_eq(td_wait_iterator_next(iterator, &index), futures[expected]);
        ck_assert_uint_eq(index, expected);
    }
    ck_assert_int_eq(td_future_error(futures[4]), TD_ECLOSED);
    td_add_callback(loop, set_later, td_future_ref(soon));
    ck_assert_ptr_eq(td_wait_iterator_next(iterator, &index), soon);
    ck_assert_uint_eq(index, 1);
    td_add_callback(loop, set_later, td_future_ref(late));
    ck_assert_ptr_eq(td_wait_iterator_next(iterator, NULL), late);
    ck_assert_ptr_null(td_wait_iterator_next(iterator, NULL)); /* all were given */
    td_wait_iterator_destroy(&iterator);
    ck_assert_ptr_null(iterator);
    td_wait_iterator_destroy(&iterator);
}

START_TEST(the_iterator_gives_futures_in_the_order_of_their_ends)
{
    ck_assert_int_eq(on_coroutine(iterate, NULL), TD_COROUTINE_RETURNED);
    ck_assert_int_eq(logged("[E "), 0);
}
END_TEST

static void
wait_and_note(void *arg)
{
    note(td_wait_iterator_next(arg, NULL) == NULL ? '0' : '1');
}

START_TEST(an_iterator_that_goes_wakes_who_waits_in_it)
{
    td_future *never = td_future_create();
    td_future *futures[] = {td_future_ref(never)};
    td_wait_iterator *iterator = td_wait_iterator_create(futures, 1);
    const td_coroutine_task task = {.run = wait_and_note, .arg = iterator};
    td_coroutine *cancelled;

    td_coroutine_start(&task, &cancelled);
    td_coroutine_cancel(cancelled);
    td_coroutine_start(&task, NULL);
    td_wait_iterator_destroy(&iterator);
    turn();
    ck_assert_str_eq(notes, "0");
    td_future_set_result(never, NULL);
    td_future_unref(never);
}
END_TEST

/* One waits, its future has ended, and before it is back another one comes. */
START_TEST(a_second_one_that_waits_in_an_iterator_is_told)
{
    td_future *soon = td_future_create(), *late = td_future_create();
    td_future *futures[] = {td_future_ref(soon), td_future_ref(late)};
    td_wait_iterator *iterator = td_wait_iterator_create(futures, COUNT_OF(futures));
    const td_coroutine_task task = {.run = wait_and_note, .arg = iterator};

    td_coroutine_start(&task, NULL);
    td_coroutine_start(&task, NULL);
    ck_assert_str_eq(notes, "0");
    td_future_set_result(soon, NULL);
    td_coroutine_start(&task, NULL);
    turn();
    ck_assert_str_eq(notes, "001");
    ck_assert_int_eq(logged("another coroutine waits in it"), 2);
    td_wait_iterator_destroy(&iterator);
    td_future_unref(soon);
    td_future_set_result(late, NULL);
    td_future_unref(late);
}
END_TEST

static void
iterate_over_none(void *arg)
{
    td_wait_iterator *iterator = td_wait_iterator_create(NULL, 0);

    (void)arg;
    ck_assert_ptr_nonnull(iterator);
    ck_assert_ptr_null(td_wait_iterator_next(iterator, NULL));
    td_wait_iterator_destroy(&iterator);
    ck_assert_int_eq(logged("[E "), 0);
}

START_TEST(an_iterator_of_none_has_given_all)
{
    ck_assert_int_eq(on_coroutine(iterate_over_none, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

START_TEST(one_that_is_there_twice_goes_once)
{
    td_future *twice = td_future_create();
    td_future *const futures[] = {twice, twice};
    td_wait_iterator *iterator;

    if (_i == 0) {
        iterator = td_wait_iterator_create(futures, COUNT_OF(futures));
        td_wait_iterator_destroy(&iterator);
    } else {
        td_future_unref(td_gather(futures, COUNT_OF(futures), NULL));
        td_ioloop_destroy(&loop);
        ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
    }
}
END_TEST

/* One, another one twice, and one that is missing: what was taken over is not kept. */
static void
misuse(void *arg)
{
    td_future *some = td_future_create(), *missing[] = {td_future_ref(some), some, some, NULL};

    (void)arg;
    missing[1] = missing[2] = td_future_create();
    ck_assert_ptr_null(td_first(NULL, 0));
    ck_assert_ptr_null(td_first(NULL, 1));
    ck_assert_ptr_null(td_first(missing, 4));
    missing[0] = some;
    missing[1] = missing[2] = NULL;
    ck_assert_ptr_null(td_wait_iterator_create(missing, 4));
    ck_assert_ptr_null(td_wait_iterator_next(NULL, NULL));
    ck_assert_int_eq(logged("[E "), 5);
}

START_TEST(nothing_to_wait_for_is_misuse)
{
    ck_assert_int_eq(on_coroutine(misuse, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_loop, close_loop);
    tcase_add_test(tcase, gather_waits_for_all_and_keeps_their_order);
    tcase_add_test(tcase, gather_fails_with_the_first_of_the_list_and_logs_the_others);
    tcase_add_test(tcase, results_of_a_cancelled_gather_are_not_written);
    tcase_add_test(tcase, a_timeout_ends_the_wait_and_not_the_work);
    tcase_add_test(tcase, combinations_go_with_the_loop);
    tcase_add_test(tcase, the_first_to_end_decides_and_the_others_go_on);
    tcase_add_test(tcase, a_race_goes_with_the_loop);
    tcase_add_test(tcase, the_iterator_gives_futures_in_the_order_of_their_ends);
    tcase_add_test(tcase, an_iterator_that_goes_wakes_who_waits_in_it);
    tcase_add_test(tcase, a_second_one_that_waits_in_an_iterator_is_told);
    tcase_add_test(tcase, an_iterator_of_none_has_given_all);
    tcase_add_loop_test(tcase, one_that_is_there_twice_goes_once, 0, 2);
    tcase_add_test(tcase, nothing_to_wait_for_is_misuse);
}

int
main(void)
{
    return unit_run("combine", fill);
}
