/*
 * What io/switch.h promises, without any library: for test_switch.c, and for switch_bare.c, which
 * is also built for aarch64 and with ucontext.  Each case returns NULL or what went wrong.
 */
#ifndef TESTS_UNIT_SWITCH_CASES_H
#define TESTS_UNIT_SWITCH_CASES_H

#include <fenv.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unwind.h>
#include "io/switch.h"

/* Runs on the inner stacks, of which AddressSanitizer has not been told. */
#define INNER __attribute__((noinline, no_sanitize("address")))

#define STACK_SIZE 65536

static _Alignas(16) char stacks[2][STACK_SIZE];
static void *outer, *inner[2]; /* points of the test's own flow, and of those on the stacks */
static int steps;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return #condition;                                                                     \
    } while (0)

static void
enter(int which, void (*entry)(void *arg))
{
    td_switch_enter(&outer, stacks[which] + STACK_SIZE, entry, (void *)(intptr_t)which);
}

/* ---- going and coming back */

static INNER void
step(void *arg)
{
    steps += (char *)arg == NULL;
}

static const char *
an_entry_that_returns_comes_back(void)
{
    steps = 0;
    for (int i = 0; i < 1000; i++)
        enter(0, step);
    CHECK(steps == 1000);
    return NULL;
}

static INNER void
check_alignment(void *arg)
{
    (void)arg;
    steps = (uintptr_t)__builtin_frame_address(0) % 16 == 0;
}

static const char *
a_stack_begins_aligned(void)
{
    enter(0, check_alignment);
    CHECK(steps == 1);
    return NULL;
}

static INNER void
step_and_switch(void *arg)
{
    const int which = (int)(intptr_t)arg;

    for (;;) {
        steps = steps * 10 + which + 1;
        td_switch(&inner[which], outer);
    }
}

static const char *
two_flows_go_on_where_they_were(void)
{
    steps = 0;
    enter(0, step_and_switch);
    enter(1, step_and_switch);
    td_switch(&outer, inner[1]);
    td_switch(&outer, inner[0]);
    td_switch(&outer, inner[0]);
    CHECK(steps == 12211);
    return NULL;
}

static INNER void
switch_then_leave(void *arg)
{
    (void)arg;
    td_switch(&inner[0], outer);
    td_switch_leave(outer);
}

static const char *
leaving_for_good_goes_to_the_last_point(void)
{
    enter(0, switch_then_leave);
    for (int i = 0; i < 10; i++) {
        td_switch(&outer, inner[0]);
        enter(0, switch_then_leave);
    }
    return NULL;
}

/* ---- calling on the same stack */

static void *called; /* the point of the innermost td_switch_call */

static const char *
a_call_that_returns_comes_back(void)
{
    steps = 0;
    for (int i = 0; i < 1000; i++)
        td_switch_call(&called, step, NULL);
    CHECK(steps == 1000);
    td_switch_call(&called, check_alignment, NULL);
    CHECK(steps == 1);
    return NULL;
}

static INNER void
leave_call(void *arg)
{
    steps++;
    td_switch_leave(called);
    steps = *(int *)arg; /* never comes here */
}

static INNER void
leave_inner_then_outer(void *arg)
{
    void *const mine = called;

    td_switch_call(&called, leave_call, arg);
    called = mine;
    leave_call(arg);
}

static const char *
a_call_that_is_left_comes_back_and_nests(void)
{
    int never = -1000;

    steps = 0;
    for (int i = 0; i < 100; i++) {
        td_switch_call(&called, leave_call, &never);
        td_switch_call(&called, leave_inner_then_outer, &never);
    }
    CHECK(steps == 300);
    return NULL;
}

/* ---- what the ABI promises to keep */

/* More values than there are registers that a call may change: some are in those it keeps. */
static INNER uint64_t
mix(void (*in_between)(void), uint64_t seed)
{
    uint64_t a = seed * 3, b = seed * 5, c = seed * 7, d = seed * 11, e = seed * 13, f = seed * 17;
    uint64_t g = seed * 19, h = seed * 23, i = seed * 29, j = seed * 31, k = seed * 37;
    double x = (double)seed * 0.5, y = (double)seed * 0.25, z = (double)seed * 0.125;

    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
    in_between();
    __asm__ volatile("" : "+r"(g), "+r"(h), "+r"(i), "+r"(j), "+r"(k));
    return a + b * 2 + c * 3 + d * 4 + e * 5 + f * 6 + g * 7 + h * 8 + i * 9 + j * 10 + k * 11 +
           (uint64_t)(x + y + z);
}

static INNER void
nothing(void)
{
}

static INNER void
to_inner(void)
{
    td_switch(&outer, inner[0]);
}

static INNER void
to_outer(void)
{
    td_switch(&inner[0], outer);
}

static INNER void
mix_for_ever(void *arg)
{
    (void)arg;
    for (uint64_t seed = 1;; seed++)
        steps = mix(to_outer, seed * 1000003) == mix(nothing, seed * 1000003) ? steps + 1 : -1000;
}

static const char *
registers_are_kept(void)
{
    steps = 0;
    enter(0, mix_for_ever);
    for (uint64_t seed = 1; seed <= 100; seed++)
        CHECK(mix(to_inner, seed) == mix(nothing, seed));
    CHECK(steps == 100);
    return NULL;
}

static INNER void
mix_and_leave(void *arg)
{
    (void)arg;
    mix(nothing, (uint64_t)steps);
    td_switch_leave(called);
}

static INNER void
call_and_be_left(void)
{
    td_switch_call(&called, mix_and_leave, NULL);
}

