#include "web/metrics.h"

#include <string.h>
#include <tornado/coroutine.h>
#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "web/handler.h"

#define PIECE 32768                 /* bytes that are sent at once */
#define TURN_NS (TD_NS_PER_S / 10000) /* then others are served */

td_metrics_fn *td_metrics_put;

/* ---- of the daemon */

static int
check_format(td_handler *h, const char *function, td_metrics_format format)
{
    if (!td_handler_usable(h, function))
        return TD_EINVAL;
    if ((unsigned)format > TD_METRICS_HTML)
        return td_handler_misuse(h, function, "there is no such format");
    return 0;
}

td_str
td_metrics(td_handler *h, td_metrics_format format)
{
    td_buf text = {0};
    td_str copy;

    if (check_format(h, "td_metrics", format) < 0 || td_metrics_put == NULL)
        return td_str_make(NULL, 0);
    td_metrics_put(&text, format, NULL);
    copy = td_str_dup(td_handler_arena(h), td_buf_str(&text));
    td_buf_release(&text);
    return copy;
}

struct telling {
    td_handler *h;
    int64_t turn_end_ns;
    int rc;
};

static bool
take_piece(td_buf *text, void *arg)
{
    struct telling *telling = arg;

    if (text->len >= PIECE) {
        telling->rc = td_write(telling->h, td_buf_str(text));
        td_buf_consume(text, text->len);
        if (telling->rc == 0)
            telling->rc = td_flush(telling->h);
    }
    if (telling->rc == 0 && td_clock_ns() > telling->turn_end_ns) {
        td_sleep(0);
        telling->turn_end_ns = td_clock_ns() + TURN_NS;
    }
    return telling->rc == 0;
}

int
td_write_metrics(td_handler *h, td_metrics_format format)
{
    td_buf text __attribute__((cleanup(td_buf_release))) = {0};
    struct telling telling = {.h = h, .turn_end_ns = td_clock_ns() + TURN_NS};
    const int rc = check_format(h, "td_write_metrics", format);

    if (rc < 0 || td_metrics_put == NULL)
        return rc;
    td_metrics_put(&text, format, &(td_metrics_reader){take_piece, &telling});
    return telling.rc == 0 ? td_write(h, td_buf_str(&text)) : telling.rc;
}

/* ---- of authors: what is declared */

static bool
is_of_name(char c, bool is_first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (!is_first && c >= '0' && c <= '9');
}

static bool
ends_in(const char *name, const char *suffix)
{
    const size_t len = strlen(name), suffix_len = strlen(suffix);

    return len >= suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

/* OpenMetrics 1.0, MetricFamily: samples of one family must not look like those of another one. */
static int
check_name(const char *name, td_err *err)
{
    static const char *const suffixes[] = {"_total",  "_created", "_info",
                                           "_bucket", "_count",   "_sum"};
    size_t len = 0;

    while (is_of_name(name[len], len == 0))
        len++;
    if (len == 0 || name[len] != '\0' || len > TD_METRIC_NAME_MAX)
        return td_err_set(
            err, TD_EPLUGIN,
            "its metric \"%.80s\" wants a name of [a-zA-Z_][a-zA-Z0-9_]*, at most %d bytes", name,
            TD_METRIC_NAME_MAX);
    if (strncmp(name, "tornadod_", strlen("tornadod_")) == 0)
        return td_err_set(err, TD_EPLUGIN, "its metric %s: tornadod_ begins our own names", name);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
        if (ends_in(name, suffixes[i]))
            return td_err_set(
                err, TD_EPLUGIN,
                "its metric %s: the name must not end in %s, which the text adds where "
                "it belongs",
                name, suffixes[i]);
    }
    return 0;
}

static bool
is_sentence(const char *help)
{
    const size_t len = help != NULL ? strnlen(help, TD_METRIC_HELP_MAX + 1) : 0;

    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)help[i] < ' ' || help[i] == 0x7f)
            return false;
    }
    return len > 0 && len <= TD_METRIC_HELP_MAX && td_utf8_is_valid(td_str_make(help, len));
}

