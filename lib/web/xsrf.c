/*
 * XSRF tokens: random bytes in a cookie, which another site cannot read and so not repeat in a
 * form.  Tornado's format, so that both can serve one site:
 *
 *   2|MASK|TOKEN XOR MASK|TIME    version 2: four bytes of mask and the token in hex
 *   TOKEN                         version 1: in hex, or any other bytes, which are the token then
 */
#include <openssl/crypto.h>
#include <sys/random.h>
#include <tornado/auth.h>
#include "base/clock.h"
#include "base/escape.h"
#include "base/put.h"
#include "base/value.h"
#include "web/visitor.h"

#define TOKEN_LEN 16
#define MASK_LEN 4
#define COOKIE_DAYS 30 /* for a client that has a user; else it lasts as long as the browser */
#define SECONDS_PER_DAY 86400

/* ---- bytes */

static void
fill_randomly(char *out, size_t len)
{
    TD_ASSERT(getrandom(out, len, 0) == (ssize_t)len); /* so few bytes come at once */
}

static bool
decode_hex(td_arena *arena, td_str hex, td_str *out)
{
    char *bytes;

    if (hex.len % 2 != 0)
        return false;
    bytes = td_arena_alloc_raw(arena, hex.len / 2);
    for (size_t i = 0; i < hex.len; i += 2) {
        const int high = td_hex_value(hex.ptr[i]), low = td_hex_value(hex.ptr[i + 1]);

        if (high < 0 || low < 0)
            return false;
        bytes[i / 2] = (char)(high << 4 | low);
    }
    *out = td_str_make(bytes, hex.len / 2);
    return true;
}

static td_str
mask_bytes(td_arena *arena, td_str bytes, td_str mask)
{
    char *masked = td_arena_alloc_raw(arena, bytes.len);

    for (size_t i = 0; i < bytes.len; i++)
        masked[i] = (char)(bytes.ptr[i] ^ mask.ptr[i % MASK_LEN]);
    return td_str_make(masked, bytes.len);
}

/* ---- tokens as text */

/* Take what stands before the next '|' off the front; the last part has none behind it. */
static td_str
next_part(td_str *rest)
{
    const char *at = rest->len > 0 ? memchr(rest->ptr, '|', rest->len) : NULL;
    const td_str part = td_str_make(rest->ptr, at != NULL ? (size_t)(at - rest->ptr) : rest->len);
    const size_t taken = part.len + (at != NULL);

    *rest = td_str_make(rest->ptr + taken, rest->len - taken);
    return part;
}

static bool
decode_v2(td_arena *arena, td_str rest, td_str *token_out, int64_t *time_out)
{
    const td_str mask_hex = next_part(&rest), masked_hex = next_part(&rest);
    td_str mask, masked;

    if (mask_hex.len != 2 * MASK_LEN || !decode_hex(arena, mask_hex, &mask) ||
        !decode_hex(arena, masked_hex, &masked) || !td_value_parse_digits(rest, time_out))
        return false;
    *token_out = mask_bytes(arena, masked, mask);
    return true;
}

/* [1-9][0-9]*| in front: a version. */
static bool
has_version(td_str text)
{
    size_t digits = 0;

    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
        digits++;
    return digits > 0 && digits < text.len && text.ptr[0] != '0' && text.ptr[digits] == '|';
}

bool
td_xsrf_decode(td_arena *arena, td_str text, td_str *token_out, int64_t *time_out)
{
    td_str token = {NULL, 0};
    int64_t time = td_clock_cached_wall;

    if (has_version(text)) {
        const td_str version = next_part(&text);

        if (!td_str_equal(version, TD_STR("2")) || !decode_v2(arena, text, &token, &time))
            return false;
    } else if (!decode_hex(arena, text, &token)) {
        token = text;
    }
    if (token.len == 0)
        return false;
    *token_out = token;
    *time_out = time;
    return true;
}

td_str
td_xsrf_encode(td_arena *arena, td_str token, td_str mask, int64_t time)
{
    char *text = td_arena_alloc_raw(arena, 5 + 2 * MASK_LEN + 2 * token.len + TD_DECIMAL_MAX);
    char *end = td_put_hex(TD_PUT(text, "2|"), mask);

    *end++ = '|';
    end = td_put_hex(end, mask_bytes(arena, token, mask));
    *end++ = '|';
    end = td_put_decimal(end, time > 0 ? (uint64_t)time : 0);
    *end = '\0';
    return td_str_make(text, (size_t)(end - text));
}

/* ---- the token of a request */

