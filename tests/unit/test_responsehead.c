/* Goal: a response's head is understood in one way only or refused, however its bytes were cut. */
#include "http/responsehead.h"
#include <string.h>
#include <tornado/error.h>
#include "unit.h"

#define OK "HTTP/1.1 200 OK\r\n"

static const struct head_case {
    const char *text;
    int rc;                            /* 0: it is a head */
    int status, minor, content_length; /* -1: none */
    bool chunked, keep_alive;
    const char *reason;
} heads[] = {
    {OK "\r\n", 0, 200, 1, -1, false, true, "OK"},
    {"HTTP/1.0 200 OK\r\n\r\n", 0, 200, 0, -1, false, false, "OK"},
    {"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", 0, 200, 0, -1, false, true, "OK"},
    {"HTTP/1.7 404 Not Found\r\n\r\n", 0, 404, 1, -1, false, true, "Not Found"},
    {"HTTP/1.1 204\r\n\r\n", 0, 204, 1, -1, false, true, ""},
    {"HTTP/1.1 204 \r\n\r\n", 0, 204, 1, -1, false, true, ""},
    {"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", 0, 204, 1, 0, false, true, "No"},
    {OK "Content-Length: 42\r\n\r\n", 0, 200, 1, 42, false, true, "OK"},
    {OK "content-length:42\t \r\nConnection: x, Close\r\n\r\n", 0, 200, 1, 42, false, false, "OK"},
    {OK "Transfer-Encoding: Chunked\r\n\r\n", 0, 200, 1, -1, true, true, "OK"},
    {"HTTP/1.1 100 Continue\r\n\r\n", 0, 100, 1, -1, false, true, "Continue"},
    {"HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n", 0, 304, 1, 9, false, true, "x"},

    {"HTTP/2.0 200 OK\r\n\r\n", TD_EBADMSG, .status = 0},
    {"HTTP/1.10 200 OK\r\n\r\n", TD_EBADMSG, .status = 0},
    {"http/1.1 200 OK\r\n\r\n", TD_EBADMSG, .status = 0},
    {"ICY 200 OK\r\n\r\n", TD_EBADMSG, .status = 0},
    {"\r\nHTTP/1.1 200 OK\r\n\r\n", TD_EBADMSG, .status = 0},
    {"HTTP/1.1  200 OK\r\n\r\n", TD_EBADMSG, .status = 0},
    {"HTTP/1.1 099 OK\r\n\r\n", TD_EBADMSG, .status = 0},
    {"HTTP/1.1 600 OK\r\n\r\n", TD_EBADMSG, .status = 0},
    {"HTTP/1.1 20 OK\r\n\r\n", TD_EBADMSG, .status = 0},
    {"HTTP/1.1 2000 OK\r\n\r\n", TD_EBADMSG, .status = 0},
    {"HTTP/1.1 200 O\x01K\r\n\r\n", TD_EBADMSG, .status = 0},
    {"HTTP/1.1 200 OK\n\r\n", TD_EBADMSG, .status = 0},
    {OK "A: b\n\r\n", TD_EBADMSG, .status = 0},
    {OK "A: b\rc\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK "A b\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK "A : b\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK ": b\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK "A: b\r\n c\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK "A: b\x7f\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK "Content-Length: 1, 1\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK "Content-Length: +1\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK "Content-Length:\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK "Content-Length: 99999999999999999999\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK "Transfer-Encoding: gzip, chunked\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK "Transfer-Encoding: identity\r\n\r\n", TD_EBADMSG, .status = 0},
    {OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", TD_EBADMSG, .status = 0},
    {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", TD_EBADMSG, .status = 0},
    {"HTTP/1.1 100 x\r\nContent-Length: 0\r\n\r\n", TD_EBADMSG, .status = 0},
    {"HTTP/1.1 204 x\r\nContent-Length: 1\r\n\r\n", TD_EBADMSG, .status = 0},
    {"HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", TD_EBADMSG, .status = 0},
};

/* As it comes, so many bytes at once. */
static int
parse(td_str text, size_t step, td_arena *arena, td_response_head *head)
{
    td_response_scan scan = {0};
    const char *what = NULL;
    ssize_t rc = 0;
    int read;

    for (size_t len = step; rc == 0 && len < text.len + step; len += step)
        rc = td_response_head_scan(&scan, td_str_make(text.ptr, len < text.len ? len : text.len),
                                   &what);
    read = rc > 0 ? td_response_head_read(td_str_make(text.ptr, (size_t)rc), arena, head, &what)
                  : (int)rc;
    ck_assert_int_eq(what != NULL, read < 0);
    if (rc > 0)
        ck_assert_int_eq(rc, (ssize_t)text.len);
    return read;
}

START_TEST(a_head_is_understood_in_one_way_or_refused)
{
    const struct head_case *c = &heads[_i];

    for (size_t step = 1; step <= strlen(c->text); step++) {
        td_response_head head = {0};
        td_arena arena;

        td_arena_init(&arena);
        ck_assert_int_eq(parse(td_str_of(c->text), step, &arena, &head), c->rc);
        if (c->rc == 0) {
            ck_assert_int_eq(head.status, c->status);
            ck_assert_int_eq(head.minor, c->minor);
            ck_assert_int_eq(head.content_length, c->content_length);
            ck_assert_int_eq(head.chunked, c->chunked);
            ck_assert_int_eq(head.keep_alive, c->keep_alive);
            ck_assert(td_str_equal(head.reason, td_str_of(c->reason)));
        }
        td_arena_fini(&arena);
    }
}
END_TEST

static void
assert_same(const td_response_head *a, const td_response_head *b)
{
    ck_assert_int_eq(a->status, b->status);
    ck_assert_int_eq(a->minor, b->minor);
    ck_assert_int_eq(a->content_length, b->content_length);
    ck_assert_int_eq(a->chunked, b->chunked);
    ck_assert_int_eq(a->is_encoded, b->is_encoded);
    ck_assert_int_eq(a->keep_alive, b->keep_alive);
    ck_assert_int_eq(a->idle_max_s, b->idle_max_s);
    ck_assert(td_str_equal(a->reason, b->reason));
    ck_assert_uint_eq(a->headers.count, b->headers.count);
    for (size_t i = 0; i < a->headers.count; i++) {
        ck_assert(td_str_equal(a->headers.items[i].name, b->headers.items[i].name));
        ck_assert(td_str_equal(a->headers.items[i].value, b->headers.items[i].value));
    }
}

static const struct {
    const char *lines;
    bool keep_alive;
    int idle_max_s;
} idle_times[] = {
    {"Keep-Alive: timeout=5\r\n", true, 5},
    {"keep-alive:  max=100 , Timeout=15\r\nConnection: Keep-Alive\r\n", true, 15},
    {"Keep-Alive: timeout=5\r\nConnection: close\r\n", false, 5},
    {"Keep-Alive: timeout=0\r\n", false, 0},
    {"Keep-Alive: timeout=99999999999\r\n", true, 86400},
    {"Keep-Alive: timeout=99999999999999999999\r\n", true, 0},
    {"Keep-Alive: timeout=, timeout, timeout=-1, timeout=5s, 300\r\n", true, 0},
    {"Keep-Alive:\r\n", true, 0},
    {"Keep-Aliv: timeout=5\r\n", true, 0},
};

START_TEST(a_server_may_say_how_long_it_keeps_a_connection)
{
    td_response_head plain = {0}, head = {0};
    td_arena arena;
    td_str bytes;

    td_arena_init(&arena);
    bytes = td_arena_sprintf(&arena, OK "%s\r\n", idle_times[_i].lines);
    ck_assert_int_eq(parse(bytes, bytes.len, &arena, &head), 0);
    ck_assert_int_eq(head.keep_alive, idle_times[_i].keep_alive);
    ck_assert_int_eq(head.idle_max_s, idle_times[_i].idle_max_s);
    if (td_response_head_plain(bytes, &arena, NULL, &plain) > 0)
        assert_same(&plain, &head);
    td_arena_fini(&arena);
}
END_TEST

/* What looks as most do is seen through at once, to the same result; and when it comes again. */
START_TEST(a_plain_head_means_the_same)
{
    const struct head_case *c = &heads[_i];
    td_response_known known = {0};
    td_response_head plain = {0}, head = {0};
    td_arena arena;

    td_arena_init(&arena);
    for (int time = 1; time <= 4; time++) {
        const size_t len = td_response_head_plain(td_str_of(c->text), &arena, &known, &plain);

        if (len == 0)
            break;
        ck_assert_uint_eq(len, strlen(c->text));
        ck_assert_int_eq(parse(td_str_of(c->text), len, &arena, &head), 0);
        assert_same(&plain, &head);
        ck_assert_uint_eq(known.len, time == 1 ? 0 : len);
    }
    td_response_known_release(&known);
    td_arena_fini(&arena);
}
END_TEST

/* What is kept of one place follows what comes from there, and what it gave is not touched. */
START_TEST(a_known_head_is_not_taken_for_another_one)
{
    static const char *const said[] = {
        OK "A: 1\r\n\r\n", OK "A: 1\r\n\r\n",      OK "A: 1\r\n\r\n",      OK "A: 2\r\n\r\n",
        OK "A: 1\r\n\r\n", OK "A: 1\r\nB: 2\r\n\r\n", OK "A: 1\r\n\r\n",      "HTTP/1.1 204 No\r\n\r\n",
        OK "A: 2\r\n\r\n", OK "B: 2\r\n\r\n",      OK "B: 2\r\nC:\r\n\r\n", OK "B: 2\r\n\r\n",
    };
    enum { COUNT = sizeof(said) / sizeof(said[0]) };
    td_response_known known = {0};
    td_response_head plain[COUNT], head;
    td_arena arena;

    td_arena_init(&arena);
    for (int i = 0; i < COUNT; i++)
        ck_assert_uint_eq(td_response_head_plain(td_str_of(said[i]), &arena, &known, &plain[i]),
                          strlen(said[i]));
    td_response_known_release(&known);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(parse(td_str_of(said[i]), strlen(said[i]), &arena, &head), 0);
        assert_same(&plain[i], &head);
    }
    td_arena_fini(&arena);
}
END_TEST

START_TEST(a_head_that_is_cut_off_is_none_that_is_known)
{
    const td_str whole = TD_STR(OK "A: 1\r\n\r\n");
    td_response_known known = {0};
    td_response_head head;
    td_arena arena;

    td_arena_init(&arena);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(td_response_head_plain(whole, &arena, &known, &head), whole.len);
    for (size_t cut = 0; cut < whole.len; cut++)
        ck_assert_uint_eq(
            td_response_head_plain(td_str_make(whole.ptr, cut), &arena, &known, &head), 0);
    td_response_known_release(&known);
    td_arena_fini(&arena);
}
END_TEST

START_TEST(a_plain_head_is_copied_and_what_is_behind_it_is_left)
{
    char bytes[] = OK "Content-Type: text/plain; charset=UTF-8\r\nE:\r\n\r\nbody";
    const size_t len = sizeof(bytes) - 1;
    td_response_head head;
    td_arena arena;

    td_arena_init(&arena);
    for (size_t cut = 0; cut < len - 4; cut++)
        ck_assert_uint_eq(td_response_head_plain(td_str_make(bytes, cut), &arena, NULL, &head), 0);
    ck_assert_uint_eq(td_response_head_plain(td_str_make(bytes, len), &arena, NULL, &head), len - 4);
    memset(bytes, 'x', len);
    ck_assert_str_eq(head.reason.ptr, "OK");
    ck_assert_uint_eq(head.headers.count, 2);
    ck_assert_str_eq(head.headers.items[0].name.ptr, "Content-Type");
    ck_assert_str_eq(head.headers.items[0].value.ptr, "text/plain; charset=UTF-8");
    ck_assert_str_eq(head.headers.items[1].value.ptr, "");
    td_arena_fini(&arena);
}
END_TEST

START_TEST(fields_are_there_in_their_order)
{
    td_response_head head;
    td_arena arena;

    td_arena_init(&arena);
    ck_assert_int_eq(parse(TD_STR(OK "A:  b c \r\nSet-Cookie: x\r\nset-cookie: y\r\nE:\r\n\r\n"), 7,
                           &arena, &head),
                     0);
    ck_assert_uint_eq(head.headers.count, 4);
    ck_assert(td_str_equal(head.headers.items[0].value, TD_STR("b c")));
    ck_assert(td_str_equal(td_headers_get(&head.headers, &arena, TD_STR("Set-Cookie")),
                           TD_STR("x, y")));
    ck_assert_uint_eq(head.headers.items[3].value.len, 0);
    td_arena_fini(&arena);
}
END_TEST

START_TEST(a_head_without_end_is_refused)
{
    static const char *const lines[] = {"A: b\r\n", "x", "A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n"};

    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        static char text[2 * TD_RESPONSE_HEAD_MAX];
        td_response_scan scan = {0};
        const char *what = NULL;
        size_t len = strlen(OK);
        ssize_t rc = 0;

        strcpy(text, OK);
        while (rc == 0) {
            ck_assert_uint_lt(len, TD_RESPONSE_HEAD_MAX + 100);
            strcpy(text + len, lines[i]);
            len += strlen(lines[i]);
            rc = td_response_head_scan(&scan, td_str_make(text, len), &what);
        }
        ck_assert_int_eq(rc, TD_ETOOBIG);
        ck_assert_ptr_nonnull(what);
    }
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, a_head_is_understood_in_one_way_or_refused, heads);
    ADD_TABLE(tcase, a_plain_head_means_the_same, heads);
    tcase_add_test(tcase, a_known_head_is_not_taken_for_another_one);
    tcase_add_test(tcase, a_head_that_is_cut_off_is_none_that_is_known);
    ADD_TABLE(tcase, a_server_may_say_how_long_it_keeps_a_connection, idle_times);
    tcase_add_test(tcase, a_plain_head_is_copied_and_what_is_behind_it_is_left);
    tcase_add_test(tcase, fields_are_there_in_their_order);
    tcase_add_test(tcase, a_head_without_end_is_refused);
}

int
main(void)
{
    return unit_run("responsehead", fill);
}
