/*
 * td_tcpclient: a name looked up, and its addresses tried side by side (RFC 8305; Tornado waits
 * for one address of a family to fail before it tries the next).
 *
 * A td_connecting is freed when it has told how it ended, or is cancelled.  It tells from a
 * callback of the loop, so nothing is told from inside the call that starts it.
 */
#include "io/tcpclient.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <tornado/coroutine.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/congestion.h"
#include "io/call.h"
#include "io/future_internal.h"
#include "io/iostream.h"
#include "io/resolver.h"
#include "io/tls.h"

#define TIMEOUT_DEFAULT_MS 20000
#define ATTEMPT_DELAY_MS 250 /* RFC 8305 section 5 */
#define UNIX_PREFIX "unix:"

struct attempt {
    ev_io watcher; /* watcher.fd: -1 when it is none */
    td_connecting *connecting;
};

struct td_connecting {
    td_list link; /* in `all` */
    td_ioloop *loop;
    td_lookup lookup;
    td_endpoint source; /* len 0: none */
    td_addresses addresses; /* in the order of the attempts */
    size_t tried;           /* of them */
    size_t running;         /* attempts */
    struct attempt attempts[TD_ADDRESSES_MAX];
    td_timer next_attempt, deadline;
    td_callback told;
    int error, fd; /* how it ended */
    td_connecting_fn *done;
    void *arg;
};

static __thread td_list all __attribute__((tls_model("initial-exec"))); /* {NULL}: none yet */

/* ---- the end */

static void
close_attempt(struct attempt *attempt)
{
    ev_io_stop(td_ioloop_ev(attempt->connecting->loop), &attempt->watcher);
    close(attempt->watcher.fd);
    attempt->watcher.fd = -1;
    attempt->connecting->running--;
}

static void
stop(td_connecting *c)
{
    td_lookup_stop(&c->lookup);
    td_timer_stop(c->loop, &c->next_attempt);
    td_timer_stop(c->loop, &c->deadline);
    for (size_t i = 0; i < c->tried; i++)
        if (c->attempts[i].watcher.fd >= 0)
            close_attempt(&c->attempts[i]);
}

static void
end(td_connecting *c, int error, int fd)
{
    stop(c);
    c->error = error;
    c->fd = fd;
    td_ioloop_post(c->loop, &c->told);
}

static void
tell(void *arg)
{
    td_connecting *c = arg;
    td_connecting_fn *const done = c->done;
    void *const done_arg = c->arg;
    const int error = c->error, fd = c->fd;

    td_list_remove(&c->link);
    free(c);
    done(done_arg, error, fd);
}

/* The loop ends first. */
static void
tell_dropped(void *arg)
{
    td_connecting *c = arg;

    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->error = TD_ECANCELED;
    tell(c);
}

static void
on_deadline(void *arg)
{
    end(arg, TD_ETIMEDOUT, -1);
}

/* done is not called any more, all is closed. */
static void
cancel(td_connecting *c)
{
    stop(c);
    td_callback_cancel(&c->told);
    if (c->fd >= 0)
        close(c->fd);
    td_list_remove(&c->link);
    free(c);
}

void
td_connectings_close(void)
{
    while (all.next != NULL && !td_list_is_empty(&all)) {
        td_connecting *c = TD_CONTAINER_OF(all.next, td_connecting, link);

        stop(c);
        td_callback_cancel(&c->told);
        tell_dropped(c);
    }
}

/* ---- attempts */

static void start_next(td_connecting *c);

static void
succeed(struct attempt *attempt)
{
    td_connecting *c = attempt->connecting;
    const int fd = attempt->watcher.fd, on = 1;

    ev_io_stop(td_ioloop_ev(c->loop), &attempt->watcher);
    attempt->watcher.fd = -1;
    c->running--;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* fails on a unix socket */
    end(c, 0, fd);
}

