/*
 * The receiving half of an HTTP/1.1 connection, and its life: phases, time-outs, interest.
 *
 * The loop calls in through one of on_event, on_resume and the expired functions; each is a *turn*:
 * it takes what it can from the input, then settle() sends what was answered, arms what must be
 * waited for, and closes what is to be closed.  Nothing else frees a connection, so between the
 * start and the end of a turn it may be used freely, and a handler that ends on its own coroutine
 * posts `resume` instead of continuing here.
 *
 * A plain request is one read and one write, and no watcher, timer or allocation is touched: the
 * bytes are read into the buffer of the worker, the request object of the last request is used
 * again (as it is, when the head is the same), and the connection stays in the list of the idle.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "http/http1_internal.h"
#include "http/xheaders.h"

#define READ_SIZE (64 * 1024)
#define PIPELINE_MAX (64 * 1024) /* bytes read ahead while a handler works */
#define LINGER_MAX (16 * 1024 * 1024) /* bytes of a refused upload: a reset would eat our answer */
#define LINGER_MS 2000
#define WARM_MS 1000
#define RATE_WINDOW_MS 10000
#define BODY_FIRST (16 * 1024) /* bytes of room for a buffered body before any of it has come */

static char read_buffer[READ_SIZE];
static uint64_t requests_total; /* of this worker */

/* ---- the request at hand */

static void
forget_request(td_http1connection *conn)
{
    td_request *request = conn->request;

    if (request == NULL)
        return;
    conn->request = NULL;
    request->connection = NULL;
    td_request_unref(request);
}

static void
log_request(const td_http1connection *conn)
{
    const td_http1context *context = conn->context;
    const td_request *request = conn->request;

    if (context->log_request != NULL && request->status != 0)
        context->log_request(context->log_arg, request, td_clock_ns() - request->started_ns);
}

/* The delegate hears of an answer that can not be given, then that all is over. */
static void
lose_request(td_http1connection *conn)
{
    td_request *request = conn->request;
    td_http1context *context = conn->context;

    conn->begun = false;
    request->connection = NULL;
    if (!conn->answered)
        context->delegate->closed(context->delegate_arg, request);
    log_request(conn);
    context->delegate->done(context->delegate_arg, request);
    forget_request(conn);
}

static void
close_connection(td_http1connection *conn)
{
    td_http1context *context = conn->context;

    td_http1_file_drop(conn);
    td_decompressor_destroy(&conn->decompressor);
    if (conn->begun)
        lose_request(conn);
    forget_request(conn);
    if (td_http1_turn.owner == conn)
        td_http1_send(conn); /* broken: drops it */
    td_transport_close(&conn->transport, context->loop);
    td_deadline_stop(&conn->deadline);
    td_deadline_stop(&conn->sending);
    td_callback_cancel(&conn->resume);
    td_list_remove(&conn->link);
    td_buf_release(&conn->in);
    td_buf_release(&conn->out);
    context->connection_closed(conn);
    free(conn);
}

/* Answer and body are complete and nothing of them is waiting: on to the next request. */
static void
end_request(td_http1connection *conn)
{
    td_request *request = conn->request;
    td_http1context *context = conn->context;
    /* The client may promise to send no more after a message, but not in the middle of one. */
    const bool is_last = conn->phase != HTTP1_BODY && !request->head.keep_alive;

    log_request(conn);
    if (conn->begun) {
        conn->begun = false;
        if (conn->refused)
            context->delegate->closed(context->delegate_arg, request);
        context->delegate->done(context->delegate_arg, request);
    }
    if (request->references > 1)
        forget_request(conn);
    else if (TD_UNLIKELY(request->spill != NULL))
        td_request_release_body(request);
    if (TD_UNLIKELY(conn->decompressor != NULL))
        td_decompressor_destroy(&conn->decompressor);
    conn->phase = HTTP1_IDLE;
    conn->chunked = NULL;
    conn->above_high_water = false;
    if (context->no_idle && conn->closing == HTTP1_STAY)
        conn->closing = HTTP1_CLOSE_GENTLY;
    if (!conn->keep && conn->closing == HTTP1_STAY)
        conn->closing = is_last ? HTTP1_CLOSE : HTTP1_CLOSE_GENTLY;
    if (conn->closing != HTTP1_STAY)
        forget_request(conn);
    else
        td_deadline_start(&context->warm, &conn->deadline, td_now_ns());
}

