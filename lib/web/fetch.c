/*
 * td_fetch: the requests of handlers to other servers, by the client of lib/http.  An answer lies in
 * the memory of the request; one that is a future keeps that memory until it is there.
 */
#include <tornado/httpclient.h>

#include <string.h>
#include "base/escape.h"
#include "http/httpclient.h"
#include "io/call.h"
#include "web/handler.h"
#include "web/visitor.h"

/* What the caller says, complete; false: it makes no sense, which was logged. */
static bool
read_options(td_handler *h, const char *url, const td_fetch_options *wanted,
             td_fetch_options *out, const char *function)
{
    *out = (td_fetch_options){0};
    if (!td_handler_has(h, function, url))
        return false;
    if (wanted != NULL)
        memcpy(out, wanted, wanted->size < sizeof(*out) ? wanted->size : sizeof(*out));
    if (out->connect_timeout_ms >= -1 && out->request_timeout_ms >= -1 && out->max_redirects >= -1 &&
        out->max_body_size >= 0 && (out->headers != NULL || out->headers_count == 0))
        return true;
    td_handler_misuse(h, function, "a time-out, a limit or the headers are wrong");
    return false;
}

static void
remember_failure(td_handler *h, int error, td_str text)
{
    struct td_visitor *visitor = td_visitor_of(h);

    visitor->fetch_error = error;
    visitor->fetch_text = td_str_dup(&h->request->arena, text); /* a td_scope may not take it back */
}

td_response *
td_fetch(td_handler *h, const char *url, const td_fetch_options *wanted)
{
    static const char function[] = "td_fetch";
    td_fetch_options options;
    td_response *answer;

    if (!td_is_on_coroutine(function))
        return NULL;
    if (!read_options(h, url, wanted, &options, function)) {
        if (h != NULL)
            remember_failure(h, TD_EINVAL, TD_STR("td_fetch: misuse, see the log"));
        return NULL;
    }
    answer = td_alloc(h, sizeof(*answer));
    if (td_http_client_fetch(td_handler_arena(h), url, &options, answer) == 0)
        return answer;
    if (answer->error == TD_EINVAL)
        td_handler_misuse(h, function, answer->reason.ptr);
    remember_failure(h, answer->error, answer->reason);
    return NULL;
}

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
    const char *url;
    td_fetch_options options;
    td_response *answer;
};

static void
fetching_run(void *arg)
{
    struct fetching *fetching = arg;

    fetching->co = td_coroutine_current();
    td_http_client_fetch(&fetching->request->arena, fetching->url, &fetching->options,
                         fetching->answer);
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
    td_fetch_options options;
    struct fetching *fetching;

    if (!read_options(h, url, wanted, &options, "td_fetch_future"))
        return NULL;
    fetching = TD_ARENA_NEW(&h->request->arena, struct fetching);
    fetching->begin =
        (td_callback){.fn = fetching_submit, .arg = fetching, .dropped = fetching_dropped};
    fetching->job.task = (td_coroutine_task){
        .run = fetching_run, .ended = fetching_ended, .arg = fetching};
    td_coroutine_inherit(&fetching->job.task);
    td_request_ref(h->request);
    fetching->request = h->request;
    fetching->url = td_arena_strdup(&h->request->arena, url);
    fetching->options = options;
    fetching->answer = TD_ARENA_NEW(&h->request->arena, td_response);
    fetching->future = td_future_create();
    td_future_on_cancel(fetching->future, fetching_canceled, fetching);
    td_ioloop_post(td_ioloop_current(), &fetching->begin);
    return td_future_ref(fetching->future);
}
