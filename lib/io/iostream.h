/* td_iostream, as the layers above see it beside <tornado/iostream.h>. */
#ifndef TORNADO_IO_IOSTREAM_H
#define TORNADO_IO_IOSTREAM_H

#include <tornado/iostream.h>
#include "base/buf.h"
#include "io/ioloop.h"
#include "io/transport.h"

TD_PRIVATE size_t td_iostreams_count(void); /* of this thread, not destroyed yet */

#pragma GCC visibility push(hidden)

/* Bytes received and not read, written and not sent. */
size_t td_iostream_unread(const td_iostream *stream);
size_t td_iostream_unsent(const td_iostream *stream);

/* Bytes of the last read are to be read again, in front of what came behind them. */
void td_iostream_push_back(td_iostream *stream, td_str bytes);

/*
 * The memory of buffers that have nothing goes back, and with it what the last read gave.  How many
 * bytes.  Not while anybody reads.
 */
size_t td_iostream_give_back(td_iostream *stream);

/*
 * td_iostream_write, without its limit, of what was appended to the output: its result.  Nothing
 * else is done with the stream in between.
 */
td_buf *td_iostream_output(td_iostream *stream);
int td_iostream_send(td_iostream *stream);

/* td_iostream_read_partial of one of ours, which is read by nobody else, on a coroutine. */
int td_iostream_read_some(td_iostream *stream, size_t count, td_str *out);

/*
 * All waits from now on end by then (td_clock_ns; INT64_MAX: never), until td_iostream_set_timeout.
 */
void td_iostream_set_deadline(td_iostream *stream, int64_t deadline_ns);

/*
 * td_iostream_flush that ends with 1 when something has come meanwhile, be it the end: there is
 * something to read.  While another coroutine reads it is td_iostream_flush.
 */
int td_iostream_flush_or_input(td_iostream *stream);

/*
 * Call fn(arg), once, on the loop's stack, when something has come, be it the end; it may destroy
 * the stream.  NULL: no more.  Not while somebody reads.
 */
void td_iostream_on_input(td_iostream *stream, td_loop_fn *fn, void *arg);

/* ---- streams of servers, and those that are lent */

/* Each once, if set; neither may wait, nor use the stream.  destroyed is the last. */
typedef struct td_iostream_observer {
    void (*closed)(void *arg); /* the descriptor is closed */
    void (*destroyed)(void *arg);
    void *arg;

    /*
     * In place of closed, where we close what the other side has not ended, and all that was written
     * is sent: to move the transport to where it can linger.
     */
    void (*lingers)(void *arg, td_transport *transport);
} td_iostream_observer;

/*
 * Make a stream of what is no longer somebody else's: the transport (moved), what was received and
 * not read, what was written and not sent (both emptied).  options as of td_iostream_create.
 */
td_iostream *td_iostream_adopt(td_transport *transport, td_buf *received, td_buf *unsent,
                               const td_iostream_options *options,
                               const td_iostream_observer *observer);

/* Somebody else is told of the end of a stream, in the place of whoever was. */
void td_iostream_observe(td_iostream *stream, const td_iostream_observer *observer);

/* Close without lingering. */
void td_iostream_close_at_once(td_iostream *stream);

/* The worker begins to drain: see TD_EDRAINING in <tornado/iostream.h>. */
void td_iostream_drain(td_iostream *stream);

/*
 * Nothing has come that was not read, not even the end; to be asked of a stream that is given up if
 * so.  now_ns: what td_clock_ns has just said.
 */
bool td_iostream_is_quiet(td_iostream *stream, int64_t now_ns);

int64_t td_iostream_timeout(const td_iostream *stream); /* ms, 0: none */

#pragma GCC visibility pop

#endif
