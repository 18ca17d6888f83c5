/* The settings `middleware`: lists of names, which become lists of instances. */
#ifndef DAEMON_SITE_MIDDLEWARE_H
#define DAEMON_SITE_MIDDLEWARE_H

#include "daemon/site/site.h"

/*
 * Between site_open, which has succeeded, and the mounting: give applications and instances their
 * chains.  Calls failed(arg, err) for each list with a name that cannot be one, with its place.
 */
void middleware_resolve(struct site *site, void (*failed)(void *arg, const td_err *err), void *arg);

#endif
