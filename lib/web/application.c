/*
 * td_application: collects the routes of its instances, brings them into the order of matching, and
 * answers the question of each head: which route, with what arguments and limits, or which error.
 */
#include <ctype.h>
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
#include "web/redirect.h"
#include "web/static.h"

static const td_handler_class no_class;

/* ---- methods that every route answers */

static void
answer_options(td_handler *h)
{
    td_set_status(h, 204, NULL);
    td_set_header(h, "Allow", h->match->allow.ptr);
}

static void
answer_options_of_all(td_handler *h)
{
    td_set_header(h, "Allow", h->match->allow.ptr);
}

/* What the class has not: its prepare has had its say (BEHAVIOUR 9.1). */
static void
refuse_method(td_handler *h)
{
    td_count_reason(td_handler_route(h)->refusal, NULL);
    td_send_error(h, td_handler_route(h)->refusal, NULL);
}

/* ---- mounting */

/* RFC 9110 section 9.1: GET and HEAD go together, so get serves HEAD unless head does. */
td_method_fn *
td_class_method(const td_handler_class *class, td_method method)
{
    switch (method) {
    case TD_METHOD_GET:
        return class->get;
    case TD_METHOD_HEAD:
        return class->head != NULL || (class->flags & TD_NO_AUTO_HEAD) ? class->head : class->get;
    case TD_METHOD_POST:
        return class->post;
    case TD_METHOD_PUT:
        return class->put;
    case TD_METHOD_DELETE:
        return class->delete_;
    case TD_METHOD_PATCH:
        return class->patch;
    case TD_METHOD_OPTIONS:
        return class->options;
    case TD_METHODS_COUNT:
        break;
    }
    return NULL;
}

static void
fill_methods(td_route *route, td_arena *arena)
{
    const td_handler_class *class = route->class;
    const bool minds_slash = (class->flags & (TD_REMOVE_SLASH | TD_ADD_SLASH)) != 0;

    for (int method = 0; method < TD_METHODS_COUNT; method++)
        if ((route->matchers.methods & 1u << method) && td_class_method(class, method) != NULL)
            route->methods[method] = minds_slash ? td_redirect_by_slash
                                                 : td_class_method(class, method);
    if (route->methods[TD_METHOD_OPTIONS] == NULL && !(class->flags & TD_NO_AUTO_OPTIONS))
        route->methods[TD_METHOD_OPTIONS] = answer_options;
    for (int method = 0; method < TD_METHODS_COUNT; method++)
        if (route->methods[method] != NULL)
            route->methods_mask |= 1u << method;
        else if (class->prepare != NULL && (route->matchers.methods & 1u << method))
            route->methods[method] = refuse_method;
    route->allow = td_methods_join(arena, route->methods_mask);
}

void
td_limits_of_class(const td_handler_class *class, td_limits *out)
{
    td_limits_unset(out);
    if (class->max_body_size > 0)
        out->max_body_size = class->max_body_size;
    if (class->request_timeout_ms != 0)
        out->request_timeout_ms = class->request_timeout_ms > 0 ? class->request_timeout_ms : 0;
}

