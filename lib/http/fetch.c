/*
 * A request is straight-line code on the coroutine that asks.
 *
 * A `td_fetch_stream` has all that a request holds: its place among max_clients, its connection,
 * its buffers.  It is a variable with a cleanup, so a cancelled coroutine gives all of it back
 * while it unwinds.  A redirect is a request of its own, with a place and a connection of its own.
 *
 * There is one way through a request, in three steps: it is begun (its head is sent), the head of
 * the answer comes, its body comes.  td_fetch takes them all, a td_fetch_stream one at a time.
 */
#include "http/fetch_internal.h"

#include <errno.h>
#include "base/clock.h"

#define REDIRECTS_DEFAULT 5

/* ---- its beginning and its end */

int
td_fetch_init(td_fetch_stream *f, td_arena *arena, const char *url, const td_fetch_options *options,
              void *owner, int64_t now_ns, td_response *out)
{
    *f = (td_fetch_stream){
        .arena = arena,
        .options = options,
        .out = out,
        .owner = owner,
        .url = td_str_dup(arena, td_str_of(url)),
        .method = options->method != NULL ? td_str_of(options->method) : TD_STR("GET"),
        .body = options->body,
        .begun_ns = now_ns,
    };
    *out = (td_response){.size = sizeof(*out), .body = TD_STR(""), .effective_url = f->url};
    td_http_client_start();
    return td_fetch_check_options(f);
}

int
td_fetch_tell_failure(td_fetch_stream *f, int error)
{
    td_response *out = f->out;

    *out = (td_response){.size = sizeof(*out),
                         .status = 599,
                         .reason = out->reason,
                         .effective_url = f->url,
                         .redirects = out->redirects,
                         .error = error,
                         .is_stale = out->is_stale,
                         .phase = out->phase};
    td_fetch_end_time(f);
    return error;
}

void
td_fetch_let_go(td_fetch_stream *f)
{
    td_upstream_destroy(&f->upstream);
    td_fetch_leave_place(f);
    td_response_body_release(&f->body_in);
    td_buf_release(&f->sent);
    td_buf_release(&f->head);
    td_buf_release(&f->received);
    f->rest = td_str_make(NULL, 0);
}

void
td_fetch_give_back(td_fetch_stream *f)
{
    if (f->may_keep && f->body_is_complete && f->response.keep_alive && f->rest.len == 0)
        td_fetch_keep_upstream(f);
    td_fetch_let_go(f);
}

/* ---- an exchange with one server */

/* A kept connection was closed under the request. */
static bool
is_stale(const td_fetch_stream *f, int rc)
{
    return (rc == TD_ECLOSED || rc == TD_ETRUNCATED || rc == -ECONNRESET || rc == -EPIPE) &&
           f->upstream != NULL && f->upstream->was_kept && !f->is_answered;
}

/* Connect and send; with `and_head` go on until the head of the answer has come. */
static int
exchange(td_fetch_stream *f, bool from_kept, bool and_head)
{
    int rc = td_fetch_open_upstream(f, from_kept);

    if (rc == 0)
        rc = td_fetch_send_request(f);
    if (rc >= 0 && and_head)
        rc = td_fetch_receive_head(f);
    return rc < 0 ? rc : 0;
}

int
td_fetch_repeat_if_closed(td_fetch_stream *f, int rc, bool and_head)
{
    if (rc == 0 || !is_stale(f, rc))
        return rc;
    if (td_fetch_is_streamed(f) || !td_fetch_is_idempotent(f)) { /* once more may do harm */
        f->out->is_stale = true;
        return rc;
    }
    td_upstream_destroy(&f->upstream);
    f->out->error = 0;
    return exchange(f, false, and_head);
}

int
td_fetch_begin(td_fetch_stream *f, bool and_head)
{
    int rc = td_fetch_check_url(f);

    if (!f->is_pulled)
        f->deadline_ns = td_fetch_deadline_after(f->begun_ns, f->options->request_timeout_ms);
    if (rc == 0)
        rc = td_fetch_take_place(f);
    if (rc == 0)
        rc = td_fetch_repeat_if_closed(f, exchange(f, true, and_head), and_head);
    return rc;
}

/* ---- redirects */

static bool
is_redirect(const td_fetch_stream *f)
{
    const int max = f->options->max_redirects == 0 ? REDIRECTS_DEFAULT : f->options->max_redirects;
    const int status = f->response.status;

    return (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
           f->out->redirects < max && !f->options->stream_body &&
           td_headers_find(&f->response.headers, TD_STR("Location")) != NULL;
}

/* RFC 9110 section 15.4, as browsers do it. */
static int
follow(td_fetch_stream *f)
{
    const td_header *location = td_headers_find(&f->response.headers, TD_STR("Location"));
    const int status = f->response.status;
    const td_str url = td_uri_join(f->arena, &f->uri, location->value);
    td_uri uri;

    if (url.ptr == NULL || !td_uri_parse(url, &uri))
        return td_fetch_fail(f, TD_EBADMSG, "the redirect leads to no http URL");
    if (!td_uri_same_origin(&f->uri, &uri))
        f->is_foreign = true; /* and remains it: the way back is not the caller's either */
    if ((status == 303 && !td_str_equal(f->method, TD_STR("HEAD"))) ||
        (status <= 302 && td_str_equal(f->method, TD_STR("POST")))) {
        f->method = TD_STR("GET");
        f->body = td_str_make(NULL, 0);
        f->lost_body = true;
    }
    f->url = url;
    f->out->redirects++;
    f->begun_ns = td_clock_ns();
    f->is_answered = f->has_head = false;
    f->interims = 0;
    return 0;
}

/* ---- all of it */

int
td_fetch_follow_redirects(td_fetch_stream *f)
{
    int rc = 0;

    while (rc == 0 && is_redirect(f)) {
        rc = td_fetch_receive_body(f, false);
        if (rc == 0)
            td_fetch_give_back(f);
        if (rc == 0)
            rc = follow(f);
        if (rc == 0)
            rc = td_fetch_begin(f, true);
    }
    if (rc == 0 && f->options->header_callback != NULL)
        td_fetch_tell_headers(f);
    return rc;
}

static int
ask(td_fetch_stream *f)
{
    int rc = td_fetch_begin(f, true);

    if (rc == 0)
        rc = td_fetch_follow_redirects(f);
    if (rc == 0)
        rc = td_fetch_receive_body(f, true);
    if (rc < 0)
        return rc;
    td_fetch_take_head(f);
    td_fetch_give_back(f);
    return 0;
}

int
td_http_client_fetch(td_arena *arena, const char *url, const td_fetch_options *options, void *owner,
                     int64_t now_ns, td_response *out)
{
    td_fetch_stream f __attribute__((cleanup(td_fetch_let_go)));
    int rc = td_fetch_init(&f, arena, url, options, owner, now_ns, out);

    if (rc == 0 && (options->stream_body || options->upgrade != NULL))
        rc = td_fetch_fail(&f, TD_EINVAL, "stream_body and upgrade are for td_fetch_open");
    if (rc == 0)
        rc = ask(&f);
    if (rc < 0)
        return td_fetch_tell_failure(&f, rc);
    td_fetch_end_time(&f);
    out->phase = TD_FETCH_DONE;
    return 0;
}
