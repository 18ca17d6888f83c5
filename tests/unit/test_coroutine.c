/* Goal: tasks run on their own stacks, wait, go on, and end in every way; nothing is lost. */
#include "io/coroutine.h"

#include <errno.h>
#include <fenv.h>
#include <signal.h>
#include <sys/mman.h>
#include "on_loop.h"

static void
on_ended(void *arg, td_coroutine_end end)
{
    (void)arg;
    ck_assert_ptr_null(td_coroutine_current());
    note("RXCX"[end]);
}

static td_coroutine_task
task_of(void (*run)(void *arg), const void *arg)
{
    return (td_coroutine_task){.run = run, .ended = on_ended, .arg = (void *)arg};
}

/* Start run(arg); the way it ends is noted: R returned, X raised, C cancelled. */
static td_coroutine *
start(void (*run)(void *arg), const void *arg)
{
    const td_coroutine_task task = task_of(run, arg);
    td_coroutine *co = NULL;

    ck_assert_int_eq(td_coroutine_start(&task, &co), 0);
    return co;
}

/* ---- running and waiting */

static void
note_arg(void *arg)
{
    ck_assert_ptr_nonnull(td_coroutine_current());
    note(*(char *)arg);
}

START_TEST(a_task_that_never_waits_has_ended_when_start_returns)
{
    for (int i = 0; i < 3; i++)
        ck_assert_ptr_null(start(note_arg, "a"));
    ck_assert_str_eq(notes, "aRaRaR");
    ck_assert_uint_eq(td_coroutines_count(), 0);
}
END_TEST

static void
wait_twice(void *arg)
{
    int *codes = arg;

    note('1');
    codes[0] = td_coroutine_wait(NULL, NULL);
    note('2');
    codes[1] = td_coroutine_wait(NULL, NULL);
    note('3');
}

START_TEST(a_task_that_waits_goes_on_where_it_was)
{
    int codes[2] = {0};
    td_coroutine *co = start(wait_twice, codes);

    ck_assert_str_eq(notes, "1");
    ck_assert_ptr_null(td_coroutine_current());
    ck_assert_uint_eq(td_coroutines_count(), 1);
    td_coroutine_resume(co, 42);
    ck_assert_str_eq(notes, "12");
    td_coroutine_resume(co, -7);
    ck_assert_str_eq(notes, "123R");
    ck_assert_int_eq(codes[0], 42);
    ck_assert_int_eq(codes[1], -7);
}
END_TEST

static void
wait_with_errno(void *arg)
{
    errno = *(int *)arg;
    td_coroutine_wait(NULL, NULL);
    ck_assert_int_eq(errno, *(int *)arg);
}

START_TEST(errno_is_kept_over_a_wait)
{
    int numbers[2] = {ENOENT, EPERM};
    td_coroutine *a = start(wait_with_errno, &numbers[0]), *b = start(wait_with_errno, &numbers[1]);

    errno = EIO;
    td_coroutine_resume(a, 0);
    td_coroutine_resume(b, 0);
    ck_assert_str_eq(notes, "RR");
}
END_TEST

/* Rounding is part of what the ABI lets nobody change behind a caller's back. */
static void
wait_rounding_up(void *arg)
{
    (void)arg;
    fesetround(FE_UPWARD);
    td_coroutine_wait(NULL, NULL);
    ck_assert_int_eq(fegetround(), FE_UPWARD);
    fesetround(FE_TONEAREST);
}

START_TEST(the_rounding_mode_belongs_to_the_coroutine)
{
    td_coroutine *co = start(wait_rounding_up, NULL);

    ck_assert_int_eq(fegetround(), FE_TONEAREST);
    td_coroutine_resume(co, 0);
    ck_assert_str_eq(notes, "R");
}
END_TEST

struct counted {
    td_coroutine *co;
    volatile double sum; /* of callee-saved and floating point state there may be */
    int rounds;
};

static void
count_rounds(void *arg)
{
    struct counted *counted = arg;
    double sum = 0.5;

    for (int i = 1; i <= 10; i++) {
        td_coroutine_wait(NULL, NULL);
        sum += i;
        counted->rounds++;
    }
    counted->sum = sum;
}

