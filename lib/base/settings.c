/*
 * An ini becomes structs in three steps: each section is recognised, each row of options.def takes
 * its value from it or its default, and what the rows cannot say by themselves (names that refer to
 * others, addresses that clash) is checked at the end.  The first thing that is wrong ends the
 * loading with its file and line.
 */
#include "base/settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/assert.h"
#include "base/congestion.h"
#include "base/escape.h"
#include "base/log.h"
#include "base/settings_rows.h"

/* ---- limits */

static int64_t *
limit_field(td_limits *limits, const td_setting_row *row)
{
    return (int64_t *)((char *)limits + row->offset);
}

void
td_limits_overlay(td_limits *limits, const td_limits *narrower)
{
    td_limits from = *narrower;

    for (size_t i = 0; i < td_limit_rows_count; i++)
        if (*limit_field(&from, &td_limit_rows[i]) != TD_UNSET)
            *limit_field(limits, &td_limit_rows[i]) = *limit_field(&from, &td_limit_rows[i]);
}

void
td_limits_unset(td_limits *limits)
{
    for (size_t i = 0; i < td_limit_rows_count; i++)
        *limit_field(limits, &td_limit_rows[i]) = TD_UNSET;
}

/* ---- where things stand */

struct loading {
    td_arena *arena;
    td_configuration *configuration;
    td_application_settings *applications; /* those of the configuration */
    td_err *err;
};

static int fail_at(struct loading *l, td_source source, const char *format, ...) TD_PRINTF(3, 4);

static int
fail_at(struct loading *l, td_source source, const char *format, ...)
{
    char text[TD_ERR_TEXT_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return td_err_set(l->err, TD_ECONFIG, "%s: %s", td_source_text(l->arena, source), text);
}

/* The part behind "KIND:", "default" for [application], NULL for a kind without names. */
static const char *
name_of(const td_section_kind *kind, const td_ini_section *section)
{
    const size_t len = strlen(kind->name);

    if (section->name[len] == ':')
        return section->name + len + 1;
    return kind == &td_section_kinds[TD_SECTION_APPLICATION] ? "default" : NULL;
}

static bool
is_of_kind(const td_section_kind *kind, const td_ini_section *section)
{
    const size_t len = strlen(kind->name);

    return strncmp(section->name, kind->name, len) == 0 &&
           (section->name[len] == '\0' || section->name[len] == ':');
}

const td_ini_section *
td_settings_section(const td_ini *ini, const td_section_kind *kind, const char *name)
{
    for (const td_ini_section *s = ini->sections; s != NULL; s = s->next)
        if (is_of_kind(kind, s) && (name == NULL || strcmp(name_of(kind, s), name) == 0))
            return s;
    return NULL;
}

static td_source
source_of(struct loading *l, int kind, const char *name, const char *key)
{
    const td_ini_section *section =
        td_settings_section(&l->configuration->ini, &td_section_kinds[kind], name);
    const td_ini_entry *entry = section != NULL ? td_ini_find(section, key) : NULL;

    if (entry != NULL)
        return entry->source;
    return section != NULL ? section->source : (td_source){"default", 0};
}

/* ---- values */

/* A word that stands for 0. */
static bool
parse_word(const td_setting_row *row, const char *text, int64_t *out)
{
    if (row->word == NULL || strcmp(text, row->word) != 0)
        return false;
    *out = 0;
    return true;
}

static int
parse_count(const td_setting_row *row, const char *text, int64_t *out, td_err *err)
{
    if (parse_word(row, text, out))
        return 0;

    const int rc = td_value_parse_int(text, row->min, row->max, out, err);

    if (rc < 0 && row->word != NULL)
        return td_err_set(err, rc, "'%s' is neither %s nor a whole number between %d and %d", text,
                          row->word, (int)row->min, (int)row->max);
    return rc;
}

static int
parse_size(const td_setting_row *row, const char *text, int64_t *out, td_err *err)
{
    return parse_word(row, text, out) ? 0
                                      : td_value_parse_size(text, row->min, row->max, out, err);
}

static int
parse_mode(const td_setting_row *row, const char *text, int64_t *out, td_err *err)
{
    int64_t mode = 0;

    for (const char *c = text; *c != '\0'; c++) {
        if (*c < '0' || *c > '7' || mode > row->max)
            return td_err_set(err, TD_ECONFIG, "'%s' is not a mode such as 0660", text);
        mode = mode * 8 + (*c - '0');
    }
    if (text[0] == '\0' || mode > row->max)
        return td_err_set(err, TD_ECONFIG, "'%s' is not a mode such as 0660", text);
    *out = mode;
    return 0;
}

static int
parse_switch(const char *text, int64_t *out, td_err *err)
{
    bool on;
    const int rc = td_value_parse_bool(text, &on, err);

    if (rc == 0)
        *out = on;
    return rc;
}

static int
parse_choice(const td_setting_row *row, const char *text, int *out, td_err *err)
{
    char all[128];
    size_t len = 0;

    for (int i = 0; row->choices[i] != NULL; i++) {
        if (strcmp(row->choices[i], text) == 0) {
            *out = i;
            return 0;
        }
        len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", i > 0 ? ", " : "",
                                row->choices[i]);
    }
    return td_err_set(err, TD_ECONFIG, "'%s' is none of %s", text, all);
}

