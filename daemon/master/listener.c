/*
 * How a socket is made is in lib/io/netutil.c.  With reuseport the kernel spreads connections over
 * the sockets of a group by a hash; a socket that goes away takes its queue along, hence they are
 * the master's and only grow.
 */
#include "daemon/master/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/congestion.h"
#include "base/put.h"
#include "base/value.h"
#include "daemon/master/notify.h"
#include "daemon/master/passed.h"
#include "io/netutil.h"

/*
 * Whoever runs as the same user could join our group of sockets, or we theirs.  A first bind
 * without SO_REUSEPORT fails where another daemon sits on the address, as it does without
 * reuseport.
 */
static int
find_free_address(struct listener *listener, const td_listener_settings *settings, td_err *err)
{
    int fd, rc = td_netutil_bind(settings, &listener->bound, listener->bound_len, false, &fd, err);

    if (rc < 0)
        return rc;
    getsockname(fd, (struct sockaddr *)&listener->bound, &listener->bound_len);
    close(fd);
    return 0;
}

/* stored: taken over; NULL: the manager does not have it. */
static void
keep_socket(struct listener *listener, int fd, char *stored)
{
    const size_t count = listener->fds_count + 1;

    listener->fds = td_xrealloc(listener->fds, count * sizeof(*listener->fds));
    listener->stored = td_xrealloc(listener->stored, count * sizeof(*listener->stored));
    listener->fds[listener->fds_count] = fd;
    listener->stored[listener->fds_count++] = stored;
}

static int
add_socket(struct listener *listener, const td_listener_settings *settings, td_err *err)
{
    int fd, rc = td_netutil_open(settings, &listener->bound, listener->bound_len,
                                 listener->reuseport, &fd, err);

    if (rc == 0)
        keep_socket(listener, fd, NULL);
    return rc;
}

static int
open_sockets(struct listener *listener, const td_listener_settings *settings, size_t count,
             td_err *err)
{
    int rc = 0;

    while (rc == 0 && listener->fds_count < count)
        rc = add_socket(listener, settings, err);
    return rc;
}

static char *
make_url(const struct sockaddr_storage *bound, const char *scheme, const char *text)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)bound;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)bound;
    char host[INET6_ADDRSTRLEN], url[INET6_ADDRSTRLEN + 32];

    if (bound->ss_family == AF_UNIX)
        return td_xstrdup(text);
    if (bound->ss_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        snprintf(url, sizeof(url), "%s://%s:%u", scheme, host, ntohs(v4->sin_port));
    } else {
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(url, sizeof(url), "%s://[%s]:%u", scheme, host, ntohs(v6->sin6_port));
    }
    return td_xstrdup(url);
}

/* A reload may have given it a protocol, or taken it away. */
static void
set_url(struct listener *listener, const td_listener_settings *settings)
{
    free(listener->url);
    listener->url = make_url(&listener->bound, settings->protocol != NULL ? "tcp" : "http",
                             listener->address);
}

static void
find_bound(struct listener *listener, const td_listener_settings *settings)
{
    listener->bound_len = sizeof(listener->bound);
    getsockname(listener->fds[0], (struct sockaddr *)&listener->bound, &listener->bound_len);
    set_url(listener, settings);
}

/*
 * By its address, which no two listeners share; the name of its section may be another one's after
 * a reload, and to forget a name is to forget all that have it.
 */
static char *
make_stored_name(const struct listener *listener, size_t slot)
{
    const char *scheme_end = strstr(listener->url, "://");
    const char *address = scheme_end != NULL ? scheme_end + 3 : listener->url;
    const size_t size = sizeof(NOTIFY_STORED "-") + strlen(address) + TD_DECIMAL_MAX;
    char *name = td_xmalloc(size); /* waits for memory: the master does not die of that */

    snprintf(name, size, NOTIFY_STORED "%s-%zu", address, slot);
    for (char *c = name; *c != '\0'; c++) {
        if (*c == ':') /* it separates the names in LISTEN_FDNAMES */
            *c = '_';
    }
    return name;
}

