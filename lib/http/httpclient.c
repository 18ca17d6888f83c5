/*
 * td_http_client: a request is straight-line code on the coroutine that asks.
 *
 * `struct fetch` has all that a request holds: its place among max_clients, its connection, its
 * buffers.  It is a variable with a cleanup, so a cancelled coroutine gives all of it back while it
 * unwinds.  A redirect is a request of its own, with a place and a connection of its own.
 *
 * A connection is kept (upstream.h) when both sides agree and the response had an end before the
 * connection's: nothing behind it has come.
 */
#include "http/httpclient.h"

#include <errno.h>
#include <string.h>
#include <tornado/coroutine.h>
#include <tornado/iostream.h>
#include <tornado/tcpclient.h>
#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "http/chunked.h"
#include "http/decompressor.h"
#include "http/parser.h"
#include "http/responsehead.h"
#include "http/upstream.h"
#include "http/uri.h"
#include "io/ioloop.h"
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

struct fetch {
    td_arena *arena;
    const td_fetch_options *options;
    td_response *out;

    /* What is asked for now; a redirect changes it. */
    td_str url;
    td_uri uri;
    td_str method, body; /* body.ptr NULL: none */
    bool is_foreign;     /* a redirect has led to another origin: no credentials */

    int64_t deadline_ns; /* INT64_MAX: none */
    bool has_place;
    td_upstream *upstream;
    bool may_keep;
    bool is_answered; /* the first byte of a response has come */

    td_buf sent, head, received; /* what is sent; a head that comes; the body */
    td_str rest;                 /* received and not used yet */
    td_response_head response;
    td_decompressor *decompressor;
};

void
td_http_client_configure(const td_http_client_options *wanted)
{
    settings = *wanted;
}

/* ---- how it fails */

static int
fail(struct fetch *f, int error, const char *format, ...) TD_PRINTF(3, 4);

static int
fail(struct fetch *f, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    f->out->reason = td_arena_vsprintf(f->arena, format, args);
    va_end(args);
    f->out->error = error;
    return error;
}

