/*
 * td_iostream: a buffer each way over a td_transport, one pending read, and lines of coroutines
 * that wait (BEHAVIOUR section 20).
 *
 * A read is first tried on what is in the buffer, then on what the kernel has, and then waits. What
 * it gives lies in a buffer of its own, `result`, so that what comes meanwhile does not move it.
 * Nobody is resumed from in here, only let go, so an event may end the stream at any point; but whoever
 * has read comes back at the end of the event, which saves the loop an iteration.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "io/iostream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pcre2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/arena.h"
#include "io/call.h"
#include "io/tls.h"
#include "io/transport_tls.h"
#include "io/waiters.h"

#define BUFFER_DEFAULT ((size_t)1 << 20)
#define PIECE ((size_t)64 * 1024)         /* received by one attempt */
#define BURST 4                           /* attempts before others have their turn */
#define IDLE_MAX ((size_t)64 * 1024)      /* received ahead, to notice the end */
#define RELEASE_ABOVE ((size_t)64 * 1024) /* an empty buffer that is larger gives its memory back \
                                           */
#define MARKER_MAX 16
#define REGEX_MATCH_LIMIT 100000
#define REGEX_DEPTH_LIMIT 1000

/* How td_iostream_read.until goes on, for those that only the stream itself has. */
enum { UNTIL_INTO = TD_UNTIL_CLOSE + 1, UNTIL_INTO_PARTIAL };

struct reading {
    int until; /* td_iostream_until, or one of the above */
    size_t count;
    char marker[MARKER_MAX];
    size_t marker_len;
    size_t searched; /* bytes of the buffer in which no match begins */
    char *to;        /* of UNTIL_INTO; has `done` bytes */
    size_t done;
};

struct regex {
    char *text; /* NULL: none was compiled */
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
    uint32_t lookbehind;
};

struct td_iostream {
    td_transport transport;
    td_ioloop *loop;
    size_t max_buffer, max_write_buffer;
    int64_t timeout_ms;
    td_buf in, out; /* received and not read, written and not sent */

    struct reading reading; /* means something while is_reading() */
    td_waiters readers;     /* one at most */
    td_future *future;      /* or this one wants the read; NULL: none does */
    td_buf result;          /* what the last read gave */
    td_str data;            /* of it; the result of td_iostream_read_future */
    struct regex regex;     /* of the last read that had one */

    td_waiters flushers, connectors;
    bool is_connecting, is_closed;
    bool is_shaking; /* hands, of TLS */
    bool has_ended; /* the other side sends no more */
    bool is_drained; /* the kernel had no more at the last attempt, and has not said otherwise */
    bool flush_ends_at_input;
    int error;
    char *error_text; /* NULL: that of the number */
    td_loop_fn *on_input; /* NULL: nobody is told */
    void *on_input_arg;
    unsigned on_input_since; /* iteration of the loop */

    td_callback closed;          /* starts the close callback */
    td_coroutine_job *close_job; /* NULL: none is wanted */
    td_iostream_observer observer;
    bool owes_drain; /* the worker drains, and no read has been told */
};

static __thread size_t streams_count __attribute__((tls_model("initial-exec")));

static void close_with(td_iostream *stream, int error);
static void end_read(td_iostream *stream, int code);

static bool
is_reading(const td_iostream *stream)
{
    return stream->future != NULL || td_waiters_any(&stream->readers);
}

/* Nothing can be sent or received yet. */
static bool
is_opening(const td_iostream *stream)
{
    return stream->is_connecting || stream->is_shaking;
}

/* ---- what a read wants, and whether the buffer has it: 1, 0, or TD_ETOOBIG */

/* The first n bytes of the buffer are the result. */
static int
take(td_iostream *stream, size_t n)
{
    td_buf *in = &stream->in, *result = &stream->result;

    result->start = result->len = 0;
    if (n == in->len) {
        const td_buf empty = *result;

        *result = *in;
        *in = empty;
    } else {
        td_buf_append(result, td_str_make(td_buf_str(in).ptr, n));
        td_buf_consume(in, n);
    }
    *td_buf_reserve(result, 1) = '\0';
    stream->data = td_buf_str(result);
    return 1;
}

static int
find_marker(td_iostream *stream)
{
    struct reading *reading = &stream->reading;
    const td_str in = td_buf_str(&stream->in);
    const char *found = in.len == 0 ? NULL
                                    : memmem(in.ptr + reading->searched, in.len - reading->searched,
                                             reading->marker, reading->marker_len);
    const size_t end = found != NULL ? (size_t)(found - in.ptr) + reading->marker_len : 0;

    if (found == NULL && in.len >= reading->marker_len)
        reading->searched = in.len - reading->marker_len + 1;
    if (end > reading->count || (found == NULL && in.len >= reading->count))
        return TD_ETOOBIG;
    return found != NULL ? take(stream, end) : 0;
}

