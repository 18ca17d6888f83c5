/*
 * Coroutines: tasks on pooled stacks, last in first out, so that handlers that never wait share one
 * warm stack and cost no system call.
 *
 * A coroutine is its stack: the struct lies at the top of it, in the page that the first frames
 * touch anyway.  There are as many as were ever needed at once; what stays idle for a while is
 * unmapped.
 *
 * Leaving early (td_coroutine_raise, cancellation) is a forced unwinding: the frames' cleanups run,
 * no frame is asked, and where the unwinder meets the end of the stack, or a frame it cannot read,
 * we switch away.  A catch (td_coroutine_catch) is a nearer end: the unwinding stops at its frame,
 * and the stack is used again from there down.
 */
#include "io/coroutine.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>
#include "base/arena.h"
#include "base/assert.h"
#include "base/budget.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/list.h"
#include "base/log.h"
#include "base/prefetch.h"
#include "io/call.h"
#include "io/cxx.h"
#include "io/fiber.h"
#include "io/stack.h"
#include "io/stretch.h"
#include "io/switch.h"

#define STACK_SIZE_DEFAULT ((size_t)256 * 1024)
#define COROUTINES_MAX_DEFAULT 10000
#define POOL_MIN 16 /* idle stacks that trimming leaves alone */
#define TRIM_PERIOD_NS (10 * TD_NS_PER_S)
#define STACK_MEMORY ((size_t)8 * 1024) /* that most of them take; deeper ones are few */
#define FRAMES_PREFETCHED (24 * TD_CACHE_LINE) /* of those that a start will call */
#define SHALLOW_SIZE 16384 /* bytes of an idle stack that trimming leaves in memory */

struct deferred {
    struct deferred *older;
    td_callback_fn *fn;
    void *arg;
};

/* Lies in the frame of td_coroutine_catch. */
struct catch {
    struct catch *outer;
    void *point;       /* where it goes on */
    const char *frame; /* no frame that is to be unwound lies higher */
    bool is_left;      /* somebody has gone to the point */
};

struct td_coroutine {
    void *point; /* where it goes on; means something only while is_waiting */
    td_coroutine_task task;
    struct deferred *deferred; /* newest first */
    struct deferred oldest_deferred; /* the place of the last of them; most have no other */
    struct catch *catch;       /* the innermost; NULL: none, unwinding ends with the stack */
    td_coroutine_end end;
    unsigned cancel_disabled; /* depth of td_cancel_disable */
    bool is_waiting;
    bool has_waited;
    bool is_ended;
    bool is_canceled;    /* and has not unwound yet */
    bool is_unwinding;   /* cleanups may wait, and are not cancelled */
    bool must_unwind;    /* at the wait where it is */
    bool is_held;        /* until it is resumed, though it must unwind */
    bool has_loose_ends; /* actions deferred, a cancellation under way, frames unwound */
    bool is_unneeded;    /* in the pool: nobody has taken it since the last trimming */

    int code; /* result of the wait */
    void (*undo)(void *arg);
    void *undo_arg;
    td_list link;       /* in scheduler.waiting */
    td_callback cancel; /* posted by another coroutine */
    struct _Unwind_Exception unwinding;
    td_cxx_state cxx; /* while it waits */
    td_fiber fiber;
    td_stack stack;
    td_coroutine *next; /* in the pool */
} __attribute__((aligned(64)));

struct scheduler {
    td_coroutine *current;   /* NULL: the loop's own stack runs */
    void *point;             /* of the loop, while a coroutine runs */
    td_fiber fiber;          /* the loop's */
    td_cxx_state *cxx;       /* of this thread; on the loop's stack it is always clear */
    td_coroutine *deferring; /* whose td_defer actions or td_coroutine_call run: no waiting */
    td_coroutine outside;    /* in its place for a td_coroutine_call on the loop's own stack */

    td_coroutine *pool;
    size_t count; /* stacks there are, those in the pool included */

    td_list waiting;  /* td_coroutine.link */
    td_list starving; /* td_coroutine_job.link */
    td_callback feed;
    td_timer trim;
    td_ioloop *loop;

    struct scheduler *next; /* in schedulers */
};