/* Listener < application < mount < class: all but the first, which is known with the request. */
static void
fill_limits(td_route *route, const td_application_settings *settings)
{
    td_limits unset, of_class;

    td_limits_unset(&unset);
    td_limits_of_class(route->class, &of_class);
    route->limits = unset;
    td_limits_overlay(&route->limits, &settings->limits);
    td_limits_overlay(&route->limits, &route->instance->section->limits);
    td_limits_overlay(&route->limits, &of_class);
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

/* What a route is beside where it lies: all but spec and matchers. */
static void
fill_route(td_application *app, td_route *route, const td_instance *instance,
           const td_handler_class *class)
{
    route->hosts = instance->section->hosts;
    route->instance = instance;
    route->class = class;
    route->refusal = 405;
    fill_methods(route, &app->arena);
    fill_limits(route, app->settings);
    fill_checks(route, app->settings);
}

static int
check_class(const td_route *route, td_err *err)
{
    const uint32_t both = TD_REMOVE_SLASH | TD_ADD_SLASH, flags = route->class->flags;
    const uint32_t missing = route->matchers.named & ~route->methods_mask;

    for (int method = 0; method < TD_METHODS_COUNT; method++)
        if (missing & 1u << method)
            return td_err_set(err, TD_EPLUGIN, "methods: the class has no %s",
                              td_method_name(method).ptr);
    if (route->class->data_received != NULL && !route->streams_body)
        return td_err_set(err, TD_EPLUGIN, "data_received wants TD_STREAM_BODY in .flags");
    if ((flags & both) == both)
        return td_err_set(err, TD_EPLUGIN, "TD_REMOVE_SLASH and TD_ADD_SLASH exclude each other");
    return 0;
}

/* ---- nested urls */

#define NESTED_MAX 8 /* one in the other */

/* A url and those around it, the outermost first. */
struct nest {
    const td_url *urls[NESTED_MAX];
    size_t count;
};

static const char *
joined_name(const struct nest *nest, td_arena *arena)
{
    const td_url *url = nest->urls[nest->count - 1];
    const char *name = url->name;

    for (size_t i = nest->count - 1; name != NULL && i-- > 0;)
        if (nest->urls[i]->name != NULL)
            name = td_arena_sprintf(arena, "%s.%s", nest->urls[i]->name, name).ptr;
    return name;
}

static int
join_patterns(const struct nest *nest, td_arena *arena, const char **pattern_out, td_err *err)
{
    const char *parts[NESTED_MAX];

    for (size_t i = 0; i < nest->count; i++)
        parts[i] = nest->urls[i]->pattern;
    *pattern_out = parts[0];
    return nest->count > 1 ? td_urlspec_join(arena, parts, nest->count, pattern_out, err) : 0;
}

static const void *
innermost_arg(const struct nest *nest)
{
    const void *arg = NULL;

    for (size_t i = nest->count; arg == NULL && i-- > 0;)
        arg = nest->urls[i]->initialize_arg;
    return arg;
}

/* The usual slip of who writes "users" for "/users"; a group or a set may still begin with a slash. */
static int
check_beginning(const char *pattern, td_err *err)
{
    if (!isalnum((unsigned char)pattern[0]) || strchr(pattern, '|') != NULL)
        return 0;
    return td_err_set(err, TD_EPLUGIN, "it matches no path: they begin with '/'");
}

static int
mount_url(td_application *app, const td_instance *instance, const struct nest *nest,
          uint32_t number, td_err *err)
{
    const td_url *url = nest->urls[nest->count - 1];
    td_route *route = TD_ARENA_NEW(&app->arena, td_route);
    int rc;

    if (url->handler == NULL)
        return td_err_set(err, TD_EPLUGIN, "no handler class");
    rc = join_patterns(nest, &app->arena, &route->pattern, err);
    if (rc == 0)
        rc = check_beginning(route->pattern, err);
    if (rc < 0)
        return rc;
    rc = td_urlspec_init(&route->spec, &app->arena, instance->section->mount, route->pattern, err);
    if (rc < 0)
        return rc;
    rc = td_matchers_init(&route->matchers, &app->arena, nest->urls, nest->count, err);
    if (rc < 0) {
        td_urlspec_fini(&route->spec);
        return rc;
    }
    add_route(app, route); /* which gives back what it holds */
    route->url = url;
    route->name = joined_name(nest, &app->arena);
    route->initialize_arg = innermost_arg(nest);
    route->number = number;
    fill_route(app, route, instance, url->handler);
    rc = check_class(route, err);
    if (rc == 0)
        rc = td_redirect_prepare(route, err);
    return rc < 0 ? rc : td_static_prepare(route, err);
}

static int
check_nest(const struct nest *nest, td_err *err)
{
    const td_url *url = nest->urls[nest->count - 1];

    if (url->handler != NULL)
        return td_err_set(err, TD_EPLUGIN, "'%s': it has a handler and urls", url->pattern);
    if (nest->count == NESTED_MAX)
        return td_err_set(err, TD_EPLUGIN, "'%s': its urls stand in more than %d others",
                          url->pattern, NESTED_MAX - 1);
    return 0;
}

/* *number: of the last route of the instance. */
static int
mount_urls(td_application *app, const td_instance *instance, const td_url *urls,
           const struct nest *around, uint32_t *number, td_err *err)
{
    struct nest nest = *around;
    int rc = 0;

    nest.count++;
    for (const td_url *url = urls; url != NULL && url->pattern != NULL && rc == 0; url++) {
        nest.urls[nest.count - 1] = url;
        if (url->urls == NULL) {
            rc = mount_url(app, instance, &nest, ++*number, err);
            if (rc < 0)
                td_err_prefix(err, "route %u, '%s'", *number, url->pattern);
        } else {
            rc = check_nest(&nest, err);
            if (rc == 0)
                rc = mount_urls(app, instance, url->urls, &nest, number, err);
        }
    }
    return rc;
}

int
td_application_mount(td_application *app, const td_instance *instance, td_err *err)
{
    const struct nest top = {.count = 0};
    uint32_t number = 0;
    int rc = mount_urls(app, instance, instance->plugin->urls, &top, &number, err);

    if (rc < 0) {
        td_err_prefix(err, "%s", instance->file);
        return rc;
    }
    if (instance->plugin->default_handler != NULL) {
        struct td_default_handler *handler = TD_ARENA_NEW(&app->arena, struct td_default_handler);

        *handler = (struct td_default_handler){app->default_handlers, instance, number + 1};
        app->default_handlers = handler;
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

/* The same for two routes where the first leaves nothing to the second. */
static td_str
key_of(td_arena *arena, const td_route *route, const char *wanted)
{
    return td_arena_sprintf(arena, "%s\n%s\n%s\n%s", route->hosts, route->spec.mount.ptr,
                            route->spec.pattern.ptr, wanted != NULL ? wanted : "");
}

static int
refuse_twin(const td_route *route, const td_route *twin, td_err *err)
{
    return td_err_set(err, TD_EPLUGIN,
                      "route '%s' is in %s (handler %s) and in %s (handler %s), both at '%s' "
                      "for hosts '%s'",
                      route->pattern, twin->instance->file, twin->instance->name,
                      route->instance->file, route->instance->name,
                      route->instance->section->mount, route->hosts);
}

/*
 * The same route on the same host and mount: one of the two would never be reached.  Nor would one
 * that wants more than a path, behind one that does not; of literals the router tells.
 */
static int
refuse_twins(td_application *app, td_err *err)
{
    td_table seen;
    int rc = 0;

    td_table_init(&seen);
    for (size_t i = 0; i < app->routes_count && rc == 0; i++) {
        const td_route *route = app->routes[i];
        const char *wanted = route->matchers.text;
        const td_route *twin =
            td_table_set(&seen, key_of(&app->arena, route, wanted), app->routes[i]);
        const td_route *before =
            wanted != NULL && td_str_is_null(route->spec.literal)
                ? td_table_get(&seen, key_of(&app->arena, route, NULL)) : NULL;

        if (twin != NULL)
            rc = refuse_twin(route, twin, err);
        else if (before != NULL)
            td_log_at(TD_LOG_WARNING, route->instance->name,
                      "route '%s' (%s) is never reached: '%s' of %s comes first", route->pattern,
                      wanted, before->pattern, before->instance->name);
    }
    td_table_fini(&seen);
    return rc;
}

/* What no route matches is for the one that the settings name, or for the only one that wants it. */
static int
find_default_handler(const td_application *app, const struct td_default_handler **out, td_err *err)
{
    const char *wanted = app->settings->default_handler;
    const struct td_default_handler *found = app->default_handlers;

    while (wanted != NULL && found != NULL && strcmp(found->instance->name, wanted) != 0)
        found = found->next;
    if (wanted != NULL && found == NULL)
        return td_err_set(err, TD_ECONFIG,
                          "application %s: default_handler = %s: none of its handlers that is called "
                          "so has a default_handler",
                          app->settings->name, wanted);
    if (wanted == NULL && found != NULL && found->next != NULL)
        return td_err_set(err, TD_ECONFIG,
                          "application %s: %s (handler %s) and %s (handler %s) have a default_handler: "
                          "the setting of that name is to say which it is",
                          app->settings->name, found->next->instance->file,
                          found->next->instance->name, found->instance->file, found->instance->name);
    *out = found;
    return 0;
}

static int
choose_unmatched(td_application *app, td_err *err)
{
    const struct td_default_handler *found = NULL;
    const td_plugin *plugin;
    td_route *route;
    int rc = find_default_handler(app, &found, err);

    if (rc < 0 || found == NULL)
        return rc;
    plugin = found->instance->plugin;
    route = TD_ARENA_NEW(&app->arena, td_route);
    route->matchers.methods = TD_ALL_METHODS;
    fill_route(app, route, found->instance, plugin->default_handler);
    if (plugin->default_handler->options == NULL)
        route->methods[TD_METHOD_OPTIONS] = NULL; /* there is nothing that it could speak for */
    route->pattern = "/.*";
    route->initialize_arg = plugin->default_handler_arg;
    route->number = found->number;
    route->refusal = 404;
    app->unmatched = route;
    return td_redirect_prepare(route, err);
}

/* Instances of one file bear the same names: each is asked for its own first. */
static void
collect_names(td_application *app)
{
    for (size_t i = 0; i < app->routes_count; i++) {
        td_route *route = app->routes[i];
        const td_route *before;

        if (route->name == NULL)
            continue;
        before = td_table_set(&app->names, td_str_of(route->name), route);
        route->same_name = before;
        if (before != NULL && (before->instance == route->instance ||
                               before->instance->plugin != route->instance->plugin))
            td_log_at(TD_LOG_WARNING, route->instance->name,
                      "the name '%s' of route '%s' was that of '%s' in %s; it is this one's now",
                      route->name, route->pattern, before->pattern,
                      before->instance->name);
    }
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

static void
collect_methods(td_application *app)
{
    app->methods_mask = 1u << TD_METHOD_GET | 1u << TD_METHOD_HEAD | 1u << TD_METHOD_OPTIONS;
    app->understood_mask = 0;
    for (size_t i = 0; i <= app->routes_count; i++) {
        const td_route *route = i < app->routes_count ? app->routes[i] : app->unmatched;

        app->methods_mask |= route->methods_mask;
        if (route->class->prepare != NULL)
            app->understood_mask |= route->matchers.methods;
    }
    app->understood_mask |= app->methods_mask;
    app->everything.allow = td_methods_join(&app->arena, app->methods_mask);
}

/* Clients are sent to a host that is served, or they would be sent again and again. */
static int
check_redirect_host(const td_application *app, td_err *err)
{
    const td_application_settings *settings = app->settings;
    td_str name;

    if (!settings->default_host_redirect)
        return 0;
    if (settings->default_host == NULL)
        return td_err_set(err, TD_ECONFIG,
                          "application %s: default_host_redirect = on: there is no default_host",
                          settings->name);
    td_host_split(td_str_of(settings->default_host), &name);
    if (!td_router_names(app->router, name))
        return td_err_set(err, TD_ECONFIG,
                          "application %s: default_host_redirect = on: default_host '%s' is in the "
                          "hosts of no handler",
                          settings->name, settings->default_host);
    return 0;
}

static int
take_default_host(td_application *app, td_err *err)
{
    const char *text = app->settings->default_host;
    td_str name;

    if (text == NULL)
        return 0;
    if (!td_host_split(td_str_of(text), &name))
        return td_err_set(err, TD_ECONFIG, "application %s: default_host '%s' is no host",
                          app->settings->name, text);
    if (!app->settings->default_host_redirect)
        app->default_host = td_str_dup(&app->arena, name).ptr;
    return 0;
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
    if (rc == 0)
        rc = choose_unmatched(app, err);
    if (rc == 0)
        rc = take_default_host(app, err);
    if (rc == 0)
        rc = td_router_create(&app->router, app->routes, app->routes_count, app->default_host, err);
    if (rc == 0)
        rc = check_redirect_host(app, err);
    if (rc < 0)
        return rc;
    collect_names(app);
    collect_methods(app);
    td_chains_seal(app);
    return 0;
}

/* ---- quarantine */

static void
answer_quarantined(td_handler *h)
{
    td_handler_raise_quietly(h, 503, "it is quarantined: it has crashed too often");
}

/* Requests that are under way keep what they have begun with, but for hooks that have not come yet. */
static void
put_into_quarantine(td_route *route)
{
    route->class = &no_class;
    route->checks_xsrf = route->wants_user = route->streams_body = false;
    for (int method = 0; method < TD_METHODS_COUNT; method++)
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
application_route(void *arg, td_request *request)
{
    td_application *app = arg;
    const td_head *head = &request->head;

    /* RFC 9110 section 9.1: 501 is for what nothing here would understand. */
    if (head->method == TD_METHOD_OTHER || !(app->understood_mask & 1u << head->method))
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

const td_message_delegate td_application_delegate = {
    .route = application_route,
    .headers_received = application_headers_received,
    .data_received = application_data_received,
    .finish = application_finish,
    .writable = application_writable,
    .closed = application_closed,
    .done = application_done,
    .detached = application_detached,
};
