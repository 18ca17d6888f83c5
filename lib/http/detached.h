/*
 * td_detached: a connection that is HTTP no longer; its handler has taken it over as a stream.
 *
 * It counts as a connection of its listener as long as it is open, and is closed with it.  The
 * stream is the handler's to use and to destroy; what is left of it goes with the memory of the
 * request.
 */
#ifndef TORNADO_HTTP_DETACHED_H
#define TORNADO_HTTP_DETACHED_H

#include "base/list.h"
#include "http/request.h"
#include "io/iostream.h"

typedef struct td_http1context td_http1context;

#pragma GCC visibility push(hidden)

struct td_detached {
    td_iostream_options options; /* of the stream to be; set by the handler */
    td_iostream *stream;         /* NULL: not yet, or no more */
    td_http1context *context;    /* NULL: it is not open (any more) */
    td_list link;                /* in context->detached */
    td_peer peer;                /* of the connection, as it was counted */
};

/* Make the stream, and count it as one of context's. */
void td_detached_open(td_detached *detached, td_http1context *context, const td_peer *peer,
                      td_transport *transport, td_buf *received, td_buf *unsent);

/* The memory of the request goes. */
void td_detached_release(td_detached *detached);

/* For the end of a context, and the beginning of it. */
void td_detached_close_all(td_http1context *context);
void td_detached_drain_all(td_http1context *context);

#pragma GCC visibility pop

#endif
