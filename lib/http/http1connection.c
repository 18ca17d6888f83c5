/*
 * The life of an HTTP/1.1 connection: phases, heads, turns, time-outs, interest.
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
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/budget.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/prefetch.h"
#include "http/detached.h"
#include "http/http1_internal.h"
#include "http/xheaders.h"
#include "io/linger.h"
#include "io/stretch.h"

#define READ_SIZE (64 * 1024)
#define PIPELINE_MAX (64 * 1024) /* bytes read ahead while a handler works */
#define WARM_MS 1000
#define REQUEST_PREFETCHED (26 * TD_CACHE_LINE) /* of what a plain request and its answer use */

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
log_request(const td_http1context *context, const td_request *request)
{
    if (context->log_request == NULL || request->status == 0)
        return;
    const int64_t now_ns = td_clock_ns();
    td_stretch_end(now_ns, request->handler, NULL);
    context->log_request(context->log_arg, request, now_ns - request->started_ns);
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
    log_request(context, request);
    context->delegate->done(context->delegate_arg, request);
    forget_request(conn);
}

static void
free_connection(td_http1connection *conn)
{
    td_transport_close(&conn->transport, conn->context->loop);
    td_deadline_stop(&conn->deadline);
    td_deadline_stop(&conn->sending);
    td_callback_cancel(&conn->resume);
    td_list_remove(&conn->link);
    td_gauges->connections[conn->counted]--;
    td_buf_release(&conn->in);
    td_buf_release(&conn->out);
    free(conn);
}

static void
close_connection(td_http1connection *conn)
{
    td_http1_file_drop(conn);
    if (conn->flow != NULL)
        td_http1_body_drop_flow(conn);
    if (conn->begun)
        lose_request(conn);
    forget_request(conn);
    if (td_http1_turn.owner == conn)
        td_http1_send(conn); /* broken: drops it */
    conn->context->connection_closed(conn);
    free_connection(conn);
}

/* The handler takes the connection over: what has come and what is unsent goes with it. */
static void
hand_over(td_http1connection *conn)
{
    td_http1context *context = conn->context;
    td_request *request = conn->request;

    TD_ASSERT(conn->stable.len == 0 && conn->range == NULL); /* no answer but 101 has begun */
    if (conn->flow != NULL)
        td_http1_body_drop_flow(conn);
    td_detached_open(request->detached, context, &conn->peer, &conn->transport, &conn->in,
                     &conn->out);
    request->connection = NULL;
    free_connection(conn);
    log_request(context, request);
    context->delegate->detached(context->delegate_arg, request);
    td_request_unref(request);
}

/* Answer and body are complete and nothing of them is waiting: on to the next request. */
static void
end_request(td_http1connection *conn)
{
    td_request *request = conn->request;
    td_http1context *context = conn->context;
    /* The client may promise to send no more after a message, but not in the middle of one. */
    const bool is_last = conn->phase != HTTP1_BODY && !request->head.keep_alive;

    log_request(context, request);
    if (conn->begun) {
        conn->begun = false;
        if (conn->refused)
            context->delegate->closed(context->delegate_arg, request);
        context->delegate->done(context->delegate_arg, request);
    }
    if (TD_UNLIKELY(conn->flow != NULL))
        td_http1_body_drop_flow(conn);
    if (request->references > 1)
        forget_request(conn);
    else if (TD_UNLIKELY(request->spill != NULL))
        td_request_release_body(request);
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

/*
 * Refuse a head that did not become a request; the access log shows it as unknown.  `bytes` are
 * what has come of it: the answer to HEAD has no body, whatever is wrong (RFC 9110 section 9.3.2).
 */
static void
refuse_head(td_http1connection *conn, td_str bytes, int status, const char *why)
{
    static const char method[] = "HEAD ";
    const size_t start = conn->parser.start;
    const bool is_head = bytes.len >= start + strlen(method) &&
                         memcmp(bytes.ptr + start, method, strlen(method)) == 0;

    conn->request->head = (td_head){.minor = 1, .method = is_head ? TD_METHOD_HEAD : TD_METHOD_GET};
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
    if (has_body && !td_http1_body_begin(conn))
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
        td_http1_body_send_continue(conn);
}

/*
 * RFC 9110 section 7.4: what is secured is not given over a connection that is not, unless the
 * proxy that asks for it is trusted; with proxy_protocol each is, and may not be able to say more.
 */
static bool
is_misdirected(const td_http1connection *conn, const td_request *request)
{
    return request->head.https && !request->https && !conn->context->settings->proxy_protocol &&
           !td_request_is_from_proxy(request);
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
        refuse_head(conn, td_str_make(bytes, len), error.status, error.what);
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
    if (TD_UNLIKELY(request->head.absolute_form) && is_misdirected(conn, request)) {
        request->started_ns = td_now_ns();
        td_http1_refuse(conn, 421, "an https URI over a connection in the clear");
        return (size_t)n;
    }
    begin_request(conn);
    return (size_t)n;
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
                td_stretch_end(td_clock_ns(), conn->request->handler, NULL);
                return used;
            }
        }
        if (conn->closing != HTTP1_STAY)
            return len; /* nothing that comes after is served */
        if (used == len || conn->phase >= HTTP1_HANDLING || conn->body_paused)
            return used;
        if (TD_UNLIKELY(td_http1_turn.prepared.len > 0)) {
            td_http1_leave_prepared(conn);
            if (conn->broken || http1_is_waiting(conn))
                return used; /* what comes later is answered later */
        }

        size_t n = conn->phase == HTTP1_BODY ? td_http1_body_take(conn, bytes + used, len - used)
                                             : take_head(conn, bytes + used, len - used);
        used += n;
        if (n == 0 && conn->closing == HTTP1_STAY)
            return used; /* an incomplete head */
    }
    return len;
}

