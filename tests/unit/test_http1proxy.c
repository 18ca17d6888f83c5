/*
 * Goal: a connection with a PROXY header in front serves its requests as others do, for the peer
 * that the header names, whatever the cut of its bytes; and one without is closed without an
 * answer.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "http/http1connection.h"
#include "io/ioloop.h"
#include "unit.h"

/* ---- a delegate that answers who is asking */

static int routed, begun, done;

static void
route(void *arg, td_request *request)
{
    (void)arg;
    (void)request;
    routed++;
}

static void
headers_received(void *arg, td_request *request)
{
    (void)arg;
    (void)request;
    begun++;
}

static void
finish(void *arg, td_request *request)
{
    td_headers headers = {NULL, 0, 0};
    const td_str none = {NULL, 0};
    const td_str ip = td_request_remote_ip(request);
    const td_str body = td_arena_sprintf(&request->arena, "%.*s %s\n", TD_STR_FMT(ip),
                                         td_request_protocol(request));

    (void)arg;
    request->writer->head(request, 200, none, &headers, (int64_t)body.len);
    request->writer->body(request, body, false);
    request->writer->finish(request);
}

static void
closed(void *arg, td_request *request)
{
    (void)arg;
    (void)request;
}

static void
on_done(void *arg, td_request *request)
{
    (void)arg;
    (void)request;
    done++;
}

static const td_message_delegate delegate = {
    .route = route,
    .headers_received = headers_received,
    .finish = finish,
    .closed = closed,
    .done = on_done,
};

/* ---- a loop, a context, a socket pair; the proxy comes over a unix socket */

static td_ioloop *loop;
static td_arena arena;
static td_listener_settings settings;
static td_http1context context;
static int connections, introduced;
static bool is_full;
static char counted[32]; /* the address bytes of the last one that was closed */

static bool
on_introduced(td_http1connection *conn, int fd)
{
    ck_assert_uint_eq(td_http1connection_address(conn).len, 4);
    introduced++;
    if (is_full)
        ck_assert_int_eq(write(fd, "full", 4), 4);
    return !is_full;
}

static void
connection_closed(td_http1connection *conn)
{
    const td_str address = td_http1connection_address(conn);

    connections--;
    snprintf(counted, sizeof(counted), "%zu bytes", address.len);
}

static void
setup(void)
{
    td_err err;

    routed = begun = done = introduced = 0;
    is_full = false;
    td_arena_init(&arena);
    ck_assert_int_eq(td_ioloop_create(&loop, &err), 0);
    settings = (td_listener_settings){
        .name = "test",
        .proxy_protocol = true,
        .limits = *td_limits_defaults(),
    };
    ck_assert_int_eq(td_networks_parse(&arena, "unix:, 10.0.0.0/8", &settings.trusted_downstream,
                                       NULL),
                     0);
    context = (td_http1context){
        .loop = loop,
        .settings = &settings,
        .delegate = &delegate,
        .connection_closed = connection_closed,
        .introduced = on_introduced,
    };
}

static void
teardown(void)
{
    td_http1context_fini(&context);
    ck_assert_int_eq(connections, 0);
    ck_assert_int_eq(begun, done);
    td_ioloop_destroy(&loop);
    td_arena_fini(&arena);
    td_chunk_trim(0);
}

static void
turn(void)
{
    for (int i = 0; i < 4; i++)
        ev_run(td_ioloop_ev(loop), EVRUN_NOWAIT);
}

static int
connect_proxy(void)
{
    int pair[2];
    const td_peer peer = {.address_len = 0};

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    connections++;
    td_http1connection_open(&context, pair[0], &peer);
    return pair[1];
}

static void
say(int fd, const char *bytes, size_t len)
{
    ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
    turn();
}

