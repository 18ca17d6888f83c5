/*
 * For the unit tests of lib/web: an application without a daemon, and a connection without a socket
 * whose writer records what it is told.
 */
#ifndef TESTS_UNIT_WEB_FIXTURE_H
#define TESTS_UNIT_WEB_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <tornado/tornado.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/settings.h"
#include "http/request_internal.h"
#include "io/coroutine.h"
#include "io/ioloop.h"
#include "unit.h"
#include "web/application.h"
#include "web/handler.h"

/* One request and what was answered to it. */
typedef struct web_exchange {
    td_request *request;
    int heads, files, flushes, finishes, aborts;
    int status;
    char reason[64];
    char headers[2048]; /* "Name: value\n" each */
    int64_t length;
    char body[1 << 17];
    size_t body_len;
    size_t stable_len;  /* bytes that were promised to stay */
    bool gone;          /* the writer says TD_ECLOSED */
} web_exchange;

static td_arena web_arena;
static td_ioloop *web_loop;
static td_application *web_app;
static const td_configuration *web_configuration;
static td_application_settings web_app_settings;
static uint32_t web_instances;

/* ---- the writer */

static web_exchange *
web_exchange_of(const td_request *request)
{
    return (web_exchange *)(void *)request->server;
}

static int
web_head(td_request *request, int status, td_str reason, const td_headers *headers, int64_t length)
{
    web_exchange *x = web_exchange_of(request);
    size_t len = 0;

    if (x->gone)
        return TD_ECLOSED;
    ck_assert_int_eq(x->heads++, 0);
    request->status = x->status = status;
    x->length = length;
    snprintf(x->reason, sizeof(x->reason), "%.*s", TD_STR_FMT(reason));
    for (size_t i = 0; i < headers->count; i++)
        len += (size_t)snprintf(x->headers + len, sizeof(x->headers) - len, "%.*s: %.*s\n",
                                TD_STR_FMT(headers->items[i].name),
                                TD_STR_FMT(headers->items[i].value));
    return 0;
}

static int
web_body(td_request *request, td_str bytes, bool stable)
{
    web_exchange *x = web_exchange_of(request);

    if (x->gone)
        return TD_ECLOSED;
    ck_assert_int_eq(x->heads, 1);
    ck_assert_int_eq(x->finishes, 0);
    ck_assert_uint_le(x->body_len + bytes.len, sizeof(x->body));
    memcpy(x->body + x->body_len, bytes.ptr, bytes.len);
    x->body_len += bytes.len;
    x->stable_len += stable ? bytes.len : 0;
    return 0;
}

static int
web_file(td_request *request, td_file *file, uint64_t offset, uint64_t length)
{
    web_exchange *x = web_exchange_of(request);

    if (x->gone)
        return TD_ECLOSED;
    ck_assert_int_eq(x->heads, 1);
    ck_assert_uint_le(x->body_len + length, sizeof(x->body));
    ck_assert_int_eq(pread(file->fd, x->body + x->body_len, length, (off_t)offset),
                     (ssize_t)length);
    x->body_len += length;
    x->files++;
    return 0;
}

static int
web_flush(td_request *request)
{
    web_exchange *x = web_exchange_of(request);

    x->flushes++;
    return x->gone ? TD_ECLOSED : 0;
}

static int
web_finish(td_request *request)
{
    web_exchange *x = web_exchange_of(request);

    if (x->gone)
        return TD_ECLOSED;
    ck_assert_int_eq(x->finishes++, 0);
    return 0;
}

static void
web_abort(td_request *request)
{
    web_exchange_of(request)->aborts++;
}

/* What is prepared is the connection's affair: see test_http1writer.c. */
static bool
web_prepare(td_request *request, td_prepared *prepared, const td_headers *headers)
{
    (void)request, (void)prepared, (void)headers;
    return false;
}

static const td_message_writer web_writer = {
    .head = web_head,
    .body = web_body,
    .file = web_file,
    .flush = web_flush,
    .finish = web_finish,
    .abort = web_abort,
    .prepare = web_prepare,
};

/* ---- the log */

static char web_log_text[1 << 16];

/* All that was logged since the last call. */
static inline const char *
web_log(void)
{
    ssize_t n = pread(td_log_fd(), web_log_text, sizeof(web_log_text) - 1, 0);

    ck_assert_int_ge(n, 0);
    web_log_text[n] = '\0';
    ck_assert_int_eq(ftruncate(td_log_fd(), 0), 0);
    ck_assert_int_eq(lseek(td_log_fd(), 0, SEEK_SET), 0);
    return web_log_text;
}

/* ---- the application */

static inline void
web_setup(void)
{
    td_err err;

    td_log_set_fd(memfd_create("log", MFD_CLOEXEC));
    td_arena_init(&web_arena);
    td_clock_refresh();
    ck_assert_int_eq(td_ioloop_create(&web_loop, &err), 0);
    ck_assert_int_eq(td_settings_load(&web_arena, NULL, NULL, 0, &web_configuration, &err), 0);
    web_app_settings = web_configuration->applications[0];
    web_app_settings.server_header = "x";
    web_app = td_application_create(&web_app_settings);
    web_instances = 0;
}

static inline void
web_teardown(void)
{
    td_ioloop_destroy(&web_loop);
    td_application_destroy(&web_app);
    td_arena_fini(&web_arena);
}

