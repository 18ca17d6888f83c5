/*
 * Goal: kept connections are found again while they are good for something, and no more are kept
 * than may be.
 */
#include <sys/socket.h>
#include "base/budget.h"
#include "base/clock.h"
#include "http/upstream.h"
#include "on_loop.h"

static td_upstreams kept;
static int peers[16];
static size_t peers_count;

static td_upstream *
connection_to(const char *key)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    peers[peers_count++] = pair[1];
    return td_upstream_create(td_iostream_create(pair[0], NULL), td_str_of(key));
}

static void
open_kept(size_t max, size_t origin_max, int64_t idle_timeout_ms)
{
    open_loop();
    peers_count = 0;
    td_upstreams_init(&kept, max, origin_max, idle_timeout_ms, 0);
}

static void
close_kept(void)
{
    td_upstreams_fini(&kept);
    ck_assert_uint_eq(kept.count, 0);
    while (peers_count > 0)
        close(peers[--peers_count]);
    close_loop();
}

static bool
is_kept(const char *key)
{
    td_upstream *upstream = td_upstreams_take(&kept, td_str_of(key), td_clock_ns());
    const bool was_kept = upstream != NULL && upstream->was_kept;

    td_upstream_destroy(&upstream);
    return was_kept;
}

START_TEST(the_one_used_last_is_found_first)
{
    td_upstream *first, *second;

    open_kept(4, 4, 60000);
    first = connection_to("a");
    second = connection_to("a");
    td_upstreams_keep(&kept, first);
    td_upstreams_keep(&kept, second);
    td_upstreams_keep(&kept, connection_to("b"));
    ck_assert_ptr_eq(td_upstreams_take(&kept, TD_STR("a"), td_clock_ns()), second);
    ck_assert_ptr_eq(td_upstreams_take(&kept, TD_STR("a"), td_clock_ns()), first);
    ck_assert_ptr_null(td_upstreams_take(&kept, TD_STR("a"), td_clock_ns()));
    ck_assert_ptr_null(td_upstreams_take(&kept, TD_STR(""), td_clock_ns()));
    ck_assert_uint_eq(kept.count, 1);
    td_upstream_destroy(&first);
    td_upstream_destroy(&second);
    td_upstream_destroy(&second);
    close_kept();
}
END_TEST

START_TEST(one_that_was_closed_or_has_spoken_is_not)
{
    open_kept(4, 4, 60000);
    td_upstreams_keep(&kept, connection_to("good"));
    td_upstreams_keep(&kept, connection_to("closed"));
    td_upstreams_keep(&kept, connection_to("loud"));
    shutdown(peers[1], SHUT_WR);
    ck_assert_int_eq(write(peers[2], "x", 1), 1);
    ck_assert(is_kept("good"));
    ck_assert(!is_kept("closed"));
    ck_assert(!is_kept("loud"));
    ck_assert_uint_eq(kept.count, 0);
    close_kept();
}
END_TEST

START_TEST(one_that_speaks_while_it_is_kept_goes_at_once)
{
    open_kept(4, 4, 60000);
    td_upstreams_keep(&kept, connection_to("a"));
    td_upstreams_keep(&kept, connection_to("a"));
    td_upstreams_keep(&kept, connection_to("b"));
    turn();
    ck_assert_uint_eq(kept.count, 3);
    shutdown(peers[0], SHUT_WR);
    ck_assert_int_eq(write(peers[2], "x", 1), 1);
    turn();
    ck_assert_uint_eq(kept.count, 1);
    ck_assert(is_kept("a")); /* the loop has polled: nobody asks the kernel again */
    ck_assert(!is_kept("a"));
    close_kept();
}
END_TEST

/* Others had the turn meanwhile, and it was a long one: what was polled is no news any more. */
START_TEST(one_that_has_spoken_in_a_long_turn_is_not)
{
    open_kept(4, 4, 60000);
    td_upstreams_keep(&kept, connection_to("a"));
    turn();
    ck_assert_int_eq(write(peers[0], "x", 1), 1);
    usleep(2000);
    ck_assert(!is_kept("a"));
    ck_assert_uint_eq(kept.count, 0);
    close_kept();
}
END_TEST

