/*
 * Goal: what is written into a temporary file is one span of memory with a NUL behind, whatever its
 * size, and all of it is given back.
 */
#include "http/spill.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/budget.h"
#include "io/ioloop.h"
#include "unit.h"

#define MIB (1024 * 1024)
#define LARGEST (13 * MIB)

static td_ioloop *loop;
static char data[LARGEST];

static void
setup(void)
{
    td_err err;

    ck_assert_int_eq(td_ioloop_create(&loop, &err), 0);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * i >> 11);
}

/* So many iterations of the loop. */
static void
turn(int count)
{
    while (count-- > 0)
        ev_run(td_ioloop_ev(loop), EVRUN_NOWAIT);
}

/* Written in pieces, mapped; the NUL counts as a byte of the place. */
static td_spill
fill_spill(size_t size, size_t piece, uint64_t size_max)
{
    const td_spill_place place = {"/tmp", size_max};
    td_spill spill = {.fd = -1};
    td_str all;

    for (size_t at = 0; at < size; at += piece)
        ck_assert_int_eq(td_spill_write(&spill, &place,
                                        td_str_make(data + at, size - at < piece ? size - at : piece)),
                         0);
    ck_assert_int_eq(td_spill_map(&spill, &place, &all), 0);
    ck_assert_uint_eq(all.len, size);
    ck_assert_int_eq(memcmp(all.ptr, data, size), 0);
    ck_assert_int_eq(all.ptr[size], '\0');
    return spill;
}

/* Files of a disk are the kernel's affair; those of a file system in memory are bodies in memory. */
START_TEST(what_is_in_a_file_in_memory_is_counted)
{
    enum { LIMIT = 4000000 }; /* of which bodies may have half */
    const td_spill_place place = {"/dev/shm", UINT64_MAX};
    td_spill spill = {.fd = -1}, more = {.fd = -1};
    td_str all;

    td_budget_configure(LIMIT);
    ck_assert_int_eq(td_spill_write(&spill, &place, td_str_make(data, LIMIT / 2 - 1)), 0);
    ck_assert_int_eq(td_spill_map(&spill, &place, &all), 0);
    ck_assert_uint_eq(td_budget_used(), LIMIT / 2);
    ck_assert_int_eq(td_spill_write(&more, &place, td_str_make(data, 1)), TD_EBUSY);
    td_spill_close(&more);
    td_spill_close(&spill);
    ck_assert_uint_eq(td_budget_used(), 0);
    ck_assert_int_eq(td_spill_write(&more, &place, td_str_make(data, 1)), 0);
    td_spill_close(&more);
    ck_assert_uint_eq(td_budget_used(), 0);
}
END_TEST

static const size_t sizes[] = {1,       4095,        4096,    4097,        65536,
                               4 * MIB, 4 * MIB - 1, 8 * MIB, 8 * MIB + 1, LARGEST};

START_TEST(it_is_one_span_with_a_nul_behind_and_is_given_back)
{
    const size_t size = sizes[_i];

    for (int again = 0; again < 3; again++) { /* there is room for one at a time */
        td_spill spill = fill_spill(size, 60000, size + 1);

        td_spill_close(&spill);
        td_spill_close(&spill); /* once more is nothing */
        ck_assert_int_eq(spill.fd, -1);
        turn(4);
    }
}
END_TEST

START_TEST(a_large_one_is_given_back_bit_by_bit)
{
    const td_spill_place full = {"/tmp", LARGEST + 1}, less = {"/tmp", LARGEST + 1 - 4 * MIB};
    td_spill spill = fill_spill(LARGEST, LARGEST, LARGEST + 1), other = {.fd = -1};

    ck_assert_int_eq(td_spill_write(&other, &full, TD_STR("x")), TD_ETOOBIG);
    td_spill_close(&spill);
    ck_assert_int_eq(td_spill_write(&other, &full, TD_STR("x")), TD_ETOOBIG);
    turn(2);
    ck_assert_int_eq(td_spill_write(&other, &full, TD_STR("x")), 0);
    ck_assert_int_eq(td_spill_write(&other, &less, td_str_make(data, 8 * MIB)), TD_ETOOBIG);
    turn(4);
    ck_assert_int_eq(td_spill_write(&other, &less, td_str_make(data, 8 * MIB)), 0);
    td_spill_close(&other);
}
END_TEST

START_TEST(the_end_of_the_loop_gives_all_back)
{
    td_spill spills[] = {fill_spill(LARGEST, LARGEST, UINT64_MAX),
                         fill_spill(LARGEST, LARGEST, UINT64_MAX)};

    td_spill_close(&spills[0]);
    td_spill_close(&spills[1]);
    turn(1);
    td_ioloop_destroy(&loop);
    setup();
    spills[0] = fill_spill(LARGEST, LARGEST, LARGEST + 1);
    td_spill_close(&spills[0]);
}
END_TEST

/* A map that is left keeps the file, and what it takes of the disk. */
START_TEST(what_cannot_be_made_shorter_is_given_back_whole)
{
    td_spill spill = fill_spill(LARGEST, LARGEST, UINT64_MAX);
    const int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char *const map = spill.map;

    ck_assert_int_eq(msync(map, 1, MS_ASYNC), 0); /* it is there */
    ck_assert_int_ge(dup2(read_only, spill.fd), 0);
    close(read_only);
    td_spill_close(&spill);
    turn(4);
    ck_assert_int_lt(msync(map, 1, MS_ASYNC), 0);
}
END_TEST

START_TEST(a_directory_has_to_be_good)
{
    const char *found = NULL;
    td_err err = {0};

    ck_assert_int_eq(td_spill_find_directory("/tmp", &found, &err), 0);
    ck_assert_str_eq(found, "/tmp");
    ck_assert_int_lt(td_spill_find_directory("/nowhere", &found, &err), 0);
    ck_assert_str_eq(err.text, "body_temp_path: no file can be made in /nowhere: "
                               "No such file or directory");
    ck_assert_int_eq(td_spill_find_directory(NULL, &found, &err), 0);
    ck_assert(found == NULL || strcmp(found, "/var/tmp") == 0);
}
END_TEST

static void
teardown(void)
{
    td_ioloop_destroy(&loop);
}

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    ADD_TABLE(tcase, it_is_one_span_with_a_nul_behind_and_is_given_back, sizes);
    tcase_add_test(tcase, a_large_one_is_given_back_bit_by_bit);
    tcase_add_test(tcase, the_end_of_the_loop_gives_all_back);
    tcase_add_test(tcase, what_cannot_be_made_shorter_is_given_back_whole);
    tcase_add_test(tcase, a_directory_has_to_be_good);
    tcase_add_test(tcase, what_is_in_a_file_in_memory_is_counted);
}

int
main(void)
{
    return unit_run("spill", fill);
}
