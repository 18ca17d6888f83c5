/*
 * What a handler waits for on its own coroutine, one of each at most: that the client takes what
 * was flushed, that more of the body comes, that the connection is the handler's.
 */
#include "web/handler_internal.h"

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
    wait = td_handler_wait_of(h);
    if (wait->flushing != NULL)
        return td_handler_misuse(h, "td_flush", "another coroutine waits in it");
    wait->flushing = co;
    return td_coroutine_wait(forget_flushing, wait);
}

void
td_handler_end_flush(td_handler *h, int code)
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
    wait = td_handler_wait_of(h);
    if (wait->reading != NULL)
        return td_handler_misuse(h, "td_read_body", "another coroutine waits in it");
    wait->reading = co;
    td_deadline_stop(&wait->deadline);
    rc = td_coroutine_wait(forget_reading, wait);
    if (h->wait != NULL)
        td_handler_start_deadline(h);
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
    struct td_handler_wait *wait = td_handler_wait_of(h);

    wait->detaching = td_coroutine_current();
    return td_coroutine_wait(forget_detaching, wait);
}

void
td_handler_end_detach(td_handler *h, int code)
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
    td_handler_end_detach(h, 0);
}

void
td_handler_writable(td_handler *h)
{
    td_handler_end_flush(h, 0);
}
