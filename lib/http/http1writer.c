/*
 * The answering half of an HTTP/1.1 connection: td_message_writer, framing (RFC 9112 section 6),
 * persistence (section 9.3), and output that the kernel does not take at once.
 *
 * Heads and small bodies are copied into the buffer of the turn; a large body is handed to the
 * kernel together with what is in front of it, and only what the kernel refuses is kept: by
 * reference when the caller says that the bytes stay, else by copy.
 */
#include <errno.h>
#include <strings.h>
#include <sys/socket.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/put.h"
#include "http/http1_internal.h"

http1_turn td_http1_turn;

#define COPY_MAX 8192 /* bytes of body that are cheaper to copy than to send on their own */

/* ---- output */

size_t
td_http1_unsent(const td_http1connection *conn)
{
    size_t n = conn->out.len + conn->stable.len;

    return td_http1_turn.owner == conn ? n + td_http1_turn.out.len + td_http1_turn.prepared.len : n;
}

static void
keep_unsent(td_http1connection *conn, struct iovec *parts, int count, bool last_is_stable)
{
    for (int i = 0; i < count; i++) {
        td_str rest = td_str_make(parts[i].iov_base, parts[i].iov_len);

        if (rest.len == 0)
            continue;
        if (last_is_stable && i == count - 1)
            conn->stable = rest;
        else
            td_buf_append(&conn->out, rest);
    }
}

/* Advance the parts by what was sent. */
static void
parts_consume(struct iovec *parts, int count, size_t sent)
{
    for (int i = 0; i < count; i++) {
        size_t n = sent < parts[i].iov_len ? sent : parts[i].iov_len;

        parts[i].iov_base = (char *)parts[i].iov_base + n;
        parts[i].iov_len -= n;
        sent -= n;
    }
}

void
td_http1_count_sent(td_http1connection *conn, size_t n)
{
    if (__builtin_add_overflow(conn->window_sent, (uint32_t)n, &conn->window_sent))
        conn->window_sent = UINT32_MAX;
    conn->context->counters->sent += n;
}

/* One attempt.  Returns false when the connection broke. */
static bool
write_parts(td_http1connection *conn, struct iovec *parts, int count)
{
    bool ends = conn->closing != HTTP1_STAY && conn->phase == HTTP1_IDLE;
    ssize_t n = conn->transport.ops->writev(&conn->transport, parts, count,
                                            ends || conn->range != NULL);

    if (n < 0 && n != -EAGAIN) {
        http1_break(conn);
        return false;
    }
    if (n > 0) {
        parts_consume(parts, count, (size_t)n);
        td_http1_count_sent(conn, (size_t)n);
    }
    return true;
}

static void
turn_buffer_clear(void)
{
    td_buf_consume(&td_http1_turn.out, td_http1_turn.out.len);
    td_http1_turn.prepared = td_str_make(NULL, 0);
    td_http1_turn.owner = NULL;
}

/* Send what the turn has collected for conn, with `bytes` behind it. */
static void
send_turn(td_http1connection *conn, td_str bytes, bool stable)
{
    td_str head = td_buf_str(&td_http1_turn.out);
    struct iovec parts[2] = {{(void *)(uintptr_t)head.ptr, head.len},
                             {(void *)(uintptr_t)bytes.ptr, bytes.len}};
    int count = bytes.len > 0 ? 2 : 1;

    if (write_parts(conn, parts, count))
        keep_unsent(conn, parts, count, stable && bytes.len > 0);
    turn_buffer_clear();
}

/* Send what was prepared; nothing is in front of it. */
static void
send_prepared(td_http1connection *conn)
{
    struct iovec part = {(void *)(uintptr_t)td_http1_turn.prepared.ptr, td_http1_turn.prepared.len};

    if (write_parts(conn, &part, 1))
        keep_unsent(conn, &part, 1, false);
    turn_buffer_clear();
}

