/*
 * Other programs, run beside the loop (Tornado's process.Subprocess).
 *
 *     static const char *const argv[] = {"sort", "-u", NULL};
 *     td_subprocess *sort;
 *     td_str sorted;
 *     int code, rc = td_subprocess_start(argv, TD_SUBPROCESS(.in = TD_STDIO_PIPE, .out = TD_STDIO_PIPE,
 *                                                            .timeout_ms = 5000, .tied = true), &sort);
 *
 *     if (rc < 0)
 *         td_raise(h, 503, "sort: %s", td_strerror(rc));
 *     td_iostream_write(td_subprocess_stdin(sort), td_request_body(h));
 *     td_iostream_flush(td_subprocess_stdin(sort));
 *     td_iostream_close(td_subprocess_stdin(sort));
 *     td_iostream_read_until_close(td_subprocess_stdout(sort), 0, &sorted);
 *     td_subprocess_wait(sort, &code);
 *
 * A program that writes much while it reads wants both at once: read on another coroutine
 * (td_spawn), or pipes on both sides fill and nobody goes on.
 *
 * The program is its own process group, and that is what signals are sent to.  It inherits no
 * descriptor but 0, 1 and 2, no ignored and no blocked signal.  Nothing here is about SIGCHLD, and
 * children that others have started are left alone.  No shell is involved: argv goes as it is.
 *
 * What it has started is ended with it, but left alone where it ends by itself.  Then such a one
 * may keep a pipe open, so who reads to the end wants a time-out (stream).
 *
 * In a service the unit decides what may be executed: where NoExecPaths= forbids a program,
 * starting it is -EACCES (systemctl edit tornadod: ExecPaths=/usr/bin/sort), and its sandbox is the
 * worker's.
 */
#ifndef TORNADO_PROCESS_H
#define TORNADO_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <tornado/abi.h>
#include <tornado/future.h>
#include <tornado/iostream.h>

typedef struct td_subprocess td_subprocess;

/* What its standard input, output or error is. */
typedef enum td_stdio {
    TD_STDIO_NULL,    /* /dev/null */
    TD_STDIO_PIPE,    /* a stream here */
    TD_STDIO_INHERIT, /* the worker's; that of errors usually is the journal, or the log */
    TD_STDIO_OUTPUT,  /* of the error only: where the output goes */
} td_stdio;

typedef struct td_subprocess_options {
    size_t size TD_ZERO; /* of the struct; set by TD_SUBPROCESS */
    td_stdio in TD_ZERO, out TD_ZERO, err TD_ZERO;
    const char *const *env TD_ZERO; /* "NAME=value" and NULL at the end; NULL: ours */
    const char *cwd TD_ZERO;        /* directory to run in; NULL: ours */
    int64_t timeout_ms TD_ZERO;     /* after which it is ended; 0: none */
    int64_t kill_after_ms TD_ZERO;  /* from SIGTERM to SIGKILL, where it is ended; 0: 2 s */
    bool tied TD_ZERO; /* td_subprocess_destroy comes by itself when the coroutine that starts it ends */
    const td_iostream_options *stream TD_ZERO; /* of its pipes; NULL: as usual */
} td_subprocess_options;

#ifndef __cplusplus
#define TD_SUBPROCESS(...)                                                                         \
    (&(const td_subprocess_options){.size = sizeof(td_subprocess_options), __VA_ARGS__})
#else
#define TD_SUBPROCESS(...) TD_OPTIONS_OF(td_subprocess_options, __VA_ARGS__)
#endif

/*
 * Run argv[0], a path or a name that is looked for in our PATH, with argv, which ends in NULL.
 * Returns when it runs: 0 and *out, yours unless it is tied; -errno of what could not be done
 * (-ENOENT: there is no such program or cwd, -EACCES: it may not be executed); TD_EBUSY:
 * max_subprocesses of this worker run.
 */
TD_API int td_subprocess_start(const char *const *argv, const td_subprocess_options *options,
                               td_subprocess **out);

/*
 * Its pipes, NULL without; td_subprocess_destroy destroys them, td_iostream_destroy may come
 * earlier (NULL from then on).  td_iostream_close of the input is the end of the input.
 */
TD_API td_iostream *td_subprocess_stdin(td_subprocess *process);
TD_API td_iostream *td_subprocess_stdout(td_subprocess *process);
TD_API td_iostream *td_subprocess_stderr(td_subprocess *process);

/*
 * Wait until it has ended.  *code_out: its exit status, or minus the signal that has ended it.  0;
 * TD_ETIMEDOUT: timeout_ms were over, so it was ended (code_out is set then, too); -ECHILD:
 * somebody else has taken its status, or this process ignores SIGCHLD.  As often as you like, by as many as like.
 */
TD_API int td_subprocess_wait(td_subprocess *process, int *code_out);

/* The same without waiting; the result is a const int * of the process. */
TD_API td_future *td_subprocess_wait_future(td_subprocess *process);

/* Send a signal to it and those that it has started.  0; TD_ENOTFOUND: it has ended; -errno. */
TD_API int td_subprocess_signal(td_subprocess *process, int signal_number);

TD_API pid_t td_subprocess_pid(const td_subprocess *process);

/*
 * Close its pipes, and end it if it runs, and its group: SIGTERM, after kill_after_ms SIGKILL for
 * those that are there still.  Does not wait, and leaves no zombie.  Who waits for it is told
 * TD_ECLOSED.  NULL inside is harmless.
 */
TD_API void td_subprocess_destroy(td_subprocess **process);

#endif
