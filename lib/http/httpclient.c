/*
 * td_http_client: a request is straight-line code on the coroutine that asks.
 *
 * A `td_fetch_stream` has all that a request holds: its place among max_clients, its connection, its
 * buffers.  It is a variable with a cleanup, so a cancelled coroutine gives all of it back while it
 * unwinds.  A redirect is a request of its own, with a place and a connection of its own.
 *
 * A connection is kept (upstream.h) when both sides agree and the response had an end before the
 * connection's: nothing behind it has come.
 *
 * There is one way through a request, in three steps: it is begun (its head is sent), the head of the
 * answer comes, its body comes.  td_fetch takes them all, a td_fetch_stream one at a time.
 */
#include "http/httpclient.h"

#include <errno.h>
#include <string.h>
#include <tornado/coroutine.h>
#include <tornado/iostream.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/escape.h"
#include "base/log.h"
#include "base/put.h"
#include "http/origin.h"
#include "http/parser.h"
#include "http/responsebody.h"
#include "http/responsehead.h"
#include "http/upstream.h"
#include "http/uri.h"
#include "io/call.h"
#include "io/ioloop.h"
#include "io/iostream_internal.h"
#include "io/tls.h"
#include "io/waiters.h"

#define TIMEOUT_DEFAULT_MS 20000
#define CONTINUE_WAIT_MS 1000 /* RFC 9110 section 10.1.1: not for ever */
#define REDIRECTS_DEFAULT 5
#define BODY_MAX_DEFAULT (INT64_C(16) << 20)
#define INTERIM_MAX 16            /* 1xx responses in front of one */
#define PIECE ((size_t)64 * 1024) /* read or written at once */
#define USER_AGENT "tornadod/" TD_VERSION

static td_http_client_options settings = {
    .max_clients = 1000, .idle_max = 200, .idle_origin_max = 50, .idle_timeout_ms = 60000};

static __thread struct client {
    bool is_open;
    size_t active;
    td_waiters queue;
    td_upstreams kept;
} client __attribute__((tls_model("initial-exec")));

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
    bool is_foreign;     /* a redirect has led to another origin: no credentials */
    bool lost_body;      /* a redirect has made a GET of it */
    td_origin origin;

    int64_t deadline_ns; /* INT64_MAX: none */
    bool has_place, awaits_place; /* among max_clients */
    td_upstream *upstream;
    bool may_keep;
    bool is_answered; /* the first byte of a response has come */

    uint64_t unwritten;    /* of content_length */
    bool body_is_complete; /* of the request: all of it was given to the stream */
    bool expects_continue; /* the body waits for the server to say so */
    bool is_reading;       /* a coroutine waits for the answer, or has got it */
    bool is_producing;     /* body_producer runs */
    bool is_in_write;      /* a coroutine does, or was cancelled in the middle: half a piece is out */
    bool is_in_read;       /* a coroutine waits for the head, or for more of the body */

    bool has_head; /* of the answer proper */
    int interims;  /* 1xx responses in front of it */
    td_response_head response;
    td_response_body body_in;
    td_str ahead;  /* a piece of the body that is_ready has found; or what it has come to: */
    int ahead_rc;  /* 1, an error, or 0: nothing */
    bool is_over;  /* all of the answer was read and the connection given back, or it is closed */

    td_buf sent, head, received; /* what is sent; a head that comes; the body, or what was inflated */
    td_str rest;                 /* received and not used yet */
};

void
td_http_client_configure(const td_http_client_options *wanted)
{
    settings = *wanted;
}

/* ---- how it fails */

static int
fail(td_fetch_stream *f, int error, const char *format, ...) TD_PRINTF(3, 4);

static int
fail(td_fetch_stream *f, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    f->out->reason = td_arena_vsprintf(f->arena, format, args);
    va_end(args);
    f->out->error = error;
    return error;
}

/* With whom: whoever reads the log may not have the source. */
static int
fail_connecting(td_fetch_stream *f, int error, const char *text)
{
    const td_origin *to = &f->origin;

    if (error == TD_ENOTFOUND)
        text = "there is no such host";
    if (to->unix_socket != NULL)
        return fail(f, error, "connecting to unix:%s: %s", to->unix_socket, text);
    if (to->proxy_host != NULL)
        return fail(f, error, "connecting to the proxy %s:%u: %s", to->proxy_host,
                    (unsigned)to->proxy_port, text);
    return fail(f, error, "connecting to %s:%u: %s", to->host, (unsigned)to->port, text);
}

/* A wait has ended badly; in words, when there are more than those of the number. */
static int
fail_saying(td_fetch_stream *f, int error, const char *text)
{
    static const char *const late[] = {
        [TD_FETCH_QUEUED] = "Timeout in request queue",
        [TD_FETCH_CONNECT] = "Timeout while connecting",
        [TD_FETCH_PROXY] = "Timeout while connecting through the proxy",
        [TD_FETCH_TLS] = "Timeout during TLS handshake",
        [TD_FETCH_SEND] = "Timeout during request",
        [TD_FETCH_HEAD] = "Timeout during request",
        [TD_FETCH_BODY] = "Timeout during request",
    };
    static const char *const doing[] = {
        [TD_FETCH_QUEUED] = "waiting for others",
        [TD_FETCH_PROXY] = "proxy",
        [TD_FETCH_TLS] = "TLS handshake",
        [TD_FETCH_SEND] = "sending the request",
        [TD_FETCH_HEAD] = "waiting for the response",
        [TD_FETCH_BODY] = "receiving the body",
    };
    const td_fetch_phase phase = f->out->phase;

    if (error == TD_ETIMEDOUT)
        return fail(f, error, "%s", late[phase]);
    if (phase == TD_FETCH_CONNECT)
        return fail_connecting(f, error, text);
    return fail(f, error, "%s: %s", doing[phase], text);
}