void
td_http1_send(td_http1connection *conn)
{
    if (conn->broken) {
        if (td_http1_turn.owner == conn)
            turn_buffer_clear();
        return;
    }
    if (conn->out.len > 0 || conn->stable.len > 0) {
        td_str out = td_buf_str(&conn->out);
        struct iovec parts[2] = {{(void *)(uintptr_t)out.ptr, out.len},
                                 {(void *)(uintptr_t)conn->stable.ptr, conn->stable.len}};

        TD_ASSERT(td_http1_turn.owner != conn);
        if (!write_parts(conn, parts, 2))
            return;
        td_buf_consume(&conn->out, out.len - parts[0].iov_len);
        conn->stable = td_str_make(parts[1].iov_base, parts[1].iov_len);
        if (conn->out.len == 0)
            td_buf_release(&conn->out);
    } else if (td_http1_turn.owner == conn) {
        if (td_http1_turn.prepared.len > 0)
            send_prepared(conn);
        else
            send_turn(conn, td_str_make(NULL, 0), false);
    }
    if (conn->range != NULL && !conn->broken && conn->out.len == 0 && conn->stable.len == 0)
        td_http1_file_send(conn);
}

/* Where the next bytes of conn's output are to be appended. */
static td_buf *
output(td_http1connection *conn)
{
    if (conn->stable.len > 0) { /* order: what is stable goes before */
        td_buf_append(&conn->out, conn->stable);
        conn->stable = td_str_make(NULL, 0);
    }
    if (conn->out.len > 0)
        return &conn->out;
    if (td_http1_turn.owner == NULL)
        td_http1_turn.owner = conn;
    return td_http1_turn.owner == conn ? &td_http1_turn.out : &conn->out;
}

static void
emit_body(td_http1connection *conn, td_str bytes, bool stable)
{
    bool waiting = conn->out.len > 0 || conn->stable.len > 0;

    if (bytes.len > COPY_MAX && !waiting && td_http1_turn.owner == conn)
        send_turn(conn, bytes, stable);
    else if (stable && waiting && conn->stable.len == 0 && bytes.len > COPY_MAX)
        conn->stable = bytes;
    else
        td_buf_append(output(conn), bytes);
}

void
td_http1_leave_prepared(td_http1connection *conn)
{
    const td_str bytes = td_http1_turn.prepared;

    if (bytes.len > COPY_MAX) {
        send_prepared(conn);
    } else {
        td_buf_append(&td_http1_turn.out, bytes);
        td_http1_turn.prepared = td_str_make(NULL, 0);
    }
}

/* Out of turn nobody else will send: do it now, and see that the rest is waited for. */
static void
sent_or_waiting(td_http1connection *conn)
{
    if (td_http1_turn.active == conn)
        return;
    td_http1_send(conn);
    td_ioloop_post(conn->context->loop, &conn->resume);
}

/* ---- heads */

/* By status; those without an entry are "Unknown". */
static const td_str status_lines[600] = {
#define X(code, reason)                                                                            \
    [code] = {"HTTP/1.1 " #code " " reason "\r\n", sizeof("HTTP/1.1 " #code " " reason "\r\n") - 1},
#include "http/status.def"
#undef X
};

#define STATUS_LINES (sizeof(status_lines) / sizeof(status_lines[0]))
#define STATUS_LINE_MAX (sizeof("HTTP/1.1 999 \r\n") + 64)

static char *
put_status_line(char *at, int status, td_str reason)
{
    if (td_str_is_null(reason)) {
        td_str line = (size_t)status < STATUS_LINES ? status_lines[status] : td_str_make(NULL, 0);

        if (line.len > 0)
            return td_put(at, line);
        reason = TD_STR("Unknown");
    }
    at = TD_PUT(at, "HTTP/1.1 ");
    at = td_put_decimal(at, (uint64_t)status);
    *at++ = ' ';
    at = td_put(at, reason);
    return TD_PUT(at, "\r\n");
}

static char *
put_date(char *at)
{
    td_str date = td_http_date_now();

    at = TD_PUT(at, "Date: ");
    at = td_put(at, date);
    return TD_PUT(at, "\r\n");
}

static bool
is_named(const td_header *header, char initial, td_str name)
{
    return (header->name.ptr[0] | 0x20) == initial &&
           strncasecmp(header->name.ptr, name.ptr, name.len) == 0;
}

/* The framing headers are ours (RFC 9112 section 6); Connection is obeyed, then written by us. */
static bool
is_ours(td_http1connection *conn, const td_header *header)
{
    switch (header->name.len) {
    case 4:
        return is_named(header, 'd', TD_STR("Date"));
    case 10:
        if (!is_named(header, 'c', TD_STR("Connection")))
            return false;
        if (td_list_has_token(header->value, TD_STR("close")))
            conn->keep = false;
        return true;
    case 14:
        return is_named(header, 'c', TD_STR("Content-Length"));
    case 17:
        return is_named(header, 't', TD_STR("Transfer-Encoding"));
    default:
        return false;
    }
}

static char *
put_headers(char *at, td_http1connection *conn, const td_headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        const td_header *header = &headers->items[i];

        if (is_ours(conn, header))
            continue;
        at = td_put(at, header->name);
        at = TD_PUT(at, ": ");
        at = td_put(at, header->value);
        at = TD_PUT(at, "\r\n");
    }
    return at;
}

