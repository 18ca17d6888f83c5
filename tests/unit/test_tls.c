/*
 * Goal: contexts and sessions are shared by those that may share them, and wrong options are told.
 */
#include "io/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <tornado/iostream.h>
#include <tornado/tcpclient.h>
#include "io/transport_tls.h"
#include "on_loop.h"
#include "tls_peer.h"

static int fds[2];

static void
open_pair(void)
{
    open_loop();
    open_tls_peer();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
}

static void
close_pair(void)
{
    close(fds[0]);
    close(fds[1]);
    close_tls_peer();
    close_loop();
}

static SSL *
connect_with(td_ssl_options options, const char *host)
{
    SSL *ssl;
    td_err err;

    ck_assert_msg(td_tls_connect(&options, host, fds[0], &ssl, &err) == 0, "%s", err.text);
    return ssl;
}

START_TEST(the_same_options_have_the_same_context)
{
    SSL *a = connect_with((td_ssl_options){.ca_certs = tls_peer_file}, "localhost"),
        *b = connect_with((td_ssl_options){.ca_certs = tls_peer_file}, "other"),
        *c = connect_with((td_ssl_options){.no_validate_cert = true}, "localhost"),
        *d = connect_with((td_ssl_options){.ca_certs = tls_peer_file, .alpn = "http/1.1"}, "other");

    ck_assert_ptr_eq(SSL_get_SSL_CTX(a), SSL_get_SSL_CTX(b));
    ck_assert_ptr_ne(SSL_get_SSL_CTX(a), SSL_get_SSL_CTX(c));
    ck_assert_ptr_ne(SSL_get_SSL_CTX(a), SSL_get_SSL_CTX(d));
    td_tls_free(a), td_tls_free(b), td_tls_free(c), td_tls_free(d);
}
END_TEST

static bool
is_trusted(SSL *ssl)
{
    X509_STORE *store = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));
    X509_STORE_CTX *judge = X509_STORE_CTX_new();
    const bool is_filled = sk_X509_OBJECT_num(X509_STORE_get0_objects(store)) > 0;

    X509_STORE_CTX_init(judge, store, SSL_CTX_get0_certificate(tls_peer_ctx), NULL);
    const bool is_good = X509_verify_cert(judge) == 1;
    X509_STORE_CTX_free(judge);
    ck_assert(!is_filled);
    return is_good;
}

/* A context that reads all of the system's CAs would hold the loop for tens of milliseconds. */
START_TEST(authorities_of_the_system_are_read_when_they_are_asked_for)
{
    char directory[] = "/tmp/test-tls-XXXXXX", link[64];

    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(link, sizeof(link), "%s/%08lx.0", directory,
             X509_subject_name_hash(SSL_CTX_get0_certificate(tls_peer_ctx)));
    ck_assert_int_eq(symlink(tls_peer_file, link), 0);
    ck_assert_int_eq(setenv("SSL_CERT_DIR", directory, 1), 0);
    unsetenv("SSL_CERT_FILE");
    SSL *ssl = connect_with((td_ssl_options){0}, "localhost");
    ck_assert(is_trusted(ssl));
    td_tls_free(ssl);
    unlink(link);
    rmdir(directory);
}
END_TEST

START_TEST(only_so_many_contexts_are_kept)
{
    SSL *first = connect_with((td_ssl_options){.ca_certs = tls_peer_file}, "localhost"), *again;

    for (int i = 0; i < 40; i++) {
        char alpn[16];

        snprintf(alpn, sizeof(alpn), "p%d", i);
        td_tls_free(connect_with((td_ssl_options){.no_validate_cert = true, .alpn = alpn}, "x"));
    }
    again = connect_with((td_ssl_options){.ca_certs = tls_peer_file}, "localhost");
    ck_assert_ptr_ne(SSL_get_SSL_CTX(first), SSL_get_SSL_CTX(again));
    td_tls_free(first), td_tls_free(again);
}
END_TEST

static const struct {
    const char *host, *asked; /* NULL: no server name */
} hosts[] = {
    {"localhost", "localhost"}, {"localhost.", "localhost"}, {"127.0.0.1", NULL}, {"::1", NULL}, {"[::1]", NULL},
};

