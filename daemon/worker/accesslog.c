/*
 * The thread sleeps until it is woken: when a line has been waiting for FLUSH_MS, or when a quarter
 * of the ring is full.  So there is one timer and one wake-up for many lines, and none for none.
 */
#include "daemon/worker/accesslog.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/worker/accessformat.h"
#include "daemon/worker/accessline.h"

#define CHUNK_FILE (256u << 10) /* bytes of one write */
#define CHUNK_PIPE 4096u        /* PIPE_BUF: several workers write whole lines into one pipe */
#define FLUSH_MS 100
#define RETRY_MS 100
#define RETRY_PASS_MS 10 /* a datagram socket does not tell when there is room again */
#define DROPS_TOLD_MS 10000
#define LAST_WORDS_S 2

/* Where lines go, and how far the last one got. */
struct sink {
    td_ring *ring;
    td_access_format format;
    int fd; /* -1: the log of the process */
    size_t chunk;
    bool is_file;
    bool in_line; /* the last write ended inside a line */
    bool marks_levels;
};

struct accesslog {
    /* Of the loop's thread. */
    td_ring *ring;
    td_access_format format;
    const accessformat *custom;
    td_ioloop *loop;
    td_timer flush;
    bool marks_levels;
    uint32_t spread_max; /* UINT32_MAX: every request is logged */
    uint64_t asked;
    uint64_t wake_at;  /* wake the thread when the ring's `written` passes this */
    uint64_t *dropped; /* told_of of them were told */
    uint64_t told_of;
    int64_t told_ns;

    /* Of the thread. */
    pthread_t thread;
    struct sink sink;
    bool own_fd; /* close it when another takes its place */

    /* Of both. */
    int wake; /* eventfd */
    _Atomic int next_fd; /* -1: none */
    _Atomic bool ending;
    _Atomic int error;    /* why the last write failed; 0: it did not, or the reader is slow */
};

/* sd-daemon(3) */
#define WARNING_MARK "<4>"
#define ERROR_MARK "<3>"
#define MARK_LEN (sizeof(WARNING_MARK) - 1)

#define DROPPED "%" PRIu64 " lines of the access log dropped"

static const char *
why(int error)
{
    return error != 0 ? strerror(error) : "what reads it is too slow";
}

/* ---- writing out */

static void
sink_open(struct sink *sink, int fd)
{
    struct stat st;

    sink->fd = fd;
    sink->is_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    sink->chunk = sink->is_file ? CHUNK_FILE : CHUNK_PIPE;
}

/* As many whole lines as go into one write, or one line when it alone is longer. */
static size_t
choose_chunk(const struct sink *sink, td_str lines)
{
    if (lines.len <= sink->chunk)
        return lines.len;
    const char *newline = memrchr(lines.ptr, '\n', sink->chunk);
    if (newline == NULL)
        newline = memchr(lines.ptr, '\n', lines.len);
    return newline != NULL ? (size_t)(newline + 1 - lines.ptr) : lines.len;
}

static td_log_level
level_of(const struct sink *sink, td_str line)
{
    if (!sink->marks_levels || line.len < MARK_LEN)
        return TD_LOG_INFO;
    if (memcmp(line.ptr, WARNING_MARK, MARK_LEN) == 0)
        return TD_LOG_WARNING;
    return memcmp(line.ptr, ERROR_MARK, MARK_LEN) == 0 ? TD_LOG_ERROR : TD_LOG_INFO;
}

/* The log puts level and date in front, so ours are left out. */
static size_t
pass_line(const struct sink *sink, td_str lines)
{
    const char *newline = memchr(lines.ptr, '\n', lines.len);
    const size_t len = newline != NULL ? (size_t)(newline - lines.ptr) : lines.len;
    const td_log_level level = level_of(sink, td_str_make(lines.ptr, len));
    size_t skip = level != TD_LOG_INFO ? MARK_LEN : 0;
    char text[TD_LOG_LINE_MAX];

    if (sink->format == TD_ACCESS_TORNADO && len > skip + ACCESSLINE_PREFIX)
        skip += ACCESSLINE_PREFIX;
    snprintf(text, sizeof(text), "%.*s", (int)(len - skip), lines.ptr + skip);
    if (!td_log_pass(level, "access", text))
        return 0;
    td_ring_consume(sink->ring, len + (newline != NULL));
    return len + (newline != NULL);
}

/*
 * One write of what waits, which is not nothing: how many bytes of it; 0: it failed, errno says
 * why.
 */
