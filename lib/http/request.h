/*
 * td_request: one request, from its first byte until it is finished, sent and unreferenced
 * (Tornado's HTTPServerRequest), and the two structs through which the HTTP layers meet the layer
 * above: td_message_delegate goes up, td_message_writer comes down.  HTTP/1 fills in the writer
 * today, HTTP/2 the same way; the layer above never sees chunks, Connection or stream numbers.
 *
 * Order of calls for one request:
 *
 *   route -> headers_received -> [data_received ...] -> finish        going up
 *   [inform ...] -> head -> [body ...] -> finish  or  abort           coming down, at any time from
 *                                                                     headers_received on
 *   closed   once, if the client goes before the writer's finish
 *   done     once, always last: the response is sent or lost, the request may be reused
 *   detached once, in place of done: the handler has the connection
 */
#ifndef TORNADO_HTTP_REQUEST_H
#define TORNADO_HTTP_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <tornado/abi.h>
#include <tornado/str.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/counters.h"
#include "base/file.h"
#include "base/network.h"
#include "http/headers.h"
#include "http/parser.h"

typedef struct td_request td_request;
typedef struct td_httpserver td_httpserver;
typedef struct td_detached td_detached; /* http/detached.h */
typedef struct td_limits td_limits; /* base/settings.h */

/* What to do with the body of a request; chosen by route. */
typedef enum td_body_mode {
    TD_BODY_BUFFERED, /* collected in request->body; finish comes when all of it is there */
    TD_BODY_STREAMED, /* data_received gets it piece by piece */
} td_body_mode;

#define TD_BODY_PIECE_MAX (64 * 1024) /* bytes of a streamed body that come at once */

typedef struct td_message_delegate {
    /*
     * The head has been parsed: fill in request->route_data and ->body_mode; ->limits are those of
     * the listener, and others may take their place.  Looks at nothing but the head and does
     * nothing else, for the result is kept while the same head comes again on the connection; what
     * it allocates from the arena is kept with it.
     */
    void (*route)(void *arg, td_request *request);

    /*
     * The head has been judged good by the connection too.  May answer at once.  100-continue is
     * sent afterwards, unless an answer has begun; of a streamed body nothing is taken, and no 100
     * sent, before the first td_request_resume_body, and whether the length told is within
     * max_body_size is judged by whoever calls that.
     */
    void (*headers_received)(void *arg, td_request *request);

    /*
     * At most TD_BODY_PIECE_MAX bytes of a streamed body, valid during the call.  Returns true to
     * go on, false to be given no more until td_request_resume_body.
     */
    bool (*data_received)(void *arg, td_request *request, td_str data);

    void (*finish)(void *arg, td_request *request);   /* the message has come completely */
    void (*writable)(void *arg, td_request *request); /* below the low water mark again (see body) */
    void (*closed)(void *arg, td_request *request);   /* the client has gone */
    void (*done)(void *arg, td_request *request);     /* nothing of the layer above is called again */
    void (*detached)(void *arg, td_request *request); /* the same; request->detached has a stream */

    /* The Server of refusals that are the connection's own; empty, or a NULL here: they have none. */
    td_str (*server_header)(void *arg);
} td_message_delegate;

/*
 * An answer of status 200 that is the same for whoever asks for it in the same way, and stands in
 * memory as it is sent.  Its owner zeroes it, sets body and keeps the bytes: they may not go before
 * the turn in which it was sent is over.
 */
#define TD_PREPARED_ROOM 512 /* bytes in front of body that are ours, for the head */

typedef struct td_prepared {
    td_str body;      /* with that room in front of it */
    size_t head_len;  /* 0: not prepared */
    char *date;       /* in the head; the second that it says is */
    time_t dated;
} td_prepared;

/* All return 0, TD_ECLOSED when the client has gone, or TD_EINVAL when called out of order. */
typedef struct td_message_writer {
    int (*inform)(td_request *request, int status, const td_headers *headers); /* 1xx */

    /*
     * Status line and headers.  length: bytes of body to come, or -1 when not known (chunked for a
     * 1.1 client, until close for 1.0).  Content-Length, Transfer-Encoding, Connection and Date are
     * the writer's.  No body may follow for HEAD, 1xx, 204, 304 (body ignores it).
     */
    int (*head)(td_request *request, int status, td_str reason, const td_headers *headers,
                int64_t length);

    /*
     * Some of the body; bytes are copied or sent before it returns unless `stable`, which says that
     * they stay until done.  More than the length told closes the connection (RFC 9112 section
     * 6.2).
     */
    int (*body)(td_request *request, td_str bytes, bool stable);

    /*
     * `length` bytes of the file from offset on, of a body whose length was told.  Holds a
     * reference to the file until they are sent or lost.  They leave in slices, one for all files
     * of a connection, and the loop serves others in between.  More of body and file may follow at
     * once: it waits in order, little of it in memory.  A file that has become shorter closes the
     * connection.
     */
    int (*file)(td_request *request, td_file *file, uint64_t offset, uint64_t length);

    int (*flush)(td_request *request); /* send what there is; see td_request_pending */
    int (*finish)(td_request *request);

    /*
     * In place of an answer, once the message has come completely: the connection is to be the
     * handler's, as a stream that detached->options describe.  headers: those of a 101 that is sent
     * first; NULL: nothing is, and status is what the access log shows.  The delegate's detached is
     * called when it is done, or closed.
     */
    int (*detach)(td_request *request, td_detached *detached, int status,
                  const td_headers *headers);
    void (*abort)(td_request *request); /* close so that the client can tell it is truncated */

    /*
     * Write the head of an answer with these headers that is not prepared; false: it has no room.
     */
    bool (*prepare)(td_request *request, td_prepared *prepared, const td_headers *headers);

    /*
     * The whole of a prepared answer, in place of head, body and finish, before anything was
     * answered.  False: this client is to get another head, or waits; nothing was done.
     */
    bool (*send_prepared)(td_request *request, td_prepared *prepared);
} td_message_writer;

