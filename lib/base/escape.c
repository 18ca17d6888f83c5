/* Escapers copy runs of harmless bytes at once and look at the others one by one. */
#include "base/escape.h"

#include <stdint.h>

static const char hex_digits[16] = "0123456789abcdef";

/* ---- HTML */

td_str
td_html_entity(char c)
{
    switch (c) {
    case '&':
        return TD_STR("&amp;");
    case '<':
        return TD_STR("&lt;");
    case '>':
        return TD_STR("&gt;");
    case '"':
        return TD_STR("&quot;");
    case '\'':
        return TD_STR("&#x27;");
    }
    return td_str_make(NULL, 0);
}

size_t
td_html_plain(td_str s)
{
    size_t len = 0;

    while (len < s.len && td_html_entity(s.ptr[len]).len == 0)
        len++;
    return len;
}

td_str
td_html_escape(td_arena *arena, td_str s)
{
    size_t len = s.len;

    for (size_t i = 0; i < s.len; i++) {
        const td_str entity = td_html_entity(s.ptr[i]);

        if (entity.len > 0)
            len += entity.len - 1;
    }
    if (len == s.len)
        return s;

    char *const text = td_arena_alloc_raw(arena, len + 1);
    char *end = text;

    for (size_t i = 0; i < s.len; i++) {
        const td_str entity = td_html_entity(s.ptr[i]);

        if (entity.len > 0)
            end = mempcpy(end, entity.ptr, entity.len);
        else
            *end++ = s.ptr[i];
    }
    *end = '\0';
    return td_str_make(text, len);
}

/* ---- UTF-8 */

static bool
is_continuation(td_str s, size_t at)
{
    return at < s.len && ((unsigned char)s.ptr[at] & 0xc0) == 0x80;
}

/*
 * Length of the well-formed sequence at s.ptr[at] (RFC 3629 section 4), 0 when there is none:
 *   UTF8-3 = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) / %xED %x80-9F UTF8-tail / ...
 * so the second byte decides what the first leaves open: overlong forms, surrogates, past U+10FFFF.
 */
static size_t
utf8_sequence_len(td_str s, size_t at)
{
    const unsigned char first = (unsigned char)s.ptr[at];

    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4 || !is_continuation(s, at + 1))
        return 0;
    if (first < 0xe0)
        return 2;

    const unsigned char second = (unsigned char)s.ptr[at + 1];

    if (!is_continuation(s, at + 2))
        return 0;
    if (first < 0xf0)
        return (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ? 0 : 3;
    if (!is_continuation(s, at + 3))
        return 0;
    return (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f) ? 0 : 4;
}