/* OpenMetrics 1.0, Label: names with __ in front are its own; le and quantile mean something. */
static int
check_label(const td_metric_info *info, td_err *err)
{
    static const char *const taken[] = {"handler", "le", "quantile"};
    size_t len = 0;

    while (is_of_name(info->label[len], len == 0))
        len++;
    bool is_good = len > 0 && info->label[len] == '\0' && len <= TD_METRIC_NAME_MAX &&
                   strncmp(info->label, "__", 2) != 0;
    for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
        is_good = is_good && strcmp(info->label, taken[i]) != 0;
    if (!is_good)
        return td_err_set(err, TD_EPLUGIN, "its metric %s: \"%.80s\" cannot be its label", info->name,
                          info->label);
    return 0;
}

static const td_option *
find_option(const td_option *options, const char *name)
{
    const td_option *option = options;

    while (option != NULL && option->name != NULL && strcmp(option->name, name) != 0)
        option++;
    return option != NULL && option->name != NULL ? option : NULL;
}

int
td_metric_check(const td_metric_info *info, const td_option *options, td_err *err)
{
    if (check_name(info->name, err) < 0)
        return err->code;
    if (info->kind != TD_METRIC_COUNTER && info->kind != TD_METRIC_GAUGE)
        return td_err_set(err, TD_EPLUGIN, "its metric %s has the unknown kind %u", info->name,
                          (unsigned)info->kind);
    if (!is_sentence(info->help))
        return td_err_set(err, TD_EPLUGIN,
                          "its metric %s wants a help of 1 to %d bytes of UTF-8 in one line",
                          info->name, TD_METRIC_HELP_MAX);
    if (info->label == NULL)
        return 0;
    if (check_label(info, err) < 0)
        return err->code;
    const td_option *option = info->option != NULL ? find_option(options, info->option) : NULL;
    if (option == NULL || option->type != TD_OPTION_STRING)
        return td_err_set(err, TD_EPLUGIN,
                          "its metric %s: no option '%s' that is a string names the values of its "
                          "label",
                          info->name, info->option != NULL ? info->option : "");
    return 0;
}

/* ---- of authors: those of an instance */

static size_t
count_infos(const td_metric_info *infos)
{
    size_t count = 0;

    while (infos != NULL && infos[count].name != NULL)
        count++;
    return count;
}

struct making {
    td_arena *arena;
    const td_instance *instance;
    td_metric *metrics;
    size_t count;
};

static void
add(struct making *making, const td_metric_info *info, const char *value)
{
    td_metric *metric = &making->metrics[making->count++];

    *metric = (td_metric){.info = info,
                          .instance = making->instance->name,
                          .value = value,
                          .number = &metric->own};
}

static bool
has(const struct making *making, size_t first, const char *value)
{
    for (size_t i = first; i < making->count; i++) {
        if (strcmp(making->metrics[i].value, value) == 0)
            return true;
    }
    return false;
}

/* What the option says is checked by whoever has it; here it only has to fit. */
static int
add_labelled(struct making *making, const td_metric_info *info, td_err *err)
{
    const td_instance *instance = making->instance;
    const td_option *option = find_option(instance->plugin->options, info->option);
    const char *text = *(const char *const *)(const void *)((const char *)instance->settings +
                                                            option->offset);
    const size_t first = making->count;
    char *rest = (char *)td_str_dup(making->arena, td_str_of(text)).ptr; /* ours */

    for (char *word = strsep(&rest, ", \t"); word != NULL; word = strsep(&rest, ", \t")) {
        if (word[0] == '\0' || has(making, first, word))
            continue;
        if (making->count - first == TD_METRIC_VALUES_MAX || strlen(word) > TD_METRIC_VALUE_MAX)
            return td_err_set(err, TD_ECONFIG,
                              "[handler:%s] %s: names more than %d, or one of more than %d bytes, "
                              "and metric %s has a number for each",
                              instance->name, option->name, TD_METRIC_VALUES_MAX,
                              TD_METRIC_VALUE_MAX, info->name);
        add(making, info, word);
    }
    return 0;
}

