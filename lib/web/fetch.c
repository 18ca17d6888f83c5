/*
 * td_fetch: the requests of handlers to other servers, by the client of lib/http.  An answer lies
 * in the memory of the request; one that is a future keeps that memory until it is there.
 */
#include <tornado/httpclient.h>
#include <tornado/tracing.h>

#include <string.h>
#include "base/clock.h"
#include "base/escape.h"
#include "http/httpclient.h"
#include "io/call.h"
#include "web/handler.h"
#include "web/visitor.h"

static bool
has_header(const td_fetch_options *options, const char *name)
{
    for (size_t i = 0; i < options->headers_count; i++) {
        if (options->headers[i].name != NULL &&
            td_str_equal_nocase(td_str_of(options->headers[i].name), td_str_of(name)))
            return true;
    }
    return false;
}

/* The trace that the request is part of goes on, see <tornado/tracing.h>. */
static void
pass_trace_on(td_handler *h, td_fetch_options *options)
{
    const td_str parent = td_traceparent(h);
    td_fetch_header *headers;

    if (td_str_is_null(parent) || has_header(options, "traceparent"))
        return;
    headers = TD_ARENA_ARRAY(&h->request->arena, td_fetch_header, options->headers_count + 2);
    if (options->headers_count > 0)
        memcpy(headers, options->headers, options->headers_count * sizeof(*headers));
    options->headers = headers;
    headers[options->headers_count++] = (td_fetch_header){"traceparent", parent.ptr};
    const td_str state = td_request_header(h, "tracestate");
    if (!td_str_is_null(state) && !has_header(options, "tracestate"))
        headers[options->headers_count++] = (td_fetch_header){"tracestate", state.ptr};
}

/* A wait has ended with a look at the clock; where there was none nothing took time. */
static void
count_time(td_handler *h, int64_t started_ns)
{
    if (td_now_ns() > started_ns)
        h->fetch_ns += td_now_ns() - started_ns;
}

/* What the caller says, complete, in `own` or elsewhere; NULL: it makes no sense, it was logged. */
static const td_fetch_options *
read_options(td_handler *h, const char *url, const td_fetch_options *wanted, td_fetch_options *own,
             const char *function)
{
    static const td_fetch_options usual = {.size = sizeof(usual)};

    if (!td_handler_has(h, function, url))
        return NULL;
    if (wanted == NULL && td_str_is_null(td_traceparent(h)))
        return &usual;
    *own = usual;
    if (wanted != NULL)
        memcpy(own, wanted, wanted->size < sizeof(*own) ? wanted->size : sizeof(*own));
    if (own->connect_timeout_ms >= -1 && own->request_timeout_ms >= -1 &&
        own->max_redirects >= -1 && own->max_body_size >= 0 && own->content_length >= 0 &&
        (own->headers != NULL || own->headers_count == 0)) {
        pass_trace_on(h, own);
        return own;
    }
    td_handler_misuse(h, function, "a time-out, a limit or the headers are wrong");
    return NULL;
}

static void
remember_failure(td_handler *h, int error, td_str text, td_fetch_phase phase)
{
    struct td_visitor *visitor = td_visitor_of(h);

    visitor->fetch_error = error;
    visitor->fetch_text = td_str_dup(&h->request->arena, text); /* a td_scope may not take it back */
    visitor->fetch_phase = (int)phase;
    visitor->fetch_is_stale = false;
}

static void
remember_misuse(td_handler *h, const char *function)
{
    if (h != NULL)
        remember_failure(h, TD_EINVAL,
                         td_arena_sprintf(&h->request->arena, "%s: misuse, see the log", function),
                         TD_FETCH_ASKED);
}

static void
tell_failure(td_handler *h, const td_response *answer, const char *function)
{
    if (answer->error == TD_EINVAL)
        td_handler_misuse(h, function, answer->reason.ptr);
    remember_failure(h, answer->error, answer->reason, answer->phase);
    h->visitor->fetch_is_stale = answer->is_stale;
}

