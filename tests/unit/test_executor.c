/* Goal: jobs run on threads, their ends come back, and nothing they use goes before. */
#include <tornado/executor.h>
#include <pthread.h>
#include <semaphore.h>
#include "io/executor.h"
#include "waiting_actors.h"

static sem_t gate; /* jobs that are told to wait for it */
static sem_t entered;
static pthread_t loop_thread;
static td_executor *executor;
static char letter_a = 'a', letter_b = 'b', letter_c = 'c';

static void
open_all(void)
{
    open_loop();
    sem_init(&gate, 0, 0);
    sem_init(&entered, 0, 0);
    loop_thread = pthread_self();
    executor = NULL;
}

static void
close_all(void)
{
    close_loop(); /* the semaphores stay: a job that was left behind may use them */
}

/* ---- jobs */

static void *
square(void *arg)
{
    int *number = arg;

    ck_assert(!pthread_equal(pthread_self(), loop_thread));
    ck_assert_ptr_null(td_ioloop_current());
    *number *= *number;
    return number;
}

static void *
pass_the_gate(void *arg)
{
    sem_post(&entered);
    sem_wait(&gate);
    if (arg != NULL)
        *(int *)arg = 4711;
    return NULL;
}

static void *
leave_thread(void *arg)
{
    pthread_exit(arg);
}

static void *
never_run(void *arg)
{
    *(bool *)arg = true;
    return NULL;
}

/* ---- td_executor_run */

static void
run_squares(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        int number = i;
        void *result = NULL;

        ck_assert_int_eq(td_executor_run(NULL, square, &number, &result), 0);
        ck_assert_ptr_eq(result, &number);
        ck_assert_int_eq(number, i * i);
    }
    ck_assert_uint_eq(td_executor_jobs(), 0);
}

