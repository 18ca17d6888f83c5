/* Goal: a periodic callback keeps its schedule, skips what it missed, and stops when told. */
#include "on_loop.h"

static struct {
    td_periodic *periodic;
    int64_t at_ns[16]; /* of each call */
    int calls, calls_max;
    int64_t work_ms;   /* how long each call waits */
    int64_t block_ms;  /* how long the second blocks the loop */
    int running;
} observed;

static void
on_period(void *arg)
{
    ck_assert_ptr_eq(arg, &observed);
    ck_assert_int_eq(observed.running++, 0); /* never beside itself */
    observed.at_ns[observed.calls++] = td_clock_ns();
    if (observed.calls == 2)
        while (td_clock_ns() - observed.at_ns[1] < observed.block_ms * TD_NS_PER_MS)
            ;
    if (observed.work_ms > 0)
        td_sleep(observed.work_ms);
    observed.running--;
    if (observed.calls == observed.calls_max) {
        td_periodic_stop(observed.periodic);
        td_call_later(loop, 12, stop_loop, NULL);
    }
}

static int64_t
run(int64_t period_ms, double jitter)
{
    const int64_t start_ns = td_clock_ns();

    observed.periodic = td_periodic_create(on_period, &observed, period_ms, jitter);
    ck_assert_ptr_nonnull(observed.periodic);
    td_periodic_start(observed.periodic);
    td_periodic_start(observed.periodic); /* again: nothing */
    td_ioloop_start(loop);
    td_periodic_destroy(&observed.periodic);
    ck_assert_ptr_null(observed.periodic);
    ck_assert_int_eq(observed.calls, observed.calls_max); /* none after the stop */
    return start_ns;
}

/* The schedule of start + k * period, seen from the first call, whose lateness is its own. */
static void
check_schedule(int64_t start_ns, int64_t period_ms)
{
    for (int i = 0; i < observed.calls; i++)
        ck_assert_int_ge(observed.at_ns[i] - start_ns, (i + 1) * period_ms * TD_NS_PER_MS);
}

START_TEST(the_first_call_comes_after_a_period_and_the_rest_without_drift)
{
    observed.calls_max = 5;
    check_schedule(run(3, 0.0), 3);
}
END_TEST

START_TEST(a_call_that_waits_longer_than_the_period_skips_and_does_not_overlap)
{
    observed.calls_max = 3;
    observed.work_ms = 7;
    const int64_t start_ns = run(5, 0.0);
    ck_assert_int_ge(observed.at_ns[1] - start_ns, 15 * TD_NS_PER_MS); /* that of 10 was missed */
}
END_TEST

START_TEST(a_late_loop_makes_no_burst)
{
    observed.calls_max = 4;
    observed.block_ms = 22;
    const int64_t start_ns = run(5, 0.0);
    ck_assert_int_ge(observed.at_ns[2] - observed.at_ns[1], 22 * TD_NS_PER_MS);
    /* 5 and 10, 15 to 30 missed, 35 and 40 */
    ck_assert_int_ge(observed.at_ns[3] - start_ns, 40 * TD_NS_PER_MS);
}
END_TEST

START_TEST(jitter_spreads_each_period_by_its_share)
{
    observed.calls_max = 8;
    const int64_t start_ns = run(4, 1.0);
    ck_assert_int_ge(observed.at_ns[0] - start_ns, 2 * TD_NS_PER_MS); /* 4 ms times 0.5 .. 1.5 */
}
END_TEST

static void
destroy_from_inside(void *arg)
{
    (void)arg;
    td_periodic_destroy(&observed.periodic);
    td_sleep(2);
    note('d');
    td_ioloop_stop(loop);
}

START_TEST(it_may_be_destroyed_from_inside)
{
    observed.periodic = td_periodic_create(destroy_from_inside, NULL, 1, 0.0);
    td_periodic_start(observed.periodic);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "d");
}
END_TEST

static void
raise_then_stop(void *arg)
{
    (void)arg;
    if (++observed.calls == 3)
        td_ioloop_stop(loop);
    td_coroutine_raise();
}

START_TEST(a_failure_is_logged_and_the_schedule_goes_on)
{
    observed.periodic = td_periodic_create(raise_then_stop, NULL, 1, 0.0);
    td_periodic_start(observed.periodic);
    td_ioloop_start(loop);
    td_periodic_destroy(&observed.periodic);
    ck_assert_int_eq(logged("td_periodic: raised outside a request"), 3);
}
END_TEST

START_TEST(misuse_is_refused_and_logged)
{
    ck_assert_ptr_null(td_periodic_create(NULL, NULL, 1, 0.0));
    ck_assert_ptr_null(td_periodic_create(stop_loop, NULL, 0, 0.0));
    ck_assert_ptr_null(td_periodic_create(stop_loop, NULL, 1, 1.5));
    ck_assert_ptr_null(td_periodic_create(stop_loop, NULL, 1, -0.5));
    td_periodic_start(NULL);
    td_periodic_stop(NULL);
    td_periodic_destroy(NULL);
    td_periodic_destroy(&observed.periodic);
    ck_assert_int_eq(logged("[E "), 6);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_loop, close_loop);
    tcase_add_test(tcase, the_first_call_comes_after_a_period_and_the_rest_without_drift);
    tcase_add_test(tcase, a_call_that_waits_longer_than_the_period_skips_and_does_not_overlap);
    tcase_add_test(tcase, a_late_loop_makes_no_burst);
    tcase_add_test(tcase, jitter_spreads_each_period_by_its_share);
    tcase_add_test(tcase, it_may_be_destroyed_from_inside);
    tcase_add_test(tcase, a_failure_is_logged_and_the_schedule_goes_on);
    tcase_add_test(tcase, misuse_is_refused_and_logged);
}

int
main(void)
{
    return unit_run("periodic", fill);
}