START_TEST(one_that_was_kept_again_is_watched_again)
{
    td_upstream *upstream;

    open_kept(4, 4, 60000);
    td_upstreams_keep(&kept, connection_to("a"));
    turn();
    upstream = td_upstreams_take(&kept, TD_STR("a"), td_clock_ns());
    td_upstreams_keep(&kept, upstream);
    ck_assert_int_eq(write(peers[0], "x", 1), 1);
    ck_assert(!is_kept("a")); /* not polled since */
    ck_assert_uint_eq(kept.count, 0);
    close_kept();
}
END_TEST

START_TEST(no_more_are_kept_than_may_be)
{
    open_kept(3, 2, 60000);
    for (int i = 0; i < 3; i++)
        td_upstreams_keep(&kept, connection_to("a"));
    ck_assert_uint_eq(kept.count, 2);
    td_upstreams_keep(&kept, connection_to("b"));
    td_upstreams_keep(&kept, connection_to("c")); /* the oldest has to go */
    ck_assert_uint_eq(kept.count, 3);
    ck_assert(is_kept("a"));
    ck_assert(!is_kept("a"));
    ck_assert(is_kept("b"));
    ck_assert(is_kept("c"));
    close_kept();

    open_kept(0, 2, 60000);
    td_upstreams_keep(&kept, connection_to("a"));
    ck_assert_uint_eq(kept.count, 0);
    close_kept();
}
END_TEST

START_TEST(they_are_kept_for_their_time)
{
    open_kept(3, 3, 20);
    td_upstreams_keep(&kept, connection_to("a"));
    td_upstreams_keep(&kept, connection_to("b"));
    for (int i = 0; i < 1000 && kept.count > 0; i++) {
        usleep(1000);
        turn();
    }
    ck_assert_uint_eq(kept.count, 0);
    close_kept();
}
END_TEST

/* What the peer has said was read: the buffers are as large as they get, and empty. */
static td_upstream *
connection_that_has_carried(const char *key)
{
    static char bytes[64 * 1024];
    td_upstream *upstream = connection_to(key);
    td_future *read;

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(write(peers[peers_count - 1], bytes, sizeof(bytes)), sizeof(bytes));
        read = td_iostream_read_future(
            upstream->stream, TD_READ_UNTIL(TD_UNTIL_PARTIAL, .count = sizeof(bytes)));
        ck_assert(td_future_is_done(read));
        td_future_unref(read);
    }
    return upstream;
}

START_TEST(one_that_nobody_wants_for_a_moment_has_no_buffers)
{
    const size_t before = td_budget_used();
    td_upstream *upstream;

    open_kept(3, 3, 60);
    upstream = connection_that_has_carried("a");
    td_upstreams_keep(&kept, upstream);
    ck_assert_uint_ge(td_budget_used() - before, 64 * 1024);
    for (int i = 0; i < 1000 && td_budget_used() > before; i++) {
        usleep(1000);
        turn();
    }
    ck_assert_uint_eq(td_budget_used(), before);
    ck_assert_uint_eq(kept.count, 1);
    td_upstreams_keep(&kept, connection_to("a"));
    ck_assert(is_kept("a"));
    ck_assert_ptr_eq(td_upstreams_take(&kept, TD_STR("a"), td_clock_ns()), upstream);
    td_upstream_destroy(&upstream);
    close_kept();
}
END_TEST

static void
wait_until(int64_t until_ns)
{
    while (td_now_ns() < until_ns) {
        usleep(1000);
        turn();
    }
}

START_TEST(what_the_server_will_close_soon_is_of_no_use)
{
    static const struct {
        int idle_max_s, good_ms;
    } cases[] = {{5, 4000}, {2, 1000}, {1, 500}};
    td_upstream *upstream;

    open_kept(4, 4, 60000);
    upstream = connection_to("a");
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        upstream->idle_max_s = 0;
        td_upstreams_keep(&kept, upstream);
        ck_assert_int_eq(upstream->good_until_ns, INT64_MAX);
        ck_assert_ptr_eq(td_upstreams_take(&kept, TD_STR("a"), td_clock_ns()), upstream);
        upstream->idle_max_s = cases[i].idle_max_s;
        td_upstreams_keep(&kept, upstream);
        ck_assert_int_eq(upstream->good_until_ns - td_now_ns(), cases[i].good_ms * TD_NS_PER_MS);
        if (i < 2)
            ck_assert_ptr_eq(td_upstreams_take(&kept, TD_STR("a"), td_clock_ns()), upstream);
    }
    wait_until(upstream->good_until_ns);
    ck_assert(!is_kept("a"));
    ck_assert_uint_eq(kept.count, 0);
    close_kept();
}
END_TEST

