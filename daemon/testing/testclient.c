/*
 * Who asks in a test: a client that sends one request over its end of a pair of sockets and reads
 * one response, as strictly as td_fetch does.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <tornado/cookies.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/network.h"
#include "daemon/testing/testing.h"
#include "http/chunked.h"
#include "http/headers.h"
#include "http/responsehead.h"

#define READ_SIZE (64 * 1024)
#define PEER_PORT 40000

struct td_test_exchange {
    td_list link;
    td_test *test;
    ev_io watcher;        /* watcher.fd: our end; -1 once closed */
    const char *name;     /* "GET /hello": for messages */
    bool has_no_body;     /* whatever the head says: HEAD */
    td_buf out, held;     /* to be sent now, and after 100 Continue */
    td_buf in, body;      /* received and not taken yet; what has been taken */
    td_response_scan scan;
    td_response_head head; /* points into `in`, until its bytes are taken */
    bool has_head;
    td_chunked chunked;
    td_response response;
    bool is_done;
    size_t awaited; /* bytes of body that somebody waits for; 0: for the end */
};

struct testcookie {
    td_list link;
    const char *name, *value;
};

/* ---- cookies */

static struct testcookie *
find_cookie(const td_test *t, td_str name)
{
    TD_LIST_FOREACH (link, &t->cookies) {
        struct testcookie *cookie = TD_CONTAINER_OF(link, struct testcookie, link);
        if (td_str_equal(td_str_of(cookie->name), name))
            return cookie;
    }
    return NULL;
}

td_str
td_test_cookie(const td_test *t, const char *name)
{
    const struct testcookie *cookie;

    testing_check(t);
    cookie = find_cookie(t, td_str_of(name));
    return td_str_of(cookie != NULL ? cookie->value : NULL);
}

static void
set_cookie(td_test *t, td_str name, td_str value)
{
    struct testcookie *cookie = find_cookie(t, name);

    if (cookie == NULL) {
        cookie = TD_ARENA_NEW(&t->arena, struct testcookie);
        cookie->name = td_str_dup(&t->arena, name).ptr;
        td_list_append(&t->cookies, &cookie->link);
    }
    cookie->value = td_str_dup(&t->arena, value).ptr;
}

static void
forget_cookie(td_test *t, td_str name)
{
    struct testcookie *cookie = find_cookie(t, name);

    if (cookie != NULL)
        td_list_remove(&cookie->link);
}

void
td_test_set_cookie(td_test *t, const char *name, const char *value)
{
    testing_check(t);
    if (name == NULL)
        testing_fail(t, "td_test_set_cookie: there is no name");
    if (value != NULL)
        set_cookie(t, td_str_of(name), td_str_of(value));
    else
        forget_cookie(t, td_str_of(name));
}

/* Up to the separator, which is taken off the front of text, too; trimmed. */
static td_str
take_up_to(td_str *text, char separator)
{
    const char *end = memchr(text->ptr, separator, text->len);
    const size_t len = end != NULL ? (size_t)(end - text->ptr) : text->len;
    const td_str part = td_str_trim(td_str_make(text->ptr, len));
    const size_t taken = end != NULL ? len + 1 : len;

    *text = td_str_make(text->ptr + taken, text->len - taken);
    return part;
}

/* RFC 6265 section 5.3: what has expired is forgotten.  Max-Age comes before Expires. */
static bool
is_over(td_str attributes)
{
    bool over = false;

    while (attributes.len > 0) {
        td_str value = take_up_to(&attributes, ';');
        const td_str name = take_up_to(&value, '=');
        time_t when;

        if (td_str_equal_nocase(name, TD_STR("Max-Age")))
            return value.len == 0 || value.ptr[0] == '-' || value.ptr[0] == '0';
        if (td_str_equal_nocase(name, TD_STR("Expires")) && td_http_date_parse(value, &when) == 0)
            over = when <= td_clock_cached_wall;
    }
    return over;
}

/* set-cookie-string = cookie-pair *( ";" SP cookie-av ) (RFC 6265 section 4.1.1) */
static void
take_cookie(td_test *t, td_str line)
{
    td_str value = take_up_to(&line, ';');
    const td_str name = take_up_to(&value, '=');

    if (is_over(line))
        forget_cookie(t, name);
    else
        set_cookie(t, name, td_str_trim(value));
}

static void
put_cookies(td_buf *to, const td_test *t)
{
    const char *separator = "Cookie: ";

    TD_LIST_FOREACH (link, &t->cookies) {
        const struct testcookie *cookie = TD_CONTAINER_OF(link, struct testcookie, link);
        td_buf_printf(to, "%s%s=%s", separator, cookie->name, cookie->value);
        separator = "; ";
    }
    if (!td_list_is_empty(&t->cookies))
        td_buf_append(to, TD_STR("\r\n"));
}

