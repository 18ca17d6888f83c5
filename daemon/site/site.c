#include "daemon/site/site.h"

#include <string.h>
#include "base/assert.h"
#include "base/log.h"
#include "daemon/site/instance.h"
#include "daemon/site/middleware.h"
#include "daemon/site/plugin.h"
#include "daemon/site/shared.h"
#include "daemon/source.h"
#include "http/spill.h"
#include "web/metrics.h"
#include "web/streamserver.h"

/* Keeps the first failure and tells each. */
struct outcome {
    const struct site_watch *watch;
    int rc;
};

static void
note(void *arg, const td_err *err)
{
    struct outcome *outcome = arg;

    if (outcome->rc == 0)
        outcome->rc = err->code;
    if (outcome->watch->failed != NULL)
        outcome->watch->failed(outcome->watch->arg, err);
}

static void
load_files(struct site *site, struct outcome *outcome)
{
    const struct plan *plan = site->plan;
    td_err err;

    site->plugins = TD_ARENA_ARRAY(site->arena, const td_plugin *, plan->files_count + 1);
    for (size_t i = 0; i < plan->files_count; i++) {
        site->plugins[i] = plan->files[i].plugin;
        if (site->plugins[i] != NULL)
            continue;
        if (outcome->watch->at_file != NULL)
            outcome->watch->at_file(outcome->watch->arg, i);
        if (plugin_load(site->arena, plan->files[i].name, plan->files[i].fd, &site->plugins[i],
                        &err) < 0)
            note(outcome, &err);
    }
}

static void **
shared_addresses(td_arena *arena, const td_plugin *plugin, const char *instance)
{
    size_t count = 0;

    while (plugin->shared != NULL && plugin->shared[count].name != NULL)
        count++;
    void **addresses = TD_ARENA_ARRAY(arena, void *, count + 1);
    for (size_t i = 0; i < count; i++)
        addresses[i] = shared_find(instance, plugin->shared[i].name, plugin->shared[i].size);
    return addresses;
}

/* What a file that wants a section is without one: there, and nothing else. */
static const td_plugin *
inert(td_arena *arena, const td_plugin *plugin)
{
    td_plugin *copy = TD_ARENA_NEW(arena, td_plugin);

    copy->name = plugin->name;
    copy->version = plugin->version;
    return copy;
}

static int
make_instance(struct site *site, size_t i, td_err *err)
{
    const struct plan_instance *planned = &site->plan->instances[i];
    const td_handler_settings *section = planned->section;
    const td_plugin *plugin = site->plugins[planned->file];
    td_instance *instance = &site->instances[i];

    if (plugin == NULL)
        return 0; /* that has been told */
    if (plugin->needs_section && !planned->has_section)
        plugin = inert(site->arena, plugin);
    if (instance_settings(site->arena, plugin, section, &instance->settings, err) < 0)
        return err->code;
    instance->name = section->name;
    instance->file = site->plan->files[planned->file].name;
    instance->index = (uint32_t)i + 1;
    instance->section = section;
    instance->shared = shared_addresses(site->arena, plugin, section->name);
    instance->plugin = plugin;
    return td_metrics_create(site->arena, instance, err);
}

/* Of [handler:NAME] log_level: 0 is "inherit", the others follow as in td_log_level. */
static void
set_log_levels(struct site *site)
{
    const size_t count = site->plan->instances_count;
    td_log_module *modules = TD_ARENA_ARRAY(site->arena, td_log_module, count + 1);
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        const td_instance *instance = &site->instances[i];

        if (instance->plugin != NULL && instance->section->log_level > 0)
            modules[used++] = (td_log_module){
                instance->name, (td_log_level)(instance->section->log_level - 1)};
    }
    td_log_set_modules(modules, used);
}

static void
create_applications(struct site *site)
{
    const td_configuration *configuration = site->plan->configuration;

    site->applications =
        TD_ARENA_ARRAY(site->arena, td_application *, configuration->applications_count + 1);
    for (size_t i = 0; i < configuration->applications_count; i++)
        site->applications[i] = td_application_create(&configuration->applications[i]);
}

int
site_open(struct site *site, const struct plan *plan, td_arena *arena,
          const struct site_watch *watch)
{
    struct outcome outcome = {.watch = watch};
    td_err err;

    *site = (struct site){.plan = plan, .arena = arena};
    if (td_spill_find_directory(plan->configuration->tornadod.body_temp_path, &site->body_temp_path,
                                &err) < 0) {
        source_prefix(plan->configuration, "tornadod", "body_temp_path", &err);
        note(&outcome, &err);
    }
    create_applications(site);
    load_files(site, &outcome);
    site->instances = TD_ARENA_ARRAY(arena, td_instance, plan->instances_count + 1);
    for (size_t i = 0; i < plan->instances_count; i++) {
        if (make_instance(site, i, &err) < 0)
            note(&outcome, &err);
    }
    set_log_levels(site);
    return outcome.rc;
}

