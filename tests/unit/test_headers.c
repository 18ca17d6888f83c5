/* Goal: field lines keep their order and compare without case; their grammar is RFC 9110. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include "http/headers.h"
#include "unit.h"

static td_arena arena;
static td_headers headers;

static void
set_up(void)
{
    td_arena_init(&arena);
    headers = (td_headers){.count = 0};
}

static void
tear_down(void)
{
    td_arena_fini(&arena);
}

static void
add(const char *name, const char *value)
{
    td_headers_add(&headers, &arena, td_str_of(name), td_str_of(value));
}

/* All lines as "name=value name=value ". */
static void
expect_lines(const char *expected)
{
    char text[256] = "";
    size_t len = 0;

    for (size_t i = 0; i < headers.count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%.*s=%.*s ",
                                TD_STR_FMT(headers.items[i].name),
                                TD_STR_FMT(headers.items[i].value));
    ck_assert_str_eq(text, expected);
}

START_TEST(nothing_is_found_where_nothing_is)
{
    ck_assert_ptr_null(td_headers_find(&headers, TD_STR("A")));
    ck_assert(td_str_is_null(td_headers_get(&headers, &arena, TD_STR("A"))));
    ck_assert(!td_headers_remove(&headers, TD_STR("A")));
}
END_TEST

START_TEST(names_compare_without_case)
{
    add("Content-Type", "text/plain");
    ck_assert_ptr_eq(td_headers_find(&headers, TD_STR("cONTENT-tYPE")), &headers.items[0]);
    ck_assert_ptr_null(td_headers_find(&headers, TD_STR("Content-Typ")));
    ck_assert_ptr_null(td_headers_find(&headers, TD_STR("Content_Type")));
}
END_TEST

START_TEST(lines_of_a_name_are_found_in_order)
{
    add("A", "1");
    add("B", "2");
    add("a", "3");

    const td_header *line = td_headers_find(&headers, TD_STR("a"));

    ck_assert_ptr_eq(line, &headers.items[0]);
    line = td_headers_next(&headers, line);
    ck_assert_ptr_eq(line, &headers.items[2]);
    ck_assert_ptr_null(td_headers_next(&headers, line));
}
END_TEST

START_TEST(values_of_a_name_are_joined)
{
    add("A", "1");
    add("B", "2");
    add("a", "");
    add("A", "3");

    const td_str joined = td_headers_get(&headers, &arena, TD_STR("A"));

    ck_assert(td_str_equal(joined, TD_STR("1, , 3")));
    ck_assert_int_eq(joined.ptr[joined.len], '\0');
    ck_assert_ptr_eq(td_headers_get(&headers, &arena, TD_STR("B")).ptr, headers.items[1].value.ptr);
}
END_TEST

START_TEST(set_replaces_all_lines_in_the_place_of_the_first)
{
    add("A", "1");
    add("B", "2");
    add("C", "3");
    add("b", "4");
    add("B", "5");
    td_headers_set(&headers, &arena, TD_STR("b"), TD_STR("6"));
    expect_lines("A=1 b=6 C=3 ");
    td_headers_set(&headers, &arena, TD_STR("D"), TD_STR("7"));
    expect_lines("A=1 b=6 C=3 D=7 ");
}
END_TEST

START_TEST(remove_takes_all_lines_of_a_name)
{
    add("A", "1");
    add("B", "2");
    add("a", "3");
    ck_assert(td_headers_remove(&headers, TD_STR("A")));
    expect_lines("B=2 ");
    ck_assert(!td_headers_remove(&headers, TD_STR("A")));
    ck_assert(td_headers_remove(&headers, TD_STR("b")));
    expect_lines("");
}
END_TEST

START_TEST(any_number_of_lines_fits)
{
    static const td_str value = {"value", 5};

    for (size_t i = 0; i < 1000; i++)
        td_headers_add(&headers, &arena, td_arena_sprintf(&arena, "N%zu", i), value);
    ck_assert_uint_eq(headers.count, 1000);
    for (size_t i = 0; i < 1000; i++) {
        ck_assert(td_str_equal(headers.items[i].name, td_arena_sprintf(&arena, "N%zu", i)));
        ck_assert(td_str_equal(headers.items[i].value, value));
    }
}
END_TEST

static bool
is_one_of(int byte, const char *set)
{
    return byte != '\0' && strchr(set, byte) != NULL;
}

