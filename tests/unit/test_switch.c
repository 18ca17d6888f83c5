/* Goal: nothing is lost from one stack to another, and unwinding ends where a stack ends. */
#include "tests/unit/switch_cases.h"

#include <check.h>
#include <stdlib.h>

START_TEST(switching)
{
    const char *failed = switch_cases[_i].run();

    ck_assert_msg(failed == NULL, "%s: %s", switch_cases[_i].name, failed);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("switch");
    TCase *tcase = tcase_create("switch");

    tcase_add_loop_test(tcase, switching, 0, SWITCH_CASES);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