/* The bodies of the answers, one a line, and "end" where there is one. */
static const char *
hear(int fd)
{
    static char bodies[512];
    char got[4096];
    const ssize_t n = read(fd, got, sizeof(got) - 1);
    size_t len = 0;

    bodies[0] = '\0';
    got[n > 0 ? n : 0] = '\0';
    for (const char *at = got; (at = strstr(at, "\r\n\r\n")) != NULL;) {
        at += 4;
        len += (size_t)snprintf(bodies + len, sizeof(bodies) - len, "%.*s\n",
                                (int)strcspn(at, "\n"), at);
    }
    if (n == 0 || (n > 0 && read(fd, got, sizeof(got)) == 0))
        snprintf(bodies + len, sizeof(bodies) - len, "end");
    return bodies;
}

#define V2 "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02" \
           "\x20\0\x05\x01\0\0\0\0"
#define GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define GET_FOR(ip) "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: " ip "\r\n\r\n"
#define B(literal) literal, sizeof(literal) - 1

static const struct {
    int xheaders;
    const char *sent;
    size_t len;
    const char *answers;
} rows[] = {
    {0, B("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" GET), "1.2.3.4 http\n"},
    {0, B("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" GET GET), "1.2.3.4 http\n1.2.3.4 http\n"},
    {0, B(V2 GET GET), "1.2.3.4 https\n1.2.3.4 https\n"},
    {0, B("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" GET_FOR("9.9.9.9")), "1.2.3.4 http\n"},
    /* the peer that the PROXY protocol names is the one that has to be trusted */
    {TD_XHEADERS_ON, B("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" GET_FOR("9.9.9.9")), "1.2.3.4 http\n"},
    {TD_XHEADERS_ON, B("PROXY TCP4 10.0.0.1 5.6.7.8 1 2\r\n" GET_FOR("9.9.9.9") GET
                       GET_FOR("9.9.9.8") GET_FOR("9.9.9.8")),
     "9.9.9.9 http\n10.0.0.1 http\n9.9.9.8 http\n9.9.9.8 http\n"},
    {0, B("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n"), "end"},
    {0, B("GET / HTTP/1.1\r\n"), "end"},
    {0, B("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nPROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n\r\n"),
     "<html><title>400: Bad Request</title><body>400: Bad Request</body></html>\nend"},
};

START_TEST(requests_are_those_of_the_peer_that_is_named)
{
    settings.xheaders = rows[_i].xheaders;
    td_http1context_init(&context);
    for (size_t cut = 0; cut < rows[_i].len; cut++) {
        const int fd = connect_proxy();
        const char *answers;

        if (cut > 0)
            say(fd, rows[_i].sent, cut);
        (void)!send(fd, rows[_i].sent + cut, rows[_i].len - cut, MSG_NOSIGNAL);
        turn();
        answers = hear(fd);
        ck_assert_msg(strcmp(answers, rows[_i].answers) == 0, "cut at %zu: %s", cut, answers);
        close(fd);
        turn();
        ck_assert_int_eq(connections, 0);
    }
}
END_TEST

START_TEST(an_equal_head_is_not_looked_at_again)
{
    int fd;

    settings.xheaders = TD_XHEADERS_ON;
    td_http1context_init(&context);
    fd = connect_proxy();
    say(fd, B("PROXY TCP4 10.0.0.1 5.6.7.8 1 2\r\n" GET_FOR("9.9.9.9")));
    ck_assert_str_eq(hear(fd), "9.9.9.9 http\n");
    say(fd, B(GET_FOR("9.9.9.9")));
    ck_assert_str_eq(hear(fd), "9.9.9.9 http\n");
    ck_assert_int_eq(routed, 1);
    say(fd, B(GET_FOR("9.9.9.8")));
    ck_assert_str_eq(hear(fd), "9.9.9.8 http\n");
    close(fd);
}
END_TEST

START_TEST(who_is_introduced_is_counted_by_his_address)
{
    int fd;

    td_http1context_init(&context);
    fd = connect_proxy();
    say(fd, B("PROXY "));
    ck_assert_int_eq(introduced, 0);
    say(fd, B("TCP4 1.2.3.4 5.6.7.8 1 2\r\n"));
    ck_assert_int_eq(introduced, 1);
    close(fd);
    turn();
    ck_assert_str_eq(counted, "4 bytes");

    fd = connect_proxy();
    say(fd, B("PROXY "));
    close(fd);
    turn();
    ck_assert_str_eq(counted, "0 bytes");
}
END_TEST