static int
find_regex(td_iostream *stream)
{
    struct reading *reading = &stream->reading;
    struct regex *regex = &stream->regex;
    const td_str in = td_buf_str(&stream->in);
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(regex->match);
    int rc;

    if (in.len == 0)
        return 0;
    rc = pcre2_match(regex->code, (PCRE2_SPTR)in.ptr, in.len, reading->searched, PCRE2_PARTIAL_SOFT,
                     regex->match, regex->context);
    if (rc >= 0)
        return at[1] <= reading->count ? take(stream, at[1]) : TD_ETOOBIG;
    if (in.len >= reading->count || (rc != PCRE2_ERROR_NOMATCH && rc != PCRE2_ERROR_PARTIAL))
        return TD_ETOOBIG;
    const size_t begin = rc == PCRE2_ERROR_PARTIAL ? at[0] : in.len;

    if (begin > reading->searched + regex->lookbehind)
        reading->searched = begin - regex->lookbehind;
    return 0;
}

static int
fill_memory(td_iostream *stream)
{
    struct reading *reading = &stream->reading;
    const td_str in = td_buf_str(&stream->in);
    const size_t wanted = reading->count - reading->done;
    const size_t n = in.len < wanted ? in.len : wanted;

    if (n > 0) {
        memcpy(reading->to + reading->done, in.ptr, n);
        td_buf_consume(&stream->in, n);
        reading->done += n;
    }
    return reading->done == reading->count ||
           (reading->until == UNTIL_INTO_PARTIAL && reading->done > 0);
}

static int
satisfy(td_iostream *stream)
{
    const struct reading *reading = &stream->reading;
    const size_t len = stream->in.len;

    switch (reading->until) {
    case TD_UNTIL_BYTES:
        return len >= reading->count ? take(stream, reading->count) : 0;
    case TD_UNTIL_PARTIAL:
        return len > 0 ? take(stream, len < reading->count ? len : reading->count) : 0;
    case TD_UNTIL_MARKER:
        return find_marker(stream);
    case TD_UNTIL_REGEX:
        return find_regex(stream);
    case TD_UNTIL_CLOSE:
        return len > reading->count ? TD_ETOOBIG : 0;
    default:
        return fill_memory(stream);
    }
}

/* The other side has closed; only one kind of read has waited for that. */
static int
satisfy_at_end(td_iostream *stream)
{
    return stream->reading.until == TD_UNTIL_CLOSE ? take(stream, stream->in.len) : TD_ECLOSED;
}

/* ---- receiving */

static size_t
room(const td_iostream *stream)
{
    const size_t left = /* one that was adopted may have come with more */
        stream->in.len < stream->max_buffer ? stream->max_buffer - stream->in.len : 0;

    return left < PIECE ? left : PIECE;
}

/* One attempt, unless it is known to be in vain: bytes, 0 at the end, -errno. */
static ssize_t
attempt(td_iostream *stream, char *to, size_t size)
{
    td_transport *t = &stream->transport;
    ssize_t n;

    if (stream->is_drained)
        return -EAGAIN;
    n = t->ops->read(t, to, size);
    stream->is_drained = t->ops->reads_all && (n == -EAGAIN || (n > 0 && (size_t)n < size));
    return n;
}

static ssize_t
receive(td_iostream *stream)
{
    const size_t size = room(stream);
    ssize_t n;

    if (size == 0)
        return TD_ETOOBIG;
    n = attempt(stream, td_buf_reserve(&stream->in, size), size);
    if (n > 0)
        td_buf_added(&stream->in, (size_t)n);
    return n;
}

/* The same for the read that is under way, past the buffer if it wants that. */
static ssize_t
receive_for_read(td_iostream *stream)
{
    struct reading *reading = &stream->reading;
    ssize_t n;

    if (reading->to == NULL)
        return receive(stream);
    n = attempt(stream, reading->to + reading->done, reading->count - reading->done);
    if (n > 0)
        reading->done += (size_t)n;
    return n;
}

