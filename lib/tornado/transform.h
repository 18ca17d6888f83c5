/*
 * Output filters (Tornado's OutputTransform): what a response is sent as.
 *
 *     static void
 *     shout(td_handler *h, td_str chunk, bool finishing, td_output *out, void *arg)
 *     {
 *         char *upper = td_alloc(h, chunk.len);
 *
 *         for (size_t i = 0; i < chunk.len; i++)
 *             upper[i] = (char)toupper((unsigned char)chunk.ptr[i]);
 *         td_emit(out, td_str_make(upper, chunk.len));
 *     }
 *
 *     static const td_transform Shout = TD_TRANSFORM(.name = "shout", .transform_chunk = shout);
 *
 * One that was added by initialize, prepare or middleware sees all that leaves: each td_flush gives
 * it a piece, the end of the response the last one (finishing is true, chunk perhaps empty), and
 * what it emits goes to the one that was added next, then to compress_response, then to the client.
 * Error pages pass through, too, and files of td_serve_static, which are read into memory for it
 * piece by piece, and of which there are no ranges then.
 *
 * A transform may wait (td_await).  It may raise: the answer is then the error page, without
 * transforms, or the connection closes if the headers were sent.  td_write, td_flush, td_finish and
 * whatever else ends a response are misuse in it.
 */
#ifndef TORNADO_TRANSFORM_H
#define TORNADO_TRANSFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <tornado/abi.h>
#include <tornado/handler.h>
#include <tornado/str.h>

typedef struct td_output td_output; /* where a piece goes; valid during the call */

/* chunk: valid during the call.  arg: what td_add_transform was given. */
typedef void td_transform_fn(td_handler *h, td_str chunk, bool finishing, td_output *out, void *arg);

typedef struct td_transform {
    size_t size TD_ZERO;                            /* of the struct; set by TD_TRANSFORM */
    const char *name TD_ZERO;                       /* for the log */
    td_transform_fn *transform_first_chunk TD_ZERO; /* before the headers leave: td_set_status,
                                               td_set_header work; NULL: transform_chunk is called */
    td_transform_fn *transform_chunk TD_ZERO;       /* all others; NULL: they pass as they are */
} td_transform;

#define TD_TRANSFORM(...) {.size = sizeof(td_transform), __VA_ARGS__}

/*
 * Add one to the end of the chain, from now on for this response; transform and arg live as long as
 * the request.  A Content-Length that the handler sets is that of what it writes: the length that
 * is sent is that of what comes out, or none when the response is flushed.  After the first flush:
 * TD_EINVAL.
 */
TD_API int td_add_transform(td_handler *h, const td_transform *transform, void *arg);

/*
 * Pass bytes on (copied), as often as needed; what is not emitted is not sent.  Raises 500 when a
 * piece becomes larger than max_response_buffer.
 */
TD_API int td_emit(td_output *out, td_str bytes);

/*
 * compress_response is not for this response: not for one with a secret in it beside something that
 * a stranger can make it repeat, for its size tells how well the two agree (BREACH).  An XSRF token
 * is no such secret, it looks different each time.  After the first flush: TD_EINVAL.
 */
TD_API int td_never_compress(td_handler *h);

#endif
