/*
 * Every route is looked at: how much of the path fits its pattern (PCRE2's partial matching says
 * whether a beginning of the path may become a match), whether the path would fit but for its last
 * slash or for upper and lower case, whether its letters are nearly those of the pattern.
 *
 * This is for people who ask, and takes its time: some microseconds for each route.
 */
#include "web/nearroutes.h"

#include <string.h>
#include <strings.h>
#include "base/assert.h"
#include "base/value.h"

#define MATCH_LIMIT 10000 /* what is harder to match is taken for no match */

/* What a difference costs: all small ones together less than one of spelling, and so on. */
#define COST_OTHER 1
#define COST_SLASH 2
#define COST_CASE 4
#define COST_HOST 8
#define COST_SPELLING 100
#define COST_BEGINNING 1000

struct question {
    const td_application *app;
    const td_head *head;
    td_arena *arena;
    const char *path; /* of the head, with an end */
    pcre2_match_data *data;
    pcre2_match_context *context;
};

/* ---- of one pattern */

static bool
matches(const struct question *q, const pcre2_code *code, td_str rest, uint32_t options)
{
    const int rc = pcre2_match(code, (PCRE2_SPTR)rest.ptr, rest.len, 0, options | PCRE2_NO_JIT,
                               q->data, q->context);

    return rc >= 0 || rc == PCRE2_ERROR_PARTIAL;
}

static pcre2_code *
compile(td_str pattern, uint32_t options)
{
    int code;
    PCRE2_SIZE offset;

    return pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len, TD_URLSPEC_OPTIONS | options, &code,
                         &offset, NULL);
}

/* Of a path behind the mount: the longest beginning that may become a match. */
static size_t
fit_behind_mount(const struct question *q, const pcre2_code *code, td_str rest)
{
    size_t fits = 0, too_long = rest.len + 1;

    while (fits + 1 < too_long) {
        const size_t len = fits + (too_long - fits) / 2;

        if (matches(q, code, td_str_make(rest.ptr, len), PCRE2_PARTIAL_HARD))
            fits = len;
        else
            too_long = len;
    }
    return fits;
}

/* PCRE2 knows no partial match of what is anchored at its end by an option; NULL: nor of this. */
static pcre2_code *
compile_for_parts(const struct question *q, const td_urlspec *spec)
{
    const td_str text = td_arena_sprintf(q->arena, "(?:%.*s)\\z", TD_STR_FMT(spec->pattern));

    return compile(text, 0);
}

static size_t
fit_of(const struct question *q, const td_urlspec *spec)
{
    const td_str path = q->head->path;
    size_t len = 0;

    while (len < path.len && len < spec->mount.len && path.ptr[len] == spec->mount.ptr[len])
        len++;
    if (len < spec->mount.len)
        return len;
    pcre2_code *code = compile_for_parts(q, spec);
    if (code != NULL)
        len += fit_behind_mount(q, code, td_str_make(path.ptr + len, path.len - len));
    pcre2_code_free(code);
    return len;
}

/* caseless: letters of the mount, as in code those of the pattern, are upper or lower. */
static bool
is_path_of(const struct question *q, const td_str mount, const pcre2_code *code, bool caseless,
           td_str path)
{
    int (*const compare)(const char *, const char *, size_t) = caseless ? strncasecmp : strncmp;

    return path.len >= mount.len && compare(path.ptr, mount.ptr, mount.len) == 0 &&
           matches(q, code, td_str_make(path.ptr + mount.len, path.len - mount.len), 0);
}

/* The path with a slash at its end, or without the one that it has. */
static td_str
with_other_end(const struct question *q)
{
    const td_str path = q->head->path;

    if (path.len > 1 && path.ptr[path.len - 1] == '/')
        return td_str_make(path.ptr, path.len - 1);
    return td_arena_sprintf(q->arena, "%.*s/", TD_STR_FMT(path));
}

/* 0: the path is one of the pattern; TD_NEAR_SLASH: with the other end; else TD_NEAR_PATTERN. */
static unsigned
compare_ends(const struct question *q, const td_urlspec *spec, bool caseless)
{
    pcre2_code *code =
        compile(spec->pattern, PCRE2_ENDANCHORED | (caseless ? PCRE2_CASELESS : 0));
    unsigned why = TD_NEAR_PATTERN;

    if (code == NULL)
        return why;
    if (is_path_of(q, spec->mount, code, caseless, q->head->path))
        why = 0;
    else if (is_path_of(q, spec->mount, code, caseless, with_other_end(q)))
        why = TD_NEAR_SLASH;
    pcre2_code_free(code);
    return why;
}

