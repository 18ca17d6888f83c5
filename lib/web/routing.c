/*
 * The tables behind a path.
 *
 * A group's patterns become `(?|mount(?:pattern)\z(*:N)|...)`: one anchored match tries them in the
 * order of declaration, a mark says which one it was, and the branch reset lets every alternative
 * count its groups from 1, so the match data stays as small as the largest of them.  Named groups
 * have lost their names for that (td_urlspec.joinable).  What cannot be joined is matched alone, in
 * its place in the order.  All of it is compiled at load; JIT is used where the system allows it.
 *
 * Literals are looked up first.  That is right only if no pattern declared earlier would match the
 * same path, so at load each literal is matched against those, and the shadowed are left out.
 *
 * A route that wants more than a path (td_matchers) is never looked up but matched as a pattern,
 * and so is a literal behind one that may match it, too.  In the joined expression its branch ends
 * in a callout, which looks at the request and lets the branch fail: then the next one is tried, as
 * if the path had not matched.  Its parentheses are atomic, for there is no other way to match it
 * again.
 */
#include <ctype.h>
#include <stdlib.h>
#include "base/assert.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/table.h"
#include "web/routing.h"

/* More than a sane pattern needs; a match that runs into one has held the loop for some ms. */
#define MATCH_LIMIT 100000
#define DEPTH_LIMIT 10000
#define HEAP_LIMIT_KIB 4096

typedef int match_fn(const pcre2_code *code, PCRE2_SPTR subject, PCRE2_SIZE len, PCRE2_SIZE start,
                     uint32_t options, pcre2_match_data *data, pcre2_match_context *context);

struct matcher {
    pcre2_code *code;
    match_fn *match;
    td_route *alone; /* NULL: code is joined; else this route's own, to match behind its mount */
};

struct group {
    const char *hosts;
    pcre2_code *host_code; /* NULL: any host */
    bool matches_default;  /* default_host is one of its hosts */
    const td_instance *first; /* the instance that decides its place among the groups */
    td_table literals;     /* path -> td_route */
    td_route **patterns;   /* the others; marks count these */
    size_t patterns_count;
    struct matcher *matchers;
    size_t matchers_count;
};

/* A request whose path is being looked for. */
struct search {
    const td_head *head;
    td_arena *arena; /* of the request */
    td_path_match *match;
    const struct group *group;
    td_route *refused;          /* the path leads to it, the method does not; NULL: none so far */
    const char *refused_subject;
    size_t *refused_groups;     /* a copy of what its groups matched */
};

struct td_router {
    td_arena arena;
    struct group *groups; /* in the order of matching; the one for any host last */
    size_t groups_count;
    unsigned groups_max;  /* of parentheses, in any route */
    pcre2_match_data *data;
    pcre2_match_data *header_data;       /* of matches inside a callout */
    pcre2_match_context *context;
    pcre2_match_context *joined_context; /* the same, with the callout */
    struct search *search; /* what the callout is to look at */
};

/* ---- routes that want more than a path */

/* groups: `count` pairs of offsets into the subject, of what has matched so far. */
static void
keep_refused(const td_router *router, td_route *route, const char *subject, const size_t *groups,
             size_t count)
{
    struct search *search = router->search;
    const td_method method = search->head->method;

    search->match->others_mask |= route->methods_mask;
    if (search->refused != NULL &&
        (search->refused->methods[method] != NULL || route->methods[method] == NULL))
        return;
    search->refused = route;
    search->refused_subject = subject;
    for (size_t i = 0; i < 2 * router->groups_max; i++)
        search->refused_groups[i] = i < 2 * count ? groups[i] : PCRE2_UNSET;
}

/*
 * The path of the search leads to this route: is the request one that it is for?  As
 * td_router_find.
 */