/* ---- the head */

/* Refuse a head that did not become a request; the access log shows it as unknown. */
static void
refuse_head(td_http1connection *conn, int status, const char *why)
{
    conn->request->head = (td_head){.minor = 1};
    conn->request->started_ns = td_now_ns();
    td_http1_refuse(conn, status, why);
}

static void
relocate(td_str *s, ptrdiff_t by)
{
    if (s->ptr != NULL)
        s->ptr += by;
}

/* Let the spans of a head point into a copy of its bytes. */
static void
head_own(td_head *head, td_arena *arena)
{
    const char *copy = memcpy(td_arena_alloc_raw(arena, head->raw.len + 1), head->raw.ptr,
                              head->raw.len);
    const char *from = head->raw.ptr, *end = from + head->raw.len;
    ptrdiff_t by = copy - from;

    for (size_t i = 0; i < head->headers.count; i++) {
        head->headers.items[i].name.ptr += by;
        head->headers.items[i].value.ptr += by;
    }
    relocate(&head->raw, by);
    relocate(&head->method_name, by);
    relocate(&head->target, by);
    relocate(&head->query, by);
    if (head->path.ptr >= from && head->path.ptr < end) /* else a constant of the parser */
        relocate(&head->path, by);
    if (head->host.ptr >= from && head->host.ptr < end)
        relocate(&head->host, by);
    if (head->host_name.ptr >= from && head->host_name.ptr < end)
        relocate(&head->host_name, by);
}

/* The same head again: what the parser and route made of it stands. */
static void
repeat_request(td_request *request)
{
    td_request_release_scope(request);
    td_arena_rewind(&request->arena, request->routed);
    request->handler = NULL;
    request->status = 0;
    request->body_sent = 0;
}

/* RFC 9110 section 10.1.1: the client waits for a word before it sends its body. */
static void
send_continue(td_http1connection *conn)
{
    td_head *head = &conn->request->head;

    if (head->expect != TD_EXPECT_CONTINUE || conn->head_sent)
        return;
    head->expect = TD_EXPECT_NONE; /* from now on the body comes */
    td_http1_writer.inform(conn->request, 100, NULL);
}

static td_deadlines *
body_timeout(td_http1context *context, int64_t duration_ms);

/* How long the body is going to be for the delegate. */
static bool
is_size_known(const td_http1connection *conn)
{
    return !conn->request->head.chunked && conn->decompressor == NULL;
}

/*
 * Room for n more bytes of a buffered body.  It grows with what has come, as the length that a client
 * tells costs it nothing: by half, or where the length is told to four times, for few reads.
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
    return td_request_reserve_body(request, room, conn->context->body_memory) ||
           td_request_reserve_body(request, need, conn->context->body_memory);
}

/*
 * RFC 9110 section 8.4.1.3: x-gzip is the same.  More than one coding is left to the handler, who
 * sees from the name of the header whether there is something left to do.
 */
static void
begin_decompression(td_http1connection *conn)
{
    const td_headers *headers = &conn->request->head.headers;
    const td_header *line = td_headers_find(headers, TD_STR("Content-Encoding"));

    if (line == NULL || td_headers_next(headers, line) != NULL ||
        (!td_str_equal_nocase(line->value, TD_STR("gzip")) &&
         !td_str_equal_nocase(line->value, TD_STR("x-gzip"))))
        return;
    headers->items[line - headers->items].name = TD_STR("X-Consumed-Content-Encoding");
    conn->decompressor = td_decompressor_create();
    conn->inflated = 0;
    conn->inflated_in_turn = 0;
    conn->body_yields = false;
}

/* It is paused until the delegate asks for it; meanwhile body_min_rate does not count. */
static void
begin_streamed_body(td_http1connection *conn)
{
    conn->phase = HTTP1_BODY;
    conn->body_paused = true;
    conn->window_received = 0;
    conn->waited_ns = 0;
    td_deadline_start(&conn->context->receiving, &conn->deadline, td_now_ns());
}

/* Whether its size alone puts a buffered body into a file. */
static bool
is_for_file(const td_http1connection *conn, uint64_t size)
{
    const int64_t spill = http1_limits(conn)->body_spill;

    return size > (uint64_t)spill && spill > 0 && conn->context->spill_place.directory != NULL;
}

