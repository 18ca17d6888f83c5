/*
 * td_application: collects the routes of its instances, brings them into the order of matching, and
 * answers the question of each head: which route, with what arguments and limits, or which error.
 */
#include <stdlib.h>
#include "base/escape.h"
#include "base/log.h"
#include "http/signer.h"
#include "web/application_internal.h"
#include "web/body.h"
#include "web/compression.h"
#include "web/filecache.h"
#include "web/forms.h"
#include "web/handler.h"
#include "web/static.h"

static const td_handler_class no_class;

/* ---- methods that every route answers */

static void
answer_options(td_handler *h)
{
    td_set_status(h, 204, NULL);
    td_set_header(h, "Allow", td_handler_route(h)->allow.ptr);
}

static void
answer_options_of_all(td_handler *h)
{
    td_set_header(h, "Allow", td_handler_route(h)->allow.ptr);
}

/* ---- mounting */

static td_str
join_methods(td_arena *arena, uint32_t mask)
{
    td_buf text = {0};
    td_str allow;

    for (int method = 0; method < TD_METHODS_COUNT; method++)
        if (mask & 1u << method) {
            if (text.len > 0)
                td_buf_append(&text, TD_STR(", "));
            td_buf_append(&text, td_method_name(method));
        }
    allow = td_str_dup(arena, td_buf_str(&text));
    td_buf_release(&text);
    return allow;
}

/* RFC 9110 section 9.1: GET and HEAD go together, so get serves HEAD unless head does. */
static void
fill_methods(td_route *route, td_arena *arena)
{
    const td_handler_class *class = route->class;
    td_method_fn *const methods[TD_METHODS_COUNT] = {
        [TD_METHOD_GET] = class->get,
        [TD_METHOD_HEAD] = class->head != NULL ? class->head : class->get,
        [TD_METHOD_POST] = class->post,
        [TD_METHOD_PUT] = class->put,
        [TD_METHOD_DELETE] = class->delete_,
        [TD_METHOD_PATCH] = class->patch,
        [TD_METHOD_OPTIONS] = class->options != NULL ? class->options : answer_options,
    };

    memcpy(route->methods, methods, sizeof(methods));
    for (int method = 0; method < TD_METHODS_COUNT; method++)
        if (methods[method] != NULL)
            route->methods_mask |= 1u << method;
    route->allow = join_methods(arena, route->methods_mask);
}

/* Listener < application < mount < class: all but the first, which is known with the request. */
static void
fill_limits(td_route *route, const td_application_settings *settings)
{
    const td_handler_class *class = route->class;
    td_limits unset;

    td_limits_unset(&unset);
    route->limits = unset;
    td_limits_overlay(&route->limits, &settings->limits);
    td_limits_overlay(&route->limits, &route->instance->section->limits);
    if (class->max_body_size > 0)
        route->limits.max_body_size = class->max_body_size;
    if (class->request_timeout_ms != 0)
        route->limits.request_timeout_ms =
            class->request_timeout_ms > 0 ? class->request_timeout_ms : 0;
    route->has_limits = memcmp(&route->limits, &unset, sizeof(unset)) != 0;
}

static void
fill_checks(td_route *route, const td_application_settings *settings)
{
    const uint32_t flags = route->class->flags;

    route->checks_xsrf = (flags & TD_CHECK_XSRF) != 0 ||
                         (settings->xsrf_cookies && (flags & TD_SKIP_XSRF) == 0);
    route->wants_user = (flags & TD_AUTHENTICATED) != 0;
    route->streams_body = (flags & TD_STREAM_BODY) != 0;
}

static void
add_route(td_application *app, td_route *route)
{
    if (app->routes_count == app->routes_size) {
        app->routes_size = app->routes_size > 0 ? 2 * app->routes_size : 16;
        app->routes = td_xrealloc(app->routes, app->routes_size * sizeof(*app->routes));
    }
    app->routes[app->routes_count++] = route;
}

static int
mount_url(td_application *app, const td_instance *instance, const td_url *url, uint32_t number,
          td_err *err)
{
    td_route *route = TD_ARENA_NEW(&app->arena, td_route);
    int rc;

    if (url->handler == NULL)
        return td_err_set(err, TD_EPLUGIN, "no handler class");
    rc = td_urlspec_init(&route->spec, &app->arena, instance->section->mount, url->pattern, err);
    if (rc < 0)
        return rc;
    route->hosts = instance->section->hosts;
    route->instance = instance;
    route->url = url;
    route->class = url->handler;
    route->number = number;
    fill_methods(route, &app->arena);
    fill_limits(route, app->settings);
    fill_checks(route, app->settings);
    add_route(app, route);
    return 0;
}