static int
admit(const td_router *router, td_route *route, const char *subject, const size_t *groups,
      size_t count)
{
    const struct search *search = router->search;
    int rc = td_matchers_check(&route->matchers, &search->head->headers, search->arena,
                               router->header_data, router->context, &search->match->vary);

    if (rc < 0)
        return rc;
    if (route->matchers.methods & 1u << search->head->method)
        return 0;
    keep_refused(router, route, subject, groups, count);
    return TD_ENOTFOUND;
}

/* Which of the joined patterns it is. */
static size_t
index_of(PCRE2_SPTR mark)
{
    size_t index = 0;

    for (; *mark != '\0'; mark++)
        index = index * 10 + (size_t)(*mark - '0');
    return index;
}

static int
on_callout(pcre2_callout_block *block, void *arg)
{
    const td_router *router = arg;
    td_route *route = router->search->group->patterns[index_of(block->mark)];

    switch (admit(router, route, (const char *)block->subject, block->offset_vector + 2,
                  block->capture_top - 1)) {
    case 0:
        return 0;
    case TD_ENOTFOUND:
        return 1; /* this branch fails */
    default:
        return PCRE2_ERROR_CALLOUT;
    }
}

/* ---- matching */

/* 0; TD_ENOTFOUND; TD_EBUSY. */
static int
run(const td_router *router, const struct matcher *matcher, td_str subject)
{
    static td_log_gate gate;
    PCRE2_SPTR bytes = (PCRE2_SPTR)subject.ptr;
    pcre2_match_context *context =
        matcher->alone != NULL ? router->context : router->joined_context;
    int rc = matcher->match(matcher->code, bytes, subject.len, 0, 0, router->data, context);

    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(matcher->code, bytes, subject.len, 0, PCRE2_NO_JIT, router->data, context);
    if (TD_LIKELY(rc >= 0))
        return 0;
    if (rc == PCRE2_ERROR_NOMATCH)
        return TD_ENOTFOUND;
    td_log_gated(&gate, TD_LOG_ERROR, "web",
                 "a path of %zu bytes, or a header, was too hard to match: PCRE2 says %d",
                 subject.len, rc);
    return TD_EBUSY;
}

static int
match_alone(const td_router *router, const struct matcher *matcher, td_str path,
            td_path_match *match)
{
    const td_str mount = matcher->alone->spec.mount;
    td_str rest;

    if (path.len < mount.len || memcmp(path.ptr, mount.ptr, mount.len) != 0)
        return TD_ENOTFOUND;
    rest = td_str_make(path.ptr + mount.len, path.len - mount.len);
    match->route = matcher->alone;
    match->subject = rest.ptr;
    return run(router, matcher, rest);
}

static int
match_joined(const td_router *router, const struct group *group, const struct matcher *matcher,
             td_str path, td_path_match *match)
{
    int rc = run(router, matcher, path);

    if (rc < 0)
        return rc;
    match->route = group->patterns[index_of(pcre2_get_mark(router->data))];
    match->subject = path.ptr;
    return 0;
}

static int
find_in_group(const td_router *router, const struct group *group, td_str path,
              td_path_match *match)
{
    td_route *literal = td_table_get(&group->literals, path);
    int rc = TD_ENOTFOUND;

    if (literal != NULL) {
        match->route = literal;
        return 0;
    }
    match->groups = pcre2_get_ovector_pointer(router->data) + 2;
    router->search->group = group;
    for (size_t i = 0; i < group->matchers_count && rc == TD_ENOTFOUND; i++) {
        const struct matcher *matcher = &group->matchers[i];

        rc = matcher->alone != NULL ? match_alone(router, matcher, path, match)
                                    : match_joined(router, group, matcher, path, match);
        if (rc == 0 && matcher->alone != NULL && matcher->alone->matchers.text != NULL)
            rc = admit(router, matcher->alone, match->subject, match->groups,
                       match->route->spec.groups_count);
    }
    return rc;
}

