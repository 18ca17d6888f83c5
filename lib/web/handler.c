/*
 * The life of a handler.
 *
 * Its code runs as a *sequence* on one coroutine: initialize, prepare, the method, the end of the
 * response, on_finish.  Where the coroutine ends early (td_raise, cancellation), or the response is
 * to end later (td_asynchronous), continue_sequence decides on the loop's stack what comes next and
 * starts a coroutine for it: the error page, on_finish, or nothing more.  Beside the sequence there
 * is only on_connection_close, on a coroutine of its own, so that it comes promptly.
 *
 * Where the route has a chain of middleware, the sequence is its links around that: each td_next is a
 * catch on the same coroutine, at which everything ends that continue_sequence would see to elsewhere.
 *
 * References: a handler that has waited or put its end off holds one to its request, until the
 * sequence is over.  td_asynchronous takes a second one, for whoever is going to call td_finish.
 */
#include <inttypes.h>
#include <tornado/middleware.h>
#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "io/call.h"
#include "io/stretch.h"
#include "web/body.h"
#include "web/forms.h"
#include "web/visitor.h"

struct td_handler_wait {
    td_handler *handler;
    td_list link;            /* of `running` */
    td_deadline deadline;    /* request_timeout; stopped when the head is written */
    td_callback again;       /* continue_sequence from the loop */
    td_coroutine *sequence;  /* waits; NULL: none does, or it has not waited yet */
    td_coroutine *flushing;  /* waits in td_flush */
    td_coroutine *reading;   /* waits in td_read_body */
    td_coroutine *detaching; /* waits in td_detach */
    td_coroutine *ending;    /* waits in td_next for td_finish */
    td_coroutine_job on_finish, on_connection_close; /* they may have to wait for a coroutine */
};

__thread bool td_handler_thread __attribute__((tls_model("initial-exec")));

static td_list running = {&running, &running}; /* of td_handler_wait, in this worker */
static size_t running_count;
static bool worker_is_ending;

static void continue_sequence(td_handler *h);
static void on_again(void *arg);

static const td_handler_class *
class_of(const td_handler *h)
{
    return td_handler_route(h)->class;
}

/* ---- the log */

static const char *
name_of(const td_handler *h)
{
    const td_route *route = td_handler_route(h);

    if (route->class->name != NULL)
        return route->class->name;
    return route->pattern != NULL ? route->pattern : "*";
}

int
td_handler_misuse(const td_handler *h, const char *function, const char *what)
{
    if (h == NULL)
        td_log(TD_LOG_ERROR, "%s: %s", function, what);
    else
        td_log_at(TD_LOG_ERROR, td_handler_instance(h)->name, "%s: %s: %s", name_of(h),
                  function, what);
    return TD_EINVAL;
}

void
td_handler_warn(const td_handler *h, const char *function, const char *what)
{
    td_log_at(TD_LOG_WARNING, td_handler_instance(h)->name, "%s: %s: %s", name_of(h), function,
              what);
}

td_str
td_handler_request_line(const void *owner)
{
    const td_handler *h = owner;

    if (h == NULL || h->request == NULL)
        return td_str_make(NULL, 0);
    const td_str raw = h->request->head.raw;
    const char *end = raw.len > 0 ? memchr(raw.ptr, '\r', raw.len) : NULL;
    return td_str_make(raw.ptr, end != NULL ? (size_t)(end - raw.ptr) : 0);
}

/* A client error is a warning, ours an error (BEHAVIOUR 9.6).  gate NULL: every one is logged. */
static void
log_error(td_handler *h, td_log_gate *gate, int status, td_str text)
{
    const td_log_level level = status >= 500 ? TD_LOG_ERROR : TD_LOG_WARNING;
    const char *module = td_handler_instance(h)->name;
    const td_head *head = &h->request->head;
    const td_str id = td_visitor_request_id(h->request);
    char ip[TD_PEER_TEXT_SIZE];
    td_str line;

    td_peer_format(&h->request->peer, ip);
    line = td_arena_sprintf(&h->request->arena, "%s: %d %.*s %.*s (%s%s%.*s): %.*s", name_of(h), status,
                            TD_STR_FMT(head->method_name),
                            head->target.len < 256 ? (int)head->target.len : 256,
                            head->target.ptr, ip, id.len > 0 ? ", id " : "", TD_STR_FMT(id),
                            TD_STR_FMT(text));
    if (gate != NULL)
        td_log_gated(gate, level, module, "%s", line.ptr);
    else
        td_log_at(level, module, "%s", line.ptr);
    h->why = text;
}

