/*
 * The inside of a request to another server, shared by its chapters: fetch.c is its life, redirects
 * and all; httpclient.c gives it a place and a connection; fetchrequest.c writes its head,
 * fetchsend.c sends it and its body, fetchanswer.c takes the answer; fetchstream.c is all of that
 * for a caller who takes one step at a time; fetchfailure.c says how late it is, and why it failed.
 */
#ifndef TORNADO_HTTP_FETCH_INTERNAL_H
#define TORNADO_HTTP_FETCH_INTERNAL_H

#include "base/assert.h"
#include "base/buf.h"
#include "http/httpclient.h"
#include "http/origin.h"
#include "http/responsebody.h"
#include "http/responsehead.h"
#include "http/upstream.h"
#include "http/uri.h"

#define TD_FETCH_PIECE ((size_t)64 * 1024) /* bytes read or written at once */

struct td_fetch_stream {
    td_arena *arena;
    const td_fetch_options *options;
    td_response *out;
    void *owner;
    bool is_pulled; /* by a caller that takes one step at a time */

    /* What is asked for now; a redirect changes it. */
    td_str url;
    td_uri uri;
    td_str method, body; /* body.ptr NULL: none */
    td_headers asked;    /* what the caller wants to be told */
    unsigned asks;       /* for TD_ASKS_... */
    bool is_foreign;     /* a redirect has led to another origin: no credentials */
    bool lost_body;      /* a redirect has made a GET of it */
    td_origin origin;

    int64_t begun_ns;    /* when it was asked for, the redirect came, or the queue was left */
    int64_t deadline_ns; /* INT64_MAX: none; of a caller that takes steps: see td_fetch_wait_until */
    int64_t looked_ns;   /* the loop's time when a wait was limited last */
    int64_t given_until_ns; /* until when a server has its time that was given more of the body; 0 */
    bool has_place, awaits_place; /* among max_clients */
    td_upstream *upstream;
    bool may_keep;
    bool is_answered; /* the first byte of a response has come */

    uint64_t unwritten;    /* of content_length */
    bool body_is_complete; /* of the request: all of it was given to the stream */
    bool expects_continue; /* the body waits for the server to say so */
    bool is_reading;       /* a coroutine waits for the answer, or has got it */
    bool is_producing;     /* body_producer runs */
    bool is_in_write;      /* a coroutine does, or was cancelled in it: half a piece is out */
    bool is_in_read;       /* a coroutine waits for the head, or for more of the body */

    bool is_in_head; /* the beginning of one is in head */
    td_response_scan scan; /* of it */
    bool has_head; /* of the answer proper */
    int interims;  /* 1xx responses in front of it */
    td_response_head response;
    td_response_body body_in;
    td_str ahead;  /* a piece of the body that is_ready has found; or what it has come to: */
    int ahead_rc;  /* 1, an error, or 0: nothing */
    bool is_over;  /* all of the answer was read and the connection given back, or it is closed */

    td_buf sent, head; /* a chunk that is sent; a head that comes */
    td_buf received;   /* the body, or what was inflated */
    td_str rest;       /* received and not used yet */
    /* Invariants: upstream NULL implies that nothing is in rest; is_over implies upstream NULL, but
       behind a 101, whose connection is the caller's until td_fetch_stream_close. */
};

#pragma GCC visibility push(hidden)

/* ---- fetchfailure.c: each tells it in f->out and returns error */

TD_COLD int td_fetch_fail(td_fetch_stream *f, int error, const char *format, ...) TD_PRINTF(3, 4);
TD_COLD int td_fetch_fail_saying(td_fetch_stream *f, int error, const char *text); /* in this phase */
TD_COLD int td_fetch_fail_waiting(td_fetch_stream *f, int error); /* a wait for the stream, in its words */

/* The end of a wait: its result; of an error that was not told, after telling it. */
int td_fetch_end_wait(td_fetch_stream *f, int rc);

/* ---- time, there too */

/* A time-out of the options, 0 the default and -1 none, from then, or from now. */
int64_t td_fetch_deadline_after(int64_t since_ns, int64_t timeout_ms);
int64_t td_fetch_deadline_in(int64_t timeout_ms);

void td_fetch_end_time(td_fetch_stream *f); /* request_time is what it has taken up to here */
int64_t td_fetch_connect_deadline(const td_fetch_stream *f);

/* When the next wait for the server ends: of a caller that takes steps, each has its own time. */
int64_t td_fetch_wait_until(const td_fetch_stream *f);

/* The next wait for the connection ends by then.  0, or TD_ETIMEDOUT: it is late already. */
int td_fetch_limit_wait(td_fetch_stream *f, int64_t deadline_ns);

/* ---- httpclient.c */

void td_http_client_start(void); /* of this thread; again does nothing */

