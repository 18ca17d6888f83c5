/* Goal: JSON is as Python writes it, however it is nested and whoever empties the buffer. */
#include "base/jsontext.h"
#include "unit.h"

static td_buf out;

static void
open_buffer(void)
{
    out = (td_buf){0};
}

static void
close_buffer(void)
{
    td_buf_release(&out);
}

static void
expect(const char *wanted)
{
    td_buf_append(&out, td_str_make("", 1));
    ck_assert_str_eq(td_buf_str(&out).ptr, wanted);
}

START_TEST(values_have_their_keys_and_commas)
{
    td_jsontext text = {.to = &out};

    td_jsontext_open_object(&text, NULL);
    td_jsontext_string(&text, "a\"", "\n");
    td_jsontext_string(&text, "b", NULL);
    td_jsontext_str(&text, "c", td_str_make("a\0b", 3));
    td_jsontext_number(&text, "d", UINT64_MAX);
    td_jsontext_signed(&text, "e", INT64_MIN);
    td_jsontext_double(&text, "f", 0.1);
    td_jsontext_bool(&text, "g", true);
    td_jsontext_raw(&text, "h", TD_STR("[1]"));
    td_jsontext_close(&text);
    expect("{\"a\\\"\": \"\\n\", \"b\": null, \"c\": \"a\\u0000b\", \"d\": 18446744073709551615, "
           "\"e\": -9223372036854775808, \"f\": 0.1, \"g\": true, \"h\": [1]}");
}
END_TEST

START_TEST(levels_are_in_one_another)
{
    td_jsontext text = {.to = &out};

    td_jsontext_open_array(&text, NULL);
    ck_assert(td_jsontext_is_in_array(&text));
    td_jsontext_open_object(&text, NULL);
    ck_assert(!td_jsontext_is_in_array(&text));
    td_jsontext_open_array(&text, "x");
    td_jsontext_close(&text);
    td_jsontext_number(&text, "y", 1);
    td_jsontext_close(&text);
    td_jsontext_number(&text, NULL, 2);
    td_jsontext_open_object(&text, NULL);
    td_jsontext_close(&text);
    td_jsontext_close(&text);
    ck_assert_uint_eq(text.depth, 0);
    expect("[{\"x\": [], \"y\": 1}, 2, {}]");
}
END_TEST

START_TEST(it_goes_on_where_the_buffer_was_emptied)
{
    td_jsontext text = {.to = &out};

    td_jsontext_open_array(&text, NULL);
    td_jsontext_number(&text, NULL, 1);
    td_buf_consume(&out, out.len);
    td_jsontext_number(&text, NULL, 2);
    td_jsontext_close(&text);
    expect(", 2]");
}
END_TEST

START_TEST(levels_go_down_to_the_limit)
{
    td_jsontext text = {.to = &out};

    for (int i = 0; i < TD_JSONTEXT_DEPTH; i += 2) {
        td_jsontext_open_array(&text, i > 0 ? "k" : NULL);
        td_jsontext_open_object(&text, NULL);
    }
    for (int i = TD_JSONTEXT_DEPTH - 1; i >= 0; i--) {
        ck_assert(td_jsontext_is_in_array(&text) == (i % 2 == 0));
        td_jsontext_close(&text);
    }
    ck_assert_uint_eq(text.depth, 0);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_buffer, close_buffer);
    tcase_add_test(tcase, values_have_their_keys_and_commas);
    tcase_add_test(tcase, levels_are_in_one_another);
    tcase_add_test(tcase, it_goes_on_where_the_buffer_was_emptied);
    tcase_add_test(tcase, levels_go_down_to_the_limit);
}

int
main(void)
{
    return unit_run("jsontext", fill);
}
