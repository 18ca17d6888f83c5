/* Goal: Base64 is RFC 4648's, and a text is read only where it is exactly what would be written. */
#include "base/base64.h"
#include "unit.h"

static const struct {
    const char *bytes, *text;
} pairs[] = {
    {"", ""},           {"f", "Zg=="},         {"fo", "Zm8="},         {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "+/+/"},
};

START_TEST(it_is_written_and_read)
{
    const td_str bytes = td_str_of(pairs[_i].bytes), text = td_str_of(pairs[_i].text);
    char out[64];
    size_t len;

    ck_assert_uint_eq(TD_BASE64_LEN(bytes.len), text.len);
    ck_assert_ptr_eq(td_base64_encode(out, bytes), out + text.len);
    ck_assert(td_str_equal(td_str_make(out, text.len), text));
    ck_assert(td_base64_decode(out, text, &len));
    ck_assert(td_str_equal(td_str_make(out, len), bytes));
}
END_TEST

static const char *const bad[] = {
    "Z",    "Zg",       "Zg=",    "Zg===", "=",    "====", "Z===", "Zh==",
    "Zm9=", "Zg==Zg==", "Zm9v\n", "Zm 9",  "Zm-_", "Zg=a", "=Zg=", "\xff\xff\xff\xff",
};

START_TEST(anything_else_is_refused)
{
    char out[64];
    size_t len = 77;

    ck_assert(!td_base64_decode(out, td_str_of(bad[_i]), &len));
    ck_assert_uint_eq(len, 77);
}
END_TEST

START_TEST(every_byte_comes_back)
{
    char bytes[259], text[TD_BASE64_LEN(259)], again[TD_BASE64_BYTES(TD_BASE64_LEN(259))];
    size_t len;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7);
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        const char *end = td_base64_encode(text, td_str_make(bytes, n));

        ck_assert(td_base64_decode(again, td_str_make(text, (size_t)(end - text)), &len));
        ck_assert(td_str_equal(td_str_make(again, len), td_str_make(bytes, n)));
    }
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, it_is_written_and_read, pairs);
    ADD_TABLE(tcase, anything_else_is_refused, bad);
    tcase_add_test(tcase, every_byte_comes_back);
}

int
main(void)
{
    return unit_run("base64", fill);
}