/* It was opened by somebody who did not know what the settings say now. */
static int
set_passed_options(int fd, const struct listener *listener, const td_listener_settings *settings,
                   td_err *err)
{
    if (listener->bound.ss_family != AF_UNIX &&
        td_netutil_set(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY", settings->address, err) < 0)
        return err->code;
    if (listener->reuseport && /* others are to join it */
        td_netutil_set(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT", settings->address, err) < 0)
        return err->code;
    return td_netutil_listen(fd, settings, &listener->bound, err);
}

/* Those of a unit or of the store; with reuseport all of them, since connections wait in each. */
static int
take_passed(struct listener *listener, const td_listener_settings *settings, td_err *err)
{
    char *stored;
    int fd;

    while ((listener->fds_count == 0 || listener->reuseport) &&
           (fd = passed_take(settings->name, &listener->bound, listener->bound_len, &stored)) >=
               0) {
        keep_socket(listener, fd, stored);
        listener->is_units |= stored == NULL;
        if (set_passed_options(fd, listener, settings, err) < 0)
            return err->code;
    }
    return 0;
}

int
listener_open(const td_listener_settings *settings, size_t workers_count, struct listener **out,
              td_err *err)
{
    struct listener *listener = td_xcalloc(1, sizeof(*listener));
    int rc = td_value_parse_address(settings->address, &listener->bound, &listener->bound_len, err);

    if (rc < 0)
        goto fail;
    listener->name = td_xstrdup(settings->name);
    listener->address = td_xstrdup(settings->address);
    listener->reuseport = settings->reuseport && listener->bound.ss_family != AF_UNIX;
    rc = take_passed(listener, settings, err);
    if (rc < 0)
        goto fail;
    if (listener->reuseport && listener->fds_count == 0 &&
        (rc = find_free_address(listener, settings, err)) < 0)
        goto fail;
    rc = open_sockets(listener, settings, listener->reuseport ? workers_count : 1, err);
    if (rc < 0)
        goto fail;
    find_bound(listener, settings);
    *out = listener;
    return 0;

fail:
    listener_close(&listener);
    return rc;
}

struct listener *
listener_adopt(const td_listener_settings *settings, const int *fds, size_t fds_count,
               bool is_units)
{
    struct listener *listener = td_xcalloc(1, sizeof(*listener));

    listener->name = td_xstrdup(settings->name);
    listener->address = td_xstrdup(settings->address);
    listener->reuseport = settings->reuseport;
    listener->is_units = is_units;
    for (size_t i = 0; i < fds_count; i++)
        keep_socket(listener, fds[i], NULL);
    find_bound(listener, settings);
    for (size_t i = 0; i < fds_count && notify_has_store() && !is_units; i++)
        listener->stored[i] = make_stored_name(listener, i);
    return listener;
}

int
listener_adapt(struct listener *listener, const td_listener_settings *settings,
               size_t workers_count, td_err *err)
{
    const char *path = td_netutil_path(&listener->bound);

    if (listener->bound.ss_family != AF_UNIX && settings->reuseport != listener->reuseport)
        return td_err_set(err, TD_ECONFIG,
                          "[listen:%s]: reuseport of a listener in use changes with a restart only",
                          settings->name);
    set_url(listener, settings);
    if (path != NULL && chmod(path, (mode_t)settings->mode) < 0)
        return td_err_errno(err, "listen %s: mode", settings->address);
    for (size_t i = 0; i < listener->fds_count; i++) {
        if (td_netutil_listen(listener->fds[i], settings, &listener->bound, err) < 0)
            return err->code;
    }
    return open_sockets(listener, settings, listener->reuseport ? workers_count : 1, err);
}

int
listener_give(const struct listener *listener, uid_t uid, gid_t gid, td_err *err)
{
    const char *path = td_netutil_path(&listener->bound);

    if (path != NULL && lchown(path, uid, gid) < 0)
        return td_err_errno(err, "listen %s: owner", listener->address);
    return 0;
}

bool
listener_is_local(const struct listener *listener)
{
    return td_sockaddr_is_local((const struct sockaddr *)&listener->bound);
}

void
listener_store(struct listener *listener)
{
    for (size_t i = 0; i < listener->fds_count && !listener->is_units; i++) {
        if (listener->stored[i] != NULL)
            continue;
        char *name = make_stored_name(listener, i);
        if (notify_store(name, listener->fds[i]))
            listener->stored[i] = name;
        else
            free(name); /* the next reload tries again */
    }
}

static bool leaves_stored;

void
listener_leave_stored(void)
{
    leaves_stored = notify_has_store();
}

void
listener_close(struct listener **listener)
{
    struct listener *l = *listener;

    if (l == NULL)
        return;
    const char *path = td_netutil_path(&l->bound);
    if (path != NULL && l->fds_count > 0 && !l->is_units && !leaves_stored)
        unlink(path); /* else the name is somebody else's */
    for (size_t i = 0; i < l->fds_count; i++) {
        if (l->stored[i] != NULL && !leaves_stored)
            notify_forget(l->stored[i]);
        free(l->stored[i]);
        close(l->fds[i]);
    }
    free(l->stored);
    free(l->fds);
    free(l->name);
    free(l->address);
    free(l->url);
    free(l);
    *listener = NULL;
}
