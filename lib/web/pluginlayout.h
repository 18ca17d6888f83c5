/* A td_plugin in today's layout, whatever version it was built with. */
#ifndef TORNADO_WEB_PLUGINLAYOUT_H
#define TORNADO_WEB_PLUGINLAYOUT_H

#include <tornado/error.h>
#include <tornado/plugin.h>
#include "base/arena.h"

/* file: for messages.  The copy lives in the arena; file_plugin may be of an older minor. */
TD_PRIVATE int td_plugin_translate(td_arena *arena, const char *file, const td_plugin *file_plugin,
                                   const td_plugin **out, td_err *err);

#endif
