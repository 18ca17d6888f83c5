/*
 * td_application_mount: takes the routes of an instance, those that are nested in others joined
 * with them, each with its methods, limits and checks.
 */
#include <ctype.h>
#include "web/application_internal.h"
#include "web/handler.h"
#include "web/redirect.h"
#include "web/static.h"

/* ---- methods that every route answers */

static void
answer_options(td_handler *h)
{
    td_set_status(h, 204, NULL);
    td_set_header(h, "Allow", h->match->allow.ptr);
}

/* What the class has not: its prepare has had its say. */
static void
refuse_method(td_handler *h)
{
    td_count_reason(td_handler_route(h)->refusal, NULL);
    td_send_error(h, td_handler_route(h)->refusal, NULL);
}

/* ---- what a route is */

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
    if ((class->flags & TD_ANY_METHOD) && route->matchers.methods == TD_ALL_METHODS) {
        route->matchers.methods |= 1u << TD_METHOD_OTHER;
        route->methods[TD_METHOD_OTHER] = refuse_method;
    }
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

void
td_route_fill(td_application *app, td_route *route, const td_instance *instance,
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

/*
 * The usual slip of who writes "users" for "/users"; a group or a set may still begin with a slash.
 */
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
    td_route_fill(app, route, instance, url->handler);
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
