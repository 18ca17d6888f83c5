/*
 * Reading from a td_iostream: what a read wants, bytes for it, and who is told.
 */
#include "io/iostream_internal.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include "io/call.h"

#define PIECE ((size_t)64 * 1024) /* received by one attempt */
#define MUCH (PIECE / 4)
#define BURST 4                   /* of them before others have their turn */

/* How td_iostream_read.until goes on, for those that only the stream itself has. */
enum { UNTIL_INTO = TD_UNTIL_CLOSE + 1, UNTIL_INTO_PARTIAL };

/* ---- what a read wants, and whether the buffer has it: 1, 0, or TD_ETOOBIG */

int
td_iostream_take(td_iostream *stream, size_t n)
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
    struct stream_read *reading = &stream->reading;
    const td_str in = td_buf_str(&stream->in);
    const char *found = in.len == 0 ? NULL
                                    : memmem(in.ptr + reading->searched, in.len - reading->searched,
                                             reading->marker, reading->marker_len);
    const size_t end = found != NULL ? (size_t)(found - in.ptr) + reading->marker_len : 0;

    if (found == NULL && in.len >= reading->marker_len)
        reading->searched = in.len - reading->marker_len + 1;
    if (end > reading->count || (found == NULL && in.len >= reading->count))
        return TD_ETOOBIG;
    return found != NULL ? td_iostream_take(stream, end) : 0;
}