/* ---- the request */

static bool
has_header(const td_test_request *request, const char *name)
{
    for (size_t i = 0; i < request->headers_count; i++)
        if (strcasecmp(request->headers[i].name, name) == 0)
            return true;
    return false;
}

/* "http://host/path" is taken apart; "/path" is asked of localhost. */
static const char *
split_url(td_arena *arena, const char *url, td_str *host_out)
{
    static const char scheme[] = "http://";

    *host_out = TD_STR("localhost");
    if (strncmp(url, scheme, strlen(scheme)) != 0)
        return url;
    url += strlen(scheme);
    *host_out = td_str_dup(arena, td_str_make(url, strcspn(url, "/?")));
    url += host_out->len;
    return url[0] == '/' ? url : td_arena_sprintf(arena, "/%s", url).ptr;
}

static void
put_body(td_buf *to, const td_test_request *request)
{
    td_str rest = request->body;

    if (request->chunk_size == 0) {
        td_buf_append(to, rest);
        return;
    }
    while (rest.len > 0) {
        const size_t len = rest.len < request->chunk_size ? rest.len : request->chunk_size;
        td_buf_printf(to, "%zx\r\n", len);
        td_buf_append(to, td_str_make(rest.ptr, len));
        td_buf_append(to, TD_STR("\r\n"));
        rest = td_str_make(rest.ptr + len, rest.len - len);
    }
    td_buf_append(to, TD_STR("0\r\n\r\n"));
}

static void
put_head(td_buf *to, td_test *t, const char *method, const char *url,
         const td_test_request *request)
{
    const bool has_body = request->body.ptr != NULL;
    td_str host;
    const char *target = split_url(&t->arena, url, &host);

    td_buf_printf(to, "%s %s HTTP/1.1\r\n", method, target);
    if (!has_header(request, "Host"))
        td_buf_printf(to, "Host: %.*s\r\n", TD_STR_FMT(host));
    for (size_t i = 0; i < request->headers_count; i++)
        td_buf_printf(to, "%s: %s\r\n", request->headers[i].name, request->headers[i].value);
    if (has_body && strcmp(method, "POST") == 0 && !has_header(request, "Content-Type"))
        td_buf_append(to, TD_STR("Content-Type: application/x-www-form-urlencoded\r\n"));
    if (has_body && request->chunk_size > 0)
        td_buf_append(to, TD_STR("Transfer-Encoding: chunked\r\n"));
    else if (has_body)
        td_buf_printf(to, "Content-Length: %zu\r\n", request->body.len);
    if (has_body && request->expect_continue)
        td_buf_append(to, TD_STR("Expect: 100-continue\r\n"));
    if (t->keeps_cookies && !has_header(request, "Cookie"))
        put_cookies(to, t);
    td_buf_append(to, TD_STR("\r\n"));
}

/* ---- the end of an exchange */

static void
close_client(td_test_exchange *x)
{
    if (x->watcher.fd < 0)
        return;
    ev_io_stop(td_ioloop_ev(x->test->loop), &x->watcher);
    close(x->watcher.fd);
    x->watcher.fd = -1;
    td_buf_release(&x->out);
    td_buf_release(&x->held);
    td_buf_release(&x->in);
}

static void
finish(td_test_exchange *x)
{
    td_test *t = x->test;

    x->response.body = td_str_dup(&t->arena, td_buf_str(&x->body));
    x->response.phase = TD_FETCH_DONE;
    x->is_done = true;
    close_client(x);
    testing_stop(t);
}

/* What has come is no response. */
static void
fail_response(td_test_exchange *x, int error, const char *why)
{
    x->response.status = 599;
    x->response.error = error;
    x->response.reason = td_str_of(td_arena_strdup(&x->test->arena, why));
    finish(x);
}

/* ---- the response */

static void
take_headers(td_test_exchange *x)
{
    td_test *t = x->test;
    const td_headers *from = &x->head.headers;
    td_fetch_header *headers = TD_ARENA_ARRAY(&t->arena, td_fetch_header, from->count + 1);

    for (size_t i = 0; i < from->count; i++) {
        headers[i].name = td_str_dup(&t->arena, from->items[i].name).ptr;
        headers[i].value = td_str_dup(&t->arena, from->items[i].value).ptr;
        if (t->keeps_cookies && td_str_equal_nocase(from->items[i].name, TD_STR("Set-Cookie")))
            take_cookie(t, from->items[i].value);
    }
    x->response.status = x->head.status;
    x->response.reason = td_str_dup(&t->arena, x->head.reason);
    x->response.headers = headers;
    x->response.headers_count = from->count;
    x->has_head = true;
}