static const char *refusal; /* why create said no the last time */
static td_coroutine_options options = {STACK_SIZE_DEFAULT, COROUTINES_MAX_DEFAULT};

/* Initial-exec: see ioloop.c. */
static __thread struct scheduler scheduler __attribute__((tls_model("initial-exec")));

/* Those of all threads that have a loop, for debuggers (tornado-gdb.py). */
static struct scheduler *schedulers;
static pthread_mutex_t schedulers_lock = PTHREAD_MUTEX_INITIALIZER;

void
td_coroutine_configure(const td_coroutine_options *wanted)
{
    options = *wanted;
}

const char *
td_coroutine_refusal(void)
{
    return refusal;
}

td_coroutine *
td_coroutine_current(void)
{
    return scheduler.current;
}

void *
td_coroutine_owner(void)
{
    return scheduler.current != NULL ? scheduler.current->task.owner : NULL;
}

/* The coroutine whose code runs; NULL: none of them. */
static td_coroutine *
acting(void)
{
    return scheduler.current != NULL ? scheduler.current : scheduler.deferring;
}

const td_activity *
td_coroutine_activity(void)
{
    const td_coroutine *co = acting();

    return co != NULL ? &co->task.activity : NULL;
}

void
td_coroutine_inherit(td_coroutine_task *task)
{
    const td_coroutine *co = acting();

    task->activity = co != NULL ? co->task.activity : (td_activity){0};
    task->module = co != NULL ? co->task.module : NULL;
}

static const char *
acting_module(void)
{
    const td_coroutine *co = acting();

    return co != NULL ? co->task.module : NULL;
}

static void
set_activity(td_coroutine *co, const td_activity *activity, const char *module)
{
    co->task.activity = *activity;
    co->task.module = module;
    td_activity_set(activity);
}

void
td_coroutine_set_activity(td_coroutine *co, const td_activity *activity, const char *module)
{
    if (co == scheduler.current) {
        set_activity(co, activity, module);
        return;
    }
    co->task.activity = *activity;
    co->task.module = module;
}

size_t
td_coroutines_count(void)
{
    size_t count = scheduler.count;

    for (const td_coroutine *co = scheduler.pool; co != NULL; co = co->next)
        count--;
    return count;
}

bool
td_coroutine_is_overflow(const void *fault_address)
{
    const td_coroutine *co = acting();

    return co != NULL && td_stack_is_guard(&co->stack, fault_address);
}

/* ---- the pool */

static void
trim_later(void)
{
    if (scheduler.loop != NULL && scheduler.trim.place == 0)
        td_timer_start(scheduler.loop, &scheduler.trim, td_now_ns() + TRIM_PERIOD_NS);
}

void
td_coroutines_look_for_cxx(void)
{
    if (scheduler.cxx == NULL)
        scheduler.cxx = td_cxx_thread_state();
}

/* A few there are always, so that whoever wants little gets it. */
static bool
take_memory(void)
{
    if (scheduler.count < POOL_MIN) {
        td_budget_note(TD_BUDGET_STACKS, STACK_MEMORY);
        return true;
    }
    if (td_budget_take(TD_BUDGET_STACKS, STACK_MEMORY))
        return true;
    td_budget_refused(TD_BUDGET_STACKS, NULL);
    return false;
}

static td_coroutine *
create(void)
{
    static td_log_gate gate;
    td_stack stack;

    if (scheduler.count >= options.coroutines_max) {
        refusal = "max_coroutines are in use";
        return NULL;
    }
    if (!take_memory()) {
        refusal = td_budget_text();
        return NULL;
    }
    const int rc = td_stack_map(&stack, options.stack_size);
    if (rc < 0) {
        td_log_gated(&gate, TD_LOG_ERROR, "coroutine", "stack %zu of %zu bytes: %s",
                     scheduler.count + 1, options.stack_size, strerror(-rc));
        td_budget_give(TD_BUDGET_STACKS, STACK_MEMORY);
        refusal = "the system has no memory for another stack (max_coroutines)";
        return NULL;
    }
    td_coroutine *co = (td_coroutine *)(stack.low + stack.size) - 1; /* pages are aligned enough */
    char *const low = stack.low + td_stack_guard_size();
    co->stack = stack;
    co->cancel.link = (td_list){NULL, NULL};
    td_fiber_init(&co->fiber, low, (size_t)((char *)co - low));
    scheduler.count++;
    td_coroutines_look_for_cxx();
    trim_later();
    return co;
}