START_TEST(names_are_asked_for_and_numbers_are_not)
{
    SSL *ssl = connect_with((td_ssl_options){.ca_certs = tls_peer_file}, hosts[_i].host);
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    ck_assert_pstr_eq(asked, hosts[_i].asked);
    td_tls_free(ssl);
}
END_TEST

static const struct {
    td_ssl_options options;
    const char *host, *text;
} unusable[] = {
    {{.ca_certs = "/nowhere"}, "x", "ca_certs /nowhere: No such file or directory"},
    {{.ca_certs = "/dev/null"}, "x", "ca_certs /dev/null: "},
    {{.certfile = "/nowhere"}, "x", "certfile /nowhere: No such file or directory"},
    {{.certfile = tls_peer_file}, "x", "keyfile "},
    {{.ciphers = "NONE-SUCH"}, "x", "ciphers NONE-SUCH: none of them is known"},
    {{.alpn = ""}, NULL, "there is no host"},
    {{.alpn = "a"}, "", "there is no host"},
};

START_TEST(what_cannot_be_used_is_told)
{
    SSL *ssl;
    td_err err;

    ck_assert_int_eq(td_tls_connect(&unusable[_i].options, unusable[_i].host, fds[0], &ssl, &err),
                     TD_ECONFIG);
    ck_assert_msg(strstr(err.text, unusable[_i].text) == err.text, "%s", err.text);
}
END_TEST

START_TEST(authorities_are_judged_without_a_connection)
{
    td_err err;

    ck_assert_int_eq(td_tls_check_ca_certs(tls_peer_file, NULL), 0);
    ck_assert_int_eq(td_tls_check_ca_certs("/", NULL), 0); /* a directory is looked into when it is asked */
    ck_assert_int_eq(td_tls_check_ca_certs("/nowhere", &err), TD_ECONFIG);
    ck_assert_str_eq(err.text, "ca_certs /nowhere: No such file or directory");
    ck_assert_int_eq(td_tls_check_ca_certs("/dev/null", &err), TD_ECONFIG);
}
END_TEST

START_TEST(a_host_longer_than_a_name_is_told)
{
    const td_ssl_options options = {.no_validate_cert = true};
    char host[400];
    SSL *ssl;

    memset(host, 'a', sizeof(host));
    host[sizeof(host) - 1] = '\0';
    ck_assert_int_eq(td_tls_connect(&options, host, fds[0], &ssl, NULL), TD_ECONFIG);
}
END_TEST

/* ---- memory */

static int fails_after; /* that many calls; 0: none does */

static bool
fails(void)
{
    return fails_after > 0 && --fails_after == 0;
}

static void *
allocate(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : malloc(size);
}

static void *
reallocate(void *p, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : realloc(p, size);
}

static void
give_back(void *p, const char *file, int line)
{
    (void)file, (void)line;
    free(p);
}

START_TEST(without_memory_there_is_no_connection)
{
    const td_ssl_options options = {.ca_certs = tls_peer_file};
    bool is_done = false;
    int failed = 0;

    for (int after = 1; !is_done; after++) {
        SSL *ssl = NULL;
        td_err err = {0};

        fails_after = after;
        const int rc = td_tls_connect(&options, "localhost", fds[0], &ssl, &err);
        is_done = rc == 0 && fails_after > 0;
        fails_after = 0;
        failed += rc < 0;
        ck_assert_int_eq(rc < 0, err.text[0] != '\0');
        if (rc == 0)
            td_tls_free(ssl);
        td_tls_close(); /* the next one makes its context anew */
    }
    ck_assert_int_gt(failed, 10);
}
END_TEST

/* ---- streams; the peer is a transport of its own that echoes */

static td_transport peer;

static void
on_peer(td_transport *t, int events)
{
    char bytes[4096];
    const ssize_t n = t->ops->read(t, bytes, sizeof(bytes));
    const struct iovec part = {bytes, n > 0 ? (size_t)n : 0};

    (void)events;
    if (n > 0)
        ck_assert_int_eq(t->ops->writev(t, &part, 1, false), n);
    else if (n != -EAGAIN)
        td_transport_close(t, loop);
}

