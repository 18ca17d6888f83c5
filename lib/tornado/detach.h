/*
 * Taking a connection over (Tornado's RequestHandler.detach): after an upgrade, or for a protocol
 * of one's own that begins as a request.
 *
 *     static void
 *     chat(td_handler *h)
 *     {
 *         td_iostream *stream;
 *         td_str line;
 *
 *         if (!td_str_equal(td_request_upgrade(h), TD_STR("chat")))
 *             td_raise(h, 426, NULL);
 *         stream = td_detach(h, TD_DETACH(.upgrade = "chat"));
 *         while (stream != NULL && td_iostream_read_until(stream, TD_STR("\n"), 512, &line) == 0)
 *             td_iostream_write(stream, line);
 *     }
 */
#ifndef TORNADO_DETACH_H
#define TORNADO_DETACH_H

#include <stddef.h>
#include <tornado/abi.h>
#include <tornado/handler.h>
#include <tornado/iostream.h>

typedef struct td_detach_options {
    size_t size TD_ZERO;         /* of the struct; set by TD_DETACH */
    const char *upgrade TD_ZERO; /* send 101 with this Upgrade and the headers that were set; NULL:
                                    nothing is sent, the client gets what the stream is given */
    const td_iostream_options *stream TD_ZERO; /* NULL: as usual, so without a time-out */
} td_detach_options;

#ifndef __cplusplus
#define TD_DETACH(...) (&(const td_detach_options){.size = sizeof(td_detach_options), __VA_ARGS__})
#else
#define TD_DETACH(...) TD_OPTIONS_OF(td_detach_options, __VA_ARGS__)
#endif

/*
 * What the client would like to go on with: the value of Upgrade.  The null string: it does not ask
 * (no Upgrade, or no "Connection: upgrade"), or in HTTP/1.0, where that counts for nothing (RFC
 * 9110 section 7.8).  Not to obey is always right.
 */
TD_API td_str td_request_upgrade(td_handler *h);

/*
 * End the response, and HTTP on this connection: what the client has sent behind its request is the
 * first that the stream reads, answers to earlier requests leave before what is written to it.
 * Waits a moment, so it is for the methods of the handler (prepare and a middleware too).
 *
 * NULL: the client has gone.  Or misuse, which is logged: after the first flush or td_write, a
 * second time, with a body that was not read to its end, an upgrade in HTTP/1.0.
 *
 * From now on no time-out of HTTP counts and td_raise leaves without a page.  The method goes on as
 * after td_finish.  The stream is destroyed when the request is over: when the method has returned
 * and on_finish was called, however they ended, or with the last td_handler_unref;
 * td_iostream_destroy may come earlier.  Either loses what was not flushed.  Until it closes, and
 * while it lingers (td_iostream_close), the connection counts for max_connections, and a drain waits
 * for it (see TD_EDRAINING in <tornado/iostream.h>).  The access log has the request when it is
 * detached: with 101, or the status that was set.
 */
TD_API td_iostream *td_detach(td_handler *h, const td_detach_options *options);

#endif
