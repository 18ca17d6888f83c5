/*
 * Goal: what is learned from a pattern is true: which path it means if it means one only, its
 * groups, whether it may be joined with others, and the path that arguments make of it.
 */
#include "on_arena.h"
#include "web_fixture.h"
#include "web/urlspec.h"

/* literal, joinable: NULL where there is none. */
static const struct {
    const char *mount, *pattern, *literal, *joinable;
    unsigned groups;
} patterns[] = {
    {"/", "/", "/", "/", 0},
    {"/", "/hello", "/hello", "/hello", 0},
    {"/", "^/hello$", "/hello", "/hello", 0},
    {"/", "/a\\$", "/a$", "/a\\$", 0},
    {"/", "/a\\\\$", "/a\\", "/a\\\\", 0},
    {"/", "", "", "", 0},
    {"/api", "/x", "/api/x", "/x", 0},
    {"/api/", "/x", "/api/x", "/x", 0},
    {"/", "/robots\\.txt", "/robots.txt", "/robots\\.txt", 0},
    {"/", "/robots.txt", NULL, "/robots.txt", 0},
    {"/", "/a-b_c~d}e]", "/a-b_c~d}e]", "/a-b_c~d}e]", 0},
    {"/", "/a?", NULL, "/a?", 0},
    {"/", "/a{2}", NULL, "/a{2}", 0},
    {"/", "/a|/b", NULL, "/a|/b", 0},
    {"/", "/\\d+", NULL, "/\\d+", 0},
    {"/", "/(\\d+)", NULL, "/(\\d+)", 1},
    {"/", "/(?<n>\\d+)/(?P<m>[^/]+)/(?'o'x)", NULL, "/(\\d+)/([^/]+)/(x)", 3},
    {"/", "/((a)|(b))", NULL, "/((a)|(b))", 3},
    {"/", "/(?:a|b)(c)", NULL, "/(?:a|b)(c)", 1},
    {"/", "/(?i)abc", NULL, "/(?i)abc", 0},
    {"/", "/(?i:abc)", NULL, "/(?i:abc)", 0},
    {"/", "/(?!x)(?=y)(?<!z)(?<=w)(?>y)", NULL, "/(?!x)(?=y)(?<!z)(?<=w)(?>y)", 0},
    {"/", "/[)(](x)", NULL, "/[)(](x)", 1},
    {"/", "/[]()](x)", NULL, "/[]()](x)", 1},
    {"/", "/[^]()](x)", NULL, "/[^]()](x)", 1},
    {"/", "/[[:alpha:](](x)", NULL, "/[[:alpha:](](x)", 1},
    {"/", "/[\\]()](x)", NULL, "/[\\]()](x)", 1},
    {"/", "/\\((x)\\)", NULL, "/\\((x)\\)", 1},
    /* These are matched alone. */
    {"/", "/(a)\\1", NULL, NULL, 1},
    {"/", "/(?<n>a)\\k<n>", NULL, NULL, 1},
    {"/", "/(?P<n>a)(?P=n)", NULL, NULL, 1},
    {"/", "/(a)\\g{1}", NULL, NULL, 1},
    {"/", "/(a)(?1)", NULL, NULL, 1},
    {"/", "/(?R)?x", NULL, NULL, 0},
    {"/", "/(a)?(?(1)b|c)", NULL, NULL, 1},
    {"/", "/(?|(a)|(b))", NULL, NULL, 1},
    {"/", "/a(*ACCEPT)b", NULL, NULL, 0},
    {"/", "/\\Q(\\E", NULL, NULL, 0},
    {"/", "/(?x) a b", NULL, NULL, 0},
    {"/", "/(?#comment()a", NULL, NULL, 0},
    {"/", "/[\\Q(\\E]", NULL, NULL, 0},
    {"/", "/\\c(", NULL, NULL, 0},
    {"/", "/(?n)(a)", NULL, NULL, 0},
};

START_TEST(a_pattern_is_taken_apart)
{
    td_urlspec spec;
    td_err err = {0};

    ck_assert_msg(td_urlspec_init(&spec, &arena, patterns[_i].mount, patterns[_i].pattern, &err) == 0,
                  "%s", err.text);
    ck_assert_pstr_eq(spec.literal.ptr, patterns[_i].literal);
    ck_assert_pstr_eq(spec.joinable.ptr, patterns[_i].joinable);
    ck_assert_uint_eq(spec.groups_count, patterns[_i].groups);
    td_urlspec_fini(&spec);
}
END_TEST