/* It takes part in whatever comes through fds[1] from now on. */
static void
start_peer(void)
{
    td_transport_open_plain(&peer, dup(fds[1]), on_peer);
    td_transport_start_tls(&peer, loop, accept_tls(td_transport_fd(&peer)));
    td_transport_watch(&peer, loop, TD_READABLE);
}

static td_iostream *
open_stream(void)
{
    return td_iostream_create(dup(fds[0]), NULL);
}

static const td_ssl_options trusting = {
    .size = sizeof(trusting), .ca_certs = tls_peer_file, .server_hostname = "localhost"};

static void
speak(void *arg)
{
    td_iostream *stream = open_stream();
    td_str line;

    (void)arg;
    start_peer();
    ck_assert_int_eq(td_iostream_start_tls(stream, &trusting), 0);
    ck_assert_int_eq(td_iostream_start_tls(stream, &trusting), TD_EINVAL); /* it has TLS */
    ck_assert_int_eq(td_iostream_write(stream, TD_STR("echo\n")), 0);
    ck_assert_int_eq(td_iostream_read_until(stream, TD_STR("\n"), 0, &line), 0);
    ck_assert(td_str_equal(line, TD_STR("echo\n")));
    td_iostream_destroy(&stream);
    td_sleep(0);
    td_sleep(0);
    ck_assert_int_eq(td_transport_fd(&peer), -1); /* it was told of the end */
}