/* A relative path starts at the file that says it, one of --set at the current directory. */
static const char *
absolute_path(td_arena *arena, const char *path, td_source source)
{
    const char *slash = source.line > 0 ? strrchr(source.file, '/') : NULL;
    const char *folder = ".";

    if (path[0] == '/')
        return path;
    if (slash != NULL)
        folder = td_str_dup(arena, td_str_make(source.file, (size_t)(slash - source.file) + 1)).ptr;

    char *whole = realpath(folder, NULL);

    if (whole == NULL)
        return path;
    path = td_arena_sprintf(arena, "%s/%s", strcmp(whole, "/") == 0 ? "" : whole, path).ptr;
    free(whole);
    return path;
}

static int
parse_address(const char *text, const char **out, td_err *err)
{
    struct sockaddr_storage address;
    socklen_t len;
    const int rc = td_value_parse_address(text, &address, &len, err);

    if (rc == 0)
        *out = text;
    return rc;
}

/* The value into its field; the text of an error has neither key nor source. */
static int
parse_value(td_arena *arena, const td_setting_row *row, const char *text, td_source source,
            void *field, td_err *err)
{
    switch (row->kind) {
    case TD_KIND_COUNT:
        return parse_count(row, text, field, err);
    case TD_KIND_SIZE:
        return parse_size(row, text, field, err);
    case TD_KIND_TIME:
        return td_value_parse_time(text, row->min, row->max, field, err);
    case TD_KIND_MODE:
        return parse_mode(row, text, field, err);
    case TD_KIND_BOOL:
        return td_value_parse_bool(text, field, err);
    case TD_KIND_SWITCH:
        return parse_switch(text, field, err);
    case TD_KIND_CHOICE:
        return parse_choice(row, text, field, err);
    case TD_KIND_ADDRESS:
        return parse_address(text, field, err);
    case TD_KIND_NETWORKS:
        return td_networks_parse(arena, text, field, err);
    case TD_KIND_TEXT:
    case TD_KIND_SECRET:
        *(const char **)field = text[0] == '\0' && row->default_text == NULL ? NULL : text;
        return 0;
    case TD_KIND_PATH:
        if (row->word != NULL && strcmp(text, row->word) == 0)
            *(const char **)field = text;
        else
            *(const char **)field = text[0] == '\0' ? NULL : absolute_path(arena, text, source);
        return 0;
    }
    return TD_EINVAL;
}

/* Defaults are ours: one that does not fit its own row is a bug. */
static void
set_default(td_arena *arena, const td_setting_row *row, void *field)
{
    if (row->default_text == NULL)
        *(const char **)field = NULL;
    else
        TD_ASSERT(parse_value(arena, row, row->default_text, (td_source){"default", 0}, field,
                              NULL) == 0);
}

const td_limits *
td_limits_defaults(void)
{
    static td_limits defaults;
    static bool is_made;

    for (size_t i = 0; !is_made && i < td_limit_rows_count; i++)
        set_default(NULL, &td_limit_rows[i], limit_field(&defaults, &td_limit_rows[i]));
    is_made = true;
    return &defaults;
}