START_TEST(many_wait_at_once_and_none_is_mixed_up)
{
    enum { COUNT = 1000 };
    struct counted *all = calloc(COUNT, sizeof(*all));

    for (int i = 0; i < COUNT; i++) {
        const td_coroutine_task task = {.run = count_rounds, .arg = &all[i]};

        ck_assert_int_eq(td_coroutine_start(&task, &all[i].co), 0);
    }
    ck_assert_uint_eq(td_coroutines_count(), COUNT);
    for (int round = 0; round < 10; round++)
        for (int i = 0; i < COUNT; i++)
            td_coroutine_resume(all[i * 7 % COUNT].co, 0);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(all[i].rounds, 10);
        ck_assert(all[i].sum == 55.5);
    }
    ck_assert_uint_eq(td_coroutines_count(), 0);
    free(all);
}
END_TEST

/* ---- leaving early */

static void
on_cleanup(char *letter)
{
    note(*letter);
}

/* Ends by the raise; the compiler sees the recursion alone. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winfinite-recursion"
static void __attribute__((noinline))
raise_inside(int depth)
{
    char letter __attribute__((cleanup(on_cleanup))) = (char)('a' + depth);

    if (depth == 3)
        td_coroutine_raise();
    raise_inside(depth + 1);
}
#pragma GCC diagnostic pop

static void
raise_deep(void *arg)
{
    if (arg != NULL)
        td_coroutine_wait(NULL, NULL);
    raise_inside(0);
    note('!');
}

START_TEST(a_raise_runs_the_cleanups_from_the_inside_out)
{
    ck_assert_ptr_null(start(raise_deep, NULL));
    ck_assert_str_eq(notes, "dcbaX");
    td_coroutine *co = start(raise_deep, "wait first");
    td_coroutine_resume(co, 0);
    ck_assert_str_eq(notes, "dcbaXdcbaX");
    start(note_arg, "z"); /* on the same stack */
    ck_assert_str_eq(notes, "dcbaXdcbaXzR");
}
END_TEST

static void
on_undo(void *arg)
{
    note(*(char *)arg);
}

static void
wait_with_cleanup(void *arg)
{
    char letter __attribute__((cleanup(on_cleanup))) = 'c', undo = 'u';

    (void)arg;
    td_coroutine_wait(on_undo, &undo);
    note('!');
}

START_TEST(a_cancelled_wait_is_undone_and_unwound)
{
    td_coroutine *co = start(wait_with_cleanup, NULL);

    td_coroutine_cancel(co);
    ck_assert_str_eq(notes, "ucC");
}
END_TEST

static void
cancel_itself(void *arg)
{
    (void)arg;
    td_coroutine_cancel(td_coroutine_current());
    note('r'); /* until it waits */
    wait_with_cleanup(NULL);
}

START_TEST(one_that_runs_is_cancelled_at_its_next_wait)
{
    ck_assert_ptr_null(start(cancel_itself, NULL));
    ck_assert_str_eq(notes, "rucC");
}
END_TEST

static void
cancel_other(void *arg)
{
    td_coroutine_cancel(arg);
    note('o');
}

START_TEST(one_coroutine_cancels_another_by_way_of_the_loop)
{
    td_coroutine *co = start(wait_with_cleanup, NULL);

    start(cancel_other, co);
    ck_assert_str_eq(notes, "oR");
    td_ioloop_add_callback(loop, stop_loop, NULL);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "oRucC");
}
END_TEST

START_TEST(one_that_ends_before_its_cancellation_arrives_is_let_go)
{
    int codes[2] = {0};
    td_coroutine *co = start(wait_twice, codes);

    start(cancel_other, co);
    td_coroutine_resume(co, 0); /* finds the cancellation at its next wait */
    ck_assert_str_eq(notes, "1oR2C");
    td_ioloop_add_callback(loop, stop_loop, NULL);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "1oR2C");
}
END_TEST

static void
wait_protected(void *arg)
{
    (void)arg;
    td_cancel_disable();
    td_cancel_disable();
    td_coroutine_wait(NULL, NULL);
    td_cancel_enable();
    note('p');
    td_coroutine_wait(NULL, NULL);
    td_cancel_enable();
    note('q');
    td_coroutine_wait(NULL, NULL);
    note('!');
}

