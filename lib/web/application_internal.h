/* What td_application is made of: for lib/web alone. */
#ifndef TORNADO_WEB_APPLICATION_INTERNAL_H
#define TORNADO_WEB_APPLICATION_INTERNAL_H

#include "base/table.h"
#include "io/ioloop.h"
#include "web/application.h"
#include "web/routing.h"

/* What is not found below a mount is nobody's, but the mount's chain stands around it. */
struct td_scope_of_mount {
    td_str mount;
    pcre2_code *hosts; /* NULL: any host */
    bool matches_default;
    const td_instance *instance;
    td_route none; /* a default_handler in its place, as td_application.unmatched */
};

/* request_timeout: one list for each duration that was met. */
struct td_request_timeout {
    struct td_request_timeout *next;
    int64_t duration_ms;
    td_deadlines list;
};

/* An instance whose plugin has a default_handler. */
struct td_default_handler {
    struct td_default_handler *next;
    const td_instance *instance;
    uint32_t number; /* of its route: behind those of its urls */
};

/* Of a route a warning of debug has been given. */
struct td_told_route {
    struct td_told_route *next;
    const td_route *route;
};

struct td_application {
    td_arena arena;
    const td_application_settings *settings;
    td_header default_headers[2];  /* of every response: Server (unless it is off), Content-Type */
    size_t default_headers_count;
    td_route **routes;             /* in the order of matching once sealed */
    size_t routes_count, routes_size;
    td_router *router;
    td_table names;                /* of routes -> td_route, the last that bears it */
    uint32_t methods_mask;         /* 1 << td_method of those that any route answers, or may */
    uint32_t understood_mask;      /* and of those that a prepare may answer; others are 501 */

    td_instance own;               /* of the routes that no plugin has */
    td_route none;                 /* what no route serves: error pages only */
    td_route everything;           /* OPTIONS * */
    td_route elsewhere;            /* default_host_redirect */
    td_route *unmatched;           /* of a path that no route matches: a default_handler, or none */
    struct td_default_handler *default_handlers;
    const char *default_host;      /* whose routes serve any host, without a port; NULL: none does */
    const td_instance *const *middleware; /* of all routes; NULL: none */
    struct td_scope_of_mount *scopes;     /* the longest mount first; empty: no mount has a chain */
    size_t scopes_count;
    struct td_request_timeout *timeouts;
    struct td_signer *signer;      /* NULL: nobody has signed, or there is no secret */
    struct td_filecache *files;    /* static files; made when sealed */
    struct td_told_route *told_of_markup; /* by td_escape_check */
    td_deadlines heartbeats;       /* of streams of events; made by the first */
    const struct td_compression *compression; /* NULL: compress_response is off; made when sealed */
};

/* What a route is beside where it lies: all but spec and matchers. */
void td_route_fill(td_application *app, td_route *route, const td_instance *instance,
                   const td_handler_class *class);

/* Those that a class sets; the others TD_UNSET. */
void td_limits_of_class(const td_handler_class *class, td_limits *out);

/*
 * The route of that name, one of the instance's own before others, or, of "INSTANCE:NAME" where
 * nothing is called so, that instance's; NULL: there is none.
 */
const td_route *td_application_named(const td_application *app, const td_instance *instance,
                                     const char *name);

td_deadlines *td_application_request_timeouts(td_application *app, int64_t duration_ms,
                                              void (*expired)(td_deadline *deadline));

#endif
