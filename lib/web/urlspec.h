/*
 * td_urlspec: the pattern of one route (Tornado's URLSpec), taken apart once at load.
 *
 * A pattern is a PCRE2 regular expression for the whole raw path behind the mount point, with named
 * groups or positional ones.  What is learned from it: whether it is a plain text (then a hash
 * finds it), whether it may be joined with others into one expression (routing.c), and how to make
 * a path from arguments again.
 */
#ifndef TORNADO_WEB_URLSPEC_H
#define TORNADO_WEB_URLSPEC_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <tornado/error.h>
#include "base/arena.h"

typedef struct td_urlspec {
    td_str mount;        /* "/api"; empty for "/" */
    td_str pattern;      /* as declared, without ^ and $ at its ends */
    pcre2_code *code;    /* of the pattern alone, anchored at both ends */
    td_str literal;      /* the one path that matches, mount included; null: there are more */
    bool is_open;        /* its end changes what would stand behind it: a|b, (?i) */
    td_str joinable;     /* the pattern with its groups unnamed; null: must be matched alone */
    unsigned groups_count;
    const char **names;  /* of each group; NULL: they are positional */
    td_str *pieces;      /* groups_count + 1 texts around the groups; NULL: not reversible */
} td_urlspec;

/*
 * mount: "/", "/api" or "/api/"; copied, as the pattern is.  TD_EPLUGIN: the pattern does not
 * compile, mixes named and positional groups, or names two alike; the mount is no path.
 */
TD_PRIVATE int td_urlspec_init(td_urlspec *spec, td_arena *arena, const char *mount,
                               const char *pattern, td_err *err);
TD_PRIVATE void td_urlspec_fini(td_urlspec *spec);

/*
 * The pattern that matches what those of `count` parts match one behind the other; a slash at the
 * end of all but the last is left out.  TD_EPLUGIN: one of them is no pattern, or has a reference
 * that would mean another group.
 */
TD_PRIVATE int td_urlspec_join(td_arena *arena, const char *const *parts, size_t count,
                               const char **pattern_out, td_err *err);

/*
 * The path with args (count of them, escaped with '/' kept) in place of the groups.  The null
 * string: the pattern is not reversible, or count is not groups_count.
 */
TD_PRIVATE td_str td_urlspec_reverse(const td_urlspec *spec, td_arena *arena, const td_str *args,
                                     size_t count);

/* Options of every pattern; one that switches to UTF mode or uses \C is refused. */
#define TD_URLSPEC_OPTIONS                                                                         \
    (PCRE2_ANCHORED | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP |                   \
     PCRE2_NEVER_BACKSLASH_C)

#endif
