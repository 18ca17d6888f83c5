/* TLS over the socket of a td_transport (RFC 8446, RFC 5246), by OpenSSL. */
#ifndef TORNADO_IO_TRANSPORT_TLS_H
#define TORNADO_IO_TRANSPORT_TLS_H

#include <openssl/types.h>
#include "io/transport.h"

#pragma GCC visibility push(hidden)

/*
 * The plain transport speaks TLS from now on.  Takes ssl over, whose side (connect or accept) is
 * set and which was made by tls.h.  Nothing is watched until td_transport_watch.
 *
 * The first reads and writes do the handshake on their way; td_transport_handshake does that alone.
 * While anything says -EAGAIN, watching for its direction is right, whatever TLS needs of the
 * socket. The end of the other side is a read of 0 only if it has said so (close_notify): without
 * it TD_ETRUNCATED, for somebody may have cut off what it was sending.
 */
void td_transport_start_tls(td_transport *t, td_ioloop *loop, SSL *ssl);

/* 0, or -EAGAIN: watch for TD_READABLE; or TD_ECERTIFICATE, TD_ETLS, TD_ECLOSED, -errno. */
int td_transport_handshake(td_transport *t);

/* What OpenSSL has to say about the last failure, a constant; NULL: nothing. */
const char *td_transport_reason(const td_transport *t);

#pragma GCC visibility pop

#endif
