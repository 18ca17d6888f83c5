/*
 * Goal: a thing keeps its place over generations, and what dead workers counted is kept and
 * believed in reason.
 */
#include "daemon/status/metrics.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <tornado/plugin.h>
#include <unistd.h>
#include "base/clock.h"
#include "daemon/status/status.h"
#include "unit.h"

static struct manifest_instance instances[] = {{"hello", "hello.so", "hello", "1.0", "default"}};
static struct manifest_route routes[] = {{1, 1, "/", ".*", "/hello", NULL, NULL},
                                         {1, 2, "/api/", ".*", "/users", NULL, "GET"},
                                         {1, 3, "/", ".*", "/new", NULL, NULL}};
static const td_listener_settings listeners[] = {{.name = "public", .address = "127.0.0.1:80"}};
static const td_configuration configuration = {.listeners = listeners, .listeners_count = 1};

static td_arena arena;

static void
open_daemon(void)
{
    td_err err;

    td_arena_init(&arena);
    ck_assert_int_eq(scoreboard_create(&err), 0);
    ck_assert_int_eq(metrics_create(&err), 0);
}

static void
close_daemon(void)
{
    td_arena_fini(&arena);
}

static struct metrics_places
describe(uint32_t generation, size_t first, size_t count)
{
    const struct manifest manifest = {.instances = instances,
                                      .instances_count = 1,
                                      .routes = routes + first,
                                      .routes_count = count};
    struct metrics_places places;

    metrics_describe(&arena, generation, &configuration, &manifest, &places);
    return places;
}

/* As a worker would, but in this process: the board stays writable. */
static td_route_counters *
begin_worker(size_t place, uint32_t generation)
{
    struct metrics_block block;

    metrics_worker_begins(place, generation, (uint32_t)place);
    metrics_worker_forked(place, getpid());
    metrics_worker_is(place, METRICS_SERVING);
    ck_assert(metrics_find_block(&metrics_board()->workers[place], &block));
    return block.routes;
}

static uint64_t
total_of(uint32_t route)
{
    struct status status;
    struct status_route found;

    status_take(&arena, NULL, &status);
    ck_assert_uint_lt(route, status.routes_count);
    status_take_route(&status, route, &found);
    return found.all.responses[2];
}

START_TEST(a_route_keeps_its_place)
{
    const struct metrics_places one = describe(1, 0, 2), two = describe(2, 1, 2);

    ck_assert_uint_eq(one.routes[1], two.routes[0]);
    ck_assert_uint_ne(two.routes[1], one.routes[0]);
    ck_assert_uint_eq(one.listeners[0], two.listeners[0]);
    ck_assert_uint_eq(one.handlers[0], two.handlers[0]);
    ck_assert_str_eq(metrics_board()->routes[one.routes[0]].pattern, "/hello");
    ck_assert_str_eq(metrics_board()->routes[one.routes[1]].pattern, "/api/users");
    ck_assert_str_eq(metrics_board()->routes[one.routes[1]].wanted, "GET");
}
END_TEST

START_TEST(what_a_dead_worker_counted_stays)
{
    const uint32_t hello = describe(1, 0, 2).routes[0];

    begin_worker(0, 1)[hello].responses[2] = 5;
    td_route_counters *other = begin_worker(1, 1);
    other[hello].responses[2] = 7;
    ck_assert_uint_eq(total_of(hello), 12);
    metrics_worker_ended(0);
    ck_assert_uint_eq(total_of(hello), 12);
    ck_assert_uint_eq(begin_worker(0, 1)[hello].responses[2], 0); /* where the dead one was */
    other[hello].responses[2]++;
    metrics_worker_ended(1);
    metrics_worker_ended(0);
    ck_assert_uint_eq(total_of(hello), 13);
}
END_TEST

START_TEST(blocks_of_different_sizes_do_not_overlap)
{
    td_route_counters *rows[3];
    uint32_t last = 0;

    for (uint32_t i = 0; i < 3; i++) {
        last = describe(i + 1, i, 1).routes[0];
        rows[i] = begin_worker(i, i + 1);
        memset(rows[i], 0xff, (last + 1) * sizeof(*rows[i]));
        memset(rows[i], 0, (last + 1) * sizeof(*rows[i]));
        rows[i][last].responses[2] = i + 1;
    }
    metrics_worker_ended(1);
    rows[1] = begin_worker(1, 3); /* larger than the gap may be */
    rows[1][last].responses[2] = 10;
    ck_assert_uint_eq(rows[0][1].responses[2], 1);
    ck_assert_uint_eq(rows[2][3].responses[2], 3);
    ck_assert_uint_eq(total_of(last), 13);
}
END_TEST

