/* Goal: what is waited for goes to who waits, in order; time-outs and cancellation lose nothing. */
#include <tornado/locks.h>
#include "waiting_actors.h"

static td_lock *lock;
static td_semaphore *semaphore;
static td_condition *condition;
static td_event *event;

struct actor {
    char letter;
    int64_t timeout_ms;
};

static void
use_lock(void *arg)
{
    const struct actor *actor = arg;
    const int rc = td_lock_acquire(lock, actor->timeout_ms);

    note_outcome(actor->letter, rc);
    if (rc != 0)
        return;
    td_sleep(0);
    td_lock_release(lock);
}

START_TEST(a_lock_is_had_in_the_order_of_asking)
{
    struct actor actors[] = {{'a', 0}, {'b', 0}, {'c', 0}, {'d', 0}};

    lock = td_lock_create();
    for (size_t i = 0; i < COUNT_OF(actors); i++)
        start_actor(use_lock, &actors[i]);
    ck_assert_str_eq(notes, "a");
    for (int i = 0; i < 4; i++)
        turn();
    ck_assert_str_eq(notes, "abcd");
    ck_assert_int_eq(td_lock_release(lock), TD_EINVAL); /* it is free */
    td_lock_destroy(&lock);
}
END_TEST

static void
release_and_take_again(void *arg)
{
    struct actor *actor = arg;

    td_lock_acquire(lock, 0);
    note(actor->letter);
    td_sleep(0);
    td_lock_release(lock);
    td_lock_acquire(lock, 0);
    note(actor->letter);
    td_lock_release(lock);
}

START_TEST(nobody_overtakes_who_waits_already)
{
    struct actor greedy = {'g', 0}, patient = {'p', 0};

    lock = td_lock_create();
    start_actor(release_and_take_again, &greedy);
    start_actor(use_lock, &patient);
    for (int i = 0; i < 4; i++)
        turn();
    ck_assert_str_eq(notes, "gpg");
    td_lock_destroy(&lock);
}
END_TEST

START_TEST(who_is_cancelled_in_the_line_or_on_the_way_leaves_its_turn_to_the_next)
{
    struct actor actors[] = {{'a', 0}, {'b', 0}, {'c', 0}};
    td_coroutine *second;
    const bool on_the_way = _i == 1;

    lock = td_lock_create();
    ck_assert_ptr_nonnull(start_actor(use_lock, &actors[0]));
    second = start_actor(use_lock, &actors[1]);
    start_actor(use_lock, &actors[2]);
    if (on_the_way)
        td_lock_release(lock); /* on behalf of the first, which will find it taken from it */
    td_coroutine_cancel(second);
    turn();
    turn();
    ck_assert_str_eq(notes, "ac");
    td_lock_destroy(&lock);
}
END_TEST

START_TEST(a_time_out_takes_nothing)
{
    struct actor hurried = {'h', 1};

    lock = td_lock_create();
    ck_assert_int_eq(td_lock_acquire(lock, 0), TD_EINVAL); /* not on a coroutine */
    semaphore = td_semaphore_create(0, 1);
    start_actor(use_lock, &hurried);
    start_actor(use_lock, &hurried); /* waits for the first */
    td_call_later(loop, 5, stop_loop, NULL);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "hh"); /* in time, both */
    td_semaphore_destroy(&semaphore);
    td_lock_destroy(&lock);
}
END_TEST

static void
acquire_semaphore(void *arg)
{
    const struct actor *actor = arg;

    note_outcome(actor->letter, td_semaphore_acquire(semaphore, actor->timeout_ms));
}

START_TEST(a_semaphore_lets_as_many_in_as_it_has)
{
    struct actor actors[] = {{'a', 0}, {'b', 0}, {'c', 2}, {'d', 0}};

    semaphore = td_semaphore_create(2, 3);
    for (size_t i = 0; i < COUNT_OF(actors); i++)
        start_actor(acquire_semaphore, &actors[i]);
    ck_assert_str_eq(notes, "ab");
    td_call_later(loop, 5, stop_loop, NULL);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "abC");
    ck_assert_int_eq(td_semaphore_release(semaphore), 0);
    turn();
    ck_assert_str_eq(notes, "abCd");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(td_semaphore_release(semaphore), 0);
    ck_assert_int_eq(td_semaphore_release(semaphore), TD_EINVAL); /* beyond its max */
    td_semaphore_destroy(&semaphore);
}
END_TEST

