/*
 * Cookies as Tornado and Python's http.cookies read and write them, byte for byte where a value is
 * ASCII; other bytes are written as \ooo each, so that what was set comes back.
 *
 * All of it is linear in its input and allocates at most four times its size.
 */
#include "http/cookies.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/put.h"
#include "http/headers.h"

/* ---- what the client sent */

/* Take what stands before the next semicolon off the front, quoted or not. */
static td_str
next_piece(td_str *rest)
{
    const char *end = memchr(rest->ptr, ';', rest->len);
    const td_str piece =
        td_str_make(rest->ptr, end != NULL ? (size_t)(end - rest->ptr) : rest->len);
    const size_t taken = piece.len + (end != NULL);

    *rest = td_str_make(rest->ptr + taken, rest->len - taken);
    return piece;
}

/* A value without a name is passed over, and a name that is no token, whoever sent it. */
bool
td_cookie_next(td_str *line, td_str *name_out, td_str *value_out)
{
    while (line->len > 0) {
        const td_str piece = next_piece(line);
        const char *equals = piece.len > 0 ? memchr(piece.ptr, '=', piece.len) : NULL;
        const size_t len = equals != NULL ? (size_t)(equals - piece.ptr) : 0;
        const td_str name = td_str_trim(td_str_make(piece.ptr, len));

        if (!td_is_token(name))
            continue;
        *name_out = name;
        *value_out = td_str_trim(td_str_make(equals + 1, piece.len - len - 1));
        return true;
    }
    return false;
}

td_str
td_cookie_find(td_str line, td_str wanted)
{
    td_str found = {NULL, 0}, name, value;

    while (td_cookie_next(&line, &name, &value))
        if (td_str_equal(name, wanted))
            found = value;
    return found;
}

static bool
is_octal(char c, char last)
{
    return c >= '0' && c <= last;
}

td_str
td_cookie_unquote(td_arena *arena, td_str value)
{
    char *text;
    size_t len = 0;

    if (value.len < 2 || value.ptr[0] != '"' || value.ptr[value.len - 1] != '"')
        return td_str_dup(arena, value);
    const char *p = value.ptr + 1, *end = value.ptr + value.len - 1;

    text = td_arena_alloc_raw(arena, value.len);
    while (p < end) {
        if (*p != '\\' || end - p < 2) {
            text[len++] = *p++;
        } else if (end - p >= 4 && is_octal(p[1], '3') && is_octal(p[2], '7') &&
                   is_octal(p[3], '7')) {
            text[len++] = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            p += 4;
        } else {
            text[len++] = p[1];
            p += 2;
        }
    }
    text[len] = '\0';
    return td_str_make(text, len);
}

/* ---- what is to be set */

/* No control byte, blank or semicolon, which would begin another attribute. */
static bool
is_attribute(const char *text)
{
    for (; text != NULL && *text != '\0'; text++)
        if ((unsigned char)*text <= ' ' || *text == ';' || *text == 0x7f)
            return false;
    return true;
}

/* Bytes of a value that are refused: they would be quoted, but proxies and browsers stumble. */
static bool
is_value(td_str value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.ptr[i] <= ' ' || value.ptr[i] == 0x7f)
            return false;
    return true;
}

static bool
is_samesite(td_str text)
{
    return td_str_equal_nocase(text, TD_STR("Strict")) ||
           td_str_equal_nocase(text, TD_STR("Lax")) || td_str_equal_nocase(text, TD_STR("None"));
}

static bool
begins_with(td_str text, td_str start)
{
    return text.len >= start.len &&
           td_str_equal_nocase(td_str_make(text.ptr, start.len), start);
}

/* rfc6265bis section 4.1.3: browsers drop a cookie that does not keep what its prefix promises. */
static const char *
prefix_fault(td_str name, const td_cookie_options *options)
{
    if (begins_with(name, TD_STR("__Secure-")) && !options->secure)
        return "a name of __Secure- wants .secure";
    if (begins_with(name, TD_STR("__Host-")) &&
        (!options->secure || options->domain != NULL ||
         (options->path != NULL && strcmp(options->path, "/") != 0)))
        return "a name of __Host- wants .secure, no .domain, and the path /";
    return NULL;
}