/* One address is out; the next has its turn at once. */
static void
fail(struct attempt *attempt, int error)
{
    td_connecting *c = attempt->connecting;

    close_attempt(attempt);
    c->error = error;
    start_next(c);
}

static void
on_writable(struct ev_loop *ev, ev_io *watcher, int events)
{
    struct attempt *attempt = TD_CONTAINER_OF(watcher, struct attempt, watcher);
    int error = 0;
    socklen_t len = sizeof(error);

    (void)ev;
    getsockopt(watcher->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error == 0 && (events & EV_ERROR))
        error = ENOMEM; /* the system does not watch it, so whether it is connected is not known */
    if (error == 0)
        succeed(attempt);
    else
        fail(attempt, -error);
}

/* 0, or -errno: it cannot come from there, whatever it is connected to. */
static int
bind_source(const td_connecting *c, int fd)
{
    const int on = 1;

    if (c->source.len == 0)
        return 0;
    if (c->source.address.v4.sin_port == 0) /* the port is chosen when the other end is known */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    else /* attempts that run side by side share it */
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    return bind(fd, &c->source.address.any, c->source.len) < 0 ? -errno : 0;
}

/* The attempt with the next address.  False: everything has ended. */
static bool
start_attempt(td_connecting *c, const struct sockaddr *address, socklen_t len)
{
    struct attempt *attempt = &c->attempts[c->tried++];
    const int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc;

    attempt->connecting = c;
    ev_io_init(&attempt->watcher, on_writable, fd, EV_WRITE);
    if (fd < 0) {
        c->error = -errno;
        return true;
    }
    c->running++;
    rc = bind_source(c, fd);
    if (rc < 0) {
        end(c, rc, -1);
        return false;
    }
    if (td_sockaddr_is_local(address))
        td_congestion_set(fd, address, TD_CONGESTION_AUTO);
    if (connect(fd, address, len) == 0) {
        succeed(attempt);
        return false;
    }
    if (errno == EINPROGRESS) {
        ev_io_start(td_ioloop_ev(c->loop), &attempt->watcher);
    } else {
        c->error = -errno;
        close_attempt(attempt);
    }
    return true;
}

static void
start_next(td_connecting *c)
{
    const size_t running = c->running;

    while (c->tried < c->addresses.count && c->running == running) {
        const td_endpoint *endpoint = &c->addresses.items[c->tried];

        if (!start_attempt(c, &endpoint->address.any, endpoint->len))
            return;
    }
    if (c->running == 0)
        end(c, c->error, -1);
    else if (c->tried < c->addresses.count)
        td_timer_start(c->loop, &c->next_attempt, td_deadline_in_ms(ATTEMPT_DELAY_MS));
}

static void
on_delay(void *arg)
{
    start_next(arg);
}

/* ---- addresses */

/* RFC 8305 section 4: the families take turns, each in its own order. */
static void
take_turns(const td_addresses *from, int source_family, td_addresses *to)
{
    size_t next[2] = {0, 0};

    if (from->count == 0)
        return;
    for (int turn = 0; next[0] < from->count || next[1] < from->count; turn = !turn) {
        const int first = from->items[0].address.any.sa_family;
        size_t *at = &next[turn];

        while (*at < from->count && (from->items[*at].address.any.sa_family == first) != !turn)
            ++*at;
        if (*at < from->count) {
            const td_endpoint *endpoint = &from->items[(*at)++];

            if (source_family == 0 || source_family == endpoint->address.any.sa_family)
                to->items[to->count++] = *endpoint;
        }
    }
}

static void
try_addresses(td_connecting *c, const td_addresses *addresses)
{
    take_turns(addresses, c->source.len > 0 ? c->source.address.any.sa_family : 0, &c->addresses);
    c->error = -EADDRNOTAVAIL; /* when there is none to be tried from that source */
    start_next(c);
}

