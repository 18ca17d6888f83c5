/*
 * The load client: closed loop, exact bytes, exact counts.
 *
 *     load PORT REQUEST_FILE[:OTHER_FILE] CONNECTIONS BATCH MILLISECONDS [reconnect]
 *
 * One thread, one epoll loop.  Each connection sends BATCH copies of the request in one write, or
 * in as many as the kernel makes of a large one, waits for as many complete answers and sends
 * again; with OTHER_FILE every second batch is of that one. First every connection does this once
 * (warm-up); then "ready" goes to stdout, a line is awaited on stdin (the caller notes the server's
 * CPU time), and it runs for MILLISECONDS.  Nothing new is sent after that, and what is under way
 * is awaited, so the caller may divide by the count; the connections stay open until the end of
 * stdin.  With `reconnect` each connection carries one batch; the server closes it (the request
 * says so) and another one is opened.
 *
 * One JSON object comes out: requests answered, errors (a status other than 200, an answer without
 * Content-Length, a connection closed too early), lost (connections without an answer when nothing
 * has come for STALL_MS), and the time from write to last answer of a batch as p50 and p99.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define INPUT_SIZE 65536
#define PART_SIZE 2048 /* the head of an answer is no longer */
#define REQUEST_MAX (2 * 1024 * 1024)
#define EVENTS_MAX 256
#define STALL_MS 3000
#define LATENCY_MAX_US 1000000

struct connection {
    int fd;          /* -1: closed */
    int awaited;     /* answers of the batch that have not come yet */
    int next;        /* the batch to be sent next: 0 or 1 */
    int64_t sent_us; /* when the batch was sent */
    size_t unsent;   /* bytes of the batch that the kernel has not taken yet */
    size_t body_left; /* bytes that are to come of an answer whose head has come */
    size_t part_len;
    char part[PART_SIZE]; /* the beginning of a head whose rest has not come yet */
};

static struct sockaddr_in server = {.sin_family = AF_INET};
static struct batch {
    char *bytes; /* of one write */
    size_t len;
} batches[2]; /* sent in turn; the same one twice when there is no other */
static int requests_per_batch;
static bool reconnect;

static int epoll;
static int busy; /* connections that wait for an answer, or for the end of file after it */
static int64_t deadline_us;
static long answered, errors, lost;
static uint32_t latencies[LATENCY_MAX_US]; /* batches by microseconds; the last one: or more */

static int64_t
now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void
connection_open(struct connection *conn)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    int one = 1;

    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&server, sizeof server) < 0)
        err(1, "connect");
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, conn->fd, &event) < 0)
        err(1, "epoll_ctl");
    conn->part_len = conn->body_left = 0;
}

/* With a reset, so that ten thousands of connections a second leave no ports in TIME_WAIT. */
static void
connection_close(struct connection *conn)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(conn->fd);
    conn->fd = -1;
    busy--;
}

static void
connection_fail(struct connection *conn)
{
    errors++;
    connection_close(conn);
}

static void
watch(struct connection *conn, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};

    if (epoll_ctl(epoll, EPOLL_CTL_MOD, conn->fd, &event) < 0)
        err(1, "epoll_ctl");
}

/* Large requests leave as the kernel takes them; nothing is read meanwhile. */
static void
send_rest(struct connection *conn, bool was_watched)
{
    const struct batch *batch = &batches[!conn->next];
    const ssize_t sent = send(conn->fd, batch->bytes + batch->len - conn->unsent, conn->unsent,
                              MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0 && errno != EAGAIN) {
        connection_fail(conn);
        return;
    }
    conn->unsent -= sent > 0 ? (size_t)sent : 0;
    if (conn->unsent > 0 && !was_watched)
        watch(conn, EPOLLOUT);
    else if (conn->unsent == 0 && was_watched)
        watch(conn, EPOLLIN);
}

static void
send_batch(struct connection *conn)
{
    busy++;
    conn->unsent = batches[conn->next].len;
    conn->next = !conn->next;
    conn->awaited = requests_per_batch;
    conn->sent_us = now_us();
    send_rest(conn, false);
}

static void
note_latency(const struct connection *conn, int64_t now)
{
    int64_t took = now - conn->sent_us;

    latencies[took < LATENCY_MAX_US ? took : LATENCY_MAX_US - 1]++;
}

/*
 * The bytes of the first answer in `input`, as its head tells them: 0 when the head is not
 * complete, -1 when it is not a right one.
 */
static ssize_t
answer_length(const char *input, size_t len)
{
    static const char name[] = "\r\ncontent-length:";
    const char *end = memmem(input, len, "\r\n\r\n", 4);

    if (end == NULL)
        return 0;
    if (memcmp(input, "HTTP/1.1 200 ", 13) != 0)
        return -1;
    for (const char *line = memchr(input, '\r', len); line < end;
         line = memchr(line + 1, '\r', len)) {
        if (strncasecmp(line, name, sizeof name - 1) == 0)
            return end + 4 - input + strtol(line + sizeof name - 1, NULL, 10);
    }
    return -1;
}

static void
batch_done(struct connection *conn)
{
    int64_t now = now_us();

    note_latency(conn, now);
    if (reconnect)
        return; /* the server's end of file comes next */
    busy--;
    if (now < deadline_us)
        send_batch(conn);
}