static int
fill_memory(td_iostream *stream)
{
    struct stream_read *reading = &stream->reading;
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
    const struct stream_read *reading = &stream->reading;
    const size_t len = stream->in.len;

    switch (reading->until) {
    case TD_UNTIL_BYTES:
        return len >= reading->count ? td_iostream_take(stream, reading->count) : 0;
    case TD_UNTIL_PARTIAL:
        return len > 0 || reading->count == 0
                   ? td_iostream_take(stream, len < reading->count ? len : reading->count)
                   : 0;
    case TD_UNTIL_MARKER:
        return find_marker(stream);
    case TD_UNTIL_REGEX:
        return td_iostream_find_regex(stream);
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
    return stream->reading.until == TD_UNTIL_CLOSE ? td_iostream_take(stream, stream->in.len)
                                                   : TD_ECLOSED;
}

/* ---- receiving */

size_t
td_iostream_room(const td_iostream *stream)
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

/*
 * Most of what comes is little, and to fill memory that is in no cache takes the kernel longer than
 * both copies by way of memory that is; nor does the stream keep room for more.  Where much comes it
 * goes straight to its place.
 */
static ssize_t
receive(td_iostream *stream, size_t size)
{
    const bool is_direct = stream->comes_much || stream->in.len > 0 || size > TD_SCRATCH_SIZE;
    char *to = is_direct ? td_buf_reserve(&stream->in, size) : td_ioloop_scratch(stream->loop);
    const ssize_t n = attempt(stream, to, size);

    if (n <= 0)
        return n;
    stream->comes_much = (size_t)n >= MUCH;
    if (is_direct)
        td_buf_added(&stream->in, (size_t)n);
    else
        td_buf_append(&stream->in, td_str_make(to, (size_t)n));
    return n;
}

ssize_t
td_iostream_receive(td_iostream *stream)
{
    const size_t size = td_iostream_room(stream);

    return size > 0 ? receive(stream, size) : TD_ETOOBIG;
}

/* The same for the read that is under way, past the buffer if it wants that. */
static ssize_t
receive_for_read(td_iostream *stream)
{
    struct stream_read *reading = &stream->reading;
    ssize_t n;

    if (reading->until == TD_UNTIL_CLOSE && td_iostream_room(stream) == 0)
        return receive(stream, 1); /* a full buffer may have been all */
    if (reading->to == NULL)
        return td_iostream_receive(stream);
    n = attempt(stream, reading->to + reading->done, reading->count - reading->done);
    if (n > 0)
        reading->done += (size_t)n;
    return n;
}

/*
 * What the read has come to: 1, 0 (it waits), or an error that the stream closes with.  Who reads as
 * fast as the other side sends, read after read, waits for the loop all the same.
 */
static int
try_read(td_iostream *stream)
{
    int rc = satisfy(stream);

    while (rc == 0 && stream->burst < BURST && !stream->has_ended && !stream->is_closed) {
        const ssize_t n = receive_for_read(stream);

        stream->burst++;
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

/* ---- its end */

static void
settle_future(td_iostream *stream, int code)
{
    td_future *future = stream->future;

    stream->future = NULL;
    td_future_on_cancel(future, NULL, NULL);
    if (code == 0)
        td_future_set_result(future, &stream->data);
    else
        td_future_set_error(future, code);
    td_future_unref(future);
}

/* Tell whoever wanted the read how it went. */
void
td_iostream_end_read(td_iostream *stream, int code)
{
    if (stream->future != NULL)
        settle_future(stream, code);
    else if (td_waiters_any(&stream->readers))
        td_waiters_release(&stream->readers, code);
}

/* What a read has come to may be the end of the stream. */
static void
close_after_read(td_iostream *stream, int rc)
{
    if (rc < 0 && rc != TD_ECLOSED)
        td_iostream_close_with(stream, rc);
    td_iostream_close_if_over(stream);
}

void
td_iostream_go_on_reading(td_iostream *stream)
{
    int rc;

    td_waiters_expect(&stream->readers);
    rc = try_read(stream);
    if (rc != 0 && stream->future != NULL)
        settle_future(stream, rc > 0 ? 0 : rc);
    else if (rc != 0)
        td_waiters_release_here(&stream->readers, rc > 0 ? 0 : rc);
    close_after_read(stream, rc);
}

void
td_iostream_read_last(td_iostream *stream)
{
    if (td_iostream_is_reading(stream) && satisfy(stream) > 0)
        td_iostream_end_read(stream, 0);
}

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
    if (!td_iostream_is_reading(stream) || has_begun_to_read(stream))
        return;
    stream->owes_drain = false;
    td_iostream_end_read(stream, TD_EDRAINING);
    td_iostream_watch(stream);
}

/* ---- its beginning */

/* 1: it is done; 0: it has to wait; else why it has failed. */
static int
begin_read(td_iostream *stream, const struct stream_read *reading)
{
    int rc;

    stream->data = td_str_make(NULL, 0);
    if (stream->result.size > TD_STREAM_RELEASE_ABOVE)
        td_buf_release(&stream->result);
    stream->reading = *reading;
    if (td_iostream_is_opening(stream))
        return 0;
    rc = try_read(stream);
    if (rc == 0 && stream->is_closed)
        rc = td_iostream_closed_code(stream);
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
    if (!td_iostream_is_reading(stream) && td_list_is_empty(&stream->readers.coming))
        return true;
    td_misuse(function, "another read is pending");
    return false;
}

/* 0, an error, or TD_EINVAL for what cannot be read. */
static int
await_read(td_iostream *stream, const struct stream_read *reading)
{
    int rc = begin_read(stream, reading);

    if (rc != 0)
        return rc < 0 ? rc : 0;
    /* In the line before the watcher looks for somebody there. */
    td_transport_watch(&stream->transport, stream->loop,
                       td_transport_watched(&stream->transport) |
                           (stream->is_connecting ? TD_WRITABLE : TD_READABLE));
    return td_iostream_wait(stream, &stream->readers);
}

static int
await_data(td_iostream *stream, const struct stream_read *reading, td_str *out)
{
    const int rc = await_read(stream, reading);

    if (rc == 0)
        *out = stream->data;
    return rc;
}

/* True when that is something that can be read, and nothing else is being read. */
static bool
prepare(td_iostream *stream, const td_iostream_read *what, struct stream_read *out,
        const char *function)
{
    const bool is_exact = what->until == TD_UNTIL_BYTES || what->until == TD_UNTIL_PARTIAL;
    const bool is_marker = what->until == TD_UNTIL_MARKER, is_regex = what->until == TD_UNTIL_REGEX;

    if ((unsigned)what->until > TD_UNTIL_CLOSE || what->count > stream->max_buffer ||
        (is_marker && (what->marker.len == 0 || what->marker.len > TD_STREAM_MARKER_MAX)) ||
        (is_regex && what->regex == NULL)) {
        td_misuse(function, "such a read is not possible: see its limits");
        return false;
    }
    *out = (struct stream_read){.until = (int)what->until,
                                .count = is_exact || what->count > 0 ? what->count
                                                                     : stream->max_buffer};
    if (is_marker)
        memcpy(out->marker, what->marker.ptr, out->marker_len = what->marker.len);
    return may_read(stream, function) &&
           (!is_regex || td_iostream_set_regex(stream, what->regex, function));
}

/* ---- the public reads */

static int
read_and_wait(td_iostream *stream, const td_iostream_read *what, td_str *out, const char *function)
{
    struct stream_read reading;

    if (!td_waiters_may_wait(stream, 0, function))
        return TD_EINVAL;
    if (out == NULL)
        return td_misuse(function, "there is no place for the bytes");
    if (!prepare(stream, what, &reading, function))
        return TD_EINVAL;
    return await_data(stream, &reading, out);
}

int
td_iostream_read_some(td_iostream *stream, size_t count, td_str *out)
{
    const struct stream_read reading = {.until = TD_UNTIL_PARTIAL, .count = count};

    return await_data(stream, &reading, out);
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
    const struct stream_read reading = {
        .until = partial ? UNTIL_INTO_PARTIAL : UNTIL_INTO, .count = size, .to = to};
    int rc;

    if (!td_waiters_may_wait(stream, 0, function) || !may_read(stream, function))
        return TD_EINVAL;
    if ((to == NULL && size > 0) || size > SSIZE_MAX)
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
    struct stream_read reading;
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
        td_iostream_watch(stream);
    }
    return future;
}
