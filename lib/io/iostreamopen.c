/* How a td_iostream comes to be usable: it is connected, and hands are shaken for TLS. */
#include "io/iostream_internal.h"

#include <errno.h>
#include <sys/socket.h>
#include "io/call.h"
#include "io/tls.h"
#include "io/transport_tls.h"

/* Until it is open, or has failed, also for taking too long. */
static int
await_opening(td_iostream *stream)
{
    const int rc = td_iostream_wait(stream, &stream->connectors);

    if (rc == TD_ETIMEDOUT)
        td_iostream_close_with(stream, rc);
    return rc;
}

void
td_iostream_end_connect(td_iostream *stream)
{
    int error = 0;
    socklen_t len = sizeof(error);

    getsockopt(td_iostream_fd(stream), SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        td_iostream_close_with(stream, -error);
        return;
    }
    stream->is_connecting = false;
    td_waiters_release_all(&stream->connectors, 0);
}

int
td_iostream_connect(td_iostream *stream, const struct sockaddr *address, socklen_t len)
{
    if (!td_waiters_may_wait(stream, 0, "td_iostream_connect"))
        return TD_EINVAL;
    if (address == NULL || stream->is_connecting)
        return td_misuse("td_iostream_connect", "no address, or it is being connected");
    if (stream->is_closed)
        return td_iostream_closed_code(stream);
    if (connect(td_iostream_fd(stream), address, len) == 0)
        return 0;
    if (errno != EINPROGRESS) {
        td_iostream_close_with(stream, -errno);
        return stream->error;
    }
    stream->is_connecting = true;
    td_iostream_watch(stream);
    return await_opening(stream);
}

/* ---- TLS */

bool
td_iostream_go_on_shaking(td_iostream *stream)
{
    const int rc = td_transport_handshake(&stream->transport);

    if (rc == -EAGAIN)
        return false;
    if (rc < 0) {
        td_iostream_close_with(stream, rc);
        return false;
    }
    stream->is_shaking = false;
    td_waiters_release_all(&stream->connectors, 0);
    td_iostream_send_out(stream); /* written meanwhile */
    return !stream->is_closed;
}

static bool
is_idle(const td_iostream *stream)
{
    return !td_iostream_is_opening(stream) && !td_iostream_is_reading(stream) &&
           stream->out.len == 0 && !stream->ends_behind_out &&
           td_transport_tls(&stream->transport) == NULL;
}

/* The SSL for it, or the stream is closed. */
static int
prepare_tls(td_iostream *stream, const td_ssl_options *options, SSL **out)
{
    td_err err;
    int rc = stream->in.len > 0 ? td_err_set(&err, TD_EBADMSG, "bytes came before the handshake")
                                : td_tls_connect(options, NULL, td_iostream_fd(stream), out, &err);

    if (rc < 0) {
        td_iostream_close_with(stream, rc);
        td_iostream_set_error_text(stream, err.text);
    }
    return rc;
}

int
td_iostream_start_tls(td_iostream *stream, const td_ssl_options *wanted)
{
    static const char function[] = "td_iostream_start_tls";
    td_ssl_options options;
    SSL *ssl;
    int rc;

    if (!td_waiters_may_wait(stream, 0, function) ||
        !td_ssl_options_read(wanted, &options, function))
        return TD_EINVAL;
    if (stream->is_closed)
        return td_iostream_closed_code(stream);
    if (!is_idle(stream))
        return td_misuse(function, "the stream is being read, written or connected, or has TLS");
    rc = prepare_tls(stream, &options, &ssl);
    if (rc < 0)
        return rc;
    td_transport_start_tls(&stream->transport, stream->loop, ssl);
    stream->is_shaking = true;
    td_iostream_go_on_shaking(stream);
    td_iostream_watch(stream);
    if (stream->is_shaking)
        return await_opening(stream);
    return stream->is_closed ? td_iostream_closed_code(stream) : 0;
}