td_response *
td_fetch(td_handler *h, const char *url, const td_fetch_options *wanted)
{
    static const char function[] = "td_fetch";
    const td_fetch_options *options;
    td_fetch_options own;
    td_response *answer;

    if (!td_is_on_coroutine(function))
        return NULL;
    options = read_options(h, url, wanted, &own, function);
    if (options == NULL) {
        remember_misuse(h, function);
        return NULL;
    }
    answer = td_arena_alloc_raw(td_handler_arena(h), sizeof(*answer)); /* td_fetch_init fills it in */
    const int64_t started_ns = td_clock_ns();
    const int rc = td_http_client_fetch(td_handler_arena(h), url, options, h, started_ns, answer);
    count_time(h, started_ns);
    if (rc == 0)
        return answer;
    tell_failure(h, answer, function);
    return NULL;
}

/* ---- piece by piece; memory is the request's: a td_scope may end before the stream */

td_fetch_stream *
td_fetch_open(td_handler *h, const char *url, const td_fetch_options *wanted)
{
    static const char function[] = "td_fetch_open";
    td_fetch_stream *stream;
    const td_fetch_options *options;
    td_response *answer;

    if (!td_is_on_coroutine(function) || !td_handler_usable(h, function))
        return NULL;
    options = read_options(h, url, wanted,
                           td_arena_alloc_raw(&h->request->arena, sizeof(*options)), function);
    if (options == NULL) {
        remember_misuse(h, function);
        return NULL;
    }
    answer = td_arena_alloc_raw(&h->request->arena, sizeof(*answer));
    const int64_t started_ns = td_clock_ns();
    const int rc = td_http_client_open(&h->request->arena, url, options, h, started_ns, answer,
                                       &stream);
    count_time(h, started_ns);
    if (rc == 0)
        return stream;
    tell_failure(h, answer, function);
    return NULL;
}

/* The result of a step, of which a failure is remembered. */
static int
tell_step(td_fetch_stream *stream, int rc, const char *function)
{
    if (rc < 0)
        tell_failure(td_fetch_stream_owner(stream), td_fetch_stream_answer(stream), function);
    return rc;
}

static bool
may_step(const td_fetch_stream *stream, td_fetch_step step, const void *out, const char *function)
{
    const char *misuse = "NULL is not allowed";

    if (!td_is_on_coroutine(function))
        return false;
    if (stream != NULL && out != NULL)
        misuse = td_fetch_stream_find_misuse(stream, step);
    if (misuse != NULL)
        td_misuse(function, misuse);
    return misuse == NULL;
}

int
td_fetch_write(td_fetch_stream *stream, td_str bytes)
{
    static const char function[] = "td_fetch_write";

    if (!may_step(stream, TD_STEP_WRITE, stream, function))
        return TD_EINVAL;
    return tell_step(stream, td_fetch_stream_write(stream, bytes), function);
}

int
td_fetch_end(td_fetch_stream *stream)
{
    static const char function[] = "td_fetch_end";

    if (!may_step(stream, TD_STEP_END, stream, function))
        return TD_EINVAL;
    return tell_step(stream, td_fetch_stream_end(stream), function);
}

td_response *
td_fetch_head(td_fetch_stream *stream)
{
    static const char function[] = "td_fetch_head";

    if (!may_step(stream, TD_STEP_HEAD, stream, function))
        return NULL;
    const int64_t started_ns = td_clock_ns();
    const int rc = tell_step(stream, td_fetch_stream_head(stream), function);
    count_time(td_fetch_stream_owner(stream), started_ns);
    return rc == 0 ? td_fetch_stream_answer(stream) : NULL;
}

int
td_fetch_read(td_fetch_stream *stream, td_str *data_out)
{
    static const char function[] = "td_fetch_read";

    if (!may_step(stream, TD_STEP_READ, data_out, function))
        return TD_EINVAL;
    return tell_step(stream, td_fetch_stream_read(stream, data_out), function);
}

td_iostream *
td_fetch_detach(td_fetch_stream *stream)
{
    static const char function[] = "td_fetch_detach";

    return may_step(stream, TD_STEP_READ, stream, function) ? td_fetch_stream_detach(stream) : NULL;
}

bool
td_fetch_is_ready(td_fetch_stream *stream)
{
    return stream != NULL && td_is_on_loop("td_fetch_is_ready") && td_fetch_stream_is_ready(stream);
}

void
td_fetch_close(td_fetch_stream **stream)
{
    static const char function[] = "td_fetch_close";
    const char *misuse;

    if (stream == NULL || *stream == NULL || !td_is_on_loop(function))
        return;
    misuse = td_fetch_stream_find_misuse(*stream, TD_STEP_CLOSE);
    if (misuse != NULL) {
        td_misuse(function, misuse);
        return;
    }
    td_fetch_stream_close(*stream);
    *stream = NULL;
}

