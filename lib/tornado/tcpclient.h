/*
 * Connections to other servers (Tornado's TCPClient).
 *
 *     td_iostream *stream;
 *     int rc = td_tcpclient_connect("db.internal", 5432, TD_CONNECT(.timeout_ms = 2000), &stream);
 *
 * A name that has several addresses is tried the way of RFC 8305 ("Happy Eyeballs"): in turn of
 * IPv6 and IPv4, the next one as soon as the one before has failed or after 250 ms, whichever is
 * first; the first that is connected wins and the others are closed.
 */
#ifndef TORNADO_TCPCLIENT_H
#define TORNADO_TCPCLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/error.h>
#include <tornado/future.h>
#include <tornado/iostream.h>
#include <tornado/ssl.h>

typedef struct td_connect_options {
    size_t size TD_ZERO;                  /* of the struct; set by TD_CONNECT */
    int64_t timeout_ms TD_ZERO;           /* of all of it, the name too; 0: 20 s */
    int family TD_ZERO;                   /* AF_INET or AF_INET6; 0: both */
    const char *source_address TD_ZERO;   /* a number: the address to connect from; NULL: any */
    uint16_t source_port TD_ZERO;         /* of source_address; 0: any */
    const td_iostream_options *stream TD_ZERO; /* of the stream that comes of it; NULL: as usual */
    const td_ssl_options *ssl_options TD_ZERO; /* NULL: no TLS.  timeout_ms is that of the handshake, too */
    td_err *err TD_ZERO; /* NULL, or where a failure is told in words, too; has to live until then */
} td_connect_options;

#ifndef __cplusplus
#define TD_CONNECT(...)                                                                            \
    (&(const td_connect_options){.size = sizeof(td_connect_options), __VA_ARGS__})
#else
#define TD_CONNECT(...) TD_OPTIONS_OF(td_connect_options, __VA_ARGS__)
#endif

/*
 * Wait for a connection with host (a name or a number, or "unix:/path", then port means nothing).
 * 0 and a stream of yours (td_iostream_destroy), or what td_resolve says, the error of the address
 * that failed last (-ECONNREFUSED), or TD_ETIMEDOUT; with ssl_options also what
 * td_iostream_start_tls says, of which err has the reason.  When source_address cannot be had that
 * is said at once (-EADDRNOTAVAIL).  What is cancelled leaves nothing open.
 */
TD_API int td_tcpclient_connect(const char *host, uint16_t port, const td_connect_options *options,
                                td_iostream **out);

/*
 * The same without waiting.  The result is a td_iostream * of whoever looks at it.  What pointers
 * in ssl_options point at has to live until then.
 */
TD_API td_future *td_tcpclient_connect_future(const char *host, uint16_t port,
                                              const td_connect_options *options);

#endif
