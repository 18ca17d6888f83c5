/*
 * The settings: one ini, checked against one list (options.def), into plain structs.
 *
 * Sections: [tornadod], [log], [listen:NAME], [application:NAME] (or [application]),
 * [handler:NAME].  Keys of limits may stand in several sections; the narrower wins: daemon <
 * listener < application < mount (handler) < class.  All strings are in the arena given to
 * td_settings_load.
 */
#ifndef TORNADO_BASE_SETTINGS_H
#define TORNADO_BASE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <tornado/error.h>
#include "base/arena.h"
#include "base/clientproxy.h"
#include "base/ini.h"
#include "base/network.h"
#include "base/secrets.h"
#include "base/value.h"

#define TD_UNSET INT64_C(-1) /* of a limit that this scope does not set; 0 means "no limit" where allowed */

/*
 * The limits that have scopes, in the units of their names (_ms milliseconds, else bytes or a
 * count).  Generated from the TD_LIMIT rows of options.def.
 */
typedef struct td_limits {
#define TD_LIMIT(field, key, kind, default_, bounds, scopes, text) int64_t field;
#include "base/options.def"
} td_limits;

/* Every field that is set in `narrower` replaces the one in `limits`. */
TD_PRIVATE void td_limits_overlay(td_limits *limits, const td_limits *narrower);
TD_PRIVATE void td_limits_unset(td_limits *limits);        /* all TD_UNSET */
TD_PRIVATE const td_limits *td_limits_defaults(void);

/* What a row of each kind is in C.  TEXT, SECRET, PATH: NULL when unset and without a default. */
#define TD_SETTING_COUNT(field) int64_t field;
#define TD_SETTING_SIZE(field) int64_t field;  /* bytes */
#define TD_SETTING_TIME(field) int64_t field;  /* milliseconds */
#define TD_SETTING_MODE(field) int64_t field;  /* permission bits */
#define TD_SETTING_BOOL(field) bool field;
#define TD_SETTING_TEXT(field) const char *field;
#define TD_SETTING_SECRET(field) const char *field;
#define TD_SETTING_PATH(field) const char *field;    /* absolute, or the word of its bounds */
#define TD_SETTING_ADDRESS(field) const char *field; /* td_value_parse_address takes it */
#define TD_SETTING_CHOICE(field) int field;          /* index of the word: an enum in that order */
#define TD_SETTING_NETWORKS(field) td_networks field;

typedef struct td_tornadod_settings {
#define TD_TORNADOD(field, key, kind, default_, bounds, text) TD_SETTING_##kind(field)
#include "base/options.def"
    td_limits limits; /* effective: defaults, daemon; no TD_UNSET */
    td_client_proxy proxy; /* out of client_proxy and its kin */
} td_tornadod_settings;

/* Of [log] access; level is a td_log_level and target a td_log_target. */
typedef enum td_access_format {
    TD_ACCESS_OFF,
    TD_ACCESS_TORNADO,
    TD_ACCESS_COMBINED,
    TD_ACCESS_JSON,
    TD_ACCESS_CUSTOM, /* access_format; no word says it */
} td_access_format;

typedef struct td_log_settings {
#define TD_LOGGING(field, key, kind, default_, bounds, text) TD_SETTING_##kind(field)
#include "base/options.def"
} td_log_settings;

/* Of [listen:NAME] xheaders: which headers of a proxy are looked at. */
typedef enum td_xheaders {
    TD_XHEADERS_OFF,
    TD_XHEADERS_ON, /* Tornado's: those of the next two */
    TD_XHEADERS_FORWARDED_FOR,
    TD_XHEADERS_REAL_IP,
    TD_XHEADERS_FORWARDED,
} td_xheaders;

/* Of [listen:NAME] scheme. */
typedef enum td_listener_scheme {
    TD_SCHEME_HTTP,
    TD_SCHEME_HTTPS,
} td_listener_scheme;

typedef struct td_listener_settings {
    const char *name;
    td_source source;
#define TD_LISTENER(field, key, kind, default_, bounds, text) TD_SETTING_##kind(field)
#include "base/options.def"
    td_limits limits; /* effective: defaults, daemon, listener; no TD_UNSET */
} td_listener_settings;

typedef struct td_application_settings {
    const char *name;
    td_source source;
#define TD_APPLICATION(field, key, kind, default_, bounds, text) TD_SETTING_##kind(field)
#include "base/options.def"
    td_limits limits; /* what this section sets */
    td_secrets cookie_secrets; /* out of cookie_secret or the file */
} td_application_settings;

/* A key that options.def does not know, in a [handler:NAME] section: the handler's own option. */
typedef struct td_raw_setting {
    const char *key, *value;
    td_source source;
} td_raw_setting;

typedef struct td_handler_settings {
    const char *name;
    td_source source;
#define TD_HANDLER(field, key, kind, default_, bounds, text) TD_SETTING_##kind(field)
#include "base/options.def"
    td_limits limits; /* what this section sets */
    const td_raw_setting *own; /* in the order of the file */
    size_t own_count;
} td_handler_settings;

typedef struct td_configuration {
    td_tornadod_settings tornadod;
    td_log_settings log;
    const td_listener_settings *listeners; /* at least one: 127.0.0.1:8888 */
    size_t listeners_count;
    const td_application_settings *applications; /* at least one: "default" */
    size_t applications_count;
    const td_handler_settings *handlers;
    size_t handlers_count;
    td_ini ini; /* what was read, for the sources of td_settings_print */
} td_configuration;

/*
 * path NULL: defaults alone.  overrides: "section.key=value" texts of --set, which win over the
 * file.  Returns 0, or TD_ECONFIG / -errno with "FILE:LINE: what is wrong, and what would be
 * right".
 */
TD_PRIVATE int td_settings_load(td_arena *arena, const char *path, const char *const *overrides,
                                size_t overrides_count, const td_configuration **out, td_err *err);

/* What a [handler:NAME] without a key holds, for a file that has no section.  In the arena. */
TD_PRIVATE const td_handler_settings *td_handler_settings_default(td_arena *arena, const char *name);

/*
 * The effective settings as an ini that loads to the same, with the source of each value behind it;
 * secrets are left out.
 */
TD_PRIVATE void td_settings_print(const td_configuration *configuration, FILE *out);

/* The limits in force at one place, a line each, with where each of them was set. */
typedef struct td_limits_place {
    const td_limits *limits, *of_class; /* in force; what a handler class sets, others TD_UNSET */
    const char *listener, *application, *handler; /* names; handler NULL: none */
    const char *indent;                           /* in front of each line */
} td_limits_place;
TD_PRIVATE void td_settings_print_limits(const td_configuration *configuration,
                                         const td_limits_place *place, FILE *out);

/* conf/tornadod.ini: every setting, its default, commented out, with what it is for. */
TD_PRIVATE void td_settings_reference(FILE *out);

/* The list of settings in conf/tornadod.ini.5, in mdoc. */
TD_PRIVATE void td_settings_manual(FILE *out);

#endif
