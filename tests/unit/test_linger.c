/* Goal: what is said last arrives, what comes is dropped, and nobody is waited for in vain. */
#include "io/linger.h"

#include <fcntl.h>
#include <sys/socket.h>
#include "on_loop.h"

static td_linger linger;
static int peer;

static void
never(td_transport *t, int events)
{
    (void)t, (void)events;
    ck_abort_msg("it was given away");
}

static void
on_ended(td_linger *ended)
{
    ck_assert_ptr_eq(ended, &linger);
    ck_assert_int_eq(td_transport_fd(&ended->transport), -1);
    note('e');
}

/* Our last word is said, and not heard yet. */
static void
start(void)
{
    int pair[2];
    td_transport said;

    open_loop();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    peer = pair[1];
    td_transport_open_plain(&said, pair[0], never);
    ck_assert_int_eq(write(pair[0], "bye", 3), 3);
    ck_assert_int_eq(write(peer, "unread", 6), 6);
    linger.ended = on_ended;
    td_linger_start(&linger, &said, loop);
    ck_assert_int_eq(td_transport_fd(&said), -1);
}

static void
finish(void)
{
    td_linger_stop(&linger);
    close(peer);
    close_loop();
}

START_TEST(the_peer_hears_all_and_ends_when_he_likes)
{
    char heard[8];

    turn();
    ck_assert_int_eq(write(peer, "more", 4), 4);
    turn();
    ck_assert_str_eq(notes, "");
    ck_assert_uint_eq(linger.dropped, 10);
    ck_assert_int_eq(read(peer, heard, sizeof(heard)), 3);
    ck_assert_int_eq(read(peer, heard, sizeof(heard)), 0);
    shutdown(peer, SHUT_WR);
    turn();
    ck_assert_str_eq(notes, "e");
}
END_TEST

START_TEST(only_so_much_is_dropped)
{
    static char bytes[65536];
    size_t sent = 0;

    for (int i = 0; notes_len == 0 && i < 10000; i++) {
        const ssize_t n = send(peer, bytes, sizeof(bytes), MSG_NOSIGNAL);

        sent += n > 0 ? (size_t)n : 0;
        turn();
    }
    ck_assert_str_eq(notes, "e");
    ck_assert_uint_ge(sent, TD_LINGER_MAX - 6);
    ck_assert_uint_lt(sent, TD_LINGER_MAX + (1 << 20));
}
END_TEST

START_TEST(only_for_so_long)
{
    const int64_t began = td_now_ns();

    while (notes_len == 0 && td_now_ns() - began < 10 * TD_NS_PER_S)
        turn();
    ck_assert_str_eq(notes, "e");
    ck_assert_int_ge(td_now_ns() - began, TD_LINGER_MS * TD_NS_PER_MS);
}
END_TEST

START_TEST(who_is_stopped_tells_nobody)
{
    td_linger_stop(&linger);
    td_linger_stop(&linger);
    shutdown(peer, SHUT_WR);
    turn();
    ck_assert_str_eq(notes, "");
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, start, finish);
    tcase_add_test(tcase, the_peer_hears_all_and_ends_when_he_likes);
    tcase_add_test(tcase, only_so_much_is_dropped);
    tcase_add_test(tcase, only_for_so_long);
    tcase_add_test(tcase, who_is_stopped_tells_nobody);
}

int
main(void)
{
    return unit_run("linger", fill);
}
