/*
 * Goal: memory of handlers stays as it is while it is wanted, is passed on, and what begins anew is
 * told.
 */
#include "daemon/site/shared.h"

#include <sys/resource.h>
#include "on_loop.h"

static struct shared_region found[4];
static size_t found_count;

static void
note_region(void *arg, const struct shared_region *region)
{
    (void)arg;
    found[found_count++] = *region;
}

static void
look(void)
{
    found_count = 0;
    shared_each(note_region, NULL);
}

static uint64_t *
want(const char *name, uint64_t size, uint32_t generation)
{
    ck_assert_int_eq(shared_want("hello", name, size, generation, NULL), 0);
    return shared_find("hello", name, size);
}

START_TEST(it_stays_until_nobody_wants_it)
{
    uint64_t *hits = want("hits", 64, 1);

    *hits = 7;
    ck_assert_ptr_eq(want("hits", 64, 2), hits);
    shared_forget_before(2);
    ck_assert_ptr_eq(shared_find("hello", "hits", 64), hits);
    shared_forget_before(3);
    ck_assert_ptr_null(shared_find("hello", "hits", 64));
    ck_assert_int_eq(logged("begins anew"), 0);
}
END_TEST

START_TEST(another_size_begins_anew_and_is_told)
{
    *want("hits", 64, 1) = 7;
    ck_assert_uint_eq(*want("hits", 128, 2), 0);
    ck_assert_int_eq(logged("handler hello: its shared memory hits begins anew: it has 128 bytes now, "
                            "and had 64"), 1);
    want("other", 128, 2);
    ck_assert_int_eq(logged("begins anew"), 1);
}
END_TEST

/* As the next binary does; it has another address there, and here. */
START_TEST(what_is_passed_on_is_the_same)
{
    *want("hits", 64, 1) = 7;
    look();
    ck_assert_uint_eq(found_count, 1);
    struct shared_region region = found[0];
    region.fd = dup(region.fd);
    region.instance = "adopted";
    ck_assert_int_eq(shared_adopt(&region, NULL), 0);
    ck_assert_uint_eq(*(uint64_t *)shared_find("adopted", "hits", 64), 7);
    region.size = 65;
    ck_assert_int_eq(shared_adopt(&region, NULL), TD_EBADMSG);
    region.fd = -1;
    ck_assert_int_eq(shared_adopt(&region, NULL), TD_EBADMSG);
}
END_TEST

START_TEST(where_files_are_small_it_is_not_passed_on)
{
    const struct rlimit small = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};

    setrlimit(RLIMIT_FSIZE, &small);
    *want("hits", 1 << 20, 1) = 7;
    look();
    ck_assert_int_eq(found[0].fd, -1);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_log, NULL);
    tcase_add_test(tcase, it_stays_until_nobody_wants_it);
    tcase_add_test(tcase, another_size_begins_anew_and_is_told);
    tcase_add_test(tcase, what_is_passed_on_is_the_same);
    tcase_add_test(tcase, where_files_are_small_it_is_not_passed_on);
}

int
main(void)
{
    return unit_run("daemon_shared", fill);
}
