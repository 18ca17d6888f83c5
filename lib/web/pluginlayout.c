/*
 * Each struct of the descriptor is copied by the size it had where it was built into one of today's
 * size: fields that it does not know are zero, which is what every new field has to mean "as
 * before" by.
 */
#include "web/pluginlayout.h"

#include <stdbool.h>
#include <string.h>
#include "base/settings.h"
#include "web/metrics.h"

#define URLS_MAX 100000
#define URLS_DEPTH_MAX 16
#define OPTIONS_MAX 1000
#define SHARED_MAX 1000
#define METRICS_MAX 100

/* The end of each struct as it was in 1.0; smaller ones are garbage. */
#define SIZE_UP_TO(type, field) (offsetof(type, field) + sizeof(((type *)NULL)->field))
#define PLUGIN_SIZE_MIN SIZE_UP_TO(td_plugin, stop)
#define URL_SIZE_MIN SIZE_UP_TO(td_url, initialize_arg)
#define CLASS_SIZE_MIN SIZE_UP_TO(td_handler_class, request_timeout_ms)
#define OPTION_SIZE_MIN SIZE_UP_TO(td_option, type)
#define SHARED_SIZE_MIN SIZE_UP_TO(td_shared_memory, size)
#define METRIC_SIZE_MIN SIZE_UP_TO(td_metric_info, kind)

/* Keys of [handler:NAME] that are the daemon's. */
static const char *const own_keys[] = {
#define TD_HANDLER(field, key, ...) key,
#define TD_LIMIT(field, key, ...) key,
#include "base/options.def"
};

static int
check_descriptor(const td_plugin *plugin, td_err *err)
{
    if (plugin->abi_major != TD_ABI_MAJOR || plugin->abi_minor > TD_ABI_MINOR)
        return td_err_set(err, TD_EPLUGIN,
                          "was built for ABI %u.%u; this tornadod has %u.%u: build it again",
                          plugin->abi_major, plugin->abi_minor, TD_ABI_MAJOR, TD_ABI_MINOR);
    if (plugin->plugin_size < PLUGIN_SIZE_MIN || plugin->plugin_size > sizeof(td_plugin) ||
        plugin->url_size < URL_SIZE_MIN || plugin->url_size > sizeof(td_url) ||
        plugin->class_size < CLASS_SIZE_MIN || plugin->class_size > sizeof(td_handler_class) ||
        plugin->option_size < OPTION_SIZE_MIN || plugin->option_size > sizeof(td_option) ||
        plugin->shared_size < SHARED_SIZE_MIN || plugin->shared_size > sizeof(td_shared_memory) ||
        plugin->metric_size > sizeof(td_metric_info))
        return td_err_set(err, TD_EPLUGIN,
                          "its tornado_plugin is damaged: the sizes in it cannot be (write it with "
                          "TD_PLUGIN)");
    if (plugin->name == NULL || plugin->name[0] == '\0')
        return td_err_set(err, TD_EPLUGIN, "its tornado_plugin has no .name");
    return 0;
}

/* One descriptor being copied: what it points to, and what has been copied of that. */
struct translation {
    td_arena *arena;
    const td_plugin *old;
    struct class_pair *classes;
    size_t urls_count; /* in all lists */
    int depth;         /* of lists in one another */
};

struct class_pair {
    struct class_pair *next;
    const td_handler_class *old, *copy;
};

/* Urls that share a class go on sharing it. */
static const td_handler_class *
translate_class(struct translation *t, const td_handler_class *class)
{
    for (const struct class_pair *pair = t->classes; pair != NULL; pair = pair->next) {
        if (pair->old == class)
            return pair->copy;
    }
    td_handler_class *copy = TD_ARENA_NEW(t->arena, td_handler_class);
    memcpy(copy, class, t->old->class_size);
    struct class_pair *pair = TD_ARENA_NEW(t->arena, struct class_pair);
    *pair = (struct class_pair){t->classes, class, copy};
    t->classes = pair;
    return copy;
}

static int translate_urls(struct translation *t, const td_url *old, const td_url **out, td_err *err);

static int
translate_url(struct translation *t, td_url *url, td_err *err)
{
    if (url->urls != NULL)
        return translate_urls(t, url->urls, &url->urls, err);
    if (url->handler == NULL)
        return td_err_set(err, TD_EPLUGIN, "its route %s has no handler class", url->pattern);
    url->handler = translate_class(t, url->handler);
    return 0;
}

static int
translate_urls(struct translation *t, const td_url *old, const td_url **out, td_err *err)
{
    const size_t size = t->old->url_size;
    const char *from = (const char *)old;
    size_t count = 0;
    int rc = 0;

    while (from != NULL && t->urls_count + count < URLS_MAX &&
           ((const td_url *)(const void *)(from + count * size))->pattern != NULL)
        count++;
    t->urls_count += count;
    if (t->urls_count >= URLS_MAX)
        return td_err_set(err, TD_EPLUGIN, "its .urls have no end (make them with TD_URLS)");
    if (++t->depth > URLS_DEPTH_MAX)
        return td_err_set(err, TD_EPLUGIN, "its .urls stand in one another without end");

    td_url *urls = TD_ARENA_ARRAY(t->arena, td_url, count + 1);
    for (size_t i = 0; i < count && rc == 0; i++) {
        memcpy(&urls[i], from + i * size, size);
        rc = translate_url(t, &urls[i], err);
    }
    t->depth--;
    *out = urls;
    return rc;
}

