/*
 * A listener's connections: how many there may be, and how they come to an end at a drain.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/census.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/detached.h"
#include "http/http1connection.h"
#include "http/httpserver.h"
#include "http/request_internal.h"

struct td_httpserver {
    td_http1context http1;
    td_tcpserver *tcpserver;
    const td_listener_settings *settings;
    size_t connections;
    td_census addresses; /* while there is a limit of them */
    td_timer grace;
    void (*drained)(void *arg); /* NULL: not draining, or told already */
    void *drained_arg;
    td_callback tell_drained;
};

/*
 * The request is nearly always there; closing before it was read would reset, and lose the answer.
 */
static void
refuse_connection(const td_httpserver *server, int fd)
{
    static char dropped[16 * 1024];

    (void)!recv(fd, dropped, sizeof(dropped), MSG_DONTWAIT);
    td_http1_send_unavailable(&server->http1, fd);
    shutdown(fd, SHUT_WR);
}

/* ---- connections of one address */

static void
address_add(td_httpserver *server, td_str address)
{
    if (server->settings->limits.max_connections_per_address > 0)
        td_census_add(&server->addresses, address);
}

static bool
address_is_full(const td_httpserver *server, td_str address)
{
    const int64_t max = server->settings->limits.max_connections_per_address;

    return max > 0 && (int64_t)td_census_count(&server->addresses, address) >= max;
}

/* ---- accepting */

static void
log_refusal(const td_httpserver *server, const char *limit)
{
    static td_log_gate gate;

    td_count_reason(503, limit);
    td_log_gated(&gate, TD_LOG_WARNING, "http", "listener %s: 503 to a new connection: %s",
                 server->settings->name, limit);
}

static bool
may_introduce(const td_httpserver *server, const td_peer *peer)
{
    static td_log_gate gate;
    char text[TD_PEER_TEXT_SIZE];

    if (td_networks_have(&server->settings->trusted_downstream, peer->address, peer->address_len))
        return true;
    td_count_reason(400, "proxy_protocol");
    td_peer_format(peer, text);
    td_log_gated(&gate, TD_LOG_WARNING, "http",
                 "listener %s: closed to %s: proxy_protocol is on, and trusted_downstream does not "
                 "have it",
                 server->settings->name, text);
    return false;
}

/* Only now is the address known that counts; the proxy's own is none. */
static bool
on_introduced(td_http1connection *conn, int fd)
{
    td_httpserver *server = td_http1connection_server(conn);
    const td_str address = td_http1connection_address(conn);

    if (address_is_full(server, address)) {
        log_refusal(server, "max_connections_per_address");
        refuse_connection(server, fd);
        return false;
    }
    address_add(server, address);
    return true;
}

void
td_httpserver_admit(td_httpserver *server, int fd, const td_peer *peer)
{
    const bool is_introduced = !server->settings->proxy_protocol;
    td_str address = td_str_make((const char *)peer->address, is_introduced ? peer->address_len : 0);
    const char *limit = NULL;

    if (!is_introduced && !may_introduce(server, peer)) {
        close(fd);
        return;
    }
    if (address_is_full(server, address))
        limit = "max_connections_per_address";
    else if ((int64_t)server->connections >= server->settings->limits.max_connections &&
             !td_http1context_evict_lingering(&server->http1) &&
             !td_http1context_evict(&server->http1))
        limit = "max_connections";
    if (limit != NULL) {
        log_refusal(server, limit);
        refuse_connection(server, fd);
        close(fd);
        return;
    }
    server->connections++;
    server->http1.counters->accepted++;
    address_add(server, address);
    td_http1connection_open(&server->http1, fd, peer);
}

static void
on_accepted(void *arg, int fd, const struct sockaddr_storage *sockaddr, socklen_t sockaddr_len)
{
    const td_peer peer = td_peer_of(sockaddr);

    (void)sockaddr_len;
    td_httpserver_admit(arg, fd, &peer);
}

