/*
 * The life of a handler.
 *
 * Its code runs as a *sequence* on one coroutine: initialize, prepare, the method, the end of the
 * response, on_finish.  Where the coroutine ends early (td_raise, cancellation), or the response is
 * to end later (td_asynchronous), continue_sequence decides on the loop's stack what comes next and
 * starts a coroutine for it: the error page, on_finish, or nothing more.  Beside the sequence there
 * is only on_connection_close, on a coroutine of its own, so that it comes promptly.
 *
 * Where the route has a chain of middleware, the sequence is its links around that: handlerchain.c.
 *
 * References: a handler that has waited or put its end off holds one to its request, until the
 * sequence is over.  td_asynchronous takes a second one, for whoever is going to call td_finish.
 */
#include "web/handler_internal.h"

#include "base/clock.h"
#include "base/counters.h"
#include "io/stretch.h"
#include "web/body.h"
#include "web/forms.h"

__thread bool td_handler_thread __attribute__((tls_model("initial-exec")));

static td_list running = {&running, &running}; /* of td_handler_wait, in this worker */
static size_t running_count;
bool td_handlers_ending;

static void continue_sequence(td_handler *h);
static void on_again(void *arg);

/* ---- waiting */

struct td_handler_wait *
td_handler_wait_of(td_handler *h)
{
    struct td_handler_wait *wait = h->wait;

    if (wait != NULL)
        return wait;
    wait = TD_ARENA_NEW(&h->request->arena, struct td_handler_wait);
    wait->handler = h;
    wait->again = (td_callback){.fn = on_again, .arg = h};
    td_list_append(&running, &wait->link);
    running_count++;
    td_request_ref(h->request);
    h->wait = wait;
    return wait;
}

/* The sequence is over: nothing here uses the request any more. */
static void
release(td_handler *h)
{
    struct td_handler_wait *wait = h->wait;

    if (wait == NULL)
        return;
    h->wait = NULL;
    td_list_remove(&wait->link);
    running_count--;
    td_deadline_stop(&wait->deadline);
    td_callback_cancel(&wait->again);
    td_request_unref(h->request);
}

/* End the wait of the sequence, or the putting off, with an error page if none can be avoided. */
static void
cancel(td_handler *h, int status)
{
    if (!h->finished && !h->failing)
        h->raised = status;
    if (!h->running)
        continue_sequence(h);
    else if (h->wait->sequence != NULL)
        td_coroutine_cancel(h->wait->sequence);
}

/* Code that was registered for a request has failed.  That of one which is over is not found. */
static bool
fail_request(const td_activity *activity)
{
    TD_LIST_FOREACH(link, &running)
    {
        td_handler *h = TD_CONTAINER_OF(link, struct td_handler_wait, link)->handler;

        if (h->request->number != activity->request_no)
            continue;
        if (!h->finished)
            cancel(h, 500);
        return true;
    }
    return false;
}

void
td_handlers_open(void)
{
    td_handler_thread = true;
    td_call_failed = fail_request;
    td_stretch_tell = td_handler_log_stretch;
}

void
td_handler_expire(td_handler *h, int status, const char *what)
{
    td_handler_log_reason(h, NULL, status, td_str_of(what));
    cancel(h, status);
}

static void
on_expired(td_deadline *deadline)
{
    td_handler_expire(TD_CONTAINER_OF(deadline, struct td_handler_wait, deadline)->handler, 504,
                      "request_timeout has passed");
}

/*
 * Only an answer that has not begun has a deadline: a stream may last, and for a body that does not
 * come its client is to blame (body_min_rate).
 */
void
td_handler_start_deadline(td_handler *h)
{
    struct td_handler_wait *wait = h->wait;
    int64_t duration_ms = h->request->limits->request_timeout_ms;

    if (duration_ms == 0 || h->finished || h->headers_written || wait->reading != NULL ||
        td_list_is_linked(&wait->deadline.link))
        return;
    td_deadline_start(td_application_request_timeouts(h->app, duration_ms, on_expired),
                      &wait->deadline, td_now_ns());
}

void
td_handler_head_written(td_handler *h)
{
    td_deadline_stop(&h->wait->deadline);
}

void
td_handler_response_ended(td_handler *h)
{
    td_deadline_stop(&h->wait->deadline);
    if (!h->running || h->wait->ending != NULL)
        td_ioloop_post(td_ioloop_current(), &h->wait->again);
}

size_t
td_handlers_running(void)
{
    return running_count;
}

