/*
 * What a trusted proxy says about its client in the headers of a request (Tornado's xheaders):
 * address and scheme.  Which headers are looked at is the listener's setting `xheaders`, and they
 * are never mixed with others: a client may send those that the proxy does not touch.
 */
#ifndef TORNADO_HTTP_XHEADERS_H
#define TORNADO_HTTP_XHEADERS_H

#include "base/settings.h"
#include "http/request.h"

/*
 * The peer of the request is in trusted_downstream.  It becomes the nearest address behind the
 * trusted ones, or stays where the headers do not say, or say nonsense; and https what they say of
 * it.  The result depends on the head and the peer alone.  Host is not touched.
 */
void td_xheaders_apply(const td_listener_settings *settings, td_request *request);

#endif
