/*
 * Chains of middleware: which links a route has, decided when the application is sealed, and what
 * the links share.  How a chain runs is part of the life of a handler: see handlerchain.c.
 */
#include <tornado/middleware.h>
#include <stdlib.h>
#include "base/log.h"
#include "web/handler.h"

/* ---- who runs */

const td_instance *
td_chain_acting(const td_handler *h)
{
    const td_route *route = td_handler_route(h);
    const td_activity *activity = td_coroutine_activity();

    if (activity == NULL) /* the loop's own stack: about the sequence, wherever it is */
        return h->link != NULL ? *h->link : route->instance;
    for (const td_instance *const *link = route->chain; *link != NULL; link++)
        if ((*link)->index == activity->instance)
            return *link;
    return route->instance;
}

/* ---- sealing */

void
td_application_set_middleware(td_application *app, const td_instance *const *middleware)
{
    app->middleware = middleware;
}

const td_instance *const *
td_application_middleware(const td_application *app)
{
    return app->middleware;
}

static size_t
length_of(const td_instance *const *links)
{
    size_t count = 0;

    while (links != NULL && links[count] != NULL)
        count++;
    return count;
}

/* NULL where there is no link. */
static const td_instance *const *
chain_of(td_application *app, const td_instance *instance)
{
    const size_t outer = length_of(app->middleware), inner = length_of(instance->middleware);
    const td_instance **chain;

    if (inner == 0)
        return outer > 0 ? app->middleware : NULL;
    chain = TD_ARENA_ARRAY(&app->arena, const td_instance *, outer + inner + 1);
    for (size_t i = 0; i < outer; i++)
        chain[i] = app->middleware[i];
    for (size_t i = 0; i < inner; i++)
        chain[outer + i] = instance->middleware[i];
    return chain;
}

/* The longest mount, then one that has a chain of its own: who is kept out learns nothing there. */
static int
compare_scopes(const void *a_, const void *b_)
{
    const struct td_scope_of_mount *a = a_, *b = b_;
    const bool a_guards = a->instance->middleware != NULL;
    const bool b_guards = b->instance->middleware != NULL;

    if (a->mount.len != b->mount.len)
        return a->mount.len > b->mount.len ? -1 : 1;
    if (a_guards != b_guards)
        return a_guards ? -1 : 1;
    return strcmp(a->instance->name, b->instance->name);
}

static bool
is_host_of(const struct td_scope_of_mount *scope, td_str host)
{
    pcre2_match_data *data;
    bool is;

    if (scope->hosts == NULL)
        return true;
    data = pcre2_match_data_create(1, NULL);
    is = data == NULL || pcre2_match(scope->hosts, (PCRE2_SPTR)host.ptr, host.len, 0, 0, data,
                                     NULL) != PCRE2_ERROR_NOMATCH;
    pcre2_match_data_free(data);
    return is;
}

/* The router has compiled the pattern before, so it can be. */
static void
make_scope(td_application *app, struct td_scope_of_mount *scope, const td_route *route)
{
    int code;
    PCRE2_SIZE offset;

    scope->mount = route->spec.mount;
    scope->instance = route->instance;
    scope->none = *app->unmatched;
    if (app->unmatched == &app->none)
        scope->none.instance = route->instance;
    if (app->unmatched == &app->none || route->instance->middleware != NULL)
        scope->none.chain = route->chain;
    if (!td_is_any_host(route->hosts))
        scope->hosts = pcre2_compile((PCRE2_SPTR)route->hosts, PCRE2_ZERO_TERMINATED,
                                     TD_HOSTS_OPTIONS, &code, &offset, NULL);
    scope->matches_default =
        app->default_host != NULL && is_host_of(scope, td_str_of(app->default_host));
}

/* One for each mount of each instance, if any of them has a chain of its own. */
static void
make_scopes(td_application *app)
{
    bool wanted = false;

    for (size_t i = 0; i < app->routes_count; i++)
        wanted |= app->routes[i]->instance->middleware != NULL;
    if (!wanted)
        return;
    app->scopes = TD_ARENA_ARRAY(&app->arena, struct td_scope_of_mount, app->routes_count);
    for (size_t i = 0; i < app->routes_count; i++)
        if (i == 0 || app->routes[i]->instance != app->routes[i - 1]->instance)
            make_scope(app, &app->scopes[app->scopes_count++], app->routes[i]);
    qsort(app->scopes, app->scopes_count, sizeof(*app->scopes), compare_scopes);
}