void
td_handlers_cancel_all(void)
{
    td_list all;

    td_handlers_ending = true;
    td_list_init(&all);
    while (!td_list_is_empty(&running)) {
        td_list *link = running.next;

        td_list_remove(link);
        td_list_append(&all, link);
    }
    while (!td_list_is_empty(&all)) { /* a cancelled one may make others end, too */
        td_list *link = all.next;
        td_handler *h = TD_CONTAINER_OF(link, struct td_handler_wait, link)->handler;

        td_list_remove(link);
        td_list_append(&running, link);
        if (!h->finished)
            td_handler_log_reason(h, NULL, 503, TD_STR("cancelled: the worker is ending"));
        cancel(h, 503);
    }
}

/* ---- coroutines */

td_coroutine_task
td_handler_task(td_handler *h, void (*run)(void *arg), void (*ended)(void *arg, td_coroutine_end end))
{
    const td_route *route = td_handler_route(h);

    return (td_coroutine_task){
        .run = run,
        .ended = ended,
        .arg = h,
        .activity = {route->instance->index, route->number, h->request->number},
        .module = route->instance->name,
        .owner = h,
    };
}

void
td_handler_note_failure(td_handler *h, td_coroutine_end end)
{
    if (end == TD_COROUTINE_RETURNED || h->finished || h->raised != 0)
        return;
    td_count_reason(500, NULL);
    h->raised = 500;
}

/* Only what ended in one go and as it should costs nothing more. */
static void
sequence_ended(void *arg, td_coroutine_end end)
{
    td_handler *h = arg;

    h->running = false;
    if (TD_LIKELY(h->wait == NULL && h->on_finish_called))
        return;
    if (h->wait != NULL)
        h->wait->sequence = NULL;
    td_handler_note_failure(h, end);
    continue_sequence(h);
}

/* 0, or TD_EBUSY; h may be gone after a 0. */
static int
start_sequence(td_handler *h, void (*run)(void *arg))
{
    const td_coroutine_task task = td_handler_task(h, run, sequence_ended);
    td_coroutine *co = NULL;
    int rc;

    h->running = true;
    rc = td_coroutine_start(&task, &co);
    if (TD_UNLIKELY(rc < 0)) {
        h->running = false;
    } else if (co != NULL) {
        td_handler_wait_of(h)->sequence = co;
        td_handler_start_deadline(h);
    }
    return rc;
}

bool
td_handler_in_sequence(const td_handler *h)
{
    const struct td_handler_wait *wait = h->wait;

    /* While the sequence has not waited yet, nothing else can be running. */
    return h->running && td_coroutine_current() != NULL &&
           (wait == NULL || wait->sequence == NULL || wait->sequence == td_coroutine_current());
}

static inline void
begin(td_handler *h)
{
    const td_route *route = td_handler_route(h);

    h->began = true;
    if (TD_UNLIKELY(route->class->set_default_headers != NULL))
        td_response_set_defaults(h);
    if (route->class->initialize != NULL)
        route->class->initialize(h, route->initialize_arg);
}

void
td_handler_call_on_finish(td_handler *h)
{
    h->on_finish_called = true;
    if (td_handler_class_of(h)->on_finish != NULL)
        td_handler_class_of(h)->on_finish(h);
}

void
td_handler_run_method(void *arg)
{
    td_handler *h = arg;
    const td_route *route = td_handler_route(h);

    begin(h);
    if (TD_UNLIKELY(h->match->is_form))
        td_form_parse(h);
    if (TD_UNLIKELY(route->checks_xsrf) && !h->finished)
        td_xsrf_check(h);
    if (route->class->prepare != NULL && !h->finished)
        route->class->prepare(h);
    if (TD_UNLIKELY(route->wants_user) && !h->finished)
        td_auth_check(h);
    if (!h->finished && (TD_LIKELY(!route->streams_body) || td_body_deliver(h)))
        route->methods[h->request->head.method](h);
    if (!h->finished && !h->asynchronous)
        td_response_finish(h);
    if (h->finished)
        td_handler_call_on_finish(h);
}

void
td_handler_run_error(void *arg)
{
    td_handler *h = arg;

    h->link = NULL;
    h->making_page = true;
    if (!h->began)
        begin(h);
    if (h->failing && !h->finished) /* write_error has failed: the status alone, as in Tornado */
        td_response_fail_plainly(h, h->raised, false);
    if (!h->finished)
        td_response_fail(h, h->raised);
    if (h->finished)
        td_handler_call_on_finish(h);
}

static void
run_on_finish(void *arg)
{
    td_handler *h = arg;

    h->wait->sequence = td_coroutine_current();
    td_handler_class_of(h)->on_finish(h);
}

/* Its coroutine is of the past, or there was none: td_finish was called elsewhere. */
static void
submit_on_finish(td_handler *h)
{
    td_coroutine_job *job = TD_ARENA_NEW(&h->request->arena, td_coroutine_job);

    td_handler_wait_of(h);
    h->running = h->on_finish_called = true;
    job->task = td_handler_task(h, run_on_finish, sequence_ended);
    td_coroutine_submit(job);
}