static int
take_value(struct loading *l, const td_setting_row *row, const td_ini_entry *entry, void *field)
{
    const int rc = parse_value(l->arena, row, entry->value, entry->source, field, l->err);

    if (rc == 0)
        return 0;
    td_err_prefix(l->err, "%s: %s", td_source_text(l->arena, entry->source), entry->key);
    return rc;
}

/* section NULL: all defaults. */
static int
fill_rows(struct loading *l, int kind, const td_ini_section *section, void *base)
{
    const td_section_kind *k = &td_section_kinds[kind];
    int rc = 0;

    for (size_t i = 0; i < k->rows_count && rc == 0; i++) {
        const td_setting_row *row = &k->rows[i];
        const td_ini_entry *entry = section != NULL ? td_ini_find(section, row->key) : NULL;
        void *field = (char *)base + row->offset;

        if (entry != NULL)
            rc = take_value(l, row, entry, field);
        else
            set_default(l->arena, row, field);
    }
    return rc;
}

static int
fill_limits(struct loading *l, int kind, const td_ini_section *section, td_limits *limits)
{
    int rc = 0;

    td_limits_unset(limits);
    for (size_t i = 0; section != NULL && i < td_limit_rows_count && rc == 0; i++) {
        const td_setting_row *row = &td_limit_rows[i];
        const td_ini_entry *entry = td_ini_find(section, row->key);

        if (entry != NULL && (row->scopes & td_section_kinds[kind].scope) != 0)
            rc = take_value(l, row, entry, limit_field(limits, row));
    }
    return rc;
}

/* ---- keys that nobody knows */

static const td_setting_row *
find_row(const td_setting_row *rows, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].key, key) == 0)
            return &rows[i];
    return NULL;
}

static bool
is_known(const td_section_kind *kind, const char *key)
{
    const td_setting_row *limit = find_row(td_limit_rows, td_limit_rows_count, key);

    return find_row(kind->rows, kind->rows_count, key) != NULL ||
           (limit != NULL && (limit->scopes & kind->scope) != 0);
}

static const char *
nearest_key(struct loading *l, const td_section_kind *kind, const char *key)
{
    const char **names =
        TD_ARENA_ARRAY(l->arena, const char *, kind->rows_count + td_limit_rows_count);
    size_t count = 0;

    for (size_t i = 0; i < kind->rows_count; i++)
        names[count++] = kind->rows[i].key;
    for (size_t i = 0; i < td_limit_rows_count; i++)
        if ((td_limit_rows[i].scopes & kind->scope) != 0)
            names[count++] = td_limit_rows[i].key;
    return td_nearest(key, names, count);
}

static int
fail_unknown_key(struct loading *l, const td_section_kind *kind, const td_ini_section *section,
                 const td_ini_entry *entry)
{
    char elsewhere[128] = "";
    size_t len = 0;
    const char *nearest;

    for (size_t i = 0; i < TD_SECTIONS_COUNT; i++)
        if (is_known(&td_section_kinds[i], entry->key))
            len += (size_t)snprintf(elsewhere + len, sizeof(elsewhere) - len, "%s[%s%s]",
                                    len > 0 ? " or " : "", td_section_kinds[i].name,
                                    td_section_kinds[i].is_named ? ":NAME" : "");
    if (len > 0)
        return fail_at(l, entry->source, "'%s' is no key of [%s]; it belongs in %s", entry->key,
                       section->name, elsewhere);
    nearest = nearest_key(l, kind, entry->key);
    if (nearest != NULL)
        return fail_at(l, entry->source, "'%s' is no key of [%s]; did you mean '%s'?", entry->key,
                       section->name, nearest);
    return fail_at(l, entry->source, "'%s' is no key of [%s]", entry->key, section->name);
}

static int
check_keys(struct loading *l, int kind, const td_ini_section *section)
{
    const td_section_kind *k = &td_section_kinds[kind];

    for (const td_ini_entry *e = section->entries; e != NULL; e = e->next)
        if (!is_known(k, e->key))
            return fail_unknown_key(l, k, section, e);
    return 0;
}

