/* What an application would do with a head, and why: for `tornadod explain` and for tests. */
#ifndef TORNADO_WEB_EXPLAIN_H
#define TORNADO_WEB_EXPLAIN_H

#include "web/application.h"
#include "web/nearroutes.h"

typedef struct td_explained_argument {
    const char *name; /* NULL: it is the one at its place */
    td_str value;     /* the null string: its group did not match */
} td_explained_argument;

/* Of a 404: a route that may have been meant. */
typedef struct td_explained_route {
    td_route_info route;
    td_str allow;   /* methods that it answers */
    unsigned why;   /* it does not answer this: TD_NEAR_* of nearroutes.h */
    td_str misfit;  /* of TD_NEAR_PATTERN: where the path stops to fit; empty: it wants more behind */
} td_explained_route;

typedef struct td_explanation { /* all of it lives until td_explanation_fini */
    int status;                  /* of the error page that is the answer; 0: a handler answers */
    const td_instance *instance; /* whose route it is; NULL: nobody's */
    td_route_info route;         /* means something if instance is not NULL */
    const char *class_name;      /* NULL: it has none */
    td_str allow;                /* methods that the path answers */
    const td_explained_argument *arguments;
    size_t arguments_count;
    const td_instance *const *chain; /* middleware, the outermost first; NULL at the end, or instead */
    td_limits limits;            /* in force */
    td_limits of_class;          /* those of them that the class has set, others TD_UNSET */
    td_explained_route nearest[TD_NEAR_ROUTES_MAX]; /* of a 404, what looks most like it first */
    size_t nearest_count;
    td_request *request;         /* ours */
} td_explanation;

/*
 * head: "GET /path HTTP/1.1\r\nHost: example.org\r\n\r\n"; limits: those of the listener.  0, or
 * TD_EBADMSG and in err the status that such a head is answered with, and why.
 */
TD_PRIVATE int td_application_explain(td_application *app, const td_limits *limits, td_str head,
                                      td_explanation *out, td_err *err);
TD_PRIVATE void td_explanation_fini(td_explanation *explanation);

#endif
