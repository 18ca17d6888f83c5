/*
 * What is kept of who asks: the cookies to set, the XSRF token, the user.  Most handlers never need
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
    td_str xsrf_token; /* bytes; the null string: not looked at yet */
    int64_t xsrf_time; /* when the token was made */
    bool xsrf_is_new;  /* the client has to be given it */
    td_str xsrf_text;  /* the token as the handler gets it; the null string: not asked for */
    bool user_is_known;
    void *user; /* NULL: nobody; means something only once it is known */
    int fetch_error;   /* of the last td_fetch without an answer; 0: none */
    td_str fetch_text; /* why */
    int fetch_phase;   /* td_fetch_phase: where it ended */
    bool fetch_is_stale;
    td_str request_id; /* the null string: none */
};

/* In the arena of the request, zeroed at first. */
struct td_visitor *td_visitor_of(td_handler *h);

/*
 * Of a request that may have no handler, for logs: the null string, and -1, when there is none of
 * it.
 */
TD_PRIVATE td_str td_visitor_request_id(const td_request *request);
TD_PRIVATE int64_t td_visitor_fetch_ns(const td_request *request);

/* ---- xsrf.c: tokens as text; bytes and text in the arena */

/* false: it can be nobody's token. */
bool td_xsrf_decode(td_arena *arena, td_str text, td_str *token_out, int64_t *time_out);
td_str td_xsrf_encode(td_arena *arena, td_str token, td_str mask, int64_t time); /* mask: 4 bytes */

#endif
