/* The plain transport: one system call an attempt, and none where the watcher already is right. */
#include "io/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/assert.h"
#include "base/log.h"

#define DISCARD_LOW_WATER (256 * 1024) /* bytes */

/*
 * Reading and writing go by syscall(2).  Those of the C library are points of cancellation, and as
 * soon as there is a thread (that of a log, an executor's) each costs forty instructions more, two
 * of them locked.  We cancel no thread.
 */
static ssize_t
plain_read(td_transport *t, void *to, size_t size)
{
    ssize_t n;

    do
        n = syscall(SYS_recvfrom, t->watcher.fd, to, size, 0, NULL, NULL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/*
 * MSG_NOSIGNAL: a client that has gone is no reason for a SIGPIPE, whatever its disposition is.
 * MSG_MORE: the last bytes and the FIN, or a head and its file, are one segment, and one wake of
 * the client.
 */
static ssize_t
plain_writev(td_transport *t, const struct iovec *parts, int count, bool more)
{
    const int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    const struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
    ssize_t n;

    do
        n = count == 1 ? syscall(SYS_sendto, t->watcher.fd, parts->iov_base, parts->iov_len, flags,
                                 NULL, 0)
                       : syscall(SYS_sendmsg, t->watcher.fd, &message, flags);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t
plain_sendfile(td_transport *t, int fd, off_t offset, size_t size)
{
    ssize_t n;

    do
        n = sendfile(t->watcher.fd, fd, &offset, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Of a unix socket it cannot be had, and is not wanted. */
static void
plain_cork(td_transport *t, bool on)
{
    const int value = on;

    setsockopt(t->watcher.fd, IPPROTO_TCP, TCP_CORK, &value, sizeof(value));
}

static int
plain_shutdown(td_transport *t)
{
    shutdown(t->watcher.fd, SHUT_WR);
    return 0;
}

static void
plain_close(td_transport *t)
{
    close(t->watcher.fd);
}

static const td_transport_ops plain = {
    .read = plain_read,
    .writev = plain_writev,
    .sendfile = plain_sendfile,
    .cork = plain_cork,
    .shutdown = plain_shutdown,
    .close = plain_close,
    .reads_all = true,
};

/* ---- pipes */

static ssize_t
pipe_read(td_transport *t, void *to, size_t size)
{
    ssize_t n;

    do
        n = read(t->watcher.fd, to, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t
pipe_writev(td_transport *t, const struct iovec *parts, int count, bool more)
{
    ssize_t n;

    (void)more;
    do
        n = writev(t->watcher.fd, parts, count);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static void
pipe_cork(td_transport *t, bool on)
{
    (void)t, (void)on;
}

static int
pipe_shutdown(td_transport *t)
{
    return (fcntl(t->watcher.fd, F_GETFL) & O_ACCMODE) == O_WRONLY;
}

static const td_transport_ops pipes = {
    .read = pipe_read,
    .writev = pipe_writev,
    .sendfile = plain_sendfile,
    .cork = pipe_cork,
    .shutdown = pipe_shutdown,
    .close = plain_close,
    .reads_all = true,
};

/* ---- events */

/*
 * A socket that the system does not watch is shut down, so that the next attempt finds its end;
 * nothing else would ever be heard of it.  What is no socket is tried again.
 */
void
td_transport_lost(struct ev_loop *ev, td_transport *t)
{
    static td_log_gate gate;

    if (shutdown(t->watcher.fd, SHUT_RDWR) < 0 && errno == ENOTSOCK)
        td_ioloop_watch_again(ev, &t->watcher, "a pipe");
    else
        td_log_gated(&gate, TD_LOG_ERROR, "transport",
                     "the system does not watch a connection; it is closed");
}

static void
on_ready(struct ev_loop *ev, ev_io *watcher, int events)
{
    td_transport *t = TD_CONTAINER_OF(watcher, td_transport, watcher);

    if (TD_UNLIKELY(events & EV_ERROR))
        td_transport_lost(ev, t);
    t->on_event(t, events & watcher->events & (TD_READABLE | TD_WRITABLE));
}

static void
open_with(td_transport *t, const td_transport_ops *ops, int fd, td_transport_fn *on_event)
{
    ev_io_init(&t->watcher, on_ready, fd, 0);
    t->ops = ops;
    t->on_event = on_event;
    t->watcher.data = NULL;
}

void
td_transport_open_plain(td_transport *t, int fd, td_transport_fn *on_event)
{
    open_with(t, &plain, fd, on_event);
}

void
td_transport_open_pipe(td_transport *t, int fd, td_transport_fn *on_event)
{
    open_with(t, &pipes, fd, on_event);
}

void
td_transport_rewatch(td_transport *t, td_ioloop *loop, int events)
{
    ev_io_stop(td_ioloop_ev(loop), &t->watcher);
    if (events == 0)
        return;
    ev_io_modify(&t->watcher, events);
    ev_io_start(td_ioloop_ev(loop), &t->watcher);
}

void
td_transport_close(td_transport *t, td_ioloop *loop)
{
    if (t->watcher.fd < 0)
        return;
    ev_io_stop(td_ioloop_ev(loop), &t->watcher);
    t->ops->close(t);
    t->watcher.fd = -1;
}

void
td_transport_move(td_transport *to, td_transport *from, td_ioloop *loop, td_transport_fn *on_event)
{
    ev_io_stop(td_ioloop_ev(loop), &from->watcher);
    open_with(to, from->ops, from->watcher.fd, on_event);
    if (td_transport_tls(from) != NULL)
        td_tls_move(to, from);
    from->watcher.fd = -1;
}

/* ---- what nobody wants */

/*
 * The kernel makes room for as much.  With the little room that there is at first each look would
 * make it send the peer's next bytes in our time, where the peer is on the same host.
 */
void
td_transport_expect_discard(td_transport *t)
{
    const int value = DISCARD_LOW_WATER;

    setsockopt(t->watcher.fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof(value));
}

/* A unix socket does not know how to drop, and asks for room: -EFAULT. */
ssize_t
td_transport_discard(td_transport *t, size_t size)
{
    char bytes[16384];
    ssize_t n;

    do
        n = recv(t->watcher.fd, NULL, size, MSG_TRUNC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EFAULT)
        n = recv(t->watcher.fd, bytes, size < sizeof(bytes) ? size : sizeof(bytes), 0);
    return n < 0 ? -errno : n;
}
