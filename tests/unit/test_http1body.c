/*
 * Goal: a body of a request is received whole or refused with the right answer, whether it is kept
 * in memory, spilled to a file, inflated or streamed; and none takes more than it may.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <zlib.h>
#include "base/budget.h"
#include "http1_fixture.h"

/* ---- streamed bodies */

START_TEST(streamed_body_pauses_and_resumes)
{
    const char *sent = "POST /stream HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\nabc";
    char got[512] = "";
    int fd;

    start();
    seen.pause = true;
    fd = connect_with(sent);
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
    fd = connect_with(sent);
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

/* All of it has come, and nobody asks for more: nothing but the answer is there to find that out. */
START_TEST(client_that_has_gone_is_found_by_whoever_answers)
{
    const char *sent = "POST /stream HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc";
    const td_str none = {NULL, 0};
    td_headers headers = {NULL, 0, 0};
    const td_message_writer *writer;
    int fd;

    start();
    seen.pause = true;
    fd = connect_with(sent);
    ck_assert_int_eq(seen.body_bytes, 3);
    close(fd);
    writer = seen.streamed->writer;
    ck_assert_int_eq(writer->head(seen.streamed, 200, none, &headers, -1), 0);
    ck_assert_int_eq(writer->body(seen.streamed, td_str_make(big, sizeof(big)), false), TD_ECLOSED);
    turn();
    ck_assert_int_eq(connections, 0);
    ck_assert_int_eq(seen.closed, 1);
    ck_assert_int_eq(seen.done, 1);
}
END_TEST

/* Nobody answers yet, either. */
START_TEST(client_that_has_gone_is_missed_behind_a_whole_body)
{
    const char *sent = "POST /stream HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc";
    int fd;

    start();
    seen.pause = true;
    fd = connect_with(sent);
    ck_assert_int_eq(seen.body_bytes, 3);
    close(fd);
    usleep(1100 * 1000);
    turn();
    ck_assert_int_eq(connections, 0);
    ck_assert_int_eq(seen.closed, 1);
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

/* ---- slow bodies */

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
    fd = connect_with(head);
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

/* ---- the memory that bodies take */

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
    fd = connect_with(sent);
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

    snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\n" HOST "%s\r\n\r\n", framing);
    return connect_with(head);
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
    ck_assert_uint_le(data.len, watcher->piece_max);
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

/* All bodies are; answers_at: and refused when so much has come. */
static void
watch(size_t piece_max, uint64_t answers_at)
{
    memset(&watched, 0, sizeof(watched));
    watched.watcher = (td_body_watcher){watch_received, watch_release, piece_max};
    watched.answers_at = answers_at;
    seen.watcher = &watched.watcher;
}

/* All that has come at once is looked at in as many turns as the watcher wants. */
START_TEST(others_have_their_turns_while_a_body_is_watched)
{
    char sent[3000];

    start();
    for (int round = 0; round < 4; round++) {
        const bool is_refused = round & 1, is_chunked = round & 2;
        char got[512] = "";
        int fd = connect_client();

        watch(100, is_refused ? 1000 : UINT64_MAX);
        snprintf(sent, sizeof(sent), "POST / HTTP/1.1\r\n" HOST "%s\r\n\r\n%s%.*s%sGET / HTTP/1.1\r\n" HOST "\r\n",
                 is_chunked ? "Transfer-Encoding: chunked" : "Content-Length: 2000",
                 is_chunked ? "7d0\r\n" : "", 2000, big, is_chunked ? "\r\n0\r\n\r\n" : "");
        ck_assert_int_eq(write(fd, sent, strlen(sent)), (ssize_t)strlen(sent));
        for (uint64_t before = 0; watched.released == 0; before = watched.bytes) {
            ev_run(td_ioloop_ev(loop), EVRUN_NOWAIT);
            ck_assert_uint_le(watched.bytes - before, 2 * 100); /* in front of the wait, and behind it */
        }
        turn();
        receive_all(fd, got, sizeof(got));
        if (is_refused)
            ck_assert_uint_lt(watched.bytes, 1000 + 100);
        else
            ck_assert_str_eq(got, OK2 OK2); /* what came behind it was not lost */
        close(fd);
        turn();
        ck_assert_int_eq(connections, 0);
    }
}
END_TEST

START_TEST(a_body_is_watched_while_it_comes)
{
    spill_bodies(300000);
    start();
    for (int round = 0; round < 8; round++) {
        const bool in_file = round & 1, is_refused = round & 2, is_chunked = round & 4;
        char got[512] = "";
        int fd;

        watch(round < 4 ? 5000 : TD_BODY_PIECE_MAX,
              is_refused ? 20000 : UINT64_MAX); /* more than 64 KiB are left */
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
    fd = connect_with(sent);
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
    add_fixtures(tcase);
    tcase_add_test(tcase, streamed_body_pauses_and_resumes);
    tcase_add_test(tcase, streamed_body_waits_to_be_asked_for);
    tcase_add_test(tcase, client_that_has_gone_is_found_by_whoever_answers);
    tcase_add_test(tcase, client_that_has_gone_is_missed_behind_a_whole_body);
    ADD_TABLE(tcase, answer_without_the_streamed_body, unasked);
    ADD_TABLE(tcase, slow_streamed_body_is_refused, rates);
    ADD_TABLE(tcase, compressed_body_at_every_cut, compressed);
    tcase_add_test(tcase, bomb_goes_off_in_turns_and_not_beyond_the_limit);
    tcase_add_test(tcase, bomb_takes_no_more_memory_than_there_is);
    tcase_add_test(tcase, inflated_pieces_wait_while_it_is_paused);
    tcase_add_test(tcase, told_lengths_take_no_memory);
    tcase_add_test(tcase, bodies_that_come_share_the_memory);
    tcase_add_test(tcase, bodies_past_the_memory_go_to_files);
    tcase_add_test(tcase, a_body_that_turns_out_to_be_large_moves_to_a_file);
    ADD_TABLE(tcase, a_file_that_cannot_be_written_is_an_answer, full);
    tcase_add_test(tcase, others_have_their_turns_while_a_body_is_watched);
    tcase_add_test(tcase, a_body_is_watched_while_it_comes);
    tcase_add_test(tcase, unread_body_is_waited_for_though_the_client_closes);
}

int
main(void)
{
    return unit_run("http1body", fill);
}
