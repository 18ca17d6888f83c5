/*
 * Which request this is, for logs here and elsewhere: an id, and the trace that it is part of.
 * Both stand in access lines (access_format and json in [log]), the id in the error lines of the
 * request, too.
 */
#ifndef TORNADO_TRACING_H
#define TORNADO_TRACING_H

#include <stdbool.h>
#include <tornado/abi.h>
#include <tornado/handler.h>
#include <tornado/str.h>

/*
 * The id of the request, which the middleware request_id or td_set_request_id has given it; the
 * null string: it has none.
 */
TD_API td_str td_request_id(td_handler *h);

/*
 * Copied; 1 to 128 bytes of letters, digits and -._~+/=:@, so that no log has to quote it, or
 * TD_EINVAL.  Not logged: a client may have sent it.
 */
TD_API int td_set_request_id(td_handler *h, const char *id);

/*
 * Whether the request came over a connection from a proxy that the listener trusts
 * (trusted_downstream), so that its headers may be believed as far as the proxy sets them.  False
 * when the client has gone.
 */
TD_API bool td_is_from_proxy(td_handler *h);

/*
 * The header traceparent (W3C Trace Context) as it came; the null string: there is none, or it is
 * not valid.  td_fetch and its kin send it and tracestate on, unless they are given headers of that
 * name: this daemon is part of nobody's trace but does not break it.
 */
TD_API td_str td_traceparent(td_handler *h);

#endif