START_TEST(a_joinable_pattern_has_the_groups_of_its_original)
{
    td_urlspec spec;
    uint32_t groups;
    int error;
    PCRE2_SIZE offset;
    pcre2_code *code;

    ck_assert_int_eq(td_urlspec_init(&spec, &arena, "/", patterns[_i].pattern, NULL), 0);
    if (!td_str_is_null(spec.joinable)) {
        code = pcre2_compile((PCRE2_SPTR)spec.joinable.ptr, spec.joinable.len, TD_URLSPEC_OPTIONS,
                             &error, &offset, NULL);
        ck_assert_ptr_nonnull(code);
        pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &groups);
        ck_assert_uint_eq(groups, spec.groups_count);
        pcre2_code_free(code);
    }
    td_urlspec_fini(&spec);
}
END_TEST

static const struct {
    const char *mount, *pattern, *error;
} refused[] = {
    {"/", "/(", "missing closing parenthesis"},
    {"/", "/a)(b", "unmatched closing parenthesis"},
    {"/", "/(?<a>x)(y)", "all named or all positional"},
    {"/", "/(?<a>x)(?<a>y)", "two named subpatterns have the same name"},
    {"/", "/(?J)(?<a>x)(?<a>y)", "two groups are named 'a'"},
    {"/", "(*UTF)/x", "using UTF is disabled"},
    {"/", "/\\C", "disabled"},
    {"api", "/x", "mount 'api' does not begin with '/'"},
    {"", "/x", "mount '' does not begin with '/'"},
    {"/a b", "/x", "mount '/a b' is no path"},
    {"/a?b", "/x", "mount '/a?b' is no path"},
};

START_TEST(what_is_wrong_is_told)
{
    td_urlspec spec;
    td_err err = {0};

    ck_assert_int_eq(td_urlspec_init(&spec, &arena, refused[_i].mount, refused[_i].pattern, &err),
                     TD_EPLUGIN);
    ck_assert_msg(strstr(err.text, refused[_i].error) != NULL, "%s", err.text);
}
END_TEST

/* args: at most two, NULL ends them; path NULL: not reversible. */
static const struct {
    const char *mount, *pattern, *args[3], *path;
} reversals[] = {
    {"/", "/", {NULL}, "/"},
    {"/", "/hello", {"x"}, NULL},
    {"/", "/hello/(?<name>[^/]+)", {"jack"}, "/hello/jack"},
    {"/", "/hello/(?<name>[^/]+)", {NULL}, NULL},
    {"/", "/hello/(.*)", {"a/b c\xc3\xa9?&#%"}, "/hello/a/b%20c%C3%A9%3F%26%23%25"},
    {"/", "/index/(\\d+)/(\\d+)", {"1", "2"}, "/index/1/2"},
    {"/", "/index/(\\d+)/(\\d+)$", {"1"}, NULL},
    {"/api", "/x/(a)\\.html", {"a"}, "/api/x/a.html"},
    {"/", "/a.html", {NULL}, "/a.html"},
    {"/", "/(a)(b)", {"", ""}, "/"},
    {"/", "/\\d+", {NULL}, NULL},
    {"/", "/[ab]/(x)", {"x"}, NULL},
    {"/", "/a?/(x)", {"x"}, NULL},
    {"/", "/(x)?", {"x"}, NULL},
    {"/", "/((a)b)", {"x", "y"}, NULL},
    {"/", "/(?:a)/(x)", {"x"}, NULL},
    {"/", "/(a)\\1", {"x"}, NULL},
};

START_TEST(arguments_make_a_path)
{
    td_urlspec spec;
    td_str args[2];
    size_t count = 0;

    for (; reversals[_i].args[count] != NULL; count++)
        args[count] = td_str_of(reversals[_i].args[count]);
    ck_assert_int_eq(
        td_urlspec_init(&spec, &arena, reversals[_i].mount, reversals[_i].pattern, NULL), 0);
    td_str path = td_urlspec_reverse(&spec, &arena, args, count);
    ck_assert_pstr_eq(path.ptr, reversals[_i].path);
    if (path.ptr != NULL)
        ck_assert_uint_eq(path.len, strlen(path.ptr));
    td_urlspec_fini(&spec);
}
END_TEST

