/*
 * The control socket: how `tornadod status` and its kin reach the master, a unix stream socket in
 * the file system.  One request a connection:
 *
 *     request  = command [ HTAB argument [ HTAB ini ] ] LF
 *     answer   = "ok" LF *OCTET / "error" SP reason, up to the end of the stream
 *
 * No byte of a request is a control character but those two; `ini` is the absolute path of the
 * settings that the asker believes the daemon has.  So `echo status | socat - UNIX:PATH` works.
 *
 * Whoever asks is a stranger until SO_PEERCRED says otherwise: root, the daemon's own user, and
 * members of control_group are answered.  Nothing here ever blocks.
 */
#ifndef DAEMON_MASTER_CONTROLSOCKET_H
#define DAEMON_MASTER_CONTROLSOCKET_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tornado/error.h>
#include <tornado/str.h>
#include "base/arena.h"
#include "base/settings.h"

#define CONTROL_CLIENTS_MAX 16    /* one more is told that we are busy */
#define CONTROL_LINE_MAX 4600     /* bytes of a request: two names and a path */
#define CONTROL_TIMEOUT_S 10      /* for the request to come, and again for the answer to be taken */
#define CONTROL_SOCKET_NAME "control.sock"

struct control_client; /* somebody who has asked and waits for the answer */

struct control_request {
    const char *command, *argument, *ini; /* "": none; valid during the call */
    uid_t uid; /* of who asks */
    pid_t pid;
};

/*
 * Where the socket is: the setting, or the first of /run/tornadod-NAME and /run/tornadod that is a
 * directory, NAME being that of the ini without its ending (NULL: there is no ini).  NULL: nowhere.
 */
const char *controlsocket_path(td_arena *arena, const td_configuration *configuration,
                               const char *ini);

/*
 * Listen at path, for members of `group` too unless it is NULL.  `asked` is called for each
 * request, and has to see to it that there is an answer.  TD_EBUSY: a daemon that lives has it; the
 * socket of one that does not is replaced.  -errno.
 */
int controlsocket_open(struct ev_loop *loop, const char *path, const char *group,
                       void (*asked)(struct control_client *client,
                                     const struct control_request *request),
                       td_err *err);

/* The descriptors of the open socket and of its lock, to pass on; -1: it is not open. */
void controlsocket_descriptors(int *socket_out, int *lock_out);

/* Go on with those of the process before us instead of opening it. */
void controlsocket_adopt(struct ev_loop *loop, const char *path, int socket, int lock,
                         void (*asked)(struct control_client *client,
                                       const struct control_request *request));

/* 0, or TD_ECONFIG for what is the name of no group. */
int controlsocket_find_group(const char *name, gid_t *out, td_err *err);

/* Whose members may ask, from now on; NULL: no group's. */
int controlsocket_set_group(const char *group, td_err *err);

/* Answer, once: error NULL is "ok".  The client is gone for the caller. */
void control_answer(struct control_client *client, const char *error, td_str body);

/* Say something before that; what the client does not take at once is lost. */
void control_say(struct control_client *client, td_str text);

/*
 * Answer later: all who wait for the same thing, a number of the caller's choice, are answered at
 * once.
 */
enum control_event { CONTROL_EVENT_RELOAD = 1, CONTROL_EVENT_UPGRADE };

void control_wait(struct control_client *client, enum control_event event, uint32_t number);

/* That event has come for this number and all smaller ones. */
void control_settle(enum control_event event, uint32_t number, const char *error,
                    const char *text);

/* Those who wait for an event, over an upgrade. */
void control_each_waiting(void (*each)(void *arg, int fd), void *arg);
void control_adopt_waiting(int fd, enum control_event event, uint32_t number);

void controlsocket_close(void); /* and its name; whoever still waits sees the end.  Harmless twice */

#endif
