/* Goal: what runs when is Tornado's order, no timer is early, and nothing that was stopped runs. */
#include "io/ioloop.h"

#include <pthread.h>
#include "on_loop.h"

static void
run(void)
{
    ck_assert_int_eq(td_ioloop_start(loop), 0);
}

/* A callback, timer or both that notes its letter, and may then do something else. */
struct noted {
    td_callback callback;
    td_timer timer;
    char letter;
    void (*then)(struct noted *noted);
    struct noted *other;
};

static void
on_noted(void *arg)
{
    struct noted *noted = arg;

    note(noted->letter);
    if (noted->then != NULL)
        noted->then(noted);
}

static struct noted
noted_of(char letter)
{
    return (struct noted){.letter = letter, .callback.fn = on_noted, .timer.fn = on_noted};
}

static void
post(struct noted *noted)
{
    noted->callback.arg = noted;
    td_ioloop_post(loop, &noted->callback);
}

static void
start_in_ms(struct noted *noted, int64_t ms)
{
    noted->timer.arg = noted;
    td_timer_start(loop, &noted->timer, td_now_ns() + ms * TD_NS_PER_MS);
}

static void
post_other(struct noted *noted)
{
    post(noted->other);
}

static void
stop_too(struct noted *noted)
{
    (void)noted;
    td_ioloop_stop(loop);
}

static void
stop_other(struct noted *noted)
{
    td_timer_stop(loop, &noted->other->timer);
}

static void
start_other_now(struct noted *noted)
{
    start_in_ms(noted->other, -1);
}

static void
cancel_other(struct noted *noted)
{
    td_callback_cancel(&noted->other->callback);
}

/* ---- callbacks */

START_TEST(callbacks_run_in_the_order_of_posting)
{
    struct noted a = noted_of('a'), b = noted_of('b'), c = noted_of('c');

    post(&a);
    post(&b);
    post(&a); /* is queued already */
    post(&c);
    td_ioloop_add_callback(loop, stop_loop, NULL);
    ck_assert_str_eq(notes, "");
    run();
    ck_assert_str_eq(notes, "abc");
}
END_TEST

START_TEST(a_callback_posted_by_a_callback_waits_for_the_next_iteration)
{
    struct noted a = noted_of('a'), b = noted_of('b'), t = noted_of('t');

    a.then = post_other;
    a.other = &b;
    post(&a);
    start_in_ms(&t, 0);
    td_ioloop_add_callback(loop, stop_loop, NULL);
    run();
    ck_assert_str_eq(notes, "at"); /* stopped before the next iteration */
    td_ioloop_add_callback(loop, stop_loop, NULL);
    run();
    ck_assert_str_eq(notes, "atb");
}
END_TEST

START_TEST(a_callback_cancelled_by_an_earlier_one_of_its_batch_does_not_run)
{
    struct noted a = noted_of('a'), b = noted_of('b'), c = noted_of('c');

    a.then = cancel_other;
    a.other = &b;
    post(&a);
    post(&b);
    post(&c);
    td_ioloop_add_callback(loop, stop_loop, NULL);
    run();
    ck_assert_str_eq(notes, "ac");
}
END_TEST

static void
post_itself(struct noted *noted)
{
    if (notes_len < 5)
        post(noted);
    else
        td_ioloop_stop(loop);
}

static void
on_pipe(struct ev_loop *ev, ev_io *watcher, int events)
{
    (void)events;
    note('d');
    ev_io_stop(ev, watcher);
}

START_TEST(callbacks_that_post_themselves_do_not_starve_descriptors)
{
    struct noted a = noted_of('a');
    ev_io watcher;
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    ev_io_init(&watcher, on_pipe, fds[0], EV_READ);
    ev_io_start(td_ioloop_ev(loop), &watcher);
    a.then = post_itself;
    post(&a);
    run();
    ck_assert_str_eq(notes, "adaaa");
    close(fds[0]);
    close(fds[1]);
}
END_TEST

