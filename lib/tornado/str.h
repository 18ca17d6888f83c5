/*
 * td_str: some bytes that belong to somebody else.
 *
 * No NUL at the end is promised and a zero byte inside is data.  Where a function of <tornado/...>
 * returns a td_str, a NUL stands behind the last byte (not counted), so .ptr also serves as C text
 * wherever zero bytes inside do not matter.  How long the bytes live is said where one is returned.
 */
#ifndef TORNADO_STR_H
#define TORNADO_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct td_str {
    const char *ptr; /* NULL: there is none, which differs from an empty one */
    size_t len;      /* bytes */
} td_str;

/* Of a string literal and nothing else: whatever else is a char * goes to td_str_of. */
#ifdef __cplusplus
#define TD_STR(literal) (td_str{"" literal, sizeof(literal) - 1})
#else
#define TD_STR(literal) ((td_str){"" literal, sizeof(literal) - 1})
#endif

/* For printf: td_writef(h, "%.*s", TD_STR_FMT(name)). */
#define TD_STR_FMT(s) (int)(s).len, (s).ptr

/* The text up to its NUL; NULL gives the null string. */
static inline td_str
td_str_of(const char *text)
{
    td_str s = {text, text != NULL ? strlen(text) : 0};
    return s;
}

static inline td_str
td_str_make(const char *ptr, size_t len)
{
    td_str s = {ptr, len};
    return s;
}

static inline bool
td_str_is_null(td_str s)
{
    return s.ptr == NULL;
}

static inline bool
td_str_equal(td_str a, td_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

#endif
