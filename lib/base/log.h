/*
 * The log of the process: level, format, target.  <tornado/log.h> is what handlers see.
 *
 * A line never blocks the caller: a target that does not take it at once loses it, and a line that
 * tells how many were lost follows as soon as it takes one again.  In a worker lines wait for a
 * thread of their own instead, see logqueue.h.
 */
#ifndef TORNADO_BASE_LOG_H
#define TORNADO_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tornado/error.h>
#include <tornado/log.h>
#include <tornado/str.h>

typedef enum td_log_target {
    TD_LOG_STDERR,  /* "[I 261121 19:42:50 module] text", coloured on a terminal */
    TD_LOG_FILE,    /* the same, into an O_APPEND file */
    TD_LOG_SYSLOG,  /* RFC 3164 datagrams to /dev/log */
    TD_LOG_JOURNAL, /* native datagrams to /run/systemd/journal/socket, with fields */
} td_log_target;

typedef struct td_log_options {
    td_log_target target;
    td_log_level level;
    const char *path;       /* TD_LOG_FILE: the file; else NULL or the socket, for tests */
    const char *identifier; /* "tornadod" when NULL */
} td_log_options;

/* Open the target; on failure the log stays as it was.  Called before threads exist. */
TD_PRIVATE int td_log_open(const td_log_options *options, td_err *err);

/* Open the same file again under its name, for rotation; on failure the old one goes on. */
TD_PRIVATE int td_log_reopen(td_err *err);

/* The descriptor to write files to, so that a worker without rights takes the master's. */
TD_PRIVATE int td_log_fd(void);
TD_PRIVATE void td_log_set_fd(int fd); /* takes the descriptor over */

TD_PRIVATE bool td_log_is_stderr(void); /* lines go to standard error */

/*
 * Standard error is the journal's (JOURNAL_STREAM of systemd.exec(5)), which takes "<4>" in front
 * of a line for its level, sd-daemon(3); other lines have that of information.
 */
TD_PRIVATE bool td_log_is_journal_stream(void);

/* What stands in front of each line of this process: "master", "worker 2".  Copied. */
TD_PRIVATE void td_log_set_role(const char *role);

TD_PRIVATE bool td_log_wants(td_log_level level); /* of some module at least */

/*
 * Levels in place of the one of td_log_open, for lines whose module is that very string and not one
 * that reads the same.  They outlive the log; before threads exist.
 */
typedef struct td_log_module {
    const char *name;
    td_log_level level;
} td_log_module;
TD_PRIVATE void td_log_set_modules(const td_log_module *modules, size_t count);
TD_PRIVATE uint64_t td_log_dropped(void); /* lines lost so far in this process */

/* Count them there from now on, where others may look; it outlives the log. */
TD_PRIVATE void td_log_count_dropped_in(uint64_t *counter);

/* The worker's sources.  `module` is a short constant: "http", "master", a plugin's name. */
TD_PRIVATE void td_log_at(td_log_level level, const char *module, const char *format, ...)
    TD_PRINTF(3, 4);
TD_PRIVATE void td_log_vat(td_log_level level, const char *module, const char *format, va_list args)
    TD_PRINTF(3, 0);

/*
 * At most one line a second from each `gate` (a static of the caller); what was held back is
 * counted in the next one: "... (and 41 more)".
 */
typedef struct td_log_gate {
    int64_t last_ns;
    uint64_t held;
} td_log_gate;

TD_PRIVATE void td_log_gated(td_log_gate *gate, td_log_level level, const char *module,
                             const char *format, ...) TD_PRINTF(4, 5);

/*
 * What takes lines in the place of the target, whole and made for it; false: it cannot, the line is
 * lost.  NULL: nobody does.
 */
typedef bool td_log_take_fn(const char *bytes, size_t len);
TD_PRIVATE void td_log_divert(td_log_take_fn *take);

/* Some of such a line to the target, at once: how many bytes it took, or -1 and errno. */
TD_PRIVATE ssize_t td_log_give(const char *bytes, size_t len);
#define TD_LOG_LINE_MAX 4096 /* bytes of one */

/* A line to the target, whoever else takes lines; false: it was not taken, and not counted. */
TD_PRIVATE bool td_log_pass(td_log_level level, const char *module, const char *text);

/*
 * Wait so long for room for a line, unless the one before was lost: for who has no clients that
 * would wait, too, and little to say, but that matters.  0, as it is at first: not at all.
 */
TD_PRIVATE void td_log_set_patience(int milliseconds);

TD_PRIVATE void td_log_lose(uint64_t lines); /* count them, and tell later */
TD_PRIVATE uint64_t td_log_untold(void);     /* of them, so many are to be told yet */
TD_PRIVATE bool td_log_tell_lost(void);      /* with td_log_pass; false: it was not taken */

/*
 * The name td_log puts in front: a plugin instance's while its code runs.  Set by the upper layers.
 */
TD_PRIVATE extern const char *(*td_log_current_module)(void);

#endif
