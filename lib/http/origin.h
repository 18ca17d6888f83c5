/*
 * Where a request goes, and the way there: name and connection, a proxy's tunnel (RFC 9110 section
 * 9.3.6), TLS.
 */
#ifndef TORNADO_HTTP_ORIGIN_H
#define TORNADO_HTTP_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>
#include <tornado/error.h>
#include <tornado/httpclient.h>
#include <tornado/iostream.h>
#include <tornado/ssl.h>
#include "base/arena.h"

#pragma GCC visibility push(hidden)

typedef struct td_origin {
    bool is_https;
    td_str host;      /* "[::1]" keeps its brackets */
    td_str authority; /* host and port, which may be left out where it is the scheme's */
    uint16_t port;
    const char *unix_socket;    /* NULL: it is at host and port */
    const char *source_address; /* NULL: any */
    int family;                 /* 0: any */
    const char *proxy_host;     /* NULL: none */
    uint16_t proxy_port;
    const char *proxy_username, *proxy_password; /* NULL: none */
    td_ssl_options ssl;                          /* of https; complete */
} td_origin;

/* The same for all origins that one connection serves. */
td_str td_origin_key(td_arena *arena, const td_origin *origin);

/* A proxy is told the whole URL (absolute-form, RFC 9112 section 3.2.2). */
static inline bool
td_origin_is_relayed(const td_origin *origin)
{
    return origin->proxy_host != NULL && !origin->is_https;
}

/* "Basic ..." (RFC 7617) of "user:password". */
td_str td_basic_credentials(td_arena *arena, td_str pair);
td_str td_origin_proxy_credentials(td_arena *arena, const td_origin *origin); /* null string: none */

/*
 * Wait for a connection, until then (INT64_MAX: for ever).  0 and a stream of the caller's, or why
 * not and a text; *phase is where it ended: TD_FETCH_CONNECT, _PROXY or _TLS.
 */
int td_origin_connect(const td_origin *origin, td_arena *arena, int64_t deadline_ns,
                      td_fetch_phase *phase, td_iostream **out, td_err *err);

#pragma GCC visibility pop

#endif