static inline td_coroutine *
pool_take(void)
{
    td_coroutine *co = scheduler.pool;

    if (TD_UNLIKELY(co == NULL))
        return create();
    scheduler.pool = co->next;
    return co;
}

static inline void
pool_put(td_coroutine *co)
{
    co->next = scheduler.pool;
    scheduler.pool = co;
}

void
td_coroutine_pool_trim(size_t keep)
{
    td_coroutine **at = &scheduler.pool;

    for (size_t i = 0; *at != NULL && i < keep; i++) {
        td_stack_shrink(&(*at)->stack, SHALLOW_SIZE);
        (*at)->is_unneeded = true;
        at = &(*at)->next;
    }
    while (*at != NULL) {
        td_stack stack = (*at)->stack;

        *at = (*at)->next;
        td_stack_unmap(&stack);
        td_budget_give(TD_BUDGET_STACKS, STACK_MEMORY);
        scheduler.count--;
    }
}

/* Unmap what nobody has needed since the last time: it lies together at the bottom. */
static void
on_trim(void *arg)
{
    const td_coroutine *co = scheduler.pool;
    size_t keep = 0;

    (void)arg;
    for (; co != NULL && !(co->is_unneeded && keep >= POOL_MIN); co = co->next)
        keep++;
    td_coroutine_pool_trim(keep);
    if (scheduler.count > POOL_MIN)
        trim_later();
}

/* ---- leaving */

/* From the coroutine's stack for good, or to the catch. */
static TD_NORETURN void
leave(td_coroutine *co)
{
    struct catch *catch = co->catch;

    if (catch != NULL) {
        catch->is_left = true;
        td_switch_leave(catch->point);
    }
    co->is_ended = true;
    td_fiber_leaving_for_good(&scheduler.fiber);
    td_switch_leave(scheduler.point);
}

static _Unwind_Reason_Code
on_frame(int version, _Unwind_Action actions, _Unwind_Exception_Class class,
         struct _Unwind_Exception *exception, struct _Unwind_Context *context, void *arg)
{
    td_coroutine *co = arg;

    (void)version, (void)class, (void)exception;
    if ((actions & _UA_END_OF_STACK) ||
        (co->catch != NULL && (const char *)_Unwind_GetCFA(context) >= co->catch->frame))
        leave(co);
    return _URC_NO_REASON;
}

/* A C++ catch (...) has kept the exception: the coroutine goes on behind it. */
static void
on_caught(_Unwind_Reason_Code reason, struct _Unwind_Exception *exception)
{
    td_coroutine *co = TD_CONTAINER_OF(exception, td_coroutine, unwinding);

    (void)reason;
    co->is_unwinding = false;
}

static TD_NORETURN void
unwind(td_coroutine *co, td_coroutine_end end)
{
    co->end = end;
    co->must_unwind = false;
    co->is_unwinding = co->has_loose_ends = true;
    co->unwinding = (struct _Unwind_Exception){.exception_cleanup = on_caught};
    td_fiber_no_return();
    _Unwind_ForcedUnwind(&co->unwinding, on_frame, co);
    leave(co); /* past a frame without unwind information */
}

static TD_NORETURN void
give_up(td_coroutine_end end)
{
    td_coroutine *co = acting();

    if (co == NULL && td_ioloop_current() == NULL)
        pthread_exit(NULL); /* a handler's own thread: nothing else there is to leave */
    if (co == NULL) {
        td_misuse("td_raise", "called outside a coroutine: there is nothing to leave");
        abort();
    }
    if (co != scheduler.current)
        td_misuse("td_raise", "called in a td_defer action, or in another that must not");
    unwind(co, end);
}

void
td_coroutine_raise(void)
{
    give_up(TD_COROUTINE_RAISED);
}

void
td_coroutine_leave(void)
{
    give_up(TD_COROUTINE_LEFT);
}

