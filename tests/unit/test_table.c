/* Goal: a table finds what was put in and nothing else, through growth, removal and new seeds. */
#include "base/table.h"

#include <stdio.h>
#include "unit.h"

#define KEYS 2000

static char keys[KEYS][16];
static int values[KEYS];

static td_str
key(int i)
{
    return td_str_of(keys[i]);
}

static void
make_keys(void)
{
    for (int i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof(keys[i]), "key %d", i);
}

START_TEST(an_empty_table_has_nothing)
{
    td_table table;

    td_table_init(&table);
    ck_assert_ptr_null(td_table_get(&table, TD_STR("a")));
    ck_assert_ptr_null(td_table_remove(&table, TD_STR("a")));
    td_table_fini(&table);
}
END_TEST

START_TEST(setting_twice_replaces_and_returns_the_first)
{
    td_table table;

    td_table_init(&table);
    ck_assert_ptr_null(td_table_set(&table, TD_STR("a"), &values[0]));
    ck_assert_ptr_eq(td_table_set(&table, TD_STR("a"), &values[1]), &values[0]);
    ck_assert_ptr_eq(td_table_get(&table, TD_STR("a")), &values[1]);
    ck_assert_uint_eq(table.count, 1);
    td_table_fini(&table);
}
END_TEST

START_TEST(keys_are_bytes)
{
    td_table table;

    td_table_init(&table);
    td_table_set(&table, TD_STR(""), &values[0]);
    td_table_set(&table, td_str_make("a\0b", 3), &values[1]);
    td_table_set(&table, td_str_make("a\0c", 3), &values[2]);
    ck_assert_ptr_eq(td_table_get(&table, TD_STR("")), &values[0]);
    ck_assert_ptr_eq(td_table_get(&table, td_str_make("a\0b", 3)), &values[1]);
    ck_assert_ptr_eq(td_table_get(&table, td_str_make("a\0c", 3)), &values[2]);
    ck_assert_ptr_null(td_table_get(&table, TD_STR("a")));
    td_table_fini(&table);
}
END_TEST

/* Against a plain array, with a fixed sequence of what looks like random operations. */
START_TEST(it_agrees_with_an_array_through_sets_and_removals)
{
    bool is_there[KEYS] = {false};
    uint32_t random = 12345 + (uint32_t)_i;
    size_t count = 0;
    td_table table;

    td_table_init(&table);
    for (int step = 0; step < 20000; step++) {
        random = random * 1664525 + 1013904223;
        const int i = (int)(random >> 8) % KEYS;

        if (random >> 31) {
            ck_assert_ptr_eq(td_table_set(&table, key(i), &values[i]),
                             is_there[i] ? &values[i] : NULL);
            count += !is_there[i];
            is_there[i] = true;
        } else {
            ck_assert_ptr_eq(td_table_remove(&table, key(i)), is_there[i] ? &values[i] : NULL);
            count -= is_there[i];
            is_there[i] = false;
        }
        ck_assert_uint_eq(table.count, count);
    }
    for (int i = 0; i < KEYS; i++)
        ck_assert_ptr_eq(td_table_get(&table, key(i)), is_there[i] ? &values[i] : NULL);

    size_t seen = 0;

    TD_TABLE_FOREACH(entry, &table)
        seen += is_there[(int *)entry->value - values];
    ck_assert_uint_eq(seen, count);
    td_table_fini(&table);
}
END_TEST

START_TEST(a_new_seed_leaves_older_tables_alone)
{
    td_table table, later;

    td_table_init(&table);
    for (int i = 0; i < 100; i++)
        td_table_set(&table, key(i), &values[i]);
    td_table_reseed();
    td_table_init(&later);
    ck_assert(later.seed != table.seed);
    for (int i = 0; i < 200; i++)
        ck_assert_ptr_eq(td_table_get(&table, key(i)), i < 100 ? &values[i] : NULL);
    for (int i = 100; i < 200; i++)
        td_table_set(&table, key(i), &values[i]);
    for (int i = 0; i < 200; i++)
        ck_assert_ptr_eq(td_table_get(&table, key(i)), &values[i]);
    td_table_fini(&table);
    td_table_fini(&later);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_unchecked_fixture(tcase, make_keys, NULL);
    tcase_add_test(tcase, an_empty_table_has_nothing);
    tcase_add_test(tcase, setting_twice_replaces_and_returns_the_first);
    tcase_add_test(tcase, keys_are_bytes);
    tcase_add_loop_test(tcase, it_agrees_with_an_array_through_sets_and_removals, 0, 4);
    tcase_add_test(tcase, a_new_seed_leaves_older_tables_alone);
}

int
main(void)
{
    return unit_run("table", fill);
}
