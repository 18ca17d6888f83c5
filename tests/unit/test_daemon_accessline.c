/* Goal: each format is what its readers expect, and nothing that a client sends can break out of
 * it. */
#include "daemon/worker/accessline.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include "unit.h"

#define NOW 1732217035 /* 2024-11-21 19:23:55 UTC */

static td_header headers[] = {
    {{"Referer", 7}, {"http://a/\"b\"", 12}},
    {{"User-Agent", 10}, {"curl/7\\\x01\xc3\xa9\xff", 11}},
};

static td_request
plain_request(void)
{
    return (td_request){
        .peer = {.address = {127, 0, 0, 1}, .address_len = 4},
        .head = {.raw = TD_STR("x"),
                 .method_name = TD_STR("GET"),
                 .target = TD_STR("/a?b=c"),
                 .host = TD_STR("example.org"),
                 .minor = 1},
        .status = 200,
        .body_sent = 45,
    };
}

static const char *
line_of(td_access_format format, const td_request *request, int64_t duration_ns)
{
    static char line[ACCESSLINE_MAX + 1];

    setenv("TZ", "XXX-1", 1); /* an hour east of Greenwich */
    tzset();
    line[accessline_format(format, request, duration_ns, NOW, line)] = '\0';
    return line;
}

static const struct {
    td_access_format format;
    int status;
    int64_t duration_ns;
    const char *line;
} plain[] = {
    {TD_ACCESS_TORNADO, 200, 1234567,
     "[I 241121 20:23:55 access] 200 GET /a?b=c (127.0.0.1) 1.23ms\n"},
    {TD_ACCESS_TORNADO, 304, 0, "[I 241121 20:23:55 access] 304 GET /a?b=c (127.0.0.1) 0.00ms\n"},
    {TD_ACCESS_TORNADO, 404, 9999,
     "[W 241121 20:23:55 access] 404 GET /a?b=c (127.0.0.1) 0.00ms\n"},
    {TD_ACCESS_TORNADO, 500, 12345678901,
     "[E 241121 20:23:55 access] 500 GET /a?b=c (127.0.0.1) 12345.67ms\n"},
    {TD_ACCESS_COMBINED, 200, 1,
     "127.0.0.1 - - [21/Nov/2024:20:23:55 +0100] \"GET /a?b=c HTTP/1.1\" 200 45 \"-\" \"-\"\n"},
    {TD_ACCESS_JSON, 200, 1234567,
     "{\"time\":\"2024-11-21T19:23:55Z\",\"status\":200,\"method\":\"GET\",\"uri\":\"/a?b=c\","
     "\"remote_ip\":\"127.0.0.1\",\"bytes\":45,\"duration_ms\":1.23,\"host\":\"example.org\"}\n"},
};

START_TEST(plain_requests_read_as_expected)
{
    td_request request = plain_request();

    request.status = plain[_i].status;
    ck_assert_str_eq(line_of(plain[_i].format, &request, plain[_i].duration_ns), plain[_i].line);
}
END_TEST

START_TEST(headers_are_escaped)
{
    td_request request = plain_request();

    request.head.headers = (td_headers){.items = headers, .count = 2, .size = 2};
    ck_assert_ptr_nonnull(strstr(line_of(TD_ACCESS_COMBINED, &request, 0),
                                 "\"http://a/\\x22b\\x22\" \"curl/7\\x5c\\x01\xc3\xa9\xff\"\n"));
    ck_assert_ptr_nonnull(strstr(line_of(TD_ACCESS_JSON, &request, 0),
                                 "\"referer\":\"http://a/\\\"b\\\"\","
                                 "\"user_agent\":\"curl/7\\\\\\u0001\xc3\xa9\xef\xbf\xbd\"}\n"));
}
END_TEST

