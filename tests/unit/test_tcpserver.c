/* Goal: accepting is bounded, and neither spins nor forgets anybody when nothing is left. */
#include "io/tcpserver.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include "on_loop.h"

static td_tcpserver *server;
static int listener;
static struct sockaddr_un address;
static socklen_t address_len;
static int clients[64], accepted[64], refused;
static size_t clients_count, accepted_count;

/* Errors that accept4 gives before it goes on as the kernel would. */
static int errors[64];
static size_t errors_count, calls;

int
accept4(int fd, struct sockaddr *peer, socklen_t *peer_len, int flags)
{
    calls++;
    if (errors_count > 0) {
        errno = errors[--errors_count];
        return -1;
    }
    return (int)syscall(SYS_accept4, fd, peer, peer_len, flags);
}

static void
on_accepted(void *arg, int fd, const struct sockaddr_storage *peer, socklen_t peer_len)
{
    ck_assert_ptr_eq(arg, &server);
    ck_assert_int_eq(peer->ss_family, AF_UNIX);
    ck_assert_uint_ge(peer_len, sizeof(sa_family_t));
    accepted[accepted_count++] = fd;
    note('a');
}

static void
on_refuse(void *arg, int fd)
{
    ck_assert_ptr_eq(arg, &server);
    ck_assert_int_eq(write(fd, "no", 2), 2);
    refused++;
}

static int spare[4], spares;

static bool
on_no_room(void *arg)
{
    ck_assert_ptr_eq(arg, &server);
    if (spares == 0)
        return false;
    close(spare[--spares]);
    return true;
}

/* A listener that touches no network and no file system. */
static void
open_server(void)
{
    open_loop();
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address = (struct sockaddr_un){.sun_family = AF_UNIX};
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
    ck_assert_int_eq(listen(listener, 64), 0);
    address_len = sizeof(address);
    getsockname(listener, (struct sockaddr *)&address, &address_len);

    const td_tcpserver_options options = {.fd = listener, .name = "test", .accepts_max = 4,
                                          .accepted = on_accepted, .make_room = on_no_room, .refuse = on_refuse,
                                          .arg = &server};
    server = td_tcpserver_create(loop, &options);
    clients_count = accepted_count = errors_count = calls = 0;
    refused = spares = 0;
}

static void
close_server(void)
{
    td_tcpserver_destroy(&server);
    ck_assert_ptr_null(server);
    td_tcpserver_destroy(&server);
    for (size_t i = 0; i < clients_count; i++)
        close(clients[i]);
    for (size_t i = 0; i < accepted_count; i++)
        close(accepted[i]);
    close(listener);
    close_loop();
}

static int
connect_one(void)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, address_len), 0);
    clients[clients_count++] = fd;
    return fd;
}

static void
turn_once(void)
{
    int iterations = 2; /* one poll lies between two callbacks */

    td_ioloop_add_callback(loop, stop_loop_after, &iterations);
    ck_assert_int_eq(td_ioloop_start(loop), 0);
}

START_TEST(a_wake_accepts_a_bounded_number)
{
    for (int i = 0; i < 10; i++)
        connect_one();
    turn_once();
    ck_assert_uint_eq(accepted_count, 0); /* not started */
    td_tcpserver_start(server);
    turn_once();
    ck_assert_uint_eq(accepted_count, 4);
    turn_once();
    ck_assert_uint_eq(accepted_count, 8);
    turn_once();
    ck_assert_uint_eq(accepted_count, 10);
    for (size_t i = 0; i < accepted_count; i++) {
        ck_assert(fcntl(accepted[i], F_GETFL) & O_NONBLOCK);
        ck_assert(fcntl(accepted[i], F_GETFD) & FD_CLOEXEC);
    }
}
END_TEST

START_TEST(errors_of_a_client_are_skipped)
{
    static const int of_a_client[] = {ECONNABORTED, EPROTO, ENETDOWN, EPERM, EINTR};

    memcpy(errors, of_a_client, sizeof(of_a_client));
    errors_count = sizeof(of_a_client) / sizeof(of_a_client[0]);
    connect_one();
    td_tcpserver_start(server);
    turn_once();
    ck_assert_uint_eq(calls, 4); /* an error counts as one of the wake's */
    turn_once();
    ck_assert_uint_eq(accepted_count, 1);
    ck_assert_int_eq(logged("accept"), 0);
}
END_TEST

START_TEST(when_the_system_has_nothing_left_accepting_pauses)
{
    static const int causes[] = {ENFILE, ENOBUFS, ENOMEM, EINVAL};

    errors[0] = causes[_i];
    errors_count = 1;
    connect_one();
    connect_one();
    td_tcpserver_start(server);
    const int64_t start_ns = td_clock_ns();
    turn();
    ck_assert_uint_eq(accepted_count, 0);
    ck_assert_int_eq(refused, causes[_i] == ENFILE);
    const size_t calls_before = calls;
    turn();
    ck_assert_uint_eq(calls, calls_before); /* no attempt during the pause */
    ck_assert_int_eq(logged("test: accept:"), 1);
    while (accepted_count == 0)
        turn();
    ck_assert_int_ge(td_clock_ns() - start_ns, 100 * TD_NS_PER_MS);
    turn();
    ck_assert_uint_eq(accepted_count, causes[_i] == ENFILE ? 1 : 2); /* nobody is forgotten */
}
END_TEST