START_TEST(a_job_runs_on_a_thread_and_its_result_is_awaited)
{
    ck_assert_int_eq(on_coroutine(run_squares, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static int finished;

static void
run_one(void *arg)
{
    int number = *(int *)arg;

    ck_assert_int_eq(td_executor_run(executor, square, &number, NULL), 0);
    if (++finished == 1000)
        td_ioloop_stop(loop);
}

START_TEST(a_thousand_jobs_share_a_few_threads)
{
    static int numbers[1000];

    executor = td_executor_create(4, 1000);
    for (int i = 0; i < 1000; i++) {
        numbers[i] = i;
        start_actor(run_one, &numbers[i]);
    }
    td_ioloop_start(loop);
    ck_assert_int_eq(finished, 1000);
}
END_TEST

static void
wait_at_gate(void *arg)
{
    const char *letter = arg;
    int number = 0;

    if (td_executor_run(executor, pass_the_gate, &number, NULL) == 0) {
        ck_assert_int_eq(number, 4711);
        note(*letter);
    } else {
        note('#');
    }
}

static void
try_when_full(void *arg)
{
    int number = 1;
    td_future *future;

    (void)arg;
    ck_assert_int_eq(td_executor_run(executor, square, &number, NULL), TD_EBUSY);
    future = td_executor_submit(executor, square, &number);
    ck_assert_int_eq(td_await(future, NULL), TD_EBUSY);
    ck_assert_int_eq(number, 1);
}

START_TEST(beyond_the_queue_jobs_are_refused)
{
    executor = td_executor_create(1, 2);
    for (int i = 0; i < 3; i++)
        start_actor(wait_at_gate, &letter_a);
    on_coroutine(try_when_full, NULL);
    for (int i = 0; i < 3; i++)
        sem_post(&gate);
    while (td_executor_jobs() > 0)
        turn();
    turn();
    ck_assert_str_eq(notes, "aaa");
}
END_TEST

START_TEST(one_that_is_cancelled_while_its_job_runs_unwinds_when_that_ends)
{
    td_coroutine *co;

    executor = td_executor_create(1, 8);
    co = start_actor(wait_at_gate, &letter_a);
    sem_wait(&entered);
    td_coroutine_cancel(co);
    turn();
    ck_assert_uint_eq(td_coroutines_count(),
                      1); /* its stack is still there for the job to write to */
    sem_post(&gate);
    while (td_executor_jobs() > 0)
        turn();
    turn();
    ck_assert_uint_eq(td_coroutines_count(), 0);
    ck_assert_str_eq(notes, ""); /* it has not come back from td_executor_run */
}
END_TEST

static void
run_never(void *arg)
{
    td_executor_run(executor, never_run, arg, NULL);
    note('!');
}

START_TEST(one_that_is_cancelled_before_takes_its_job_back)
{
    bool has_run = false;
    td_coroutine *co;

    executor = td_executor_create(1, 8);
    start_actor(wait_at_gate, &letter_a);
    sem_wait(&entered);
    co = start_actor(run_never, &has_run);
    td_coroutine_cancel(co);
    sem_post(&gate);
    while (td_executor_jobs() > 0)
        turn();
    turn();
    ck_assert_str_eq(notes, "a");
    ck_assert(!has_run);
}
END_TEST

static void
cancel_first(void *arg)
{
    td_coroutine_cancel(td_coroutine_current());
    run_never(arg);
}

START_TEST(one_that_is_cancelled_already_does_not_wait)
{
    bool has_run = false;

    executor = td_executor_create(1, 8);
    start_actor(wait_at_gate, &letter_a);
    sem_wait(&entered);
    ck_assert_int_eq(on_coroutine(cancel_first, &has_run), TD_COROUTINE_CANCELED);
    sem_post(&gate);
    while (td_executor_jobs() > 0)
        turn();
    ck_assert(!has_run);
}
END_TEST

/* ---- td_executor_submit */

static void
submit_and_await(void *arg)
{
    int numbers[] = {2, 3, 4};
    td_future *futures[3];

    (void)arg;
    for (int i = 0; i < 3; i++)
        futures[i] = td_executor_submit(NULL, square, &numbers[i]);
    ck_assert_int_eq(td_await(td_gather(futures, 3, NULL), NULL), 0);
    ck_assert_int_eq(numbers[0] + numbers[1] + numbers[2], 4 + 9 + 16);
}

START_TEST(a_submitted_job_is_a_future)
{
    ck_assert_int_eq(on_coroutine(submit_and_await, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static void
cancel_submitted(void *arg)
{
    bool has_run = false;
    td_future *running = td_executor_submit(executor, pass_the_gate, NULL), *queued;

    (void)arg;
    sem_wait(&entered);
    queued = td_executor_submit(executor, never_run, &has_run);
    ck_assert(td_future_cancel(queued));
    ck_assert_uint_eq(td_executor_jobs(), 1);
    ck_assert(td_future_cancel(running));
    ck_assert_int_eq(td_await(running, NULL), TD_ECANCELED);
    ck_assert_int_eq(td_await(queued, NULL), TD_ECANCELED);
    sem_post(&gate);
    while (td_executor_jobs() > 0)
        td_sleep(1);
    ck_assert(!has_run);
}

START_TEST(cancelling_its_future_takes_back_what_has_not_begun)
{
    executor = td_executor_create(1, 8);
    ck_assert_int_eq(on_coroutine(cancel_submitted, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

/* ---- what goes wrong */

static void
lose_threads(void *arg)
{
    int number = 3;

    (void)arg;
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(td_executor_run(executor, leave_thread, NULL, NULL), TD_ECANCELED);
    ck_assert_int_eq(td_executor_run(executor, square, &number, NULL), 0);
    ck_assert_int_eq(number, 9);
}

START_TEST(a_job_that_ends_its_thread_fails_and_others_go_on)
{
    executor = td_executor_create(2, 8);
    ck_assert_int_eq(on_coroutine(lose_threads, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

START_TEST(destroying_cancels_what_waits_and_lets_run_what_runs)
{
    td_executor *shut = executor = td_executor_create(1, 8);

    start_actor(wait_at_gate, &letter_a);
    sem_wait(&entered);
    start_actor(wait_at_gate, &letter_b);
    td_executor_destroy(&executor);
    ck_assert_ptr_null(executor);
    turn();
    ck_assert_str_eq(notes, "#");
    executor = shut;
    start_actor(wait_at_gate, &letter_c); /* too late, and in time to be told */
    ck_assert_str_eq(notes, "##");
    sem_post(&gate);
    while (td_executor_jobs() > 0)
        turn();
    turn();
    ck_assert_str_eq(notes, "##a");
}
END_TEST

START_TEST(the_loop_ends_with_jobs_in_each_state)
{
    executor = td_executor_create(1, 8);
    start_actor(wait_at_gate, &letter_a); /* done, and on its way back */
    sem_wait(&entered);
    start_actor(wait_at_gate, &letter_b); /* begins, perhaps */
    td_future_unref(td_executor_submit(executor, pass_the_gate, NULL));
    for (int i = 0; i < 3; i++)
        sem_post(&gate);
}
END_TEST

static void *
release_gate_later(void *arg)
{
    (void)arg;
    usleep(20000);
    sem_post(&gate);
    return NULL;
}

START_TEST(the_end_of_the_loop_waits_a_moment_for_a_job_that_runs)
{
    pthread_t thread;

    executor = td_executor_create(1, 8);
    start_actor(wait_at_gate, &letter_a);
    sem_wait(&entered);
    pthread_create(&thread, NULL, release_gate_later, NULL);
    td_ioloop_destroy(&loop);
    ck_assert_uint_eq(td_executor_jobs(), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
}
END_TEST

START_TEST(a_job_that_never_ends_is_left_behind)
{
    executor = td_executor_create(1, 8);
    td_future_unref(td_executor_submit(executor, pass_the_gate, NULL));
    sem_wait(&entered);
    td_ioloop_destroy(&loop);
    ck_assert_uint_eq(td_executor_jobs(), 1);
    ck_assert_int_eq(logged("1 jobs of executors still run"), 1);
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
}
END_TEST

static void
misuse(void *arg)
{
    (void)arg;
    ck_assert_ptr_null(td_executor_create(0, 1));
    ck_assert_ptr_null(td_executor_create(1025, 1));
    ck_assert_int_eq(td_executor_run(NULL, NULL, NULL, NULL), TD_EINVAL);
    ck_assert_ptr_null(td_executor_submit(NULL, NULL, NULL));
    ck_assert_int_eq(logged("[E "), 4);
}

START_TEST(misuse_is_told)
{
    ck_assert_int_eq(on_coroutine(misuse, NULL), TD_COROUTINE_RETURNED);
    ck_assert_int_eq(td_executor_run(NULL, square, NULL, NULL),
                     TD_EINVAL); /* on the loop's stack */
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_all, close_all);
    tcase_add_test(tcase, a_job_runs_on_a_thread_and_its_result_is_awaited);
    tcase_add_test(tcase, a_thousand_jobs_share_a_few_threads);
    tcase_add_test(tcase, beyond_the_queue_jobs_are_refused);
    tcase_add_test(tcase, one_that_is_cancelled_while_its_job_runs_unwinds_when_that_ends);
    tcase_add_test(tcase, one_that_is_cancelled_before_takes_its_job_back);
    tcase_add_test(tcase, one_that_is_cancelled_already_does_not_wait);
    tcase_add_test(tcase, a_submitted_job_is_a_future);
    tcase_add_test(tcase, cancelling_its_future_takes_back_what_has_not_begun);
    tcase_add_test(tcase, a_job_that_ends_its_thread_fails_and_others_go_on);
    tcase_add_test(tcase, destroying_cancels_what_waits_and_lets_run_what_runs);
    tcase_add_test(tcase, the_loop_ends_with_jobs_in_each_state);
    tcase_add_test(tcase, the_end_of_the_loop_waits_a_moment_for_a_job_that_runs);
    tcase_add_test(tcase, a_job_that_never_ends_is_left_behind);
    tcase_add_test(tcase, misuse_is_told);
}

int
main(void)
{
    return unit_run("executor", fill);
}