/* The same of an answer that the daemon has chosen, which is counted. */
static void
log_reason(td_handler *h, td_log_gate *gate, int status, td_str text)
{
    td_count_reason(status, text.ptr);
    log_error(h, gate, status, text);
}

/* Of td_stretch_tell: who has held the loop, so that all others had to wait. */
static void
log_stretch(const void *owner, const char *module, int64_t duration_ns)
{
    static td_log_gate gate;
    const td_handler *h = owner;
    const double ms = (double)duration_ns / (double)TD_NS_PER_MS;

    td_counters->slow_callbacks++;
    if (h == NULL) {
        td_log_gated(&gate, TD_LOG_WARNING, module != NULL ? module : "daemon",
                     "a hook, timer or task held the loop for %.0f ms (slow_callback)", ms);
        return;
    }
    const td_head *head = &h->request->head;
    if (h->request->counters != NULL)
        h->request->counters->slow_callbacks++;
    td_log_gated(&gate, TD_LOG_WARNING, td_handler_instance(h)->name,
                 "%s: held the loop for %.0f ms: request %" PRIu64 ", %.*s %.*s (slow_callback)",
                 name_of(h), ms, h->request->number, TD_STR_FMT(head->method_name),
                 head->target.len < 256 ? (int)head->target.len : 256, head->target.ptr);
}

/* The same from the arguments of a public function; without a format there is nothing to say. */
static void TD_PRINTF(4, 0)
log_given(td_handler *h, td_log_gate *gate, int status, const char *format, va_list args)
{
    if (format != NULL)
        log_error(h, gate, status, td_arena_vsprintf(&h->request->arena, format, args));
}

/* ---- waiting */

static struct td_handler_wait *
wait_of(td_handler *h)
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
    td_stretch_tell = log_stretch;
}

void
td_handler_expire(td_handler *h, int status, const char *what)
{
    log_reason(h, NULL, status, td_str_of(what));
    cancel(h, status);
}

static void
on_expired(td_deadline *deadline)
{
    td_handler_expire(TD_CONTAINER_OF(deadline, struct td_handler_wait, deadline)->handler, 504,
                      "request_timeout has passed");
}

/*
 * Only an answer that has not begun has a deadline: a stream may last (BEHAVIOUR section 5), and
 * for a body that does not come its client is to blame (body_min_rate).
 */
static void
start_deadline(td_handler *h)
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

    worker_is_ending = true;
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
            log_reason(h, NULL, 503, TD_STR("cancelled: the worker is ending"));
        cancel(h, 503);
    }
}

/* ---- coroutines */

static td_coroutine_task
task_of(td_handler *h, void (*run)(void *arg), void (*ended)(void *arg, td_coroutine_end end))
{
    const td_route *route = td_handler_route(h);

    return (td_coroutine_task){
        .run = run,
        .ended = ended,
        .arg = h,
        .activity = {route->instance->index, route->number, h->request->number},
        .module = route->instance->name,
        .owner = h,
        .arena = &h->request->arena,
    };
}

td_coroutine_task
td_handler_task(td_handler *h, void (*run)(void *arg), void (*ended)(void *arg, td_coroutine_end end))
{
    return task_of(h, run, ended);
}

/* It has ended so, and nobody has said what that is to be for the client. */
static void
note_failure(td_handler *h, td_coroutine_end end)
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
    note_failure(h, end);
    continue_sequence(h);
}

