/*
 * td_ini: an ini file as it stands: sections, keys, values, and where each was read.
 *
 * Lines of at most 64 KiB of UTF-8: "[section]", "key = value", or a comment, which starts
 * with ; or #, or behind a value with white space and a ;.  In a value ${NAME} is the environment
 * variable (an error when it is not set), $$ a dollar sign and $; a semicolon.  "-" in a key is
 * "_".  "include = PATTERN" before the first section or in [tornadod] reads other files where it
 * stands, the pattern relative to the file that includes, matches in the order of their names.  A
 * section may be continued elsewhere; the same key twice in it is an error that names both places.
 */
#ifndef TORNADO_BASE_INI_H
#define TORNADO_BASE_INI_H

#include <tornado/error.h>
#include <tornado/str.h>
#include "base/arena.h"

/* Where a value stands, for error messages. */
typedef struct td_source {
    const char *file; /* "tornadod.ini", "--set", "default" */
    int line;         /* 0: no line */
} td_source;

typedef struct td_ini_entry {
    struct td_ini_entry *next;
    const char *key, *value; /* value: expanded, without white space at its ends, maybe "" */
    td_source source;
} td_ini_entry;

typedef struct td_ini_section {
    struct td_ini_section *next;
    const char *name; /* "listen:public" */
    td_source source; /* of its first header */
    td_ini_entry *entries;
} td_ini_section;

typedef struct td_ini {
    td_arena *arena;          /* everything is in it */
    td_ini_section *sections; /* in the order of their first headers */
} td_ini;

TD_PRIVATE void td_ini_init(td_ini *ini, td_arena *arena);

/*
 * Add what the file holds.  0, or with the place and the reason in err: TD_ECONFIG, -errno when a
 * file cannot be read.  After a failure the ini holds what was read until then.
 */
TD_PRIVATE int td_ini_read_file(td_ini *ini, const char *path, td_err *err);

/* The same from memory, without includes; `name` stands for the file's in messages. */
TD_PRIVATE int td_ini_read_text(td_ini *ini, td_str text, const char *name, td_err *err);

/* Set or replace one; everything is copied.  TD_ECONFIG when `key` cannot be one. */
TD_PRIVATE int td_ini_set(td_ini *ini, const char *section, const char *key, const char *value,
                          td_source source, td_err *err);

TD_PRIVATE td_ini_section *td_ini_find_section(const td_ini *ini, const char *name); /* or NULL */
TD_PRIVATE td_ini_entry *td_ini_find(const td_ini_section *section, const char *key); /* or NULL */

/* "tornadod.ini:12", or the file alone where there is no line; in the arena. */
TD_PRIVATE const char *td_source_text(td_arena *arena, td_source source);

#endif
