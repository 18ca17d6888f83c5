/*
 * inih takes lines apart, and is fed by our own reader: it has no line numbers, cuts lines at 200
 * bytes and section names at 49, and does not mention empty sections.  So the reader hands out one
 * short line at a time: a value never passes through inih, a placeholder does; and each section
 * header is followed by a pair that makes inih say its name.  The reader knows the line that inih
 * is at, hence every message has one, also for lines that inih refuses.
 */
#include "base/ini.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/escape.h"

#define LINE_MAX_BYTES 65536
#define FILE_MAX_BYTES (1024 * 1024)
#define FILES_MAX 1000 /* in all: includes of includes can multiply */
#define DEPTH_MAX 8
#define KEY_MAX_BYTES 100
#define SECTION_MAX_BYTES 49 /* inih's */
#define PLACEHOLDER "?"

enum expected { EXPECT_NOTHING, EXPECT_SECTION, EXPECT_PAIR };

/* One file that is being read; those that include it are above it. */
struct reading {
    struct reading *includer;
    td_ini *ini;
    const char *name;
    int line;
    int depth;       /* 0: the first file */
    int *files_left; /* shared by all */
    bool may_include;
    dev_t device;
    ino_t inode;
    td_str rest;             /* what was not looked at yet */
    td_str text;             /* the line that inih is at, without white space at its ends */
    td_str value;            /* behind its '='; ptr == NULL: it has none */
    enum expected expected;  /* what inih has to make of the line */
    bool is_after_header;    /* a section header was handed out, and its pair not yet */
    td_ini_section *section; /* NULL: before the first header */
    td_err *err;
    int rc;
};

static int fail(struct reading *r, const char *format, ...) TD_PRINTF(2, 3);

static int
fail(struct reading *r, const char *format, ...)
{
    char text[TD_ERR_TEXT_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    r->rc = td_err_set(r->err, TD_ECONFIG, "%s:%d: %s", r->name, r->line, text);
    return r->rc;
}

const char *
td_source_text(td_arena *arena, td_source source)
{
    if (source.line == 0)
        return source.file;
    return td_arena_sprintf(arena, "%s:%d", source.file, source.line).ptr;
}

/* ---- sections and entries */

void
td_ini_init(td_ini *ini, td_arena *arena)
{
    *ini = (td_ini){.arena = arena};
}

td_ini_section *
td_ini_find_section(const td_ini *ini, const char *name)
{
    for (td_ini_section *section = ini->sections; section != NULL; section = section->next)
        if (strcmp(section->name, name) == 0)
            return section;
    return NULL;
}

td_ini_entry *
td_ini_find(const td_ini_section *section, const char *key)
{
    for (td_ini_entry *entry = section->entries; entry != NULL; entry = entry->next)
        if (strcmp(entry->key, key) == 0)
            return entry;
    return NULL;
}

static td_ini_section *
find_or_add_section(td_ini *ini, const char *name, td_source source)
{
    td_ini_section **link = &ini->sections;

    for (; *link != NULL; link = &(*link)->next)
        if (strcmp((*link)->name, name) == 0)
            return *link;
    *link = TD_ARENA_NEW(ini->arena, td_ini_section);
    (*link)->name = td_arena_strdup(ini->arena, name);
    (*link)->source = source;
    return *link;
}

static void
add_entry(td_ini *ini, td_ini_section *section, const char *key, const char *value,
          td_source source)
{
    td_ini_entry **link = &section->entries;

    while (*link != NULL)
        link = &(*link)->next;
    *link = TD_ARENA_NEW(ini->arena, td_ini_entry);
    **link = (td_ini_entry){.key = key, .value = value, .source = source};
}

/* The key with '_' for '-', or NULL when it cannot be one. */
static const char *
normal_key(td_arena *arena, const char *key)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

    if (key[0] == '\0' || key[strspn(key, allowed)] != '\0')
        return NULL;

    char *normal = td_arena_strdup(arena, key);

    for (char *c = normal; *c != '\0'; c++)
        if (*c == '-')
            *c = '_';
    return normal;
}

