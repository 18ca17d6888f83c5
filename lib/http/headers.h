/*
 * td_headers: field lines in the order in which they came or were set (Tornado's HTTPHeaders).
 *
 * Names compare without regard to ASCII case.  Strings are borrowed: of a request they point into
 * its head, of a response into its arena.
 */
#ifndef TORNADO_HTTP_HEADERS_H
#define TORNADO_HTTP_HEADERS_H

#include <stdbool.h>
#include <stddef.h>
#include <tornado/abi.h>
#include <tornado/str.h>
#include "base/arena.h"

typedef struct td_header {
    td_str name, value;
} td_header;

typedef struct td_headers {
    td_header *items;
    size_t count, size; /* in use, room */
} td_headers;

/* The first line of that name; NULL: none. */
TD_PRIVATE const td_header *td_headers_find(const td_headers *headers, td_str name);

/* The next line of the same name after `previous`; NULL: none. */
TD_PRIVATE const td_header *td_headers_next(const td_headers *headers, const td_header *previous);

/* All values of that name joined with ", " (one is returned as it is); the null string: none. */
TD_PRIVATE td_str td_headers_get(const td_headers *headers, td_arena *arena, td_str name);

/* Append a line; strings are borrowed. */
TD_PRIVATE void td_headers_add(td_headers *headers, td_arena *arena, td_str name, td_str value);

/* Replace all lines of that name by one, in the place of the first. */
TD_PRIVATE void td_headers_set(td_headers *headers, td_arena *arena, td_str name, td_str value);
TD_PRIVATE bool td_headers_remove(td_headers *headers, td_str name);

TD_PRIVATE bool td_is_token(td_str s); /* RFC 9110 section 5.6.2, at least one byte */
TD_PRIVATE bool td_is_field_value(td_str s); /* no control byte but HTAB */

/* True when a comma list (RFC 9110 section 5.6.1) has that token, without regard to case. */
TD_PRIVATE bool td_list_has_token(td_str list, td_str token);

/* The registered reason phrase; "Unknown" for a code that has none. */
TD_PRIVATE td_str td_reason_phrase(int status);

#endif
