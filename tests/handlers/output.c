/* What leaves: bodies of many kinds for compression, transforms that can be chosen by the query. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <tornado/tornado.h>

static int64_t
number(td_handler *h, const char *name, int64_t default_value)
{
    return td_get_argument_int_default(h, name, 0, INT64_MAX, default_value);
}

static void
write_lines(td_handler *h, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++)
        td_writef(h, "line %lld of the body\n", (long long)i);
}

/* ?lines=N&type=T&etag=E&control=C&encoding=E&status=S&secret=1 */
static void
set_head(td_handler *h)
{
    static const char *const fields[][2] = {{"type", "Content-Type"}, {"etag", "Etag"},
                                            {"control", "Cache-Control"}, {"vary", "Vary"},
                                            {"encoding", "Content-Encoding"},
                                            {"length", "Content-Length"}};

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const td_str value = td_get_query_argument_default(h, fields[i][0], NULL);

        if (value.ptr != NULL)
            td_set_header(h, fields[i][1], value.ptr);
    }
    td_set_status(h, (int)number(h, "status", 200), NULL);
    if (number(h, "secret", 0) != 0)
        td_never_compress(h);
}

static void
whole(td_handler *h)
{
    set_head(h);
    write_lines(h, 0, number(h, "lines", 100));
}

/* ?flushes=N: as many pieces, then the end; abort=1: then a failure. */
static void
stream(td_handler *h)
{
    const int64_t flushes = number(h, "flushes", 10), lines = number(h, "lines", 10);

    set_head(h);
    for (int64_t i = 0; i < flushes; i++) {
        write_lines(h, i * lines, (i + 1) * lines);
        if (td_flush(h) != 0)
            return;
        td_sleep(number(h, "sleep", 0));
    }
    if (number(h, "abort", 0) != 0)
        td_raise(h, 500, "as asked for");
}

/* ---- events */

/* ?count=N&sleep=MS: that many, then sleep once more until nobody listens. */
static void
events(td_handler *h)
{
    const int64_t count = number(h, "count", 3), sleep = number(h, "sleep", 0);
    const td_str last = td_sse_last_id(h);
    int rc = td_sse_begin(h);

    for (int64_t i = 0; i < count && rc == 0; i++) {
        const td_str id = td_sprintf(h, "%.*s%lld", TD_STR_FMT(last), (long long)i);

        rc = td_sse_send(h, TD_SSE(.id = id.ptr, .event = "tick", .data = TD_STR("one\r\ntwo\rthree\n"),
                                   .retry_ms = i == 0 ? 10 : 0));
        if (rc == 0)
            rc = td_sse_sleep(h, sleep);
    }
    if (rc == 0 && number(h, "injected", 0) != 0)
        rc = td_sse_send(h, TD_SSE(.id = "1\ndata: evil"));
    if (rc == 0 && number(h, "await", 0) != 0)
        rc = td_sse_await(h, td_future_create(), NULL);
    else if (rc == 0)
        rc = td_sse_sleep(h, 600000);
    td_log_info("the stream is over: %d", rc);
}

/* As much as the client takes. */
static void
flood(td_handler *h)
{
    static char data[10000];
    int rc = td_sse_begin(h);

    memset(data, 'x', sizeof(data));
    while (rc == 0)
        rc = td_sse_send(h, TD_SSE(.data = td_str_make(data, sizeof(data))));
    td_log_info("the flood is over: %d", rc);
}

/* ---- transforms */

static void
shout(td_handler *h, td_str chunk, bool finishing, td_output *out, void *arg)
{
    char *upper = td_alloc(h, chunk.len + 1);

    (void)finishing, (void)arg;
    for (size_t i = 0; i < chunk.len; i++)
        upper[i] = (char)toupper((unsigned char)chunk.ptr[i]);
    td_emit(out, td_str_make(upper, chunk.len));
}

static void
begin_brackets(td_handler *h, td_str chunk, bool finishing, td_output *out, void *arg)
{
    td_set_header(h, "X-Brackets", arg);
    td_emit(out, TD_STR("["));
    td_emit(out, chunk);
    if (finishing)
        td_emit(out, TD_STR("]"));
}

static void
go_on_brackets(td_handler *h, td_str chunk, bool finishing, td_output *out, void *arg)
{
    (void)h, (void)arg;
    td_emit(out, chunk);
    if (finishing)
        td_emit(out, TD_STR("]"));
}

static void
be_slow(td_handler *h, td_str chunk, bool finishing, td_output *out, void *arg)
{
    (void)h, (void)finishing, (void)arg;
    td_sleep(1);
    td_emit(out, chunk);
}

static void
fail(td_handler *h, td_str chunk, bool finishing, td_output *out, void *arg)
{
    (void)out, (void)arg;
    if (finishing || chunk.len == 0)
        td_raise(h, 500, "the transform fails as it was asked to");
    td_emit(out, chunk);
}

static const td_transform Shout = TD_TRANSFORM(.name = "shout", .transform_chunk = shout);
static const td_transform Brackets = TD_TRANSFORM(.name = "brackets",
                                                  .transform_first_chunk = begin_brackets,
                                                  .transform_chunk = go_on_brackets);
static const td_transform Slow = TD_TRANSFORM(.name = "slow", .transform_chunk = be_slow);
static const td_transform Fail = TD_TRANSFORM(.name = "fail", .transform_chunk = fail);

/* ?with=shout,brackets,slow,fail in this order */
static void
add_transforms(td_handler *h)
{
    static char yes[] = "yes";
    const td_str with = td_get_query_argument_default(h, "with", "");
    static const struct {
        const char *name;
        const td_transform *transform;
    } all[] = {{"shout", &Shout}, {"brackets", &Brackets}, {"slow", &Slow}, {"fail", &Fail}};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strstr(with.ptr, all[i].name) != NULL)
            td_add_transform(h, all[i].transform, yes);
}

static const td_handler_class Whole = {.get = whole, .prepare = add_transforms, .name = "Whole"};
static const td_handler_class Events = {.get = events, .prepare = add_transforms, .name = "Events"};
static const td_handler_class Flood = {.get = flood, .name = "Flood"};
static const td_handler_class Stream = {.get = stream, .prepare = add_transforms, .name = "Stream"};

TD_PLUGIN(.name = "output", .version = "1.0",
          .urls = TD_URLS(TD_URL("/whole", &Whole), TD_URL("/stream", &Stream),
                          TD_URL("/events", &Events), TD_URL("/flood", &Flood)));