int
td_ini_set(td_ini *ini, const char *section_name, const char *key, const char *value,
           td_source source, td_err *err)
{
    const char *normal = normal_key(ini->arena, key);

    if (normal == NULL)
        return td_err_set(err, TD_ECONFIG, "'%s' cannot be a key", key);

    td_ini_section *section = find_or_add_section(ini, section_name, source);
    td_ini_entry *entry = td_ini_find(section, normal);

    value = td_arena_strdup(ini->arena, value);
    if (entry == NULL) {
        add_entry(ini, section, normal, value, source);
    } else {
        entry->value = value;
        entry->source = source;
    }
    return 0;
}

/* ---- values */

/* A comment begins at a ';' behind white space, as inih has it. */
static td_str
without_comment(td_str value)
{
    for (size_t i = 1; i < value.len; i++)
        if (value.ptr[i] == ';' && (value.ptr[i - 1] == ' ' || value.ptr[i - 1] == '\t'))
            return td_str_make(value.ptr, i);
    return value;
}

/* Append the variable of "{NAME}..."; *used_out says how many bytes that was. */
static int
append_variable(struct reading *r, td_buf *out, td_str braced, size_t *used_out)
{
    const char *end = memchr(braced.ptr, '}', braced.len);

    if (end == NULL)
        return fail(r, "${ without }");

    const size_t name_len = (size_t)(end - braced.ptr) - 1;
    const char *name = td_str_dup(r->ini->arena, td_str_make(braced.ptr + 1, name_len)).ptr;
    const char *value = getenv(name);

    if (value == NULL)
        return fail(r, "the environment variable '%s' is not set", name);

    const td_str s = td_str_of(value);

    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return fail(r, "the environment variable '%s' holds a control character", name);
    if (out->len + s.len > LINE_MAX_BYTES || !td_utf8_is_valid(s))
        return fail(r, "the environment variable '%s' is too long or not UTF-8", name);
    td_buf_append(out, s);
    *used_out = name_len + 2;
    return 0;
}

static int
append_expanded(struct reading *r, td_buf *out, td_str value)
{
    for (size_t i = 0; i < value.len; i++) {
        const char next = i + 1 < value.len ? value.ptr[i + 1] : '\0';
        size_t used = 1;

        if (value.ptr[i] != '$') {
            td_buf_append(out, td_str_make(value.ptr + i, 1));
        } else if (next == '{') {
            const td_str braced = {value.ptr + i + 1, value.len - i - 1};

            if (append_variable(r, out, braced, &used) < 0)
                return r->rc;
            i += used;
        } else if (next == '$' || next == ';') {
            td_buf_append(out, td_str_make(&next, 1));
            i++;
        } else {
            td_buf_append(out, TD_STR("$")); /* the end of a regular expression, say */
        }
    }
    return 0;
}

static const char *
expanded(struct reading *r, td_str value)
{
    td_buf out = {0};
    const char *text = NULL;

    td_buf_reserve(&out, value.len + 1);
    if (append_expanded(r, &out, td_str_trim(without_comment(value))) == 0) {
        text = td_str_dup(r->ini->arena, td_str_trim(td_buf_str(&out))).ptr;
    }
    td_buf_release(&out);
    return text;
}

/* ---- what inih found */

static int read_file(struct reading *r, const char *path);

/* The folder of the file that includes, with what glob would take for a pattern escaped. */
static const char *
pattern_beside(struct reading *r, const char *pattern)
{
    const char *slash = strrchr(r->name, '/');
    td_buf escaped = {0};

    if (pattern[0] == '/' || slash == NULL)
        return pattern;
    for (const char *c = r->name; c <= slash; c++) {
        if (strchr("*?[\\", *c) != NULL)
            td_buf_append(&escaped, TD_STR("\\"));
        td_buf_append(&escaped, td_str_make(c, 1));
    }

    const char *whole =
        td_arena_sprintf(r->ini->arena, "%.*s%s", TD_STR_FMT(td_buf_str(&escaped)), pattern).ptr;

    td_buf_release(&escaped);
    return whole;
}

static int
include(struct reading *r, const char *pattern)
{
    glob_t found;

    if (!r->may_include)
        return fail(r, "include is not possible here");
    if (pattern[0] == '\0')
        return fail(r, "include wants a file or a pattern");
    if (r->depth == DEPTH_MAX)
        return fail(r, "include is nested more than %d deep", DEPTH_MAX);

    const int rc = glob(pattern_beside(r, pattern), 0, NULL, &found);

    if (rc == GLOB_NOMATCH && strpbrk(pattern, "*?[") != NULL)
        return 0;
    if (rc != 0)
        return fail(r, "include %s: %s", pattern,
                    rc == GLOB_NOMATCH ? "no such file" : "cannot be looked up");
    for (size_t i = 0; i < found.gl_pathc && r->rc == 0; i++) {
        struct reading included = {.includer = r,
                                   .ini = r->ini,
                                   .name = td_arena_strdup(r->ini->arena, found.gl_pathv[i]),
                                   .depth = r->depth + 1,
                                   .files_left = r->files_left,
                                   .may_include = true,
                                   .err = r->err};

        r->rc = read_file(&included, included.name);
    }
    globfree(&found);
    return r->rc;
}

