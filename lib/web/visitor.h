/*
 * What is kept of who asks: the cookies to set, and later what they tell.  Most handlers never need
 * it; it is made when one does.
 */
#ifndef TORNADO_WEB_VISITOR_H
#define TORNADO_WEB_VISITOR_H

#include <tornado/cookies.h>
#include "web/handler.h"

/* One that the response sets. */
struct td_new_cookie {
    struct td_new_cookie *next;
    td_str name;
    td_str line; /* the value of its Set-Cookie */
};

struct td_visitor {
    struct td_new_cookie *cookies; /* in the order in which they were set, names differ */
};

/* In the arena of the request, zeroed at first. */
struct td_visitor *td_visitor_of(td_handler *h);

#endif
