/*
 * The hooks of all instances of a site (plugin.h says when each runs), called one after the other
 * in the order of the instances.
 */
#ifndef DAEMON_SITE_HOOKS_H
#define DAEMON_SITE_HOOKS_H

#include "daemon/site/site.h"

/*
 * The hook check of one instance, which needs no coroutine.  0, or an error that says whose
 * settings are wrong.
 */
int hooks_check(const struct site *site, const td_instance *instance, td_err *err);

typedef void hooks_note_fn(void *arg, const td_instance *instance); /* whose code runs next */

/*
 * On a coroutine, as those below: load of all, then start of all.  Stops at the first that fails.
 */
int hooks_load_and_start(const struct site *site, hooks_note_fn *note, void *arg, td_err *err);

void hooks_drain(const struct site *site);
void hooks_stop(const struct site *site); /* in the reverse order of load */

#endif