static int
take_header(struct reading *r, const char *name)
{
    const size_t name_len = strlen(name);
    td_str behind;

    /* A header that inih did not take, or cut, shows in the name that it says now. */
    if (r->text.len < name_len + 2 || memcmp(r->text.ptr + 1, name, name_len) != 0 ||
        r->text.ptr[1 + name_len] != ']')
        return fail(r, "a section is [NAME] with a name of at most %d bytes", SECTION_MAX_BYTES);
    behind = td_str_trim(td_str_make(r->text.ptr + name_len + 2, r->text.len - name_len - 2));
    if (behind.len > 0 && behind.ptr[0] != ';')
        return fail(r, "'%.*s' stands behind [%s]", TD_STR_FMT(behind), name);
    r->section = find_or_add_section(r->ini, name, (td_source){r->name, r->line});
    return 0;
}

static int
take_pair(struct reading *r, const char *name)
{
    const td_source source = {r->name, r->line};
    const char *key = normal_key(r->ini->arena, name);
    const char *value;

    if (key == NULL)
        return fail(r, "'%s' cannot be a key", name);
    value = expanded(r, r->value);
    if (value == NULL)
        return r->rc;
    if (strcmp(key, "include") == 0 &&
        (r->section == NULL || strcmp(r->section->name, "tornadod") == 0))
        return include(r, value);
    if (r->section == NULL)
        return fail(r, "'%s' stands before the first [section]", key);

    const td_ini_entry *before = td_ini_find(r->section, key);

    if (before != NULL)
        return fail(r, "'%s' of [%s] is set in %s already", key, r->section->name,
                    td_source_text(r->ini->arena, before->source));
    add_entry(r->ini, r->section, key, value, source);
    return 0;
}

static int
on_pair(void *user, const char *section, const char *name, const char *value)
{
    struct reading *r = user;
    const enum expected expected = r->expected;

    r->expected = EXPECT_NOTHING;
    if (expected == EXPECT_SECTION)
        return take_header(r, section) == 0;
    /* inih takes "key: value" too. */
    if (r->value.ptr == NULL || strcmp(value, PLACEHOLDER) != 0)
        return fail(r, "'%s' is followed by ':' instead of '='", name) == 0;
    return take_pair(r, name) == 0;
}

/* ---- what inih is given */

static bool
has_good_bytes(struct reading *r, td_str line)
{
    for (size_t i = 0; i < line.len; i++) {
        const unsigned char byte = (unsigned char)line.ptr[i];

        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            fail(r, "byte %zu of the line is 0x%02x, a control character", i + 1, byte);
            return false;
        }
    }
    if (!td_utf8_is_valid(line)) {
        fail(r, "the line is not UTF-8");
        return false;
    }
    return true;
}

/* The next line into r->text; false at the end and after an error. */
static bool
take_line(struct reading *r)
{
    if (r->rest.len == 0)
        return false;

    const char *newline = memchr(r->rest.ptr, '\n', r->rest.len);
    td_str line = {r->rest.ptr, newline != NULL ? (size_t)(newline - r->rest.ptr) : r->rest.len};
    const size_t used = line.len + (newline != NULL);

    r->rest = td_str_make(r->rest.ptr + used, r->rest.len - used);
    r->line++;
    if (line.len > LINE_MAX_BYTES) {
        fail(r, "the line is longer than %d bytes", LINE_MAX_BYTES);
        return false;
    }
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (r->line == 1 && line.len >= 3 && memcmp(line.ptr, "\xef\xbb\xbf", 3) == 0)
        line = td_str_make(line.ptr + 3, line.len - 3);
    r->text = td_str_trim(line);
    return has_good_bytes(r, line);
}

