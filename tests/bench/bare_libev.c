/*
 * What libev and http-parser cost with nothing on top: the two libraries that tornadod is built on.
 *
 *     bare_libev PORT ANSWER_FILE [deferred]
 *
 * One libev loop on 127.0.0.1; each connection has a watcher and a parser.  One read, http-parser
 * over it, one write with an answer for each request that ended.  No routing, no limits, no
 * time-outs. A request with Connection: close is answered and its connection closed.  With
 * `deferred` the kernel hands over a connection when its request is there, and it is read at once.
 */
#include "bare.h"
#include <err.h>
#include <ev.h>
#include <http_parser.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MIN 16 /* bytes of the shortest one: "GET / HTTP/1.1\r\n" */
#define ANSWERS_MAX (BARE_READ_SIZE / REQUEST_MIN + 1)

struct connection {
    ev_io watcher;
    http_parser parser;
    size_t ended; /* requests that ended in this read */
    bool closing; /* the last one said so */
};

static char *answers; /* ANSWERS_MAX of them */
static size_t answer_len;
static bool deferred;

static int
on_message_complete(http_parser *parser)
{
    struct connection *conn = parser->data;

    conn->ended++;
    conn->closing = !http_should_keep_alive(parser);
    return 0;
}

static const http_parser_settings callbacks = {.on_message_complete = on_message_complete};

static void
connection_close(struct ev_loop *loop, struct connection *conn)
{
    ev_io_stop(loop, &conn->watcher);
    close(conn->watcher.fd);
    free(conn);
}

static void
on_readable(struct ev_loop *loop, ev_io *watcher, int revents)
{
    static char input[BARE_READ_SIZE];
    struct connection *conn = (struct connection *)watcher;
    ssize_t got = read(watcher->fd, input, sizeof input);
    size_t answers_len;

    (void)revents;
    conn->ended = 0;
    if (got <= 0 ||
        http_parser_execute(&conn->parser, &callbacks, input, (size_t)got) != (size_t)got) {
        connection_close(loop, conn);
        return;
    }
    answers_len = conn->ended * answer_len;
    if (answers_len > 0 && write(watcher->fd, answers, answers_len) != (ssize_t)answers_len)
        warn("write");
    if (conn->closing)
        connection_close(loop, conn);
}

static void
on_connection(struct ev_loop *loop, ev_io *listener, int revents)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct connection *conn;

    if (fd < 0)
        return;
    conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        err(1, "calloc");
    http_parser_init(&conn->parser, HTTP_REQUEST);
    conn->parser.data = conn;
    ev_io_init(&conn->watcher, on_readable, fd, EV_READ);
    ev_io_start(loop, &conn->watcher);
    if (deferred)
        on_readable(loop, &conn->watcher, revents);
}

int
main(int argc, char **argv)
{
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL);
    ev_io listener;

    if (argc < 3)
        errx(2, "usage: bare_libev PORT ANSWER_FILE [deferred]");
    deferred = argc > 3 && strcmp(argv[3], "deferred") == 0;
    answers = bare_load_answers(argv[2], ANSWERS_MAX, &answer_len);
    ev_io_init(&listener, on_connection, bare_listen(atoi(argv[1]), deferred), EV_READ);
    ev_io_start(loop, &listener);
    ev_run(loop, 0);
    return 0;
}
