/*
 * One writer (the loop) and one reader (the thread), so two counters that only grow are all the
 * agreement they need.  The ring is mapped twice, one image behind the other: a line or a chunk
 * that crosses its end is contiguous all the same.
 *
 * The thread sleeps until it is woken: when a line has been waiting for FLUSH_MS, or when a quarter
 * of the ring is full.  So there is one timer and one wake-up for many lines, and none for none.
 */
#include "daemon/accesslog.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/accessline.h"

#define RING_SIZE (1u << 20)
#define CHUNK_FILE (256u << 10) /* bytes of one write */
#define CHUNK_PIPE 4096u        /* PIPE_BUF: several workers write whole lines into one pipe */
#define FLUSH_MS 100
#define RETRY_MS 100
#define DROPS_TOLD_MS 10000
#define LAST_WORDS_S 2

struct accesslog {
    char *ring; /* 2 * size bytes of address space */
    size_t size;
    td_access_format format;

    /* Of the loop's thread. */
    td_ioloop *loop;
    td_timer flush;
    uint64_t head;    /* bytes ever added; published below */
    uint64_t wake_at; /* wake the thread when head passes this */
    uint64_t dropped, dropped_told;
    int64_t told_ns;

    /* Of the thread. */
    pthread_t thread;
    int fd;      /* -1: the log of the process */
    bool own_fd; /* close it when another takes its place */
    size_t chunk;
    bool in_line; /* the last write ended inside a line */

    /* Of both. */
    int wake; /* eventfd */
    _Atomic uint64_t published, written;
    _Atomic int next_fd; /* -1: none */
    _Atomic bool ending;
    _Atomic bool writing; /* the thread is awake */
    _Atomic int error;    /* why the last write failed; 0: it did not, or the reader is slow */
};

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
    struct stat st;

    if (log->own_fd)
        close(log->fd);
    log->fd = fd;
    log->own_fd = own;
    log->chunk = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? CHUNK_FILE : CHUNK_PIPE;
}

/* As many whole lines as go into one write, or one line when it alone is longer. */
static size_t
choose_chunk(const accesslog *log, const char *bytes, size_t len)
{
    if (len <= log->chunk)
        return len;
    const char *newline = memrchr(bytes, '\n', log->chunk);
    if (newline == NULL)
        newline = memchr(bytes, '\n', len);
    return (size_t)(newline + 1 - bytes);
}

/* Returns how many bytes are done with. */
static size_t
write_chunk(accesslog *log, const char *bytes, size_t len)
{
    size_t chunk = choose_chunk(log, bytes, len);
    ssize_t n = write(log->fd, bytes, chunk);

    if (n <= 0) {
        /* Full, or gone: keep it and try again; meanwhile the ring fills and drops. */
        atomic_store_explicit(&log->error, n == 0 || errno == EAGAIN ? 0 : errno,
                              memory_order_relaxed);
        if (n < 0 && errno == EAGAIN)
            wait_ms(log->fd, POLLOUT, RETRY_MS);
        else if (n == 0 || errno != EINTR)
            wait_ms(-1, 0, RETRY_MS);
        return 0;
    }
    log->in_line = bytes[n - 1] != '\n';
    return (size_t)n;
}

/* The log puts its own date in front, so ours is left out. */
static size_t
pass_line(const accesslog *log, const char *bytes, size_t len)
{
    const char *newline = memchr(bytes, '\n', len);
    size_t line = (size_t)(newline - bytes);
    size_t skip = log->format == TD_ACCESS_TORNADO ? ACCESSLINE_PREFIX : 0;

    td_log_at(TD_LOG_INFO, "access", "%.*s", (int)(line - skip), bytes + skip);
    return line + 1;
}

static void
write_out(accesslog *log)
{
    for (;;) {
        uint64_t head = atomic_load_explicit(&log->published, memory_order_acquire);
        uint64_t tail = atomic_load_explicit(&log->written, memory_order_relaxed);
        int fd = log->in_line ? -1 : atomic_exchange(&log->next_fd, -1);
        if (fd >= 0)
            use_fd(log, fd, true);
        if (head == tail)
            return;
        const char *bytes = log->ring + (tail & (log->size - 1));
        size_t done = log->fd >= 0 ? write_chunk(log, bytes, head - tail)
                                   : pass_line(log, bytes, head - tail);
        atomic_store_explicit(&log->written, tail + done, memory_order_release);
    }
}

