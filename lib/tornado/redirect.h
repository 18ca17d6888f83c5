/*
 * Routes that need no code: to another place (Tornado's RedirectHandler), or to an error page (its
 * ErrorHandler).
 *
 *     TD_URL("/wiki/([^/]+)/(.*)", &td_redirect_class,
 *            .initialize_arg = TD_REDIRECT(.url = "https://wiki.example.org/{1}?lang={0}")),
 *     TD_URL("/old/.*", &td_error_class, .initialize_arg = TD_ERROR(.status = 410)),
 */
#ifndef TORNADO_REDIRECT_H
#define TORNADO_REDIRECT_H

#include <stddef.h>
#include <tornado/abi.h>
#include <tornado/handler.h>

/*
 * url: {0} or {name} is a group of the route's pattern, encoded again, empty where it did not
 * match; {{ and }} are braces.  The query of the request is appended.  What a client puts into a
 * group never changes the host: if it would, the answer is 404.  What is wrong here is told at
 * load.
 */
typedef struct td_redirect_options {
    size_t size TD_ZERO; /* of the struct; set by TD_REDIRECT */
    const char *url TD_ZERO;
    int status TD_ZERO; /* 301, 302, 303, 307 or 308; 0: 301, of td_redirect_all_class 308 */
} td_redirect_options;

/* GET and HEAD; others are 405. */
TD_API const td_handler_class td_redirect_class;

/* All but OPTIONS; with 307 and 308 clients send method and body again, with 303 they GET. */
TD_API const td_handler_class td_redirect_all_class;

typedef struct td_error_options {
    size_t size TD_ZERO; /* of the struct; set by TD_ERROR */
    int status TD_ZERO;  /* 400..599 */
} td_error_options;

/* That page for every method, before any body is read; no XSRF token is asked for. */
TD_API const td_handler_class td_error_class;

#ifndef __cplusplus
#define TD_REDIRECT(...)                                                                           \
    (&(const td_redirect_options){.size = sizeof(td_redirect_options), __VA_ARGS__})
#define TD_ERROR(...) (&(const td_error_options){.size = sizeof(td_error_options), __VA_ARGS__})
#else
#define TD_REDIRECT(...) TD_OPTIONS_OF(td_redirect_options, __VA_ARGS__)
#define TD_ERROR(...) TD_OPTIONS_OF(td_error_options, __VA_ARGS__)
#endif

#endif