/* As after td_coroutine_raise: the frames are unwound, the coroutine has failed. */
void
td_switch_uncaught(struct _Unwind_Exception *exception)
{
    td_coroutine *co = acting();
    char text[512];

    td_cxx_consume(exception, text, sizeof(text));
    td_log(TD_LOG_ERROR, "nobody caught %s", text);
    co->end = TD_COROUTINE_RAISED;
    co->has_loose_ends = true;
    leave(co);
}

/* ---- catching */

/* True: run(arg) has returned.  Never inlined: its frame is the mark at which unwinding stops. */
static __attribute__((noinline)) bool
call_catching(td_coroutine *co, void (*run)(void *arg), void *arg)
{
    struct catch catch = {.outer = co->catch, .frame = __builtin_frame_address(0)};
    const unsigned cancel_disabled = co->cancel_disabled;
    const bool was_unwinding = co->is_unwinding;
    const td_cxx_state cxx =
        scheduler.cxx != NULL ? *scheduler.cxx : (td_cxx_state){NULL, 0};

    co->catch = &catch;
    td_switch_call(&catch.point, run, arg);
    co->catch = catch.outer;
    if (TD_LIKELY(!catch.is_left))
        return true;
    co->cancel_disabled = cancel_disabled;
    co->is_unwinding = was_unwinding;
    if (scheduler.cxx != NULL) /* a frame that could not be unwound has left it as it was there */
        *scheduler.cxx = cxx;
    td_fiber_forget_frames_below(&co->fiber, catch.frame);
    return false;
}

/* Waiting is misuse in there, and what raises ends there. */
static bool
call_unable_to_wait(void (*run)(void *arg), void *arg)
{
    td_coroutine *const current = scheduler.current, *const deferring = scheduler.deferring;
    td_coroutine *co = acting() != NULL ? acting() : &scheduler.outside;
    const td_coroutine_end end = co->end;
    const td_fiber fiber = scheduler.fiber; /* others may be resumed from in there, as from the loop */
    void *const point = scheduler.point;
    bool returned;

    scheduler.current = NULL;
    scheduler.deferring = co;
    returned = call_catching(co, run, arg);
    scheduler.current = current;
    scheduler.deferring = deferring;
    scheduler.fiber = fiber;
    scheduler.point = point;
    co->end = end;
    return returned;
}

/* The newest action, which is about to run. */
static struct deferred
take_deferred(td_coroutine *co)
{
    const struct deferred action = *co->deferred;

    if (co->deferred != &co->oldest_deferred)
        free(co->deferred);
    co->deferred = action.older;
    return action;
}

struct deferred_run {
    td_coroutine *co;
    const struct deferred *until; /* older ones stay */
};

static void
run_deferred_here(void *arg)
{
    const struct deferred_run *run = arg;

    while (run->co->deferred != run->until) {
        const struct deferred action = take_deferred(run->co);

        action.fn(action.arg);
    }
}

td_coroutine_end
td_coroutine_catch(void (*run)(void *arg), void *arg)
{
    td_coroutine *co = scheduler.current;

    TD_ASSERT(co != NULL);
    struct deferred_run deferred = {co, co->deferred};
    const td_coroutine_end end = call_catching(co, run, arg) ? TD_COROUTINE_RETURNED : co->end;
    if (end != TD_COROUTINE_RETURNED && co->is_canceled) {
        td_callback_cancel(&co->cancel);
        co->is_canceled = false;
    }
    while (co->deferred != deferred.until)
        call_unable_to_wait(run_deferred_here, &deferred);
    return end;
}

bool
td_coroutine_call(const td_coroutine_task *task)
{
    td_coroutine *co = acting() != NULL ? acting() : &scheduler.outside;
    const td_activity activity = co->task.activity;
    const char *module = co->task.module;
    bool returned;

    set_activity(co, &task->activity, task->module);
    returned = call_unable_to_wait(task->run, task->arg);
    set_activity(co, &activity, module);
    return returned;
}

/* ---- running */

