/*
 * What stands between the body of a response and the writer: the transforms of authors, then
 * compression.  A response that has neither never comes here.
 */
#ifndef TORNADO_WEB_TRANSFORMS_H
#define TORNADO_WEB_TRANSFORMS_H

#include <tornado/transform.h>
#include "base/buf.h"
#include "web/handler.h"

/* Something may change what leaves: h->filters was made, or the application compresses. */
static inline bool
td_is_filtered(const td_handler *h)
{
    return h->filters != NULL || h->app->compression != NULL;
}

/* Where a piece comes out; zero to begin with, and released by td_filtered_release. */
typedef struct td_filtered {
    td_buf from, to; /* of the transform that is running, and of the one before */
    td_str bytes;    /* the result: in one of these, or what was put in */
    int64_t length;  /* of the body, if that was all of it; -1: not known */
} td_filtered;

/*
 * Take a piece of the body through the chain.  The first, before the headers were written, settles
 * them.  finishing: it is the last.
 *
 * 0; TD_ECLOSED; or TD_EINVAL when that is not what Content-Length has promised: the response
 * cannot be completed.  May wait; may raise if the author's transforms do.
 */
int td_filters_run(td_handler *h, td_str piece, bool finishing, td_filtered *filtered);
void td_filtered_release(td_filtered *filtered);

/*
 * Of a body that is not the handler's: true when it has to go through td_filters_run, false when
 * nothing would change it; what the headers say of that is settled then.
 */
bool td_filters_want(td_handler *h, int64_t length);

/* For an error page: from the beginning.  without: none of the author's transforms any more. */
void td_filters_restart(td_handler *h, bool without);
void td_filters_release(td_handler *h); /* what is not in the arena; h->filters is not NULL */

#endif
