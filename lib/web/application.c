/*
 * td_application: from its first route (mount.c, seal.c) to its end, and between them the question
 * of each head: which route, with what arguments and limits, or which error.
 */
#include <stdlib.h>
#include "base/escape.h"
#include "http/signer.h"
#include "web/application_internal.h"
#include "web/body.h"
#include "web/compression.h"
#include "web/filecache.h"
#include "web/forms.h"
#include "web/handler.h"
#include "web/static.h"
#include "web/redirect.h"

static const td_handler_class no_class;

static void
answer_options_of_all(td_handler *h)
{
    td_set_header(h, "Allow", h->match->allow.ptr);
}

td_application *
td_application_create(const td_application_settings *settings)
{
    td_application *app = td_xcalloc(1, sizeof(*app));
    const char *server = settings->server_header;

    td_arena_init(&app->arena);
    td_table_init(&app->names);
    app->settings = settings;
    if (server != NULL && server[0] != '\0')
        app->default_headers[app->default_headers_count++] =
            (td_header){TD_STR("Server"), td_str_of(server)};
    app->default_headers[app->default_headers_count++] =
        (td_header){TD_STR("Content-Type"), TD_STR("text/html; charset=UTF-8")};
    app->own = (td_instance){.name = "web"};
    app->none = (td_route){.instance = &app->own, .class = &no_class, .refusal = 404};
    app->unmatched = &app->none;
    app->everything = app->elsewhere = app->none;
    app->everything.methods[TD_METHOD_OPTIONS] = answer_options_of_all;
    app->elsewhere.methods[TD_METHOD_GET] = td_redirect_to_default_host;
    app->elsewhere.methods[TD_METHOD_HEAD] = td_redirect_to_default_host;
    td_handlers_open();
    return app;
}

static void
fini_route(td_route *route)
{
    td_urlspec_fini(&route->spec);
    td_matchers_fini(&route->matchers);
}

void
td_application_destroy(td_application **app_)
{
    td_application *app = *app_;

    if (app == NULL)
        return;
    while (app->timeouts != NULL) {
        struct td_request_timeout *timeout = app->timeouts;

        app->timeouts = timeout->next;
        td_deadlines_fini(&timeout->list);
        free(timeout);
    }
    if (app->heartbeats.loop != NULL)
        td_deadlines_fini(&app->heartbeats);
    td_signer_destroy(&app->signer);
    td_filecache_destroy(&app->files);
    td_router_destroy(&app->router);
    td_chains_fini(app);
    for (size_t i = 0; i < app->routes_count; i++)
        fini_route(app->routes[i]);
    free(app->routes);
    td_table_fini(&app->names);
    td_arena_fini(&app->arena);
    free(app);
    *app_ = NULL;
}

static td_route_info
info_of(const td_route *route)
{
    return (td_route_info){
        .instance = route->instance,
        .mount = route->instance->section->mount,
        .hosts = route->hosts,
        .pattern = route->pattern,
        .name = route->name,
        .wanted = route->matchers.text,
        .route = route->number,
    };
}

void
td_application_each_route(const td_application *app,
                          void (*fn)(const td_route_info *route, void *arg), void *arg)
{
    td_route_info info;

    for (size_t i = 0; i < app->routes_count; i++) {
        if (app->routes[i]->instance->index == 0)
            continue; /* of the application's own settings */
        info = info_of(app->routes[i]);
        fn(&info, arg);
    }
    if (app->unmatched == &app->none)
        return;
    info = info_of(app->unmatched);
    info.mount = "/";
    info.hosts = ".*";
    fn(&info, arg);
}

void
td_application_count(td_application *app, td_counters_of_route_fn *counters_of, void *arg)
{
    for (size_t i = 0; i < app->routes_count; i++)
        app->routes[i]->counters =
            counters_of(arg, app->routes[i]->instance->index, app->routes[i]->number);
    app->unmatched->counters =
        counters_of(arg, app->unmatched->instance->index, app->unmatched->number);
    for (size_t i = 0; i < app->scopes_count; i++)
        app->scopes[i].none.counters = app->unmatched->counters;
}

