/*
 * td_iostream: a buffer each way over a td_transport, one pending read, and lines of coroutines
 * that wait.
 *
 * A read is first tried on what is in the buffer, then on what the kernel has, and then waits. What
 * it gives lies in a buffer of its own, `result`, so that what comes meanwhile does not move it.
 * Nobody is resumed from in here, only let go, so an event may end the stream at any point; but
 * whoever has read comes back at the end of the event, which saves the loop an iteration.
 */
#include "io/iostream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/arena.h"
#include "base/clock.h"
#include "io/call.h"

#define BUFFER_DEFAULT ((size_t)1 << 20)
#define IDLE_MAX ((size_t)64 * 1024) /* received ahead, to notice the end */
#define POLL_GOOD_NS TD_NS_PER_MS    /* for so long what the loop has polled is believed */

static __thread size_t streams_count __attribute__((tls_model("initial-exec")));

/* ---- events */

static bool
looks_ahead(const td_iostream *stream)
{
    return stream->close_job != NULL && !stream->has_ended && stream->in.len < IDLE_MAX &&
           td_iostream_room(stream) > 0;
}

static bool
wants_input(const td_iostream *stream)
{
    return td_iostream_is_reading(stream) || looks_ahead(stream) || stream->flush_ends_at_input ||
           stream->on_input != NULL;
}

/* Who has read is likely to read again, so being told of input stays until some comes unwanted. */
void
td_iostream_watch(td_iostream *stream)
{
    int events = td_transport_watched(&stream->transport) & TD_READABLE;

    if (stream->is_closed)
        return;
    if (stream->is_connecting || (td_iostream_has_output(stream) && !stream->is_shaking))
        events |= TD_WRITABLE;
    if ((events & TD_READABLE) == 0 &&
        (stream->is_shaking || (!stream->is_connecting && wants_input(stream))))
        events |= TD_READABLE;
    td_transport_watch(&stream->transport, stream->loop, events);
}

static void
watch_no_input(td_iostream *stream)
{
    td_transport_watch(&stream->transport, stream->loop,
                       td_transport_watched(&stream->transport) & ~TD_READABLE);
}

/* Something for whoever reads has come, or the end: TLS has also its own to say (tickets, keys). */
static bool
has_input(td_iostream *stream)
{
    ssize_t n;

    if (td_transport_tls(&stream->transport) == NULL || stream->in.len > 0)
        return true;
    n = td_iostream_receive(stream);
    stream->has_ended = n == 0;
    return n != -EAGAIN;
}

/* Nothing is read: only the end is of interest, and what comes before it. */
static void
receive_ahead(td_iostream *stream)
{
    const ssize_t n = td_iostream_receive(stream);

    stream->has_ended = n == 0;
    if (n < 0 && n != -EAGAIN)
        td_iostream_close_with(stream, (int)n);
    td_iostream_close_if_over(stream);
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
        td_iostream_end_connect(stream);
    if (stream->is_shaking && !td_iostream_go_on_shaking(stream)) {
        td_iostream_watch(stream);
        return;
    }
    if (!stream->is_closed && (events & TD_WRITABLE))
        td_iostream_send_out(stream);
    if (!stream->is_closed && (events & TD_READABLE)) {
        stream->is_drained = false;
        stream->burst = 0;
        if (stream->on_input != NULL && has_input(stream)) {
            tell_of_input(stream);
            return;
        }
        if (td_iostream_is_reading(stream))
            td_iostream_go_on_reading(stream);
        else if (stream->flush_ends_at_input && has_input(stream))
            td_iostream_end_flush_at_input(stream);
        else if (looks_ahead(stream))
            receive_ahead(stream);
        else
            watch_no_input(stream);
    }
    td_iostream_watch(stream);
    td_waiters_resume(&stream->readers);
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
    stream->half_open = options.half_open;
    stream->turn = (td_callback){.fn = td_iostream_end_turn, .arg = stream};
    stream->closed = (td_callback){.fn = td_iostream_start_close_job, .arg = stream};
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
    td_iostream_watch(stream);
    return stream;
}

