/*
 * A connection is a coroutine, an arena and a stream, which all go when the coroutine has ended.
 * It may outlive its server, where it does not let itself be cancelled.
 */
#include "web/streamserver.h"

#include <stdarg.h>
#include <stdlib.h>
#include <tornado/tcpserver.h>
#include <unistd.h>
#include "base/census.h"
#include "base/log.h"
#include "http/request_internal.h"
#include "io/call.h"
#include "io/iostream.h"
#include "io/linger.h"
#include "io/tcpserver.h"
#include "io/waiters.h"

struct td_streamserver {
    td_ioloop *loop;
    const td_listener_settings *settings;
    const td_instance *instance;
    td_listener_counters *counters;
    td_tcpserver *tcpserver;
    td_list connections; /* of td_connection, but for those that linger */
    td_list lingering;   /* these, the oldest first */
    size_t count;        /* of both */
    td_census addresses; /* of those whose stream is open, while there is a limit of them */
    bool draining;
    void (*drained)(void *arg); /* NULL: not draining, or told already */
    void *drained_arg;
    td_callback tell_drained;
    td_log_gate gate;
};

struct td_connection {
    td_arena arena;          /* this struct lies in it */
    td_streamserver *server; /* NULL: it has gone */
    const td_instance *instance;
    td_list link;            /* in its server's list of the one or the other */
    td_iostream *stream;     /* NULL: the handler has destroyed it */
    td_coroutine *coroutine; /* NULL: it has not waited yet */
    td_linger linger;
    bool is_lingering, has_lingered; /* the stream is closed, the descriptor is not; or is, since */
    bool has_returned;               /* the coroutine has ended */
    td_peer peer;
};

static td_str
address_of(const td_peer *peer)
{
    return td_str_make((const char *)peer->address, peer->address_len);
}

/* ---- the end */

static void
tell_drained(void *arg)
{
    td_streamserver *server = arg;
    void (*drained)(void *) = server->drained;

    server->drained = NULL;
    if (drained != NULL)
        drained(server->drained_arg);
}

static void
one_less(td_streamserver *server, td_connection *connection)
{
    td_list_remove(&connection->link);
    if (!connection->has_lingered)
        td_census_remove(&server->addresses, address_of(&connection->peer));
    server->count--;
    td_tcpserver_room(server->tcpserver);
    if (server->count == 0 && server->drained != NULL)
        td_ioloop_post(server->loop, &server->tell_drained);
}

/* Its coroutine has ended, and its descriptor is closed. */
static void
free_connection(td_connection *connection)
{
    td_arena arena = connection->arena;

    td_gauges->connections[TD_CONNECTION_STREAM]--;
    if (connection->server != NULL)
        one_less(connection->server, connection);
    td_arena_fini(&arena);
}

static void
connection_ended(void *arg, td_coroutine_end end)
{
    td_connection *connection = arg;

    (void)end; /* whatever has failed was logged, and there is nobody to tell */
    td_iostream_destroy(&connection->stream);
    connection->has_returned = true;
    if (!connection->is_lingering)
        free_connection(connection);
}

static void
linger_ended(td_linger *linger)
{
    td_connection *connection = TD_CONTAINER_OF(linger, td_connection, linger);

    connection->is_lingering = false;
    td_list_remove(&connection->link);
    td_list_append(&connection->server->connections, &connection->link);
    if (connection->has_returned)
        free_connection(connection);
}

/* Whoever has heard our last word, or had the time to, makes room for others. */
static void
make_room(td_streamserver *server)
{
    const size_t max = (size_t)server->settings->limits.max_connections;

    while (server->count >= max && !td_list_is_empty(&server->lingering)) {
        td_connection *oldest = TD_CONTAINER_OF(server->lingering.next, td_connection, link);

        td_linger_stop(&oldest->linger);
        linger_ended(&oldest->linger);
    }
}

static void
on_linger(void *arg, td_transport *transport)
{
    td_connection *connection = arg;
    td_streamserver *server = connection->server;

    connection->is_lingering = connection->has_lingered = true;
    connection->linger.ended = linger_ended;
    td_census_remove(&server->addresses, address_of(&connection->peer));
    td_list_remove(&connection->link);
    td_list_append(&server->lingering, &connection->link);
    td_linger_start(&connection->linger, transport, server->loop);
}

/* ---- the beginning */

static void
run_connection(void *arg)
{
    td_connection *connection = arg;

    connection->instance->plugin->handle_stream(connection);
    if (connection->stream != NULL)
        td_iostream_flush(connection->stream);
}

