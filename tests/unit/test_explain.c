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
    ck_assert_pstr_eq(found.nearest.pattern, heads[_i].nearest);
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
    tcase_add_test(tcase, arguments_limits_and_class);
    tcase_add_test(tcase, a_head_that_is_none_is_refused_as_the_server_does);
}

int
main(void)
{
    return unit_run("explain", fill);
}
