#include "daemon/site/middleware.h"

#include <stdbool.h>
#include <string.h>
#include "base/value.h"
#include "daemon/source.h"

#define SEPARATORS ", \t"

struct resolving {
    struct site *site;
    const char *section; /* of the ini */
    const td_instance *const *outer; /* links that stand around these; NULL: none */
    td_err *err;
};

static const td_instance *
find_instance(const struct site *site, const char *name)
{
    for (size_t i = 0; i < site->plan->instances_count; i++)
        if (strcmp(site->instances[i].name, name) == 0)
            return &site->instances[i];
    return NULL;
}

static bool
is_switched_off(const struct site *site, const char *name)
{
    const td_configuration *configuration = site->plan->configuration;

    for (size_t i = 0; i < configuration->handlers_count; i++)
        if (strcmp(configuration->handlers[i].name, name) == 0)
            return !configuration->handlers[i].enabled;
    return false;
}

/* The nearest name of one that is middleware. */
static int
refuse_unknown(const struct resolving *r, const char *name)
{
    const struct site *site = r->site;
    const char **names = TD_ARENA_ARRAY(site->arena, const char *, site->plan->instances_count + 1);
    const char *nearest;
    size_t count = 0;

    for (size_t i = 0; i < site->plan->instances_count; i++)
        if (site->instances[i].plugin->middleware != NULL)
            names[count++] = site->instances[i].name;
    nearest = td_nearest(name, names, count);
    return td_err_set(r->err, TD_ECONFIG, "middleware: there is no handler '%s'%s%s%s", name,
                      nearest != NULL ? "; did you mean '" : "", nearest != NULL ? nearest : "",
                      nearest != NULL ? "'?" : "");
}

static bool
is_in(const td_instance *const *links, const td_instance *instance)
{
    for (; links != NULL && *links != NULL; links++)
        if (*links == instance)
            return true;
    return false;
}

static int
resolve_name(const struct resolving *r, const char *name, const td_instance *const *before,
             const td_instance **out)
{
    const td_instance *instance = find_instance(r->site, name);

    if (instance == NULL && is_switched_off(r->site, name))
        return td_err_set(r->err, TD_ECONFIG,
                          "middleware: '%s' is switched off (enabled = off): take it out of here, or "
                          "what it protects is open",
                          name);
    if (instance == NULL)
        return refuse_unknown(r, name);
    if (instance->plugin->middleware == NULL)
        return td_err_set(r->err, TD_ECONFIG, "middleware: '%s' (%s) is no middleware", name,
                          instance->file);
    if (is_in(before, instance) || is_in(r->outer, instance))
        return td_err_set(r->err, TD_ECONFIG, "middleware: '%s' would be run twice", name);
    *out = instance;
    return 0;
}

/* NULL for a list without a name. */
static int
resolve_list(const struct resolving *r, const char *list, const td_instance *const **out)
{
    td_arena *arena = r->site->arena;
    const td_instance **links;
    char *rest, *text;
    size_t count = 0;

    *out = NULL;
    if (list == NULL)
        return 0;
    links = TD_ARENA_ARRAY(arena, const td_instance *, strlen(list) / 2 + 2);
    text = td_arena_strdup(arena, list);
    for (char *name = strtok_r(text, SEPARATORS, &rest); name != NULL;
         name = strtok_r(NULL, SEPARATORS, &rest)) {
        if (resolve_name(r, name, links, &links[count]) < 0)
            return source_prefix(r->site->plan->configuration, r->section, "middleware", r->err);
        count++;
    }
    if (count > 0)
        *out = links;
    return 0;
}

static int
resolve_application(struct site *site, size_t i, td_err *err)
{
    const td_configuration *configuration = site->plan->configuration;
    const td_application_settings *settings = &configuration->applications[i];
    const struct resolving r = {
        .site = site,
        .section = source_section_of_application(site->arena, configuration, settings->name),
        .err = err};
    const td_instance *const *chain;
    int rc = resolve_list(&r, settings->middleware, &chain);

    if (rc == 0)
        td_application_set_middleware(site->applications[i], chain);
    return rc;
}

static int
resolve_instance(struct site *site, td_instance *instance, td_err *err)
{
    const td_application *app = site_application(site, instance->section->application);
    const struct resolving r = {
        .site = site,
        .section = td_arena_sprintf(site->arena, "handler:%s", instance->name).ptr,
        .outer = td_application_middleware(app),
        .err = err,
    };

    return resolve_list(&r, instance->section->middleware, &instance->middleware);
}

void
middleware_resolve(struct site *site, void (*failed)(void *arg, const td_err *err), void *arg)
{
    td_err err;

    for (size_t i = 0; i < site->plan->configuration->applications_count; i++)
        if (resolve_application(site, i, &err) < 0)
            failed(arg, &err);
    for (size_t i = 0; i < site->plan->instances_count; i++)
        if (resolve_instance(site, &site->instances[i], &err) < 0)
            failed(arg, &err);
}
