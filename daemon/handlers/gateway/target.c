#include "target.h"

#include <stdlib.h>

/* The next byte, which may be written as %XX. */
static char
take_byte(const char **at, const char *end)
{
    char hex[3] = "";

    if (**at != '%' || end - *at < 3)
        return *(*at)++;
    memcpy(hex, *at + 1, 2);
    *at += 3;
    return (char)strtol(hex, NULL, 16);
}

/* Some take %2F or a backslash for a slash, and some end a segment at a semicolon. */
bool
target_climbs(td_str path)
{
    enum { DOTS_MAX = 3 }; /* or some other byte */
    const char *at = path.ptr, *const end = path.ptr + path.len;
    int dots = 0;

    if (memchr(path.ptr, '.', path.len) == NULL && memchr(path.ptr, '%', path.len) == NULL)
        return false;
    while (at < end) {
        const char c = take_byte(&at, end);

        if ((c == '/' || c == '\\' || c == ';') && dots == 2)
            return true;
        if (c == '/' || c == '\\')
            dots = 0;
        else
            dots = c == '.' && dots < DOTS_MAX ? dots + 1 : DOTS_MAX;
    }
    return dots == 2;
}

/* What is left of the path behind strip_prefix, if that is in front of it. */
static td_str
strip(td_str path, td_str prefix)
{
    if (prefix.len == 0 || path.len < prefix.len || memcmp(path.ptr, prefix.ptr, prefix.len) != 0 ||
        (path.len > prefix.len && path.ptr[prefix.len] != '/'))
        return path;
    return td_str_make(path.ptr + prefix.len, path.len - prefix.len);
}

/* One that is empty is another one than none (RFC 3986 section 6.2.3). */
static bool
has_query(td_handler *h, td_str query)
{
    const td_str target = query.len > 0 ? query : td_request_uri(h);

    return query.len > 0 || (target.len > 0 && target.ptr[target.len - 1] == '?');
}

const char *
target_url(const struct relay *relay)
{
    const td_str origin = td_str_of(relay->upstream->origin);
    const td_str added = td_str_of(relay->settings->add_prefix);
    const td_str path = strip(td_request_path(relay->h), td_str_of(relay->settings->strip_prefix));
    const td_str query = td_request_query(relay->h);
    char *url = td_alloc(relay->h, origin.len + added.len + path.len + query.len + sizeof("/?"));
    char *at = mempcpy(url, origin.ptr, origin.len);

    at = mempcpy(at, added.ptr, added.len);
    if (path.len == 0)
        *at++ = '/';
    at = mempcpy(at, path.ptr, path.len);
    if (has_query(relay->h, query))
        *at++ = '?';
    memcpy(at, query.ptr, query.len);
    return url;
}

int
target_check_prefix(const char *key, const char *prefix, td_err *err)
{
    const size_t len = strlen(prefix);

    if (len == 0 || (prefix[0] == '/' && prefix[len - 1] != '/' && strpbrk(prefix, " ?#\t") == NULL))
        return 0;
    return td_err_set(err, TD_ECONFIG, "%s = %s: is no path that begins, and does not end, with a slash", key,
                      prefix);
}
