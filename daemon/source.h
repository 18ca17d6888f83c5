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

/*
 * The same where a key of the section begins `text`, a part of err's, as in "users = /x: No such
 * file": of the key that it is.  Otherwise nothing is put in front, and the code stays.
 */
int source_prefix_named(const td_configuration *configuration, const char *section, const char *text,
                        td_err *err);

/* "application:NAME", or "application" where that is how the ini calls the one named default. */
const char *source_section_of_application(td_arena *arena, const td_configuration *configuration,
                                          const char *name);

#endif
