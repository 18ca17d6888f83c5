/*
 * Goal: what a handler asks of its request is what was sent: fields, path arguments, and arguments
 * of the query and of forms by Tornado's rules.
 */
#include <http/parser.h>
#include "web_fixture.h"

static td_method_fn *act;

static void
do_act(td_handler *h)
{
    act(h);
}

static const char urlencoded[] = "Content-Type: application/x-www-form-urlencoded\r\n";

static const td_handler_class Act = {.get = do_act, .post = do_act, .name = "Act"};
static const td_url urls[] = {
    TD_URL("/path/(?<one>[^/]*)/(?<two>\\d+)?", &Act),
    TD_URL("/at/(.*)", &Act),
    TD_URL("/.*", &Act),
    {.pattern = NULL},
};

static void
setup(void)
{
    web_setup();
    web_serve(urls);
}

/* Every getter promises a NUL behind the last byte. */
static td_str
checked(td_str s)
{
    if (s.ptr != NULL)
        ck_assert_int_eq(s.ptr[s.len], '\0');
    return s;
}

/* ---- query arguments */

static const char *asked;
static td_str got;
static int field_index;

static void
ask(td_handler *h)
{
    got = td_str_make("raised", 6);
    got = checked(td_get_argument(h, asked));
    got = td_str_dup(&web_arena, got);
}

static const struct {
    const char *query, *name, *value; /* value NULL: 400 */
} lookups[] = {
    {"a=1", "a", "1"},
    {"a=1&a=2", "a", "2"},
    {"a=1", "b", NULL},
    {"", "a", NULL},
    {"&&a=1&&", "a", "1"},
    {"a", "a", ""},
    {"a=", "a", ""},
    {"=x", "", "x"},
    {"a==b=c", "a", "=b=c"},
    {"a=1;b=2", "a", "1;b=2"},
    {"a=x+y%20z%2B", "a", "x y z+"},
    {"a=%zz%4", "a", "%zz%4"},
    {"a%3Db=1", "a=b", "1"},
    {"a+b=1", "a b", "1"},
    {"%61=1", "a", "1"},
    {"a=%c3%a9", "a", "\xc3\xa9"},
    {"a=%ff", "a", NULL},
    {"a=%ed%a0%80", "a", NULL},
    {"a=1&b=%ff", "a", "1"},
    {"a=%ff&a=1", "a", "1"},
    {"a=+%09x%0a+", "a", "x"},
    {"a=x%09y%0dz", "a", "x\ty\rz"},
    {"a=x%00y%01%1fz", "a", "x y  z"},
    {"a=%00x%1f", "a", "x"},
    {"a=%7f", "a", "\x7f"},
    {"a=%c2%a0x%e3%80%80", "a", "x"},
    {"a=%e2%80%8ax%e2%80%a8", "a", "x"},
    {"a=%e2%80%8bx", "a", "\xe2\x80\x8bx"},
    {"a=+++", "a", ""},
    {"a=1?b=2", "a", "1?b=2"},
};

START_TEST(an_argument_is_the_last_of_its_name)
{
    char target[256];
    web_exchange *x;

    snprintf(target, sizeof(target), "/?%s", lookups[_i].query);
    asked = lookups[_i].name;
    act = ask;
    x = web_get(target);
    if (lookups[_i].value != NULL) {
        ck_assert_int_eq(x->status, 200);
        ck_assert_str_eq(got.ptr, lookups[_i].value);
        ck_assert_uint_eq(got.len, strlen(lookups[_i].value));
    } else {
        ck_assert_int_eq(x->status, 400);
        ck_assert_str_eq(got.ptr, "raised");
        ck_assert(strstr(web_log(), "W "));
    }
    web_done(x);
}
END_TEST

START_TEST(a_missing_argument_is_named_in_the_log)
{
    asked = "needle";
    act = ask;
    web_done(web_get("/"));
    ck_assert(strstr(web_log(), "Act: 400 GET / (0.0.0.0): Missing argument needle"));
}
END_TEST