static void
on_name(td_lookup *lookup, int error, const td_addresses *addresses)
{
    td_connecting *c = TD_CONTAINER_OF(lookup, td_connecting, lookup);

    if (error == 0)
        try_addresses(c, addresses);
    else
        end(c, error, -1);
}

static void
start_unix(td_connecting *c, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (path[0] == '\0' || strlen(path) >= sizeof(address.sun_path)) {
        end(c, -ENAMETOOLONG, -1);
        return;
    }
    strcpy(address.sun_path, path);
    if (start_attempt(c, (const struct sockaddr *)&address, sizeof(address)) && c->running == 0)
        end(c, c->error, -1);
}

static void
start_name(td_connecting *c, const char *host, uint16_t port, const td_connect_options *options)
{
    const td_resolve_options how = {.family = options->family, .timeout_ms = options->timeout_ms};
    td_addresses known = {0};
    const int rc = td_lookup_start(&c->lookup, host, port, &how, on_name, &known);

    if (rc > 0)
        try_addresses(c, &known);
    else if (rc < 0)
        end(c, rc, -1);
}

static td_connecting *
create(const td_connect_options *options, td_connecting_fn *done, void *arg)
{
    td_connecting *c = td_xcalloc(1, sizeof(*c));

    if (all.next == NULL)
        td_list_init(&all);
    td_list_append(&all, &c->link);
    c->loop = td_ioloop_current();
    c->fd = -1;
    c->done = done;
    c->arg = arg;
    c->told = (td_callback){.fn = tell, .arg = c, .dropped = tell_dropped};
    c->next_attempt = (td_timer){.fn = on_delay, .arg = c};
    c->deadline = (td_timer){.fn = on_deadline, .arg = c};
    if (options->source_address != NULL)
        td_resolve_number(options->source_address, options->source_port, &c->source);
    td_timer_start(c->loop, &c->deadline, td_deadline_in_ms(options->timeout_ms));
    return c;
}

