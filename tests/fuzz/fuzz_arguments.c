/*
 * Goal: no path, query or If-None-Match does harm.  Whatever a handler gets as an argument is UTF-8
 * without control bytes, stripped, with a NUL behind it, and leads back to the path it came from.
 *
 * Input: a path, a line feed, a query, a line feed, an If-None-Match.
 */
#include <stdlib.h>
#include <string.h>
#include <tornado/tornado.h>
#include "base/assert.h"
#include "base/escape.h"
#include "http/request_internal.h"
#include "io/ioloop.h"
#include "web/application.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"a", "b", "", "a b", "\xc3\xa9"};

/* ---- the handler */

static void
check_bytes(td_str s)
{
    TD_ASSERT(s.ptr != NULL && s.ptr[s.len] == '\0' && td_utf8_is_valid(s));
}

static void
check_value(td_str s)
{
    check_bytes(s);
    for (size_t i = 0; i < s.len; i++)
        TD_ASSERT((unsigned char)s.ptr[i] >= 0x20 || (s.ptr[i] >= '\t' && s.ptr[i] <= '\r'));
    TD_ASSERT(s.len == 0 || (s.ptr[0] != ' ' && s.ptr[s.len - 1] != ' '));
}

static void
ask(td_handler *h)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const td_str *values;
        const size_t count = td_get_arguments(h, names[i], &values);
        const td_str last = td_get_argument_default(h, names[i], NULL);

        TD_ASSERT(td_str_is_null(last) == (count == 0));
        for (size_t k = 0; k < count; k++)
            check_value(values[k]);
        TD_ASSERT(count == 0 || td_str_equal(values[count - 1], last));
    }
    td_write(h, td_request_path(h));
}

static void
ask_path(td_handler *h)
{
    const td_str args[] = {td_path_argument(h, "x"), td_path_argument(h, "y")};
    td_str reversed, expected;
    td_arena arena;

    check_bytes(args[0]);
    check_bytes(args[1]);
    reversed = td_reverse_url(h, "path", args, 2);
    check_bytes(reversed);
    td_arena_init(&arena);
    expected = td_arena_sprintf(&arena, "/p/");
    TD_ASSERT(reversed.len >= 3 && memcmp(reversed.ptr, expected.ptr, 3) == 0);
    reversed = td_url_unescape(&arena, reversed, false);
    TD_ASSERT(reversed.len == 4 + args[0].len + args[1].len);
    TD_ASSERT(memcmp(reversed.ptr + 3, args[0].ptr, args[0].len) == 0);
    TD_ASSERT(memcmp(reversed.ptr + 4 + args[0].len, args[1].ptr, args[1].len) == 0);
    td_arena_fini(&arena);
    ask(h);
}

static const td_handler_class Any = {.get = ask};
static const td_handler_class Path = {.get = ask_path};
static const td_url urls[] = {
    TD_URL("/q/(\\w+)-\\1", &Any),
    TD_URL("/literal", &Any),
    TD_URL(".*", &Any),
    {.pattern = NULL},
};
static const td_url path_urls[] = {
    TD_URL("/p/(?<x>[^/]*)/(?<y>.*)", &Path, .name = "path"),
    {.pattern = NULL},
};

/* ---- a connection that takes everything */

static int finishes;

static int
take_head(td_request *request, int status, td_str reason, const td_headers *headers, int64_t length)
{
    (void)request, (void)reason, (void)headers, (void)length;
    TD_ASSERT(status == 200 || status == 304 || (status >= 400 && status <= 500));
    return 0;
}

static int
take_body(td_request *request, td_str bytes, bool stable)
{
    (void)request, (void)bytes, (void)stable;
    return 0;
}

static int
take_finish(td_request *request)
{
    (void)request;
    finishes++;
    return 0;
}

static const td_message_writer writer = {
    .head = take_head, .body = take_body, .finish = take_finish};

/* ---- the application, made once */

static td_application *app;
static td_ioloop *loop;

/* Else what hangs on it looks like a leak, for its arena is no memory of malloc. */
static void
tear_down(void)
{
    td_ioloop_destroy(&loop);
    td_application_destroy(&app);
}

static void
set_up(void)
{
    static const td_application_settings settings = {.name = "fuzz"};
    static td_handler_settings sections[2];
    static const td_plugin plugins[2] = {{.urls = path_urls}, {.urls = urls}};
    static td_instance instances[2];
    static td_application_settings unset;
    td_err err = {0};

    if (app != NULL)
        return;
    unset = settings;
    td_limits_unset(&unset.limits);
    TD_ASSERT(td_ioloop_create(&loop, &err) == 0);
    app = td_application_create(&unset);
    for (int i = 0; i < 2; i++) {
        sections[i] = (td_handler_settings){.mount = "/", .hosts = ".*", .order = i};
        td_limits_unset(&sections[i].limits);
        instances[i] = (td_instance){.name = i == 0 ? "path" : "any", .file = "fuzz.so",
                                     .plugin = &plugins[i], .section = &sections[i]};
        TD_ASSERT(td_application_mount(app, &instances[i], &err) == 0);
    }
    TD_ASSERT(td_application_seal(app, &err) == 0);
    atexit(tear_down);
}

/* What stands before the next line feed; *rest goes on behind it. */
static td_str
take_line(td_str *rest)
{
    const char *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
    const td_str line = td_str_make(rest->ptr, end != NULL ? (size_t)(end - rest->ptr) : rest->len);
    const size_t taken = line.len + (end != NULL);

    *rest = td_str_make(rest->ptr + taken, rest->len - taken);
    return line;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    td_request *request = td_request_create();
    td_head *head = &request->head;
    td_str rest = td_str_make((const char *)data, size);

    request->writer = &writer;
    request->limits = td_limits_defaults();
    head->method = TD_METHOD_GET;
    head->method_name = TD_STR("GET");
    head->minor = 1;
    head->content_length = -1;
    head->host = head->host_name = TD_STR("example.org");
    head->target = head->path = td_str_dup(&request->arena, take_line(&rest));
    head->query = td_str_dup(&request->arena, take_line(&rest));
    td_headers_add(&head->headers, &request->arena, TD_STR("If-None-Match"),
                   td_str_dup(&request->arena, rest));

    finishes = 0;
    set_up();
    td_application_delegate.route(app, request);
    td_application_delegate.headers_received(app, request);
    if (finishes == 0)
        td_application_delegate.finish(app, request);
    TD_ASSERT(finishes == 1);
    td_application_delegate.done(app, request);
    TD_ASSERT(request->references == 1);
    td_request_unref(request);
    return 0;
}
