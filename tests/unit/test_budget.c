/*
 * Goal: one limit for all that clients make grow, each kind up to its share of it; and auto is a
 * part of what there really is.
 */
#include "base/budget.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/counters.h"
#include "fake_root.h"

#define MIB ((size_t)1 << 20)
#define LIMIT (100 * MIB)

START_TEST(kinds_are_refused_one_after_the_other)
{
    td_budget_configure(LIMIT);
    ck_assert(td_budget_take(TD_BUDGET_BODIES, 49 * MIB));
    ck_assert(!td_budget_take(TD_BUDGET_BODIES, 2 * MIB));
    ck_assert(!td_budget_take(TD_BUDGET_COMPRESSORS, 2 * MIB));
    ck_assert(td_budget_take(TD_BUDGET_RESPONSES, 25 * MIB));
    ck_assert(!td_budget_take(TD_BUDGET_BODIES, 1));
    ck_assert(!td_budget_take(TD_BUDGET_RESPONSES, 2 * MIB));
    ck_assert(!td_budget_has(TD_BUDGET_BUFFERS, 2 * MIB));
    ck_assert(td_budget_take(TD_BUDGET_STACKS, 24 * MIB));
    ck_assert(!td_budget_take(TD_BUDGET_STACKS, 3 * MIB));
    ck_assert_uint_ge(td_budget_used(), 98 * MIB);
    td_budget_give(TD_BUDGET_BODIES, 49 * MIB);
    ck_assert(td_budget_take(TD_BUDGET_RESPONSES, 20 * MIB));
    td_budget_give(TD_BUDGET_RESPONSES, 45 * MIB);
    td_budget_give(TD_BUDGET_STACKS, 24 * MIB);
    ck_assert_uint_lt(td_budget_used(), MIB);
}
END_TEST

START_TEST(what_is_noted_is_refused_to_others)
{
    td_budget_configure(LIMIT);
    td_budget_note(TD_BUDGET_BUFFERS, 200 * MIB);
    for (unsigned kind = 0; kind < TD_BUDGET_KINDS_COUNT; kind++)
        ck_assert(!td_budget_take((td_budget_kind)kind, 1));
    td_budget_give(TD_BUDGET_BUFFERS, 200 * MIB);
    ck_assert(td_budget_take(TD_BUDGET_BODIES, 1));
    td_budget_give(TD_BUDGET_BODIES, 1);
}
END_TEST

START_TEST(without_a_limit_all_is_given)
{
    td_budget_configure(SIZE_MAX);
    ck_assert(td_budget_take(TD_BUDGET_BODIES, SIZE_MAX / 4));
    td_budget_give(TD_BUDGET_BODIES, SIZE_MAX / 4);
}
END_TEST

START_TEST(arenas_and_buffers_are_counted)
{
    const size_t before = td_budget_used();
    td_arena arena;
    td_buf buf = {0};

    td_arena_init(&arena);
    for (int i = 0; i < 1000; i++)
        td_arena_alloc(&arena, 3000);
    ck_assert_uint_eq(td_budget_used() - before, 1000 * TD_CHUNK_SIZE);
    td_arena_alloc(&arena, MIB);
    ck_assert_uint_gt(td_budget_used() - before, 1000 * TD_CHUNK_SIZE + MIB);
    td_arena_fini(&arena);
    ck_assert_uint_eq(td_budget_used(), before);
    for (int i = 0; i < 1000; i++)
        td_buf_append(&buf, TD_STR("some bytes that let it grow"));
    ck_assert_uint_eq(td_budget_used() - before, buf.size);
    td_buf_release(&buf);
    ck_assert_uint_eq(td_budget_used(), before);
}
END_TEST

START_TEST(all_of_it_is_told)
{
    td_budget_configure(LIMIT);
    ck_assert_str_eq(td_budget_text(), "memory (104857600 bytes) is used up");
    ck_assert_uint_eq(td_gauges->memory_limit, LIMIT);
    ck_assert(td_budget_take(TD_BUDGET_RESPONSES, 5 * MIB));
    ck_assert_uint_eq(td_gauges->memory[TD_BUDGET_RESPONSES], 5 * MIB);
    td_budget_give(TD_BUDGET_RESPONSES, 5 * MIB);
    ck_assert_uint_eq(td_gauges->memory[TD_BUDGET_RESPONSES], 0);
    ck_assert_uint_ge(td_gauges->memory_peak, 5 * MIB);
    td_budget_refused(TD_BUDGET_STACKS, NULL);
    ck_assert_uint_eq(td_counters->memory_refused[TD_BUDGET_STACKS], 1);
    td_count_reason(503, td_budget_text());
    ck_assert_uint_eq(td_counters->reasons[TD_REASON_MEMORY], 1);
}
END_TEST

/* MiB: of the machine, of what is to come out. */
static const struct {
    const char *groups;      /* /proc/self/cgroup */
    const char *files[3][2]; /* below the root: path, content */
    uint64_t machine;
    size_t workers, share;
} machines[] = {
    {"", {{NULL}}, 8192, 2, 8192 / 4 / 2 - 8},
    {"0::/\n", {{"/sys/fs/cgroup/memory.max", "max\n"}}, 8192, 2, 8192 / 4 / 2 - 8},
    {"0::/\n", {{"/sys/fs/cgroup/memory.max", "1073741824\n"}}, 8192, 2, 1024 / 2 / 2 - 8},
    {"0::/\n", {{"/sys/fs/cgroup/memory.max", "104857600\n"}}, 8192, 2, 100 / 2 / 2 - 8},
    {"0::/a/b\n",
     {{"/sys/fs/cgroup/a/b/memory.max", "1073741824\n"},
      {"/sys/fs/cgroup/a/memory.max", "536870912\n"}},
     8192,
     1,
     512 / 2 - 8},
    {"0::/a/b\n",
     {{"/sys/fs/cgroup/a/b/memory.high", "268435456\n"},
      {"/sys/fs/cgroup/a/memory.max", "536870912\n"}},
     8192,
     1,
     256 / 2 - 8},
    {"4:memory:/a\n0::/\n",
     {{"/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n"},
      {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"}},
     8192,
     4,
     1024 / 2 / 4 - 8},
    {"0::/\n", {{"/sys/fs/cgroup/memory.max", "33554432\n"}}, 8192, 4, 4},
    {"0::/\n", {{"/sys/fs/cgroup/memory.max", "0\n"}}, 8192, 4, 4},
    {"0::/\n", {{"/sys/fs/cgroup/memory.max", "nonsense\n"}}, 1024, 1, 1024 / 4 - 8},
};

START_TEST(auto_is_a_part_of_what_there_is)
{
    char root[FAKE_ROOT_SIZE] = "";

    fake_root_make(root, machines[_i].groups, machines[_i].files, COUNT_OF(machines[_i].files));
    const size_t share =
        td_budget_share(root, machines[_i].machine * MIB, machines[_i].workers);
    fake_root_remove(root);
    ck_assert_uint_eq(share / MIB, machines[_i].share);
    ck_assert_uint_ge(td_budget_auto(1), 4 * MIB);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_test(tcase, kinds_are_refused_one_after_the_other);
    tcase_add_test(tcase, what_is_noted_is_refused_to_others);
    tcase_add_test(tcase, without_a_limit_all_is_given);
    tcase_add_test(tcase, arenas_and_buffers_are_counted);
    tcase_add_test(tcase, all_of_it_is_told);
    ADD_TABLE(tcase, auto_is_a_part_of_what_there_is, machines);
}

int
main(void)
{
    return unit_run("budget", fill);
}
