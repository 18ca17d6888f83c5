/*
 * The PROXY header in front of the requests of a connection.  Until it has come, this is where the
 * connection's events go; then the peer is whom it names, and nothing here is called again.  So a
 * listener without proxy_protocol pays nothing.
 *
 * header_timeout runs from the accept, as for a head whose first byte has come: a proxy has no
 * reason to wait.  There is no answer to a header that is none: who knows what its sender speaks.
 */
#include <errno.h>
#include "base/clock.h"
#include "base/log.h"
#include "http/http1_internal.h"
#include "http/proxyprotocol.h"

void
td_http1_refuse_proxy(const td_http1connection *conn, const char *why)
{
    static td_log_gate gate;
    char peer[TD_PEER_TEXT_SIZE];

    td_count_reason(400, "proxy_protocol");
    td_peer_format(&conn->peer, peer);
    td_log_gated(&gate, TD_LOG_WARNING, "http", "PROXY protocol from %s: %s; closed", peer, why);
}

/* More bytes into conn->in; false: there are none, and the connection is watched or closed. */
static bool
receive(td_http1connection *conn)
{
    char bytes[4096];
    const ssize_t n = conn->transport.ops->read(&conn->transport, bytes, sizeof(bytes));

    if (n > 0) {
        td_buf_append(&conn->in, td_str_make(bytes, (size_t)n));
        return true;
    }
    if (n == -EAGAIN)
        td_transport_watch(&conn->transport, conn->context->loop, TD_READABLE);
    else
        td_http1_close(conn); /* as a proxy does that only looks whether we are there */
    return false;
}

static void
introduce(td_http1connection *conn, const td_proxy_header *header)
{
    if (header->has_peer) {
        conn->peer = header->peer;
        conn->https |= header->https; /* version 1 has no word for it */
    }
    td_http1_introduce(conn);
    if (conn->context->introduced(conn, td_transport_fd(&conn->transport))) {
        td_http1_begin(conn);
        return;
    }
    conn->introduced = false; /* and so it does not count when it is closed */
    td_http1_close(conn);
}

static void
on_event(td_transport *transport, int events)
{
    td_http1connection *conn = TD_CONTAINER_OF(transport, td_http1connection, transport);
    td_proxy_header header;
    const char *why;
    ssize_t n;

    (void)events;
    if (!receive(conn))
        return;
    n = td_proxy_parse(td_buf_str(&conn->in).ptr, conn->in.len, conn->context->head_limits.size_max,
                       &header, &why);
    if (n < 0) {
        td_http1_refuse_proxy(conn, why);
        td_http1_close(conn);
    } else if (n == 0) {
        td_transport_watch(&conn->transport, conn->context->loop, TD_READABLE);
    } else {
        td_buf_consume(&conn->in, (size_t)n);
        introduce(conn, &header);
    }
}

void
td_http1_expect_proxy(td_http1connection *conn)
{
    conn->transport.on_event = on_event;
    td_deadline_start(&conn->context->heads, &conn->deadline, td_now_ns());
    on_event(&conn->transport, TD_READABLE);
}
