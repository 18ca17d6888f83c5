/*
 * Goal: several ranges of a file are the parts of one body (RFC 9110 section 14.6), and more of
 * them than the limit are told and answered with the whole file.
 */
#include "static_fixture.h"

/*
 * What a multipart/byteranges body of hello.txt or large.bin is made of, with B for the boundary.
 */
static void
check_parts(const web_exchange *x, const char *wanted)
{
    static char text[1 << 17];
    char boundary[64];
    size_t len = 0;

    ck_assert_int_eq(sscanf(strstr(x->headers, "multipart/byteranges; boundary="),
                            "multipart/byteranges; boundary=%63s", boundary),
                     1);
    ck_assert_uint_eq(strlen(boundary), 32);
    for (size_t i = 0; i < x->body_len;) {
        const bool is_boundary = memcmp(x->body + i, boundary, 32) == 0;

        text[len++] = is_boundary ? 'B' : x->body[i];
        i += is_boundary ? 32 : 1;
    }
    text[len] = '\0';
    ck_assert_str_eq(text, wanted);
    ck_assert_int_eq(x->length, (int64_t)x->body_len);
    ck_assert_ptr_null(strstr(x->headers, "Content-Range"));
}

START_TEST(several_ranges_are_parts)
{
    web_exchange *x;

    serve();
    x = web_request("GET", "/static/hello.txt", "Range: bytes=8-,0-1,4-4\r\n");
    ck_assert_int_eq(x->status, 206);
    check_parts(x, "--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n"
                   "--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n"
                   "--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 4-4/10\r\n\r\n4\r\n"
                   "--B--\r\n");
    web_done(x);

    x = web_request("GET", "/static/large.bin", "Range: bytes=0-2,-1\r\n");
    check_parts(x, "--B\r\nContent-Type: application/octet-stream\r\n"
                   "Content-Range: bytes 0-2/50000\r\n\r\nabc\r\n"
                   "--B\r\nContent-Type: application/octet-stream\r\n"
                   "Content-Range: bytes 49999-49999/50000\r\n\r\nb\r\n--B--\r\n");
    ck_assert_int_eq(x->files, 2);
    web_done(x);
}
END_TEST

START_TEST(too_many_ranges_are_told_and_the_file_is_sent)
{
    web_exchange *x;

    web_app_settings.static_max_ranges = 2;
    serve();
    x = web_request("GET", "/static/hello.txt", "Range: bytes=0-0,2-2\r\n");
    ck_assert_int_eq(x->status, 206);
    web_done(x);
    web_log();
    x = web_request("GET", "/static/hello.txt", "Range: bytes=0-0,2-2,4-4\r\n");
    ck_assert_int_eq(x->status, 200);
    ck_assert_uint_eq(x->body_len, 10);
    ck_assert(strstr(web_log(), "more than static_max_ranges (2) ranges of /static/hello.txt"));
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, several_ranges_are_parts);
    tcase_add_test(tcase, too_many_ranges_are_told_and_the_file_is_sent);
}

int
main(void)
{
    return unit_run("byteranges", fill);
}