START_TEST(numbers_that_cannot_be_are_not_kept)
{
    const uint32_t hello = describe(1, 0, 1).routes[0];
    td_route_counters *rows = begin_worker(0, 1);

    memset(rows, 0xff, (hello + 1) * sizeof(*rows));
    rows[hello].sent = 3;
    metrics_worker_ended(0);
    ck_assert_uint_eq(total_of(hello), 0);
    ck_assert_uint_eq(metrics_board()->routes[hello].dead.sent, 3);
}
END_TEST

static struct manifest_route many_routes[METRICS_ROUTES + 10];

static struct metrics_places
describe_many(uint32_t generation, size_t count)
{
    static char patterns[METRICS_ROUTES + 10][24];
    const struct manifest manifest = {.instances = instances,
                                      .instances_count = 1,
                                      .routes = many_routes,
                                      .routes_count = count};
    struct metrics_places places;

    for (size_t i = 0; i < count; i++) {
        snprintf(patterns[i], sizeof(patterns[i]), "/%zu", i);
        many_routes[i] = (struct manifest_route){1, (uint32_t)i + 1, "/", ".*", patterns[i], NULL, NULL};
    }
    metrics_describe(&arena, generation, &configuration, &manifest, &places);
    return places;
}

START_TEST(what_has_no_place_is_counted_at_the_first)
{
    for (uint32_t generation = 1; generation <= 2; generation++) { /* the second finds them there */
        const struct metrics_places places = describe_many(generation, METRICS_ROUTES + 10);

        ck_assert_uint_eq(places.routes[0], 1);
        ck_assert_uint_eq(places.routes[METRICS_ROUTES - 2], METRICS_ROUTES - 1);
        ck_assert_uint_eq(places.routes[METRICS_ROUTES - 1], 0);
        ck_assert_uint_eq(places.routes[METRICS_ROUTES + 9], 0);
        ck_assert_uint_eq(metrics_board()->routes_count, METRICS_ROUTES);
        ck_assert_uint_eq(metrics_board()->routes[METRICS_ROUTES - 1].generation, generation);
    }
}
END_TEST

/* Of this process: others that run beside it do not count. */
static int64_t
cpu_ns_of_describing(uint32_t generation, size_t count)
{
    struct timespec before, after;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    describe_many(generation, count);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    return (after.tv_sec - before.tv_sec) * TD_NS_PER_S + after.tv_nsec - before.tv_nsec;
}

/* Eight times as many take some eight times as long, and not sixty-four times. */
START_TEST(many_routes_find_their_places_in_linear_time)
{
    describe_many(1, METRICS_ROUTES - 1);

    const int64_t few = cpu_ns_of_describing(2, METRICS_ROUTES / 8);
    const int64_t all = cpu_ns_of_describing(3, METRICS_ROUTES - 1);

    ck_assert_msg(all < 30 * few, "%lld ns for an eighth of them, %lld for all", (long long)few,
                  (long long)all);
}
END_TEST

/* ---- of handlers */

static uint32_t
describe_own(uint32_t generation, const char *name, uint32_t kind)
{
    struct manifest_metric metric = {1, kind, name, "A number.", NULL, NULL};
    const struct manifest manifest = {
        .instances = instances, .instances_count = 1, .metrics = &metric, .metrics_count = 1};
    struct metrics_places places;

    metrics_describe(&arena, generation, &configuration, &manifest, &places);
    metrics_generation_serves(generation, 1);
    return places.own[0];
}

static uint64_t *
begin_own(size_t place, uint32_t generation)
{
    struct metrics_block block;

    begin_worker(place, generation);
    ck_assert(metrics_find_block(&metrics_board()->workers[place], &block));
    return block.own;
}

/* -1000: it is not told. */
static int64_t
own_total(const char *name)
{
    struct status status;

    status_take(&arena, NULL, &status);
    for (size_t i = 0; i < status.own_count; i++) {
        if (strcmp(status.own[i].is->name, name) == 0)
            return status.own[i].all;
    }
    return -1000;
}

