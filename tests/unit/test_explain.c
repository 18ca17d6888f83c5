/* Goal: what an application would do with a head is told as it would do it, and why. */
#include "web/explain.h"

#include "unit.h"
#include "web_fixture.h"

static void
get(td_handler *h)
{
    (void)h;
}

static const td_handler_class Get = {.get = get, .max_body_size = 7, .name = "Get"};
static const td_handler_class Post = {.post = get, .request_timeout_ms = -1};
static const td_url urls[] = {
    TD_URL("/item/(?<id>\\d+)(?<more>/x)?", &Get, .name = "item"),
    TD_URL("/order", &Post),
    {.pattern = NULL},
};

static const struct {
    const char *request;
    int status;
    const char *pattern, *nearest; /* NULL: none */
} heads[] = {
    {"GET /item/7", 0, "/item/(?<id>\\d+)(?<more>/x)?", NULL},
    {"HEAD /item/7/x", 0, "/item/(?<id>\\d+)(?<more>/x)?", NULL},
    {"POST /item/7", 405, "/item/(?<id>\\d+)(?<more>/x)?", NULL},
    {"POST /order", 0, "/order", NULL},
    {"GET /oder", 404, NULL, "/order"},
    {"GET /item/x", 404, NULL, "/item/(?<id>\\d+)(?<more>/x)?"},
    {"GET /zzz", 404, NULL, NULL},
    {"PUT /order", 501, NULL, NULL},
    {"BREW /order", 501, NULL, NULL},
    {"OPTIONS *", 0, NULL, NULL},
};

static td_explanation found;

static int
explain(const char *request, td_err *err)
{
    const td_str head =
        td_arena_sprintf(&web_arena, "%s HTTP/1.1\r\nHost: example.org\r\n\r\n", request);

    return td_application_explain(web_app, &web_configuration->listeners[0].limits, head, &found,
                                  err);
}

START_TEST(an_answer_and_its_reason)
{
    td_err err;

    web_serve(urls);
    ck_assert_int_eq(explain(heads[_i].request, &err), 0);
    ck_assert_int_eq(found.status, heads[_i].status);
    ck_assert_int_eq(found.instance != NULL, heads[_i].pattern != NULL);
    if (heads[_i].pattern != NULL)
        ck_assert_str_eq(found.route.pattern, heads[_i].pattern);
    ck_assert_pstr_eq(found.nearest_count > 0 ? found.nearest[0].route.pattern : NULL,
                      heads[_i].nearest);
    td_explanation_fini(&found);
}
END_TEST

/* ---- routes that may have been meant */

static const td_url near_urls[] = {
    TD_URL("/users/", &Get),
    TD_URL("/users/(\\d+)/edit", &Get),
    TD_URL("/Files/(.*)", &Get),
    TD_URL("/about", &Get),
    TD_URL("/json", &Get, .headers = TD_HEADERS({"Accept", ".*json"})),
    TD_URL("/order", &Post),
    {.pattern = NULL},
};

static const struct {
    const char *request, *pattern; /* the nearest; NULL: none */
    unsigned why;
    const char *misfit;
} near[] = {
    {"GET /users", "/users/", TD_NEAR_SLASH, NULL},
    {"GET /about/", "/about", TD_NEAR_SLASH, NULL},
    {"GET /About", "/about", TD_NEAR_CASE, NULL},
    {"GET /ABOUT/", "/about", TD_NEAR_CASE | TD_NEAR_SLASH, NULL},
    {"GET /files/x", "/Files/(.*)", TD_NEAR_CASE, NULL},
    {"POST /about/", "/about", TD_NEAR_SLASH | TD_NEAR_METHOD, NULL},
    {"GET /json", "/json", TD_NEAR_HEADERS, NULL},
    {"GET /jsom", "/json", TD_NEAR_HEADERS | TD_NEAR_PATTERN, "m"},
    {"GET /oder", "/order", TD_NEAR_METHOD | TD_NEAR_PATTERN, "der"},
    {"GET /users/12x/edit", "/users/(\\d+)/edit", TD_NEAR_PATTERN, "x/edit"},
    {"GET /users/12/ed", "/users/(\\d+)/edit", TD_NEAR_PATTERN, ""},
    {"GET /users/12/edit/more", "/users/(\\d+)/edit", TD_NEAR_PATTERN, "/more"},
    {"GET /a", "/about", TD_NEAR_PATTERN, ""},
    {"GET /zzzzzz/zzz", NULL, 0, NULL},
    {"GET /", NULL, 0, NULL},
};

