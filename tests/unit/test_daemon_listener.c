/* Goal: sockets are bound as the settings say, a dead daemon's is replaced, a living one's is not.
 */
#include "daemon/master/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/value.h"
#include "unit.h"

static char folder[64], unix_address[128];
static td_err err;

static void
setup(void)
{
    strcpy(folder, "/tmp/test_daemon_listener.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(unix_address, sizeof(unix_address), "unix:%s/socket", folder);
}

static void
teardown(void)
{
    unlink(unix_address + 5);
    rmdir(folder);
}

static td_listener_settings
settings_for(const char *address)
{
    return (td_listener_settings){
        .name = "test", .address = address, .backlog = 16, .mode = 0640, .defer_accept = true,
        .congestion = "auto"};
}

static struct listener *
open_listener(const td_listener_settings *settings, size_t workers)
{
    struct listener *listener = NULL;

    ck_assert_msg(listener_open(settings, workers, &listener, &err) == 0, "%s", err.text);
    return listener;
}

static int
option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);

    ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

START_TEST(a_tcp_socket_has_what_its_connections_need)
{
    td_listener_settings settings = settings_for("127.0.0.1:0");
    struct listener *listener = open_listener(&settings, 4);
    char url[64];

    ck_assert_uint_eq(listener->fds_count, 1);
    ck_assert_int_ne(option_of(listener->fds[0], IPPROTO_TCP, TCP_NODELAY), 0);
    ck_assert_int_gt(option_of(listener->fds[0], IPPROTO_TCP, TCP_DEFER_ACCEPT), 0);
    ck_assert_int_eq(option_of(listener->fds[0], SOL_SOCKET, SO_REUSEPORT), 0);
    ck_assert_int_eq(option_of(listener->fds[0], SOL_SOCKET, SO_ACCEPTCONN), 1);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u",
             ntohs(((struct sockaddr_in *)&listener->bound)->sin_port));
    ck_assert_str_eq(listener->url, url);
    listener_close(&listener);
    ck_assert_ptr_null(listener);
}
END_TEST

START_TEST(what_may_change_while_it_listens_does)
{
    td_listener_settings settings = settings_for("127.0.0.1:0");
    struct listener *listener = open_listener(&settings, 1);

    settings.defer_accept = false;
    ck_assert_int_eq(listener_adapt(listener, &settings, 1, &err), 0);
    ck_assert_int_eq(option_of(listener->fds[0], IPPROTO_TCP, TCP_DEFER_ACCEPT), 0);
    settings.defer_accept = true;
    ck_assert_int_eq(listener_adapt(listener, &settings, 1, &err), 0);
    ck_assert_int_gt(option_of(listener->fds[0], IPPROTO_TCP, TCP_DEFER_ACCEPT), 0);
    settings.congestion = "ronin";
    ck_assert_int_eq(listener_adapt(listener, &settings, 1, &err), -ENOENT);
    ck_assert_str_eq(err.text, "listen 127.0.0.1:0: congestion = ronin: No such file or directory");
    listener_close(&listener);
}
END_TEST

START_TEST(reuseport_is_a_socket_for_each_worker_and_never_fewer)
{
    td_listener_settings settings = settings_for("127.0.0.1:0");
    settings.reuseport = true;
    struct listener *listener = open_listener(&settings, 3);

    ck_assert_uint_eq(listener->fds_count, 3);
    for (size_t i = 0; i < 3; i++) {
        struct sockaddr_in address;
        socklen_t len = sizeof(address);
        getsockname(listener->fds[i], (struct sockaddr *)&address, &len);
        ck_assert_uint_eq(address.sin_port, ((struct sockaddr_in *)&listener->bound)->sin_port);
    }
    ck_assert_int_eq(listener_adapt(listener, &settings, 5, &err), 0);
    ck_assert_uint_eq(listener->fds_count, 5);
    ck_assert_int_eq(listener_adapt(listener, &settings, 2, &err), 0);
    ck_assert_uint_eq(listener->fds_count, 5);
    settings.reuseport = false;
    ck_assert_int_eq(listener_adapt(listener, &settings, 2, &err), TD_ECONFIG);
    listener_close(&listener);
}
END_TEST