/*
 * What we do not know is the handler's own, and is checked against what it declares.  Limits that
 * cannot stand here are not, whatever a handler may call its options.
 */
static int
take_own(struct loading *l, const td_ini_section *section, td_handler_settings *handler)
{
    const td_section_kind *kind = &td_section_kinds[TD_SECTION_HANDLER];
    td_raw_setting *own;
    size_t count = 0;

    for (const td_ini_entry *e = section->entries; e != NULL; e = e->next) {
        if (is_known(kind, e->key))
            continue;
        if (find_row(td_limit_rows, td_limit_rows_count, e->key) != NULL)
            return fail_unknown_key(l, kind, section, e);
        count++;
    }
    own = TD_ARENA_ARRAY(l->arena, td_raw_setting, count);
    handler->own = own;
    handler->own_count = count;
    for (const td_ini_entry *e = section->entries; e != NULL; e = e->next)
        if (!is_known(kind, e->key))
            *own++ = (td_raw_setting){e->key, e->value, e->source};
    return 0;
}

/* ---- sections */

static bool
is_good_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

    return name[0] != '\0' && name[0] != '.' && name[strspn(name, allowed)] == '\0';
}

static int
fail_unknown_section(struct loading *l, const td_ini_section *section)
{
    const char *names[TD_SECTIONS_COUNT];
    const size_t len = strcspn(section->name, ":");
    const char *nearest;

    for (size_t i = 0; i < TD_SECTIONS_COUNT; i++)
        names[i] = td_section_kinds[i].name;
    nearest = td_nearest(td_str_dup(l->arena, td_str_make(section->name, len)).ptr, names,
                         TD_SECTIONS_COUNT);
    if (nearest == NULL)
        return fail_at(l, section->source, "there is no section [%s]", section->name);
    return fail_at(l, section->source, "there is no section [%s]; did you mean [%s%s]?",
                   section->name, nearest, section->name + len);
}

static const td_section_kind *
kind_of(const td_ini_section *section)
{
    for (size_t i = 0; i < TD_SECTIONS_COUNT; i++)
        if (is_of_kind(&td_section_kinds[i], section))
            return &td_section_kinds[i];
    return NULL;
}

static int
check_section(struct loading *l, const td_ini_section *section)
{
    const td_section_kind *kind = kind_of(section);
    const td_ini_section *first;
    const char *name;

    if (kind == NULL)
        return fail_unknown_section(l, section);
    name = name_of(kind, section);
    if (!kind->is_named && name != NULL)
        return fail_at(l, section->source, "[%s] has a name; write [%s]", section->name,
                       kind->name);
    if (kind->is_named && (name == NULL || !is_good_name(name)))
        return fail_at(l, section->source,
                       "[%s]: write [%s:NAME], the name of letters, digits, '_', '-' and '.'",
                       section->name, kind->name);
    first = td_settings_section(&l->configuration->ini, kind, name);
    if (first != section)
        return fail_at(l, section->source, "[%s] is the same as [%s] in %s", section->name,
                       first->name, td_source_text(l->arena, first->source));
    return 0;
}

static int
check_sections(struct loading *l)
{
    int rc = 0;

    for (td_ini_section *s = l->configuration->ini.sections; s != NULL && rc == 0; s = s->next)
        rc = check_section(l, s);
    return rc;
}

static size_t
count_sections(const struct loading *l, int kind)
{
    size_t count = 0;

    for (td_ini_section *s = l->configuration->ini.sections; s != NULL; s = s->next)
        count += is_of_kind(&td_section_kinds[kind], s);
    return count;
}

static int
fill_tornadod(struct loading *l)
{
    td_tornadod_settings *settings = &l->configuration->tornadod;
    const td_ini_section *section =
        td_settings_section(&l->configuration->ini, &td_section_kinds[TD_SECTION_TORNADOD], NULL);
    td_limits own;
    int rc = fill_rows(l, TD_SECTION_TORNADOD, section, settings);

    if (rc == 0)
        rc = fill_limits(l, TD_SECTION_TORNADOD, section, &own);
    if (rc < 0)
        return rc;
    settings->limits = *td_limits_defaults();
    td_limits_overlay(&settings->limits, &own);
    return section != NULL ? check_keys(l, TD_SECTION_TORNADOD, section) : 0;
}

