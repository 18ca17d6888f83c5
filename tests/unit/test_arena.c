/* Goal: an arena gives zeroed, aligned, distinct memory and gives all of it back. */
#include "base/arena.h"

#include <stdint.h>
#include <signal.h>
#include "unit.h"

static bool
is_all(const char *p, size_t size, char c)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != c)
            return false;
    return true;
}

START_TEST(nothing_is_taken_before_the_first_allocation)
{
    td_arena arena;

    td_arena_init(&arena);
    ck_assert_uint_eq(arena.total, 0);
    td_arena_fini(&arena);
}
END_TEST

static const size_t sizes[] = {0, 1, 15, 16, 17, 4000, 4080, 4081, 4096, 5000, 100000};

START_TEST(memory_is_zeroed_aligned_and_nobody_elses)
{
    td_arena arena;
    char *blocks[40];

    td_arena_init(&arena);
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = td_arena_alloc(&arena, sizes[_i]);
        ck_assert_ptr_nonnull(blocks[i]);
        ck_assert_uint_eq((uintptr_t)blocks[i] % 16, 0);
        ck_assert(is_all(blocks[i], sizes[_i], 0));
        memset(blocks[i], 'a' + (int)i, sizes[_i]);
        for (size_t j = 0; j < i; j++)
            ck_assert_ptr_ne(blocks[i], blocks[j]);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++)
        ck_assert(is_all(blocks[i], sizes[_i], (char)('a' + (int)i)));
    td_arena_fini(&arena);
    ck_assert_uint_eq(arena.total, 0);
}
END_TEST

START_TEST(an_arena_can_be_used_again_after_fini)
{
    td_arena arena;

    td_arena_init(&arena);
    for (int round = 0; round < 3; round++) {
        ck_assert(is_all(td_arena_alloc(&arena, 3000), 3000, 0));
        td_arena_fini(&arena);
    }
}
END_TEST

START_TEST(rewinding_forgets_what_came_after_the_mark)
{
    td_arena arena;

    td_arena_init(&arena);

    char *kept = td_arena_strdup(&arena, "kept");
    const td_arena_mark mark = td_arena_mark_now(&arena);
    char *first = td_arena_alloc(&arena, 100);
    const size_t total = arena.total;

    for (int i = 0; i < 10; i++)
        td_arena_alloc(&arena, 3000);
    td_arena_alloc(&arena, 100000);
    td_arena_rewind(&arena, mark);
    ck_assert_uint_eq(arena.total, total);
    ck_assert_ptr_eq(td_arena_alloc(&arena, 100), first);
    ck_assert_str_eq(kept, "kept");
    td_arena_fini(&arena);
}
END_TEST

START_TEST(rewinding_to_an_empty_arena_empties_it)
{
    td_arena arena;

    td_arena_init(&arena);

    const td_arena_mark mark = td_arena_mark_now(&arena);

    td_arena_alloc(&arena, 5000);
    td_arena_alloc(&arena, 10);
    td_arena_rewind(&arena, mark);
    ck_assert_uint_eq(arena.total, 0);
    ck_assert_ptr_nonnull(td_arena_alloc(&arena, 10));
    td_arena_fini(&arena);
}
END_TEST

START_TEST(chunks_are_pooled_last_in_first_out)
{
    void *a = td_chunk_get(), *b = td_chunk_get();

    td_chunk_put(a);
    td_chunk_put(b);
    ck_assert_ptr_eq(td_chunk_get(), b);
    ck_assert_ptr_eq(td_chunk_get(), a);
    td_chunk_put(a);
    td_chunk_put(b);
    td_chunk_trim(1);
    ck_assert_ptr_eq(td_chunk_get(), b);
    td_chunk_put(b);
    td_chunk_trim(0);
}
END_TEST

START_TEST(copies_end_in_a_nul_that_is_not_counted)
{
    td_arena arena;

    td_arena_init(&arena);

    const td_str copy = td_str_dup(&arena, td_str_make("a\0bcd", 4));

    ck_assert_uint_eq(copy.len, 4);
    ck_assert_mem_eq(copy.ptr, "a\0bc\0", 5);
    ck_assert_ptr_null(td_str_dup(&arena, td_str_of(NULL)).ptr);
    ck_assert_str_eq(td_str_dup(&arena, TD_STR("")).ptr, "");
    td_arena_fini(&arena);
}
END_TEST

static const size_t lengths[] = {0, 1, 15, 16, 4079, 4080, 4081, 9000};

START_TEST(sprintf_takes_any_length)
{
    td_arena arena;

    td_arena_init(&arena);
    for (int round = 0; round < 3; round++) {
        const td_str s = td_arena_sprintf(&arena, "%*s", (int)lengths[_i], "");

        ck_assert_uint_eq(s.len, lengths[_i]);
        ck_assert_uint_eq(strlen(s.ptr), lengths[_i]);
        ck_assert_str_eq(td_arena_sprintf(&arena, "%d-%s", 12, "x").ptr, "12-x");
    }
    td_arena_fini(&arena);
}
END_TEST

START_TEST(an_array_whose_size_overflows_aborts)
{
    td_arena arena;

    td_arena_init(&arena);
    td_arena_alloc_array(&arena, SIZE_MAX / 2, 3);
}
END_TEST

START_TEST(a_size_that_overflows_aborts)
{
    td_arena arena;

    td_arena_init(&arena);
    td_arena_alloc_raw(&arena, SIZE_MAX - 3);
}
END_TEST

START_TEST(the_x_functions_never_return_null)
{
    void *p = td_xmalloc(0), *q = td_xcalloc(0, 0), *r = td_xrealloc(NULL, 0);
    char *s = td_xstrdup("text");

    ck_assert(p != NULL && q != NULL && r != NULL);
    ck_assert_str_eq(s, "text");
    free(p);
    free(q);
    free(r);
    free(s);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_test(tcase, nothing_is_taken_before_the_first_allocation);
    ADD_TABLE(tcase, memory_is_zeroed_aligned_and_nobody_elses, sizes);
    tcase_add_test(tcase, an_arena_can_be_used_again_after_fini);
    tcase_add_test(tcase, rewinding_forgets_what_came_after_the_mark);
    tcase_add_test(tcase, rewinding_to_an_empty_arena_empties_it);
    tcase_add_test(tcase, chunks_are_pooled_last_in_first_out);
    tcase_add_test(tcase, copies_end_in_a_nul_that_is_not_counted);
    ADD_TABLE(tcase, sprintf_takes_any_length, lengths);
    tcase_add_test_raise_signal(tcase, an_array_whose_size_overflows_aborts, SIGABRT);
    tcase_add_test_raise_signal(tcase, a_size_that_overflows_aborts, SIGABRT);
    tcase_add_test(tcase, the_x_functions_never_return_null);
}

int
main(void)
{
    return unit_run("arena", fill);
}
