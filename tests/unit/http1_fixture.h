/*
 * For the unit tests of an HTTP/1.1 connection: a delegate that answers by path, a socket pair
 * whose other end is the test's, and what has come out of it as text.
 */
#ifndef TESTS_UNIT_HTTP1_FIXTURE_H
#define TESTS_UNIT_HTTP1_FIXTURE_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "http/http1connection.h"
#include "io/ioloop.h"
#include "unit.h"

/* ---- a delegate that answers by path */

static struct {
    int routed, begun, finished, closed, done, writable;
    td_request *later;     /* "/later": answered by hand */
    td_request *streamed;  /* "/stream" */
    uint64_t body_bytes;   /* of its body */
    uint64_t body_sent;    /* of the last answer */
    bool pause;            /* its next piece pauses */
    td_body_watcher *watcher; /* of all bodies; NULL: none */
} seen;

static char big[300000];
static td_file *file; /* holds FILE_SIZE bytes: the last digits of their offsets */

#define FILE_SIZE 2000003
#define PIECE_SIZE 900000

static inline void
answer(td_request *request, int status, td_str body, bool sized)
{
    td_header fields[] = {{TD_STR("Server"), TD_STR("x")}};
    td_headers headers = {fields, 1, 1};
    td_str none = {NULL, 0};

    ck_assert_int_eq(request->writer->head(request, status, none, &headers,
                                           sized ? (int64_t)body.len : -1),
                     0);
    request->writer->body(request, body, true);
    request->writer->finish(request);
}

static inline int
answer_file(td_request *request, int64_t told, uint64_t offset, uint64_t length)
{
    td_headers headers = {NULL, 0, 0};
    td_str none = {NULL, 0};
    int rc;

    ck_assert_int_eq(request->writer->head(request, 200, none, &headers, told), 0);
    rc = request->writer->file(request, file, offset, length);
    if (rc == 0)
        rc = request->writer->finish(request);
    return rc;
}

/* "<", length bytes from offset 7 on, "|", as many from 3 on, ">" */
static inline void
answer_pieces(td_request *request, uint64_t length)
{
    const td_message_writer *writer = request->writer;
    td_headers headers = {NULL, 0, 0};
    td_str none = {NULL, 0};
    char comes_and_goes[] = "|";

    ck_assert_int_eq(writer->head(request, 200, none, &headers, (int64_t)(2 * length + 4)), 0);
    ck_assert_int_eq(writer->body(request, TD_STR("<"), true), 0);
    ck_assert_int_eq(writer->file(request, file, 7, length), 0);
    ck_assert_int_eq(writer->body(request, td_str_make(comes_and_goes, 1), false), 0);
    comes_and_goes[0] = 'x';
    ck_assert_int_eq(writer->file(request, file, 3, length), 0);
    ck_assert_int_eq(writer->body(request, TD_STR(">"), true), 0);
    ck_assert_int_eq(writer->body(request, TD_STR("."), true), 0);
    ck_assert_int_eq(writer->finish(request), 0);
}

/* An answer of "ok" or of 'p's; prepared when it is first asked for. */
static struct {
    char room[TD_PREPARED_ROOM + 100000];
    td_prepared prepared;
    int sent; /* times that it was good as it is */
} prepared_ok, prepared_large;

static inline void
answer_prepared(td_request *request, char *room, td_prepared *prepared, int *sent)
{
    td_header fields[] = {{TD_STR("Server"), TD_STR("x")}};
    const td_headers headers = {fields, 1, 1};

    if (prepared->head_len == 0) {
        prepared->body.ptr = room + TD_PREPARED_ROOM;
        ck_assert(request->writer->prepare(request, prepared, &headers));
    }
    if (request->writer->send_prepared(request, prepared))
        ++*sent;
}

static inline void
route(void *arg, td_request *request)
{
    (void)arg;
    seen.routed++;
    if (td_str_equal(request->head.path, TD_STR("/stream")))
        request->body_mode = TD_BODY_STREAMED;
}

