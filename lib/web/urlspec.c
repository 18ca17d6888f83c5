/*
 * Patterns of routes, taken apart.
 *
 * PCRE2 says whether a pattern is valid and what its groups are.  The scan below reads the text
 * once more for what PCRE2 does not tell.  It knows the everyday part of the syntax and gives up on
 * the rest (back references, conditions, verbs, comments, \Q...\E, branch resets); a pattern on
 * which it gives up is matched alone and is not reversible, and is right all the same.
 */
#include <ctype.h>
#include "base/assert.h"
#include "base/buf.h"
#include "base/escape.h"
#include "web/urlspec.h"

/* A text that is being built in memory of sufficient size. */
struct text {
    char *start, *end;
};

struct scan {
    const char *at, *end;   /* of the pattern */
    struct text literal;    /* what the pattern matches, as long as that is one text */
    struct text joinable;
    struct text piece;      /* literal text since the last group */
    td_str *pieces;
    unsigned groups, groups_max; /* seen so far; what PCRE2 counted */
    unsigned depth;         /* of parentheses */
    bool is_literal, is_joinable, is_reversible, is_open;
};

static void
put(struct text *text, const char *from, size_t len)
{
    memcpy(text->end, from, len);
    text->end += len;
}

static td_str
text_str(const struct text *text)
{
    return td_str_make(text->start, (size_t)(text->end - text->start));
}

static struct text
text_make(td_arena *arena, size_t size)
{
    char *start = td_arena_alloc(arena, size + 1); /* zeroed, so a NUL stands behind every text */

    return (struct text){start, start};
}

static void
give_up(struct scan *scan)
{
    scan->is_literal = scan->is_joinable = scan->is_reversible = false;
}

/* len bytes that match themselves, after what escapes them in the pattern. */
static void
take_literal(struct scan *scan, size_t escape_len)
{
    put(&scan->joinable, scan->at, escape_len + 1);
    if (scan->depth == 0) {
        put(&scan->literal, scan->at + escape_len, 1);
        put(&scan->piece, scan->at + escape_len, 1);
    }
    scan->at += escape_len + 1;
}

/* One byte that means something; what it means does not matter here. */
static void
take_syntax(struct scan *scan)
{
    put(&scan->joinable, scan->at++, 1);
    scan->is_literal = false;
    if (scan->depth == 0)
        scan->is_reversible = false;
}

static void
take_escape(struct scan *scan)
{
    char c = scan->at[1]; /* a pattern that compiles does not end in a backslash */

    if (!isalnum((unsigned char)c)) {
        take_literal(scan, 1);
        return;
    }
    if ((c >= '1' && c <= '9') || strchr("gkQEcK", c) != NULL) {
        give_up(scan);
        return;
    }
    take_syntax(scan);
    put(&scan->joinable, scan->at++, 1);
}

/* A character class; its first byte may be a ']', and [:names:] may stand in it. */
static void
take_class(struct scan *scan)
{
    const char *p = scan->at + 1;

    if (*p == '^')
        p++;
    if (*p == ']')
        p++;
    while (p < scan->end && *p != ']') {
        if (*p == '\\' && (p[1] == 'Q' || p[1] == 'E' || p[1] == 'c')) {
            give_up(scan);
            return;
        }
        if (*p == '\\') {
            p += 2;
        } else if (*p == '[' && (p[1] == ':' || p[1] == '.' || p[1] == '=')) {
            const char *close = strchr(p + 2, ']');

            p = close != NULL ? close + 1 : scan->end;
        } else {
            p++;
        }
    }
    size_t len = (size_t)(p - scan->at);

    take_syntax(scan);
    put(&scan->joinable, scan->at, len); /* the rest, with the ']' */
    scan->at += len;
}

/* At a '(' that begins a capturing group, header_len bytes with its name. */
static void
open_capture(struct scan *scan, size_t header_len)
{
    put(&scan->joinable, "(", 1);
    if (scan->depth++ == 0 && scan->groups < scan->groups_max) {
        scan->pieces[scan->groups] = text_str(&scan->piece);
        scan->piece.start = ++scan->piece.end; /* over the NUL of that piece */
    } else {
        scan->is_reversible = false;
    }
    scan->groups++;
    scan->is_literal = false;
    scan->at += header_len;
}

static void
open_other(struct scan *scan, size_t header_len)
{
    put(&scan->joinable, scan->at, header_len);
    scan->depth++;
    scan->is_literal = scan->is_reversible = false;
    scan->at += header_len;
}

/* Option letters up to ':' or ')', as in (?i) and (?-s:...); 0: some that change the syntax. */
static size_t
options_len(const char *after_question)
{
    size_t len = strspn(after_question, "ims-^");

    return after_question[len] == ':' || after_question[len] == ')' ? len : 0;
}

