/* Goal: bodies that go where they came from, and bodies without an end. */
#include <tornado/tornado.h>

#define PIECE (64 * 1024)

static void
mirror(td_handler *h)
{
    td_write(h, td_request_body(h));
}

/* More behind the body, and a part of it again. */
static void
mirror_twice(td_handler *h)
{
    const td_str body = td_request_body(h);

    td_write(h, body);
    td_write_text(h, "|");
    td_write(h, td_str_make(body.ptr + 1, body.len - 1));
}

/*
 * What was written is forgotten: the page must not take its place in the body, which is looked at.
 */
static void
mirror_and_fail(td_handler *h)
{
    const td_str body = td_request_body(h);
    const char first = body.ptr[0];

    td_write(h, body);
    td_clear(h);
    td_writef(h, "cleared");
    td_writef(h, " %d", body.ptr[0] == first);
}

static void
endless(td_handler *h)
{
    static const char piece[PIECE];

    do
        td_write(h, td_str_make(piece, sizeof(piece)));
    while (td_flush(h) == 0);
}

/* Reads as fast as the client sends. */
static void
take(td_handler *h)
{
    td_str data;
    size_t len = 0;

    while (td_read_body(h, &data) == 0 && data.len > 0)
        len += data.len;
    td_writef(h, "%zu", len);
}

/* Reads once, and then lets the client wait. */
static void
take_slowly(td_handler *h)
{
    td_str data;

    td_read_body(h, &data);
    td_sleep(60000);
}

#define MAX_BODY_SIZE (INT64_C(1) << 31)

static const td_handler_class Mirror = {.post = mirror};
static const td_handler_class MirrorTwice = {.post = mirror_twice};
static const td_handler_class MirrorAndFail = {.post = mirror_and_fail};
static const td_handler_class Endless = {.get = endless};
static const td_handler_class Take = {
    .post = take, .flags = TD_STREAM_BODY, .max_body_size = MAX_BODY_SIZE};
static const td_handler_class TakeSlowly = {
    .post = take_slowly,
    .flags = TD_STREAM_BODY | TD_CANCEL_ON_CLOSE,
    .max_body_size = MAX_BODY_SIZE};

TD_PLUGIN(.name = "bodies", .version = "1.0",
          .urls = TD_URLS(TD_URL("/mirror", &Mirror), TD_URL("/mirror-twice", &MirrorTwice),
                          TD_URL("/mirror-and-fail", &MirrorAndFail), TD_URL("/endless", &Endless),
                          TD_URL("/take", &Take), TD_URL("/take-slowly", &TakeSlowly)));
