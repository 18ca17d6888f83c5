/*
 * The receiving of a request body, a part of http1connection.c: sized or chunked, plain or
 * compressed; kept in memory, spilled to a file or streamed to the delegate, who may pause it.
 *
 * Every size is compared with its limit before room is made, and room grows with what has come.  A
 * body that is not wanted is drained, to keep the connection.  Called from within a turn of the
 * connection, which looks at broken, answered and body_paused afterwards.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/budget.h"
#include "base/escape.h"
#include "http/http1_internal.h"

#define BODY_FIRST (16 * 1024)   /* bytes of room for a buffered body before any of it has come */

/* ---- time-outs; each is a turn */

static void
body_expired(td_deadline *deadline)
{
    td_http1_refuse_late(http1_connection_of(deadline), "body_timeout");
}

/* A client has 10 s in which we did want more; then it is judged by all of them. */
static void
rate_expired(td_deadline *deadline)
{
    td_http1connection *conn = http1_connection_of(deadline);
    const int64_t rate = http1_limits(conn)->body_min_rate, now_ns = td_now_ns();
    http1_flow *flow = conn->flow;

    if (!conn->body_paused) {
        flow->waited_ns += now_ns - flow->waiting_since_ns;
        flow->waiting_since_ns = now_ns;
    }
    if (flow->waited_ns >= HTTP1_RATE_WINDOW_MS * TD_NS_PER_MS) {
        if (conn->window_received < rate * (flow->waited_ns / TD_NS_PER_MS) / 1000) {
            td_http1_refuse_late(conn, "body_min_rate");
            return;
        }
        conn->window_received = 0;
        flow->waited_ns = 0;
    }
    td_deadline_start(&conn->context->receiving, deadline, now_ns);
}

static td_deadlines *
body_timeout(td_http1context *context, int64_t duration_ms)
{
    td_http1timeout *timeout = context->bodies;

    while (timeout != NULL && timeout->duration_ms != duration_ms)
        timeout = timeout->next;
    if (timeout == NULL) {
        timeout = td_xcalloc(1, sizeof(*timeout));
        timeout->duration_ms = duration_ms;
        timeout->next = context->bodies;
        context->bodies = timeout;
        td_deadlines_init(&timeout->list, context->loop, duration_ms, body_expired);
    }
    return &timeout->list;
}

/* ---- the beginning */

/* RFC 9110 section 10.1.1: the client waits for a word before it sends its body. */
void
td_http1_body_send_continue(td_http1connection *conn)
{
    td_head *head = &conn->request->head;

    if (head->expect != TD_EXPECT_CONTINUE || conn->head_sent)
        return;
    head->expect = TD_EXPECT_NONE; /* from now on the body comes */
    td_http1_writer.inform(conn->request, 100, NULL);
}

static http1_flow *
flow_of(td_http1connection *conn)
{
    if (conn->flow == NULL)
        conn->flow = TD_ARENA_NEW(&conn->request->arena, http1_flow);
    conn->flow->conn = conn;
    return conn->flow;
}

void
td_http1_body_drop_flow(td_http1connection *conn)
{
    td_decompressor_destroy(&conn->flow->decompressor);
    td_deadline_stop(&conn->flow->look);
    conn->flow = NULL;
    conn->body_paused = conn->body_yields = false;
}

static bool
is_compressed(const td_http1connection *conn)
{
    return conn->flow != NULL && conn->flow->decompressor != NULL;
}

/* How long the body is going to be for the delegate. */
static bool
is_size_known(const td_http1connection *conn)
{
    return !conn->request->head.chunked && !is_compressed(conn);
}

/*
 * Room for n more bytes of a buffered body.  It grows with what has come, as the length that a
 * client tells costs it nothing: by half, or where the length is told to four times, for few reads.
 */
static bool
make_room(td_http1connection *conn, size_t n)
{
    td_request *request = conn->request;
    const size_t need = request->body_buf.len + n;
    size_t room = need > request->body_buf.size ? need + need / 2 : need;

    if (is_size_known(conn))
        room = 4 * need < (size_t)request->head.content_length
                   ? 4 * need
                   : (size_t)request->head.content_length;
    return td_request_reserve_body(request, room) || td_request_reserve_body(request, need);
}

/*
 * RFC 9110 section 8.4.1.3: x-gzip is the same.  More than one coding is left to the handler, who
 * sees from the name of the header whether there is something left to do.  Nor is the length his:
 * who makes room by it would have too little for what it becomes.
 */