static size_t
headers_size(const td_headers *headers)
{
    size_t size = 0;

    for (size_t i = 0; i < headers->count; i++)
        size += headers->items[i].name.len + headers->items[i].value.len + 4;
    return size;
}

/*
 * May the connection outlive this answer (RFC 9112 section 9.3)?  A body that is still coming is
 * drained when it is known that little of it is left; a client that waits for 100 may never send
 * it.
 */
static bool
may_keep(const td_http1connection *conn)
{
    const td_request *request = conn->request;
    const td_limits *limits = &conn->context->settings->limits;

    if (!request->head.keep_alive || conn->context->draining ||
        conn->context->settings->no_keep_alive || conn->closing != HTTP1_STAY)
        return false;
    if (limits->max_requests_per_connection > 0 &&
        conn->requests >= limits->max_requests_per_connection)
        return false;
    if (conn->phase == HTTP1_BODY)
        return conn->chunked == NULL && conn->body_left <= HTTP1_DRAIN_MAX &&
               request->head.expect == TD_EXPECT_NONE;
    return true;
}

static void
choose_framing(td_http1connection *conn, int status, int64_t length)
{
    const td_head *head = &conn->request->head;
    bool bodiless = status < 200 || status == 204 || status == 304;

    conn->no_body = bodiless || status == 205 || head->method == TD_METHOD_HEAD;
    conn->out_sized = !bodiless && length >= 0;
    conn->out_left = conn->out_sized ? (uint64_t)length : 0;
    conn->out_chunked = !conn->no_body && length < 0 && head->minor >= 1;
    conn->keep = may_keep(conn);
    if (!conn->no_body && length < 0 && !conn->out_chunked)
        conn->keep = false; /* only closing ends this body */
}

static int
http1_head(td_request *request, int status, td_str reason, const td_headers *headers,
           int64_t length)
{
    td_http1connection *conn = request->connection;
    td_buf *out;
    char *at;

    if (conn == NULL || conn->broken)
        return TD_ECLOSED;
    if (conn->head_sent || status < 200)
        return TD_EINVAL;
    choose_framing(conn, status, length);
    conn->head_sent = true;
    request->status = status;

    out = output(conn);
    at = td_buf_reserve(out, STATUS_LINE_MAX + reason.len + headers_size(headers) + 160);
    char *const start = at;
    at = put_status_line(at, status, reason);
    at = put_headers(at, conn, headers);
    at = put_date(at);
    if (conn->out_sized) {
        at = TD_PUT(at, "Content-Length: ");
        at = td_put_decimal(at, conn->out_left);
        at = TD_PUT(at, "\r\n");
    } else if (conn->out_chunked) {
        at = TD_PUT(at, "Transfer-Encoding: chunked\r\n");
    }
    if (request->head.minor == 0) { /* closing is what a 1.0 client expects */
        if (conn->keep)
            at = TD_PUT(at, "Connection: Keep-Alive\r\n");
    } else if (!conn->keep) {
        at = TD_PUT(at, "Connection: close\r\n");
    }
    at = TD_PUT(at, "\r\n");
    td_buf_added(out, (size_t)(at - start));
    return 0;
}

