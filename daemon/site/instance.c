#include "daemon/site/instance.h"

#include <stdbool.h>
#include <string.h>
#include "base/value.h"

static const td_raw_setting *
find_setting(const td_handler_settings *section, const char *key)
{
    for (size_t i = 0; i < section->own_count; i++) {
        if (strcmp(section->own[i].key, key) == 0)
            return &section->own[i];
    }
    return NULL;
}

static int
parse_number(const td_option *option, const char *text, int64_t *out, td_err *err)
{
    int64_t min = option->min, max = option->max;

    if (min == 0 && max == 0) { /* any; of sizes and times there are none below zero */
        min = option->type == TD_OPTION_INT ? INT64_MIN : 0;
        max = INT64_MAX;
    }
    if (option->type == TD_OPTION_SIZE)
        return td_value_parse_size(text, min, max, out, err);
    if (option->type == TD_OPTION_TIME)
        return td_value_parse_time(text, min, max, out, err);
    return td_value_parse_int(text, min, max, out, err);
}

static int
store_value(td_arena *arena, const td_option *option, const char *text, void *place, td_err *err)
{
    if (option->type == TD_OPTION_BOOL)
        return td_value_parse_bool(text, place, err);
    if (option->type != TD_OPTION_STRING)
        return parse_number(option, text, place, err);
    *(const char **)place = td_arena_strdup(arena, text);
    return 0;
}

static int
apply_option(td_arena *arena, const td_option *option, const td_handler_settings *section,
             char *settings, td_err *err)
{
    const td_raw_setting *given = find_setting(section, option->name);
    const char *text = given != NULL ? given->value : option->default_value;

    if (text == NULL)
        return td_err_set(err, TD_ECONFIG, "%s: [handler:%s] has no %s, which it needs: %s",
                          td_source_text(arena, section->source), section->name, option->name,
                          option->help != NULL ? option->help : "");
    if (store_value(arena, option, text, settings + option->offset, err) == 0)
        return 0;
    if (given != NULL)
        return td_err_prefix(err, "%s: %s = %s", td_source_text(arena, given->source), option->name,
                             text);
    return td_err_prefix(err, "handler %s: default of its option %s = %s", section->name,
                         option->name, text);
}

static int
refuse_unknown(td_arena *arena, const td_plugin *plugin, const td_handler_settings *section,
               td_err *err)
{
    size_t count = 0;

    while (plugin->options != NULL && plugin->options[count].name != NULL)
        count++;
    const char **names = TD_ARENA_ARRAY(arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++)
        names[i] = plugin->options[i].name;

    for (size_t i = 0; i < section->own_count; i++) {
        const td_raw_setting *setting = &section->own[i];
        size_t known = 0;
        while (known < count && strcmp(names[known], setting->key) != 0)
            known++;
        if (known < count)
            continue;
        const char *nearest = td_nearest(setting->key, names, count);
        return td_err_set(err, TD_ECONFIG, "%s: [handler:%s] does not know %s%s%s%s",
                          td_source_text(arena, setting->source), section->name, setting->key,
                          nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "",
                          nearest != NULL ? "?" : "");
    }
    return 0;
}

int
instance_settings(td_arena *arena, const td_plugin *plugin, const td_handler_settings *section,
                  const void **out, td_err *err)
{
    if (refuse_unknown(arena, plugin, section, err) < 0)
        return err->code;
    if (plugin->options == NULL) {
        *out = NULL;
        return 0;
    }
    char *settings = td_arena_alloc(arena, plugin->settings_size);
    for (const td_option *option = plugin->options; option->name != NULL; option++) {
        int rc = apply_option(arena, option, section, settings, err);
        if (rc < 0)
            return rc;
    }
    *out = settings;
    return 0;
}
