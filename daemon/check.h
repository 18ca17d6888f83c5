/* `tornadod -t` and its kin: everything up to the first worker, then tell what was found. */
#ifndef DAEMON_CHECK_H
#define DAEMON_CHECK_H

#include "daemon/options.h"

/* Returns the exit status of the program: 0, 78 for settings and handlers that are wrong, or 1. */
int check_run(const struct options *options);

#endif