static int
fill_log(struct loading *l)
{
    td_log_settings *settings = &l->configuration->log;
    const td_ini_section *section =
        td_settings_section(&l->configuration->ini, &td_section_kinds[TD_SECTION_LOG], NULL);
    const int rc = fill_rows(l, TD_SECTION_LOG, section, settings);

    return rc == 0 && section != NULL ? check_keys(l, TD_SECTION_LOG, section) : rc;
}

static int
fill_listener(struct loading *l, const td_ini_section *section, td_listener_settings *listener)
{
    td_limits own;
    int rc = fill_rows(l, TD_SECTION_LISTEN, section, listener);

    if (rc == 0)
        rc = fill_limits(l, TD_SECTION_LISTEN, section, &own);
    if (rc < 0)
        return rc;
    listener->limits = l->configuration->tornadod.limits;
    td_limits_overlay(&listener->limits, &own);
    return section != NULL ? check_keys(l, TD_SECTION_LISTEN, section) : 0;
}

static int
fill_listeners(struct loading *l)
{
    const td_section_kind *kind = &td_section_kinds[TD_SECTION_LISTEN];
    const size_t count = count_sections(l, TD_SECTION_LISTEN);
    td_listener_settings *listener =
        TD_ARENA_ARRAY(l->arena, td_listener_settings, count > 0 ? count : 1);
    int rc = 0;

    l->configuration->listeners = listener;
    l->configuration->listeners_count = count > 0 ? count : 1;
    if (count == 0) {
        listener->name = "default";
        listener->source = (td_source){"default", 0};
        return fill_listener(l, NULL, listener);
    }
    for (td_ini_section *s = l->configuration->ini.sections; s != NULL && rc == 0; s = s->next) {
        if (!is_of_kind(kind, s))
            continue;
        listener->name = name_of(kind, s);
        listener->source = s->source;
        rc = fill_listener(l, s, listener++);
    }
    return rc;
}

static int
fill_application(struct loading *l, const td_ini_section *section,
                 td_application_settings *application)
{
    int rc = fill_rows(l, TD_SECTION_APPLICATION, section, application);

    if (rc == 0)
        rc = fill_limits(l, TD_SECTION_APPLICATION, section, &application->limits);
    return rc == 0 && section != NULL ? check_keys(l, TD_SECTION_APPLICATION, section) : rc;
}

static int
fill_applications(struct loading *l)
{
    const td_section_kind *kind = &td_section_kinds[TD_SECTION_APPLICATION];
    const bool has_default = td_settings_section(&l->configuration->ini, kind, "default") != NULL;
    const size_t count = count_sections(l, TD_SECTION_APPLICATION) + !has_default;
    td_application_settings *application = TD_ARENA_ARRAY(l->arena, td_application_settings, count);
    int rc = 0;

    l->configuration->applications = l->applications = application;
    l->configuration->applications_count = count;
    for (td_ini_section *s = l->configuration->ini.sections; s != NULL && rc == 0; s = s->next) {
        if (!is_of_kind(kind, s))
            continue;
        application->name = name_of(kind, s);
        application->source = s->source;
        rc = fill_application(l, s, application++);
    }
    if (rc < 0 || has_default)
        return rc;
    application->name = "default";
    application->source = (td_source){"default", 0};
    return fill_application(l, NULL, application);
}

static int
fill_handler(struct loading *l, const td_ini_section *section, td_handler_settings *handler)
{
    int rc = fill_rows(l, TD_SECTION_HANDLER, section, handler);

    if (rc == 0)
        rc = fill_limits(l, TD_SECTION_HANDLER, section, &handler->limits);
    if (rc < 0)
        return rc;
    if (handler->file == NULL)
        handler->file = td_arena_sprintf(l->arena, "%s.so", handler->name).ptr;
    return take_own(l, section, handler);
}

const td_handler_settings *
td_handler_settings_default(td_arena *arena, const char *name)
{
    struct loading l = {.arena = arena};
    td_handler_settings *handler = TD_ARENA_NEW(arena, td_handler_settings);

    handler->name = name;
    handler->source = (td_source){"default", 0};
    fill_rows(&l, TD_SECTION_HANDLER, NULL, handler);
    td_limits_unset(&handler->limits);
    handler->file = td_arena_sprintf(arena, "%s.so", name).ptr;
    return handler;
}

