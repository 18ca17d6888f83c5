/* Where the program lies, and what belongs to it. */
#ifndef DAEMON_PROGRAM_H
#define DAEMON_PROGRAM_H

#include "base/arena.h"

/*
 * A build tree runs in place and an installation wherever it was put.  The directory `beside` the
 * program if there is one, else `installed` below the prefix: "handlers", "lib/tornadod/handlers".
 * In the arena.
 */
const char *program_find(td_arena *arena, const char *beside, const char *installed);

/* The program itself, to start it again; in the arena. */
const char *program_path(td_arena *arena);

/*
 * The exit status of who has printed to stdout: `status` if all of it is out, or nobody reads it any
 * more; else EXIT_FAILURE, and stderr says why.
 */
int program_printed(int status);

#endif
