/*
 * Everything that a plan becomes in a process: loaded files, instances, applications with their
 * routes.  The checker makes one to see whether it can be made, a worker to serve with it.
 */
#ifndef DAEMON_SITE_SITE_H
#define DAEMON_SITE_SITE_H

#include <stddef.h>
#include <tornado/error.h>
#include "base/arena.h"
#include "daemon/site/plan.h"
#include "web/application.h"
#include "web/instance.h"

struct site {
    const struct plan *plan;
    td_arena *arena;
    const td_plugin **plugins;     /* by file; NULL: could not be loaded */
    td_instance *instances;        /* by plan->instances; plugin NULL: could not be made */
    td_application **applications; /* by configuration->applications */
    const char *body_temp_path;    /* where request bodies may go; NULL: nowhere */
};

/* What happens meanwhile; each may be NULL. */
struct site_watch {
    void (*at_file)(void *arg, size_t file); /* its code is about to run for the first time */
    void (*failed)(void *arg, const td_err *err);
    void *arg;
};

/*
 * Load, make instances with their settings, create applications.  Goes on after a failure, to tell
 * all of them, and returns the first.
 */
int site_open(struct site *site, const struct plan *plan, td_arena *arena,
              const struct site_watch *watch);

/* Mount the instances, seal the applications, look for the protocols of the listeners. */
int site_mount(struct site *site, const struct site_watch *watch);

/* The code of that instance is not run any more. */
void site_quarantine(struct site *site, const char *name);

void site_close(struct site *site); /* the files stay loaded */

/*
 * Put whose failure it is in front, and the line of the ini if the text begins with one of its
 * options.
 */
int site_blame(const struct site *site, const td_instance *instance, td_err *err);

/*
 * The instance whose protocol a listener speaks; NULL: HTTP.  That there is one was checked by
 * site_mount.
 */
const td_instance *site_protocol(const struct site *site, const td_listener_settings *listener);

/* The settings were checked, so there is one of every name in them. */
td_application *site_application(const struct site *site, const char *name);

#endif
