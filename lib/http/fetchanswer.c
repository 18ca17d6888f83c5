/*
 * The answer: heads, of which those of interim responses are passed over, and the body, as it is
 * framed and packed (responsebody.h).  Waits for more bytes where they are needed; nothing else
 * does.
 */
#include "http/fetch_internal.h"

#include <string.h>
#include "base/budget.h"
#include "base/escape.h"
#include "io/iostream.h"

#define BODY_MAX_DEFAULT (INT64_C(16) << 20)
#define INTERIM_MAX 16 /* 1xx responses in front of one */

/* ---- its head */

static int
receive_until(td_fetch_stream *f, int64_t deadline_ns)
{
    const int rc = td_fetch_limit_wait(f, deadline_ns);

    if (rc < 0)
        return rc;
    return td_iostream_read_some(f->upstream->stream, TD_FETCH_PIECE, &f->rest);
}

/*
 * More bytes in f->rest.  TD_ECLOSED: there is no more; for the caller to say what that means.  Who
 * was given another piece of the request's body meanwhile has its time from then on.
 */
static int
receive(td_fetch_stream *f, int64_t deadline_ns)
{
    int rc;

    while ((rc = receive_until(f, deadline_ns)) == TD_ETIMEDOUT && deadline_ns < f->given_until_ns)
        deadline_ns = f->given_until_ns;
    return rc;
}

/* A NUL behind each name and value: what stood there has been looked at. */
static void
terminate(td_str s)
{
    ((char *)(uintptr_t)s.ptr)[s.len] = '\0';
}

static int
read_head(td_fetch_stream *f, size_t len, const char **what)
{
    const td_str head = td_str_dup(f->arena, td_str_make(td_buf_str(&f->head).ptr, len));
    const int rc = td_response_head_read(head, f->arena, &f->response, what);

    if (rc < 0)
        return rc;
    terminate(f->response.reason);
    for (size_t i = 0; i < f->response.headers.count; i++) {
        terminate(f->response.headers.items[i].name);
        terminate(f->response.headers.items[i].value);
    }
    return 0;
}

/* All of it is there, and nobody wants to see it as it came. */
static bool
take_plain_head(td_fetch_stream *f)
{
    size_t len;

    if (f->options->header_callback != NULL)
        return false;
    len = td_response_head_plain(f->rest, f->arena, td_upstream_known(f->upstream), &f->response);
    f->rest = td_str_make(f->rest.ptr + len, f->rest.len - len);
    return len > 0;
}

/* What is in rest belongs to a head: 1, it is complete; 0, it wants more; or an error, told. */
static int
gather_head(td_fetch_stream *f)
{
    const char *what = NULL;

    f->is_answered = true;
    if (!f->is_in_head) {
        if (take_plain_head(f))
            return 1;
        f->scan = (td_response_scan){0};
        f->head.start = f->head.len = 0;
    }
    const size_t had = f->head.len;

    td_buf_append(&f->head, f->rest);
    ssize_t len = td_response_head_scan(&f->scan, td_buf_str(&f->head), &what);

    f->is_in_head = len == 0;
    f->rest =
        len > 0 ? td_str_make(f->rest.ptr + ((size_t)len - had), f->rest.len - ((size_t)len - had))
                : td_str_make(NULL, 0);
    if (len > 0 && read_head(f, (size_t)len, &what) < 0)
        len = TD_EBADMSG;
    return len < 0 ? td_fetch_fail(f, (int)len, "response: %s", what) : len > 0;
}

/* RFC 9110 section 7.8: the server may go on with what it was asked for, and with nothing else. */
static bool
is_upgraded(const td_fetch_stream *f)
{
    const td_header *upgrade = td_headers_find(&f->response.headers, TD_STR("Upgrade"));

    return f->response.status == 101 && f->options->upgrade != NULL && upgrade != NULL &&
           td_str_equal_nocase(upgrade->value, td_str_of(f->options->upgrade));
}