/* What the read has come to: 1, 0 (it waits), or an error that the stream closes with. */
static int
try_read(td_iostream *stream)
{
    int rc = satisfy(stream);

    for (int i = 0; rc == 0 && i < BURST && !stream->has_ended && !stream->is_closed; i++) {
        const ssize_t n = receive_for_read(stream);

        if (n == -EAGAIN)
            return 0;
        if (n < 0)
            return (int)n;
        stream->has_ended = n == 0;
        rc = satisfy(stream);
    }
    if (rc == 0 && stream->has_ended)
        rc = satisfy_at_end(stream);
    return rc;
}

/* Nothing is read: only the end is of interest, and what comes before it. */
static void
receive_ahead(td_iostream *stream)
{
    const ssize_t n = receive(stream);

    stream->has_ended = n == 0;
    if (n == 0 || (n < 0 && n != -EAGAIN))
        close_with(stream, (int)n);
}

/* Something has come, be it the end, for whoever flushes to look at. */
static void
end_flush_at_input(td_iostream *stream)
{
    stream->flush_ends_at_input = false;
    td_waiters_release_all(&stream->flushers, 1);
}

/* ---- sending */

/* The other side takes no more.  What it has said before, and that may be why, can still be read. */
static void
close_after_input(td_iostream *stream, int error)
{
    stream->is_drained = false;
    while (!stream->has_ended) {
        const ssize_t n = receive(stream);

        if (n == TD_ETLS)
            error = TD_ETLS; /* an alert, which says why */
        if (n < 0)
            break;
        stream->has_ended = n == 0;
    }
    if (is_reading(stream) && satisfy(stream) > 0)
        end_read(stream, 0);
    close_with(stream, stream->has_ended ? 0 : error);
}

static void
send_out(td_iostream *stream)
{
    td_transport *t = &stream->transport;

    while (stream->out.len > 0) {
        const td_str bytes = td_buf_str(&stream->out);
        const struct iovec part = {(void *)bytes.ptr, bytes.len};
        const ssize_t n = t->ops->writev(t, &part, 1, false);

        if (n == -EAGAIN)
            return;
        if (n < 0) {
            close_after_input(stream, (int)n);
            return;
        }
        td_buf_consume(&stream->out, (size_t)n);
    }
    if (stream->out.size > RELEASE_ABOVE)
        td_buf_release(&stream->out);
    stream->flush_ends_at_input = false;
    td_waiters_release_all(&stream->flushers, 0);
}

/* ---- events */

static bool
looks_ahead(const td_iostream *stream)
{
    return stream->close_job != NULL && stream->in.len < IDLE_MAX && room(stream) > 0;
}

static bool
wants_input(const td_iostream *stream)
{
    return is_reading(stream) || looks_ahead(stream) || stream->flush_ends_at_input ||
           stream->on_input != NULL;
}

/* Who has read is likely to read again, so being told of input stays until some comes unwanted. */
static void
watch(td_iostream *stream)
{
    int events = td_transport_watched(&stream->transport) & TD_READABLE;

    if (stream->is_closed)
        return;
    if (stream->is_connecting || (stream->out.len > 0 && !stream->is_shaking))
        events |= TD_WRITABLE;
    if (stream->is_shaking || (!stream->is_connecting && wants_input(stream)))
        events |= TD_READABLE;
    td_transport_watch(&stream->transport, stream->loop, events);
}

static void
watch_no_input(td_iostream *stream)
{
    td_transport_watch(&stream->transport, stream->loop,
                       td_transport_watched(&stream->transport) & ~TD_READABLE);
}

/* Tell whoever wanted the read how it went. */
static void
end_read(td_iostream *stream, int code)
{
    td_future *future = stream->future;

    if (future == NULL) {
        if (td_waiters_any(&stream->readers))
            td_waiters_release(&stream->readers, code);
        return;
    }
    stream->future = NULL;
    td_future_on_cancel(future, NULL, NULL);
    if (code == 0)
        td_future_set_result(future, &stream->data);
    else
        td_future_set_error(future, code);
    td_future_unref(future);
}

/* The read is done, or ends with the stream. */
static void
close_after_read(td_iostream *stream, int rc)
{
    if (rc < 0 || stream->has_ended)
        close_with(stream, rc == TD_ECLOSED || rc > 0 ? 0 : rc);
}

static void
go_on_reading(td_iostream *stream)
{
    const int rc = try_read(stream);

    if (rc > 0)
        end_read(stream, 0);
    close_after_read(stream, rc);
}

static void
end_connect(td_iostream *stream)
{
    int error = 0;
    socklen_t len = sizeof(error);

    getsockopt(td_iostream_fd(stream), SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        close_with(stream, -error);
        return;
    }
    stream->is_connecting = false;
    td_waiters_release_all(&stream->connectors, 0);
}

