/* Goal: preconditions and ranges mean what RFC 9110 sections 13 and 14 say, whatever the text. */
#include "web/conditional.h"

#include <stdio.h>
#include "base/clock.h"
#include "http/request_internal.h"
#include "tests/unit/unit.h"

/* ---- lists of entity tags */

static const struct {
    const char *etag, *list;
    bool weakly, strongly;
} tags[] = {
    {"\"a\"", "\"a\"", true, true},
    {"\"a\"", "W/\"a\"", true, false},
    {"W/\"a\"", "\"a\"", true, false},
    {"\"a\"", "\"b\", \"a\"", true, true},
    {"\"a\"", "\"b\",W/\"a\"", true, false},
    {"\"a\"", "\"b\"", false, false},
    {"\"a\"", "*", true, true},
    {"\"a\"", " *", true, true},
    {"\"a\"", "\"b\", *", false, false},
    {"\"a\"", "a", false, false},
    {"\"a\"", "\"a", false, false},
    {"\"a\"", "", false, false},
    {"\"a,b\"", "\"a,b\"", true, true},
};

START_TEST(tag_is_in_a_list)
{
    const td_str etag = td_str_of(tags[_i].etag), list = td_str_of(tags[_i].list);

    ck_assert_int_eq(td_etag_is_in(etag, list, true), tags[_i].weakly);
    ck_assert_int_eq(td_etag_is_in(etag, list, false), tags[_i].strongly);
}
END_TEST

/* ---- ranges */

static const struct {
    const char *value;
    uint64_t size;
    int status;
    uint64_t first, length;
} ranges[] = {
    {"bytes=0-0", 10, 206, 0, 1},
    {"bytes=2-5", 10, 206, 2, 4},
    {"bytes=9-9", 10, 206, 9, 1},
    {"bytes=3-", 10, 206, 3, 7},
    {"bytes=-3", 10, 206, 7, 3},
    {"bytes=5-99", 10, 206, 5, 5},
    {"bytes=5-18446744073709551615", 10, 206, 5, 5},
    {"bytes=5-99999999999999999999999999", 10, 206, 5, 5},
    {"bytes=00002-0005", 10, 206, 2, 4},
    {"Bytes=2-5", 10, 206, 2, 4}, /* range-unit: without regard to case */
    {"bytes= 2-5 ", 10, 206, 2, 4},
    {" bytes=2-5", 10, 206, 2, 4},
    {"bytes=0-9", 10, 200, 0, 0}, /* all of it */
    {"bytes=0-", 10, 200, 0, 0},
    {"bytes=-10", 10, 200, 0, 0},
    {"bytes=-11", 10, 200, 0, 0},
    {"bytes=-99999999999999999999999999", 10, 200, 0, 0},
    {"bytes=10-", 10, 416, 0, 0},
    {"bytes=10-10", 10, 416, 0, 0},
    {"bytes=18446744073709551616-", 10, 416, 0, 0},
    {"bytes=99999999999999999999999999-", 10, 416, 0, 0},
    {"bytes=-0", 10, 416, 0, 0},
    {"bytes=-00", 10, 416, 0, 0},
    {"bytes=0-", 0, 416, 0, 0},
    {"bytes=0-0", 0, 416, 0, 0},
    {"bytes=-1", 0, 200, 0, 0},
    {"bytes=5-4", 10, 200, 0, 0}, /* invalid, not unsatisfiable: RFC 9110 section 14.1.1 */
    {"bytes=99-98", 10, 200, 0, 0},
    {"bytes=0-1,3-4", 10, 200, 0, 0}, /* several */
    {"bytes=0-1, 3-4", 10, 200, 0, 0},
    {"bytes=0-1,", 10, 200, 0, 0},
    {"bytes=1_0-", 100, 200, 0, 0}, /* Python's int() takes these */
    {"bytes=+1-", 10, 200, 0, 0},
    {"bytes=--1", 10, 200, 0, 0},
    {"bytes=1--2", 10, 200, 0, 0},
    {"bytes=0x1-", 10, 200, 0, 0},
    {"bytes=1 -2", 10, 200, 0, 0},
    {"bytes=1- 2", 10, 200, 0, 0},
    {"bytes=\xd9\xa1-", 10, 200, 0, 0}, /* an Arabic digit */
    {"bytes=-", 10, 200, 0, 0},
    {"bytes=", 10, 200, 0, 0},
    {"bytes", 10, 200, 0, 0},
    {"bytes 0-1", 10, 200, 0, 0},
    {"lines=0-1", 10, 200, 0, 0},
    {"bytes =0-1", 10, 200, 0, 0},
    {"", 10, 200, 0, 0},
    {"=", 10, 200, 0, 0},
    {"bytes=18446744073709551614-18446744073709551615", UINT64_MAX, 206, UINT64_MAX - 1, 1},
};

START_TEST(range_is_a_piece_or_is_not)
{
    td_byte_range range = {0, 0};

    ck_assert_msg(td_range_parse(td_str_of(ranges[_i].value), ranges[_i].size, &range) ==
                      ranges[_i].status,
                  "%s", ranges[_i].value);
    ck_assert_uint_eq(range.first, ranges[_i].first);
    ck_assert_uint_eq(range.length, ranges[_i].length);
}
END_TEST

/* ---- all together; the file: "e", ten bytes, of 1994 */

#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"
#define EARLIER "Sun, 06 Nov 1994 08:49:36 GMT"
#define LATER "Sun, 06 Nov 1994 08:49:38 GMT"

