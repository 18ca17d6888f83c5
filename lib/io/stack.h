/* td_stack: memory for a coroutine to run on, with a guard below it. */
#ifndef TORNADO_IO_STACK_H
#define TORNADO_IO_STACK_H

#include <stdbool.h>
#include <stddef.h>

typedef struct td_stack {
    char *low;   /* of the guard; what can be used begins td_stack_guard_size() above */
    size_t size; /* bytes, the guard included */
    unsigned valgrind_id;
} td_stack;

#pragma GCC visibility push(hidden)

/* usable: bytes, rounded up to pages.  Returns 0 or -errno (-ENOMEM: of memory or of mappings). */
int td_stack_map(td_stack *stack, size_t usable);
void td_stack_unmap(td_stack *stack);

size_t td_stack_guard_size(void);
bool td_stack_is_guard(const td_stack *stack, const void *address);

/* Give all but the topmost `keep` bytes back to the system; what was there is lost. */
void td_stack_shrink(const td_stack *stack, size_t keep);

#pragma GCC visibility pop

#endif
