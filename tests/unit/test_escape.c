/* Goal: hostile bytes become harmless, harmless bytes stay, and what was escaped comes back. */
#include "base/escape.h"

#include <stdio.h>
#include "unit.h"

static td_arena arena;

static void
open_arena(void)
{
    td_arena_init(&arena);
}

static void
close_arena(void)
{
    td_arena_fini(&arena);
}

static void
assert_str_eq(td_str s, td_str expected)
{
    ck_assert_uint_eq(s.len, expected.len);
    ck_assert(s.len == 0 || memcmp(s.ptr, expected.ptr, s.len) == 0);
}

static void
assert_buf_eq(td_buf *buf, td_str expected)
{
    assert_str_eq(td_buf_str(buf), expected);
    td_buf_release(buf);
}

struct pair {
    td_str in, out;
};

#define PAIR(in, out) {{in, sizeof(in) - 1}, {out, sizeof(out) - 1}}

static const struct pair html[] = {
    PAIR("", ""),
    PAIR("plain \xc3\xa9", "plain \xc3\xa9"),
    PAIR("<a href=\"x\">'&'</a>", "&lt;a href=&quot;x&quot;&gt;&#x27;&amp;&#x27;&lt;/a&gt;"),
    PAIR("a\0<", "a\0&lt;"),
};

START_TEST(html_is_escaped_as_tornado_does)
{
    assert_str_eq(td_html_escape(&arena, html[_i].in), html[_i].out);
}
END_TEST

START_TEST(html_that_needs_nothing_is_not_copied)
{
    const td_str s = TD_STR("nothing to do");

    ck_assert_ptr_eq(td_html_escape(&arena, s).ptr, s.ptr);
}
END_TEST

static const struct pair log_lines[] = {
    PAIR("", ""),
    PAIR("GET /a?b=c", "GET /a?b=c"),
    PAIR("a\"b\\c", "a\\x22b\\x5cc"),
    PAIR("\n\x00\x1f\x20\x7e\x7f\x80\xff", "\\x0a\\x00\\x1f ~\\x7f\\x80\xff"),
    PAIR("\xc2\x80\xc2\x9b" "31m\xc2\x9f\xc2\xa0", "\\xc2\\x80\\xc2\\x9b31m\\xc2\\x9f\xc2\xa0"),
    PAIR("\xe2\x82\xac\x9b\xf0\x9f\x98\x80", "\xe2\x82\xac\\x9b\xf0\x9f\x98\x80"),
    PAIR("\xe2\x82\xc2", "\xe2\\x82\xc2"),
};

START_TEST(log_fields_hold_no_control_no_quote_and_no_backslash)
{
    td_buf buf = {0};

    td_log_escape(&buf, log_lines[_i].in);
    assert_buf_eq(&buf, log_lines[_i].out);
}
END_TEST

START_TEST(a_place_that_is_too_small_gets_whole_escapes_only)
{
    const td_str out = log_lines[_i].out;

    for (size_t size = 0; size <= out.len + 2; size++) {
        char place[64];
        const size_t len = td_log_escape_into(place, size, log_lines[_i].in);

        ck_assert_uint_le(len, size);
        ck_assert_mem_eq(place, out.ptr, len);
        ck_assert(len == out.len || (out.ptr[len] != 'x' && (out.ptr[len] & 0xc0) != 0x80));
        ck_assert(size < out.len || len == out.len);
        ck_assert(size >= out.len || len + 4 > size);
    }
}
END_TEST