/* At "(?". */
static void
open_special(struct scan *scan)
{
    const char *p = scan->at + 2;
    const char *name_end = NULL;
    size_t len;

    if (p[0] == 'P' && p[1] == '<')
        name_end = strchr(p + 2, '>');
    else if (p[0] == '<' && p[1] != '=' && p[1] != '!')
        name_end = strchr(p + 1, '>');
    else if (p[0] == '\'')
        name_end = strchr(p + 1, '\'');

    if (name_end != NULL) {
        open_capture(scan, (size_t)(name_end + 1 - scan->at));
    } else if (p[0] == ':' || p[0] == '=' || p[0] == '!' || p[0] == '>') {
        open_other(scan, 3);
    } else if (p[0] == '<') {
        open_other(scan, 4);
    } else if ((len = options_len(p)) > 0) {
        open_other(scan, 2 + len + 1);
        if (p[len] == ')' && --scan->depth == 0)
            scan->is_open = true;
    } else {
        give_up(scan);
    }
}

static void
take_one(struct scan *scan)
{
    switch (*scan->at) {
    case '\\':
        take_escape(scan);
        break;
    case '[':
        take_class(scan);
        break;
    case '(':
        if (scan->at[1] == '*')
            give_up(scan);
        else if (scan->at[1] == '?')
            open_special(scan);
        else
            open_capture(scan, 1);
        break;
    case ')':
        put(&scan->joinable, scan->at++, 1);
        scan->depth--;
        break;
    case '.': /* Tornado's reverse leaves it as it stands, and it matches itself */
        if (scan->depth == 0)
            put(&scan->piece, scan->at, 1);
        put(&scan->joinable, scan->at++, 1);
        scan->is_literal = false;
        break;
    case '|':
        scan->is_open |= scan->depth == 0;
        take_syntax(scan);
        break;
    case '^':
    case '$':
    case '?':
    case '*':
    case '+':
    case '{':
        take_syntax(scan);
        break;
    default:
        take_literal(scan, 0);
    }
}

static void
scan_pattern(td_urlspec *spec, td_arena *arena)
{
    size_t size = spec->pattern.len + spec->groups_count + 1;
    struct scan scan = {
        .at = spec->pattern.ptr,
        .end = spec->pattern.ptr + spec->pattern.len,
        .literal = text_make(arena, spec->mount.len + size),
        .joinable = text_make(arena, size),
        .piece = text_make(arena, spec->mount.len + size),
        .pieces = TD_ARENA_ARRAY(arena, td_str, spec->groups_count + 1),
        .groups_max = spec->groups_count,
        .is_literal = true,
        .is_joinable = true,
        .is_reversible = true,
    };

    put(&scan.literal, spec->mount.ptr, spec->mount.len);
    put(&scan.piece, spec->mount.ptr, spec->mount.len);
    while (scan.at < scan.end && scan.is_joinable)
        take_one(&scan);
    spec->is_open = scan.is_open || !scan.is_joinable;
    if (!scan.is_joinable || scan.groups != spec->groups_count)
        return;
    spec->joinable = text_str(&scan.joinable);
    if (scan.is_literal)
        spec->literal = text_str(&scan.literal);
    scan.pieces[spec->groups_count] = text_str(&scan.piece);
    if (scan.is_reversible)
        spec->pieces = scan.pieces;
}

/* ---- groups */

static int
read_names(td_urlspec *spec, td_arena *arena, td_err *err)
{
    uint32_t names_count, entry_size;
    PCRE2_SPTR entry;

    pcre2_pattern_info(spec->code, PCRE2_INFO_CAPTURECOUNT, &spec->groups_count);
    pcre2_pattern_info(spec->code, PCRE2_INFO_NAMECOUNT, &names_count);
    pcre2_pattern_info(spec->code, PCRE2_INFO_NAMEENTRYSIZE, &entry_size);
    pcre2_pattern_info(spec->code, PCRE2_INFO_NAMETABLE, &entry);
    if (names_count == 0)
        return 0;
    if (names_count != spec->groups_count)
        return td_err_set(err, TD_EPLUGIN, "groups are to be all named or all positional");
    spec->names = TD_ARENA_ARRAY(arena, const char *, spec->groups_count);
    for (uint32_t i = 0; i < names_count; i++, entry += entry_size) {
        unsigned group = (unsigned)(entry[0] << 8 | entry[1]);
        const char *name = (const char *)entry + 2;

        /* The table is sorted by name; (?J) allows the same one twice. */
        if (i > 0 && strcmp(name, (const char *)entry - entry_size + 2) == 0)
            return td_err_set(err, TD_EPLUGIN, "two groups are named '%s'", name);
        spec->names[group - 1] = td_arena_strdup(arena, name);
    }
    for (unsigned i = 0; i < spec->groups_count; i++)
        if (spec->names[i] == NULL) /* (?|(?<a>x)|(?<a>y)): fewer groups than the table says */
            return td_err_set(err, TD_EPLUGIN, "groups are to be all named or all positional");
    return 0;
}

