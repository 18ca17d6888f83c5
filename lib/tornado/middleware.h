/*
 * Middleware: code around handlers, written as a plugin, put in order by the ini.
 *
 *     static void
 *     run(td_handler *h)
 *     {
 *         const double before = td_request_time(h);
 *
 *         td_next(h);
 *         td_log_info("%d after %.3f s", td_get_status(h), td_request_time(h) - before);
 *     }
 *
 *     TD_PLUGIN(.name = "timing", .version = "1.0", .middleware = run);
 *
 *     [application]
 *     middleware = request_id, timing
 *     [handler:admin]
 *     middleware = basic_auth
 *
 * names instances.  The chain of a route is that of its application, then that of its own instance;
 * the first is the outermost.  It runs on the coroutine of the request, so td_await works before
 * and after td_next, and stands around everything that a route answers: methods, files, redirects,
 * error pages; that of the application also around 404, 501 and OPTIONS *, that of an instance also
 * around what is not found below its mount.  (What a connection refuses before there is a route, a
 * broken head or a body that is too large, has no chain.)
 *
 * A link may answer instead of calling td_next (by td_finish, td_redirect, td_send_error or
 * td_raise), and may wait.  One that returns without either is misuse, answered 500.  In a link,
 * td_settings, td_state and td_shared are those of its own instance, and so is the name in the log.
 */
#ifndef TORNADO_MIDDLEWARE_H
#define TORNADO_MIDDLEWARE_H

#include <tornado/abi.h>
#include <tornado/handler.h>

/*
 * Run the rest of the chain and the handler; returns 0 once the response has ended, that of an
 * asynchronous handler (td_asynchronous) too.  It always returns: what raises below ends here with
 * its error page made (by the class's write_error), and so does a handler that is cancelled by
 * request_timeout.  What is left to do then may take its time: only the end of a drain cancels it.
 *
 * TD_EINVAL, and nothing was run: called twice, outside of a middleware, or after an answer.
 */
TD_API int td_next(td_handler *h);

typedef void td_on_head_fn(td_handler *h, void *arg);

/*
 * Call fn(h, arg) just before status and headers are sent, whatever answers; the last one
 * registered comes first.  It may look at them and change them by the usual functions; writing,
 * ending, waiting and raising are misuse.  One that raises has failed to do its part: the
 * connection is closed instead of sending what it was to complete.  TD_EINVAL when the headers have
 * been sent.
 */
TD_API int td_on_head(td_handler *h, td_on_head_fn *fn, void *arg);

/* A header of the response as it is now, the first line of that name; the null string: none. */
TD_API td_str td_response_header(td_handler *h, const char *name);

/*
 * What links hand down (or up) to others: a pointer under a name, such as "request_id".  The name
 * is copied, the value is not; setting NULL takes it away.  (td_set_current_user, in auth.h, is for
 * the user; td_set_user_data is the handler's own.)
 */
TD_API int td_set_value(td_handler *h, const char *name, void *value);
TD_API void *td_value(td_handler *h, const char *name); /* NULL: nobody has set it */

#endif