static int
fill_handlers(struct loading *l)
{
    const td_section_kind *kind = &td_section_kinds[TD_SECTION_HANDLER];
    const size_t count = count_sections(l, TD_SECTION_HANDLER);
    td_handler_settings *handler = TD_ARENA_ARRAY(l->arena, td_handler_settings, count);
    int rc = 0;

    l->configuration->handlers = handler;
    l->configuration->handlers_count = count;
    for (td_ini_section *s = l->configuration->ini.sections; s != NULL && rc == 0; s = s->next) {
        if (!is_of_kind(kind, s))
            continue;
        handler->name = name_of(kind, s);
        handler->source = s->source;
        rc = fill_handler(l, s, handler++);
    }
    return rc;
}

/* ---- what belongs together */

static int
check_log(struct loading *l)
{
    const td_log_settings *log = &l->configuration->log;

    if (log->target == TD_LOG_FILE && log->file == NULL)
        return fail_at(l, source_of(l, TD_SECTION_LOG, NULL, "target"),
                       "target = file wants a file: file = /var/log/tornadod.log");
    return 0;
}

/* The credentials while there still is the right to read them. */
static int
take_client_proxy(struct loading *l)
{
    static const char file[] = "client_proxy_credentials_file";
    td_tornadod_settings *tornadod = &l->configuration->tornadod;
    td_client_proxy *proxy = &tornadod->proxy;
    const char *key = "client_proxy";
    td_err err;
    int rc = 0;

    if (tornadod->client_proxy == NULL && tornadod->client_proxy_credentials_file != NULL)
        return fail_at(l, source_of(l, TD_SECTION_TORNADOD, NULL, file), "%s: there is no client_proxy", file);
    if (tornadod->client_proxy != NULL)
        rc = td_client_proxy_parse(l->arena, tornadod->client_proxy, proxy, &err);
    if (rc == 0 && tornadod->client_proxy_credentials_file != NULL) {
        key = file;
        rc = td_client_proxy_read_credentials(l->arena, tornadod->client_proxy_credentials_file,
                                              proxy, &err);
    }
    if (rc == 0 && tornadod->client_no_proxy != NULL) {
        key = "client_no_proxy";
        rc = td_client_proxy_parse_bypasses(l->arena, tornadod->client_no_proxy, proxy, &err);
    }
    return rc < 0 ? fail_at(l, source_of(l, TD_SECTION_TORNADOD, NULL, key), "%s: %s", key, err.text) : 0;
}

static int
check_application(struct loading *l, int kind, const char *name, const char *application)
{
    const td_configuration *c = l->configuration;
    const char **names = TD_ARENA_ARRAY(l->arena, const char *, c->applications_count);
    const td_source source = source_of(l, kind, name, "application");
    const char *nearest;

    for (size_t i = 0; i < c->applications_count; i++) {
        names[i] = c->applications[i].name;
        if (strcmp(names[i], application) == 0)
            return 0;
    }
    nearest = td_nearest(application, names, c->applications_count);
    if (nearest != NULL)
        return fail_at(l, source,
                       "there is no section [application:%s]; did you mean application = %s?",
                       application, nearest);
    return fail_at(l, source, "there is no section [application:%s]", application);
}

/* RFC 6265 section 4.1.1: cookie-name = token */
static int
check_cookie_name(struct loading *l, const td_application_settings *application)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "!#$%&'*+-.^_`|~";
    const char *name = application->xsrf_cookie_name;

    if (name[0] != '\0' && name[strspn(name, allowed)] == '\0')
        return 0;
    return fail_at(l, source_of(l, TD_SECTION_APPLICATION, application->name, "xsrf_cookie_name"),
                   "xsrf_cookie_name: '%s' cannot be the name of a cookie", name);
}