static bool
matches_host(const td_router *router, const struct group *group, td_str host)
{
    return group->host_code == NULL ||
           pcre2_match(group->host_code, (PCRE2_SPTR)host.ptr, host.len, 0, 0, router->data,
                       router->context) >= 0;
}

bool
td_router_names(const td_router *router, td_str host)
{
    for (size_t i = 0; i < router->groups_count; i++)
        if (router->groups[i].host_code != NULL && matches_host(router, &router->groups[i], host))
            return true;
    return false;
}

int
td_router_find(const td_router *router, const td_head *head, td_arena *arena, td_path_match *match)
{
    struct search *search = router->search;
    int rc = TD_ENOTFOUND;

    *match = (td_path_match){.route = NULL};
    *search = (struct search){head, arena, match, .refused_groups = search->refused_groups};
    for (size_t i = 0; i < router->groups_count && rc == TD_ENOTFOUND; i++)
        if (matches_host(router, &router->groups[i], head->host_name))
            rc = find_in_group(router, &router->groups[i], head->path, match);
    for (size_t i = 0; i < router->groups_count && rc == TD_ENOTFOUND; i++)
        if (router->groups[i].matches_default)
            rc = find_in_group(router, &router->groups[i], head->path, match);
    if (rc == TD_ENOTFOUND && search->refused != NULL) {
        match->route = search->refused;
        match->subject = search->refused_subject;
        match->groups = search->refused_groups;
        rc = 0;
    }
    return rc;
}

/* ---- joining patterns */

static void
append_quoted(td_buf *out, td_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!isalnum((unsigned char)s.ptr[i]))
            td_buf_append(out, TD_STR("\\"));
        td_buf_append(out, td_str_make(s.ptr + i, 1));
    }
}

/* NULL when PCRE2 does not take them: together they are too large. */
static pcre2_code *
compile_joined(const struct group *group, size_t first, size_t count)
{
    td_buf text = {0};
    int error;
    PCRE2_SIZE offset;
    pcre2_code *code;

    for (size_t i = first; i < first + count; i++) {
        const td_urlspec *spec = &group->patterns[i]->spec;

        const bool is_choosy = group->patterns[i]->matchers.text != NULL;

        td_buf_append(&text, i == first ? TD_STR("(?|") : TD_STR("|"));
        td_buf_append(&text, is_choosy ? TD_STR("(?>") : TD_STR(""));
        append_quoted(&text, spec->mount);
        td_buf_append(&text, TD_STR("(?:"));
        td_buf_append(&text, spec->joinable);
        td_buf_printf(&text, ")\\z%s(*MARK:%zu)%s", is_choosy ? ")" : "", i,
                      is_choosy ? "(?C)" : "");
    }
    td_buf_append(&text, TD_STR(")"));
    code = pcre2_compile((PCRE2_SPTR)td_buf_str(&text).ptr, text.len, TD_URLSPEC_OPTIONS, &error,
                         &offset, NULL);
    td_buf_release(&text);
    return code;
}

static void
add_matcher(struct group *group, pcre2_code *code, td_route *alone)
{
    bool jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;

    group->matchers[group->matchers_count++] =
        (struct matcher){code, jit ? pcre2_jit_match : pcre2_match, alone};
}

/* Make a matcher of as many patterns from `first` on as may be joined; returns their number. */
static size_t
join(struct group *group, size_t first)
{
    size_t count = 0;
    pcre2_code *code = NULL;

    while (first + count < group->patterns_count &&
           !td_str_is_null(group->patterns[first + count]->spec.joinable))
        count++;
    while (count > 1 && (code = compile_joined(group, first, count)) == NULL)
        count /= 2;
    if (code == NULL) {
        add_matcher(group, group->patterns[first]->spec.code, group->patterns[first]);
        return 1;
    }
    add_matcher(group, code, NULL);
    for (size_t i = first; i < first + count; i++)
        td_urlspec_fini(&group->patterns[i]->spec); /* only their joined form is used from now on */
    return count;
}

