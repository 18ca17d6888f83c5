/*
 * Goal: td_write_json writes what Python's json.dumps would, numbers included, and nothing that
 * could end a script element.
 */
#include <float.h>
#include <math.h>
#include "acting.h"

/* From Python 3.11: json.dumps(x). */
static const struct {
    double value;
    const char *text;
} doubles[] = {
    {0.0, "0.0"},
    {-0.0, "-0.0"},
    {1.0, "1.0"},
    {-1.5, "-1.5"},
    {0.1, "0.1"},
    {1.0 / 3, "0.3333333333333333"},
    {2.0 / 3, "0.6666666666666666"},
    {0.1 + 0.2, "0.30000000000000004"},
    {100.0, "100.0"},
    {123456.789, "123456.789"},
    {1e15, "1000000000000000.0"},
    {1e16, "1e+16"},
    {1.5e16, "1.5e+16"},
    {9007199254740993.0, "9007199254740992.0"},
    {12345678901234567890.0, "1.2345678901234567e+19"},
    {1e22, "1e+22"},
    {1e23, "1e+23"},
    {1e100, "1e+100"},
    {0.001, "0.001"},
    {0.0001, "0.0001"},
    {0.00012345, "0.00012345"},
    {0.00001, "1e-05"},
    {1.234e-7, "1.234e-07"},
    {5e-324, "5e-324"},
    {DBL_MAX, "1.7976931348623157e+308"},
    {DBL_MIN, "2.2250738585072014e-308"},
    {INFINITY, "null"},
    {NAN, "null"},
};
static double number;

static void
write_double(td_handler *h)
{
    td_write_json(h, TD_JSON("x", number));
}

START_TEST(a_double_is_written_as_python_does)
{
    char expected[64];
    web_exchange *x;

    snprintf(expected, sizeof(expected), "{\"x\": %s}", doubles[_i].text);
    number = doubles[_i].value;
    act = write_double;
    x = web_get("/");
    ck_assert_str_eq(x->body, expected);
    web_done(x);
}
END_TEST

static const struct {
    const char *text, *json;
} strings[] = {
    {"", "\"\""},
    {"jack", "\"jack\""},
    {"\"\\/", "\"\\\"\\\\/\""},
    {"\n\t\x01", "\"\\n\\t\\u0001\""},
    {"</script><!--", "\"<\\/script><!--\""},
    {"</</", "\"<\\/<\\/\""},
    {"<", "\"<\""},
    {"\xc3\xa9", "\"\xc3\xa9\""},
    {"\xff", "\"\xef\xbf\xbd\""},
    {NULL, "null"},
};
static const char *string;

static void
write_string(td_handler *h)
{
    td_write_json(h, TD_JSON("x", string));
}

START_TEST(a_string_is_escaped)
{
    char expected[64];
    web_exchange *x;

    snprintf(expected, sizeof(expected), "{\"x\": %s}", strings[_i].json);
    string = strings[_i].text;
    act = write_string;
    x = web_get("/");
    ck_assert_str_eq(x->body, expected);
    web_done(x);
}
END_TEST

static void
write_all_types(td_handler *h)
{
    td_write_json(h, TD_JSON("s", "jack"), TD_JSON("t", TD_STR("a\0b")), TD_JSON("i", -7),
                  TD_JSON("l", INT64_MIN), TD_JSON("b", (bool)true), TD_JSON("f", 0.5f),
                  td_json_bool("no", false), {"n", TD_JSON_NULL, {NULL, 0}, 0, 0},
                  {"r", TD_JSON_RAW, TD_STR("[1, \"</\"]"), 0, 0}, TD_JSON("k\"", 1u));
}

START_TEST(an_object_has_its_members_in_order)
{
    web_exchange *x;

    act = write_all_types;
    x = web_get("/");
    ck_assert_str_eq(x->body, "{\"s\": \"jack\", \"t\": \"a\\u0000b\", \"i\": -7, "
                              "\"l\": -9223372036854775808, \"b\": true, \"f\": 0.5, "
                              "\"no\": false, \"n\": null, \"r\": [1, \"<\\/\"], \"k\\\"\": 1}");
    ck_assert(strstr(x->headers, "Content-Type: application/json; charset=UTF-8\n"));
    web_done(x);
}
END_TEST

static void
write_oddly(td_handler *h)
{
    ck_assert_int_eq(td_write_json_object(h, &(td_json_pair){.key = NULL}, 1), TD_EINVAL);
    td_write_json_object(h, NULL, 0);
}

START_TEST(an_object_may_be_empty_but_no_key_is_null)
{
    web_exchange *x;

    act = write_oddly;
    x = web_get("/");
    ck_assert_str_eq(x->body, "{}");
    web_done(x);
}
END_TEST

static void
write_without_end(td_handler *h)
{
    static char text[20000];

    memset(text, 'x', sizeof(text) - 1);
    td_write_json(h, TD_JSON("x", (const char *)text));
}

START_TEST(too_large_an_object_raises_and_leaks_nothing)
{
    static td_limits limits;
    web_exchange *x = web_route_to("GET", "/", "");

    limits = *td_limits_defaults();
    limits.max_response_buffer = 10000;
    x->request->limits = &limits;
    act = write_without_end;
    web_execute(x);
    ck_assert_int_eq(x->status, 500);
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, acting_setup, web_teardown);
    ADD_TABLE(tcase, a_double_is_written_as_python_does, doubles);
    ADD_TABLE(tcase, a_string_is_escaped, strings);
    tcase_add_test(tcase, an_object_has_its_members_in_order);
    tcase_add_test(tcase, an_object_may_be_empty_but_no_key_is_null);
    tcase_add_test(tcase, too_large_an_object_raises_and_leaks_nothing);
}

int
main(void)
{
    return unit_run("json", fill);
}
