/*
 * td_coroutine: straight-line code on a pooled stack of its own.
 *
 * Only code on the loop's own stack starts and resumes coroutines, so there is never more than one
 * level: loop, coroutine.  A coroutine that needs another one started posts a callback.
 */
#ifndef TORNADO_IO_COROUTINE_H
#define TORNADO_IO_COROUTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <tornado/abi.h>
#include <tornado/coroutine.h>
#include "base/activity.h"
#include "io/ioloop.h"

typedef struct td_coroutine td_coroutine;

typedef enum td_coroutine_end {
    TD_COROUTINE_RETURNED,
    TD_COROUTINE_RAISED,   /* by td_coroutine_raise, or a C++ exception that nobody caught */
    TD_COROUTINE_CANCELED, /* unwound at a wait */
    TD_COROUTINE_LEFT,     /* by td_coroutine_leave */
} td_coroutine_end;

typedef struct td_coroutine_task {
    void (*run)(void *arg); /* on the coroutine's stack */

    /*
     * On the loop's stack, once, after the unwinding and the td_defer actions; the stack is back in
     * the pool.  It may start another coroutine.
     */
    void (*ended)(void *arg, td_coroutine_end end); /* NULL: nobody wants to know */
    void *arg;

    td_activity activity; /* stored at each resumption */
    const char *module;   /* name for the log lines made meanwhile; NULL: the daemon's own */
    void *owner;          /* whoever wants td_coroutine_owner: lib/web puts its td_handler here */
} td_coroutine_task;

typedef struct td_coroutine_options {
    size_t stack_size;     /* bytes, 64 KiB..64 MiB, rounded up to pages; default 256 KiB */
    size_t coroutines_max; /* at once in this process; default 10,000 */
} td_coroutine_options;

TD_PRIVATE void td_coroutine_configure(const td_coroutine_options *options);

/*
 * Run task (copied) on a pooled stack until it first waits or ends; on the loop's stack only.
 * Returns 0, or TD_EBUSY when coroutines_max are in use, or the budget has no room for another
 * stack (nothing ran, ended is not called); td_coroutine_refusal says why.  out, when not NULL, is
 * the coroutine, or NULL if it has ended already.
 */
TD_PRIVATE int td_coroutine_start(const td_coroutine_task *task, td_coroutine **out);
TD_PRIVATE const char *td_coroutine_refusal(void); /* names the setting */

/*
 * A task that is not to be lost: when no coroutine is to be had it waits for one, first come first
 * served.  task.ended is called even if the loop is destroyed before it ran
 * (TD_COROUTINE_CANCELED).
 */
typedef struct td_coroutine_job {
    td_list link; /* unlinked: {NULL, NULL}; td_list_remove takes back what has not been started */
    td_coroutine_task task;
} td_coroutine_job;

/* On the loop's stack only.  The job's memory may go as soon as the task runs. */
TD_PRIVATE void td_coroutine_submit(td_coroutine_job *job);

TD_PRIVATE td_coroutine *td_coroutine_current(void); /* NULL on the loop's own stack */
TD_PRIVATE void *td_coroutine_owner(void);           /* of the current one; NULL without one */

/* What the code that runs now is said to do; NULL: it runs on the loop's own stack. */
TD_PRIVATE const td_activity *td_coroutine_activity(void);

/* Fill in activity and module: those of the code that runs now, for what it registers. */
TD_PRIVATE void td_coroutine_inherit(td_coroutine_task *task);

/*
 * Give the loop back until td_coroutine_resume; returns its code.  Unwinds instead when the
 * coroutine was cancelled and cancellation is enabled; before that `undo(arg)` is called, on either
 * stack, to stop what would resume the coroutine.  It must not wait.  NULL: there is nothing to
 * stop.  errno is preserved.
 */
TD_PRIVATE int td_coroutine_wait(void (*undo)(void *arg), void *arg);

/*
 * For `undo`, when what the coroutine waits for cannot be stopped: the wait goes on, and it unwinds
 * when it is resumed.  One that the end of the loop finds like that is left as it is, with its
 * stack.
 */
TD_PRIVATE void td_coroutine_hold(td_coroutine *co);

/* Continue one that waits, with code as the result of its wait; on the loop's stack only. */
TD_PRIVATE void td_coroutine_resume(td_coroutine *co, int code);

/*
 * Ask it to unwind at its wait: at once if it waits there (from a coroutine: in the next
 * iteration), else at the next.
 */
TD_PRIVATE void td_coroutine_cancel(td_coroutine *co);

/* Unwind the current coroutine: cleanups run, then ended(TD_COROUTINE_RAISED). */
TD_PRIVATE TD_NORETURN void td_coroutine_raise(void);

/* The same after whoever has to know was told: ended(TD_COROUTINE_LEFT). */
TD_PRIVATE TD_NORETURN void td_coroutine_leave(void);

/*
 * Call run(arg) on the current coroutine and stop there what would unwind further: a raise, a
 * cancellation (which is over then), an exception that nobody caught.  Returns how it ended; the
 * td_defer actions that it registered have run, cancellation is as enabled as it was.  Nests.
 */
TD_PRIVATE td_coroutine_end td_coroutine_catch(void (*run)(void *arg), void *arg);

/*
 * Call task->run(task->arg) in the name of its activity and module, on any stack, where it can
 * neither wait nor raise: both are misuse.  False: it did raise, and was stopped here.
 */
TD_PRIVATE bool td_coroutine_call(const td_coroutine_task *task);

/* Change what the current (or a waiting) coroutine is said to do from now on. */
TD_PRIVATE void td_coroutine_set_activity(td_coroutine *co, const td_activity *activity,
                                          const char *module);

TD_PRIVATE size_t td_coroutines_count(void); /* in use now; walks the idle ones */

/* Unmap idle stacks beyond keep; give back what those kept hold below their tops. */
TD_PRIVATE void td_coroutine_pool_trim(size_t keep);

/*
 * For td_ioloop_create and _destroy.  Closing unwinds what still waits; what does not let itself be
 * unwound is abandoned with a log line.
 */
TD_PRIVATE void td_coroutines_open(td_ioloop *loop);
TD_PRIVATE void td_coroutines_close(void);

/*
 * Code was loaded: if it is C++, what its runtime knows about exceptions is from now on kept for
 * each coroutine.  The start of a loop and each new stack look too.
 */
TD_PRIVATE void td_coroutines_look_for_cxx(void);

/* True when the address lies in the guard of the stack that runs: for the crash report. */
TD_PRIVATE bool td_coroutine_is_overflow(const void *fault_address);

#endif