/* False: the handshake is not over, or has failed. */
static bool
go_on_shaking(td_iostream *stream)
{
    const int rc = td_transport_handshake(&stream->transport);

    if (rc == -EAGAIN)
        return false;
    if (rc < 0) {
        close_with(stream, rc);
        return false;
    }
    stream->is_shaking = false;
    td_waiters_release_all(&stream->connectors, 0);
    send_out(stream); /* written meanwhile */
    return !stream->is_closed;
}

/* Something for whoever reads has come, or the end: TLS has also its own to say (tickets, keys). */
static bool
has_input(td_iostream *stream)
{
    ssize_t n;

    if (td_transport_tls(&stream->transport) == NULL || stream->in.len > 0)
        return true;
    n = receive(stream);
    stream->has_ended = n == 0;
    return n != -EAGAIN;
}

static void
tell_of_input(td_iostream *stream)
{
    td_loop_fn *fn = stream->on_input;

    stream->on_input = NULL;
    fn(stream->on_input_arg);
}

static void
on_event(td_transport *t, int events)
{
    td_iostream *stream = TD_CONTAINER_OF(t, td_iostream, transport);

    if (stream->is_connecting)
        end_connect(stream);
    if (stream->is_shaking && !go_on_shaking(stream)) {
        watch(stream);
        return;
    }
    if (!stream->is_closed && (events & TD_WRITABLE))
        send_out(stream);
    if (!stream->is_closed && (events & TD_READABLE)) {
        stream->is_drained = false;
        if (stream->on_input != NULL && has_input(stream)) {
            tell_of_input(stream);
            return;
        }
        if (is_reading(stream))
            go_on_reading(stream);
        else if (stream->flush_ends_at_input && has_input(stream))
            end_flush_at_input(stream);
        else if (looks_ahead(stream))
            receive_ahead(stream);
        else
            watch_no_input(stream);
    }
    watch(stream);
    td_waiters_resume(&stream->readers);
}

/* ---- the end */

static void
start_close_job(void *arg)
{
    td_iostream *stream = arg;
    td_coroutine_job *job = stream->close_job;

    stream->close_job = NULL;
    td_coroutine_submit(job);
}

static void
set_error_text(td_iostream *stream, const char *reason)
{
    td_err err;

    td_err_set(&err, stream->error, "%s: %s", td_strerror(stream->error), reason);
    stream->error_text = td_xstrdup(err.text);
}

static void
keep_reason(td_iostream *stream)
{
    const char *reason = td_transport_reason(&stream->transport);

    if (reason != NULL && (stream->error == TD_ETLS || stream->error == TD_ECERTIFICATE))
        set_error_text(stream, reason);
}

static void
close_with(td_iostream *stream, int error)
{
    const int told = error != 0 ? error : TD_ECLOSED;

    if (stream->is_closed)
        return;
    stream->is_closed = true;
    stream->is_connecting = stream->is_shaking = false;
    stream->error = error;
    keep_reason(stream);
    td_transport_close(&stream->transport, stream->loop);
    end_read(stream, told);
    td_waiters_release_all(&stream->flushers, told);
    td_waiters_release_all(&stream->connectors, told);
    td_buf_release(&stream->out);
    if (stream->close_job != NULL)
        td_ioloop_post(stream->loop, &stream->closed);
    if (stream->observer.closed != NULL)
        stream->observer.closed(stream->observer.arg);
}

struct close_job {
    td_coroutine_job job;
    td_callback_fn *fn;
    void *arg;
};

static void
close_job_run(void *arg)
{
    const struct close_job *job = arg;

    job->fn(job->arg);
}

static void
close_job_ended(void *arg, td_coroutine_end end)
{
    struct close_job *job = arg;

    td_call_ended(&job->job.task, end, "td_iostream_set_close_callback");
    free(job);
}

static void
drop_close_job(td_iostream *stream)
{
    if (stream->close_job != NULL)
        free(TD_CONTAINER_OF(stream->close_job, struct close_job, job));
    stream->close_job = NULL;
}

int
td_iostream_set_close_callback(td_iostream *stream, td_callback_fn *fn, void *arg)
{
    struct close_job *job;

    if (!td_waiters_are_usable(stream, "td_iostream_set_close_callback"))
        return TD_EINVAL;
    if (fn == NULL || stream->is_closed)
        return td_misuse("td_iostream_set_close_callback", "no function, or the stream is closed");
    drop_close_job(stream);
    job = td_xcalloc(1, sizeof(*job));
    job->fn = fn;
    job->arg = arg;
    job->job.task = (td_coroutine_task){.run = close_job_run, .ended = close_job_ended, .arg = job};
    td_coroutine_inherit(&job->job.task);
    stream->close_job = &job->job;
    watch(stream);
    return 0;
}

