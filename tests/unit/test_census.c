/* Goal: addresses are counted apart, and one that has none any more takes no memory. */
#include "base/census.h"
#include "unit.h"

START_TEST(each_address_has_its_own_count)
{
    td_census census;
    char own[] = "\x7f\0\0\1";
    const td_str a = td_str_make(own, 4), b = td_str_make("\x7f\0\0\2", 4), none = {NULL, 0};

    td_census_init(&census);
    td_census_add(&census, a);
    td_census_add(&census, a);
    td_census_add(&census, b);
    td_census_add(&census, none);
    own[3] = 3; /* the bytes were copied */
    ck_assert_uint_eq(td_census_count(&census, a), 0);
    own[3] = 1;
    ck_assert_uint_eq(td_census_count(&census, a), 2);
    ck_assert_uint_eq(td_census_count(&census, b), 1);
    ck_assert_uint_eq(td_census_count(&census, none), 0);
    td_census_remove(&census, a);
    ck_assert_uint_eq(td_census_count(&census, a), 1);
    td_census_remove(&census, a);
    td_census_remove(&census, a);
    td_census_remove(&census, b);
    ck_assert_uint_eq(census.counts.count, 0);
    td_census_fini(&census);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_test(tcase, each_address_has_its_own_count);
}

int
main(void)
{
    return unit_run("census", fill);
}
