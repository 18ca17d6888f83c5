/* Goal: what handlers register runs on coroutines, in order, under their name, unless removed. */
#include <pthread.h>
#include <sys/socket.h>
#include "on_loop.h"

static void
note_arg(void *arg)
{
    ck_assert_ptr_nonnull(td_coroutine_current());
    note(*(const char *)arg);
}

static char a = 'a', b = 'b', c = 'c';

/* ---- td_add_callback */

static void
sleep_then_note(void *arg)
{
    ck_assert_int_eq(td_sleep(1), 0);
    note(*(const char *)arg);
    td_ioloop_stop(loop);
}

START_TEST(callbacks_run_later_and_in_order_and_may_wait)
{
    ck_assert_int_eq(td_add_callback(loop, sleep_then_note, &a), 0);
    ck_assert_int_eq(td_add_callback(loop, note_arg, &b), 0);
    ck_assert_int_eq(td_add_callback(loop, note_arg, &c), 0);
    ck_assert_str_eq(notes, "");
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "bca");
}
END_TEST

static void
give_up(void *arg)
{
    (void)arg;
    td_coroutine_raise();
}

START_TEST(a_callback_that_raises_ends_in_the_log_and_the_loop_goes_on)
{
    td_add_callback(loop, give_up, NULL);
    td_add_callback(loop, note_arg, &b);
    turn();
    ck_assert_str_eq(notes, "b");
    ck_assert_int_eq(logged("td_add_callback: raised outside a request"), 1);
}
END_TEST

static void *
add_from_thread(void *arg)
{
    ck_assert_int_eq(td_add_callback(loop, arg, &a), 0);
    ck_assert_ptr_null(td_call_later(loop, 0, note_arg, &a));
    ck_assert_ptr_null(td_future_create());
    ck_assert_int_eq(td_sleep(1), TD_EINVAL);
    td_ioloop_add_callback(loop, stop_loop, NULL);
    return NULL;
}

START_TEST(another_thread_may_add_callbacks_and_nothing_else)
{
    pthread_t thread;

    pthread_create(&thread, NULL, add_from_thread, note_arg);
    td_ioloop_start(loop);
    pthread_join(thread, NULL);
    ck_assert_str_eq(notes, "a");
    ck_assert_int_eq(logged("a thread that has no loop"), 2);
}
END_TEST

static td_activity slot;

static void
check_context(void *arg)
{
    (void)arg;
    ck_assert_uint_eq(slot.instance, 3);
    ck_assert_str_eq(td_log_current_module(), "tested");
    note('x');
}

static void
register_all(void *arg)
{
    const td_activity activity = {3, 4, 5};

    (void)arg;
    td_coroutine_set_activity(td_coroutine_current(), &activity, "tested");
    td_add_callback(loop, check_context, NULL);
    td_call_later(loop, 0, check_context, NULL);
    td_future_unref(td_spawn(check_context, NULL));
    td_sleep(1);
}

START_TEST(what_is_registered_runs_under_the_name_of_who_registered_it)
{
    td_activity_slot = &slot;
    on_coroutine(register_all, NULL);
    ck_assert_str_eq(notes, "xxx");
    ck_assert_uint_eq(slot.instance, 0);
}
END_TEST

START_TEST(without_room_for_a_coroutine_callbacks_wait_and_are_not_lost)
{
    static const td_coroutine_options one = {256 * 1024, 1};

    td_coroutine_configure(&one);
    td_add_callback(loop, sleep_then_note, &a);
    td_add_callback(loop, note_arg, &b);
    td_add_callback(loop, note_arg, &c);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "a");
    turn();
    ck_assert_str_eq(notes, "abc");
}
END_TEST

/* ---- td_call_later */

static void
note_and_stop(void *arg)
{
    note(*(const char *)arg);
    td_ioloop_stop(loop);
}

START_TEST(timeouts_run_in_the_order_of_their_deadlines_unless_removed)
{
    td_call_later(loop, 6, note_and_stop, &c);
    td_timeout *removed = td_call_later(loop, 4, note_arg, &a);
    td_call_at(loop, td_ioloop_time_ms() + 2, note_arg, &b);
    td_remove_timeout(loop, removed);
    td_remove_timeout(loop, NULL);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "bc");
}
END_TEST