static void
ask_defaults(td_handler *h)
{
    ck_assert_str_eq(checked(td_get_argument_default(h, "a", "x")).ptr, "1");
    ck_assert_str_eq(td_get_argument_default(h, "z", "x").ptr, "x");
    ck_assert_ptr_null(td_get_argument_default(h, "z", NULL).ptr);
    ck_assert_str_eq(td_get_query_argument(h, "a").ptr, "1");
    ck_assert_str_eq(td_get_query_argument_default(h, "a", "x").ptr, "1");
    ck_assert_ptr_eq(td_get_argument(h, "a").ptr, td_get_argument(h, "a").ptr); /* decoded once */
}

START_TEST(an_argument_that_is_not_utf8_is_named_in_the_log)
{
    asked = "needle";
    act = ask;
    web_done(web_get("/?needle=%ff"));
    ck_assert(strstr(web_log(), "Argument needle is not UTF-8"));
}
END_TEST

START_TEST(a_default_takes_the_place_of_what_is_missing)
{
    web_exchange *x;

    act = ask_defaults;
    x = web_get("/?a=1");
    ck_assert_int_eq(x->status, 200);
    web_done(x);
}
END_TEST

static void
ask_all(td_handler *h)
{
    const td_str *values = NULL;

    ck_assert_uint_eq(td_get_arguments(h, "a", &values), 3);
    ck_assert_str_eq(values[0].ptr, "1");
    ck_assert_str_eq(values[1].ptr, "");
    ck_assert_str_eq(checked(values[2]).ptr, "3");
    ck_assert_uint_eq(td_get_arguments(h, "c", &values), 0);
    ck_assert_uint_eq(td_get_arguments(h, "b", NULL), 1);
}

START_TEST(all_values_come_in_order)
{
    web_exchange *x;

    act = ask_all;
    x = web_get("/?a=1&b=2&a=&a=+3");
    ck_assert_int_eq(x->status, 200);
    web_done(x);
}
END_TEST

static void
ask_unstripped(td_handler *h)
{
    got = td_str_dup(&web_arena, checked(td_get_argument_unstripped(h, asked, "none")));
}

static const struct {
    const char *query, *name, *value; /* value NULL: 400 */
} unstripped[] = {
    {"a=+x+", "a", " x "},
    {"a=%0a%09x%c2%a0", "a", "\n\tx\xc2\xa0"},
    {"a=%00x%1f", "a", " x "},
    {"a=+1+&a=+2+", "a", " 2 "},
    {"a=+++", "a", "   "},
    {"a=", "a", ""},
    {"a", "a", ""},
    {"b=1", "a", "none"},
    {"a=%ff", "a", NULL},
};

START_TEST(white_space_of_an_unstripped_argument_is_its_own)
{
    char target[256];
    web_exchange *x;

    snprintf(target, sizeof(target), "/?%s", unstripped[_i].query);
    asked = unstripped[_i].name;
    act = ask_unstripped;
    x = web_get(target);
    ck_assert_int_eq(x->status, unstripped[_i].value != NULL ? 200 : 400);
    if (unstripped[_i].value != NULL)
        ck_assert_str_eq(got.ptr, unstripped[_i].value);
    web_done(x);
}
END_TEST

static void
ask_both_ways(td_handler *h)
{
    ck_assert_str_eq(td_get_argument(h, "a").ptr, "body");
    ck_assert_str_eq(td_get_argument_unstripped(h, "a", NULL).ptr, " body ");
    ck_assert_str_eq(td_get_argument(h, "a").ptr, "body");
    ck_assert_str_eq(td_get_query_argument_unstripped(h, "a", NULL).ptr, " query ");
    ck_assert_str_eq(td_get_body_argument_unstripped(h, "a", NULL).ptr, " body ");
    ck_assert_ptr_null(td_get_query_argument_unstripped(h, "b", NULL).ptr);
    ck_assert_ptr_null(td_get_body_argument_unstripped(h, "q", NULL).ptr);
}

