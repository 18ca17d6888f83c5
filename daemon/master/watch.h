/*
 * Looks at the directory of the handlers: dropping a file in, replacing or removing it is a reload.
 *
 * One that is still being written counts when it is closed, and what happens within a moment is one
 * change.  A link's target is not looked at.
 */
#ifndef DAEMON_MASTER_WATCH_H
#define DAEMON_MASTER_WATCH_H

#include <ev.h>
#include <tornado/error.h>

/* changed(name): the file that was the last to change; from the loop. */
int watch_open(struct ev_loop *loop, void (*changed)(const char *name), td_err *err);
void watch_close(void);

/* Look at this directory and no other; NULL: at none. */
int watch_directory(const char *path, td_err *err);

/* What has changed until now is known. */
void watch_forget(void);

#endif
