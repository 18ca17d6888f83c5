/*
 * Listening sockets that the service manager passes (sd_listen_fds(3)): those of a socket unit, and
 * those that we have put into its store, which are there again after a restart.
 */
#ifndef DAEMON_MASTER_PASSED_H
#define DAEMON_MASTER_PASSED_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define PASSED_MAX 1024 /* more are left alone */

void passed_init(void); /* reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, once */

/*
 * The next one for a listener: one of the same address, else a socket unit's of the name that its
 * section has (FileDescriptorName=), whatever its address is.  -1: there is none.
 *
 * stored_out  its name in the store, the caller's to free; NULL: a socket unit has it, and with it
 *             its name in the file system
 */
int passed_take(const char *listener, const struct sockaddr_storage *address, socklen_t len,
                char **stored_out);

/* Close those that no listener wants, and have the manager forget those that were stored. */
void passed_drop(void);

#endif