void
td_iostream_close(td_iostream *stream)
{
    if (td_waiters_are_usable(stream, "td_iostream_close"))
        close_with(stream, 0);
}

bool
td_iostream_is_closed(const td_iostream *stream)
{
    return stream == NULL || stream->is_closed;
}

int
td_iostream_error(const td_iostream *stream)
{
    return stream != NULL ? stream->error : TD_EINVAL;
}

const char *
td_iostream_error_text(const td_iostream *stream)
{
    return stream != NULL && stream->error_text != NULL ? stream->error_text
                                                        : td_strerror(td_iostream_error(stream));
}

int
td_iostream_fd(const td_iostream *stream)
{
    return stream != NULL ? td_transport_fd(&stream->transport) : -1;
}

void
td_iostream_set_timeout(td_iostream *stream, int64_t timeout_ms)
{
    if (!td_waiters_are_usable(stream, "td_iostream_set_timeout"))
        return;
    if (timeout_ms < 0)
        td_misuse("td_iostream_set_timeout", "the time is negative");
    else
        stream->timeout_ms = timeout_ms;
}

size_t
td_iostreams_count(void)
{
    return streams_count;
}

int64_t
td_iostream_timeout(const td_iostream *stream)
{
    return stream->timeout_ms;
}

/* The loop has polled since somebody wanted to be told of input, and has nothing to tell. */
static bool
was_polled(const td_iostream *stream)
{
    return stream->transport.ops->reads_all && stream->on_input != NULL &&
           stream->on_input_since != ev_iteration(td_ioloop_ev(stream->loop)) &&
           !ev_is_pending(&stream->transport.watcher);
}

/*
 * The kernel is asked only where the loop has not done so.  An attempt and not a look at the socket: in
 * front of what counts TLS may have sent something of its own.
 */
bool
td_iostream_is_quiet(td_iostream *stream)
{
    char byte;

    if (stream->is_closed || stream->in.len > 0)
        return false;
    return was_polled(stream) ||
           stream->transport.ops->read(&stream->transport, &byte, 1) == -EAGAIN;
}

/* ---- life */

static td_iostream *
create(const td_iostream_options *wanted)
{
    td_iostream_options options = {0};
    td_iostream *stream = td_xcalloc(1, sizeof(*stream));

    streams_count++;

    if (wanted != NULL)
        memcpy(&options, wanted, wanted->size < sizeof(options) ? wanted->size : sizeof(options));
    stream->loop = td_ioloop_current();
    stream->max_buffer = options.max_buffer > 0 ? options.max_buffer : BUFFER_DEFAULT;
    stream->max_write_buffer =
        options.max_write_buffer > 0 ? options.max_write_buffer : BUFFER_DEFAULT;
    stream->timeout_ms = options.timeout_ms > 0 ? options.timeout_ms : 0;
    stream->closed = (td_callback){.fn = start_close_job, .arg = stream};
    td_waiters_init(&stream->readers, NULL, NULL);
    td_waiters_init(&stream->flushers, NULL, NULL);
    td_waiters_init(&stream->connectors, NULL, NULL);
    return stream;
}

static void
open_transport(td_iostream *stream, int fd)
{
    struct stat status;

    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode))
        td_transport_open_plain(&stream->transport, fd, on_event);
    else
        td_transport_open_pipe(&stream->transport, fd, on_event);
}

td_iostream *
td_iostream_create(int fd, const td_iostream_options *options)
{
    td_iostream *stream;

    if (!td_is_on_loop("td_iostream_create"))
        return NULL;
    if (!td_is_open(fd)) {
        td_misuse("td_iostream_create", "the descriptor is not open");
        return NULL;
    }
    stream = create(options);
    open_transport(stream, fd);
    return stream;
}

static void
take_over(td_buf *to, td_buf *from)
{
    *to = *from;
    *from = (td_buf){0};
}

td_iostream *
td_iostream_adopt(td_transport *transport, td_buf *received, td_buf *unsent,
                  const td_iostream_options *options, const td_iostream_observer *observer)
{
    td_iostream *stream = create(options);

    td_transport_move(&stream->transport, transport, stream->loop, on_event);
    take_over(&stream->in, received);
    take_over(&stream->out, unsent);
    stream->observer = *observer;
    watch(stream);
    return stream;
}

