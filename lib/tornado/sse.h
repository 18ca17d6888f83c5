/*
 * Server-sent events: what a browser's EventSource listens to (HTML, section 9.2).
 *
 *     static void
 *     prices(td_handler *h)
 *     {
 *         if (td_sse_begin(h) != 0)
 *             return;
 *         do {
 *             const char *price = price_now(h);
 *
 *             if (td_sse_send(h, TD_SSE(.event = "price", .data = td_str_of(price))) != 0)
 *                 return;
 *         } while (td_sse_sleep(h, 1000) == 0);
 *     }
 *
 * A stream is over when its client has left or its worker is to end (a reload, a stop): each of
 * these functions then returns TD_ECLOSED, promptly where it waits, and so does td_write;
 * on_connection_close works as ever.  For HEAD they all return TD_ECLOSED.  Who waits otherwise, in td_condition_wait or td_queue_get,
 * wants TD_CANCEL_ON_CLOSE in the flags of the class: in both cases the handler is unwound there.
 * At a reload the client sees the end of the response, comes again after its retry time, and finds
 * the new generation.
 *
 * While nothing is sent, a comment every sse_heartbeat (a setting) keeps proxies from closing the
 * connection and shows when the client is gone.
 */
#ifndef TORNADO_SSE_H
#define TORNADO_SSE_H

#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/future.h>
#include <tornado/handler.h>
#include <tornado/str.h>

/*
 * Content-Type: text/event-stream, Cache-Control: no-cache, X-Accel-Buffering: no; the headers are
 * sent.  0, TD_ECLOSED, or TD_EINVAL (the headers were sent before, or something was written).
 */
TD_API int td_sse_begin(td_handler *h);

/* Last-Event-ID: the id of what a client that comes again has seen last; the null string: none. */
TD_API td_str td_sse_last_id(td_handler *h);

typedef struct td_sse_event {
    size_t size TD_ZERO;        /* of the struct; set by TD_SSE */
    const char *id TD_ZERO;     /* one line; NULL: that of the event before stays */
    const char *event TD_ZERO;  /* its type, one line; NULL: "message" */
    td_str data TD_ZERO;        /* lines end in LF, CR LF or CR; the null string: no data, no event */
    int64_t retry_ms TD_ZERO;   /* how long the client waits before it comes again; 0: as before */
} td_sse_event;

#ifndef __cplusplus
#define TD_SSE(...) (&(const td_sse_event){.size = sizeof(td_sse_event), __VA_ARGS__})
#else
#define TD_SSE(...) TD_OPTIONS_OF(td_sse_event, __VA_ARGS__)
#endif

/*
 * Send one event, and wait until the client has taken enough (as td_flush).  0, TD_ECLOSED, or
 * TD_EINVAL when there is no stream, or a line break or NUL in id or event.
 */
TD_API int td_sse_send(td_handler *h, const td_sse_event *event);

/* td_sleep and td_await that end with the stream, too; what was awaited is let go of then. */
TD_API int td_sse_sleep(td_handler *h, int64_t duration_ms);
TD_API int td_sse_await(td_handler *h, td_future *future, void **result_out);

#endif
