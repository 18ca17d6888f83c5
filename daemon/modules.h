/* Which code lies where: addresses as module and offset, which stay the same from run to run. */
#ifndef DAEMON_MODULES_H
#define DAEMON_MODULES_H

#include <stdint.h>
#include "daemon/scoreboard.h"

/*
 * Note what is loaded now.  name_of gives a better name than the path that the dynamic linker
 * knows, or NULL.
 */
void modules_note(const char *(*name_of)(void *arg, const char *path), void *arg);

void modules_find(uintptr_t address, struct crash_frame *out); /* async-signal-safe */

#endif
