/*
 * The inside of a td_http1connection, shared by its parts: http1connection.c is its life and takes
 * heads, http1body.c takes bodies, http1writer.c answers, http1file.c sends files, http1proxy.c
 * reads who the client is.
 */
#ifndef TORNADO_HTTP_HTTP1_INTERNAL_H
#define TORNADO_HTTP_HTTP1_INTERNAL_H

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "http/chunked.h"
#include "http/decompressor.h"
#include "http/http1connection.h"
#include "http/parser.h"
#include "http/request_internal.h"

/* Numbers of td_connection_state. */
typedef enum http1_phase {
    HTTP1_IDLE,     /* nothing of a request has come */
    HTTP1_HEAD,     /* a part of a head has */
    HTTP1_BODY,     /* the head is with the delegate, more of the body is to come */
    HTTP1_HANDLING, /* the message is complete, the answer is not */
    HTTP1_SENDING,  /* both are, but not all of the answer is in the kernel */
    HTTP1_LINGER,   /* our last word is said; what comes is dropped until the peer is done too */
} http1_phase;

typedef enum http1_closing {
    HTTP1_STAY,
    HTTP1_CLOSE,       /* once all is sent; the client has promised to send no more */
    HTTP1_CLOSE_GENTLY /* once all is sent: shut down our side, drop what still comes, then close */
} http1_closing;

/* What is left to send of a file, and what goes in front of it: when its turn comes, to `out`. */
typedef struct http1_range {
    struct http1_range *next;
    td_str before;
    td_file *file; /* NULL: only `before`, at the end of a body */
    uint64_t offset, left;
    td_http1connection *conn;
    td_list link;   /* in the line of files; unlinked: behind another range, or the kernel is full */
    uint32_t burst; /* bytes since it came to the front of the line */
    bool in_turn;   /* it has just been the first in line */
} http1_range;

/* Of a request body that does not just lie down in memory. */
typedef struct http1_flow {
    td_decompressor *decompressor; /* NULL: it is not inflated */
    uint64_t inflated;        /* bytes that it has given */
    uint32_t inflated_in_turn;
    int64_t waited_ns;        /* how long it was not paused since the rate was looked at, up to */
    int64_t waiting_since_ns; /* this moment, unless it is paused */
    td_deadline look;         /* whether the client is still there, while it is paused */
    td_http1connection *conn;
} http1_flow;

struct td_http1connection {
    td_transport transport;
    td_http1context *context;
    td_list link;            /* in context->connections */
    td_deadline deadline;    /* what it is depends on the phase */
    td_deadline sending;     /* runs while output waits for the peer */
    td_callback resume;      /* continue on the loop's stack */
    td_request *request;     /* the current one; idle: the last one, in case its head comes again */
    td_buf in;               /* received, not taken yet */
    td_buf out;              /* answered, not sent yet */
    td_str stable;           /* behind out: bytes that stay where they are until done */
    http1_range *range;      /* behind stable, or NULL; its `before` is in out; in the request's arena */
    td_chunked *chunked;     /* of a chunked request body; in the request's arena */
    http1_flow *flow;        /* of one that is streamed or inflated; in the request's arena */
    uint64_t body_left;      /* of a request body with Content-Length */
    uint64_t out_left;       /* of the Content-Length we told */
    uint32_t window_received, window_sent; /* bytes since the rate was looked at; saturate */
    uint32_t requests;       /* heads accepted on this connection */
    uint32_t lingered;       /* bytes dropped while lingering */
    td_head_parser parser;
    td_peer peer;            /* of the socket, or whom the PROXY protocol names */
    uint8_t phase;           /* http1_phase */
    uint8_t counted;         /* the phase as of the end of the last turn, in td_gauges */
    uint8_t closing;         /* http1_closing */
    bool broken;             /* to be closed at the end of the turn, whatever is unsent */
    bool body_paused;        /* the delegate wants no more for now, or nothing yet */
    bool body_yields;        /* it is paused until the next turn, to let others have theirs */
    bool begun;              /* the delegate knows of a request that is not done */
    bool head_sent, answered;
    bool sliced;             /* a file has had its slice of this turn */
    bool corked;             /* only full segments leave, as a long file follows */
    bool detaching;          /* to be the handler's at the end of the turn */
    bool refused;            /* answered by the connection itself */
    bool out_chunked, out_sized, no_body; /* framing of the answer */
    bool keep;               /* the connection outlives this answer; decided with its head */
    bool above_high_water;   /* the delegate is owed a call of writable */
    bool introduced : 1;     /* peer is known: no PROXY header is to come (any more) */
    bool https : 1;          /* the client has used TLS, as far as the connection knows */
    bool xheaders : 1;       /* peer is trusted to name another in its heads */
    /*
     * Invariants: stable.len > 0 or a range implies that the request is not done; broken or closing
     * implies that no further request is taken; body_left and chunked mean something only in
     * HTTP1_BODY; body_paused implies a flow.
     */
};

/* An idle connection is this and 32 bytes of the loop's. */
_Static_assert(sizeof(struct td_http1connection) <= 376, "it would take 400 bytes of the heap");

