/*
 * Goal: lists of methods and headers say which requests a route is for, nested ones together; what
 * makes no sense is told at load; what was looked at is in Vary; a header pattern is bounded.
 */
#include "web_fixture.h"
#include "web/matchers.h"

#define BIT(method) (1u << TD_METHOD_##method)
#define GET_AND_HEAD (BIT(GET) | BIT(HEAD))

static td_matchers matchers;
static pcre2_match_data *data;
static pcre2_match_context *context;

static void
setup(void)
{
    td_arena_init(&web_arena);
    matchers = (td_matchers){0};
    data = pcre2_match_data_create(1, NULL);
    context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(context, 10000);
}

static void
teardown(void)
{
    td_matchers_fini(&matchers);
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    td_arena_fini(&web_arena);
}

/* Of an outer and an inner url; NULL: it has no such list. */
static const struct {
    const char *outer, *inner;
    uint32_t methods, named;
    const char *text;
} lists[] = {
    {NULL, NULL, TD_ALL_METHODS, 0, NULL},
    {NULL, "GET", GET_AND_HEAD, BIT(GET), "GET, HEAD"},
    {NULL, "HEAD", BIT(HEAD), BIT(HEAD), "HEAD"},
    {NULL, "POST,PUT ,\tDELETE", BIT(POST) | BIT(PUT) | BIT(DELETE), BIT(POST) | BIT(PUT) | BIT(DELETE),
     "POST, PUT, DELETE"},
    {NULL, "PATCH, OPTIONS, PATCH", BIT(PATCH) | BIT(OPTIONS), BIT(PATCH) | BIT(OPTIONS),
     "PATCH, OPTIONS"},
    {"GET, POST", NULL, GET_AND_HEAD | BIT(POST), 0, "GET, HEAD, POST"},
    {"GET, POST", "POST, PUT", BIT(POST), BIT(POST) | BIT(PUT), "POST"},
    {"GET", "HEAD", BIT(HEAD), BIT(HEAD), "HEAD"},
};