static void
on_end_of_file(struct connection *conn)
{
    if (!reconnect || conn->awaited > 0) {
        connection_fail(conn);
        return;
    }
    connection_close(conn);
    if (now_us() < deadline_us) {
        connection_open(conn);
        send_batch(conn);
    }
}

/* The rest of a body: thrown away in the kernel, so that the client is never what is measured. */
static void
on_body(struct connection *conn)
{
    static char nothing[1];
    ssize_t got = recv(conn->fd, nothing, conn->body_left, MSG_DONTWAIT | MSG_TRUNC);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        connection_fail(conn);
        return;
    }
    conn->body_left -= (size_t)got;
    if (conn->body_left > 0)
        return;
    answered++;
    if (--conn->awaited == 0)
        batch_done(conn);
}

static void
on_readable(struct connection *conn)
{
    static char input[PART_SIZE + INPUT_SIZE];
    const char *at = input;
    size_t left;
    ssize_t got, used;

    memcpy(input, conn->part, conn->part_len);
    got = recv(conn->fd, input + conn->part_len, INPUT_SIZE, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        on_end_of_file(conn);
        return;
    }
    left = conn->part_len + (size_t)got;
    while (conn->awaited > 0 && (used = answer_length(at, left)) != 0) {
        if (used < 0) {
            connection_fail(conn);
            return;
        }
        if ((size_t)used > left) {
            conn->body_left = (size_t)used - left;
            left = 0;
            break;
        }
        answered++;
        conn->awaited--;
        at += used;
        left -= (size_t)used;
    }
    if (left > PART_SIZE || (left > 0 && conn->awaited == 0)) {
        connection_fail(conn);
        return;
    }
    memcpy(conn->part, at, left);
    conn->part_len = left;
    if (conn->awaited == 0)
        batch_done(conn);
}

static void
on_event(struct connection *conn)
{
    if (conn->unsent > 0)
        send_rest(conn, true);
    else if (conn->body_left > 0)
        on_body(conn);
    else
        on_readable(conn);
}

/* Send on all connections, and again until the deadline; returns when nothing is under way. */
static void
run_until(int64_t deadline, struct connection *conns, int conns_count)
{
    struct epoll_event events[EVENTS_MAX];

    deadline_us = deadline;
    for (int i = 0; i < conns_count; i++) {
        if (conns[i].fd < 0)
            connection_open(&conns[i]);
        send_batch(&conns[i]);
    }
    while (busy > 0) {
        int ready = epoll_wait(epoll, events, EVENTS_MAX, STALL_MS);

        for (int i = 0; i < ready; i++)
            on_event(events[i].data.ptr);
        if (ready == 0) {
            lost = busy;
            return;
        }
    }
}

static int
latency_percentile(double share)
{
    uint64_t total = 0, seen = 0;

    for (int us = 0; us < LATENCY_MAX_US; us++)
        total += latencies[us];
    for (int us = 0; us < LATENCY_MAX_US; us++) {
        seen += latencies[us];
        if (seen > 0 && (double)seen >= share * (double)total)
            return us;
    }
    return 0;
}

static struct batch
load_batch(const char *path)
{
    struct batch batch;
    FILE *file = fopen(path, "rb");
    static char request[REQUEST_MAX];
    size_t request_len;

    if (file == NULL)
        err(1, "%s", path);
    request_len = fread(request, 1, sizeof request, file);
    fclose(file);
    batch.len = request_len * (size_t)requests_per_batch;
    batch.bytes = malloc(batch.len);
    if (batch.bytes == NULL)
        err(1, "malloc");
    for (int i = 0; i < requests_per_batch; i++)
        memcpy(batch.bytes + (size_t)i * request_len, request, request_len);
    return batch;
}

static void
load_batches(char *paths)
{
    char *other = strchr(paths, ':');

    if (other != NULL)
        *other++ = '\0';
    batches[0] = load_batch(paths);
    batches[1] = other != NULL ? load_batch(other) : batches[0];
}

static void
print_result(int64_t took_us)
{
    printf("{\"requests\": %ld, \"errors\": %ld, \"lost\": %ld, \"seconds\": %.3f, "
           "\"p50_us\": %d, \"p99_us\": %d}\n",
           answered, errors, lost, (double)took_us / 1e6, latency_percentile(0.50),
           latency_percentile(0.99));
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    struct connection *conns;
    int conns_count;
    int64_t duration_us, started;

    if (argc < 6)
        errx(2, "usage: load PORT REQUEST_FILE[:OTHER_FILE] CONNECTIONS BATCH MILLISECONDS "
                "[reconnect]");
    server.sin_port = htons((uint16_t)atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    conns_count = atoi(argv[3]);
    requests_per_batch = atoi(argv[4]);
    duration_us = (int64_t)atoi(argv[5]) * 1000;
    reconnect = argc > 6 && strcmp(argv[6], "reconnect") == 0;
    load_batches(argv[2]);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc((size_t)conns_count, sizeof *conns);
    if (conns == NULL)
        err(1, "calloc");
    for (int i = 0; i < conns_count; i++)
        conns[i].fd = -1;

    run_until(0, conns, conns_count);
    if (errors > 0 || lost > 0) {
        print_result(0);
        return 0;
    }
    answered = 0;
    memset(latencies, 0, sizeof latencies);
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF)
        return 1;
    started = now_us();
    run_until(started + duration_us, conns, conns_count);
    print_result(now_us() - started);
    while (getchar() != EOF)
        ; /* closing the connections costs the server time that the caller is still reading */
    return 0;
}
