/*
 * Goal: Cookie and Set-Cookie lines are read and written as Tornado and RFC 6265 do, and a line of
 * any bytes is read in time linear to its length.
 */
#include "base/clock.h"
#include "http/cookies.h"
#include "on_arena.h"

static void
assert_str(td_str got, const char *expected)
{
    if (expected == NULL) {
        ck_assert(td_str_is_null(got));
        return;
    }
    ck_assert_msg(td_str_equal(got, td_str_of(expected)), "%.*s, not %s", TD_STR_FMT(got),
                  expected);
}

/* ---- reading */

static const struct {
    const char *line, *name, *value;
} lines[] = {
    {"a=1", "a", "1"},
    {"a=1; b=2", "b", "2"},
    {"a=1;b=2", "b", "2"},
    {" \ta = 1 \t; b=2", "a", "1"},
    {"a=1; a=2", "a", "2"},
    {"a=1; A=2", "a", "1"},
    {"a=b=c", "a", "b=c"},
    {"a=", "a", ""},
    {"a", "a", NULL},
    {"a; b", "b", NULL},
    {"=x", "", NULL},
    {"x", "", NULL},
    {"b c=1", "b c", NULL},
    {"b,c=1", "b,c", NULL},
    {"", "a", NULL},
    {";", "a", NULL},
    {";;=;;a=1;;", "a", "1"},
    {"xa=1", "a", NULL},
    {"ax=1", "a", NULL},
    {"a=\"1;b=2\"", "a", "\"1"},
    {"a=\"1;b=2\"", "b", "2\""},
    {"session=2|1:0|10:1; theme=dark", "session", "2|1:0|10:1"},
    {"a=\xc3\xa9", "a", "\xc3\xa9"},
};

START_TEST(the_last_cookie_of_a_name_is_found)
{
    assert_str(td_cookie_find(td_str_of(lines[_i].line), td_str_of(lines[_i].name)),
               lines[_i].value);
}
END_TEST

static const struct {
    const char *value, *text;
} quoted[] = {
    {"", ""},
    {"plain", "plain"},
    {"\"", "\""},
    {"\"\"", ""},
    {"\"a b\"", "a b"},
    {"\"a", "\"a"},
    {"a\"", "a\""},
    {"'a'", "'a'"},
    {"a\\073b", "a\\073b"},
    {"\"a\\073b\\054c\"", "a;b,c"},
    {"\"\\\"\\\\\"", "\"\\"},
    {"\"\\377\"", "\xff"},
    {"\"\\400\"", "400"},
    {"\"\\08\\7\"", "087"},
    {"\"\\\"", "\\"},
    {"\"\\\\\\\"", "\\\\"},
    {"\"\\1\"", "1"},
    {"\"\\11\"", "11"},
    {"\"\\1119\"", "I9"},
};

START_TEST(quotes_and_escapes_are_taken_away)
{
    const td_str text = td_cookie_unquote(&arena, td_str_of(quoted[_i].value));

    assert_str(text, quoted[_i].text);
    ck_assert_int_eq(text.ptr[text.len], '\0');
}
END_TEST

START_TEST(a_zero_byte_inside_is_data)
{
    const td_str text = td_cookie_unquote(&arena, TD_STR("\"a\\000b\""));

    ck_assert(td_str_equal(text, TD_STR("a\0b")));
}
END_TEST

/* ---- writing */

static const td_cookie_options none = {.size = sizeof(none)};

static const struct {
    const char *value, *text; /* text NULL: refused */
} values[] = {
    {"", "\"\""},
    {"plain", "plain"},
    {"!#$%&'*+-.^_`|~:", "!#$%&'*+-.^_`|~:"},
    {"a=b", "\"a=b\""},
    {"2|1:0|4:YQ==|", "\"2|1:0|4:YQ==|\""},
    {"()/<=>?@[]{}", "\"()/<=>?@[]{}\""},
    {"a;b,c", "\"a\\073b\\054c\""},
    {"\"\\", "\"\\\"\\\\\""},
    {"\xc3\xa9", "\"\\303\\251\""},
    {"a b", NULL},
    {"a\tb", NULL},
    {"a\r\nSet-Cookie: b=c", NULL},
    {"\x7f", NULL},
    {NULL, NULL},
};

START_TEST(a_value_is_quoted_where_it_has_to_be)
{
    const td_str value = td_str_of(values[_i].value);
    const char *fault = td_cookie_fault(TD_STR("n"), value, &none);

    if (values[_i].text == NULL) {
        ck_assert_str_eq(fault, "a control byte or a blank is in the value");
        return;
    }
    ck_assert_ptr_null(fault);
    assert_str(td_cookie_format(&arena, TD_STR("n"), value, &none),
               td_arena_sprintf(&arena, "n=%s; Path=/", values[_i].text).ptr);
}
END_TEST

START_TEST(every_value_that_is_written_is_read_again)
{
    for (int first = '!'; first < 256; first++) {
        char text[] = {(char)first, 'x', (char)(first == 255 ? '"' : first + 1), '\0'};

        if (first == 0x7e || first == 0x7f)
            continue;
        const td_str line = td_cookie_format(&arena, TD_STR("n"), td_str_of(text), &none);

        assert_str(td_cookie_unquote(&arena, td_cookie_find(line, TD_STR("n"))), text);
    }
}
END_TEST

