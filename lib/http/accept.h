/*
 * What a client says that it would like: Accept, Accept-Encoding and Accept-Language (RFC 9110
 * sections 12.4 and 12.5).
 *
 * Qualities are thousandths, 0..1000; 0: not to be sent.  An element that is not well-formed is as
 * if it was not there; what stands there twice counts the first time.  Time is linear in the value.
 */
#ifndef TORNADO_HTTP_ACCEPT_H
#define TORNADO_HTTP_ACCEPT_H

#include <stdbool.h>
#include <tornado/abi.h>
#include <tornado/str.h>

#define TD_QUALITY_MAX 1000

/* Content codings that we know; of those that a client likes equally the first is preferred. */
typedef enum td_coding {
    TD_CODING_ZSTD,
    TD_CODING_BR,
    TD_CODING_GZIP,
    TD_CODING_IDENTITY, /* none */
} td_coding;

#define TD_CODINGS_COUNT 4
#define TD_CODING_BIT(coding) (1u << (coding))

TD_PRIVATE td_str td_coding_name(td_coding coding); /* "zstd", "br", "gzip", "identity" */

/*
 * The coding that an Accept-Encoding of that value likes most of those in `offered`
 * (TD_CODING_BITs; identity is always offered).  The null string: the request has none, which gives
 * identity, and so does one that likes nothing: an answer that cannot be decoded helps nobody.
 */
TD_PRIVATE td_coding td_accept_coding(td_str accept_encoding, unsigned offered);

/* The quality of a media type, "text/html"; of a request without Accept (the null string): 1000. */
TD_PRIVATE int td_accept_media(td_str accept, td_str type);

/*
 * The quality of a language, "pt-BR": that of the range that names it, else of the longest that it
 * is part of (pt; RFC 4647 section 3.3.1), else the best of those that are part of it (pt-BR-x;
 * section 3.4), else of the asterisk.  Of a request without Accept-Language: 1000.
 */
TD_PRIVATE int td_accept_language(td_str accept_language, td_str tag);

/*
 * It stands there by its own name, so the client is one that asks for it; wildcards do not count.
 */
TD_PRIVATE bool td_accept_names(td_str accept, td_str type);

#endif
