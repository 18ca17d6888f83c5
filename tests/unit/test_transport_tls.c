/*
 * Goal: the layers above see of TLS what they see of a socket: attempts that say how it went,
 * events when the next one is worth it, and an end that nobody can forge.
 */
#include "io/transport_tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "base/arena.h"
#include "io/linger.h"
#include "io/tls.h"
#include "on_loop.h"
#include "tls_peer.h"

static td_transport client, server;

static void
on_client(td_transport *t, int events)
{
    ck_assert_ptr_eq(t, &client);
    note(events == TD_READABLE ? 'r' : events == TD_WRITABLE ? 'w' : 'b');
}

static void
on_server(td_transport *t, int events)
{
    (void)t, (void)events;
    note('s');
}

static SSL *
connect_ssl(int fd)
{
    const td_ssl_options options = {.ca_certs = tls_peer_file, .server_hostname = "localhost"};
    SSL *ssl;
    td_err err;

    ck_assert_msg(td_tls_connect(&options, NULL, fd, &ssl, &err) == 0, "%s", err.text);
    return ssl;
}

static void
open_both(void)
{
    int fds[2];

    open_loop();
    open_tls_peer();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    td_transport_open_plain(&client, fds[0], on_client);
    td_transport_open_plain(&server, fds[1], on_server);
    td_transport_start_tls(&client, loop, connect_ssl(fds[0]));
    td_transport_start_tls(&server, loop, accept_tls(fds[1]));
}

static void
close_both(void)
{
    td_transport_close(&client, loop);
    td_transport_close(&server, loop);
    close_tls_peer();
    close_loop();
}

/* The server's side needs nobody to call it a handshake: reading is enough. */
static void
shake_hands(void)
{
    char byte;
    int rc = -EAGAIN;

    for (int i = 0; i < 4 && rc == -EAGAIN; i++) {
        rc = td_transport_handshake(&client);
        ck_assert_int_eq(server.ops->read(&server, &byte, 1), -EAGAIN);
    }
    ck_assert_int_eq(rc, 0);
}

static ssize_t
send_text(td_transport *t, const char *text)
{
    const struct iovec part = {(char *)text, strlen(text)};

    return t->ops->writev(t, &part, 1, false);
}

START_TEST(bytes_go_both_ways)
{
    char got[16];
    char one[] = "one", two[] = "two", none[] = "";
    const struct iovec parts[] = {{one, 3}, {none, 0}, {two, 3}};

    shake_hands();
    ck_assert_int_eq(client.ops->read(&client, got, sizeof(got)), -EAGAIN);
    ck_assert_int_eq(client.ops->writev(&client, parts, 3, false), 6);
    ck_assert_int_eq(server.ops->read(&server, got, sizeof(got)), 6);
    ck_assert_mem_eq(got, "onetwo", 6);
    ck_assert_int_eq(send_text(&server, "back"), 4);
    ck_assert_int_eq(client.ops->read(&client, got, sizeof(got)), 4);
}
END_TEST

#define MANY ((size_t)3 << 20)

static char
byte_at(size_t i)
{
    return (char)(i * 31 + (i >> 10));
}

/* As much as goes of the bytes from `done` on, in two parts from memory of its own; how much. */
static size_t
send_some(size_t done)
{
    const size_t left = MANY - done, len = left < 100000 ? left : 100000, first = len / 3;
    char *moved = td_xmalloc(len);
    const struct iovec parts[] = {{moved, first}, {moved + first, len - first}};
    ssize_t n;

    for (size_t i = 0; i < len; i++)
        moved[i] = byte_at(done + i);
    n = client.ops->writev(&client, parts, 2, false);
    free(moved);
    ck_assert(n > 0 || n == -EAGAIN);
    return n > 0 ? (size_t)n : 0;
}