static const struct {
    const char *method, *lines;
    int status;
} requests[] = {
    {"GET", "", 200},
    {"GET", "Referer: x\r\nId-Token-X: y\r\n", 200},
    {"GET", "If-Match: \"e\"\r\n", 200},
    {"GET", "If-Match: *\r\n", 200},
    {"GET", "If-Match: \"x\"\r\n", 412},
    {"GET", "If-Match: W/\"e\"\r\n", 412}, /* strong comparison */
    {"HEAD", "If-Match: \"x\"\r\n", 412},
    {"GET", "If-Match: \"x\"\r\nIf-Match: \"e\"\r\n", 200}, /* one list in two lines */
    {"GET", "If-Unmodified-Since: " MODIFIED "\r\n", 200},
    {"GET", "If-Unmodified-Since: " LATER "\r\n", 200},
    {"GET", "If-Unmodified-Since: " EARLIER "\r\n", 412},
    {"GET", "If-Unmodified-Since: yesterday\r\n", 200},
    {"GET", "If-Match: \"e\"\r\nIf-Unmodified-Since: " EARLIER "\r\n", 200}, /* ignored then */
    {"GET", "If-None-Match: \"e\"\r\n", 304},
    {"GET", "if-none-match: W/\"e\"\r\n", 304},
    {"HEAD", "If-None-Match: *\r\n", 304},
    {"GET", "If-None-Match: \"x\"\r\n", 200},
    {"GET", "If-None-Match: \"x\"\r\nIf-Modified-Since: " MODIFIED "\r\n", 200}, /* ignored then */
    {"GET", "If-Match: \"x\"\r\nIf-None-Match: \"e\"\r\n", 412},
    {"GET", "If-Modified-Since: " MODIFIED "\r\n", 304},
    {"GET", "If-Modified-Since: " LATER "\r\n", 304},
    {"GET", "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n", 304},
    {"GET", "If-Modified-Since: Sun Nov  6 08:49:37 1994\r\n", 304},
    {"GET", "If-Modified-Since: " EARLIER "\r\n", 200},
    {"GET", "If-Modified-Since: 0\r\n", 200},
    {"GET", "Range: bytes=1-2\r\n", 206},
    {"GET", "range: bytes=1-2\r\n", 206},
    {"HEAD", "Range: bytes=1-2\r\n", 200},
    {"GET", "Range: bytes=10-\r\n", 416},
    {"HEAD", "Range: bytes=10-\r\n", 200},
    {"GET", "Range: bytes=1-2\r\nRange: bytes=3-4\r\n", 200},
    {"GET", "Range: bytes=1-2\r\nIf-None-Match: \"e\"\r\n", 304},
    {"GET", "Range: bytes=1-2\r\nIf-Range: \"e\"\r\n", 206},
    {"GET", "Range: bytes=1-2\r\nIf-Range: W/\"e\"\r\n", 200},
    {"GET", "Range: bytes=1-2\r\nIf-Range: \"x\"\r\n", 200},
    {"GET", "Range: bytes=10-\r\nIf-Range: \"x\"\r\n", 200},
    {"GET", "Range: bytes=1-2\r\nIf-Range: " MODIFIED "\r\n", 206},
    {"GET", "Range: bytes=1-2\r\nIf-Range: " LATER "\r\n", 200},
    {"GET", "Range: bytes=1-2\r\nIf-Range: " EARLIER "\r\n", 200},
    {"GET", "Range: bytes=1-2\r\nIf-Range: e\r\n", 200},
    {"GET", "If-Range: \"e\"\r\n", 200},
};

static int
status_at(const char *method, const char *lines, time_t now)
{
    static const td_head_limits limits = {8192, 32768, 256};
    td_validators file = {.etag = TD_STR("\"e\""), .modified = 784111777, .size = 10};
    td_request *request = td_request_create();
    td_head_parser parser = {0};
    td_head_error error;
    td_byte_range range = {0, 0};
    char raw[1024];
    int status;

    td_clock_cached_wall = now;
    snprintf(raw, sizeof(raw), "%s / HTTP/1.1\r\nHost: h\r\n%s\r\n", method, lines);
    ck_assert_int_gt(td_head_parse(&parser, raw, strlen(raw), &limits, &request->arena,
                                   &request->head, &error),
                     0);
    status = td_conditional_status(request, &file, &range);
    ck_assert_uint_eq(range.length, status == 206 ? 2 : 0);
    td_request_unref(request);
    td_chunk_trim(0);
    return status;
}

START_TEST(headers_decide_the_status)
{
    ck_assert_msg(status_at(requests[_i].method, requests[_i].lines, 800000000) ==
                      requests[_i].status,
                  "%s", requests[_i].lines);
}
END_TEST

START_TEST(date_of_this_second_is_no_strong_validator)
{
    const char *lines = "Range: bytes=1-2\r\nIf-Range: " MODIFIED "\r\n";

    ck_assert_int_eq(status_at("GET", lines, 784111777), 200);
    ck_assert_int_eq(status_at("GET", lines, 784111778), 200);
    ck_assert_int_eq(status_at("GET", lines, 784111779), 206);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, tag_is_in_a_list, tags);
    ADD_TABLE(tcase, range_is_a_piece_or_is_not, ranges);
    ADD_TABLE(tcase, headers_decide_the_status, requests);
    tcase_add_test(tcase, date_of_this_second_is_no_strong_validator);
}

int
main(void)
{
    return unit_run("conditional", fill);
}
