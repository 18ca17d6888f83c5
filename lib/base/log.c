/*
 * One line, one write.
 *
 * A line is built on the caller's stack, at most LINE_SIZE bytes (PIPE_BUF, so a pipe takes it
 * whole or not at all), and given to the kernel once, unless somebody else takes it
 * (td_log_divert).  Nothing is buffered here and nothing blocks:
 * descriptors that could block are opened anew, so that O_NONBLOCK is ours alone and not set for
 * everybody who shares the terminal; where that is not possible, poll says first whether there is
 * room.
 *
 * The state is written before there are threads, except for the descriptor, which is replaced in
 * place (dup3), and the counters, which are atomic.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/escape.h"

#define LINE_SIZE TD_LOG_LINE_MAX
_Static_assert(LINE_SIZE <= PIPE_BUF, "a pipe takes a line whole");
#define SYSLOG_SOCKET "/dev/log"
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

enum writing {
    WRITE_PLAIN, /* a file, or a description of our own that does not block */
    WRITE_POLLED,
    WRITE_SEND,
    WRITE_DATAGRAM, /* to log.address */
};

static struct {
    td_log_target target;
    td_log_level level;
    td_log_level least; /* of level and those of the modules */
    const td_log_module *modules;
    size_t modules_count;
    int fd; /* STDERR_FILENO is not ours: never closed, never replaced */
    enum writing writing;
    bool has_colours;
    bool is_journal_stream;
    char *path;                 /* TD_LOG_FILE */
    struct sockaddr_un address; /* WRITE_DATAGRAM */
    char identifier[32];
    char role[32];
} log_state = {
    .target = TD_LOG_STDERR,
    .level = TD_LOG_INFO,
    .least = TD_LOG_INFO,
    .fd = STDERR_FILENO,
    .writing = WRITE_POLLED,
    .identifier = "tornadod",
};

static uint64_t lost_here, *lost_total = &lost_here, lost_untold;
static td_log_take_fn *taker; /* NULL: the target itself */
static bool is_torn; /* the last write ended inside a line: the disk is full */
static int patience_ms;
static bool is_stuck; /* the last line was lost */

const char *(*td_log_current_module)(void);

static const struct {
    char letter;
    char colour; /* of the terminal: \033[3Xm */
    int priority;
} levels[] = {
    [TD_LOG_DEBUG] = {'D', '4', LOG_DEBUG},     [TD_LOG_INFO] = {'I', '2', LOG_INFO},
    [TD_LOG_WARNING] = {'W', '3', LOG_WARNING}, [TD_LOG_ERROR] = {'E', '1', LOG_ERR},
    [TD_LOG_CRITICAL] = {'C', '5', LOG_CRIT},
};

/* ---- building a line */

struct line {
    size_t len;
    char bytes[LINE_SIZE];
};

static void put(struct line *line, const char *format, ...) TD_PRINTF(2, 3);

static void
put(struct line *line, const char *format, ...)
{
    const size_t room = sizeof(line->bytes) - line->len;
    va_list args;

    va_start(args, format);
    const int len = vsnprintf(line->bytes + line->len, room, format, args);
    va_end(args);
    if (len > 0)
        line->len += (size_t)len < room ? (size_t)len : room - 1;
}

/*
 * The text with bytes of controls as \xNN and a newline; what does not fit is cut and "..." says
 * so.
 */
static void
put_text(struct line *line, const char *text)
{
    const size_t end = sizeof(line->bytes) - sizeof("...\n");

    const size_t len = strlen(text);

    for (size_t i = 0, plain; i < len; i += plain > 0 ? plain : 1) {
        plain = td_text_plain(td_str_make(text + i, len - i));
        if (line->len + 4 > end) {
            put(line, "...");
            break;
        }
        if (plain == 0)
            put(line, "\\x%02x", (unsigned char)text[i]);
        memcpy(line->bytes + line->len, text + i, plain);
        line->len += plain;
    }
    put(line, "\n");
}

/* "worker 2 http" */
static void
put_origin(struct line *line, const char *module)
{
    put(line, "%s%s%s", log_state.role, log_state.role[0] != '\0' ? " " : "", module);
}

static const struct tm *
local_time(void)
{
    static _Thread_local struct tm tm;
    static _Thread_local time_t made_for;
    const time_t now = time(NULL);

    if (now != made_for) {
        localtime_r(&now, &tm);
        made_for = now;
    }
    return &tm;
}

