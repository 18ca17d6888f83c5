/* Writing to a td_iostream: sent at once, or kept for when the kernel takes it. */
#include "io/iostream_internal.h"

#include <errno.h>
#include "io/call.h"

#define FLUSHES_A_TURN 16 /* that have nothing to wait for */

/* The other side takes no more.  What it has said before may say why, and can still be read. */
static void
close_after_input(td_iostream *stream, int error)
{
    stream->is_drained = false;
    while (!stream->has_ended) {
        const ssize_t n = td_iostream_receive(stream);

        if (n == TD_ETLS)
            error = TD_ETLS; /* an alert, which says why */
        if (n < 0)
            break;
        stream->has_ended = n == 0;
    }
    td_iostream_read_last(stream);
    td_iostream_close_with(stream, stream->has_ended && !stream->half_open ? 0 : error);
}

/* False: the kernel does not take it now. */
static bool
end_output(td_iostream *stream)
{
    const int rc = stream->transport.ops->shutdown(&stream->transport);

    if (rc == -EAGAIN)
        return false;
    stream->we_ended = true;
    stream->has_ended |= rc == 1;
    return true;
}

void
td_iostream_send_out(td_iostream *stream)
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
    if (stream->out.size > TD_STREAM_RELEASE_ABOVE)
        td_buf_release(&stream->out);
    if (td_iostream_has_output(stream) && !end_output(stream))
        return;
    stream->flush_ends_at_input = false;
    td_waiters_release_all(&stream->flushers, 0);
    if (stream->we_ended)
        td_iostream_close_if_over(stream);
}

/* Of a stream that may have closed: what becomes of all that was written. */
static int
output_code(const td_iostream *stream)
{
    return stream->is_closed && !stream->we_ended ? td_iostream_closed_code(stream) : 0;
}

int
td_iostream_write(td_iostream *stream, td_str bytes)
{
    if (!td_waiters_are_usable(stream, "td_iostream_write"))
        return TD_EINVAL;
    if (stream->ends_behind_out)
        return td_misuse("td_iostream_write", "td_iostream_shutdown has ended what we send");
    if (stream->is_closed)
        return td_iostream_closed_code(stream);
    if (stream->out.len > stream->max_write_buffer ||
        bytes.len > stream->max_write_buffer - stream->out.len)
        return TD_ETOOBIG;
    td_buf_append(&stream->out, bytes);
    return td_iostream_send(stream);
}

td_buf *
td_iostream_output(td_iostream *stream)
{
    return &stream->out;
}

int
td_iostream_send(td_iostream *stream)
{
    if (stream->is_closed) {
        td_buf_release(&stream->out);
        return td_iostream_closed_code(stream);
    }
    if (!td_iostream_is_opening(stream))
        td_iostream_send_out(stream);
    td_iostream_watch(stream);
    return output_code(stream);
}

int
td_iostream_shutdown(td_iostream *stream)
{
    if (!td_waiters_are_usable(stream, "td_iostream_shutdown"))
        return TD_EINVAL;
    if (stream->is_closed || stream->ends_behind_out)
        return output_code(stream);
    stream->ends_behind_out = true;
    return td_iostream_send(stream);
}

/* ---- waiting for the kernel */

void
td_iostream_end_turn(void *arg)
{
    td_iostream *stream = arg;

    if (!td_iostream_has_output(stream)) /* else they wait for that */
        td_waiters_release_all(&stream->flushers, 0);
}

int
td_iostream_flush(td_iostream *stream)
{
    if (!td_waiters_may_wait(stream, 0, "td_iostream_flush"))
        return TD_EINVAL;
    if (stream->is_closed)
        return output_code(stream);
    if (!td_iostream_has_output(stream)) { /* a peer that takes all at once keeps nobody waiting */
        if (++stream->flushes % FLUSHES_A_TURN != 0)
            return 0;
        td_ioloop_post(stream->loop, &stream->turn);
    }
    return td_iostream_wait(stream, &stream->flushers);
}

void
td_iostream_end_flush_at_input(td_iostream *stream)
{
    stream->flush_ends_at_input = false;
    td_waiters_release_all(&stream->flushers, 1);
}

int
td_iostream_flush_or_input(td_iostream *stream)
{
    if (stream->is_closed || stream->out.len == 0 || td_iostream_is_reading(stream))
        return td_iostream_flush(stream);
    if (stream->in.len > 0 || stream->has_ended)
        return 1;
    stream->flush_ends_at_input = true;
    td_iostream_watch(stream);
    return td_iostream_wait(stream, &stream->flushers);
}
