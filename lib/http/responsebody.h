/*
 * The body of a response, as it is framed (RFC 9112 section 6.3) and packed: bytes of a connection
 * become bytes of a body.  Takes any split of its input, and keeps none of it.
 */
#ifndef TORNADO_HTTP_RESPONSEBODY_H
#define TORNADO_HTTP_RESPONSEBODY_H

#include <stdbool.h>
#include <stdint.h>
#include "http/chunked.h"
#include "http/decompressor.h"
#include "http/responsehead.h"

#pragma GCC visibility push(hidden)

typedef enum td_body_framing {
    TD_BODY_NONE,
    TD_BODY_LENGTH,
    TD_BODY_CHUNKS,
    TD_BODY_UNTIL_CLOSE,
} td_body_framing;

typedef struct td_response_body { /* zeroed memory: no body, and over */
    td_body_framing framing;
    uint64_t left;  /* of TD_BODY_LENGTH */
    int64_t max, size; /* bytes that it may have, and has so far; inflated */
    td_chunked chunks;
    td_decompressor *decompressor; /* NULL: it is not packed, or as it is */
    td_str packed;                 /* of the input, taken, and not inflated yet */
    bool is_packed_left;           /* the decompressor has more to give without input */
    bool is_begun;                 /* some of what is packed has come: then it has an end, too */
    bool is_framed;                /* all of it has come */
    const char *what;              /* after TD_EBADMSG: why */
} td_response_body;

/*
 * What the head says.  has_body false: none comes, whatever it says (of HEAD, say).  inflate: gzip
 * becomes what was packed, and the head is changed to say so.  max: bytes, as they come and
 * inflated, 0..INT64_MAX.
 * TD_ETOOBIG: its length is above that.
 */
int td_response_body_begin(td_response_body *body, td_response_head *head, td_arena *arena,
                           bool has_body, bool inflate, int64_t max);

/*
 * Take some of *input, which is advanced; *data_out points into it, or into a buffer that is valid
 * until any body's next call.  1: there is some; 0: it wants more input, or is over; TD_EBADMSG
 * (see body->what), TD_ETOOBIG.  Input that was taken has to stay where it is until 0 is returned.
 */
int td_response_body_next(td_response_body *body, td_str *input, td_str *data_out);

static inline bool
td_response_body_is_over(const td_response_body *body)
{
    return body->is_framed && body->packed.len == 0 && !body->is_packed_left;
}

/* The connection has ended: 0 when that is the body's end, or TD_ECLOSED. */
int td_response_body_closed(td_response_body *body);

/* 0, or TD_EBADMSG: it is over, and what is packed in it is not. */
int td_response_body_check(td_response_body *body);

void td_response_body_release(td_response_body *body);

#pragma GCC visibility pop

#endif
