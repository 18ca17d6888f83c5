/* The static files of an application's own settings. */
#ifndef TORNADO_WEB_STATIC_H
#define TORNADO_WEB_STATIC_H

#include <tornado/static.h>
#include "web/application_internal.h"

/*
 * Mount what static_path asks for, before the application is sealed.  TD_ECONFIG: the directory,
 * the prefix or the table of types cannot be used.
 */
int td_static_mount(td_application *app, td_err *err);

/*
 * A route of td_static_class: look at its options and its pattern.  Others are left alone.
 * TD_EPLUGIN, TD_ECONFIG.
 */
int td_static_prepare(td_route *route, td_err *err);

/*
 * The head that has come before has come again, and match->file is what was found for it.  Answers
 * if that is still right.
 */
void td_static_repeat(td_application *app, td_request *request);

/* Every segment of the path is one: not empty, not "." nor "..". */
bool td_static_is_normal(td_str path);

#endif
