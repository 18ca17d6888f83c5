/*
 * What a socket needs is set before it listens, so that accepted ones inherit it and nobody makes a
 * system call for it.
 */
#include "io/netutil.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/congestion.h"

#define DEFER_ACCEPT_S 1 /* then the kernel accepts a silent connection all the same */

const char *
td_netutil_path(const struct sockaddr_storage *address)
{
    const struct sockaddr_un *path = (const struct sockaddr_un *)address;

    return address->ss_family == AF_UNIX && path->sun_path[0] != '\0' ? path->sun_path : NULL;
}

int
td_netutil_set(int fd, int level, int name, int value, const char *text, const char *address,
               td_err *err)
{
    if (setsockopt(fd, level, name, &value, sizeof(value)) == 0)
        return 0;
    return td_err_errno(err, "listen %s: %s", address, text);
}

static int
set_tcp_options(int fd, const td_listener_settings *settings, int family, bool reuseport,
                td_err *err)
{
    const char *address = settings->address;

    if (td_netutil_set(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR", address, err) < 0 ||
        td_netutil_set(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY", address, err) < 0)
        return err->code;
    /* [::]:80 beside 0.0.0.0:80 is two listeners, on every system alike. */
    if (family == AF_INET6 &&
        td_netutil_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY", address, err) < 0)
        return err->code;
    if (reuseport &&
        td_netutil_set(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT", address, err) < 0)
        return err->code;
    return 0;
}

int
td_netutil_listen(int fd, const td_listener_settings *settings,
                  const struct sockaddr_storage *address, td_err *err)
{
    const int rc = td_congestion_set(fd, (const struct sockaddr *)address, settings->congestion);

    if (rc < 0)
        return td_err_set(err, rc, "listen %s: congestion = %s: %s", settings->address,
                          settings->congestion, strerror(-rc));
    if (address->ss_family != AF_UNIX &&
        td_netutil_set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT,
                       settings->defer_accept && settings->protocol == NULL ? DEFER_ACCEPT_S : 0,
                       "TCP_DEFER_ACCEPT", settings->address, err) < 0)
        return err->code;
    if (listen(fd, (int)settings->backlog) < 0)
        return td_err_errno(err, "listen %s", settings->address);
    return 0;
}

/* True when nobody accepts there any more: whoever made the socket is gone. */
static bool
is_stale_socket(const struct sockaddr_storage *address, socklen_t len)
{
    struct stat st;

    if (lstat(td_netutil_path(address), &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused = connect(fd, (const struct sockaddr *)address, len) < 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int
bind_address(int fd, const struct sockaddr_storage *address, socklen_t len)
{
    const char *path = td_netutil_path(address);

    if (bind(fd, (const struct sockaddr *)address, len) == 0)
        return 0;
    if (errno != EADDRINUSE || path == NULL)
        return -1;
    if (!is_stale_socket(address, len)) {
        errno = EADDRINUSE;
        return -1;
    }
    return unlink(path) < 0 ? -1 : bind(fd, (const struct sockaddr *)address, len);
}

int
td_netutil_bind(const td_listener_settings *settings, const struct sockaddr_storage *address,
                socklen_t len, bool reuseport, int *fd_out, td_err *err)
{
    int family = address->ss_family, rc;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return td_err_errno(err, "listen %s", settings->address);
    if (family != AF_UNIX) {
        rc = set_tcp_options(fd, settings, family, reuseport, err);
        if (rc < 0)
            goto fail_close;
    }
    if (bind_address(fd, address, len) < 0) {
        rc = td_err_errno(err, "listen %s", settings->address);
        goto fail_close;
    }
    *fd_out = fd;
    return 0;

fail_close:
    close(fd);
    return rc;
}

int
td_netutil_open(const td_listener_settings *settings, const struct sockaddr_storage *address,
                socklen_t len, bool reuseport, int *fd_out, td_err *err)
{
    const char *path = td_netutil_path(address);
    int fd, rc = td_netutil_bind(settings, address, len, reuseport, &fd, err);

    if (rc < 0)
        return rc;
    if (path != NULL && chmod(path, (mode_t)settings->mode) < 0)
        rc = td_err_errno(err, "listen %s: mode", settings->address);
    else
        rc = td_netutil_listen(fd, settings, address, err);
    if (rc < 0)
        goto fail_unlink;
    *fd_out = fd;
    return 0;

fail_unlink:
    if (path != NULL)
        unlink(path);
    close(fd);
    return rc;
}

bool
td_netutil_is_awaited(int fd)
{
    struct pollfd queue = {.fd = fd, .events = POLLIN};

    return poll(&queue, 1, 0) > 0;
}
