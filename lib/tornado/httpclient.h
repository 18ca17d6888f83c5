/*
 * Requests to other servers (Tornado's AsyncHTTPClient).
 *
 *     td_response *answer = td_fetch(h, "http://127.0.0.1:9000/slow", NULL); // others are served
 *
 *     if (answer == NULL)
 *         td_raise(h, 502, "upstream: %s", td_error_text(h));
 *     td_write(h, answer->body);
 *
 * Connections are kept and used again, for requests to the same host and port, for client_lifetime,
 * so that a name that has moved is followed.  A kept one that the server has closed meanwhile is
 * noticed, one that it is about to close is not used (Keep-Alive: timeout=5), and a request that
 * meets the end on its way and may be repeated is, once.  At most
 * max_clients requests of a worker are under way, others wait in line.  What servers answer is read
 * as strictly as what clients ask.  Cookies are not kept.
 *
 * https asks for a certificate that proves the host of the URL, see <tornado/ssl.h>.
 */
#ifndef TORNADO_HTTPCLIENT_H
#define TORNADO_HTTPCLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/future.h>
#include <tornado/handler.h>
#include <tornado/iostream.h>
#include <tornado/metrics.h>
#include <tornado/ssl.h>
#include <tornado/str.h>

/* Where a request has got to. */
typedef enum td_fetch_phase {
    TD_FETCH_ASKED,   /* it cannot be sent at all: URL, method, headers */
    TD_FETCH_QUEUED,  /* it waits for others */
    TD_FETCH_CONNECT, /* name and connection */
    TD_FETCH_SEND,
    TD_FETCH_HEAD, /* of the response */
    TD_FETCH_BODY,
    TD_FETCH_DONE,
    TD_FETCH_PROXY, /* behind TD_FETCH_CONNECT: the proxy is asked for a tunnel */
    TD_FETCH_TLS,   /* behind both: the handshake */
} td_fetch_phase;

/* A request under way whose bodies are read and written piece by piece: see td_fetch_open. */
typedef struct td_fetch_stream td_fetch_stream;

typedef td_header_line td_fetch_header;

typedef struct td_fetch_options {
    size_t size TD_ZERO;        /* of the struct; set by TD_FETCH */
    const char *method TD_ZERO; /* NULL: GET */
    /* Those to send beside Host, User-Agent, Accept-Encoding and Content-Length, or in place of the
       first three. */
    const td_fetch_header *headers TD_ZERO;
    size_t headers_count TD_ZERO;
    td_str body TD_ZERO; /* the null string: none, which POST, PUT and PATCH may not and others have to have */
    bool allow_nonstandard_methods TD_ZERO; /* any method, with a body or without */
    int64_t connect_timeout_ms TD_ZERO;     /* 0: 20 s; -1: none but request_timeout_ms */
    int64_t request_timeout_ms TD_ZERO;     /* of it all, redirects excepted: 0: 20 s; -1: none */
    int max_redirects TD_ZERO;              /* to follow; 0: 5; -1: none */
    const char *user_agent TD_ZERO;         /* NULL: tornadod/VERSION; "": none */
    int64_t max_body_size TD_ZERO; /* bytes of the response, inflated; 0: 16 MiB, of one that is read
                                      piece by piece any */
    bool no_decompress TD_ZERO;             /* do not ask for gzip, do not inflate it */
    bool expect_100_continue TD_ZERO; /* the body is sent when the server says so, or nothing for 1 s */
    /* Basic; before those of the URL; no colon in the name. */
    const char *auth_username TD_ZERO, *auth_password TD_ZERO;
    const char *unix_socket TD_ZERO;    /* path of the socket where the URL's server listens */
    const char *source_address TD_ZERO; /* a number: the address to connect from */
    bool no_keep_alive TD_ZERO;         /* a connection of its own */

    /*
     * Tornado's callbacks, in the order below and with callback_arg, on the coroutine that fetches,
     * so they may wait: what they do not take stays with the server.  They hear of the last answer
     * alone, not of redirects that are followed.
     *
     * body_producer calls td_fetch_write for each piece (and nothing else of the stream, which ends
     * with td_fetch) and returns 0, or a negative error that ends the request; a redirect that
     * keeps the body calls it again.  header_callback gets each line of the head: the status line,
     * the fields, and the empty one, with their CRLF.  streaming_callback gets the body;
     * td_response.body is empty then.
     */
    int (*body_producer)(td_fetch_stream *stream, void *arg) TD_ZERO;
    void (*header_callback)(td_str line, void *arg) TD_ZERO;
    void (*streaming_callback)(td_str piece, void *arg) TD_ZERO;
    void *callback_arg TD_ZERO;

    bool stream_body TD_ZERO;       /* the body comes by td_fetch_write: for td_fetch_open alone */
    int64_t content_length TD_ZERO; /* bytes of a body that is produced or streamed; 0: it is sent in
                                       chunks */

    /* Of https. */
    bool no_validate_cert TD_ZERO;                /* believe any certificate */
    const char *ca_certs TD_ZERO;                 /* file or directory of the CAs to trust */
    const char *client_cert TD_ZERO, *client_key TD_ZERO; /* files: ours, and its key if it is elsewhere */
    const td_ssl_options *ssl_options TD_ZERO;    /* in the place of these four; NULL: these */

    /*
     * A proxy: asked for the whole URL if that is http, and for a tunnel (CONNECT) if it is https.
     * The credentials are for it alone.  Unsaid, it is that of the settings (client_proxy of
     * [tornadod]) with its own, for servers that are not in client_no_proxy; each redirect is
     * looked at anew.
     */
    const char *proxy_host TD_ZERO; /* NULL: that of the settings, or none; "": none */
    uint16_t proxy_port TD_ZERO;
    const char *proxy_username TD_ZERO, *proxy_password TD_ZERO;

    const char *upgrade TD_ZERO; /* the protocol to go on with ("websocket"), if the server will: see
                                    td_fetch_detach; of a request without a body, by td_fetch_open */

    /*
     * Gauges of the caller's (TD_GAUGE), which the connections that are opened for its requests are
     * told by: all that are open, in use or kept; and those that are kept for the next request, be
     * it of another handler.
     */
    td_metric *connections TD_ZERO, *connections_kept TD_ZERO;

    int family TD_ZERO; /* AF_INET or AF_INET6: connect to addresses of that one alone; 0: both */
} td_fetch_options;