void
td_chains_seal(td_application *app)
{
    app->none.chain = app->everything.chain = app->elsewhere.chain = chain_of(app, &app->own);
    app->unmatched->chain = chain_of(app, app->unmatched->instance);
    for (size_t i = 0; i < app->routes_count; i++) {
        td_route *route = app->routes[i];

        route->chain = i > 0 && app->routes[i - 1]->instance == route->instance
                           ? app->routes[i - 1]->chain
                           : chain_of(app, route->instance);
    }
    make_scopes(app);
}

void
td_chains_fini(td_application *app)
{
    for (size_t i = 0; i < app->scopes_count; i++)
        pcre2_code_free(app->scopes[i].hosts);
}

/* ---- what is not found */

static bool
is_below(td_str path, td_str mount)
{
    return path.len >= mount.len && memcmp(path.ptr, mount.ptr, mount.len) == 0 &&
           (path.len == mount.len || path.ptr[mount.len] == '/');
}

td_route *
td_chains_nobody(td_application *app, td_str host, td_str path)
{
    for (size_t i = 0; i < app->scopes_count; i++) {
        struct td_scope_of_mount *scope = &app->scopes[i];

        if (is_below(path, scope->mount) && (scope->matches_default || is_host_of(scope, host)))
            return &scope->none;
    }
    return app->unmatched;
}

/* ---- before the head */

struct td_head_hook {
    struct td_head_hook *next;
    td_handler *handler;
    td_on_head_fn *fn;
    void *arg;
    td_coroutine_task task; /* activity and module of who registered it */
};

static void
run_hook(void *arg)
{
    const struct td_head_hook *hook = arg;

    hook->fn(hook->handler, hook->arg);
}

int
td_on_head(td_handler *h, td_on_head_fn *fn, void *arg)
{
    struct td_head_hook *hook;
    int rc = td_response_check_open(h, "td_on_head");

    if (rc < 0)
        return rc;
    if (fn == NULL || h->in_head)
        return td_handler_misuse(h, "td_on_head",
                                 fn == NULL ? "NULL is not allowed" : "the head is being made");
    hook = TD_ARENA_NEW(&h->request->arena, struct td_head_hook);
    *hook = (struct td_head_hook){.next = h->on_head, .handler = h, .fn = fn, .arg = arg};
    td_coroutine_inherit(&hook->task);
    hook->task.run = run_hook;
    hook->task.arg = hook;
    h->on_head = hook;
    return 0;
}

bool
td_chain_head(td_handler *h)
{
    bool good = true;

    h->in_head = true;
    while (h->on_head != NULL) {
        const struct td_head_hook *hook = h->on_head;

        h->on_head = hook->next;
        good &= td_coroutine_call(&hook->task);
    }
    h->in_head = false;
    return good;
}

/* ---- values */

struct td_named_value {
    struct td_named_value *next;
    td_str name;
    void *value;
};

static struct td_named_value *
find_value(const td_handler *h, td_str name)
{
    struct td_named_value *value = h->values;

    while (value != NULL && !td_str_equal(value->name, name))
        value = value->next;
    return value;
}

int
td_set_value(td_handler *h, const char *name, void *value)
{
    struct td_named_value *place;

    if (!td_handler_has(h, "td_set_value", name))
        return TD_EINVAL;
    place = find_value(h, td_str_of(name));
    if (place == NULL) {
        place = TD_ARENA_NEW(&h->request->arena, struct td_named_value);
        place->name = td_str_dup(&h->request->arena, td_str_of(name));
        place->next = h->values;
        h->values = place;
    }
    place->value = value;
    return 0;
}

void *
td_value(td_handler *h, const char *name)
{
    const struct td_named_value *place;

    if (!td_handler_has(h, "td_value", name))
        return NULL;
    place = find_value(h, td_str_of(name));
    return place != NULL ? place->value : NULL;
}
