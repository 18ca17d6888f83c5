/* What systemd wants to hear from a service of Type=notify: sd_notify(3), our own 40 lines. */
#ifndef DAEMON_MASTER_NOTIFY_H
#define DAEMON_MASTER_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>

/* Read NOTIFY_SOCKET and WATCHDOG_USEC; without them the calls below do nothing. */
void notify_init(void);

/*
 * Lines of "KEY=value" separated by newlines.  Waits two seconds at most for a manager whose queue
 * is full, and with one that had no room by then for READY=1 alone; what is not told is logged.
 */
void notify_send(const char *format, ...) TD_PRINTF(1, 2);

#define NOTIFY_STORED "listen-" /* what the names of stored sockets begin with */

/*
 * Put a socket into the manager's store under that name, or have those of that name forgotten; does
 * nothing unless FDSTORE says that there is a store.  What is there already keeps its name.  False:
 * it is not there.
 */
bool notify_store(const char *name, int fd);
void notify_forget(const char *name);
bool notify_has_store(void);

/* What comes may take so long, whatever the unit says; beyond it the manager gives up. */
void notify_takes(int64_t ms);

void notify_reloading(void); /* RELOADING=1 with its time, as systemd 253 and later want it */

int64_t notify_watchdog_ms(void); /* how often systemd wants WATCHDOG=1 at least; 0: never */

#endif
