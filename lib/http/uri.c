#include "http/uri.h"

#include <string.h>
#include "base/buf.h"
#include "base/escape.h"
#include "http/headers.h"
#include "http/parser.h"

#define KNOWN_MAX 64 /* bytes of a host that are worth keeping */

static bool
take_prefix(td_str *text, td_str prefix)
{
    if (text->len < prefix.len || (memcmp(text->ptr, prefix.ptr, prefix.len) != 0 &&
                                   !td_str_equal_nocase(td_str_make(text->ptr, prefix.len), prefix)))
        return false;
    *text = td_str_make(text->ptr + prefix.len, text->len - prefix.len);
    return true;
}

/* The part of text in front of the first of these bytes, which is taken off it. */
static td_str
take_until(td_str *text, const char *bytes)
{
    size_t len = text->len;

    for (const char *found; *bytes != '\0' && len > 0; bytes++)
        if ((found = memchr(text->ptr, *bytes, len)) != NULL)
            len = (size_t)(found - text->ptr);

    const td_str taken = td_str_make(text->ptr, len);

    *text = td_str_make(text->ptr + len, text->len - len);
    return taken;
}

/* A host, or a host and a port, that was taken apart last: most requests go where others went. */
static __thread struct {
    char text[KNOWN_MAX];
    size_t len, host_len;
    int port; /* -1: it was not told */
} known __attribute__((tls_model("initial-exec")));

static bool
split_host(td_str text, td_str *host_out, int *port_out)
{
    if (text.len == known.len && text.len > 0 && memcmp(text.ptr, known.text, text.len) == 0) {
        *host_out = td_str_make(text.ptr, known.host_len);
        *port_out = known.port;
        return true;
    }
    if (!td_host_port_split(text, host_out, port_out))
        return false;
    if (text.len <= sizeof(known.text)) {
        memcpy(known.text, text.ptr, text.len);
        known.len = text.len;
        known.host_len = host_out->len;
        known.port = *port_out;
    }
    return true;
}

/* authority = [ userinfo "@" ] host [ ":" port ] (RFC 3986 section 3.2) */
static bool
parse_authority(td_str authority, td_uri *out)
{
    const char *at = memrchr(authority.ptr, '@', authority.len);
    int port;

    if (at != NULL) {
        out->user_info = td_str_make(authority.ptr, (size_t)(at - authority.ptr));
        authority = td_str_make(at + 1, authority.len - out->user_info.len - 1);
    }
    if (!split_host(authority, &out->host, &port))
        return false;
    out->authority = port < 0 ? out->host : authority;
    out->port = (uint16_t)(port >= 0 ? port : out->is_https ? 443 : 80);
    return out->port > 0;
}

bool
td_uri_parse(td_str text, td_uri *out)
{
    const size_t len = td_target_len(text);

    *out = (td_uri){0};
    if (len < text.len && text.ptr[len] != '#')
        return false;
    text.len = len;
    if (!take_prefix(&text, TD_STR("http://"))) {
        out->is_https = take_prefix(&text, TD_STR("https://"));
        if (!out->is_https)
            return false;
    }
    if (!parse_authority(take_until(&text, "/?"), out))
        return false;
    out->path = take_until(&text, "?");
    if (out->path.len == 0)
        out->path = TD_STR("/");
    if (text.len > 0)
        out->query = td_str_make(text.ptr + 1, text.len - 1);
    return true;
}

bool
td_uri_same_origin(const td_uri *a, const td_uri *b)
{
    return a->is_https == b->is_https && a->port == b->port && td_str_equal_nocase(a->host, b->host);
}

/* ---- references */

/* RFC 3986 section 5.2.4, of a path that begins with '/'; appended to out. */
static void
append_without_dots(td_buf *out, td_str path)
{
    const size_t begin = out->len;

    while (path.len > 0) {
        path = td_str_make(path.ptr + 1, path.len - 1); /* the slash */

        const td_str segment = take_until(&path, "/");
        const bool is_up = td_str_equal(segment, TD_STR(".."));

        if (is_up)
            while (out->len > begin && td_buf_str(out).ptr[--out->len] != '/')
                ;
        if (is_up || td_str_equal(segment, TD_STR("."))) {
            if (path.len == 0)
                td_buf_append(out, TD_STR("/"));
            continue;
        }
        td_buf_append(out, TD_STR("/"));
        td_buf_append(out, segment);
    }
}

/* RFC 3986 section 5.2.3: behind the last slash of the base's path. */
static void
append_merged(td_buf *out, td_str base_path, td_str path)
{
    const char *slash = memrchr(base_path.ptr, '/', base_path.len);
    td_buf merged = {0};

    td_buf_append(&merged, td_str_make(base_path.ptr, (size_t)(slash - base_path.ptr) + 1));
    td_buf_append(&merged, path);
    append_without_dots(out, td_buf_str(&merged));
    td_buf_release(&merged);
}

static void
append_origin(td_buf *out, const td_uri *base)
{
    td_buf_append(out, base->is_https ? TD_STR("https://") : TD_STR("http://"));
    td_buf_append(out, base->authority);
}

/* With a scheme of its own: scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) ":" */
static bool
has_scheme(td_str text)
{
    const td_str scheme = take_until(&(td_str){text.ptr, text.len}, ":/?#");

    return scheme.len < text.len && text.ptr[scheme.len] == ':' && scheme.len > 0 &&
           td_is_token(scheme);
}

/* RFC 3986 section 5.2.2 */
static void
append_target(td_buf *out, const td_uri *base, td_str reference)
{
    td_str rest = reference;
    td_str path;

    if (take_prefix(&rest, TD_STR("//"))) {
        td_buf_append(out, base->is_https ? TD_STR("https:") : TD_STR("http:"));
        td_buf_append(out, reference);
        return;
    }
    append_origin(out, base);
    path = take_until(&rest, "?");
    if (path.len == 0)
        td_buf_append(out, base->path);
    else if (path.ptr[0] == '/')
        append_without_dots(out, path);
    else
        append_merged(out, base->path, path);
    if (rest.len > 0) {
        td_buf_append(out, rest);
    } else if (path.len == 0 && base->query.ptr != NULL) {
        td_buf_append(out, TD_STR("?"));
        td_buf_append(out, base->query);
    }
}

/* The bytes that a URI cannot have become %XX, so no encoding that is there is done twice. */
static td_str
encode(td_arena *arena, td_str text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *const out = td_arena_alloc_raw(arena, 3 * text.len + 1), *p = out;

    for (size_t i = 0; i < text.len; i++) {
        const unsigned char byte = (unsigned char)text.ptr[i];

        if (td_byte_is(text.ptr[i], TD_BYTE_TARGET)) {
            *p++ = text.ptr[i];
        } else {
            *p++ = '%';
            *p++ = digits[byte >> 4];
            *p++ = digits[byte & 15];
        }
    }
    *p = '\0';
    return td_str_make(out, (size_t)(p - out));
}

td_str
td_uri_join(td_arena *arena, const td_uri *base, td_str reference)
{
    const td_str target = take_until(&(td_str){reference.ptr, reference.len}, "#");
    td_buf buf = {0};
    td_uri parsed;
    td_str joined;

    if (has_scheme(target))
        td_buf_append(&buf, target);
    else
        append_target(&buf, base, target);
    joined = encode(arena, td_buf_str(&buf));
    td_buf_release(&buf);
    return td_uri_parse(joined, &parsed) ? joined : (td_str){NULL, 0};
}