START_TEST(a_stream_goes_on_in_tls)
{
    ck_assert_int_eq(on_coroutine(speak, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static void
start_with(td_iostream *stream, const td_ssl_options *options, int error, const char *text)
{
    ck_assert_int_eq(td_iostream_start_tls(stream, options), error);
    ck_assert(td_iostream_is_closed(stream));
    ck_assert_int_eq(td_iostream_error(stream), error);
    ck_assert_msg(strstr(td_iostream_error_text(stream), text) != NULL, "%s",
                  td_iostream_error_text(stream));
    td_iostream_destroy(&stream);
}

static void
fail_in_every_way(void *arg)
{
    td_iostream *stream = open_stream();
    td_str line;

    (void)arg;
    ck_assert_int_eq(td_iostream_start_tls(stream, TD_SSL(.keyfile = "x")), TD_EINVAL);
    ck_assert(!td_iostream_is_closed(stream));
    start_with(stream, TD_SSL(), TD_ECONFIG, "no host");

    /* What came in the clear behind the line that was to be the last one. */
    stream = open_stream();
    ck_assert_int_eq(write(fds[1], "GO\nforged\n", 10), 10);
    ck_assert_int_eq(td_iostream_read_until(stream, TD_STR("\n"), 0, &line), 0);
    start_with(stream, &trusting, TD_EBADMSG, "before the handshake");

    start_peer();
    start_with(open_stream(), TD_SSL(.ca_certs = tls_peer_file, .server_hostname = "other"),
               TD_ECERTIFICATE, "hostname mismatch");
    td_transport_close(&peer, loop);
}

START_TEST(a_failure_closes_the_stream_and_says_why)
{
    ck_assert_int_eq(on_coroutine(fail_in_every_way, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static void
time_out(void *arg)
{
    td_iostream *stream = open_stream();

    (void)arg;
    td_iostream_set_timeout(stream, 5);
    start_with(stream, &trusting, TD_ETIMEDOUT, "the time is up");
    ck_assert_int_eq(td_iostream_start_tls(NULL, NULL), TD_EINVAL);
}

START_TEST(a_silent_server_does_not_hold_it_for_ever)
{
    ck_assert_int_eq(on_coroutine(time_out, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

/* ---- td_tcpclient */

static int listener;

static void
on_accept(struct ev_loop *ev, ev_io *io, int events)
{
    const int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK);

    (void)ev, (void)events;
    td_transport_open_plain(&peer, fd, on_peer);
    td_transport_start_tls(&peer, loop, accept_tls(fd));
    td_transport_watch(&peer, loop, TD_READABLE);
}

static void
echo_through(td_iostream *stream)
{
    td_str line;

    ck_assert_int_eq(td_iostream_write(stream, TD_STR("echo\n")), 0);
    ck_assert_int_eq(td_iostream_read_until(stream, TD_STR("\n"), 0, &line), 0);
    td_iostream_destroy(&stream);
    td_transport_close(&peer, loop);
}

static void
connect_in_every_way(void *arg)
{
    const uint16_t port = *(uint16_t *)arg;
    const td_connect_options *options = TD_CONNECT(.ssl_options = &trusting, .timeout_ms = 10000);
    td_iostream *stream;
    td_future *future;
    void *result;
    td_err err;

    ck_assert_int_eq(td_tcpclient_connect("127.0.0.1", port, options, &stream), 0);
    echo_through(stream);
    ck_assert_int_eq(td_await(td_tcpclient_connect_future("127.0.0.1", port, options), &result), 0);
    echo_through(result);

    /* Without a name of its own it is the host's. */
    ck_assert_int_eq(td_tcpclient_connect("127.0.0.1", port,
                                          TD_CONNECT(.ssl_options = TD_SSL(.ca_certs = tls_peer_file),
                                                     .err = &err), &stream), TD_ECERTIFICATE);
    ck_assert_msg(strstr(err.text, "IP address mismatch") != NULL, "%s", err.text);
    td_transport_close(&peer, loop);
    future = td_tcpclient_connect_future("127.0.0.1", port,
                                         TD_CONNECT(.ssl_options = TD_SSL(), .err = &err));
    ck_assert_int_eq(td_await(future, NULL), TD_ECERTIFICATE);
    ck_assert_msg(strstr(err.text, "self-signed certificate") != NULL, "%s", err.text);
    td_transport_close(&peer, loop);

    ck_assert_int_eq(td_tcpclient_connect("127.0.0.1", port,
                                          TD_CONNECT(.ssl_options = TD_SSL(.keyfile = "x")), &stream),
                     TD_EINVAL);
    td_future_unref(td_tcpclient_connect_future("127.0.0.1", port, options)); /* nobody looks */
    future = td_tcpclient_connect_future("127.0.0.1", port, options);
    td_future_cancel(future);
    ck_assert_int_eq(td_await(future, NULL), TD_ECANCELED);
    future = td_tcpclient_connect_future("127.0.0.1", port, options);
    td_sleep(0);
    td_future_cancel(future); /* in the middle */
    ck_assert_int_eq(td_await(future, NULL), TD_ECANCELED);
}

START_TEST(a_client_connects_with_tls)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(in);
    uint16_t port;
    ev_io io;

    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&in, len), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&in, &len), 0);
    port = ntohs(in.sin_port);
    ev_io_init(&io, on_accept, listener, EV_READ);
    ev_io_start(td_ioloop_ev(loop), &io);
    ck_assert_int_eq(on_coroutine(connect_in_every_way, &port), TD_COROUTINE_RETURNED);
    ev_io_stop(td_ioloop_ev(loop), &io);
    td_transport_close(&peer, loop);
    close(listener);
}
END_TEST

static void
fill_tests(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_pair, close_pair);
    tcase_add_test(tcase, the_same_options_have_the_same_context);
    tcase_add_test(tcase, authorities_of_the_system_are_read_when_they_are_asked_for);
    tcase_add_test(tcase, only_so_many_contexts_are_kept);
    ADD_TABLE(tcase, names_are_asked_for_and_numbers_are_not, hosts);
    ADD_TABLE(tcase, what_cannot_be_used_is_told, unusable);
    tcase_add_test(tcase, authorities_are_judged_without_a_connection);
    tcase_add_test(tcase, a_host_longer_than_a_name_is_told);
    tcase_add_test(tcase, without_memory_there_is_no_connection);
    tcase_add_test(tcase, a_stream_goes_on_in_tls);
    tcase_add_test(tcase, a_failure_closes_the_stream_and_says_why);
    tcase_add_test(tcase, a_silent_server_does_not_hold_it_for_ever);
    tcase_add_test(tcase, a_client_connects_with_tls);
}

int
main(void)
{
    CRYPTO_set_mem_functions(allocate, reallocate, give_back); /* before OpenSSL has any */
    return unit_run("tls", fill_tests);
}