/* Patterns one behind the other. */
static const struct {
    const char *parts[4], *joined;
    unsigned groups;
    const char *path; /* one that matches */
} joins[] = {
    {{"/api", "/users"}, "/api/users", 0, "/api/users"},
    {{"/api/", "/users"}, "/api/users", 0, "/api/users"},
    {{"/", "/users"}, "/users", 0, "/users"},
    {{"/api", ""}, "/api", 0, "/api"},
    {{"/api", "/"}, "/api/", 0, "/api/"},
    {{"^/api$", "^/users$"}, "/api/users", 0, "/api/users"},
    {{"/v(\\d+)", "/u/(\\d+)"}, "/v(\\d+)/u/(\\d+)", 2, "/v1/u/2"},
    {{"/(?<a>x)", "/(?<b>y)", "/z"}, "/(?<a>x)/(?<b>y)/z", 2, "/x/y/z"},
    {{"/a|/b", "/c"}, "(?:/a|/b)/c", 0, "/b/c"},
    {{"/a", "/b|/c"}, "/a(?:/b|/c)", 0, "/a/c"},
    {{"/(a|b)", "/c"}, "/(a|b)/c", 1, "/b/c"},
    {{"(?i)/api", "/Users"}, "(?:(?i)/api)/Users", 0, "/API/Users"},
    {{"/(?i:api)", "/Users"}, "/(?i:api)/Users", 0, "/aPi/Users"},
    {{"/a\\/", "/b"}, "/a\\//b", 0, "/a//b"},
    {{"/(\\w)\\1", "/(x)"}, "(?:/(\\w)\\1)/(x)", 2, "/aa/x"},
    {{"/a", "/(\\w)\\1"}, "/a(?:/(\\w)\\1)", 1, "/a/bb"},
};

START_TEST(patterns_stand_behind_one_another)
{
    size_t count = 0;
    const char *joined;
    td_urlspec spec;
    td_err err = {0};

    while (joins[_i].parts[count] != NULL)
        count++;
    ck_assert_msg(td_urlspec_join(&arena, joins[_i].parts, count, &joined, &err) == 0, "%s",
                  err.text);
    ck_assert_str_eq(joined, joins[_i].joined);
    ck_assert_int_eq(td_urlspec_init(&spec, &arena, "/", joined, &err), 0);
    ck_assert_uint_eq(spec.groups_count, joins[_i].groups);
    pcre2_match_data *data = pcre2_match_data_create(8, NULL);
    ck_assert_int_ge(pcre2_match(spec.code, (PCRE2_SPTR)joins[_i].path, strlen(joins[_i].path), 0, 0,
                                 data, NULL),
                     0);
    pcre2_match_data_free(data);
    td_urlspec_fini(&spec);
}
END_TEST

static const struct {
    const char *parts[2], *error;
} no_joins[] = {
    {{"/(a)", "/(\\w)\\1"}, "'/(\\w)\\1': what refers to groups by number or name"},
    {{"/(a)", "/(?<n>\\w)\\k<n>"}, "what refers to groups"},
    {{"/(", "/x"}, "'/(': missing closing parenthesis"},
    {{"/x", "/)"}, "'/)': unmatched closing parenthesis"},
};

START_TEST(what_cannot_be_joined_is_told)
{
    const char *joined = NULL;
    td_err err = {0};

    ck_assert_int_eq(td_urlspec_join(&arena, no_joins[_i].parts, 2, &joined, &err), TD_EPLUGIN);
    ck_assert_msg(strstr(err.text, no_joins[_i].error) != NULL, "%s", err.text);
    ck_assert_ptr_null(joined);
}
END_TEST

START_TEST(groups_have_the_names_of_both_spellings)
{
    td_urlspec spec;

    ck_assert_int_eq(
        td_urlspec_init(&spec, &arena, "/", "/(?P<zulu>a)/(?<alpha>b)/(?'mike'c)", NULL), 0);
    ck_assert_str_eq(spec.names[0], "zulu");
    ck_assert_str_eq(spec.names[1], "alpha");
    ck_assert_str_eq(spec.names[2], "mike");
    td_urlspec_fini(&spec);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, arena_setup, arena_teardown);
    ADD_TABLE(tcase, a_pattern_is_taken_apart, patterns);
    ADD_TABLE(tcase, a_joinable_pattern_has_the_groups_of_its_original, patterns);
    ADD_TABLE(tcase, what_is_wrong_is_told, refused);
    ADD_TABLE(tcase, arguments_make_a_path, reversals);
    ADD_TABLE(tcase, patterns_stand_behind_one_another, joins);
    ADD_TABLE(tcase, what_cannot_be_joined_is_told, no_joins);
    tcase_add_test(tcase, groups_have_the_names_of_both_spellings);
}

int
main(void)
{
    return unit_run("urlspec", fill);
}
