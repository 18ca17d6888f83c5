/* Goal: something for a debugger to look at; driven by test_coroutines.py. */
#include <stdlib.h>
#include <tornado/tornado.h>
#include "io/coroutine.h"

static void __attribute__((noinline))
wait_at_depth(int depth)
{
    volatile char place[64 * 16];

    place[0] = (char)depth;
    if (depth > 1)
        wait_at_depth(depth - 1);
    else
        td_coroutine_wait(NULL, NULL);
    place[1] = place[0];
}

static void
wait_three_deep(void *arg)
{
    wait_at_depth(3);
    *(int *)arg = 0;
}

static void
sleep_long(void *arg)
{
    td_sleep(1000 * 1000);
    *(int *)arg = 0;
}

/* For a breakpoint, and for a core. */
static void __attribute__((noinline))
here(const char *how)
{
    if (how != NULL)
        abort();
}

int
main(int argc, char **argv)
{
    int left = 0;
    td_coroutine_task task = {.arg = &left, .activity = {3, 2, 41}, .module = "greeter"};
    td_ioloop *loop;

    td_ioloop_create(&loop, NULL);
    task.run = wait_three_deep;
    td_coroutine_start(&task, NULL);
    task.run = sleep_long;
    td_coroutine_start(&task, NULL);
    here(argc > 1 ? argv[1] : NULL);
    td_ioloop_destroy(&loop);
    return left;
}