static void
build_console(struct line *line, td_log_level level, const char *module, const char *text)
{
    const struct tm *tm = local_time();

    if (__atomic_load_n(&is_torn, __ATOMIC_RELAXED))
        put(line, "\n");
    if (log_state.is_journal_stream)
        put(line, "<%d>", levels[level].priority);
    if (log_state.has_colours)
        put(line, "\033[3%cm", levels[level].colour);
    put(line, "[%c %02d%02d%02d %02d:%02d:%02d ", levels[level].letter, tm->tm_year % 100,
        tm->tm_mon + 1, tm->tm_mday, tm->tm_hour, tm->tm_min, tm->tm_sec);
    put_origin(line, module);
    put(line, "]%s ", log_state.has_colours ? "\033[0m" : "");
    put_text(line, text);
}

/*
 * RFC 3164 section 4.1: <PRI>Mmm dd hh:mm:ss TAG[PID]: CONTENT.  The host is left out, as everybody
 * does who writes to /dev/log.  strftime follows no locale here: nothing in the program sets one.
 */
static void
build_syslog(struct line *line, td_log_level level, const char *module, const char *text)
{
    char stamp[16];

    strftime(stamp, sizeof(stamp), "%b %e %H:%M:%S", local_time());
    put(line, "<%d>%s %s[%d]: ", LOG_DAEMON | levels[level].priority, stamp, log_state.identifier,
        (int)getpid());
    put_origin(line, module);
    put(line, ": ");
    put_text(line, text);
    line->len--; /* the datagram ends the line */
}

/* systemd's native protocol: KEY=value lines.  No value holds a newline: put_text sees to it. */
static void
build_journal(struct line *line, td_log_level level, const char *module, const char *text)
{
    put(line, "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nSYSLOG_FACILITY=%d\n", levels[level].priority,
        log_state.identifier, LOG_DAEMON >> 3);
    put(line, "TORNADO_MODULE=%s\n", module);
    if (log_state.role[0] != '\0')
        put(line, "TORNADO_ROLE=%s\n", log_state.role);
    put(line, "MESSAGE=");
    put_origin(line, module);
    put(line, ": ");
    put_text(line, text);
}

/* ---- giving it away */