/* ---- what is prepared */

static bool
http1_prepare(td_request *request, td_prepared *prepared, const td_headers *headers)
{
    char head[TD_PREPARED_ROOM], *at = head, *date;

    if (STATUS_LINE_MAX + headers_size(headers) + 160 > sizeof(head))
        return false;
    at = put_status_line(at, 200, td_str_make(NULL, 0));
    at = put_headers(at, request->connection, headers);
    date = at + sizeof("Date: ") - 1;
    at = put_date(at);
    at = TD_PUT(at, "Content-Length: ");
    at = td_put_decimal(at, prepared->body.len);
    at = TD_PUT(at, "\r\n\r\n");
    prepared->head_len = (size_t)(at - head);
    prepared->date = (char *)(uintptr_t)prepared->body.ptr - (at - date);
    prepared->dated = td_clock_cached_wall;
    memcpy((char *)(uintptr_t)prepared->body.ptr - prepared->head_len, head, prepared->head_len);
    return true;
}

static bool
http1_send_prepared(td_request *request, td_prepared *prepared)
{
    td_http1connection *conn = request->connection;

    if (request->head.minor == 0 || !may_keep(conn) || http1_is_waiting(conn) ||
        td_http1_turn.active != conn)
        return false; /* its head says more of the connection, or it cannot leave in this turn */
    if (TD_UNLIKELY(prepared->dated != td_clock_cached_wall)) {
        prepared->dated = td_clock_cached_wall;
        memcpy(prepared->date, td_http_date_now().ptr, TD_HTTP_DATE_LEN);
    }
    const td_str bytes = {prepared->body.ptr - prepared->head_len,
                          prepared->head_len + prepared->body.len};
    request->status = 200;
    request->body_sent = prepared->body.len;
    conn->head_sent = conn->answered = conn->keep = true;
    if (td_http1_turn.owner == NULL) {
        td_http1_turn.owner = conn;
        td_http1_turn.prepared = bytes;
    } else {
        emit_body(conn, bytes, false);
    }
    return true;
}

static int
http1_inform(td_request *request, int status, const td_headers *headers)
{
    td_http1connection *conn = request->connection;
    td_buf *out;
    char *at;

    if (conn == NULL || conn->broken)
        return TD_ECLOSED;
    if (conn->head_sent || status < 100 || status >= 200)
        return TD_EINVAL;
    if (request->head.minor == 0)
        return 0; /* RFC 9110 section 15.2: never to a 1.0 client */

    out = output(conn);
    at = td_buf_reserve(out, STATUS_LINE_MAX + (headers != NULL ? headers_size(headers) : 0) + 2);
    char *const start = at;
    at = put_status_line(at, status, td_str_make(NULL, 0));
    if (headers != NULL)
        at = put_headers(at, conn, headers);
    at = TD_PUT(at, "\r\n");
    td_buf_added(out, (size_t)(at - start));
    td_http1_send(conn);
    return conn->broken ? TD_ECLOSED : 0;
}

/* ---- bodies */

static void
emit_chunk(td_http1connection *conn, td_str bytes)
{
    static const char hex[] = "0123456789abcdef";
    char line[18];
    size_t n = sizeof(line);

    line[--n] = '\n';
    line[--n] = '\r';
    for (size_t left = bytes.len; left > 0; left >>= 4)
        line[--n] = hex[left & 15];
    td_buf_append(output(conn), td_str_make(line + n, sizeof(line) - n));
    emit_body(conn, bytes, false);
    td_buf_append(output(conn), TD_STR("\r\n"));
}

