/*
 * The request goes out: head and body, with an eye on what comes back.  A server may answer before
 * it has all of the body, and close: then the rest is not sent, and its answer is as good as any.
 * All here return 0, 1 when the server has answered already, or an error.
 *
 * While another coroutine reads (is_reading) what comes is its business.
 */
#include "http/fetch_internal.h"

#include <tornado/iostream.h>
#include "io/iostream.h"

#define CONTINUE_WAIT_MS 1000 /* not for ever */

/*
 * RFC 9110 section 10.1.1: until the server wants the body, or says nothing for a while.  0, or 1
 * when it has answered instead, or an error.
 */
static int
await_continue(td_fetch_stream *f)
{
    const int64_t soon_ns = td_fetch_deadline_in(CONTINUE_WAIT_MS), end_ns = td_fetch_wait_until(f);
    int rc;
    TD_FETCH_IN_READ(f);

    f->expects_continue = false;
    do
        rc = td_fetch_next_head(f, soon_ns < end_ns ? soon_ns : end_ns, end_ns);
    while (rc == 0 && f->response.status != 100);
    if (rc == TD_ETIMEDOUT && soon_ns < end_ns && !f->is_in_head)
        return 0;
    return td_fetch_end_wait(f, rc);
}

/*
 * For the kernel, or for an answer if nobody else reads: one that is there and is not read yet, as
 * whoever does may wait for a client of his own, would end each wait at once.
 */
static int
wait_for_room(td_fetch_stream *f)
{
    td_iostream *stream = f->upstream->stream;
    int rc;

    if (f->is_reading)
        return td_iostream_flush(stream);
    rc = td_iostream_flush_or_input(stream);
    if (rc == 1)
        rc = f->is_reading ? 0 : td_fetch_end_wait(f, td_fetch_take_input(f));
    return rc;
}

/* Wait until the kernel has it all. */
static int
flush_sent(td_fetch_stream *f)
{
    int rc;

    if (td_iostream_unsent(f->upstream->stream) == 0)
        return 0;
    const int64_t end_ns = td_fetch_wait_until(f); /* what comes meanwhile does not put it off */
    do {
        rc = td_fetch_limit_wait(f, end_ns);
        if (rc == 0)
            rc = wait_for_room(f);
    } while (rc == 0 && td_iostream_unsent(f->upstream->stream) > 0);
    return rc;
}

/* All that it has said has come: nothing here waits. */
static int
take_last_words(td_fetch_stream *f)
{
    int rc;

    do
        rc = td_fetch_next_head(f, INT64_MAX, td_fetch_wait_until(f));
    while (rc == 0);
    f->out->phase = TD_FETCH_SEND;
    return td_fetch_end_wait(f, rc);
}

/*
 * A server that has closed, or reset the connection, may have said why before: it does not want all
 * of the body.  Whoever reads has been woken for what it said, and tells if that is no answer.
 */
static int
fail_sending(td_fetch_stream *f, int error)
{
    if (f->out->error != 0)
        return error;
    if (f->upstream == NULL || (f->is_reading && error != TD_ETIMEDOUT))
        return 1;
    if (error != TD_ETIMEDOUT && td_iostream_unread(f->upstream->stream) > 0)
        return take_last_words(f);
    return td_fetch_fail_waiting(f, error);
}

static int
send_bytes(td_fetch_stream *f, td_str bytes)
{
    int rc = 0;

    f->out->phase = TD_FETCH_SEND;
    while (rc == 0 && bytes.len > 0) {
        const size_t n = bytes.len < TD_FETCH_PIECE ? bytes.len : TD_FETCH_PIECE;

        rc = td_iostream_write(f->upstream->stream, td_str_make(bytes.ptr, n));
        if (rc == 0)
            rc = flush_sent(f);
        bytes = td_str_make(bytes.ptr + n, bytes.len - n);
    }
    return rc < 0 ? fail_sending(f, rc) : rc;
}

/* What was put into the output of the connection. */
static int
send_output(td_fetch_stream *f)
{
    int rc;

    f->out->phase = TD_FETCH_SEND;
    rc = td_iostream_send(f->upstream->stream);
    if (rc == 0)
        rc = flush_sent(f);
    return rc < 0 ? fail_sending(f, rc) : rc;
}