static inline void
headers_received(void *arg, td_request *request)
{
    (void)arg;
    seen.begun++;
    request->body_watcher = seen.watcher;
    if (td_str_equal(request->head.path, TD_STR("/early")))
        answer(request, 404, TD_STR("no"), true);
    else if (td_str_equal(request->head.path, TD_STR("/early/7000")))
        answer(request, 404, td_str_make(big, 7000), true);
    else if (td_str_equal(request->head.path, TD_STR("/prepared")))
        answer_prepared(request, prepared_ok.room, &prepared_ok.prepared, &prepared_ok.sent);
    else if (td_str_equal(request->head.path, TD_STR("/prepared-large")))
        answer_prepared(request, prepared_large.room, &prepared_large.prepared, &prepared_large.sent);
    else if (request->body_mode == TD_BODY_STREAMED) {
        seen.streamed = request;
        if (td_str_is_null(request->head.query))
            td_request_resume_body(request);
    }
}

static inline bool
data_received(void *arg, td_request *request, td_str data)
{
    bool pause = seen.pause;

    (void)arg;
    seen.streamed = request;
    seen.pause = false;
    seen.body_bytes += data.len;
    return !pause;
}

static inline void
finish(void *arg, td_request *request)
{
    td_str path = request->head.path;

    (void)arg;
    seen.finished++;
    ck_assert(request->body.len == 0 || request->body.ptr[request->body.len] == '\0');
    if (td_str_equal(path, TD_STR("/later"))) {
        seen.later = request;
        td_request_ref(request);
    } else if (td_str_equal(path, TD_STR("/chunked"))) {
        answer(request, 200, TD_STR("hello"), false);
    } else if (td_str_equal(path, TD_STR("/echo"))) {
        seen.body_bytes = request->body.len;
        answer(request, 200, request->body, true);
    } else if (td_str_equal(path, TD_STR("/big"))) {
        answer(request, 200, td_str_make(big, sizeof(big)), true);
    } else if (td_str_equal(path, TD_STR("/file"))) {
        ck_assert_int_eq(answer_file(request, FILE_SIZE - 3, 3, FILE_SIZE - 3), 0);
    } else if (td_str_equal(path, TD_STR("/file-of-one"))) {
        ck_assert_int_eq(answer_file(request, 1, 7, 1), 0);
    } else if (td_str_equal(path, TD_STR("/file-of-none"))) {
        ck_assert_int_eq(answer_file(request, 0, 7, 0), 0);
    } else if (td_str_equal(path, TD_STR("/file-excess"))) {
        ck_assert_int_eq(answer_file(request, 1, 0, 2), TD_EINVAL);
    } else if (td_str_equal(path, TD_STR("/pieces-of-one"))) {
        answer_pieces(request, 1);
    } else if (td_str_equal(path, TD_STR("/pieces"))) {
        answer_pieces(request, PIECE_SIZE);
    } else if (td_str_equal(path, TD_STR("/7000"))) {
        answer(request, 200, td_str_make(big, 7000), true);
    } else if (td_str_equal(path, TD_STR("/204"))) {
        answer(request, 204, TD_STR("dropped"), false);
    } else {
        answer(request, 200, TD_STR("ok"), true);
    }
}

static inline void
writable(void *arg, td_request *request)
{
    (void)arg;
    (void)request;
    seen.writable++;
}

static inline void
closed(void *arg, td_request *request)
{
    (void)arg;
    (void)request;
    seen.closed++;
}

static inline void
done(void *arg, td_request *request)
{
    (void)arg;
    seen.done++;
    seen.body_sent = request->body_sent;
}

static inline td_str
server_header(void *arg)
{
    (void)arg;
    return TD_STR("x");
}

static const td_message_delegate delegate = {
    .route = route,
    .headers_received = headers_received,
    .data_received = data_received,
    .finish = finish,
    .writable = writable,
    .closed = closed,
    .done = done,
    .server_header = server_header,
};

/* ---- a loop, a context, a socket pair */

static td_ioloop *loop;
static td_listener_settings settings;
static td_http1context context;
static int connections;
static int send_buffer; /* of the server's sockets, in bytes; 0: as it comes */

static inline void
setup_file(void)
{
    static char digits[FILE_SIZE];

    for (size_t i = 0; i < FILE_SIZE; i++)
        digits[i] = (char)('0' + i % 10);
    file = td_file_create(memfd_create("file", MFD_CLOEXEC));
    ck_assert_int_eq(write(file->fd, digits, FILE_SIZE), FILE_SIZE);
    td_log_set_fd(memfd_create("log", MFD_CLOEXEC));
}

