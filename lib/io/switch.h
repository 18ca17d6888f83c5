/*
 * From one stack to another.
 *
 * Own assembly for x86-64 and aarch64 (switch.S), ucontext elsewhere or with -DTD_SWITCH_UCONTEXT
 * (switch_ucontext.c).  What the ABI lets a function change is not kept; callee-saved registers and
 * the floating point control words are.  The signal mask is the thread's, whatever stack it runs on
 * (ucontext keeps one a stack and makes a system call for it).
 *
 * A *point is where a flow of control that was left goes on; it is used up by going there.
 */
#ifndef TORNADO_IO_SWITCH_H
#define TORNADO_IO_SWITCH_H

#include <tornado/abi.h>

#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(TD_SWITCH_UCONTEXT)
#define TD_SWITCH_UCONTEXT
#endif

#pragma GCC visibility push(hidden)

/*
 * Call entry(arg) on the stack that ends at top (16-byte aligned).  Comes back when entry returns
 * or when somebody goes to *point.  entry may return only if the flow that entered it was not
 * continued through *point meanwhile; otherwise it ends by td_switch_leave.  (Returning keeps the
 * processor's stack of return addresses straight, which is worth more than the instructions.)
 *
 * Backtraces and forced unwinding end at entry; an exception (of C++, say) that entry lets out has
 * unwound all frames when it comes to td_switch_uncaught.  (With ucontext it ends the process.)
 */
void td_switch_enter(void **point, void *top, void (*entry)(void *arg), void *arg);

/* Go to `to`; the caller goes on from *point. */
void td_switch(void **point, void *to);

/* Go to `to` for good. */
TD_NORETURN void td_switch_leave(void *to);

/*
 * Call entry(arg) on the stack that runs.  Comes back when entry returns or when it goes to *point
 * for good (td_switch_leave): its frames are forgotten then.  *point is used up when entry returns,
 * too. Backtraces and forced unwinding go on through this call; whoever unwinds stops here by
 * himself. An exception that entry lets out comes to td_switch_uncaught.  (Not with ucontext.)
 */
void td_switch_call(void **point, void (*entry)(void *arg), void *arg);

/* Defined by whoever uses these.  On the stack of entry; ends by td_switch_leave. */
struct _Unwind_Exception;
TD_NORETURN void td_switch_uncaught(struct _Unwind_Exception *exception);

#pragma GCC visibility pop

#endif