static void
forget_stream(void *arg)
{
    td_connection *connection = arg;

    connection->stream = NULL;
}

static td_connection *
make_connection(td_streamserver *server, int fd, const td_peer *peer)
{
    const td_iostream_options options = {.size = sizeof(options),
                                         .timeout_ms = server->settings->idle_timeout_ms};
    td_arena arena;
    td_connection *connection;

    td_arena_init(&arena);
    connection = TD_ARENA_NEW(&arena, td_connection);
    connection->arena = arena;
    connection->server = server;
    connection->instance = server->instance;
    connection->peer = *peer;
    connection->stream = td_iostream_create(fd, &options);
    td_iostream_observe(connection->stream,
                        &(td_iostream_observer){.destroyed = forget_stream,
                                                .arg = connection,
                                                .lingers = on_linger});
    td_list_append(&server->connections, &connection->link);
    server->count++;
    server->counters->accepted++;
    td_gauges->connections[TD_CONNECTION_STREAM]++;
    if (server->settings->limits.max_connections_per_address > 0)
        td_census_add(&server->addresses, address_of(peer));
    if (server->draining)
        td_iostream_drain(connection->stream);
    return connection;
}

/* Why this one may not stay; NULL: it may. */
static const char *
find_limit(const td_streamserver *server, const td_peer *peer)
{
    const td_limits *limits = &server->settings->limits;

    if (server->instance->quarantined)
        return "its handler is quarantined: it has crashed too often";
    if ((int64_t)server->count >= limits->max_connections)
        return "max_connections";
    if (limits->max_connections_per_address > 0 &&
        (int64_t)td_census_count(&server->addresses, address_of(peer)) >=
            limits->max_connections_per_address)
        return "max_connections_per_address";
    return NULL;
}

static void
log_closed(td_streamserver *server, const td_peer *peer, const char *why)
{
    char text[TD_PEER_TEXT_SIZE];

    td_peer_format(peer, text);
    td_log_gated(&server->gate, TD_LOG_WARNING, server->instance->name,
                 "listener %s: closed to %s: %s", server->settings->name, text, why);
}

static void
on_accepted(void *arg, int fd, const struct sockaddr_storage *sockaddr, socklen_t sockaddr_len)
{
    td_streamserver *server = arg;
    const td_peer peer = td_peer_of(sockaddr);
    const char *limit;
    td_coroutine *coroutine = NULL;
    td_connection *connection;

    (void)sockaddr_len;
    make_room(server);
    limit = find_limit(server, &peer);
    if (limit != NULL) {
        log_closed(server, &peer, limit);
        close(fd);
        return;
    }
    connection = make_connection(server, fd, &peer);
    const td_coroutine_task task = {
        .run = run_connection,
        .ended = connection_ended,
        .arg = connection,
        .activity = {.instance = server->instance->index},
        .module = server->instance->name,
    };
    if (td_coroutine_start(&task, &coroutine) < 0) {
        log_closed(server, &peer, td_coroutine_refusal());
        connection_ended(connection, TD_COROUTINE_CANCELED);
    } else if (coroutine != NULL) {
        connection->coroutine = coroutine;
    }
}

/* ---- the server */

const char *
td_streamserver_find_fault(const td_listener_settings *listener, const td_instance *instance,
                           td_err *err)
{
    if (instance == NULL) {
        td_err_set(err, TD_ECONFIG, "protocol: there is no handler %s", listener->protocol);
    } else if (instance->plugin->handle_stream == NULL) {
        td_err_set(err, TD_ECONFIG, "protocol: handler %s (%s) has none of its own (handle_stream)",
                   instance->name, instance->file);
    } else if (listener->proxy_protocol) {
        td_err_set(err, TD_ECONFIG, "proxy_protocol is for listeners that speak HTTP");
        return "proxy_protocol";
    } else {
        return NULL;
    }
    return "protocol";
}

td_streamserver *
td_streamserver_create(td_ioloop *loop, const td_streamserver_options *options)
{
    const td_listener_settings *settings = options->settings;
    td_streamserver *server = td_xcalloc(1, sizeof(*server));

    server->loop = loop;
    server->settings = settings;
    server->instance = options->instance;
    server->counters = options->counters;
    td_list_init(&server->connections);
    td_list_init(&server->lingering);
    td_census_init(&server->addresses);
    server->tell_drained = (td_callback){.fn = tell_drained, .arg = server};
    server->tcpserver =
        td_tcpserver_create(loop, &(td_tcpserver_options){.fd = options->fd,
                                                          .name = settings->name,
                                                          .accepts_max = (int)settings->accepts_max,
                                                          .congestion = settings->congestion,
                                                          .accepted = on_accepted,
                                                          .arg = server});
    return server;
}

