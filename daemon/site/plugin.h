/*
 * A handler's file, loaded: its descriptor checked and copied into today's layout, whatever version
 * it was built with.  For the checker and for workers; the master never comes here.
 */
#ifndef DAEMON_SITE_PLUGIN_H
#define DAEMON_SITE_PLUGIN_H

#include <tornado/error.h>
#include <tornado/plugin.h>
#include "base/arena.h"

/*
 * Load the copy that handlerfile_copy made.  `file` is its name for messages.  The result lives in
 * the arena, what it points to in the file, which is never unloaded.
 */
int plugin_load(td_arena *arena, const char *file, int fd, const td_plugin **out, td_err *err);

/*
 * The same of a file as it lies there, for those who do without a copy: who has loaded it gets the
 * same again, though the file has changed.
 */
int plugin_load_path(td_arena *arena, const char *path, const td_plugin **out, td_err *err);

#endif