/* Returns false when the body was refused. */
static bool
begin_spill(td_http1connection *conn)
{
    if (conn->context->spill_place.directory == NULL || http1_limits(conn)->body_spill == 0) {
        td_http1_refuse(conn, 503, "body_memory is used up");
        return false;
    }
    td_request_begin_spill(conn->request);
    return true;
}

/* The file cannot be made or written.  What is in it is given back before anything else. */
static void
refuse_spill(td_http1connection *conn, int rc)
{
    const bool is_full = rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG;
    char why[256];

    td_request_release_body(conn->request);
    if (rc == TD_ETOOBIG)
        snprintf(why, sizeof(why), "body_disk is used up");
    else
        snprintf(why, sizeof(why), "body_temp_path %s: %s", conn->context->spill_place.directory,
                 td_strerror(rc));
    td_http1_refuse(conn, is_full ? 507 : 503, why);
}

/* A body is to come.  Returns false when it was refused. */
static bool
begin_body(td_http1connection *conn)
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
    if (conn->chunked == NULL &&
        (is_for_file(conn, conn->body_left) ||
         !td_request_body_fits(request, conn->body_left, context->body_memory) ||
         !make_room(conn, conn->body_left < BODY_FIRST ? conn->body_left : BODY_FIRST)) &&
        !begin_spill(conn))
        return false;
    conn->phase = HTTP1_BODY;
    td_deadline_start(body_timeout(context, limits->body_timeout_ms), &conn->deadline,
                      td_now_ns());
    return true;
}

/* The head is good: give the request to the delegate. */
static void
begin_request(td_http1connection *conn)
{
    td_request *request = conn->request;
    td_http1context *context = conn->context;
    const td_head *head = &request->head;
    bool has_body = head->chunked || head->content_length > 0;

    conn->requests++;
    conn->head_sent = conn->answered = false;
    request->number = ++requests_total;
    request->started_ns = td_now_ns();

    if (TD_UNLIKELY(head->expect == TD_EXPECT_OTHER)) {
        td_http1_refuse(conn, 417, "Expect: not 100-continue");
        return;
    }
    if (has_body && !begin_body(conn))
        return;
    if (!has_body)
        conn->phase = HTTP1_HANDLING;
    conn->begun = true;
    context->delegate->headers_received(context->delegate_arg, request);
    if (conn->broken)
        return;
    if (!has_body && !conn->answered)
        context->delegate->finish(context->delegate_arg, request);
    else if (has_body && !conn->body_paused && !request->body_unwanted)
        send_continue(conn);
}

/* Returns the bytes taken; 0: the head is not complete, or was refused. */
static size_t
take_head(td_http1connection *conn, const char *bytes, size_t len)
{
    td_http1context *context = conn->context;
    td_request *request = conn->request;
    td_head_error error;
    ssize_t n;

    if (conn->phase == HTTP1_IDLE) {
        if (request != NULL && request->repeatable && len >= request->head.raw.len &&
            memcmp(bytes, request->head.raw.ptr, request->head.raw.len) == 0) {
            repeat_request(request);
            begin_request(conn);
            return request->head.raw.len;
        }
        if (request != NULL)
            td_request_reset(request);
        else
            request = conn->request = td_request_create();
        request->writer = &td_http1_writer;
        request->server = context->server;
        request->connection = conn;
        request->peer = conn->peer;
        request->https = conn->https;
        request->limits = &context->settings->limits;
        conn->head_sent = conn->answered = false;
        conn->parser = (td_head_parser){0};
        conn->phase = HTTP1_HEAD;
        td_deadline_stop(&conn->deadline);
    }
    n = td_head_parse(&conn->parser, bytes, len, &context->head_limits, &request->arena,
                      &request->head, &error);
    if (n < 0) {
        refuse_head(conn, error.status, error.what);
        return 0;
    }
    if (n == 0) {
        if (!td_list_is_linked(&conn->deadline.link))
            td_deadline_start(&context->heads, &conn->deadline, td_now_ns());
        return 0;
    }
    head_own(&request->head, &request->arena);
    request->limits = &context->settings->limits;
    if (TD_UNLIKELY(conn->xheaders))
        td_xheaders_apply(context->settings, request);
    context->delegate->route(context->delegate_arg, request);
    request->routed = td_arena_mark_now(&request->arena);
    request->repeatable = request->head.content_length <= 0 && !request->head.chunked &&
                          !request->head.upgrade && request->head.expect == TD_EXPECT_NONE;
    begin_request(conn);
    return (size_t)n;
}

