/* What a worker that crashes leaves behind: a report in its slot, see postmortem.h. */
#ifndef DAEMON_WORKER_CRASH_H
#define DAEMON_WORKER_CRASH_H

#include "daemon/scoreboard.h"

/*
 * In the worker, before handlers are loaded: from now on SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT,
 * SIGSYS and SIGTRAP are written down in the slot before they kill.
 */
void crash_install(struct slot *slot);

#endif