/* The client's, or a new one for it when it has none that can be used. */
static void
take_token(td_handler *h, struct td_visitor *visitor)
{
    td_arena *arena = &h->request->arena;
    td_str cookie;
    char *bytes;

    if (!td_str_is_null(visitor->xsrf_token))
        return;
    cookie = td_get_cookie(h, h->app->settings->xsrf_cookie_name);
    if (!td_str_is_null(cookie) &&
        td_xsrf_decode(arena, cookie, &visitor->xsrf_token, &visitor->xsrf_time))
        return;
    bytes = td_arena_alloc_raw(arena, TOKEN_LEN);
    fill_randomly(bytes, TOKEN_LEN);
    visitor->xsrf_token = td_str_make(bytes, TOKEN_LEN);
    visitor->xsrf_time = td_clock_cached_wall;
    visitor->xsrf_is_new = true;
}

/* The words of xsrf_cookie_samesite as the attribute has them; NULL: there is none. */
static const char *
samesite_of(const td_handler *h)
{
    static const char *const values[] = {NULL, "Lax", "Strict", "None"};

    return values[h->app->settings->xsrf_cookie_samesite];
}

static bool
is_for_tls(td_handler *h, const char *name, const char *samesite)
{
    if (samesite != NULL && strcmp(samesite, "None") == 0) /* browsers want it to be */
        return true;
    return strncmp(name, "__Host-", 7) == 0 || strncmp(name, "__Secure-", 9) == 0 ||
           td_str_equal(td_request_scheme(h), TD_STR("https"));
}

static void
set_cookie(td_handler *h, td_str text)
{
    const char *name = h->app->settings->xsrf_cookie_name, *samesite = samesite_of(h);
    const int64_t end = td_clock_cached_wall + COOKIE_DAYS * SECONDS_PER_DAY;

    td_set_cookie(h, name, text.ptr,
                  &TD_COOKIE(.expires = td_current_user(h) != NULL ? end : TD_COOKIE_SESSION,
                             .domain = h->app->settings->xsrf_cookie_domain,
                             .samesite = samesite,
                             .httponly = h->app->settings->xsrf_cookie_httponly,
                             .secure = is_for_tls(h, name, samesite)));
}

td_str
td_xsrf_token(td_handler *h)
{
    struct td_visitor *visitor;
    char mask[MASK_LEN];

    if (!td_handler_usable(h, "td_xsrf_token"))
        return td_str_make(NULL, 0);
    visitor = td_visitor_of(h);
    if (!td_str_is_null(visitor->xsrf_text))
        return visitor->xsrf_text;
    take_token(h, visitor);
    fill_randomly(mask, sizeof(mask));
    visitor->xsrf_text = td_xsrf_encode(&h->request->arena, visitor->xsrf_token,
                                        td_str_make(mask, sizeof(mask)), visitor->xsrf_time);
    if (visitor->xsrf_is_new)
        set_cookie(h, visitor->xsrf_text);
    return visitor->xsrf_text;
}

td_str
td_xsrf_form_html(td_handler *h)
{
    const td_str token = td_xsrf_token(h);

    if (td_str_is_null(token))
        return token;
    return td_arena_sprintf(&h->request->arena,
                            "<input type=\"hidden\" name=\"_xsrf\" value=\"%s\"/>",
                            td_html_escape(&h->request->arena, token).ptr);
}

/* ---- the check */

/* An empty one is none. */
static td_str
submitted_text(td_handler *h)
{
    td_str text = td_get_argument_default(h, "_xsrf", "");

    if (text.len == 0)
        text = td_request_header(h, "X-Xsrftoken");
    if (text.len == 0)
        text = td_request_header(h, "X-Csrftoken");
    return text;
}

static bool
is_safe(td_method method)
{
    return method == TD_METHOD_GET || method == TD_METHOD_HEAD || method == TD_METHOD_OPTIONS;
}

void
td_xsrf_check(td_handler *h)
{
    struct td_visitor *visitor;
    td_str text, token;
    int64_t time;

    if (is_safe(h->request->head.method))
        return;
    visitor = td_visitor_of(h);
    text = submitted_text(h);
    if (text.len == 0)
        td_handler_raise_quietly(h, 403, "'_xsrf' argument missing from POST");
    if (!td_xsrf_decode(&h->request->arena, text, &token, &time))
        td_handler_raise_quietly(h, 403, "'_xsrf' argument has invalid format");
    take_token(h, visitor);
    if (token.len != visitor->xsrf_token.len ||
        CRYPTO_memcmp(token.ptr, visitor->xsrf_token.ptr, token.len) != 0)
        td_handler_raise_quietly(h, 403, "XSRF cookie does not match POST argument");
}