static void
begin_decompression(td_http1connection *conn)
{
    const td_headers *headers = &conn->request->head.headers;
    const td_header *line = td_headers_find(headers, TD_STR("Content-Encoding"));
    const td_header *length = td_headers_find(headers, TD_STR("Content-Length"));

    if (line == NULL || td_headers_next(headers, line) != NULL ||
        (!td_str_equal_nocase(line->value, TD_STR("gzip")) &&
         !td_str_equal_nocase(line->value, TD_STR("x-gzip"))))
        return;
    headers->items[line - headers->items].name = TD_STR("X-Consumed-Content-Encoding");
    if (length != NULL)
        headers->items[length - headers->items].name = TD_STR("X-Consumed-Content-Length");
    flow_of(conn)->decompressor = td_decompressor_create();
}

/* It is paused until the delegate asks for it; meanwhile body_min_rate does not count. */
static void
begin_streamed_body(td_http1connection *conn)
{
    conn->phase = HTTP1_BODY;
    conn->body_paused = true;
    conn->window_received = 0;
    flow_of(conn);
    td_deadline_start(&conn->context->receiving, &conn->deadline, td_now_ns());
}

/* Whether its size alone puts a buffered body into a file. */
static bool
is_for_file(const td_http1connection *conn, uint64_t size)
{
    const int64_t spill = http1_limits(conn)->body_spill;

    return size > (uint64_t)spill && spill > 0 && conn->context->spill_place.directory != NULL;
}

/* There is no room for it in memory.  Returns false when the body was refused. */
static bool
spill_or_refuse(td_http1connection *conn)
{
    if (conn->context->spill_place.directory == NULL || http1_limits(conn)->body_spill == 0) {
        td_budget_refused(TD_BUDGET_BODIES, NULL);
        td_http1_refuse(conn, 503, td_budget_text());
        return false;
    }
    td_budget_refused(TD_BUDGET_BODIES, "request bodies go to files");
    td_request_begin_spill(conn->request);
    return true;
}

static bool
has_room_at_first(td_http1connection *conn)
{
    return td_request_body_fits(conn->request, conn->body_left) &&
           make_room(conn, conn->body_left < BODY_FIRST ? conn->body_left : BODY_FIRST);
}

/* The file cannot be made or written.  What is in it is given back before anything else. */
static void
refuse_spill(td_http1connection *conn, int rc)
{
    const bool is_full = rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG;
    char why[256];

    td_request_release_body(conn->request);
    if (rc == TD_EBUSY)
        td_budget_refused(TD_BUDGET_BODIES, NULL);
    if (rc == TD_ETOOBIG || rc == TD_EBUSY)
        snprintf(why, sizeof(why), "%s", rc == TD_EBUSY ? td_budget_text() : "body_disk is used up");
    else
        snprintf(why, sizeof(why), "body_temp_path %s: %s", conn->context->spill_place.directory,
                 td_strerror(rc));
    td_http1_refuse(conn, is_full ? 507 : 503, why);
}

bool
td_http1_body_begin(td_http1connection *conn)
{
    td_request *request = conn->request;
    td_http1context *context = conn->context;
    const td_limits *limits = http1_limits(conn);

    conn->body_left = 0;
    conn->body_paused = false;
    if (limits->decompress_request)
        begin_decompression(conn);
    if (request->head.chunked)
        conn->chunked = TD_ARENA_NEW(&request->arena, td_chunked);
    else
        conn->body_left = (uint64_t)request->head.content_length;
    if (request->body_mode == TD_BODY_STREAMED) {
        begin_streamed_body(conn);
        return true;
    }
    if (request->head.content_length > limits->max_body_size) {
        td_http1_refuse(conn, 413, "Content-Length is above max_body_size");
        return false;
    }
    if (conn->chunked == NULL) {
        if (is_for_file(conn, conn->body_left))
            td_request_begin_spill(request);
        else if (!has_room_at_first(conn) && !spill_or_refuse(conn))
            return false;
    }
    conn->phase = HTTP1_BODY;
    td_deadline_start(body_timeout(context, limits->body_timeout_ms), &conn->deadline, td_now_ns());
    return true;
}

/* ---- what comes */

static void
pause_body(td_http1connection *conn)
{
    if (conn->answered)
        return; /* the rest is drained */
    conn->body_paused = true;
    conn->flow->waited_ns += td_now_ns() - conn->flow->waiting_since_ns;
}

/* The layer above looks at a piece of a buffered body; it may answer. */
static void
watch_body(td_http1connection *conn, td_str data)
{
    td_request *request = conn->request;

    if (TD_LIKELY(request->body_watcher == NULL))
        return;
    request->body_watcher->received(request->body_watcher, request, data);
    if (request->body_unwanted)
        td_request_release_body(request);
}

