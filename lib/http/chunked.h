/*
 * The chunked transfer coding (RFC 9112 section 7.1), decoded.
 *
 *   chunked-body = *chunk last-chunk trailer-section CRLF
 *   chunk        = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
 *   chunk-size   = 1*HEXDIG, at most 16 here
 *
 * Extensions and trailers are bounded and dropped.  A decoder takes any split of its input, and
 * what it says does not depend on the split.
 */
#ifndef TORNADO_HTTP_CHUNKED_H
#define TORNADO_HTTP_CHUNKED_H

#include <stdbool.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tornado/abi.h>
#include <tornado/str.h>

typedef struct td_chunked_limits {
    uint64_t body_max;         /* bytes of all chunks; past it TD_ETOOBIG and status 413 */
    uint32_t trailer_size_max; /* bytes of all lines; past it TD_ETOOBIG and status 431 */
    uint32_t trailers_max;     /* lines; past it TD_ETOOBIG and status 431 */
    bool are_settings;         /* of the same name (max_body_size): errors tell it */
} td_chunked_limits;

#define TD_CHUNK_EXTENSION_MAX 256          /* bytes a line; past it TD_EBADMSG and status 400 */
#define TD_CHUNK_EXTENSIONS_MAX (16 * 1024) /* bytes a body; past it the same */

/* Zeroed memory is the start. */
typedef struct td_chunked {
    uint64_t chunk_left;             /* bytes of the chunk being read */
    uint64_t body;                   /* bytes promised by all chunk sizes so far */
    uint32_t extension, extensions;  /* bytes of this line's, of all */
    uint32_t trailer_size, trailers; /* bytes, lines */
    uint8_t state;                   /* the decoder's own */
    uint8_t digits;                  /* of the chunk size being read */
    int status;                      /* after an error: what to answer */
    const char *what;                /* after an error: constant */
} td_chunked;

/*
 * Look at the next len > 0 bytes.  Returns how many were taken (1..len; call again with the rest),
 * with *data_out being body bytes among them (maybe empty) and *end_out true when the body is
 * complete; or TD_EBADMSG or TD_ETOOBIG, with decoder->status and ->what.  Not to be called again
 * after the end or an error.
 */
TD_PRIVATE ssize_t td_chunked_decode(td_chunked *decoder, const td_chunked_limits *limits,
                                     const char *bytes, size_t len, td_str *data_out,
                                     bool *end_out);

/*
 * The last n bytes of the data that the last call gave were not taken: they are going to come
 * again.
 */
TD_PRIVATE void td_chunked_untake(td_chunked *decoder, size_t n);

#endif