START_TEST(an_argument_may_be_asked_for_both_ways)
{
    web_exchange *x;

    act = ask_both_ways;
    x = web_post("/?a=+query+&q=1", urlencoded, TD_STR("a=+body+&b=2"));
    ck_assert_int_eq(x->status, 200);
    web_done(x);
}
END_TEST

static void
ask_for_pairs(td_handler *h)
{
    static const td_argument_pair wanted[] = {
        {{"q", 1}, {" 1 ", 3}, false}, {{"\xff", 1}, {"\xfe", 1}, false}, {{"a", 1}, {"", 0}, false},
        {{"b c", 3}, {"x\0y", 3}, true}, {{"a", 1}, {"2", 1}, true},
    };
    const size_t count = sizeof(wanted) / sizeof(wanted[0]);
    const td_argument_pair *pairs;

    ck_assert_uint_eq(td_request_arguments(h, &pairs), count);
    for (size_t i = 0; i < count; i++) {
        ck_assert(td_str_equal(checked(pairs[i].name), wanted[i].name));
        ck_assert(td_str_equal(checked(pairs[i].value), wanted[i].value));
        ck_assert_int_eq(pairs[i].from_body, wanted[i].from_body);
    }
}

START_TEST(all_arguments_come_in_order_as_they_were_sent)
{
    web_exchange *x;

    act = ask_for_pairs;
    x = web_post("/?q=+1+&&%ff=%fe&a", urlencoded, TD_STR("b+c=x%00y&a=2"));
    ck_assert_int_eq(x->status, 200);
    web_done(x);
}
END_TEST

static void
ask_for_no_pairs(td_handler *h)
{
    const td_argument_pair *pairs;

    ck_assert_uint_eq(td_request_arguments(h, &pairs), 0);
}

START_TEST(a_request_may_have_no_arguments)
{
    web_exchange *x;

    act = ask_for_no_pairs;
    x = web_get("/");
    ck_assert_int_eq(x->status, 200);
    web_done(x);
}
END_TEST

START_TEST(more_than_max_fields_is_413)
{
    char target[4096] = "/?a=1";
    web_exchange *x;

    asked = "a";
    act = ask;
    for (int i = 1; i < 1000; i++)
        strcat(target, "&b");
    x = web_get(target);
    ck_assert_int_eq(x->status, 200);
    web_done(x);
    x = web_get(strcat(target, "&&b"));
    ck_assert_int_eq(x->status, 413);
    web_done(x);
}
END_TEST

/* ---- arguments of a form in the body */

START_TEST(a_field_of_a_form_is_an_argument)
{
    web_exchange *x;

    asked = lookups[_i].name;
    act = ask;
    x = web_post("/", urlencoded, td_str_of(lookups[_i].query));
    ck_assert_int_eq(x->status, lookups[_i].value != NULL ? 200 : 400);
    ck_assert_str_eq(got.ptr, lookups[_i].value != NULL ? lookups[_i].value : "raised");
    web_done(x);
}
END_TEST

static const struct {
    const char *lines, *body;
    int status;
    const char *seen; /* a, of the body */
} bodies[] = {
    {"Content-Type: application/x-www-form-urlencoded\r\n", "a=1", 200, "1"},
    {"Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n", "a=1", 200, "1"},
    {"content-type: Application/X-WWW-Form-URLencoded\r\n", "a=1", 200, "1"},
    {"Content-Type: application/x-www-form-urlencoded\r\n", "", 200, "none"},
    {"Content-Type: text/plain\r\n", "a=1", 200, "none"},
    {"Content-Type: application/x-www\r\n", "a=1", 200, "none"},
    {"", "a=1", 200, "none"},
    {"Content-Type: application/x-www-form-urlencoded\r\nContent-Encoding: gzip\r\n", "a=1", 400,
     "raised"},
    {"Content-Type: application/x-www-form-urlencoded\r\nContent-Encoding:\r\n", "a=1", 400,
     "raised"},
    {"Content-Type: text/plain\r\nContent-Encoding: gzip\r\n", "a=1", 200, "none"},
};