START_TEST(nobody_is_used_for_ever)
{
    td_upstream *busy;
    int64_t dies_ns;

    open_loop();
    peers_count = 0;
    td_upstreams_init(&kept, 4, 4, 60000, 500);
    busy = connection_to("a");
    td_upstreams_keep(&kept, busy);
    dies_ns = busy->dies_ns;
    turn();
    ck_assert_ptr_eq(td_upstreams_take(&kept, TD_STR("a"), td_clock_ns()), busy);
    busy->idle_max_s = 60;
    td_upstreams_keep(&kept, busy);
    ck_assert_int_eq(busy->dies_ns, dies_ns);
    wait_until(dies_ns);
    ck_assert(!is_kept("a"));
    close_kept();
}
END_TEST

START_TEST(gauges_tell_what_is_open_and_what_is_kept)
{
    td_metric open = {.number = &open.own}, idle = {.number = &idle.own};
    td_upstream *first, *second;

    open_kept(1, 1, 60000);
    first = connection_to("a");
    second = connection_to("a");
    td_upstream_count(first, &open, &idle);
    td_upstream_count(second, &open, &idle);
    ck_assert_int_eq(open.own, 2);
    ck_assert_int_eq(idle.own, 0);
    td_upstreams_keep(&kept, first);
    ck_assert_int_eq(idle.own, 1);
    td_upstreams_keep(&kept, second); /* one too many */
    ck_assert_int_eq(open.own, 1);
    ck_assert_int_eq(idle.own, 1);
    ck_assert_ptr_eq(td_upstreams_take(&kept, TD_STR("a"), td_clock_ns()), first);
    ck_assert_int_eq(open.own, 1);
    ck_assert_int_eq(idle.own, 0);
    td_upstreams_keep(&kept, first);
    shutdown(peers[0], SHUT_WR);
    ck_assert(!is_kept("a"));
    ck_assert_int_eq(open.own, 0);
    ck_assert_int_eq(idle.own, 0);
    close_kept();
}
END_TEST

START_TEST(the_oldest_is_one_without_buffers_if_there_is_one)
{
    open_kept(2, 2, 200);
    td_upstreams_keep(&kept, connection_to("old"));
    for (int i = 0; i < 2000 && td_list_is_empty(&kept.idle.head); i++) {
        usleep(1000);
        turn();
    }
    td_upstreams_keep(&kept, connection_to("warm"));
    td_upstreams_keep(&kept, connection_to("new"));
    ck_assert(!is_kept("old"));
    ck_assert(is_kept("warm"));
    ck_assert(is_kept("new"));
    close_kept();
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_test(tcase, the_one_used_last_is_found_first);
    tcase_add_test(tcase, one_that_was_closed_or_has_spoken_is_not);
    tcase_add_test(tcase, one_that_speaks_while_it_is_kept_goes_at_once);
    tcase_add_test(tcase, one_that_has_spoken_in_a_long_turn_is_not);
    tcase_add_test(tcase, one_that_was_kept_again_is_watched_again);
    tcase_add_test(tcase, no_more_are_kept_than_may_be);
    tcase_add_test(tcase, they_are_kept_for_their_time);
    tcase_add_test(tcase, one_that_nobody_wants_for_a_moment_has_no_buffers);
    tcase_add_test(tcase, what_the_server_will_close_soon_is_of_no_use);
    tcase_add_test(tcase, nobody_is_used_for_ever);
    tcase_add_test(tcase, gauges_tell_what_is_open_and_what_is_kept);
    tcase_add_test(tcase, the_oldest_is_one_without_buffers_if_there_is_one);
}

int
main(void)
{
    return unit_run("upstream", fill);
}