static size_t
most_of(const td_metric_info *infos, size_t count)
{
    size_t most = count;

    for (size_t i = 0; i < count; i++)
        most += infos[i].label != NULL ? TD_METRIC_VALUES_MAX : 0;
    return most;
}

int
td_metrics_create(td_arena *arena, td_instance *instance, td_err *err)
{
    const td_metric_info *infos = instance->plugin->metrics;
    const size_t count = count_infos(infos);
    struct making making = {.arena = arena, .instance = instance};

    making.metrics = TD_ARENA_ARRAY(arena, td_metric, most_of(infos, count) + 1);
    for (size_t i = 0; i < count; i++) {
        if (infos[i].label == NULL)
            add(&making, &infos[i], NULL);
        else if (add_labelled(&making, &infos[i], err) < 0)
            return err->code;
    }
    instance->metrics = making.metrics;
    return 0;
}

td_metric *
td_metric_find(const td_instance *instance, const char *name, const char *value)
{
    for (td_metric *metric = instance->metrics; metric != NULL && metric->info != NULL; metric++) {
        if (strcmp(metric->info->name, name) == 0 &&
            (value == NULL || (metric->value != NULL && strcmp(metric->value, value) == 0)))
            return metric;
    }
    return NULL;
}

/* ---- of authors: counting */

td_metric *
td_instance_metric(const td_instance *instance, const char *name)
{
    if (instance == NULL || name == NULL) {
        td_log(TD_LOG_ERROR, "td_instance_metric: NULL is not allowed");
        return NULL;
    }
    td_metric *metric = td_metric_find(instance, name, NULL);
    if (metric == NULL)
        td_log_at(TD_LOG_ERROR, instance->name, "metric %s is not declared (TD_METRICS)", name);
    else if (metric->value != NULL)
        td_log_at(TD_LOG_ERROR, instance->name,
                  "metric %s has a label: td_instance_metric_by finds it", name);
    return metric == NULL || metric->value != NULL ? NULL : metric;
}

td_metric *
td_instance_metric_by(const td_instance *instance, const char *name, const char *value)
{
    if (instance == NULL || name == NULL || value == NULL) {
        td_log(TD_LOG_ERROR, "td_instance_metric_by: NULL is not allowed");
        return NULL;
    }
    td_metric *metric = td_metric_find(instance, name, value);
    if (metric == NULL)
        td_log_at(TD_LOG_ERROR, instance->name, "metric %s of \"%.80s\" is not declared (TD_METRICS)",
                  name, value);
    return metric;
}

td_metric *
td_get_metric(td_handler *h, const char *name)
{
    if (!td_handler_has(h, "td_get_metric", name))
        return NULL;
    return td_instance_metric(td_handler_instance(h), name);
}

td_metric *
td_get_metric_by(td_handler *h, const char *name, const char *value)
{
    if (!td_handler_has(h, "td_get_metric_by", name))
        return NULL;
    return td_instance_metric_by(td_handler_instance(h), name, value);
}

void
td_metric_add(td_metric *metric, int64_t by)
{
    if (metric == NULL)
        td_log(TD_LOG_ERROR, "td_metric_add: NULL is not allowed");
    else if (by < 0 && metric->info->kind == TD_METRIC_COUNTER)
        td_log_at(TD_LOG_ERROR, metric->instance, "td_metric_add: %s is a counter and never falls",
                  metric->info->name);
    else
        __atomic_add_fetch(metric->number, by, __ATOMIC_RELAXED);
}

void
td_metric_set(td_metric *metric, int64_t value)
{
    if (metric == NULL)
        td_log(TD_LOG_ERROR, "td_metric_set: NULL is not allowed");
    else if (metric->info->kind == TD_METRIC_COUNTER)
        td_log_at(TD_LOG_ERROR, metric->instance,
                  "td_metric_set: %s is a counter and cannot be set", metric->info->name);
    else
        __atomic_store_n(metric->number, value, __ATOMIC_RELAXED);
}

int64_t
td_metric_value(const td_metric *metric)
{
    return metric != NULL ? __atomic_load_n(metric->number, __ATOMIC_RELAXED) : 0;
}