/* RFC 9112 section 6.2: what comes after the length told would be taken for the next answer. */
static int
refuse_excess(td_request *request)
{
    td_log_at(TD_LOG_ERROR, "http", "more body than its Content-Length for %.*s: closed",
              TD_STR_FMT(request->head.target));
    td_http1_writer.abort(request);
    return TD_EINVAL;
}

static int
http1_body(td_request *request, td_str bytes, bool stable)
{
    td_http1connection *conn = request->connection;

    if (conn == NULL || conn->broken)
        return TD_ECLOSED;
    if (!conn->head_sent || conn->answered)
        return TD_EINVAL;
    if (conn->no_body || bytes.len == 0)
        return 0;
    if (conn->out_sized && bytes.len > conn->out_left)
        return refuse_excess(request);
    request->body_sent += bytes.len;
    if (conn->out_chunked) {
        emit_chunk(conn, bytes);
    } else {
        conn->out_left -= conn->out_sized ? bytes.len : 0;
        if (conn->range != NULL)
            td_http1_file_append(conn, bytes, stable);
        else
            emit_body(conn, bytes, stable);
    }
    return conn->broken ? TD_ECLOSED : 0;
}

static int
http1_file(td_request *request, td_file *file, uint64_t offset, uint64_t length)
{
    td_http1connection *conn = request->connection;

    if (conn == NULL || conn->broken)
        return TD_ECLOSED;
    if (!conn->head_sent || conn->answered || conn->out_chunked)
        return TD_EINVAL;
    if (conn->no_body || length == 0)
        return 0;
    if (conn->out_sized && length > conn->out_left)
        return refuse_excess(request);
    conn->out_left -= conn->out_sized ? length : 0;
    request->body_sent += length;
    td_http1_file_add(conn, file, offset, length);
    td_http1_send(conn);
    return conn->broken ? TD_ECLOSED : 0;
}

static int
http1_flush(td_request *request)
{
    td_http1connection *conn = request->connection;

    if (conn == NULL || conn->broken)
        return TD_ECLOSED;
    td_http1_send(conn);
    if (td_http1_unsent(conn) > (size_t)http1_limits(conn)->write_high_water)
        conn->above_high_water = true;
    if (td_http1_turn.active != conn)
        td_ioloop_post(conn->context->loop, &conn->resume); /* to watch for writability */
    return conn->broken ? TD_ECLOSED : 0;
}

static int
http1_finish(td_request *request)
{
    td_http1connection *conn = request->connection;

    if (conn == NULL || conn->broken)
        return TD_ECLOSED;
    if (!conn->head_sent || conn->answered)
        return TD_EINVAL;
    if (conn->out_sized && conn->out_left > 0 && !conn->no_body) {
        td_log_at(TD_LOG_ERROR, "http", "less body than its Content-Length for %.*s: closed",
                  TD_STR_FMT(request->head.target));
        td_http1_writer.abort(request);
        return TD_EINVAL;
    }
    if (conn->out_chunked)
        td_buf_append(output(conn), TD_STR("0\r\n\r\n"));
    conn->answered = true;
    http1_end_pause(conn);
    sent_or_waiting(conn);
    return 0;
}

/*
 * RFC 9110 section 15.2.2: a 101 names the protocol that comes behind it.  The Connection that
 * lists Upgrade (section 7.8) is ours, as each Connection.
 */
static void
switch_protocols(td_http1connection *conn, const td_headers *headers)
{
    td_buf *out = output(conn);
    char *const start = td_buf_reserve(out, STATUS_LINE_MAX + headers_size(headers) + 160);
    char *at = put_status_line(start, 101, td_str_make(NULL, 0));

    at = put_headers(at, conn, headers);
    at = put_date(at);
    at = TD_PUT(at, "Connection: Upgrade\r\n\r\n");
    td_buf_added(out, (size_t)(at - start));
}