/* Browsers refuse a cookie whose name says that it is of one host alone, and that has a domain. */
static int
check_cookie_domain(struct loading *l, const td_application_settings *application)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-.";
    const char *domain = application->xsrf_cookie_domain;
    const td_source source =
        source_of(l, TD_SECTION_APPLICATION, application->name, "xsrf_cookie_domain");

    if (domain == NULL)
        return 0;
    if (domain[strspn(domain, allowed)] != '\0')
        return fail_at(l, source, "xsrf_cookie_domain: '%s' is no domain", domain);
    if (strncmp(application->xsrf_cookie_name, "__Host-", strlen("__Host-")) == 0)
        return fail_at(l, source,
                       "xsrf_cookie_domain: a cookie whose name begins with __Host- has none");
    return 0;
}

/* The secret from where it is, while there still is the right to read it. */
static int
take_cookie_secrets(struct loading *l, td_application_settings *application)
{
    const bool from_file = application->cookie_secret_file != NULL;
    const char *key = from_file ? "cookie_secret_file" : "cookie_secret";
    const td_source source = source_of(l, TD_SECTION_APPLICATION, application->name, key);
    td_secrets *secrets = &application->cookie_secrets;
    td_err err;
    int rc = 0;

    if (from_file && application->cookie_secret != NULL)
        return fail_at(l, source, "cookie_secret_file: there is a cookie_secret, too");
    if (from_file)
        rc = td_secrets_read(l->arena, application->cookie_secret_file, secrets, &err);
    else if (application->cookie_secret != NULL)
        rc = td_secrets_parse(l->arena, td_str_of(application->cookie_secret), secrets, &err);
    return rc < 0 ? fail_at(l, source, "%s: %s", key, err.text) : 0;
}

static int
finish_applications(struct loading *l)
{
    int rc = 0;

    for (size_t i = 0; i < l->configuration->applications_count && rc == 0; i++) {
        rc = check_cookie_name(l, &l->applications[i]);
        if (rc == 0)
            rc = check_cookie_domain(l, &l->applications[i]);
        if (rc == 0)
            rc = take_cookie_secrets(l, &l->applications[i]);
    }
    return rc;
}

/* Port 0 is a different one each time. */
static bool
is_same_address(const char *a, const char *b)
{
    struct sockaddr_storage address[2] = {{0}, {0}};
    socklen_t len[2];

    td_value_parse_address(a, &address[0], &len[0], NULL);
    td_value_parse_address(b, &address[1], &len[1], NULL);
    return len[0] == len[1] && memcmp(&address[0], &address[1], len[0]) == 0 &&
           (address[0].ss_family == AF_UNIX || strcmp(strrchr(a, ':'), ":0") != 0);
}

static int
check_address(struct loading *l, const td_listener_settings *listener,
              const td_listener_settings *other)
{
    const td_source here = source_of(l, TD_SECTION_LISTEN, listener->name, "address");
    const td_source there = source_of(l, TD_SECTION_LISTEN, other->name, "address");

    if (!is_same_address(listener->address, other->address))
        return 0;
    return fail_at(l, here, "[listen:%s] listens on %s, as [listen:%s] in %s does", listener->name,
                   listener->address, other->name, td_source_text(l->arena, there));
}

/* Anybody may write these headers: whom they are believed has to be said. */
static int
check_trust(struct loading *l, const td_listener_settings *listener)
{
    const char *key = listener->xheaders != TD_XHEADERS_OFF ? "xheaders" : "proxy_protocol";

    if (listener->trusted_downstream.count > 0 ||
        (listener->xheaders == TD_XHEADERS_OFF && !listener->proxy_protocol))
        return 0;
    return fail_at(l, source_of(l, TD_SECTION_LISTEN, listener->name, key),
                   "%s: whose? Write trusted_downstream = and the addresses of the proxies", key);
}

static int
check_congestion(struct loading *l, const td_listener_settings *listener)
{
    char names[256];

    if (td_congestion_is_known(listener->congestion))
        return 0;
    td_congestion_names(names, sizeof(names));
    return fail_at(l, source_of(l, TD_SECTION_LISTEN, listener->name, "congestion"),
                   "congestion = %s: write auto, system, or one that the kernel has: %s",
                   listener->congestion, names);
}