static void
ask_body_argument(td_handler *h)
{
    got = td_str_dup(&web_arena, checked(td_get_body_argument_default(h, "a", "none")));
}

START_TEST(a_body_is_a_form_by_its_content_type)
{
    web_exchange *x;

    got = TD_STR("raised");
    act = ask_body_argument;
    x = web_post("/", bodies[_i].lines, td_str_of(bodies[_i].body));
    ck_assert_int_eq(x->status, bodies[_i].status);
    ck_assert_str_eq(got.ptr, bodies[_i].seen);
    if (bodies[_i].status == 400)
        ck_assert(strstr(web_log(), "form: it has a Content-Encoding"));
    web_done(x);
}
END_TEST

static void
ask_sources(td_handler *h)
{
    const td_str *values;

    ck_assert_str_eq(td_get_argument(h, "a").ptr, "body");
    ck_assert_str_eq(td_get_query_argument(h, "a").ptr, "query");
    ck_assert_str_eq(td_get_body_argument(h, "a").ptr, "body");
    ck_assert_str_eq(td_get_argument(h, "q").ptr, "1");
    ck_assert_str_eq(td_get_argument(h, "b").ptr, "2");
    ck_assert_ptr_null(td_get_body_argument_default(h, "q", NULL).ptr);
    ck_assert_ptr_null(td_get_query_argument_default(h, "b", NULL).ptr);
    ck_assert_uint_eq(td_get_arguments(h, "a", &values), 3);
    ck_assert_str_eq(values[0].ptr, "query");
    ck_assert_str_eq(values[1].ptr, "first");
    ck_assert_str_eq(values[2].ptr, "body");
    ck_assert_uint_eq(td_get_query_arguments(h, "a", &values), 1);
    ck_assert_uint_eq(td_get_body_arguments(h, "a", &values), 2);
    ck_assert_str_eq(values[0].ptr, "first");
    td_get_body_argument(h, "q");
}

START_TEST(the_body_comes_after_the_query)
{
    web_exchange *x;

    act = ask_sources;
    x = web_post("/?a=query&q=1", urlencoded, TD_STR("a=first&b=2&a=body"));
    ck_assert_int_eq(x->status, 400);
    ck_assert(strstr(web_log(), "Missing argument q"));
    web_done(x);
}
END_TEST

static td_str
form_of(size_t count)
{
    char *text = td_arena_alloc(&web_arena, 2 * count + 1);

    for (size_t i = 0; i < count; i++)
        memcpy(text + 2 * i, "b&", 2);
    return td_str_make(text, 2 * count);
}

static const struct {
    size_t in_body;
    const char *target;
    int status;
    const char *log;
} counts[] = {
    {1000, "/", 200, ""},
    {1001, "/", 413, "form: more fields than max_fields"},
    {999, "/?a", 200, ""},
    {1000, "/?a", 413, "more arguments than max_fields"},
};

static void
ask_both(td_handler *h)
{
    td_get_arguments(h, "a", NULL);
}

START_TEST(max_fields_counts_query_and_body)
{
    web_exchange *x;

    act = ask_both;
    x = web_post(counts[_i].target, urlencoded, form_of(counts[_i].in_body));
    ck_assert_int_eq(x->status, counts[_i].status);
    ck_assert(strstr(web_log(), counts[_i].log));
    web_done(x);
}
END_TEST

/* ---- arguments that are no text */

static int64_t min = -10, max = 10;
static const struct {
    const char *value;
    bool is_good;
    int64_t number;
} integers[] = {
    {"0", true, 0},    {"10", true, 10},   {"-10", true, -10}, {"007", true, 7}, {"+++7+", true, 7},
    {"11", false, 0},  {"-11", false, 0},  {"", false, 0},     {"-", false, 0},  {"1x", false, 0},
    {"1.0", false, 0}, {"%2B1", false, 0}, {"1+1", false, 0},  {"--1", false, 0}, {"1%00", true, 1},
    {"99999999999999999999", false, 0},    {"0x1", false, 0},
};

static int64_t got_int;
static bool got_bool;
static double got_double;

