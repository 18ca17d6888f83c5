/*
 * What the master is asked through the control socket (controlsocket.h): status, reload and so on.
 */
#ifndef DAEMON_MASTER_REQUESTS_H
#define DAEMON_MASTER_REQUESTS_H

#include "daemon/master/controlsocket.h"

/*
 *     status          facts.h
 *     reload          as HUP does; answered when its outcome is known
 *     upgrade         as USR2 does; answered when its outcome is known, by the new binary if it is good
 *     reopen          as USR1 does
 *     stop            as TERM does; "ok", and the end of the stream comes with that of the daemon
 *     release NAME    let the handler out of quarantine
 */
void requests_asked(struct control_client *client, const struct control_request *request);

#endif
