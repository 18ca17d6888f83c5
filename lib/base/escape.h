/*
 * Turning bytes into something harmless, and back.  Nothing here fails on any input unless it says
 * so.
 */
#ifndef TORNADO_BASE_ESCAPE_H
#define TORNADO_BASE_ESCAPE_H

#include <stdbool.h>
#include <tornado/abi.h>
#include <tornado/str.h>
#include "base/arena.h"
#include "base/buf.h"

/*
 * & < > " ' as entities (Tornado's xhtml_escape).  Returns s itself where nothing needs escaping.
 */
TD_PRIVATE td_str td_html_escape(td_arena *arena, td_str s);

/*
 * The same piece by piece: how many bytes in front are as they are; what stands for one that is
 * not.
 */
TD_PRIVATE size_t td_html_plain(td_str s);
TD_PRIVATE td_str td_html_entity(char c);

/*
 * How many bytes in front are one character that does nothing to a terminal or to a reader of
 * lines; 0: the first byte is of a control (C0, DEL, C1 in UTF-8 or as a byte alone), or there is
 * none.
 */
TD_PRIVATE size_t td_text_plain(td_str s);

/* Bytes of controls, '"' and '\' as \xNN, so that no field ends its line.  Appends to out. */
TD_PRIVATE void td_log_escape(td_buf *out, td_str s);

/*
 * Same bytes into a fixed place: writes at most `size` bytes, never half an escape; returns how
 * many were written.  No NUL.
 */
TD_PRIVATE size_t td_log_escape_into(char *out, size_t size, td_str s);

/*
 * JSON string without the quotes: controls, C1 too, '"', '\' escaped; invalid UTF-8 becomes U+FFFD.
 */
TD_PRIVATE void td_json_escape(td_buf *out, td_str s);

/* The value of a hexadecimal digit in either case; -1: it is none. */
static inline int
td_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %XX decoded, anything else left as it is ("%zz" too); plus: '+' becomes a space. */
TD_PRIVATE td_str td_url_unescape(td_arena *arena, td_str s, bool plus);

/* All but unreserved bytes (RFC 3986 section 2.3) as %XX; those in `keep` are left too. */
TD_PRIVATE td_str td_url_escape(td_arena *arena, td_str s, const char *keep);

TD_PRIVATE bool td_utf8_is_valid(td_str s); /* RFC 3629: no surrogates, no overlong forms */

/* Without regard to the case of ASCII letters. */
TD_PRIVATE bool td_bytes_equal_nocase(const char *a, const char *b, size_t len);

static inline bool
td_str_equal_nocase(td_str a, td_str b)
{
    return a.len == b.len && td_bytes_equal_nocase(a.ptr, b.ptr, a.len);
}

TD_PRIVATE td_str td_str_trim(td_str s);                 /* SP and HTAB at both ends (OWS) */

#endif