START_TEST(cancellation_waits_while_it_is_disabled)
{
    td_coroutine *co = start(wait_protected, NULL);

    td_coroutine_cancel(co);
    ck_assert_str_eq(notes, "");
    td_coroutine_resume(co, 0);
    ck_assert_str_eq(notes, "p");
    td_coroutine_resume(co, 0);
    ck_assert_str_eq(notes, "pqC");
}
END_TEST

/* A cleanup may wait: for a job that cannot be stopped, say. */
static void
on_waiting_cleanup(char *letter)
{
    note('w');
    td_coroutine_wait(NULL, NULL);
    note(*letter);
}

static void
raise_into_waiting_cleanup(void *arg)
{
    char letter __attribute__((cleanup(on_waiting_cleanup))) = 'a';

    (void)arg;
    td_coroutine_raise();
}

START_TEST(a_cleanup_may_wait_and_is_not_cancelled)
{
    td_coroutine *co = start(raise_into_waiting_cleanup, NULL);

    ck_assert_ptr_nonnull(co);
    td_coroutine_cancel(co);
    ck_assert_str_eq(notes, "w");
    td_coroutine_resume(co, 0);
    ck_assert_str_eq(notes, "waX");
}
END_TEST

/* ---- td_defer */

static void
note_deferred(void *arg)
{
    ck_assert_ptr_null(td_coroutine_current());
    ck_assert_int_eq(td_sleep(0), TD_EINVAL);
    note(*(char *)arg);
}

static void
defer_then(void *arg)
{
    static char x = 'x', y = 'y';
    char letter __attribute__((cleanup(on_cleanup))) = 'c';

    ck_assert_int_eq(td_defer(note_deferred, &x), 0);
    ck_assert_int_eq(td_defer(note_deferred, &y), 0);
    ck_assert_int_eq(td_defer(NULL, &y), TD_EINVAL);
    if (arg != NULL)
        td_coroutine_raise();
}

START_TEST(deferred_actions_run_last_first_after_the_unwinding)
{
    start(defer_then, NULL);
    ck_assert_str_eq(notes, "cyxR");
    start(defer_then, "raise");
    ck_assert_str_eq(notes, "cyxRcyxX");
}
END_TEST

static void
raise_deferred(void *arg)
{
    char letter __attribute__((cleanup(on_cleanup))) = *(char *)arg;

    td_coroutine_raise();
}

static void
defer_raises(void *arg)
{
    static char x = 'x', y = 'y', z = 'z';

    (void)arg;
    td_defer(note_deferred, &x);
    td_defer(raise_deferred, &y);
    td_defer(note_deferred, &z);
}

START_TEST(a_deferred_action_that_raises_harms_no_other)
{
    start(defer_raises, NULL);
    ck_assert_str_eq(notes, "zyxR");
}
END_TEST

/* ---- catching */

static void
raise_after_defer(void *arg)
{
    static char x = 'x', y = 'y';
    char letter __attribute__((cleanup(on_cleanup))) = 'c';

    td_defer(note_deferred, &x);
    td_defer(raise_deferred, &y);
    td_cancel_disable();
    note(*(char *)arg);
    td_coroutine_raise();
}

static void
catch_three(void *arg)
{
    static char z = 'z';
    char letter __attribute__((cleanup(on_cleanup))) = 'd';

    td_defer(note_deferred, &z);
    ck_assert_int_eq(td_coroutine_catch(note_arg, arg), TD_COROUTINE_RETURNED);
    ck_assert_int_eq(td_coroutine_catch(raise_after_defer, arg), TD_COROUTINE_RAISED);
    note('|');
    td_coroutine_wait(NULL, NULL);
    ck_assert_int_eq(td_coroutine_catch(raise_deep, arg), TD_COROUTINE_RAISED);
    note('|');
}

