/* Goal: preconditions and ranges mean what RFC 9110 sections 13 and 14 say, whatever the text. */
#include "web/conditional.h"

#include <stdio.h>
#include "base/clock.h"
#include "http/request_internal.h"
#include "unit.h"

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
    const char *pieces; /* "FIRST+LENGTH ..." */
} ranges[] = {
    {"bytes=0-0", 10, 206, "0+1"},
    {"bytes=2-5", 10, 206, "2+4"},
    {"bytes=9-9", 10, 206, "9+1"},
    {"bytes=3-", 10, 206, "3+7"},
    {"bytes=-3", 10, 206, "7+3"},
    {"bytes=5-99", 10, 206, "5+5"},
    {"bytes=5-18446744073709551615", 10, 206, "5+5"},
    {"bytes=5-99999999999999999999999999", 10, 206, "5+5"},
    {"bytes=00002-0005", 10, 206, "2+4"},
    {"Bytes=2-5", 10, 206, "2+4"}, /* range-unit: without regard to case */
    {"bytes= 2-5 ", 10, 206, "2+4"},
    {" bytes=2-5", 10, 206, "2+4"},
    {"bytes=0-9", 10, 200, ""}, /* all of it */
    {"bytes=0-", 10, 200, ""},
    {"bytes=-10", 10, 200, ""},
    {"bytes=-11", 10, 200, ""},
    {"bytes=-99999999999999999999999999", 10, 200, ""},
    {"bytes=10-", 10, 416, ""},
    {"bytes=10-10", 10, 416, ""},
    {"bytes=18446744073709551616-", 10, 416, ""},
    {"bytes=99999999999999999999999999-", 10, 416, ""},
    {"bytes=-0", 10, 416, ""},
    {"bytes=-00", 10, 416, ""},
    {"bytes=0-", 0, 416, ""},
    {"bytes=0-0", 0, 416, ""},
    {"bytes=-1", 0, 200, ""},
    {"bytes=5-4", 10, 200, ""}, /* invalid, not unsatisfiable: RFC 9110 section 14.1.1 */
    {"bytes=99-98", 10, 200, ""},
    {"bytes=1_0-", 100, 200, ""}, /* Python's int() takes these */
    {"bytes=+1-", 10, 200, ""},
    {"bytes=--1", 10, 200, ""},
    {"bytes=1--2", 10, 200, ""},
    {"bytes=0x1-", 10, 200, ""},
    {"bytes=1 -2", 10, 200, ""},
    {"bytes=1- 2", 10, 200, ""},
    {"bytes=\xd9\xa1-", 10, 200, ""}, /* an Arabic digit */
    {"bytes=-", 10, 200, ""},
    {"bytes=", 10, 200, ""},
    {"bytes", 10, 200, ""},
    {"bytes 0-1", 10, 200, ""},
    {"lines=0-1", 10, 200, ""},
    {"bytes =0-1", 10, 200, ""},
    {"", 10, 200, ""},
    {"=", 10, 200, ""},
    {"bytes=18446744073709551614-18446744073709551615", UINT64_MAX, 206, "18446744073709551614+1"},

    /* Several. */
    {"bytes=0-1,3-4", 10, 206, "0+2 3+2"},
    {"bytes=0-1, 3-4\t,6-6", 10, 206, "0+2 3+2 6+1"},
    {"bytes=,0-1, ,", 10, 206, "0+2"}, /* empty elements are none */
    {"bytes=3-4,0-1", 10, 206, "3+2 0+2"}, /* as they were asked for */
    {"bytes=0-0,-1", 10, 206, "0+1 9+1"},
    {"bytes=0-1,20-,4-5", 10, 206, "0+2 4+2"}, /* what is not there is left out */
    {"bytes=0-1,20-", 10, 206, "0+2"},
    {"bytes=20-,10-,-0", 10, 416, ""},
    {"bytes=0-1,x", 10, 200, ""}, /* one bad spoils all */
    {"bytes=20-,5-4", 10, 200, ""},
    {"bytes=0-1,2-3", 10, 206, "0+4"}, /* adjoining */
    {"bytes=0-3,2-5", 10, 206, "0+6"}, /* overlapping */
    {"bytes=0-3,0-3,1-2", 10, 206, "0+4"},
    {"bytes=6-7,0-1,3-4", 10, 206, "6+2 0+2 3+2"},
    {"bytes=6-7,0-1,3-4,2-2", 10, 206, "6+2 0+5"}, /* joined, it joins what it touches */
    {"bytes=6-7,0-1,3-4,2-5", 10, 206, "0+8"},
    {"bytes=3-4,9-9,0-1,2-2", 10, 206, "0+5 9+1"}, /* in the place of the first */
    {"bytes=0-4,5-9", 10, 200, ""},
    {"bytes=1-,0-0", 10, 200, ""},
    {"bytes=0-0,2-2,4-4,6-6", 10, 206, "0+1 2+1 4+1 6+1"},
    {"bytes=0-0,2-2,4-4,6-6,8-8", 10, 200, ""}, /* one more than the limit of the test */
    {"bytes=0-0,0-0,0-0,0-0,0-0", 10, 200, ""},
    {"bytes=20-,20-,20-,20-,20-", 10, 200, ""},
    {"bytes=0-0,2-2,4-4,6-6,", 10, 206, "0+1 2+1 4+1 6+1"},
};