static size_t
write_some(struct sink *sink, td_str lines)
{
    if (sink->fd < 0)
        return pass_line(sink, lines);
    const ssize_t n = write(sink->fd, lines.ptr, choose_chunk(sink, lines));
    if (n <= 0)
        return 0;
    sink->in_line = lines.ptr[n - 1] != '\n';
    td_ring_consume(sink->ring, (size_t)n);
    return (size_t)n;
}

/* ---- the thread */

static void
wait_ms(int fd, short events, int ms)
{
    struct pollfd wanted = {.fd = fd, .events = events};

    poll(&wanted, 1, ms);
}

static void
use_fd(accesslog *log, int fd, bool own)
{
    if (log->own_fd)
        close(log->sink.fd);
    sink_open(&log->sink, fd);
    log->own_fd = own;
}

/* Full, or gone: keep the lines and try again; meanwhile the ring fills and drops. */
static void
wait_after(accesslog *log, int error)
{
    if (error == EINTR)
        return;
    atomic_store_explicit(&log->error, error == EAGAIN ? 0 : error, memory_order_relaxed);
    wait_ms(error == EAGAIN ? log->sink.fd : -1, POLLOUT,
            error == EAGAIN && log->sink.fd < 0 ? RETRY_PASS_MS : RETRY_MS);
}

static void
write_out(accesslog *log)
{
    for (;;) {
        const int fd = log->sink.in_line ? -1 : atomic_exchange(&log->next_fd, -1);
        if (fd >= 0)
            use_fd(log, fd, true);
        const td_str lines = td_ring_peek(log->ring);
        if (lines.len == 0)
            return;
        if (write_some(&log->sink, lines) == 0)
            wait_after(log, errno);
        else
            atomic_store_explicit(&log->error, 0, memory_order_relaxed);
    }
}

static void *
run_thread(void *arg)
{
    accesslog *log = arg;
    eventfd_t count;

    while (!atomic_load(&log->ending)) {
        eventfd_read(log->wake, &count);
        write_out(log);
    }
    write_out(log);
    return NULL;
}

/* ---- the loop */

static void
wake_thread(accesslog *log)
{
    log->wake_at = log->ring->shared->written + log->ring->size / 4;
    eventfd_write(log->wake, 1);
}

static void
tell_drops(accesslog *log)
{
    const int error = atomic_load_explicit(&log->error, memory_order_relaxed);

    if (*log->dropped == log->told_of)
        return;
    td_log_at(TD_LOG_WARNING, "access", DROPPED ": %s", *log->dropped - log->told_of, why(error));
    log->told_of = *log->dropped;
    log->told_ns = td_now_ns();
}

static void
on_flush(void *arg)
{
    accesslog *log = arg;

    wake_thread(log);
    if (log->told_ns == 0 || td_now_ns() - log->told_ns >= DROPS_TOLD_MS * TD_NS_PER_MS)
        tell_drops(log);
}

/*
 * Multiples of the golden ratio spread evenly, and unlike every n-th request do not follow clients
 * that ask by turns for the same few things.
 */
static bool
is_left_out(accesslog *log, const td_request *request)
{
    const uint32_t spread = (uint32_t)(++log->asked * UINT32_C(2654435769));

    return spread > log->spread_max && request->status < 400;
}

static size_t
put_mark(const accesslog *log, const td_request *request, char *at)
{
    if (request->status < 400 || !log->marks_levels)
        return 0;
    memcpy(at, request->status < 500 ? WARNING_MARK : ERROR_MARK, MARK_LEN);
    return MARK_LEN;
}

void
accesslog_add(accesslog *log, const td_request *request, int64_t duration_ns)
{
    if (TD_UNLIKELY(log->spread_max != UINT32_MAX) && is_left_out(log, request))
        return;

    char *at = td_ring_reserve(log->ring, MARK_LEN + ACCESSLINE_MAX);

    if (log->flush.place == 0)
        td_timer_start(log->loop, &log->flush, td_now_ns() + FLUSH_MS * TD_NS_PER_MS);
    if (at == NULL) {
        ++*log->dropped;
        return;
    }
    const size_t mark = put_mark(log, request, at);
    const time_t now = td_clock_cached_wall;
    td_ring_commit(log->ring,
                   mark + (TD_UNLIKELY(log->custom != NULL)
                               ? accessformat_line(log->custom, request, duration_ns, now, at + mark)
                               : accessline_format(log->format, request, duration_ns, now, at + mark)));
    if (log->ring->shared->written > log->wake_at)
        wake_thread(log);
}

void
accesslog_set_fd(accesslog *log, int fd)
{
    int unused = atomic_exchange(&log->next_fd, fd);

    if (unused >= 0)
        close(unused);
    wake_thread(log);
}