/* The worker makes no system call for it. */
START_TEST(what_it_accepts_is_not_paced_on_this_machine)
{
    td_listener_settings settings = settings_for("127.0.0.1:0");
    struct listener *listener = open_listener(&settings, 1);
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char name[16] = "";
    socklen_t len = sizeof(name);
    int conn;

    ck_assert_int_eq(connect(client, (struct sockaddr *)&listener->bound, listener->bound_len), 0);
    ck_assert_int_eq(write(client, "x", 1), 1);
    while ((conn = accept(listener->fds[0], NULL, NULL)) < 0)
        ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(getsockopt(conn, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
    ck_assert_str_eq(name, "reno");
    close(conn);
    close(client);
    listener_close(&listener);
}
END_TEST

static const bool reuseports[] = {false, true};

/* Nor does SO_REUSEPORT let two daemons of one user share a port without knowing. */
START_TEST(a_busy_port_is_told)
{
    td_listener_settings settings = settings_for("127.0.0.1:0");
    settings.reuseport = reuseports[_i];
    struct listener *first = open_listener(&settings, 2), *second = NULL;
    char address[64], expected[128];

    snprintf(address, sizeof(address), "%s", first->url + strlen("http://"));
    settings.address = address;
    ck_assert_int_eq(listener_open(&settings, 2, &second, &err), -EADDRINUSE);
    snprintf(expected, sizeof(expected), "listen %s: Address already in use", address);
    ck_assert_str_eq(err.text, expected);
    listener_close(&first);
}
END_TEST

START_TEST(a_unix_socket_has_its_mode_and_goes_with_us)
{
    td_listener_settings settings = settings_for(unix_address);
    settings.reuseport = true; /* means nothing here */
    struct listener *listener = open_listener(&settings, 4);
    struct stat st;

    ck_assert_uint_eq(listener->fds_count, 1);
    ck_assert_int_eq(stat(unix_address + 5, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0640);
    ck_assert_str_eq(listener->url, unix_address);
    listener_close(&listener);
    ck_assert_int_lt(stat(unix_address + 5, &st), 0);
}
END_TEST

START_TEST(a_living_unix_socket_is_left_alone_and_a_dead_one_replaced)
{
    td_listener_settings settings = settings_for(unix_address);
    struct listener *first = open_listener(&settings, 1), *second = NULL;
    struct stat st;

    ck_assert_int_eq(listener_open(&settings, 1, &second, &err), -EADDRINUSE);
    ck_assert_int_eq(stat(unix_address + 5, &st), 0);
    close(first->fds[0]); /* as if killed: the name stays */
    first->fds_count = 0;
    second = open_listener(&settings, 1);
    listener_close(&first);
    ck_assert_int_eq(stat(unix_address + 5, &st), 0); /* it was no longer the first one's */
    listener_close(&second);
}
END_TEST

START_TEST(a_file_in_the_way_is_not_removed)
{
    td_listener_settings settings = settings_for(unix_address);
    struct listener *listener = NULL;
    FILE *file = fopen(unix_address + 5, "w");

    ck_assert_ptr_nonnull(file);
    fclose(file);
    ck_assert_int_eq(listener_open(&settings, 1, &listener, &err), -EADDRINUSE);
    ck_assert_int_eq(access(unix_address + 5, F_OK), 0);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_tcp_socket_has_what_its_connections_need);
    tcase_add_test(tcase, what_may_change_while_it_listens_does);
    tcase_add_test(tcase, what_it_accepts_is_not_paced_on_this_machine);
    tcase_add_test(tcase, reuseport_is_a_socket_for_each_worker_and_never_fewer);
    ADD_TABLE(tcase, a_busy_port_is_told, reuseports);
    tcase_add_test(tcase, a_unix_socket_has_its_mode_and_goes_with_us);
    tcase_add_test(tcase, a_living_unix_socket_is_left_alone_and_a_dead_one_replaced);
    tcase_add_test(tcase, a_file_in_the_way_is_not_removed);
}

int
main(void)
{
    return unit_run("daemon_listener", fill);
}