#define RANGES_MAX 4

static void
print_pieces(const td_byte_ranges *pieces, char *out, size_t size)
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < pieces->count; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%llu+%llu", i > 0 ? " " : "",
                                (unsigned long long)pieces->items[i].first,
                                (unsigned long long)pieces->items[i].length);
}

START_TEST(range_is_a_piece_or_several_or_none)
{
    td_byte_ranges pieces;
    char text[256] = "";
    const int status = td_ranges_parse(td_str_of(ranges[_i].value), ranges[_i].size, RANGES_MAX,
                                       &pieces);

    ck_assert_msg(status == ranges[_i].status, "%s: %d", ranges[_i].value, status);
    if (status == 206)
        print_pieces(&pieces, text, sizeof(text));
    ck_assert_str_eq(text, ranges[_i].pieces);
}
END_TEST

/* Whatever is asked for, in whatever order: time and what is sent are bounded. */
START_TEST(ten_thousand_ranges_are_all_of_it)
{
    static char value[160000];
    td_byte_ranges pieces;
    size_t len = (size_t)sprintf(value, "bytes=");

    for (int i = 9999; i >= 0; i--)
        len += (size_t)sprintf(value + len, "%d-%d,", 2 * i, 2 * i);
    ck_assert_int_eq(td_ranges_parse(td_str_make(value, len), 1 << 20, TD_RANGES_MAX, &pieces), 200);
    ck_assert(pieces.too_many);
    ck_assert_int_eq(td_ranges_parse(TD_STR("bytes=x"), 1 << 20, TD_RANGES_MAX, &pieces), 200);
    ck_assert(!pieces.too_many);
}
END_TEST

START_TEST(as_many_as_there_is_room_for)
{
    char value[1024];
    td_byte_ranges pieces;
    size_t len = (size_t)sprintf(value, "bytes=");

    for (int i = TD_RANGES_MAX; i > 0; i--)
        len += (size_t)sprintf(value + len, "%d-%d,", 2 * i, 2 * i);
    ck_assert_int_eq(td_ranges_parse(td_str_make(value, len), 1000, TD_RANGES_MAX, &pieces), 206);
    ck_assert_uint_eq(pieces.count, TD_RANGES_MAX);
    ck_assert_uint_eq(pieces.items[0].first, 2 * TD_RANGES_MAX);
    ck_assert_uint_eq(pieces.items[TD_RANGES_MAX - 1].first, 2);
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
    {"GET", "If-Match: \"e\"\r\nIf-None-Match: \"e\"\r\n", 304}, /* section 13.2.2: 1, 3 */
    {"GET", "If-Match: \"e\"\r\nIf-Modified-Since: " MODIFIED "\r\n", 304}, /* 1, 4 */
    {"GET", "If-Unmodified-Since: " EARLIER "\r\nIf-None-Match: \"e\"\r\n", 412}, /* 2 */
    {"GET", "If-Unmodified-Since: " MODIFIED "\r\nIf-None-Match: \"e\"\r\n", 304}, /* 2, 3 */
    {"GET", "If-Unmodified-Since: " MODIFIED "\r\nRange: bytes=1-2\r\n", 206}, /* 2, 5 */
    {"GET", "If-Match: \"x\"\r\nRange: bytes=10-\r\n", 412},
    {"GET", "If-Match: \"e\"\r\nRange: bytes=10-\r\n", 416},
    {"GET", "If-Modified-Since: " MODIFIED "\r\nRange: bytes=1-2\r\n", 304}, /* 4 goes before 5 */
    {"GET", "If-None-Match: \"x\"\r\nIf-Range: \"e\"\r\nRange: bytes=1-2\r\n", 206}, /* 3, 5 */
    {"GET", "If-Match: W/\"e\"\r\n", 412}, /* strong comparison */
    {"HEAD", "If-Match: \"x\"\r\n", 412},
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
    td_byte_ranges pieces = {0};
    char raw[1024];
    int status;

    td_clock_cached_wall = now;
    snprintf(raw, sizeof(raw), "%s / HTTP/1.1\r\nHost: h\r\n%s\r\n", method, lines);
    ck_assert_int_gt(td_head_parse(&parser, raw, strlen(raw), &limits, &request->arena,
                                   &request->head, &error),
                     0);
    status = td_conditional_status(request, &file, 1, &pieces);
    if (status == 206)
        ck_assert_uint_eq(pieces.items[0].length, 2);
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
    ADD_TABLE(tcase, range_is_a_piece_or_several_or_none, ranges);
    tcase_add_test(tcase, ten_thousand_ranges_are_all_of_it);
    tcase_add_test(tcase, as_many_as_there_is_room_for);
    ADD_TABLE(tcase, headers_decide_the_status, requests);
    tcase_add_test(tcase, date_of_this_second_is_no_strong_validator);
}

int
main(void)
{
    return unit_run("conditional", fill);
}
