/*
 * td_iostream: a socket or a pipe as a stream of bytes (Tornado's IOStream and PipeIOStream).
 *
 *     td_iostream *stream = td_iostream_create(fd, NULL);
 *     td_str line;
 *
 *     td_iostream_write(stream, TD_STR("HELO\r\n"));
 *     if (td_iostream_read_until(stream, TD_STR("\r\n"), 512, &line) < 0)
 *         ...
 *     td_iostream_destroy(&stream);
 *
 * Functions that wait do so on the calling coroutine; others are served meanwhile.  At most one
 * read is pending at a time, and any number of flushes.  Cancelling a wait takes the read back:
 * what has come stays in the buffer for the next one.  All are for the loop's thread.
 *
 * Errors: TD_ECLOSED (the other side or td_iostream_close, see td_iostream_error), TD_ETIMEDOUT,
 * TD_ETOOBIG, TD_EINVAL (misuse, which is logged), or the system's, -ECONNRESET; of TLS those of
 * td_iostream_start_tls.
 *
 * Either side may end what it sends and still read: td_iostream_shutdown ends ours.  Where the other
 * side ends its own the stream closes, for whoever has said all seldom waits for an answer, unless
 * it is half_open (td_iostream_set_half_open).
 *
 * TD_EDRAINING, of a stream whose client has come to us (td_detach, an own protocol): the worker is
 * leaving, for a reload or for good.  The read that waits then, or the next one that would have to,
 * says so if nothing has come that it could be about: once, and the stream is as usable as before.
 * Say goodbye and close, or go on; what is still open when drain_timeout is over is closed.
 */
#ifndef TORNADO_IOSTREAM_H
#define TORNADO_IOSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <tornado/abi.h>
#include <tornado/future.h>
#include <tornado/ioloop.h>
#include <tornado/ssl.h>
#include <tornado/str.h>

typedef struct td_iostream td_iostream;

typedef struct td_iostream_options {
    size_t size TD_ZERO;             /* of the struct; set by TD_IOSTREAM */
    size_t max_buffer TD_ZERO;       /* bytes received and not read yet; a read that needs more fails;
                                        0: 1 MiB */
    size_t max_write_buffer TD_ZERO; /* bytes written and not sent yet; 0: 1 MiB */
    int64_t timeout_ms TD_ZERO;      /* of each wait; 0: none */
    bool half_open TD_ZERO;          /* as of td_iostream_set_half_open */
} td_iostream_options;

#ifndef __cplusplus
#define TD_IOSTREAM(...)                                                                           \
    (&(const td_iostream_options){.size = sizeof(td_iostream_options), __VA_ARGS__})
#else
#define TD_IOSTREAM(...) TD_OPTIONS_OF(td_iostream_options, __VA_ARGS__)
#endif

/*
 * Takes fd over (a socket, connected or to be connected, or an end of a pipe) and makes it
 * non-blocking.  options NULL: the defaults.  NULL, and logged: fd is not open, and stays yours.
 */
TD_API td_iostream *td_iostream_create(int fd, const td_iostream_options *options);

/* Close and free.  Who waits in it is woken with TD_ECLOSED.  NULL inside is harmless. */
TD_API void td_iostream_destroy(td_iostream **stream);

/*
 * What was written and not sent is lost: flush first.  A second time does nothing.
 *
 * What was sent may be lost, too, when the other side has sent what we have not read: the system
 * answers with a reset.  So a stream whose client has come to us (td_detach, an own protocol)
 * lingers: our side ends, what comes is dropped until the client ends as well, for 2 s and 16 MiB at
 * most.  Of others: td_iostream_shutdown, and read on.
 */
TD_API void td_iostream_close(td_iostream *stream);
TD_API bool td_iostream_is_closed(const td_iostream *stream);

/* Why it closed: 0 (it did not, or the end was orderly), -errno, TD_ETOOBIG. */
TD_API int td_iostream_error(const td_iostream *stream);
TD_API int td_iostream_fd(const td_iostream *stream); /* to look at; -1 once closed */
TD_API void td_iostream_set_timeout(td_iostream *stream, int64_t timeout_ms); /* 0: none */

/*
 * With half_open the end of the other side (its shutdown, close_notify of TLS) ends reading and not
 * the stream: what has come can still be read, a read that needs more says TD_ECLOSED, and writing
 * goes on.  It closes when we have ended, too: td_iostream_shutdown, td_iostream_close.  To be said
 * before the end comes.
 *
 * One who has ended and one who has gone look alike until we write to them: -EPIPE, -ECONNRESET.
 * While nothing is written nobody notices, so have a time of your own for it.  An end of TLS that is
 * not announced is TD_ETRUNCATED and closes as ever.
 */
TD_API void td_iostream_set_half_open(td_iostream *stream, bool half_open);

/*
 * fn(arg) on a coroutine, once, when it closes for whatever reason but destroy, after the reads
 * that were pending were told; if it is closed already, in the next iteration.  In the place of the
 * one before; NULL: none any more.  While nothing is read, up to 64 KiB are received ahead to notice
 * the end, and can be read after it.
 */
TD_API int td_iostream_set_close_callback(td_iostream *stream, td_callback_fn *fn, void *arg);

