/*
 * Goal: what an HTTP/1.1 connection answers, and whether it stays open, depends on the bytes alone:
 * each conversation is held in one piece and then cut at every byte.
 */
#include <errno.h>
#include "http1_fixture.h"

static const struct conversation {
    const char *what; /* and the section */
    const char *sent;
    const char *answered; /* NULL: see status */
    int status;
    bool open;
} conversations[] = {
    {"plain, RFC 9112 section 9.3", "GET / HTTP/1.1\r\n" HOST "\r\n", OK2, 0, true},
    {"two in one go, 9112 9.3.2", "GET / HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     OK2 OK2, 0, true},
    {"close asked for, 9112 9.6", "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
     OK("Content-Length: 2\r\nConnection: close\r\n\r\nok"), 0, false},
    {"nothing is served after close", "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET /",
     OK("Content-Length: 2\r\nConnection: close\r\n\r\nok"), 0, false},
    {"1.0 closes", "GET / HTTP/1.0\r\n\r\n", OK2, 0, false},
    {"1.0 kept on demand", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     OK("Content-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok"), 0, true},
    {"1.0 without a length closes, 9112 9.3",
     "GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", OK("\r\nhello"),
     0, false},
    {"chunked answer, 9112 7.1", "GET /chunked HTTP/1.1\r\n" HOST "\r\n",
     OK("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), 0, true},
    {"HEAD has the headers only, 9110 9.3.2", "HEAD / HTTP/1.1\r\n" HOST "\r\n",
     OK("Content-Length: 2\r\n\r\n"), 0, true},
    {"204 has no framing headers, 9110 8.6", "GET /204 HTTP/1.1\r\n" HOST "\r\n",
     "HTTP/1.1 204 No Content\r\nServer: x\r\nDate: -\r\n\r\n", 0, true},
    {"a sized body", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
     OK("Content-Length: 3\r\n\r\nabc"), 0, true},
    {"a sized body, then another request",
     "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n" HOST "\r\n",
     OK("Content-Length: 3\r\n\r\nabc") OK2, 0, true},
    {"a chunked body, 9112 7.1",
     "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n",
     OK("Content-Length: 5\r\n\r\nabcde"), 0, true},
    {"an early answer drains a small body", "POST /early HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n" HOST "\r\n",
     "HTTP/1.1 404 Not Found\r\nServer: x\r\nDate: -\r\nContent-Length: 2\r\n\r\nno" OK2, 0, true},
    {"an early answer to 100-continue closes", "POST /early HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n",
     "HTTP/1.1 404 Not Found\r\nServer: x\r\nDate: -\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", 0, false},
    {"100-continue, 9110 10.1.1", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\na",
     "HTTP/1.1 100 Continue\r\n\r\n" OK("Content-Length: 1\r\n\r\na"), 0, true},
    {"no 100 without a body", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0\r\nExpect: 100-continue\r\n\r\n",
     OK("Content-Length: 0\r\n\r\n"), 0, true},
    {"of a file", "GET /file-of-one HTTP/1.1\r\n" HOST "\r\n",
     FILE_OK("Content-Length: 1\r\n\r\n7"), 0, true},
    {"HEAD of a file", "HEAD /file-of-one HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     FILE_OK("Content-Length: 1\r\n\r\n") OK2, 0, true},
    {"files among other answers, 9112 9.3.2",
     "GET / HTTP/1.1\r\n" HOST "\r\nGET /file-of-one HTTP/1.1\r\n" HOST "\r\n"
     "GET /file-of-none HTTP/1.1\r\n" HOST "\r\nGET /file-of-one HTTP/1.0\r\n\r\n",
     OK2 FILE_OK("Content-Length: 1\r\n\r\n7") FILE_OK("Content-Length: 0\r\n\r\n")
     FILE_OK("Content-Length: 1\r\n\r\n7"), 0, false},
    {"pieces of a file", "GET /pieces-of-one HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     FILE_OK("Content-Length: 6\r\n\r\n<7|3>.") OK2, 0, true},
    {"HEAD of pieces", "HEAD /pieces HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     FILE_OK("Content-Length: 1800004\r\n\r\n") OK2, 0, true},
    {"more of a file than was told, 9112 6.2",
     "GET /file-excess HTTP/1.1\r\n" HOST "\r\n", FILE_OK("Content-Length: 1\r\n\r\n"), 0, false},
    {"prepared", "GET /prepared HTTP/1.1\r\n" HOST "\r\n", OK2, 0, true},
    {"prepared among others", "GET /prepared HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n"
     "GET /prepared HTTP/1.1\r\n" HOST "\r\nGET /prepared HTTP/1.1\r\n" HOST "\r\n", OK2 OK2 OK2 OK2, 0, true},
    {"prepared, but the last one", "GET /prepared HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
     OK("Content-Length: 2\r\nConnection: close\r\n\r\nok"), 0, false},
    {"prepared, to 1.0", "GET /prepared HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     OK("Content-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok"), 0, true},
    {"a bad head behind a prepared answer", "GET /prepared HTTP/1.1\r\n" HOST "\r\n\tx\r\n\r\n",
     OK2 "HTTP/1.1 400 Bad Request\r\nServer: x\r\nContent-Type: text/html; charset=UTF-8"
     "\r\nDate: -\r\nContent-Length: 73\r\nConnection: close\r\n\r\n"
     "<html><title>400: Bad Request</title><body>400: Bad Request</body></html>", 0, false},
    {"100 for a streamed body", "POST /stream HTTP/1.1\r\n" HOST "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\na",
     "HTTP/1.1 100 Continue\r\n\r\n" OK2, 0, true},
    {"a streamed body, then another request",
     "POST /stream HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n" HOST "\r\n",
     OK2 OK2, 0, true},
    {"a chunked streamed body, then another request",
     "POST /stream HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     OK2 OK2, 0, true},
    {"a broken streamed body", "POST /stream HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", NULL, 400, false},
    {"no 100 to 1.0", "POST /echo HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\na",
     OK("Content-Length: 1\r\n\r\na"), 0, false},
    {"another expectation", "GET / HTTP/1.1\r\n" HOST "Expect: sun\r\n\r\n", NULL, 417, false},
    {"too long a body", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\n\r\n", NULL, 413, false},
    {"too long a body is not asked for", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\nExpect: 100-continue\r\n\r\n", NULL, 413, false},
    {"a bad head", "GET / HTTP/1.1\r\n\r\n", NULL, 400, false},
    {"a bad chunk, 9112 7.1", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nz\r\n", NULL, 400, false},
    {"length and chunked, 9112 6.1", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", NULL, 400, false},
    {"another version", "GET / HTTP/2.0\r\n" HOST "\r\n", NULL, 505, false},
};

static void
check_answer(const struct conversation *c, int fd, size_t cut)
{
    char got[4096] = "";
    char expected_status[32];
    bool ended = receive_all(fd, got, sizeof(got));

    if (c->answered != NULL) {
        ck_assert_msg(strcmp(got, c->answered) == 0, "%s, cut at %zu:\n%s", c->what, cut, got);
    } else {
        snprintf(expected_status, sizeof(expected_status), "HTTP/1.1 %d ", c->status);
        ck_assert_msg(strncmp(got, expected_status, strlen(expected_status)) == 0,
                      "%s, cut at %zu:\n%s", c->what, cut, got);
        ck_assert_msg(strstr(got, "\r\nConnection: close\r\n") != NULL, "%s:\n%s", c->what, got);
    }
    ck_assert_msg(ended == !c->open, "%s, cut at %zu: open is %d", c->what, cut, !ended);
}

#define CONVERSATIONS (int)(sizeof(conversations) / sizeof(conversations[0]))

/* From CONVERSATIONS on each once more, with bodies in files. */
static const struct conversation *
choose_conversation(int i)
{
    if (i >= CONVERSATIONS)
        spill_bodies(1);
    return &conversations[i % CONVERSATIONS];
}

START_TEST(conversation_does_not_depend_on_cuts)
{
    const struct conversation *c = choose_conversation(_i);
    size_t len = strlen(c->sent);

    start();
    for (size_t cut = 0; cut < len; cut++) {
        int fd = connect_client();

        if (cut > 0)
            ck_assert_int_eq(write(fd, c->sent, cut), (ssize_t)cut);
        turn();
        (void)!send(fd, c->sent + cut, len - cut, MSG_NOSIGNAL); /* refused by its first part */
        turn();
        check_answer(c, fd, cut);
        close(fd);
        turn();
        ck_assert_int_eq(connections, 0);
        ck_assert_int_eq(seen.begun, seen.done);
    }
}
END_TEST

START_TEST(bytes_one_by_one)
{
    const struct conversation *c = choose_conversation(_i);
    int fd;

    start();
    fd = connect_client();
    for (const char *at = c->sent; *at != '\0'; at++) {
        (void)!send(fd, at, 1, MSG_NOSIGNAL);
        turn();
    }
    check_answer(c, fd, 1);
    close(fd);
    turn();
}
END_TEST

START_TEST(same_head_is_routed_once)
{
    const char *head = "GET / HTTP/1.1\r\n" HOST "\r\n";
    int fd;

    start();
    fd = connect_client();
    for (int i = 0; i < 5; i++) {
        char got[512] = "";

        ck_assert_int_gt(write(fd, head, strlen(head)), 0);
        turn();
        receive_all(fd, got, sizeof(got));
        ck_assert_str_eq(got, OK2);
    }
    ck_assert_int_eq(seen.routed, 1);
    ck_assert_int_eq(seen.done, 5);
    close(fd);
    turn();
}
END_TEST

START_TEST(pipeline_is_in_order_and_bounded)
{
    enum { COUNT = 100 };
    char sent[COUNT * 64] = "", got[COUNT * 128] = "";
    int fd;

    start();
    fd = connect_client();
    for (int i = 0; i < COUNT; i++)
        snprintf(sent + strlen(sent), sizeof(sent) - strlen(sent),
                 "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n%03d", i);
    ck_assert_int_eq(write(fd, sent, strlen(sent)), (ssize_t)strlen(sent));
    for (int i = 0; i < 20; i++)
        turn();
    receive_all(fd, got, sizeof(got));
    const char *at = got;
    for (int i = 0; i < COUNT; i++) {
        char body[16];

        snprintf(body, sizeof(body), "\r\n\r\n%03d", i);
        at = strstr(at, body);
        ck_assert_msg(at != NULL, "answer %d is missing", i);
    }
    ck_assert_int_eq(seen.done, COUNT);
    close(fd);
    turn();
}
END_TEST

START_TEST(client_that_leaves_is_told_once)
{
    const char *sent = "GET /later HTTP/1.1\r\n" HOST "\r\n";
    td_str none = {NULL, 0};
    td_headers headers = {NULL, 0, 0};
    int fd;

    start();
    fd = connect_with(sent);
    ck_assert_ptr_nonnull(seen.later);
    close(fd);
    turn();
    ck_assert_int_eq(seen.closed, 1);
    ck_assert_int_eq(seen.done, 1);
    ck_assert_int_eq(seen.later->writer->head(seen.later, 200, none, &headers, 0), TD_ECLOSED);
    ck_assert_int_eq(seen.later->writer->finish(seen.later), TD_ECLOSED);
}
END_TEST

START_TEST(later_answer_goes_out_and_the_next_request_is_served)
{
    const char *sent = "GET /later HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n";
    char got[1024] = "";
    int fd;

    start();
    fd = connect_with(sent);
    receive_all(fd, got, sizeof(got));
    ck_assert_str_eq(got, "");
    answer(seen.later, 200, TD_STR("ok"), true);
    turn();
    receive_all(fd, got, sizeof(got));
    ck_assert_str_eq(got, OK2 OK2);
    close(fd);
    turn();
}
END_TEST

START_TEST(answers_close_while_draining)
{
    const char *sent = "GET / HTTP/1.1\r\n" HOST "\r\n";
    char got[512] = "";
    int fd, idle;

    start();
    fd = connect_client();
    idle = connect_client();
    context.draining = true;
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    ck_assert(receive_all(fd, got, sizeof(got)));
    ck_assert_str_eq(got, OK("Content-Length: 2\r\nConnection: close\r\n\r\nok"));
    got[0] = '\0';
    ck_assert(!receive_all(idle, got, sizeof(got)));
    td_http1context_close_idle(&context);
    turn();
    ck_assert(receive_all(idle, got, sizeof(got)));
    close(fd);
    close(idle);
    turn();
}
END_TEST

START_TEST(oldest_incomplete_head_is_evicted)
{
    char got[512] = "";
    int fd;

    start();
    ck_assert(!td_http1context_evict(&context));
    fd = connect_client();
    ck_assert_int_gt(write(fd, "GET", 3), 0);
    turn();
    ck_assert(td_http1context_evict(&context));
    ck_assert(receive_all(fd, got, sizeof(got)));
    close(fd);
}
END_TEST

enum { ENDS_ITS_SIDE = 1 };

START_TEST(waiting_answers_outlast_idleness_and_a_half_close)
{
    const char *request = "GET /7000 HTTP/1.1\r\n" HOST "\r\n";
    static char got[41 * 7200];

    settings.limits.keepalive_timeout_ms = 10;
    send_buffer = 1;
    start();
    for (int count = 1; count <= 40; count += 3) {
        int fd = connect_client();

        for (int i = 0; i < count; i++)
            ck_assert_int_gt(write(fd, request, strlen(request)), 0);
        if (_i == ENDS_ITS_SIDE)
            shutdown(fd, SHUT_WR);
        turn();
        pass_time();
        got[0] = '\0';
        for (bool ended = false; !ended; turn())
            ended = receive_all(fd, got, sizeof(got));
        ck_assert_int_eq(occurrences(got, "HTTP/1.1 200 OK"), count);
        ck_assert_uint_eq(strspn(strrchr(got, '\n') + 1, "b"), 7000);
        close(fd);
        turn();
    }
    ck_assert_int_eq(seen.closed, 0);
}
END_TEST

/* Some clients end a body with CRLF, which is not of it, nor of another request. */
START_TEST(bytes_behind_the_last_request_reset_nothing)
{
    const char *sent = "POST /7000 HTTP/1.0\r\nContent-Length: 1\r\n\r\n1";
    char got[8192] = "";
    size_t len = 0;
    ssize_t n;
    int fd;

    send_buffer = 1;
    start();
    fd = connect_with(sent);
    turn();
    ck_assert_int_eq(write(fd, "\r\n", 2), 2);
    while ((n = read(fd, got + len, sizeof(got) - 1 - len)) != 0) {
        if (n < 0)
            ck_assert_int_eq(errno, EAGAIN);
        else
            len += (size_t)n;
        turn();
    }
    ck_assert_uint_eq(strspn(strrchr(got, '\n') + 1, "b"), 7000);
    close(fd);
    turn();
}
END_TEST

START_TEST(no_time_out_counts_once_the_last_answer_waits)
{
    const char *sent = "POST /early/7000 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1";
    char got[8192] = "";
    int fd;

    settings.limits.body_timeout_ms = 10;
    send_buffer = 1;
    start();
    fd = connect_with(sent);
    pass_time();
    for (bool ended = false; !ended; turn())
        ended = receive_all(fd, got, sizeof(got));
    ck_assert_uint_eq(strspn(strrchr(got, '\n') + 1, "b"), 7000);
    ck_assert_int_eq(seen.begun, seen.done);
    close(fd);
    turn();
}
END_TEST

START_TEST(refused_head_behind_waiting_answers_is_not_the_delegates)
{
    const char *sent = "GET /7000 HTTP/1.1\r\n" HOST "\r\nGET /\r\n\r\n";
    static char got[16384];
    int fd;

    settings.limits.max_pipelined = 1;
    send_buffer = 1;
    start();
    fd = connect_client();
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    got[0] = '\0';
    for (bool ended = false; !ended; turn())
        ended = receive_all(fd, got, sizeof(got));
    ck_assert_int_eq(occurrences(got, "HTTP/1.1 200 OK"), 1);
    ck_assert_int_eq(occurrences(got, "HTTP/1.1 400 Bad Request"), 1);
    ck_assert_int_eq(seen.begun, 1);
    ck_assert_int_eq(seen.done, 1);
    ck_assert_int_eq(seen.closed, 0);
    close(fd);
    turn();
}
END_TEST

START_TEST(endless_pipelining_is_read_as_it_is_served)
{
    const char *request = "GET / HTTP/1.1\r\n" HOST "\r\n";
    enum { ROUNDS = 500, REQUESTS = 400, KERNEL_MAX = 1024 * 1024 };
    static char sent[REQUESTS * 32], got[65536];
    size_t written = 0;
    ssize_t n;
    int fd;

    for (int i = 0; i < REQUESTS; i++)
        strcat(sent, request);
    start();
    fd = connect_client();
    for (int i = 0; i < ROUNDS; i++) {
        const size_t done = written % strlen(sent);

        n = write(fd, sent + done, strlen(sent) - done);
        written += n > 0 ? (size_t)n : 0;
        turn();
        while (read(fd, got, sizeof(got)) > 0)
            continue;
    }
    ck_assert_uint_lt(written - (size_t)seen.done * strlen(request), KERNEL_MAX);
    close(fd);
    turn();
}
END_TEST

START_TEST(only_empty_lines_are_not_answered)
{
    char got[512] = "";
    int fd;

    settings.limits.header_timeout_ms = 10;
    start();
    fd = connect_client();
    ck_assert_int_eq(write(fd, "\r\n", 2), 2);
    turn();
    pass_time();
    ck_assert(receive_all(fd, got, sizeof(got)));
    ck_assert_str_eq(got, "");
    close(fd);
}
END_TEST

static void
fill(TCase *tcase)
{
    add_fixtures(tcase);
    tcase_add_loop_test(tcase, conversation_does_not_depend_on_cuts, 0, 2 * CONVERSATIONS);
    tcase_add_loop_test(tcase, bytes_one_by_one, 0, 2 * CONVERSATIONS);
    tcase_add_test(tcase, same_head_is_routed_once);
    tcase_add_test(tcase, pipeline_is_in_order_and_bounded);
    tcase_add_test(tcase, client_that_leaves_is_told_once);
    tcase_add_test(tcase, later_answer_goes_out_and_the_next_request_is_served);
    tcase_add_test(tcase, answers_close_while_draining);
    tcase_add_test(tcase, oldest_incomplete_head_is_evicted);
    tcase_add_test(tcase, bytes_behind_the_last_request_reset_nothing);
    tcase_add_loop_test(tcase, waiting_answers_outlast_idleness_and_a_half_close, 0,
                        ENDS_ITS_SIDE + 1);
    tcase_add_test(tcase, no_time_out_counts_once_the_last_answer_waits);
    tcase_add_test(tcase, refused_head_behind_waiting_answers_is_not_the_delegates);
    tcase_add_test(tcase, endless_pipelining_is_read_as_it_is_served);
    tcase_add_test(tcase, only_empty_lines_are_not_answered);
}

int
main(void)
{
    return unit_run("http1connection", fill);
}