static void
ask_int(td_handler *h)
{
    ck_assert_int_eq(td_get_argument_int_default(h, "none", min, max, 42), 42);
    got_int = td_get_argument_int(h, "a", min, max);
    ck_assert_int_eq(td_get_argument_int_default(h, "a", min, max, 42), got_int);
}

static void
check_typed(const char *value, bool is_good)
{
    char target[128];
    web_exchange *x;

    snprintf(target, sizeof(target), "/?a=%s", value);
    x = web_get(target);
    ck_assert_int_eq(x->status, is_good ? 200 : 400);
    if (!is_good)
        ck_assert(strstr(web_log(), "Argument a: '"));
    web_done(x);
}

START_TEST(an_integer_is_in_its_range_or_400)
{
    act = ask_int;
    check_typed(integers[_i].value, integers[_i].is_good);
    ck_assert_int_eq(got_int, integers[_i].number);
}
END_TEST

static const struct {
    const char *value;
    bool is_good, is_on;
} switches[] = {
    {"on", true, true},   {"ON", true, true},    {"true", true, true}, {"1", true, true},
    {"yes", true, true},  {"off", true, false},  {"0", true, false},   {"False", true, false},
    {"no", true, false},  {"", false, false},    {"2", false, false},  {"onn", false, false},
};

static void
ask_bool(td_handler *h)
{
    ck_assert(td_get_argument_bool_default(h, "none", true));
    got_bool = td_get_argument_bool(h, "a");
    ck_assert(td_get_argument_bool_default(h, "a", !got_bool) == got_bool);
}

START_TEST(a_switch_is_a_word_or_400)
{
    act = ask_bool;
    check_typed(switches[_i].value, switches[_i].is_good);
    ck_assert(got_bool == switches[_i].is_on);
}
END_TEST

static const struct {
    const char *value;
    bool is_good;
    double number;
} doubles[] = {
    {"0", true, 0},        {"1.5", true, 1.5},    {"-1.5", true, -1.5}, {"%2B1.5", true, 1.5},
    {".5", true, .5},      {"5.", true, 5},       {"1e3", true, 1000},  {"1E%2B3", true, 1000},
    {"25e-1", true, 2.5},  {"1e-999", true, 0},   {"", false, 0},       {".", false, 0},
    {"-", false, 0},       {"1e", false, 0},      {"1e-", false, 0},    {"1e999", false, 0},
    {"inf", false, 0},     {"nan", false, 0},     {"0x10", false, 0},   {"1,5", false, 0},
    {"1.5x", false, 0},    {"1 5", false, 0},     {"--1", false, 0},    {"e5", false, 0},
};

static void
ask_double(td_handler *h)
{
    ck_assert_double_eq(td_get_argument_double_default(h, "none", 4.5), 4.5);
    got_double = td_get_argument_double(h, "a");
    ck_assert_double_eq(td_get_argument_double_default(h, "a", 4.5), got_double);
}

START_TEST(a_number_is_decimal_and_finite_or_400)
{
    char value[32];

    snprintf(value, sizeof(value), "%s", doubles[_i].value);
    for (char *p = value; *p != '\0'; p++)
        if (*p == ' ')
            *p = '+';
    act = ask_double;
    check_typed(value, doubles[_i].is_good);
    ck_assert_double_eq(got_double, doubles[_i].number);
}
END_TEST

static void
ask_missing(td_handler *h)
{
    switch (field_index) {
    case 0:
        td_get_argument_int(h, "needle", 0, 1);
        break;
    case 1:
        td_get_argument_bool(h, "needle");
        break;
    default:
        td_get_argument_double(h, "needle");
    }
}

START_TEST(a_missing_number_is_named_in_the_log)
{
    web_exchange *x;

    field_index = _i;
    act = ask_missing;
    x = web_get("/");
    ck_assert_int_eq(x->status, 400);
    ck_assert(strstr(web_log(), "Missing argument needle"));
    web_done(x);
}
END_TEST

/* ---- path arguments */