static void *
post_from_thread(void *arg)
{
    ck_assert_ptr_null(td_ioloop_current());
    for (int i = 0; i < 1000; i++)
        td_ioloop_add_callback(loop, arg, (void *)(intptr_t)i);
    td_ioloop_add_callback(loop, stop_loop, NULL);
    return NULL;
}

static intptr_t received;

static void
receive(void *arg)
{
    ck_assert_int_eq((intptr_t)arg, received);
    received++;
}

START_TEST(another_thread_wakes_the_loop_and_its_callbacks_keep_their_order)
{
    pthread_t thread;

    received = 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, post_from_thread, receive), 0);
    run();
    pthread_join(thread, NULL);
    ck_assert_int_eq(received, 1000);
}
END_TEST

static int dropped;

static void
on_dropped(void *arg)
{
    (void)arg;
    dropped++;
}

START_TEST(what_did_not_run_is_dropped_with_the_loop)
{
    td_callback callback = {.fn = receive, .dropped = on_dropped};
    struct noted t = noted_of('t');

    dropped = 0;
    td_ioloop_post(loop, &callback);
    td_ioloop_add_callback(loop, receive, NULL); /* the sanitizer tells when it leaks */
    start_in_ms(&t, 0);
    td_ioloop_destroy(&loop);
    ck_assert_ptr_null(loop);
    ck_assert_ptr_null(td_ioloop_current());
    ck_assert_int_eq(dropped, 1);
    ck_assert_uint_eq(t.timer.place, 0);
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
}
END_TEST

static void *
post_to_ended(void *arg)
{
    td_callback callback = {.fn = receive, .dropped = on_dropped};

    td_ioloop_post(arg, &callback);
    ck_assert_int_eq(td_add_callback(arg, receive, NULL), 0);
    return NULL;
}

START_TEST(what_comes_after_its_end_is_dropped_too)
{
    td_ioloop *const ended = loop;
    pthread_t thread;

    dropped = 0;
    td_ioloop_destroy(&loop);
    post_to_ended(ended);
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, post_to_ended, ended), 0);
    pthread_join(thread, NULL);
    turn();
    ck_assert_int_eq(dropped, 2);
}
END_TEST

/* ---- timers */

START_TEST(timers_run_in_the_order_of_their_deadlines_and_ties_by_insertion)
{
    struct noted timers[] = {noted_of('d'), noted_of('b'), noted_of('a'),
                             noted_of('c'), noted_of('e')};
    const int64_t base = td_now_ns(), ms[] = {3, 2, 1, 2, 3};

    for (size_t i = 0; i < 5; i++) {
        timers[i].timer.arg = &timers[i];
        td_timer_start(loop, &timers[i].timer, base + ms[i] * TD_NS_PER_MS);
    }
    timers[4].then = stop_too;
    run();
    ck_assert_str_eq(notes, "abcde");
}
END_TEST

START_TEST(due_timers_run_after_the_callbacks_of_their_iteration)
{
    struct noted a = noted_of('a'), t = noted_of('t'), u = noted_of('u');

    start_in_ms(&t, -2);
    start_in_ms(&u, -1);
    post(&a);
    td_ioloop_add_callback(loop, stop_loop, NULL);
    run();
    ck_assert_str_eq(notes, "atu");
}
END_TEST

START_TEST(a_timer_stopped_by_an_earlier_one_of_its_batch_does_not_run)
{
    struct noted t = noted_of('t'), u = noted_of('u'), v = noted_of('v');

    start_in_ms(&t, -3);
    start_in_ms(&u, -2);
    start_in_ms(&v, -1);
    t.then = stop_other;
    t.other = &u;
    td_ioloop_add_callback(loop, stop_loop, NULL);
    run();
    ck_assert_str_eq(notes, "tv");
    ck_assert_uint_eq(u.timer.place, 0);
}
END_TEST

