/*
 * td_http1connection: HTTP/1.x on one transport (Tornado's HTTP1Connection): heads and bodies in,
 * answers out, one request at a time, in order.
 *
 * A connection belongs to a td_http1context, which is what it shares with its siblings: settings,
 * time-out lists, whom to give requests to.  Connections are made and closed on the loop's stack;
 * the writer's functions may be called from coroutines.
 */
#ifndef TORNADO_HTTP_HTTP1CONNECTION_H
#define TORNADO_HTTP_HTTP1CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include "base/counters.h"
#include "base/settings.h"
#include "http/request.h"
#include "http/spill.h"
#include "io/ioloop.h"
#include "io/transport.h"

typedef struct td_http1connection td_http1connection;

/* A time-out that may differ from route to route: one list for each duration that was met. */
typedef struct td_http1timeout {
    struct td_http1timeout *next;
    int64_t duration_ms;
    td_deadlines list;
} td_http1timeout;

typedef struct td_http1context {
    td_ioloop *loop;
    td_httpserver *server;
    const td_listener_settings *settings;
    const td_message_delegate *delegate;
    void *delegate_arg;
    void (*log_request)(void *arg, const td_request *request, int64_t duration_ns); /* or NULL */
    void *log_arg;
    td_listener_counters *counters; /* never NULL after init */
    td_spill_place spill_place; /* of bodies past body_spill or the budget; none: 503 */
    void (*connection_closed)(td_http1connection *conn); /* before its memory goes */

    /* In its place, for a connection that a handler has taken over. */
    void (*detached_closed)(struct td_http1context *context, const td_peer *peer);

    /* The PROXY protocol has said who it is.  False: it was refused, on fd, and is to be closed. */
    bool (*introduced)(td_http1connection *conn, int fd);

    td_str server_header; /* of the delegate */
    td_head_limits head_limits;
    td_list connections;     /* all of them */
    td_list detached;        /* of td_detached: what handlers have taken over of them */
    td_deadlines heads;      /* header_timeout, from the first byte; oldest incomplete head first */
    td_deadlines warm;       /* idle for less than a second: memory is kept for the next request */
    td_deadlines idle;       /* the rest of keepalive_timeout */
    td_deadlines receiving;  /* body_min_rate, looked at every 10 s */
    td_deadlines looking;    /* at those whose body is paused, every second */
    td_deadlines sending;    /* send_min_rate, likewise */
    td_deadlines lingering;  /* TD_LINGER_MS for the peer to finish after our last word */
    td_http1timeout *bodies; /* body_timeout */
    bool draining;           /* answer with Connection: close */
    bool no_idle;            /* and the grace is over: who becomes idle is closed */
} td_http1context;

/* settings, delegate, loop and the callbacks are set by the caller before. */
void td_http1context_init(td_http1context *context);
void td_http1context_fini(td_http1context *context); /* closes what is open */

/* Takes fd over, and serves what has come on it.  With proxy_protocol the peer is a trusted one. */
void td_http1connection_open(td_http1context *context, int fd, const td_peer *peer);

/*
 * Takes the transport over, of a connection that a handler had taken over and closes: it counts as
 * one of peer's until the peer ends, too (io/linger.h).
 */
void td_http1connection_linger(td_http1context *context, td_transport *transport,
                               const td_peer *peer);

/* Close the connection whose incomplete head is the oldest; false: there is none. */
bool td_http1context_evict(td_http1context *context);

/* Close the one that lingers for longest; false: none does. */
bool td_http1context_evict_lingering(td_http1context *context);

/* Close the one that has been idle for longest, for a second at least; false: there is none. */
bool td_http1context_evict_idle(td_http1context *context);

/* Close those that are idle or in the middle of a head, leaving the peer time to finish. */
void td_http1context_close_idle(td_http1context *context);

td_httpserver *td_http1connection_server(const td_http1connection *conn);

/*
 * The address of the peer as bytes, for counting: 4, 16, or 0 for a unix socket and for a peer that
 * is not introduced yet.
 */
td_str td_http1connection_address(const td_http1connection *conn);

/* Answer 503 to a connection that may not stay, as far as the kernel takes it at once. */
void td_http1_send_unavailable(const td_http1context *context, int fd);

#endif