START_TEST(who_may_not_stay_is_closed_and_not_counted)
{
    char text[8];
    int fd;

    is_full = true;
    td_http1context_init(&context);
    fd = connect_proxy();
    say(fd, B("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" GET));
    ck_assert_int_eq(introduced, 1);
    ck_assert_int_eq(connections, 0);
    ck_assert_str_eq(counted, "0 bytes");
    ck_assert_int_eq(begun, 0);
    ck_assert_int_eq(read(fd, text, sizeof(text)), 4);
    close(fd);
}
END_TEST

START_TEST(the_header_has_the_time_of_a_head)
{
    static const char *const begun_with[] = {"", "PROXY"};
    int fd;

    settings.limits.header_timeout_ms = 20;
    td_http1context_init(&context);
    fd = connect_proxy();
    say(fd, begun_with[_i], strlen(begun_with[_i]));
    while (connections > 0)
        turn();
    ck_assert_str_eq(hear(fd), "end");
    close(fd);
}
END_TEST

START_TEST(after_the_header_a_connection_may_be_idle)
{
    int fd;

    settings.limits.header_timeout_ms = 20;
    td_http1context_init(&context);
    fd = connect_proxy();
    say(fd, B("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"));
    for (const int64_t until = td_clock_ns() + 40 * TD_NS_PER_MS; td_clock_ns() < until;)
        turn();
    say(fd, B(GET));
    ck_assert_str_eq(hear(fd), "1.2.3.4 http\n");
    close(fd);
}
END_TEST

START_TEST(an_incomplete_header_makes_room_for_others)
{
    int fd;

    td_http1context_init(&context);
    fd = connect_proxy();
    say(fd, B("PROXY"));
    ck_assert(td_http1context_evict(&context));
    ck_assert_str_eq(hear(fd), "end");
    close(fd);
}
END_TEST

START_TEST(a_drain_closes_who_has_not_said_who_he_is)
{
    int fd;

    td_http1context_init(&context);
    fd = connect_proxy();
    say(fd, B("PROXY"));
    td_http1context_close_idle(&context);
    turn();
    ck_assert_str_eq(hear(fd), "end");
    say(fd, B(" TCP4 1.2.3.4 5.6.7.8 1 2\r\n" GET)); /* dropped: our last word is said */
    ck_assert_int_eq(begun, 0);
    close(fd);
    turn();
    ck_assert_int_eq(connections, 0);
}
END_TEST

START_TEST(a_header_above_max_header_size_is_refused)
{
    int fd;

    settings.limits.max_header_size = 256;
    td_http1context_init(&context);
    fd = connect_proxy();
    say(fd, B("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\xf0"));
    ck_assert_int_eq(connections, 1);
    close(fd);
    turn();

    fd = connect_proxy();
    say(fd, B("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\xf1"));
    ck_assert_int_eq(connections, 0);
    close(fd);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    ADD_TABLE(tcase, requests_are_those_of_the_peer_that_is_named, rows);
    tcase_add_test(tcase, an_equal_head_is_not_looked_at_again);
    tcase_add_test(tcase, who_is_introduced_is_counted_by_his_address);
    tcase_add_test(tcase, who_may_not_stay_is_closed_and_not_counted);
    tcase_add_loop_test(tcase, the_header_has_the_time_of_a_head, 0, 2);
    tcase_add_test(tcase, after_the_header_a_connection_may_be_idle);
    tcase_add_test(tcase, an_incomplete_header_makes_room_for_others);
    tcase_add_test(tcase, a_drain_closes_who_has_not_said_who_he_is);
    tcase_add_test(tcase, a_header_above_max_header_size_is_refused);
}

int
main(void)
{
    return unit_run("http1proxy", fill);
}