/* RFC 9110 section 5.6.2 */
START_TEST(a_token_is_tchars)
{
    for (int byte = 0; byte < 256; byte++) {
        const char text[] = {'a', (char)byte};
        const bool is_tchar = byte < 0x80 && (isalnum(byte) || is_one_of(byte, "!#$%&'*+-.^_`|~"));

        ck_assert(td_byte_is((char)byte, TD_BYTE_TOKEN) == is_tchar);
        ck_assert(td_is_token(td_str_make(text, 2)) == is_tchar);
    }
    ck_assert(!td_is_token(TD_STR("")));
}
END_TEST

/* RFC 9110 section 5.5 */
START_TEST(a_field_value_has_no_control_byte_but_tab)
{
    for (int byte = 0; byte < 256; byte++) {
        const char text[] = {'a', (char)byte};
        const bool is_good = byte == '\t' || (byte >= 0x20 && byte != 0x7f);

        ck_assert(td_is_field_value(td_str_make(text, 2)) == is_good);
    }
    ck_assert(td_is_field_value(TD_STR("")));
}
END_TEST

/* RFC 3986 sections 2.1 to 2.3 and 3.2.2; RFC 9112 section 3 */
START_TEST(targets_and_hosts_have_these_bytes)
{
    for (int byte = 0; byte < 256; byte++) {
        const bool is_target = byte > 0x20 && byte < 0x7f && byte != '#';
        const bool is_host = byte < 0x80 && (isalnum(byte) || is_one_of(byte, "-._~!$&'()*+;="));

        ck_assert(td_byte_is((char)byte, TD_BYTE_TARGET) == is_target);
        ck_assert(td_byte_is((char)byte, TD_BYTE_PATH) ==
                  (is_target && byte != '?' && byte != '%'));
        ck_assert(td_byte_is((char)byte, TD_BYTE_HOST) == is_host);
        ck_assert(td_byte_is((char)byte, TD_BYTE_DIGIT) == is_one_of(byte, "0123456789"));
        ck_assert(td_byte_is((char)byte, TD_BYTE_HEX) ==
                  is_one_of(byte, "0123456789abcdefABCDEF"));
    }
}
END_TEST

static const struct {
    const char *list, *elements;
} lists[] = {
    {"", ""},
    {"a", "[a]"},
    {" a ", "[a]"},
    {"a,b", "[a][b]"},
    {" a\t,\t b c ,d", "[a][b c][d]"},
    {",, ,a,", "[a]"},
    {" \t", ""},
};

/* RFC 9110 section 5.6.1 */
START_TEST(a_list_is_its_elements)
{
    td_str list = td_str_of(lists[_i].list), element;
    char text[64] = "";
    size_t len = 0;

    while (td_list_next(&list, &element))
        len += (size_t)snprintf(text + len, sizeof text - len, "[%.*s]", TD_STR_FMT(element));
    ck_assert_str_eq(text, lists[_i].elements);
}
END_TEST

START_TEST(a_list_has_a_token_whatever_its_case)
{
    ck_assert(td_list_has_token(TD_STR("keep-alive, Upgrade"), TD_STR("upgrade")));
    ck_assert(td_list_has_token(TD_STR("CLOSE"), TD_STR("close")));
    ck_assert(!td_list_has_token(TD_STR("closed, not-close"), TD_STR("close")));
    ck_assert(!td_list_has_token(TD_STR(""), TD_STR("close")));
}
END_TEST

START_TEST(a_status_has_its_reason)
{
    ck_assert(td_str_equal(td_reason_phrase(200), TD_STR("OK")));
    ck_assert(td_str_equal(td_reason_phrase(431), TD_STR("Request Header Fields Too Large")));
    ck_assert(td_str_equal(td_reason_phrase(299), TD_STR("Unknown")));
    ck_assert(td_str_equal(td_reason_phrase(-1), TD_STR("Unknown")));
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, nothing_is_found_where_nothing_is);
    tcase_add_test(tcase, names_compare_without_case);
    tcase_add_test(tcase, lines_of_a_name_are_found_in_order);
    tcase_add_test(tcase, values_of_a_name_are_joined);
    tcase_add_test(tcase, set_replaces_all_lines_in_the_place_of_the_first);
    tcase_add_test(tcase, remove_takes_all_lines_of_a_name);
    tcase_add_test(tcase, any_number_of_lines_fits);
    tcase_add_test(tcase, a_token_is_tchars);
    tcase_add_test(tcase, a_field_value_has_no_control_byte_but_tab);
    tcase_add_test(tcase, targets_and_hosts_have_these_bytes);
    ADD_TABLE(tcase, a_list_is_its_elements, lists);
    tcase_add_test(tcase, a_list_has_a_token_whatever_its_case);
    tcase_add_test(tcase, a_status_has_its_reason);
}

int
main(void)
{
    return unit_run("headers", fill);
}
