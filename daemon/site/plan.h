/*
 * What a generation is to load: the files of the handlers, copied, and the instances made of them.
 * Made by the master before anything is loaded; the checker and every worker of the generation load
 * exactly this.
 */
#ifndef DAEMON_SITE_PLAN_H
#define DAEMON_SITE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/error.h>
#include <tornado/plugin.h>
#include "base/arena.h"
#include "base/settings.h"
#include "daemon/privileges.h"

struct plan_file {
    const char *name; /* in the directory: "hello.so" */
    int fd;           /* sealed copy; -1 with a plugin */
    const td_plugin *plugin; /* loaded already, in today's layout; NULL: it is in the file */
};

/* Its place in the list, from 1, is td_instance.index. */
struct plan_instance {
    const td_handler_settings *section; /* never NULL: defaults where the file has no section */
    bool has_section;
    size_t file;
};

struct plan {
    const td_configuration *configuration;
    const struct plan_file *files;
    size_t files_count;
    const struct plan_instance *instances; /* sections in the order of the ini, then other files */
    size_t instances_count;
};

/*
 * directory: where the handlers are.  What the plan holds is in the arena, its descriptors are its
 * own.  TD_ECONFIG when the directory cannot be used, TD_EPLUGIN when a file in it cannot.
 */
int plan_make(td_arena *arena, const td_configuration *configuration, const char *directory,
              const struct identity *identity, struct plan *out, td_err *err);
void plan_close(struct plan *plan);

/* The same of these files, which take the place of those of a directory and outlive the plan. */
int plan_of_files(td_arena *arena, const td_configuration *configuration,
                  const struct plan_file *files, size_t files_count, struct plan *out, td_err *err);

/* Of the file of that instance (from 1), see handlerfile.h. */
int64_t plan_digest(const struct plan *plan, uint32_t index);

/* The setting, or where a build tree or an installation has its handlers.  In the arena. */
const char *plan_directory(td_arena *arena, const td_configuration *configuration);

#endif