#ifndef __cplusplus
#define TD_FETCH(...)                                                                              \
    (&(const td_fetch_options){.size = sizeof(td_fetch_options), __VA_ARGS__})
/* TD_FETCH(.method = "HEAD", TD_FETCH_HEADERS({"Accept", "text/plain"}, {"X-A", "b"})) */
#define TD_FETCH_HEADERS(...)                                                                      \
    .headers = (const td_fetch_header[]){__VA_ARGS__},                                             \
    .headers_count = sizeof((const td_fetch_header[]){__VA_ARGS__}) / sizeof(td_fetch_header)
#else /* headers: an array of one's own, and its count */
#define TD_FETCH(...) TD_OPTIONS_OF(td_fetch_options, __VA_ARGS__)
#endif

typedef struct td_response { /* all of it in the memory of the request that asked */
    size_t size;
    int status;       /* 200..599 of the server; 599 and error != 0: there is no answer */
    td_str reason;    /* "OK"; without an answer the sentence that says why */
    const td_fetch_header *headers; /* as they came */
    size_t headers_count;
    td_str body;          /* inflated */
    td_str effective_url; /* after redirects */
    int redirects;
    int error;            /* 0, or why there is no answer */
    td_fetch_phase phase; /* TD_FETCH_DONE, or where it ended */
    bool is_stale;        /* see td_error_is_stale */

    /*
     * Seconds that it took, connecting and the end of the body included; without the wait for a
     * place among max_clients, and after redirects only of the last one (as in Tornado).  Of a
     * td_fetch_stream that has not come to its end: 0.
     */
    double request_time;
} td_response;

/*
 * Wait for the answer; any status is one, also 404 and 500.  options NULL: as usual.  NULL: there
 * is none, td_error_text(h) and td_error_code(h) say why: -ECONNREFUSED, TD_ENOTFOUND, TD_ETIMEDOUT
 * ("Timeout in request queue", "Timeout while connecting", "Timeout during TLS handshake", "Timeout
 * during request"), TD_EBADMSG, TD_ETOOBIG, TD_ECLOSED; TD_ECERTIFICATE ("TLS handshake: ...:
 * certificate has expired"), TD_ETLS and TD_ECONFIG as of td_iostream_start_tls, TD_ETRUNCATED (a
 * body without a length has ended, but TLS has not), TD_EPROXY ("proxy: 407 ..."); TD_EINVAL when
 * it is not one that can be sent.
 *
 * Redirects are followed as browsers do: 303, and 301 and 302 of a POST, by a GET without a body.
 * To another scheme, host or port Authorization, Cookie and the like do not go along.  When there
 * were max_redirects the last one is the answer.
 */
TD_API td_response *td_fetch(td_handler *h, const char *url, const td_fetch_options *options);

/*
 * The same without waiting; url and options are copied, but for the body and what pointers in them
 * point at, which have to live on.  The result is a td_response *, also without an answer (status
 * 599), and h is kept until it is there.
 */
TD_API td_future *td_fetch_future(td_handler *h, const char *url, const td_fetch_options *options);