static size_t
value_size(uint32_t type)
{
    switch ((td_option_type)type) {
    case TD_OPTION_STRING:
        return sizeof(const char *);
    case TD_OPTION_BOOL:
        return sizeof(bool);
    case TD_OPTION_INT:
    case TD_OPTION_SIZE:
    case TD_OPTION_TIME:
        return sizeof(int64_t);
    case TD_OPTION_END:
        break;
    }
    return 0;
}

static int
check_option(const td_option *option, size_t settings_size, td_err *err)
{
    size_t size = value_size(option->type);

    if (size == 0)
        return td_err_set(err, TD_EPLUGIN, "its option %s has the unknown type %u", option->name,
                          (unsigned)option->type);
    if (option->offset > settings_size || size > settings_size - option->offset)
        return td_err_set(err, TD_EPLUGIN, "its option %s lies outside the struct of its settings",
                          option->name);
    for (size_t i = 0; i < sizeof(own_keys) / sizeof(*own_keys); i++) {
        if (strcmp(option->name, own_keys[i]) == 0)
            return td_err_set(err, TD_EPLUGIN, "its option %s bears the name of a setting of ours",
                              option->name);
    }
    return 0;
}

static int
translate_options(td_arena *arena, const td_plugin *old, const td_option **out, td_err *err)
{
    size_t count = 0;
    const char *from = (const char *)old->options;

    while (from != NULL && count < OPTIONS_MAX &&
           ((const td_option *)(const void *)(from + count * old->option_size))->name != NULL)
        count++;
    if (count == OPTIONS_MAX)
        return td_err_set(err, TD_EPLUGIN, "its .options have no end (make them with TD_OPTIONS)");

    td_option *options = TD_ARENA_ARRAY(arena, td_option, count + 1);
    for (size_t i = 0; i < count; i++) {
        memcpy(&options[i], from + i * old->option_size, old->option_size);
        if (check_option(&options[i], old->settings_size, err) < 0)
            return err->code;
    }
    *out = count > 0 ? options : NULL;
    return 0;
}

static int
translate_shared(td_arena *arena, const td_plugin *old, const td_shared_memory **out, td_err *err)
{
    size_t count = 0;
    const char *from = (const char *)old->shared;

    while (from != NULL && count < SHARED_MAX &&
           ((const td_shared_memory *)(const void *)(from + count * old->shared_size))->name != NULL)
        count++;
    if (count == SHARED_MAX)
        return td_err_set(err, TD_EPLUGIN, "its .shared has no end (make it with TD_SHARED)");

    td_shared_memory *shared = TD_ARENA_ARRAY(arena, td_shared_memory, count + 1);
    for (size_t i = 0; i < count; i++)
        memcpy(&shared[i], from + i * old->shared_size, old->shared_size);
    *out = count > 0 ? shared : NULL;
    return 0;
}

static int
check_metric(const td_metric_info *metrics, size_t i, const td_option *options, td_err *err)
{
    if (td_metric_check(&metrics[i], options, err) < 0)
        return err->code;
    for (size_t j = 0; j < i; j++) {
        if (strcmp(metrics[i].name, metrics[j].name) == 0)
            return td_err_set(err, TD_EPLUGIN, "it declares the metric %s twice", metrics[i].name);
    }
    return 0;
}

/* plugin: the copy, which is zero where the file is too old to know of metrics. */
static int
translate_metrics(td_arena *arena, td_plugin *plugin, td_err *err)
{
    size_t count = 0;
    const char *from = (const char *)plugin->metrics;
    const size_t size = plugin->metric_size;

    if (from == NULL)
        return 0;
    if (size < METRIC_SIZE_MIN)
        return td_err_set(err, TD_EPLUGIN, "its .metrics are damaged (write it with TD_PLUGIN)");
    while (count <= METRICS_MAX &&
           ((const td_metric_info *)(const void *)(from + count * size))->name != NULL)
        count++;
    if (count > METRICS_MAX)
        return td_err_set(err, TD_EPLUGIN, "it has more than %d metrics, or they have no end",
                          METRICS_MAX);

    td_metric_info *metrics = TD_ARENA_ARRAY(arena, td_metric_info, count + 1);
    for (size_t i = 0; i < count; i++) {
        memcpy(&metrics[i], from + i * size, size);
        if (check_metric(metrics, i, plugin->options, err) < 0)
            return err->code;
    }
    plugin->metrics = metrics;
    return 0;
}

int
td_plugin_translate(td_arena *arena, const char *file, const td_plugin *file_plugin,
                    const td_plugin **out, td_err *err)
{
    if (check_descriptor(file_plugin, err) < 0)
        return td_err_prefix(err, "%s", file);
    td_plugin *plugin = TD_ARENA_NEW(arena, td_plugin);
    struct translation t = {.arena = arena, .old = file_plugin};
    memcpy(plugin, file_plugin, file_plugin->plugin_size);
    if (plugin->default_handler != NULL)
        plugin->default_handler = translate_class(&t, plugin->default_handler);
    if (translate_urls(&t, file_plugin->urls, &plugin->urls, err) < 0 ||
        translate_options(arena, file_plugin, &plugin->options, err) < 0 ||
        translate_shared(arena, file_plugin, &plugin->shared, err) < 0 ||
        translate_metrics(arena, plugin, err) < 0)
        return td_err_prefix(err, "%s", file);
    plugin->plugin_size = sizeof(td_plugin);
    plugin->url_size = sizeof(td_url);
    plugin->class_size = sizeof(td_handler_class);
    plugin->option_size = sizeof(td_option);
    plugin->shared_size = sizeof(td_shared_memory);
    plugin->metric_size = sizeof(td_metric_info);
    *out = plugin;
    return 0;
}
