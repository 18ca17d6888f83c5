/*
 * Goal: wherever a request to a server is cut off, nothing of it is left: no place, connection,
 * coroutine.
 */
#include <arpa/inet.h>
#include <tornado/iostream.h>
#include "base/clock.h"
#include "http/httpclient.h"
#include "files.h"
#include "waiting_actors.h"

#define RESPONSE "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"

/* ---- a server that sends that much of a response and then says no more */

static int listener;
static char url[64];
static const char *response;
static size_t response_len;
static bool closes; /* behind it */
static unsigned connections;

static void
serve(void *arg)
{
    td_iostream *stream __attribute__((cleanup(td_iostream_destroy))) = arg;
    td_str head;

    while (td_iostream_read_until(stream, TD_STR("\r\n\r\n"), 0, &head) == 0) {
        td_iostream_write(stream, td_str_make(response, response_len));
        if (closes)
            return;
    }
}

static void
on_connection(int fd, int events, void *arg)
{
    const int peer = accept(fd, NULL, NULL);

    (void)events, (void)arg;
    connections++;
    td_future_unref(td_spawn(serve, td_iostream_create(peer, NULL)));
}

static void
open_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);

    open_loop();
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(listen(listener, 64), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", ntohs(address.sin_port));
    td_add_handler(loop, listener, TD_READ, on_connection, NULL);
    response = RESPONSE;
    response_len = strlen(RESPONSE);
    closes = false;
    connections = 0;
    td_http_client_configure(&(td_http_client_options){
        .max_clients = 2, .idle_max = 2, .idle_origin_max = 2, .idle_timeout_ms = 60000});
}

static void
close_server(void)
{
    td_http_client_close();
    td_remove_handler(loop, listener);
    close_loop();
    close(listener);
}

/* ---- requests */

static td_arena arena;
static td_response answer;

static void
fetch(void *arg)
{
    td_http_client_fetch(&arena, url, arg != NULL ? arg : TD_FETCH(.method = NULL), NULL,
                         td_clock_ns(), &answer);
    note('!');
}

/* Let go of the loop until that has become true. */
static void
turn_until(bool (*is_true)(void))
{
    for (int i = 0; i < 1000 && !is_true(); i++) {
        turn();
        usleep(100);
    }
    ck_assert(is_true());
}

static bool
is_noted(void)
{
    return notes_len > 0;
}

static bool
has_connection(void)
{
    return connections > 0;
}

START_TEST(cut_off_anywhere_it_leaves_nothing)
{
    for (size_t len = 0; len < strlen(RESPONSE); len++) {
        int files;

        open_server();
        files = open_files();
        td_arena_init(&arena);
        response_len = len;
        td_coroutine *co = start_actor(fetch, NULL);

        ck_assert_uint_eq(td_http_client_active(), 1);
        turn_until(has_connection);
        turn();
        ck_assert_str_eq(notes, "");
        td_coroutine_cancel(co);
        turn();
        ck_assert_uint_eq(td_http_client_active(), 0);
        ck_assert_uint_eq(td_http_client_idle(), 0);
        turn();
        for (int i = 0; i < 1000 && open_files() > files; i++)
            turn(); /* the server notices */
        ck_assert_int_eq(open_files(), files);
        td_arena_fini(&arena);
        close_server();
    }
}
END_TEST

START_TEST(closed_anywhere_it_is_an_error)
{
    for (size_t len = 0; len < strlen(RESPONSE); len++) {
        open_server();
        td_arena_init(&arena);
        response_len = len;
        closes = true;
        start_actor(fetch, NULL);
        turn_until(is_noted);
        ck_assert_int_eq(answer.error, TD_ECLOSED);
        ck_assert_int_eq(answer.status, 599);
        ck_assert_int_eq(answer.phase,
                         len < strlen("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                             ? TD_FETCH_HEAD
                             : TD_FETCH_BODY);
        ck_assert_uint_eq(td_http_client_active() + td_http_client_idle(), 0);
        td_arena_fini(&arena);
        close_server();
    }
}
END_TEST

START_TEST(an_answer_is_told_and_the_connection_is_kept)
{
    open_server();
    td_arena_init(&arena);
    for (int i = 0; i < 3; i++) {
        notes_len = 0;
        start_actor(fetch, NULL);
        turn_until(is_noted);
        ck_assert_int_eq(answer.error, 0);
        ck_assert_int_eq(answer.phase, TD_FETCH_DONE);
        ck_assert(td_str_equal(answer.body, TD_STR("hello")));
        ck_assert_uint_eq(td_http_client_active(), 0);
        ck_assert_uint_eq(td_http_client_idle(), 1);
    }
    ck_assert_uint_eq(connections, 1);
    td_arena_fini(&arena);
    close_server();
}
END_TEST

static bool
has_two_connections(void)
{
    return connections == 2;
}

static bool
has_three_connections(void)
{
    return connections == 3;
}

/* Two have places, three wait; the first of these is cancelled when it has just been let in. */
START_TEST(a_place_that_is_not_taken_goes_to_the_next)
{
    td_coroutine *fetches[5];

    open_server();
    td_arena_init(&arena);
    response_len = 0;
    for (size_t i = 0; i < COUNT_OF(fetches); i++)
        fetches[i] = start_actor(fetch, NULL);
    turn_until(has_two_connections);
    ck_assert_uint_eq(td_http_client_active(), 2);
    td_coroutine_cancel(fetches[0]); /* lets the third in, */
    ck_assert_uint_eq(td_http_client_active(), 2);
    td_coroutine_cancel(fetches[2]); /* which does not come; so the fourth */
    ck_assert_uint_eq(td_http_client_active(), 2);
    turn_until(has_three_connections);
    td_coroutine_cancel(fetches[4]); /* waits still */
    td_coroutine_cancel(fetches[1]);
    ck_assert_uint_eq(td_http_client_active(), 1);
    td_coroutine_cancel(fetches[3]);
    ck_assert_uint_eq(td_http_client_active(), 0);
    ck_assert_str_eq(notes, "");
    td_arena_fini(&arena);
    close_server();
}
END_TEST

START_TEST(the_end_of_the_loop_is_the_end_of_all)
{
    open_server();
    td_arena_init(&arena);
    start_actor(fetch, NULL);
    turn_until(is_noted);
    response_len = 20;
    for (int i = 0; i < 4; i++) /* two that wait for the server, two for these */
        start_actor(fetch, NULL);
    turn_until(has_two_connections);
    close_server();
    ck_assert_uint_eq(td_http_client_active(), 0);
    td_arena_fini(&arena);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_test(tcase, cut_off_anywhere_it_leaves_nothing);
    tcase_add_test(tcase, closed_anywhere_it_is_an_error);
    tcase_add_test(tcase, an_answer_is_told_and_the_connection_is_kept);
    tcase_add_test(tcase, a_place_that_is_not_taken_goes_to_the_next);
    tcase_add_test(tcase, the_end_of_the_loop_is_the_end_of_all);
}

int
main(void)
{
    return unit_run("httpclient", fill);
}