static int
fail_waiting(td_fetch_stream *f, int error)
{
    const td_iostream *stream = f->upstream != NULL ? f->upstream->stream : NULL;

    return fail_saying(f, error,
                       td_iostream_error(stream) == error ? td_iostream_error_text(stream)
                                                          : td_strerror(error));
}

/* ---- time */

static int64_t
deadline_in(int64_t timeout_ms)
{
    const int64_t now_ns = td_clock_ns();

    if (timeout_ms == 0)
        timeout_ms = TIMEOUT_DEFAULT_MS;
    return timeout_ms < 0 || timeout_ms > (INT64_MAX - now_ns) / TD_NS_PER_MS
               ? INT64_MAX
               : now_ns + timeout_ms * TD_NS_PER_MS;
}

/* The next wait for the stream is no longer than that. */
static int
limit_wait(td_fetch_stream *f, int64_t deadline_ns)
{
    const int64_t left_ms = td_time_left_ms(deadline_ns);

    if (left_ms < 0)
        return (int)left_ms;
    td_iostream_set_timeout(f->upstream->stream, left_ms);
    return 0;
}

/* ---- the client */

/* Who was let in has not come: its place is free again. */
static void
hand_on(void *arg)
{
    (void)arg;
    client.active--;
    td_gauge_add(&td_gauges->client_active, -1);
    if (td_waiters_any(&client.queue)) {
        client.active++;
        td_gauge_add(&td_gauges->client_active, 1);
        td_waiters_release(&client.queue, 0);
    }
}

static void
open_client(void)
{
    if (client.is_open)
        return;
    client.is_open = true;
    client.active = 0;
    td_waiters_init(&client.queue, hand_on, NULL);
    td_upstreams_init(&client.kept, settings.idle_max, settings.idle_origin_max,
                      settings.idle_timeout_ms);
}

void
td_http_client_close(void)
{
    if (!client.is_open)
        return;
    td_upstreams_fini(&client.kept);
    td_waiters_fini(&client.queue);
    client.is_open = false;
}

size_t
td_http_client_active(void)
{
    return client.active;
}

size_t
td_http_client_idle(void)
{
    return client.kept.count;
}

static void
set_awaits_place(td_fetch_stream *f, bool awaits)
{
    td_gauge_add(&td_gauges->client_queue, awaits - f->awaits_place);
    f->awaits_place = awaits;
}

/* A place among max_clients, first come first served. */
static int
take_place(td_fetch_stream *f)
{
    int64_t connect_ns = deadline_in(f->options->connect_timeout_ms), left_ms;
    int rc = 0;

    f->out->phase = TD_FETCH_QUEUED;
    left_ms = td_time_left_ms(connect_ns < f->deadline_ns ? connect_ns : f->deadline_ns);
    if (left_ms < 0)
        return fail_waiting(f, (int)left_ms);
    if (client.active < settings.max_clients && !td_waiters_any(&client.queue)) {
        client.active++;
        td_gauge_add(&td_gauges->client_active, 1);
    } else {
        set_awaits_place(f, true);
        rc = td_waiters_wait(&client.queue, NULL, left_ms);
        set_awaits_place(f, false);
    }
    f->has_place = rc == 0; /* whoever lets one go has counted it */
    return rc == 0 ? 0 : fail_waiting(f, rc);
}

static void
leave_place(td_fetch_stream *f)
{
    if (f->has_place)
        hand_on(NULL);
    f->has_place = false;
}

/* All but what the response is made of; the connection is of no use any more unless it was kept. */
static void
let_go(td_fetch_stream *f)
{
    td_upstream_destroy(&f->upstream);
    set_awaits_place(f, false); /* it was cancelled there */
    leave_place(f);
    td_response_body_release(&f->body_in);
    td_buf_release(&f->sent);
    td_buf_release(&f->head);
    td_buf_release(&f->received);
    f->rest = td_str_make(NULL, 0);
}

/* ---- the request, as it is asked for */

static const td_fetch_header *
find_asked(const td_fetch_options *options, const char *name)
{
    for (size_t i = 0; i < options->headers_count; i++)
        if (td_str_equal_nocase(td_str_of(options->headers[i].name), td_str_of(name)))
            return &options->headers[i];
    return NULL;
}

static int
check_headers(td_fetch_stream *f)
{
    /* How the message is framed is ours to say. */
    static const char *const ours[] = {"Content-Length", "Transfer-Encoding", "Expect", "Upgrade"};

    for (size_t i = 0; i < f->options->headers_count; i++) {
        const td_fetch_header *header = &f->options->headers[i];

        if (header->name == NULL || header->value == NULL || !td_is_token(td_str_of(header->name)) ||
            !td_is_field_value(td_str_of(header->value)))
            return fail(f, TD_EINVAL, "header %zu is none", i + 1);
    }
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (find_asked(f->options, ours[i]) != NULL)
            return fail(f, TD_EINVAL, "%s is not for the caller to set", ours[i]);
    if (f->options->upgrade != NULL && !td_is_token(td_str_of(f->options->upgrade)))
        return fail(f, TD_EINVAL, "the upgrade is none");
    if (f->options->user_agent != NULL && !td_is_field_value(td_str_of(f->options->user_agent)))
        return fail(f, TD_EINVAL, "the user agent is none");
    return 0;
}

