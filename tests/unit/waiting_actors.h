/* For tests of what coroutines wait for: actors, each a coroutine that notes what happens to it. */
#ifndef TESTS_UNIT_WAITING_ACTORS_H
#define TESTS_UNIT_WAITING_ACTORS_H

#include "on_loop.h"

/* Start one that runs fn(arg) until it waits; NULL: it has ended. */
static inline td_coroutine *
start_actor(void (*fn)(void *arg), void *arg)
{
    const td_coroutine_task task = {.run = fn, .arg = arg, .module = "tested"};
    td_coroutine *co;

    ck_assert_int_eq(td_coroutine_start(&task, &co), 0);
    return co;
}

/*
 * What it was waiting for: a letter in lower case when it came, in upper case when the time was up.
 */
static inline void
note_outcome(char letter, int rc)
{
    if (rc == 0)
        note(letter);
    else if (rc == TD_ETIMEDOUT)
        note((char)(letter - 'a' + 'A'));
    else
        note(rc == TD_ECLOSED ? '#' : '?');
}

#endif
