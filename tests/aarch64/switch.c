/*
 * Goal: lib/io/switch.S keeps its promises on each processor it is written for.
 *
 * Needs nothing but the C library, so that it can be built by a cross compiler and run by qemu.  The
 * last line says how many of the facts hold.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <unwind.h>
#include "io/switch.h"

#define STACK_SIZE (256 * 1024)
#define ROUNDS 1000

static char stack[STACK_SIZE] __attribute__((aligned(16)));
static void *loop_point, *fiber_point;

/* ---- entering and returning */

static void
set_to_one(void *arg)
{
    *(int *)arg = 1;
}

static bool
entry_runs_once_and_returns(void)
{
    int ran = 0;

    td_switch_enter(&loop_point, stack + STACK_SIZE, set_to_one, &ran);
    return ran == 1;
}

static void
note_address(void *arg)
{
    int here;

    *(uintptr_t *)arg = (uintptr_t)&here;
}

static bool
entry_runs_on_the_stack_it_is_given(void)
{
    uintptr_t at = 0;

    td_switch_enter(&loop_point, stack + STACK_SIZE, note_address, &at);
    return at >= (uintptr_t)stack && at < (uintptr_t)stack + STACK_SIZE;
}

/* ---- there and back: more live values than there are registers to keep them in */

static void
count_rounds(void *arg)
{
    uint64_t *rounds = arg;
    uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8, i = 9, j = 10;
    double p = 1, q = 2, r = 3, s = 4, t = 5, u = 6, v = 7, w = 8;

    for (;;) {
        td_switch(&fiber_point, loop_point);
        a += 1, b += a, c += b, d += c, e += d, f += e, g += f, h += g, i += h, j += i;
        p += 1, q += 2, r += 3, s += 4, t += 5, u += 6, v += 7, w += 8;
        rounds[0] = j;
        rounds[1] = (uint64_t)(p + q + r + s + t + u + v + w);
    }
}

static bool
registers_are_kept_on_both_sides(void)
{
    uint64_t rounds[2] = {0};
    uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8, i = 9, j = 10;
    double p = 1, q = 2, r = 3, s = 4, t = 5, u = 6, v = 7, w = 8;

    td_switch_enter(&loop_point, stack + STACK_SIZE, count_rounds, rounds);
    for (int n = 0; n < ROUNDS; n++) {
        a += 1, b += a, c += b, d += c, e += d, f += e, g += f, h += g, i += h, j += i;
        p += 1, q += 2, r += 3, s += 4, t += 5, u += 6, v += 7, w += 8;
        td_switch(&loop_point, fiber_point);
        if (rounds[0] != j || rounds[1] != (uint64_t)(p + q + r + s + t + u + v + w))
            return false;
    }
    return rounds[1] == 36 + 36 * ROUNDS;
}

/* ---- leaving for good */

static void
leave(void *arg)
{
    *(int *)arg = 1;
    td_switch_leave(loop_point);
}

static bool
leaving_comes_back_to_the_point(void)
{
    int ran = 0;

    td_switch_enter(&loop_point, stack + STACK_SIZE, leave, &ran);
    return ran == 1;
}

static void
leave_after_a_wait(void *arg)
{
    td_switch(&fiber_point, loop_point);
    *(int *)arg = 1;
    td_switch_leave(loop_point);
}

static bool
leaving_after_a_wait_comes_back_to_the_last_point(void)
{
    int ran = 0;

    td_switch_enter(&loop_point, stack + STACK_SIZE, leave_after_a_wait, &ran);
    if (ran != 0)
        return false;
    td_switch(&loop_point, fiber_point);
    return ran == 1;
}

/* ---- unwinding: cleanups run, and it ends at entry */

static int cleanups, frames;
static struct _Unwind_Exception unwinding;

static void
count_cleanup(int *unused)
{
    (void)unused;
    cleanups++;
}

static _Unwind_Reason_Code
on_frame(int version, _Unwind_Action actions, _Unwind_Exception_Class class,
         struct _Unwind_Exception *exception, struct _Unwind_Context *context, void *arg)
{
    (void)version, (void)class, (void)exception, (void)context, (void)arg;
    frames++;
    if (actions & _UA_END_OF_STACK)
        td_switch_leave(loop_point);
    return _URC_NO_REASON;
}

static __attribute__((noinline)) void
unwind_from(int depth)
{
    int guard __attribute__((cleanup(count_cleanup), unused)) = depth;

    if (depth > 0)
        unwind_from(depth - 1);
    else
        _Unwind_ForcedUnwind(&unwinding, on_frame, NULL);
    __asm__ volatile("" ::: "memory"); /* no tail call: each depth has a frame */
}

static void
unwind_all(void *arg)
{
    (void)arg;
    unwind_from(9);
}

static bool
unwinding_runs_cleanups_and_ends_at_entry(void)
{
    td_switch_enter(&loop_point, stack + STACK_SIZE, unwind_all, NULL);
    return cleanups == 10 && frames >= 11;
}

#define FACT(name) {#name, name}

static const struct {
    const char *name;
    bool (*holds)(void);
} facts[] = {
    FACT(entry_runs_once_and_returns),
    FACT(entry_runs_on_the_stack_it_is_given),
    FACT(registers_are_kept_on_both_sides),
    FACT(leaving_comes_back_to_the_point),
    FACT(leaving_after_a_wait_comes_back_to_the_last_point),
    FACT(unwinding_runs_cleanups_and_ends_at_entry),
};

int
main(void)
{
    const int count = sizeof(facts) / sizeof(facts[0]);
    int passed = 0;

    for (int i = 0; i < count; i++) {
        if (facts[i].holds())
            passed++;
        else
            printf("FAIL %s\n", facts[i].name);
    }
    printf("%d passed, %d failed, 0 skipped\n", passed, count - passed);
    return passed == count ? 0 : 1;
}
