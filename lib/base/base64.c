/*
 * Both ways by table, three bytes or four digits at a time.  Reading is strict (RFC 4648 section
 * 3.5): no other bytes, the padding complete, and no bits left over, so that no two texts say the
 * same.
 */
#include "base/base64.h"

#include <stdint.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint32_t
byte_at(td_str bytes, size_t i)
{
    return i < bytes.len ? (unsigned char)bytes.ptr[i] : 0;
}

char *
td_base64_encode(char *out, td_str bytes)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        const uint32_t bits =
            byte_at(bytes, i) << 16 | byte_at(bytes, i + 1) << 8 | byte_at(bytes, i + 2);

        *out++ = digits[bits >> 18];
        *out++ = digits[bits >> 12 & 63];
        *out++ = i + 1 < bytes.len ? digits[bits >> 6 & 63] : '=';
        *out++ = i + 2 < bytes.len ? digits[bits & 63] : '=';
    }
    return out;
}

/* 0..63, or -1 for a byte that is no digit. */
static int
value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The bits of four digits, of which the last `padding` are '='; -1 when one is none. */
static int32_t
bits_of(const char *p, size_t padding)
{
    int32_t bits = 0;

    for (size_t i = 0; i < 4; i++) {
        const int value = i < 4 - padding ? value_of(p[i]) : 0;

        if (value < 0)
            return -1;
        bits = bits << 6 | value;
    }
    return bits;
}

bool
td_base64_decode(char *out, td_str text, size_t *len_out)
{
    const char *const start = out;

    if (text.len % 4 != 0)
        return false;
    for (size_t i = 0; i < text.len; i += 4) {
        const char *p = text.ptr + i;
        const bool is_last = i + 4 == text.len;
        const size_t padding = !is_last || p[3] != '=' ? 0 : p[2] != '=' ? 1 : 2;
        const int32_t bits = bits_of(p, padding);

        if (bits < 0 || (bits & ((1 << 8 * padding) - 1)) != 0)
            return false;
        *out++ = (char)(bits >> 16);
        if (padding < 2)
            *out++ = (char)(bits >> 8);
        if (padding < 1)
            *out++ = (char)bits;
    }
    *len_out = (size_t)(out - start);
    return true;
}