/* 0, or TD_EBUSY; h may be gone after a 0. */
static int
start_sequence(td_handler *h, void (*run)(void *arg))
{
    const td_coroutine_task task = task_of(h, run, sequence_ended);
    td_coroutine *co = NULL;
    int rc;

    h->running = true;
    rc = td_coroutine_start(&task, &co);
    if (TD_UNLIKELY(rc < 0)) {
        h->running = false;
    } else if (co != NULL) {
        wait_of(h)->sequence = co;
        start_deadline(h);
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

static void
begin(td_handler *h)
{
    const td_route *route = td_handler_route(h);

    h->began = true;
    if (route->class->initialize != NULL)
        route->class->initialize(h, route->initialize_arg);
}

static void
call_on_finish(td_handler *h)
{
    h->on_finish_called = true;
    if (class_of(h)->on_finish != NULL)
        class_of(h)->on_finish(h);
}

static void
run_method(void *arg)
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
        call_on_finish(h);
}

static void
run_error(void *arg)
{
    td_handler *h = arg;

    h->link = NULL;
    h->making_page = true;
    if (!h->began)
        begin(h);
    if (h->failing && !h->finished) /* write_error has failed: the status alone (BEHAVIOUR 9.3) */
        td_response_fail_plainly(h, h->raised, false);
    if (!h->finished)
        td_response_fail(h, h->raised);
    if (h->finished)
        call_on_finish(h);
}

static void
run_on_finish(void *arg)
{
    td_handler *h = arg;

    h->wait->sequence = td_coroutine_current();
    class_of(h)->on_finish(h);
}

/* Its coroutine is of the past, or there was none: td_finish was called elsewhere. */
static void
submit_on_finish(td_handler *h)
{
    td_coroutine_job *job = &wait_of(h)->on_finish;

    h->running = h->on_finish_called = true;
    job->task = task_of(h, run_on_finish, sequence_ended);
    td_coroutine_submit(job);
}

/* True when the handler has a say in its error page, so that a coroutine is wanted. */
static bool
has_error_code(const td_handler *h)
{
    const td_handler_class *class = class_of(h);

    return class->write_error != NULL || class->initialize != NULL || class->on_finish != NULL ||
           h->on_head != NULL || h->filters != NULL;
}

/* ---- the chain */

/* Log lines, crash reports and settings are from now on those of the link; NULL: of the handler. */
static void
become(td_handler *h, const td_instance *const *link)
{
    const td_route *route = td_handler_route(h);
    const td_instance *instance = link != NULL ? *link : route->instance;
    const td_activity activity = {instance->index, link != NULL ? 0 : route->number,
                                  h->request->number};

    h->link = link;
    td_coroutine_set_activity(td_coroutine_current(), &activity, instance->name);
}

static void
run_link(void *arg)
{
    td_handler *h = arg;
    const td_instance *instance = *h->link;

    h->next_called = false;
    become(h, h->link);
    if (instance->quarantined)
        td_handler_raise_quietly(h, 503, "it is quarantined");
    instance->plugin->middleware(h);
    if (!h->next_called && !h->finished && !h->asynchronous)
        td_raise(h, 500, "the middleware returned without td_next and without an answer");
}

/* What all the links stand around. */
static void
run_core(void *arg)
{
    td_handler *h = arg;

    become(h, NULL);
    if (h->refused != 0)
        h->raised = h->refused;
    else
        run_method(h);
}

static void
forget_ending(void *arg)
{
    struct td_handler_wait *wait = arg;

    wait->ending = NULL;
}

static void
wait_for_end(void *arg)
{
    td_handler *h = arg;
    struct td_handler_wait *wait = wait_of(h);

    wait->ending = td_coroutine_current();
    td_coroutine_wait(forget_ending, wait);
}

static void
attempt(td_handler *h, void (*run)(void *arg))
{
    const td_coroutine_end end = td_coroutine_catch(run, h);

    note_failure(h, end);
}

static void
run_late_on_finish(void *arg)
{
    call_on_finish(arg);
}

/* As far as it has not come by itself: the end of the response, on_finish. */
static void
see_to_the_end(td_handler *h)
{
    if (!h->finished && h->raised == 0)
        attempt(h, wait_for_end);
    while (!h->finished)
        td_coroutine_catch(run_error, h);
    if (h->began && !h->on_finish_called)
        td_coroutine_catch(run_late_on_finish, h);
}

int
td_next(td_handler *h)
{
    const td_instance *const *link;
    const char *wrong = NULL;

    if (!td_handler_usable(h, "td_next"))
        return TD_EINVAL;
    link = h->link;
    if (link == NULL || !td_handler_in_sequence(h))
        wrong = "called outside of a middleware";
    else if (h->next_called)
        wrong = "called twice";
    else if (h->finished || h->asynchronous)
        wrong = h->finished ? "the response has ended" : "the end has been put off";
    if (wrong != NULL)
        return td_handler_misuse(h, "td_next", wrong);
    h->next_called = true;
    h->link = link[1] != NULL ? link + 1 : NULL;
    attempt(h, h->link != NULL ? run_link : run_core);
    become(h, NULL);
    see_to_the_end(h);
    become(h, link);
    h->next_called = true;
    if (worker_is_ending)
        td_coroutine_cancel(td_coroutine_current());
    return 0;
}

static void
run_chain(void *arg)
{
    td_handler *h = arg;

    h->link = td_handler_route(h)->chain;
    run_link(h);
}

/* ---- */

/* On the loop's stack.  h may be gone afterwards. */
static void
continue_sequence(td_handler *h)
{
    if (h->running)
        return;
    if (!h->finished && h->raised != 0) {
        if (h->failing && h->on_head == NULL)
            td_response_fail_plainly(h, h->raised, false);
        else if (has_error_code(h) && start_sequence(h, run_error) == 0)
            return; /* its end leads here again */
        else
            td_response_fail_plainly(h, h->raised, !h->failing);
    }
    if (!h->finished) { /* td_finish leads here again */
        start_deadline(h);
        return;
    }
    if (h->wait != NULL && h->wait->flushing != NULL)
        td_handler_writable(h);
    if (h->began && !h->on_finish_called && class_of(h)->on_finish != NULL) {
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

    if (TD_LIKELY(start_sequence(h, td_handler_route(h)->chain == NULL ? run_method : run_chain) ==
                  0))
        return;
    log_reason(h, &gate, 503, td_str_of(td_coroutine_refusal()));
    td_response_fail_plainly(h, 503, true);
}

void
td_handler_refuse(td_application *app, td_request *request, int status, const char *why)
{
    td_handler *h = make_handler(app, request);
    static td_log_gate gate;

    td_count_reason(status, why);
    if (why != NULL)
        log_error(h, &gate, status, td_str_of(why));
    h->refused = status;
    if (td_handler_route(h)->chain != NULL && start_sequence(h, run_chain) == 0)
        return;
    h->raised = status;
    continue_sequence(h);
}

static void
forget_flushing(void *arg)
{
    struct td_handler_wait *wait = arg;

    wait->flushing = NULL;
}

int
td_handler_wait_writable(td_handler *h)
{
    td_coroutine *co = td_coroutine_current();
    struct td_handler_wait *wait;

    if (co == NULL)
        return td_handler_misuse(h, "td_flush", "waiting is not possible here");
    wait = wait_of(h);
    if (wait->flushing != NULL)
        return td_handler_misuse(h, "td_flush", "another coroutine waits in it");
    wait->flushing = co;
    return td_coroutine_wait(forget_flushing, wait);
}

static void
end_flush(td_handler *h, int code)
{
    td_coroutine *co = h->wait != NULL ? h->wait->flushing : NULL;

    if (co == NULL)
        return;
    h->wait->flushing = NULL;
    td_coroutine_resume(co, code);
}

static void
forget_reading(void *arg)
{
    struct td_handler_wait *wait = arg;

    wait->reading = NULL;
}

int
td_handler_wait_body(td_handler *h)
{
    td_coroutine *co = td_coroutine_current();
    struct td_handler_wait *wait;
    int rc;

    if (co == NULL)
        return td_handler_misuse(h, "td_read_body", "waiting is not possible here");
    wait = wait_of(h);
    if (wait->reading != NULL)
        return td_handler_misuse(h, "td_read_body", "another coroutine waits in it");
    wait->reading = co;
    td_deadline_stop(&wait->deadline);
    rc = td_coroutine_wait(forget_reading, wait);
    if (h->wait != NULL)
        start_deadline(h);
    return rc;
}

void
td_handler_body_came(td_handler *h, int code)
{
    td_coroutine *co = h->wait != NULL ? h->wait->reading : NULL;

    if (co == NULL)
        return;
    h->wait->reading = NULL;
    td_coroutine_resume(co, code);
}

bool
td_handler_awaits_body(const td_handler *h)
{
    return h->wait != NULL && h->wait->reading != NULL;
}

static void
forget_detaching(void *arg)
{
    struct td_handler_wait *wait = arg;

    wait->detaching = NULL;
}

int
td_handler_wait_detached(td_handler *h)
{
    struct td_handler_wait *wait = wait_of(h);

    wait->detaching = td_coroutine_current();
    return td_coroutine_wait(forget_detaching, wait);
}

static void
end_detach(td_handler *h, int code)
{
    td_coroutine *co = h->wait != NULL ? h->wait->detaching : NULL;

    if (co == NULL)
        return;
    h->wait->detaching = NULL;
    td_coroutine_resume(co, code);
}

void
td_handler_detached(td_handler *h)
{
    end_detach(h, 0);
}

void
td_handler_writable(td_handler *h)
{
    end_flush(h, 0);
}

static void
run_close(void *arg)
{
    td_handler *h = arg;

    class_of(h)->on_connection_close(h);
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
    td_coroutine_job *job = &h->wait->on_connection_close;

    td_request_ref(h->request);
    job->task = task_of(h, run_close, close_ended);
    td_coroutine_submit(job);
}

static void
tell_nobody_listens(td_handler *h)
{
    h->closed = true;
    if (class_of(h)->on_connection_close != NULL && h->began)
        submit_close(h);
    if ((class_of(h)->flags & TD_CANCEL_ON_CLOSE) && h->running && h->wait->sequence != NULL)
        td_coroutine_cancel(h->wait->sequence);
    if (h->sse != NULL)
        td_sse_over(h);
    end_flush(h, TD_ECLOSED);
    td_handler_body_came(h, TD_ECLOSED);
}

void
td_handler_client_left(td_handler *h)
{
    if (h->finished) {
        end_detach(h, TD_ECLOSED);
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

/* ---- giving up */

static int
error_status(int status)
{
    return status >= 400 && status <= 599 ? status : 500;
}

/*
 * Whether what ends the response here is what td_asynchronous was promised.  A link behind td_next, an
 * error page and a hook before the head end a response that somebody else is still going to finish.
 */
static bool
is_debtor(const td_handler *h)
{
    const bool is_other = h->making_page || (h->link != NULL && h->next_called);

    return h->owes_finish && !h->in_head && !(is_other && td_handler_in_sequence(h));
}

static void
pay(td_handler *h)
{
    h->owes_finish = false;
    td_request_unref(h->request);
}

void
td_handler_owes_nothing(td_handler *h)
{
    if (is_debtor(h))
        pay(h);
}

/* What comes next is up to sequence_ended or, from a callback, to on_again. */
static TD_NORETURN void
give_up(td_handler *h, int status)
{
    if (!h->finished) {
        if (!h->failing)
            h->raised = error_status(status);
        if (!td_handler_in_sequence(h))
            td_ioloop_post(td_ioloop_current(), &wait_of(h)->again);
    }
    td_handler_owes_nothing(h);
    td_coroutine_leave();
}

void
td_raise(td_handler *h, int status, const char *format, ...)
{
    va_list args;

    if (!td_handler_usable(h, "td_raise"))
        td_coroutine_raise();
    va_start(args, format);
    log_given(h, NULL, error_status(status), format, args);
    va_end(args);
    give_up(h, status);
}

void
td_handler_raise_quietly(td_handler *h, int status, const char *format, ...)
{
    static td_log_gate gate;
    va_list args;

    va_start(args, format);
    log_given(h, &gate, status, format, args);
    va_end(args);
    td_count_reason(status, h->why.ptr);
    give_up(h, status);
}

int
td_send_error(td_handler *h, int status, const char *format, ...)
{
    va_list args;
    bool late;

    if (!td_handler_usable(h, "td_send_error"))
        return TD_EINVAL;
    late = h->closed || (h->finished && h->owes_finish);
    if (h->in_head)
        return td_handler_misuse(h, "td_send_error", "the head is being made");
    if (h->finished && !late)
        return td_handler_misuse(h, "td_send_error", "the response has ended");
    if (h->failing || h->filtering)
        return td_handler_misuse(h, "td_send_error", h->failing ? "an error page is being made"
                                                                : "a transform is running");
    va_start(args, format);
    log_given(h, NULL, error_status(status), format, args);
    va_end(args);
    if (!h->finished)
        td_response_fail(h, error_status(status));
    td_handler_owes_nothing(h);
    return late ? TD_ECLOSED : 0;
}

/* ---- what an author may do with it */

int
td_asynchronous(td_handler *h)
{
    if (!td_handler_usable(h, "td_asynchronous"))
        return TD_EINVAL;
    if (td_response_check_ending(h, "td_asynchronous") < 0)
        return TD_EINVAL;
    if (h->finished || h->asynchronous)
        return td_handler_misuse(h, "td_asynchronous",
                                 h->finished ? "the response has ended" : "called twice");
    h->asynchronous = h->owes_finish = true;
    td_request_ref(h->request);
    wait_of(h);
    return 0;
}

td_handler *
td_handler_ref(td_handler *h)
{
    if (!td_handler_usable(h, "td_handler_ref"))
        return h;
    h->references++;
    td_request_ref(h->request);
    return h;
}

void
td_handler_unref(td_handler *h)
{
    if (!td_handler_usable(h, "td_handler_unref"))
        return;
    if (h->references == 0) {
        td_handler_misuse(h, "td_handler_unref", "without a td_handler_ref before");
        return;
    }
    h->references--;
    td_request_unref(h->request);
}

td_scope
td_scope_mark(td_handler *h)
{
    td_arena_mark mark;

    if (!td_handler_usable(h, "td_scope_mark"))
        return (td_scope){NULL, NULL};
    if (h->request->scope == NULL)
        h->request->scope = TD_ARENA_NEW(&h->request->arena, td_arena);
    mark = td_arena_mark_now(h->request->scope);
    return (td_scope){mark.chunk, mark.next};
}

int
td_scope_rewind(td_handler *h, td_scope scope)
{
    const td_arena_mark mark = {scope.chunk, scope.next};

    if (!td_handler_usable(h, "td_scope_rewind"))
        return TD_EINVAL;
    if (h->request->scope == NULL || !td_arena_has_mark(h->request->scope, mark))
        return td_handler_misuse(h, "td_scope_rewind", "the mark is not one of what is allocated");
    td_arena_rewind(h->request->scope, mark);
    return 0;
}

void *
td_alloc(td_handler *h, size_t size)
{
    return td_handler_usable(h, "td_alloc") ? td_arena_alloc(td_handler_arena(h), size) : NULL;
}

td_str
td_sprintf(td_handler *h, const char *format, ...)
{
    va_list args;
    td_str text;

    if (!td_handler_has(h, "td_sprintf", format))
        return td_str_make(NULL, 0);
    va_start(args, format);
    text = td_arena_vsprintf(td_handler_arena(h), format, args);
    va_end(args);
    return text;
}

td_str
td_strdup(td_handler *h, td_str s)
{
    if (!td_handler_usable(h, "td_strdup") || td_str_is_null(s))
        return td_str_make(NULL, 0);
    return td_str_dup(td_handler_arena(h), s);
}

void
td_set_user_data(td_handler *h, void *data)
{
    if (td_handler_usable(h, "td_set_user_data"))
        h->user_data = data;
}

void *
td_user_data(td_handler *h)
{
    return td_handler_usable(h, "td_user_data") ? h->user_data : NULL;
}

const void *
td_settings(td_handler *h)
{
    return td_handler_usable(h, "td_settings") ? td_handler_instance(h)->settings : NULL;
}

void *
td_state(td_handler *h)
{
    return td_handler_usable(h, "td_state") ? td_handler_instance(h)->state : NULL;
}

void *
td_shared(td_handler *h, const char *name)
{
    if (!td_handler_has(h, "td_shared", name))
        return NULL;
    return td_instance_shared(td_handler_instance(h), name);
}

td_str
td_reverse_url(td_handler *h, const char *name, const td_str *args, size_t count)
{
    const td_route *route;
    td_str path = {NULL, 0};

    if (!td_handler_usable(h, "td_reverse_url"))
        return path;
    route = name != NULL && (args != NULL || count == 0)
                ? td_application_named(h->app, td_handler_instance(h), name)
                : NULL;
    if (route != NULL)
        path = td_urlspec_reverse(&route->spec, &h->request->arena, args, count);
    if (td_str_is_null(path))
        td_log_at(TD_LOG_ERROR, td_handler_instance(h)->name,
                  "%s: td_reverse_url: no path for '%s' with %zu arguments", name_of(h),
                  name != NULL ? name : "(null)", count);
    return path;
}
