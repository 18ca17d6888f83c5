/*
 * Goal: on a real connection a handler waits until its client has taken enough, lets others have
 * their turn when that is at once, and is told when nobody takes more.
 */
#include <sys/socket.h>
#include "handler_fixture.h"
#include "http/http1connection.h"

static char piece[100000];

static void
stream_much(td_handler *h)
{
    for (int i = 0; i < 40 && rc[0] == 0; i++) {
        memset(piece, 'a' + i % 26, sizeof(piece));
        td_write(h, td_str_make(piece, sizeof(piece)));
        rc[0] = td_flush(h);
        rc[1]++;
    }
    note("streamed");
}

static void its_turn(void *arg) { *(bool *)arg = true; }

/* As many bytes as a client takes at once, so that no flush waits. */
static void
flush_small_ones(td_handler *h)
{
    static bool others_had_theirs;

    others_had_theirs = false;
    td_add_callback(td_ioloop_current(), its_turn, &others_had_theirs);
    for (; rc[0] == 0 && rc[1] < 1000 && !others_had_theirs; rc[1]++) {
        td_write_text(h, "x");
        rc[0] = td_flush(h);
    }
    note("streamed");
}

static td_http1context context;
static int client;

static void forget_connection(td_http1connection *conn) { (void)conn; }

static void
connect_client(void)
{
    static td_listener_settings listener;
    int fds[2];

    listener = web_configuration->listeners[0];
    listener.limits.write_high_water = 200000;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    client = fds[1];
    context = (td_http1context){
        .loop = web_loop,
        .settings = &listener,
        .delegate = &td_application_delegate,
        .delegate_arg = web_app,
        .connection_closed = forget_connection,
    };
    td_http1context_init(&context);
    td_http1connection_open(&context, fds[0], &(td_peer){.address_len = 0});
}

static void
ask(const char *method, const char *target)
{
    char raw[256];

    snprintf(raw, sizeof(raw), "%s %s HTTP/1.0\r\nHost: x\r\n\r\n", method, target);
    ck_assert_int_eq(write(client, raw, strlen(raw)), (ssize_t)strlen(raw));
}

START_TEST(flush_waits_for_a_slow_client)
{
    static char answer[5000000];
    size_t len = 0;
    ssize_t n;
    const char *body;

    get = stream_much;
    connect_client();
    ask("GET", "/plain");
    WEB_UNTIL(rc[1] > 0);
    web_turn();
    ck_assert_int_lt(rc[1], 20);
    do {
        web_turn();
        while ((n = read(client, answer + len, sizeof(answer) - len)) > 0)
            len += (size_t)n;
    } while (n != 0);
    ck_assert_str_eq(trace, "get streamed");
    body = strstr(answer, "\r\n\r\n") + 4;
    ck_assert_uint_eq(len - (size_t)(body - answer), 40 * sizeof(piece));
    for (size_t i = 0; i < 40 * sizeof(piece); i++)
        if (body[i] != (char)('a' + i / sizeof(piece) % 26))
            ck_abort_msg("byte %zu", i);
    close(client);
    td_http1context_fini(&context);
}
END_TEST

START_TEST(flush_tells_when_the_client_has_left)
{
    get = stream_much;
    connect_client();
    ask("GET", "/full");
    WEB_UNTIL(rc[1] > 0);
    web_turn();
    close(client);
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(rc[0], TD_ECLOSED);
    ck_assert_str_eq(trace, "initialize prepare get close streamed on_finish");
    td_http1context_fini(&context);
}
END_TEST

START_TEST(flush_lets_others_have_their_turn)
{
    get = flush_small_ones;
    connect_client();
    ask("GET", "/plain");
    WEB_UNTIL(strstr(trace, "streamed") != NULL);
    ck_assert_int_eq(rc[0], 0);
    ck_assert_int_lt(rc[1], 100);
    close(client);
    web_turn();
    td_http1context_fini(&context);
}
END_TEST

/* Else who writes for ever would do so for nobody. */
START_TEST(flush_tells_that_head_has_all_it_asked_for)
{
    char answer[1000] = "";

    get = flush_small_ones;
    connect_client();
    ask("HEAD", "/plain");
    WEB_UNTIL(strstr(trace, "streamed") != NULL);
    ck_assert_int_eq(rc[0], TD_ECLOSED);
    ck_assert_int_eq(rc[1], 1);
    ck_assert_int_gt(read(client, answer, sizeof(answer) - 1), 0);
    ck_assert_ptr_nonnull(strstr(answer, "HTTP/1.1 200 OK\r\n"));
    ck_assert_str_eq(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    close(client);
    web_turn();
    td_http1context_fini(&context);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_test(tcase, flush_waits_for_a_slow_client);
    tcase_add_test(tcase, flush_tells_when_the_client_has_left);
    tcase_add_test(tcase, flush_lets_others_have_their_turn);
    tcase_add_test(tcase, flush_tells_that_head_has_all_it_asked_for);
}

int
main(void)
{
    return handler_run("handlerwait", fill, NULL);
}