static unsigned
compare_path(const struct question *q, const td_urlspec *spec)
{
    unsigned why = compare_ends(q, spec, false);

    if (why != TD_NEAR_PATTERN)
        return why;
    why = compare_ends(q, spec, true);
    return why != TD_NEAR_PATTERN ? why | TD_NEAR_CASE : why;
}

/* ---- of one route */

static unsigned
compare_rest(const struct question *q, const td_route *route)
{
    td_str vary = {NULL, 0};
    unsigned why = 0;

    if (!td_router_serves(q->app->router, route->hosts, q->head->host_name))
        why |= TD_NEAR_HOST;
    if (route->methods[q->head->method] == NULL)
        why |= TD_NEAR_METHOD;
    if (td_matchers_check(&route->matchers, &q->head->headers, q->arena, q->data, q->context,
                          &vary) < 0)
        why |= TD_NEAR_HEADERS;
    return why;
}

/* All of the first segment and its slash, or half of the path: less says nothing. */
static bool
is_worth_telling(td_str path, size_t fit)
{
    const char *slash = path.len > 1 ? memchr(path.ptr + 1, '/', path.len - 1) : NULL;

    return fit > 1 && (2 * fit >= path.len ||
                       (slash != NULL && (size_t)(slash - path.ptr) < fit));
}

/* SIZE_MAX: it is too far. */
static size_t
cost_of_pattern(const struct question *q, const td_near_route *near)
{
    const td_urlspec *spec = &near->route->spec;
    const char *whole =
        td_arena_sprintf(q->arena, "%.*s%s", TD_STR_FMT(spec->mount), near->route->pattern).ptr;

    if (td_nearest(q->path, &whole, 1) != NULL)
        return COST_SPELLING;
    if (!is_worth_telling(q->head->path, near->fit))
        return SIZE_MAX;
    return COST_BEGINNING + q->head->path.len - near->fit;
}

static td_near_route
look_at(const struct question *q, const td_route *route)
{
    td_near_route near = {.route = route, .why = compare_path(q, &route->spec)};

    if (near.why == TD_NEAR_PATTERN) {
        near.fit = fit_of(q, &route->spec);
        near.cost = cost_of_pattern(q, &near);
    }
    if (near.cost == SIZE_MAX)
        return near;
    near.why |= compare_rest(q, route);
    near.cost += (near.why & TD_NEAR_SLASH ? COST_SLASH : 0) +
                 (near.why & TD_NEAR_CASE ? COST_CASE : 0) +
                 (near.why & TD_NEAR_HOST ? COST_HOST : 0) +
                 (near.why & (TD_NEAR_METHOD | TD_NEAR_HEADERS) ? COST_OTHER : 0);
    return near;
}

/* ---- all of them */

/* Of those as near the one that is matched first stays in front. */
static size_t
insert(td_near_route out[TD_NEAR_ROUTES_MAX], size_t count, td_near_route near)
{
    size_t i = count < TD_NEAR_ROUTES_MAX ? count : TD_NEAR_ROUTES_MAX - 1;

    if (near.cost == SIZE_MAX || (count == TD_NEAR_ROUTES_MAX && out[i].cost <= near.cost))
        return count;
    for (; i > 0 && out[i - 1].cost > near.cost; i--)
        out[i] = out[i - 1];
    out[i] = near;
    return count < TD_NEAR_ROUTES_MAX ? count + 1 : count;
}

size_t
td_near_routes_find(const td_application *app, const td_head *head, td_arena *arena,
                    td_near_route out[TD_NEAR_ROUTES_MAX])
{
    struct question q = {.app = app,
                         .head = head,
                         .arena = arena,
                         .path = td_str_dup(arena, head->path).ptr,
                         .data = pcre2_match_data_create(1, NULL),
                         .context = pcre2_match_context_create(NULL)};
    size_t count = 0;

    TD_ASSERT(q.data != NULL && q.context != NULL);
    pcre2_set_match_limit(q.context, MATCH_LIMIT);
    for (size_t i = 0; i < app->routes_count; i++) {
        const td_arena_mark mark = td_arena_mark_now(arena);
        const td_near_route near = look_at(&q, app->routes[i]);

        td_arena_rewind(arena, mark);
        if (near.why != 0)
            count = insert(out, count, near);
    }
    pcre2_match_data_free(q.data);
    pcre2_match_context_free(q.context);
    return count;
}