static void *
run_thread(void *arg)
{
    accesslog *log = arg;
    eventfd_t count;

    while (!atomic_load(&log->ending)) {
        eventfd_read(log->wake, &count);
        atomic_store(&log->writing, true);
        write_out(log);
        atomic_store(&log->writing, false);
    }
    write_out(log);
    return NULL;
}

/* ---- the loop */

static void
wake_thread(accesslog *log)
{
    log->wake_at = log->head + log->size / 4;
    eventfd_write(log->wake, 1);
}

static void
tell_drops(accesslog *log)
{
    int error = atomic_load_explicit(&log->error, memory_order_relaxed);

    if (log->dropped == log->dropped_told)
        return;
    td_log_at(TD_LOG_WARNING, "access", "%llu lines of the access log dropped: %s",
              (unsigned long long)(log->dropped - log->dropped_told),
              error != 0 ? strerror(error) : "what reads it is too slow");
    log->dropped_told = log->dropped;
    log->told_ns = td_now_ns();
}

/* Those that nobody will write any more. */
static uint64_t
lines_left(const accesslog *log)
{
    uint64_t tail = atomic_load(&log->written), count = 0;

    for (; tail < log->head; tail++)
        count += log->ring[tail & (log->size - 1)] == '\n';
    return count;
}

static void
on_flush(void *arg)
{
    accesslog *log = arg;

    wake_thread(log);
    if (log->told_ns == 0 || td_now_ns() - log->told_ns >= DROPS_TOLD_MS * TD_NS_PER_MS)
        tell_drops(log);
}

void
accesslog_add(accesslog *log, const td_request *request, int64_t duration_ns)
{
    uint64_t used = log->head - atomic_load_explicit(&log->written, memory_order_acquire);

    if (log->flush.place == 0)
        td_timer_start(log->loop, &log->flush, td_now_ns() + FLUSH_MS * TD_NS_PER_MS);
    if (log->size - used < ACCESSLINE_MAX) {
        log->dropped++;
        return;
    }
    log->head += accessline_format(log->format, request, duration_ns, td_clock_cached_wall,
                                   log->ring + (log->head & (log->size - 1)));
    atomic_store_explicit(&log->published, log->head, memory_order_release);
    if (log->head > log->wake_at)
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

/* The thread has its chance first; what it does not get done is left to nobody. */
void
accesslog_rescue(accesslog *log)
{
    uint64_t head = atomic_load(&log->published);

    for (int waited = 0; atomic_load(&log->writing) && waited < RETRY_MS; waited++)
        wait_ms(-1, 0, 1);
    uint64_t tail = atomic_load(&log->written);
    while (!atomic_load(&log->writing) && log->fd >= 0 && tail < head) {
        const char *bytes = log->ring + (tail & (log->size - 1));
        ssize_t n = write(log->fd, bytes, choose_chunk(log, bytes, head - tail));
        if (n <= 0)
            return;
        tail += (uint64_t)n;
    }
}

/* ---- life */

/* The same pages twice in a row. */
static char *
map_twice(size_t size)
{
    int fd = memfd_create("accesslog", MFD_CLOEXEC);
    char *place = MAP_FAILED;

    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        goto done;
    place = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED)
        goto done;
    for (size_t i = 0; i < 2; i++) {
        if (mmap(place + i * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
            MAP_FAILED) {
            munmap(place, 2 * size);
            place = MAP_FAILED;
            goto done;
        }
    }

done:
    if (fd >= 0)
        close(fd);
    return place;
}

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

int
accesslog_create(td_ioloop *loop, const struct accesslog_options *options, accesslog **out,
                 td_err *err)
{
    accesslog *log = td_xcalloc(1, sizeof(*log));
    int rc;

    log->size = options->ring_size != 0 ? options->ring_size : RING_SIZE;
    log->format = options->format;
    log->loop = loop;
    log->wake_at = log->size / 4;
    log->fd = -1;
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
    log->ring = map_twice(log->size);
    if (log->ring == MAP_FAILED) {
        rc = td_err_errno(err, "access log: memory");
        goto fail_close;
    }
    errno = start_thread(log);
    if (errno != 0) {
        rc = td_err_errno(err, "access log: thread");
        goto fail_unmap;
    }
    *out = log;
    return 0;

fail_unmap:
    munmap(log->ring, 2 * log->size);
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
    if (pthread_timedjoin_np(log->thread, NULL, &deadline) != 0) {
        log->dropped += lines_left(log);
        tell_drops(log);
        return; /* it waits for a reader that does not come; the process ends without it */
    }
    tell_drops(log);
    if (log->own_fd)
        close(log->fd);
    munmap(log->ring, 2 * log->size);
    close(log->wake);
    free(log);
}
