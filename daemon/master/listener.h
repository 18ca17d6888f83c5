/*
 * Listening sockets.  The master opens and keeps them over all generations of workers, so the
 * kernel's queue of a socket outlives every worker that accepts from it.
 */
#ifndef DAEMON_MASTER_LISTENER_H
#define DAEMON_MASTER_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <tornado/error.h>
#include "base/settings.h"

/* One [listen:NAME]: a socket for all workers or, with reuseport, one for each. */
struct listener {
    char *name;    /* of its section when it was opened */
    char *address; /* as the setting has it: a reload that has it again keeps the socket */
    char *url;     /* "http://127.0.0.1:8888", the port as it came out; tcp: where it has a protocol */
    struct sockaddr_storage bound; /* the address that the first socket really got */
    socklen_t bound_len;
    int *fds;
    char **stored; /* by what name the service manager has each of them as well; NULL: it has not */
    size_t fds_count;
    bool reuseport;
    bool is_units;  /* a socket unit has opened it, and keeps it and its name in the file system */
    unsigned users; /* generations that serve it */
};

/* Bind and listen; workers_count sockets with reuseport.  -errno with "listen ADDRESS: reason". */
int listener_open(const td_listener_settings *settings, size_t workers_count, struct listener **out,
                  td_err *err);

/* One whose sockets are open and listen already; they are its own from now on. */
struct listener *listener_adopt(const td_listener_settings *settings, const int *fds,
                                size_t fds_count, bool is_units);

/*
 * Another generation with these settings takes the open listener over: more sockets where it wants
 * more, never fewer, since connections may wait in any of them.
 */
int listener_adapt(struct listener *listener, const td_listener_settings *settings,
                   size_t workers_count, td_err *err);

/* A unix socket belongs to whom workers run as, so that a proxy in their group gets in.  -errno. */
int listener_give(const struct listener *listener, uid_t uid, gid_t gid, td_err *err);

/* Only this machine reaches it: a unix socket, 127.0.0.0/8, ::1. */
bool listener_is_local(const struct listener *listener);

/* Have the service manager keep its sockets over a restart, if it does such things. */
void listener_store(struct listener *listener);

/* From now on those that close are still in the store: their names and places there stay. */
void listener_leave_stored(void);

void listener_close(struct listener **listener); /* removes the name of a unix socket */

#endif
