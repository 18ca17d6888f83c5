/* Goal: waits end when they should, are never lost, and leave nothing behind when cancelled. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include "on_loop.h"

/* ---- td_sleep */

static void
sleep_and_check(void *arg)
{
    const int64_t ms = *(int64_t *)arg, start_ns = td_clock_ns();

    errno = ENOTTY;
    ck_assert_int_eq(td_sleep(ms), 0);
    ck_assert_int_ge(td_clock_ns() - start_ns, ms * TD_NS_PER_MS);
    ck_assert_int_eq(errno, ENOTTY);
}

START_TEST(a_sleep_is_never_early)
{
    static int64_t durations_ms[] = {0, 1, 2, 5};

    on_coroutine(sleep_and_check, &durations_ms[_i]);
}
END_TEST

static int sleepers_left;

static void
sleep_1_ms(void *arg)
{
    (void)arg;
    ck_assert_int_eq(td_sleep(1), 0);
    if (--sleepers_left == 0)
        td_ioloop_stop(loop);
}

START_TEST(a_thousand_sleepers_wake_all)
{
    sleepers_left = 1000;
    for (int i = 0; i < 1000; i++) {
        const td_coroutine_task task = {.run = sleep_1_ms};

        ck_assert_int_eq(td_coroutine_start(&task, NULL), 0);
    }
    ck_assert_uint_eq(td_coroutines_count(), 1000);
    td_ioloop_start(loop);
    ck_assert_int_eq(sleepers_left, 0);
}
END_TEST

static void
sleep_long(void *arg)
{
    td_sleep(*(int64_t *)arg);
    note('!');
}

START_TEST(a_cancelled_sleep_leaves_no_timer)
{
    int64_t durations_ms[] = {0, 1};
    const td_coroutine_task task = {.run = sleep_long, .arg = &durations_ms[_i]};
    td_coroutine *co;

    td_coroutine_start(&task, &co);
    td_coroutine_cancel(co);
    ck_assert_uint_eq(td_coroutines_count(), 0);
    td_call_later(loop, 3, stop_loop, NULL);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "");
}
END_TEST

/* ---- td_wait_fd */

struct fd_case {
    int fd, events;
    int64_t timeout_ms;
    int rc;
};

static void
wait_and_check(void *arg)
{
    const struct fd_case *c = arg;

    ck_assert_int_eq(td_wait_fd(c->fd, c->events, c->timeout_ms), c->rc);
}

