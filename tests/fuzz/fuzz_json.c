/*
 * Goal: no JSON body makes a handler that walks over all of it crash, leak, or meet a string that
 * is not UTF-8, and what is deeper than max_json_depth is never met.
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

#define DEPTH_MAX 16

static td_limits limits;
static int status;

static void
check_text(td_str s)
{
    TD_ASSERT(s.ptr != NULL && s.ptr[s.len] == '\0' && td_utf8_is_valid(s));
}

static void
walk(const td_json *value, int depth)
{
    td_json_member member = {.place = NULL};
    const td_json_type type = td_json_type_of(value);
    size_t members = 0;

    TD_ASSERT(depth <= DEPTH_MAX);
    if (type == TD_JSON_STRING)
        check_text(td_json_as_str(value, NULL));
    for (size_t i = 0; type == TD_JSON_ARRAY && i < td_json_count(value); i++)
        walk(td_json_at(value, i), depth + 1);
    while (td_json_next(value, &member)) {
        check_text(member.name);
        walk(member.value, depth + 1);
        members++;
    }
    TD_ASSERT(type != TD_JSON_OBJECT || members == td_json_count(value));
}

static void
post(td_handler *h)
{
    walk(td_request_json(h), 0);
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
    limits.max_json_depth = DEPTH_MAX;
    limits.max_json_memory = 1 << 20;
    td_limits_unset(&settings.limits);
    td_limits_unset(&section.limits);
    TD_ASSERT(td_ioloop_create(&loop, &err) == 0);
    app = td_application_create(&settings);
    TD_ASSERT(td_application_mount(app, &instance, &err) == 0);
    TD_ASSERT(td_application_seal(app, &err) == 0);
    atexit(tear_down);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    td_request *request = td_request_create();
    td_head *head = &request->head;

    request->writer = &writer;
    request->limits = &limits;
    head->method = TD_METHOD_POST;
    head->method_name = TD_STR("POST");
    head->minor = 1;
    head->content_length = (int64_t)size;
    head->host = head->host_name = TD_STR("example.org");
    head->target = head->path = TD_STR("/");
    request->body = td_str_dup(&request->arena, td_str_make((const char *)data, size));

    status = 0;
    set_up();
    td_application_delegate.route(app, request);
    td_application_delegate.headers_received(app, request);
    td_application_delegate.finish(app, request);
    TD_ASSERT(status == 200 || status == 400 || status == 413);
    td_application_delegate.done(app, request);
    td_request_unref(request);
    return 0;
}