/* It is complete: 1, that of the answer proper; 0, there is another one to come; or an error, told.
 */
static int
judge_head(td_fetch_stream *f)
{
    if (f->response.status == 101 && !is_upgraded(f))
        return td_fetch_fail(f, TD_EBADMSG, "response: 101, which nobody has asked for");
    f->has_head = f->response.status >= 200 || f->response.status == 101;
    if (!f->has_head && ++f->interims > INTERIM_MAX)
        return td_fetch_fail(f, TD_EBADMSG, "response: too many interim ones");
    return f->has_head;
}

int
td_fetch_next_head(td_fetch_stream *f, int64_t begin_ns, int64_t end_ns)
{
    int rc = 0;

    f->out->phase = TD_FETCH_HEAD;
    while (rc == 0) {
        if (f->rest.len == 0)
            rc = receive(f, f->is_in_head ? end_ns : begin_ns);
        if (rc == 0)
            rc = gather_head(f);
    }
    return rc < 0 ? rc : judge_head(f);
}

int
td_fetch_take_input(td_fetch_stream *f)
{
    int rc = f->rest.len == 0 ? receive(f, td_fetch_wait_until(f)) : 0;

    while (rc == 0 && f->rest.len > 0) {
        rc = gather_head(f);
        if (rc > 0)
            rc = judge_head(f);
    }
    return rc;
}

int
td_fetch_receive_head(td_fetch_stream *f)
{
    int rc = f->has_head;

    while (rc == 0) {
        const int64_t end_ns = td_fetch_wait_until(f);

        rc = td_fetch_next_head(f, end_ns, end_ns);
    }
    return rc < 0 ? td_fetch_end_wait(f, rc) : 0;
}

void
td_fetch_tell_headers(const td_fetch_stream *f)
{
    const td_str head = td_buf_str(&f->head);
    const char *line = head.ptr, *lf;

    while ((lf = memchr(line, '\n', (size_t)(head.ptr + head.len - line))) != NULL) {
        f->options->header_callback(td_str_make(line, (size_t)(lf + 1 - line)),
                                    f->options->callback_arg);
        if (lf - line == 1)
            return;
        line = lf + 1;
    }
}

void
td_fetch_take_head(td_fetch_stream *f)
{
    const td_headers *from = &f->response.headers;
    td_fetch_header *headers = td_arena_alloc_raw(f->arena, from->count * sizeof(*headers));

    for (size_t i = 0; i < from->count; i++)
        headers[i] = (td_fetch_header){from->items[i].name.ptr, from->items[i].value.ptr};
    f->out->status = f->response.status;
    f->out->reason = f->response.reason;
    f->out->headers = headers;
    f->out->headers_count = from->count;
    f->out->effective_url = f->url;
}

/* ---- its body */

static int64_t
body_max(const td_fetch_stream *f, bool is_wanted)
{
    if (!is_wanted)
        return BODY_MAX_DEFAULT;
    if (f->options->max_body_size > 0)
        return f->options->max_body_size;
    return f->is_pulled || f->options->streaming_callback != NULL ? INT64_MAX : BODY_MAX_DEFAULT;
}

static int
fail_body(td_fetch_stream *f, int error)
{
    const td_response_body *body = &f->body_in;

    if (error == TD_ETOOBIG && body->chunks.what != NULL && body->chunks.status == 431)
        return td_fetch_fail(f, error, "response: %s", body->chunks.what);
    if (error == TD_ETOOBIG)
        return td_fetch_fail(f, error, "the body is larger than %lld bytes", (long long)body->max);
    if (error == TD_EBADMSG)
        return td_fetch_fail(f, error, "response: %s", body->what);
    return td_fetch_fail_waiting(f, error);
}

static bool
has_body(const td_fetch_stream *f)
{
    return !td_str_equal(f->method, TD_STR("HEAD")) && f->response.status != 204 &&
           f->response.status != 304 && f->response.status != 101;
}