static void
coroutine_main(void *arg)
{
    td_coroutine *co = arg;

    td_fiber_arrived(&co->fiber, &scheduler.fiber);
    co->task.run(co->task.arg);
    co->end = TD_COROUTINE_RETURNED;
    if (co->has_waited)
        leave(co);
    co->is_ended = true;
    td_fiber_leaving_for_good(&scheduler.fiber);
}

/* On the stack that the coroutine has left, but not as one: waiting is misuse. */
static void
deferred_main(void *arg)
{
    td_coroutine *co = arg;

    td_fiber_arrived(&co->fiber, &scheduler.fiber);
    while (co->deferred != NULL) {
        const struct deferred action = take_deferred(co);

        action.fn(action.arg);
    }
    td_fiber_leaving_for_good(&scheduler.fiber);
}

/* A stack of their own, so that one that raises, which is wrong, does no harm to the others. */
static void
run_deferred(td_coroutine *co)
{
    const td_coroutine_end how = co->end;

    scheduler.deferring = co;
    while (co->deferred != NULL) {
        td_fiber_forget_frames(&co->fiber);
        td_fiber_leaving(&scheduler.fiber, &co->fiber);
        td_switch_enter(&scheduler.point, co, deferred_main, co);
        td_fiber_arrived(&scheduler.fiber, &co->fiber);
    }
    scheduler.deferring = NULL;
    co->end = how;
}

static void
feed_later(void)
{
    if (scheduler.loop != NULL)
        td_ioloop_post(scheduler.loop, &scheduler.feed);
}

static __attribute__((noinline)) void
tie_loose_ends(td_coroutine *co)
{
    co->catch = NULL; /* of one that was abandoned */
    run_deferred(co);
    td_callback_cancel(&co->cancel);
    td_fiber_forget_frames(&co->fiber);
    if (scheduler.cxx != NULL) /* past a frame that could not be unwound */
        *scheduler.cxx = (td_cxx_state){NULL, 0};
}

/* On the loop's stack, which a coroutine has just left for good. */
static inline void
end(td_coroutine *co)
{
    if (TD_UNLIKELY(co->has_loose_ends))
        tie_loose_ends(co);
    pool_put(co);
    if (TD_UNLIKELY(!td_list_is_empty(&scheduler.starving)))
        feed_later();
    td_activity_set(&(td_activity){0});
    if (co->task.ended != NULL)
        co->task.ended(co->task.arg, co->end); /* may start another on the same stack */
}

/* What ended in one go and for a request is nobody's concern here: see stretch.h. */
static __attribute__((noinline)) void
leave_loop(const td_coroutine *co)
{
    if (co->has_waited && co->is_ended)
        td_gauge_add(&td_gauges->coroutines, -1);
    if (scheduler.loop != NULL && !td_stretch_is_short())
        td_stretch_end(td_clock_ns(), co->task.owner, co->task.module);
}

/* On the loop's stack, after a coroutine gave it back.  Returns NULL if that was for good. */
static inline td_coroutine *
settle(td_coroutine *co)
{
    td_fiber_arrived(&scheduler.fiber, &co->fiber);
    scheduler.current = NULL;
    if (TD_UNLIKELY(co->has_waited || co->task.owner == NULL))
        leave_loop(co);
    if (TD_LIKELY(co->is_ended)) {
        end(co);
        return NULL;
    }
    td_activity_set(&(td_activity){0});
    return co;
}

static inline td_coroutine *
start(td_coroutine *co, const td_coroutine_task *task)
{
    co->task = *task;
    co->deferred = NULL;
    co->catch = NULL;
    co->cancel_disabled = 0;
    co->is_waiting = co->has_waited = co->is_ended = co->is_canceled = false;
    co->is_unwinding = co->must_unwind = co->has_loose_ends = co->is_unneeded = false;
    co->is_held = false;
    scheduler.current = co;
    td_activity_set(&task->activity);
    td_fiber_leaving(&scheduler.fiber, &co->fiber);
    td_switch_enter(&scheduler.point, co, coroutine_main, co);
    return settle(co);
}

int
td_coroutine_start(const td_coroutine_task *task, td_coroutine **out)
{
    TD_ASSERT(scheduler.current == NULL);
    td_coroutine *co = pool_take();
    if (TD_UNLIKELY(co == NULL))
        return TD_EBUSY;
    co = start(co, task);
    if (out != NULL)
        *out = co;
    return 0;
}

