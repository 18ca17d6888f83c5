/* Answers that lead elsewhere, and the routes of redirect.h that are no more than their options. */
#ifndef TORNADO_WEB_REDIRECT_H
#define TORNADO_WEB_REDIRECT_H

#include "web/routing.h"

/*
 * A route whose class is one of <tornado/redirect.h>: look at its options, set its refusal.  Others
 * are left alone.  TD_EPLUGIN.
 */
int td_redirect_prepare(td_route *route, td_err *err);

/* Methods of td_route.methods. */
void td_redirect_by_slash(td_handler *h); /* TD_REMOVE_SLASH, TD_ADD_SLASH: there, or its own */
void td_redirect_to_default_host(td_handler *h);

#endif