const char *
td_cookie_fault(td_str name, td_str value, const td_cookie_options *options)
{
    const td_str samesite = td_str_of(options->samesite);

    if (!td_is_token(name))
        return "the name is no token";
    if (td_str_is_null(value) || !is_value(value))
        return "a control byte or a blank is in the value";
    if (!is_attribute(options->domain) || !is_attribute(options->path))
        return "a control byte, a blank or a semicolon is in .domain or .path";
    if (!td_str_is_null(samesite) && !is_samesite(samesite))
        return ".samesite is Strict, Lax or None";
    if (td_str_equal_nocase(samesite, TD_STR("None")) && !options->secure)
        return ".samesite None wants .secure";
    return prefix_fault(name, options);
}

/* Bytes that stand bare, even where the whole has to be in quotes. */
static bool
is_bare(char c)
{
    return td_byte_is(c, TD_BYTE_TOKEN) || c == ':';
}

static bool
is_quoted_bare(char c)
{
    return is_bare(c) || (c != '\0' && strchr("()/<=>?@[]{}", c) != NULL);
}

static char *
put_quoted(char *to, td_str value)
{
    *to++ = '"';
    for (size_t i = 0; i < value.len; i++) {
        const unsigned char c = (unsigned char)value.ptr[i];

        if (is_quoted_bare((char)c)) {
            *to++ = (char)c;
        } else if (c == '"' || c == '\\') {
            *to++ = '\\';
            *to++ = (char)c;
        } else {
            *to++ = '\\';
            *to++ = (char)('0' + (c >> 6));
            *to++ = (char)('0' + (c >> 3 & 7));
            *to++ = (char)('0' + (c & 7));
        }
    }
    *to++ = '"';
    return to;
}

/* The value, in quotes where it is more than one token. */
static td_str
quote(td_arena *arena, td_str value)
{
    size_t bare = 0;
    char *text;

    while (bare < value.len && is_bare(value.ptr[bare]))
        bare++;
    if (value.len > 0 && bare == value.len)
        return value;
    text = td_arena_alloc_raw(arena, 4 * value.len + 2);
    return td_str_make(text, (size_t)(put_quoted(text, value) - text));
}

static td_str
format_expires(td_arena *arena, int64_t expires)
{
    char date[TD_HTTP_DATE_LEN + 1];

    if (expires == 0)
        return TD_STR("");
    td_http_date_format(expires, date);
    return td_arena_sprintf(arena, "; expires=%s", date);
}

static td_str
format_max_age(td_arena *arena, int64_t max_age)
{
    if (max_age == 0)
        return TD_STR("");
    return td_arena_sprintf(arena, "; Max-Age=%lld", max_age > 0 ? (long long)max_age : 0);
}

/* The attributes are in the order in which Python writes them. */
td_str
td_cookie_format(td_arena *arena, td_str name, td_str value, const td_cookie_options *options)
{
    const td_str path = td_str_of(options->path != NULL ? options->path : "/");
    const td_str parts[] = {
        name,
        TD_STR("="),
        quote(arena, value),
        td_str_of(options->domain != NULL ? "; Domain=" : ""),
        td_str_of(options->domain),
        format_expires(arena, options->expires),
        td_str_of(options->httponly ? "; HttpOnly" : ""),
        format_max_age(arena, options->max_age),
        TD_STR("; Path="),
        path,
        td_str_of(options->samesite != NULL ? "; SameSite=" : ""),
        td_str_of(options->samesite),
        td_str_of(options->secure ? "; Secure" : ""),
    };
    size_t len = 0;
    char *text, *to;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        len += parts[i].len;
    text = to = td_arena_alloc_raw(arena, len + 1);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (parts[i].len > 0)
            to = td_put(to, parts[i]);
    *to = '\0';
    return td_str_make(text, len);
}
