/*
 * The hooks of all instances of a site (plugin.h says when each runs), called one after the other in
 * the order of the instances.  On a coroutine: hooks may wait.
 */
#ifndef DAEMON_HOOKS_H
#define DAEMON_HOOKS_H

#include "daemon/site.h"

typedef void hooks_note_fn(void *arg, const td_instance *instance); /* whose code runs next */

/* load of all, then start of all; stops at the first that fails, and says which that was. */
int hooks_load_and_start(const struct site *site, hooks_note_fn *note, void *arg, td_err *err);

void hooks_drain(const struct site *site);
void hooks_stop(const struct site *site); /* in the reverse order of load */

#endif
