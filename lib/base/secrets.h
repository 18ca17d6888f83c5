/*
 * Secrets to sign with, as they stand in a file: one, or several with versions, so that a new one
 * can take over while what was signed with an old one is still good.
 */
#ifndef TORNADO_BASE_SECRETS_H
#define TORNADO_BASE_SECRETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/error.h>
#include <tornado/str.h>
#include "base/arena.h"

#define TD_SECRETS_FILE_MAX 65536 /* bytes */

typedef struct td_secret {
    int64_t version; /* 0..999,999,999; 0 where none was given */
    td_str text;     /* at least one byte */
} td_secret;

typedef struct td_secrets {
    const td_secret *items; /* the first one signs */
    size_t count;           /* 0: there is none */
    bool has_versions;
} td_secrets;

/*
 * One line, or lines of VERSION:SECRET, each version once; blanks around a line and empty lines do
 * not count.  A single line that begins with digits and a colon has a version.  Strings are
 * borrowed.  TD_ECONFIG says which line is wrong, but not what is in it.
 */
TD_PRIVATE int td_secrets_parse(td_arena *arena, td_str text, td_secrets *out, td_err *err);
TD_PRIVATE int td_secrets_read(td_arena *arena, const char *path, td_secrets *out, td_err *err);

/* What is in such a file, of at most TD_SECRETS_FILE_MAX bytes, without looking at it. */
TD_PRIVATE int td_secrets_read_text(td_arena *arena, const char *path, td_str *out, td_err *err);

#endif