static void
ask_path(td_handler *h)
{
    td_writef(h, "%s|%s|%s", checked(td_path_argument(h, "one")).ptr,
              td_path_argument(h, "two").ptr != NULL ? td_path_argument(h, "two").ptr : "null",
              td_path_argument_at(h, 0).ptr);
    ck_assert_ptr_null(td_path_argument(h, "three").ptr);
    ck_assert_ptr_null(td_path_argument_at(h, 2).ptr);
}

START_TEST(path_arguments_are_found_by_name_and_by_place)
{
    web_exchange *x;

    act = ask_path;
    x = web_get("/path/a%20b+c/7");
    ck_assert_str_eq(x->body, "a b+c|7|a b+c");
    ck_assert(strstr(web_log(), "Act: td_path_argument: the pattern has no group three"));
    web_done(x);
    x = web_get("/path//");
    ck_assert_str_eq(x->body, "|null|");
    web_done(x);
}
END_TEST

static const struct {
    const char *target;
    int status;
    int64_t value;
    const char *log;
} path_numbers[] = {
    {"/path/7/", 200, 7, ""},
    {"/path/-7/", 200, -7, ""},
    {"/path/100/", 200, 100, ""},
    {"/path/101/", 404, 0, "Path argument one: "},
    {"/path/99999999999999999999/", 404, 0, "Path argument one: "},
    {"/path/x/", 404, 0, "Path argument one: "},
    {"/path/7%00/", 404, 0, "Path argument one is not a number"},
    {"/path//", 404, 0, "Path argument one: "},
    {"/path/7/8", 200, 7, ""},
};

static void
ask_path_int(td_handler *h)
{
    ck_assert_int_eq(td_path_argument_int(NULL, "one", 0, 1), 0);
    ck_assert_int_eq(td_path_argument_int(h, NULL, 0, 1), 0);
    got_int = td_path_argument_int(h, "one", -100, 100);
}

START_TEST(a_number_in_the_path_is_in_its_range_or_404)
{
    web_exchange *x;

    act = ask_path_int;
    x = web_get(path_numbers[_i].target);
    ck_assert_int_eq(x->status, path_numbers[_i].status);
    if (x->status == 200)
        ck_assert_int_eq(got_int, path_numbers[_i].value);
    ck_assert(strstr(web_log(), path_numbers[_i].log));
    web_done(x);
}
END_TEST

static void
ask_path_that_is_none(td_handler *h)
{
    td_path_argument_int(h, "two", 0, 1);
}

START_TEST(a_number_that_the_path_has_not_is_404)
{
    act = ask_path_that_is_none;
    web_exchange *x = web_get("/path//");
    ck_assert_int_eq(x->status, 404);
    web_done(x);
}
END_TEST

/* ---- fields of the request */

static td_str
full_url_twice(td_handler *h)
{
    ck_assert_ptr_eq(td_full_url(h).ptr, td_full_url(h).ptr);
    return td_full_url(h);
}

static const struct {
    const char *head;
    td_str (*getter)(td_handler *h);
    const char *value;
} fields[] = {
    {"GET /a%20b?c=d HTTP/1.1\r\nHost: Example.org:8888\r\n\r\n", td_request_method, "GET"},
    {"GET /a%20b?c=d HTTP/1.1\r\nHost: Example.org:8888\r\n\r\n", td_request_uri, "/a%20b?c=d"},
    {"GET /a%20b?c=d HTTP/1.1\r\nHost: Example.org:8888\r\n\r\n", td_request_path, "/a%20b"},
    {"GET /a%20b?c=d HTTP/1.1\r\nHost: Example.org:8888\r\n\r\n", td_request_query, "c=d"},
    {"GET /a%20b HTTP/1.1\r\nHost: x\r\n\r\n", td_request_query, ""},
    {"GET /a%20b? HTTP/1.1\r\nHost: x\r\n\r\n", td_request_query, ""},
    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", td_request_version, "HTTP/1.1"},
    {"GET / HTTP/1.0\r\n\r\n", td_request_version, "HTTP/1.0"},
    {"GET / HTTP/1.1\r\nHost: Example.org:8888\r\n\r\n", td_request_host, "Example.org:8888"},
    {"GET / HTTP/1.1\r\nHost: Example.org:8888\r\n\r\n", td_request_host_name, "example.org"},
    {"GET / HTTP/1.0\r\n\r\n", td_request_host_name, "127.0.0.1"},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", td_request_host, ""},
    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", td_request_remote_addr, "0.0.0.0"},
    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", td_request_scheme, "http"},
    {"GET /a?b HTTP/1.1\r\nHost: x:1\r\n\r\n", full_url_twice, "http://x:1/a?b"},
    {"GET http://y:2/a?b HTTP/1.1\r\nHost: x:1\r\n\r\n", full_url_twice, "http://y:2/a?b"},
    {"GET http://y:2/a?b HTTP/1.1\r\nHost: x:1\r\n\r\n", td_request_host, "y:2"},
    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", td_request_body, ""},
};