int
td_application_mount(td_application *app, const td_instance *instance, td_err *err)
{
    const td_url *urls = instance->plugin->urls;

    for (uint32_t i = 0; urls != NULL && urls[i].pattern != NULL; i++) {
        int rc = mount_url(app, instance, &urls[i], i + 1, err);

        if (rc < 0) {
            td_err_prefix(err, "%s: route %u, '%s'", instance->file, i + 1, urls[i].pattern);
            return rc;
        }
    }
    return 0;
}

/* ---- sealing */

/* The longest mount, then `order`, then the name; in an instance the order of declaration. */
static int
compare_routes(const void *a_, const void *b_)
{
    const td_route *a = *(td_route *const *)a_, *b = *(td_route *const *)b_;
    const td_handler_settings *sa = a->instance->section, *sb = b->instance->section;

    if (a->spec.mount.len != b->spec.mount.len)
        return a->spec.mount.len > b->spec.mount.len ? -1 : 1;
    if (sa->order != sb->order)
        return sa->order < sb->order ? -1 : 1;
    if (a->instance != b->instance)
        return strcmp(a->instance->name, b->instance->name);
    return a->number < b->number ? -1 : 1;
}

/* The same route on the same host and mount: one of the two would never be reached. */
static int
refuse_twins(td_application *app, td_err *err)
{
    td_table seen;
    int rc = 0;

    td_table_init(&seen);
    for (size_t i = 0; i < app->routes_count && rc == 0; i++) {
        const td_route *route = app->routes[i];
        td_str key = td_arena_sprintf(&app->arena, "%s\n%s\n%s", route->hosts,
                                      route->spec.mount.ptr, route->spec.pattern.ptr);
        const td_route *twin = td_table_set(&seen, key, app->routes[i]);

        if (twin != NULL)
            rc = td_err_set(err, TD_EPLUGIN,
                            "route '%s' is in %s (handler %s) and in %s (handler %s), both at '%s' "
                            "for hosts '%s'",
                            route->url->pattern, twin->instance->file, twin->instance->name,
                            route->instance->file, route->instance->name,
                            route->instance->section->mount, route->hosts);
    }
    td_table_fini(&seen);
    return rc;
}

/* Instances of one file bear the same names: each is asked for its own first. */
static void
collect_names(td_application *app)
{
    for (size_t i = 0; i < app->routes_count; i++) {
        td_route *route = app->routes[i];
        const td_route *before;

        if (route->url->name == NULL)
            continue;
        before = td_table_set(&app->names, td_str_of(route->url->name), route);
        route->same_name = before;
        if (before != NULL && (before->instance == route->instance ||
                               before->instance->plugin != route->instance->plugin))
            td_log_at(TD_LOG_WARNING, route->instance->name,
                      "the name '%s' of route '%s' was that of '%s' in %s; it is this one's now",
                      route->url->name, route->url->pattern, before->url->pattern,
                      before->instance->name);
    }
}

const td_route *
td_application_named(const td_application *app, const td_instance *instance, const char *name)
{
    const td_route *newest = td_table_get(&app->names, td_str_of(name)), *route = newest;

    while (route != NULL && route->instance != instance)
        route = route->same_name;
    return route != NULL ? route : newest;
}

static void
collect_methods(td_application *app)
{
    app->methods_mask = 1u << TD_METHOD_GET | 1u << TD_METHOD_HEAD | 1u << TD_METHOD_OPTIONS;
    for (size_t i = 0; i < app->routes_count; i++)
        app->methods_mask |= app->routes[i]->methods_mask;
    app->everything.allow = join_methods(&app->arena, app->methods_mask);
}

