/* The own settings of an instance: the texts of its section, as the struct its handler declared. */
#ifndef DAEMON_SITE_INSTANCE_H
#define DAEMON_SITE_INSTANCE_H

#include <tornado/error.h>
#include <tornado/plugin.h>
#include "base/arena.h"
#include "base/settings.h"

/*
 * *out: plugin->settings_size bytes in the arena, NULL without options.  TD_ECONFIG with FILE:LINE
 * for a value that is wrong, a key that the handler does not know, one that it wants and did not
 * get.
 */
int instance_settings(td_arena *arena, const td_plugin *plugin, const td_handler_settings *section,
                      const void **out, td_err *err);

#endif
