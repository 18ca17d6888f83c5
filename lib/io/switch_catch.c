/*
 * The personality of td_switch_enter: how the unwinder treats its frame, the last of every stack.
 * It catches whatever gets there, so that a search for a handler does not fail, which would end the
 * process before a single destructor has run.
 */
#include <stdint.h>
#include <unwind.h>
#include "io/switch.h"

#ifndef TD_SWITCH_UCONTEXT

#pragma GCC visibility push(hidden)
extern const char td_switch_caught[]; /* a place in td_switch_enter */
_Unwind_Reason_Code td_switch_personality(int version, _Unwind_Action actions,
                                          _Unwind_Exception_Class class,
                                          struct _Unwind_Exception *exception,
                                          struct _Unwind_Context *context);
#pragma GCC visibility pop

_Unwind_Reason_Code
td_switch_personality(int version, _Unwind_Action actions, _Unwind_Exception_Class class,
                      struct _Unwind_Exception *exception, struct _Unwind_Context *context)
{
    (void)version, (void)class;
    if (actions & _UA_FORCE_UNWIND)
        return _URC_CONTINUE_UNWIND;
    if (actions & _UA_SEARCH_PHASE)
        return _URC_HANDLER_FOUND;
    _Unwind_SetGR(context, __builtin_eh_return_data_regno(0), (uintptr_t)exception);
    _Unwind_SetIP(context, (uintptr_t)td_switch_caught);
    return _URC_INSTALL_CONTEXT;
}

#endif