static void
join_all(td_router *router, struct group *group)
{
    group->matchers = TD_ARENA_ARRAY(&router->arena, struct matcher, group->patterns_count);
    for (size_t i = 0; i < group->patterns_count;)
        i += join(group, i);
}

/* ---- literals */

static bool
leads_to(const td_router *router, td_route *route, td_str path)
{
    const struct matcher matcher = {route->spec.code, pcre2_match, route};
    td_path_match match;

    return match_alone(router, &matcher, path, &match) == 0;
}

/*
 * The route, declared earlier, that serves every request to the path of this literal; NULL: none.
 * *is_shared_out: there is one that serves some of them.
 */
static const td_route *
shadow_of(const td_router *router, const struct group *group, const td_route *route,
          bool *is_shared_out)
{
    const td_route *shadow = td_table_get(&group->literals, route->spec.literal);

    *is_shared_out = false;
    for (size_t i = 0; i < group->patterns_count && shadow == NULL; i++) {
        if (!leads_to(router, group->patterns[i], route->spec.literal))
            continue;
        if (group->patterns[i]->matchers.text == NULL)
            shadow = group->patterns[i];
        else
            *is_shared_out = true;
    }
    return shadow;
}

static void
add_route(td_router *router, struct group *group, td_route *route)
{
    const bool is_literal = !td_str_is_null(route->spec.literal);
    bool is_shared = false;
    const td_route *shadow = is_literal ? shadow_of(router, group, route, &is_shared) : NULL;

    if (shadow != NULL)
        td_log_at(TD_LOG_WARNING, route->instance->name,
                  "route '%s' is never reached: '%s' of %s comes first", route->pattern,
                  shadow->pattern, shadow->instance->name);
    else if (is_literal && !is_shared && route->matchers.text == NULL)
        td_table_set(&group->literals, route->spec.literal, route);
    else
        group->patterns[group->patterns_count++] = route;
}

/* ---- groups */

bool
td_is_any_host(const char *hosts)
{
    return hosts[0] == '\0' || strcmp(hosts, ".*") == 0;
}

/* Those for any host come last; else the lowest `order`, then the first name decides. */
static bool
goes_before(const td_instance *a, const td_instance *b)
{
    if (a->section->order != b->section->order)
        return a->section->order < b->section->order;
    return strcmp(a->name, b->name) < 0;
}

static int
compare_groups(const void *a_, const void *b_)
{
    const struct group *a = a_, *b = b_;

    if ((a->host_code == NULL) != (b->host_code == NULL))
        return a->host_code == NULL ? 1 : -1;
    return goes_before(a->first, b->first) ? -1 : 1;
}

static int
compile_hosts(td_router *router, struct group *group, td_err *err)
{
    int code;
    PCRE2_SIZE offset;
    const td_source *source = &group->first->section->source; /* without a file in a test */
    char message[128];

    if (td_is_any_host(group->hosts))
        return 0;
    group->host_code = pcre2_compile((PCRE2_SPTR)group->hosts, PCRE2_ZERO_TERMINATED,
                                     TD_HOSTS_OPTIONS, &code, &offset, NULL);
    if (group->host_code != NULL) {
        pcre2_jit_compile(group->host_code, PCRE2_JIT_COMPLETE); /* pcre2_match does without, too */
        return 0;
    }
    pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof(message));
    td_err_set(err, TD_EPLUGIN, "[handler:%s] hosts '%s': %s at offset %zu", group->first->name,
               group->hosts, message, (size_t)offset);
    if (source->file != NULL)
        td_err_prefix(err, "%s", td_source_text(&router->arena, *source));
    return err->code;
}

static struct group *
group_of(const td_router *router, const char *hosts)
{
    for (size_t i = 0; i < router->groups_count; i++) {
        struct group *group = &router->groups[i];

        if (strcmp(group->hosts, hosts) == 0 || (td_is_any_host(group->hosts) && td_is_any_host(hosts)))
            return group;
    }
    return NULL;
}

