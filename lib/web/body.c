/*
 * Bodies that are read while they come (Tornado's stream_request_body).
 *
 * The connection takes something of a body only while a coroutine waits in td_read_body, so what
 * a handler does not read stays in the kernel and slows its client down.  A piece is copied, once,
 * for it has to stay where it is while the handler that looks at it waits for something else.
 * data_received is the same from the other side: the sequence reads, and calls it with each piece.
 */
#include "io/call.h"
#include "web/body.h"

#define ROOM_FIRST 4096 /* bytes for the first piece, if it is so small */

struct td_incoming {
    td_handler *handler;
    char *bytes;     /* in the request's arena */
    size_t len, room;
    bool is_unread;  /* a piece has come that nobody was given */
    bool asked;      /* somebody has wanted to read: what is to be refused by its length was */
    bool ended;      /* all of it has come */
    td_timer timer;  /* td_set_body_timeout */
};

static struct td_incoming *
incoming_of(td_handler *h)
{
    struct td_incoming *in = h->incoming;
    const td_head *head = &h->request->head;

    if (in != NULL)
        return in;
    in = h->incoming = TD_ARENA_NEW(&h->request->arena, struct td_incoming);
    in->handler = h;
    in->ended = !head->chunked && head->content_length <= 0;
    return in;
}

bool
td_body_is_read(td_handler *h)
{
    return !td_handler_route(h)->streams_body ||
           (incoming_of(h)->ended && !incoming_of(h)->is_unread);
}

/* ---- what the connection tells */

static void
keep_piece(struct td_incoming *in, td_str data)
{
    if (data.len > in->room) {
        in->room = data.len <= ROOM_FIRST ? ROOM_FIRST : TD_BODY_PIECE_MAX;
        in->bytes = td_arena_alloc_raw(&in->handler->request->arena, in->room);
    }
    memcpy(in->bytes, data.ptr, data.len);
    in->len = data.len;
    in->is_unread = true;
}

bool
td_body_received(td_handler *h, td_str data)
{
    keep_piece(incoming_of(h), data);
    td_handler_body_came(h, 0);
    return td_handler_awaits_body(h);
}

void
td_body_ended(td_handler *h)
{
    struct td_incoming *in;

    if (h->request->body_mode != TD_BODY_STREAMED)
        return;
    in = incoming_of(h);
    in->ended = true;
    td_timer_stop(td_ioloop_current(), &in->timer);
    td_handler_body_came(h, 0);
}

void
td_body_abandon(td_handler *h)
{
    td_timer_stop(td_ioloop_current(), &h->incoming->timer);
    td_handler_body_came(h, TD_ECLOSED);
}

/* ---- reading */

/* 0, or what a function about the body has to return. */
static int
check_streamed(td_handler *h, const char *function)
{
    if (!td_handler_usable(h, function))
        return TD_EINVAL;
    if (h->request->body_mode != TD_BODY_STREAMED)
        return td_handler_misuse(h, function, "the class has no TD_STREAM_BODY");
    if (h->closed || (h->finished && h->owes_finish))
        return TD_ECLOSED;
    if (h->finished)
        return td_handler_misuse(h, function, "the response has ended");
    return 0;
}

static int
wait_for_piece(td_handler *h, struct td_incoming *in)
{
    const td_request *request = h->request;

    if (!in->asked && request->head.content_length > request->limits->max_body_size)
        td_handler_raise_quietly(h, 413, "Content-Length is above max_body_size");
    in->asked = true;
    td_request_resume_body(h->request);
    return td_handler_wait_body(h);
}

int
td_read_body(td_handler *h, td_str *data_out)
{
    struct td_incoming *in;
    int rc = check_streamed(h, "td_read_body");

    if (rc < 0)
        return rc;
    if (!td_handler_has(h, "td_read_body", data_out))
        return TD_EINVAL;
    in = incoming_of(h);
    if (!in->is_unread && !in->ended)
        rc = wait_for_piece(h, in);
    if (rc < 0)
        return rc;
    *data_out = in->is_unread ? td_str_make(in->bytes, in->len) : TD_STR("");
    in->is_unread = false;
    return (int)data_out->len;
}

bool
td_body_deliver(td_handler *h)
{
    const td_handler_class *class = td_handler_route(h)->class;
    td_str data;
    int n = 0;

    if (class->data_received == NULL)
        return true;
    while (!h->finished && (n = td_read_body(h, &data)) > 0)
        class->data_received(h, data);
    return !h->finished && n == 0;
}

/* ---- limits of one request */

static int
check_unread(td_handler *h, const char *function)
{
    const int rc = check_streamed(h, function);

    if (rc == 0 && h->incoming != NULL && h->incoming->asked)
        return td_handler_misuse(h, function, "reading the body has begun");
    return rc;
}

int
td_set_max_body_size(td_handler *h, int64_t size)
{
    td_limits *limits;
    int rc = check_unread(h, "td_set_max_body_size");

    if (rc < 0)
        return rc;
    if (size < 0)
        return td_handler_misuse(h, "td_set_max_body_size", "the size is negative");
    if (incoming_of(h)->ended)
        return 0; /* there is none, and the same head may come again and find the same limits */
    limits = td_arena_alloc_raw(&h->request->arena, sizeof(*limits));
    *limits = *h->request->limits;
    limits->max_body_size = size;
    h->request->limits = limits;
    return 0;
}

static void
on_late(void *arg)
{
    const struct td_incoming *in = arg;

    if (!in->handler->finished)
        td_handler_expire(in->handler, 408, "td_set_body_timeout has passed");
}

int
td_set_body_timeout(td_handler *h, int64_t duration_ms)
{
    struct td_incoming *in;
    int rc = check_unread(h, "td_set_body_timeout");

    if (rc < 0)
        return rc;
    if (duration_ms < 0)
        return td_handler_misuse(h, "td_set_body_timeout", "the duration is negative");
    in = incoming_of(h);
    in->timer.fn = on_late;
    in->timer.arg = in;
    td_timer_stop(td_ioloop_current(), &in->timer);
    if (duration_ms > 0 && !in->ended)
        td_timer_start(td_ioloop_current(), &in->timer, td_deadline_in_ms(duration_ms));
    return 0;
}