/* A wait has ended badly. */
static int
fail_waiting(struct fetch *f, int error)
{
    static const char *const late[] = {
        [TD_FETCH_QUEUED] = "Timeout in request queue",
        [TD_FETCH_CONNECT] = "Timeout while connecting",
        [TD_FETCH_SEND] = "Timeout during request",
        [TD_FETCH_HEAD] = "Timeout during request",
        [TD_FETCH_BODY] = "Timeout during request",
    };
    static const char *const doing[] = {
        [TD_FETCH_QUEUED] = "waiting for others",
        [TD_FETCH_CONNECT] = "connecting",
        [TD_FETCH_SEND] = "sending the request",
        [TD_FETCH_HEAD] = "waiting for the response",
        [TD_FETCH_BODY] = "receiving the body",
    };
    const td_fetch_phase phase = f->out->phase;

    if (error == TD_ETIMEDOUT)
        return fail(f, error, "%s", late[phase]);
    return fail(f, error, "%s: %s", doing[phase], td_strerror(error));
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

/* What is left until then: 1.. ms, 0 for ever, or TD_ETIMEDOUT. */
static int64_t
time_left(int64_t deadline_ns)
{
    const int64_t left_ns = deadline_ns - td_clock_ns();

    if (deadline_ns == INT64_MAX)
        return 0;
    return left_ns > 0 ? left_ns / TD_NS_PER_MS + 1 : TD_ETIMEDOUT;
}

/* The next wait for the stream is no longer than that. */
static int
limit_wait(struct fetch *f, int64_t deadline_ns)
{
    const int64_t left_ms = time_left(deadline_ns);

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
    if (td_waiters_any(&client.queue)) {
        client.active++;
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

/* A place among max_clients, first come first served. */
static int
take_place(struct fetch *f)
{
    int64_t connect_ns = deadline_in(f->options->connect_timeout_ms), left_ms;
    int rc = 0;

    f->out->phase = TD_FETCH_QUEUED;
    left_ms = time_left(connect_ns < f->deadline_ns ? connect_ns : f->deadline_ns);
    if (left_ms < 0)
        return fail_waiting(f, (int)left_ms);
    if (client.active < settings.max_clients && !td_waiters_any(&client.queue))
        client.active++;
    else
        rc = td_waiters_wait(&client.queue, NULL, left_ms);
    f->has_place = rc == 0; /* whoever lets one go has counted it */
    return rc == 0 ? 0 : fail_waiting(f, rc);
}

/* All but what the response is made of; the connection is of no use any more unless it was kept. */
static void
let_go(struct fetch *f)
{
    td_upstream_destroy(&f->upstream);
    if (f->has_place)
        hand_on(NULL);
    f->has_place = false;
    td_decompressor_destroy(&f->decompressor);
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
check_headers(struct fetch *f)
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

static int
check_method(struct fetch *f)
{
    const bool wants_body = IS_ONE_OF(f->method, "POST", "PUT", "PATCH");
    const bool is_known =
        wants_body || IS_ONE_OF(f->method, "GET", "HEAD", "DELETE", "OPTIONS");

    if (!td_is_token(f->method) || td_str_equal(f->method, TD_STR("CONNECT")))
        return fail(f, TD_EINVAL, "the method is none");
    if (f->options->allow_nonstandard_methods)
        return 0;
    if (!is_known)
        return fail(f, TD_EINVAL, "unknown method %.*s", TD_STR_FMT(f->method));
    if (wants_body != (f->body.ptr != NULL))
        return fail(f, TD_EINVAL, "a body must %sbe given for %.*s", wants_body ? "" : "not ",
                    TD_STR_FMT(f->method));
    return 0;
}

static int
check_url(struct fetch *f)
{
    if (!td_uri_parse(f->url, &f->uri))
        return fail(f, TD_EINVAL, "not an http URL");
    if (f->uri.is_https)
        return fail(f, -EPROTONOSUPPORT, "https is not supported yet");
    return 0;
}

/* ---- the request, as it is sent */

static void
add_header(struct fetch *f, const char *name, td_str value)
{
    td_buf_append(&f->sent, td_str_of(name));
    td_buf_append(&f->sent, TD_STR(": "));
    td_buf_append(&f->sent, value);
    td_buf_append(&f->sent, TD_STR("\r\n"));
}

static void
add_unless_asked(struct fetch *f, const char *name, td_str value)
{
    if (find_asked(f->options, name) == NULL)
        add_header(f, name, value);
}

/* Authorization: Basic (RFC 7617), of the options or else of the URL. */
static void
add_credentials(struct fetch *f)
{
    const td_fetch_options *o = f->options;
    td_str pair = {NULL, 0};
    char *text, *end;

    if (o->auth_username != NULL && !f->is_foreign)
        pair = td_arena_sprintf(f->arena, "%s:%s", o->auth_username,
                                o->auth_password != NULL ? o->auth_password : "");
    else if (f->uri.user_info.ptr != NULL)
        pair = td_url_unescape(f->arena, f->uri.user_info, false);
    if (pair.ptr == NULL)
        return;
    if (memchr(pair.ptr, ':', pair.len) == NULL)
        pair = td_arena_sprintf(f->arena, "%.*s:", TD_STR_FMT(pair));
    text = td_arena_alloc_raw(f->arena, TD_BASE64_LEN(pair.len) + 1);
    end = td_base64_encode(text, pair);
    td_buf_append(&f->sent, TD_STR("Authorization: Basic "));
    td_buf_append(&f->sent, td_str_make(text, (size_t)(end - text)));
    td_buf_append(&f->sent, TD_STR("\r\n"));
}

/* Some of what was asked for is not for everybody, or not for a request without its body. */
static bool
is_withheld(const struct fetch *f, const char *name)
{
    static const char *const secrets[] = {"Authorization", "Cookie", "Proxy-Authorization"};
    static const char *const of_body[] = {"Content-Type", "Content-Encoding", "Content-Language",
                                          "Content-Location"};
    const bool lost_body = f->out->redirects > 0 && f->body.ptr == NULL;

    for (size_t i = 0; f->is_foreign && i < sizeof(secrets) / sizeof(secrets[0]); i++)
        if (strcasecmp(name, secrets[i]) == 0)
            return true;
    for (size_t i = 0; lost_body && i < sizeof(of_body) / sizeof(of_body[0]); i++)
        if (strcasecmp(name, of_body[i]) == 0)
            return true;
    return f->out->redirects > 0 && strcasecmp(name, "Host") == 0;
}

static void
add_host(struct fetch *f)
{
    if (find_asked(f->options, "Host") != NULL && f->out->redirects == 0)
        return;
    td_buf_append(&f->sent, TD_STR("Host: "));
    td_buf_append(&f->sent, f->uri.host);
    if (f->uri.has_port)
        td_buf_printf(&f->sent, ":%u", f->uri.port);
    td_buf_append(&f->sent, TD_STR("\r\n"));
}

static void
make_request(struct fetch *f)
{
    const td_fetch_options *o = f->options;

    td_buf_printf(&f->sent, "%.*s ", TD_STR_FMT(f->method));
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
    add_unless_asked(f, "User-Agent", td_str_of(o->user_agent != NULL ? o->user_agent : USER_AGENT));
    if (!o->no_decompress)
        add_unless_asked(f, "Accept-Encoding", TD_STR("gzip"));
    if (o->no_keep_alive)
        add_unless_asked(f, "Connection", TD_STR("close"));
    if (find_asked(o, "Authorization") == NULL || f->is_foreign)
        add_credentials(f);
    if (f->body.ptr != NULL) {
        if (td_str_equal(f->method, TD_STR("POST")))
            add_unless_asked(f, "Content-Type", TD_STR("application/x-www-form-urlencoded"));
        td_buf_printf(&f->sent, "Content-Length: %zu\r\n", f->body.len);
        if (o->expect_100_continue && f->body.len > 0)
            add_header(f, "Expect", TD_STR("100-continue"));
    }
    td_buf_append(&f->sent, TD_STR("\r\n"));
}

/* ---- connecting and sending */

/* "example.org:80", or the path of a socket. */
static td_str
key_of(struct fetch *f)
{
    td_str key;

    if (f->options->unix_socket != NULL)
        return td_arena_sprintf(f->arena, "%s", f->options->unix_socket);
    key = td_arena_sprintf(f->arena, "%.*s:%u", TD_STR_FMT(f->uri.host), f->uri.port);
    for (size_t i = 0; i < key.len; i++) /* it is a copy of ours */
        if (key.ptr[i] >= 'A' && key.ptr[i] <= 'Z')
            ((char *)key.ptr)[i] |= 0x20;
    return key;
}

static const char *
host_of(struct fetch *f)
{
    return f->options->unix_socket != NULL
               ? td_arena_sprintf(f->arena, "unix:%s", f->options->unix_socket).ptr
               : td_str_dup(f->arena, f->uri.host).ptr;
}

static int
connect_anew(struct fetch *f, td_str key)
{
    int64_t connect_ns = deadline_in(f->options->connect_timeout_ms), left_ms;
    td_iostream *stream;
    int rc;

    left_ms = time_left(connect_ns < f->deadline_ns ? connect_ns : f->deadline_ns);
    if (left_ms < 0)
        return fail_waiting(f, (int)left_ms);
    rc = td_tcpclient_connect(host_of(f), f->uri.port,
                              TD_CONNECT(.timeout_ms = left_ms > 0 ? left_ms : INT64_MAX / 2,
                                         .source_address = f->options->source_address),
                              &stream);
    if (rc < 0)
        return fail_waiting(f, rc);
    f->upstream = td_upstream_create(stream, key);
    return 0;
}

static int
open_upstream(struct fetch *f, bool from_kept)
{
    const td_str key = key_of(f);

    f->out->phase = TD_FETCH_CONNECT;
    f->may_keep = !f->options->no_keep_alive && f->options->source_address == NULL &&
                  find_asked(f->options, "Connection") == NULL;
    if (from_kept && f->may_keep)
        f->upstream = td_upstreams_take(&client.kept, key);
    return f->upstream != NULL ? 0 : connect_anew(f, key);
}

static int
send_bytes(struct fetch *f, td_str bytes)
{
    int rc = 0;

    f->out->phase = TD_FETCH_SEND;
    while (rc == 0 && bytes.len > 0) {
        const size_t n = bytes.len < PIECE ? bytes.len : PIECE;

        rc = td_iostream_write(f->upstream->stream, td_str_make(bytes.ptr, n));
        if (rc == 0)
            rc = limit_wait(f, f->deadline_ns);
        if (rc == 0)
            rc = td_iostream_flush(f->upstream->stream);
        bytes = td_str_make(bytes.ptr + n, bytes.len - n);
    }
    return rc < 0 ? fail_waiting(f, rc) : 0;
}

/* Small bodies go along with their head. */
static int
send_request(struct fetch *f)
{
    make_request(f);
    if (f->body.ptr == NULL || f->options->expect_100_continue)
        return send_bytes(f, td_buf_str(&f->sent));
    if (f->body.len < PIECE / 2) {
        td_buf_append(&f->sent, f->body);
        return send_bytes(f, td_buf_str(&f->sent));
    }
    const int rc = send_bytes(f, td_buf_str(&f->sent));

    return rc < 0 ? rc : send_bytes(f, f->body);
}

/* ---- receiving */

/* More bytes in f->rest.  TD_ECLOSED: there is no more; for the caller to say what that means. */
static int
receive(struct fetch *f, int64_t deadline_ns)
{
    const int rc = limit_wait(f, deadline_ns);

    if (rc < 0)
        return rc;
    return td_iostream_read_partial(f->upstream->stream, PIECE, &f->rest);
}

/* One head, of an interim response too, that begins by then; what is behind it is in f->rest. */
static int
receive_head(struct fetch *f, int64_t begin_ns)
{
    td_response_scan scan = {0};
    const char *what = NULL;
    ssize_t len = 0;
    int rc;

    f->out->phase = TD_FETCH_HEAD;
    f->head.start = f->head.len = 0;
    while (len == 0) {
        const size_t had = f->head.len;

        if (f->rest.len == 0 && (rc = receive(f, had == 0 ? begin_ns : f->deadline_ns)) < 0)
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
        len = td_response_head_read(
            td_str_dup(f->arena, td_str_make(td_buf_str(&f->head).ptr, (size_t)len)), f->arena,
            &f->response, &what);
    return len < 0 ? fail(f, (int)len, "response: %s", what) : 0;
}

/* The head of the response proper. */
static int
receive_response_head(struct fetch *f)
{
    bool owes_body = f->options->expect_100_continue && f->body.len > 0;

    for (int interim = 0; interim <= INTERIM_MAX; interim++) {
        const int64_t soon_ns = deadline_in(CONTINUE_WAIT_MS);
        const bool is_patient = !owes_body || soon_ns >= f->deadline_ns;
        int rc = receive_head(f, is_patient ? f->deadline_ns : soon_ns);
        const bool goes_on = owes_body && (rc == TD_ETIMEDOUT ? !is_patient && f->head.len == 0
                                                              : rc == 0 && f->response.status == 100);

        if (goes_on) {
            owes_body = false;
            rc = send_bytes(f, f->body);
            if (rc < 0)
                return rc;
            continue;
        }
        if (rc < 0)
            return f->out->error != 0 ? rc : fail_waiting(f, rc);
        if (f->response.status == 101)
            return fail(f, TD_EBADMSG, "response: 101, which nobody has asked for");
        if (f->response.status >= 200) {
            f->may_keep &= !owes_body; /* the server may wait for it still */
            return 0;
        }
    }
    return fail(f, TD_EBADMSG, "response: too many interim ones");
}

static int64_t
body_max(const struct fetch *f)
{
    return f->options->max_body_size > 0 ? f->options->max_body_size : BODY_MAX_DEFAULT;
}

static int
fail_too_big(struct fetch *f)
{
    return fail(f, TD_ETOOBIG, "the body is larger than %lld bytes", (long long)body_max(f));
}

/* Some bytes of the body, as they came. */
static int
take_body(struct fetch *f, td_str bytes)
{
    td_str data = bytes;
    int more = 1;

    if (bytes.len == 0)
        return 0;
    while (more > 0) {
        more = 0;
        if (f->decompressor != NULL)
            more = td_decompressor_next(f->decompressor, &bytes, &data);
        if (more < 0)
            return fail(f, TD_EBADMSG, "the body is not gzip");
        if ((int64_t)(f->received.len + data.len) > body_max(f))
            return fail_too_big(f);
        td_buf_append(&f->received, data);
    }
    return 0;
}

/* A body with a length. */
static int
receive_length(struct fetch *f, int64_t left)
{
    int rc = 0;

    if (left > body_max(f))
        return fail_too_big(f);
    while (rc == 0 && left > 0) {
        if (f->rest.len == 0) {
            rc = receive(f, f->deadline_ns);
            if (rc < 0)
                return fail_waiting(f, rc);
        }
        const size_t n = (int64_t)f->rest.len < left ? f->rest.len : (size_t)left;

        rc = take_body(f, td_str_make(f->rest.ptr, n));
        f->rest = td_str_make(f->rest.ptr + n, f->rest.len - n);
        left -= (int64_t)n;
    }
    return rc;
}

static int
receive_chunks(struct fetch *f)
{
    const td_chunked_limits limits = {.body_max = (uint64_t)body_max(f),
                                      .trailer_size_max = TD_RESPONSE_HEAD_MAX,
                                      .trailers_max = TD_RESPONSE_LINES_MAX};
    td_chunked decoder = {0};
    bool is_over = false;
    int rc = 0;

    while (rc == 0 && !is_over) {
        td_str data;
        ssize_t n;

        if (f->rest.len == 0) {
            rc = receive(f, f->deadline_ns);
            if (rc < 0)
                return fail_waiting(f, rc);
        }
        n = td_chunked_decode(&decoder, &limits, f->rest.ptr, f->rest.len, &data, &is_over);
        if (n < 0)
            return fail(f, (int)n, "response: %s", decoder.what);
        f->rest = td_str_make(f->rest.ptr + n, f->rest.len - (size_t)n);
        rc = take_body(f, data);
    }
    return rc;
}

/* A body whose end is that of the connection (RFC 9112 section 6.3, item 8). */
static int
receive_until_close(struct fetch *f)
{
    int rc = 0;

    f->may_keep = false;
    while (rc == 0) {
        if (f->rest.len == 0) {
            rc = receive(f, f->deadline_ns);
            if (rc == TD_ECLOSED)
                return 0;
            if (rc < 0)
                return fail_waiting(f, rc);
        }
        rc = take_body(f, f->rest);
        f->rest = td_str_make(NULL, 0);
    }
    return rc;
}

static bool
has_body(const struct fetch *f)
{
    return !td_str_equal(f->method, TD_STR("HEAD")) && f->response.status != 204 &&
           f->response.status != 304;
}

static void
prepare_inflating(struct fetch *f)
{
    const td_header *coding = td_headers_find(&f->response.headers, TD_STR("Content-Encoding"));

    if (f->options->no_decompress || coding == NULL ||
        !(td_str_equal_nocase(coding->value, TD_STR("gzip")) ||
          td_str_equal_nocase(coding->value, TD_STR("x-gzip"))))
        return;
    f->decompressor = td_decompressor_create();
    td_headers_add(&f->response.headers, f->arena, TD_STR("X-Consumed-Content-Encoding"),
                   coding->value);
    td_headers_remove(&f->response.headers, TD_STR("Content-Encoding"));
    td_headers_remove(&f->response.headers, TD_STR("Content-Length"));
}

static int
receive_body(struct fetch *f)
{
    int rc;

    f->out->phase = TD_FETCH_BODY;
    if (!has_body(f))
        return 0;
    prepare_inflating(f);
    if (f->response.chunked)
        rc = receive_chunks(f);
    else if (f->response.content_length >= 0)
        rc = receive_length(f, f->response.content_length);
    else
        rc = receive_until_close(f);
    if (rc == 0 && f->decompressor != NULL && f->received.len > 0 &&
        !td_decompressor_is_complete(f->decompressor))
        rc = fail(f, TD_EBADMSG, "the body is not gzip, or it was cut off");
    return rc;
}

/* ---- one request */

static int
exchange(struct fetch *f, bool from_kept)
{
    int rc = open_upstream(f, from_kept);

    if (rc == 0)
        rc = send_request(f);
    if (rc == 0)
        rc = receive_response_head(f);
    if (rc == 0)
        rc = receive_body(f);
    return rc;
}

/* A kept connection was closed under the request, which has no effect that a second time adds to. */
static bool
may_repeat(const struct fetch *f, int rc)
{
    return (rc == TD_ECLOSED || rc == -ECONNRESET || rc == -EPIPE) && f->upstream != NULL &&
           f->upstream->was_kept && !f->is_answered &&
           IS_ONE_OF(f->method, "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE");
}

static bool
is_redirect(const struct fetch *f)
{
    const int max = f->options->max_redirects == 0 ? REDIRECTS_DEFAULT : f->options->max_redirects;
    const int status = f->response.status;

    return (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
           f->out->redirects < max &&
           td_headers_find(&f->response.headers, TD_STR("Location")) != NULL;
}

static void
take_response(struct fetch *f)
{
    const td_headers *from = &f->response.headers;
    td_fetch_header *headers = td_arena_alloc(f->arena, (from->count + 1) * sizeof(*headers));

    for (size_t i = 0; i < from->count; i++)
        headers[i] = (td_fetch_header){td_str_dup(f->arena, from->items[i].name).ptr,
                                       td_str_dup(f->arena, from->items[i].value).ptr};
    f->out->status = f->response.status;
    f->out->reason = td_str_dup(f->arena, f->response.reason);
    f->out->headers = headers;
    f->out->headers_count = from->count;
    f->out->body = td_str_dup(f->arena, td_buf_str(&f->received));
    f->out->effective_url = f->url;
}

static int
ask_once(struct fetch *f)
{
    int rc = check_url(f);

    if (rc == 0)
        rc = take_place(f);
    if (rc < 0)
        return rc;
    rc = exchange(f, true);
    if (may_repeat(f, rc)) {
        td_upstream_destroy(&f->upstream);
        f->out->error = 0;
        f->sent.start = f->sent.len = 0;
        rc = exchange(f, false);
    }
    if (rc < 0)
        return rc;
    if (!is_redirect(f))
        take_response(f);
    if (f->may_keep && f->response.keep_alive && f->rest.len == 0) {
        td_upstreams_keep(&client.kept, f->upstream);
        f->upstream = NULL;
    }
    return 0;
}

/* ---- redirects */

/* RFC 9110 section 15.4, as browsers do it. */
static int
follow(struct fetch *f)
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
    }
    f->url = url;
    f->out->redirects++;
    f->is_answered = false;
    return 0;
}

/* ---- all of it */

static int
ask(struct fetch *f)
{
    int rc = check_method(f);

    if (rc == 0)
        rc = check_headers(f);
    while (rc == 0) {
        f->deadline_ns = deadline_in(f->options->request_timeout_ms);
        rc = ask_once(f);
        let_go(f);
        if (rc < 0 || !is_redirect(f))
            break;
        rc = follow(f);
    }
    return rc;
}

int
td_http_client_fetch(td_arena *arena, const char *url, const td_fetch_options *options,
                     td_response *out)
{
    struct fetch f __attribute__((cleanup(let_go))) = {
        .arena = arena,
        .options = options,
        .out = out,
        .url = td_str_dup(arena, td_str_of(url)),
        .method = options->method != NULL ? td_str_of(options->method) : TD_STR("GET"),
        .body = options->body,
    };
    int rc;

    *out = (td_response){.size = sizeof(*out), .effective_url = f.url};
    open_client();
    rc = ask(&f);
    if (rc < 0) {
        *out = (td_response){.size = sizeof(*out), .status = 599, .reason = out->reason,
                             .effective_url = f.url, .redirects = out->redirects, .error = rc,
                             .phase = out->phase};
        return rc;
    }
    out->phase = TD_FETCH_DONE;
    return 0;
}