/*
 * Looks at a buffered body while it comes, so that what is wrong with it is found before it has
 * come, and not all the work is at its end.
 */
typedef struct td_body_watcher {
    /*
     * The next piece, valid during the call; the body has it already.  May answer, and set
     * request->body_unwanted: then that is the last call, and what has come of the body is freed.
     */
    void (*received)(struct td_body_watcher *watcher, td_request *request, td_str data);
    void (*release)(struct td_body_watcher *watcher); /* once, with the body */
    size_t piece_max; /* bytes, 1..TD_BODY_PIECE_MAX: then others have their turn; may change */
} td_body_watcher;

/* The other end of the connection, as small as it can be. */
typedef struct td_peer {
    uint8_t address[16];
    uint8_t address_len; /* 4, 16, or 0: a unix socket */
    uint16_t port;       /* host byte order */
} td_peer;

struct td_request {
    td_arena arena;
    const td_message_writer *writer;
    td_httpserver *server;
    void *connection;      /* the writer's own; NULL once the client has gone */
    td_peer peer;          /* of the connection, or whom a trusted proxy names (xheaders) */
    bool https;            /* likewise: the scheme that the client has used */
    td_head head;
    td_str body;           /* when buffered: all of it, with a NUL behind */
    td_buf body_buf;       /* where it lies */
    struct td_spill *spill; /* or here, in a temporary file; NULL: in memory.  In the arena */
    int64_t started_ns;    /* monotonic, when the head was complete */
    uint64_t number;       /* of this worker's requests, from 1 */
    uint32_t references;
    td_arena_mark empty;   /* nothing but this struct */
    td_arena_mark routed;  /* with the head and what route made of it */
    bool repeatable;       /* an equal head on this connection needs no parsing and no routing */

    /* Filled in by the layer above. */
    void *route_data;      /* by route, kept with the head */
    td_route_counters *counters; /* likewise: where the answer is counted; NULL: of no route */
    const td_limits *limits; /* the listener's until route narrows them; NULL before */
    td_body_mode body_mode;
    bool body_unwanted;    /* what comes of the body is dropped; finish still follows */
    td_body_watcher *body_watcher; /* of headers_received; NULL: nobody looks */
    void *handler;         /* the layer above's object for this request */
    td_arena *scope;       /* in arena; given back before it; NULL: none */
    td_detached *detached; /* in arena: the handler takes its connection over; NULL: it does not */

    /* What was answered, for the access log. */
    int status;            /* 0: nothing yet */
    uint64_t body_sent;    /* bytes of body given to the kernel or queued */
    uint64_t body_received; /* bytes of its own body that have come, as sent */
};

/* A reference keeps the memory of the request (not the connection) beyond done. */
static inline void
td_request_ref(td_request *request)
{
    request->references++;
}
TD_PRIVATE void td_request_unref(td_request *request);

/* Response bytes that wait in memory: not yet in the kernel, and not of a file. */
TD_PRIVATE size_t td_request_pending(const td_request *request);

TD_PRIVATE bool td_request_is_from_proxy(const td_request *request); /* one that is trusted */
TD_PRIVATE void td_request_resume_body(td_request *request); /* harmless when it is not paused */

TD_PRIVATE td_peer td_peer_make(td_address address, uint16_t port);

/* "127.0.0.1", "::1", "unix:"; in the request's arena. */
TD_PRIVATE td_str td_request_remote_ip(td_request *request);

/* The same into `out`, with a NUL; returns the length. */
#define TD_PEER_TEXT_SIZE 46
TD_PRIVATE size_t td_peer_format(const td_peer *peer, char out[TD_PEER_TEXT_SIZE]);
TD_PRIVATE const char *td_request_protocol(const td_request *request); /* "http" or "https" */

#endif