static const char *
a_call_that_is_left_keeps_registers(void)
{
    for (uint64_t seed = 1; seed <= 100; seed++)
        CHECK(mix(call_and_be_left, seed) == mix(nothing, seed));
    return NULL;
}

static INNER void
round_upward(void *arg)
{
    (void)arg;
    fesetround(FE_UPWARD);
    td_switch(&inner[0], outer);
    steps = fegetround() == FE_UPWARD;
    td_switch_leave(outer);
}

static const char *
the_rounding_mode_is_kept(void)
{
    enter(0, round_upward);
    CHECK(fegetround() == FE_TONEAREST);
    td_switch(&outer, inner[0]);
    CHECK(steps == 1);
    CHECK(fegetround() == FE_TONEAREST);
    return NULL;
}

/* ---- unwinding */

static int frames, cleanups;

static INNER _Unwind_Reason_Code
count_frame(struct _Unwind_Context *context, void *arg)
{
    (void)context, (void)arg;
    return ++frames < 100 ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

static INNER void
count_frames(void *arg)
{
    frames = 0;
    steps = _Unwind_Backtrace(count_frame, arg);
}

static const char *
a_backtrace_ends_with_the_stack(void)
{
    enter(0, count_frames);
    CHECK(steps == _URC_END_OF_STACK);
    CHECK(frames >= 1 && frames <= 4);
    return NULL;
}

static INNER void
count_frames_in_a_call(void *arg)
{
    td_switch_call(&called, count_frames, arg);
    __asm__ volatile(""); /* no jump in the place of the call */
}

static const char *
a_backtrace_goes_on_through_a_call(void)
{
    int without;

    enter(0, count_frames);
    without = frames;
    enter(0, count_frames_in_a_call);
    CHECK(steps == _URC_END_OF_STACK);
    CHECK(frames == without + 2);
    return NULL;
}

static INNER _Unwind_Reason_Code
on_frame(int version, _Unwind_Action actions, _Unwind_Exception_Class class,
         struct _Unwind_Exception *exception, struct _Unwind_Context *context, void *arg)
{
    (void)version, (void)class, (void)exception, (void)context;
    if (actions & _UA_END_OF_STACK)
        td_switch_leave(*(void **)arg);
    return _URC_NO_REASON;
}

static INNER void
count_cleanup(int *depth)
{
    cleanups += *depth;
}

static INNER void
unwind_from(int levels)
{
    int depth __attribute__((cleanup(count_cleanup), unused)) = levels;
    static struct _Unwind_Exception exception;

    if (levels > 1)
        unwind_from(levels - 1);
    else
        _Unwind_ForcedUnwind(&exception, on_frame, &outer);
    steps = -1;
}

static INNER void
unwind_all(void *arg)
{
    (void)arg;
    steps = 0;
    unwind_from(4);
    td_switch_leave(outer); /* without unwinding information */
}

static const char *
a_forced_unwinding_runs_cleanups_and_ends_with_the_stack(void)
{
    cleanups = 0;
    enter(0, unwind_all);
    CHECK(cleanups == 4 + 3 + 2 + 1);
    CHECK(steps == 0);
    return NULL;
}

INNER TD_NORETURN void
td_switch_uncaught(struct _Unwind_Exception *exception)
{
    steps = exception->exception_class == 42;
    td_switch_leave(called != NULL ? called : outer);
}

#ifndef TD_SWITCH_UCONTEXT
static INNER void
throw_it(int levels)
{
    int depth __attribute__((cleanup(count_cleanup), unused)) = levels;
    static struct _Unwind_Exception exception = {.exception_class = 42};

    if (levels > 1)
        throw_it(levels - 1);
    else
        _Unwind_RaiseException(&exception);
    steps = -1;
}

static INNER void
throw_all(void *arg)
{
    (void)arg;
    throw_it(3);
}

static const char *
an_exception_that_nobody_catches_is_caught_at_the_end_of_the_stack(void)
{
    cleanups = steps = 0;
    called = NULL;
    enter(0, throw_all);
    CHECK(cleanups == 3 + 2 + 1);
    CHECK(steps == 1);
    return NULL;
}

static INNER void
throw_in_a_call(void *arg)
{
    td_switch_call(&called, throw_all, arg);
    steps += 10;
}

static const char *
an_exception_is_caught_by_the_innermost_call(void)
{
    cleanups = steps = 0;
    enter(0, throw_in_a_call);
    called = NULL;
    CHECK(cleanups == 3 + 2 + 1);
    CHECK(steps == 11);
    return NULL;
}
#endif

#define CASE(name) {#name, name}

static const struct switch_case {
    const char *name;
    const char *(*run)(void);
} switch_cases[] = {
    CASE(an_entry_that_returns_comes_back),
    CASE(a_stack_begins_aligned),
    CASE(two_flows_go_on_where_they_were),
    CASE(leaving_for_good_goes_to_the_last_point),
    CASE(a_call_that_returns_comes_back),
    CASE(a_call_that_is_left_comes_back_and_nests),
    CASE(registers_are_kept),
    CASE(a_call_that_is_left_keeps_registers),
    CASE(the_rounding_mode_is_kept),
    CASE(a_backtrace_ends_with_the_stack),
    CASE(a_backtrace_goes_on_through_a_call),
    CASE(a_forced_unwinding_runs_cleanups_and_ends_with_the_stack),
#ifndef TD_SWITCH_UCONTEXT
    CASE(an_exception_that_nobody_catches_is_caught_at_the_end_of_the_stack),
    CASE(an_exception_is_caught_by_the_innermost_call),
#endif
};

#define SWITCH_CASES (int)(sizeof(switch_cases) / sizeof(switch_cases[0]))

#endif