struct removal {
    td_timeout *own, *other;
};

static void
remove_both(void *arg)
{
    const struct removal *removal = arg;

    td_remove_timeout(loop, removal->own); /* has begun: harmless */
    td_remove_timeout(loop, removal->other);
    note('r');
}

START_TEST(a_timeout_may_be_removed_by_one_of_the_same_batch)
{
    const int64_t past_ms = td_ioloop_time_ms() - 10;
    struct removal removal;

    removal.own = td_call_at(loop, past_ms, remove_both, &removal);
    removal.other = td_call_at(loop, past_ms, note_arg, &a);
    turn();
    ck_assert_str_eq(notes, "r");
}
END_TEST

START_TEST(one_that_is_over_may_be_removed_and_harms_no_other)
{
    td_timeout *over = td_call_later(loop, 0, note_arg, &a), *removed, *others[40];

    turn();
    td_remove_timeout(loop, over);
    removed = td_call_later(loop, 0, note_arg, &b);
    td_remove_timeout(loop, removed);
    for (size_t i = 0; i < COUNT_OF(others); i++) { /* they take the memory of these two */
        others[i] = td_call_later(loop, 0, note_arg, &c);
        td_remove_timeout(loop, over);
        td_remove_timeout(loop, removed);
    }
    turn();
    ck_assert_uint_eq(strlen(notes), 1 + COUNT_OF(others));
    for (size_t i = 0; i < COUNT_OF(others); i++)
        td_remove_timeout(loop, others[i]);
}
END_TEST

static int64_t began_ns;

static void
check_not_early(void *arg)
{
    ck_assert_int_ge(td_clock_ns() - began_ns, *(int64_t *)arg * TD_NS_PER_MS);
    note('t');
    td_ioloop_stop(loop);
}

static void
compute_then_call_later(void *arg)
{
    began_ns = td_clock_ns();
    while (td_clock_ns() - began_ns < 5 * TD_NS_PER_MS)
        ;
    began_ns = td_clock_ns();
    td_call_later(loop, *(int64_t *)arg, check_not_early, arg);
}

START_TEST(time_that_a_handler_computes_does_not_make_its_timeouts_early)
{
    int64_t delay_ms = 3;

    td_add_callback(loop, compute_then_call_later, &delay_ms);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "t");
}
END_TEST

/* ---- td_add_handler */

static int pair[2];

static void
open_pair(void)
{
    open_loop();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
}

static void
close_pair(void)
{
    close_loop();
    close(pair[0]);
    close(pair[1]);
}

static void
read_one(int fd, int events, void *arg)
{
    char byte;

    (void)arg;
    ck_assert_int_eq(events, TD_READ);
    ck_assert_int_eq(read(fd, &byte, 1), 1);
    note('(');
    td_sleep(2); /* ready again meanwhile, and not called */
    note(byte);
    note(')');
    if (byte == '.')
        td_ioloop_stop(loop);
}

START_TEST(a_handler_is_called_for_each_readiness_and_never_beside_itself)
{
    ck_assert_int_eq(td_add_handler(loop, pair[0], TD_READ, read_one, NULL), 0);
    ck_assert_int_eq(td_add_handler(loop, pair[0], TD_READ, read_one, NULL), TD_EEXISTS);
    ck_assert_int_eq(write(pair[1], "abc.", 4), 4);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "(a)(b)(c)(.)");
}
END_TEST

static void
remove_itself(int fd, int events, void *arg)
{
    ck_assert_int_eq(events, *(int *)arg);
    td_remove_handler(loop, fd);
    td_remove_handler(loop, fd); /* unknown by now: nothing */
    note('r');
    td_sleep(2);
    td_ioloop_stop(loop);
}