START_TEST(room_ends_the_pause)
{
    errors[0] = ENOMEM;
    errors_count = 1;
    connect_one();
    td_tcpserver_start(server);
    turn();
    ck_assert_uint_eq(accepted_count, 0);
    td_tcpserver_room(server);
    turn();
    ck_assert_uint_eq(accepted_count, 1);
    td_tcpserver_stop(server);
    td_tcpserver_room(server); /* is no start */
    connect_one();
    turn();
    ck_assert_uint_eq(accepted_count, 1);
}
END_TEST

/* All descriptors but one, which is the reserve's to give. */
static void
use_up_descriptors(int *first, int *last)
{
    struct rlimit limit = {128, 128};

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    *first = *last = dup(listener);
    for (int fd; (fd = dup(listener)) >= 0; *last = fd)
        ;
    ck_assert_int_eq(errno, EMFILE);
}

START_TEST(room_that_is_made_is_for_those_who_wait)
{
    int first, last;

    for (int i = 0; i < 3; i++)
        connect_one();
    td_tcpserver_start(server);
    use_up_descriptors(&first, &last);
    spare[0] = last, spare[1] = last - 1;
    spares = 2;
    turn();
    ck_assert_uint_eq(accepted_count, 2);
    ck_assert_int_eq(refused, 1);
    for (int fd = first; fd < last - 1; fd++)
        close(fd);
    ck_assert_int_eq(logged("test: accept: Too many open files; an idle connection was closed"), 1);
}
END_TEST

START_TEST(without_descriptors_the_newest_is_told_by_the_reserve)
{
    int first, last;
    char answer[2];
    const int one = connect_one(), two = connect_one();

    td_tcpserver_start(server);
    use_up_descriptors(&first, &last);
    turn();
    ck_assert_uint_eq(accepted_count, 0);
    ck_assert_int_eq(refused, 1);
    ck_assert_int_eq(read(one, answer, 2), 2);
    ck_assert_mem_eq(answer, "no", 2);
    ck_assert_int_eq(read(one, answer, 1), 0);
    ck_assert_int_eq(read(two, answer, 1), -1); /* waits in the queue, not refused */
    ck_assert_int_eq(errno, EAGAIN);

    for (int fd = first; fd <= last; fd++)
        close(fd);
    ck_assert_int_eq(logged("test: accept: Too many open files; pausing for 100 ms"), 1);
    td_tcpserver_room(server);
    turn();
    ck_assert_uint_eq(accepted_count, 1);
}
END_TEST

static void
accept_and_stop(void *arg, int fd, const struct sockaddr_storage *peer, socklen_t peer_len)
{
    on_accepted(arg, fd, peer, peer_len);
    td_tcpserver_stop(server);
}

START_TEST(it_may_be_stopped_while_it_accepts)
{
    const td_tcpserver_options options = {.fd = listener, .name = "test",
                                          .accepted = accept_and_stop, .arg = &server};

    td_tcpserver_destroy(&server);
    server = td_tcpserver_create(loop, &options);
    connect_one();
    connect_one();
    td_tcpserver_start(server);
    turn();
    ck_assert_uint_eq(accepted_count, 1);
    td_tcpserver_start(server);
    turn();
    ck_assert_uint_eq(accepted_count, 2);
}
END_TEST

static char congestion[16];

static void
note_congestion(void *arg, int fd, const struct sockaddr_storage *peer, socklen_t peer_len)
{
    socklen_t len = sizeof(congestion) - 1;

    (void)arg, (void)peer, (void)peer_len;
    memset(congestion, 0, sizeof(congestion));
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, &len), 0);
    close(fd);
    td_ioloop_stop(loop);
}

static const struct {
    const char *setting, *expected; /* NULL: what the listening socket has */
} settings[] = {{"auto", "reno"}, {"system", NULL}, {NULL, NULL}};

/* Others reach the socket, too: what it has is for them. */
START_TEST(a_client_on_this_machine_is_told_apart)
{
    struct sockaddr_in all = {.sin_family = AF_INET};
    socklen_t len = sizeof(all);
    char own[16] = "";
    socklen_t own_len = sizeof(own) - 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    td_tcpserver *on_tcp;

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&all, len), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&all, &len), 0);
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, own, &own_len), 0);
    on_tcp = td_tcpserver_create(loop, &(td_tcpserver_options){.fd = fd, .name = "tcp", .accepted = note_congestion,
                                                               .congestion = settings[_i].setting});
    td_tcpserver_start(on_tcp);
    all.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&all, len), 0);
    td_ioloop_start(loop);
    ck_assert_str_eq(congestion, settings[_i].expected != NULL ? settings[_i].expected : own);
    td_tcpserver_destroy(&on_tcp);
    close(client);
    close(fd);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_server, close_server);
    tcase_add_test(tcase, a_wake_accepts_a_bounded_number);
    tcase_add_test(tcase, errors_of_a_client_are_skipped);
    tcase_add_loop_test(tcase, when_the_system_has_nothing_left_accepting_pauses, 0, 4);
    tcase_add_test(tcase, room_ends_the_pause);
    tcase_add_test(tcase, room_that_is_made_is_for_those_who_wait);
    tcase_add_test(tcase, without_descriptors_the_newest_is_told_by_the_reserve);
    tcase_add_test(tcase, it_may_be_stopped_while_it_accepts);
    ADD_TABLE(tcase, a_client_on_this_machine_is_told_apart, settings);
}

int
main(void)
{
    return unit_run("tcpserver", fill);
}