START_TEST(a_catch_ends_a_raise_and_the_coroutine_goes_on)
{
    td_coroutine *co = start(catch_three, "a");

    ck_assert_str_eq(notes, "aacyx|");
    td_coroutine_resume(co, 0);
    ck_assert_str_eq(notes, "aacyx|"); /* raise_deep waits first */
    td_coroutine_resume(co, 0);
    ck_assert_str_eq(notes, "aacyx|dcba|dzR");
}
END_TEST

static void
catch_inner(void *arg)
{
    char letter __attribute__((cleanup(on_cleanup))) = 'i';

    ck_assert_int_eq(td_coroutine_catch(raise_deep, arg), TD_COROUTINE_RAISED);
    note('1');
    td_coroutine_leave();
}

static void
catch_outer(void *arg)
{
    char letter __attribute__((cleanup(on_cleanup))) = 'o';
    static char after = 'n';

    ck_assert_int_eq(td_coroutine_catch(catch_inner, arg), TD_COROUTINE_LEFT);
    note('2');
    ck_assert_int_eq(td_coroutine_catch(note_arg, &after), TD_COROUTINE_RETURNED);
    td_coroutine_raise();
}

START_TEST(catches_nest_and_without_one_the_coroutine_ends)
{
    ck_assert_ptr_null(start(catch_outer, NULL));
    ck_assert_str_eq(notes, "dcba1i2noX");
    start(raise_deep, NULL);
    ck_assert_str_eq(notes, "dcba1i2noXdcbaX");
}
END_TEST

static void
wait_protected_then_catch(void *arg)
{
    (void)arg;
    td_cancel_disable(); /* and never enabled again */
    td_coroutine_raise();
}

static void
catch_cancellations(void *arg)
{
    ck_assert_int_eq(td_coroutine_catch(wait_with_cleanup, arg), TD_COROUTINE_CANCELED);
    ck_assert_int_eq(td_coroutine_catch(wait_protected_then_catch, arg), TD_COROUTINE_RAISED);
    note('1');
    td_coroutine_wait(NULL, NULL); /* the cancellation is over */
    note('2');
    td_coroutine_wait(NULL, NULL); /* and another comes through */
    note('!');
}

START_TEST(a_cancellation_is_over_where_it_is_caught)
{
    td_coroutine *co = start(catch_cancellations, NULL);

    td_coroutine_cancel(co);
    ck_assert_str_eq(notes, "uc1");
    td_coroutine_resume(co, 0);
    ck_assert_str_eq(notes, "uc12");
    td_coroutine_cancel(co);
    ck_assert_str_eq(notes, "uc12C");
}
END_TEST

static void
raise_while_cancelled(void *arg)
{
    (void)arg;
    td_coroutine_cancel(td_coroutine_current());
    td_coroutine_raise();
}

static void
catch_what_was_cancelled_by_another(void *arg)
{
    ck_assert_int_eq(td_coroutine_catch(raise_while_cancelled, arg), TD_COROUTINE_RAISED);
    td_coroutine_wait(NULL, NULL);
    note('w');
}

START_TEST(a_raise_that_is_caught_takes_a_cancellation_with_it)
{
    td_coroutine *co = start(catch_what_was_cancelled_by_another, NULL);

    td_coroutine_resume(co, 0);
    ck_assert_str_eq(notes, "wR");
}
END_TEST

static void
misbehave(void *arg)
{
    char letter __attribute__((cleanup(on_cleanup))) = 'm';

    ck_assert_ptr_null(td_coroutine_current());
    ck_assert_int_eq(td_sleep(0), TD_EINVAL);
    ck_assert_int_eq(td_defer(note_deferred, arg), TD_EINVAL);
    td_coroutine_raise();
}

static void
resume_another(void *arg)
{
    td_coroutine_resume(*(td_coroutine **)arg, 0);
    note('r');
}

static void
call_all(void *arg)
{
    td_coroutine *self = td_coroutine_current();

    ck_assert(td_coroutine_call(&(td_coroutine_task){.run = resume_another, .arg = arg}));
    ck_assert(!td_coroutine_call(&(td_coroutine_task){.run = misbehave}));
    ck_assert_ptr_eq(td_coroutine_current(), self);
    td_coroutine_wait(NULL, NULL);
    note('e');
}

