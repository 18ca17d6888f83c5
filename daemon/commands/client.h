/*
 * Asking the daemon that runs, over its control socket (daemon/master/controlsocket.h), which is
 * found through the same ini that the daemon has.
 */
#ifndef DAEMON_COMMANDS_CLIENT_H
#define DAEMON_COMMANDS_CLIENT_H

#include <jansson.h>
#include "base/buf.h"
#include "daemon/commands/commands.h"

#define EXIT_NO_DAEMON 3 /* nobody answers there; what service managers call "not running" */

/* The option of all commands that ask: where, without a look at any settings. */
#define CLIENT_OPTION(path) {"control", "PATH", "socket of the daemon, if no settings are to tell", NULL, &(path)}

/*
 * Ask and wait for the whole answer.  argument may be NULL; path: what CLIENT_OPTION gave, or NULL.
 * patience_s: how long the daemon may be silent; 0: for ever.  0 and the body of the answer,
 * TD_ECLOSED when nobody answers, TD_ECONFIG for settings that cannot be read, or TD_EINVAL with
 * what the daemon has against it.
 */
int client_ask(const struct command_line *line, const char *path, const char *request,
               const char *argument, int patience_s, td_buf *answer_out, td_err *err);

/*
 * The same for a command that has nothing to say but how it went, which the text of the answer
 * tells.
 */
int client_run(int argc, char **argv, const char *request, int patience_s);

/* Say what went wrong; returns the exit status for it. */
int client_fail(const char *command, const td_err *err);

/* The daemon's status (daemon/master/facts.h), for json_decref; NULL and err when there is none. */
json_t *client_status(const struct command_line *line, const char *path, td_err *err);

/* ---- its fields; what is not there is "" or 0 */

const char *client_text(const json_t *object, const char *key);
int64_t client_number(const json_t *object, const char *key);
double client_seconds(const json_t *object, const char *key);

/* The generation that serves; NULL: none does. */
const json_t *client_serving(const json_t *status);

/* Names come out of files of handlers: none of their bytes is to do anything to a terminal. */
void client_print(const char *text);

/* "1h 2m"; the two largest units are enough. */
#define CLIENT_AGE_SIZE 64
void client_format_age(double seconds, char out[CLIENT_AGE_SIZE]);

/* A line on TLS; false: there is nothing to tell, so there is none. */
bool client_print_handshakes(const json_t *status);

#endif