int
td_application_seal(td_application *app, td_err *err)
{
    int rc = td_static_mount(app, err);

    if (rc == 0)
        rc = td_compression_create(&app->arena, app->settings, &app->compression, err);
    if (rc < 0)
        return rc;
    if (app->routes_count > 0)
        qsort(app->routes, app->routes_count, sizeof(*app->routes), compare_routes);
    rc = refuse_twins(app, err);
    if (rc < 0)
        return rc;
    rc = td_router_create(&app->router, app->routes, app->routes_count,
                          app->settings->default_host, err);
    if (rc < 0)
        return rc;
    collect_names(app);
    collect_methods(app);
    td_chains_seal(app);
    return 0;
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
    app->none = (td_route){.instance = &app->own, .class = &no_class};
    app->everything = (td_route){.instance = &app->own, .class = &no_class};
    app->everything.methods[TD_METHOD_OPTIONS] = answer_options_of_all;
    td_handlers_open();
    return app;
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
    td_signer_destroy(&app->signer);
    td_filecache_destroy(&app->files);
    td_router_destroy(&app->router);
    td_chains_fini(app);
    for (size_t i = 0; i < app->routes_count; i++)
        td_urlspec_fini(&app->routes[i]->spec);
    free(app->routes);
    td_table_fini(&app->names);
    td_arena_fini(&app->arena);
    free(app);
    *app_ = NULL;
}

void
td_application_each_route(const td_application *app,
                          void (*fn)(const td_route_info *route, void *arg), void *arg)
{
    for (size_t i = 0; i < app->routes_count; i++) {
        const td_route *route = app->routes[i];
        if (route->instance->index == 0)
            continue; /* of the application's own settings */
        const td_route_info info = {
            .instance = route->instance,
            .mount = route->instance->section->mount,
            .hosts = route->hosts,
            .pattern = route->url->pattern,
            .name = route->url->name,
            .route = route->number,
        };

        fn(&info, arg);
    }
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
    if (head->method == TD_METHOD_GET || head->method == TD_METHOD_HEAD)
        match->if_none_match =
            td_headers_get(&head->headers, &request->arena, TD_STR("If-None-Match"));
    match->is_form = td_form_is_told(head);
    request->route_data = match;
    return match;
}

static void
match_path(td_application *app, td_request *request)
{
    const td_head *head = &request->head;
    td_path_match found;
    td_route_match *match;
    int rc = td_router_find(app->router, head->host_name, head->path, &found);

    if (rc < 0) {
        make_match(request, td_chains_nobody(app, head->host_name, head->path),
                   rc == TD_ENOTFOUND ? 404 : 500);
        return;
    }
    match = make_match(request, found.route, 0);
    if (found.route->has_limits)
        request->limits = effective_limits(app, found.route, request->limits);
    if (found.route->methods[head->method] == NULL)
        match->status = 405;
    else if (decode_arguments(&request->arena, &found, match->args) < 0)
        match->status = 400;
    else if (found.route->streams_body)
        request->body_mode = TD_BODY_STREAMED;
}

static void
application_route(void *arg, td_request *request)
{
    td_application *app = arg;
    const td_head *head = &request->head;

    /* RFC 9110 section 9.1: 501 is for what nothing here would understand. */
    if (head->method == TD_METHOD_OTHER || !(app->methods_mask & 1u << head->method))
        make_match(request, td_chains_nobody(app, head->host_name, head->path), 501);
    else if (head->method == TD_METHOD_OPTIONS && td_str_equal(head->path, TD_STR("*")))
        make_match(request, &app->everything, 0);
    else
        match_path(app, request);
    if (app->compression != NULL)
        ((td_route_match *)request->route_data)->coding =
            td_compression_wish(app->compression, request);
}

static void
application_headers_received(void *arg, td_request *request)
{
    const td_route_match *match = request->route_data;

    if (TD_UNLIKELY(match->status != 0))
        td_handler_refuse(arg, request, match->status,
                          match->status == 400 ? "a path argument is not UTF-8" : NULL);
    else if (TD_UNLIKELY(request->body_mode == TD_BODY_STREAMED))
        td_handler_execute(arg, request);
    else if (TD_UNLIKELY(match->is_form))
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
    if (h == NULL)
        return;
    td_response_release(h);
    if (TD_UNLIKELY(h->incoming != NULL))
        td_body_abandon(h);
}

const td_message_delegate td_application_delegate = {
    .route = application_route,
    .headers_received = application_headers_received,
    .data_received = application_data_received,
    .finish = application_finish,
    .writable = application_writable,
    .closed = application_closed,
    .done = application_done,
};
