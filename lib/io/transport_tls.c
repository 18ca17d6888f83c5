/*
 * The TLS transport.
 *
 * TLS may need to read in order to write and the other way round, so what the layers above watch
 * for (`wanted`) and what the socket is watched for are two things: each direction has its need,
 * which the last attempt told.  OpenSSL may also hold bytes that the socket does not know of any
 * more; as long as the last read did not come back for want of bytes (`is_dry`) the layers above
 * are called once an iteration without an event of the socket.
 *
 * After a failure the SSL object must not be used again: it is remembered, and every attempt says
 * it.  A socket that takes no more is no such failure for reading.
 */
#include "io/transport_tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <tornado/error.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/assert.h"
#include "base/budget.h"
#include "base/clock.h"
#include "base/counters.h"
#include "io/tls.h"

#define TLS_MEMORY ((size_t)40 * 1024) /* of OpenSSL for a connection, a record each way included */
#define RECORD_MAX ((size_t)16 * 1024) /* RFC 8446 section 5.1: 2^14 */

struct td_tls {
    SSL *ssl;
    td_transport *transport;
    int wanted;                  /* by the layers above: TD_READABLE, TD_WRITABLE */
    int read_needs, write_needs; /* the same, of the socket */
    bool is_dry;
    bool has_notified; /* of the end of what we send */
    td_callback again;
    int error;          /* 0: it works */
    int write_error;    /* of the socket; what has come before it may say more, and can be read still */
    const char *reason; /* of the error; NULL: its number says it all */
    int64_t begun_ns;   /* its handshake; 0: that has succeeded, and was counted */
};

/* ---- how an attempt went */

static int
failure_of(td_tls *tls, int system_error)
{
    const unsigned long code = ERR_peek_error();

    if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
        ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return TD_ETRUNCATED;
    if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
        ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        tls->reason = X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl));
        return TD_ECERTIFICATE;
    }
    if (code != 0 && !ERR_SYSTEM_ERROR(code)) {
        tls->reason = ERR_reason_error_string(code);
        return TD_ETLS;
    }
    return system_error != 0 ? -system_error : TD_ETRUNCATED;
}

/*
 * What a call of OpenSSL that gave `result` means; -EAGAIN: when the socket has what *needs says.
 */
static int
explain(td_tls *tls, int result, int *needs)
{
    const int system_error = errno;

    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        *needs = TD_READABLE;
        return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        *needs = TD_WRITABLE;
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        tls->error = failure_of(tls, system_error);
        return tls->error;
    }
}

/*
 * The same of one that sends: a socket that takes no more can still be read.  OpenSSL calls that the
 * end of the other side, if it has heard of one.
 */
static int
explain_write(td_tls *tls, int result)
{
    const int system_error = errno;
    int rc = explain(tls, result, &tls->write_needs);

    if (rc == 0)
        rc = system_error != 0 ? -system_error : TD_ECLOSED;
    if (rc == -ECONNRESET || rc == -EPIPE) {
        tls->write_error = rc;
        tls->error = 0;
    }
    return rc;
}

/* In front of each call: what others left behind would be taken for what it says. */
static void
begin_call(void)
{
    ERR_clear_error();
    errno = 0;
}

static void
count_success(td_tls *tls)
{
    if (tls->begun_ns == 0)
        return;
    td_counters->tls_handshakes[SSL_session_reused(tls->ssl) ? TD_HANDSHAKE_RESUMED
                                                             : TD_HANDSHAKE_FULL]++;
    td_counters->tls_handshake_ns += (uint64_t)(td_clock_ns() - tls->begun_ns);
    tls->begun_ns = 0;
}

int
td_transport_handshake(td_transport *t)
{
    td_tls *tls = td_transport_tls(t);
    int result;

    if (tls->error != 0)
        return tls->error;
    begin_call();
    result = SSL_do_handshake(tls->ssl);
    if (result == 1) {
        tls->is_dry = false; /* what came behind it may have been read along */
        count_success(tls);
        return 0;
    }

    const int rc = explain(tls, result, &tls->read_needs);

    return rc == 0 || rc == TD_ETRUNCATED ? TD_ECLOSED : rc;
}

const char *
td_transport_reason(const td_transport *t)
{
    return td_transport_tls(t) != NULL ? td_transport_tls(t)->reason : NULL;
}

/* ---- the attempts */