START_TEST(a_call_that_must_not_wait_nor_raise_is_stopped_when_it_does)
{
    int codes[2] = {0};
    td_coroutine *other = start(wait_twice, codes);
    td_coroutine *co = start(call_all, &other);

    ck_assert_str_eq(notes, "12rm");
    td_coroutine_resume(co, 0);
    td_coroutine_resume(other, 0);
    ck_assert_str_eq(notes, "12rmeR3R");
    ck_assert(!td_coroutine_call(&(td_coroutine_task){.run = misbehave})); /* on the loop's stack */
    ck_assert_str_eq(notes, "12rmeR3Rm");
    ck_assert_ptr_null(td_coroutine_current());
}
END_TEST

/* Of those in which a coroutine is abandoned, nothing is left that others could run into. */
static void
catch_and_wait(void *arg)
{
    td_coroutine_catch(wait_with_cleanup, arg);
    td_coroutine_wait(NULL, NULL);
}

START_TEST(the_end_of_the_loop_unwinds_what_catches)
{
    start(catch_and_wait, NULL);
    td_ioloop_destroy(&loop);
    ck_assert_str_eq(notes, "ucC");
}
END_TEST

START_TEST(outside_a_coroutine_it_is_misuse)
{
    ck_assert_int_eq(td_defer(note_deferred, NULL), TD_EINVAL);
    td_cancel_disable();
    td_cancel_enable();
    ck_assert_ptr_null(td_coroutine_owner());
}
END_TEST

/* ---- limits */

static void
wait_once(void *arg)
{
    (void)arg;
    td_coroutine_wait(NULL, NULL);
    note('w');
}

START_TEST(no_more_than_coroutines_max_run_and_jobs_wait_for_room)
{
    static const td_coroutine_options two = {256 * 1024, 2};
    td_coroutine_job jobs[] = {{.task = task_of(note_arg, "j")},
                               {.task = task_of(note_arg, "k")},
                               {.task = task_of(note_arg, "l")}};

    td_coroutine_pool_trim(0);
    td_coroutine_configure(&two);
    td_coroutine *a = start(wait_once, NULL), *b = start(wait_once, NULL);
    ck_assert_int_eq(td_coroutine_start(&jobs[0].task, NULL), TD_EBUSY);
    for (int i = 0; i < 3; i++)
        td_coroutine_submit(&jobs[i]);
    td_list_remove(&jobs[1].link); /* taken back */
    ck_assert_str_eq(notes, "");
    td_coroutine_resume(a, 0);
    ck_assert_str_eq(notes, "wR"); /* ... they start from the loop */
    td_ioloop_add_callback(loop, stop_loop, NULL);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "wRjRlR");
    td_coroutine_resume(b, 0);
}
END_TEST

START_TEST(destroying_the_loop_unwinds_what_waits_and_ends_what_never_ran)
{
    static const td_coroutine_options one = {256 * 1024, 1};
    td_coroutine_job job = {.task = task_of(note_arg, "j")};

    td_coroutine_pool_trim(0);
    td_coroutine_configure(&one);
    start(wait_with_cleanup, NULL);
    td_coroutine_submit(&job);
    td_ioloop_destroy(&loop);
    ck_assert_str_eq(notes, "CucC");
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
}
END_TEST

static void
wait_for_ever(char *letter)
{
    note(*letter);
    td_coroutine_wait(NULL, NULL);
    note('!');
}

static void
resist(void *arg)
{
    char letter __attribute__((cleanup(wait_for_ever))) = 'e';

    (void)arg;
    td_coroutine_wait(NULL, NULL);
}

START_TEST(one_that_resists_unwinding_is_abandoned_with_the_loop)
{
    start(resist, NULL);
    td_ioloop_destroy(&loop);
    ck_assert_str_eq(notes, "eC");
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
}
END_TEST

static size_t
resident_pages(char *low, size_t size)
{
    unsigned char in_core[4096];
    const size_t pages = size / 4096;
    size_t count = 0;

    ck_assert_uint_le(pages, sizeof(in_core));
    ck_assert_int_eq(mincore(low, size, in_core), 0);
    for (size_t i = 0; i < pages; i++)
        count += in_core[i] & 1;
    return count;
}

