/*
 * Goal: arguments go where they belong in any URL and come back as they were, and dates are those of
 * HTTP, both ways.
 */
#include <tornado/httputil.h>
#include "acting.h"
#include "unit.h"

static int row;

/* ---- URLs */

/* With as many of the arguments. */
static const struct {
    const char *url;
    size_t count;
    const char *whole;
} concatenations[] = {
    {"https://localhost/path", 2, "https://localhost/path?y=%2Fy&z=z"},
    {"https://localhost/path?", 2, "https://localhost/path?y=%2Fy&z=z"},
    {"https://localhost/path?x", 1, "https://localhost/path?x&y=%2Fy"},
    {"https://localhost/path?x&", 1, "https://localhost/path?x&y=%2Fy"},
    {"https://localhost/path?a=1&b=2", 1, "https://localhost/path?a=1&b=2&y=%2Fy"},
    {"https://localhost/path?r=1&t=2", 0, "https://localhost/path?r=1&t=2"},
    {"https://localhost/path#tab", 1, "https://localhost/path?y=%2Fy#tab"},
    {"https://localhost/path?r=1&r=2#a?b#c", 1, "https://localhost/path?r=1&r=2&y=%2Fy#a?b#c"},
    {"/%2e?a=%20+b", 1, "/%2e?a=%20+b&y=%2Fy"},
    {"", 1, "?y=%2Fy"},
    {"?", 1, "?y=%2Fy"},
    {"&", 1, "&?y=%2Fy"},
    {"#", 1, "?y=%2Fy#"},
    {"/", 5, "/?y=%2Fy&z=z&z=%26%3D%2B%25%23%3F&J%C3%BC=%00%FF&="},
};

static const td_argument_pair arguments[] = {
    {.name = TD_STR("y"), .value = TD_STR("/y")},
    {.name = TD_STR("z"), .value = TD_STR("z")},
    {.name = TD_STR("z"), .value = TD_STR("&=+%#?"), .from_body = true},
    {.name = TD_STR("J\xc3\xbc"), .value = TD_STR("\0\xff")},
    {.name = TD_STR("")},
};

static void
concat(td_handler *h)
{
    const td_str whole =
        td_url_concat(h, concatenations[row].url, arguments, concatenations[row].count);

    ck_assert_str_eq(whole.ptr, concatenations[row].whole);
    ck_assert_uint_eq(whole.len, strlen(concatenations[row].whole));
}

START_TEST(arguments_stand_behind_the_query_and_before_the_fragment)
{
    row = _i;
    web_done(request("GET", "", concat));
}
END_TEST

static void
come_back(td_handler *h)
{
    const td_argument_pair *pairs;
    const size_t count = td_request_arguments(h, &pairs);

    td_write(h, td_url_concat(h, "/", pairs, count));
}

START_TEST(arguments_of_the_request_come_back)
{
    act = come_back;
    web_exchange *x = web_get("/?a=b%20c&a=+&%c3%bc=%zz&d");

    ck_assert_str_eq(x->body, "/?a=b%20c&a=%20&%C3%BC=%25zz&d=");
    web_done(x);
}
END_TEST

/* ---- dates */

static const struct {
    int64_t time;
    const char *text;
} timestamps[] = {
    {1359312200, "Sun, 27 Jan 2013 18:43:20 GMT"},
    {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
    {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
    {-1, "Thu, 01 Jan 1970 00:00:00 GMT"},
    {INT64_MIN, "Thu, 01 Jan 1970 00:00:00 GMT"},
    {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
    {253402300800, "Fri, 31 Dec 9999 23:59:59 GMT"},
    {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
};

static void
format(td_handler *h)
{
    ck_assert_str_eq(td_format_timestamp(h, timestamps[row].time).ptr, timestamps[row].text);
}

START_TEST(a_time_is_a_date_of_http)
{
    row = _i;
    web_done(request("GET", "", format));
}
END_TEST

static const struct {
    const char *text;
    int rc;
    int64_t time;
} dates[] = {
    {"Sun, 06 Nov 1994 08:49:37 GMT", 0, 784111777},
    {"Sunday, 06-Nov-94 08:49:37 GMT", 0, 784111777},
    {"Sun Nov  6 08:49:37 1994", 0, 784111777},
    {"Fri, 01 Jan 1960 00:00:00 GMT", 0, -315619200},
    {"Sun, 06 Nov 1994 08:49:37 +0100", TD_EBADMSG, 7},
    {"yesterday", TD_EBADMSG, 7},
    {"", TD_EBADMSG, 7},
    {NULL, TD_EBADMSG, 7},
};

static void
parse(td_handler *h)
{
    int64_t time = 7;

    ck_assert_int_eq(td_parse_timestamp(h, td_str_of(dates[row].text), &time), dates[row].rc);
    ck_assert_int_eq(time, dates[row].time);
}

START_TEST(a_date_of_http_is_a_time)
{
    row = _i;
    web_done(request("GET", "", parse));
}
END_TEST

/* ---- misuse */

static void
misuse(td_handler *h)
{
    int64_t time = 7;

    ck_assert(td_str_is_null(td_url_concat(h, NULL, arguments, 1)));
    ck_assert_str_eq(td_url_concat(h, "/a", NULL, 1).ptr, "/a");
    ck_assert_int_eq(td_parse_timestamp(h, TD_STR("x"), NULL), TD_EINVAL);
    ck_assert(td_str_is_null(td_url_concat(NULL, "/", arguments, 1)));
    ck_assert(td_str_is_null(td_format_timestamp(NULL, 0)));
    ck_assert_int_eq(td_parse_timestamp(NULL, TD_STR("x"), &time), TD_EINVAL);
    ck_assert_int_eq(time, 7);
}

START_TEST(misuse_is_told_and_harmless)
{
    web_done(request("GET", "", misuse));
    const char *log = web_log();

    ck_assert(strstr(log, "td_url_concat: NULL is not allowed"));
    ck_assert(strstr(log, "td_parse_timestamp: NULL is not allowed"));
    ck_assert(strstr(log, "td_format_timestamp: no handler"));
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, acting_setup, web_teardown);
    ADD_TABLE(tcase, arguments_stand_behind_the_query_and_before_the_fragment, concatenations);
    tcase_add_test(tcase, arguments_of_the_request_come_back);
    ADD_TABLE(tcase, a_time_is_a_date_of_http, timestamps);
    ADD_TABLE(tcase, a_date_of_http_is_a_time, dates);
    tcase_add_test(tcase, misuse_is_told_and_harmless);
}

int
main(void)
{
    return unit_run("httputil", fill);
}