/* An instance of a plugin with these urls; what is zero in `section` is as in an empty section. */
static inline td_instance *
web_instance(const char *name, const td_url *urls, td_handler_settings section)
{
    td_instance *instance = TD_ARENA_NEW(&web_arena, td_instance);
    td_handler_settings *settings = TD_ARENA_NEW(&web_arena, td_handler_settings);
    td_plugin *plugin = TD_ARENA_NEW(&web_arena, td_plugin);

    *settings = section;
    settings->name = name;
    if (settings->mount == NULL)
        settings->mount = "/";
    if (settings->hosts == NULL)
        settings->hosts = ".*";
    td_limits_unset(&settings->limits);
    plugin->name = name;
    plugin->urls = urls;
    instance->name = name;
    instance->file = td_arena_sprintf(&web_arena, "%s.so", name).ptr;
    instance->index = ++web_instances;
    instance->plugin = plugin;
    instance->section = settings;
    return instance;
}

/* The whole application: one instance at "/". */
static inline void
web_serve(const td_url *urls)
{
    td_err err = {0};

    ck_assert_msg(td_application_mount(web_app, web_instance("test", urls, (td_handler_settings){0}),
                                       &err) == 0 &&
                      td_application_seal(web_app, &err) == 0,
                  "%s", err.text);
}

/* ---- requests */

/* Parse a head ("GET / HTTP/1.1\r\nHost: x\r\n\r\n") and route it. */
static inline web_exchange *
web_route(const char *raw)
{
    static const td_head_limits limits = {8192, 32768, 256};
    web_exchange *x = calloc(1, sizeof(*x));
    td_request *request = x->request = td_request_create();
    td_head_parser parser = {0};
    td_head_error error = {0};

    request->writer = &web_writer;
    request->server = (td_httpserver *)(void *)x;
    request->peer.address_len = 4;
    request->limits = &web_configuration->listeners[0].limits;
    request->started_ns = td_now_ns();
    request->number = 1;
    ck_assert_msg(td_head_parse(&parser, raw, strlen(raw), &limits, &request->arena, &request->head,
                                &error) > 0,
                  "%d %s", error.status, error.what);
    td_application_delegate.route(web_app, request);
    return x;
}

/* The same from a method and a target, with more header lines or "". */
static inline web_exchange *
web_route_to(const char *method, const char *target, const char *lines)
{
    char raw[8192];

    snprintf(raw, sizeof(raw), "%s %s HTTP/1.1\r\nHost: example.org:8888\r\n%s\r\n", method, target,
             lines);
    return web_route(td_arena_strdup(&web_arena, raw));
}

/* The message has come completely. */
static inline void
web_execute(web_exchange *x)
{
    td_application_delegate.headers_received(web_app, x->request);
    if (x->finishes == 0)
        td_application_delegate.finish(web_app, x->request);
}

static inline web_exchange *
web_request(const char *method, const char *target, const char *lines)
{
    web_exchange *x = web_route_to(method, target, lines);

    web_execute(x);
    return x;
}

static inline web_exchange *
web_get(const char *target)
{
    return web_request("GET", target, "");
}

/* A whole body; lines: of the head, besides Content-Length. */
static inline web_exchange *
web_post(const char *target, const char *lines, td_str body)
{
    char more[512];

    snprintf(more, sizeof(more), "%sContent-Length: %zu\r\n", lines, body.len);
    web_exchange *x = web_route_to("POST", target, more);
    x->request->body = body;
    web_execute(x);
    return x;
}

static inline void
web_client_leaves(web_exchange *x)
{
    x->gone = true;
    if (x->finishes == 0)
        td_application_delegate.closed(web_app, x->request);
}

/* The connection has no more to do with it. */
static inline void
web_done(web_exchange *x)
{
    td_application_delegate.done(web_app, x->request);
    td_request_unref(x->request);
    free(x);
}

/* ---- the loop */

struct web_rounds {
    td_callback callback;
    int left;
};

static inline void
web_round(void *arg)
{
    struct web_rounds *rounds = arg;

    if (rounds->left-- > 0)
        td_ioloop_post(web_loop, &rounds->callback);
    else
        td_ioloop_stop(web_loop);
}

/* Let the loop go round a few times: enough for everything that waits for no time. */
static inline void
web_turn(void)
{
    struct web_rounds rounds = {{.fn = web_round, .arg = &rounds}, 5};

    td_ioloop_post(web_loop, &rounds.callback);
    td_ioloop_start(web_loop);
}

/* ---- what has happened, and who waits */

static char trace[512]; /* in words; each test function has a process of its own */
static td_future *gate; /* what waiting handlers wait for, made by the test */

static inline void
note(const char *word)
{
    if (trace[0] != '\0')
        strcat(trace, " ");
    strcat(trace, word);
}

static inline void
wait_at_gate(void)
{
    td_await(td_future_ref(gate), NULL);
}

static inline void
open_gate(void)
{
    td_future_set_result(gate, NULL);
    web_turn();
}

/* Nothing may be left: no handler, no coroutine. */
static inline void
web_teardown_gate(void)
{
    ck_assert_uint_eq(td_handlers_running(), 0);
    ck_assert_uint_eq(td_coroutines_count(), 0);
    td_future_unref(gate);
    web_teardown();
}

/* Let it go round until the condition holds. */
#define WEB_UNTIL(condition)                                                                       \
    do {                                                                                           \
        const int64_t end_ns = td_clock_ns() + 30 * TD_NS_PER_S;                                   \
        while (!(condition) && td_clock_ns() < end_ns)                                             \
            web_turn();                                                                            \
        ck_assert(condition);                                                                      \
    } while (0)

#endif