static const struct {
    td_cookie_options options;
    const char *text; /* behind "n=v" */
} attributes[] = {
    {TD_COOKIE(.path = "/shop"), "; Path=/shop"},
    {TD_COOKIE(.domain = "example.org"), "; Domain=example.org; Path=/"},
    {TD_COOKIE(.expires = 784111777), "; expires=Sun, 06 Nov 1994 08:49:37 GMT; Path=/"},
    {TD_COOKIE(.max_age = 3600), "; Max-Age=3600; Path=/"},
    {TD_COOKIE(.max_age = -1), "; Max-Age=0; Path=/"},
    {TD_COOKIE(.httponly = true, .secure = true), "; HttpOnly; Path=/; Secure"},
    {TD_COOKIE(.samesite = "Lax"), "; Path=/; SameSite=Lax"},
    {TD_COOKIE(.samesite = "none", .secure = true), "; Path=/; SameSite=none; Secure"},
    {TD_COOKIE(.domain = "d", .path = "/p", .expires = 1, .max_age = 2, .samesite = "Strict",
               .httponly = true, .secure = true),
     "; Domain=d; expires=Thu, 01 Jan 1970 00:00:01 GMT; HttpOnly; Max-Age=2; Path=/p; "
     "SameSite=Strict; Secure"},
};

START_TEST(attributes_are_written_in_the_order_of_Python)
{
    const td_cookie_options *options = &attributes[_i].options;

    ck_assert_ptr_null(td_cookie_fault(TD_STR("n"), TD_STR("v"), options));
    assert_str(td_cookie_format(&arena, TD_STR("n"), TD_STR("v"), options),
               td_arena_sprintf(&arena, "n=v%s", attributes[_i].text).ptr);
}
END_TEST

static const struct {
    const char *name;
    td_cookie_options options;
    const char *fault;
} faults[] = {
    {"", TD_COOKIE(.path = NULL), "the name is no token"},
    {"a b", TD_COOKIE(.path = NULL), "the name is no token"},
    {"a=b", TD_COOKIE(.path = NULL), "the name is no token"},
    {"a;b", TD_COOKIE(.path = NULL), "the name is no token"},
    {"a", TD_COOKIE(.path = "/; Domain=x"),
     "a control byte, a blank or a semicolon is in .domain or .path"},
    {"a", TD_COOKIE(.path = "/\n"),
     "a control byte, a blank or a semicolon is in .domain or .path"},
    {"a", TD_COOKIE(.domain = "x;y"),
     "a control byte, a blank or a semicolon is in .domain or .path"},
    {"a", TD_COOKIE(.samesite = "Maybe"), ".samesite is Strict, Lax or None"},
    {"a", TD_COOKIE(.samesite = "Lax; Secure"), ".samesite is Strict, Lax or None"},
    {"a", TD_COOKIE(.samesite = "None"), ".samesite None wants .secure"},
    {"__Secure-a", TD_COOKIE(.path = NULL), "a name of __Secure- wants .secure"},
    {"__host-a", TD_COOKIE(.secure = true, .path = "/x"),
     "a name of __Host- wants .secure, no .domain, and the path /"},
    {"__Host-a", TD_COOKIE(.secure = true, .domain = "x"),
     "a name of __Host- wants .secure, no .domain, and the path /"},
    {"__Host-a", TD_COOKIE(.secure = true, .path = "/"), NULL},
    {"__Secure-a", TD_COOKIE(.secure = true, .path = "/x"), NULL},
};

START_TEST(what_no_browser_would_take_is_refused)
{
    const char *fault =
        td_cookie_fault(td_str_of(faults[_i].name), TD_STR("v"), &faults[_i].options);

    ck_assert_pstr_eq(fault, faults[_i].fault);
}
END_TEST

/* ---- size */

static int64_t
time_of(char filler, size_t len)
{
    char *text = td_arena_alloc_raw(&arena, len);
    int64_t best = INT64_MAX;

    memset(text, filler, len);
    for (int i = 0; i < 5; i++) {
        const int64_t before = td_clock_ns();

        td_cookie_find(td_str_make(text, len), TD_STR("a"));
        text[0] = text[len - 1] = '"';
        td_cookie_unquote(&arena, td_str_make(text, len));
        const int64_t ns = td_clock_ns() - before;

        best = ns < best ? ns : best;
    }
    return best;
}

START_TEST(time_is_linear_in_the_length)
{
    static const char fillers[] = ";=\"\\ ,a";

    for (const char *filler = fillers; *filler != '\0'; filler++) {
        const int64_t one = time_of(*filler, 1 << 14), many = time_of(*filler, 1 << 20);

        ck_assert_msg(many < 64 * 20 * one, "'%c': %lld ns, then %lld", *filler, (long long)one,
                      (long long)many);
    }
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, arena_setup, arena_teardown);
    ADD_TABLE(tcase, the_last_cookie_of_a_name_is_found, lines);
    ADD_TABLE(tcase, quotes_and_escapes_are_taken_away, quoted);
    tcase_add_test(tcase, a_zero_byte_inside_is_data);
    ADD_TABLE(tcase, a_value_is_quoted_where_it_has_to_be, values);
    tcase_add_test(tcase, every_value_that_is_written_is_read_again);
    ADD_TABLE(tcase, attributes_are_written_in_the_order_of_Python, attributes);
    ADD_TABLE(tcase, what_no_browser_would_take_is_refused, faults);
    tcase_add_test(tcase, time_is_linear_in_the_length);
}

int
main(void)
{
    return unit_run("cookies", fill);
}
