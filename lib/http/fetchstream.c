/*
 * A request step by step, by a caller who waits between them for others: what td_fetch_open gives.
 * A step that fails lets go of all, and says the same again; two coroutines may take steps at the
 * same time, one that writes and one that reads.
 */
#include "http/fetch_internal.h"

#include <tornado/coroutine.h>
#include <tornado/iostream.h>
#include "io/iostream.h"

/* It has failed: nothing of it is of use any more. */
static int
break_off(td_fetch_stream *f, int error)
{
    td_fetch_let_go(f);
    f->is_over = true;
    return td_fetch_tell_failure(f, error);
}

static void
close_when_done(void *arg)
{
    td_fetch_stream_close(arg);
}

int
td_http_client_open(td_arena *arena, const char *url, const td_fetch_options *options, void *owner,
                    int64_t now_ns, td_response *out, td_fetch_stream **stream_out)
{
    td_fetch_stream *f = td_arena_alloc_raw(arena, sizeof(*f));
    int rc = td_fetch_init(f, arena, url, options, owner, now_ns, out);

    f->is_pulled = true;
    td_defer(close_when_done, f);
    if (rc == 0)
        rc = td_fetch_begin(f, false);
    if (rc < 0)
        return break_off(f, rc);
    *stream_out = f;
    return 0;
}

/* The head was given to the caller. */
static bool
is_told(const td_fetch_stream *f)
{
    return f->out->status != 0 && f->out->error == 0;
}

static int
fail_closed(td_fetch_stream *f)
{
    return td_fetch_fail(f, TD_ECLOSED, "the stream was closed");
}

/* Too much for content_length is no misuse but a failure: what was asked for cannot be sent. */
static const char *
find_writing_misuse(const td_fetch_stream *f, td_fetch_step step)
{
    if (f->is_in_write)
        return "another coroutine writes, or was cancelled while it did";
    if (step == TD_STEP_WRITE && !td_fetch_is_streamed(f))
        return "the request has no body that is streamed";
    if (step == TD_STEP_WRITE && f->body_is_complete && f->options->content_length == 0)
        return "td_fetch_end has ended the body";
    return NULL;
}

const char *
td_fetch_stream_find_misuse(const td_fetch_stream *f, td_fetch_step step)
{
    if (step == TD_STEP_WRITE || step == TD_STEP_END)
        return find_writing_misuse(f, step);
    if (f->is_producing)
        return "body_producer may only write";
    if (step == TD_STEP_CLOSE)
        return NULL;
    if (f->is_in_read)
        return "another coroutine waits for the answer";
    if (step == TD_STEP_READ && !is_told(f) && f->out->error == 0)
        return "td_fetch_head comes first";
    return NULL;
}

/* By its borrower, who may: of a td_fetch_stream that was detached. */
static void
forget_stream(void *arg)
{
    td_upstream *upstream = arg;

    upstream->stream = NULL;
}

/* HTTP has ended, and with it what it limits. */
static void
end_http(td_fetch_stream *f)
{
    td_fetch_leave_place(f);
    td_iostream_set_timeout(f->upstream->stream, 0);
    td_iostream_observe(f->upstream->stream,
                        &(td_iostream_observer){.destroyed = forget_stream, .arg = f->upstream});
    td_iostream_push_back(f->upstream->stream, f->rest);
    f->rest = td_str_make(NULL, 0);
    f->is_over = true;
    f->out->phase = TD_FETCH_DONE;
}

int
td_fetch_stream_head(td_fetch_stream *f)
{
    int rc;

    if (is_told(f) || f->out->error != 0)
        return f->out->error;
    if (f->is_over)
        return fail_closed(f);
    TD_FETCH_IN_READ(f);
    f->is_reading = true;
    rc = td_fetch_receive_head(f);
    rc = td_fetch_repeat_if_closed(f, rc, true);
    if (rc == 0)
        rc = td_fetch_follow_redirects(f);
    if (rc == 0 && f->is_over) /* while it connected */
        rc = fail_closed(f);
    if (rc == 0)
        rc = td_fetch_begin_body(f, true);
    if (rc < 0)
        return break_off(f, rc);
    td_fetch_take_head(f);
    if (f->response.status == 101)
        end_http(f);
    return 0;
}

td_iostream *
td_fetch_stream_detach(td_fetch_stream *f)
{
    return f->out->status == 101 && f->upstream != NULL ? f->upstream->stream : NULL;
}

int
td_fetch_stream_read(td_fetch_stream *f, td_str *data_out)
{
    int rc = f->out->error;

    *data_out = TD_STR("");
    TD_FETCH_IN_READ(f);
    if (rc == 0 && f->is_over && f->out->phase != TD_FETCH_DONE)
        rc = fail_closed(f);
    if (rc == 0 && !f->is_over)
        rc = td_fetch_next_piece(f, data_out);
    if (rc < 0)
        return f->is_over ? rc : break_off(f, rc);
    if (rc > 0) {
        td_fetch_hold_piece(f, data_out);
        return (int)data_out->len;
    }
    if (!f->is_over) {
        td_fetch_end_time(f);
        td_fetch_give_back(f);
    }
    f->is_over = true;
    f->out->phase = TD_FETCH_DONE;
    return 0;
}

/* What was inflated could not stay until it is asked for, so of that we do not know. */
bool
td_fetch_stream_is_ready(td_fetch_stream *f)
{
    if (f->is_producing || f->is_in_read || (!is_told(f) && f->out->error == 0))
        return false;
    if (f->ahead_rc == 0 && !f->is_over && f->body_in.decompressor == NULL)
        f->ahead_rc = td_response_body_next(&f->body_in, &f->rest, &f->ahead);
    return f->ahead_rc != 0 || f->is_over || td_response_body_is_over(&f->body_in);
}

void
td_fetch_stream_close(td_fetch_stream *f)
{
    td_fetch_let_go(f);
    f->is_over = true;
}

td_response *
td_fetch_stream_answer(td_fetch_stream *f)
{
    return f->out;
}

void *
td_fetch_stream_owner(td_fetch_stream *f)
{
    return f->owner;
}