static ssize_t
tls_read(td_transport *t, void *to, size_t size)
{
    td_tls *tls = td_transport_tls(t);
    size_t done = 0;

    if (tls->error != 0)
        return tls->error;
    tls->is_dry = false;
    while (done < size) {
        size_t n;
        int result;

        begin_call();
        result = SSL_read_ex(tls->ssl, (char *)to + done, size - done, &n);
        if (result != 1) {
            const int rc = explain(tls, result, &tls->read_needs);

            tls->is_dry = rc == -EAGAIN;
            return done > 0 ? (ssize_t)done : rc;
        }
        done += n;
    }
    return (ssize_t)done;
}

/* As much as TLS takes; -EAGAIN when that is nothing. */
static ssize_t
write_bytes(td_tls *tls, const char *bytes, size_t size)
{
    size_t done = 0;

    if (tls->error != 0 || tls->write_error != 0)
        return tls->error != 0 ? tls->error : tls->write_error;
    while (done < size) {
        size_t n;
        int result;

        begin_call();
        result = SSL_write_ex(tls->ssl, bytes + done, size - done, &n);
        if (result != 1) {
            const int rc = explain_write(tls, result);

            return done > 0 ? (ssize_t)done : rc;
        }
        done += n;
    }
    return (ssize_t)done;
}

/* Small parts share a record: the first bytes of all of them.  How many. */
static size_t
gather(char *record, const struct iovec *parts, int count)
{
    size_t len = 0;

    for (int i = 0; i < count && len < RECORD_MAX; i++) {
        const size_t n = parts[i].iov_len < RECORD_MAX - len ? parts[i].iov_len : RECORD_MAX - len;

        memcpy(record + len, parts[i].iov_base, n);
        len += n;
    }
    return len;
}

/* So many bytes off the front of the parts, of which there are that many then. */
static int
skip(struct iovec *parts, int count, size_t n)
{
    int first = 0;

    while (first < count && n >= parts[first].iov_len)
        n -= parts[first++].iov_len;
    memmove(parts, parts + first, (size_t)(count - first) * sizeof(*parts));
    if (first < count) {
        parts->iov_base = (char *)parts->iov_base + n;
        parts->iov_len -= n;
    }
    return count - first;
}

static ssize_t
write_parts(td_tls *tls, struct iovec *parts, int count)
{
    char record[RECORD_MAX];
    size_t done = 0;

    while (count > 0) {
        const size_t len = gather(record, parts, count);
        const ssize_t n = write_bytes(tls, record, len);

        if (n < 0)
            return done > 0 ? (ssize_t)done : n;
        done += (size_t)n;
        if ((size_t)n < len)
            return (ssize_t)done;
        count = skip(parts, count, (size_t)n);
    }
    return (ssize_t)done;
}

#define PARTS_MAX 16 /* taken at once; what is beyond has its turn at the next attempt */

static ssize_t
tls_writev(td_transport *t, const struct iovec *parts, int count, bool more)
{
    struct iovec left[PARTS_MAX];
    const int taken = count < PARTS_MAX ? count : PARTS_MAX;

    (void)more; /* a record is what leaves together */
    if (count == 1)
        return write_bytes(td_transport_tls(t), parts->iov_base, parts->iov_len);
    memcpy(left, parts, (size_t)taken * sizeof(*left));
    return write_parts(td_transport_tls(t), left, taken);
}

static ssize_t
tls_sendfile(td_transport *t, int fd, off_t offset, size_t size)
{
    char record[RECORD_MAX];
    size_t done = 0;

    while (done < size) {
        const size_t wanted = size - done < RECORD_MAX ? size - done : RECORD_MAX;
        const ssize_t len = pread(fd, record, wanted, offset + (off_t)done);
        ssize_t n;

        if (len <= 0)
            return done > 0 ? (ssize_t)done : len < 0 ? -errno : 0;
        n = write_bytes(td_transport_tls(t), record, (size_t)len);
        if (n < 0)
            return done > 0 ? (ssize_t)done : n;
        done += (size_t)n;
        if (n < len)
            break;
    }
    return (ssize_t)done;
}

/* Records are full as it is. */
static void
tls_cork(td_transport *t, bool on)
{
    (void)t, (void)on;
}

/*
 * RFC 8446 section 6.1: "MUST send a close_notify alert before closing its write side of the
 * connection"; once, for SSL_shutdown waits for that of the other side the second time.  -EAGAIN:
 * the socket does not take it now.
 */