START_TEST(a_descriptor_is_waited_for_until_it_is_ready_or_the_time_is_up)
{
    int pair[2], zero = open("/dev/zero", O_RDONLY);

    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
    ck_assert_int_eq(write(pair[0], "x", 1), 1);
    struct fd_case cases[] = {
        {pair[0], TD_WRITE, 0, TD_WRITE},
        {pair[0], TD_READ, 2, TD_ETIMEDOUT},
        {pair[1], TD_READ, 0, TD_READ},
        {pair[1], TD_READ | TD_WRITE, 1000, TD_READ | TD_WRITE},
        {zero, TD_READ, 0, TD_READ}, /* epoll refuses it; always ready */
        {999, TD_READ, 0, TD_EINVAL}, /* not open */
        {-1, TD_READ, 0, TD_EINVAL},
        {pair[0], 0, 0, TD_EINVAL},
        {pair[0], 8, 0, TD_EINVAL},
        {pair[0], TD_READ, -1, TD_EINVAL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        on_coroutine(wait_and_check, &cases[i]);
    close(pair[0]);
    close(pair[1]);
    close(zero);
}
END_TEST

static void
wait_for_ever(void *arg)
{
    td_wait_fd(*(int *)arg, TD_READ, 1);
    note('!');
}

START_TEST(a_cancelled_wait_for_a_descriptor_leaves_no_watcher)
{
    int pair[2];
    const td_coroutine_task task = {.run = wait_for_ever, .arg = &pair[0]};
    td_coroutine *co;

    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
    td_coroutine_start(&task, &co);
    td_coroutine_cancel(co);
    ck_assert_int_eq(write(pair[1], "x", 1), 1);
    td_call_later(loop, 3, stop_loop, NULL);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "");
    close(pair[0]);
    close(pair[1]);
}
END_TEST

/* ---- td_spawn */

static void
child(void *arg)
{
    note('c');
    td_sleep(1);
    note(*(const char *)arg);
}

static void
parent(void *arg)
{
    td_future *future = td_spawn(child, arg);

    note('p');
    ck_assert(!td_future_is_done(future));
    ck_assert_int_eq(td_await(future, NULL), 0);
    note('q');
}

START_TEST(a_spawned_coroutine_begins_later_and_can_be_awaited)
{
    char letter = 'd';

    on_coroutine(parent, &letter);
    ck_assert_str_eq(notes, "pcdq");
}
END_TEST

static void
give_up(void *arg)
{
    (void)arg;
    td_coroutine_raise();
}

static void
await_raising(void *arg)
{
    (void)arg;
    ck_assert_int_eq(td_await(td_spawn(give_up, NULL), NULL), TD_ECANCELED);
}

START_TEST(one_that_raises_tells_who_awaits_it)
{
    on_coroutine(await_raising, NULL);
    ck_assert_int_eq(logged("raised outside a request"), 0);
    ck_assert_int_eq(logged("nobody looked"), 0);
}
END_TEST

static void
spawn_raising(void *arg)
{
    (void)arg;
    td_future_unref(td_spawn(give_up, NULL));
    td_sleep(1);
}

START_TEST(one_that_raises_with_nobody_looking_is_logged)
{
    on_coroutine(spawn_raising, NULL);
    ck_assert_int_eq(logged("tested] td_spawn: raised outside a request"), 1);
    ck_assert_int_eq(logged("nobody looked"), 0);
}
END_TEST

static void
spawn_and_cancel(void *arg)
{
    const int64_t pause_ms = *(int64_t *)arg;
    char letter = '!';
    td_future *future = td_spawn(child, &letter);

    if (pause_ms >= 0)
        td_sleep(pause_ms);
    ck_assert(td_future_cancel(future));
    ck_assert(!td_future_cancel(future));
    td_sleep(3);
    ck_assert_int_eq(td_await(future, NULL), TD_ECANCELED);
}

START_TEST(cancelling_its_future_unwinds_it_or_keeps_it_from_beginning)
{
    int64_t at_once = -1, later = 0;

    on_coroutine(spawn_and_cancel, &at_once);
    ck_assert_str_eq(notes, "");
    on_coroutine(spawn_and_cancel, &later);
    ck_assert_str_eq(notes, "c");
}
END_TEST

START_TEST(one_that_the_loop_never_began_is_let_go_with_it)
{
    td_future *future = td_spawn(give_up, NULL);

    td_ioloop_destroy(&loop);
    ck_assert(td_future_is_done(future));
    td_future_unref(future);
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
}
END_TEST

START_TEST(outside_a_coroutine_waiting_is_misuse)
{
    ck_assert_int_eq(td_sleep(1), TD_EINVAL);
    ck_assert_int_eq(td_wait_fd(0, TD_READ, 1), TD_EINVAL);
    ck_assert_int_eq(td_await(NULL, NULL), TD_EINVAL);
    ck_assert_ptr_null(td_spawn(NULL, NULL));
    ck_assert_int_eq(logged("[E "), 4);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_loop, close_loop);
    tcase_add_loop_test(tcase, a_sleep_is_never_early, 0, 4);
    tcase_add_test(tcase, a_thousand_sleepers_wake_all);
    tcase_add_loop_test(tcase, a_cancelled_sleep_leaves_no_timer, 0, 2);
    tcase_add_test(tcase, a_descriptor_is_waited_for_until_it_is_ready_or_the_time_is_up);
    tcase_add_test(tcase, a_cancelled_wait_for_a_descriptor_leaves_no_watcher);
    tcase_add_test(tcase, a_spawned_coroutine_begins_later_and_can_be_awaited);
    tcase_add_test(tcase, one_that_raises_tells_who_awaits_it);
    tcase_add_test(tcase, one_that_raises_with_nobody_looking_is_logged);
    tcase_add_test(tcase, cancelling_its_future_unwinds_it_or_keeps_it_from_beginning);
    tcase_add_test(tcase, one_that_the_loop_never_began_is_let_go_with_it);
    tcase_add_test(tcase, outside_a_coroutine_waiting_is_misuse);
}

int
main(void)
{
    return unit_run("wait", fill);
}
