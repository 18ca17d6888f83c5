/* What the slot of a dead worker says, for the log of the master. */
#ifndef DAEMON_MASTER_POSTMORTEM_H
#define DAEMON_MASTER_POSTMORTEM_H

#include "base/arena.h"
#include "daemon/scoreboard.h"
#include "daemon/site/manifest.h"

/*
 * "SIGSEGV at address 0x0 in crash.so+0x1139, handler crash (crash.so), route /segv, request 17
 * "GET /segv HTTP/1.1"; called from crash.so+0x1180, ..."  Without a report only what it was doing;
 * empty when that is nothing.  In the arena.
 */
td_str postmortem_describe(td_arena *arena, const struct slot *slot,
                           const struct manifest *manifest);

#endif
