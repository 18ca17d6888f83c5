/*
 * Congestion control of TCP sockets (RFC 5681), by the names that the kernel gives its algorithms.
 * What a listening socket has is what the connections have that it accepts.
 *
 * Inside of a machine nothing is congested, and an algorithm that paces, as bbr does, pays for its
 * patience with a timer for almost each write: a large answer costs twice the CPU time.
 */
#ifndef TORNADO_BASE_CONGESTION_H
#define TORNADO_BASE_CONGESTION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <tornado/abi.h>

#define TD_CONGESTION_AUTO "auto"     /* the system's, but on this machine the simplest */
#define TD_CONGESTION_SYSTEM "system" /* what a new socket has */

/* Nobody else reaches it, nor is reached from it: a unix socket, 127.0.0.0/8, ::1. */
TD_PRIVATE bool td_sockaddr_is_local(const struct sockaddr *address);

/*
 * name: an algorithm, or one of the above, which are done as well as can be.  address: the socket's
 * own or its peer's, whichever is known; a unix socket has no congestion control, which is no
 * error.  -errno: -ENOENT where the kernel has no such algorithm.
 */
TD_PRIVATE int td_congestion_set(int fd, const struct sockaddr *address, const char *name);

/* The kernel has it, or it is one of the above.  Who may use it is another question. */
TD_PRIVATE bool td_congestion_is_known(const char *name);

TD_PRIVATE void td_congestion_names(char *out, size_t size); /* "reno cubic": all that it has */

#endif
