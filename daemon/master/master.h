/* The master: it binds, forks, supervises, and never accepts a connection nor loads a handler. */
#ifndef DAEMON_MASTER_MASTER_H
#define DAEMON_MASTER_MASTER_H

#include "daemon/options.h"

/* Serve until told to stop; returns the exit status of the program. */
int master_run(const struct options *options);

#endif
