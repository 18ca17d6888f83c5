/* What systemd wants to hear from a service of Type=notify: sd_notify(3), our own 40 lines. */
#ifndef DAEMON_MASTER_NOTIFY_H
#define DAEMON_MASTER_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>

/* Read NOTIFY_SOCKET and WATCHDOG_USEC; without them the calls below do nothing. */
void notify_init(void);

/* Lines of "KEY=value" separated by newlines.  Never blocks; a failure is nobody's business. */
void notify_send(const char *format, ...) TD_PRINTF(1, 2);

#define NOTIFY_STORED "listen-" /* what the names of stored sockets begin with */

/*
 * Put a listening socket into the manager's store under listen-NAME-SLOT, or have it forgotten; does
 * nothing unless FDSTORE says that there is a store.
 */
void notify_store(const char *name, size_t slot, int fd);
void notify_forget(const char *name, size_t slot);
bool notify_has_store(void);

void notify_reloading(void); /* RELOADING=1 with its time, as systemd 253 and later want it */

int64_t notify_watchdog_ms(void); /* how often systemd wants WATCHDOG=1 at least; 0: never */

#endif