/* True when the handler has a say in its error page, so that a coroutine is wanted. */
static bool
has_error_code(const td_handler *h)
{
    const td_handler_class *class = td_handler_class_of(h);

    return class->write_error != NULL || class->set_default_headers != NULL ||
           class->initialize != NULL || class->on_finish != NULL || h->on_head != NULL ||
           h->filters != NULL;
}

/* ---- what comes next */

/* On the loop's stack.  h may be gone afterwards. */
static void
continue_sequence(td_handler *h)
{
    if (h->running)
        return;
    if (!h->finished && h->raised != 0) {
        if (h->failing && h->on_head == NULL)
            td_response_fail_plainly(h, h->raised, false);
        else if (has_error_code(h) && start_sequence(h, td_handler_run_error) == 0)
            return; /* its end leads here again */
        else
            td_response_fail_plainly(h, h->raised, !h->failing);
    }
    if (!h->finished) { /* td_finish leads here again */
        td_handler_start_deadline(h);
        return;
    }
    if (h->wait != NULL && h->wait->flushing != NULL)
        td_handler_writable(h);
    if (h->began && !h->on_finish_called && td_handler_class_of(h)->on_finish != NULL) {
        submit_on_finish(h);
        return;
    }
    h->on_finish_called = true;
    release(h);
}

/* ---- what happens to it */

static td_handler *
make_handler(td_application *app, td_request *request)
{
    td_handler *h = td_arena_alloc_raw(&request->arena, sizeof(*h));

    memset((char *)h + offsetof(td_handler, raised), 0,
           offsetof(td_handler, inline_headers) - offsetof(td_handler, raised));
    h->request = request;
    h->app = app;
    h->match = request->route_data;
    td_response_init(h);
    request->handler = h;
    return h;
}

void
td_handler_execute(td_application *app, td_request *request)
{
    td_handler *h = make_handler(app, request);
    static td_log_gate gate;

    if (TD_LIKELY(start_sequence(h, td_handler_route(h)->chain == NULL ? td_handler_run_method : td_handler_run_chain) ==
                  0))
        return;
    td_handler_log_reason(h, &gate, 503, td_str_of(td_coroutine_refusal()));
    td_response_fail_plainly(h, 503, true);
}

void
td_handler_refuse(td_application *app, td_request *request, int status, const char *why)
{
    td_handler *h = make_handler(app, request);

    td_count_reason(status, why);
    if (why != NULL)
        td_handler_log_error(h, td_handler_gate(h), status, td_str_of(why));
    h->refused = status;
    if (td_handler_route(h)->chain != NULL && start_sequence(h, td_handler_run_chain) == 0)
        return;
    h->raised = status;
    continue_sequence(h);
}

static void
run_close(void *arg)
{
    td_handler *h = arg;

    td_handler_class_of(h)->on_connection_close(h);
}

static void
close_ended(void *arg, td_coroutine_end end)
{
    td_handler *h = arg;

    (void)end; /* a failure in it was logged, and there is nobody to tell */
    td_request_unref(h->request);
}

static void
submit_close(td_handler *h)
{
    td_coroutine_job *job = TD_ARENA_NEW(&h->request->arena, td_coroutine_job);

    td_request_ref(h->request);
    job->task = td_handler_task(h, run_close, close_ended);
    td_coroutine_submit(job);
}

static void
tell_nobody_listens(td_handler *h)
{
    h->closed = true;
    if (td_handler_class_of(h)->on_connection_close != NULL && h->began)
        submit_close(h);
    if ((td_handler_class_of(h)->flags & TD_CANCEL_ON_CLOSE) && h->running && h->wait->sequence != NULL)
        td_coroutine_cancel(h->wait->sequence);
    if (h->sse != NULL)
        td_sse_over(h);
    td_handler_end_flush(h, TD_ECLOSED);
    td_handler_body_came(h, TD_ECLOSED);
}

void
td_handler_client_left(td_handler *h)
{
    if (h->finished) {
        td_handler_end_detach(h, TD_ECLOSED);
        return;
    }
    TD_ASSERT(h->wait != NULL); /* else it would have ended in one go */
    tell_nobody_listens(h);
}

void
td_handler_ended_early(td_handler *h)
{
    if (h->wait != NULL)
        tell_nobody_listens(h);
    h->closed = true;
}

static void
on_again(void *arg)
{
    td_handler *h = arg;
    td_coroutine *ending = h->wait->ending;

    if (h->finished && ending != NULL) {
        h->wait->ending = NULL;
        td_coroutine_resume(ending, 0);
        return;
    }
    if (h->running && h->raised != 0 && !h->finished && h->wait->sequence != NULL)
        td_coroutine_cancel(h->wait->sequence);
    else
        continue_sequence(h);
}
