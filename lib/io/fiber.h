/* What AddressSanitizer must be told when the stack changes; nothing without it. */
#ifndef TORNADO_IO_FIBER_H
#define TORNADO_IO_FIBER_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TD_FIBER_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define TD_FIBER_ASAN
#endif

/* A stack as the sanitizer knows it. */
typedef struct td_fiber {
#ifdef TD_FIBER_ASAN
    void *fake_stack;
    const void *low;
    size_t size;
#else
    char none;
#endif
} td_fiber;

#ifdef TD_FIBER_ASAN

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

static inline void
td_fiber_init(td_fiber *fiber, const void *low, size_t size)
{
    *fiber = (td_fiber){NULL, low, size};
}

/* Directly before the switch. */
static inline void
td_fiber_leaving(td_fiber *from, const td_fiber *to)
{
    __sanitizer_start_switch_fiber(&from->fake_stack, to->low, to->size);
}

/* The same, never to come back to the stack that runs now. */
static inline void
td_fiber_leaving_for_good(const td_fiber *to)
{
    __sanitizer_start_switch_fiber(NULL, to->low, to->size);
}

/* Directly after the switch, on the stack that was gone to; learns where `from` lies. */
static inline void
td_fiber_arrived(td_fiber *at, td_fiber *from)
{
    __sanitizer_finish_switch_fiber(at->fake_stack, &from->low, &from->size);
    at->fake_stack = NULL;
}

/* Frames of this stack are about to be left without returning / have been. */
static inline void
td_fiber_no_return(void)
{
    __asan_handle_no_return();
}

static inline void
td_fiber_forget_frames(const td_fiber *fiber)
{
    __asan_unpoison_memory_region(fiber->low, fiber->size);
}

/* The same of those below `frame`, if that is on this stack. */
static inline void
td_fiber_forget_frames_below(const td_fiber *fiber, const char *frame)
{
    const size_t size = (size_t)(frame - (const char *)fiber->low);

    if (size < fiber->size)
        __asan_unpoison_memory_region(fiber->low, size);
}

#else

static inline void
td_fiber_init(td_fiber *fiber, const void *low, size_t size)
{
    (void)fiber, (void)low, (void)size;
}
static inline void
td_fiber_leaving(td_fiber *from, const td_fiber *to)
{
    (void)from, (void)to;
}
static inline void
td_fiber_leaving_for_good(const td_fiber *to)
{
    (void)to;
}
static inline void
td_fiber_arrived(td_fiber *at, td_fiber *from)
{
    (void)at, (void)from;
}
static inline void
td_fiber_no_return(void)
{
}
static inline void
td_fiber_forget_frames(const td_fiber *fiber)
{
    (void)fiber;
}
static inline void
td_fiber_forget_frames_below(const td_fiber *fiber, const char *frame)
{
    (void)fiber, (void)frame;
}

#endif
#endif
