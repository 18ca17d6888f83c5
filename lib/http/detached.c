/* The ties between a stream that a handler has taken over, its request and its listener. */
#include "http/detached.h"

#include "http/http1connection.h"

static td_http1context *
end_detached(td_detached *detached)
{
    td_http1context *context = detached->context;

    detached->context = NULL;
    td_list_remove(&detached->link);
    td_gauges->connections[TD_CONNECTION_DETACHED]--;
    return context;
}

static void
on_closed(void *arg)
{
    td_detached *detached = arg;
    td_http1context *context = end_detached(detached);

    context->detached_closed(context, &detached->peer);
}

/* HTTP has it back, and counts it, for its end. */
static void
on_linger(void *arg, td_transport *transport)
{
    td_detached *detached = arg;

    td_http1connection_linger(end_detached(detached), transport, &detached->peer);
}

static void
on_destroyed(void *arg)
{
    td_detached *detached = arg;

    detached->stream = NULL;
}

void
td_detached_open(td_detached *detached, td_http1context *context, const td_peer *peer,
                 td_transport *transport, td_buf *received, td_buf *unsent)
{
    const td_iostream_observer observer = {
        .closed = on_closed, .destroyed = on_destroyed, .arg = detached, .lingers = on_linger};

    detached->context = context;
    detached->peer = *peer;
    td_list_append(&context->detached, &detached->link);
    td_gauges->connections[TD_CONNECTION_DETACHED]++;
    detached->stream =
        td_iostream_adopt(transport, received, unsent, &detached->options, &observer);
    if (context->draining)
        td_iostream_drain(detached->stream);
}

void
td_detached_release(td_detached *detached)
{
    td_iostream_destroy(&detached->stream);
}

void
td_detached_close_all(td_http1context *context)
{
    while (!td_list_is_empty(&context->detached))
        td_iostream_close_at_once(
            TD_CONTAINER_OF(context->detached.next, td_detached, link)->stream);
}

void
td_detached_drain_all(td_http1context *context)
{
    TD_LIST_FOREACH(link, &context->detached)
        td_iostream_drain(TD_CONTAINER_OF(link, td_detached, link)->stream);
}