START_TEST(each_value_of_a_label_has_a_place)
{
    struct manifest_metric labelled[] = {
        {1, TD_METRIC_COUNTER, "sent", "Letters.", "office", "north"},
        {1, TD_METRIC_COUNTER, "sent", "Letters.", "office", "south"}};
    const struct manifest manifest = {
        .instances = instances, .instances_count = 1, .metrics = labelled, .metrics_count = 2};
    struct metrics_places one, two;

    metrics_describe(&arena, 1, &configuration, &manifest, &one);
    labelled[0].value = "west";
    metrics_describe(&arena, 2, &configuration, &manifest, &two);
    ck_assert_uint_ne(one.own[0], one.own[1]);
    ck_assert_uint_eq(two.own[1], one.own[1]);
    ck_assert_uint_eq(metrics_board()->own_count, 3);
    ck_assert_str_eq(metrics_board()->own[two.own[0]].label, "office");
    ck_assert_str_eq(metrics_board()->own[two.own[0]].value, "west");
}
END_TEST

START_TEST(a_counter_keeps_what_the_dead_counted_and_a_gauge_does_not)
{
    const uint32_t orders = describe_own(1, "orders", TD_METRIC_COUNTER);
    const uint32_t level = describe_own(1, "level", TD_METRIC_GAUGE);
    uint64_t *one = begin_own(0, 1), *two = begin_own(1, 1);

    describe_own(2, "orders", TD_METRIC_COUNTER);
    ck_assert_uint_eq(describe_own(2, "level", TD_METRIC_GAUGE), level);
    one[orders] = 5;
    two[orders] = 2;
    one[level] = (uint64_t)-3;
    two[level] = 10;
    ck_assert_int_eq(own_total("orders"), 7);
    ck_assert_int_eq(own_total("level"), 7);
    metrics_worker_ended(0);
    ck_assert_int_eq(own_total("orders"), 7);
    ck_assert_int_eq(own_total("level"), 10);
}
END_TEST

START_TEST(what_is_not_declared_any_more_is_not_told)
{
    const uint32_t orders = describe_own(1, "orders", TD_METRIC_COUNTER);

    begin_own(0, 1)[orders] = 5;
    describe_own(2, "others", TD_METRIC_COUNTER);
    ck_assert_int_eq(own_total("orders"), -1000);
    ck_assert_int_eq(own_total("others"), 0);
    describe_own(3, "orders", TD_METRIC_COUNTER); /* it comes back */
    ck_assert_int_eq(own_total("orders"), 5);
}
END_TEST

START_TEST(a_name_is_told_of_one_kind)
{
    const uint32_t counter = describe_own(1, "both", TD_METRIC_COUNTER);
    const uint32_t gauge = describe_own(1, "both", TD_METRIC_GAUGE);
    struct status status;

    ck_assert_uint_ne(counter, gauge);
    status_take(&arena, NULL, &status);
    ck_assert_uint_eq(status.own_count, 1);
    ck_assert_uint_eq(status.own[0].is->kind, TD_METRIC_COUNTER);
    describe_own(2, "both", TD_METRIC_GAUGE);
    status_take(&arena, NULL, &status);
    ck_assert_uint_eq(status.own_count, 1);
    ck_assert_uint_eq(status.own[0].is->kind, TD_METRIC_GAUGE);
}
END_TEST

/* Names x0, x1, ... of so many; the places are good until the next call. */
static const uint32_t *
describe_many_own(uint32_t generation, size_t count)
{
    static struct manifest_metric many[METRICS_OWN + 1];
    static char names[METRICS_OWN + 1][16];
    const struct manifest manifest = {
        .instances = instances, .instances_count = 1, .metrics = many, .metrics_count = count};
    struct metrics_places places;

    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof(names[i]), "x%zu", i);
        many[i] = (struct manifest_metric){1, TD_METRIC_COUNTER, names[i], "A number.", NULL, NULL};
    }
    metrics_describe(&arena, generation, &configuration, &manifest, &places);
    metrics_generation_serves(generation, 1);
    return places.own;
}

START_TEST(what_has_no_place_of_its_own_is_not_told)
{
    const uint32_t *own = describe_many_own(1, METRICS_OWN + 1);

    ck_assert_uint_eq(own[METRICS_OWN - 1], METRICS_OWN - 1);
    ck_assert_uint_eq(own[METRICS_OWN], METRICS_OWN);
    ck_assert_uint_eq(metrics_board()->own_count, METRICS_OWN);
}
END_TEST

START_TEST(what_nobody_counts_any_more_makes_room)
{
    describe_many_own(1, METRICS_OWN);
    begin_own(0, 1)[1] = 5;
    describe_many_own(2, 1);
    ck_assert_uint_eq(describe_own(3, "new", TD_METRIC_COUNTER), METRICS_OWN); /* it may count yet */
    metrics_worker_ended(0);
    describe_many_own(4, 1);
    ck_assert_uint_eq(describe_own(5, "new", TD_METRIC_COUNTER), 1);
    ck_assert_int_eq(own_total("new"), 0);
    ck_assert_uint_eq(describe_many_own(6, 1)[0], 0);
}
END_TEST