static ssize_t
give_once(const char *bytes, size_t len)
{
    struct pollfd room = {.fd = log_state.fd, .events = POLLOUT};

    switch (log_state.writing) {
    case WRITE_POLLED:
        if (poll(&room, 1, 0) <= 0) {
            errno = EAGAIN;
            return -1;
        }
        break;
    case WRITE_SEND:
        return send(log_state.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case WRITE_DATAGRAM:
        /* Not connected: the daemon at the other end may be restarted. */
        return sendto(log_state.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL,
                      (const struct sockaddr *)&log_state.address, sizeof(log_state.address));
    case WRITE_PLAIN:
        break;
    }
    return write(log_state.fd, bytes, len);
}

ssize_t
td_log_give(const char *bytes, size_t len)
{
    ssize_t given;

    do
        given = give_once(bytes, len);
    while (given < 0 && errno == EINTR);
    return given;
}

static void
build(struct line *line, td_log_level level, const char *module, const char *text)
{
    switch (log_state.target) {
    case TD_LOG_STDERR:
    case TD_LOG_FILE:
        build_console(line, level, module, text);
        break;
    case TD_LOG_SYSLOG:
        build_syslog(line, level, module, text);
        break;
    case TD_LOG_JOURNAL:
        build_journal(line, level, module, text);
        break;
    }
}

bool
td_log_pass(td_log_level level, const char *module, const char *text)
{
    struct line line = {.len = 0};

    build(&line, level, module, text);
    const ssize_t given = td_log_give(line.bytes, line.len);
    if (given > 0)
        __atomic_store_n(&is_torn, (size_t)given < line.len, __ATOMIC_RELAXED);
    return given == (ssize_t)line.len;
}

void
td_log_lose(uint64_t lines)
{
    __atomic_add_fetch(&lost_untold, lines, __ATOMIC_RELAXED);
    __atomic_add_fetch(lost_total, lines, __ATOMIC_RELAXED);
}

uint64_t
td_log_untold(void)
{
    return __atomic_load_n(&lost_untold, __ATOMIC_RELAXED);
}

bool
td_log_tell_lost(void)
{
    const uint64_t untold =
        td_log_untold() > 0 ? __atomic_exchange_n(&lost_untold, 0, __ATOMIC_RELAXED) : 0;
    char note[64];

    if (untold == 0)
        return true;
    snprintf(note, sizeof(note), "lines lost: %" PRIu64, untold);
    if (td_log_pass(TD_LOG_WARNING, "log", note))
        return true;
    __atomic_add_fetch(&lost_untold, untold, __ATOMIC_RELAXED);
    return false;
}

static bool
divert(td_log_level level, const char *module, const char *text)
{
    struct line line = {.len = 0};

    build(&line, level, module, text);
    return taker(line.bytes, line.len);
}

void
td_log_set_patience(int milliseconds)
{
    patience_ms = milliseconds;
}

static bool
has_room_soon(void)
{
    struct pollfd room = {.fd = log_state.fd, .events = POLLOUT};
    int ready;

    do
        ready = poll(&room, 1, patience_ms);
    while (ready < 0 && errno == EINTR);
    return ready > 0;
}

static bool
pass(td_log_level level, const char *module, const char *text)
{
    bool is_passed = td_log_tell_lost() && td_log_pass(level, module, text);

    if (!is_passed && patience_ms > 0 && !__atomic_load_n(&is_stuck, __ATOMIC_RELAXED) &&
        has_room_soon())
        is_passed = td_log_tell_lost() && td_log_pass(level, module, text);
    __atomic_store_n(&is_stuck, !is_passed, __ATOMIC_RELAXED);
    return is_passed;
}

static void
deliver(td_log_level level, const char *module, const char *text)
{
    const bool is_taken =
        taker != NULL ? divert(level, module, text) : pass(level, module, text);

    if (!is_taken)
        td_log_lose(1);
}

void
td_log_divert(td_log_take_fn *take)
{
    taker = take;
}

/* ---- levels */

bool
td_log_wants(td_log_level level)
{
    return level >= log_state.least;
}

static bool
is_wanted(td_log_level level, const char *module)
{
    if (level < log_state.least)
        return false;
    for (size_t i = 0; i < log_state.modules_count; i++) {
        if (log_state.modules[i].name == module)
            return level >= log_state.modules[i].level;
    }
    return level >= log_state.level;
}

void
td_log_set_modules(const td_log_module *modules, size_t count)
{
    log_state.modules = modules;
    log_state.modules_count = count;
    log_state.least = log_state.level;
    for (size_t i = 0; i < count; i++) {
        if (modules[i].level < log_state.least)
            log_state.least = modules[i].level;
    }
}

static const char *
current_module(void)
{
    const char *module = td_log_current_module != NULL ? td_log_current_module() : NULL;

    return module != NULL ? module : "handler";
}

bool
td_log_enabled(td_log_level level)
{
    return td_log_wants(level) && is_wanted(level, current_module());
}

/* ---- logging */

uint64_t
td_log_dropped(void)
{
    return __atomic_load_n(lost_total, __ATOMIC_RELAXED);
}

void
td_log_count_dropped_in(uint64_t *counter)
{
    lost_total = counter;
}

void
td_log_vat(td_log_level level, const char *module, const char *format, va_list args)
{
    const int saved_errno = errno;
    char text[LINE_SIZE];

    if (!is_wanted(level, module))
        return;
    if (vsnprintf(text, sizeof(text), format, args) >= 0)
        deliver(level, module, text);
    errno = saved_errno;
}

void
td_log_at(td_log_level level, const char *module, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    td_log_vat(level, module, format, args);
    va_end(args);
}

void
td_log(td_log_level level, const char *format, ...)
{
    va_list args;

    if (format == NULL || (unsigned)level > TD_LOG_CRITICAL) {
        format = "td_log: the level is none, or the format NULL";
        level = TD_LOG_ERROR;
    }
    if (!td_log_wants(level))
        return;
    va_start(args, format);
    td_log_vat(level, current_module(), format, args);
    va_end(args);
}

void
td_log_gated(td_log_gate *gate, td_log_level level, const char *module, const char *format, ...)
{
    const int64_t now_ns = td_clock_ns();
    int64_t last_ns = __atomic_load_n(&gate->last_ns, __ATOMIC_RELAXED);
    char text[LINE_SIZE];
    va_list args;

    if (!is_wanted(level, module))
        return;
    if ((last_ns != 0 && now_ns - last_ns < TD_NS_PER_S) ||
        !__atomic_compare_exchange_n(&gate->last_ns, &last_ns, now_ns, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED)) {
        __atomic_add_fetch(&gate->held, 1, __ATOMIC_RELAXED);
        return;
    }

    const uint64_t held = __atomic_exchange_n(&gate->held, 0, __ATOMIC_RELAXED);

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (held > 0)
        td_log_at(level, module, "%s (and %" PRIu64 " more)", text, held);
    else
        td_log_at(level, module, "%s", text);
}

/* ---- opening */

struct opened {
    int fd;
    enum writing writing;
    struct sockaddr_un address;
};

static int
open_stderr(struct opened *out)
{
    struct stat st;

    out->fd = STDERR_FILENO;
    out->writing = WRITE_POLLED;
    if (fstat(STDERR_FILENO, &st) < 0)
        return 0; /* closed: every line is lost, and counted */
    if (S_ISREG(st.st_mode)) {
        out->writing = WRITE_PLAIN; /* opened anew it would have an offset of its own */
    } else if (S_ISSOCK(st.st_mode)) {
        out->writing = WRITE_SEND;
    } else {
        const int fd =
            open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

        if (fd >= 0) {
            out->fd = fd;
            out->writing = WRITE_PLAIN;
        }
    }
    return 0;
}

static int
open_file(const char *path, struct opened *out, td_err *err)
{
    out->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);
    out->writing = WRITE_PLAIN;
    return out->fd >= 0 ? 0 : td_err_errno(err, "log file %s", path);
}