/* ---- piece by piece
 *
 *     td_fetch_stream *stream = td_fetch_open(h, url, TD_FETCH(.method = "PUT", .stream_body =
 * true));
 *
 *     while ((n = td_read_body(h, &data)) > 0 && td_fetch_write(stream, data) == 0)
 *         ;
 *     td_fetch_end(stream);
 *     if ((answer = td_fetch_head(stream)) == NULL)
 *         td_raise(h, 502, "upstream: %s", td_error_text(h));
 *     while ((n = td_fetch_read(stream, &data)) > 0) {
 *         td_write(h, data);
 *         td_flush(h);
 *     }
 *     td_fetch_close(&stream);
 *
 * Bodies of any size take no more than some 200 KiB of memory: what is not read stays with the
 * server, and writing waits until the server takes it.  Here request_timeout_ms is the longest wait
 * for the server: for it to take what is written, for its head, for the next bytes; what the caller
 * takes between is not counted, and each piece that is written gives it its time anew.  One coroutine may write while another one reads; two that write, or
 * two that read, are told TD_EINVAL, and so is who asks for the head while the first piece waits for
 * 100 (expect_100_continue; beside one that has asked before it does not wait).  One that is
 * cancelled while it writes has left half a piece behind: nothing more can be written then.
 *
 * A step that is not its turn (a body that is written and none was announced, or after its end; a
 * body that is read before the head) is TD_EINVAL, or NULL, and logged; the request goes on.
 *
 * A stream belongs to the coroutine that has opened it, and is closed when that ends, however it
 * ends.
 */

/*
 * Connect, and send the head of the request; and its body, or with stream_body nothing of it.  NULL
 * as of td_fetch.
 */
TD_API td_fetch_stream *td_fetch_open(td_handler *h, const char *url,
                                      const td_fetch_options *options);

/*
 * Send some of the body; returns when the kernel has it.  1: the server has answered already, or
 * has closed while another coroutine waits for its answer, and will be told; the rest need not be
 * sent, so nothing was.  Or an error, as of td_fetch: more than content_length, by which the
 * request fails, is TD_EINVAL.
 */
TD_API int td_fetch_write(td_fetch_stream *stream, td_str bytes);

/*
 * The body of the request is complete (one of content_length bytes is when they are written, one
 * that is not streamed from the beginning).  As of td_fetch_write: less than content_length is
 * TD_EINVAL.
 */
TD_API int td_fetch_end(td_fetch_stream *stream);

/*
 * The head of the answer, with an empty body; waits for it, and follows redirects unless the body
 * was streamed.  NULL as of td_fetch.  A second time: the same one.
 */
TD_API td_response *td_fetch_head(td_fetch_stream *stream);

/*
 * The next bytes of the answer's body, inflated, at most 64 KiB, valid until the next call.
 * Returns how many, 0 at the end and ever after, when the connection serves others already, or an
 * error, as of td_fetch: TD_ECLOSED says that it was cut off, or closed by td_fetch_close.
 *
 * A failure is that of the whole answer, and stays: what td_fetch_head gave has the status 599 from
 * then on, the sentence that says why as its reason, and no headers; the next calls say it again,
 * td_fetch_head NULL.  What has to be known of it afterwards is to be kept before.
 */
TD_API int td_fetch_read(td_fetch_stream *stream, td_str *data_out);

/*
 * The connection, of which HTTP has ended: behind an answer of 101 to a request with an upgrade,
 * which is an answer only there.  What came behind its head is the first that is read.  It has no
 * time-out, takes no place of max_clients, and is lent by the td_fetch_stream: td_fetch_close
 * destroys it, if td_iostream_destroy has not.  NULL: there is no such answer; before td_fetch_head
 * that is misuse.
 */
TD_API td_iostream *td_fetch_detach(td_fetch_stream *stream);

/* True when td_fetch_read would not wait: what was written so far need not be flushed yet. */
TD_API bool td_fetch_is_ready(td_fetch_stream *stream);

/* What is under way is broken off.  NULL inside is harmless. */
TD_API void td_fetch_close(td_fetch_stream **stream);

/* The value of the first header of that name; the null string: none. */
TD_API td_str td_fetched_header(const td_response *response, const char *name);

/* Of the last td_fetch of this request that had no answer; "", 0 and TD_FETCH_DONE: none. */
TD_API const char *td_error_text(td_handler *h);
TD_API int td_error_code(td_handler *h);
TD_API td_fetch_phase td_error_phase(td_handler *h); /* up to TD_FETCH_CONNECT nothing was sent */

/*
 * It was sent on a connection that was kept, and that ended before anything was answered: as a rule
 * the server had closed it just then, and is well.  It was not sent again, for that might do harm
 * (POST, a body that is gone).
 */
TD_API bool td_error_is_stale(td_handler *h);

#endif