/* 1xx but 101 is passed over; after 100 the body may go. */
static void
take_interim(td_test_exchange *x)
{
    if (x->head.status == 100) {
        td_buf_append(&x->out, td_buf_str(&x->held));
        td_buf_release(&x->held);
    }
    x->scan = (td_response_scan){0};
}

/* False: more of it has to come, or it is broken, and the exchange has ended. */
static bool
take_head(td_test_exchange *x)
{
    const char *what;
    ssize_t len;

    do {
        len = td_response_head_scan(&x->scan, td_buf_str(&x->in), &what);
        if (len == 0)
            return false;
        if (len < 0 || td_response_head_read(td_str_make(td_buf_str(&x->in).ptr, (size_t)len),
                                             &x->test->arena, &x->head, &what) < 0) {
            fail_response(x, TD_EBADMSG, what);
            return false;
        }
        if (x->head.status >= 200 || x->head.status == 101)
            take_headers(x);
        else
            take_interim(x);
        td_buf_consume(&x->in, (size_t)len);
    } while (!x->has_head);
    return true;
}

static void
take_chunks(td_test_exchange *x)
{
    const td_chunked_limits none = {
        .body_max = UINT64_MAX, .trailer_size_max = UINT32_MAX, .trailers_max = UINT32_MAX};
    bool end = false;
    td_str data;

    while (x->in.len > 0 && !end) {
        const ssize_t n = td_chunked_decode(&x->chunked, &none, td_buf_str(&x->in).ptr, x->in.len,
                                            &data, &end);
        if (n < 0) {
            fail_response(x, (int)n, x->chunked.what);
            return;
        }
        td_buf_append(&x->body, data);
        td_buf_consume(&x->in, (size_t)n);
    }
    if (end)
        finish(x);
}

static void
take_body(td_test_exchange *x)
{
    const td_response_head *head = &x->head;

    if (x->has_no_body || head->status == 204 || head->status == 304) {
        finish(x);
        return;
    }
    if (head->chunked) {
        take_chunks(x);
        return;
    }
    td_buf_append(&x->body, td_buf_str(&x->in));
    td_buf_consume(&x->in, x->in.len);
    if (head->content_length >= 0 && (int64_t)x->body.len >= head->content_length)
        finish(x);
}

static void
take_end(td_test_exchange *x)
{
    if (x->has_head && !x->head.chunked && x->head.content_length < 0)
        finish(x);
    else if (x->has_head)
        fail_response(x, TD_ECLOSED, "closed in the middle of the response");
    else
        fail_response(x, TD_ECLOSED, "closed without an answer");
}

/* ---- the socket */

static void
receive(td_test_exchange *x)
{
    const ssize_t n = read(x->watcher.fd, td_buf_reserve(&x->in, READ_SIZE), READ_SIZE);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        take_end(x);
        return;
    }
    td_buf_added(&x->in, (size_t)n);
    if (x->has_head || take_head(x))
        take_body(x);
    if (!x->is_done && x->awaited > 0 && x->body.len >= x->awaited)
        testing_stop(x->test);
}

