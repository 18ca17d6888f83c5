/* Goal: each duration is counted in the one bucket whose bounds it lies between. */
#include "base/latency.h"
#include "unit.h"

static void
check_bucket(int64_t ns)
{
    const unsigned bucket = td_latency_bucket(ns);

    ck_assert_uint_lt(bucket, TD_LATENCY_BUCKETS);
    if (bucket < TD_LATENCY_BOUNDS)
        ck_assert_int_le(ns, (int64_t)td_latency_bounds[bucket]);
    if (bucket > 0)
        ck_assert_int_gt(ns, (int64_t)td_latency_bounds[bucket - 1]);
}

START_TEST(bounds_grow_by_a_quarter_or_so)
{
    for (int i = 1; i < TD_LATENCY_BOUNDS; i++) {
        const double ratio = (double)td_latency_bounds[i] / (double)td_latency_bounds[i - 1];

        ck_assert(ratio > 1.24 && ratio < 1.29);
    }
    ck_assert_uint_eq(td_latency_bounds[0], 1250);
    ck_assert_uint_eq(td_latency_bounds[TD_LATENCY_BOUNDS - 1], UINT64_C(100000000000));
}
END_TEST

START_TEST(a_bound_is_the_last_of_its_bucket)
{
    for (int i = 0; i < TD_LATENCY_BOUNDS; i++) {
        const int64_t bound = (int64_t)td_latency_bounds[i];

        ck_assert_uint_eq(td_latency_bucket(bound), (unsigned)i);
        ck_assert_uint_eq(td_latency_bucket(bound + 1), (unsigned)i + 1);
    }
}
END_TEST

START_TEST(every_duration_has_its_bucket)
{
    const int64_t extremes[] = {INT64_MIN, -1, 0, 1, 1023, 1024, INT64_MAX};

    for (int i = 0; i < 7; i++)
        check_bucket(extremes[i]);
    for (int64_t ns = 1; ns < INT64_C(1) << 40; ns += 1 + ns / 1000)
        check_bucket(ns);
}
END_TEST

static const struct {
    int64_t durations[5]; /* ns */
    double part;
    uint64_t from, to;
} quantiles[] = {
    {{0}, .5, 0, 0},
    {{1000000}, .5, 800000, 1000000},
    {{1000000, 2000000, 3000000, 4000000}, .5, 1600000, 2000000},
    {{1000000, 2000000, 3000000, 90000000}, .99, 80000000, 100000000},
    {{INT64_MAX}, .5, UINT64_C(100000000000), UINT64_C(100000000000)},
};

START_TEST(a_quantile_lies_in_the_bucket_of_its_duration)
{
    uint64_t buckets[TD_LATENCY_BUCKETS] = {0}, count = 0;

    for (int i = 0; i < 5 && quantiles[_i].durations[i] != 0; i++, count++)
        buckets[td_latency_bucket(quantiles[_i].durations[i])]++;
    const uint64_t ns = td_latency_quantile(buckets, quantiles[_i].part);
    ck_assert_uint_ge(ns, quantiles[_i].from);
    ck_assert_uint_le(ns, quantiles[_i].to);
    ck_assert_uint_eq(td_latency_count(buckets), count);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, td_latency_init, NULL);
    tcase_add_test(tcase, bounds_grow_by_a_quarter_or_so);
    tcase_add_test(tcase, a_bound_is_the_last_of_its_bucket);
    tcase_add_test(tcase, every_duration_has_its_bucket);
    ADD_TABLE(tcase, a_quantile_lies_in_the_bucket_of_its_duration, quantiles);
}

int
main(void)
{
    return unit_run("latency", fill);
}
