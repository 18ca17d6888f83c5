/*
 * Accepting, bounded in every direction: so many connections a wake of the loop, so many log lines,
 * and no attempt at all for a while when the system has nothing left to give.
 */
#include "io/tcpserver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/congestion.h"
#include "base/log.h"

#define ACCEPTS_MAX_DEFAULT 16
#define PAUSE_MS 100

struct td_tcpserver {
    td_ioloop *loop;
    td_tcpserver_options options;
    ev_io watcher;  /* active: accepting */
    td_timer pause; /* started: out of descriptors or memory, accepting again when it fires */
    bool has_both;  /* connections from this machine and from others, to be told apart */
    int reserve;    /* a descriptor to give up for the newest client; -1: could not be had */
    td_log_gate gate;
    /* Invariant: at most one of watcher and pause is active; neither is when it is stopped. */
};

static int
open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
resume(void *arg)
{
    td_tcpserver *server = arg;

    td_timer_stop(server->loop, &server->pause);
    if (server->reserve < 0)
        server->reserve = open_reserve();
    ev_io_set(&server->watcher, server->options.fd, EV_READ); /* see on_readable */
    ev_io_start(td_ioloop_ev(server->loop), &server->watcher);
}

static void
pause_accepting(td_tcpserver *server, const char *call, int error)
{
    td_log_gated(&server->gate, TD_LOG_WARNING, "tcpserver", "%s: %s: %s; pausing for %d ms",
                 server->options.name, call, strerror(error), PAUSE_MS);
    ev_io_stop(td_ioloop_ev(server->loop), &server->watcher);
    td_timer_start(server->loop, &server->pause, td_now_ns() + PAUSE_MS * TD_NS_PER_MS);
}

/* The reserve makes room for one client more, which is told at once instead of left waiting. */
static void
refuse_newest(td_tcpserver *server)
{
    if (server->reserve < 0)
        return;
    close(server->reserve);
    const int fd = accept4(server->options.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        if (server->options.refuse != NULL)
            server->options.refuse(server->options.arg, fd);
        close(fd);
    }
    server->reserve = open_reserve();
}

/*
 * accept(2): errors of the network that are already pending on the new socket come out of accept;
 * they are that client's.  EPERM is a firewall's.
 */
static bool
is_of_this_client(int error)
{
    switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EPERM:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case EOPNOTSUPP:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}

static bool
make_room(td_tcpserver *server, int error)
{
    if (server->options.make_room == NULL || !server->options.make_room(server->options.arg))
        return false;
    td_log_gated(&server->gate, TD_LOG_WARNING, "tcpserver",
                 "%s: accept: %s; an idle connection was closed for the new one",
                 server->options.name, strerror(error));
    return true;
}

/* Paused first: `refuse` may close connections, and so call td_tcpserver_room. */
static void
accept_failed(td_tcpserver *server, int error)
{
    const bool is_of_descriptors = error == EMFILE || error == ENFILE;

    if (is_of_descriptors && make_room(server, error))
        return;
    pause_accepting(server, "accept", error);
    if (is_of_descriptors)
        refuse_newest(server);
}

static void
take(td_tcpserver *server, int fd, const struct sockaddr_storage *peer, socklen_t peer_len)
{
    const struct sockaddr *address = (const struct sockaddr *)peer;

    if (server->has_both && td_sockaddr_is_local(address))
        td_congestion_set(fd, address, TD_CONGESTION_AUTO);
    server->options.accepted(server->options.arg, fd, peer, peer_len);
}

/*
 * EV_ERROR: the system does not watch the socket and libev has stopped the watcher, which thinks
 * that it is registered until it is set again.  The error's number is lost by now; this is what it
 * mostly is.
 */
static void
on_readable(struct ev_loop *ev, ev_io *watcher, int events)
{
    td_tcpserver *server = TD_CONTAINER_OF(watcher, td_tcpserver, watcher);

    (void)ev;
    if (TD_UNLIKELY(events & EV_ERROR))
        pause_accepting(server, "epoll_ctl", ENOMEM);
    for (int i = 0; i < server->options.accepts_max && ev_is_active(watcher); i++) {
        struct sockaddr_storage peer;
        socklen_t peer_len = sizeof(peer);
        const int fd = accept4(server->options.fd, (struct sockaddr *)&peer, &peer_len,
                               SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0)
            take(server, fd, &peer, peer_len);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return;
        else if (!is_of_this_client(errno))
            accept_failed(server, errno);
    }
}

/* Of a local address the socket itself has been told. */
static bool
has_both(const td_tcpserver_options *options)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);

    return options->congestion != NULL && strcmp(options->congestion, TD_CONGESTION_AUTO) == 0 &&
           getsockname(options->fd, (struct sockaddr *)&address, &len) == 0 &&
           !td_sockaddr_is_local((struct sockaddr *)&address);
}

td_tcpserver *
td_tcpserver_create(td_ioloop *loop, const td_tcpserver_options *options)
{
    td_tcpserver *server = td_xcalloc(1, sizeof(*server));

    server->loop = loop;
    server->options = *options;
    if (server->options.accepts_max == 0)
        server->options.accepts_max = ACCEPTS_MAX_DEFAULT;
    server->has_both = has_both(options);
    server->reserve = open_reserve();
    server->pause.fn = resume;
    server->pause.arg = server;
    ev_io_init(&server->watcher, on_readable, options->fd, EV_READ);
    return server;
}

void
td_tcpserver_start(td_tcpserver *server)
{
    td_tcpserver_stop(server);
    resume(server);
}

void
td_tcpserver_stop(td_tcpserver *server)
{
    td_timer_stop(server->loop, &server->pause);
    ev_io_stop(td_ioloop_ev(server->loop), &server->watcher);
}

void
td_tcpserver_room(td_tcpserver *server)
{
    if (TD_UNLIKELY(server->pause.place != 0))
        resume(server);
}

void
td_tcpserver_destroy(td_tcpserver **server_address)
{
    td_tcpserver *server = *server_address;

    if (server == NULL)
        return;
    td_tcpserver_stop(server);
    if (server->reserve >= 0)
        close(server->reserve);
    free(server);
    *server_address = NULL;
}