static void
hold_and_raise(void *arg)
{
    const struct actor *actor = arg;

    note_outcome(actor->letter, td_lock_hold(lock, 0));
    td_coroutine_raise();
}

static void
hold_semaphore_and_wait(void *arg)
{
    const struct actor *actor = arg;

    note_outcome(actor->letter, td_semaphore_hold(semaphore, 0));
    td_sleep(60000);
}

START_TEST(what_is_held_is_given_back_however_the_coroutine_ends)
{
    struct actor a = {'a', 0}, b = {'b', 0};
    td_coroutine *co;

    lock = td_lock_create();
    semaphore = td_semaphore_create(1, 1);
    start_actor(hold_and_raise, &a);
    start_actor(hold_and_raise, &b);
    ck_assert_str_eq(notes, "ab");
    co = start_actor(hold_semaphore_and_wait, &a);
    start_actor(acquire_semaphore, &b);
    td_coroutine_cancel(co);
    turn();
    ck_assert_str_eq(notes, "abab");
    td_semaphore_destroy(&semaphore);
    td_lock_destroy(&lock);
}
END_TEST

static void
hold_and_release(void *arg)
{
    const struct actor *actor = arg;

    note_outcome(actor->letter, td_lock_hold(lock, 0));
    ck_assert_int_eq(td_lock_release(lock), 0);
    td_sleep(0); /* it is another one's now */
    td_sleep(0);
}

static void
hold_until_told(void *arg)
{
    const struct actor *actor = arg;

    note_outcome(actor->letter, td_lock_hold(lock, 0));
    td_event_wait(event, 0);
}

START_TEST(what_was_released_earlier_is_not_given_back_again)
{
    struct actor a = {'a', 0}, b = {'b', 0}, c = {'c', 0};

    lock = td_lock_create();
    event = td_event_create();
    start_actor(hold_and_release, &a);
    start_actor(hold_until_told, &b);
    start_actor(use_lock, &c);
    turn();
    ck_assert_str_eq(notes, "ab"); /* the end of the first is nothing to the third */
    td_event_set(event);
    turn();
    ck_assert_str_eq(notes, "abc");
    turn();
    ck_assert_int_eq(td_lock_release(lock), TD_EINVAL);
    td_event_clear(event);
    start_actor(hold_until_told, &a);
    td_lock_destroy(&lock); /* while it is held */
    td_event_set(event);
    turn();
    td_event_destroy(&event);
}
END_TEST

static void
wait_for_condition(void *arg)
{
    const struct actor *actor = arg;

    note_outcome(actor->letter, td_condition_wait(condition, actor->timeout_ms));
}

START_TEST(a_condition_wakes_as_many_as_it_is_told)
{
    struct actor actors[] = {{'a', 0}, {'b', 0}, {'c', 0}, {'d', 0}, {'e', 1}};

    condition = td_condition_create();
    td_condition_notify_all(condition); /* nobody hears it */
    for (size_t i = 0; i < COUNT_OF(actors); i++)
        start_actor(wait_for_condition, &actors[i]);
    td_condition_notify(condition, 2);
    turn();
    ck_assert_str_eq(notes, "ab");
    td_call_later(loop, 4, stop_loop, NULL);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "abE");
    td_condition_notify_all(condition);
    turn();
    ck_assert_str_eq(notes, "abEcd");
    td_condition_destroy(&condition);
}
END_TEST

START_TEST(a_notification_for_one_that_is_cancelled_wakes_the_next)
{
    struct actor actors[] = {{'a', 0}, {'b', 0}};
    td_coroutine *first;

    condition = td_condition_create();
    first = start_actor(wait_for_condition, &actors[0]);
    start_actor(wait_for_condition, &actors[1]);
    td_condition_notify(condition, 1);
    td_coroutine_cancel(first);
    turn();
    ck_assert_str_eq(notes, "b");
    td_condition_destroy(&condition);
}
END_TEST

static void
wait_for_event(void *arg)
{
    const struct actor *actor = arg;

    note_outcome(actor->letter, td_event_wait(event, actor->timeout_ms));
}