START_TEST(a_write_that_could_not_go_goes_on_from_another_place)
{
    char got[7777];
    size_t sent = 0, received = 0, refused = 0, wrong = 0;

    shake_hands();
    while (received < MANY) {
        const size_t n = sent < MANY ? send_some(sent) : 0;
        const ssize_t came = server.ops->read(&server, got, sizeof(got));

        sent += n;
        refused += n == 0;
        ck_assert(came > 0 || came == -EAGAIN);
        for (ssize_t i = 0; i < came; i++)
            wrong += got[i] != byte_at(received + (size_t)i);
        received += came > 0 ? (size_t)came : 0;
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_gt(refused, 10);
}
END_TEST

START_TEST(what_openssl_holds_back_is_told_without_an_event_of_the_socket)
{
    char got[8];

    shake_hands();
    ck_assert_int_eq(send_text(&server, "abcdef"), 6);
    ck_assert_int_eq(client.ops->read(&client, got, 4), 4);
    td_transport_watch(&client, loop, TD_READABLE);
    ck_assert_int_eq(td_transport_watched(&client), TD_READABLE);
    turn();
    ck_assert_str_eq(notes, "r");
    ck_assert_int_eq(client.ops->read(&client, got, sizeof(got)), 2);
    td_transport_watch(&client, loop, TD_READABLE);
    turn();
    ck_assert_str_eq(notes, "r"); /* nothing more */
    ck_assert_int_eq(send_text(&server, "g"), 1);
    turn();
    ck_assert_int_eq(notes[1], 'r');
    td_transport_watch(&client, loop, 0);
    ck_assert_int_eq(td_transport_watched(&client), 0);
}
END_TEST

START_TEST(writable_is_told_when_the_socket_has_room)
{
    char got[65536];
    size_t sent = 0, n;

    shake_hands();
    while ((n = send_some(sent)) > 0)
        sent += n;
    td_transport_watch(&client, loop, TD_WRITABLE);
    turn();
    ck_assert_str_eq(notes, "");
    while (server.ops->read(&server, got, sizeof(got)) > 0)
        ;
    turn();
    ck_assert_int_eq(notes[0], 'w');
}
END_TEST

START_TEST(an_end_that_was_announced_is_one)
{
    char got[8];

    shake_hands();
    ck_assert_int_eq(send_text(&server, "bye"), 3);
    server.ops->shutdown(&server);
    ck_assert_int_eq(client.ops->read(&client, got, sizeof(got)), 3);
    ck_assert_int_eq(client.ops->read(&client, got, sizeof(got)), 0);
    ck_assert_int_eq(client.ops->read(&client, got, sizeof(got)), 0);
    ck_assert_int_eq(send_text(&client, "still"), 5); /* the other direction goes on */
    ck_assert_int_eq(server.ops->read(&server, got, sizeof(got)), 5);
}
END_TEST

/* How many records of a byte the kernel takes before it is full; at most `max`. */
static int
fill_socket(int max)
{
    int count = 0;

    while (count < max && send_text(&client, "x") == 1)
        count++;
    return count;
}

START_TEST(the_announcement_waits_for_a_socket_that_is_full)
{
    const int size = 1; /* as small as it may be */
    char got[4096];
    int count;

    shake_hands();
    setsockopt(td_transport_fd(&client), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    count = fill_socket(1000);
    ck_assert_int_lt(count, 1000);
    ck_assert_int_eq(server.ops->read(&server, got, sizeof(got)), count);
    ck_assert_int_eq(send_text(&client, "x"), 1); /* the one that could not go */
    ck_assert_int_eq(server.ops->read(&server, got, sizeof(got)), 1);

    ck_assert_int_eq(fill_socket(count), count);
    ck_assert_int_eq(client.ops->shutdown(&client), -EAGAIN);
    ck_assert_int_eq(client.ops->shutdown(&client), -EAGAIN);
    ck_assert_int_eq(server.ops->read(&server, got, sizeof(got)), count);
    ck_assert_int_eq(server.ops->read(&server, got, sizeof(got)), -EAGAIN);
    ck_assert_int_eq(client.ops->shutdown(&client), 0);
    ck_assert_int_eq(server.ops->read(&server, got, sizeof(got)), 0);
    ck_assert_int_eq(send_text(&server, "still"), 5);
    ck_assert_int_eq(client.ops->shutdown(&client), 0); /* nothing more, and what came is not lost */
    ck_assert_int_eq(client.ops->read(&client, got, sizeof(got)), 5);
}
END_TEST

static void
on_ended(td_linger *linger)
{
    (void)linger;
    note('e');
}

START_TEST(who_lingers_announces_the_end_when_there_is_room)
{
    const int size = 1;
    td_linger linger = {.ended = on_ended};
    char got[4096];
    int count;

    shake_hands();
    setsockopt(td_transport_fd(&client), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    count = fill_socket(1000);
    ck_assert_int_eq(server.ops->read(&server, got, sizeof(got)), count);
    ck_assert_int_eq(send_text(&client, "x"), 1);
    ck_assert_int_eq(server.ops->read(&server, got, sizeof(got)), 1);
    ck_assert_int_eq(fill_socket(count), count);

    td_linger_start(&linger, &client, loop);
    turn();
    ck_assert_int_eq(server.ops->read(&server, got, sizeof(got)), count);
    ck_assert_int_eq(server.ops->read(&server, got, sizeof(got)), -EAGAIN);
    turn();
    ck_assert_int_eq(server.ops->read(&server, got, sizeof(got)), 0);
    ck_assert_str_eq(notes, "");
    td_transport_close(&server, loop);
    turn();
    ck_assert_str_eq(notes, "e");
}
END_TEST

START_TEST(an_end_that_was_not_is_an_error)
{
    char got[8];

    shake_hands();
    ck_assert_int_eq(send_text(&server, "by"), 2);
    shutdown(td_transport_fd(&server), SHUT_WR); /* whoever is between them can do that */
    ck_assert_int_eq(client.ops->read(&client, got, sizeof(got)), 2);
    ck_assert_int_eq(client.ops->read(&client, got, sizeof(got)), TD_ETRUNCATED);
    ck_assert_int_eq(client.ops->read(&client, got, sizeof(got)), TD_ETRUNCATED);
    ck_assert_int_eq(send_text(&client, "x"), TD_ETRUNCATED);
}
END_TEST

START_TEST(closing_announces_the_end)
{
    char got[8];

    shake_hands();
    td_transport_close(&client, loop);
    td_transport_close(&client, loop); /* again: nothing */
    ck_assert_int_eq(server.ops->read(&server, got, sizeof(got)), 0);
}
END_TEST

START_TEST(records_that_were_changed_end_it_with_a_reason)
{
    char got[64];

    shake_hands();
    ck_assert_int_eq(write(td_transport_fd(&server), "\x17\x03\x03\x00\x15nonsense, long enough", 26), 26);
    ck_assert_int_eq(client.ops->read(&client, got, sizeof(got)), TD_ETLS);
    ck_assert_str_eq(td_transport_reason(&client), "decryption failed or bad record mac");
    ck_assert_int_eq(send_text(&client, "x"), TD_ETLS);
}
END_TEST

START_TEST(what_others_left_in_the_queue_of_errors_is_not_ours)
{
    char got[8];

    shake_hands();
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
    errno = EIO;
    ck_assert_int_eq(client.ops->read(&client, got, sizeof(got)), -EAGAIN);
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
    ck_assert_int_eq(send_text(&client, "fine"), 4);
}
END_TEST

START_TEST(a_file_is_sent_up_to_its_end)
{
    const int fd = memfd_create("file", 0);
    char got[40000], block[10000] = {0};
    size_t received = 0;
    ssize_t n;

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(write(fd, block, sizeof(block)), sizeof(block));
    shake_hands();
    ck_assert_int_eq(client.ops->sendfile(&client, fd, 5000, 50000), 35000);
    ck_assert_int_eq(client.ops->sendfile(&client, fd, 40000, 1), 0);
    while ((n = server.ops->read(&server, got, sizeof(got))) > 0)
        received += (size_t)n;
    ck_assert_uint_eq(received, 35000);
    close(fd);
}
END_TEST

START_TEST(it_can_move_to_another_object)
{
    static td_transport moved;
    char got[8];

    shake_hands();
    td_transport_watch(&server, loop, TD_READABLE);
    td_transport_move(&moved, &server, loop, on_server);
    ck_assert_int_eq(td_transport_fd(&server), -1);
    ck_assert_int_eq(send_text(&client, "here"), 4);
    td_transport_watch(&moved, loop, TD_READABLE);
    turn();
    ck_assert_int_eq(notes[0], 's');
    ck_assert_int_eq(moved.ops->read(&moved, got, sizeof(got)), 4);
    td_transport_close(&moved, loop);
}
END_TEST

START_TEST(who_is_somebody_else_is_told_by_name)
{
    const td_ssl_options options = {.ca_certs = tls_peer_file, .server_hostname = "example.org"};
    char byte;
    SSL *ssl;
    int rc = -EAGAIN;

    ck_assert_int_eq(td_tls_connect(&options, NULL, td_transport_fd(&client), &ssl, NULL), 0);
    td_tls_free(ssl); /* and once more in the place of the client's */
    ck_assert_int_eq(td_tls_connect(&options, NULL, td_transport_fd(&client), &ssl, NULL), 0);

    td_transport other = client;

    td_transport_open_plain(&other, dup(td_transport_fd(&client)), on_client);
    td_transport_start_tls(&other, loop, ssl);
    for (int i = 0; i < 4 && rc == -EAGAIN; i++) {
        rc = td_transport_handshake(&other);
        server.ops->read(&server, &byte, 1);
    }
    ck_assert_int_eq(rc, TD_ECERTIFICATE);
    ck_assert_str_eq(td_transport_reason(&other), "hostname mismatch");
    ck_assert_int_eq(td_transport_handshake(&other), TD_ECERTIFICATE);
    td_transport_close(&other, loop);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_both, close_both);
    tcase_add_test(tcase, bytes_go_both_ways);
    tcase_add_test(tcase, a_write_that_could_not_go_goes_on_from_another_place);
    tcase_add_test(tcase, what_openssl_holds_back_is_told_without_an_event_of_the_socket);
    tcase_add_test(tcase, writable_is_told_when_the_socket_has_room);
    tcase_add_test(tcase, an_end_that_was_announced_is_one);
    tcase_add_test(tcase, the_announcement_waits_for_a_socket_that_is_full);
    tcase_add_test(tcase, who_lingers_announces_the_end_when_there_is_room);
    tcase_add_test(tcase, an_end_that_was_not_is_an_error);
    tcase_add_test(tcase, closing_announces_the_end);
    tcase_add_test(tcase, records_that_were_changed_end_it_with_a_reason);
    tcase_add_test(tcase, what_others_left_in_the_queue_of_errors_is_not_ours);
    tcase_add_test(tcase, a_file_is_sent_up_to_its_end);
    tcase_add_test(tcase, it_can_move_to_another_object);
    tcase_add_test(tcase, who_is_somebody_else_is_told_by_name);
}

int
main(void)
{
    return unit_run("transport_tls", fill);
}
