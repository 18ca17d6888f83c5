/*
 * td_transport: a connected socket as the layers above see it, plain or TLS (transport_tls.h).
 *
 * Reads and writes are attempts: they never wait and return -EAGAIN when the kernel is not ready.
 * After a write that did, the next one begins with the same bytes, and no fewer of them.
 * Interest starts as none.  The watcher is touched only when the interest changes, so a plain
 * keep-alive request makes no epoll_ctl.
 */
#ifndef TORNADO_IO_TRANSPORT_H
#define TORNADO_IO_TRANSPORT_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <tornado/abi.h>
#include "io/ioloop.h"

typedef struct td_transport td_transport;
typedef struct td_tls td_tls;

#define TD_READABLE EV_READ
#define TD_WRITABLE EV_WRITE

typedef struct td_transport_ops {
    ssize_t (*read)(td_transport *t, void *to, size_t size); /* bytes, 0 at the end, -errno */

    /*
     * Bytes, -errno.  more: other bytes or the end follow at once, so that both may leave together.
     */
    ssize_t (*writev)(td_transport *t, const struct iovec *parts, int count, bool more);

    /* Bytes, 0 where the file has ended, -errno.  The process ignores SIGPIPE. */
    ssize_t (*sendfile)(td_transport *t, int fd, off_t offset, size_t size);

    /* Send full segments only, until it is off: for a file of many pieces. */
    void (*cork)(td_transport *t, bool on);

    /*
     * Of the sending side, when all that was written is out: 0; -EAGAIN: again when it is writable;
     * 1: only closing ends it (a pipe that is written).
     */
    int (*shutdown)(td_transport *t);
    void (*close)(td_transport *t); /* frees what the kind holds; the fd too */
    bool reads_all; /* a read of fewer bytes than there is room for has taken all that had come */
} td_transport_ops;

/* events: TD_READABLE and TD_WRITABLE; may close and free the transport. */
typedef void td_transport_fn(td_transport *t, int events);

struct td_transport {
    ev_io watcher; /* watcher.fd is the descriptor, -1 once closed; watcher.data td_transport_tls */
    const td_transport_ops *ops;
    td_transport_fn *on_event; /* on the loop's stack */
};

/* Takes fd (non-blocking) over. */
TD_PRIVATE void td_transport_open_plain(td_transport *t, int fd, td_transport_fn *on_event);

/* The same of one end of a pipe, which may be read or written, not both. */
TD_PRIVATE void td_transport_open_pipe(td_transport *t, int fd, td_transport_fn *on_event);

/* For transports: EV_ERROR has come for the watcher.  The other end is as good as gone; logged. */
void td_transport_lost(struct ev_loop *ev, td_transport *t);
TD_PRIVATE void td_transport_close(td_transport *t, td_ioloop *loop); /* stops watching first */

/*
 * For the rest of what a peer sends, when nobody wants it: from the first on, readable means that
 * many bytes are there, or the end.  The second drops up to size of them (those of the descriptor,
 * whatever the kind makes of them), without a copy where the kernel can; returns what `read` does.
 */
TD_PRIVATE void td_transport_expect_discard(td_transport *t);
TD_PRIVATE ssize_t td_transport_discard(td_transport *t, size_t size);

/* Another object takes over what `from` was; that is closed then.  Nothing is watched for. */
TD_PRIVATE void td_transport_move(td_transport *to, td_transport *from, td_ioloop *loop,
                                  td_transport_fn *on_event);

static inline int
td_transport_fd(const td_transport *t)
{
    return t->watcher.fd;
}

static inline td_tls *
td_transport_tls(const td_transport *t)
{
    return t->watcher.data; /* NULL: it is plain.  A connection has no room for one more field. */
}

/* For TLS, where one direction may need the other one of the socket. */
TD_PRIVATE void td_tls_watch(td_transport *t, td_ioloop *loop, int events);
TD_PRIVATE int td_tls_watched(const td_transport *t);
TD_PRIVATE void td_tls_move(td_transport *to, td_transport *from);

static inline int
td_transport_watched(const td_transport *t)
{
    if (__builtin_expect(td_transport_tls(t) != NULL, 0))
        return td_tls_watched(t);
    return ev_is_active(&t->watcher) ? (t->watcher.events & (EV_READ | EV_WRITE)) : 0;
}

TD_PRIVATE void td_transport_rewatch(td_transport *t, td_ioloop *loop, int events);

/* Watch for exactly these events (0: for none), which nearly always is what is done already. */
static inline void
td_transport_watch(td_transport *t, td_ioloop *loop, int events)
{
    if (__builtin_expect(td_transport_tls(t) != NULL, 0))
        td_tls_watch(t, loop, events);
    else if (td_transport_watched(t) != events)
        td_transport_rewatch(t, loop, events);
}

#endif