static td_connecting *
start(const char *host, uint16_t port, const td_connect_options *options, td_connecting_fn *done,
      void *arg)
{
    td_connecting *c = create(options, done, arg);

    if (strncmp(host, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        start_unix(c, host + strlen(UNIX_PREFIX));
    else
        start_name(c, host, port, options);
    return c;
}

td_connecting *
td_connecting_start_with(const td_addresses *addresses, const td_connect_options *options,
                         td_connecting_fn *done, void *arg)
{
    td_connecting *c = create(options, done, arg);

    try_addresses(c, addresses);
    return c;
}

static int
check_options(const td_connect_options *options, td_err *err)
{
    td_endpoint source;

    if (options->family != 0 && options->family != AF_INET && options->family != AF_INET6)
        return td_err_set(err, TD_EINVAL, "the family is none: %d", options->family);
    if (options->timeout_ms < 0)
        return td_err_set(err, TD_EINVAL, "the time-out is negative");
    if (options->source_address != NULL && !td_resolve_number(options->source_address, 0, &source))
        return td_err_set(err, TD_EINVAL, "the source_address is no address: %s",
                          options->source_address);
    if (options->source_address == NULL && options->source_port != 0)
        return td_err_set(err, TD_EINVAL, "a source_port without a source_address");
    return 0;
}

bool
td_connect_options_read(const td_connect_options *wanted, td_connect_options *out,
                        const char *function)
{
    td_ssl_options ssl;
    td_err err;

    *out = (td_connect_options){0};
    if (wanted != NULL)
        memcpy(out, wanted, wanted->size < sizeof(*out) ? wanted->size : sizeof(*out));
    if (check_options(out, &err) < 0) {
        td_misuse(function, err.text);
        td_err_set(out->err, TD_EINVAL, "%s", err.text);
        return false;
    }
    if (out->ssl_options != NULL && !td_ssl_options_read(out->ssl_options, &ssl, function)) {
        td_err_set(out->err, TD_EINVAL, "the TLS options are wrong");
        return false;
    }
    if (out->timeout_ms == 0)
        out->timeout_ms = TIMEOUT_DEFAULT_MS;
    return true;
}

/* ---- await style */

struct await_connection {
    td_connecting *connecting;
    td_coroutine *co;
    int fd;
};

static void
await_done(void *arg, int error, int fd)
{
    struct await_connection *waiting = arg;

    waiting->fd = fd;
    td_coroutine_resume(waiting->co, error);
}

static void
await_undo(void *arg)
{
    const struct await_connection *waiting = arg;

    cancel(waiting->connecting);
}

/* What is left of the time is the handshake's. */
static int
shake_hands(td_iostream *stream, const char *host, const td_connect_options *options,
            int64_t deadline_ns)
{
    const int64_t timeout_ms = td_iostream_timeout(stream), left_ms = td_time_left_ms(deadline_ns);
    td_ssl_options ssl;
    int rc;

    if (left_ms < 0)
        return (int)left_ms;
    td_ssl_options_read(options->ssl_options, &ssl, "td_tcpclient_connect");
    if (ssl.server_hostname == NULL && strncmp(host, UNIX_PREFIX, strlen(UNIX_PREFIX)) != 0)
        ssl.server_hostname = host;
    td_iostream_set_timeout(stream, left_ms);
    rc = td_iostream_start_tls(stream, &ssl);
    td_iostream_set_timeout(stream, timeout_ms);
    return rc;
}

/* On a coroutine; with complete options. */
static int
connect_stream(const char *host, uint16_t port, const td_connect_options *options,
               td_iostream **out)
{
    struct await_connection waiting = {.co = td_coroutine_current()};
    td_iostream *stream __attribute__((cleanup(td_iostream_destroy))) = NULL;
    const int64_t deadline_ns = td_deadline_in_ms(options->timeout_ms);
    int rc;

    waiting.connecting = start(host, port, options, await_done, &waiting);
    rc = td_coroutine_wait(await_undo, &waiting);
    if (rc < 0)
        return td_err_set(options->err, rc, "%s", td_strerror(rc));
    stream = td_iostream_create(waiting.fd, options->stream);
    if (options->ssl_options != NULL)
        rc = shake_hands(stream, host, options, deadline_ns);
    if (rc < 0)
        return td_err_set(options->err, rc, "%s", td_iostream_error_text(stream));
    *out = stream;
    stream = NULL;
    return 0;
}

int
td_tcpclient_connect(const char *host, uint16_t port, const td_connect_options *wanted,
                     td_iostream **out)
{
    static const char function[] = "td_tcpclient_connect";
    td_connect_options options;

    if (!td_is_on_coroutine(function))
        return TD_EINVAL;
    if (host == NULL || out == NULL)
        return td_misuse(function, "there is no host, or no place for the stream");
    if (!td_connect_options_read(wanted, &options, function))
        return TD_EINVAL;
    return connect_stream(host, port, &options, out);
}

/* ---- as a future */

struct future_connection {
    td_connecting *connecting;
    td_future *future; /* referenced */
    bool has_stream_options;
    td_iostream_options stream; /* the caller's may be gone by then */
    td_err *err;

    /* With TLS it is a coroutine that waits. */
    td_callback begin;
    td_coroutine_job job;
    td_coroutine *co; /* NULL: it has not begun */
    char *host;
    uint16_t port;
    td_connect_options options;
    td_ssl_options ssl;
    td_iostream *connected; /* NULL: it has failed */
    int error;
};

static void
future_connection_free(struct future_connection *waiting)
{
    td_future_unref(waiting->future);
    free(waiting->host);
    free(waiting);
}

static void
dispose_stream(void *stream)
{
    td_iostream *unwanted = stream;

    td_iostream_destroy(&unwanted);
}

static void
future_done(void *arg, int error, int fd)
{
    struct future_connection *waiting = arg;

    td_future_on_cancel(waiting->future, NULL, NULL);
    if (error == 0)
        td_future_set_owned(
            waiting->future,
            td_iostream_create(fd, waiting->has_stream_options ? &waiting->stream : NULL),
            dispose_stream);
    else
        td_future_set_error(waiting->future,
                            td_err_set(waiting->err, error, "%s", td_strerror(error)));
    future_connection_free(waiting);
}

static void
future_canceled(td_future *future, void *arg)
{
    struct future_connection *waiting = arg;

    (void)future;
    cancel(waiting->connecting);
    future_connection_free(waiting);
}

static void
secure_run(void *arg)
{
    struct future_connection *waiting = arg;

    waiting->co = td_coroutine_current();
    waiting->error =
        connect_stream(waiting->host, waiting->port, &waiting->options, &waiting->connected);
}

static void
secure_ended(void *arg, td_coroutine_end end)
{
    struct future_connection *waiting = arg;

    td_future_on_cancel(waiting->future, NULL, NULL);
    if (waiting->connected != NULL)
        td_future_set_owned(waiting->future, waiting->connected, dispose_stream);
    else
        td_future_set_error(waiting->future,
                            end == TD_COROUTINE_RETURNED ? waiting->error : TD_ECANCELED);
    future_connection_free(waiting);
}

static void
secure_submit(void *arg)
{
    struct future_connection *waiting = arg;

    td_coroutine_submit(&waiting->job);
}

/* The loop ends first. */
static void
secure_dropped(void *arg)
{
    secure_ended(arg, TD_COROUTINE_CANCELED);
}

static void
secure_canceled(td_future *future, void *arg)
{
    struct future_connection *waiting = arg;

    (void)future;
    if (waiting->co != NULL) {
        td_coroutine_cancel(waiting->co);
        return;
    }
    td_callback_cancel(&waiting->begin);
    td_list_remove(&waiting->job.link);
    secure_ended(waiting, TD_COROUTINE_CANCELED);
}

static void
begin_secure(struct future_connection *waiting, const char *host, uint16_t port,
             const td_connect_options *options)
{
    waiting->host = td_xstrdup(host);
    waiting->port = port;
    waiting->options = *options;
    waiting->options.stream = waiting->has_stream_options ? &waiting->stream : NULL;
    td_ssl_options_read(options->ssl_options, &waiting->ssl, "td_tcpclient_connect_future");
    waiting->options.ssl_options = &waiting->ssl;
    waiting->begin =
        (td_callback){.fn = secure_submit, .arg = waiting, .dropped = secure_dropped};
    waiting->job.task =
        (td_coroutine_task){.run = secure_run, .ended = secure_ended, .arg = waiting};
    td_coroutine_inherit(&waiting->job.task);
    td_future_on_cancel(waiting->future, secure_canceled, waiting);
    td_ioloop_post(td_ioloop_current(), &waiting->begin);
}

td_future *
td_tcpclient_connect_future(const char *host, uint16_t port, const td_connect_options *wanted)
{
    static const char function[] = "td_tcpclient_connect_future";
    struct future_connection *waiting;
    td_connect_options options;
    td_future *future;

    if (!td_is_on_loop(function) || !td_connect_options_read(wanted, &options, function))
        return NULL;
    if (host == NULL) {
        td_misuse(function, "there is no host");
        return NULL;
    }
    future = td_future_create();
    waiting = td_xcalloc(1, sizeof(*waiting));
    waiting->future = td_future_ref(future);
    waiting->has_stream_options = options.stream != NULL;
    if (options.stream != NULL)
        memcpy(&waiting->stream, options.stream,
               options.stream->size < sizeof(waiting->stream) ? options.stream->size
                                                              : sizeof(waiting->stream));
    waiting->err = options.err;
    if (options.ssl_options != NULL) {
        begin_secure(waiting, host, port, &options);
        return future;
    }
    waiting->connecting = start(host, port, &options, future_done, waiting);
    td_future_on_cancel(future, future_canceled, waiting);
    return future;
}
