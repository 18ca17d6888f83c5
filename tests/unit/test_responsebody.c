/*
 * Goal: bytes of a connection become bytes of a body, in the same way at every split of the input.
 */
#include <check.h>
#include <string.h>
#include <tornado/error.h>
#include "base/buf.h"
#include "http/responsebody.h"
#include "unit.h"

#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define GZIP "Content-Encoding: gzip\r\n"

/* "hello" */
#define PACKED "\x1f\x8b\x08\0\0\0\0\0\x02\xff\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0"
#define PACKED_LEN 25

#define INPUT(text) text, sizeof(text) - 1

static const struct {
    const char *headers, *input;
    size_t input_len;
    int64_t max;
    int rc; /* at the end of the input, where the connection closes too */
    const char *body, *rest;
} bodies[] = {
    {"Content-Length: 5\r\n", INPUT("hello"), 5, 0, "hello", ""},
    {"Content-Length: 5\r\n", INPUT("hello!"), 5, 0, "hello", "!"},
    {"Content-Length: 0\r\n", INPUT("x"), 0, 0, "", "x"},
    {"Content-Length: 5\r\n", INPUT("hell"), 5, TD_ECLOSED, "hell", ""},
    {"Content-Length: 6\r\n", INPUT(""), 5, TD_ETOOBIG, "", ""},
    {CHUNKED, INPUT("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\nx"), 5, 0, "hello", "x"},
    {CHUNKED, INPUT("2\r\nhe\r\n3\r\nllo\r\n0\r\n"), 5, TD_ECLOSED, "hello", ""},
    {CHUNKED, INPUT("0\r\nA: b\r\n\r\n"), 5, 0, "", ""},
    {CHUNKED, INPUT("2\r\nheX"), 5, TD_EBADMSG, "he", NULL},
    {CHUNKED, INPUT("2\r\nhe\r\n4\r\n"), 5, TD_ETOOBIG, "he", NULL},
    {"", INPUT("hello"), 5, 0, "hello", ""},
    {"", INPUT(""), 5, 0, "", ""},
    {"", INPUT("hello!"), 5, TD_ETOOBIG, NULL, NULL},
    {GZIP "Content-Length: 25\r\n", INPUT(PACKED "x"), 25, 0, "hello", "x"},
    {GZIP CHUNKED, INPUT("19\r\n" PACKED "\r\n0\r\n\r\n"), 25, 0, "hello", ""},
    {GZIP, INPUT(PACKED), 25, 0, "hello", ""},
    {GZIP, INPUT(PACKED PACKED), 25, 0, "hellohello", ""},
    {GZIP "Content-Length: 0\r\n", INPUT(""), 5, 0, "", ""},
    {GZIP "Content-Length: 4\r\n", INPUT("pack"), 5, TD_EBADMSG, "", NULL},
    {GZIP "Content-Length: 24\r\n", PACKED, PACKED_LEN - 1, 25, TD_EBADMSG, "hello", ""},
    {GZIP "Content-Length: 11\r\n", PACKED, 11, 25, TD_EBADMSG, "", ""}, /* nothing can be inflated yet */
    {GZIP CHUNKED, INPUT("1\r\n\x1f\r\n0\r\n\r\n"), 25, TD_EBADMSG, "", ""},
    {GZIP CHUNKED, INPUT("0\r\n\r\n"), 25, 0, "", ""},
    {GZIP "Content-Encoding: br\r\nContent-Length: 5\r\n", INPUT("hello"), 5, 0, "hello", ""},
    {GZIP, INPUT(PACKED PACKED), 9, TD_ETOOBIG, NULL, NULL},
};

static td_arena arena;
static td_response_body body;
static td_buf got;

/* Hand over what there is, byte for byte as it comes from a connection. */
static int
take(td_str *input)
{
    td_str data;
    int rc;

    while ((rc = td_response_body_next(&body, input, &data)) > 0)
        td_buf_append(&got, data);
    return rc;
}

static int
take_all(td_str input, size_t step, td_str *rest_out)
{
    td_str rest = input;
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < input.len && !td_response_body_is_over(&body); at += step) {
        const size_t n = input.len - at < step ? input.len - at : step;

        rest = td_str_make(input.ptr + at, n);
        rc = take(&rest);
        if (rc == 0 && td_response_body_is_over(&body))
            rest.len = (size_t)(input.ptr + input.len - rest.ptr);
    }
    if (rc == 0 && !td_response_body_is_over(&body))
        rc = td_response_body_closed(&body);
    *rest_out = rest;
    return rc == 0 ? td_response_body_check(&body) : rc;
}

static int
read_body(const char *headers, td_str input, size_t step, int64_t max, td_str *rest_out)
{
    const td_str head = td_arena_sprintf(&arena, "HTTP/1.1 200 OK\r\n%s\r\n", headers);
    td_response_head read;
    const char *what;
    int rc;

    ck_assert_int_eq(td_response_head_read(head, &arena, &read, &what), 0);
    rc = td_response_body_begin(&body, &read, &arena, true, true, max);
    return rc < 0 ? rc : take_all(input, step, rest_out);
}

START_TEST(every_split_is_the_same)
{
    const td_str input = td_str_make(bodies[_i].input, bodies[_i].input_len);

    for (size_t step = 1; step <= input.len + 1; step++) {
        td_str rest = {NULL, 0};

        td_arena_init(&arena);
        got = (td_buf){0};
        ck_assert_int_eq(read_body(bodies[_i].headers, input, step, bodies[_i].max, &rest),
                         bodies[_i].rc);
        if (bodies[_i].body != NULL)
            ck_assert(td_str_equal(td_buf_str(&got), td_str_of(bodies[_i].body)));
        if (bodies[_i].rest != NULL)
            ck_assert(td_str_equal(rest, td_str_of(bodies[_i].rest)));
        td_response_body_release(&body);
        td_buf_release(&got);
        td_arena_fini(&arena);
    }
}
END_TEST

START_TEST(no_body_is_over_at_once)
{
    td_response_head head = {.status = 200, .content_length = 5, .chunked = false};
    td_str input = TD_STR("next"), data;

    ck_assert_int_eq(td_response_body_begin(&body, &head, &arena, false, true, 0), 0);
    ck_assert(td_response_body_is_over(&body));
    ck_assert_int_eq(td_response_body_next(&body, &input, &data), 0);
    ck_assert_uint_eq(input.len, 4);
    ck_assert_int_eq(td_response_body_check(&body), 0);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_loop_test(tcase, every_split_is_the_same, 0, (int)COUNT_OF(bodies));
    tcase_add_test(tcase, no_body_is_over_at_once);
}

int
main(void)
{
    return unit_run("responsebody", fill);
}
