/*
 * Goal: of several addresses the first that answers wins, in its time, and nothing else stays open.
 */
#include <tornado/tcpclient.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include "io/resolver.h"
#include "io/tcpclient.h"
#include "files.h"
#include "waiting_actors.h"

static int listener;
static uint16_t port;

static int
listen_on(const char *address, uint16_t *port_out, int backlog)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof(in);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    inet_pton(AF_INET, address, &in.sin_addr);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, len), 0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    *port_out = ntohs(in.sin_port);
    return fd;
}

static int files_before;

static void
open_client(void)
{
    open_loop();
    listener = listen_on("127.0.0.1", &port, 8);
    files_before = open_files();
}

static void
close_client(void)
{
    ck_assert_int_eq(open_files(), files_before);
    close(listener);
    close_loop();
}

static void
check_not_paced(int fd)
{
    char name[16] = "";
    socklen_t len = sizeof(name);

    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
    ck_assert_str_eq(name, "reno");
}

static void
check_connected(void *arg)
{
    td_iostream *stream = NULL;
    td_str line;
    int peer;

    ck_assert_int_eq(td_tcpclient_connect(arg, port, TD_CONNECT(.timeout_ms = 5000), &stream), 0);
    peer = accept(listener, NULL, NULL);
    ck_assert_int_ge(peer, 0);
    ck_assert_int_eq(write(peer, "hello\n", 6), 6);
    ck_assert_int_eq(td_iostream_read_until(stream, TD_STR("\n"), 0, &line), 0);
    ck_assert(td_str_equal(line, TD_STR("hello\n")));
    check_not_paced(td_iostream_fd(stream));
    td_iostream_destroy(&stream);
    close(peer);
}

static const char *const hosts[] = {"127.0.0.1", "localhost"};

START_TEST(a_connection_is_a_stream)
{
    open_client();
    on_coroutine(check_connected, (void *)hosts[_i]);
    td_ioloop_destroy(&loop); /* the resolver's own descriptors */
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
    close_client();
}
END_TEST

/* ---- unix sockets */

static void
check_unix(void *arg)
{
    char path[] = "/tmp/test-client-XXXXXX", host[64], long_path[200];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    td_iostream *stream = NULL;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)arg;
    ck_assert_ptr_nonnull(mkdtemp(path));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", path);
    snprintf(host, sizeof(host), "unix:%s/s", path);
    ck_assert_int_eq(td_tcpclient_connect(host, 0, NULL, &stream), -ENOENT);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(td_tcpclient_connect(host, 0, NULL, &stream), -ECONNREFUSED);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(td_tcpclient_connect(host, 0, NULL, &stream), 0);
    td_iostream_destroy(&stream);
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    memcpy(long_path, "unix:", 5);
    ck_assert_int_eq(td_tcpclient_connect(long_path, 0, NULL, &stream), -ENAMETOOLONG);
    close(fd);
    unlink(address.sun_path);
    rmdir(path);
}

START_TEST(unix_sockets_are_connected_too)
{
    open_client();
    on_coroutine(check_unix, NULL);
    close_client();
}
END_TEST

/* ---- sources */

static const struct source_case {
    const char *address;
    uint16_t port;
    int rc;
} sources[] = {
    {"127.0.0.2", 0, 0},
    {"192.0.2.1", 0, -EADDRNOTAVAIL}, /* of nobody */
    {"::1", 0, -EADDRNOTAVAIL},       /* an IPv4 address cannot be reached from there */
    {"nobody", 0, TD_EINVAL},
    {NULL, 7, TD_EINVAL},
};

static void
check_source(void *arg)
{
    const struct source_case *c = arg;
    td_iostream *stream = NULL;
    struct sockaddr_in from = {.sin_family = AF_INET};
    socklen_t len = sizeof(from);
    char text[INET_ADDRSTRLEN];

    ck_assert_int_eq(
        td_tcpclient_connect(
            "127.0.0.1", port,
            TD_CONNECT(.source_address = c->address, .source_port = c->port), &stream),
        c->rc);
    if (c->rc != 0)
        return;

    const int peer = accept(listener, (struct sockaddr *)&from, &len);

    ck_assert_str_eq(inet_ntop(AF_INET, &from.sin_addr, text, sizeof(text)), c->address);
    td_iostream_destroy(&stream);
    close(peer);
}