/* What cannot be sent any more is not: the answer says why. */
static void
transmit(td_test_exchange *x)
{
    const td_str bytes = td_buf_str(&x->out);
    const ssize_t n = send(x->watcher.fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

    if (n >= 0)
        td_buf_consume(&x->out, (size_t)n);
    else if (errno != EAGAIN)
        td_buf_release(&x->out);
}

static void
watch(td_test_exchange *x)
{
    struct ev_loop *ev = td_ioloop_ev(x->test->loop);

    ev_io_stop(ev, &x->watcher);
    ev_io_modify(&x->watcher, x->out.len > 0 ? EV_READ | EV_WRITE : EV_READ);
    ev_io_start(ev, &x->watcher);
}

static void
on_event(struct ev_loop *ev, ev_io *watcher, int events)
{
    td_test_exchange *x = watcher->data;

    (void)ev;
    if (events & EV_WRITE)
        transmit(x);
    if (events & EV_READ)
        receive(x);
    if (!x->is_done)
        watch(x);
}

/* ---- asking */

static void
connect_client(td_test_exchange *x, const char *peer)
{
    td_address address;
    int fds[2];

    if (!td_address_parse(td_str_of(peer != NULL ? peer : "127.0.0.1"), &address))
        testing_fail(x->test, "%s: peer %s is no address", x->name, peer);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        testing_fail(x->test, "%s: socketpair: %s", x->name, strerror(errno));
    const td_peer from = td_peer_make(address, PEER_PORT);
    ev_io_init(&x->watcher, on_event, fds[0], EV_READ | EV_WRITE);
    x->watcher.data = x;
    ev_io_start(td_ioloop_ev(x->test->loop), &x->watcher);
    td_clock_refresh();
    td_httpserver_admit(x->test->server, fds[1], &from);
}

td_test_exchange *
td_test_send(td_test *t, const char *url, const td_test_request *given)
{
    td_test_exchange *x = TD_ARENA_NEW(&t->arena, td_test_exchange);
    td_test_request request = {.size = 0}; /* of today, whatever they were built with */

    if (url == NULL)
        testing_fail(t, "td_test_send: there is no url");
    if (given != NULL)
        memcpy(&request, given, given->size < sizeof(request) ? given->size : sizeof(request));
    const char *method = request.method != NULL ? request.method : "GET";
    x->test = t;
    x->name = td_arena_sprintf(&t->arena, "%s %s", method, url).ptr;
    x->has_no_body = strcmp(method, "HEAD") == 0;
    x->response.size = sizeof(x->response);
    x->response.effective_url = td_str_of(td_arena_strdup(&t->arena, url));
    put_head(&x->out, t, method, url, &request);
    if (request.body.ptr != NULL)
        put_body(request.expect_continue ? &x->held : &x->out, &request);
    td_list_append(&t->exchanges, &x->link);
    connect_client(x, request.peer);
    return x;
}

static void
check_exchange(td_test *t, const td_test_exchange *exchange, const char *function)
{
    testing_check(t);
    if (exchange == NULL)
        testing_fail(t, "%s: there is no exchange", function);
}

void
td_test_write(td_test *t, td_test_exchange *exchange, td_str bytes)
{
    check_exchange(t, exchange, "td_test_write");
    if (exchange->watcher.fd < 0)
        testing_fail(t, "%s: its client has left, or has its answer", exchange->name);
    td_buf_append(exchange->held.len > 0 ? &exchange->held : &exchange->out, bytes);
    watch(exchange);
}

/* Milliseconds, up to the next whole one; 0: it is over. */
static int64_t
time_left(int64_t end_ns)
{
    const int64_t left_ns = end_ns - td_clock_ns();

    return left_ns > 0 ? (left_ns + TD_NS_PER_MS - 1) / TD_NS_PER_MS : 0;
}

static void
fail_late(td_test_exchange *x)
{
    const td_test *t = x->test;

    if (!x->has_head)
        testing_fail(x->test, "%s: no answer within %lld ms: %s", x->name,
                     (long long)t->timeout_ms,
                     td_handlers_running() > 0 ? "its handler still waits"
                                               : "no handler waits, and none has answered");
    testing_fail(x->test, "%s: %d, but after %zu bytes of body no end of it within %lld ms", x->name,
                 x->response.status, x->body.len, (long long)t->timeout_ms);
}

const td_response *
td_test_receive(td_test *t, td_test_exchange *exchange)
{
    const int64_t end_ns = td_clock_ns() + t->timeout_ms * TD_NS_PER_MS;

    check_exchange(t, exchange, "td_test_receive");
    exchange->awaited = 0;
    while (!exchange->is_done) {
        const int64_t left_ms = time_left(end_ns);
        if (exchange->watcher.fd < 0)
            testing_fail(t, "%s: its client has left", exchange->name);
        if (left_ms == 0 || !testing_wait(t, left_ms, exchange->name))
            fail_late(exchange);
    }
    return &exchange->response;
}

td_str
td_test_receive_some(td_test *t, td_test_exchange *exchange, size_t bytes)
{
    const int64_t end_ns = td_clock_ns() + t->timeout_ms * TD_NS_PER_MS;

    check_exchange(t, exchange, "td_test_receive_some");
    exchange->awaited = bytes;
    while (exchange->body.len < bytes) {
        const int64_t left_ms = time_left(end_ns);
        if (exchange->watcher.fd < 0)
            testing_fail(t, "%s: it has ended after %zu bytes of body", exchange->name,
                         exchange->body.len);
        if (left_ms == 0 || !testing_wait(t, left_ms, exchange->name))
            fail_late(exchange);
    }
    td_buf_reserve(&exchange->body, 1)[0] = '\0';
    return td_buf_str(&exchange->body);
}

const td_response *
td_test_fetch(td_test *t, const char *url, const td_test_request *request)
{
    return td_test_receive(t, td_test_send(t, url, request));
}

void
td_test_leave(td_test *t, td_test_exchange *exchange)
{
    check_exchange(t, exchange, "td_test_leave");
    close_client(exchange);
}

void
testclient_close_all(td_test *test)
{
    TD_LIST_FOREACH (link, &test->exchanges) {
        td_test_exchange *x = TD_CONTAINER_OF(link, td_test_exchange, link);
        close_client(x);
        td_buf_release(&x->body);
    }
}