START_TEST(lists_of_methods_are_cut_down)
{
    const td_url outer = {.pattern = "/", .methods = lists[_i].outer};
    const td_url inner = {.pattern = "/", .methods = lists[_i].inner};
    const td_url *const urls[] = {&outer, &inner};
    td_err err = {0};

    ck_assert_msg(td_matchers_init(&matchers, &web_arena, urls, 2, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(matchers.methods, lists[_i].methods);
    ck_assert_uint_eq(matchers.named, lists[_i].named);
    ck_assert_pstr_eq(matchers.text, lists[_i].text);
}
END_TEST

static const struct {
    const char *outer, *inner;
    td_header_match header;
    const char *error;
} wrong[] = {
    {NULL, "FROB", {0}, "methods 'FROB': 'FROB' is none"},
    {NULL, "GET, get", {0}, "'get' is none"},
    {NULL, "GET POST", {0}, "'GET POST' is none"},
    {NULL, "", {0}, "methods '': there is none"},
    {NULL, " , ", {0}, "there is none"},
    {"GET", "POST", {0}, "methods 'POST': those around it leave none of them"},
    {"x", NULL, {0}, "methods 'x': 'x' is none"},
    {NULL, NULL, {"Accept", "("}, "headers: Accept: '(': missing closing parenthesis at offset 1"},
    {NULL, NULL, {"Accept", NULL}, "headers: there is no pattern for Accept"},
    {NULL, NULL, {"", "x"}, "headers: '' is no name of one"},
    {NULL, NULL, {"A b", "x"}, "headers: 'A b' is no name of one"},
    {NULL, NULL, {"A", "(*UTF)x"}, "using UTF is disabled"},
};

START_TEST(what_makes_no_sense_is_told)
{
    const td_url outer = {.pattern = "/", .methods = wrong[_i].outer};
    const td_url inner = {.pattern = "/", .methods = wrong[_i].inner,
                          .headers = TD_HEADERS({"Fine", ".*"}, wrong[_i].header)};
    const td_url *const urls[] = {&outer, &inner};
    td_err err = {0};

    ck_assert_int_eq(td_matchers_init(&matchers, &web_arena, urls, 2, &err), TD_EPLUGIN);
    ck_assert_msg(strstr(err.text, wrong[_i].error) != NULL, "%s", err.text);
    ck_assert_uint_eq(matchers.headers_count, 0);
}
END_TEST

/* headers: up to three lines of a request. */
static const struct {
    const char *lines[3][2];
    int rc;
    const char *vary;
} requests[] = {
    {{{"Accept", "application/json"}, {"X-Version", "2"}}, 0, "Accept, X-Version"},
    {{{"accept", "application/json"}, {"x-version", "2"}}, 0, "Accept, X-Version"},
    {{{"Accept", "text/html"}, {"Accept", "application/json;q=0.5"}, {"X-Version", "2"}}, 0,
     "Accept, X-Version"},
    {{{"Accept", "application/json"}, {"X-Version", "3"}}, TD_ENOTFOUND, "Accept, X-Version"},
    {{{"Accept", "application/json"}, {"X-Version", "22"}}, TD_ENOTFOUND, "Accept, X-Version"},
    {{{"Accept", "text/html"}, {"X-Version", "2"}}, TD_ENOTFOUND, "Accept"},
    {{{"X-Version", "2"}}, TD_ENOTFOUND, "Accept"},
    {{{"Accept", ""}, {"X-Version", "2"}}, TD_ENOTFOUND, "Accept"},
    {{{NULL, NULL}}, TD_ENOTFOUND, "Accept"},
};

START_TEST(headers_have_to_match_wholly)
{
    const td_url outer = {.pattern = "/", .headers = TD_HEADERS({"Accept", ".*application/json.*"})};
    const td_url inner = {.pattern = "/", .headers = TD_HEADERS({"X-Version", "1|2"})};
    const td_url *const urls[] = {&outer, &inner};
    td_str vary = {NULL, 0};
    td_headers headers = {0};

    ck_assert_int_eq(td_matchers_init(&matchers, &web_arena, urls, 2, NULL), 0);
    ck_assert_str_eq(matchers.text, "Accept: .*application/json.*; X-Version: 1|2");
    for (int i = 0; i < 3 && requests[_i].lines[i][0] != NULL; i++)
        td_headers_add(&headers, &web_arena, td_str_of(requests[_i].lines[i][0]),
                       td_str_of(requests[_i].lines[i][1]));
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(td_matchers_check(&matchers, &headers, &web_arena, data, context, &vary),
                         requests[_i].rc);
    ck_assert_str_eq(vary.ptr, requests[_i].vary);
}
END_TEST

START_TEST(a_header_that_is_too_hard_is_given_up)
{
    const td_url url = {.pattern = "/", .headers = TD_HEADERS({"X", "(a+)+(a+)+(b|c)"})};
    const td_url *const urls[] = {&url};
    td_headers headers = {0};
    td_str vary = {NULL, 0};
    char value[3000];

    memset(value, 'a', sizeof(value));
    ck_assert_int_eq(td_matchers_init(&matchers, &web_arena, urls, 1, NULL), 0);
    td_headers_add(&headers, &web_arena, TD_STR("X"), td_str_make(value, sizeof(value)));
    ck_assert_int_eq(td_matchers_check(&matchers, &headers, &web_arena, data, context, &vary),
                     TD_EBUSY);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    ADD_TABLE(tcase, lists_of_methods_are_cut_down, lists);
    ADD_TABLE(tcase, what_makes_no_sense_is_told, wrong);
    ADD_TABLE(tcase, headers_have_to_match_wholly, requests);
    tcase_add_test(tcase, a_header_that_is_too_hard_is_given_up);
}

int
main(void)
{
    return unit_run("matchers", fill);
}
