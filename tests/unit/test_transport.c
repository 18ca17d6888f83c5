/* Goal: attempts say what the kernel said, and only a change of interest touches the watcher. */
#include "io/transport.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "on_loop.h"

static td_transport transport;
static int peer;

/* Every call of epoll_ctl by libev comes through here. */
static int epoll_ctls;

__attribute__((visibility("default"))) int
epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    static int (*real)(int, int, int, struct epoll_event *);

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "epoll_ctl");
    epoll_ctls += fd == td_transport_fd(&transport);
    return real(epfd, op, fd, event);
}

static void
on_event(td_transport *t, int events)
{
    ck_assert_ptr_eq(t, &transport);
    note(events == TD_READABLE ? 'r' : events == TD_WRITABLE ? 'w' : 'b');
}

static void
open_transport(void)
{
    int fds[2];

    open_loop();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    peer = fds[1];
    td_transport_open_plain(&transport, fds[0], on_event);
    epoll_ctls = 0;
}

static void
close_transport(void)
{
    td_transport_close(&transport, loop);
    td_transport_close(&transport, loop); /* again: nothing */
    ck_assert_int_eq(td_transport_fd(&transport), -1);
    close(peer);
    close_loop();
}

START_TEST(a_read_gives_bytes_then_again_then_the_end)
{
    char to[8];

    ck_assert_int_eq(transport.ops->read(&transport, to, sizeof(to)), -EAGAIN);
    ck_assert_int_eq(write(peer, "abcdef", 6), 6);
    ck_assert_int_eq(transport.ops->read(&transport, to, 4), 4);
    ck_assert_int_eq(transport.ops->read(&transport, to + 4, 4), 2);
    ck_assert_mem_eq(to, "abcdef", 6);
    shutdown(peer, SHUT_WR);
    ck_assert_int_eq(transport.ops->read(&transport, to, sizeof(to)), 0);
}
END_TEST

START_TEST(a_write_takes_one_part_or_several)
{
    char one[] = "one", two[] = "two", three[] = "three", got[16];
    const struct iovec parts[] = {{one, 3}, {two, 3}, {three, 5}};

    ck_assert_int_eq(transport.ops->writev(&transport, parts, 1, false), 3);
    ck_assert_int_eq(read(peer, got, sizeof(got)), 3);
    ck_assert_mem_eq(got, "one", 3);
    ck_assert_int_eq(transport.ops->writev(&transport, parts, 3, false), 11);
    ck_assert_int_eq(read(peer, got, sizeof(got)), 11);
    ck_assert_mem_eq(got, "onetwothree", 11);
}
END_TEST

START_TEST(a_write_to_a_full_or_closed_peer_returns)
{
    static char bytes[1 << 20];
    const struct iovec all[] = {{bytes, sizeof(bytes)}, {bytes, sizeof(bytes)}};
    ssize_t n;

    n = transport.ops->writev(&transport, all, 1, false);
    ck_assert_int_gt(n, 0);
    ck_assert_int_lt(n, sizeof(bytes));
    ck_assert_int_eq(transport.ops->writev(&transport, all, 1, false), -EAGAIN);
    close(peer);
    ck_assert_int_eq(transport.ops->writev(&transport, all, 1, false), -EPIPE); /* and no signal */
    ck_assert_int_eq(transport.ops->writev(&transport, all, 2, false), -EPIPE);
    peer = -1;
}
END_TEST

START_TEST(a_file_goes_from_its_offset_until_it_ends)
{
    const int fd = memfd_create("file", MFD_CLOEXEC);
    char got[16];

    ck_assert_int_eq(write(fd, "abcdef", 6), 6);
    ck_assert_int_eq(transport.ops->sendfile(&transport, fd, 1, 3), 3);
    ck_assert_int_eq(transport.ops->sendfile(&transport, fd, 4, 100), 2);
    ck_assert_int_eq(transport.ops->sendfile(&transport, fd, 6, 100), 0);
    ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 6); /* others may share it */
    ck_assert_int_eq(read(peer, got, sizeof(got)), 5);
    ck_assert_mem_eq(got, "bcdef", 5);
    ck_assert_int_eq(transport.ops->sendfile(&transport, -1, 0, 1), -EBADF);
    close(fd);
}
END_TEST

START_TEST(a_file_to_a_full_or_closed_peer_returns)
{
    const int fd = memfd_create("file", MFD_CLOEXEC);
    ssize_t n;

    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
    do
        n = transport.ops->sendfile(&transport, fd, 0, 1 << 20);
    while (n > 0);
    ck_assert_int_eq(n, -EAGAIN);
    close(peer);
    ck_assert_int_eq(transport.ops->sendfile(&transport, fd, 0, 1), -EPIPE);
    peer = -1;
    close(fd);
}
END_TEST

START_TEST(a_shutdown_ends_the_sending_side_alone)
{
    char byte;

    transport.ops->shutdown(&transport);
    ck_assert_int_eq(read(peer, &byte, 1), 0);
    ck_assert_int_eq(write(peer, "x", 1), 1);
    ck_assert_int_eq(transport.ops->read(&transport, &byte, 1), 1);
}
END_TEST