static bool
is_one_of(td_str method, const char *const *methods, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (td_str_equal(method, td_str_of(methods[i])))
            return true;
    return false;
}
#define IS_ONE_OF(method, ...)                                                                     \
    is_one_of(method, (const char *const[]){__VA_ARGS__},                                          \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* The body of the request comes piece by piece. */
static bool
is_streamed(const td_fetch_stream *f)
{
    return (f->options->stream_body || f->options->body_producer != NULL) && !f->lost_body;
}

static int
check_method(td_fetch_stream *f)
{
    const bool wants_body = IS_ONE_OF(f->method, "POST", "PUT", "PATCH");
    const bool has_body = f->body.ptr != NULL || is_streamed(f);
    const bool is_known =
        wants_body || IS_ONE_OF(f->method, "GET", "HEAD", "DELETE", "OPTIONS");

    if (!td_is_token(f->method) || td_str_equal(f->method, TD_STR("CONNECT")))
        return fail(f, TD_EINVAL, "the method is none");
    if (f->body.ptr != NULL && is_streamed(f))
        return fail(f, TD_EINVAL, "a body is given that is to be streamed");
    if (f->options->upgrade != NULL && has_body)
        return fail(f, TD_EINVAL, "an upgrade of a request with a body");
    if (f->options->allow_nonstandard_methods)
        return 0;
    if (!is_known)
        return fail(f, TD_EINVAL, "unknown method %.*s", TD_STR_FMT(f->method));
    if (wants_body != has_body)
        return fail(f, TD_EINVAL, "a body must %sbe given for %.*s", wants_body ? "" : "not ",
                    TD_STR_FMT(f->method));
    return 0;
}

/* Tornado's rule: ssl_options stand for the four others. */
static bool
read_ssl_options(td_fetch_stream *f, td_ssl_options *out)
{
    const td_fetch_options *o = f->options;
    const td_ssl_options four = {.size = sizeof(four), .no_validate_cert = o->no_validate_cert,
                                 .ca_certs = o->ca_certs, .certfile = o->client_cert,
                                 .keyfile = o->client_key};

    if (!td_ssl_options_read(o->ssl_options != NULL ? o->ssl_options : &four, out, "td_fetch"))
        return false;
    if (f->is_foreign) /* who we are is another origin's business as little as our password */
        out->certfile = out->keyfile = out->server_hostname = NULL;
    if (out->server_hostname == NULL)
        out->server_hostname = f->origin.host;
    if (out->alpn == NULL)
        out->alpn = "http/1.1";
    return true;
}

static int
check_url(td_fetch_stream *f)
{
    const td_fetch_options *o = f->options;

    if (!td_uri_parse(f->url, &f->uri))
        return fail(f, TD_EINVAL, "not an http URL: %.*s", TD_STR_FMT(f->url));
    if (o->proxy_host != NULL && (o->proxy_port == 0 || o->unix_socket != NULL))
        return fail(f, TD_EINVAL, "a proxy without a port, or for a unix socket");
    f->origin = (td_origin){.is_https = f->uri.is_https,
                            .host = td_str_dup(f->arena, f->uri.host).ptr,
                            .port = f->uri.port,
                            .unix_socket = o->unix_socket,
                            .source_address = o->source_address,
                            .proxy_host = o->proxy_host,
                            .proxy_port = o->proxy_port,
                            .proxy_username = o->proxy_username,
                            .proxy_password = o->proxy_password};
    if (f->uri.is_https && !read_ssl_options(f, &f->origin.ssl))
        return fail(f, TD_EINVAL, "the TLS options are wrong");
    return 0;
}

/* ---- the request, as it is sent */

static void
add_header(td_fetch_stream *f, const char *name, td_str value)
{
    const td_str name_ = td_str_of(name);
    const size_t size = name_.len + value.len + strlen(": \r\n");
    char *at = td_buf_reserve(&f->sent, size);

    at = td_put(at, name_);
    at = TD_PUT(at, ": ");
    at = td_put(at, value);
    TD_PUT(at, "\r\n");
    td_buf_added(&f->sent, size);
}

static void
add_unless_asked(td_fetch_stream *f, const char *name, td_str value)
{
    if (find_asked(f->options, name) == NULL)
        add_header(f, name, value);
}

/* Authorization: Basic (RFC 7617), of the options or else of the URL. */
static void
add_credentials(td_fetch_stream *f)
{
    const td_fetch_options *o = f->options;
    td_str pair = {NULL, 0};

    if (o->auth_username != NULL && !f->is_foreign)
        pair = td_arena_sprintf(f->arena, "%s:%s", o->auth_username,
                                o->auth_password != NULL ? o->auth_password : "");
    else if (f->uri.user_info.ptr != NULL)
        pair = td_url_unescape(f->arena, f->uri.user_info, false);
    if (pair.ptr == NULL)
        return;
    if (memchr(pair.ptr, ':', pair.len) == NULL)
        pair = td_arena_sprintf(f->arena, "%.*s:", TD_STR_FMT(pair));
    add_header(f, "Authorization", td_basic_credentials(f->arena, pair));
}

/* Some of what was asked for is not for everybody, or not for a request without its body. */
static bool
is_withheld(const td_fetch_stream *f, const char *name)
{
    static const char *const secrets[] = {"Authorization", "Cookie", "Proxy-Authorization"};
    static const char *const of_body[] = {"Content-Type", "Content-Encoding", "Content-Language",
                                          "Content-Location"};
    const bool lost_body = f->out->redirects > 0 && f->body.ptr == NULL && !is_streamed(f);

    for (size_t i = 0; f->is_foreign && i < sizeof(secrets) / sizeof(secrets[0]); i++)
        if (strcasecmp(name, secrets[i]) == 0)
            return true;
    for (size_t i = 0; lost_body && i < sizeof(of_body) / sizeof(of_body[0]); i++)
        if (strcasecmp(name, of_body[i]) == 0)
            return true;
    if (strcasecmp(name, "Proxy-Authorization") == 0 && !td_origin_is_relayed(&f->origin))
        return true;
    return f->out->redirects > 0 && strcasecmp(name, "Host") == 0;
}

static void
append_authority(td_fetch_stream *f)
{
    td_buf_append(&f->sent, f->uri.host);
    if (f->uri.has_port) {
        td_buf_append(&f->sent, TD_STR(":"));
        td_buf_decimal(&f->sent, f->uri.port);
    }
}

static void
add_host(td_fetch_stream *f)
{
    if (find_asked(f->options, "Host") != NULL && f->out->redirects == 0)
        return;
    td_buf_append(&f->sent, TD_STR("Host: "));
    append_authority(f);
    td_buf_append(&f->sent, TD_STR("\r\n"));
}

/* What only the proxy is told. */
static void
add_proxy_credentials(td_fetch_stream *f)
{
    const td_str credentials = td_origin_proxy_credentials(f->arena, &f->origin);

    if (td_origin_is_relayed(&f->origin) && credentials.len > 0)
        add_header(f, "Proxy-Authorization", credentials);
}

static void
add_length(td_fetch_stream *f, uint64_t len)
{
    td_buf_append(&f->sent, TD_STR("Content-Length: "));
    td_buf_decimal(&f->sent, len);
    td_buf_append(&f->sent, TD_STR("\r\n"));
}

/* RFC 9112 section 6: how long the body is, or that it comes in chunks. */
static void
add_body_headers(td_fetch_stream *f)
{
    const uint64_t len = is_streamed(f) ? (uint64_t)f->options->content_length : f->body.len;

    if (td_str_equal(f->method, TD_STR("POST")) && !f->is_pulled)
        add_unless_asked(f, "Content-Type", TD_STR("application/x-www-form-urlencoded"));
    if (is_streamed(f) && len == 0)
        add_header(f, "Transfer-Encoding", TD_STR("chunked"));
    else
        add_length(f, len);
    f->expects_continue = f->options->expect_100_continue && (len > 0 || is_streamed(f));
    if (f->expects_continue)
        add_header(f, "Expect", TD_STR("100-continue"));
}

static void
make_request(td_fetch_stream *f)
{
    const td_fetch_options *o = f->options;

    td_buf_append(&f->sent, f->method);
    td_buf_append(&f->sent, TD_STR(" "));
    if (td_origin_is_relayed(&f->origin)) { /* absolute-form */
        td_buf_append(&f->sent, TD_STR("http://"));
        append_authority(f);
    }
    td_buf_append(&f->sent, f->uri.path);
    if (f->uri.query.ptr != NULL) {
        td_buf_append(&f->sent, TD_STR("?"));
        td_buf_append(&f->sent, f->uri.query);
    }
    td_buf_append(&f->sent, TD_STR(" HTTP/1.1\r\n"));
    add_host(f);
    for (size_t i = 0; i < o->headers_count; i++)
        if (!is_withheld(f, o->headers[i].name))
            add_header(f, o->headers[i].name, td_str_of(o->headers[i].value));
    if (o->user_agent == NULL || o->user_agent[0] != '\0')
        add_unless_asked(f, "User-Agent",
                         td_str_of(o->user_agent != NULL ? o->user_agent : USER_AGENT));
    if (!o->no_decompress)
        add_unless_asked(f, "Accept-Encoding", TD_STR("gzip"));
    if (o->upgrade != NULL) {
        add_header(f, "Connection", TD_STR("Upgrade"));
        add_header(f, "Upgrade", td_str_of(o->upgrade));
    } else if (o->no_keep_alive) {
        add_unless_asked(f, "Connection", TD_STR("close"));
    }
    if (find_asked(o, "Authorization") == NULL || f->is_foreign)
        add_credentials(f);
    add_proxy_credentials(f);
    if (f->body.ptr != NULL || is_streamed(f))
        add_body_headers(f);
    td_buf_append(&f->sent, TD_STR("\r\n"));
}

/* ---- connecting and sending */

static int
connect_anew(td_fetch_stream *f, td_str key)
{
    const int64_t connect_ns = deadline_in(f->options->connect_timeout_ms);
    td_iostream *stream;
    td_err err = {0};
    const int rc = td_origin_connect(&f->origin, f->arena,
                                     connect_ns < f->deadline_ns ? connect_ns : f->deadline_ns,
                                     &f->out->phase, &stream, &err);

    if (rc < 0)
        return fail_saying(f, rc, err.text);
    f->upstream = td_upstream_create(stream, key);
    return 0;
}

static int
open_upstream(td_fetch_stream *f, bool from_kept)
{
    const td_str key = td_origin_key(f->arena, &f->origin);

    f->out->phase = TD_FETCH_CONNECT;
    f->may_keep = !f->options->no_keep_alive && f->options->source_address == NULL &&
                  find_asked(f->options, "Connection") == NULL;
    if (from_kept && f->may_keep)
        f->upstream = td_upstreams_take(&client.kept, key);
    return f->upstream != NULL ? 0 : connect_anew(f, key);
}

/* ---- receiving */

/* When the next wait for the server ends: of a caller that takes steps, each has its own time. */
static int64_t
wait_until(const td_fetch_stream *f)
{
    return f->is_pulled ? deadline_in(f->options->request_timeout_ms) : f->deadline_ns;
}

/* More bytes in f->rest.  TD_ECLOSED: there is no more; for the caller to say what that means. */
static int
receive(td_fetch_stream *f, int64_t deadline_ns)
{
    const int rc = limit_wait(f, deadline_ns);

    if (rc < 0)
        return rc;
    return td_iostream_read_partial(f->upstream->stream, PIECE, &f->rest);
}

/* A NUL behind each name and value: what stood there has been looked at. */
static void
terminate(td_str s)
{
    ((char *)(uintptr_t)s.ptr)[s.len] = '\0';
}

static int
read_head(td_fetch_stream *f, size_t len, const char **what)
{
    const td_str head = td_str_dup(f->arena, td_str_make(td_buf_str(&f->head).ptr, len));
    const int rc = td_response_head_read(head, f->arena, &f->response, what);

    if (rc < 0)
        return rc;
    terminate(f->response.reason);
    for (size_t i = 0; i < f->response.headers.count; i++) {
        terminate(f->response.headers.items[i].name);
        terminate(f->response.headers.items[i].value);
    }
    return 0;
}

/* One head, of an interim response too, that begins by then; what is behind it is in f->rest. */
static int
receive_head(td_fetch_stream *f, int64_t begin_ns)
{
    const int64_t end_ns = wait_until(f);
    td_response_scan scan = {0};
    const char *what = NULL;
    ssize_t len = 0;
    int rc;

    f->out->phase = TD_FETCH_HEAD;
    f->head.start = f->head.len = 0;
    while (len == 0) {
        const size_t had = f->head.len;

        if (f->rest.len == 0 && (rc = receive(f, had == 0 ? begin_ns : end_ns)) < 0)
            return rc;
        f->is_answered = true;
        td_buf_append(&f->head, f->rest);
        len = td_response_head_scan(&scan, td_buf_str(&f->head), &what);
        if (len > 0)
            f->rest = td_str_make(f->rest.ptr + ((size_t)len - had),
                                  f->rest.len - ((size_t)len - had));
        else
            f->rest = td_str_make(NULL, 0);
    }
    if (len > 0)
        len = read_head(f, (size_t)len, &what) < 0 ? TD_EBADMSG : len;
    return len < 0 ? fail(f, (int)len, "response: %s", what) : 0;
}

/* RFC 9110 section 7.8: the server may go on with what it was asked for, and with nothing else. */
static bool
is_upgraded(const td_fetch_stream *f)
{
    const td_header *upgrade = td_headers_find(&f->response.headers, TD_STR("Upgrade"));

    return f->response.status == 101 && f->options->upgrade != NULL && upgrade != NULL &&
           td_str_equal_nocase(upgrade->value, td_str_of(f->options->upgrade));
}

/* The next head: 1 when it is that of the answer proper, 0 when there is another one to come. */
static int
next_head(td_fetch_stream *f, int64_t begin_ns)
{
    const int rc = receive_head(f, begin_ns);

    if (rc < 0)
        return rc;
    if (f->response.status == 101 && !is_upgraded(f))
        return fail(f, TD_EBADMSG, "response: 101, which nobody has asked for");
    f->has_head = f->response.status >= 200 || f->response.status == 101;
    if (!f->has_head && ++f->interims > INTERIM_MAX)
        return fail(f, TD_EBADMSG, "response: too many interim ones");
    return f->has_head;
}

/*
 * RFC 9110 section 10.1.1: until the server wants the body, or says nothing for a while.  0, or 1 when
 * it has answered instead, or an error.
 */
static int
await_continue(td_fetch_stream *f)
{
    const int64_t soon_ns = deadline_in(CONTINUE_WAIT_MS), end_ns = wait_until(f);
    int rc;

    f->expects_continue = false;
    do
        rc = next_head(f, soon_ns < end_ns ? soon_ns : end_ns);
    while (rc == 0 && f->response.status != 100);
    if (rc == TD_ETIMEDOUT && soon_ns < end_ns && f->head.len == 0)
        return 0;
    return rc < 0 && f->out->error == 0 ? fail_waiting(f, rc) : rc;
}

/* ---- sending: 0, 1 when the server has answered already, or an error */

/* Something has come while we send: the answer, or an interim one. */
static int
look_at_input(td_fetch_stream *f)
{
    const int rc = next_head(f, wait_until(f));

    f->out->phase = TD_FETCH_SEND;
    return rc < 0 && f->out->error == 0 ? fail_waiting(f, rc) : rc;
}

/* Wait until the kernel has it all. */
static int
flush_sent(td_fetch_stream *f)
{
    int rc = 0;

    while (rc == 0 && td_iostream_unsent(f->upstream->stream) > 0) {
        rc = limit_wait(f, wait_until(f));
        if (rc == 0)
            rc = td_iostream_flush_or_input(f->upstream->stream);
        if (rc == 1)
            rc = f->is_reading ? 0 : look_at_input(f);
    }
    return rc;
}

/*
 * A server that has closed, or reset the connection, may have said why before: it does not want all of
 * the body.
 */
static int
fail_sending(td_fetch_stream *f, int error)
{
    if (f->out->error != 0)
        return error;
    if (f->upstream == NULL) /* by whoever reads */
        return 1;
    if (error != TD_ETIMEDOUT && !f->is_reading && td_iostream_unread(f->upstream->stream) > 0)
        return look_at_input(f);
    return fail_waiting(f, error);
}

static int
send_bytes(td_fetch_stream *f, td_str bytes)
{
    int rc = 0;

    f->out->phase = TD_FETCH_SEND;
    while (rc == 0 && bytes.len > 0) {
        const size_t n = bytes.len < PIECE ? bytes.len : PIECE;

        rc = td_iostream_write(f->upstream->stream, td_str_make(bytes.ptr, n));
        if (rc == 0)
            rc = flush_sent(f);
        bytes = td_str_make(bytes.ptr + n, bytes.len - n);
    }
    return rc < 0 ? fail_sending(f, rc) : rc;
}

/* RFC 9112 section 7.1: chunk = chunk-size CRLF chunk-data CRLF */
static int
send_chunk(td_fetch_stream *f, td_str bytes)
{
    int rc = 0;

    while (rc == 0 && bytes.len > 0) {
        const size_t n = bytes.len < PIECE ? bytes.len : PIECE;

        f->sent.start = f->sent.len = 0;
        td_buf_printf(&f->sent, "%zx\r\n", n);
        td_buf_append(&f->sent, td_str_make(bytes.ptr, n));
        td_buf_append(&f->sent, TD_STR("\r\n"));
        rc = send_bytes(f, td_buf_str(&f->sent));
        bytes = td_str_make(bytes.ptr + n, bytes.len - n);
    }
    return rc;
}

/* What the state of the request says of more of its body: 0, 1, or an error. */
static int
check_writing(td_fetch_stream *f, size_t len)
{
    if (f->out->error != 0)
        return f->out->error;
    if (!is_streamed(f) || f->body_is_complete)
        return fail(f, TD_EINVAL, "the request has no body, or it is complete");
    if (f->options->content_length > 0 && len > f->unwritten)
        return fail(f, TD_EINVAL, "the body is longer than content_length");
    if (f->is_over || (f->has_head && !f->is_reading))
        return 1;
    return f->expects_continue && !f->is_reading ? await_continue(f) : 0;
}

static int
write_piece(td_fetch_stream *f, td_str bytes)
{
    int rc = check_writing(f, bytes.len);

    if (rc != 0 || bytes.len == 0)
        return rc;
    if (f->options->content_length == 0)
        return send_chunk(f, bytes);
    rc = send_bytes(f, bytes);
    f->unwritten -= bytes.len;
    f->body_is_complete = rc == 0 && f->unwritten == 0;
    return rc;
}

static int
end_body(td_fetch_stream *f)
{
    int rc = f->body_is_complete ? 0 : check_writing(f, 0);

    if (rc != 0 || f->body_is_complete)
        return rc;
    if (f->unwritten > 0)
        return fail(f, TD_EINVAL, "the body is shorter than content_length");
    rc = send_bytes(f, TD_STR("0\r\n\r\n"));
    f->body_is_complete = rc == 0;
    return rc;
}

/* Who is cancelled meanwhile leaves is_in_write set: what would follow half a piece is no body. */
int
td_fetch_stream_write(td_fetch_stream *f, td_str bytes)
{
    int rc;

    f->is_in_write = true;
    rc = write_piece(f, bytes);
    f->is_in_write = false;
    return rc;
}

int
td_fetch_stream_end(td_fetch_stream *f)
{
    int rc;

    f->is_in_write = true;
    rc = end_body(f);
    f->is_in_write = false;
    return rc;
}

static int
produce_body(td_fetch_stream *f)
{
    int rc;

    f->is_producing = true;
    rc = f->options->body_producer(f, f->options->callback_arg);
    f->is_producing = false;
    if (rc == 0)
        rc = td_fetch_stream_end(f);
    if (rc < 0 && f->out->error == 0)
        return fail(f, rc, "the body was not produced: %s", td_strerror(rc));
    return rc;
}

static int
send_body(td_fetch_stream *f)
{
    int rc = 0;

    if (f->expects_continue)
        rc = await_continue(f);
    if (rc == 0)
        rc = send_bytes(f, f->body);
    f->body_is_complete = rc == 0;
    return rc;
}

/* Small bodies go along with their head; one that is written by the caller comes later. */
static int
send_request(td_fetch_stream *f)
{
    bool is_whole = false;
    int rc;

    f->sent.start = f->sent.len = 0;
    f->unwritten = (uint64_t)f->options->content_length;
    f->expects_continue = false;
    make_request(f);
    f->body_is_complete = f->body.ptr == NULL && !is_streamed(f);
    if (f->body.ptr != NULL && f->body.len < PIECE / 2 && !f->expects_continue) {
        td_buf_append(&f->sent, f->body);
        is_whole = true;
    }
    rc = send_bytes(f, td_buf_str(&f->sent));
    f->body_is_complete |= is_whole;
    if (rc != 0 || f->body_is_complete || f->options->stream_body)
        return rc;
    return is_streamed(f) ? produce_body(f) : send_body(f);
}

/* ---- the answer: its head */

static int
receive_response_head(td_fetch_stream *f)
{
    int rc = f->has_head;

    while (rc == 0)
        rc = next_head(f, wait_until(f));
    return rc < 0 && f->out->error == 0 ? fail_waiting(f, rc) : rc < 0 ? rc : 0;
}

/* A kept connection was closed under the request, which has no effect that a second time adds to. */
static bool
may_repeat(const td_fetch_stream *f, int rc)
{
    return (rc == TD_ECLOSED || rc == TD_ETRUNCATED || rc == -ECONNRESET || rc == -EPIPE) &&
           f->upstream != NULL &&
           f->upstream->was_kept && !f->is_answered && !is_streamed(f) &&
           IS_ONE_OF(f->method, "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE");
}

/* Connect and send; with `and_head` go on until the head of the answer has come. */
static int
exchange(td_fetch_stream *f, bool from_kept, bool and_head)
{
    int rc = open_upstream(f, from_kept);

    if (rc == 0)
        rc = send_request(f);
    if (rc >= 0 && and_head)
        rc = receive_response_head(f);
    return rc < 0 ? rc : 0;
}

static int
repeat_if_closed(td_fetch_stream *f, int rc, bool and_head)
{
    if (!may_repeat(f, rc))
        return rc;
    td_upstream_destroy(&f->upstream);
    f->out->error = 0;
    return exchange(f, false, and_head);
}

/* ---- the answer: its body */

static int64_t
body_max(const td_fetch_stream *f)
{
    if (f->options->max_body_size > 0)
        return f->options->max_body_size;
    return f->is_pulled || f->options->streaming_callback != NULL ? INT64_MAX : BODY_MAX_DEFAULT;
}

static int
fail_body(td_fetch_stream *f, int error)
{
    const td_response_body *body = &f->body_in;

    if (error == TD_ETOOBIG && body->chunks.what != NULL && body->chunks.status == 431)
        return fail(f, error, "response: %s", body->chunks.what);
    if (error == TD_ETOOBIG)
        return fail(f, error, "the body is larger than %lld bytes", (long long)body->max);
    if (error == TD_EBADMSG)
        return fail(f, error, "response: %s", body->what);
    return fail_waiting(f, error);
}

static bool
has_body(const td_fetch_stream *f)
{
    return !td_str_equal(f->method, TD_STR("HEAD")) && f->response.status != 204 &&
           f->response.status != 304 && f->response.status != 101;
}

static int
begin_body(td_fetch_stream *f, int64_t max)
{
    int rc;

    f->out->phase = TD_FETCH_BODY;
    rc = td_response_body_begin(&f->body_in, &f->response, f->arena, has_body(f),
                                !f->options->no_decompress, max);
    f->may_keep &= f->body_in.framing != TD_BODY_UNTIL_CLOSE;
    return rc < 0 ? fail_body(f, rc) : 0;
}

/* The next bytes of the body: 1, 0 at its end, or an error.  *out as of td_response_body_next. */
static int
next_piece(td_fetch_stream *f, td_str *out)
{
    int rc = f->ahead_rc;

    *out = f->ahead;
    f->ahead_rc = 0;
    while (rc == 0 && (rc = td_response_body_next(&f->body_in, &f->rest, out)) == 0 &&
           !td_response_body_is_over(&f->body_in)) {
        rc = receive(f, wait_until(f));
        if (rc == TD_ECLOSED && !f->is_over) /* not by ourselves */
            rc = td_response_body_closed(&f->body_in);
        if (rc < 0)
            break;
    }
    if (rc == 0)
        rc = td_response_body_check(&f->body_in);
    return rc < 0 ? fail_body(f, rc) : rc;
}

/* All of it, for the caller, its callback, or, of a redirect, nobody. */
static int
receive_body(td_fetch_stream *f, bool is_wanted)
{
    td_str piece;
    int rc = begin_body(f, is_wanted ? body_max(f) : BODY_MAX_DEFAULT);

    while (rc == 0 && (rc = next_piece(f, &piece)) > 0) {
        rc = 0;
        if (is_wanted && f->options->streaming_callback != NULL)
            f->options->streaming_callback(piece, f->options->callback_arg);
        else if (is_wanted)
            td_buf_append(&f->received, piece);
    }
    return rc;
}

static void
tell_headers(const td_fetch_stream *f)
{
    const td_str head = td_buf_str(&f->head);
    const char *line = head.ptr, *lf;

    while ((lf = memchr(line, '\n', (size_t)(head.ptr + head.len - line))) != NULL) {
        f->options->header_callback(td_str_make(line, (size_t)(lf + 1 - line)),
                                    f->options->callback_arg);
        if (lf - line == 1)
            return;
        line = lf + 1;
    }
}

static void
take_head(td_fetch_stream *f)
{
    const td_headers *from = &f->response.headers;
    td_fetch_header *headers = td_arena_alloc(f->arena, (from->count + 1) * sizeof(*headers));

    for (size_t i = 0; i < from->count; i++)
        headers[i] = (td_fetch_header){from->items[i].name.ptr, from->items[i].value.ptr};
    f->out->status = f->response.status;
    f->out->reason = f->response.reason;
    f->out->headers = headers;
    f->out->headers_count = from->count;
    f->out->body = TD_STR("");
    f->out->effective_url = f->url;
}

/* Nothing more is wanted of the server: the connection is for others, and so is the place. */
static void
give_back(td_fetch_stream *f)
{
    if (f->may_keep && f->body_is_complete && f->response.keep_alive && f->rest.len == 0) {
        td_upstreams_keep(&client.kept, f->upstream);
        f->upstream = NULL;
    }
    let_go(f);
}

/* ---- redirects */

static bool
is_redirect(const td_fetch_stream *f)
{
    const int max = f->options->max_redirects == 0 ? REDIRECTS_DEFAULT : f->options->max_redirects;
    const int status = f->response.status;

    return (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
           f->out->redirects < max && !f->options->stream_body &&
           td_headers_find(&f->response.headers, TD_STR("Location")) != NULL;
}

/* RFC 9110 section 15.4, as browsers do it. */
static int
follow(td_fetch_stream *f)
{
    const td_header *location = td_headers_find(&f->response.headers, TD_STR("Location"));
    const int status = f->response.status;
    const td_str url = td_uri_join(f->arena, &f->uri, location->value);
    td_uri uri;

    if (url.ptr == NULL || !td_uri_parse(url, &uri))
        return fail(f, TD_EBADMSG, "the redirect leads to no http URL");
    if (!td_uri_same_origin(&f->uri, &uri))
        f->is_foreign = true; /* and remains it: the way back is not the caller's either */
    if ((status == 303 && !td_str_equal(f->method, TD_STR("HEAD"))) ||
        (status <= 302 && td_str_equal(f->method, TD_STR("POST")))) {
        f->method = TD_STR("GET");
        f->body = td_str_make(NULL, 0);
        f->lost_body = true;
    }
    f->url = url;
    f->out->redirects++;
    f->is_answered = f->has_head = false;
    f->interims = 0;
    return 0;
}

/* ---- all of it */

/* The request goes out; of one whose answer is a redirect, the next one. */
static int
begin(td_fetch_stream *f, bool and_head)
{
    int rc = check_url(f);

    f->deadline_ns = deadline_in(f->options->request_timeout_ms);
    if (rc == 0)
        rc = take_place(f);
    if (rc == 0)
        rc = repeat_if_closed(f, exchange(f, true, and_head), and_head);
    return rc;
}

/* From a request whose answer has begun to the one whose answer is the caller's. */
static int
follow_redirects(td_fetch_stream *f)
{
    int rc = 0;

    while (rc == 0 && is_redirect(f)) {
        rc = receive_body(f, false);
        if (rc == 0)
            give_back(f);
        if (rc == 0)
            rc = follow(f);
        if (rc == 0)
            rc = begin(f, true);
    }
    if (rc == 0 && f->options->header_callback != NULL)
        tell_headers(f);
    return rc;
}

static int
ask(td_fetch_stream *f)
{
    int rc = begin(f, true);

    if (rc == 0)
        rc = follow_redirects(f);
    if (rc == 0)
        rc = receive_body(f, true);
    if (rc < 0)
        return rc;
    take_head(f);
    f->out->body = td_str_dup(f->arena, td_buf_str(&f->received));
    give_back(f);
    return 0;
}

/* There is no answer: what *out is then. */
static int
tell_failure(td_fetch_stream *f, int error)
{
    td_response *out = f->out;

    *out = (td_response){.size = sizeof(*out), .status = 599, .reason = out->reason,
                         .effective_url = f->url, .redirects = out->redirects, .error = error,
                         .phase = out->phase};
    return error;
}

static int
init(td_fetch_stream *f, td_arena *arena, const char *url, const td_fetch_options *options,
     void *owner, td_response *out)
{
    int rc;

    *f = (td_fetch_stream){
        .arena = arena,
        .options = options,
        .out = out,
        .owner = owner,
        .url = td_str_dup(arena, td_str_of(url)),
        .method = options->method != NULL ? td_str_of(options->method) : TD_STR("GET"),
        .body = options->body,
    };
    *out = (td_response){.size = sizeof(*out), .effective_url = f->url};
    open_client();
    rc = check_method(f);
    return rc < 0 ? rc : check_headers(f);
}

int
td_http_client_fetch(td_arena *arena, const char *url, const td_fetch_options *options,
                     void *owner, td_response *out)
{
    td_fetch_stream f __attribute__((cleanup(let_go)));
    int rc = init(&f, arena, url, options, owner, out);

    if (rc == 0 && (options->stream_body || options->upgrade != NULL))
        rc = fail(&f, TD_EINVAL, "stream_body and upgrade are for td_fetch_open");
    if (rc == 0)
        rc = ask(&f);
    if (rc < 0)
        return tell_failure(&f, rc);
    out->phase = TD_FETCH_DONE;
    return 0;
}

/* ---- step by step */

/* It has failed: nothing of it is of use any more. */
static int
break_off(td_fetch_stream *f, int error)
{
    let_go(f);
    f->is_over = true;
    return tell_failure(f, error);
}

static void
close_when_done(void *arg)
{
    td_fetch_stream_close(arg);
}

int
td_http_client_open(td_arena *arena, const char *url, const td_fetch_options *options, void *owner,
                    td_response *out, td_fetch_stream **stream_out)
{
    td_fetch_stream *f = TD_ARENA_NEW(arena, td_fetch_stream);
    int rc = init(f, arena, url, options, owner, out);

    f->is_pulled = true;
    td_defer(close_when_done, f);
    if (rc == 0)
        rc = begin(f, false);
    if (rc < 0)
        return break_off(f, rc);
    *stream_out = f;
    return 0;
}

/* The head was given to the caller. */
static bool
is_told(const td_fetch_stream *f)
{
    return f->out->status != 0 && f->out->error == 0;
}

static void
leave_read(td_fetch_stream **f)
{
    (*f)->is_in_read = false;
}

/* Until the end of the block, however it is left. */
#define IN_READ(f)                                                                                 \
    td_fetch_stream *in_read_ __attribute__((cleanup(leave_read), unused)) = (f);                  \
    (f)->is_in_read = true

static int
fail_closed(td_fetch_stream *f)
{
    return fail(f, TD_ECLOSED, "the stream was closed");
}

const char *
td_fetch_stream_find_misuse(const td_fetch_stream *f, td_fetch_step step)
{
    if (step == TD_STEP_WRITE)
        return f->is_in_write ? "another coroutine writes, or was cancelled while it did" : NULL;
    if (f->is_producing)
        return "body_producer may only write";
    if (step == TD_STEP_CLOSE)
        return NULL;
    if (f->is_in_read)
        return "another coroutine waits for the answer";
    if (step == TD_STEP_READ && !is_told(f) && f->out->error == 0)
        return "td_fetch_head comes first";
    return NULL;
}

/* HTTP has ended, and with it what it limits. */
static void
end_http(td_fetch_stream *f)
{
    leave_place(f);
    td_iostream_set_timeout(f->upstream->stream, 0);
    td_iostream_push_back(f->upstream->stream, f->rest);
    f->rest = td_str_make(NULL, 0);
    f->is_over = true;
    f->out->phase = TD_FETCH_DONE;
}

int
td_fetch_stream_head(td_fetch_stream *f)
{
    int rc;

    if (is_told(f) || f->out->error != 0)
        return f->out->error;
    if (f->is_over)
        return fail_closed(f);
    IN_READ(f);
    f->is_reading = true;
    rc = receive_response_head(f);
    rc = repeat_if_closed(f, rc, true);
    if (rc == 0)
        rc = follow_redirects(f);
    if (rc == 0 && f->is_over) /* while it connected */
        rc = fail_closed(f);
    if (rc == 0)
        rc = begin_body(f, body_max(f));
    if (rc < 0)
        return break_off(f, rc);
    take_head(f);
    if (f->response.status == 101)
        end_http(f);
    return 0;
}

td_iostream *
td_fetch_stream_detach(td_fetch_stream *f)
{
    return f->out->status == 101 && f->upstream != NULL ? f->upstream->stream : NULL;
}

/* What was inflated lies where others inflate, too: it moves to where it can stay. */
static void
keep_piece(td_fetch_stream *f, td_str *piece)
{
    if (f->body_in.decompressor == NULL)
        return;
    f->received.start = f->received.len = 0;
    td_buf_append(&f->received, *piece);
    *piece = td_buf_str(&f->received);
}

int
td_fetch_stream_read(td_fetch_stream *f, td_str *data_out)
{
    int rc = f->out->error;

    *data_out = TD_STR("");
    IN_READ(f);
    if (rc == 0 && f->is_over && f->out->phase != TD_FETCH_DONE)
        rc = fail_closed(f);
    if (rc == 0 && !f->is_over)
        rc = next_piece(f, data_out);
    if (rc < 0)
        return f->is_over ? rc : break_off(f, rc);
    if (rc > 0) {
        keep_piece(f, data_out);
        return (int)data_out->len;
    }
    if (!f->is_over)
        give_back(f);
    f->is_over = true;
    f->out->phase = TD_FETCH_DONE;
    return 0;
}

/* What was inflated could not stay until it is asked for, so of that we do not know. */
bool
td_fetch_stream_is_ready(td_fetch_stream *f)
{
    if (f->is_producing || f->is_in_read || (!is_told(f) && f->out->error == 0))
        return false;
    if (f->ahead_rc == 0 && !f->is_over && f->body_in.decompressor == NULL)
        f->ahead_rc = td_response_body_next(&f->body_in, &f->rest, &f->ahead);
    return f->ahead_rc != 0 || f->is_over || td_response_body_is_over(&f->body_in);
}

void
td_fetch_stream_close(td_fetch_stream *f)
{
    let_go(f);
    f->is_over = true;
}

td_response *
td_fetch_stream_answer(td_fetch_stream *f)
{
    return f->out;
}

void *
td_fetch_stream_owner(td_fetch_stream *f)
{
    return f->owner;
}