static void
fill_stack(void *arg)
{
    volatile char deep[200 * 1024];

    for (size_t i = 0; i < sizeof(deep); i += 1024)
        deep[i] = 1;
    *(uintptr_t *)arg = (uintptr_t)deep;
}

START_TEST(an_idle_pool_is_unmapped_and_what_is_kept_is_shallow)
{
    enum { COUNT = 64 };
    td_coroutine *all[COUNT];
    uintptr_t address = 0;

    for (int i = 0; i < COUNT; i++)
        all[i] = start(wait_once, NULL);
    for (int i = 0; i < COUNT; i++) {
        notes_len = 0;
        td_coroutine_resume(all[i], 0);
    }
    start(fill_stack, &address);
    char *const deep = (char *)(address & ~(uintptr_t)4095);
    ck_assert_uint_ge(resident_pages(deep, 128 * 1024), 31);
    td_coroutine_pool_trim(1);
    ck_assert_uint_eq(resident_pages(deep, 128 * 1024), 0);
    td_coroutine_pool_trim(0);
    start(note_arg, "a");
}
END_TEST

static void
wait_and_tell_where(void *arg)
{
    *(uintptr_t *)arg = (uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)4095;
    td_coroutine_wait(NULL, NULL);
}

static size_t
count_mapped(const uintptr_t *pages, size_t count)
{
    unsigned char in_core;
    size_t mapped = 0;

    for (size_t i = 0; i < count; i++)
        mapped += mincore((void *)pages[i], 1, &in_core) == 0;
    return mapped;
}

/* From the poll to the next timers the loop believes the cached clock. */
static void
jump_11_s(struct ev_loop *ev, ev_timer *watcher, int events)
{
    static int64_t ahead_ns;

    (void)ev, (void)watcher, (void)events;
    ahead_ns += 11 * TD_NS_PER_S;
    td_clock_cached_ns += ahead_ns;
    td_ioloop_add_callback(loop, stop_loop, NULL);
}

static void
wait_11_s(void)
{
    ev_timer jump;

    ev_timer_init(&jump, jump_11_s, 0.0, 0.0);
    ev_timer_start(td_ioloop_ev(loop), &jump);
    td_ioloop_start(loop);
}

START_TEST(what_was_not_needed_for_a_while_is_unmapped)
{
    enum { COUNT = 64 };
    uintptr_t pages[COUNT];
    td_coroutine *all[COUNT];

    for (int i = 0; i < COUNT; i++) {
        const td_coroutine_task task = {.run = wait_and_tell_where, .arg = &pages[i]};

        ck_assert_int_eq(td_coroutine_start(&task, &all[i]), 0);
    }
    for (int i = 0; i < COUNT; i++)
        td_coroutine_resume(all[i], 0);
    wait_11_s(); /* all were needed just now */
    ck_assert_uint_eq(count_mapped(pages, COUNT), COUNT);
    wait_11_s();
    ck_assert_uint_eq(count_mapped(pages, COUNT), 16);
}
END_TEST

/* ---- what it is said to do */

static td_activity slot;

static void
check_activity(void *arg)
{
    const td_activity other = {7, 8, 9};
    td_coroutine_task task;

    ck_assert_uint_eq(slot.instance, 1);
    ck_assert_uint_eq(slot.route, 2);
    ck_assert_uint_eq(slot.request_no, 3);
    ck_assert_str_eq(td_log_current_module(), "greeter");
    ck_assert_ptr_eq(td_coroutine_owner(), arg);
    td_coroutine_wait(NULL, NULL);
    ck_assert_uint_eq(slot.instance, 1);
    td_coroutine_set_activity(td_coroutine_current(), &other, "other");
    ck_assert_uint_eq(slot.request_no, 9);
    td_coroutine_inherit(&task);
    ck_assert_uint_eq(task.activity.route, 8);
    ck_assert_str_eq(task.module, "other");
}