START_TEST(a_handler_may_change_its_events_and_remove_itself)
{
    int wanted = TD_WRITE;

    ck_assert_int_eq(td_update_handler(loop, pair[0], TD_WRITE), TD_ENOTFOUND);
    td_add_handler(loop, pair[0], TD_READ, remove_itself, &wanted);
    turn();
    ck_assert_str_eq(notes, "");
    ck_assert_int_eq(td_update_handler(loop, pair[0], TD_WRITE), 0);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "r");
}
END_TEST

static void
remove_other(int fd, int events, void *arg)
{
    (void)events;
    note('o');
    td_remove_handler(loop, fd);
    td_remove_handler(loop, *(int *)arg);
}

START_TEST(one_removed_by_another_that_was_ready_with_it_is_not_called)
{
    td_add_handler(loop, pair[0], TD_WRITE, remove_other, &pair[1]);
    td_add_handler(loop, pair[1], TD_WRITE, remove_other, &pair[0]);
    turn();
    ck_assert_str_eq(notes, "o");
}
END_TEST

START_TEST(what_is_registered_goes_with_the_loop)
{
    td_add_handler(loop, pair[0], TD_READ, read_one, NULL);
    td_call_later(loop, 1000, note_arg, &a);
    td_add_callback(loop, note_arg, &a);
    td_ioloop_destroy(&loop); /* the sanitizer tells what leaks */
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
    turn();
    ck_assert_str_eq(notes, "");
}
END_TEST

static void
never(int fd, int events, void *arg)
{
    (void)fd, (void)events, (void)arg;
    note('!');
}

START_TEST(misuse_is_refused_and_logged)
{
    ck_assert_int_eq(td_add_callback(NULL, note_arg, NULL), TD_EINVAL);
    ck_assert_int_eq(td_add_callback(loop, NULL, NULL), TD_EINVAL);
    ck_assert_ptr_null(td_call_later(loop, -1, note_arg, NULL));
    ck_assert_ptr_null(td_call_later(NULL, 1, note_arg, NULL));
    ck_assert_ptr_null(td_call_at(loop, 1, NULL, NULL));
    ck_assert_int_eq(td_add_handler(loop, -1, TD_READ, never, NULL), TD_EINVAL);
    ck_assert_int_eq(td_add_handler(loop, 999, TD_READ, never, NULL), TD_EINVAL); /* not open */
    ck_assert_int_eq(td_add_handler(loop, 0, 0, never, NULL), TD_EINVAL);
    ck_assert_int_eq(td_add_handler(loop, 0, 4, never, NULL), TD_EINVAL);
    ck_assert_int_eq(td_add_handler(loop, 0, TD_READ, NULL, NULL), TD_EINVAL);
    ck_assert_int_eq(td_update_handler(loop, 0, 0), TD_EINVAL);
    ck_assert_int_eq(logged("[E "), 11);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_pair, close_pair);
    tcase_add_test(tcase, callbacks_run_later_and_in_order_and_may_wait);
    tcase_add_test(tcase, a_callback_that_raises_ends_in_the_log_and_the_loop_goes_on);
    tcase_add_test(tcase, another_thread_may_add_callbacks_and_nothing_else);
    tcase_add_test(tcase, what_is_registered_runs_under_the_name_of_who_registered_it);
    tcase_add_test(tcase, without_room_for_a_coroutine_callbacks_wait_and_are_not_lost);
    tcase_add_test(tcase, timeouts_run_in_the_order_of_their_deadlines_unless_removed);
    tcase_add_test(tcase, a_timeout_may_be_removed_by_one_of_the_same_batch);
    tcase_add_test(tcase, one_that_is_over_may_be_removed_and_harms_no_other);
    tcase_add_test(tcase, time_that_a_handler_computes_does_not_make_its_timeouts_early);
    tcase_add_test(tcase, a_handler_is_called_for_each_readiness_and_never_beside_itself);
    tcase_add_test(tcase, a_handler_may_change_its_events_and_remove_itself);
    tcase_add_test(tcase, one_removed_by_another_that_was_ready_with_it_is_not_called);
    tcase_add_test(tcase, what_is_registered_goes_with_the_loop);
    tcase_add_test(tcase, misuse_is_refused_and_logged);
}

int
main(void)
{
    return unit_run("call", fill);
}
