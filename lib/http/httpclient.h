/*
 * td_http_client, Tornado's AsyncHTTPClient: the requests of this thread's loop to other servers,
 * with neither handler nor request.
 */
#ifndef TORNADO_HTTP_HTTPCLIENT_H
#define TORNADO_HTTP_HTTPCLIENT_H

#include <tornado/error.h>
#include <tornado/httpclient.h>
#include "base/arena.h"
#include "base/clientproxy.h"

typedef struct td_http_client_options {
    size_t max_clients;      /* requests under way */
    size_t idle_max;         /* connections that are kept */
    size_t idle_origin_max;  /* to one origin */
    int64_t idle_timeout_ms; /* for so long */
    int64_t lifetime_ms;     /* in all, however often it is used meanwhile; 0: any time */
    const td_client_proxy *proxy; /* NULL: none; has to live on */
} td_http_client_options;

/* Before this thread's first request. */
TD_PRIVATE void td_http_client_configure(const td_http_client_options *options);

/*
 * Ask, and wait on the current coroutine, which may be unwound meanwhile.  All that *out points to
 * is in the arena.  0 or out->error.  owner: for td_fetch_stream_owner, in body_producer; now_ns: what
 * td_clock_ns has just said, from which its time counts.
 */
TD_PRIVATE int td_http_client_fetch(td_arena *arena, const char *url,
                                    const td_fetch_options *options, void *owner, int64_t now_ns,
                                    td_response *out);

/*
 * The same piece by piece, by the functions of <tornado/httpclient.h> with other names; they return
 * errors, which are told in *out, and log no misuse.  The stream lies in the arena; options and
 * what they point to have to live as long.
 */
TD_PRIVATE int td_http_client_open(td_arena *arena, const char *url,
                                   const td_fetch_options *options, void *owner, int64_t now_ns,
                                   td_response *out, td_fetch_stream **stream_out);
typedef enum td_fetch_step {
    TD_STEP_WRITE, TD_STEP_END, TD_STEP_HEAD, TD_STEP_READ, TD_STEP_CLOSE,
} td_fetch_step;

/* Why that step must not be taken now, in words for the log; NULL: it may. */
TD_PRIVATE const char *td_fetch_stream_find_misuse(const td_fetch_stream *stream, td_fetch_step step);
TD_PRIVATE int td_fetch_stream_write(td_fetch_stream *stream, td_str bytes);
TD_PRIVATE int td_fetch_stream_end(td_fetch_stream *stream);
TD_PRIVATE int td_fetch_stream_head(td_fetch_stream *stream);
TD_PRIVATE int td_fetch_stream_read(td_fetch_stream *stream, td_str *data_out);
TD_PRIVATE bool td_fetch_stream_is_ready(td_fetch_stream *stream);
TD_PRIVATE td_iostream *td_fetch_stream_detach(td_fetch_stream *stream);
TD_PRIVATE void td_fetch_stream_close(td_fetch_stream *stream); /* a second time does nothing */

TD_PRIVATE td_response *td_fetch_stream_answer(td_fetch_stream *stream); /* *out above */
TD_PRIVATE void *td_fetch_stream_owner(td_fetch_stream *stream);

/* Close what is kept, before the loop ends. */
TD_PRIVATE void td_http_client_close(void);

/* Of this thread: requests under way, connections kept. */
TD_PRIVATE size_t td_http_client_active(void);
TD_PRIVATE size_t td_http_client_idle(void);

#endif
