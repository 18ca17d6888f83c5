/*
 * Another binary takes over in place.  It first tests itself (`-t`, in a child of ours) and says
 * that it understands what we will hand over; only then the master executes it: the process, its
 * children, its sockets and locks stay, and what there is to know of them passes in a memfd
 * (UPGRADE_STATE in the environment).  To the new binary the workers it finds are a generation like
 * any other, but that it cannot replace: they serve until its own first generation is ready, or for
 * as long as none gets so far.
 */
#ifndef DAEMON_MASTER_UPGRADE_H
#define DAEMON_MASTER_UPGRADE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tornado/error.h>
#include "daemon/master/handover.h"

#define UPGRADE_STATE "TORNADOD_UPGRADE_STATE" /* number of the descriptor, for the test too */
#define UPGRADE_TEST "TORNADOD_UPGRADE_TEST"   /* set while a binary tests itself for an upgrade */
#define UPGRADE_UNDERSTANDS "tornadod understands upgrade " /* then the version that it was shown */
#define UPGRADE_ACKNOWLEDGED UPGRADE_UNDERSTANDS HANDOVER_VERSION

/* Of this program: where it was started from, so that another file of that name is found. */
void upgrade_init(const char *argv0);

/* Begin; the outcome is told by control_settle(CONTROL_EVENT_UPGRADE) or by the new binary. */
void upgrade_begin(void);

bool upgrade_reaped(pid_t pid, int status); /* false: that was not the test of a binary */
bool upgrade_is_on_its_way(void);
void upgrade_abandon(void); /* the daemon stops */

/* In the new binary: take over what is handed over.  False: nothing is.  An error is the end. */
bool upgrade_is_ours(void);
int upgrade_resume(td_err *err);

/*
 * In a binary that has tested itself well: if that is for an upgrade, read what would be handed
 * over, and say that it can be taken, or why not.
 */
int upgrade_acknowledge(td_err *err);

#endif