/* True when the last byte stands for itself: an odd number of backslashes is in front of it. */
static bool
last_is_escaped(td_str s)
{
    size_t backslashes = 0;

    while (backslashes + 1 < s.len && s.ptr[s.len - 2 - backslashes] == '\\')
        backslashes++;
    return backslashes % 2 == 1;
}

/* The match is anchored anyway, and without them more patterns are literals. */
static td_str
without_anchors(td_str s)
{
    if (s.len > 0 && s.ptr[0] == '^')
        s = td_str_make(s.ptr + 1, s.len - 1);
    if (s.len > 0 && s.ptr[s.len - 1] == '$' && !last_is_escaped(s))
        s.len--;
    return s;
}

static int
check_mount(const char *mount, td_err *err)
{
    if (mount[0] != '/')
        return td_err_set(err, TD_EPLUGIN, "mount '%s' does not begin with '/'", mount);
    for (const char *p = mount; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~' || *p == '?' || *p == '#')
            return td_err_set(err, TD_EPLUGIN, "mount '%s' is no path", mount);
    return 0;
}

int
td_urlspec_init(td_urlspec *spec, td_arena *arena, const char *mount, const char *pattern,
                td_err *err)
{
    int rc, code;
    PCRE2_SIZE offset;
    char message[128];

    *spec = (td_urlspec){.mount = td_str_of(mount)};
    rc = check_mount(mount, err);
    if (rc < 0)
        return rc;
    while (spec->mount.len > 0 && spec->mount.ptr[spec->mount.len - 1] == '/')
        spec->mount.len--;
    spec->mount = td_str_dup(arena, spec->mount);
    spec->pattern = td_str_dup(arena, without_anchors(td_str_of(pattern)));

    spec->code = pcre2_compile((PCRE2_SPTR)spec->pattern.ptr, spec->pattern.len,
                               TD_URLSPEC_OPTIONS | PCRE2_ENDANCHORED, &code, &offset, NULL);
    if (spec->code == NULL) {
        pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof(message));
        return td_err_set(err, TD_EPLUGIN, "%s at offset %zu", message, (size_t)offset);
    }
    rc = read_names(spec, arena, err);
    if (rc < 0) {
        td_urlspec_fini(spec);
        return rc;
    }
    scan_pattern(spec, arena);
    return 0;
}

void
td_urlspec_fini(td_urlspec *spec)
{
    pcre2_code_free(spec->code);
    spec->code = NULL;
}

td_str
td_urlspec_reverse(const td_urlspec *spec, td_arena *arena, const td_str *args, size_t count)
{
    td_str *escaped, path = {NULL, 0};
    char *end;

    if (spec->pieces == NULL || count != spec->groups_count)
        return path;
    escaped = TD_ARENA_ARRAY(arena, td_str, count + 1);
    for (size_t i = 0; i <= count; i++) {
        if (i < count)
            escaped[i] = td_url_escape(arena, args[i], "/");
        path.len += spec->pieces[i].len + escaped[i].len;
    }
    path.ptr = end = td_arena_alloc(arena, path.len + 1);
    for (size_t i = 0; i <= count; i++) {
        end = (char *)mempcpy(end, spec->pieces[i].ptr, spec->pieces[i].len);
        if (i < count && escaped[i].len > 0)
            end = (char *)mempcpy(end, escaped[i].ptr, escaped[i].len);
    }
    return path;
}

/* ---- patterns behind patterns */

static td_str
without_slash(td_str s)
{
    if (s.len > 0 && s.ptr[s.len - 1] == '/' && !last_is_escaped(s))
        s.len--;
    return s;
}

/* before: the groups of the parts in front of it. */
static int
append_part(td_buf *text, td_arena *arena, const char *part, bool is_last, unsigned *before,
            td_err *err)
{
    td_urlspec spec;
    int rc = td_urlspec_init(&spec, arena, "/", part, err);

    if (rc == 0 && *before > 0 && td_str_is_null(spec.joinable))
        rc = td_err_set(err, TD_EPLUGIN,
                        "what refers to groups by number or name, and verbs, cannot stand behind "
                        "other groups");
    if (rc < 0) {
        td_err_prefix(err, "'%s'", part);
        td_urlspec_fini(&spec);
        return rc;
    }
    if (spec.is_open)
        td_buf_printf(text, "(?:%s)", spec.pattern.ptr);
    else
        td_buf_append(text, is_last ? spec.pattern : without_slash(spec.pattern));
    *before += spec.groups_count;
    td_urlspec_fini(&spec);
    return 0;
}

int
td_urlspec_join(td_arena *arena, const char *const *parts, size_t count, const char **pattern_out,
                td_err *err)
{
    td_buf text = {0};
    unsigned groups = 0;
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = append_part(&text, arena, parts[i], i + 1 == count, &groups, err);
    if (rc == 0)
        *pattern_out = td_str_dup(arena, td_buf_str(&text)).ptr;
    td_buf_release(&text);
    return rc;
}
