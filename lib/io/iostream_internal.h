/*
 * The inside of a td_iostream, shared by its chapters: iostream.c is its life and its events,
 * iostreamopen.c connects it and starts TLS, iostreamread.c and iostreamregex.c read,
 * iostreamwrite.c writes, iostreamclose.c ends it.
 */
#ifndef TORNADO_IO_IOSTREAM_INTERNAL_H
#define TORNADO_IO_IOSTREAM_INTERNAL_H

#include "io/coroutine.h"
#include "io/iostream.h"
#include "io/waiters.h"

#define TD_STREAM_MARKER_MAX 16
#define TD_STREAM_RELEASE_ABOVE ((size_t)64 * 1024) /* an empty buffer that is larger is freed */

struct stream_read {
    int until; /* td_iostream_until, or one of the stream's own */
    size_t count;
    char marker[TD_STREAM_MARKER_MAX];
    size_t marker_len;
    size_t searched; /* bytes of the buffer in which no match begins */
    char *to;        /* NULL: not straight into memory of the caller's; has `done` bytes */
    size_t done;
};

struct td_iostream {
    td_transport transport;
    td_ioloop *loop;
    size_t max_buffer, max_write_buffer;
    int64_t timeout_ms;
    int64_t deadline_ns; /* of all waits in place of timeout_ms; 0: that counts */
    td_buf in, out; /* received and not read, written and not sent */

    struct stream_read reading; /* means something while td_iostream_is_reading() */
    td_waiters readers;         /* one at most */
    td_future *future;          /* or this one wants the read; NULL: none does */
    td_buf result;              /* what the last read gave */
    td_str data;                /* of it; the result of td_iostream_read_future */
    struct stream_regex *regex; /* of the last read that had one; NULL: none had */

    td_waiters flushers, connectors;
    bool is_connecting, is_closed;
    bool is_shaking; /* hands, of TLS */
    bool has_ended;  /* the other side sends no more */
    bool ends_behind_out, we_ended; /* nor do we: when `out` is sent; and the kernel knows */
    bool half_open;                 /* its end is not that of the stream */
    bool is_drained; /* the kernel had no more at the last attempt, and has not said otherwise */
    bool comes_much; /* the last attempt has received a lot */
    uint8_t burst;   /* attempts to read since it last said that there is something */
    uint8_t flushes; /* with nothing to wait for */
    bool flush_ends_at_input;
    int error;
    char *error_text;     /* NULL: that of the number */
    td_loop_fn *on_input; /* NULL: nobody is told */
    void *on_input_arg;
    unsigned on_input_since; /* iteration of the loop */

    td_callback turn;            /* lets go who has flushed too often to go on at once */
    td_callback closed;          /* starts the close callback */
    td_coroutine_job *close_job; /* NULL: none is wanted */
    td_iostream_observer observer;
    bool owes_drain; /* the worker drains, and no read has been told */
};

#pragma GCC visibility push(hidden)

static inline bool
td_iostream_is_reading(const td_iostream *stream)
{
    return stream->future != NULL || td_waiters_any(&stream->readers);
}

/* Nothing can be sent or received yet. */
static inline bool
td_iostream_is_opening(const td_iostream *stream)
{
    return stream->is_connecting || stream->is_shaking;
}

/* ---- iostream.c */

/* Of the transport, what the state of the stream asks for. */
void td_iostream_watch(td_iostream *stream);

/* Stand in that line of the stream's: what one was let go with, or TD_ETIMEDOUT. */
int td_iostream_wait(td_iostream *stream, td_waiters *line);

/* ---- iostreamopen.c */

void td_iostream_end_connect(td_iostream *stream);   /* the connection is there, or has failed */
bool td_iostream_go_on_shaking(td_iostream *stream); /* false: it is not over, or has failed */

/* ---- iostreamread.c */

size_t td_iostream_room(const td_iostream *stream); /* bytes that may be received at once */
ssize_t td_iostream_receive(td_iostream *stream);   /* so many, 0 at the end, or an error */
void td_iostream_go_on_reading(td_iostream *stream); /* td_waiters_resume of readers is next */
void td_iostream_read_last(td_iostream *stream); /* no more is received: what is there may do */
void td_iostream_end_read(td_iostream *stream, int code); /* tells whoever reads, if anybody does */
int td_iostream_take(td_iostream *stream, size_t n);      /* that many are the result; returns 1 */

/* ---- iostreamregex.c: the one that is looked for */

/* False, and logged: it is none. */
bool td_iostream_set_regex(td_iostream *stream, const char *text, const char *function);
int td_iostream_find_regex(td_iostream *stream); /* 1: the result is taken; 0; TD_ETOOBIG */
void td_iostream_free_regex(td_iostream *stream);

/* ---- iostreamwrite.c */

void td_iostream_send_out(td_iostream *stream);
void td_iostream_end_turn(void *stream); /* of one that flushes; of the loop */

/* Something is to be told to the kernel, be it our end. */
static inline bool
td_iostream_has_output(const td_iostream *stream)
{
    return stream->out.len > 0 || (stream->ends_behind_out && !stream->we_ended);
}

void td_iostream_end_flush_at_input(td_iostream *stream); /* something has come, be it the end */

/* ---- iostreamclose.c */

void td_iostream_close_with(td_iostream *stream, int error);
void td_iostream_close_if_over(td_iostream *stream); /* no more is to come, or from both sides */
int td_iostream_closed_code(const td_iostream *stream); /* what it answers since */
void td_iostream_set_error_text(td_iostream *stream, const char *reason);
void td_iostream_start_close_job(void *stream); /* there is one; of the loop */
void td_iostream_drop_close_job(td_iostream *stream);

#pragma GCC visibility pop

#endif
