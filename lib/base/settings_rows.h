/*
 * The rows of options.def as tables: what settings.c reads with and settings_print.c writes with.
 * Not for others; they want the structs of settings.h.
 */
#ifndef TORNADO_BASE_SETTINGS_ROWS_H
#define TORNADO_BASE_SETTINGS_ROWS_H

#include "base/settings.h"

typedef enum td_setting_kind {
    TD_KIND_COUNT,
    TD_KIND_SIZE,
    TD_KIND_TIME,
    TD_KIND_MODE,
    TD_KIND_BOOL,
    TD_KIND_SWITCH,
    TD_KIND_TEXT,
    TD_KIND_SECRET,
    TD_KIND_PATH,
    TD_KIND_ADDRESS,
    TD_KIND_CHOICE,
    TD_KIND_NETWORKS,
} td_setting_kind;

/* Sections that a limit may stand in. */
enum {
    TD_IN_TORNADOD = 1,
    TD_IN_LISTENER = 2,
    TD_IN_APPLICATION = 4,
    TD_IN_HANDLER = 8,
    TD_OF_HEAD = TD_IN_TORNADOD | TD_IN_LISTENER,
    TD_OF_ROUTE = TD_OF_HEAD | TD_IN_APPLICATION | TD_IN_HANDLER,
};

typedef struct td_setting_row {
    const char *key;
    td_setting_kind kind;
    const char *default_text; /* NULL: unset */
    const char *text;         /* what it is for */
    size_t offset;            /* of the field in its section's struct, or in td_limits */
    unsigned scopes;          /* TD_IN_*, of a limit */
    int64_t min, max;
    const char *word;           /* stands for 0, which is not in min..max; or NULL */
    const char *const *choices; /* TD_KIND_CHOICE: ends with NULL */
} td_setting_row;

typedef struct td_section_kind {
    const char *name;
    bool is_named;  /* [listen:NAME] */
    unsigned scope; /* the TD_IN_* of limits that may stand in it, or 0 */
    const td_setting_row *rows;
    size_t rows_count;
    const char *text; /* what the section is */
} td_section_kind;

enum {
    TD_SECTION_TORNADOD,
    TD_SECTION_LOG,
    TD_SECTION_LISTEN,
    TD_SECTION_APPLICATION,
    TD_SECTION_HANDLER,
    TD_SECTIONS_COUNT
};

extern const td_section_kind td_section_kinds[TD_SECTIONS_COUNT];
extern const td_setting_row td_limit_rows[];
extern const size_t td_limit_rows_count;

/* The section of that kind and name (NULL for those without) as it was read, or NULL. */
const td_ini_section *td_settings_section(const td_ini *ini, const td_section_kind *kind,
                                          const char *name);

#endif
