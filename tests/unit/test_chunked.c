/*
 * Goal: each rule of the chunked coding is kept, at every split of the input.
 *
 * The first column of a table is the section of RFC 9112.
 */
#include <tornado/error.h>
#include "tests/fuzz/chunked_every_way.h"
#include "unit.h"

static const td_chunked_limits limits = {
    .body_max = 100, .trailer_size_max = 40, .trailers_max = 3};

static const struct {
    const char *section, *input, *data, *rest;
} accepted[] = {
    {"7.1", "0\r\n\r\n", "", ""},
    {"7.1", "0000000000000000\r\n\r\nrest", "", "rest"},
    {"7.1", "5\r\nhello\r\n0\r\n\r\n", "hello", ""},
    {"7.1", "5\r\nhello\r\n1\r\n,\r\n06\r\n world\r\n0\r\n\r\nGET /", "hello, world", "GET /"},
    {"7.1", "1f\r\n0123456789abcdef0123456789abcde\r\n0\r\n\r\n",
     "0123456789abcdef0123456789abcde", ""},
    {"7.1", "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", "01234567890123456789a", ""},
    {"7.1", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n", ""},
    {"7.1.1", "1;a\r\nx\r\n1;a=b;c=\"d;e\"\r\ny\r\n0;f\r\n\r\n", "xy", ""},
    {"7.1.1", "1 \t;\ta = b \t; c ;d\r\nx\r\n0\t;\te=\t\"\"\r\n\r\n", "x", ""},
    {"7.1.1", "1;a=\"\t \x80;=\\\"\\\\\\a\" ;b\r\nx\r\n0;a=\"b\";c\r\n\r\n", "x", ""},
    {"7.1.2", "1\r\nx\r\n0\r\nA: b\r\nContent-Length: 9\r\nC:\r\n\r\n", "x", ""},
};

/* Each input ends in the byte that shows what is wrong; one byte less, and more is waited for. */
static const struct {
    const char *section, *input;
    int rc, status;
} refused[] = {
    {"7.1", "\r", TD_EBADMSG, 400},
    {"7.1", "\n", TD_EBADMSG, 400},
    {"7.1", " ", TD_EBADMSG, 400},
    {"7.1", ";", TD_EBADMSG, 400},
    {"7.1", "+", TD_EBADMSG, 400},
    {"7.1", "-", TD_EBADMSG, 400},
    {"7.1", "g", TD_EBADMSG, 400},
    {"7.1", "G", TD_EBADMSG, 400},
    {"7.1", "0x", TD_EBADMSG, 400},
    {"7.1", "5,", TD_EBADMSG, 400},
    {"7.1", "5\n", TD_EBADMSG, 400},
    {"7.1", "5\r\r", TD_EBADMSG, 400},
    {"7.1", "5\rh", TD_EBADMSG, 400},
    {"7.1", "5 5", TD_EBADMSG, 400},
    {"7.1", "5 \r", TD_EBADMSG, 400},
    {"7.1", "5\t\n", TD_EBADMSG, 400},
    {"7.1", "00000000000000005", TD_EBADMSG, 400},
    {"7.1", "5\r\nhellox", TD_EBADMSG, 400},
    {"7.1", "5\r\nhello\n", TD_EBADMSG, 400},
    {"7.1", "5\r\nhello\r\r", TD_EBADMSG, 400},
    {"7.1", "5\r\nhello\rx", TD_EBADMSG, 400},
    {"7.1", "4\r\nhello", TD_EBADMSG, 400},
    {"7.1", "1\r\nx\r\n\r", TD_EBADMSG, 400},
    {"7.1", "0\r\n\n", TD_EBADMSG, 400},
    {"7.1", "0\r\n\r\r", TD_EBADMSG, 400},
    {"7.1.1", "5;\r", TD_EBADMSG, 400},
    {"7.1.1", "5; \r", TD_EBADMSG, 400},
    {"7.1.1", "5;;", TD_EBADMSG, 400},
    {"7.1.1", "5;=", TD_EBADMSG, 400},
    {"7.1.1", "5;\"", TD_EBADMSG, 400},
    {"7.1.1", "5;\x80", TD_EBADMSG, 400},
    {"7.1.1", "5;a \r", TD_EBADMSG, 400},
    {"7.1.1", "5;a b", TD_EBADMSG, 400},
    {"7.1.1", "5;a=\r", TD_EBADMSG, 400},
    {"7.1.1", "5;a=;", TD_EBADMSG, 400},
    {"7.1.1", "5;a==", TD_EBADMSG, 400},
    {"7.1.1", "5;a=b=", TD_EBADMSG, 400},
    {"7.1.1", "5;a=b\"", TD_EBADMSG, 400},
    {"7.1.1", "5;a=b \r", TD_EBADMSG, 400},
    {"7.1.1", "5;a=\"b\r", TD_EBADMSG, 400},
    {"7.1.1", "5;a=\"b\n", TD_EBADMSG, 400},
    {"7.1.1", "5;a=\"b\\\r", TD_EBADMSG, 400},
    {"7.1.1", "5;a=\"b\"c", TD_EBADMSG, 400},
    {"7.1.1", "5;a\n", TD_EBADMSG, 400},
    {"7.1.1", "5;a\x01", TD_EBADMSG, 400},
    {"7.1.1", "5;a\x7f", TD_EBADMSG, 400},
    {"7.1.1", "5;a\r ", TD_EBADMSG, 400},
    {"7.1.2", "0\r\n ", TD_EBADMSG, 400},
    {"7.1.2", "0\r\n:", TD_EBADMSG, 400},
    {"7.1.2", "0\r\nA ", TD_EBADMSG, 400},
    {"7.1.2", "0\r\nA\r", TD_EBADMSG, 400},
    {"7.1.2", "0\r\nA(", TD_EBADMSG, 400},
    {"7.1.2", "0\r\nA: \x01", TD_EBADMSG, 400},
    {"7.1.2", "0\r\nA: b\n", TD_EBADMSG, 400},
    {"7.1.2", "0\r\nA: b\rc", TD_EBADMSG, 400},
    {"7.1.2", "0\r\nA: b\r\n ", TD_EBADMSG, 400},
    {"7.1", "65\r", TD_ETOOBIG, 413},
    {"7.1", "65;", TD_ETOOBIG, 413},
    {"7.1", "ffffffffffffffff\r", TD_ETOOBIG, 413},
    {"7.1", "1\r\nx\r\n64\r", TD_ETOOBIG, 413},
    {"7.1", "1\r\nx\r\nffffffffffffffff\r", TD_ETOOBIG, 413},
    {"7.1.2", "0\r\nA:b\r\nA:b\r\nA:b\r\nA", TD_ETOOBIG, 431},
    {"7.1.2", "0\r\nA:23456789012345678901234567890123456789x", TD_ETOOBIG, 431},
};

START_TEST(a_good_body_gives_its_data)
{
    const td_str input = td_str_of(accepted[_i].input);
    decoded d = decode_every_way(input, &limits);

    ck_assert_msg(d.rc == 0 && d.end, "section %s: %s", accepted[_i].section, d.decoder.what);
    ck_assert(td_str_equal(decoded_data(&d), td_str_of(accepted[_i].data)));
    ck_assert_str_eq(input.ptr + d.taken, accepted[_i].rest);
    decoded_fini(&d);
}
END_TEST

START_TEST(a_bad_body_is_refused_at_its_first_bad_byte)
{
    const td_str input = td_str_of(refused[_i].input);
    decoded d = decode_every_way(input, &limits);

    ck_assert_msg(d.rc == refused[_i].rc, "section %s: %d: %s", refused[_i].section, d.rc,
                  refused[_i].input);
    ck_assert_int_eq(d.decoder.status, refused[_i].status);
    ck_assert_ptr_nonnull(d.decoder.what);
    decoded_fini(&d);

    d = decode_every_way(td_str_make(input.ptr, input.len - 1), &limits);
    ck_assert_int_eq(d.rc, 0);
    ck_assert(!d.end);
    decoded_fini(&d);
}
END_TEST

START_TEST(data_before_an_error_is_handed_over)
{
    const td_str input = TD_STR("5\r\nhello\r\n3\r\nabcX");
    decoded d = decode_every_way(input, &limits);

    ck_assert_int_eq(d.rc, TD_EBADMSG);
    ck_assert(td_str_equal(decoded_data(&d), TD_STR("helloabc")));
    decoded_fini(&d);
}
END_TEST

/* Decode chunks of one byte, `count` of them, with an extension of extension_len bytes each. */
static int
decode_extensions(size_t extension_len, size_t count)
{
    const td_chunked_limits wide = {.body_max = UINT64_MAX};
    char chunk[512];
    size_t len = 0;

    chunk[len++] = '1';
    memset(chunk + len, 'a', extension_len);
    chunk[len] = ';';
    len += extension_len;
    memcpy(chunk + len, "\r\nx\r\n", 5);
    len += 5;

    decoded d = {.data = malloc(count)};

    for (size_t i = 0; i < count && d.rc == 0; i++)
        decode_piece(&d, td_str_make(chunk, len), &wide);

    const int rc = d.rc;

    ck_assert(rc == 0 || d.decoder.status == 400);
    decoded_fini(&d);
    return rc;
}

START_TEST(extensions_are_bounded)
{
    ck_assert_int_eq(decode_extensions(TD_CHUNK_EXTENSION_MAX, 1), 0);
    ck_assert_int_eq(decode_extensions(TD_CHUNK_EXTENSION_MAX + 1, 1), TD_EBADMSG);
    ck_assert_int_eq(decode_extensions(256, TD_CHUNK_EXTENSIONS_MAX / 256), 0);
    ck_assert_int_eq(decode_extensions(256, TD_CHUNK_EXTENSIONS_MAX / 256 + 1), TD_EBADMSG);
}
END_TEST

START_TEST(a_body_may_be_as_large_as_its_limit)
{
    const td_chunked_limits tight = {.body_max = 5};
    decoded d = decode_every_way(TD_STR("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), &tight);

    ck_assert(d.rc == 0 && d.end);
    decoded_fini(&d);
    d = decode_every_way(TD_STR("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"), &tight);
    ck_assert_int_eq(d.rc, TD_ETOOBIG);
    decoded_fini(&d);
}
END_TEST

START_TEST(a_chunk_of_any_size_is_framed)
{
    const td_chunked_limits wide = {.body_max = UINT64_MAX};
    td_chunked decoder = {.state = 0};
    td_str data;
    bool end;
    const ssize_t n = td_chunked_decode(&decoder, &wide, "fffffffffffffffe\r\nxy", 20, &data, &end);

    ck_assert_int_eq(n, 20);
    ck_assert(td_str_equal(data, TD_STR("xy")));
    ck_assert(!end && decoder.chunk_left == UINT64_MAX - 3);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, a_good_body_gives_its_data, accepted);
    ADD_TABLE(tcase, a_bad_body_is_refused_at_its_first_bad_byte, refused);
    tcase_add_test(tcase, data_before_an_error_is_handed_over);
    tcase_add_test(tcase, extensions_are_bounded);
    tcase_add_test(tcase, a_body_may_be_as_large_as_its_limit);
    tcase_add_test(tcase, a_chunk_of_any_size_is_framed);
}

int
main(void)
{
    return unit_run("chunked", fill);
}
