/* For drivers that want a whole application: one that is made once, and a connection that takes
 * all. */
#ifndef TESTS_FUZZ_WEB_REQUEST_H
#define TESTS_FUZZ_WEB_REQUEST_H

#include <stdlib.h>
#include <string.h>
#include <tornado/tornado.h>
#include "base/assert.h"
#include "base/escape.h"
#include "http/request_internal.h"
#include "io/ioloop.h"
#include "web/application.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the connection */

static int status, finishes; /* of the request that runs */

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
    finishes++;
    return 0;
}

static const td_message_writer writer = {
    .head = take_head, .body = take_body, .finish = take_finish};

/* ---- the application */

#define INSTANCES_MAX 2

static td_application *app;
static td_ioloop *loop;

/* Else what hangs on it looks like a leak, for its arena is no memory of malloc. */
static inline void
tear_down(void)
{
    td_ioloop_destroy(&loop);
    td_application_destroy(&app);
}

/* An instance for each table, in their order.  Only the first call does anything. */
static inline void
serve(const td_url *const *tables, int count)
{
    static td_application_settings settings = {.name = "fuzz"};
    static td_handler_settings sections[INSTANCES_MAX];
    static td_plugin plugins[INSTANCES_MAX];
    static td_instance instances[INSTANCES_MAX];
    static const char *const names[INSTANCES_MAX] = {"first", "second"};
    td_err err = {0};

    if (app != NULL)
        return;
    td_limits_unset(&settings.limits);
    TD_ASSERT(td_ioloop_create(&loop, &err) == 0);
    app = td_application_create(&settings);
    for (int i = 0; i < count; i++) {
        sections[i] = (td_handler_settings){.mount = "/", .hosts = ".*", .order = i};
        td_limits_unset(&sections[i].limits);
        plugins[i].urls = tables[i];
        instances[i] = (td_instance){
            .name = names[i], .file = "fuzz.so", .plugin = &plugins[i], .section = &sections[i]};
        TD_ASSERT(td_application_mount(app, &instances[i], &err) == 0);
    }
    TD_ASSERT(td_application_seal(app, &err) == 0);
    atexit(tear_down);
}

/* ---- a request */

static inline td_request *
request_for(td_method method, const td_limits *limits)
{
    td_request *request = td_request_create();
    td_head *head = &request->head;

    request->writer = &writer;
    request->limits = limits;
    head->method = method;
    head->method_name = td_method_name(method);
    head->minor = 1;
    head->content_length = -1;
    head->host = head->host_name = TD_STR("example.org");
    head->target = head->path = TD_STR("/");
    return request;
}

/* Its head has come. */
static inline void
begin_request(td_request *request)
{
    status = finishes = 0;
    td_application_delegate.route(app, request);
    td_application_delegate.headers_received(app, request);
}

/* It has been answered. */
static inline void
end_request(td_request *request)
{
    td_application_delegate.done(app, request);
    TD_ASSERT(request->references == 1);
    td_request_unref(request);
}

static inline void
check_text(td_str s)
{
    TD_ASSERT(s.ptr != NULL && s.ptr[s.len] == '\0' && td_utf8_is_valid(s));
}

#endif