/* The turn's end does it: what of the input is not taken yet is only then where it can be found. */
static int
http1_detach(td_request *request, td_detached *detached, int status,
             const td_headers *headers)
{
    td_http1connection *conn = request->connection;

    if (conn == NULL || conn->broken)
        return TD_ECLOSED;
    if (conn->phase != HTTP1_HANDLING || conn->head_sent || conn->answered)
        return TD_EINVAL;
    if (headers != NULL)
        switch_protocols(conn, headers);
    request->status = status;
    request->detached = detached;
    conn->head_sent = conn->detaching = true;
    sent_or_waiting(conn);
    return 0;
}

/* Whatever was promised will not come: close without the last chunk (RFC 9112 section 8). */
static void
http1_abort(td_request *request)
{
    td_http1connection *conn = request->connection;

    if (conn == NULL)
        return;
    td_http1_send(conn);
    http1_break(conn);
}

const td_message_writer td_http1_writer = {
    .inform = http1_inform,
    .head = http1_head,
    .body = http1_body,
    .file = http1_file,
    .flush = http1_flush,
    .finish = http1_finish,
    .detach = http1_detach,
    .abort = http1_abort,
    .prepare = http1_prepare,
    .send_prepared = http1_send_prepared,
};

/* ---- refusals */

#define PAGE(code, reason)                                                                         \
    "<html><title>" #code ": " reason "</title><body>" #code ": " reason "</body></html>"

static td_str
error_page(int status)
{
    switch (status) {
#define X(code, reason)                                                                            \
    case code:                                                                                     \
        return TD_STR(PAGE(code, reason));
#include "http/status.def"
#undef X
    default:
        return TD_STR("");
    }
}

void
td_http1_refuse(td_http1connection *conn, int status, const char *why)
{
    static td_log_gate theirs, ours; /* a flood of bad requests hides no full disk */
    const bool is_ours = status >= 500;
    td_request *request = conn->request;
    td_header fields[] = {{TD_STR("Server"), conn->context->server_header},
                          {TD_STR("Content-Type"), TD_STR("text/html; charset=UTF-8")}};
    const size_t first = fields[0].value.len > 0 ? 0 : 1;
    td_headers headers = {fields + first, 2 - first, 2 - first};
    td_str page = error_page(status);
    char peer[TD_PEER_TEXT_SIZE];

    td_count_reason(status, why);
    td_peer_format(&conn->peer, peer);
    td_log_gated(is_ours ? &ours : &theirs, is_ours ? TD_LOG_ERROR : TD_LOG_INFO, "http",
                 "answered %d to %s (%s)", status, peer, why);
    conn->closing = HTTP1_CLOSE_GENTLY; /* and so the head says Connection: close */
    if (http1_head(request, status, td_str_make(NULL, 0), &headers, (int64_t)page.len) < 0 ||
        http1_body(request, page, true) < 0) {
        conn->broken = true; /* an answer had begun already: all we can do is to cut it off */
        return;
    }
    conn->answered = conn->refused = true;
}

#define UNAVAILABLE_PAGE PAGE(503, "Service Unavailable")
_Static_assert(sizeof(UNAVAILABLE_PAGE) - 1 == 89, "Content-Length below");

static struct iovec
part_of(td_str bytes)
{
    return (struct iovec){(void *)(uintptr_t)bytes.ptr, bytes.len};
}

void
td_http1_send_unavailable(const td_http1context *context, int fd)
{
    const td_str server = context->server_header;
    struct iovec parts[] = {
        part_of(TD_STR("HTTP/1.1 503 Service Unavailable\r\n"
                       "Content-Type: text/html; charset=UTF-8\r\n"
                       "Content-Length: 89\r\n"
                       "Retry-After: 1\r\n"
                       "Connection: close\r\n"
                       "Date: ")),
        part_of(td_http_date_now()),
        part_of(server.len > 0 ? TD_STR("\r\nServer: ") : server),
        part_of(server),
        part_of(TD_STR("\r\n\r\n" UNAVAILABLE_PAGE)),
    };
    const struct msghdr message = {.msg_iov = parts,
                                   .msg_iovlen = sizeof(parts) / sizeof(parts[0])};

    (void)!sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}
