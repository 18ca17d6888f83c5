/*
 * Goal: what an HTTP/1.1 connection answers, and whether it stays open, depends on the bytes alone:
 * each conversation is held in one piece and then cut at every byte.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "http/http1connection.h"
#include "io/ioloop.h"
#include "unit.h"

/* ---- the kernel, more or less willing */

static struct {
    int sends;           /* calls of sendto and sendmsg, counted while every other one is refused */
    bool refuses_odd;    /* that finds no room */
    int sendfiles;
    size_t slice_max;    /* most bytes that were asked for in one */
} kernel;

static bool
refuses(void)
{
    if (!kernel.refuses_odd || ++kernel.sends % 2 == 0)
        return false;
    errno = EAGAIN;
    return true;
}

/* It is by this that the transport sends. */
__attribute__((visibility("default"))) long
syscall(long number, ...)
{
    long (*real)(long, ...), args[6];
    va_list list;

    va_start(list, number);
    for (size_t i = 0; i < COUNT_OF(args); i++)
        args[i] = va_arg(list, long);
    va_end(list);
    if ((number == SYS_sendto || number == SYS_sendmsg) && refuses())
        return -1;
    *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    return real(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}

__attribute__((visibility("default"))) ssize_t
sendfile(int out, int in, off_t *offset, size_t size)
{
    ssize_t (*real)(int, int, off_t *, size_t);

    *(void **)&real = dlsym(RTLD_NEXT, "sendfile");
    kernel.sendfiles++;
    if (size > kernel.slice_max)
        kernel.slice_max = size;
    return real(out, in, offset, size);
}

static int64_t clock_ahead_ns; /* of the kernel's */
static bool clock_stands;      /* it goes on by clock_ahead_ns alone, however busy the machine is */

__attribute__((visibility("default"))) int
clock_gettime(clockid_t id, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    static struct timespec stood[CLOCK_TAI + 1];
    int rc;

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    rc = real(id, now);
    if (rc == 0 && clock_stands && id >= 0 && id <= CLOCK_TAI) {
        if (stood[id].tv_sec == 0)
            stood[id] = *now;
        *now = stood[id];
    }
    now->tv_sec += (time_t)(clock_ahead_ns / TD_NS_PER_S);
    now->tv_nsec += (long)(clock_ahead_ns % TD_NS_PER_S);
    if (now->tv_nsec >= TD_NS_PER_S) {
        now->tv_nsec -= TD_NS_PER_S;
        now->tv_sec++;
    }
    return rc;
}

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

static void
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

static int
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
static void
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

static void
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

static void
route(void *arg, td_request *request)
{
    (void)arg;
    seen.routed++;
    if (td_str_equal(request->head.path, TD_STR("/stream")))
        request->body_mode = TD_BODY_STREAMED;
}

static void
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

static bool
data_received(void *arg, td_request *request, td_str data)
{
    bool pause = seen.pause;

    (void)arg;
    seen.streamed = request;
    seen.pause = false;
    seen.body_bytes += data.len;
    return !pause;
}

static void
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

static void
writable(void *arg, td_request *request)
{
    (void)arg;
    (void)request;
    seen.writable++;
}

static void
closed(void *arg, td_request *request)
{
    (void)arg;
    (void)request;
    seen.closed++;
}

static void
done(void *arg, td_request *request)
{
    (void)arg;
    seen.done++;
    seen.body_sent = request->body_sent;
}

static const td_message_delegate delegate = {
    .route = route,
    .headers_received = headers_received,
    .data_received = data_received,
    .finish = finish,
    .writable = writable,
    .closed = closed,
    .done = done,
};

/* ---- a loop, a context, a socket pair */

static td_ioloop *loop;
static td_listener_settings settings;
static td_http1context context;
static int connections;
static int send_buffer; /* of the server's sockets, in bytes; 0: as it comes */

static void
connection_closed(td_http1connection *conn)
{
    (void)conn;
    connections--;
}

static void
setup(void)
{
    td_err err;

    memset(&seen, 0, sizeof(seen));
    prepared_ok.sent = prepared_large.sent = 0;
    prepared_ok.prepared = (td_prepared){.body.len = 2};
    prepared_large.prepared = (td_prepared){.body.len = sizeof(prepared_large.room) - TD_PREPARED_ROOM};
    memcpy(prepared_ok.room + TD_PREPARED_ROOM, "ok", 2);
    memset(prepared_large.room + TD_PREPARED_ROOM, 'p', prepared_large.prepared.body.len);
    memset(&kernel, 0, sizeof(kernel));
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

static void
start(void)
{
    td_http1context_init(&context);
}

static void
teardown(void)
{
    if (seen.later != NULL)
        td_request_unref(seen.later);
    td_http1context_fini(&context);
    ck_assert_int_eq(connections, 0);
    td_chunk_trim(0);
    td_ioloop_destroy(&loop);
}

static void
turn(void)
{
    for (int i = 0; i < 4; i++)
        ev_run(td_ioloop_ev(loop), EVRUN_NOWAIT);
}

static int
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

/* Read what there is; replaces the value of Date by "-".  Returns true at the end of file. */
static bool
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

#define OK(rest) "HTTP/1.1 200 OK\r\nServer: x\r\nDate: -\r\n" rest
#define OK2 OK("Content-Length: 2\r\n\r\nok")
#define FILE_OK(rest) "HTTP/1.1 200 OK\r\nDate: -\r\n" rest
#define HOST "Host: h\r\n"

static const struct conversation {
    const char *what; /* and the section */
    const char *sent;
    const char *answered; /* NULL: see status */
    int status;
    bool open;
} conversations[] = {
    {"plain, RFC 9112 section 9.3", "GET / HTTP/1.1\r\n" HOST "\r\n", OK2, 0, true},
    {"two in one go, 9112 9.3.2", "GET / HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     OK2 OK2, 0, true},
    {"close asked for, 9112 9.6", "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
     OK("Content-Length: 2\r\nConnection: close\r\n\r\nok"), 0, false},
    {"nothing is served after close", "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET /",
     OK("Content-Length: 2\r\nConnection: close\r\n\r\nok"), 0, false},
    {"1.0 closes", "GET / HTTP/1.0\r\n\r\n", OK2, 0, false},
    {"1.0 kept on demand", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     OK("Content-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok"), 0, true},
    {"1.0 without a length closes, BEHAVIOUR 1.4",
     "GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", OK("\r\nhello"),
     0, false},
    {"chunked answer, 9112 7.1", "GET /chunked HTTP/1.1\r\n" HOST "\r\n",
     OK("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), 0, true},
    {"HEAD has the headers only, 9110 9.3.2", "HEAD / HTTP/1.1\r\n" HOST "\r\n",
     OK("Content-Length: 2\r\n\r\n"), 0, true},
    {"204 has no framing headers, 9110 8.6", "GET /204 HTTP/1.1\r\n" HOST "\r\n",
     "HTTP/1.1 204 No Content\r\nServer: x\r\nDate: -\r\n\r\n", 0, true},
    {"a sized body", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
     OK("Content-Length: 3\r\n\r\nabc"), 0, true},
    {"a sized body, then another request",
     "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n" HOST "\r\n",
     OK("Content-Length: 3\r\n\r\nabc") OK2, 0, true},
    {"a chunked body, 9112 7.1",
     "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n",
     OK("Content-Length: 5\r\n\r\nabcde"), 0, true},
    {"an early answer drains a small body", "POST /early HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n" HOST "\r\n",
     "HTTP/1.1 404 Not Found\r\nServer: x\r\nDate: -\r\nContent-Length: 2\r\n\r\nno" OK2, 0, true},
    {"an early answer to 100-continue closes", "POST /early HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n",
     "HTTP/1.1 404 Not Found\r\nServer: x\r\nDate: -\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", 0, false},
    {"100-continue, 9110 10.1.1", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\na",
     "HTTP/1.1 100 Continue\r\n\r\n" OK("Content-Length: 1\r\n\r\na"), 0, true},
    {"no 100 without a body", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0\r\nExpect: 100-continue\r\n\r\n",
     OK("Content-Length: 0\r\n\r\n"), 0, true},
    {"of a file", "GET /file-of-one HTTP/1.1\r\n" HOST "\r\n",
     FILE_OK("Content-Length: 1\r\n\r\n7"), 0, true},
    {"HEAD of a file", "HEAD /file-of-one HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     FILE_OK("Content-Length: 1\r\n\r\n") OK2, 0, true},
    {"files among other answers, 9112 9.3.2",
     "GET / HTTP/1.1\r\n" HOST "\r\nGET /file-of-one HTTP/1.1\r\n" HOST "\r\n"
     "GET /file-of-none HTTP/1.1\r\n" HOST "\r\nGET /file-of-one HTTP/1.0\r\n\r\n",
     OK2 FILE_OK("Content-Length: 1\r\n\r\n7") FILE_OK("Content-Length: 0\r\n\r\n")
     FILE_OK("Content-Length: 1\r\n\r\n7"), 0, false},
    {"pieces of a file", "GET /pieces-of-one HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     FILE_OK("Content-Length: 6\r\n\r\n<7|3>.") OK2, 0, true},
    {"HEAD of pieces", "HEAD /pieces HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     FILE_OK("Content-Length: 1800004\r\n\r\n") OK2, 0, true},
    {"more of a file than was told, 9112 6.2",
     "GET /file-excess HTTP/1.1\r\n" HOST "\r\n", FILE_OK("Content-Length: 1\r\n\r\n"), 0, false},
    {"prepared", "GET /prepared HTTP/1.1\r\n" HOST "\r\n", OK2, 0, true},
    {"prepared among others", "GET /prepared HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n"
     "GET /prepared HTTP/1.1\r\n" HOST "\r\nGET /prepared HTTP/1.1\r\n" HOST "\r\n", OK2 OK2 OK2 OK2, 0, true},
    {"prepared, but the last one", "GET /prepared HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
     OK("Content-Length: 2\r\nConnection: close\r\n\r\nok"), 0, false},
    {"prepared, to 1.0", "GET /prepared HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     OK("Content-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok"), 0, true},
    {"a bad head behind a prepared answer", "GET /prepared HTTP/1.1\r\n" HOST "\r\n\tx\r\n\r\n",
     OK2 "HTTP/1.1 400 Bad Request\r\nServer: tornadod/" TD_VERSION "\r\nContent-Type: text/html; charset=UTF-8"
     "\r\nDate: -\r\nContent-Length: 73\r\nConnection: close\r\n\r\n"
     "<html><title>400: Bad Request</title><body>400: Bad Request</body></html>", 0, false},
    {"100 for a streamed body", "POST /stream HTTP/1.1\r\n" HOST "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\na",
     "HTTP/1.1 100 Continue\r\n\r\n" OK2, 0, true},
    {"a streamed body, then another request",
     "POST /stream HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n" HOST "\r\n",
     OK2 OK2, 0, true},
    {"a chunked streamed body, then another request",
     "POST /stream HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     OK2 OK2, 0, true},
    {"a broken streamed body", "POST /stream HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", NULL, 400, false},
    {"no 100 to 1.0", "POST /echo HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\na",
     OK("Content-Length: 1\r\n\r\na"), 0, false},
    {"another expectation", "GET / HTTP/1.1\r\n" HOST "Expect: sun\r\n\r\n", NULL, 417, false},
    {"too long a body", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\n\r\n", NULL, 413, false},
    {"too long a body is not asked for", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\nExpect: 100-continue\r\n\r\n", NULL, 413, false},
    {"a bad head", "GET / HTTP/1.1\r\n\r\n", NULL, 400, false},
    {"a bad chunk, 9112 7.1", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nz\r\n", NULL, 400, false},
    {"length and chunked, 9112 6.1", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", NULL, 400, false},
    {"another version", "GET / HTTP/2.0\r\n" HOST "\r\n", NULL, 505, false},
};

static void
check_answer(const struct conversation *c, int fd, size_t cut)
{
    char got[4096] = "";
    char expected_status[32];
    bool ended = receive_all(fd, got, sizeof(got));

    if (c->answered != NULL) {
        ck_assert_msg(strcmp(got, c->answered) == 0, "%s, cut at %zu:\n%s", c->what, cut, got);
    } else {
        snprintf(expected_status, sizeof(expected_status), "HTTP/1.1 %d ", c->status);
        ck_assert_msg(strncmp(got, expected_status, strlen(expected_status)) == 0,
                      "%s, cut at %zu:\n%s", c->what, cut, got);
        ck_assert_msg(strstr(got, "\r\nConnection: close\r\n") != NULL, "%s:\n%s", c->what, got);
    }
    ck_assert_msg(ended == !c->open, "%s, cut at %zu: open is %d", c->what, cut, !ended);
}

#define CONVERSATIONS (int)(sizeof(conversations) / sizeof(conversations[0]))

/* Bodies of more than so many bytes go to files. */
static void
spill_bodies(int64_t size)
{
    settings.limits.body_spill = size;
    context.spill_place = (td_spill_place){"/tmp", UINT64_MAX};
}

/* From CONVERSATIONS on each once more, with bodies in files. */
static const struct conversation *
choose_conversation(int i)
{
    if (i >= CONVERSATIONS)
        spill_bodies(1);
    return &conversations[i % CONVERSATIONS];
}

START_TEST(conversation_does_not_depend_on_cuts)
{
    const struct conversation *c = choose_conversation(_i);
    size_t len = strlen(c->sent);

    start();
    for (size_t cut = 0; cut < len; cut++) {
        int fd = connect_client();

        if (cut > 0)
            ck_assert_int_eq(write(fd, c->sent, cut), (ssize_t)cut);
        turn();
        (void)!send(fd, c->sent + cut, len - cut, MSG_NOSIGNAL); /* refused by its first part */
        turn();
        check_answer(c, fd, cut);
        close(fd);
        turn();
        ck_assert_int_eq(connections, 0);
        ck_assert_int_eq(seen.begun, seen.done);
    }
}
END_TEST

START_TEST(bytes_one_by_one)
{
    const struct conversation *c = choose_conversation(_i);
    int fd;

    start();
    fd = connect_client();
    for (const char *at = c->sent; *at != '\0'; at++) {
        (void)!send(fd, at, 1, MSG_NOSIGNAL);
        turn();
    }
    check_answer(c, fd, 1);
    close(fd);
    turn();
}
END_TEST

START_TEST(same_head_is_routed_once)
{
    const char *head = "GET / HTTP/1.1\r\n" HOST "\r\n";
    int fd;

    start();
    fd = connect_client();
    for (int i = 0; i < 5; i++) {
        char got[512] = "";

        ck_assert_int_gt(write(fd, head, strlen(head)), 0);
        turn();
        receive_all(fd, got, sizeof(got));
        ck_assert_str_eq(got, OK2);
    }
    ck_assert_int_eq(seen.routed, 1);
    ck_assert_int_eq(seen.done, 5);
    close(fd);
    turn();
}
END_TEST

START_TEST(prepared_answer_says_what_time_it_is)
{
    const char *head = "GET /prepared HTTP/1.1\r\n" HOST "\r\n";
    char got[512];
    int fd;

    start();
    fd = connect_client();
    for (int i = 0; i < 3; i++) {
        ck_assert_int_gt(write(fd, head, strlen(head)), 0);
        turn();
        ck_assert_int_gt(read(fd, got, sizeof(got)), 0);

        const char *date = strstr(got, "Date: ") + 6;
        ck_assert_int_eq(memcmp(date, td_http_date_now().ptr, TD_HTTP_DATE_LEN), 0);
        memset(prepared_ok.prepared.date, 'x', TD_HTTP_DATE_LEN); /* as if it were that of long ago */
        prepared_ok.prepared.dated--;
    }
    ck_assert_int_eq(prepared_ok.sent, 3);
    close(fd);
    turn();
}
END_TEST

/* What the kernel does not take is kept, once, and later requests wait until it has left. */
START_TEST(prepared_answers_that_are_not_read_take_no_memory)
{
    enum { COUNT = 20 };
    const char *head = "GET /prepared-large HTTP/1.1\r\n" HOST "\r\n";
    static char got[COUNT * 110000];
    int fd;

    send_buffer = 4096;
    start();
    fd = connect_client();
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_gt(write(fd, head, strlen(head)), 0);
    turn();
    ck_assert_int_le(seen.begun, 2);
    memset(got, 0, sizeof(got));
    receive_all(fd, got, sizeof(got));
    ck_assert_int_eq(seen.done, COUNT);
    ck_assert_int_gt(prepared_large.sent, 0);

    static const char answered[] = OK("Content-Length: 100000\r\n\r\n");
    const char *at = got;
    for (int i = 0; i < COUNT; i++, at += 100000) {
        ck_assert_msg(strncmp(at, answered, sizeof(answered) - 1) == 0, "answer %d: %.80s", i, at);
        at += sizeof(answered) - 1;
        ck_assert_uint_eq(strspn(at, "p"), 100000);
    }
    ck_assert_uint_eq(strlen(at), 0);
    close(fd);
    turn();
}
END_TEST

START_TEST(head_that_has_no_room_is_not_prepared)
{
    char room[TD_PREPARED_ROOM + 1], long_value[TD_PREPARED_ROOM];
    td_prepared prepared = {.body = {room + TD_PREPARED_ROOM, 1}};
    td_header fields[] = {{TD_STR("Server"), {long_value, sizeof(long_value)}}};
    const td_headers headers = {fields, 1, 1};
    const char *head = "GET /later HTTP/1.1\r\n" HOST "\r\n";
    int fd;

    start();
    fd = connect_client();
    ck_assert_int_gt(write(fd, head, strlen(head)), 0);
    turn();
    ck_assert(!seen.later->writer->prepare(seen.later, &prepared, &headers));
    ck_assert_uint_eq(prepared.head_len, 0);
    fields[0].value.len = 100;
    memset(long_value, 'v', 100);
    ck_assert(seen.later->writer->prepare(seen.later, &prepared, &headers));
    ck_assert(!seen.later->writer->send_prepared(seen.later, &prepared)); /* out of turn */
    close(fd);
    turn();
}
END_TEST

START_TEST(pipeline_is_in_order_and_bounded)
{
    enum { COUNT = 100 };
    char sent[COUNT * 64] = "", got[COUNT * 128] = "";
    int fd;

    start();
    fd = connect_client();
    for (int i = 0; i < COUNT; i++)
        snprintf(sent + strlen(sent), sizeof(sent) - strlen(sent),
                 "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n%03d", i);
    ck_assert_int_eq(write(fd, sent, strlen(sent)), (ssize_t)strlen(sent));
    for (int i = 0; i < 20; i++)
        turn();
    receive_all(fd, got, sizeof(got));
    const char *at = got;
    for (int i = 0; i < COUNT; i++) {
        char body[16];

        snprintf(body, sizeof(body), "\r\n\r\n%03d", i);
        at = strstr(at, body);
        ck_assert_msg(at != NULL, "answer %d is missing", i);
    }
    ck_assert_int_eq(seen.done, COUNT);
    close(fd);
    turn();
}
END_TEST

START_TEST(client_that_leaves_is_told_once)
{
    const char *sent = "GET /later HTTP/1.1\r\n" HOST "\r\n";
    td_str none = {NULL, 0};
    td_headers headers = {NULL, 0, 0};
    int fd;

    start();
    fd = connect_client();
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    ck_assert_ptr_nonnull(seen.later);
    close(fd);
    turn();
    ck_assert_int_eq(seen.closed, 1);
    ck_assert_int_eq(seen.done, 1);
    ck_assert(td_request_is_closed(seen.later));
    ck_assert_int_eq(seen.later->writer->head(seen.later, 200, none, &headers, 0), TD_ECLOSED);
    ck_assert_int_eq(seen.later->writer->finish(seen.later), TD_ECLOSED);
}
END_TEST

START_TEST(later_answer_goes_out_and_the_next_request_is_served)
{
    const char *sent = "GET /later HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n";
    char got[1024] = "";
    int fd;

    start();
    fd = connect_client();
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    receive_all(fd, got, sizeof(got));
    ck_assert_str_eq(got, "");
    answer(seen.later, 200, TD_STR("ok"), true);
    turn();
    receive_all(fd, got, sizeof(got));
    ck_assert_str_eq(got, OK2 OK2);
    close(fd);
    turn();
}
END_TEST

START_TEST(slow_reader_gets_all_of_a_big_body)
{
    const char *sent = "GET /big HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n";
    static char got[sizeof(big) + 1024];
    int fd, small = 4096;

    start();
    fd = connect_client();
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    got[0] = '\0';
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    ck_assert_int_eq(seen.done, 0); /* the second waits for the first to be sent */
    while (seen.done < 2) {
        turn();
        receive_all(fd, got, sizeof(got));
    }
    receive_all(fd, got, sizeof(got));
    const char *body = strstr(got, "\r\n\r\n") + 4;
    ck_assert_int_eq(memcmp(body, big, sizeof(big)), 0);
    ck_assert_str_eq(body + sizeof(big), OK2);
    close(fd);
    turn();
}
END_TEST

/* The kernel may find room for the rest between two attempts of the same turn. */
START_TEST(rest_that_leaves_at_the_second_attempt_ends_the_answer)
{
    const char *sent = "GET /big HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n";
    static char got[sizeof(big) + 1024];
    int fd;

    start();
    fd = connect_client();
    got[0] = '\0';
    kernel.refuses_odd = true;
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    for (int i = 0; i < 100 && seen.done < 2; i++) {
        turn();
        receive_all(fd, got, sizeof(got));
    }
    ck_assert_int_eq(seen.done, 2);
    ck_assert_int_gt(kernel.sends, 2); /* it was refused something */
    close(fd);
    turn();
}
END_TEST

/* ---- files */

static int
ask_for_file(const char *path)
{
    char head[64];
    int fd, len = snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\n" HOST "\r\n", path);

    start();
    fd = connect_client();
    ck_assert_int_eq(write(fd, head, (size_t)len), len);
    return fd;
}

/*
 * How many of them are those of the file from that offset on; an assertion for each takes seconds.
 */
static size_t
count_digits(const char *bytes, size_t len, size_t offset)
{
    size_t i = 0;

    while (i < len && bytes[i] == (char)('0' + (i + offset) % 10))
        i++;
    return i;
}

/* A head has ended and digits follow, beginning with that of the offset 3. */
static size_t
check_digits(const char *got, size_t len)
{
    const char *body = strstr(got, "\r\n\r\n") + 4;
    const size_t n = len - (size_t)(body - got);

    ck_assert_uint_eq(count_digits(body, n, 3), n);
    return n;
}

START_TEST(file_leaves_in_slices_and_others_are_served_in_between)
{
    static char got[FILE_SIZE + 1024];
    char other[256];
    int fd = ask_for_file("/file"), small = connect_client(), rounds = 0;

    memset(got, 0, sizeof(got));
    for (size_t len = 0; seen.done < 1 || len == 0; rounds++) {
        const int before = kernel.sendfiles;
        ssize_t n;

        ck_assert_int_eq(write(small, "GET / HTTP/1.1\r\n" HOST "\r\n", 27), 27);
        ev_run(td_ioloop_ev(loop), EVRUN_NOWAIT);
        ck_assert_int_le(kernel.sendfiles, before + 1);
        ck_assert_int_gt(read(small, other, sizeof(other)), 0);
        seen.done -= 1; /* that of the small one */
        n = read(fd, got + len, sizeof(got) - len);
        len += n > 0 ? (size_t)n : 0;
        ck_assert_int_lt(rounds, 1000);
    }
    receive_all(fd, got, sizeof(got));
    ck_assert_uint_eq(kernel.slice_max, 256 * 1024);
    ck_assert_int_ge(rounds, FILE_SIZE / (256 * 1024));
    ck_assert_uint_eq(check_digits(got, strlen(got)), FILE_SIZE - 3);
    ck_assert_uint_eq(file->references, 1);
    close(fd);
    close(small);
    turn();
}
END_TEST

START_TEST(pieces_of_a_file_leave_in_order_one_slice_a_turn)
{
    static char got[FILE_SIZE + 1024];
    int fd = ask_for_file("/pieces"), before = 0;
    const char *body, *second;

    memset(got, 0, sizeof(got));
    for (int i = 0; seen.done < 1 && i < 1000; i++, before = kernel.sendfiles) {
        ev_run(td_ioloop_ev(loop), EVRUN_NOWAIT);
        ck_assert_int_le(kernel.sendfiles, before + 1);
        receive_all(fd, got, sizeof(got));
    }
    receive_all(fd, got, sizeof(got));
    body = strstr(got, "\r\n\r\n") + 4;
    second = body + 1 + PIECE_SIZE + 1;
    ck_assert_uint_eq(strlen(body), 2 * PIECE_SIZE + 4);
    ck_assert_int_eq(body[0], '<');
    ck_assert_int_eq(second[-1], '|');
    ck_assert_str_eq(second + PIECE_SIZE, ">.");
    ck_assert_uint_eq(count_digits(body + 1, PIECE_SIZE, 7), PIECE_SIZE);
    ck_assert_uint_eq(count_digits(second, PIECE_SIZE, 3), PIECE_SIZE);
    ck_assert_uint_eq(seen.body_sent, 2 * PIECE_SIZE + 4);
    ck_assert_uint_eq(file->references, 1);
    close(fd);
    turn();
}
END_TEST

START_TEST(client_that_leaves_lets_go_of_all_pieces)
{
    char got[1000];
    int fd = ask_for_file("/pieces");

    turn();
    ck_assert_int_eq(read(fd, got, sizeof(got)), sizeof(got));
    ck_assert_uint_eq(file->references, 3);
    close(fd);
    turn();
    ck_assert_int_eq(seen.done, 1);
    ck_assert_uint_lt(seen.body_sent, PIECE_SIZE);
    ck_assert_uint_eq(file->references, 1);
}
END_TEST

/* However many downloads there are, an iteration of the loop sends one slice. */
START_TEST(files_leave_in_a_line)
{
    static char got[3][FILE_SIZE + 1024];
    size_t len[3] = {0};
    int fds[3] = {ask_for_file("/file"), connect_client(), connect_client()};

    memset(got, 0, sizeof(got));
    for (int i = 1; i < 3; i++)
        ck_assert_int_eq(write(fds[i], "GET /file HTTP/1.1\r\n" HOST "\r\n", 31), 31);
    for (int rounds = 0; seen.done < 3; rounds++) {
        const int before = kernel.sendfiles;

        ck_assert_int_lt(rounds, 1000);
        ev_run(td_ioloop_ev(loop), EVRUN_NOWAIT);
        ck_assert_int_le(kernel.sendfiles, before + 1);
        for (int i = 0; i < 3; i++) {
            const ssize_t n = read(fds[i], got[i] + len[i], sizeof(got[i]) - len[i]);

            len[i] += n > 0 ? (size_t)n : 0;
        }
    }
    for (int i = 0; i < 3; i++) {
        receive_all(fds[i], got[i], sizeof(got[i]));
        ck_assert_uint_eq(check_digits(got[i], strlen(got[i])), FILE_SIZE - 3);
        close(fds[i]);
    }
    ck_assert_uint_eq(file->references, 1);
    turn();
}
END_TEST

START_TEST(file_that_shrinks_closes_the_connection)
{
    static char got[FILE_SIZE + 1024];
    int fd = ask_for_file("/file");
    bool ended = false;

    memset(got, 0, sizeof(got));
    turn();
    ck_assert_int_eq(ftruncate(file->fd, 1000000), 0);
    for (int i = 0; i < 100 && !ended; i++) {
        turn();
        ended = receive_all(fd, got, sizeof(got));
    }
    ck_assert(ended);
    ck_assert_uint_eq(check_digits(got, strlen(got)), 1000000 - 3);
    ck_assert_int_eq(seen.done, 1);
    ck_assert_uint_eq(seen.body_sent, 1000000 - 3);
    ck_assert_uint_eq(file->references, 1);
    close(fd);
}
END_TEST

START_TEST(client_that_leaves_lets_go_of_the_file)
{
    char got[1000];
    int fd = ask_for_file("/file");

    turn();
    ck_assert_int_eq(read(fd, got, sizeof(got)), sizeof(got));
    ck_assert_uint_eq(file->references, 2);
    close(fd);
    turn();
    ck_assert_int_eq(seen.done, 1);
    ck_assert_int_eq(seen.closed, 0); /* it was answered */
    ck_assert_uint_lt(seen.body_sent, FILE_SIZE - 3);
    ck_assert_uint_eq(file->references, 1);
}
END_TEST

START_TEST(slow_reader_of_a_file_is_closed)
{
    int fd;

    settings.limits.send_min_rate = 1 << 30;
    fd = ask_for_file("/file");
    turn();
    ck_assert_uint_eq(file->references, 2);
    context.sending.timer.deadline_ns = 0;
    TD_LIST_FOREACH(link, &context.sending.head)
        TD_CONTAINER_OF(link, td_deadline, link)->at_ns = 0;
    context.sending.timer.fn(context.sending.timer.arg);
    ck_assert_uint_eq(file->references, 1);
    close(fd);
}
END_TEST

START_TEST(file_may_be_answered_with_later)
{
    static char got[FILE_SIZE + 1024];
    int fd = ask_for_file("/later");

    memset(got, 0, sizeof(got));
    turn();
    ck_assert_int_eq(answer_file(seen.later, FILE_SIZE - 3, 3, FILE_SIZE - 3), 0);
    ck_assert_int_eq(seen.later->writer->body(seen.later, TD_STR("x"), true), TD_EINVAL);
    while (seen.done < 1) {
        turn();
        receive_all(fd, got, sizeof(got));
    }
    receive_all(fd, got, sizeof(got));
    ck_assert_uint_eq(check_digits(got, strlen(got)), FILE_SIZE - 3);
    close(fd);
    turn();
}
END_TEST

START_TEST(file_needs_a_length)
{
    td_headers headers = {NULL, 0, 0};
    td_str none = {NULL, 0};
    int fd = ask_for_file("/later");

    turn();
    ck_assert_int_eq(seen.later->writer->file(seen.later, file, 0, 1), TD_EINVAL);
    ck_assert_int_eq(seen.later->writer->head(seen.later, 200, none, &headers, -1), 0);
    ck_assert_int_eq(seen.later->writer->file(seen.later, file, 0, 1), TD_EINVAL);
    ck_assert_uint_eq(file->references, 1);
    close(fd);
    turn();
}
END_TEST

static void
setup_file(void)
{
    static char digits[FILE_SIZE];

    for (size_t i = 0; i < FILE_SIZE; i++)
        digits[i] = (char)('0' + i % 10);
    file = td_file_create(memfd_create("file", MFD_CLOEXEC));
    ck_assert_int_eq(write(file->fd, digits, FILE_SIZE), FILE_SIZE);
    td_log_set_fd(memfd_create("log", MFD_CLOEXEC));
}

static void
teardown_file(void)
{
    td_file_unref(file);
}

START_TEST(streamed_body_pauses_and_resumes)
{
    const char *sent = "POST /stream HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\nabc";
    char got[512] = "";
    int fd;

    start();
    fd = connect_client();
    seen.pause = true;
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    ck_assert_int_eq(seen.body_bytes, 3);
    ck_assert_int_gt(write(fd, "def", 3), 0);
    turn();
    ck_assert_int_eq(seen.body_bytes, 3);
    td_request_resume_body(seen.streamed);
    turn();
    ck_assert_int_eq(seen.body_bytes, 6);
    receive_all(fd, got, sizeof(got));
    ck_assert_str_eq(got, OK2);
    close(fd);
    turn();
}
END_TEST

START_TEST(streamed_body_waits_to_be_asked_for)
{
    const char *sent = "POST /stream?later HTTP/1.1\r\n" HOST
                       "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    char got[512] = "";
    int fd;

    start();
    fd = connect_client();
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    receive_all(fd, got, sizeof(got));
    ck_assert_str_eq(got, "");
    td_request_resume_body(seen.streamed);
    td_request_resume_body(seen.streamed);
    turn();
    receive_all(fd, got, sizeof(got));
    ck_assert_str_eq(got, "HTTP/1.1 100 Continue\r\n\r\n");
    ck_assert_int_eq(write(fd, "abc", 3), 3);
    turn();
    receive_all(fd, got, sizeof(got));
    ck_assert_str_eq(got, "HTTP/1.1 100 Continue\r\n\r\n" OK2);
    close(fd);
    turn();
}
END_TEST

/* Answers to a body that nobody has asked for: who may have the connection afterwards. */
static const struct {
    const char *lines;
    bool open;
} unasked[] = {
    {"Content-Length: 65536\r\n", true},
    {"Content-Length: 65537\r\n", false},
    {"Content-Length: 3\r\nExpect: 100-continue\r\n", false},
    {"Transfer-Encoding: chunked\r\n", false},
};

START_TEST(answer_without_the_streamed_body)
{
    static const char get[] = "GET / HTTP/1.1\r\n" HOST "\r\n";
    char sent[512], got[1024] = "";
    bool ended;
    int fd;

    start();
    fd = connect_client();
    snprintf(sent, sizeof(sent), "POST /stream?later HTTP/1.1\r\n" HOST "%s\r\n",
             unasked[_i].lines);
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    answer(seen.streamed, 403, TD_STR("no"), true);
    turn();
    if (unasked[_i].open) {
        ck_assert_int_eq(write(fd, big, 65536), 65536);
        turn();
        ck_assert_int_eq(write(fd, get, strlen(get)), (ssize_t)strlen(get));
        turn();
    }
    ended = receive_all(fd, got, sizeof(got));
    ck_assert_int_eq(seen.body_bytes, 0);
    ck_assert_int_eq(ended, !unasked[_i].open);
    ck_assert_int_eq(strstr(got, "Connection: close") == NULL, unasked[_i].open);
    ck_assert_int_eq(strstr(got, OK2) != NULL, unasked[_i].open);
    close(fd);
    turn();
}
END_TEST

/* Each step is so many milliseconds later, with what the client and the handler do then. */
static const struct {
    const char *what;
    struct step {
        int after_ms;
        bool pause, resume;
        size_t send;
    } steps[7]; /* the last one is zero */
    bool refused;
} rates[] = {
    {"nothing comes", {{5000, .send = 0}, {6000, .send = 0}}, true},
    {"enough comes", {{5000, .send = 2400}, {6000, .send = 0}}, false},
    {"too little comes", {{5000, .send = 2300}, {6000, .send = 0}}, true},
    {"nothing is wanted", {{1, .pause = true, .send = 1}, {30000, .send = 0}, {30000, .send = 0}},
     false},
    {"nothing was wanted for long", {{1, .pause = true, .send = 1}, {30000, .resume = true},
                                     {9000, .send = 0}}, false},
    {"pauses do not start the time anew",
     {{4000, .pause = true, .send = 1}, {1000, .resume = true}, {4000, .pause = true, .send = 1},
      {1000, .resume = true}, {4000, .send = 0}, {12000, .send = 0}}, true},
};

static void
pass_ms(int ms)
{
    for (; ms > 0; ms -= 100) { /* time-outs are up to a sixteenth late */
        clock_ahead_ns += (ms < 100 ? ms : 100) * TD_NS_PER_MS;
        turn();
    }
}

START_TEST(slow_streamed_body_is_refused)
{
    static const char head[] = "POST /stream HTTP/1.1\r\n" HOST "Content-Length: 10000\r\n\r\n";
    char got[512] = "";
    int fd;

    clock_stands = true;
    start();
    fd = connect_client();
    ck_assert_int_gt(write(fd, head, strlen(head)), 0);
    turn();
    for (const struct step *step = rates[_i].steps; step->after_ms > 0; step++) {
        pass_ms(step->after_ms);
        seen.pause = step->pause;
        if (step->resume)
            td_request_resume_body(seen.streamed);
        if (step->send > 0)
            ck_assert_int_eq(write(fd, big, step->send), (ssize_t)step->send);
        turn();
    }
    receive_all(fd, got, sizeof(got));
    ck_assert_msg((strncmp(got, "HTTP/1.1 408 ", 13) == 0) == rates[_i].refused, "%s: %s",
                  rates[_i].what, got);
    close(fd);
    turn();
}
END_TEST

/* ---- compressed bodies */

static size_t
gzipped(td_str text, char *out, size_t size)
{
    z_stream stream = {.zalloc = Z_NULL};

    ck_assert_int_eq(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY),
                     Z_OK);
    stream.next_in = (unsigned char *)(uintptr_t)text.ptr;
    stream.avail_in = (uInt)text.len;
    stream.next_out = (unsigned char *)out;
    stream.avail_out = (uInt)size;
    ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    return size - stream.avail_out;
}

#define PLAIN "hello, hello, hello, hello, hello"

static const struct {
    const char *what, *path, *lines;
    bool off, chunked;
    int cut;            /* bytes off the end of the compressed body */
    const char *behind; /* it */
    int status;
    bool is_raw;        /* the handler gets it as it is */
} compressed[] = {
    {"sized", "/echo", "Content-Encoding: gzip\r\n", false, false, 0, "", 200, false},
    {"chunked", "/echo", "Content-Encoding: gzip\r\n", false, true, 0, "", 200, false},
    {"by another name, 9110 8.4.1.3", "/echo", "Content-Encoding: X-GZip\r\n", false, false, 0, "",
     200, false},
    {"off", "/echo", "Content-Encoding: gzip\r\n", true, false, 0, "", 200, true},
    {"two codings", "/echo", "Content-Encoding: gzip, gzip\r\n", false, false, 0, "", 200, true},
    {"two lines", "/echo", "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", false, false, 0,
     "", 200, true},
    {"another coding", "/echo", "Content-Encoding: br\r\n", false, false, 0, "", 200, true},
    {"none", "/echo", "", false, false, 0, "", 200, true},
    {"cut off", "/echo", "Content-Encoding: gzip\r\n", false, false, 1, "", 400, false},
    {"cut off and chunked", "/echo", "Content-Encoding: gzip\r\n", false, true, 9, "", 400, false},
    {"something behind it", "/echo", "Content-Encoding: gzip\r\n", false, false, 0, "xyz", 400,
     false},
    {"streamed", "/stream", "Content-Encoding: gzip\r\n", false, false, 0, "", 200, false},
    {"streamed and chunked", "/stream", "Content-Encoding: gzip\r\n", false, true, 0, "", 200, false},
    {"streamed and cut off", "/stream", "Content-Encoding: gzip\r\n", false, false, 1, "", 400,
     false},
    {"answered before", "/early", "Content-Encoding: gzip\r\n", false, false, 9, "", 404, false},
};

/* The request; *body_out is the body as it goes over the wire. */
static size_t
write_compressed(int i, char *out, size_t size, td_str *body_out)
{
    static char body[512];
    size_t body_len = gzipped(TD_STR(PLAIN), body, sizeof(body)), len;

    body_len -= (size_t)compressed[i].cut;
    memcpy(body + body_len, compressed[i].behind, strlen(compressed[i].behind));
    body_len += strlen(compressed[i].behind);
    *body_out = td_str_make(body, body_len);
    len = (size_t)snprintf(out, size, "POST %s HTTP/1.1\r\n" HOST "%s", compressed[i].path,
                           compressed[i].lines);
    if (!compressed[i].chunked)
        len += (size_t)snprintf(out + len, size - len, "Content-Length: %zu\r\n\r\n", body_len);
    else
        len += (size_t)snprintf(out + len, size - len,
                                "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", body_len);
    memcpy(out + len, body, body_len);
    len += body_len;
    if (compressed[i].chunked)
        len += (size_t)snprintf(out + len, size - len, "\r\n0\r\n\r\n");
    return len;
}

static void
check_compressed(int i, int fd, td_str body)
{
    const td_str expected = compressed[i].is_raw ? body : TD_STR(PLAIN);
    char got[1024] = "", status[32];

    receive_all(fd, got, sizeof(got));
    snprintf(status, sizeof(status), "HTTP/1.1 %d ", compressed[i].status);
    ck_assert_msg(strncmp(got, status, strlen(status)) == 0, "%s: %s", compressed[i].what, got);
    if (compressed[i].status != 200)
        return;
    ck_assert_msg(seen.body_bytes == expected.len, "%s: %zu bytes", compressed[i].what,
                  (size_t)seen.body_bytes);
    if (!compressed[i].is_raw && strcmp(compressed[i].path, "/echo") == 0)
        ck_assert_str_eq(strstr(got, "\r\n\r\n") + 4, PLAIN);
}

START_TEST(compressed_body_at_every_cut)
{
    char sent[1024];
    td_str body;
    const size_t len = write_compressed(_i, sent, sizeof(sent), &body);

    settings.limits.decompress_request = !compressed[_i].off;
    start();
    for (size_t cut = 1; cut <= len; cut++) {
        int fd = connect_client();

        seen.body_bytes = 0;
        ck_assert_int_eq(write(fd, sent, cut), (ssize_t)cut);
        turn();
        if (cut < len) /* it may have been refused already */
            (void)!write(fd, sent + cut, len - cut);
        turn();
        check_compressed(_i, fd, body);
        close(fd);
        turn();
    }
}
END_TEST

#define BOMB_SIZE (8 * 1024 * 1024)

static int
send_bomb(const char *path)
{
    static char zeros[BOMB_SIZE], bomb[BOMB_SIZE / 500];
    char head[256];
    const size_t len = gzipped(td_str_make(zeros, sizeof(zeros)), bomb, sizeof(bomb));
    int fd;

    settings.limits.decompress_request = 1;
    start();
    fd = connect_client();
    snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\n" HOST "Content-Encoding: gzip\r\n"
             "Content-Length: %zu\r\n\r\n", path, len);
    ck_assert_int_eq(write(fd, head, strlen(head)), (ssize_t)strlen(head));
    turn();
    ck_assert_int_eq(write(fd, bomb, len), (ssize_t)len);
    return fd;
}

START_TEST(bomb_goes_off_in_turns_and_not_beyond_the_limit)
{
    char got[512] = "";
    size_t before;
    int fd;

    settings.limits.max_body_size = BOMB_SIZE - 1;
    fd = send_bomb("/stream");
    do {
        before = seen.body_bytes;
        ev_run(td_ioloop_ev(loop), EVRUN_NOWAIT);
        ck_assert_uint_le(seen.body_bytes - before, 2 * 256 * 1024);
    } while (seen.body_bytes > before);
    turn();
    ck_assert_uint_lt(seen.body_bytes, BOMB_SIZE);
    ck_assert_uint_ge(seen.body_bytes, BOMB_SIZE - 2 * TD_BODY_PIECE_MAX);
    receive_all(fd, got, sizeof(got));
    ck_assert_int_eq(strncmp(got, "HTTP/1.1 413 ", 13), 0);
    close(fd);
    turn();
}
END_TEST

START_TEST(bomb_takes_no_more_memory_than_there_is)
{
    char got[512] = "";
    int fd;

    settings.limits.max_body_size = BOMB_SIZE;
    td_budget_configure(2 * 1024 * 1024);
    fd = send_bomb("/echo");
    for (int i = 0; i < 100; i++)
        turn();
    receive_all(fd, got, sizeof(got));
    ck_assert_int_eq(strncmp(got, "HTTP/1.1 503 ", 13), 0);
    close(fd);
    turn();
}
END_TEST

/* Pauses in between pieces that were inflated from bytes which have all come. */
START_TEST(inflated_pieces_wait_while_it_is_paused)
{
    char got[512] = "";
    size_t before;
    int fd;

    settings.limits.max_body_size = BOMB_SIZE;
    fd = send_bomb("/stream");
    do {
        before = seen.body_bytes;
        seen.pause = true;
        td_request_resume_body(seen.streamed);
        turn();
        ck_assert_uint_le(seen.body_bytes - before, TD_BODY_PIECE_MAX);
    } while (seen.finished == 0 && seen.body_bytes > before);
    ck_assert_uint_eq(seen.body_bytes, BOMB_SIZE);
    receive_all(fd, got, sizeof(got));
    ck_assert_str_eq(got, OK2);
    close(fd);
    turn();
}
END_TEST

START_TEST(answers_close_while_draining)
{
    const char *sent = "GET / HTTP/1.1\r\n" HOST "\r\n";
    char got[512] = "";
    int fd, idle;

    start();
    fd = connect_client();
    idle = connect_client();
    context.draining = true;
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    ck_assert(receive_all(fd, got, sizeof(got)));
    ck_assert_str_eq(got, OK("Content-Length: 2\r\nConnection: close\r\n\r\nok"));
    got[0] = '\0';
    ck_assert(!receive_all(idle, got, sizeof(got)));
    td_http1context_close_idle(&context);
    turn();
    ck_assert(receive_all(idle, got, sizeof(got)));
    close(fd);
    close(idle);
    turn();
}
END_TEST

START_TEST(oldest_incomplete_head_is_evicted)
{
    char got[512] = "";
    int fd;

    start();
    ck_assert(!td_http1context_evict(&context));
    fd = connect_client();
    ck_assert_int_gt(write(fd, "GET", 3), 0);
    turn();
    ck_assert(td_http1context_evict(&context));
    ck_assert(receive_all(fd, got, sizeof(got)));
    close(fd);
}
END_TEST

/* Let all time-outs of 10 ms be over. */
static void
pass_time(void)
{
    usleep(30 * 1000);
    turn();
}

/* How often `what` is in `text`. */
static int
occurrences(const char *text, const char *what)
{
    int n = 0;

    while ((text = strstr(text, what)) != NULL) {
        text += strlen(what);
        n++;
    }
    return n;
}

enum { ENDS_ITS_SIDE = 1 };

START_TEST(waiting_answers_outlast_idleness_and_a_half_close)
{
    const char *request = "GET /7000 HTTP/1.1\r\n" HOST "\r\n";
    static char got[41 * 7200];

    settings.limits.keepalive_timeout_ms = 10;
    send_buffer = 1;
    start();
    for (int count = 1; count <= 40; count += 3) {
        int fd = connect_client();

        for (int i = 0; i < count; i++)
            ck_assert_int_gt(write(fd, request, strlen(request)), 0);
        if (_i == ENDS_ITS_SIDE)
            shutdown(fd, SHUT_WR);
        turn();
        pass_time();
        got[0] = '\0';
        for (bool ended = false; !ended; turn())
            ended = receive_all(fd, got, sizeof(got));
        ck_assert_int_eq(occurrences(got, "HTTP/1.1 200 OK"), count);
        ck_assert_uint_eq(strspn(strrchr(got, '\n') + 1, "b"), 7000);
        close(fd);
        turn();
    }
    ck_assert_int_eq(seen.closed, 0);
}
END_TEST

START_TEST(no_time_out_counts_once_the_last_answer_waits)
{
    const char *sent = "POST /early/7000 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1";
    char got[8192] = "";
    int fd;

    settings.limits.body_timeout_ms = 10;
    send_buffer = 1;
    start();
    fd = connect_client();
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    pass_time();
    for (bool ended = false; !ended; turn())
        ended = receive_all(fd, got, sizeof(got));
    ck_assert_uint_eq(strspn(strrchr(got, '\n') + 1, "b"), 7000);
    ck_assert_int_eq(seen.begun, seen.done);
    close(fd);
    turn();
}
END_TEST

START_TEST(refused_head_behind_waiting_answers_is_not_the_delegates)
{
    const char *sent = "GET /7000 HTTP/1.1\r\n" HOST "\r\nGET /\r\n\r\n";
    static char got[16384];
    int fd;

    settings.limits.max_pipelined = 1;
    send_buffer = 1;
    start();
    fd = connect_client();
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    got[0] = '\0';
    for (bool ended = false; !ended; turn())
        ended = receive_all(fd, got, sizeof(got));
    ck_assert_int_eq(occurrences(got, "HTTP/1.1 200 OK"), 1);
    ck_assert_int_eq(occurrences(got, "HTTP/1.1 400 Bad Request"), 1);
    ck_assert_int_eq(seen.begun, 1);
    ck_assert_int_eq(seen.done, 1);
    ck_assert_int_eq(seen.closed, 0);
    close(fd);
    turn();
}
END_TEST

START_TEST(endless_pipelining_is_read_as_it_is_served)
{
    const char *request = "GET / HTTP/1.1\r\n" HOST "\r\n";
    enum { ROUNDS = 500, REQUESTS = 400, KERNEL_MAX = 1024 * 1024 };
    static char sent[REQUESTS * 32], got[65536];
    size_t written = 0;
    ssize_t n;
    int fd;

    for (int i = 0; i < REQUESTS; i++)
        strcat(sent, request);
    start();
    fd = connect_client();
    for (int i = 0; i < ROUNDS; i++) {
        const size_t done = written % strlen(sent);

        n = write(fd, sent + done, strlen(sent) - done);
        written += n > 0 ? (size_t)n : 0;
        turn();
        while (read(fd, got, sizeof(got)) > 0)
            continue;
    }
    ck_assert_uint_lt(written - (size_t)seen.done * strlen(request), KERNEL_MAX);
    close(fd);
    turn();
}
END_TEST

START_TEST(whoever_waits_for_room_hears_of_it_however_it_came)
{
    const char *sent = "GET /later HTTP/1.1\r\n" HOST "\r\n";
    static char got[sizeof(big) + 512];
    td_headers headers = {NULL, 0, 0};
    td_str none = {NULL, 0};
    int fd;

    settings.limits.write_high_water = 4096;
    start();
    fd = connect_client();
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    ck_assert_int_eq(seen.later->writer->head(seen.later, 200, none, &headers, -1), 0);
    ck_assert_int_eq(seen.later->writer->body(seen.later, td_str_make(big, sizeof(big)), false), 0);
    ck_assert_int_eq(seen.later->writer->flush(seen.later), 0);
    ck_assert_uint_gt(td_request_pending(seen.later), 4096);
    while (read(fd, got, sizeof(got)) > 0)
        continue; /* now all of it fits, and nobody has said that it may be written */
    turn();
    ck_assert_uint_eq(td_request_pending(seen.later), 0);
    ck_assert_int_eq(seen.writable, 1);
    close(fd);
    turn();
}
END_TEST

START_TEST(only_empty_lines_are_not_answered)
{
    char got[512] = "";
    int fd;

    settings.limits.header_timeout_ms = 10;
    start();
    fd = connect_client();
    ck_assert_int_eq(write(fd, "\r\n", 2), 2);
    turn();
    pass_time();
    ck_assert(receive_all(fd, got, sizeof(got)));
    ck_assert_str_eq(got, "");
    close(fd);
}
END_TEST

START_TEST(told_lengths_take_no_memory)
{
    enum { CLIENTS = 60 };
    const char *told = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n";
    const char *sent = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc";
    char got[512] = "";
    int fds[CLIENTS], fd;

    td_budget_configure(2 * 3 * 1048576);
    start();
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = connect_client();
        ck_assert_int_gt(write(fds[i], told, strlen(told)), 0);
    }
    turn();
    fd = connect_client();
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    receive_all(fd, got, sizeof(got));
    ck_assert_str_eq(got, OK("Content-Length: 3\r\n\r\nabc"));
    close(fd);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    turn();
}
END_TEST

START_TEST(bodies_that_come_share_the_memory)
{
    const char *head = "POST /big HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n";
    char got[2][512] = {"", ""};
    size_t left[2] = {1048576 - 1, 1048576 - 1};
    int fds[2];

    td_budget_configure(2 * 1600 * 1024);
    start();
    for (int i = 0; i < 2; i++) {
        fds[i] = connect_client();
        ck_assert_int_gt(write(fds[i], head, strlen(head)), 0);
    }
    turn();
    for (int round = 0; round < 100; round++)
        for (int i = 0; i < 2; i++) {
            size_t some = left[i] < 16384 ? left[i] : 16384;
            ssize_t n = send(fds[i], big, some, MSG_NOSIGNAL);

            left[i] -= n > 0 ? (size_t)n : 0;
            turn();
            receive_all(fds[i], got[i], sizeof(got[i]));
        }
    ck_assert_int_eq(seen.begun, 2);
    ck_assert_int_eq(occurrences(got[0], "503 Service") + occurrences(got[1], "503 Service"), 1);
    ck_assert_int_eq(seen.closed, 1);
    for (int i = 0; i < 2; i++)
        close(fds[i]);
    turn();
}
END_TEST

/* ---- bodies in files */

static int
open_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Send all of it, in pieces as they are taken, or as much as is taken. */
static void
send_body(int fd, const char *body, size_t len)
{
    while (len > 0) {
        const ssize_t n = send(fd, body, len < 50000 ? len : 50000, MSG_NOSIGNAL);

        turn();
        if (n < 0 && errno == EAGAIN)
            continue;
        if (n <= 0)
            return;
        body += n;
        len -= (size_t)n;
    }
}

static int
send_echo(const char *framing)
{
    char head[128];
    const int fd = connect_client();

    snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\n" HOST "%s\r\n\r\n", framing);
    ck_assert_int_gt(write(fd, head, strlen(head)), 0);
    turn();
    return fd;
}

static void
check_echo(int fd, size_t len)
{
    static char got[sizeof(big) + 1024];
    const char *body;

    got[0] = '\0';
    for (int i = 0; i < 100 && strlen(got) < len; i++) {
        turn();
        receive_all(fd, got, sizeof(got));
    }
    ck_assert_msg(strncmp(got, "HTTP/1.1 200 OK\r\n", 17) == 0, "%.200s", got);
    body = strstr(got, "\r\n\r\n") + 4;
    ck_assert_uint_eq(strlen(body), len);
    ck_assert_int_eq(memcmp(body, big, len), 0);
}

START_TEST(bodies_past_the_memory_go_to_files)
{
    const int before = open_descriptors();
    int fds[2];

    spill_bodies(1 << 20);
    td_budget_configure(2 * 45000);
    start();
    fds[0] = send_echo("Content-Length: 10000");
    fds[1] = send_echo("Content-Length: 60000"); /* fills three pages less than are mapped */
    send_body(fds[0], big, 9999);
    send_body(fds[1], big, 59999);
    ck_assert_int_eq(open_descriptors(), before + 4 + 1);
    for (int i = 0; i < 2; i++) {
        send_body(fds[i], big, 1);
        check_echo(fds[i], i == 0 ? 10000 : 60000);
    }
    ck_assert_int_eq(open_descriptors(), before + 4); /* the connections are still there */
    for (int i = 0; i < 2; i++)
        close(fds[i]);
    turn();
}
END_TEST

/*
 * Of a chunked one the size is not told.  8192 + 8192 bytes are whole pages: the NUL has its own.
 */
START_TEST(a_body_that_turns_out_to_be_large_moves_to_a_file)
{
    const int before = open_descriptors();
    int fd;

    spill_bodies(10000);
    start();
    fd = send_echo("Transfer-Encoding: chunked");
    send_body(fd, "2000\r\n", 6);
    send_body(fd, big, 8192);
    ck_assert_int_eq(open_descriptors(), before + 2);
    send_body(fd, "\r\n2000\r\n", 8);
    send_body(fd, big, 8192);
    ck_assert_int_eq(open_descriptors(), before + 3);
    send_body(fd, "\r\n0\r\n\r\n", 7);
    check_echo(fd, 16384);
    ck_assert_int_eq(open_descriptors(), before + 2);
    close(fd);
    turn();
}
END_TEST

static const struct {
    const char *directory;
    uint64_t disk;
    rlim_t file_max;
    const char *answered, *log;
} full[] = {
    {"/nowhere", UINT64_MAX, RLIM_INFINITY, "HTTP/1.1 503 ",
     "(body_temp_path /nowhere: No such file or directory)"},
    {"/tmp", 99999, RLIM_INFINITY, "HTTP/1.1 503 ", "(body_disk is used up)"},
    {"/tmp", UINT64_MAX, 50000, "HTTP/1.1 507 ", "(body_temp_path /tmp: File too large)"},
    {"/tmp", UINT64_MAX, 99999, "HTTP/1.1 507 ", "(body_temp_path /tmp: File too large)"},
    {"/tmp", UINT64_MAX, 100000, "HTTP/1.1 507 ", "(body_temp_path /tmp: File too large)"}, /* NUL */
};

START_TEST(a_file_that_cannot_be_written_is_an_answer)
{
    const struct rlimit most = {full[_i].file_max, full[_i].file_max};
    char got[4096] = "", log[4096] = "";
    int before, fd;

    td_log_set_fd(memfd_create("log", 0));
    before = open_descriptors();
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &most), 0);
    spill_bodies(1000);
    context.spill_place = (td_spill_place){full[_i].directory, full[_i].disk};
    start();
    fd = send_echo("Content-Length: 100000");
    send_body(fd, big, 100000);
    ck_assert(receive_all(fd, got, sizeof(got)));
    ck_assert_msg(strncmp(got, full[_i].answered, strlen(full[_i].answered)) == 0, "%s", got);
    ck_assert_int_eq(open_descriptors(), before + 2);
    ck_assert_int_eq(seen.finished, 0);
    ck_assert_int_eq(seen.closed, 1);
    ck_assert_int_eq(seen.done, 1);
    ck_assert_int_gt(pread(td_log_fd(), log, sizeof(log) - 1, 0), 0);
    ck_assert_msg(strstr(log, full[_i].log) != NULL, "%s", log);
    close(fd);
    turn();
    ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

/* ---- watchers */

static struct {
    td_body_watcher watcher;
    uint64_t bytes, answers_at;
    int released;
} watched;

static void
watch_received(td_body_watcher *watcher, td_request *request, td_str data)
{
    ck_assert_ptr_eq(watcher, &watched.watcher);
    ck_assert_uint_le(data.len, TD_BODY_PIECE_MAX); /* others have their turns in between */
    watched.bytes += data.len;
    if (watched.bytes >= watched.answers_at && !request->body_unwanted) {
        request->body_unwanted = true;
        answer(request, 413, TD_STR("no"), true);
    }
}

static void
watch_release(td_body_watcher *watcher)
{
    ck_assert_ptr_eq(watcher, &watched.watcher);
    watched.released++;
}

START_TEST(a_body_is_watched_while_it_comes)
{
    spill_bodies(300000);
    start();
    for (int round = 0; round < 8; round++) {
        const bool in_file = round & 1, is_refused = round & 2, is_chunked = round & 4;
        char got[512] = "";
        int fd;

        memset(&watched, 0, sizeof(watched));
        watched.watcher = (td_body_watcher){watch_received, watch_release};
        watched.answers_at = is_refused ? 20000 : UINT64_MAX; /* more than 64 KiB are left */
        seen.watcher = &watched.watcher;
        settings.limits.body_spill = in_file ? 1000 : 300000;
        fd = send_echo(is_chunked ? "Transfer-Encoding: chunked" : "Content-Length: 200000");
        if (is_chunked)
            send_body(fd, "30d40\r\n", 7);
        send_body(fd, big, 199999);
        if (is_refused) {
            ck_assert(receive_all(fd, got, sizeof(got)));
            ck_assert_int_eq(strncmp(got, "HTTP/1.1 413 ", 13), 0);
            ck_assert_uint_lt(watched.bytes, 199999);
        } else {
            send_body(fd, big, 1);
            if (is_chunked)
                send_body(fd, "\r\n0\r\n\r\n", 7);
            check_echo(fd, 200000);
            ck_assert_uint_eq(watched.bytes, 200000);
        }
        close(fd);
        turn();
        ck_assert_int_eq(watched.released, 1);
        ck_assert_int_eq(connections, 0);
    }
}
END_TEST

START_TEST(unread_body_is_waited_for_though_the_client_closes)
{
    const char *sent = "POST /early HTTP/1.1\r\n" HOST
                       "Connection: close\r\nContent-Length: 300000\r\n\r\n";
    char got[512] = "";
    int fd;

    start();
    fd = connect_client();
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    ck_assert_int_gt(send(fd, big, 50000, MSG_NOSIGNAL), 0);
    turn();
    ck_assert_int_gt(send(fd, big, 50000, MSG_NOSIGNAL), 0);
    ck_assert(receive_all(fd, got, sizeof(got)));
    ck_assert_int_eq(occurrences(got, "HTTP/1.1 404 "), 1);
    close(fd);
    turn();
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup_file, teardown_file);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, conversation_does_not_depend_on_cuts, 0, 2 * CONVERSATIONS);
    tcase_add_loop_test(tcase, bytes_one_by_one, 0, 2 * CONVERSATIONS);
    tcase_add_test(tcase, same_head_is_routed_once);
    tcase_add_test(tcase, prepared_answer_says_what_time_it_is);
    tcase_add_test(tcase, prepared_answers_that_are_not_read_take_no_memory);
    tcase_add_test(tcase, head_that_has_no_room_is_not_prepared);
    tcase_add_test(tcase, pipeline_is_in_order_and_bounded);
    tcase_add_test(tcase, client_that_leaves_is_told_once);
    tcase_add_test(tcase, later_answer_goes_out_and_the_next_request_is_served);
    tcase_add_test(tcase, slow_reader_gets_all_of_a_big_body);
    tcase_add_test(tcase, rest_that_leaves_at_the_second_attempt_ends_the_answer);
    tcase_add_test(tcase, file_leaves_in_slices_and_others_are_served_in_between);
    tcase_add_test(tcase, files_leave_in_a_line);
    tcase_add_test(tcase, pieces_of_a_file_leave_in_order_one_slice_a_turn);
    tcase_add_test(tcase, client_that_leaves_lets_go_of_all_pieces);
    tcase_add_test(tcase, file_that_shrinks_closes_the_connection);
    tcase_add_test(tcase, client_that_leaves_lets_go_of_the_file);
    tcase_add_test(tcase, slow_reader_of_a_file_is_closed);
    tcase_add_test(tcase, file_may_be_answered_with_later);
    tcase_add_test(tcase, file_needs_a_length);
    tcase_add_test(tcase, streamed_body_pauses_and_resumes);
    tcase_add_test(tcase, streamed_body_waits_to_be_asked_for);
    ADD_TABLE(tcase, answer_without_the_streamed_body, unasked);
    ADD_TABLE(tcase, slow_streamed_body_is_refused, rates);
    ADD_TABLE(tcase, compressed_body_at_every_cut, compressed);
    tcase_add_test(tcase, bomb_goes_off_in_turns_and_not_beyond_the_limit);
    tcase_add_test(tcase, bomb_takes_no_more_memory_than_there_is);
    tcase_add_test(tcase, inflated_pieces_wait_while_it_is_paused);
    tcase_add_test(tcase, answers_close_while_draining);
    tcase_add_test(tcase, oldest_incomplete_head_is_evicted);
    tcase_add_loop_test(tcase, waiting_answers_outlast_idleness_and_a_half_close, 0,
                        ENDS_ITS_SIDE + 1);
    tcase_add_test(tcase, no_time_out_counts_once_the_last_answer_waits);
    tcase_add_test(tcase, refused_head_behind_waiting_answers_is_not_the_delegates);
    tcase_add_test(tcase, endless_pipelining_is_read_as_it_is_served);
    tcase_add_test(tcase, whoever_waits_for_room_hears_of_it_however_it_came);
    tcase_add_test(tcase, only_empty_lines_are_not_answered);
    tcase_add_test(tcase, told_lengths_take_no_memory);
    tcase_add_test(tcase, bodies_that_come_share_the_memory);
    tcase_add_test(tcase, bodies_past_the_memory_go_to_files);
    tcase_add_test(tcase, a_body_that_turns_out_to_be_large_moves_to_a_file);
    ADD_TABLE(tcase, a_file_that_cannot_be_written_is_an_answer, full);
    tcase_add_test(tcase, a_body_is_watched_while_it_comes);
    tcase_add_test(tcase, unread_body_is_waited_for_though_the_client_closes);
}

int
main(void)
{
    return unit_run("http1connection", fill);
}
