/* http and https URIs, taken apart, and references to them (RFC 3986). */
#ifndef TORNADO_HTTP_URI_H
#define TORNADO_HTTP_URI_H

#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"

typedef struct td_uri { /* strings are in the text that was parsed, or constants */
    bool is_https;
    td_str user_info; /* "user:password", percent-encoded; the null string: none */
    td_str authority; /* host and port as they are told */
    td_str host;      /* without the port; "[::1]" keeps its brackets */
    uint16_t port;    /* the scheme's when it is not told */
    td_str path;      /* "/" when it is empty */
    td_str query;     /* without the '?'; the null string: none */
} td_uri;

/*
 * False: it is neither http nor https, or has a byte in it that no URI has.  A fragment is dropped.
 */
TD_PRIVATE bool td_uri_parse(td_str text, td_uri *out);

/*
 * What a reference (a Location) means beside `base`: an absolute URI in the arena; bytes that no
 * URI has are percent-encoded.  The null string: it is neither http nor https.
 */
TD_PRIVATE td_str td_uri_join(td_arena *arena, const td_uri *base, td_str reference);

/* The same scheme, host and port. */
TD_PRIVATE bool td_uri_same_origin(const td_uri *a, const td_uri *b);

#endif
