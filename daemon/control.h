/*
 * The channel between the master and one worker: a SOCK_SEQPACKET pair, one message a packet.  The
 * end of it tells each side that the other has gone.
 */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include <stdint.h>
#include <tornado/error.h>

enum control_type {
    /* from the worker */
    CONTROL_READY = 1, /* it accepts */
    CONTROL_FAILED,    /* it cannot start; text says why */

    /* from the master */
    CONTROL_DRAIN, /* finish what has begun and leave; the sockets live on elsewhere */
    CONTROL_STOP,  /* the same, and the daemon goes: take what waits in the queues along */
    CONTROL_LOGS,  /* fds: the log, the access log; -1 where there is none */
    CONTROL_QUARANTINE, /* text: the instance whose code is not to be run any more */
    CONTROL_WORKERS,    /* text: how many there are from now on, who share the memory */
};

#define CONTROL_FDS_MAX 2

struct control_message {
    uint32_t type;
    char text[TD_ERR_TEXT_SIZE]; /* ends with a NUL, whatever the other side sent */
    int fds[CONTROL_FDS_MAX];    /* -1: none; received ones are the receiver's */
};

int control_pair(int *master_out, int *worker_out, td_err *err); /* both non-blocking */

/* 0, -EAGAIN when the other side does not read, or another -errno.  fds stay the caller's. */
int control_send(int fd, const struct control_message *message);

/* 1 and a message, 0 at the end, -EAGAIN when there is none now, -errno.  Strangers are dropped. */
int control_receive(int fd, struct control_message *out);

#endif