static int
notify_of_end(td_tls *tls)
{
    int result;

    if (tls->has_notified || tls->error != 0 || tls->write_error != 0 ||
        !SSL_is_init_finished(tls->ssl))
        return 0;
    begin_call();
    result = SSL_shutdown(tls->ssl);
    tls->has_notified = result >= 0;
    return result >= 0 ? 0 : explain_write(tls, result);
}

static int
tls_shutdown(td_transport *t)
{
    if (notify_of_end(td_transport_tls(t)) == -EAGAIN)
        return -EAGAIN;
    shutdown(t->watcher.fd, SHUT_WR);
    return 0;
}

static void
tls_close(td_transport *t)
{
    td_tls *tls = td_transport_tls(t);

    td_callback_cancel(&tls->again);
    if (tls->begun_ns != 0) /* not SSL_is_init_finished: no failure leaves it so */
        td_counters->tls_handshakes[TD_HANDSHAKE_FAILED]++;
    notify_of_end(tls);
    td_tls_free(tls->ssl);
    td_budget_give(TD_BUDGET_BUFFERS, TLS_MEMORY);
    free(tls);
    t->watcher.data = NULL;
    close(t->watcher.fd);
}

static const td_transport_ops tls_ops = {
    .read = tls_read,
    .writev = tls_writev,
    .sendfile = tls_sendfile,
    .cork = tls_cork,
    .shutdown = tls_shutdown,
    .close = tls_close,
    .reads_all = true,
};

/* ---- events */

/* The directions that are wanted and can go on with these events of the socket. */
static int
meaning_of(const td_tls *tls, int events)
{
    int meaning = 0;

    if ((tls->wanted & TD_READABLE) && (events & tls->read_needs))
        meaning |= TD_READABLE;
    if ((tls->wanted & TD_WRITABLE) && (events & tls->write_needs))
        meaning |= TD_WRITABLE;
    return meaning;
}

static void
on_ready(struct ev_loop *ev, ev_io *watcher, int events)
{
    td_transport *t = TD_CONTAINER_OF(watcher, td_transport, watcher);
    const int meaning = meaning_of(td_transport_tls(t), events);

    if (TD_UNLIKELY(events & EV_ERROR))
        td_transport_lost(ev, t);
    if (meaning != 0)
        t->on_event(t, meaning);
}

static void
on_again(void *arg)
{
    td_tls *tls = arg;

    tls->transport->on_event(tls->transport, TD_READABLE);
}

void
td_tls_watch(td_transport *t, td_ioloop *loop, int events)
{
    td_tls *tls = td_transport_tls(t);
    const int needs = ((events & TD_READABLE) ? tls->read_needs : 0) |
                      ((events & TD_WRITABLE) ? tls->write_needs : 0);

    tls->wanted = events;
    if ((events & TD_READABLE) && !tls->is_dry)
        td_ioloop_post(loop, &tls->again);
    else
        td_callback_cancel(&tls->again);
    if (needs == (ev_is_active(&t->watcher) ? t->watcher.events & (EV_READ | EV_WRITE) : 0))
        return;
    ev_io_stop(td_ioloop_ev(loop), &t->watcher);
    if (needs == 0)
        return;
    ev_io_modify(&t->watcher, needs);
    ev_io_start(td_ioloop_ev(loop), &t->watcher);
}

int
td_tls_watched(const td_transport *t)
{
    return td_transport_tls(t)->wanted;
}

void
td_tls_move(td_transport *to, td_transport *from)
{
    td_tls *tls = td_transport_tls(from);

    td_callback_cancel(&tls->again);
    tls->wanted = 0;
    tls->transport = to;
    from->watcher.data = NULL;
    to->watcher.data = tls;
    ev_set_cb(&to->watcher, on_ready);
}

void
td_transport_start_tls(td_transport *t, td_ioloop *loop, SSL *ssl)
{
    td_tls *tls = td_xcalloc(1, sizeof(*tls));

    td_budget_note(TD_BUDGET_BUFFERS, TLS_MEMORY);
    td_transport_watch(t, loop, 0);
    tls->ssl = ssl;
    tls->transport = t;
    tls->begun_ns = td_clock_ns();
    tls->read_needs = TD_READABLE;
    tls->write_needs = TD_WRITABLE;
    tls->is_dry = true; /* all that there is lies in the socket */
    tls->again = (td_callback){.fn = on_again, .arg = tls};
    t->ops = &tls_ops;
    t->watcher.data = tls;
    ev_set_cb(&t->watcher, on_ready);
}