static int
check_listeners(struct loading *l)
{
    const td_configuration *c = l->configuration;
    int rc = 0;

    for (size_t i = 0; i < c->listeners_count && rc == 0; i++) {
        const td_listener_settings *listener = &c->listeners[i];

        for (size_t j = 0; j < i && rc == 0; j++)
            rc = check_address(l, listener, &c->listeners[j]);
        if (rc == 0)
            rc = check_trust(l, listener);
        if (rc == 0)
            rc = check_congestion(l, listener);
        if (rc == 0)
            rc = check_application(l, TD_SECTION_LISTEN, listener->name, listener->application);
    }
    return rc;
}

static int
check_handlers(struct loading *l)
{
    const td_configuration *c = l->configuration;
    int rc = 0;

    for (size_t i = 0; i < c->handlers_count && rc == 0; i++) {
        const td_handler_settings *handler = &c->handlers[i];
        const size_t len = strlen(handler->mount);

        if (handler->mount[0] != '/' || (len > 1 && handler->mount[len - 1] == '/'))
            return fail_at(l, source_of(l, TD_SECTION_HANDLER, handler->name, "mount"),
                           "mount: '%s' is not a path such as / or /shop/api", handler->mount);
        if (strchr(handler->file, '/') != NULL)
            return fail_at(l, source_of(l, TD_SECTION_HANDLER, handler->name, "file"),
                           "file: '%s' is not the name of a file in the directory of the handlers",
                           handler->file);
        rc = check_application(l, TD_SECTION_HANDLER, handler->name, handler->application);
    }
    return rc;
}

/* ---- --set */

/* "[application]" and "[application:default]" are one section, whichever the file has. */
static const char *
section_meant(const td_ini *ini, const char *name)
{
    static const char *const same[2] = {"application", "application:default"};

    for (int i = 0; i < 2; i++)
        if (strcmp(name, same[i]) == 0 && td_ini_find_section(ini, same[!i]) != NULL)
            return same[!i];
    return name;
}

static int
take_override(struct loading *l, const char *text)
{
    td_ini *ini = &l->configuration->ini;
    const char *equals = strchr(text, '=');
    const char *dot = equals != NULL ? memrchr(text, '.', (size_t)(equals - text)) : NULL;
    const char *section, *key;
    td_str value;
    int rc;

    if (dot == NULL || dot == text)
        return td_err_set(
            l->err, TD_ECONFIG,
            "--set %s: write SECTION.KEY=VALUE, as in --set tornadod.workers=2", text);
    section = td_str_dup(l->arena, td_str_make(text, (size_t)(dot - text))).ptr;
    key = td_str_dup(l->arena, td_str_trim(td_str_make(dot + 1, (size_t)(equals - dot) - 1))).ptr;
    value = td_str_trim(td_str_of(equals + 1));
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.ptr[i] < 0x20 || value.ptr[i] == 0x7f)
            return td_err_set(l->err, TD_ECONFIG, "--set %s.%s: a control character", section, key);
    rc = td_ini_set(ini, section_meant(ini, section), key, td_str_dup(l->arena, value).ptr,
                    (td_source){"--set", 0}, l->err);
    return rc < 0 ? td_err_prefix(l->err, "--set %s", text) : 0;
}

/* ---- all of it */

static int (*const steps[])(struct loading *) = {
    check_sections, fill_tornadod,     fill_log,        fill_listeners, fill_applications,
    fill_handlers,  check_log,         check_listeners, check_handlers, finish_applications,
    take_client_proxy,
};

int
td_settings_load(td_arena *arena, const char *path, const char *const *overrides,
                 size_t overrides_count, const td_configuration **out, td_err *err)
{
    td_err unread = {0}; /* err may be NULL, and errors are prefixed on their way */
    struct loading l = {.arena = arena,
                        .configuration = TD_ARENA_NEW(arena, td_configuration),
                        .err = err != NULL ? err : &unread};
    int rc = 0;

    td_ini_init(&l.configuration->ini, arena);
    if (path != NULL)
        rc = td_ini_read_file(&l.configuration->ini, path, l.err);
    for (size_t i = 0; i < overrides_count && rc == 0; i++)
        rc = take_override(&l, overrides[i]);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && rc == 0; i++)
        rc = steps[i](&l);
    if (rc == 0)
        *out = l.configuration;
    return rc;
}