static void
ask_field(td_handler *h)
{
    ck_assert_str_eq(checked(fields[field_index].getter(h)).ptr, fields[field_index].value);
    td_write(h, TD_STR("asked"));
}

START_TEST(the_fields_are_as_they_were_sent)
{
    web_exchange *x = web_route(fields[_i].head);

    field_index = _i;
    act = ask_field;
    web_execute(x);
    ck_assert_str_eq(x->body, "asked");
    web_done(x);
}
END_TEST

static void
ask_headers(td_handler *h)
{
    ck_assert_str_eq(checked(td_request_header(h, "x-one")).ptr, "1");
    ck_assert_str_eq(checked(td_request_header(h, "X-TWO")).ptr, "a, b");
    ck_assert_str_eq(checked(td_request_header(h, "X-Empty")).ptr, "");
    ck_assert_ptr_null(td_request_header(h, "X-None").ptr);
    ck_assert(td_request_time(h) >= 0 && td_request_time(h) < 100);
}

START_TEST(headers_of_one_name_are_joined)
{
    act = ask_headers;
    web_done(web_request("GET", "/", "X-One: 1\r\nX-Two: a\r\nX-Empty:\r\nx-two: b\r\n"));
}
END_TEST

static const struct {
    const char *accept, *best; /* NULL: no such header; none */
} likings[] = {
    {NULL, "a/json"},
    {"*/*", "a/json"},
    {"text/html", "text/html; charset=UTF-8"},
    {"text/html;q=0.9, a/json;q=0.8", "text/html; charset=UTF-8"},
    {"text/html;q=0.8, a/json;q=0.8", "a/json"},
    {"text/*;q=0.5, */*;q=0.1", "text/html; charset=UTF-8"},
    {"image/png", NULL},
    {"a/json;q=0, text/html;q=0", NULL},
    {"a/json;q=0, */*", "text/html; charset=UTF-8"},
    {"", NULL},
};
static const char *best;

static void
ask_best(td_handler *h)
{
    best = td_best_type(h, "a/json", "text/html; charset=UTF-8");
    ck_assert_ptr_null(td_best_type_of(h, NULL, 1));
    td_set_header(h, "X-Vary", "kept");
    td_best_type(h, "a/json");
}

START_TEST(the_type_that_is_liked_best_is_chosen)
{
    char line[128] = "";

    if (likings[_i].accept != NULL)
        snprintf(line, sizeof(line), "Accept: %s\r\n", likings[_i].accept);
    act = ask_best;
    web_exchange *x = web_request("GET", "/", line);
    if (likings[_i].best != NULL)
        ck_assert_str_eq(best, likings[_i].best);
    else
        ck_assert_ptr_null(best);
    ck_assert_ptr_nonnull(strstr(x->headers, "\nVary: Accept\n"));
    web_done(x);
}
END_TEST

