/* A line of a table is a media type and its extensions; later lines win. */
#include "web/mimetypes.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "http/headers.h"

#define EXTENSION_MAX 32 /* bytes */

extern const char td_mime_types[]; /* of mimetable.S */

/* Take the next word off the front of a line; the null string: there is none, or a comment. */
static td_str
next_word(td_str *line)
{
    const char *p = line->ptr, *end = p + line->len, *start;

    while (p < end && isspace((unsigned char)*p))
        p++;
    start = p;
    while (p < end && !isspace((unsigned char)*p))
        p++;
    *line = td_str_make(p, (size_t)(end - p));
    if (p == start || *start == '#') {
        line->len = 0;
        return td_str_make(NULL, 0);
    }
    return td_str_make(start, (size_t)(p - start));
}

/* media-type = type "/" subtype, perhaps with parameters that hold no blank. */
static bool
is_media_type(td_str s)
{
    const char *slash = s.len > 0 ? memchr(s.ptr, '/', s.len) : NULL;

    return slash != NULL && td_is_token(td_str_make(s.ptr, (size_t)(slash - s.ptr))) &&
           td_is_field_value(s);
}

/* extension into `out`, lowered; the null string when it is too long to be one. */
static td_str
lower(td_str extension, char out[EXTENSION_MAX])
{
    if (extension.len > EXTENSION_MAX)
        return td_str_make(NULL, 0);
    for (size_t i = 0; i < extension.len; i++)
        out[i] = (char)tolower((unsigned char)extension.ptr[i]);
    return td_str_make(out, extension.len);
}

static int
take_line(td_mimetypes *types, td_arena *arena, td_str line, td_err *err)
{
    td_str word = next_word(&line), extension, *type;
    char lowered[EXTENSION_MAX];

    if (td_str_is_null(word))
        return 0;
    if (!is_media_type(word))
        return td_err_set(err, TD_ECONFIG, "'%.*s' is no media type", TD_STR_FMT(word));
    type = TD_ARENA_NEW(arena, td_str);
    *type = td_str_dup(arena, word);
    for (word = next_word(&line); !td_str_is_null(word); word = next_word(&line)) {
        extension = lower(word, lowered);
        if (td_str_is_null(extension))
            return td_err_set(err, TD_ECONFIG, "the extension '%.*s' is too long",
                              TD_STR_FMT(word));
        td_table_set(&types->by_extension, td_str_dup(arena, extension), type);
    }
    return 0;
}

static int
take_own(td_mimetypes *types, td_arena *arena, td_err *err)
{
    const char *at = td_mime_types;
    int rc = 0;

    while (*at != '\0' && rc == 0) {
        const size_t len = strcspn(at, "\n");

        rc = take_line(types, arena, td_str_make(at, len), err);
        at += len + (at[len] == '\n');
    }
    return rc;
}

static int
take_file(td_mimetypes *types, td_arena *arena, const char *path, td_err *err)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    int number = 0, rc = 0;

    if (file == NULL)
        return td_err_errno(err, "%s", path);
    while (rc == 0 && (len = getline(&line, &size, file)) >= 0) {
        number++;
        rc = take_line(types, arena, td_str_make(line, (size_t)len), err);
    }
    if (rc < 0)
        td_err_prefix(err, "%s:%d", path, number);
    else if (ferror(file))
        rc = td_err_errno(err, "%s", path);
    free(line);
    fclose(file);
    return rc;
}

int
td_mimetypes_init(td_mimetypes *types, td_arena *arena, const char *path, td_err *err)
{
    int rc;

    td_table_init(&types->by_extension);
    rc = take_own(types, arena, err);
    if (rc == 0 && path != NULL)
        rc = take_file(types, arena, path, err);
    if (rc < 0)
        td_mimetypes_fini(types);
    return rc;
}

void
td_mimetypes_fini(td_mimetypes *types)
{
    td_table_fini(&types->by_extension);
}

td_str
td_mimetypes_find(const td_mimetypes *types, td_str path)
{
    const char *end = path.ptr + path.len, *p = end;
    char lowered[EXTENSION_MAX];
    const td_str *type = NULL;

    while (p > path.ptr && p[-1] != '.' && p[-1] != '/')
        p--;
    /* A name that begins with its only dot (".profile") has no extension. */
    if (p - path.ptr > 1 && p[-1] == '.' && p[-2] != '/') {
        const td_str extension = lower(td_str_make(p, (size_t)(end - p)), lowered);

        if (extension.len > 0)
            type = td_table_get(&types->by_extension, extension);
    }
    return type != NULL ? *type : TD_STR("application/octet-stream");
}
