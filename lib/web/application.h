/*
 * td_application: routes and their handlers (Tornado's Application), one or more a worker.
 *
 * Made once before the first request and then only read, so a td_httpserver of any listener may
 * give it requests: delegate = &td_application_delegate, delegate_arg = the application.
 */
#ifndef TORNADO_WEB_APPLICATION_H
#define TORNADO_WEB_APPLICATION_H

#include <tornado/error.h>
#include "base/arena.h"
#include "base/counters.h"
#include "base/settings.h"
#include "http/request.h"
#include "web/instance.h"

typedef struct td_application td_application;

TD_PRIVATE td_application *td_application_create(const td_application_settings *settings);
TD_PRIVATE void td_application_destroy(td_application **app); /* after the loop: it ends handlers */

/* Take the routes of an instance; instance outlives the application.  A bad pattern: TD_EPLUGIN. */
TD_PRIVATE int td_application_mount(td_application *app, const td_instance *instance, td_err *err);

/* The chain of all routes: a list that ends in NULL and outlives the application; NULL: none. */
TD_PRIVATE void td_application_set_middleware(td_application *app,
                                              const td_instance *const *middleware);
TD_PRIVATE const td_instance *const *td_application_middleware(const td_application *app);

/*
 * After seal: what each of its routes counts from now on; instance and route as in td_activity.
 * counters_of returns NULL for those that are not counted.
 */
typedef td_route_counters *td_counters_of_route_fn(void *arg, uint32_t instance, uint32_t route);
TD_PRIVATE void td_application_count(td_application *app, td_counters_of_route_fn *counters_of,
                                     void *arg);

/*
 * From now on no code of that instance begins to run: its routes answer 503, and so do chains that
 * it is a link of.  For after seal; there is no way back.
 */
TD_PRIVATE void td_application_quarantine(td_application *app, td_instance *instance);

/*
 * After the last mount: sort (longest mount, order, name), look for the same route twice (an error
 * that names both files), build the tables.
 */
TD_PRIVATE int td_application_seal(td_application *app, td_err *err);

TD_PRIVATE extern const td_message_delegate td_application_delegate; /* arg: the application */

/*
 * Handlers that have not finished yet, in all applications of the worker; cancel asks them to
 * unwind.
 */
TD_PRIVATE size_t td_handlers_running(void);
TD_PRIVATE void td_handlers_cancel_all(void);

/* The worker is to end: end its streams of events, so that their clients come again elsewhere. */
TD_PRIVATE void td_sse_drain(void);

/*
 * The request line of what a coroutine works on (its owner, see td_coroutine_owner); the null
 * string when that is no handler.  Only looks, so a fatal-signal handler may ask.
 */
TD_PRIVATE td_str td_handler_request_line(const void *owner);

/*
 * Call fn for each route of an instance, in matching order: for `tornadod -T`, tests, and the
 * checker's manifest.
 */
typedef struct td_route_info {
    const td_instance *instance;
    const char *mount, *hosts, *pattern, *name;
    const char *wanted; /* "GET, HEAD; Accept: .*json" of its methods and headers; NULL: any request */
    uint32_t route; /* td_activity.route */
} td_route_info;
TD_PRIVATE void td_application_each_route(const td_application *app,
                                          void (*fn)(const td_route_info *route, void *arg),
                                          void *arg);

#endif