bool
td_utf8_is_valid(td_str s)
{
    for (size_t i = 0; i < s.len;) {
        uint64_t eight;

        if (s.len - i >= sizeof(eight)) {
            memcpy(&eight, s.ptr + i, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof(eight);
                continue;
            }
        }

        const size_t len = utf8_sequence_len(s, i);

        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

/* ---- log lines */

/* U+0080 to U+009F: terminals obey them as they do the C0 ones. */
static bool
is_c1(td_str s, size_t at, size_t sequence_len)
{
    return sequence_len == 2 && s.ptr[at] == '\xc2' && (unsigned char)s.ptr[at + 1] < 0xa0;
}

/* Beyond ASCII, which needs no call. */
static size_t
plain_beyond_ascii(td_str s, size_t at)
{
    const size_t len = utf8_sequence_len(s, at);

    if (len == 0)
        return (unsigned char)s.ptr[at] < 0xa0 ? 0 : 1; /* Latin-1, or half a character */
    return is_c1(s, at, len) ? 0 : len;
}

static size_t
plain_text(td_str s, size_t at)
{
    const unsigned char byte = (unsigned char)s.ptr[at];

    if (byte < 0x80)
        return byte >= 0x20 && byte != 0x7f;
    return plain_beyond_ascii(s, at);
}

size_t
td_text_plain(td_str s)
{
    return s.len > 0 ? plain_text(s, 0) : 0;
}

static size_t
plain_in_log(td_str s, size_t at)
{
    return s.ptr[at] == '"' || s.ptr[at] == '\\' ? 0 : plain_text(s, at);
}

static void
hex_escape(char out[4], char c)
{
    const unsigned char byte = (unsigned char)c;

    out[0] = '\\';
    out[1] = 'x';
    out[2] = hex_digits[byte >> 4];
    out[3] = hex_digits[byte & 15];
}

void
td_log_escape(td_buf *out, td_str s)
{
    size_t plain;

    for (size_t i = 0; i < s.len; i++) {
        const size_t from = i;

        while (i < s.len && (plain = plain_in_log(s, i)) > 0)
            i += plain;
        td_buf_append(out, td_str_make(s.ptr + from, i - from));
        if (i == s.len)
            return;
        hex_escape(td_buf_reserve(out, 4), s.ptr[i]);
        td_buf_added(out, 4);
    }
}

size_t
td_log_escape_into(char *out, size_t size, td_str s)
{
    size_t len = 0;

    for (size_t i = 0, plain; i < s.len; i += plain > 0 ? plain : 1) {
        plain = plain_in_log(s, i);
        if (size - len < (plain > 0 ? plain : 4))
            break;
        if (plain > 0)
            memcpy(out + len, s.ptr + i, plain);
        else
            hex_escape(out + len, s.ptr[i]);
        len += plain > 0 ? plain : 4;
    }
    return len;
}

/* ---- JSON */

static bool
is_plain_in_json(char c)
{
    const unsigned char byte = (unsigned char)c;

    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

static void
json_escape_ascii(td_buf *out, char c)
{
    static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* the byte, then what stands for it */

    for (size_t i = 0; i < sizeof(letters) - 1; i += 2)
        if (letters[i] == c) {
            td_buf_append(out, td_str_make((const char[]){'\\', letters[i + 1]}, 2));
            return;
        }
    td_buf_printf(out, "\\u%04x", (unsigned)c);
}

void
td_json_escape(td_buf *out, td_str s)
{
    for (size_t i = 0; i < s.len;) {
        const size_t from = i;

        while (i < s.len && is_plain_in_json(s.ptr[i]))
            i++;
        td_buf_append(out, td_str_make(s.ptr + from, i - from));
        if (i == s.len)
            return;

        const size_t len = utf8_sequence_len(s, i);

        if (len == 0)
            td_buf_append(out, TD_STR("\xef\xbf\xbd")); /* U+FFFD for each byte that is wrong */
        else if (len == 1)
            json_escape_ascii(out, s.ptr[i]);
        else if (is_c1(s, i, len))
            td_buf_printf(out, "\\u%04x", (unsigned char)s.ptr[i + 1]);
        else
            td_buf_append(out, td_str_make(s.ptr + i, len));
        i += len > 0 ? len : 1;
    }
}

/* ---- URLs */

td_str
td_url_unescape(td_arena *arena, td_str s, bool plus)
{
    char *const text = td_arena_alloc_raw(arena, s.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < s.len; i++) {
        const int high = s.ptr[i] == '%' && s.len - i > 2 ? td_hex_value(s.ptr[i + 1]) : -1;
        const int low = high >= 0 ? td_hex_value(s.ptr[i + 2]) : -1;

        if (low >= 0) {
            text[len++] = (char)(high << 4 | low);
            i += 2;
        } else {
            text[len++] = plus && s.ptr[i] == '+' ? ' ' : s.ptr[i];
        }
    }
    text[len] = '\0';
    return td_str_make(text, len);
}

static bool
is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

td_str
td_url_escape(td_arena *arena, td_str s, const char *keep)
{
    static const char digits[16] = "0123456789ABCDEF"; /* RFC 3986 section 2.1 wants upper case */
    const size_t keep_len = strlen(keep);
    size_t len = 0;

    for (size_t i = 0; i < s.len; i++)
        len += is_unreserved(s.ptr[i]) || memchr(keep, s.ptr[i], keep_len) != NULL ? 1 : 3;

    char *const text = td_arena_alloc_raw(arena, len + 1);
    char *end = text;

    for (size_t i = 0; i < s.len; i++) {
        const unsigned char byte = (unsigned char)s.ptr[i];

        if (is_unreserved(s.ptr[i]) || memchr(keep, byte, keep_len) != NULL) {
            *end++ = s.ptr[i];
        } else {
            *end++ = '%';
            *end++ = digits[byte >> 4];
            *end++ = digits[byte & 15];
        }
    }
    *end = '\0';
    return td_str_make(text, len);
}

/* ---- plain strings */

static unsigned char
ascii_lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool
td_bytes_equal_nocase(const char *a, const char *b, size_t len)
{
    if (len == 0 || memcmp(a, b, len) == 0) /* names are nearly always spelt the same */
        return true;
    for (size_t i = 0; i < len; i++)
        if (ascii_lower(a[i]) != ascii_lower(b[i]))
            return false;
    return true;
}

static bool
is_ows(char c)
{
    return c == ' ' || c == '\t';
}

td_str
td_str_trim(td_str s)
{
    while (s.len > 0 && is_ows(s.ptr[0]))
        s = td_str_make(s.ptr + 1, s.len - 1);
    while (s.len > 0 && is_ows(s.ptr[s.len - 1]))
        s.len--;
    return s;
}