void
td_coroutine_submit(td_coroutine_job *job)
{
    TD_ASSERT(scheduler.current == NULL);
    td_coroutine *co = td_list_is_empty(&scheduler.starving) ? pool_take() : NULL;
    if (co != NULL)
        start(co, &job->task);
    else
        td_list_append(&scheduler.starving, &job->link);
}

static void
on_feed(void *arg)
{
    (void)arg;
    while (!td_list_is_empty(&scheduler.starving)) {
        td_coroutine *co = pool_take();

        if (co == NULL)
            return;
        td_coroutine_job *job = TD_CONTAINER_OF(scheduler.starving.next, td_coroutine_job, link);
        td_list_remove(&job->link);
        start(co, &job->task);
    }
}

/* ---- waiting */

static bool
is_to_unwind(const td_coroutine *co)
{
    return co->is_canceled && co->cancel_disabled == 0 && !co->is_unwinding && !co->is_held;
}

/* Exceptions that are being handled go with the coroutine that handles them. */
static void
keep_cxx(td_coroutine *co)
{
    static const td_cxx_state clear = {NULL, 0};

    co->cxx = scheduler.cxx != NULL ? *scheduler.cxx : clear;
    if (scheduler.cxx != NULL)
        *scheduler.cxx = clear;
}

/* Stop what the coroutine waits for; false: that cannot be, and it unwinds later. */
static bool
call_undo(td_coroutine *co)
{
    co->is_held = false;
    if (co->undo != NULL)
        co->undo(co->undo_arg);
    co->must_unwind = true;
    return !co->is_held;
}

void
td_coroutine_hold(td_coroutine *co)
{
    co->is_held = true;
}

static void
count_waiting(void)
{
    const uint64_t count = td_gauge_add(&td_gauges->coroutines, 1);

    if (count > td_gauges->coroutines_peak)
        td_gauges->coroutines_peak = count;
}

/* Others will have their turn on another stack: what a start uses is at its top. */
static void
expect_start(void)
{
    if (scheduler.pool != NULL)
        td_prefetch((const char *)scheduler.pool - FRAMES_PREFETCHED,
                    FRAMES_PREFETCHED + sizeof(*scheduler.pool));
}

int
td_coroutine_wait(void (*undo)(void *arg), void *arg)
{
    td_coroutine *co = scheduler.current;
    const int saved_errno = errno;

    TD_ASSERT(co != NULL);
    co->undo = undo;
    co->undo_arg = arg;
    if (is_to_unwind(co) && call_undo(co))
        unwind(co, TD_COROUTINE_CANCELED);
    if (!co->has_waited)
        count_waiting();
    co->is_waiting = co->has_waited = true;
    td_list_append(&scheduler.waiting, &co->link);
    expect_start();
    keep_cxx(co);
    td_fiber_leaving(&co->fiber, &scheduler.fiber);
    td_switch(&co->point, scheduler.point);
    td_fiber_arrived(&co->fiber, &scheduler.fiber);
    if (scheduler.cxx != NULL)
        *scheduler.cxx = co->cxx;
    if (co->must_unwind)
        unwind(co, TD_COROUTINE_CANCELED);
    errno = saved_errno;
    return co->code;
}

void
td_coroutine_resume(td_coroutine *co, int code)
{
    TD_ASSERT(scheduler.current == NULL && co->is_waiting);
    co->code = code;
    co->is_waiting = co->is_held = false;
    td_list_remove(&co->link);
    scheduler.current = co;
    td_activity_set(&co->task.activity);
    td_fiber_leaving(&scheduler.fiber, &co->fiber);
    td_switch(&scheduler.point, co->point);
    settle(co);
}

static void
cancel_now(td_coroutine *co)
{
    if (call_undo(co))
        td_coroutine_resume(co, TD_ECANCELED);
}

static void
on_cancel(void *arg)
{
    td_coroutine *co = arg;

    if (co->is_waiting && is_to_unwind(co))
        cancel_now(co);
}