START_TEST(a_timer_that_a_callback_starts_waits_for_the_next_iteration)
{
    struct noted a = noted_of('a'), t = noted_of('t'), u = noted_of('u');

    start_in_ms(&t, 0);
    a.then = start_other_now;
    a.other = &u;
    post(&a);
    td_ioloop_add_callback(loop, stop_loop, NULL);
    run();
    ck_assert_str_eq(notes, "at");
    td_ioloop_add_callback(loop, stop_loop, NULL);
    run();
    ck_assert_str_eq(notes, "atu");
}
END_TEST

START_TEST(starting_a_started_timer_moves_it)
{
    struct noted t = noted_of('t'), u = noted_of('u');

    start_in_ms(&t, 1);
    start_in_ms(&u, 2);
    start_in_ms(&t, 3);
    t.then = stop_too;
    run();
    ck_assert_str_eq(notes, "ut");
}
END_TEST

struct measured {
    td_timer timer;
    int64_t late_ns;
};

static size_t measured_left;

static void
measure(void *arg)
{
    struct measured *measured = arg;

    measured->late_ns = td_clock_ns() - measured->timer.deadline_ns;
    if (--measured_left == 0)
        td_ioloop_stop(loop);
}

START_TEST(no_timer_is_early_and_none_is_lost)
{
    enum { COUNT = 2000 };
    struct measured *timers = calloc(COUNT, sizeof(*timers));

    srand(1);
    measured_left = 0;
    for (size_t i = 0; i < COUNT; i++) {
        timers[i].timer = (td_timer){.fn = measure, .arg = &timers[i]};
        td_timer_start(loop, &timers[i].timer, td_clock_ns() + rand() % (20 * TD_NS_PER_MS));
    }
    for (size_t i = 0; i < COUNT; i++) {
        timers[i].late_ns = -1;
        if (i % 3 == 0)
            td_timer_stop(loop, &timers[i].timer);
        else
            measured_left++;
    }
    run();
    for (size_t i = 0; i < COUNT; i++)
        ck_assert_int_eq(timers[i].late_ns >= 0, i % 3 != 0);
    free(timers);
}
END_TEST

/* ---- deadlines */

struct dated {
    td_deadline deadline;
    int64_t expired_ns; /* 0: has not */
};

static size_t dated_left;

static void
on_expired(td_deadline *deadline)
{
    struct dated *dated = TD_CONTAINER_OF(deadline, struct dated, deadline);

    ck_assert(!td_list_is_linked(&deadline->link));
    dated->expired_ns = td_now_ns();
    if (--dated_left == 0)
        td_ioloop_stop(loop);
}

START_TEST(deadlines_expire_in_time_unless_stopped_or_moved)
{
    struct dated dated[4] = {0};
    td_deadlines list;
    const int64_t start_ns = td_now_ns(), duration_ns = 32 * TD_NS_PER_MS;

    td_deadlines_init(&list, loop, 32, on_expired);
    for (int i = 0; i < 4; i++)
        td_deadline_start(&list, &dated[i].deadline, start_ns);
    td_deadline_stop(&dated[1].deadline);
    td_deadline_start(&list, &dated[2].deadline, start_ns + duration_ns / 2);
    dated_left = 3;
    run();
    ck_assert_int_ge(dated[0].expired_ns, start_ns + duration_ns);
    ck_assert_int_eq(dated[1].expired_ns, 0);
    ck_assert_int_ge(dated[2].expired_ns, start_ns + duration_ns / 2 + duration_ns);
    ck_assert_int_eq(dated[3].expired_ns, dated[0].expired_ns);
    td_deadlines_fini(&list);
}
END_TEST

START_TEST(a_duration_of_nought_is_never)
{
    struct dated dated = {0};
    td_deadlines list;

    td_deadlines_init(&list, loop, 0, on_expired);
    td_deadline_start(&list, &dated.deadline, td_now_ns());
    ck_assert(!td_list_is_linked(&dated.deadline.link));
    td_deadlines_fini(&list);
}
END_TEST