void
td_iostream_destroy(td_iostream **stream_)
{
    td_iostream *stream = *stream_;

    if (stream == NULL || !td_is_on_loop("td_iostream_destroy"))
        return;
    *stream_ = NULL;
    td_iostream_drop_close_job(stream);
    td_iostream_close_with(stream, 0);
    td_callback_cancel(&stream->turn);
    td_callback_cancel(&stream->closed);
    td_waiters_fini(&stream->readers);
    td_waiters_fini(&stream->flushers);
    td_waiters_fini(&stream->connectors);
    td_buf_release(&stream->in);
    td_buf_release(&stream->result);
    td_iostream_free_regex(stream);
    free(stream->error_text);
    if (stream->observer.destroyed != NULL)
        stream->observer.destroyed(stream->observer.arg);
    free(stream);
    streams_count--;
}

size_t
td_iostreams_count(void)
{
    return streams_count;
}

void
td_iostream_observe(td_iostream *stream, const td_iostream_observer *observer)
{
    stream->observer = *observer;
}

/* ---- what it is */

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
    stream->deadline_ns = 0;
}

void
td_iostream_set_half_open(td_iostream *stream, bool half_open)
{
    if (td_waiters_are_usable(stream, "td_iostream_set_half_open"))
        stream->half_open = half_open;
}

void
td_iostream_set_deadline(td_iostream *stream, int64_t deadline_ns)
{
    stream->deadline_ns = deadline_ns;
}

int
td_iostream_wait(td_iostream *stream, td_waiters *line)
{
    return stream->deadline_ns != 0 ? td_waiters_wait_until(line, NULL, stream->deadline_ns)
                                    : td_waiters_wait(line, NULL, stream->timeout_ms);
}

int64_t
td_iostream_timeout(const td_iostream *stream)
{
    return stream->timeout_ms;
}

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

static size_t
give_back(td_buf *buf)
{
    const size_t size = buf->size;

    td_buf_release(buf);
    return size;
}

size_t
td_iostream_give_back(td_iostream *stream)
{
    size_t size = give_back(&stream->result);

    stream->data = td_str_make(NULL, 0);
    if (stream->in.len == 0)
        size += give_back(&stream->in);
    if (stream->out.len == 0)
        size += give_back(&stream->out);
    return size;
}

/* ---- input that nobody reads */

void
td_iostream_push_back(td_iostream *stream, td_str bytes)
{
    td_buf in = {0};

    td_buf_append(&in, bytes);
    td_buf_append(&in, td_buf_str(&stream->in));
    td_buf_release(&stream->in);
    stream->in = in;
}

void
td_iostream_on_input(td_iostream *stream, td_loop_fn *fn, void *arg)
{
    stream->on_input = fn;
    stream->on_input_arg = arg;
    if (fn == NULL)
        return;
    stream->on_input_since = td_ioloop_iteration(stream->loop);
    if (td_transport_tls(&stream->transport) != NULL || /* which may have some in store */
        !(td_transport_watched(&stream->transport) & TD_READABLE))
        td_iostream_watch(stream);
}

/*
 * The loop has polled since somebody wanted to be told of input, and has nothing to tell.  What has
 * come since then is taken for an answer to what is asked next, so that may not be long ago.
 */
static bool
was_polled(const td_iostream *stream, int64_t now_ns)
{
    return stream->transport.ops->reads_all && stream->on_input != NULL &&
           stream->on_input_since != td_ioloop_iteration(stream->loop) &&
           !ev_is_pending(&stream->transport.watcher) && now_ns - td_now_ns() < POLL_GOOD_NS;
}

/*
 * The kernel is asked only where the loop has not done so.  An attempt and not a look at the
 * socket: in front of what counts TLS may have sent something of its own.
 */
bool
td_iostream_is_quiet(td_iostream *stream, int64_t now_ns)
{
    char byte;

    if (stream->is_closed || stream->in.len > 0)
        return false;
    return was_polled(stream, now_ns) ||
           stream->transport.ops->read(&stream->transport, &byte, 1) == -EAGAIN;
}