START_TEST(it_comes_from_where_it_was_told)
{
    open_client();
    on_coroutine(check_source, (void *)&sources[_i]);
    close_client();
}
END_TEST

/* ---- Happy Eyeballs */

static struct {
    int error, fd;
    int64_t took_ms;
} end;
static int64_t begun_ns;

static void
on_end(void *arg, int error, int fd)
{
    (void)arg;
    end.error = error;
    end.fd = fd;
    end.took_ms = (td_clock_ns() - begun_ns) / TD_NS_PER_MS;
    td_ioloop_stop(loop);
}

/* A listener whose queue is full, so that a connection hangs: on Linux backlog + 1 are taken. */
static int
open_black_hole(const char *address, uint16_t at, int *fillers, size_t count)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(at)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    inet_pton(AF_INET, address, &in.sin_addr);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    ck_assert_int_eq(listen(fd, 0), 0);
    for (size_t i = 0; i < count; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(fillers[i], (struct sockaddr *)&in, sizeof(in));
    }
    return fd;
}

static void
add(td_addresses *addresses, const char *text)
{
    ck_assert(td_resolve_number(text, port, &addresses->items[addresses->count++]));
}

static void
connect_to(const td_addresses *addresses, const td_connect_options *wanted)
{
    td_connect_options options;

    ck_assert(td_connect_options_read(wanted, &options, "test"));
    begun_ns = td_clock_ns();
    end.fd = -1;
    td_connecting_start_with(addresses, &options, on_end, NULL);
    ck_assert_int_eq(td_ioloop_start(loop), 0);
}

static const struct race_case {
    const char *addresses[4]; /* 127.0.0.1 listens; .3 does not; .5 hangs */
    int rc;
    int64_t min_ms, max_ms;
} races[] = {
    {{"127.0.0.1"}, 0, 0, 200},
    {{"127.0.0.3", "127.0.0.1"}, 0, 0, 200},             /* a failure: the next at once */
    {{"::1", "127.0.0.3", "127.0.0.1"}, 0, 0, 200},      /* and across the families */
    {{"127.0.0.5", "127.0.0.1"}, 0, 240, 600},           /* silence: the next after a while */
    {{"127.0.0.5", "127.0.0.3", "127.0.0.1"}, 0, 240, 600},
    {{"127.0.0.3", "127.0.0.4"}, -ECONNREFUSED, 0, 200}, /* the error of the last */
    {{"127.0.0.5", "127.0.0.3"}, TD_ETIMEDOUT, 690, 1200},
};

START_TEST(the_first_address_that_answers_wins)
{
    const struct race_case *c = &races[_i];
    td_addresses addresses = {0};
    int fillers[4], hole;

    open_client();
    hole = open_black_hole("127.0.0.5", port, fillers, COUNT_OF(fillers));
    files_before = open_files();
    for (size_t i = 0; i < COUNT_OF(c->addresses) && c->addresses[i] != NULL; i++)
        add(&addresses, c->addresses[i]);
    connect_to(&addresses, TD_CONNECT(.timeout_ms = 700));
    ck_assert_int_eq(end.error, c->rc);
    ck_assert_int_ge(end.took_ms, c->min_ms);
    ck_assert_int_le(end.took_ms, c->max_ms);
    ck_assert_int_eq(end.fd >= 0, c->rc == 0);
    if (end.fd >= 0)
        close(end.fd);
    ck_assert_int_eq(open_files(), files_before);
    close(hole);
    for (size_t i = 0; i < COUNT_OF(fillers); i++)
        close(fillers[i]);
    files_before = open_files();
    close_client();
}
END_TEST

static uint16_t
port_of(int fd)
{
    struct sockaddr_in in;
    socklen_t len = sizeof(in);

    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    return ntohs(in.sin_port);
}

/* All attempts come from the same port, side by side. */
START_TEST(a_source_port_is_no_end_of_the_race)
{
    const char *const tried[] = {"127.0.0.5", "127.0.0.3", "127.0.0.1"};
    td_addresses addresses = {0};
    int fillers[4], hole;
    uint16_t source_port;

    open_client();
    close(listen_on("127.0.0.2", &source_port, 1));
    hole = open_black_hole("127.0.0.5", port, fillers, COUNT_OF(fillers));
    for (size_t i = 0; i < COUNT_OF(tried); i++)
        add(&addresses, tried[i]);
    connect_to(&addresses, TD_CONNECT(.timeout_ms = 5000, .source_address = "127.0.0.2",
                                      .source_port = source_port));
    ck_assert_int_eq(end.error, 0);
    ck_assert_uint_eq(port_of(end.fd), source_port);
    close(end.fd);
    close(hole);
    for (size_t i = 0; i < COUNT_OF(fillers); i++)
        close(fillers[i]);
    close_client();
}
END_TEST