/* ---- what has gone wrong */

const char *
td_error_text(td_handler *h)
{
    if (!td_handler_usable(h, "td_error_text") || h->visitor == NULL ||
        h->visitor->fetch_text.ptr == NULL)
        return "";
    return h->visitor->fetch_text.ptr;
}

int
td_error_code(td_handler *h)
{
    return td_handler_usable(h, "td_error_code") && h->visitor != NULL ? h->visitor->fetch_error : 0;
}

td_fetch_phase
td_error_phase(td_handler *h)
{
    if (!td_handler_usable(h, "td_error_phase") || h->visitor == NULL ||
        h->visitor->fetch_error == 0)
        return TD_FETCH_DONE;
    return (td_fetch_phase)h->visitor->fetch_phase;
}

bool
td_error_is_stale(td_handler *h)
{
    return td_handler_usable(h, "td_error_is_stale") && h->visitor != NULL &&
           h->visitor->fetch_is_stale;
}

td_str
td_fetched_header(const td_response *response, const char *name)
{
    for (size_t i = 0; response != NULL && name != NULL && i < response->headers_count; i++)
        if (td_str_equal_nocase(td_str_of(response->headers[i].name), td_str_of(name)))
            return td_str_of(response->headers[i].value);
    return td_str_make(NULL, 0);
}

/* ---- as a future */

struct fetching { /* in the arena of the request */
    td_callback begin;
    td_coroutine_job job;
    td_coroutine *co; /* NULL: it has not begun */
    td_future *future;
    td_request *request; /* both referenced */
    td_handler *owner;
    const char *url;
    td_fetch_options options;
    td_response *answer;
};

static void
fetching_run(void *arg)
{
    struct fetching *fetching = arg;

    const int64_t started_ns = td_clock_ns();

    fetching->co = td_coroutine_current();
    td_http_client_fetch(&fetching->request->arena, fetching->url, &fetching->options,
                         fetching->owner, started_ns, fetching->answer);
    count_time(fetching->owner, started_ns);
}

static void
fetching_ended(void *arg, td_coroutine_end end)
{
    struct fetching *fetching = arg;

    td_future_on_cancel(fetching->future, NULL, NULL);
    if (end == TD_COROUTINE_RETURNED)
        td_future_set_result(fetching->future, fetching->answer);
    else
        td_future_set_error(fetching->future, TD_ECANCELED);
    td_future_unref(fetching->future);
    td_request_unref(fetching->request);
}

static void
fetching_submit(void *arg)
{
    struct fetching *fetching = arg;

    td_coroutine_submit(&fetching->job);
}

/* The loop ends first. */
static void
fetching_dropped(void *arg)
{
    fetching_ended(arg, TD_COROUTINE_CANCELED);
}

static void
fetching_canceled(td_future *future, void *arg)
{
    struct fetching *fetching = arg;

    (void)future;
    if (fetching->co != NULL) {
        td_coroutine_cancel(fetching->co);
        return;
    }
    td_callback_cancel(&fetching->begin);
    td_list_remove(&fetching->job.link);
    fetching_ended(fetching, TD_COROUTINE_CANCELED);
}

td_future *
td_fetch_future(td_handler *h, const char *url, const td_fetch_options *wanted)
{
    const td_fetch_options *options;
    td_fetch_options own;
    struct fetching *fetching;

    options = read_options(h, url, wanted, &own, "td_fetch_future");
    if (options == NULL)
        return NULL;
    fetching = TD_ARENA_NEW(&h->request->arena, struct fetching);
    fetching->begin =
        (td_callback){.fn = fetching_submit, .arg = fetching, .dropped = fetching_dropped};
    fetching->job.task = (td_coroutine_task){
        .run = fetching_run, .ended = fetching_ended, .arg = fetching};
    td_coroutine_inherit(&fetching->job.task);
    td_request_ref(h->request);
    fetching->request = h->request;
    fetching->owner = h;
    fetching->url = td_arena_strdup(&h->request->arena, url);
    fetching->options = *options;
    fetching->answer = TD_ARENA_NEW(&h->request->arena, td_response);
    fetching->future = td_future_create();
    td_future_on_cancel(fetching->future, fetching_canceled, fetching);
    td_ioloop_post(td_ioloop_current(), &fetching->begin);
    return td_future_ref(fetching->future);
}
