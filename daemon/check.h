/* `tornadod -t` and its kin: everything up to the first worker, then tell what was found. */
#ifndef DAEMON_CHECK_H
#define DAEMON_CHECK_H

#include "daemon/options.h"
#include "daemon/site/site.h"

/* Returns the exit status of the program: 0, 78 for settings and handlers that are wrong, or 1. */
int check_run(const struct options *options);

/*
 * The same for who wants to look at the handlers themselves: once they are good they are mounted in
 * a process of their own, with a worker's rights, where tell(arg, site) prints what it finds and
 * returns the exit status.
 */
int check_and_tell(const struct options *options, int (*tell)(void *arg, const struct site *site),
                   void *arg);

#endif
