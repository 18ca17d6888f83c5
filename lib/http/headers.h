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
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/str.h>
#include "base/arena.h"

typedef struct td_header {
    td_str name, value;
} td_header;

#define TD_HEADERS_FIRST 16 /* lines to make room for at first: what browsers send */

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

/* Empty, with room for the lines that most messages have.  Zeroed memory will do, too. */
static inline void
td_headers_init(td_headers *headers, td_arena *arena)
{
    headers->items = (td_header *)td_arena_alloc_raw(arena, TD_HEADERS_FIRST * sizeof(td_header));
    headers->count = 0;
    headers->size = TD_HEADERS_FIRST;
}

/* Room for one more line at the end, for the caller to fill in at once. */
TD_PRIVATE void td_headers_grow(td_headers *headers, td_arena *arena);
static inline td_header *
td_headers_append(td_headers *headers, td_arena *arena)
{
    if (__builtin_expect(headers->count == headers->size, 0))
        td_headers_grow(headers, arena);
    return &headers->items[headers->count++];
}

/* Append a line; strings are borrowed. */
TD_PRIVATE void td_headers_add(td_headers *headers, td_arena *arena, td_str name, td_str value);

/* The first line of that name, and the others are dropped; NULL: there is none. */
TD_PRIVATE td_header *td_headers_only(td_headers *headers, td_str name);

/* Replace all lines of that name by one, in the place of the first. */
TD_PRIVATE void td_headers_set(td_headers *headers, td_arena *arena, td_str name, td_str value);
TD_PRIVATE bool td_headers_remove(td_headers *headers, td_str name);

/* What a byte may be part of; a byte may be several. */
enum {
    TD_BYTE_TOKEN = 1 << 0,  /* tchar: RFC 9110 section 5.6.2 */
    TD_BYTE_FIELD = 1 << 1,  /* a field value with its blanks: no control byte but HTAB */
    TD_BYTE_TARGET = 1 << 2, /* a request target: VCHAR without '#' */
    TD_BYTE_PATH = 1 << 3,   /* its path, as it stands: not '?', not '%' */
    TD_BYTE_HOST = 1 << 4,   /* a reg-name (RFC 3986 section 3.2.2) without '%' and ',' */
    TD_BYTE_DIGIT = 1 << 5,
    TD_BYTE_HEX = 1 << 6,
};

TD_PRIVATE extern const uint8_t td_byte_classes[256];

static inline bool
td_byte_is(char byte, uint8_t classes)
{
    return (td_byte_classes[(unsigned char)byte] & classes) != 0;
}

/* The first byte from p on that is in none of the classes, or end. */
static inline const char *
td_skip_bytes(const char *p, const char *end, uint8_t classes)
{
    while (p < end && td_byte_is(*p, classes))
        p++;
    return p;
}

TD_PRIVATE bool td_is_token(td_str s); /* RFC 9110 section 5.6.2, at least one byte */
TD_PRIVATE bool td_is_field_value(td_str s); /* no control byte but HTAB */
TD_PRIVATE size_t td_target_len(td_str s);   /* bytes of TD_BYTE_TARGET in front of any other */

/*
 * Take the next element, trimmed, off the front of a comma list (RFC 9110 section 5.6.1); empty
 * ones are passed over.  False: there is none left.
 */
TD_PRIVATE bool td_list_next(td_str *list, td_str *element_out);

/* True when a comma list has that token, without regard to case. */
TD_PRIVATE bool td_list_has_token(td_str list, td_str token);

/* The registered reason phrase; "Unknown" for a code that has none. */
TD_PRIVATE td_str td_reason_phrase(int status);

#endif
