/* Goal: who crashes too often in too short a time is quarantined, once, and nobody else is. */
#include "base/clock.h"
#include "daemon/master/quarantine.h"
#include "unit.h"

#define S TD_NS_PER_S

static const struct {
    int64_t crashes, window_ms;
    struct {
        uint32_t instance;
        int64_t at_ns;
    } noted[8];
    int verdict; /* index of the one that was once too often; -1: none */
} cases[] = {
    {3, 60000, {{1, 1 * S}, {1, 2 * S}, {1, 3 * S}}, 2},
    {3, 60000, {{1, 1 * S}, {1, 2 * S}, {2, 3 * S}, {1, 4 * S}}, 3},
    {3, 60000, {{1, 1 * S}, {1, 2 * S}, {2, 3 * S}, {2, 4 * S}, {3, 5 * S}}, -1},
    {3, 60000, {{1, 1 * S}, {1, 2 * S}, {1, 61 * S}}, 2},
    {3, 60000, {{1, 1 * S}, {1, 2 * S}, {1, 62 * S}}, -1},
    {3, 60000, {{1, 1 * S}, {1, 50 * S}, {1, 80 * S}, {1, 100 * S}}, 3},
    {1, 100, {{2, 1 * S}}, 0},
    {0, 60000, {{1, 1 * S}, {1, 1 * S}, {1, 1 * S}}, -1},
    {1, 100, {{0, 1 * S}, {4, 1 * S}, {UINT32_MAX, 1 * S}}, -1}, /* there are three */
    {2, 100, {{3, 1 * S}, {3, 1 * S}, {3, 1 * S}, {3, 1 * S}}, 1}, /* and not again */
};

START_TEST(crashes_are_counted_within_the_window)
{
    const td_tornadod_settings settings = {.quarantine_crashes = cases[_i].crashes,
                                           .quarantine_window_ms = cases[_i].window_ms};
    struct quarantine quarantine;
    td_arena arena;

    td_arena_init(&arena);
    quarantine_init(&quarantine, &arena, 3, &settings);
    for (int i = 0; i < 8 && cases[_i].noted[i].at_ns != 0; i++) {
        const uint32_t instance = cases[_i].noted[i].instance;

        ck_assert_int_eq(quarantine_note(&quarantine, instance, cases[_i].noted[i].at_ns),
                         i == cases[_i].verdict);
        if (instance >= 1 && instance <= 3)
            ck_assert_int_eq(quarantine.is_in[instance - 1],
                             cases[_i].verdict >= 0 && i >= cases[_i].verdict);
    }
    td_arena_fini(&arena);
}
END_TEST

START_TEST(one_that_is_released_starts_afresh)
{
    const td_tornadod_settings settings = {.quarantine_crashes = 2, .quarantine_window_ms = 60000};
    struct quarantine quarantine;
    td_arena arena;

    td_arena_init(&arena);
    quarantine_init(&quarantine, &arena, 2, &settings);
    ck_assert(!quarantine_release(&quarantine, 2));
    quarantine_note(&quarantine, 2, 1 * S);
    ck_assert(quarantine_note(&quarantine, 2, 2 * S));
    ck_assert(!quarantine_release(&quarantine, 1));
    ck_assert(!quarantine_release(&quarantine, 0));
    ck_assert(!quarantine_release(&quarantine, 3));
    ck_assert(quarantine_release(&quarantine, 2));
    ck_assert(!quarantine.is_in[1]);
    ck_assert(!quarantine_note(&quarantine, 2, 3 * S)); /* the two before are forgotten */
    ck_assert(quarantine_note(&quarantine, 2, 4 * S));
    td_arena_fini(&arena);
}
END_TEST

START_TEST(one_that_is_held_is_in_until_it_is_released)
{
    const td_tornadod_settings settings = {.quarantine_crashes = 2, .quarantine_window_ms = 60000};
    struct quarantine quarantine;
    td_arena arena;

    td_arena_init(&arena);
    quarantine_init(&quarantine, &arena, 2, &settings);
    quarantine_hold(&quarantine, 0, 77);
    quarantine_hold(&quarantine, 3, 77); /* there are two */
    ck_assert(!quarantine.is_in[0] && !quarantine.is_in[1]);
    quarantine_hold(&quarantine, 2, 77);
    ck_assert(!quarantine.is_in[0] && quarantine.is_in[1]);
    ck_assert_int_eq(quarantine.digests[1], 77);
    ck_assert(!quarantine_note(&quarantine, 2, 1 * S));
    ck_assert(quarantine_release(&quarantine, 2));
    ck_assert(!quarantine_note(&quarantine, 2, 2 * S));
    ck_assert(quarantine_note(&quarantine, 2, 3 * S));
    td_arena_fini(&arena);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_test(tcase, one_that_is_released_starts_afresh);
    tcase_add_test(tcase, one_that_is_held_is_in_until_it_is_released);
    ADD_TABLE(tcase, crashes_are_counted_within_the_window, cases);
}

int
main(void)
{
    return unit_run("daemon_quarantine", fill);
}
