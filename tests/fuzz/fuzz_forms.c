/*
 * Goal: no form in a body makes a handler that asks for all of it crash, leak, or meet a name or
 * value that is not what is promised; the limits of forms hold.
 *
 * Input: a Content-Type, a line feed, the body.  It comes in two pieces, and is then there as a whole.
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

#define FIELDS_MAX 8
#define PARTS_MAX 8

static td_limits limits;
static int status;
static const char *const names[] = {"a", "b", "", "a b", "\xc3\xa9"};

static void
check_text(td_str s)
{
    TD_ASSERT(s.ptr != NULL && s.ptr[s.len] == '\0' && td_utf8_is_valid(s));
}

static void
check_file(const td_http_file *file, td_str body)
{
    check_text(file->name);
    check_text(file->filename);
    check_text(file->content_type);
    TD_ASSERT(file->name.len > 0 && file->filename.len > 0);
    TD_ASSERT(file->body.len == 0 || (file->body.ptr >= body.ptr &&
                                      file->body.ptr + file->body.len < body.ptr + body.len));
}

static void
post(td_handler *h)
{
    const td_http_file *files;
    const size_t count = td_get_files(h, NULL, &files);

    TD_ASSERT(count <= PARTS_MAX);
    for (size_t i = 0; i < count; i++)
        check_file(&files[i], td_request_body(h));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const td_str *values;
        const size_t values_count = td_get_body_arguments(h, names[i], &values);

        TD_ASSERT(values_count <= FIELDS_MAX);
        for (size_t k = 0; k < values_count; k++)
            check_text(values[k]);
        td_get_argument_int_default(h, names[i], INT64_MIN, INT64_MAX, 0);
        td_get_argument_double_default(h, names[i], 0);
        td_get_argument_bool_default(h, names[i], false);
    }
}

static int
take_head(td_request *request, int status_, td_str reason, const td_headers *headers,
          int64_t length)
{
    (void)request, (void)reason, (void)headers, (void)length;
    status = status_;
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
    return 0;
}

static const td_message_writer writer = {
    .head = take_head, .body = take_body, .finish = take_finish};

static td_application *app;
static td_ioloop *loop;

/* Else what hangs on it looks like a leak, for its arena is no memory of malloc. */
static void
tear_down(void)
{
    td_ioloop_destroy(&loop);
    td_application_destroy(&app);
}

/* Made once. */
static void
set_up(void)
{
    static const td_handler_class Post = {.post = post};
    static const td_url urls[] = {TD_URL("/", &Post), {.pattern = NULL}};
    static const td_plugin plugin = {.urls = urls};
    static td_handler_settings section = {.mount = "/", .hosts = ".*"};
    static const td_instance instance = {
        .name = "fuzz", .file = "fuzz.so", .plugin = &plugin, .section = &section};
    static td_application_settings settings = {.name = "fuzz"};
    td_err err = {0};

    if (app != NULL)
        return;
    limits = *td_limits_defaults();
    limits.max_fields = FIELDS_MAX;
    limits.max_parts = PARTS_MAX;
    td_limits_unset(&settings.limits);
    td_limits_unset(&section.limits);
    TD_ASSERT(td_ioloop_create(&loop, &err) == 0);
    app = td_application_create(&settings);
    TD_ASSERT(td_application_mount(app, &instance, &err) == 0);
    TD_ASSERT(td_application_seal(app, &err) == 0);
    atexit(tear_down);
}

static void
show_to_watcher(td_request *request, td_str piece)
{
    if (request->body_watcher != NULL && !request->body_unwanted)
        request->body_watcher->received(request->body_watcher, request, piece);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    td_request *request = td_request_create();
    td_head *head = &request->head;
    const char *text = (const char *)data;
    const char *end = size > 0 ? memchr(text, '\n', size) : NULL;
    const td_str type = td_str_make(text, end != NULL ? (size_t)(end - text) : 0);
    const td_str body = end != NULL ? td_str_make(end + 1, size - type.len - 1) : type;

    request->writer = &writer;
    request->limits = &limits;
    head->method = TD_METHOD_POST;
    head->method_name = TD_STR("POST");
    head->minor = 1;
    head->content_length = (int64_t)body.len;
    head->host = head->host_name = TD_STR("example.org");
    head->target = head->path = TD_STR("/");
    td_headers_add(&head->headers, &request->arena, TD_STR("Content-Type"),
                   td_is_field_value(type) ? type : TD_STR("application/x-www-form-urlencoded"));
    request->body = td_str_dup(&request->arena, body);

    status = 0;
    set_up();
    td_application_delegate.route(app, request);
    td_application_delegate.headers_received(app, request);
    show_to_watcher(request, td_str_make(body.ptr, body.len / 3));
    show_to_watcher(request, td_str_make(body.ptr + body.len / 3, body.len / 3));
    td_application_delegate.finish(app, request);
    TD_ASSERT(status == 200 || status == 400 || status == 413);
    td_application_delegate.done(app, request);
    td_request_unref(request);
    return 0;
}