/* Wait until fd, a fresh socket, is connected.  On failure the stream is closed. */
TD_API int td_iostream_connect(td_iostream *stream, const struct sockaddr *address, socklen_t len);

/*
 * Speak TLS from now on, as a client: at once, or after what a protocol says in the clear
 * (STARTTLS).  Waits for the end of the handshake.  options NULL: as usual, but server_hostname has
 * to be said unless no_validate_cert is.  Nothing may be being read or written (TD_EINVAL).
 *
 * Else the stream is closed by a failure, and td_iostream_error_text says more than the number:
 * TD_ECERTIFICATE ("certificate has expired", "hostname mismatch", "self-signed certificate"),
 * TD_ETLS, TD_ECONFIG (a file cannot be used), TD_EBADMSG (bytes came in the clear ahead of it,
 * which somebody in between may have put there), TD_ETIMEDOUT, TD_ECLOSED, -errno.
 *
 * Afterwards reads and writes are as before.  An end that the other side has not announced is an
 * error, TD_ETRUNCATED, for td_iostream_read_until_close, too; td_iostream_close announces ours, if
 * the system takes that at once: td_iostream_shutdown does, and td_iostream_flush waits for it.
 */
TD_API int td_iostream_start_tls(td_iostream *stream, const td_ssl_options *options);

/* td_strerror of td_iostream_error and, of TLS, the reason; valid until destroy. */
TD_API const char *td_iostream_error_text(const td_iostream *stream);

/*
 * ---- reading.  *out is the stream's own, has a NUL behind it, and is valid until the next read.
 */

/* Exactly count bytes (0..max_buffer); none are there at once, as in a message without a body. */
TD_API int td_iostream_read_bytes(td_iostream *stream, size_t count, td_str *out);

/* What there is, at least one byte (of count 0 none, at once) and at most count. */
TD_API int td_iostream_read_partial(td_iostream *stream, size_t count, td_str *out);

/*
 * All up to and including marker (1..16 bytes), size_max bytes at most (0: max_buffer); with more
 * than that before it the stream closes with TD_ETOOBIG.
 */
TD_API int td_iostream_read_until(td_iostream *stream, td_str marker, size_t size_max, td_str *out);

/* The same up to the end of the first match of a PCRE2 regular expression. */
TD_API int td_iostream_read_until_regex(td_iostream *stream, const char *regex, size_t size_max,
                                        td_str *out);

/*
 * All until the other side closes, which is success here; beyond size_max (0: max_buffer)
 * TD_ETOOBIG.
 */
TD_API int td_iostream_read_until_close(td_iostream *stream, size_t size_max, td_str *out);

/*
 * Straight into memory of yours, past the buffer: size bytes (0..) or, partial, at least one.
 * Returns how many, or an error; what came before an error is lost.  Cancelled, it writes no more
 * to `to`.
 */
TD_API ssize_t td_iostream_read_into(td_iostream *stream, void *to, size_t size, bool partial);

/*
 * The same reads without waiting, as futures whose result is a const td_str *, valid as *out above.
 */
typedef enum td_iostream_until {
    TD_UNTIL_BYTES, TD_UNTIL_PARTIAL, TD_UNTIL_MARKER, TD_UNTIL_REGEX, TD_UNTIL_CLOSE,
} td_iostream_until;

typedef struct td_iostream_read {
    size_t size TD_ZERO; /* of the struct; set by TD_READ_UNTIL */
    td_iostream_until until TD_ZERO;
    size_t count TD_ZERO; /* of bytes and partial; of the others size_max */
    td_str marker TD_ZERO;
    const char *regex TD_ZERO;
} td_iostream_read;

#ifndef __cplusplus
#define TD_READ_UNTIL(until_, ...)                                                                 \
    (&(const td_iostream_read){                                                                    \
        .size = sizeof(td_iostream_read), .until = (until_), __VA_ARGS__})
#else
#define TD_READ_UNTIL(until_, ...)                                                                 \
    TD_OPTIONS_OF(td_iostream_read, .until = (until_), __VA_ARGS__)
#endif

TD_API td_future *td_iostream_read_future(td_iostream *stream, const td_iostream_read *what);

/* ---- writing */

/*
 * Send, or keep (copied) what the kernel does not take now.  Never waits.  TD_ETOOBIG, and nothing
 * is kept: more than max_write_buffer would wait.  Before connect has ended it is kept for then.
 */
TD_API int td_iostream_write(td_iostream *stream, td_str bytes);

/*
 * Wait until all that was written, and the end if td_iostream_shutdown was called, is with the
 * kernel.  Now and then it waits for nothing but that others have had their turns, as reads do that
 * follow each other.
 */
TD_API int td_iostream_flush(td_iostream *stream);

/*
 * We send no more: when all that was written is with the kernel the other side is told (of TLS by
 * close_notify), and reading goes on.  Never waits.  To write afterwards is misuse, to call it twice
 * is not.  The stream closes when the other side has ended, too, and that was read; of a pipe that
 * is written, at once.
 *
 * To say all and hear the answer: td_iostream_write, td_iostream_shutdown,
 * td_iostream_read_until_close.  A peer with TLS 1.2 may take it for the end of both sides (RFC 5246
 * section 7.2.1).
 */
TD_API int td_iostream_shutdown(td_iostream *stream);

#endif