/* ---- who goes */

static void
connect_to_hole(void *arg)
{
    td_iostream *stream;

    (void)arg;
    td_tcpclient_connect("127.0.0.5", port, NULL, &stream);
    ck_abort_msg("it came back");
}

static void
check_futures(void *arg)
{
    td_iostream *stream;
    td_future *cancelled;
    void *result;

    (void)arg;
    ck_assert_int_eq(td_await(td_tcpclient_connect_future("127.0.0.1", port, NULL), &result), 0);
    stream = result;
    td_iostream_destroy(&stream);
    ck_assert_int_eq(td_await(td_tcpclient_connect_future("127.0.0.3", port, NULL), NULL),
                     -ECONNREFUSED);

    td_future_unref(td_tcpclient_connect_future("127.0.0.1", port, NULL)); /* nobody looks */
    cancelled = td_tcpclient_connect_future("127.0.0.5", port, NULL);
    td_sleep(10);
    td_future_cancel(cancelled);
    td_future_unref(cancelled);
}

START_TEST(what_is_cancelled_or_not_wanted_leaves_nothing)
{
    int fillers[4], hole;
    td_coroutine *co;

    open_client();
    hole = open_black_hole("127.0.0.5", port, fillers, COUNT_OF(fillers));
    files_before = open_files();
    on_coroutine(check_futures, NULL);
    turn();
    ck_assert_int_eq(open_files(), files_before);

    co = start_actor(connect_to_hole, NULL);
    turn();
    ck_assert_int_eq(open_files(), files_before + 1);
    td_coroutine_cancel(co);
    turn();
    ck_assert_int_eq(open_files(), files_before);

    /* The end of the loop finds these. */
    start_actor(connect_to_hole, NULL);
    td_future_unref(td_tcpclient_connect_future("127.0.0.5", port, NULL));
    td_future_unref(td_tcpclient_connect_future("127.0.0.1", port, NULL));
    turn();
    td_ioloop_destroy(&loop);
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
    ck_assert_int_eq(open_files(), files_before);
    close(hole);
    for (size_t i = 0; i < COUNT_OF(fillers); i++)
        close(fillers[i]);
    files_before = open_files();
    close_client();
}
END_TEST

static void
check_misuse(void *arg)
{
    td_iostream *stream;
    td_err err = {0};

    (void)arg;
    ck_assert_int_eq(td_tcpclient_connect(NULL, 1, NULL, &stream), TD_EINVAL);
    ck_assert_int_eq(td_tcpclient_connect("x", 1, NULL, NULL), TD_EINVAL);
    ck_assert_int_eq(td_tcpclient_connect("x", 1, TD_CONNECT(.timeout_ms = -1), &stream),
                     TD_EINVAL);
    ck_assert_int_eq(
        td_tcpclient_connect("x", 1, TD_CONNECT(.source_address = "eth0", .err = &err), &stream),
        TD_EINVAL);
    ck_assert_str_eq(err.text, "the source_address is no address: eth0");
    ck_assert_ptr_null(td_tcpclient_connect_future(NULL, 1, NULL));
    ck_assert_int_eq(logged("td_tcpclient_connect: "), 4);
}

START_TEST(misuse_is_told)
{
    open_client();
    on_coroutine(check_misuse, NULL);
    close_client();
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, a_connection_is_a_stream, hosts);
    tcase_add_test(tcase, unix_sockets_are_connected_too);
    ADD_TABLE(tcase, it_comes_from_where_it_was_told, sources);
    ADD_TABLE(tcase, the_first_address_that_answers_wins, races);
    tcase_add_test(tcase, a_source_port_is_no_end_of_the_race);
    tcase_add_test(tcase, what_is_cancelled_or_not_wanted_leaves_nothing);
    tcase_add_test(tcase, misuse_is_told);
}

int
main(void)
{
    return unit_run("tcpclient", fill);
}