/* ---- the drain */

static bool
has_begun_to_read(const td_iostream *stream)
{
    return stream->in.len > 0 || stream->reading.done > 0;
}

void
td_iostream_drain(td_iostream *stream)
{
    if (stream->is_closed)
        return;
    stream->owes_drain = true;
    if (!is_reading(stream) || has_begun_to_read(stream))
        return;
    stream->owes_drain = false;
    end_read(stream, TD_EDRAINING);
    watch(stream);
}

static void
regex_free(struct regex *regex)
{
    pcre2_match_data_free(regex->match);
    pcre2_match_context_free(regex->context);
    pcre2_code_free(regex->code);
    free(regex->text);
    *regex = (struct regex){0};
}

void
td_iostream_destroy(td_iostream **stream_)
{
    td_iostream *stream = *stream_;

    if (stream == NULL || !td_is_on_loop("td_iostream_destroy"))
        return;
    *stream_ = NULL;
    drop_close_job(stream);
    close_with(stream, 0);
    td_callback_cancel(&stream->closed);
    td_waiters_fini(&stream->readers);
    td_waiters_fini(&stream->flushers);
    td_waiters_fini(&stream->connectors);
    td_buf_release(&stream->in);
    td_buf_release(&stream->result);
    regex_free(&stream->regex);
    free(stream->error_text);
    if (stream->observer.destroyed != NULL)
        stream->observer.destroyed(stream->observer.arg);
    free(stream);
    streams_count--;
}

/* ---- the public reads */

/* What a closed stream answers. */
static int
closed_code(const td_iostream *stream)
{
    return stream->error != 0 ? stream->error : TD_ECLOSED;
}

/* 1: it is done; 0: it has to wait; else why it has failed. */
static int
begin_read(td_iostream *stream, const struct reading *reading)
{
    int rc;

    stream->data = td_str_make(NULL, 0);
    if (stream->result.size > RELEASE_ABOVE)
        td_buf_release(&stream->result);
    stream->reading = *reading;
    if (is_opening(stream))
        return 0;
    rc = try_read(stream);
    if (rc == 0 && stream->is_closed)
        rc = closed_code(stream);
    if (rc != 0)
        close_after_read(stream, rc);
    if (rc == 0 && stream->owes_drain && !has_begun_to_read(stream)) {
        stream->owes_drain = false;
        rc = TD_EDRAINING;
    }
    return rc;
}

static bool
may_read(td_iostream *stream, const char *function)
{
    if (!is_reading(stream) && td_list_is_empty(&stream->readers.coming))
        return true;
    td_misuse(function, "another read is pending");
    return false;
}

/* 0, an error, or TD_EINVAL for what cannot be read. */
static int
await_read(td_iostream *stream, const struct reading *reading)
{
    int rc = begin_read(stream, reading);

    if (rc != 0)
        return rc < 0 ? rc : 0;
    /* In the line before the watcher looks for somebody there. */
    td_transport_watch(&stream->transport, stream->loop,
                       td_transport_watched(&stream->transport) |
                           (stream->is_connecting ? TD_WRITABLE : TD_READABLE));
    return td_waiters_wait(&stream->readers, NULL, stream->timeout_ms);
}

/* Compile it, unless it is the one of the last time. */
static bool
set_regex(struct regex *regex, const char *text, const char *function)
{
    PCRE2_SIZE offset;
    int code;

    if (regex->text != NULL && strcmp(regex->text, text) == 0)
        return true;
    regex_free(regex);
    regex->code =
        pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_DOTALL, &code, &offset, NULL);
    if (regex->code == NULL) {
        td_misuse(function, "the regular expression is none");
        return false;
    }
    regex->text = strdup(text);
    regex->match = pcre2_match_data_create_from_pattern(regex->code, NULL);
    regex->context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(regex->context, REGEX_MATCH_LIMIT);
    pcre2_set_depth_limit(regex->context, REGEX_DEPTH_LIMIT);
    pcre2_pattern_info(regex->code, PCRE2_INFO_MAXLOOKBEHIND, &regex->lookbehind);
    return true;
}