/* The proxy of the settings becomes the way to it, if it is to be. */
void td_http_client_route(td_origin *origin);

/* Wait for a place among max_clients, first come first served; and leave it, or the line for it. */
int td_fetch_take_place(td_fetch_stream *f);
void td_fetch_leave_place(td_fetch_stream *f);

/* A connection that was kept, if it may be, or a new one; and keep it for others. */
int td_fetch_open_upstream(td_fetch_stream *f, bool from_kept);
void td_fetch_keep_upstream(td_fetch_stream *f);

/* ---- fetchrequest.c */

int td_fetch_check_options(td_fetch_stream *f); /* 0, or it cannot be sent; sets asked and asks */
int td_fetch_check_url(td_fetch_stream *f);     /* the same of this url; sets uri and origin */
bool td_fetch_is_idempotent(const td_fetch_stream *f);
void td_fetch_make_head(td_fetch_stream *f, td_buf *to); /* appended; sets expects_continue */

/* The caller's headers that take the place of one of ours, or change what we do. */
enum {
    TD_ASKS_HOST = 1 << 0,
    TD_ASKS_CONNECTION = 1 << 1,
    TD_ASKS_USER_AGENT = 1 << 2,
    TD_ASKS_ACCEPT_ENCODING = 1 << 3,
    TD_ASKS_AUTHORIZATION = 1 << 4,
    TD_ASKS_PROXY_AUTHORIZATION = 1 << 5,
    TD_ASKS_CONTENT_TYPE = 1 << 6,
    TD_ASKS_FRAMING = 1 << 7, /* which is ours to say */
};

/* The body of the request comes piece by piece. */
static inline bool
td_fetch_is_streamed(const td_fetch_stream *f)
{
    return (f->options->stream_body || f->options->body_producer != NULL) && !f->lost_body;
}

static inline void
td_fetch_leave_read(td_fetch_stream **f)
{
    (*f)->is_in_read = false;
}

/* This coroutine waits for the answer, until the end of the block, however that is left. */
#define TD_FETCH_IN_READ(f)                                                                \
    td_fetch_stream *in_read_ __attribute__((cleanup(td_fetch_leave_read), unused)) = (f); \
    (f)->is_in_read = true

/* ---- fetchsend.c: 0, 1 when the server has answered already, or an error */

int td_fetch_send_request(td_fetch_stream *f);

/* ---- fetchanswer.c */

/*
 * The next head, which begins and ends by then: 1 of the answer proper, 0 of an interim one, or an
 * error, which may be untold.
 */
int td_fetch_next_head(td_fetch_stream *f, int64_t begin_ns, int64_t end_ns);

/*
 * The same of what has come, be it the end, without waiting for more: 0 also when that is a part of
 * a head, which whoever asks for the head goes on with.
 */
int td_fetch_take_input(td_fetch_stream *f);
int td_fetch_receive_head(td_fetch_stream *f); /* that of the answer proper; 0 or an error, told */
void td_fetch_tell_headers(const td_fetch_stream *f); /* header_callback, which is there */
void td_fetch_take_head(td_fetch_stream *f);          /* to f->out */

/* The body begins; of one that is not wanted it is bounded, and nothing else counts. */
int td_fetch_begin_body(td_fetch_stream *f, bool is_wanted);

/* The next bytes of it: 1, 0 at its end, or an error.  *out as of td_response_body_next. */
int td_fetch_next_piece(td_fetch_stream *f, td_str *out);

/* What was inflated lies where others inflate, too: it moves to where it can stay. */
void td_fetch_hold_piece(td_fetch_stream *f, td_str *piece);

/* All of it, for the caller, its callback, or, of a redirect, nobody. */
int td_fetch_receive_body(td_fetch_stream *f, bool is_wanted);

/* ---- fetch.c */

int td_fetch_init(td_fetch_stream *f, td_arena *arena, const char *url,
                  const td_fetch_options *options, void *owner, int64_t now_ns, td_response *out);

/* The request goes out; with and_head until its head has come, be it of a redirect. */
int td_fetch_begin(td_fetch_stream *f, bool and_head);

/* A second time, if a kept connection was closed under the first one and it may be. */
int td_fetch_repeat_if_closed(td_fetch_stream *f, int rc, bool and_head);

/* From a request whose answer has begun to the one whose answer is the caller's. */
int td_fetch_follow_redirects(td_fetch_stream *f);

/* Nothing more is wanted of the server: the connection is for others, and so is the place. */
void td_fetch_give_back(td_fetch_stream *f);

/* All but what the response is made of; the connection is of no use any more unless it was kept. */
void td_fetch_let_go(td_fetch_stream *f);

TD_COLD int td_fetch_tell_failure(td_fetch_stream *f, int error); /* what *out is without an answer */

#pragma GCC visibility pop

#endif
