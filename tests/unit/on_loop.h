/* For tests that need a loop: a fresh one for each test, notes of what ran, the log as text. */
#ifndef TESTS_UNIT_ON_LOOP_H
#define TESTS_UNIT_ON_LOOP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <tornado/coroutine.h>
#include "base/clock.h"
#include "base/log.h"
#include "io/coroutine.h"
#include "io/ioloop.h"
#include "unit.h"

static td_ioloop *loop;

/* What ran, a letter each. */
static char notes[64];
static size_t notes_len;

static inline void
note(char letter)
{
    ck_assert_uint_lt(notes_len, sizeof(notes) - 1);
    notes[notes_len++] = letter;
    notes[notes_len] = '\0';
}

static int log_fd;

/* The log goes to a file of this test's own, which has no name any more. */
static inline void
open_log(void)
{
    char path[] = "/tmp/test-log-XXXXXX";
    const td_log_options options = {.target = TD_LOG_FILE, .path = path};

    log_fd = mkstemp(path);
    ck_assert_int_ge(log_fd, 0);
    ck_assert_int_eq(td_log_open(&options, NULL), 0);
    unlink(path);
}

/* How often the text stands in the log. */
static inline int
logged(const char *text)
{
    static char bytes[1 << 16];
    const ssize_t len = pread(log_fd, bytes, sizeof(bytes) - 1, 0);
    int count = 0;

    ck_assert_int_ge(len, 0);
    bytes[len] = '\0';
    for (const char *at = bytes; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

static inline void
open_loop(void)
{
    open_log();
    notes_len = 0;
    notes[0] = '\0';
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
}

static inline void
close_loop(void)
{
    td_ioloop_destroy(&loop);
    ck_assert_uint_eq(td_coroutines_count(), 0);
    close(log_fd);
}

static inline void
stop_loop(void *arg)
{
    (void)arg;
    td_ioloop_stop(loop);
}

static inline void
stop_loop_after(void *arg)
{
    int *iterations = arg;

    if (--*iterations > 0)
        td_ioloop_add_callback(loop, stop_loop_after, iterations);
    else
        td_ioloop_stop(loop);
}

/* A few iterations, with what is ready by now and what is posted meanwhile. */
static inline void
turn(void)
{
    int iterations = 4;

    td_ioloop_add_callback(loop, stop_loop_after, &iterations);
    ck_assert_int_eq(td_ioloop_start(loop), 0);
}

static td_coroutine_end main_end;

static inline void
on_main_ended(void *arg, td_coroutine_end end)
{
    (void)arg;
    main_end = end;
    td_ioloop_stop(loop);
}

/* Run fn(arg) on a coroutine, and the loop until it has ended. */
static inline td_coroutine_end
on_coroutine(void (*fn)(void *arg), void *arg)
{
    const td_coroutine_task task = {.run = fn, .ended = on_main_ended, .arg = arg,
                                    .module = "tested"};

    ck_assert_int_eq(td_coroutine_start(&task, NULL), 0);
    ck_assert_int_eq(td_ioloop_start(loop), 0);
    return main_end;
}

#endif
