/*
 * Mappings of their own, so that an idle one can be given back, and with a guard, so that running
 * over the end is a crash there and then.
 *
 * MADV_GUARD_INSTALL keeps neighbouring stacks one mapping for the kernel; mprotect, where that is
 * not known (before Linux 6.13), splits it, and the limit on mappings ends it at about 32,000
 * stacks.
 */
#include "io/stack.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(low, high) 0
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

/*
 * More than one page, for code that was compiled without probes (-fstack-clash-protection), and an
 * odd number, so that the tops of neighbouring stacks fall into different sets of the processor's
 * caches.
 */
#define GUARD_PAGES 5

static size_t
page_size(void)
{
    static size_t size;

    if (size == 0)
        size = (size_t)sysconf(_SC_PAGESIZE);
    return size;
}

size_t
td_stack_guard_size(void)
{
    return GUARD_PAGES * page_size();
}

static size_t
round_up(size_t size)
{
    return (size + page_size() - 1) & ~(page_size() - 1);
}

int
td_stack_map(td_stack *stack, size_t usable)
{
    const size_t guard = td_stack_guard_size(), size = guard + round_up(usable);
    char *low = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (low == MAP_FAILED)
        return -errno;
    madvise(low, size, MADV_NOHUGEPAGE); /* a huge page would make each stack cost 2 MiB */
    if (madvise(low, guard, MADV_GUARD_INSTALL) < 0 && mprotect(low, guard, PROT_NONE) < 0) {
        const int rc = -errno;

        munmap(low, size);
        return rc;
    }
    stack->low = low;
    stack->size = size;
    stack->valgrind_id = VALGRIND_STACK_REGISTER(low + guard, low + size);
    return 0;
}

void
td_stack_unmap(td_stack *stack)
{
    VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
    munmap(stack->low, stack->size);
}

bool
td_stack_is_guard(const td_stack *stack, const void *address)
{
    return (uintptr_t)address - (uintptr_t)stack->low < td_stack_guard_size();
}

void
td_stack_shrink(const td_stack *stack, size_t keep)
{
    const size_t guard = td_stack_guard_size();

    madvise(stack->low + guard, stack->size - guard - round_up(keep), MADV_DONTNEED);
}