td_deadlines *
td_application_request_timeouts(td_application *app, int64_t duration_ms,
                                void (*expired)(td_deadline *deadline))
{
    struct td_request_timeout *timeout = app->timeouts;

    while (timeout != NULL && timeout->duration_ms != duration_ms)
        timeout = timeout->next;
    if (timeout == NULL) {
        timeout = td_xcalloc(1, sizeof(*timeout));
        timeout->duration_ms = duration_ms;
        timeout->next = app->timeouts;
        app->timeouts = timeout;
        td_deadlines_init(&timeout->list, td_ioloop_current(), duration_ms, expired);
    }
    return &timeout->list;
}

/* "INSTANCE:NAME": that one's and no other's. */
static const td_route *
named_exactly(const td_application *app, td_str name)
{
    const char *colon = memchr(name.ptr, ':', name.len);
    td_str instance, rest;
    const td_route *route;

    if (colon == NULL)
        return NULL;
    instance = td_str_make(name.ptr, (size_t)(colon - name.ptr));
    rest = td_str_make(colon + 1, name.len - instance.len - 1);
    route = td_table_get(&app->names, rest);
    while (route != NULL && !td_str_equal(td_str_of(route->instance->name), instance))
        route = route->same_name;
    return route;
}

const td_route *
td_application_named(const td_application *app, const td_instance *instance, const char *name)
{
    const td_route *newest = td_table_get(&app->names, td_str_of(name)), *route = newest;

    if (newest == NULL)
        return named_exactly(app, td_str_of(name));
    while (route != NULL && route->instance != instance)
        route = route->same_name;
    return route != NULL ? route : newest;
}

/* ---- quarantine */

static void
answer_quarantined(td_handler *h)
{
    td_handler_raise_quietly(h, 503, "it is quarantined: it has crashed too often");
}

/*
 * Requests that are under way keep what they have begun with, but for hooks that have not come yet.
 */
static void
put_into_quarantine(td_route *route)
{
    route->class = &no_class;
    route->checks_xsrf = route->wants_user = route->streams_body = false;
    for (int method = 0; method <= TD_METHOD_OTHER; method++)
        if (route->methods[method] != NULL)
            route->methods[method] = answer_quarantined;
}

void
td_application_quarantine(td_application *app, td_instance *instance)
{
    instance->quarantined = true;
    for (size_t i = 0; i < app->routes_count; i++)
        if (app->routes[i]->instance == instance)
            put_into_quarantine(app->routes[i]);
    if (app->unmatched == &app->none || app->unmatched->instance != instance)
        return;
    put_into_quarantine(app->unmatched);
    for (size_t i = 0; i < app->scopes_count; i++)
        put_into_quarantine(&app->scopes[i].none);
}

/* ---- one head */

/* 0; TD_EBADMSG when one is not UTF-8. */
static int
decode_arguments(td_arena *arena, const td_path_match *found, td_str *args)
{
    for (unsigned i = 0; i < found->route->spec.groups_count; i++) {
        const size_t start = found->groups[2 * i], end = found->groups[2 * i + 1];

        if (start == PCRE2_UNSET)
            continue; /* zeroed: the null string */
        args[i] = td_url_unescape(arena, td_str_make(found->subject + start, end - start), false);
        if (!td_utf8_is_valid(args[i]))
            return TD_EBADMSG;
    }
    return 0;
}

static const td_limits *
effective_limits(td_application *app, td_route *route, const td_limits *listener)
{
    struct td_effective_limits *limits = route->effective;

    while (limits != NULL && limits->listener != listener)
        limits = limits->next;
    if (limits == NULL) {
        limits = TD_ARENA_NEW(&app->arena, struct td_effective_limits);
        limits->listener = listener;
        limits->limits = *listener;
        td_limits_overlay(&limits->limits, &route->limits);
        limits->next = route->effective;
        route->effective = limits;
    }
    return &limits->limits;
}

static td_route_match *
make_match(td_request *request, const td_route *route, int status)
{
    const td_head *head = &request->head;
    td_route_match *match = td_arena_alloc(&request->arena,
                                           sizeof(*match) +
                                               route->spec.groups_count * sizeof(td_str));

    match->route = route;
    match->status = status;
    match->allow = route->allow;
    if (head->method == TD_METHOD_GET || head->method == TD_METHOD_HEAD)
        match->if_none_match =
            td_headers_get(&head->headers, &request->arena, TD_STR("If-None-Match"));
    match->is_form = td_form_is_told(head);
    request->route_data = match;
    request->counters = route->counters;
    return match;
}