/* "application NAME: KEY ..." gets the line where the key stands. */
static int
seal(struct site *site, size_t i, td_err *err)
{
    const td_configuration *configuration = site->plan->configuration;
    const char *name = configuration->applications[i].name;
    const size_t skipped = strlen("application : ") + strlen(name);
    int rc = td_application_seal(site->applications[i], err);

    if (rc < 0 && strlen(err->text) > skipped)
        rc = source_prefix_named(configuration,
                                 source_section_of_application(site->arena, configuration, name),
                                 err->text + skipped, err);
    return rc;
}

const td_instance *
site_protocol(const struct site *site, const td_listener_settings *listener)
{
    for (size_t i = 0; listener->protocol != NULL && i < site->plan->instances_count; i++) {
        if (strcmp(site->plan->instances[i].section->name, listener->protocol) == 0)
            return &site->instances[i];
    }
    return NULL;
}

static int
check_protocol(struct site *site, const td_listener_settings *listener, td_err *err)
{
    const td_instance *instance = site_protocol(site, listener);
    const char *section = td_arena_sprintf(site->arena, "listen:%s", listener->name).ptr;
    const char *key;

    if (listener->protocol == NULL || (instance != NULL && instance->plugin == NULL))
        return 0; /* HTTP; or that it could not be loaded was told */
    key = td_streamserver_find_fault(listener, instance, err);
    return key != NULL ? source_prefix(site->plan->configuration, section, key, err) : 0;
}

/* A family of metrics has one kind, whoever has some of it. */
static int
check_metrics(const td_instance *instance, const td_instance *other, td_err *err)
{
    static const char *const names[] = {"?", "counter", "gauge"};

    for (const td_metric *metric = instance->metrics; metric != NULL && metric->info != NULL;
         metric++) {
        const td_metric *found = td_metric_find(other, metric->info->name, NULL);
        if (found != NULL && found->info->kind != metric->info->kind)
            return td_err_set(
                err, TD_EPLUGIN,
                "handler %s (%s): its metric %s is a %s, that of handler %s (%s) a %s",
                instance->name, instance->file, metric->info->name, names[metric->info->kind],
                other->name, other->file, names[found->info->kind]);
    }
    return 0;
}

static void
compare_metrics(const struct site *site, struct outcome *outcome)
{
    td_err err;

    for (size_t i = 0; i < site->plan->instances_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (check_metrics(&site->instances[i], &site->instances[j], &err) < 0)
                note(outcome, &err);
        }
    }
}

int
site_mount(struct site *site, const struct site_watch *watch)
{
    struct outcome outcome = {.watch = watch};
    td_err err;

    middleware_resolve(site, note, &outcome);
    compare_metrics(site, &outcome);

    for (size_t i = 0; i < site->plan->instances_count; i++) {
        const td_instance *instance = &site->instances[i];
        if (instance->plugin == NULL)
            continue;
        td_application *application = site_application(site, instance->section->application);
        if (td_application_mount(application, instance, &err) < 0)
            note(&outcome, &err);
    }
    for (size_t i = 0; i < site->plan->configuration->applications_count; i++) {
        if (seal(site, i, &err) < 0)
            note(&outcome, &err);
    }
    for (size_t i = 0; i < site->plan->configuration->listeners_count; i++) {
        if (check_protocol(site, &site->plan->configuration->listeners[i], &err) < 0)
            note(&outcome, &err);
    }
    return outcome.rc;
}

int
site_blame(const struct site *site, const td_instance *instance, td_err *err)
{
    const char *section = td_arena_sprintf(site->arena, "handler:%s", instance->name).ptr;
    td_err whole = *err;

    td_err_prefix(&whole, "handler %s (%s)", instance->name, instance->file);
    source_prefix_named(site->plan->configuration, section, err->text, &whole);
    *err = whole;
    return err->code;
}

void
site_quarantine(struct site *site, const char *name)
{
    for (size_t i = 0; i < site->plan->instances_count; i++) {
        td_instance *instance = &site->instances[i];

        if (strcmp(instance->name, name) == 0)
            td_application_quarantine(site_application(site, instance->section->application),
                                      instance);
    }
}

void
site_close(struct site *site)
{
    for (size_t i = 0; i < site->plan->configuration->applications_count; i++)
        td_application_destroy(&site->applications[i]);
}

td_application *
site_application(const struct site *site, const char *name)
{
    const td_configuration *configuration = site->plan->configuration;

    for (size_t i = 0; i < configuration->applications_count; i++) {
        if (strcmp(configuration->applications[i].name, name) == 0)
            return site->applications[i];
    }
    TD_ASSERT(!"the settings name no application that is not there");
}
