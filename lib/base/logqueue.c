/*
 * The ring has one writer at a time by a lock, which is held for a copy and never while something
 * is written out.  In front of each line stands its length, for a datagram is a line.
 *
 * The thread waits on a condition, so that to log costs a system call only when it sleeps.
 */
#include "base/logqueue.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "base/log.h"

#define RETRY_FIRST_MS 5 /* doubles while the target takes nothing */
#define RETRY_MAX_MS 320
#define LOST_TOLD_NS (10 * TD_NS_PER_S)
#define LAST_WORDS_S 2

typedef uint32_t line_len; /* stands in front of a line */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    td_ring *ring; /* NULL: not started */
    bool ending, is_idle;

    /* Of the thread. */
    size_t given;    /* bytes of the first line that the target has */
    int64_t told_ns; /* when it last told how many were lost */
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- who logs */

static bool
take(const char *bytes, size_t len)
{
    const line_len front = (line_len)len;

    pthread_mutex_lock(&queue.lock);
    char *at = td_ring_reserve(queue.ring, sizeof(front) + len);
    if (at != NULL) {
        memcpy(at, &front, sizeof(front));
        memcpy(at + sizeof(front), bytes, len);
        td_ring_commit(queue.ring, sizeof(front) + len);
        if (queue.is_idle)
            pthread_cond_signal(&queue.wake);
    }
    pthread_mutex_unlock(&queue.lock);
    return at != NULL;
}

/* ---- the thread */

/* The first line that waits; the null string: none, or nothing that a sane process has left. */
static td_str
first_line(const td_ring *ring)
{
    const td_str all = td_ring_peek(ring);
    line_len len;

    if (all.len <= sizeof(len))
        return td_str_make(NULL, 0);
    memcpy(&len, all.ptr, sizeof(len));
    if (len == 0 || len > TD_LOG_LINE_MAX || len > all.len - sizeof(len))
        return td_str_make(NULL, 0);
    return td_str_make(all.ptr + sizeof(len), len);
}

static void
forget_first(td_ring *ring, td_str line, size_t *bytes)
{
    const size_t size = sizeof(line_len) + line.len;

    td_ring_consume(ring, size);
    *bytes -= size < *bytes ? size : *bytes;
}

/*
 * Those within the next *bytes of the ring, which become fewer.  True when none is left; false: the
 * target does not take them now, errno says why.
 */
static bool
write_lines(td_ring *ring, size_t *bytes, size_t *given)
{
    td_str line;

    while (*bytes > 0 && (line = first_line(ring)).len > 0) {
        const ssize_t n = td_log_give(line.ptr + *given, line.len - *given);

        if (n < 0 && errno == EMSGSIZE)
            td_log_lose(1); /* it will not become smaller */
        else if (n < 0)
            return false;
        else if ((*given += (size_t)n) < line.len)
            continue;
        forget_first(ring, line, bytes);
        *given = 0;
    }
    return true;
}

static void
tell_lost(bool ending)
{
    const int64_t now_ns = td_clock_ns();

    if (td_log_untold() == 0 || (!ending && now_ns < queue.told_ns + LOST_TOLD_NS))
        return;
    queue.told_ns = now_ns;
    td_log_tell_lost();
}

static bool
is_ending(void)
{
    pthread_mutex_lock(&queue.lock);
    const bool ending = queue.ending;
    pthread_mutex_unlock(&queue.lock);
    return ending;
}

/* Until then; when idle, until somebody logs. */
static void
rest(int64_t until_ns, bool is_idle)
{
    const struct timespec until = {.tv_sec = until_ns / TD_NS_PER_S,
                                   .tv_nsec = until_ns % TD_NS_PER_S};

    pthread_mutex_lock(&queue.lock);
    queue.is_idle = is_idle;
    while (!queue.ending && !(is_idle && td_ring_used(queue.ring) > 0) &&
           pthread_cond_timedwait(&queue.wake, &queue.lock, &until) != ETIMEDOUT)
        continue;
    queue.is_idle = false;
    pthread_mutex_unlock(&queue.lock);
}

static void *
run(void *arg)
{
    (void)arg;
    for (int64_t pause_ms = RETRY_FIRST_MS;;) {
        const bool ending = is_ending();
        size_t all = SIZE_MAX;
        const bool is_written = write_lines(queue.ring, &all, &queue.given);

        if (is_written)
            tell_lost(ending);
        if (ending && (is_written || errno != EAGAIN))
            return NULL; /* who has gone does not come back in time */
        if (is_written) {
            pause_ms = RETRY_FIRST_MS;
            rest(td_log_untold() > 0 ? queue.told_ns + LOST_TOLD_NS : INT64_MAX, true);
        } else {
            rest(td_clock_ns() + pause_ms * TD_NS_PER_MS, false);
            pause_ms = pause_ms < RETRY_MAX_MS ? pause_ms * 2 : RETRY_MAX_MS;
        }
    }
}

/* ---- life */

int
td_logqueue_start(td_ring *ring, td_err *err)
{
    pthread_condattr_t attributes;
    sigset_t all, before;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&queue.wake, &attributes);
    pthread_condattr_destroy(&attributes);
    queue.ring = ring;
    queue.ending = false;
    queue.given = 0;
    queue.told_ns = -LOST_TOLD_NS;

    sigfillset(&all); /* the process's signals are for its loop */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = pthread_create(&queue.thread, NULL, run, NULL);
    const int rc = errno == 0 ? 0 : td_err_errno(err, "log: thread");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        td_log_divert(take);
    else
        queue.ring = NULL;
    return rc;
}

void
td_logqueue_stop(void)
{
    struct timespec deadline;

    if (queue.ring == NULL)
        return;
    pthread_mutex_lock(&queue.lock);
    queue.ending = true;
    pthread_cond_signal(&queue.wake);
    pthread_mutex_unlock(&queue.lock);
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += LAST_WORDS_S;
    if (pthread_timedjoin_np(queue.thread, NULL, &deadline) != 0)
        return; /* it waits for a reader that does not come; the process ends without it */
    td_log_divert(NULL);
    queue.ring = NULL;
}

/* Who was forked by the dead may live, and write on: there is no waiting for its end. */
void
td_logqueue_inherit(td_ring *ring)
{
    size_t bytes = td_ring_peek(ring).len, given = 0;
    uint64_t left = 0;
    td_str line;

    if (write_lines(ring, &bytes, &given))
        return;
    for (; bytes > 0 && (line = first_line(ring)).len > 0; left++)
        forget_first(ring, line, &bytes);
    td_log_lose(left);
}
