/* Where a request leads at an upstream. */
#ifndef GATEWAY_TARGET_H
#define GATEWAY_TARGET_H

#include "relay.h"

/*
 * True when a segment is "..", which leads an upstream that resolves it out of the mount (RFC 3986
 * section 6.2.2.3: clients do that before they ask).
 */
bool target_climbs(td_str path);

/* The URL of the request at relay->upstream; its path is passed as it came. */
const char *target_url(const struct relay *relay);

/* A setting: 0, or an error that names it. */
int target_check_prefix(const char *key, const char *prefix, td_err *err);

#endif
