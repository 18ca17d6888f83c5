/*
 * The yardstick of the benchmarks: what the kernel alone costs.
 *
 *     bare_epoll PORT ANSWER_FILE REQUEST_BYTES [close | single | echo BODY_BYTES]
 *
 * One epoll loop on 127.0.0.1.  For each readable connection one read and one write; the write
 * holds as many copies of the answer as requests ended in what was read.  Requests of a run are all
 * of one size, so their ends are counted by a division: nothing is parsed, nothing is routed.  What
 * the kernel does not take of a large answer is written when it does.  With `close` a connection is
 * closed after its answer; with `single` no read holds the end of more than one request; with
 * `echo` the body of the answer is that of the request, read to where it is written from.
 */
#include "bare.h"
#include <err.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS_MAX 65536
#define EVENTS_MAX 256

static char *answers; /* as many as can end in one read */
static size_t answer_len, request_len;
static bool close_after;                   /* one request a connection */
static size_t echo_len;                    /* bytes of the body that is sent back; 0: none is */
static char *requests[FDS_MAX];            /* by descriptor: the request, when it is to be sent back */
static uint32_t bytes_unfinished[FDS_MAX]; /* by descriptor: how much of a request has been read */
static size_t bytes_unsent[FDS_MAX];       /* by descriptor: the end of an answer */

static void
watch(int epoll, int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    if (epoll_ctl(epoll, operation, fd, &event) < 0)
        err(1, "epoll_ctl");
}

static void
accept_one(int epoll, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (fd >= FDS_MAX)
        errx(1, "descriptor %d", fd);
    bytes_unfinished[fd] = 0;
    bytes_unsent[fd] = 0;
    if (echo_len > 0 && requests[fd] == NULL && (requests[fd] = malloc(request_len)) == NULL)
        err(1, "malloc");
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN);
}

static void
send_answers(int epoll, int fd, size_t count)
{
    const size_t len = count * answer_len;
    ssize_t sent = write(fd, answers, len);

    if (sent == (ssize_t)len)
        return;
    bytes_unsent[fd] = len - (sent > 0 ? (size_t)sent : 0);
    watch(epoll, EPOLL_CTL_MOD, fd, EPOLLOUT);
}

/* The rest of a large answer; only rows without pipelining have one. */
static void
send_rest(int epoll, int fd)
{
    const char *end = echo_len > 0 ? requests[fd] + request_len : answers + answer_len;
    ssize_t sent = write(fd, end - bytes_unsent[fd], bytes_unsent[fd]);

    if (sent < 0) {
        close(fd);
        return;
    }
    bytes_unsent[fd] -= (size_t)sent;
    if (bytes_unsent[fd] == 0)
        watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
}

static void
serve(int epoll, int fd)
{
    static char input[BARE_READ_SIZE];
    ssize_t got = read(fd, input, sizeof input);
    size_t bytes, ended;

    if (got <= 0) {
        close(fd);
        return;
    }
    bytes = bytes_unfinished[fd] + (size_t)got;
    ended = bytes / request_len;
    bytes_unfinished[fd] = (uint32_t)(bytes - ended * request_len);
    if (ended > 0)
        send_answers(epoll, fd, ended);
    if (ended > 0 && close_after)
        close(fd);
}

/* The head of the answer, and the body where the read has put it. */
static void
send_echo(int epoll, int fd)
{
    struct iovec parts[2] = {{answers, answer_len - echo_len},
                             {requests[fd] + request_len - echo_len, echo_len}};
    ssize_t sent = writev(fd, parts, 2);

    if (sent == (ssize_t)answer_len)
        return;
    bytes_unsent[fd] = answer_len - (sent > 0 ? (size_t)sent : 0);
    if (bytes_unsent[fd] > echo_len)
        errx(1, "the kernel took a part of a head");
    watch(epoll, EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void
echo(int epoll, int fd)
{
    ssize_t got = read(fd, requests[fd] + bytes_unfinished[fd], request_len - bytes_unfinished[fd]);

    if (got <= 0) {
        close(fd);
        return;
    }
    bytes_unfinished[fd] += (uint32_t)got;
    if (bytes_unfinished[fd] < request_len)
        return;
    bytes_unfinished[fd] = 0;
    send_echo(epoll, fd);
}

int
main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_MAX];
    int epoll = epoll_create1(EPOLL_CLOEXEC), listener;
    size_t copies;

    if (argc < 4 || (request_len = (size_t)atoi(argv[3])) == 0)
        errx(2, "usage: bare_epoll PORT ANSWER_FILE REQUEST_BYTES [close | single | echo BODY_BYTES]");
    close_after = argc > 4 && strcmp(argv[4], "close") == 0;
    echo_len = argc > 5 && strcmp(argv[4], "echo") == 0 ? (size_t)atoi(argv[5]) : 0;
    copies = echo_len > 0 || (argc > 4 && strcmp(argv[4], "single") == 0) ? 1 : BARE_READ_SIZE / request_len + 1;
    answers = bare_load_answers(argv[2], copies, &answer_len);
    listener = bare_listen(atoi(argv[1]), false);
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS_MAX, -1);

        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener)
                accept_one(epoll, listener);
            else if (events[i].events & EPOLLOUT)
                send_rest(epoll, events[i].data.fd);
            else if (echo_len > 0)
                echo(epoll, events[i].data.fd);
            else
                serve(epoll, events[i].data.fd);
        }
    }
}