static void
hand_out_pair(struct reading *r, char *out, size_t size)
{
    const char *equals = memchr(r->text.ptr, '=', r->text.len);
    const size_t key_len = equals != NULL ? (size_t)(equals - r->text.ptr) : r->text.len;

    r->expected = EXPECT_PAIR;
    r->value = (td_str){NULL, 0};
    if (key_len > KEY_MAX_BYTES && equals != NULL)
        fail(r, "the key is longer than %d bytes", KEY_MAX_BYTES);
    if (equals != NULL)
        r->value = td_str_make(equals + 1, r->text.len - key_len - 1);
    snprintf(out, size, "%.*s%s\n", (int)(key_len < KEY_MAX_BYTES ? key_len : KEY_MAX_BYTES),
             r->text.ptr, equals != NULL ? "=" PLACEHOLDER : "");
}

static char *
next_line(char *out, int size, void *stream)
{
    struct reading *r = stream;

    if (r->rc == 0 && r->expected != EXPECT_NOTHING)
        fail(r, "neither a [section], nor key = value, nor a comment");
    if (r->rc < 0)
        return NULL;
    if (r->is_after_header) {
        r->is_after_header = false;
        r->expected = EXPECT_SECTION;
        snprintf(out, (size_t)size, PLACEHOLDER "=" PLACEHOLDER "\n");
        return out;
    }
    if (!take_line(r))
        return NULL;
    snprintf(out, (size_t)size, "\n");
    if (r->text.len == 0 || r->text.ptr[0] == ';' || r->text.ptr[0] == '#')
        return out;
    if (r->text.ptr[0] != '[') {
        hand_out_pair(r, out, (size_t)size);
        return r->rc == 0 ? out : NULL;
    }
    r->is_after_header = true;
    snprintf(out, (size_t)size, "%.*s\n",
             (int)(r->text.len < KEY_MAX_BYTES ? r->text.len : KEY_MAX_BYTES), r->text.ptr);
    return out;
}

static int
read_text(struct reading *r, td_str text)
{
    r->rest = text;
    ini_parse_stream(next_line, r, on_pair, r);
    return r->rc;
}

int
td_ini_read_text(td_ini *ini, td_str text, const char *name, td_err *err)
{
    struct reading r = {.ini = ini, .name = td_arena_strdup(ini->arena, name), .err = err};

    return read_text(&r, text);
}

/* ---- files */

/* An error of a file as a whole stands where it was included, if it was. */
static int
fail_file(struct reading *r, const char *reason)
{
    if (r->includer != NULL)
        return fail(r->includer, "include %s: %s", r->name, reason);
    r->rc = td_err_set(r->err, TD_ECONFIG, "%s: %s", r->name, reason);
    return r->rc;
}

static int
check_file(struct reading *r, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return fail_file(r, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return fail_file(r, "is a directory");
    r->device = st.st_dev;
    r->inode = st.st_ino;
    for (const struct reading *above = r->includer; above != NULL; above = above->includer)
        if (above->device == st.st_dev && above->inode == st.st_ino)
            return fail_file(r, "includes itself");
    if (--*r->files_left < 0)
        return fail_file(r, "too many files");
    return 0;
}

static int
slurp(struct reading *r, int fd, td_buf *out)
{
    const size_t piece = 16384;

    for (;;) {
        const ssize_t n = read(fd, td_buf_reserve(out, piece), piece);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_file(r, strerror(errno));
        if (n == 0)
            return 0;
        td_buf_added(out, (size_t)n);
        if (out->len > FILE_MAX_BYTES)
            return fail_file(r, "is larger than 1 MiB");
    }
}

static int
read_file(struct reading *r, const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    td_buf bytes = {0};
    int rc;

    if (fd < 0 && r->includer == NULL)
        return td_err_errno(r->err, "%s", path);
    if (fd < 0)
        return fail_file(r, strerror(errno));
    rc = check_file(r, fd);
    if (rc == 0)
        rc = slurp(r, fd, &bytes);
    close(fd);
    if (rc == 0)
        rc = read_text(r, td_buf_str(&bytes));
    td_buf_release(&bytes);
    return rc;
}

int
td_ini_read_file(td_ini *ini, const char *path, td_err *err)
{
    int files_left = FILES_MAX;
    struct reading r = {.ini = ini,
                        .name = td_arena_strdup(ini->arena, path),
                        .files_left = &files_left,
                        .may_include = true,
                        .err = err};

    return read_file(&r, r.name);
}