START_TEST(only_what_is_watched_is_told)
{
    turn();
    ck_assert_str_eq(notes, "");
    td_transport_watch(&transport, loop, TD_READABLE);
    turn();
    ck_assert_str_eq(notes, "");
    td_transport_watch(&transport, loop, TD_WRITABLE);
    turn();
    ck_assert_str_eq(notes, "www");
    ck_assert_int_eq(write(peer, "x", 1), 1);
    td_transport_watch(&transport, loop, TD_READABLE | TD_WRITABLE);
    turn();
    ck_assert_str_eq(notes, "wwwbbb");
    td_transport_watch(&transport, loop, 0);
    ck_assert_int_eq(td_transport_watched(&transport), 0);
    turn();
    ck_assert_str_eq(notes, "wwwbbb");
}
END_TEST

START_TEST(interest_that_stays_or_comes_back_costs_no_system_call)
{
    td_transport_watch(&transport, loop, TD_READABLE);
    turn();
    ck_assert_int_eq(epoll_ctls, 1);
    td_transport_watch(&transport, loop, TD_READABLE);
    turn();
    ck_assert_int_eq(epoll_ctls, 1);
    td_transport_watch(&transport, loop, TD_WRITABLE);
    td_transport_watch(&transport, loop, 0);
    td_transport_watch(&transport, loop, TD_READABLE);
    turn();
    ck_assert_int_eq(epoll_ctls, 1);
    td_transport_watch(&transport, loop, TD_WRITABLE);
    turn();
    ck_assert_int_eq(epoll_ctls, 2);
}
END_TEST

static void
close_it(td_transport *t, int events)
{
    (void)events;
    note('c');
    td_transport_close(t, loop);
}

/* How much of what the peer has sent and then ended is dropped in all. */
static size_t
discard_all(void)
{
    size_t dropped = 0;
    ssize_t n;

    while ((n = td_transport_discard(&transport, 1 << 20)) > 0)
        dropped += (size_t)n;
    ck_assert_int_eq(n, 0);
    return dropped;
}

START_TEST(what_nobody_wants_is_dropped)
{
    static char bytes[50000];

    td_transport_expect_discard(&transport);
    ck_assert_int_eq(td_transport_discard(&transport, 100), -EAGAIN);
    ck_assert_int_eq(write(peer, bytes, sizeof(bytes)), sizeof(bytes));
    ck_assert_int_eq(td_transport_discard(&transport, 100), 100);
    shutdown(peer, SHUT_WR);
    ck_assert_uint_eq(discard_all(), sizeof(bytes) - 100);
}
END_TEST

/* In the place of the pair that is there. */
static void
connect_by_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    const int listener = socket(AF_INET, SOCK_STREAM, 0);

    close_transport();
    open_loop();
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    getsockname(listener, (struct sockaddr *)&address, &len);
    peer = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(peer, (struct sockaddr *)&address, len), 0);
    td_transport_open_plain(&transport, accept4(listener, NULL, NULL, SOCK_NONBLOCK), on_event);
    close(listener);
}

/* The room of the transport is not enough for so much unless it is made. */
START_TEST(much_that_nobody_wants_is_told_at_once)
{
    static char bytes[100000];

    connect_by_tcp();
    td_transport_expect_discard(&transport);
    td_transport_watch(&transport, loop, TD_READABLE);
    ck_assert_int_eq(write(peer, bytes, sizeof(bytes)), sizeof(bytes));
    turn();
    ck_assert_str_eq(notes, "");
    ck_assert_int_eq(write(peer, bytes, sizeof(bytes)), sizeof(bytes));
    shutdown(peer, SHUT_WR);
    turn();
    ck_assert_int_eq(notes[0], 'r');
    ck_assert_uint_eq(discard_all(), 2 * sizeof(bytes));
}
END_TEST

START_TEST(it_may_be_closed_from_its_event)
{
    transport.on_event = close_it;
    td_transport_watch(&transport, loop, TD_WRITABLE);
    turn();
    ck_assert_str_eq(notes, "c");
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_transport, close_transport);
    tcase_add_test(tcase, a_read_gives_bytes_then_again_then_the_end);
    tcase_add_test(tcase, a_write_takes_one_part_or_several);
    tcase_add_test(tcase, a_write_to_a_full_or_closed_peer_returns);
    tcase_add_test(tcase, a_file_goes_from_its_offset_until_it_ends);
    tcase_add_test(tcase, a_file_to_a_full_or_closed_peer_returns);
    tcase_add_test(tcase, a_shutdown_ends_the_sending_side_alone);
    tcase_add_test(tcase, only_what_is_watched_is_told);
    tcase_add_test(tcase, interest_that_stays_or_comes_back_costs_no_system_call);
    tcase_add_test(tcase, what_nobody_wants_is_dropped);
    tcase_add_test(tcase, much_that_nobody_wants_is_told_at_once);
    tcase_add_test(tcase, it_may_be_closed_from_its_event);
}

int
main(void)
{
    return unit_run("transport", fill);
}