/* ---- life */

/* The worker's signals are the loop's business. */
static int
start_thread(accesslog *log)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&log->thread, NULL, run_thread, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

struct accesslog_options
accesslog_options_of(const td_log_settings *settings, const struct accessformat *custom,
                     int access_fd, td_ring *ring, uint64_t *dropped)
{
    const bool has_descriptor =
        settings->target == TD_LOG_STDERR || settings->target == TD_LOG_FILE;

    return (struct accesslog_options){
        .format = custom != NULL ? TD_ACCESS_CUSTOM : (td_access_format)settings->access,
        .custom = custom,
        .sample = (uint32_t)settings->access_sample,
        .marks_levels = access_fd < 0 && (!has_descriptor || td_log_is_journal_stream()),
        .fd = access_fd < 0 && has_descriptor ? td_log_fd() : access_fd,
        .ring = ring,
        .dropped = dropped,
    };
}

int
accesslog_create(td_ioloop *loop, const struct accesslog_options *options, accesslog **out,
                 td_err *err)
{
    accesslog *log = td_xcalloc(1, sizeof(*log));
    int rc;

    log->ring = options->ring;
    log->dropped = options->dropped;
    log->format = options->format;
    log->custom = options->custom;
    log->spread_max = UINT32_MAX / (options->sample > 1 ? options->sample : 1);
    log->loop = loop;
    log->wake_at = log->ring->shared->written + log->ring->size / 4;
    log->marks_levels = options->marks_levels;
    log->sink = (struct sink){.ring = log->ring,
                              .format = log->format,
                              .marks_levels = log->marks_levels,
                              .fd = -1};
    log->next_fd = -1;
    log->flush.fn = on_flush;
    log->flush.arg = log;
    if (options->fd >= 0)
        use_fd(log, options->fd, false);

    log->wake = eventfd(0, EFD_CLOEXEC);
    if (log->wake < 0) {
        rc = td_err_errno(err, "access log: eventfd");
        goto fail_free;
    }
    errno = start_thread(log);
    if (errno != 0) {
        rc = td_err_errno(err, "access log: thread");
        goto fail_close;
    }
    *out = log;
    return 0;

fail_close:
    close(log->wake);
fail_free:
    free(log);
    return rc;
}

void
accesslog_destroy(accesslog **log_ref)
{
    accesslog *log = *log_ref;
    struct timespec deadline;

    if (log == NULL)
        return;
    *log_ref = NULL;
    td_timer_stop(log->loop, &log->flush);
    atomic_store(&log->ending, true);
    eventfd_write(log->wake, 1);
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += LAST_WORDS_S;
    const bool has_ended = pthread_timedjoin_np(log->thread, NULL, &deadline) == 0;
    tell_drops(log);
    if (!has_ended)
        return; /* it waits for a reader that does not come; the process ends without it */
    if (log->own_fd)
        close(log->sink.fd);
    close(log->wake);
    free(log);
}

/* ---- what a dead worker left */

static uint64_t
count_lines(td_str lines)
{
    uint64_t count = 0;

    for (size_t i = 0; i < lines.len; i++)
        count += lines.ptr[i] == '\n';
    return count;
}

/* A pipe that polls as writable takes CHUNK_PIPE bytes at once; a line may be longer. */
static bool
takes_some(const struct sink *sink, td_str lines)
{
    struct pollfd wanted = {.fd = sink->fd, .events = POLLOUT};

    if (sink->fd < 0 || sink->is_file)
        return true;
    return poll(&wanted, 1, 0) > 0 && choose_chunk(sink, lines) <= sink->chunk;
}

void
accesslog_inherit(const struct accesslog_options *options, const char *whose)
{
    struct sink sink = {.ring = options->ring,
                        .format = options->format,
                        .marks_levels = options->marks_levels,
                        .fd = -1};
    td_str lines = td_ring_peek(sink.ring); /* one that it has forked may live, and write on */
    int error = 0;

    if (options->fd >= 0)
        sink_open(&sink, options->fd);
    while (lines.len > 0 && takes_some(&sink, lines)) {
        const size_t n = write_some(&sink, lines);
        if (n == 0 && errno != EINTR) {
            error = errno != EAGAIN ? errno : 0;
            break;
        }
        const td_str all = td_ring_peek(sink.ring);
        lines = td_str_make(all.ptr, all.len < lines.len - n ? all.len : lines.len - n);
    }
    const uint64_t left = count_lines(lines);
    if (left == 0)
        return;
    *options->dropped += left;
    td_log_at(TD_LOG_WARNING, "access", DROPPED " that %s left: %s", left, whose, why(error));
}
