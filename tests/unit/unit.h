/* What the main of a unit test does: run a suite, say how it went, tell the exit status. */
#ifndef TORNADO_TESTS_UNIT_H
#define TORNADO_TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Each row of the table is a test of its own: `name` finds its row by _i. */
#define ADD_TABLE(tcase, name, table)                                                              \
    tcase_add_loop_test(tcase, name, 0, (int)COUNT_OF(table))

static inline int
unit_run_suite(Suite *suite)
{
    const char *selected = getenv("CK_RUN_SUITE");

    if (selected != NULL && selected[0] == '\0')
        unsetenv("CK_RUN_SUITE"); /* empty, it would select nothing and call that 100 % */

    SRunner *runner = srunner_create(suite);

    srunner_run_all(runner, CK_NORMAL);

    const int failed = srunner_ntests_failed(runner);
    const int run = srunner_ntests_run(runner);

    srunner_free(runner);
    return failed == 0 && run > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* A suite of one case, which `fill` gives its tests. */
static inline int
unit_run(const char *name, void (*fill)(TCase *tcase))
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);

    fill(tcase);
    suite_add_tcase(suite, tcase);
    return unit_run_suite(suite);
}

#endif