/*
 * Serve from what was kept.  While answers wait for the client nothing new is begun: there would be
 * one more of them each time that the kernel takes some bytes.
 */
static void
serve_kept(td_http1connection *conn)
{
    if (conn->phase == HTTP1_IDLE && http1_is_waiting(conn))
        return;
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
    td_transport_expect_discard(&conn->transport);
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
    else if (conn->phase == HTTP1_BODY && conn->body_paused &&
             !td_list_is_linked(&conn->flow->look.link))
        td_deadline_start(&conn->context->looking, &conn->flow->look, td_now_ns());
}

static void
count_phase(td_http1connection *conn)
{
    td_gauges->connections[conn->counted]--;
    td_gauges->connections[conn->phase]++;
    conn->counted = conn->phase;
}

/*
 * RFC 9112 section 9.6: closed over bytes that nobody has read, a socket resets, and what the kernel
 * has yet to send is lost.  A client that promised to send no more may have done so all the same
 * (old ones end a body with CRLF) while a long answer was on its way.
 */
static __attribute__((noinline)) bool
may_close_at_once(const td_http1connection *conn)
{
    const bool was_waited_for = td_list_is_linked(&conn->sending.link);
    int unread = 0;

    if (conn->closing != HTTP1_CLOSE || conn->in.len > 0)
        return false;
    return !was_waited_for ||
           ioctl(td_transport_fd(&conn->transport), FIONREAD, &unread) < 0 || unread == 0;
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
    if (TD_UNLIKELY(conn->detaching)) {
        hand_over(conn);
        return;
    }
    waiting = http1_is_waiting(conn);
    conn->sliced = false;
    if (!waiting && (conn->phase == HTTP1_SENDING || conn->above_high_water || /* left just now */
                     (conn->phase == HTTP1_IDLE && conn->in.len > 0)))
        td_ioloop_post(conn->context->loop, &conn->resume);
    if (conn->closing != HTTP1_STAY && conn->phase == HTTP1_IDLE && !waiting) {
        conn->transport.ops->shutdown(&conn->transport);
        if (may_close_at_once(conn)) {
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
    if (TD_UNLIKELY(conn->phase != conn->counted))
        count_phase(conn);
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
            refuse_head(conn, td_buf_str(&conn->in), 400, "the client ended in the middle of a head");
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
    const uint32_t before = conn->lingered;

    if (!td_linger_goes_on(&conn->transport, &conn->lingered))
        conn->broken = true;
    conn->context->counters->received += conn->lingered - before;
}

static void
receive_straight(td_http1connection *conn)
{
    const ssize_t n = td_http1_body_receive(conn);

    if (n == -EAGAIN)
        return;
    conn->context->counters->received += n > 0 ? (uint64_t)n : 0;
    if (n <= 0)
        input_ended(conn, n);
    else if (conn->phase != HTTP1_BODY || conn->answered)
        serve_kept(conn);
}

/*
 * The memory of the connection's last request, which the next one uses again, is on its way while
 * the kernel reads.
 */
static inline void
prefetch_request(const td_http1connection *conn)
{
    if (conn->request != NULL)
        td_prefetch(conn->request, REQUEST_PREFETCHED);
}

static bool
is_oldest_head(const td_http1connection *conn)
{
    return conn->context->heads.head.next == &conn->deadline.link;
}

/*
 * To keep n bytes more of an incomplete head, of which there is `head`.  Where there is no room
 * left, the heads that have been so for longest make some: those who send them slowly shall not
 * keep others from being heard.
 */
static bool
make_room_for_head(td_http1connection *conn, td_str head, size_t n)
{
    if (conn->phase != HTTP1_HEAD || conn->in.size - conn->in.start - conn->in.len >= n)
        return true;
    while (!td_budget_has(TD_BUDGET_BUFFERS, n)) {
        td_budget_refused(TD_BUDGET_BUFFERS, "the oldest incomplete heads are closed");
        if (is_oldest_head(conn) || !td_http1context_evict(conn->context))
            break;
    }
    if (td_budget_has(TD_BUDGET_REQUESTS, n))
        return true;
    refuse_head(conn, head, 503, td_budget_text());
    return false;
}

static void
receive(td_http1connection *conn)
{
    bool keeps = conn->in.len > 0;

    if (keeps && !make_room_for_head(conn, td_buf_str(&conn->in), READ_SIZE / 4)) {
        serve_kept(conn);
        return;
    }
    char *to = keeps ? td_buf_reserve(&conn->in, READ_SIZE / 4) : read_buffer;

    prefetch_request(conn);
    ssize_t n = conn->transport.ops->read(&conn->transport, to, keeps ? READ_SIZE / 4 : READ_SIZE);

    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        input_ended(conn, n);
        return;
    }
    conn->context->counters->received += (size_t)n;
    if (keeps) {
        td_buf_added(&conn->in, (size_t)n);
        serve_kept(conn);
    } else {
        size_t used = serve(conn, to, (size_t)n);

        const td_str rest = {to + used, (size_t)n - used};

        if (rest.len > 0 && make_room_for_head(conn, rest, rest.len))
            td_buf_append(&conn->in, rest);
    }
}

static void
on_event(td_transport *transport, int events)
{
    td_http1connection *conn = TD_CONTAINER_OF(transport, td_http1connection, transport);

    td_prefetch(conn, sizeof(*conn));
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
        else if (conn->phase == HTTP1_BODY && td_http1_body_goes_straight(conn))
            receive_straight(conn);
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
    if (!conn->broken)
        td_http1_body_continue(conn);
    if (!conn->broken && conn->phase != HTTP1_LINGER)
        serve_kept(conn);
    settle(conn);
}

size_t
td_request_pending(const td_request *request)
{
    return request->connection != NULL ? td_http1_unsent(request->connection) : 0;
}

/* ---- time-outs; each is a turn */

static void
close_now(td_http1connection *conn)
{
    conn->broken = true;
    settle(conn);
}

void
td_http1_refuse_late(td_http1connection *conn, const char *why)
{
    td_http1_turn.active = conn;
    if (conn->phase == HTTP1_HEAD)
        refuse_head(conn, td_buf_str(&conn->in), 408, why);
    else
        td_http1_refuse(conn, 408, why);
    serve_kept(conn);
    settle(conn);
}

/* Who has sent only empty lines is idle: an answer would be taken for that of the next request. */
static void
head_expired(td_deadline *deadline)
{
    td_http1connection *conn = http1_connection_of(deadline);

    if (!conn->introduced)
        td_http1_refuse_proxy(conn, "header_timeout");
    if (is_in_request(conn))
        td_http1_refuse_late(conn, "header_timeout");
    else
        close_now(conn);
}

/*
 * 1: it is there, as far as one can see without a read; else as read() would say once there is
 * nothing more.  What has come is the handler's first: a whole body, or chunks that may be one.
 */
static ssize_t
look_for_end(const td_http1connection *conn)
{
    struct pollfd look = {.fd = td_transport_fd(&conn->transport), .events = POLLRDHUP};
    int waiting = 0;
    uint64_t unread;

    if (poll(&look, 1, 0) <= 0)
        return 1;
    if (look.revents & POLLERR)
        return -ECONNRESET;
    if (conn->chunked != NULL) /* its end may have come */
        return (look.revents & POLLHUP) ? 0 : 1;
    if (ioctl(look.fd, FIONREAD, &waiting) < 0)
        return 1;
    unread = conn->in.len + (uint64_t)waiting;
    return unread < conn->body_left || (unread == 0 && (look.revents & POLLHUP)) ? 0 : 1;
}

/* A handler that does not read its body is told all the same that nobody is there to answer. */
static void
look_expired(td_deadline *deadline)
{
    td_http1connection *conn = TD_CONTAINER_OF(deadline, http1_flow, look)->conn;
    ssize_t end;

    if (!conn->body_paused)
        return;
    end = look_for_end(conn);
    if (end > 0) {
        td_deadline_start(&conn->context->looking, deadline, td_now_ns());
        return;
    }
    td_http1_turn.active = conn;
    input_ended(conn, end);
    settle(conn);
}

static void
idle_expired(td_deadline *deadline)
{
    close_now(http1_connection_of(deadline));
}

/* Idle for a second: an idle connection holds no buffer. */
static void
warm_expired(td_deadline *deadline)
{
    td_http1connection *conn = http1_connection_of(deadline);

    forget_request(conn);
    td_buf_release(&conn->in);
    td_buf_release(&conn->out);
    if (conn->context->idle.duration_ns == 0)
        close_now(conn);
    else
        td_deadline_start(&conn->context->idle, deadline, td_now_ns());
}

static void
sending_expired(td_deadline *deadline)
{
    td_http1connection *conn = TD_CONTAINER_OF(deadline, td_http1connection, sending);
    static td_log_gate gate;
    char peer[TD_PEER_TEXT_SIZE];

    if (conn->window_sent >= http1_limits(conn)->send_min_rate * (HTTP1_RATE_WINDOW_MS / 1000)) {
        conn->window_sent = 0;
        td_deadline_start(&conn->context->sending, deadline, td_now_ns());
        return;
    }
    td_peer_format(&conn->peer, peer);
    td_log_gated(&gate, TD_LOG_INFO, "http", "%s reads too slowly: closed (send_min_rate)", peer);
    close_now(conn);
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
    if (context->delegate->server_header != NULL)
        context->server_header = context->delegate->server_header(context->delegate_arg);
    if (context->counters == NULL)
        context->counters = &td_listener_counters_nowhere;
    td_list_init(&context->connections);
    td_list_init(&context->detached);
    td_deadlines_init(&context->heads, context->loop, limits->header_timeout_ms, head_expired);
    td_deadlines_init(&context->looking, context->loop, HTTP1_LOOK_MS, look_expired);
    td_deadlines_init(&context->warm, context->loop, warm, warm_expired);
    td_deadlines_init(&context->idle, context->loop, limits->keepalive_timeout_ms - warm,
                      idle_expired);
    td_http1_bodies_init(context);
    td_deadlines_init(&context->sending, context->loop, HTTP1_RATE_WINDOW_MS, sending_expired);
    td_deadlines_init(&context->lingering, context->loop, TD_LINGER_MS, idle_expired);
}

void
td_http1context_fini(td_http1context *context)
{
    while (!td_list_is_empty(&context->connections))
        close_now(TD_CONTAINER_OF(context->connections.next, td_http1connection, link));
    td_detached_close_all(context);
    td_http1_bodies_fini(context);
    td_deadlines_fini(&context->heads);
    td_deadlines_fini(&context->looking);
    td_deadlines_fini(&context->warm);
    td_deadlines_fini(&context->idle);
    td_deadlines_fini(&context->sending);
    td_deadlines_fini(&context->lingering);
    td_buf_release(&td_http1_turn.out);
}

/* The one whose time began first. */
static bool
evict_from(td_deadlines *deadlines)
{
    if (td_list_is_empty(&deadlines->head))
        return false;
    close_now(TD_CONTAINER_OF(deadlines->head.next, td_http1connection, deadline.link));
    return true;
}

bool
td_http1context_evict(td_http1context *context)
{
    return evict_from(&context->heads);
}

bool
td_http1context_evict_lingering(td_http1context *context)
{
    return evict_from(&context->lingering);
}

/* Those in `warm` are not asked: they may well be in the middle of a page. */
bool
td_http1context_evict_idle(td_http1context *context)
{
    return evict_from(&context->idle);
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

bool
td_request_is_from_proxy(const td_request *request)
{
    const td_http1connection *conn = request->connection;

    return conn != NULL && td_networks_have(&conn->context->settings->trusted_downstream,
                                            conn->peer.address, conn->peer.address_len);
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

static td_http1connection *
make_connection(td_http1context *context, const td_peer *peer)
{
    td_http1connection *conn = td_xcalloc(1, sizeof(*conn));

    conn->context = context;
    conn->peer = *peer;
    conn->https = context->settings->scheme == TD_SCHEME_HTTPS;
    conn->resume.fn = on_resume;
    conn->resume.arg = conn;
    td_list_append(&context->connections, &conn->link);
    td_gauges->connections[HTTP1_IDLE]++;
    return conn;
}

void
td_http1connection_linger(td_http1context *context, td_transport *transport, const td_peer *peer)
{
    td_http1connection *conn = make_connection(context, peer);

    td_transport_move(&conn->transport, transport, context->loop, on_event);
    conn->introduced = true;
    conn->transport.ops->shutdown(&conn->transport);
    begin_linger(conn);
    count_phase(conn);
    td_transport_watch(&conn->transport, context->loop, TD_READABLE);
}

void
td_http1connection_open(td_http1context *context, int fd, const td_peer *peer)
{
    td_http1connection *conn = make_connection(context, peer);

    td_transport_open_plain(&conn->transport, fd, on_event);
    if (TD_UNLIKELY(context->settings->proxy_protocol)) {
        td_http1_expect_proxy(conn);
        return;
    }
    td_http1_introduce(conn);
    td_deadline_start(&context->warm, &conn->deadline, td_now_ns());
    on_event(&conn->transport, TD_READABLE); /* the request is nearly always there already */
}
