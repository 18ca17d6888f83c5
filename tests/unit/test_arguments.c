/*
 * Goal: what a handler asks of its request is what was sent: fields, path arguments, and query
 * arguments by the rules of BEHAVIOUR section 7.
 */
#include <http/parser.h>
#include "web_fixture.h"

static td_method_fn *act;

static void
do_act(td_handler *h)
{
    act(h);
}

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
    ck_assert(strstr(web_log(), "Act: td_path_argument: the pattern has no group of that name"));
    web_done(x);
    x = web_get("/path//");
    ck_assert_str_eq(x->body, "|null|");
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
static int field_index;

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

#define COUNT(table) (int)(sizeof(table) / sizeof((table)[0]))

int
main(void)
{
    Suite *suite = suite_create("arguments");
    TCase *tcase = tcase_create("arguments");

    tcase_add_checked_fixture(tcase, setup, web_teardown);
    tcase_add_loop_test(tcase, an_argument_is_the_last_of_its_name, 0, COUNT(lookups));
    tcase_add_test(tcase, a_missing_argument_is_named_in_the_log);
    tcase_add_test(tcase, a_default_takes_the_place_of_what_is_missing);
    tcase_add_test(tcase, all_values_come_in_order);
    tcase_add_test(tcase, more_than_max_fields_is_413);
    tcase_add_test(tcase, path_arguments_are_found_by_name_and_by_place);
    tcase_add_loop_test(tcase, the_fields_are_as_they_were_sent, 0, COUNT(fields));
    tcase_add_test(tcase, headers_of_one_name_are_joined);
    tcase_add_test(tcase, a_body_is_there_as_a_whole);
    suite_add_tcase(suite, tcase);
    return web_main(suite);
}