/* True when that is something that can be read, and nothing else is being read. */
static bool
prepare(td_iostream *stream, const td_iostream_read *what, struct reading *out,
        const char *function)
{
    const bool is_exact = what->until == TD_UNTIL_BYTES || what->until == TD_UNTIL_PARTIAL;
    const bool is_marker = what->until == TD_UNTIL_MARKER, is_regex = what->until == TD_UNTIL_REGEX;

    if ((unsigned)what->until > TD_UNTIL_CLOSE || (is_exact && what->count == 0) ||
        what->count > stream->max_buffer ||
        (is_marker && (what->marker.len == 0 || what->marker.len > MARKER_MAX)) ||
        (is_regex && what->regex == NULL)) {
        td_misuse(function, "such a read is not possible: see its limits");
        return false;
    }
    *out = (struct reading){.until = (int)what->until,
                            .count = what->count > 0 ? what->count : stream->max_buffer};
    if (is_marker)
        memcpy(out->marker, what->marker.ptr, out->marker_len = what->marker.len);
    return may_read(stream, function) &&
           (!is_regex || set_regex(&stream->regex, what->regex, function));
}

static int
read_and_wait(td_iostream *stream, const td_iostream_read *what, td_str *out, const char *function)
{
    struct reading reading;
    int rc;

    if (!td_waiters_may_wait(stream, 0, function))
        return TD_EINVAL;
    if (out == NULL)
        return td_misuse(function, "there is no place for the bytes");
    if (!prepare(stream, what, &reading, function))
        return TD_EINVAL;
    rc = await_read(stream, &reading);
    if (rc == 0)
        *out = stream->data;
    return rc;
}

int
td_iostream_read_bytes(td_iostream *stream, size_t count, td_str *out)
{
    return read_and_wait(stream, TD_READ_UNTIL(TD_UNTIL_BYTES, .count = count), out,
                         "td_iostream_read_bytes");
}

int
td_iostream_read_partial(td_iostream *stream, size_t count, td_str *out)
{
    return read_and_wait(stream, TD_READ_UNTIL(TD_UNTIL_PARTIAL, .count = count), out,
                         "td_iostream_read_partial");
}

int
td_iostream_read_until(td_iostream *stream, td_str marker, size_t size_max, td_str *out)
{
    return read_and_wait(stream,
                         TD_READ_UNTIL(TD_UNTIL_MARKER, .count = size_max, .marker = marker), out,
                         "td_iostream_read_until");
}

int
td_iostream_read_until_regex(td_iostream *stream, const char *regex, size_t size_max, td_str *out)
{
    return read_and_wait(stream, TD_READ_UNTIL(TD_UNTIL_REGEX, .count = size_max, .regex = regex),
                         out, "td_iostream_read_until_regex");
}

int
td_iostream_read_until_close(td_iostream *stream, size_t size_max, td_str *out)
{
    return read_and_wait(stream, TD_READ_UNTIL(TD_UNTIL_CLOSE, .count = size_max), out,
                         "td_iostream_read_until_close");
}

ssize_t
td_iostream_read_into(td_iostream *stream, void *to, size_t size, bool partial)
{
    static const char function[] = "td_iostream_read_into";
    const struct reading reading = {
        .until = partial ? UNTIL_INTO_PARTIAL : UNTIL_INTO, .count = size, .to = to};
    int rc;

    if (!td_waiters_may_wait(stream, 0, function) || !may_read(stream, function))
        return TD_EINVAL;
    if (to == NULL || size == 0 || size > SSIZE_MAX)
        return td_misuse(function, "there is no room");
    rc = await_read(stream, &reading);
    return rc == 0 ? (ssize_t)stream->reading.done : rc;
}

static void
future_canceled(td_future *future, void *arg)
{
    td_iostream *stream = arg;

    stream->future = NULL;
    td_future_unref(future);
}

td_future *
td_iostream_read_future(td_iostream *stream, const td_iostream_read *wanted)
{
    static const char function[] = "td_iostream_read_future";
    td_iostream_read what = {0};
    struct reading reading;
    td_future *future;
    int rc;

    if (!td_waiters_are_usable(stream, function) || !td_waiters_are_usable(wanted, function))
        return NULL;
    memcpy(&what, wanted, wanted->size < sizeof(what) ? wanted->size : sizeof(what));
    if (!prepare(stream, &what, &reading, function))
        return NULL;
    future = td_future_create();
    rc = begin_read(stream, &reading);
    if (rc > 0) {
        td_future_set_result(future, &stream->data);
    } else if (rc < 0) {
        td_future_set_error(future, rc);
    } else {
        stream->future = td_future_ref(future);
        td_future_on_cancel(future, future_canceled, stream);
        watch(stream);
    }
    return future;
}

/* ---- the public rest */