int
td_fetch_begin_body(td_fetch_stream *f, bool is_wanted)
{
    int rc;

    f->out->phase = TD_FETCH_BODY;
    rc = td_response_body_begin(&f->body_in, &f->response, f->arena, has_body(f),
                                !f->options->no_decompress, body_max(f, is_wanted));
    f->may_keep &= f->body_in.framing != TD_BODY_UNTIL_CLOSE;
    return rc < 0 ? fail_body(f, rc) : 0;
}

int
td_fetch_next_piece(td_fetch_stream *f, td_str *out)
{
    int rc = f->ahead_rc;

    *out = f->ahead;
    f->ahead_rc = 0;
    while (rc == 0 && (rc = td_response_body_next(&f->body_in, &f->rest, out)) == 0 &&
           !td_response_body_is_over(&f->body_in)) {
        rc = receive(f, td_fetch_wait_until(f));
        if (rc == TD_ECLOSED && !f->is_over) /* not by ourselves */
            rc = td_response_body_closed(&f->body_in);
        if (rc < 0)
            break;
    }
    if (rc == 0)
        rc = td_response_body_check(&f->body_in);
    return rc < 0 ? fail_body(f, rc) : rc;
}

void
td_fetch_hold_piece(td_fetch_stream *f, td_str *piece)
{
    if (f->body_in.decompressor == NULL)
        return;
    f->received.start = f->received.len = 0;
    td_buf_append(&f->received, *piece);
    *piece = td_buf_str(&f->received);
}

/* The callback may wait. */
static void
give_piece(td_fetch_stream *f, td_str piece)
{
    td_fetch_hold_piece(f, &piece);
    f->options->streaming_callback(piece, f->options->callback_arg);
    f->received.start = f->received.len = 0;
}

/* Where it is all that comes, at once where it is to stay. */
static int
keep_piece(td_fetch_stream *f, td_str piece)
{
    const size_t len = f->received.len + piece.len;

    if (f->received.len == 0 && td_response_body_is_over(&f->body_in)) {
        f->out->body = td_str_dup(f->arena, piece);
        return 0;
    }
    if (len > f->received.size && !td_budget_has(TD_BUDGET_RESPONSES, len)) {
        td_budget_refused(TD_BUDGET_RESPONSES, NULL);
        return td_fetch_fail(f, TD_EBUSY, "%s", td_budget_text());
    }
    td_buf_append(&f->received, piece);
    return 0;
}

/* As most do: it is as long as the head says, and all of it has come behind that. */
static bool
has_come_whole(const td_fetch_stream *f)
{
    const td_response_head *head = &f->response;

    return head->content_length >= 0 && (uint64_t)head->content_length <= f->rest.len &&
           head->content_length <= body_max(f, true) && !head->is_encoded && has_body(f);
}

static void
take_whole(td_fetch_stream *f)
{
    const size_t len = (size_t)f->response.content_length;

    f->out->phase = TD_FETCH_BODY;
    f->out->body = td_str_dup(f->arena, td_str_make(f->rest.ptr, len));
    f->rest = td_str_make(f->rest.ptr + len, f->rest.len - len);
}

int
td_fetch_receive_body(td_fetch_stream *f, bool is_wanted)
{
    td_str piece;
    int rc;

    if (is_wanted && f->options->streaming_callback == NULL && has_come_whole(f)) {
        take_whole(f);
        return 0;
    }
    rc = td_fetch_begin_body(f, is_wanted);
    while (rc == 0 && (rc = td_fetch_next_piece(f, &piece)) > 0) {
        rc = 0;
        if (is_wanted && f->options->streaming_callback != NULL)
            give_piece(f, piece);
        else if (is_wanted)
            rc = keep_piece(f, piece);
    }
    if (rc == 0 && f->received.len > 0)
        f->out->body = td_str_dup(f->arena, td_buf_str(&f->received));
    return rc;
}