START_TEST(the_nearest_route_and_why_it_is_not_meant)
{
    td_err err;

    web_serve(near_urls);
    ck_assert_int_eq(explain(near[_i].request, &err), 0);
    ck_assert_int_eq(found.status, 404);
    ck_assert_pstr_eq(found.nearest_count > 0 ? found.nearest[0].route.pattern : NULL,
                      near[_i].pattern);
    ck_assert_uint_eq(found.nearest[0].why, near[_i].why);
    if (near[_i].misfit != NULL)
        ck_assert(td_str_equal(found.nearest[0].misfit, td_str_of(near[_i].misfit)));
    td_explanation_fini(&found);
}
END_TEST

START_TEST(of_many_that_are_near_a_few_are_told_in_order)
{
    static const td_url many[] = {
        TD_URL("/a/b/c/(\\d+)", &Get), TD_URL("/a/b/(\\d+)/x", &Get), TD_URL("/a/b/c/d/", &Get),
        TD_URL("/a/b/c/e", &Get),      TD_URL("/a/b/c/f", &Get),       {.pattern = NULL}};
    td_err err;

    web_serve(many);
    ck_assert_int_eq(explain("GET /a/b/c/d", &err), 0);
    ck_assert_uint_eq(found.nearest_count, TD_NEAR_ROUTES_MAX);
    ck_assert_str_eq(found.nearest[0].route.pattern, "/a/b/c/d/");
    ck_assert_str_eq(found.nearest[1].route.pattern, "/a/b/c/e");
    ck_assert_str_eq(found.nearest[2].route.pattern, "/a/b/c/f");
    td_explanation_fini(&found);
}
END_TEST

START_TEST(arguments_limits_and_class)
{
    td_err err;

    web_serve(urls);
    ck_assert_int_eq(explain("GET /item/7", &err), 0);
    ck_assert_uint_eq(found.arguments_count, 2);
    ck_assert_str_eq(found.arguments[0].name, "id");
    ck_assert(td_str_equal(found.arguments[0].value, TD_STR("7")));
    ck_assert_str_eq(found.arguments[1].name, "more");
    ck_assert_ptr_null(found.arguments[1].value.ptr);
    ck_assert_str_eq(found.class_name, "Get");
    ck_assert_str_eq(found.allow.ptr, "GET, HEAD, OPTIONS");
    ck_assert_int_eq(found.limits.max_body_size, 7);
    ck_assert_int_eq(found.of_class.max_body_size, 7);
    ck_assert_int_eq(found.of_class.request_timeout_ms, TD_UNSET);
    ck_assert_ptr_null(found.chain);
    td_explanation_fini(&found);
}
END_TEST

START_TEST(a_head_that_is_none_is_refused_as_the_server_does)
{
    td_err err;

    web_serve(urls);
    ck_assert_int_eq(explain("GET /%zz", &err), TD_EBADMSG);
    ck_assert_int_eq(strncmp(err.text, "400: ", 5), 0);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, web_setup, web_teardown);
    tcase_add_loop_test(tcase, an_answer_and_its_reason, 0, sizeof(heads) / sizeof(heads[0]));
    ADD_TABLE(tcase, the_nearest_route_and_why_it_is_not_meant, near);
    tcase_add_test(tcase, of_many_that_are_near_a_few_are_told_in_order);
    tcase_add_test(tcase, arguments_limits_and_class);
    tcase_add_test(tcase, a_head_that_is_none_is_refused_as_the_server_does);
}

int
main(void)
{
    return unit_run("explain", fill);
}
