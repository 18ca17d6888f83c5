/* switch.h by ucontext, for machines that switch.S does not know. */
#include "io/switch.h"

#ifdef TD_SWITCH_UCONTEXT

#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

/* A point is the address of a ucontext_t on the stack that was left. */

/* makecontext passes ints, so an address travels in halves. */
static void
start(unsigned entry_high, unsigned entry_low, unsigned arg_high, unsigned arg_low)
{
    uintptr_t entry = (uintptr_t)((uint64_t)entry_high << 32 | entry_low);
    uintptr_t arg = (uintptr_t)((uint64_t)arg_high << 32 | arg_low);

    ((void (*)(void *))entry)((void *)arg);
}

void
td_switch_enter(void **point, void *top, void (*entry)(void *arg), void *arg)
{
    const uint64_t e = (uintptr_t)entry, a = (uintptr_t)arg;
    const size_t size = 4096; /* only the end counts */
    ucontext_t here, there;

    getcontext(&there);
    there.uc_stack.ss_sp = (char *)top - size;
    there.uc_stack.ss_size = size;
    there.uc_link = &here;
    makecontext(&there, (void (*)(void))start, 4, (unsigned)(e >> 32), (unsigned)e,
                (unsigned)(a >> 32), (unsigned)a);
    *point = &here;
    swapcontext(&here, &there);
}

void
td_switch(void **point, void *to)
{
    ucontext_t here;

    *point = &here;
    swapcontext(&here, to);
}

void
td_switch_leave(void *to)
{
    setcontext(to);
    __builtin_trap();
}

/* getcontext returns a second time when somebody goes to the point; `entered` is in memory. */
void
td_switch_call(void **point, void (*entry)(void *arg), void *arg)
{
    ucontext_t here;
    volatile bool entered = false;

    getcontext(&here);
    if (entered)
        return;
    entered = true;
    *point = &here;
    entry(arg);
}

#else
typedef int td_switch_is_in_assembly; /* ISO C forbids an empty translation unit */
#endif
