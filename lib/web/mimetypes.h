/*
 * The media types of files by their extension: those of conf/mime.types, which are compiled in, and
 * those of a file of the same form.
 */
#ifndef TORNADO_WEB_MIMETYPES_H
#define TORNADO_WEB_MIMETYPES_H

#include <tornado/error.h>
#include <tornado/str.h>
#include "base/arena.h"
#include "base/table.h"

typedef struct td_mimetypes {
    td_table by_extension; /* in lower case -> const td_str */
} td_mimetypes;

/* path NULL: the compiled-in ones alone.  What is kept is in the arena. */
TD_PRIVATE int td_mimetypes_init(td_mimetypes *types, td_arena *arena, const char *path,
                                 td_err *err);
TD_PRIVATE void td_mimetypes_fini(td_mimetypes *types);

/* By what follows the last dot of the last segment, without regard to case; else octet-stream. */
TD_PRIVATE td_str td_mimetypes_find(const td_mimetypes *types, td_str path);

#endif