/*
 * The turn: while the loop has called into one connection, what it answers collects in one buffer
 * of the worker and leaves in one system call at the end of the turn, or earlier when flushed.
 */
typedef struct http1_turn {
    td_http1connection *active; /* whose turn it is; NULL between turns */
    td_http1connection *owner;  /* whose bytes are in out; NULL implies it is empty */
    td_buf out;
    td_str prepared; /* the owner's, behind out, which is empty; not ours */
} http1_turn;

extern http1_turn td_http1_turn;

#define HTTP1_TURN_BYTES (64 * 1024) /* of answers in one turn; then the others' go */
#define HTTP1_SLICE (256 * 1024)     /* bytes of long files in one iteration of the loop */
#define HTTP1_DRAIN_MAX (64 * 1024)  /* of an unwanted body, to keep the connection */
#define HTTP1_RATE_WINDOW_MS 10000   /* between looks at body_min_rate and send_min_rate */
#define HTTP1_LOOK_MS 1000           /* between looks whether who is not read from has gone */

/*
 * Of http1body.c; within a turn, but for the contexts'.  What was given to the delegate or refused
 * may have set broken, answered, closing and body_paused.
 */
void td_http1_bodies_init(td_http1context *context);
void td_http1_bodies_fini(td_http1context *context); /* no connection is left */
bool td_http1_body_begin(td_http1connection *conn);  /* one is to come; false: it was refused */
void td_http1_body_send_continue(td_http1connection *conn); /* if that is what the client awaits */
size_t td_http1_body_take(td_http1connection *conn, const char *bytes, size_t len); /* bytes taken */
void td_http1_body_continue(td_http1connection *conn); /* perhaps a pause is over, or a yield */
/*
 * Whether it can be read to where it will lie in memory; then that: what read() returned, < 0:
 * -errno.
 */
bool td_http1_body_goes_straight(td_http1connection *conn);
ssize_t td_http1_body_receive(td_http1connection *conn);
void td_http1_body_drop_flow(td_http1connection *conn); /* there is one; its request is still there */

/* Of http1writer.c. */
extern const td_message_writer td_http1_writer;
void td_http1_send(td_http1connection *conn); /* try to send all there is; may set broken */
size_t td_http1_unsent(const td_http1connection *conn); /* bytes in memory */
void td_http1_count_sent(td_http1connection *conn, size_t n);
void td_http1_leave_prepared(td_http1connection *conn); /* whose it is may do with it as he likes */

/* Of http1file.c. */
void td_http1_file_add(td_http1connection *conn, td_file *file, uint64_t offset, uint64_t length);
void td_http1_file_append(td_http1connection *conn, td_str bytes, bool stable); /* behind a file */
void td_http1_file_send(td_http1connection *conn); /* nothing is in front of it any more */
void td_http1_file_drop(td_http1connection *conn); /* what of it is not sent is lost */

/* There is a file, and it waits for others to leave, not for the kernel. */
static inline bool
http1_is_in_line(const td_http1connection *conn)
{
    return conn->range != NULL && td_list_is_linked(&conn->range->link);
}

/* It is to be closed, at the end of the turn, or of one of its own: nothing else may come for it. */
static inline void
http1_break(td_http1connection *conn)
{
    conn->broken = true;
    if (td_http1_turn.active != conn)
        td_ioloop_post(conn->context->loop, &conn->resume);
}

/* Something waits for the kernel to take it. */
static inline bool
http1_is_waiting(const td_http1connection *conn)
{
    return conn->out.len > 0 || conn->stable.len > 0 || conn->range != NULL;
}

/* Of http1proxy.c. */
void td_http1_expect_proxy(td_http1connection *conn); /* in place of the connection's first turn */
void td_http1_refuse_proxy(const td_http1connection *conn, const char *why); /* logs it */

/* Of http1connection.c: what they do there, for http1proxy.c. */
void td_http1_introduce(td_http1connection *conn); /* peer is known */
void td_http1_begin(td_http1connection *conn);     /* the first turn, with what is in conn->in */
void td_http1_close(td_http1connection *conn);

/* And for http1body.c: a time-out of what the client sends; the whole turn. */
void td_http1_refuse_late(td_http1connection *conn, const char *why);

/* Answer from the connection itself and close; the request may be half parsed. */
void td_http1_refuse(td_http1connection *conn, int status, const char *why);

/* What the client does not send is its fault again. */
static inline void
http1_end_pause(td_http1connection *conn)
{
    if (!conn->body_paused)
        return;
    conn->body_paused = false;
    conn->flow->waiting_since_ns = td_now_ns();
}

/* For the time-outs that depend on the phase. */
static inline td_http1connection *
http1_connection_of(td_deadline *deadline)
{
    return TD_CONTAINER_OF(deadline, td_http1connection, deadline);
}

static inline const td_limits *
http1_limits(const td_http1connection *conn)
{
    return conn->request != NULL ? conn->request->limits : &conn->context->settings->limits;
}

#endif
