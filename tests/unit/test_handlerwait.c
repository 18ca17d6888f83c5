/*
 * Goal: on a real connection a handler waits until its client has taken enough, and is told when it
 * has left.
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
send_get(const char *target)
{
    char raw[256];

    snprintf(raw, sizeof(raw), "GET %s HTTP/1.0\r\nHost: x\r\n\r\n", target);
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
    send_get("/plain");
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
    send_get("/full");
    WEB_UNTIL(rc[1] > 0);
    web_turn();
    close(client);
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(rc[0], TD_ECLOSED);
    ck_assert_str_eq(trace, "initialize prepare get close streamed on_finish");
    td_http1context_fini(&context);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_test(tcase, flush_waits_for_a_slow_client);
    tcase_add_test(tcase, flush_tells_when_the_client_has_left);
}

int
main(void)
{
    return handler_run("handlerwait", fill, NULL);
}
