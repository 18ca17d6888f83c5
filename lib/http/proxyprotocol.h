/*
 * The PROXY protocol, versions 1 and 2 (haproxy's doc/proxy-protocol.txt): the header in front of
 * the first byte of a connection in which a proxy says who has connected to it.
 *
 * Nothing here reads or waits.  The parser takes any split of its input.
 */
#ifndef TORNADO_HTTP_PROXYPROTOCOL_H
#define TORNADO_HTTP_PROXYPROTOCOL_H

#include <sys/types.h>
#include "http/request.h"

#define TD_PROXY_V1_MAX 107 /* bytes of a line, CRLF included: section 2.1 */

typedef struct td_proxy_header {
    td_peer peer;
    bool has_peer; /* false: LOCAL, UNKNOWN or UNSPEC; the connection is the proxy's own */
    bool https;    /* the client has connected by TLS (PP2_TYPE_SSL) */
} td_proxy_header;

/*
 * Look at the first len bytes of a connection.  Returns the length of the header (> 0; *out is
 * filled in), 0 when more is needed, or TD_EBADMSG with *why_out, a constant, as soon as the bytes
 * show that it is none.
 *
 * size_max   most bytes of a header of version 2, its addresses and TLVs included.
 */
ssize_t td_proxy_parse(const char *bytes, size_t len, size_t size_max, td_proxy_header *out,
                       const char **why_out);

#endif