/* ---- another binary takes over */

START_TEST(a_binary_goes_on_where_the_one_before_was)
{
    const uint32_t hello = describe(1, 0, 2).routes[0];
    td_err err;

    begin_worker(0, 1)[hello].responses[2] = 3;
    metrics_worker_begins(3, 1, 3);
    metrics_worker_forked(3, 77777);
    const int fd = dup(metrics_descriptor());
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(metrics_create(&err), 0); /* as the new binary does */
    ck_assert_uint_eq(total_of(0), 0);
    metrics_adopt(fd);
    metrics_worker_adopted(0, 1, 3, 77777); /* where the other one was */
    metrics_worker_adopted(1, 1, 0, getpid());
    ck_assert_int_eq(metrics_board()->workers[0].pid, 77777);
    ck_assert_int_eq(metrics_board()->workers[1].pid, getpid());
    ck_assert_uint_eq(total_of(hello), 3);
    metrics_worker_ended(0);
    metrics_worker_ended(1);
    ck_assert_uint_eq(total_of(hello), 3);
    metrics_worker_adopted(2, 1, 9, 88888); /* of nobody that is known */
    ck_assert_uint_eq(metrics_board()->workers[2].state, METRICS_SERVING);
}
END_TEST

START_TEST(what_counts_other_things_is_left_alone)
{
    const uint64_t other = metrics_board()->layout + 1;
    const int fd = dup(metrics_descriptor()), small = memfd_create("small", 0);
    td_err err;

    metrics_reload_failed();
    ck_assert_int_eq(pwrite(fd, &other, sizeof(other), offsetof(struct metrics_board, layout)),
                     sizeof(other));
    ck_assert_int_eq(metrics_create(&err), 0);
    metrics_adopt(fd);
    ck_assert_uint_eq(metrics_board()->reloads_failed, 0);
    metrics_adopt(small);
    ck_assert_uint_eq(metrics_board()->reloads_failed, 0);
}
END_TEST

/* Of a block whose description is garbage there is none. */
START_TEST(a_block_lies_where_blocks_lie)
{
    const struct metrics_worker bad[] = {
        {.offset = 0},
        {.offset = UINT64_MAX},
        {.offset = 4096, .routes_count = UINT32_MAX},
        {.offset = 4096, .listeners_count = UINT32_MAX},
        {.offset = 4096, .own_count = UINT32_MAX},
        {.offset = UINT64_C(512) << 20, .routes_count = METRICS_ROUTES},
    };
    struct metrics_block block;

    for (size_t i = 0; i < COUNT_OF(bad); i++)
        ck_assert(!metrics_find_block(&bad[i], &block));
}
END_TEST

START_TEST(every_format_is_written_of_nothing)
{
    td_buf text = {0};

    status_put(&text, TD_METRICS_JSON, NULL);
    ck_assert_int_eq(td_buf_str(&text).ptr[0], '{');
    status_put(&text, TD_METRICS_OPENMETRICS, NULL);
    status_put(&text, TD_METRICS_HTML, NULL);
    td_buf_release(&text);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, open_daemon, close_daemon);
    tcase_add_test(tcase, a_route_keeps_its_place);
    tcase_add_test(tcase, what_a_dead_worker_counted_stays);
    tcase_add_test(tcase, blocks_of_different_sizes_do_not_overlap);
    tcase_add_test(tcase, numbers_that_cannot_be_are_not_kept);
    tcase_add_test(tcase, what_has_no_place_is_counted_at_the_first);
    tcase_add_test(tcase, many_routes_find_their_places_in_linear_time);
    tcase_add_test(tcase, each_value_of_a_label_has_a_place);
    tcase_add_test(tcase, a_counter_keeps_what_the_dead_counted_and_a_gauge_does_not);
    tcase_add_test(tcase, what_is_not_declared_any_more_is_not_told);
    tcase_add_test(tcase, a_name_is_told_of_one_kind);
    tcase_add_test(tcase, what_has_no_place_of_its_own_is_not_told);
    tcase_add_test(tcase, what_nobody_counts_any_more_makes_room);
    tcase_add_test(tcase, a_binary_goes_on_where_the_one_before_was);
    tcase_add_test(tcase, what_counts_other_things_is_left_alone);
    tcase_add_test(tcase, a_block_lies_where_blocks_lie);
    tcase_add_test(tcase, every_format_is_written_of_nothing);
}

int
main(void)
{
    return unit_run("daemon_metrics", fill);
}
