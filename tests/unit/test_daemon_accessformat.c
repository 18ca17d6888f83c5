/*
 * Goal: a format says what stands in a line, and nothing that a client sends can break out of it.
 */
#include "daemon/worker/accessformat.h"

#include <stdlib.h>
#include <string.h>
#include "unit.h"

#define NOW 1732217035 /* 2024-11-21 19:23:55 UTC */
#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"

static td_arena arena;
static td_err err;
static char line[ACCESSLINE_MAX + 1];

static td_header headers[] = {
    {TD_STR("User-Agent"), TD_STR("a \"b\"\n")},
    {TD_STR("Traceparent"), TD_STR("00-" TRACE "-00f067aa0ba902b7-01")},
};

static td_request
plain_request(void)
{
    td_request request = {.peer = {.address = {127, 0, 0, 1}, .address_len = 4, .port = 4711},
                          .status = 200, .body_sent = 12, .number = 7};

    request.head.raw = TD_STR("GET /a?b=c HTTP/1.1\r\nHost: x:80\r\n\r\n");
    request.head.method_name = TD_STR("GET");
    request.head.target = TD_STR("/a?b=c");
    request.head.path = TD_STR("/a");
    request.head.query = TD_STR("b=c");
    request.head.host = TD_STR("x:80");
    request.head.host_name = TD_STR("x");
    request.head.minor = 1;
    request.head.headers = (td_headers){.items = headers, .count = 2, .size = 2};
    return request;
}

static const char *
line_of(const char *text, const td_request *request, int64_t duration_ns)
{
    const accessformat *format;

    ck_assert_msg(accessformat_parse(&arena, text, &format, &err) == 0, "%s", err.text);
    const size_t len = accessformat_line(format, request, duration_ns, NOW, line);
    ck_assert_uint_le(len, ACCESSLINE_MAX);
    ck_assert_int_eq(line[len - 1], '\n');
    line[len - 1] = '\0';
    return line;
}

static void
setup(void)
{
    td_arena_init(&arena);
    setenv("TZ", "CET-1", 1);
    tzset();
}

static void
teardown(void)
{
    td_arena_fini(&arena);
}

static const struct {
    const char *format, *line;
} good[] = {
    {"", ""},
    {"text", "text"},
    {"$ $$status \\t|\t\\|$", "$ $200 \t|\t\\|$"},
    {"$status", "200"},
    {"[$status]$status", "[200]200"},
    {"$remote_addr:$remote_port $remote_user", "127.0.0.1:4711 -"},
    {"$time_local", "21/Nov/2024:20:23:55 +0100"},
    {"$time_iso8601", "2024-11-21T20:23:55+01:00"},
    {"$request", "GET /a?b=c HTTP/1.1"},
    {"$request_method $request_uri $uri $args $query_string $server_protocol",
     "GET /a?b=c /a b=c b=c HTTP/1.1"},
    {"$scheme://$host", "http://x"},
    {"$body_bytes_sent", "12"},
    {"$request_time", "1.234"},
    {"$upstream_response_time $request_id $handler", "- - -"},
    {"$http_user_agent $http_referer", "a \\x22b\\x22\\x0a -"},
    {"$trace_id $traceparent", TRACE " 00-" TRACE "-00f067aa0ba902b7-01"},
    {"$request_number", "7"},
    {"$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent "
     "\"$http_referer\" \"$http_user_agent\"",
     "127.0.0.1 - - [21/Nov/2024:20:23:55 +0100] \"GET /a?b=c HTTP/1.1\" 200 12 \"-\" "
     "\"a \\x22b\\x22\\x0a\""},
};

START_TEST(names_stand_for_values)
{
    const td_request request = plain_request();

    ck_assert_str_eq(line_of(good[_i].format, &request, 1234567890), good[_i].line);
}
END_TEST

static const struct {
    const char *format, *error;
} bad[] = {
    {"$1", "access_format: there is no $1"},
    {"$Nothing_Of_The_Kind", "access_format: there is no $Nothing_Of_The_Kind"},
    {"$statis", "access_format: there is no $statis; did you mean $status?"},
    {"$nothing_of_the_kind", "access_format: there is no $nothing_of_the_kind"},
    {"$http_", "access_format: there is no $http_"},
};

START_TEST(what_is_no_name_is_told)
{
    const accessformat *format;

    ck_assert_int_eq(accessformat_parse(&arena, bad[_i].format, &format, &err), TD_ECONFIG);
    ck_assert_str_eq(err.text, bad[_i].error);
}
END_TEST

START_TEST(a_refused_head_has_dashes)
{
    const td_request request = {.status = 400, .peer = {.address_len = 0}};

    ck_assert_str_eq(line_of("$remote_addr \"$request\" $request_method $request_uri $uri $args "
                             "$host $server_protocol $http_x $trace_id $status",
                             &request, -1),
                     "unix: \"-\" - - - - - - - - 400");
}
END_TEST

START_TEST(long_lines_are_cut)
{
    static char hostile[100000], format[4000];
    td_request request = plain_request();

    for (int byte = 0; byte < 256; byte += 3) {
        memset(hostile, byte, sizeof(hostile));
        request.head.target = request.head.raw = td_str_make(hostile, sizeof(hostile));
        line_of("$status $request_uri $request $status", &request, 0);
        ck_assert_uint_ge(strlen(line), ACCESSLINE_MAX - 70);
    }
    for (size_t i = 0; i + 8 < sizeof(format); i += 7)
        strcpy(format + i, "$status");
    line_of(format, &request, 0);
    memset(format, 'x', sizeof(format) - 1);
    line_of(format, &request, 0);
    ck_assert_uint_eq(strlen(line), sizeof(format) - 1);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    ADD_TABLE(tcase, names_stand_for_values, good);
    ADD_TABLE(tcase, what_is_no_name_is_told, bad);
    tcase_add_test(tcase, a_refused_head_has_dashes);
    tcase_add_test(tcase, long_lines_are_cut);
}

int
main(void)
{
    return unit_run("daemon_accessformat", fill);
}
