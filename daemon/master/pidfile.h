/*
 * The pid file: locked as long as the daemon lives, so a stale one is no obstacle and a second
 * daemon on the same file is refused.  Its content is for people and scripts; we never trust one to
 * kill.
 */
#ifndef DAEMON_MASTER_PIDFILE_H
#define DAEMON_MASTER_PIDFILE_H

#include <tornado/error.h>

/* Create or take over path and lock it; writes nothing yet.  TD_EBUSY: another daemon holds it. */
int pidfile_open(const char *path, int *fd_out, td_err *err);

int pidfile_write(int fd, const char *path, td_err *err); /* once the daemon serves */

/* Remove the name and the lock.  Harmless with fd -1. */
void pidfile_close(int fd, const char *path);

#endif
