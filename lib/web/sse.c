/*
 * Streams of events.  A stream is a response that is flushed after each event; what this adds is
 * its end: waits that end with it, and an end by ourselves at a drain.  Heartbeats and that end run
 * on a coroutine of their own, as transforms of the author may have to see them.
 */
#include <tornado/coroutine.h>
#include <tornado/sse.h>
#include "base/clock.h"
#include "io/call.h"
#include "web/application_internal.h"
#include "web/handler.h"

struct td_sse {
    td_handler *handler;
    td_list link;          /* of `streams` while somebody listens */
    td_deadline heartbeat;
    td_coroutine_job beat, end;
    td_future *over;       /* resolved when nobody listens any more; NULL: nobody waits */
};

static td_list streams = {&streams, &streams}; /* in this worker */
static bool draining;

/* ---- the end */

void
td_sse_over(td_handler *h)
{
    struct td_sse *sse = h->sse;

    td_list_remove(&sse->link);
    td_deadline_stop(&sse->heartbeat);
    if (sse->over != NULL && !td_future_is_done(sse->over))
        td_future_set_result(sse->over, NULL);
}

/* One job of a kind at a time: it is not linked while it waits for a coroutine or runs. */
static void
submit(struct td_sse *sse, td_coroutine_job *job, void (*run)(void *arg),
       void (*ended)(void *arg, td_coroutine_end end))
{
    td_request_ref(sse->handler->request);
    job->task = td_handler_task(sse->handler, run, ended);
    td_coroutine_submit(job);
}

static void
run_end(void *arg)
{
    td_handler *h = arg;

    if (!h->finished && !h->closed && !h->filtering)
        td_response_finish(h);
}

static void
end_ended(void *arg, td_coroutine_end end)
{
    td_handler *h = arg;

    (void)end;
    if (h->finished)
        td_handler_ended_early(h);
    td_request_unref(h->request);
}

void
td_sse_drain(void)
{
    td_list all;

    draining = true;
    td_list_init(&all);
    while (!td_list_is_empty(&streams)) {
        td_list *link = streams.next;

        td_list_remove(link);
        td_list_append(&all, link);
    }
    while (!td_list_is_empty(&all)) { /* the end of one may be that of others, too */
        struct td_sse *sse = TD_CONTAINER_OF(all.next, struct td_sse, link);

        td_list_remove(&sse->link);
        submit(sse, &sse->end, run_end, end_ended);
    }
}

/* ---- heartbeats */

static void
start_heartbeat(struct td_sse *sse)
{
    td_deadline_start(&sse->handler->app->heartbeats, &sse->heartbeat, td_now_ns());
}

/* What waits for the client, or was begun by the handler, shows that no comment is needed. */
static void
run_beat(void *arg)
{
    td_handler *h = arg;

    if (h->finished || h->closed || h->filtering)
        return;
    if (h->body_len == 0 && td_request_pending(h->request) == 0 &&
        td_write(h, TD_STR(":\n\n")) == 0)
        td_flush(h);
}

static void
beat_ended(void *arg, td_coroutine_end end)
{
    td_handler *h = arg;

    (void)end;
    if (!h->finished && !h->closed)
        start_heartbeat(h->sse);
    td_request_unref(h->request);
}

static void
on_heartbeat(td_deadline *deadline)
{
    struct td_sse *sse = TD_CONTAINER_OF(deadline, struct td_sse, heartbeat);

    submit(sse, &sse->beat, run_beat, beat_ended);
}

/* ---- the beginning */

static void
open_stream(td_handler *h)
{
    td_application *app = h->app;

    h->sse = TD_ARENA_NEW(&h->request->arena, struct td_sse);
    h->sse->handler = h;
    td_list_append(&streams, &h->sse->link);
    if (app->heartbeats.loop == NULL)
        td_deadlines_init(&app->heartbeats, td_ioloop_current(), app->settings->sse_heartbeat_ms,
                          on_heartbeat);
    start_heartbeat(h->sse);
}

int
td_sse_begin(td_handler *h)
{
    int rc = td_response_check_open(h, "td_sse_begin");

    if (rc == 0)
        rc = td_response_check_ending(h, "td_sse_begin");
    if (rc < 0)
        return rc;
    if (h->closed)
        return TD_ECLOSED;
    if (h->body_len > 0 || h->sse != NULL)
        return td_handler_misuse(h, "td_sse_begin",
                                 h->sse != NULL ? "called twice" : "something was written");
    td_set_header(h, "Content-Type", "text/event-stream");
    td_set_header(h, "Cache-Control", "no-cache");
    td_set_header(h, "X-Accel-Buffering", "no");
    open_stream(h);
    rc = td_flush(h);
    if (rc == 0 && draining) { /* it began on a connection that was kept for the last requests */
        td_response_finish(h);
        td_handler_ended_early(h);
        rc = TD_ECLOSED;
    }
    return rc;
}