/* Who is idle loses least: RFC 9112 section 9.5 has clients expect it. */
static bool
on_no_room(void *arg)
{
    td_httpserver *server = arg;

    return td_http1context_evict_idle(&server->http1);
}

/* Out of descriptors: the reserve is used for this answer. */
static void
on_refuse(void *arg, int fd)
{
    td_httpserver *server = arg;

    td_count_reason(503, "out of descriptors");
    td_http1context_evict(&server->http1);
    refuse_connection(server, fd);
}

static void
tell_drained(void *arg)
{
    td_httpserver *server = arg;
    void (*drained)(void *) = server->drained;

    server->drained = NULL;
    if (drained != NULL)
        drained(server->drained_arg);
}

static void
one_less(td_httpserver *server, td_str address)
{
    td_census_remove(&server->addresses, address);
    server->connections--;
    td_tcpserver_room(server->tcpserver);
    if (server->connections == 0 && server->drained != NULL)
        td_ioloop_post(server->http1.loop, &server->tell_drained);
}

static void
on_connection_closed(td_http1connection *conn)
{
    one_less(td_http1connection_server(conn), td_http1connection_address(conn));
}

static void
on_detached_closed(td_http1context *context, const td_peer *peer)
{
    one_less(context->server, td_str_make((const char *)peer->address, peer->address_len));
}

/* ---- life */

td_httpserver *
td_httpserver_create(td_ioloop *loop, const td_httpserver_options *options)
{
    td_httpserver *server = td_xcalloc(1, sizeof(*server));

    server->settings = options->settings;
    server->http1 = (td_http1context){
        .loop = loop,
        .server = server,
        .settings = options->settings,
        .delegate = options->delegate,
        .delegate_arg = options->delegate_arg,
        .log_request = options->log_request,
        .log_arg = options->log_arg,
        .counters = options->counters,
        .spill_place = options->spill_place,
        .connection_closed = on_connection_closed,
        .detached_closed = on_detached_closed,
        .introduced = on_introduced,
    };
    td_http1context_init(&server->http1);
    td_census_init(&server->addresses);
    server->tell_drained.fn = tell_drained;
    server->tell_drained.arg = server;
    server->tcpserver = td_tcpserver_create(loop, &(td_tcpserver_options){
                                                      .fd = options->fd,
                                                      .name = options->settings->name,
                                                      .accepts_max =
                                                          (int)options->settings->accepts_max,
                                                      .congestion = options->settings->congestion,
                                                      .accepted = on_accepted,
                                                      .make_room = on_no_room,
                                                      .refuse = on_refuse,
                                                      .arg = server,
                                                  });
    return server;
}

void
td_httpserver_start(td_httpserver *server)
{
    td_tcpserver_start(server->tcpserver);
}

static void
grace_is_over(void *arg)
{
    td_httpserver *server = arg;

    server->http1.no_idle = true;
    td_http1context_close_idle(&server->http1);
}

void
td_httpserver_drain(td_httpserver *server, int64_t grace_ms, void (*drained)(void *arg), void *arg)
{
    td_tcpserver_stop(server->tcpserver);
    server->http1.draining = true;
    server->drained = drained;
    server->drained_arg = arg;
    td_detached_drain_all(&server->http1);
    if (server->connections == 0) {
        td_ioloop_post(server->http1.loop, &server->tell_drained);
        return;
    }
    server->grace.fn = grace_is_over;
    server->grace.arg = server;
    td_timer_start(server->http1.loop, &server->grace, td_now_ns() + grace_ms * TD_NS_PER_MS);
}

void
td_httpserver_destroy(td_httpserver **server_ref)
{
    td_httpserver *server = *server_ref;

    if (server == NULL)
        return;
    *server_ref = NULL;
    server->drained = NULL;
    td_timer_stop(server->http1.loop, &server->grace);
    td_http1context_fini(&server->http1);
    td_callback_cancel(&server->tell_drained);
    td_tcpserver_destroy(&server->tcpserver);
    td_census_fini(&server->addresses);
    free(server);
}

size_t
td_httpserver_connections(const td_httpserver *server)
{
    return server->connections;
}