static inline void
teardown_file(void)
{
    td_file_unref(file);
}

static inline void
connection_closed(td_http1connection *conn)
{
    (void)conn;
    connections--;
}

static inline void
setup(void)
{
    td_err err;

    memset(&seen, 0, sizeof(seen));
    prepared_ok.sent = prepared_large.sent = 0;
    prepared_ok.prepared = (td_prepared){.body.len = 2};
    prepared_large.prepared = (td_prepared){.body.len = sizeof(prepared_large.room) - TD_PREPARED_ROOM};
    memcpy(prepared_ok.room + TD_PREPARED_ROOM, "ok", 2);
    memset(prepared_large.room + TD_PREPARED_ROOM, 'p', prepared_large.prepared.body.len);
    signal(SIGPIPE, SIG_IGN);
    send_buffer = 0;
    memset(big, 'b', sizeof(big));
    ck_assert_int_eq(td_ioloop_create(&loop, &err), 0);
    settings = (td_listener_settings){.name = "test", .limits = *td_limits_defaults()};
    context = (td_http1context){
        .loop = loop,
        .settings = &settings,
        .delegate = &delegate,
        .connection_closed = connection_closed,
    };
}

static inline void
start(void)
{
    td_http1context_init(&context);
}

static inline void
teardown(void)
{
    if (seen.later != NULL)
        td_request_unref(seen.later);
    td_http1context_fini(&context);
    ck_assert_int_eq(connections, 0);
    td_chunk_trim(0);
    td_ioloop_destroy(&loop);
}

/* What each test of a connection begins and ends with. */
static inline void
add_fixtures(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup_file, teardown_file);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
}

static inline void
turn(void)
{
    for (int i = 0; i < 4; i++)
        ev_run(td_ioloop_ev(loop), EVRUN_NOWAIT);
}

/* Let all time-outs of 10 ms be over. */
static inline void
pass_time(void)
{
    usleep(30 * 1000);
    turn();
}

static inline int
connect_client(void)
{
    int pair[2];
    td_peer peer = {.address_len = 0};

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    if (send_buffer > 0)
        setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
    connections++;
    td_http1connection_open(&context, pair[0], &peer);
    return pair[1];
}

/* One that says this at once. */
static inline int
connect_with(const char *sent)
{
    const int fd = connect_client();

    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    return fd;
}

/* Bodies of more than so many bytes go to files. */
static inline void
spill_bodies(int64_t size)
{
    settings.limits.body_spill = size;
    context.spill_place = (td_spill_place){"/var/tmp", UINT64_MAX};
}

/* ---- what came */

/* Read what there is; replaces the value of Date by "-".  Returns true at the end of file. */
static inline bool
receive_all(int fd, char *out, size_t size)
{
    size_t len = strlen(out);
    ssize_t n;
    char *date;

    do {
        n = read(fd, out + len, size - 1 - len);
        if (n > 0) {
            len += (size_t)n;
            turn();
        }
    } while (n > 0);
    out[len] = '\0';
    for (char *at = out; (date = strstr(at, "Date: ")) != NULL; at = date + 6) {
        if (strlen(date) < 6 + TD_HTTP_DATE_LEN || date[6] == '-')
            continue;
        date[6] = '-';
        memmove(date + 7, date + 6 + TD_HTTP_DATE_LEN, strlen(date + 6 + TD_HTTP_DATE_LEN) + 1);
        len = strlen(out);
    }
    return n == 0;
}

/* How often `what` is in `text`. */
static inline int
occurrences(const char *text, const char *what)
{
    int n = 0;

    while ((text = strstr(text, what)) != NULL) {
        text += strlen(what);
        n++;
    }
    return n;
}

#define OK(rest) "HTTP/1.1 200 OK\r\nServer: x\r\nDate: -\r\n" rest
#define OK2 OK("Content-Length: 2\r\n\r\nok")
#define FILE_OK(rest) "HTTP/1.1 200 OK\r\nDate: -\r\n" rest
#define HOST "Host: h\r\n"

#endif