START_TEST(the_activity_of_a_coroutine_is_told_while_it_runs)
{
    const td_coroutine_task task = {.run = check_activity, .ended = on_ended, .arg = &slot,
                                    .activity = {1, 2, 3}, .module = "greeter", .owner = &slot};
    td_coroutine *co;

    td_activity_slot = &slot;
    ck_assert_int_eq(td_coroutine_start(&task, &co), 0);
    ck_assert_uint_eq(slot.instance, 0);
    ck_assert_ptr_null(td_log_current_module());
    td_coroutine_resume(co, 0);
    ck_assert_uint_eq(slot.instance, 0);
    ck_assert_str_eq(notes, "R");
}
END_TEST

/* ---- overflow */

static char alternate[64 * 1024];

static void
on_segv(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    _exit(td_coroutine_is_overflow(info->si_addr) ? 33 : 34);
}

static void
catch_segv(void)
{
    const stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
    const struct sigaction action = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
}

static int __attribute__((noinline))
recurse(volatile int *depth)
{
    volatile char frame[1024];

    frame[0] = (char)++*depth;
    return *depth < 0 ? 0 : recurse(depth) + frame[0];
}

static void
overflow(void *arg)
{
    volatile int depth = 0;

    (void)arg;
    catch_segv();
    recurse(&depth);
}

START_TEST(a_stack_overflow_is_recognised)
{
    start(overflow, NULL);
}
END_TEST

static void
write_elsewhere(void *arg)
{
    catch_segv();
    *(volatile char *)arg = 1;
}

START_TEST(another_fault_is_no_overflow)
{
    start(write_elsewhere, mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_loop, close_loop);
    tcase_add_test(tcase, a_task_that_never_waits_has_ended_when_start_returns);
    tcase_add_test(tcase, a_task_that_waits_goes_on_where_it_was);
    tcase_add_test(tcase, errno_is_kept_over_a_wait);
    tcase_add_test(tcase, the_rounding_mode_belongs_to_the_coroutine);
    tcase_add_test(tcase, many_wait_at_once_and_none_is_mixed_up);
    tcase_add_test(tcase, a_raise_runs_the_cleanups_from_the_inside_out);
    tcase_add_test(tcase, a_cancelled_wait_is_undone_and_unwound);
    tcase_add_test(tcase, one_that_runs_is_cancelled_at_its_next_wait);
    tcase_add_test(tcase, one_coroutine_cancels_another_by_way_of_the_loop);
    tcase_add_test(tcase, one_that_ends_before_its_cancellation_arrives_is_let_go);
    tcase_add_test(tcase, cancellation_waits_while_it_is_disabled);
    tcase_add_test(tcase, a_cleanup_may_wait_and_is_not_cancelled);
    tcase_add_test(tcase, deferred_actions_run_last_first_after_the_unwinding);
    tcase_add_test(tcase, a_deferred_action_that_raises_harms_no_other);
    tcase_add_test(tcase, a_catch_ends_a_raise_and_the_coroutine_goes_on);
    tcase_add_test(tcase, catches_nest_and_without_one_the_coroutine_ends);
    tcase_add_test(tcase, a_cancellation_is_over_where_it_is_caught);
    tcase_add_test(tcase, a_raise_that_is_caught_takes_a_cancellation_with_it);
    tcase_add_test(tcase, a_call_that_must_not_wait_nor_raise_is_stopped_when_it_does);
    tcase_add_test(tcase, the_end_of_the_loop_unwinds_what_catches);
    tcase_add_test(tcase, outside_a_coroutine_it_is_misuse);
    tcase_add_test(tcase, no_more_than_coroutines_max_run_and_jobs_wait_for_room);
    tcase_add_test(tcase, destroying_the_loop_unwinds_what_waits_and_ends_what_never_ran);
    tcase_add_test(tcase, one_that_resists_unwinding_is_abandoned_with_the_loop);
    tcase_add_test(tcase, an_idle_pool_is_unmapped_and_what_is_kept_is_shallow);
    tcase_add_test(tcase, what_was_not_needed_for_a_while_is_unmapped);
    tcase_add_test(tcase, the_activity_of_a_coroutine_is_told_while_it_runs);
    tcase_add_exit_test(tcase, a_stack_overflow_is_recognised, 33);
    tcase_add_exit_test(tcase, another_fault_is_no_overflow, 34);
}

int
main(void)
{
    return unit_run("coroutine", fill);
}
