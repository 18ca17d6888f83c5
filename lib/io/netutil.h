/*
 * Sockets that listen, made as a [listen:NAME] has it (Tornado's netutil.bind_sockets).  Errors are
 * -errno, with "listen ADDRESS: reason".
 */
#ifndef TORNADO_IO_NETUTIL_H
#define TORNADO_IO_NETUTIL_H

#include <stdbool.h>
#include <sys/socket.h>
#include <tornado/error.h>
#include "base/settings.h"

/*
 * One that is bound, and does not listen yet.  The name of a unix socket that somebody has left
 * behind, who is gone, is replaced; where one accepts, or a file is no socket, it is -EADDRINUSE.
 */
TD_PRIVATE int td_netutil_bind(const td_listener_settings *settings,
                               const struct sockaddr_storage *address, socklen_t len,
                               bool reuseport, int *fd_out, td_err *err);

/* And listens, a unix socket with its mode. */
TD_PRIVATE int td_netutil_open(const td_listener_settings *settings,
                               const struct sockaddr_storage *address, socklen_t len,
                               bool reuseport, int *fd_out, td_err *err);

/* What may change while it listens, also called then: the queue, and what comes out of it. */
TD_PRIVATE int td_netutil_listen(int fd, const td_listener_settings *settings,
                                 const struct sockaddr_storage *address, td_err *err);

/* Connections wait there to be accepted.  The last one to close the socket resets them. */
TD_PRIVATE bool td_netutil_is_awaited(int fd);

/* setsockopt(2); `text` is what the error calls it. */
TD_PRIVATE int td_netutil_set(int fd, int level, int name, int value, const char *text,
                              const char *address, td_err *err);

/* The path of a socket that has a name in the file system, else NULL. */
TD_PRIVATE const char *td_netutil_path(const struct sockaddr_storage *address);

#endif
