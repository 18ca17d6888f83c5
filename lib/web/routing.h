/*
 * Routing: from a host and a raw path to a route (Tornado's Router and Rule).
 *
 * Routes are grouped by their host pattern.  In a group a literal path is found by a hash, the
 * others by one PCRE2 expression of all of them (more than one where some must be matched alone, or
 * where together they would be too large); whichever was declared first wins, of those that want a
 * method or headers the first whose wishes are met.
 */
#ifndef TORNADO_WEB_ROUTING_H
#define TORNADO_WEB_ROUTING_H

#include "base/arena.h"
#include "base/counters.h"
#include "base/settings.h"
#include "http/parser.h"
#include "web/instance.h"
#include "web/matchers.h"
#include "web/urlspec.h"

/* One td_url of one instance; of nested ones the innermost, with what those around it add. */
typedef struct td_route {
    td_urlspec spec;
    td_matchers matchers;
    const char *pattern, *name;  /* as declared, joined where nested; name may be NULL */
    const void *initialize_arg;
    const char *hosts;           /* pattern of the host group */
    const td_instance *instance;
    const td_url *url;
    const struct td_route *same_name; /* the one before that bears the name of this; NULL: none */
    const td_handler_class *class;
    uint32_t number;             /* 1-based in its instance: td_activity.route */
    uint32_t methods_mask;       /* 1 << td_method of those that are answered */
    td_method_fn *methods[TD_METHODS_COUNT + 1]; /* the last: TD_METHOD_OTHER; NULL: see refusal */
    int refusal;                 /* status for methods that it has not: 405, if it is a usual one */
    td_str allow;                /* "GET, HEAD, OPTIONS" */
    td_route_counters *counters; /* NULL: it is none of those that are counted */
    td_limits limits;            /* what application, mount and class set */
    bool has_limits;             /* any of them is set */
    bool checks_xsrf, wants_user; /* before its methods; see auth.h */
    bool streams_body;           /* its methods begin when the head is there */
    struct td_effective_limits *effective;
    const td_instance *const *chain; /* middleware, the outermost first, NULL at the end; NULL: none */
} td_route;

/* The limits of one route on one listener; made when first asked for. */
struct td_effective_limits {
    struct td_effective_limits *next;
    const td_limits *listener;
    td_limits limits;
};

/* Patterns of hosts, and what stands for all of them. */
#define TD_HOSTS_OPTIONS (TD_URLSPEC_OPTIONS | PCRE2_ENDANCHORED | PCRE2_CASELESS)
bool td_is_any_host(const char *hosts);

typedef struct td_router td_router;

/* Where a path matched. */
typedef struct td_path_match {
    td_route *route;
    const char *subject;  /* what the offsets count from */
    const size_t *groups; /* start and end of each group of the route, PCRE2_UNSET where it did not
                             match; valid until the next td_router_find */
    uint32_t others_mask; /* methods of routes before it that the path leads to with another one */
    td_str vary;          /* names of the headers that were looked at; the null string: none */
} td_path_match;

/*
 * routes: `count` pointers in the order of matching; they outlive the router.  A route that can
 * never be reached is told at warning level.  default_host: NULL, or the host whose groups also
 * serve hosts that no group names.
 */
TD_PRIVATE int td_router_create(td_router **out, td_route *const *routes, size_t count,
                                const char *default_host, td_err *err);

/* A group names that host: it has a pattern that matches it, and is not for any host. */
TD_PRIVATE bool td_router_names(const td_router *router, td_str host);

/* The group of that pattern serves the host, by its name or as default_host's. */
bool td_router_serves(const td_router *router, const char *hosts, td_str host);
TD_PRIVATE void td_router_destroy(td_router **router);

/*
 * 0; TD_ENOTFOUND; TD_EBUSY when a match ran into a limit of PCRE2.  Where the path leads only to
 * routes for other methods it is the first of them that answers this one, or else the first; its
 * methods[] then has nothing but perhaps our OPTIONS for it.  What match points to is in the arena.
 */
TD_PRIVATE int td_router_find(const td_router *router, const td_head *head, td_arena *arena,
                              td_path_match *match);

#endif
