/* For tests that need a loop: a fresh one for each test, notes of what ran, the log as text. */
#ifndef TESTS_UNIT_ON_LOOP_H
#define TESTS_UNIT_ON_LOOP_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <tornado/coroutine.h>
#include "base/clock.h"
#include "base/log.h"
#include "io/coroutine.h"
#include "io/ioloop.h"

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

static char log_path[32];

/* The log goes to a file of this test's process. */
static inline void
open_log(void)
{
    td_log_options options = {.target = TD_LOG_FILE, .path = log_path};

    strcpy(log_path, "/tmp/test-log-XXXXXX");
    const int fd = mkstemp(log_path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(td_log_open(&options, NULL), 0);
}

/* How many lines of the log have the text in them. */
static inline int
logged(const char *text)
{
    FILE *file = fopen(log_path, "r");
    char line[8192];
    int count = 0;

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file) != NULL)
        count += strstr(line, text) != NULL;
    fclose(file);
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
    unlink(log_path);
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