static int
open_datagram(const char *path, struct opened *out, td_err *err)
{
    const size_t size = strlen(path) + 1;
    int rc;

    out->writing = WRITE_DATAGRAM;
    out->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (size > sizeof(out->address.sun_path))
        return td_err_set(err, TD_ECONFIG, "log socket %s: the path is too long", path);
    memcpy(out->address.sun_path, path, size);

    /* This one tells whether somebody is there; the one that is kept stays unconnected. */
    const int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (probe < 0)
        return td_err_errno(err, "log socket");
    rc = connect(probe, (const struct sockaddr *)&out->address, sizeof(out->address));
    if (rc < 0)
        rc = td_err_errno(err, "log socket %s", path);
    close(probe);
    if (rc < 0)
        return rc;
    out->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return out->fd >= 0 ? 0 : td_err_errno(err, "log socket");
}

static int
open_target(const td_log_options *options, struct opened *out, td_err *err)
{
    const char *path = options->path;

    switch (options->target) {
    case TD_LOG_STDERR:
        return open_stderr(out);
    case TD_LOG_FILE:
        return open_file(path, out, err);
    case TD_LOG_SYSLOG:
        return open_datagram(path != NULL ? path : SYSLOG_SOCKET, out, err);
    case TD_LOG_JOURNAL:
        return open_datagram(path != NULL ? path : JOURNAL_SOCKET, out, err);
    }
    return td_err_set(err, TD_EINVAL, "no such log target: %d", (int)options->target);
}

static bool
wants_colours(td_log_target target, int fd)
{
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");

    return target == TD_LOG_STDERR && isatty(fd) && (no_colour == NULL || no_colour[0] == '\0') &&
           term != NULL && strcmp(term, "dumb") != 0;
}

/* Whoever started us may have put another file in its place, hence its number is compared. */
static bool
is_journal_stream(td_log_target target, int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char own[64];
    struct stat st;

    if (target != TD_LOG_STDERR || stream == NULL || fstat(fd, &st) < 0)
        return false;
    snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, own) == 0;
}

int
td_log_open(const td_log_options *options, td_err *err)
{
    struct opened opened = {.fd = -1};
    const int rc = open_target(options, &opened, err);

    if (rc < 0)
        return rc;
    if (log_state.fd != STDERR_FILENO)
        close(log_state.fd);
    free(log_state.path);
    log_state.target = options->target;
    log_state.level = options->level;
    td_log_set_modules(log_state.modules, log_state.modules_count);
    log_state.fd = opened.fd;
    log_state.writing = opened.writing;
    log_state.address = opened.address;
    log_state.has_colours = wants_colours(options->target, opened.fd);
    log_state.is_journal_stream = is_journal_stream(options->target, opened.fd);
    log_state.path = options->target == TD_LOG_FILE ? td_xstrdup(options->path) : NULL;
    snprintf(log_state.identifier, sizeof(log_state.identifier), "%s",
             options->identifier != NULL ? options->identifier : "tornadod");
    is_torn = false;
    return 0;
}

int
td_log_reopen(td_err *err)
{
    struct opened opened;

    if (log_state.target != TD_LOG_FILE)
        return 0;

    const int rc = open_file(log_state.path, &opened, err);

    if (rc < 0)
        return rc;
    td_log_set_fd(opened.fd);
    return 0;
}

int
td_log_fd(void)
{
    return log_state.fd;
}

bool
td_log_is_stderr(void)
{
    return log_state.target == TD_LOG_STDERR;
}

bool
td_log_is_journal_stream(void)
{
    return log_state.is_journal_stream;
}

void
td_log_set_fd(int fd)
{
    if (log_state.fd == STDERR_FILENO) {
        log_state.fd = fd;
        return;
    }
    /* In place, so that a thread that is writing just now has a descriptor all the time. */
    dup3(fd, log_state.fd, O_CLOEXEC);
    close(fd);
}

void
td_log_set_role(const char *role)
{
    snprintf(log_state.role, sizeof(log_state.role), "%s", role);
}