/* ---- the body */

static void
pause_body(td_http1connection *conn)
{
    if (conn->answered)
        return; /* the rest is drained */
    conn->body_paused = true;
    conn->waited_ns += td_now_ns() - conn->waiting_since_ns;
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

    if (request->spill == NULL &&
        ((!is_size_known(conn) && is_for_file(conn, request->body_buf.len + data.len)) ||
         !make_room(conn, data.len)) &&
        !begin_spill(conn))
        return; /* it was refused */
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

/* A small body may become a thousand times as large: others have their turns in between. */
static void
yield_to_others(td_http1connection *conn, size_t inflated)
{
    conn->inflated_in_turn += (uint32_t)inflated;
    if (conn->inflated_in_turn < HTTP1_INFLATED || conn->body_paused || conn->answered)
        return;
    conn->inflated_in_turn = 0;
    pause_body(conn);
    conn->body_yields = true;
    td_ioloop_post(conn->context->loop, &conn->resume);
}

/* Returns how many bytes were taken; the rest comes again after the pause. */
static size_t
inflate_data(td_http1connection *conn, td_str data)
{
    td_str left = data, piece;
    int rc;

    do {
        rc = td_decompressor_next(conn->decompressor, &left, &piece);
        conn->inflated += piece.len;
        if (rc < 0) {
            td_http1_refuse(conn, 400, "the body is not gzip, or damaged");
        } else if (conn->inflated > (uint64_t)http1_limits(conn)->max_body_size) {
            td_http1_refuse(conn, 413, "inflated the body is above max_body_size");
        } else {
            deliver(conn, piece);
            yield_to_others(conn, piece.len);
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
    if (TD_UNLIKELY(conn->decompressor != NULL))
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

    if (conn->decompressor != NULL && is_body_wanted(conn) &&
        !td_decompressor_is_complete(conn->decompressor)) {
        td_http1_refuse(conn, 400, "the compressed body is truncated");
        return;
    }
    td_decompressor_destroy(&conn->decompressor);
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

/* After a pause: what was taken may not have been given, and the last piece may have paused it. */
static void
continue_body(td_http1connection *conn)
{
    if (conn->decompressor != NULL && is_body_wanted(conn))
        inflate_data(conn, td_str_make(NULL, 0));
    end_body_if_over(conn);
}

static void
count_received(td_http1connection *conn, size_t n)
{
    if (n > UINT32_MAX || __builtin_add_overflow(conn->window_received, (uint32_t)n,
                                                 &conn->window_received))
        conn->window_received = UINT32_MAX;
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
take_body(td_http1connection *conn, const char *bytes, size_t len)
{
    if (len > TD_BODY_PIECE_MAX)
        len = TD_BODY_PIECE_MAX;
    if (conn->chunked != NULL)
        return take_chunked_body(conn, bytes, len);
    return take_sized_body(conn, bytes, len);
}

/* ---- turns */

/* Answered, and nothing but the turn's own buffer waits: the request object may go. */
static bool
is_complete(const td_http1connection *conn)
{
    if (!conn->answered || http1_is_waiting(conn))
        return false;
    return conn->phase == HTTP1_HANDLING || conn->phase == HTTP1_SENDING ||
           conn->closing != HTTP1_STAY || (conn->phase == HTTP1_BODY && !conn->keep);
}

/* Take what can be taken of the input in one turn; returns how much that was. */
static size_t
serve(td_http1connection *conn, const char *bytes, size_t len)
{
    const int64_t pipelined_max = conn->context->settings->limits.max_pipelined;
    int64_t served = 0;
    size_t used = 0;

    while (!conn->broken) {
        if (conn->answered && conn->phase != HTTP1_IDLE) {
            if (is_complete(conn)) {
                end_request(conn);
                if (++served >= pipelined_max || td_http1_turn.out.len >= HTTP1_TURN_BYTES) {
                    if (used < len)
                        td_ioloop_post(conn->context->loop, &conn->resume);
                    return used;
                }
            } else if (conn->phase != HTTP1_BODY) {
                conn->phase = HTTP1_SENDING;
                return used;
            }
        }
        if (conn->closing != HTTP1_STAY)
            return len; /* nothing that comes after is served */
        if (used == len || conn->phase >= HTTP1_HANDLING || conn->body_paused)
            return used;

        size_t n = conn->phase == HTTP1_BODY ? take_body(conn, bytes + used, len - used)
                                             : take_head(conn, bytes + used, len - used);
        used += n;
        if (n == 0 && conn->closing == HTTP1_STAY)
            return used; /* an incomplete head */
    }
    return len;
}

/* Serve from what was kept. */
static void
serve_kept(td_http1connection *conn)
{
    size_t used = serve(conn, td_buf_str(&conn->in).ptr, conn->in.len);

    td_buf_consume(&conn->in, used);
    if (conn->in.len == 0 && conn->in.size > TD_CHUNK_SIZE)
        td_buf_release(&conn->in);
}

static void
begin_linger(td_http1connection *conn)
{
    conn->phase = HTTP1_LINGER;
    conn->lingered = 0;
    td_buf_release(&conn->in);
    td_deadline_start(&conn->context->lingering, &conn->deadline, td_now_ns());
}

/*
 * Between requests nothing is read before what came earlier is served and its answers are sent: who
 * pipelines for ever does not fill our memory, and who has sent all his requests and then ended his
 * side gets all his answers, for the end is seen last.
 */
static bool
wants_input(const td_http1connection *conn)
{
    switch ((http1_phase)conn->phase) {
    case HTTP1_IDLE:
        return conn->closing == HTTP1_STAY && conn->in.len == 0 && !http1_is_waiting(conn);
    case HTTP1_HEAD:
        return conn->closing == HTTP1_STAY;
    case HTTP1_BODY:
        return conn->closing == HTTP1_STAY && !conn->body_paused;
    case HTTP1_HANDLING:
        return !conn->answered && conn->in.len < PIPELINE_MAX; /* also to hear the client leave */
    case HTTP1_SENDING:
        return false;
    case HTTP1_LINGER:
        return true;
    }
    return false;
}

static void
tell_writable(td_http1connection *conn)
{
    if (!conn->above_high_water ||
        td_http1_unsent(conn) > (size_t)http1_limits(conn)->write_high_water / 2)
        return;
    conn->above_high_water = false;
    conn->context->delegate->writable(conn->context->delegate_arg, conn->request);
}

/* While a handler works its own time-out counts; while the client takes answers, send_min_rate. */
static void
settle_deadline(td_http1connection *conn, bool waiting)
{
    if (conn->phase == HTTP1_HANDLING || conn->phase == HTTP1_SENDING ||
        (conn->phase == HTTP1_IDLE && waiting))
        td_deadline_stop(&conn->deadline);
    else if (conn->phase == HTTP1_IDLE && !td_list_is_linked(&conn->deadline.link))
        td_deadline_start(&conn->context->warm, &conn->deadline, td_now_ns());
}

/* The end of each turn: send, wait for what must be waited for, close what is to be closed. */
static void
settle(td_http1connection *conn)
{
    bool waiting;

    td_http1_send(conn);
    td_http1_turn.active = NULL;
    if (conn->broken) {
        close_connection(conn);
        return;
    }
    waiting = http1_is_waiting(conn);
    conn->sliced = false;
    if (!waiting && (conn->phase == HTTP1_SENDING || conn->above_high_water)) /* left just now */
        td_ioloop_post(conn->context->loop, &conn->resume);
    if (conn->closing != HTTP1_STAY && conn->phase == HTTP1_IDLE && !waiting) {
        conn->transport.ops->shutdown(&conn->transport);
        if (conn->closing == HTTP1_CLOSE && conn->in.len == 0) {
            close_connection(conn);
            return;
        }
        begin_linger(conn);
    }
    if (waiting && !td_list_is_linked(&conn->sending.link)) {
        conn->window_sent = 0;
        td_deadline_start(&conn->context->sending, &conn->sending, td_now_ns());
    } else if (!waiting) {
        td_deadline_stop(&conn->sending);
    }
    settle_deadline(conn, waiting);
    td_transport_watch(&conn->transport, conn->context->loop,
                       (waiting && !http1_is_in_line(conn) ? TD_WRITABLE : 0) |
                           (wants_input(conn) ? TD_READABLE : 0));
}

/* A part of a request has come, and not just empty lines. */
static bool
is_in_request(const td_http1connection *conn)
{
    td_str in = td_buf_str(&conn->in);

    if (conn->phase != HTTP1_HEAD)
        return conn->phase == HTTP1_BODY && !conn->head_sent;
    while (in.len > 0 && (in.ptr[0] == '\r' || in.ptr[0] == '\n'))
        in = td_str_make(in.ptr + 1, in.len - 1);
    return in.len > 0;
}

/* End of file, or an error: what that means depends on what is going on. */
static void
input_ended(td_http1connection *conn, ssize_t result)
{
    if (result == 0 && conn->closing == HTTP1_STAY && is_in_request(conn)) {
        if (conn->phase == HTTP1_HEAD)
            refuse_head(conn, 400, "the client ended in the middle of a head");
        else
            td_http1_refuse(conn, 400, "the client ended in the middle of a body");
        serve_kept(conn);
        return;
    }
    conn->broken = true;
}

static void
receive_linger(td_http1connection *conn)
{
    ssize_t n = conn->transport.ops->read(&conn->transport, read_buffer, sizeof(read_buffer));

    if (n == -EAGAIN)
        return;
    conn->lingered += n > 0 ? (uint32_t)n : 0;
    if (n <= 0 || conn->lingered >= LINGER_MAX)
        conn->broken = true;
}

/* How much of a body with a length can be received before it has to grow; one byte is the NUL's. */
static size_t
body_room(const td_http1connection *conn)
{
    const td_buf *body = &conn->request->body_buf;
    const size_t room = body->size - body->start - body->len - 1;

    return room < conn->body_left ? room : (size_t)conn->body_left;
}

/* A buffered body with a length goes straight to where it will lie in memory, if there is room. */
static bool
goes_straight(td_http1connection *conn)
{
    const td_request *request = conn->request;

    return conn->phase == HTTP1_BODY && conn->chunked == NULL && conn->in.len == 0 &&
           request->body_mode == TD_BODY_BUFFERED && is_body_wanted(conn) &&
           conn->decompressor == NULL && request->spill == NULL &&
           (body_room(conn) > 0 || make_room(conn, BODY_FIRST));
}

static void
receive_body(td_http1connection *conn)
{
    td_buf *body = &conn->request->body_buf;
    ssize_t n;

    n = conn->transport.ops->read(&conn->transport, td_buf_reserve(body, 0), body_room(conn));
    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        input_ended(conn, n);
        return;
    }
    td_buf_added(body, (size_t)n);
    conn->body_left -= (uint64_t)n;
    watch_body(conn, td_str_make(body->base + body->start + body->len - n, (size_t)n));
    if (conn->body_left == 0)
        end_body(conn);
    if (conn->body_left == 0 || conn->answered)
        serve_kept(conn);
}

static void
receive(td_http1connection *conn)
{
    bool keeps = conn->in.len > 0;
    char *to = keeps ? td_buf_reserve(&conn->in, READ_SIZE / 4) : read_buffer;
    ssize_t n = conn->transport.ops->read(&conn->transport, to, keeps ? READ_SIZE / 4 : READ_SIZE);

    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        input_ended(conn, n);
        return;
    }
    if (keeps) {
        td_buf_added(&conn->in, (size_t)n);
        serve_kept(conn);
    } else {
        size_t used = serve(conn, to, (size_t)n);

        if (used < (size_t)n)
            td_buf_append(&conn->in, td_str_make(to + used, (size_t)n - used));
    }
}

static void
on_event(td_transport *transport, int events)
{
    td_http1connection *conn = TD_CONTAINER_OF(transport, td_http1connection, transport);

    td_http1_turn.active = conn;
    if (events & TD_WRITABLE) {
        td_http1_send(conn);
        if (!conn->broken) {
            tell_writable(conn);
            serve_kept(conn);
        }
    }
    if ((events & TD_READABLE) && !conn->broken) {
        if (conn->phase == HTTP1_LINGER)
            receive_linger(conn);
        else if (goes_straight(conn))
            receive_body(conn);
        else if (wants_input(conn))
            receive(conn);
    }
    settle(conn);
}

/* Something happened outside of a turn: an answer was finished, a body may go on. */
static void
on_resume(void *arg)
{
    td_http1connection *conn = arg;

    td_http1_turn.active = conn;
    if (!conn->broken && conn->begun)
        tell_writable(conn);
    if (conn->body_yields) {
        conn->body_yields = false;
        http1_end_pause(conn);
    }
    if (!conn->broken && conn->phase == HTTP1_BODY && !conn->body_paused && !conn->answered)
        continue_body(conn);
    if (!conn->broken && conn->phase != HTTP1_LINGER)
        serve_kept(conn);
    settle(conn);
}

void
td_request_resume_body(td_request *request)
{
    td_http1connection *conn = request->connection;

    if (conn == NULL || !conn->body_paused || conn->body_yields)
        return;
    http1_end_pause(conn);
    send_continue(conn);
    td_ioloop_post(conn->context->loop, &conn->resume);
}

size_t
td_request_pending(const td_request *request)
{
    return request->connection != NULL ? td_http1_unsent(request->connection) : 0;
}

bool
td_request_is_closed(const td_request *request)
{
    const td_http1connection *conn = request->connection;

    return conn == NULL || conn->broken;
}

/* ---- time-outs; each is a turn */

static td_http1connection *
connection_of(td_deadline *deadline)
{
    return TD_CONTAINER_OF(deadline, td_http1connection, deadline);
}

static void
close_now(td_http1connection *conn)
{
    conn->broken = true;
    settle(conn);
}

static void
refuse_late(td_http1connection *conn, const char *why)
{
    td_http1_turn.active = conn;
    if (conn->phase == HTTP1_HEAD)
        refuse_head(conn, 408, why);
    else
        td_http1_refuse(conn, 408, why);
    serve_kept(conn);
    settle(conn);
}

/* Who has sent only empty lines is idle: an answer would be taken for that of the next request. */
static void
head_expired(td_deadline *deadline)
{
    td_http1connection *conn = connection_of(deadline);

    if (!conn->introduced)
        td_http1_refuse_proxy(conn, "header_timeout");
    if (is_in_request(conn))
        refuse_late(conn, "header_timeout");
    else
        close_now(conn);
}

static void
body_expired(td_deadline *deadline)
{
    refuse_late(connection_of(deadline), "body_timeout");
}

static void
idle_expired(td_deadline *deadline)
{
    close_now(connection_of(deadline));
}

/* Idle for a second: an idle connection holds no buffer (DESIGN section 13). */
static void
warm_expired(td_deadline *deadline)
{
    td_http1connection *conn = connection_of(deadline);

    forget_request(conn);
    td_buf_release(&conn->in);
    td_buf_release(&conn->out);
    if (conn->context->idle.duration_ns == 0)
        close_now(conn);
    else
        td_deadline_start(&conn->context->idle, deadline, td_now_ns());
}

/* A client has 10 s in which it was not we who did not want more; then it is judged by all of them. */
static void
rate_expired(td_deadline *deadline)
{
    td_http1connection *conn = connection_of(deadline);
    const int64_t rate = http1_limits(conn)->body_min_rate, now_ns = td_now_ns();

    if (!conn->body_paused) {
        conn->waited_ns += now_ns - conn->waiting_since_ns;
        conn->waiting_since_ns = now_ns;
    }
    if (conn->waited_ns >= RATE_WINDOW_MS * TD_NS_PER_MS) {
        if (conn->window_received < rate * (conn->waited_ns / TD_NS_PER_MS) / 1000) {
            refuse_late(conn, "body_min_rate");
            return;
        }
        conn->window_received = 0;
        conn->waited_ns = 0;
    }
    td_deadline_start(&conn->context->receiving, deadline, now_ns);
}

static void
sending_expired(td_deadline *deadline)
{
    td_http1connection *conn = TD_CONTAINER_OF(deadline, td_http1connection, sending);
    static td_log_gate gate;
    char peer[TD_PEER_TEXT_SIZE];

    if (conn->window_sent >= http1_limits(conn)->send_min_rate * (RATE_WINDOW_MS / 1000)) {
        conn->window_sent = 0;
        td_deadline_start(&conn->context->sending, deadline, td_now_ns());
        return;
    }
    td_peer_format(&conn->peer, peer);
    td_log_gated(&gate, TD_LOG_INFO, "http", "%s reads too slowly: closed (send_min_rate)", peer);
    close_now(conn);
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

/* ---- contexts */

void
td_http1context_init(td_http1context *context)
{
    const td_limits *limits = &context->settings->limits;
    int64_t warm = limits->keepalive_timeout_ms < WARM_MS ? limits->keepalive_timeout_ms : WARM_MS;

    context->head_limits = (td_head_limits){
        .request_line_max = (size_t)limits->max_request_line,
        .size_max = (size_t)limits->max_header_size,
        .headers_max = (size_t)limits->max_headers,
    };
    td_list_init(&context->connections);
    td_deadlines_init(&context->heads, context->loop, limits->header_timeout_ms, head_expired);
    td_deadlines_init(&context->warm, context->loop, warm, warm_expired);
    td_deadlines_init(&context->idle, context->loop, limits->keepalive_timeout_ms - warm,
                      idle_expired);
    td_deadlines_init(&context->receiving, context->loop, RATE_WINDOW_MS, rate_expired);
    td_deadlines_init(&context->sending, context->loop, RATE_WINDOW_MS, sending_expired);
    td_deadlines_init(&context->lingering, context->loop, LINGER_MS, idle_expired);
}

void
td_http1context_fini(td_http1context *context)
{
    while (!td_list_is_empty(&context->connections))
        close_now(TD_CONTAINER_OF(context->connections.next, td_http1connection, link));
    while (context->bodies != NULL) {
        td_http1timeout *timeout = context->bodies;

        context->bodies = timeout->next;
        td_deadlines_fini(&timeout->list);
        free(timeout);
    }
    td_deadlines_fini(&context->heads);
    td_deadlines_fini(&context->warm);
    td_deadlines_fini(&context->idle);
    td_deadlines_fini(&context->receiving);
    td_deadlines_fini(&context->sending);
    td_deadlines_fini(&context->lingering);
    td_buf_release(&td_http1_turn.out);
}

bool
td_http1context_evict(td_http1context *context)
{
    if (td_list_is_empty(&context->heads.head))
        return false;
    close_now(TD_CONTAINER_OF(context->heads.head.next, td_http1connection, deadline.link));
    return true;
}

void
td_http1context_close_idle(td_http1context *context)
{
    td_list *link = context->connections.next;

    while (link != &context->connections) {
        td_http1connection *conn = TD_CONTAINER_OF(link, td_http1connection, link);

        link = link->next;
        if (conn->phase != HTTP1_IDLE || conn->closing != HTTP1_STAY)
            continue;
        forget_request(conn);
        conn->transport.on_event = on_event; /* also where a PROXY header was to come */
        conn->closing = HTTP1_CLOSE_GENTLY;
        settle(conn);
    }
}

td_httpserver *
td_http1connection_server(const td_http1connection *conn)
{
    return conn->context->server;
}

td_str
td_http1connection_address(const td_http1connection *conn)
{
    return td_str_make((const char *)conn->peer.address,
                       conn->introduced ? conn->peer.address_len : 0);
}

void
td_http1_introduce(td_http1connection *conn)
{
    const td_listener_settings *settings = conn->context->settings;

    conn->introduced = true;
    if (TD_UNLIKELY(settings->xheaders != TD_XHEADERS_OFF))
        conn->xheaders = td_networks_have(&settings->trusted_downstream, conn->peer.address,
                                          conn->peer.address_len);
}

void
td_http1_begin(td_http1connection *conn)
{
    conn->transport.on_event = on_event;
    td_deadline_stop(&conn->deadline);
    td_http1_turn.active = conn;
    serve_kept(conn);
    settle(conn);
}

void
td_http1_close(td_http1connection *conn)
{
    close_now(conn);
}

void
td_http1connection_open(td_http1context *context, int fd, const td_peer *peer)
{
    td_http1connection *conn = td_xcalloc(1, sizeof(*conn));

    td_transport_open_plain(&conn->transport, fd, on_event);
    conn->context = context;
    conn->peer = *peer;
    conn->resume.fn = on_resume;
    conn->resume.arg = conn;
    td_list_append(&context->connections, &conn->link);
    if (TD_UNLIKELY(context->settings->proxy_protocol)) {
        td_http1_expect_proxy(conn);
        return;
    }
    td_http1_introduce(conn);
    td_deadline_start(&context->warm, &conn->deadline, td_now_ns());
    on_event(&conn->transport, TD_READABLE); /* the request is nearly always there already */
}