bool
td_router_serves(const td_router *router, const char *hosts, td_str host)
{
    const struct group *group = group_of(router, hosts);

    return matches_host(router, group, host) || group->matches_default;
}

static int
make_groups(td_router *router, td_route *const *routes, size_t count, td_err *err)
{
    router->groups = TD_ARENA_ARRAY(&router->arena, struct group, count);
    for (size_t i = 0; i < count; i++) {
        struct group *group = group_of(router, routes[i]->hosts);

        if (group == NULL) {
            group = &router->groups[router->groups_count++];
            group->hosts = routes[i]->hosts;
            group->first = routes[i]->instance;
            td_table_init(&group->literals);
        } else if (goes_before(routes[i]->instance, group->first)) {
            group->first = routes[i]->instance;
        }
    }
    for (size_t i = 0; i < router->groups_count; i++) {
        int rc = compile_hosts(router, &router->groups[i], err);

        if (rc < 0)
            return rc;
    }
    if (router->groups_count > 0)
        qsort(router->groups, router->groups_count, sizeof(struct group), compare_groups);
    return 0;
}

static void
make_match_data(td_router *router, td_route *const *routes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (routes[i]->spec.groups_count > router->groups_max)
            router->groups_max = routes[i]->spec.groups_count;
    router->data = pcre2_match_data_create(router->groups_max + 1, NULL);
    router->header_data = pcre2_match_data_create(1, NULL);
    router->context = pcre2_match_context_create(NULL);
    TD_ASSERT(router->data != NULL && router->header_data != NULL && router->context != NULL);
    pcre2_set_match_limit(router->context, MATCH_LIMIT);
    pcre2_set_depth_limit(router->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(router->context, HEAP_LIMIT_KIB);
    router->joined_context = pcre2_match_context_copy(router->context);
    TD_ASSERT(router->joined_context != NULL);
    pcre2_set_callout(router->joined_context, on_callout, router);
    router->search = TD_ARENA_NEW(&router->arena, struct search);
    router->search->refused_groups =
        TD_ARENA_ARRAY(&router->arena, size_t, 2 * router->groups_max + 1);
}

int
td_router_create(td_router **out, td_route *const *routes, size_t count, const char *default_host,
                 td_err *err)
{
    td_router *router = td_xcalloc(1, sizeof(*router));
    int rc;

    td_arena_init(&router->arena);
    make_match_data(router, routes, count);
    rc = make_groups(router, routes, count, err);
    if (rc < 0) {
        td_router_destroy(&router);
        return rc;
    }
    for (size_t i = 0; i < router->groups_count; i++) {
        struct group *group = &router->groups[i];

        group->patterns = TD_ARENA_ARRAY(&router->arena, td_route *, count);
        for (size_t k = 0; k < count; k++)
            if (group_of(router, routes[k]->hosts) == group)
                add_route(router, group, routes[k]);
        join_all(router, group);
        group->matches_default = group->host_code != NULL && default_host != NULL &&
                                 matches_host(router, group, td_str_of(default_host));
    }
    *out = router;
    return 0;
}

void
td_router_destroy(td_router **router_)
{
    td_router *router = *router_;

    if (router == NULL)
        return;
    for (size_t i = 0; i < router->groups_count; i++) {
        struct group *group = &router->groups[i];

        for (size_t k = 0; k < group->matchers_count; k++)
            if (group->matchers[k].alone == NULL)
                pcre2_code_free(group->matchers[k].code);
        pcre2_code_free(group->host_code);
        td_table_fini(&group->literals);
    }
    pcre2_match_data_free(router->data);
    pcre2_match_data_free(router->header_data);
    pcre2_match_context_free(router->context);
    pcre2_match_context_free(router->joined_context);
    td_arena_fini(&router->arena);
    free(router);
    *router_ = NULL;
}