static void
keep_data(td_http1connection *conn, td_str data)
{
    td_request *request = conn->request;
    int rc;

    if (request->spill == NULL) {
        if (!is_size_known(conn) && is_for_file(conn, request->body_buf.len + data.len))
            td_request_begin_spill(request);
        else if (!make_room(conn, data.len) && !spill_or_refuse(conn))
            return;
    }
    if (request->spill == NULL) {
        td_buf_append(&request->body_buf, data);
    } else {
        rc = td_request_spill(request, &conn->context->spill_place, data);
        if (rc < 0) {
            refuse_spill(conn, rc);
            return;
        }
    }
    watch_body(conn, data);
}

static void
deliver(td_http1connection *conn, td_str data)
{
    td_request *request = conn->request;
    td_http1context *context = conn->context;

    if (data.len == 0)
        return;
    if (request->body_mode == TD_BODY_STREAMED) {
        if (!context->delegate->data_received(context->delegate_arg, request, data))
            pause_body(conn);
    } else {
        keep_data(conn, data);
    }
}

/* Else what comes is drained, to keep the connection. */
static bool
is_body_wanted(const td_http1connection *conn)
{
    return !conn->answered && !conn->request->body_unwanted;
}

/* Bytes of a body that are taken before others have their turn. */
static size_t
piece_max(const td_http1connection *conn)
{
    const td_body_watcher *watcher = conn->request->body_watcher;

    return watcher != NULL ? watcher->piece_max : TD_BODY_PIECE_MAX;
}

static void
yield_to_others(td_http1connection *conn)
{
    if (conn->body_paused || conn->answered)
        return;
    flow_of(conn)->inflated_in_turn = 0;
    pause_body(conn);
    conn->body_yields = true;
    td_ioloop_post(conn->context->loop, &conn->resume);
}

/* Returns how many bytes were taken; the rest comes again after the pause. */
static size_t
inflate_data(td_http1connection *conn, td_str data)
{
    http1_flow *flow = conn->flow;
    td_str left = data, piece;
    int rc;

    do {
        rc = td_decompressor_next(flow->decompressor, &left, &piece);
        flow->inflated += piece.len;
        if (rc < 0) {
            td_http1_refuse(conn, 400, "the body is not gzip, or damaged");
        } else if (flow->inflated > (uint64_t)http1_limits(conn)->max_body_size) {
            td_http1_refuse(conn, 413, "inflated the body is above max_body_size");
        } else {
            deliver(conn, piece);
            flow->inflated_in_turn += (uint32_t)piece.len; /* a thousand times what has come */
            if (flow->inflated_in_turn >= piece_max(conn))
                yield_to_others(conn);
        }
    } while (rc > 0 && !conn->body_paused && is_body_wanted(conn) && !conn->broken);
    return data.len - left.len;
}

/* The same. */
static size_t
take_data(td_http1connection *conn, td_str data)
{
    if (!is_body_wanted(conn))
        return data.len;
    if (TD_UNLIKELY(is_compressed(conn)))
        return inflate_data(conn, data);
    deliver(conn, data);
    return data.len;
}

/* All of a buffered body is there.  Returns false when it was refused. */
static bool
complete_body(td_http1connection *conn)
{
    td_request *request = conn->request;
    int rc = 0;

    if (request->spill != NULL) {
        rc = td_spill_map(request->spill, &conn->context->spill_place, &request->body);
    } else if (request->body_buf.len > 0) {
        *td_buf_reserve(&request->body_buf, 1) = '\0'; /* there is room: see reserve_body */
        request->body = td_buf_str(&request->body_buf);
    }
    if (rc < 0)
        refuse_spill(conn, rc);
    return rc == 0;
}

static void
end_body(td_http1connection *conn)
{
    td_request *request = conn->request;
    td_http1context *context = conn->context;

    if (is_compressed(conn) && is_body_wanted(conn) &&
        !td_decompressor_is_complete(conn->flow->decompressor)) {
        td_http1_refuse(conn, 400, "the compressed body is truncated");
        return;
    }
    if (conn->flow != NULL)
        td_http1_body_drop_flow(conn);
    conn->phase = HTTP1_HANDLING;
    td_deadline_stop(&conn->deadline);
    if (!conn->answered && (request->body_unwanted || complete_body(conn)))
        context->delegate->finish(context->delegate_arg, request);
}

static void
end_body_if_over(td_http1connection *conn)
{
    if (conn->chunked == NULL && conn->body_left == 0 && !conn->body_paused && !conn->refused)
        end_body(conn);
}

/* What was taken before the pause may not have been given, and its last piece may have paused. */
void
td_http1_body_continue(td_http1connection *conn)
{
    if (conn->body_yields) {
        conn->body_yields = false;
        http1_end_pause(conn);
    }
    if (conn->phase != HTTP1_BODY || conn->body_paused)
        return;
    if (is_compressed(conn) && is_body_wanted(conn))
        inflate_data(conn, td_str_make(NULL, 0));
    end_body_if_over(conn);
}