/* The path was found to lead there; what else it answers depends on what was passed over. */
static void
make_found(td_application *app, td_request *request, const td_path_match *found)
{
    const td_route *route = found->route;
    td_route_match *match = make_match(request, route, 0);

    match->vary = found->vary;
    if (found->others_mask != 0)
        match->allow =
            td_methods_join(&request->arena, route->methods_mask | found->others_mask);
    if (route->has_limits)
        request->limits = effective_limits(app, found->route, request->limits);
    if (route->methods[request->head.method] == NULL)
        match->status = route->refusal;
    else if (decode_arguments(&request->arena, found, match->args) < 0)
        match->status = 400;
    else if (route->streams_body)
        request->body_mode = TD_BODY_STREAMED;
}

/* What answers for a path that leads nowhere. */
static td_route *
find_nowhere(td_application *app, const td_head *head)
{
    if (app->settings->default_host_redirect && !td_router_names(app->router, head->host_name))
        return &app->elsewhere;
    return td_chains_nobody(app, head->host_name, head->path);
}

static void
match_path(td_application *app, td_request *request)
{
    const td_head *head = &request->head;
    td_path_match found;
    int rc = td_router_find(app->router, head, &request->arena, &found);

    if (rc == TD_EBUSY) {
        make_match(request, td_chains_nobody(app, head->host_name, head->path), 500);
        return;
    }
    if (rc == TD_ENOTFOUND)
        found.route = find_nowhere(app, head);
    make_found(app, request, &found);
}

static void
note_what_is_due(td_request *request)
{
    td_route_match *match = request->route_data;

    match->is_due = match->status != 0 || request->body_mode == TD_BODY_STREAMED || match->is_form;
}

static void
application_route(void *arg, td_request *request)
{
    td_application *app = arg;
    const td_head *head = &request->head;

    /* RFC 9110 section 9.1: 501 is for what nothing here would understand. */
    if (!(app->understood_mask & 1u << head->method))
        make_match(request, td_chains_nobody(app, head->host_name, head->path), 501);
    else if (head->method == TD_METHOD_OPTIONS && td_str_equal(head->path, TD_STR("*")))
        make_match(request, &app->everything, 0);
    else
        match_path(app, request);
    if (app->compression != NULL)
        ((td_route_match *)request->route_data)->coding =
            td_compression_wish(app->compression, request);
    note_what_is_due(request);
}

static void
application_headers_received(void *arg, td_request *request)
{
    const td_route_match *match = request->route_data;

    if (TD_LIKELY(!match->is_due))
        return;
    if (match->file != NULL)
        td_static_repeat(arg, request);
    else if (match->status != 0)
        td_handler_refuse(arg, request, match->status,
                          match->status == 400 ? "a path argument is not UTF-8" : NULL);
    else if (request->body_mode == TD_BODY_STREAMED)
        td_handler_execute(arg, request);
    else
        td_form_expect(arg, request);
}

static bool
application_data_received(void *arg, td_request *request, td_str data)
{
    (void)arg;
    return td_body_received(request->handler, data);
}

static void
application_finish(void *arg, td_request *request)
{
    if (TD_LIKELY(request->handler == NULL))
        td_handler_execute(arg, request);
    else
        td_body_ended(request->handler); /* or its error page is still being made */
}

static void
application_writable(void *arg, td_request *request)
{
    (void)arg;
    if (request->handler != NULL)
        td_handler_writable(request->handler);
}

static void
application_closed(void *arg, td_request *request)
{
    (void)arg;
    if (request->handler != NULL)
        td_handler_client_left(request->handler);
}

static void
application_done(void *arg, td_request *request)
{
    td_handler *h = request->handler;

    (void)arg;
    request->handler = NULL;
    if (h != NULL && TD_UNLIKELY(td_response_has_more(h)))
        td_response_release(h);
}

static void
application_detached(void *arg, td_request *request)
{
    td_handler *h = request->handler;

    application_done(arg, request);
    td_handler_detached(h);
}

static td_str
application_server_header(void *arg)
{
    const td_application *app = arg;

    return td_str_of(app->settings->server_header);
}

const td_message_delegate td_application_delegate = {
    .route = application_route,
    .headers_received = application_headers_received,
    .data_received = application_data_received,
    .finish = application_finish,
    .writable = application_writable,
    .closed = application_closed,
    .done = application_done,
    .detached = application_detached,
    .server_header = application_server_header,
};
