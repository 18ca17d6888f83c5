/* For tests of what takes its memory from an arena: a fresh one for each test. */
#ifndef TESTS_UNIT_ON_ARENA_H
#define TESTS_UNIT_ON_ARENA_H

#include "base/arena.h"
#include "unit.h"

static td_arena arena;

static inline void
arena_setup(void)
{
    td_arena_init(&arena);
}

static inline void
arena_teardown(void)
{
    td_arena_fini(&arena);
}

#endif