static void
count_received(td_http1connection *conn, size_t n)
{
    if (n > UINT32_MAX ||
        __builtin_add_overflow(conn->window_received, (uint32_t)n, &conn->window_received))
        conn->window_received = UINT32_MAX;
    conn->request->body_received += n;
}

static size_t
take_sized_body(td_http1connection *conn, const char *bytes, size_t len)
{
    size_t n = len < conn->body_left ? len : (size_t)conn->body_left;

    n = take_data(conn, td_str_make(bytes, n));
    count_received(conn, n);
    conn->body_left -= n;
    end_body_if_over(conn);
    return n;
}

static size_t
take_chunked_body(td_http1connection *conn, const char *bytes, size_t len)
{
    const td_limits *limits = http1_limits(conn);
    const td_chunked_limits chunked_limits = {
        .body_max = (uint64_t)limits->max_body_size,
        .trailer_size_max = (uint32_t)limits->max_trailer_size,
        .trailers_max = (uint32_t)conn->context->head_limits.headers_max,
        .are_settings = true,
    };
    td_str data;
    size_t untaken;
    bool end;
    ssize_t n = td_chunked_decode(conn->chunked, &chunked_limits, bytes, len, &data, &end);

    if (n < 0) {
        td_http1_refuse(conn, conn->chunked->status, conn->chunked->what);
        return len;
    }
    untaken = data.len - take_data(conn, data);
    td_chunked_untake(conn->chunked, untaken);
    count_received(conn, (size_t)n - untaken);
    if (end)
        conn->chunked = NULL;
    end_body_if_over(conn);
    return (size_t)n - untaken;
}

static size_t
take_piece(td_http1connection *conn, const char *bytes, size_t len)
{
    return conn->chunked != NULL ? take_chunked_body(conn, bytes, len)
                                 : take_sized_body(conn, bytes, len);
}

size_t
td_http1_body_take(td_http1connection *conn, const char *bytes, size_t len)
{
    const size_t most = piece_max(conn);
    size_t n;

    if (len <= most)
        return take_piece(conn, bytes, len);
    n = take_piece(conn, bytes, most);
    if (conn->phase == HTTP1_BODY && conn->request->body_watcher != NULL)
        yield_to_others(conn);
    return n;
}

/*
 * How much of a body with a length can be received at once: before it has to grow, and if somebody
 * looks at it, before others have their turn.  One byte is the NUL's.
 */
static size_t
body_room(const td_http1connection *conn)
{
    const td_buf *body = &conn->request->body_buf;
    size_t room = body->size - body->start - body->len - 1;

    if (conn->request->body_watcher != NULL && room > piece_max(conn))
        room = piece_max(conn);
    return room < conn->body_left ? room : (size_t)conn->body_left;
}

bool
td_http1_body_goes_straight(td_http1connection *conn)
{
    const td_request *request = conn->request;

    return conn->chunked == NULL && conn->in.len == 0 && request->body_mode == TD_BODY_BUFFERED &&
           is_body_wanted(conn) && !is_compressed(conn) && request->spill == NULL &&
           (body_room(conn) > 0 || make_room(conn, BODY_FIRST));
}

ssize_t
td_http1_body_receive(td_http1connection *conn)
{
    td_buf *body = &conn->request->body_buf;
    const ssize_t n =
        conn->transport.ops->read(&conn->transport, td_buf_reserve(body, 0), body_room(conn));

    if (n <= 0)
        return n;
    td_buf_added(body, (size_t)n);
    conn->body_left -= (uint64_t)n;
    conn->request->body_received += (uint64_t)n;
    watch_body(conn, td_str_make(body->base + body->start + body->len - n, (size_t)n));
    if (conn->body_left == 0)
        end_body(conn);
    return n;
}

void
td_request_resume_body(td_request *request)
{
    td_http1connection *conn = request->connection;

    if (conn == NULL || !conn->body_paused || conn->body_yields)
        return;
    http1_end_pause(conn);
    td_http1_body_send_continue(conn);
    td_ioloop_post(conn->context->loop, &conn->resume);
}

/* ---- contexts */

void
td_http1_bodies_init(td_http1context *context)
{
    td_deadlines_init(&context->receiving, context->loop, HTTP1_RATE_WINDOW_MS, rate_expired);
}

void
td_http1_bodies_fini(td_http1context *context)
{
    while (context->bodies != NULL) {
        td_http1timeout *timeout = context->bodies;

        context->bodies = timeout->next;
        td_deadlines_fini(&timeout->list);
        free(timeout);
    }
    td_deadlines_fini(&context->receiving);
}