/* ---- start and stop */

START_TEST(a_stop_before_the_start_makes_the_start_return_at_once)
{
    struct noted a = noted_of('a');

    post(&a);
    td_ioloop_stop(loop);
    run();
    ck_assert_str_eq(notes, "");
    td_ioloop_add_callback(loop, stop_loop, NULL);
    run();
    ck_assert_str_eq(notes, "a");
}
END_TEST

static void
post_and_stop(struct ev_loop *ev, ev_io *watcher, int events)
{
    on_pipe(ev, watcher, events);
    post(watcher->data);
    td_ioloop_stop(loop);
}

START_TEST(what_was_posted_at_a_stop_waits_for_the_next_start)
{
    struct noted a = noted_of('a');
    ev_io watcher;
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    ev_io_init(&watcher, post_and_stop, fds[0], EV_READ);
    watcher.data = &a;
    ev_io_start(td_ioloop_ev(loop), &watcher);
    run();
    ck_assert_str_eq(notes, "d");
    a.then = stop_too;
    run();
    ck_assert_str_eq(notes, "da");
    close(fds[0]);
    close(fds[1]);
}
END_TEST

static void
start_again(void *arg)
{
    *(int *)arg = td_ioloop_start(loop);
    td_ioloop_stop(loop);
}

START_TEST(a_start_while_it_runs_is_refused)
{
    int rc = 0;

    td_ioloop_add_callback(loop, start_again, &rc);
    run();
    ck_assert_int_eq(rc, TD_EINVAL);
}
END_TEST

START_TEST(a_thread_has_one_loop)
{
    td_ioloop *other = NULL;
    td_err err;

    ck_assert_ptr_eq(td_ioloop_current(), loop);
    ck_assert_int_eq(td_ioloop_create(&other, &err), TD_EEXISTS);
    ck_assert_ptr_null(other);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_loop, close_loop);
    tcase_add_test(tcase, callbacks_run_in_the_order_of_posting);
    tcase_add_test(tcase, a_callback_posted_by_a_callback_waits_for_the_next_iteration);
    tcase_add_test(tcase, a_callback_cancelled_by_an_earlier_one_of_its_batch_does_not_run);
    tcase_add_test(tcase, callbacks_that_post_themselves_do_not_starve_descriptors);
    tcase_add_test(tcase, another_thread_wakes_the_loop_and_its_callbacks_keep_their_order);
    tcase_add_test(tcase, what_did_not_run_is_dropped_with_the_loop);
    tcase_add_test(tcase, what_comes_after_its_end_is_dropped_too);
    tcase_add_test(tcase, timers_run_in_the_order_of_their_deadlines_and_ties_by_insertion);
    tcase_add_test(tcase, due_timers_run_after_the_callbacks_of_their_iteration);
    tcase_add_test(tcase, a_timer_stopped_by_an_earlier_one_of_its_batch_does_not_run);
    tcase_add_test(tcase, a_timer_that_a_callback_starts_waits_for_the_next_iteration);
    tcase_add_test(tcase, starting_a_started_timer_moves_it);
    tcase_add_test(tcase, no_timer_is_early_and_none_is_lost);
    tcase_add_test(tcase, deadlines_expire_in_time_unless_stopped_or_moved);
    tcase_add_test(tcase, a_duration_of_nought_is_never);
    tcase_add_test(tcase, a_stop_before_the_start_makes_the_start_return_at_once);
    tcase_add_test(tcase, what_was_posted_at_a_stop_waits_for_the_next_start);
    tcase_add_test(tcase, a_start_while_it_runs_is_refused);
    tcase_add_test(tcase, a_thread_has_one_loop);
}

int
main(void)
{
    return unit_run("ioloop", fill);
}
