/* Goal: nothing is lost from one stack to another, and unwinding ends where a stack ends. */
#include "switch_cases.h"
#include "unit.h"

START_TEST(switching)
{
    const char *failed = switch_cases[_i].run();

    ck_assert_msg(failed == NULL, "%s: %s", switch_cases[_i].name, failed);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, switching, 0, SWITCH_CASES);
}

int
main(void)
{
    return unit_run("switch", fill);
}
