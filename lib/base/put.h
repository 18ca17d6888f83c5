/*
 * Writing text piece by piece into a place that is known to be large enough, without printf.  Each
 * returns the end of what it wrote.
 */
#ifndef TORNADO_BASE_PUT_H
#define TORNADO_BASE_PUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tornado/str.h>

#define TD_DECIMAL_MAX 20 /* digits of a uint64_t */

static inline char *
td_put(char *at, td_str s)
{
    memcpy(at, s.ptr, s.len);
    return at + s.len;
}

#define TD_PUT(at, literal) td_put((at), TD_STR(literal))

static inline char *
td_put_decimal(char *at, uint64_t number)
{
    char digits[TD_DECIMAL_MAX];
    size_t start = TD_DECIMAL_MAX;

    do
        digits[--start] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return td_put(at, td_str_make(digits + start, TD_DECIMAL_MAX - start));
}

/* Two lower-case digits a byte. */
static inline char *
td_put_hex(char *at, td_str bytes)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes.len; i++) {
        *at++ = digits[(unsigned char)bytes.ptr[i] >> 4];
        *at++ = digits[bytes.ptr[i] & 15];
    }
    return at;
}

#endif
