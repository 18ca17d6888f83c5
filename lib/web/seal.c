/*
 * td_application_seal: all routes are there; they are brought into the order of matching, and what
 * would never be reached is told.
 */
#include <stdlib.h>
#include "base/log.h"
#include "web/application_internal.h"
#include "web/compression.h"
#include "web/handler.h"
#include "web/redirect.h"
#include "web/static.h"

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

/*
 * What no route matches is for the one that the settings name, or for the only one that wants it.
 */
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
    td_route_fill(app, route, found->instance, plugin->default_handler);
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

static void
collect_methods(td_application *app)
{
    app->methods_mask = 1u << TD_METHOD_GET | 1u << TD_METHOD_HEAD | 1u << TD_METHOD_OPTIONS;
    app->understood_mask = 0;
    for (size_t i = 0; i <= app->routes_count; i++) {
        const td_route *route = i < app->routes_count ? app->routes[i] : app->unmatched;

        app->methods_mask |= route->methods_mask;
        if (route->class->flags & TD_ANY_METHOD)
            app->methods_mask |= route->matchers.methods & TD_ALL_METHODS;
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