int
td_iostream_write(td_iostream *stream, td_str bytes)
{
    if (!td_waiters_are_usable(stream, "td_iostream_write"))
        return TD_EINVAL;
    if (stream->is_closed)
        return closed_code(stream);
    if (stream->out.len > stream->max_write_buffer ||
        bytes.len > stream->max_write_buffer - stream->out.len)
        return TD_ETOOBIG;
    td_buf_append(&stream->out, bytes);
    if (!is_opening(stream))
        send_out(stream);
    watch(stream);
    return stream->is_closed ? closed_code(stream) : 0;
}

int
td_iostream_flush(td_iostream *stream)
{
    if (!td_waiters_may_wait(stream, 0, "td_iostream_flush"))
        return TD_EINVAL;
    if (stream->is_closed)
        return closed_code(stream);
    return stream->out.len == 0 ? 0 : td_waiters_wait(&stream->flushers, NULL, stream->timeout_ms);
}

int
td_iostream_connect(td_iostream *stream, const struct sockaddr *address, socklen_t len)
{
    int rc;

    if (!td_waiters_may_wait(stream, 0, "td_iostream_connect"))
        return TD_EINVAL;
    if (address == NULL || stream->is_connecting)
        return td_misuse("td_iostream_connect", "no address, or it is being connected");
    if (stream->is_closed)
        return closed_code(stream);
    if (connect(td_iostream_fd(stream), address, len) == 0)
        return 0;
    if (errno != EINPROGRESS) {
        close_with(stream, -errno);
        return stream->error;
    }
    stream->is_connecting = true;
    watch(stream);
    rc = td_waiters_wait(&stream->connectors, NULL, stream->timeout_ms);
    if (rc == TD_ETIMEDOUT)
        close_with(stream, rc);
    return rc;
}

static bool
is_idle(const td_iostream *stream)
{
    return !is_opening(stream) && !is_reading(stream) && stream->out.len == 0 &&
           td_transport_tls(&stream->transport) == NULL;
}

/* The SSL for it, or the stream is closed. */
static int
prepare_tls(td_iostream *stream, const td_ssl_options *options, SSL **out)
{
    td_err err;
    int rc = stream->in.len > 0 ? td_err_set(&err, TD_EBADMSG, "bytes came before the handshake")
                                : td_tls_connect(options, NULL, td_iostream_fd(stream), out, &err);

    if (rc < 0) {
        close_with(stream, rc);
        set_error_text(stream, err.text);
    }
    return rc;
}

int
td_iostream_start_tls(td_iostream *stream, const td_ssl_options *wanted)
{
    static const char function[] = "td_iostream_start_tls";
    td_ssl_options options;
    SSL *ssl;
    int rc;

    if (!td_waiters_may_wait(stream, 0, function) ||
        !td_ssl_options_read(wanted, &options, function))
        return TD_EINVAL;
    if (stream->is_closed)
        return closed_code(stream);
    if (!is_idle(stream))
        return td_misuse(function, "the stream is being read, written or connected, or has TLS");
    rc = prepare_tls(stream, &options, &ssl);
    if (rc < 0)
        return rc;
    td_transport_start_tls(&stream->transport, stream->loop, ssl);
    stream->is_shaking = true;
    go_on_shaking(stream);
    watch(stream);
    if (!stream->is_shaking)
        return stream->is_closed ? closed_code(stream) : 0;
    rc = td_waiters_wait(&stream->connectors, NULL, stream->timeout_ms);
    if (rc == TD_ETIMEDOUT)
        close_with(stream, rc);
    return rc;
}

/* ---- what the HTTP client knows besides */

size_t
td_iostream_unread(const td_iostream *stream)
{
    return stream->in.len;
}

size_t
td_iostream_unsent(const td_iostream *stream)
{
    return stream->out.len;
}

void
td_iostream_push_back(td_iostream *stream, td_str bytes)
{
    td_buf in = {0};

    td_buf_append(&in, bytes);
    td_buf_append(&in, td_buf_str(&stream->in));
    td_buf_release(&stream->in);
    stream->in = in;
}

int
td_iostream_flush_or_input(td_iostream *stream)
{
    if (stream->is_closed || stream->out.len == 0 || is_reading(stream))
        return td_iostream_flush(stream);
    if (stream->in.len > 0)
        return 1;
    stream->flush_ends_at_input = true;
    watch(stream);
    return td_waiters_wait(&stream->flushers, NULL, stream->timeout_ms);
}

void
td_iostream_on_input(td_iostream *stream, td_loop_fn *fn, void *arg)
{
    stream->on_input = fn;
    stream->on_input_arg = arg;
    stream->on_input_since = ev_iteration(td_ioloop_ev(stream->loop));
    watch(stream);
}