/* RFC 9112 section 7.1: chunk = chunk-size CRLF chunk-data CRLF */
static int
send_chunk(td_fetch_stream *f, td_str bytes)
{
    int rc = 0;

    while (rc == 0 && bytes.len > 0) {
        const size_t n = bytes.len < TD_FETCH_PIECE ? bytes.len : TD_FETCH_PIECE;

        f->sent.start = f->sent.len = 0;
        td_buf_printf(&f->sent, "%zx\r\n", n);
        td_buf_append(&f->sent, td_str_make(bytes.ptr, n));
        td_buf_append(&f->sent, TD_STR("\r\n"));
        rc = send_bytes(f, td_buf_str(&f->sent));
        bytes = td_str_make(bytes.ptr + n, bytes.len - n);
    }
    return rc;
}

/* ---- a body that is written piece by piece */

/* What the state of the request says of more of its body: 0, 1, or an error. */
static int
check_writing(td_fetch_stream *f, size_t len)
{
    if (f->out->error != 0)
        return f->out->error;
    if (f->is_over || (f->has_head && !f->is_reading))
        return 1;
    if (f->options->content_length > 0 && len > f->unwritten)
        return td_fetch_fail(f, TD_EINVAL, "the body is longer than content_length");
    return f->expects_continue && !f->is_reading ? await_continue(f) : 0;
}

static int
write_piece(td_fetch_stream *f, td_str bytes)
{
    int rc = check_writing(f, bytes.len);

    if (rc != 0 || bytes.len == 0)
        return rc;
    if (f->options->content_length == 0)
        return send_chunk(f, bytes);
    rc = send_bytes(f, bytes);
    f->unwritten -= bytes.len;
    f->body_is_complete = rc == 0 && f->unwritten == 0;
    return rc;
}

/* With rc; if it was given something it is the server's turn again, however long the caller took. */
static int
end_step(td_fetch_stream *f, int rc)
{
    f->is_in_write = false;
    if (rc == 0 && f->is_pulled)
        f->given_until_ns = td_fetch_wait_until(f);
    return rc;
}

static int
end_body(td_fetch_stream *f)
{
    int rc = f->body_is_complete ? 0 : check_writing(f, 0);

    if (rc != 0 || f->body_is_complete)
        return rc;
    if (f->unwritten > 0)
        return td_fetch_fail(f, TD_EINVAL, "the body is shorter than content_length");
    rc = send_bytes(f, TD_STR("0\r\n\r\n"));
    f->body_is_complete = rc == 0;
    return rc;
}

/* Who is cancelled meanwhile leaves is_in_write set: what would follow half a piece is no body. */
int
td_fetch_stream_write(td_fetch_stream *f, td_str bytes)
{
    f->is_in_write = true;
    return end_step(f, write_piece(f, bytes));
}

int
td_fetch_stream_end(td_fetch_stream *f)
{
    f->is_in_write = true;
    return end_step(f, end_body(f));
}

/* ---- the request */

static int
produce_body(td_fetch_stream *f)
{
    int rc;

    f->is_producing = true;
    rc = f->options->body_producer(f, f->options->callback_arg);
    f->is_producing = false;
    if (rc == 0)
        rc = td_fetch_stream_end(f);
    if (rc < 0 && f->out->error == 0)
        return td_fetch_fail(f, rc, "the body was not produced: %s", td_strerror(rc));
    return rc;
}

static int
send_body(td_fetch_stream *f)
{
    int rc = 0;

    if (f->expects_continue)
        rc = await_continue(f);
    if (rc == 0)
        rc = send_bytes(f, f->body);
    f->body_is_complete = rc == 0;
    return rc;
}

/* Small bodies go along with their head; one that is written by the caller comes later. */
int
td_fetch_send_request(td_fetch_stream *f)
{
    td_buf *out = td_iostream_output(f->upstream->stream);
    bool is_whole = false;
    int rc;

    f->unwritten = (uint64_t)f->options->content_length;
    f->expects_continue = false;
    td_fetch_make_head(f, out);
    f->body_is_complete = f->body.ptr == NULL && !td_fetch_is_streamed(f);
    if (f->body.ptr != NULL && f->body.len < TD_FETCH_PIECE / 2 && !f->expects_continue) {
        td_buf_append(out, f->body);
        is_whole = true;
    }
    rc = send_output(f);
    f->body_is_complete |= is_whole;
    if (rc != 0 || f->body_is_complete || f->options->stream_body)
        return rc;
    return td_fetch_is_streamed(f) ? produce_body(f) : send_body(f);
}
