/* Goal: connections that handlers take over, for test_detach.py. */
#include <tornado/tornado.h>

/* Lines come back in upper case until "quit"; at a drain it says goodbye. */
static void
talk(td_iostream *stream)
{
    td_str line;
    int rc;

    while ((rc = td_iostream_read_until(stream, TD_STR("\n"), 4096, &line)) == 0) {
        char upper[4096];

        if (td_str_equal(line, TD_STR("quit\n")))
            break;
        for (size_t i = 0; i < line.len; i++)
            upper[i] = (char)(line.ptr[i] >= 'a' && line.ptr[i] <= 'z' ? line.ptr[i] - 32
                                                                       : line.ptr[i]);
        td_iostream_write(stream, td_str_make(upper, line.len));
    }
    if (rc == TD_EDRAINING)
        td_iostream_write(stream, TD_STR("GOODBYE\n"));
    td_iostream_flush(stream);
    td_log_info("talk ends: %s", td_strerror(rc));
}

static void
upgrade(td_handler *h)
{
    td_iostream *stream;

    if (!td_str_equal(td_request_upgrade(h), TD_STR("lines")))
        td_raise(h, 426, NULL);
    td_set_header(h, "X-Colour", "green");
    stream = td_detach(h, TD_DETACH(.upgrade = "lines", .stream = TD_IOSTREAM(.max_buffer = 8192)));
    if (stream == NULL) {
        td_log_info("nobody to talk to");
        return;
    }
    talk(stream);
}

static void
raw(td_handler *h)
{
    td_iostream *stream;

    td_set_status(h, 299, NULL);
    stream = td_detach(h, NULL);
    td_iostream_write(stream, TD_STR("HELLO\n"));
    talk(stream);
}

/* It has waited before, so its turn is over when it detaches. */
static void
late(td_handler *h)
{
    td_sleep(1);
    upgrade(h);
}

static void
raising(td_handler *h)
{
    td_iostream *stream = td_detach(h, NULL);

    td_iostream_write(stream, TD_STR("BEFORE\n"));
    td_raise(h, 500, "after the stream was there");
}

/* What goes on using the stream when the method has returned keeps the request. */
struct guest {
    td_handler *h;
    td_iostream *stream;
};

static void
entertain(void *arg)
{
    struct guest *guest = arg;

    talk(guest->stream);
    td_handler_unref(guest->h);
}

static void
spawned(td_handler *h)
{
    struct guest *guest = td_alloc(h, sizeof(*guest));

    *guest = (struct guest){td_handler_ref(h), td_detach(h, NULL)};
    td_future_unref(td_spawn(entertain, guest));
}

/* Looks after nothing: the stream goes with the request. */
static void
careless(td_handler *h)
{
    td_iostream_write(td_detach(h, NULL), TD_STR("BYE\n"));
}

static void
destroying(td_handler *h)
{
    td_iostream *stream = td_detach(h, NULL);

    td_iostream_write(stream, TD_STR("BYE\n"));
    td_iostream_destroy(&stream);
}

static void
stubborn(td_handler *h)
{
    td_iostream *stream = td_detach(h, NULL);
    td_str line;

    td_iostream_write(stream, TD_STR("READY\n"));
    while (td_iostream_read_until(stream, TD_STR("\n"), 0, &line) == TD_EDRAINING)
        td_iostream_write(stream, TD_STR("I STAY\n"));
}

static void
try_outside(void *arg)
{
    if (td_detach(arg, NULL) == NULL)
        td_log_info("refused outside");
}

static void
misuse(td_handler *h)
{
    const bool is_late = td_get_argument_default(h, "late", NULL).len > 0;

    td_await(td_spawn(try_outside, h), NULL);
    if (is_late) {
        td_write_text(h, "begun\n");
        td_flush(h);
    }
    if (td_detach(h, is_late ? NULL : TD_DETACH(.upgrade = "two\nlines")) == NULL)
        td_log_info("refused");
    if (!is_late)
        td_write_text(h, "still here\n");
    td_finish(h);
    if (td_detach(h, NULL) == NULL)
        td_log_info("refused at the end");
}

static void
unread(td_handler *h)
{
    td_str data;

    if (td_detach(h, NULL) == NULL)
        td_log_info("refused with a body");
    while (td_read_body(h, &data) > 0)
        ;
    talk(td_detach(h, NULL));
}

static void
twice(td_handler *h)
{
    td_iostream *stream = td_detach(h, NULL);

    if (td_detach(h, NULL) == NULL && td_write_text(h, "x") < 0 && td_is_finished(h))
        td_iostream_write(stream, TD_STR("ONCE\n"));
    td_iostream_flush(stream);
}

static void
hello(td_handler *h)
{
    td_write_text(h, "hello\n");
}

static void
told(td_handler *h)
{
    td_log_info("on_finish of %.*s", TD_STR_FMT(td_request_path(h)));
}

#define CLASS(name_) static const td_handler_class name_##_class = {.get = name_, .on_finish = told}
CLASS(upgrade);
CLASS(raw);
CLASS(late);
CLASS(raising);
CLASS(spawned);
CLASS(careless);
CLASS(destroying);
CLASS(stubborn);
CLASS(misuse);
CLASS(twice);
CLASS(hello);
static const td_handler_class unread_class = {.post = unread, .flags = TD_STREAM_BODY};
static const td_handler_class post_class = {.post = upgrade};

TD_PLUGIN(.name = "detach", .version = "1",
          .urls = TD_URLS(TD_URL("/upgrade", &upgrade_class), TD_URL("/raw", &raw_class),
                          TD_URL("/late", &late_class), TD_URL("/raising", &raising_class),
                          TD_URL("/spawned", &spawned_class), TD_URL("/careless", &careless_class),
                          TD_URL("/destroying", &destroying_class),
                          TD_URL("/stubborn", &stubborn_class), TD_URL("/misuse", &misuse_class),
                          TD_URL("/twice", &twice_class), TD_URL("/hello", &hello_class),
                          TD_URL("/unread", &unread_class), TD_URL("/post", &post_class)));
