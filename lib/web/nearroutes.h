/* Which routes a request that none matches may have meant, and why it is not theirs. */
#ifndef TORNADO_WEB_NEARROUTES_H
#define TORNADO_WEB_NEARROUTES_H

#include "web/application_internal.h"

#define TD_NEAR_ROUTES_MAX 3

enum td_near_reason {
    TD_NEAR_HOST = 1,      /* it is for other hosts */
    TD_NEAR_METHOD = 2,    /* it has not that method */
    TD_NEAR_HEADERS = 4,   /* and wants other headers */
    TD_NEAR_SLASH = 8,     /* one of the two has a slash at the end */
    TD_NEAR_CASE = 16,     /* letters are upper here and lower there */
    TD_NEAR_PATTERN = 32,  /* the path does not fit it, see fit */
};

typedef struct td_near_route {
    const td_route *route;
    unsigned why;   /* of enum td_near_reason, at least one */
    size_t fit;     /* bytes at the start of the path that fit; all of them: it wants more behind */
    size_t cost;    /* how far it is from being meant */
} td_near_route;

/* The nearest first: how many, at most TD_NEAR_ROUTES_MAX. */
size_t td_near_routes_find(const td_application *app, const td_head *head, td_arena *arena,
                           td_near_route out[TD_NEAR_ROUTES_MAX]);

#endif
