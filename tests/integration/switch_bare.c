/* Goal: the cases of switch_cases.h without a library; driven by test_coroutines.py. */
#include <stdio.h>
#include "tests/unit/switch_cases.h"

int
main(void)
{
    int failures = 0;

    for (int i = 0; i < SWITCH_CASES; i++) {
        const char *failed = switch_cases[i].run();

        if (failed != NULL)
            printf("FAIL %s: %s\n", switch_cases[i].name, failed);
        failures += failed != NULL;
    }
    printf("%d cases, %d failed\n", SWITCH_CASES, failures);
    return failures != 0;
}