void
td_coroutine_cancel(td_coroutine *co)
{
    if (!co->is_canceled)
        co->cancel = (td_callback){.fn = on_cancel, .arg = co};
    co->is_canceled = co->has_loose_ends = true;
    if (!co->is_waiting || !is_to_unwind(co))
        return;
    if (scheduler.current == NULL)
        cancel_now(co);
    else
        td_ioloop_post(scheduler.loop, &co->cancel);
}

/* ---- the loop's beginning and end */

void
td_coroutines_open(td_ioloop *loop)
{
    scheduler = (struct scheduler){.loop = loop, .feed = {.fn = on_feed}, .trim = {.fn = on_trim}};
    td_list_init(&scheduler.waiting);
    td_list_init(&scheduler.starving);
    td_log_current_module = acting_module;

    pthread_mutex_lock(&schedulers_lock);
    scheduler.next = schedulers;
    schedulers = &scheduler;
    pthread_mutex_unlock(&schedulers_lock);
}

static void
cancel_all(void)
{
    td_list batch;

    td_list_take(&batch, &scheduler.waiting);
    while (!td_list_is_empty(&batch)) {
        td_coroutine *co = TD_CONTAINER_OF(batch.next, td_coroutine, link);

        td_list_remove(&co->link);
        td_list_append(&scheduler.waiting, &co->link); /* where it stays if it is held */
        co->cancel_disabled = 0;
        cancel_now(co);
    }
}

static void
abandon_all(void)
{
    while (!td_list_is_empty(&scheduler.waiting)) {
        td_coroutine *co = TD_CONTAINER_OF(scheduler.waiting.next, td_coroutine, link);

        td_log_at(TD_LOG_ERROR, co->task.module != NULL ? co->task.module : "coroutine",
                  "abandoned while it waits: it did not let itself be unwound");
        td_list_remove(&co->link);
        co->end = TD_COROUTINE_CANCELED;
        co->has_loose_ends = true;
        if (call_undo(co))
            end(co);
    }
}

static void
refuse_starving(void)
{
    while (!td_list_is_empty(&scheduler.starving)) {
        td_coroutine_job *job = TD_CONTAINER_OF(scheduler.starving.next, td_coroutine_job, link);

        td_list_remove(&job->link);
        if (job->task.ended != NULL)
            job->task.ended(job->task.arg, TD_COROUTINE_CANCELED);
    }
}

static void
unregister(void)
{
    pthread_mutex_lock(&schedulers_lock);
    for (struct scheduler **at = &schedulers; *at != NULL; at = &(*at)->next)
        if (*at == &scheduler) {
            *at = scheduler.next;
            break;
        }
    pthread_mutex_unlock(&schedulers_lock);
}

void
td_coroutines_close(void)
{
    TD_ASSERT(scheduler.current == NULL);
    refuse_starving();
    cancel_all();
    cancel_all(); /* those that an `ended` started, and those that caught the first */
    abandon_all();
    td_callback_cancel(&scheduler.feed);
    td_timer_stop(scheduler.loop, &scheduler.trim);
    td_coroutine_pool_trim(0);
    unregister();
    scheduler.loop = NULL;
}

/* ---- <tornado/coroutine.h> */

int
td_defer(td_callback_fn *fn, void *arg)
{
    td_coroutine *co = scheduler.current;

    if (!td_is_on_coroutine("td_defer"))
        return TD_EINVAL;
    if (fn == NULL)
        return td_misuse("td_defer", "the function is NULL");
    struct deferred *action =
        co->deferred == NULL ? &co->oldest_deferred : td_xmalloc(sizeof(*action));
    *action = (struct deferred){co->deferred, fn, arg};
    co->deferred = action;
    co->has_loose_ends = true;
    return 0;
}

void
td_cancel_disable(void)
{
    if (td_is_on_coroutine("td_cancel_disable"))
        scheduler.current->cancel_disabled++;
}

void
td_cancel_enable(void)
{
    if (!td_is_on_coroutine("td_cancel_enable"))
        return;
    if (scheduler.current->cancel_disabled == 0)
        td_misuse("td_cancel_enable", "without a td_cancel_disable before");
    else
        scheduler.current->cancel_disabled--;
}
