/*
 * The chain of middleware around a handler.
 *
 * Where a route has one, the sequence of handler.c is its links around the method: each td_next is
 * a catch on the same coroutine, at which everything ends that continue_sequence would see to
 * elsewhere.
 */
#include <tornado/middleware.h>
#include "web/handler_internal.h"

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
        td_handler_run_method(h);
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
    struct td_handler_wait *wait = td_handler_wait_of(h);

    wait->ending = td_coroutine_current();
    td_coroutine_wait(forget_ending, wait);
}

static void
attempt(td_handler *h, void (*run)(void *arg))
{
    const td_coroutine_end end = td_coroutine_catch(run, h);

    td_handler_note_failure(h, end);
}

static void
run_late_on_finish(void *arg)
{
    td_handler_call_on_finish(arg);
}

/* As far as it has not come by itself: the end of the response, on_finish. */
static void
see_to_the_end(td_handler *h)
{
    if (!h->finished && h->raised == 0)
        attempt(h, wait_for_end);
    while (!h->finished)
        td_coroutine_catch(td_handler_run_error, h);
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
    if (td_handlers_ending)
        td_coroutine_cancel(td_coroutine_current());
    return 0;
}

void
td_handler_run_chain(void *arg)
{
    td_handler *h = arg;

    h->link = td_handler_route(h)->chain;
    run_link(h);
}