void
td_streamserver_start(td_streamserver *server)
{
    td_tcpserver_start(server->tcpserver);
}

void
td_streamserver_drain(td_streamserver *server, void (*drained)(void *arg), void *arg)
{
    td_tcpserver_stop(server->tcpserver);
    server->draining = true;
    server->drained = drained;
    server->drained_arg = arg;
    if (server->count == 0)
        td_ioloop_post(server->loop, &server->tell_drained);
    TD_LIST_FOREACH(link, &server->connections) {
        td_iostream *stream = TD_CONTAINER_OF(link, td_connection, link)->stream;

        if (stream != NULL)
            td_iostream_drain(stream);
    }
}

/* Who is in the middle of what must not be cancelled finds his stream closed when he is through. */
static void
let_go(td_connection *connection)
{
    one_less(connection->server, connection);
    connection->server = NULL;
    if (connection->is_lingering)
        td_linger_stop(&connection->linger);
    connection->is_lingering = false;
    if (connection->has_returned) {
        free_connection(connection);
        return;
    }
    if (connection->stream != NULL)
        td_iostream_close_at_once(connection->stream);
    td_coroutine_cancel(connection->coroutine);
}

void
td_streamserver_destroy(td_streamserver **server_)
{
    td_streamserver *server = *server_;

    if (server == NULL)
        return;
    *server_ = NULL;
    server->drained = NULL;
    td_tcpserver_stop(server->tcpserver);
    while (!td_list_is_empty(&server->connections))
        let_go(TD_CONTAINER_OF(server->connections.next, td_connection, link));
    while (!td_list_is_empty(&server->lingering))
        let_go(TD_CONTAINER_OF(server->lingering.next, td_connection, link));
    td_callback_cancel(&server->tell_drained);
    td_tcpserver_destroy(&server->tcpserver);
    td_census_fini(&server->addresses);
    free(server);
}

size_t
td_streamserver_connections(const td_streamserver *server)
{
    return server->count;
}

/* ---- what the handler sees of it */

td_iostream *
td_connection_stream(td_connection *connection)
{
    return td_waiters_are_usable(connection, "td_connection_stream") ? connection->stream : NULL;
}

const td_instance *
td_connection_instance(const td_connection *connection)
{
    return td_waiters_are_usable(connection, "td_connection_instance") ? connection->instance : NULL;
}

td_str
td_connection_remote_addr(td_connection *connection)
{
    char text[TD_PEER_TEXT_SIZE];

    if (!td_waiters_are_usable(connection, "td_connection_remote_addr"))
        return td_str_make(NULL, 0);
    return td_str_dup(&connection->arena,
                      td_str_make(text, td_peer_format(&connection->peer, text)));
}

uint16_t
td_connection_remote_port(const td_connection *connection)
{
    return td_waiters_are_usable(connection, "td_connection_remote_port") ? connection->peer.port
                                                                          : 0;
}

void *
td_connection_alloc(td_connection *connection, size_t size)
{
    return td_waiters_are_usable(connection, "td_connection_alloc")
               ? td_arena_alloc(&connection->arena, size)
               : NULL;
}

td_str
td_connection_sprintf(td_connection *connection, const char *format, ...)
{
    va_list args;
    td_str text;

    if (!td_waiters_are_usable(connection, "td_connection_sprintf") ||
        !td_waiters_are_usable(format, "td_connection_sprintf"))
        return td_str_make(NULL, 0);
    va_start(args, format);
    text = td_arena_vsprintf(&connection->arena, format, args);
    va_end(args);
    return text;
}

void
td_connection_raise(td_connection *connection, const char *format, ...)
{
    char peer[TD_PEER_TEXT_SIZE];
    va_list args;
    td_str text;

    if (td_waiters_are_usable(connection, "td_connection_raise") && format != NULL) {
        va_start(args, format);
        text = td_arena_vsprintf(&connection->arena, format, args);
        va_end(args);
        td_peer_format(&connection->peer, peer);
        td_log_at(TD_LOG_ERROR, connection->instance->name, "(%s): %.*s", peer, TD_STR_FMT(text));
    }
    td_coroutine_leave();
}