td_str
td_sse_last_id(td_handler *h)
{
    return td_request_header(h, "Last-Event-ID");
}

/* ---- events */

static bool
is_one_line(const char *text)
{
    return text == NULL || strpbrk(text, "\r\n") == NULL;
}

static void
append_field(td_buf *out, td_str name, td_str value)
{
    td_buf_append(out, name);
    td_buf_append(out, TD_STR(": "));
    td_buf_append(out, value);
    td_buf_append(out, TD_STR("\n"));
}

/* A field for each line, however lines end: none of them can become another field. */
static void
append_data(td_buf *out, td_str data)
{
    size_t start = 0;

    for (size_t i = 0; i < data.len; i++) {
        if (data.ptr[i] != '\n' && data.ptr[i] != '\r')
            continue;
        append_field(out, TD_STR("data"), td_str_make(data.ptr + start, i - start));
        if (data.ptr[i] == '\r' && i + 1 < data.len && data.ptr[i + 1] == '\n')
            i++;
        start = i + 1;
    }
    append_field(out, TD_STR("data"), td_str_make(data.ptr + start, data.len - start));
}

static void
append_event(td_buf *out, const td_sse_event *event)
{
    if (event->retry_ms > 0)
        td_buf_printf(out, "retry: %lld\n", (long long)event->retry_ms);
    if (event->id != NULL)
        append_field(out, TD_STR("id"), td_str_of(event->id));
    if (event->event != NULL)
        append_field(out, TD_STR("event"), td_str_of(event->event));
    if (!td_str_is_null(event->data))
        append_data(out, event->data);
    td_buf_append(out, TD_STR("\n"));
}

int
td_sse_send(td_handler *h, const td_sse_event *event_)
{
    td_buf out __attribute__((cleanup(td_buf_release))) = {0};
    td_sse_event event = {0};
    int rc;

    if (!td_handler_has(h, "td_sse_send", event_))
        return TD_EINVAL;
    if (h->sse == NULL)
        return td_handler_misuse(h, "td_sse_send", "td_sse_begin was not called");
    if (h->closed || draining)
        return TD_ECLOSED;
    memcpy(&event, event_, event_->size < sizeof(event) ? event_->size : sizeof(event));
    if (!is_one_line(event.id) || !is_one_line(event.event))
        return td_handler_misuse(h, "td_sse_send", "a line break is in id or event");
    append_event(&out, &event);
    rc = td_write(h, td_buf_str(&out));
    if (rc == 0)
        rc = td_flush(h);
    if (rc == 0 && !h->closed && td_list_is_linked(&h->sse->heartbeat.link))
        start_heartbeat(h->sse);
    return rc;
}

/* ---- waiting */

/* Whoever combines it lets go of it when it is resolved, so each wait has one of its own. */
static void
fini_over(td_handler **handler)
{
    struct td_sse *sse = (*handler)->sse;

    if (sse->over == NULL)
        return;
    if (!td_future_is_done(sse->over))
        td_future_set_result(sse->over, NULL);
    td_future_unref(sse->over);
    sse->over = NULL;
}

/* 0, or what a wait has to return at once. */
static int
begin_wait(td_handler *h, const char *function)
{
    if (!td_handler_usable(h, function) || !td_is_on_coroutine(function))
        return TD_EINVAL;
    if (h->sse == NULL)
        return td_handler_misuse(h, function, "td_sse_begin was not called");
    if (h->closed || h->finished || draining || h->request->head.method == TD_METHOD_HEAD)
        return TD_ECLOSED;
    if (h->sse->over != NULL)
        return td_handler_misuse(h, function, "another coroutine waits");
    h->sse->over = td_future_create();
    return 0;
}

int
td_sse_sleep(td_handler *h, int64_t duration_ms)
{
    int rc = begin_wait(h, "td_sse_sleep");

    if (rc < 0)
        return rc;
    td_handler *waiting __attribute__((cleanup(fini_over), unused)) = h;

    rc = td_await(td_with_timeout(duration_ms, td_future_ref(h->sse->over)), NULL);
    if (h->closed)
        return TD_ECLOSED;
    return rc == TD_ETIMEDOUT ? 0 : rc;
}

int
td_sse_await(td_handler *h, td_future *future, void **result_out)
{
    int rc = future != NULL ? begin_wait(h, "td_sse_await")
                            : td_handler_misuse(h, "td_sse_await", "NULL is not allowed");

    if (rc < 0) {
        td_future_unref(future);
        return rc;
    }
    td_handler *waiting __attribute__((cleanup(fini_over), unused)) = h;
    td_future *futures[] = {future, td_future_ref(h->sse->over)};

    rc = td_await(td_first(futures, 2), result_out);
    return h->closed ? TD_ECLOSED : rc;
}