START_TEST(an_event_wakes_all_that_wait_and_stops_nobody_while_it_is_set)
{
    struct actor actors[] = {{'a', 0}, {'b', 0}, {'c', 1}, {'d', 0}, {'e', 0}};

    event = td_event_create();
    start_actor(wait_for_event, &actors[0]);
    start_actor(wait_for_event, &actors[1]);
    td_event_set(event);
    td_event_clear(event); /* too late for those */
    ck_assert(!td_event_is_set(event));
    turn();
    ck_assert_str_eq(notes, "ab");
    start_actor(wait_for_event, &actors[2]);
    td_call_later(loop, 4, stop_loop, NULL);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "abC");
    td_event_set(event);
    start_actor(wait_for_event, &actors[3]);
    start_actor(wait_for_event, &actors[4]);
    ck_assert_str_eq(notes, "abCde");
    td_event_destroy(&event);
}
END_TEST

START_TEST(destroying_wakes_who_waits_and_who_is_on_the_way)
{
    struct actor actors[] = {{'a', 0}, {'b', 0}, {'c', 0}};
    td_coroutine *third;

    semaphore = td_semaphore_create(0, 1);
    for (size_t i = 0; i < 2; i++)
        start_actor(acquire_semaphore, &actors[i]);
    third = start_actor(acquire_semaphore, &actors[2]);
    td_semaphore_release(semaphore);
    td_semaphore_destroy(&semaphore);
    td_coroutine_cancel(third);
    turn();
    ck_assert_str_eq(notes, "##");
    ck_assert_ptr_null(semaphore);
    td_semaphore_destroy(&semaphore);
}
END_TEST

static void
misuse(void *arg)
{
    (void)arg;
    lock = td_lock_create();
    ck_assert_int_eq(td_lock_acquire(NULL, 0), TD_EINVAL);
    ck_assert_int_eq(td_lock_acquire(lock, -1), TD_EINVAL);
    ck_assert_int_eq(td_lock_hold(NULL, 0), TD_EINVAL);
    ck_assert_int_eq(td_lock_release(lock), TD_EINVAL);
    ck_assert_int_eq(td_lock_release(NULL), TD_EINVAL);
    ck_assert_int_eq(td_condition_notify(NULL, 1), TD_EINVAL);
    ck_assert_int_eq(td_condition_notify_all(NULL), TD_EINVAL);
    ck_assert_int_eq(td_condition_wait(NULL, 0), TD_EINVAL);
    ck_assert_int_eq(td_event_wait(NULL, 0), TD_EINVAL);
    ck_assert_int_eq(td_event_set(NULL), TD_EINVAL);
    ck_assert_int_eq(td_event_clear(NULL), TD_EINVAL);
    ck_assert(!td_event_is_set(NULL));
    ck_assert_ptr_null(td_semaphore_create(2, 1));
    ck_assert_ptr_null(td_semaphore_create(-1, 1));
    ck_assert_ptr_null(td_semaphore_create(0, 0));
    ck_assert_int_eq(logged("[E "), 15);
    td_lock_destroy(&lock);
}

START_TEST(misuse_is_told)
{
    on_coroutine(misuse, NULL);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_loop, close_loop);
    tcase_add_test(tcase, a_lock_is_had_in_the_order_of_asking);
    tcase_add_test(tcase, nobody_overtakes_who_waits_already);
    tcase_add_loop_test(
        tcase, who_is_cancelled_in_the_line_or_on_the_way_leaves_its_turn_to_the_next, 0, 2);
    tcase_add_test(tcase, a_time_out_takes_nothing);
    tcase_add_test(tcase, a_semaphore_lets_as_many_in_as_it_has);
    tcase_add_test(tcase, what_is_held_is_given_back_however_the_coroutine_ends);
    tcase_add_test(tcase, what_was_released_earlier_is_not_given_back_again);
    tcase_add_test(tcase, a_condition_wakes_as_many_as_it_is_told);
    tcase_add_test(tcase, a_notification_for_one_that_is_cancelled_wakes_the_next);
    tcase_add_test(tcase, an_event_wakes_all_that_wait_and_stops_nobody_while_it_is_set);
    tcase_add_test(tcase, destroying_wakes_who_waits_and_who_is_on_the_way);
    tcase_add_test(tcase, misuse_is_told);
}

int
main(void)
{
    return unit_run("locks", fill);
}