START_TEST(a_refused_head_has_dashes)
{
    td_request request = {.peer = {.address_len = 0}, .status = 400};

    ck_assert_str_eq(line_of(TD_ACCESS_TORNADO, &request, 0),
                     "[W 241121 20:23:55 access] 400 - - (unix:) 0.00ms\n");
    ck_assert_str_eq(line_of(TD_ACCESS_COMBINED, &request, 0),
                     "unix: - - [21/Nov/2024:20:23:55 +0100] \"-\" 400 0 \"-\" \"-\"\n");
    ck_assert_str_eq(
        line_of(TD_ACCESS_JSON, &request, 0),
        "{\"time\":\"2024-11-21T19:23:55Z\",\"status\":400,\"method\":\"-\",\"uri\":\"-\","
        "\"remote_ip\":\"unix:\",\"bytes\":0,\"duration_ms\":0.00}\n");
}
END_TEST

/* Every byte at every place of the first sixteen: the fast way of escaping is the slow one. */
START_TEST(every_byte_is_escaped_wherever_it_stands)
{
    td_request request = plain_request();
    char target[17], expected[128];

    for (int byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < 16; at++) {
            memset(target, 'x', 16);
            target[at] = (char)byte;
            request.head.target = td_str_make(target, 16);
            const char *uri = strstr(line_of(TD_ACCESS_TORNADO, &request, 0), " GET ") + 5;
            bool is_escaped = byte < 0x20 || byte == '"' || byte == '\\' ||
                              (byte >= 0x7f && byte < 0xa0); /* no character of UTF-8 begins so */
            int len = is_escaped ? snprintf(expected, sizeof(expected), "%.*s\\x%02x%.*s (",
                                            (int)at, target, byte, 15 - (int)at, target + at + 1)
                                 : snprintf(expected, sizeof(expected), "%.16s (", target);
            ck_assert_msg(strncmp(uri, expected, (size_t)len) == 0, "byte %d at %zu: %s", byte, at,
                          uri);
        }
    }
}
END_TEST

START_TEST(c1_controls_are_escaped_in_every_format)
{
    static const struct {
        td_access_format format;
        const char *expected;
    } cases[] = {{TD_ACCESS_TORNADO, " /caf\xc3\xa9\\xc2\\x9b2J "},
                 {TD_ACCESS_COMBINED, " /caf\xc3\xa9\\xc2\\x9b2J "},
                 {TD_ACCESS_JSON, "\"/caf\xc3\xa9\\u009b2J\""}};
    td_request request = plain_request();

    request.head.target = TD_STR("/caf\xc3\xa9\xc2\x9b" "2J");
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        ck_assert_ptr_nonnull(strstr(line_of(cases[i].format, &request, 0), cases[i].expected));
}
END_TEST

static const td_access_format formats[] = {TD_ACCESS_TORNADO, TD_ACCESS_COMBINED, TD_ACCESS_JSON};

START_TEST(long_and_hostile_fields_are_cut)
{
    td_request request = plain_request();
    static char hostile[100000];
    td_header long_headers[] = {{TD_STR("Referer"), {hostile, sizeof(hostile)}},
                                {TD_STR("User-Agent"), {hostile, sizeof(hostile)}}};

    for (int byte = 0; byte < 256; byte += 5) {
        memset(hostile, byte, sizeof(hostile));
        request.head.headers = (td_headers){.items = long_headers, .count = 2, .size = 2};
        request.head.method_name = request.head.target = request.head.host =
            td_str_make(hostile, sizeof(hostile));
        const char *line = line_of(formats[_i], &request, INT64_MAX);
        ck_assert_uint_lt(strlen(line), ACCESSLINE_MAX);
        ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
    }
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, plain_requests_read_as_expected, plain);
    tcase_add_test(tcase, headers_are_escaped);
    tcase_add_test(tcase, a_refused_head_has_dashes);
    tcase_add_test(tcase, every_byte_is_escaped_wherever_it_stands);
    tcase_add_test(tcase, c1_controls_are_escaped_in_every_format);
    ADD_TABLE(tcase, long_and_hostile_fields_are_cut, formats);
}

int
main(void)
{
    return unit_run("daemon_accessline", fill);
}
