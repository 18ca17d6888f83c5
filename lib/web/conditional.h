/*
 * Conditional requests and ranges (RFC 9110 sections 13 and 14), of header values alone.
 */
#ifndef TORNADO_WEB_CONDITIONAL_H
#define TORNADO_WEB_CONDITIONAL_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <tornado/abi.h>
#include <tornado/str.h>
#include "http/request.h"

/*
 * True when a list of entity tags begins with `*` or names `etag`, or that with a coding behind it:
 * "x-gzip" is "x", compressed.  weakly: W/ makes no difference (If-None-Match); else a weak tag
 * matches nothing (If-Match).
 */
TD_PRIVATE bool td_etag_is_in(td_str etag, td_str list, bool weakly);

/*
 * The one that is named so, without W/, where td_etag_is_in(etag, list, true); the null string:
 * `*`.
 */
TD_PRIVATE td_str td_etag_known(td_str etag, td_str list);

/* A piece of a body. */
typedef struct td_byte_range {
    uint64_t first, length;
} td_byte_range;

#define TD_RANGES_MAX 64

/* Pieces in the order in which they were asked for; those that overlap or adjoin are one. */
typedef struct td_byte_ranges {
    size_t count;
    bool too_many; /* more were asked for than are allowed, so all of it is sent */
    td_byte_range items[TD_RANGES_MAX];
} td_byte_ranges;

/*
 * What a Range of that value means for `size` bytes: 206 and one piece or several; 416: there is no
 * such piece; or 200: it is not to be understood, it is all of them, or it has more than ranges_max
 * (1..TD_RANGES_MAX) elements, after which nothing is read.
 */
TD_PRIVATE int td_ranges_parse(td_str value, uint64_t size, size_t ranges_max, td_byte_ranges *out);

/* What tells one version of a file from another. */
typedef struct td_validators {
    td_str etag;     /* strong */
    time_t modified; /* Last-Modified */
    uint64_t size;   /* bytes */
} td_validators;

/* True when there is a precondition or a range among them, perhaps; false: surely not. */
TD_PRIVATE bool td_is_conditional(const td_headers *headers);

/*
 * The status of the answer to a GET or HEAD that has such a file: 200, 206 (and the pieces), 304,
 * 412 or 416, in the order of RFC 9110 section 13.2.2.
 */
TD_PRIVATE int td_conditional_status(td_request *request, const td_validators *validators,
                                     size_t ranges_max, td_byte_ranges *ranges_out);

/*
 * The same for something that may not be there (etag: the null string) and may have no date
 * (modified: -1): 200, 304 or 412.
 */
TD_PRIVATE int td_precondition_status(td_request *request, td_str etag, time_t modified);

#endif
