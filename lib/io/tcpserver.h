/*
 * td_tcpserver: accept from one listening socket, in bounded batches.
 *
 * When the process or the system is out of descriptors or memory, accepting pauses (100 ms, or
 * until a connection was closed) instead of spinning; ECONNABORTED and the errors of the network
 * that accept(2) lists are skipped.  A reserve descriptor lets the newest client be answered (see
 * refuse).
 */
#ifndef TORNADO_IO_TCPSERVER_H
#define TORNADO_IO_TCPSERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <tornado/abi.h>
#include "io/ioloop.h"

typedef struct td_tcpserver td_tcpserver;

typedef struct td_tcpserver_options {
    int fd;           /* listening and non-blocking; stays the caller's */
    const char *name; /* the listener's, for the log; outlives the server */
    int accepts_max;  /* per wake of the loop; 0: 16 */

    /*
     * As td_congestion_set has it; the socket has it already.  With "auto" connections from this
     * machine to a socket that has others, too, are told on their own.  NULL: none is.
     */
    const char *congestion;

    /* Takes fd (non-blocking, close-on-exec) over.  On the loop's stack. */
    void (*accepted)(void *arg, int fd, const struct sockaddr_storage *peer, socklen_t peer_len);

    /*
     * No descriptor is left: close something that nobody misses, and return true; then accepting
     * goes on at once.  False: there is no such thing.  NULL: there never is.
     */
    bool (*make_room)(void *arg);

    /*
     * Nor was room made.  The reserve was given up for this one: answer it at once without
     * waiting and return; the server closes fd.  May first make room by closing idle connections.
     * NULL: it is just closed.
     */
    void (*refuse)(void *arg, int fd);
    void *arg;
} td_tcpserver_options;

TD_PRIVATE td_tcpserver *td_tcpserver_create(td_ioloop *loop, const td_tcpserver_options *options);
TD_PRIVATE void td_tcpserver_start(td_tcpserver *server);
TD_PRIVATE void td_tcpserver_stop(td_tcpserver *server); /* accepts no more; may be started again */
TD_PRIVATE void td_tcpserver_room(td_tcpserver *server); /* a descriptor was closed: go on */
TD_PRIVATE void td_tcpserver_destroy(td_tcpserver **server);

#endif