static const struct pair json[] = {
    PAIR("", ""),
    PAIR("plain", "plain"),
    PAIR("\"\\/\b\f\n\r\t", "\\\"\\\\/\\b\\f\\n\\r\\t"),
    PAIR("\x00\x1f\x7f", "\\u0000\\u001f\\u007f"),
    PAIR("\xc2\x80\xc2\x9f\xc2\xa0", "\\u0080\\u009f\xc2\xa0"),
    PAIR("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
    PAIR("a\xff" "b\xc3", "a\xef\xbf\xbd" "b\xef\xbf\xbd"),
    PAIR("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"),
};

START_TEST(json_strings_are_valid_whatever_the_bytes)
{
    td_buf buf = {0};

    td_json_escape(&buf, json[_i].in);
    assert_buf_eq(&buf, json[_i].out);
}
END_TEST

static const struct {
    td_str in, out, with_plus;
} urls[] = {
#define URL(in, out, with_plus)                                                                    \
    {{in, sizeof(in) - 1}, {out, sizeof(out) - 1}, {with_plus, sizeof(with_plus) - 1}}
    URL("", "", ""),
    URL("a+b", "a+b", "a b"),
    URL("%41%6a%6A", "Ajj", "Ajj"),
    URL("%00%ff", "\0\xff", "\0\xff"),
    URL("%", "%", "%"),
    URL("%4", "%4", "%4"),
    URL("%zz%4z%z4", "%zz%4z%z4", "%zz%4z%z4"),
    URL("%2B%20+", "+ +", "+  "),
    URL("%%41", "%A", "%A"),
    URL("%254", "%4", "%4"),
#undef URL
};

START_TEST(escapes_of_a_url_are_decoded_once_and_broken_ones_stay)
{
    const td_str out = td_url_unescape(&arena, urls[_i].in, false);

    assert_str_eq(out, urls[_i].out);
    ck_assert_int_eq(out.ptr[out.len], '\0');
    assert_str_eq(td_url_unescape(&arena, urls[_i].in, true), urls[_i].with_plus);
}
END_TEST

START_TEST(what_a_url_escapes_comes_back)
{
    char all[256];

    for (int i = 0; i < 256; i++)
        all[i] = (char)i;

    const td_str s = td_str_make(all, sizeof(all));
    const td_str escaped = td_url_escape(&arena, s, "");

    ck_assert_uint_eq(escaped.len, 66 + 3 * (256 - 66)); /* RFC 3986: 66 unreserved */
    assert_str_eq(td_url_unescape(&arena, escaped, true), s);
    assert_str_eq(td_url_escape(&arena, TD_STR("/a b/\xc3\xa9"), "/"), TD_STR("/a%20b/%C3%A9"));
}
END_TEST

static const struct {
    const char *text;
    bool is_valid;
} utf8[] = {
    {"", true},
    {"ascii, more than eight", true},
    {"\xc2\x80", true},
    {"\xdf\xbf", true},
    {"\xe0\xa0\x80", true},
    {"\xed\x9f\xbf", true},
    {"\xee\x80\x80", true},
    {"\xf0\x90\x80\x80", true},
    {"\xf4\x8f\xbf\xbf", true},
    {"\x80", false},
    {"\xc0\x80", false},
    {"\xc1\xbf", false},
    {"\xc2", false},
    {"\xc2" "a", false},
    {"\xe0\x9f\xbf", false},
    {"\xed\xa0\x80", false},
    {"\xe2\x82", false},
    {"\xe2" "aa", false},
    {"\xf0\x8f\xbf\xbf", false},
    {"\xf4\x90\x80\x80", false},
    {"\xf5\x80\x80\x80", false},
    {"\xf0\x9f\x98", false},
    {"\xff", false},
};

START_TEST(utf8_is_judged_wherever_it_stands)
{
    for (int before = 0; before < 18; before++) {
        char text[64];

        snprintf(text, sizeof(text), "%.*s%s", before, "abcdefghijklmnopqr", utf8[_i].text);
        ck_assert_int_eq(td_utf8_is_valid(td_str_of(text)), utf8[_i].is_valid);
        strcat(text, "12345678901");
        ck_assert_int_eq(td_utf8_is_valid(td_str_of(text)), utf8[_i].is_valid);
    }
}
END_TEST

static const struct {
    const char *a, *b;
    bool are_equal;
} words[] = {
    {"", "", true},          {"Host", "hOST", true}, {"host", "hosts", false},
    {"a", "b", false},       {"[", "{", false}, /* 0x20 apart, but no letters */
    {"\xc3", "\xe3", false}, {"@", "`", false},
};

START_TEST(case_is_ignored_for_ascii_letters_only)
{
    ck_assert_int_eq(td_str_equal_nocase(td_str_of(words[_i].a), td_str_of(words[_i].b)),
                     words[_i].are_equal);
}
END_TEST

static const struct pair trimmed[] = {
    PAIR("", ""),       PAIR(" \t ", ""),           PAIR("a", "a"),
    PAIR("\t a b ", "a b"), PAIR("\ra\n", "\ra\n"),
};

START_TEST(only_blanks_and_tabs_are_trimmed)
{
    assert_str_eq(td_str_trim(trimmed[_i].in), trimmed[_i].out);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_arena, close_arena);
    ADD_TABLE(tcase, html_is_escaped_as_tornado_does, html);
    tcase_add_test(tcase, html_that_needs_nothing_is_not_copied);
    ADD_TABLE(tcase, log_fields_hold_no_control_no_quote_and_no_backslash, log_lines);
    ADD_TABLE(tcase, a_place_that_is_too_small_gets_whole_escapes_only, log_lines);
    ADD_TABLE(tcase, json_strings_are_valid_whatever_the_bytes, json);
    ADD_TABLE(tcase, escapes_of_a_url_are_decoded_once_and_broken_ones_stay, urls);
    tcase_add_test(tcase, what_a_url_escapes_comes_back);
    ADD_TABLE(tcase, utf8_is_judged_wherever_it_stands, utf8);
    ADD_TABLE(tcase, case_is_ignored_for_ascii_letters_only, words);
    ADD_TABLE(tcase, only_blanks_and_tabs_are_trimmed, trimmed);
}

int
main(void)
{
    return unit_run("escape", fill);
}