static const struct {
    const char *accept, *best; /* NULL: no such header */
} tongues[] = {
    {NULL, "en-US"},
    {"", "en-US"},
    {"da", "en-US"},
    {"fr-FR;q=0.9", "fr-FR"},
    {"fr-FR; q=0.9", "fr-FR"},
    {"fr-FR;q=0", "en-US"},
    {"fr-FR;q=-1", "en-US"},
    {"fr", "fr-FR"},
    {"de-AT, fr;q=0.9, en;q=0.8", "de"},
    {"da, en;q=0.5, de;q=0.5", "en-US"},
    {"*", "en-US"},
    {"en;q=0, *", "fr-FR"},
};
static const char *tongue;

static void
ask_tongue(td_handler *h)
{
    tongue = td_best_language(h, "en-US", "fr-FR", "de");
    ck_assert_ptr_null(td_best_language_of(h, NULL, 1));
    ck_assert_ptr_null(td_best_language_of(h, &tongue, 0));
    td_best_language(h, "de");
}

START_TEST(the_language_that_is_liked_best_is_chosen)
{
    char line[128] = "";

    if (tongues[_i].accept != NULL)
        snprintf(line, sizeof(line), "Accept-Language: %s\r\n", tongues[_i].accept);
    act = ask_tongue;
    web_exchange *x = web_request("GET", "/", line);
    ck_assert_str_eq(tongue, tongues[_i].best);
    ck_assert_ptr_nonnull(strstr(x->headers, "\nVary: Accept-Language\n"));
    web_done(x);
}
END_TEST

static void
ask_body(td_handler *h)
{
    ck_assert_str_eq(checked(td_request_body(h)).ptr, "abc");
    td_write(h, TD_STR("asked"));
}

START_TEST(a_body_is_there_as_a_whole)
{
    web_exchange *x = web_route_to("POST", "/", "Content-Length: 3\r\n");

    act = ask_body;
    x->request->body = TD_STR("abc");
    web_execute(x);
    ck_assert_str_eq(x->body, "asked");
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, web_teardown);
    ADD_TABLE(tcase, an_argument_is_the_last_of_its_name, lookups);
    ADD_TABLE(tcase, a_number_in_the_path_is_in_its_range_or_404, path_numbers);
    tcase_add_test(tcase, a_number_that_the_path_has_not_is_404);
    tcase_add_test(tcase, a_missing_argument_is_named_in_the_log);
    tcase_add_test(tcase, an_argument_that_is_not_utf8_is_named_in_the_log);
    tcase_add_test(tcase, a_default_takes_the_place_of_what_is_missing);
    tcase_add_test(tcase, all_values_come_in_order);
    ADD_TABLE(tcase, white_space_of_an_unstripped_argument_is_its_own, unstripped);
    tcase_add_test(tcase, an_argument_may_be_asked_for_both_ways);
    tcase_add_test(tcase, all_arguments_come_in_order_as_they_were_sent);
    tcase_add_test(tcase, a_request_may_have_no_arguments);
    tcase_add_test(tcase, more_than_max_fields_is_413);
    ADD_TABLE(tcase, a_field_of_a_form_is_an_argument, lookups);
    ADD_TABLE(tcase, a_body_is_a_form_by_its_content_type, bodies);
    tcase_add_test(tcase, the_body_comes_after_the_query);
    ADD_TABLE(tcase, max_fields_counts_query_and_body, counts);
    ADD_TABLE(tcase, an_integer_is_in_its_range_or_400, integers);
    ADD_TABLE(tcase, a_switch_is_a_word_or_400, switches);
    ADD_TABLE(tcase, a_number_is_decimal_and_finite_or_400, doubles);
    tcase_add_loop_test(tcase, a_missing_number_is_named_in_the_log, 0, 3);
    tcase_add_test(tcase, path_arguments_are_found_by_name_and_by_place);
    ADD_TABLE(tcase, the_fields_are_as_they_were_sent, fields);
    tcase_add_test(tcase, headers_of_one_name_are_joined);
    ADD_TABLE(tcase, the_type_that_is_liked_best_is_chosen, likings);
    ADD_TABLE(tcase, the_language_that_is_liked_best_is_chosen, tongues);
    tcase_add_test(tcase, a_body_is_there_as_a_whole);
}

int
main(void)
{
    return unit_run("arguments", fill);
}
