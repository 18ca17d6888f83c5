/*
 * Goal: every way in which a handler can take its time or break its word, while clients do the
 * same. /counts says how many handlers have begun and how many have had their on_finish.
 */
#include <stdlib.h>
#include <tornado/tornado.h>

static struct {
    int begun, finished, finished_twice, closed;
} counts;

static long
number(td_handler *h, const char *name, const char *default_value)
{
    return strtol(td_get_query_argument_default(h, name, default_value).ptr, NULL, 10);
}

static void
pause_a_little(td_handler *h)
{
    td_sleep(number(h, "ms", "1"));
}

/* ---- hooks of all classes but /counts */

static void
initialize(td_handler *h, const void *arg)
{
    (void)arg;
    counts.begun++;
    td_set_user_data(h, &counts);
}

static void
on_finish(td_handler *h)
{
    if (td_user_data(h) == NULL)
        counts.finished_twice++;
    td_set_user_data(h, NULL);
    counts.finished++;
}

static void
on_finish_slowly(td_handler *h)
{
    pause_a_little(h);
    on_finish(h);
}

static void
on_connection_close(td_handler *h)
{
    (void)h;
    counts.closed++;
}

static void
write_error_slowly(td_handler *h, int status)
{
    td_writef(h, "%d: ", status);
    pause_a_little(h);
    td_flush(h);
    td_write_text(h, "sorry");
}

/* ---- methods */

static void
count(td_handler *h)
{
    td_writef(h, "%d %d %d %d", counts.begun, counts.finished, counts.finished_twice,
              counts.closed);
}

static void
wait_and_answer(td_handler *h)
{
    pause_a_little(h);
    td_write_text(h, "waited");
}

static void
answer_and_work_on(td_handler *h)
{
    td_write_text(h, "at once");
    td_finish(h);
    pause_a_little(h);
}

static void
finish_in_callback(void *arg)
{
    td_handler *h = arg;

    td_write_text(h, "called back");
    td_finish(h);
}

static void
asynchronous(td_handler *h)
{
    td_asynchronous(h);
    td_call_later(td_ioloop_current(), number(h, "ms", "1"), finish_in_callback, h);
}

static void
flush_in_callback(void *arg)
{
    td_handler *h = arg;
    long left = number(h, "n", "10");

    while (left-- > 0 && td_write(h, TD_STR("0123456789")) == 0 && td_flush(h) == 0)
        continue;
    td_finish(h);
}

static void
asynchronous_stream(td_handler *h)
{
    td_asynchronous(h);
    td_call_later(td_ioloop_current(), number(h, "ms", "1"), flush_in_callback, h);
}

static td_handler *volatile forgotten;

/* As if its callback never came. */
static void
never(td_handler *h)
{
    td_asynchronous(h);
    td_write_text(h, "nobody will see this");
    forgotten = h;
}

static void
stream(td_handler *h)
{
    static char bytes[65536];
    const long n = number(h, "n", "10"), ms = number(h, "ms", "0");
    const size_t size = (size_t)number(h, "size", "1000");
    const td_str piece = td_str_make(bytes, size < sizeof(bytes) ? size : sizeof(bytes));

    for (long i = 0; i < n && td_write(h, piece) == 0 && td_flush(h) == 0; i++)
        if (ms > 0)
            td_sleep(ms);
}

static void
raise_after_flush(td_handler *h)
{
    td_write_text(h, "begun");
    td_flush(h);
    pause_a_little(h);
    td_raise(h, 500, "after a flush");
}

static void
raise_after_finish(td_handler *h)
{
    td_write_text(h, "done");
    td_finish(h);
    td_raise(h, 500, "after the end");
}

static void
finish_twice(td_handler *h)
{
    td_finish(h);
    pause_a_little(h);
    td_finish(h);
    td_write_text(h, "more");
    td_flush(h);
}

/* Content-Length: 5, and as many bytes as asked for, after a flush when asked for. */
static void
wrong_length(td_handler *h)
{
    td_set_header(h, "Content-Length", "5");
    for (long i = number(h, "n", "4"); i > 0; i--) {
        td_write_text(h, "x");
        if (number(h, "flush", "0") != 0)
            td_flush(h);
    }
}

static void
raise(td_handler *h)
{
    td_raise(h, 503, "as asked");
}

static void
body_length(td_handler *h)
{
    td_writef(h, "%zu", td_request_body(h).len);
}

static void
wait_with_body(td_handler *h)
{
    pause_a_little(h);
    body_length(h);
}

#define HOOKS                                                                                      \
    .initialize = initialize, .on_finish = on_finish, .on_connection_close = on_connection_close
#define CLASS(name_) ((const td_handler_class[]){{.get = name_, HOOKS}})

static const td_handler_class Counts = {.get = count};
static const td_handler_class Wait = {.get = wait_and_answer, .post = wait_with_body, HOOKS};
static const td_handler_class Cancelled = {.get = wait_and_answer, HOOKS,
                                           .flags = TD_CANCEL_ON_CLOSE};
static const td_handler_class Body = {.post = body_length, HOOKS};
static const td_handler_class SlowError = {.get = raise, .write_error = write_error_slowly, HOOKS};
static const td_handler_class SlowFinish = {.get = count, .initialize = initialize,
                                            .on_finish = on_finish_slowly};
static const td_handler_class Never = {.get = never, HOOKS, .request_timeout_ms = 50};
static const td_handler_class TooSlow = {.get = wait_and_answer, .post = wait_with_body, HOOKS,
                                         .request_timeout_ms = 50};
static const td_handler_class Stream = {.get = stream, HOOKS, .request_timeout_ms = 50};

TD_PLUGIN(.name = "hostile", .version = "1.0",
          .urls = TD_URLS(TD_URL("/counts", &Counts), TD_URL("/wait", &Wait),
                          TD_URL("/cancelled", &Cancelled), TD_URL("/body", &Body),
                          TD_URL("/work-on", CLASS(answer_and_work_on)),
                          TD_URL("/asynchronous", CLASS(asynchronous)),
                          TD_URL("/asynchronous-stream", CLASS(asynchronous_stream)),
                          TD_URL("/stream", &Stream), TD_URL("/slow-error", &SlowError),
                          TD_URL("/slow-finish", &SlowFinish), TD_URL("/never", &Never),
                          TD_URL("/too-slow", &TooSlow),
                          TD_URL("/raise-after-flush", CLASS(raise_after_flush)),
                          TD_URL("/raise-after-finish", CLASS(raise_after_finish)),
                          TD_URL("/finish-twice", CLASS(finish_twice)),
                          TD_URL("/wrong-length", CLASS(wrong_length)),
                          TD_URL("/raise", CLASS(raise))));
