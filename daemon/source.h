/* Errors that turn up after the settings were read still name the line that caused them. */
#ifndef DAEMON_SOURCE_H
#define DAEMON_SOURCE_H

#include <tornado/error.h>
#include "base/settings.h"

/*
 * Put "FILE:LINE: " in front, of the key where it was set; nothing where it was not.  Returns
 * TD_ECONFIG, which err->code becomes.
 */
int source_prefix(const td_configuration *configuration, const char *section, const char *key,
                  td_err *err);

#endif
