/*
 * The head of a request: whether it can be sent as it is asked for, and how it is written.  What a
 * redirect has changed is seen to here, too: credentials are not for another origin.
 */
#include "http/fetch_internal.h"

#include <string.h>
#include "base/escape.h"
#include "base/put.h"
#include "http/parser.h"
#include "http/plain.h"
#include "io/tls.h"

#define USER_AGENT "tornadod/" TD_VERSION

/* ---- the request, as it is asked for */

/* Length and first letter tell nearly all names apart. */
static unsigned
find_asked(td_str name)
{
#define NAME(first, lower, asks)                                                                   \
    case (sizeof(lower) - 1) << 8 | (first):                                                       \
        return TD_IS_WORD(name, lower) ? (asks) : 0
    switch (name.len << 8 | (size_t)(name.ptr[0] | 0x20)) {
        NAME('h', "host", TD_ASKS_HOST);
        NAME('e', "expect", TD_ASKS_FRAMING);
        NAME('u', "upgrade", TD_ASKS_FRAMING);
        NAME('c', "connection", TD_ASKS_CONNECTION);
        NAME('u', "user-agent", TD_ASKS_USER_AGENT);
        NAME('c', "content-type", TD_ASKS_CONTENT_TYPE);
        NAME('a', "authorization", TD_ASKS_AUTHORIZATION);
        NAME('c', "content-length", TD_ASKS_FRAMING);
        NAME('a', "accept-encoding", TD_ASKS_ACCEPT_ENCODING);
        NAME('t', "transfer-encoding", TD_ASKS_FRAMING);
        NAME('p', "proxy-authorization", TD_ASKS_PROXY_AUTHORIZATION);
    }
#undef NAME
    return 0;
}

/* RFC 9112 section 3.2: one Host, and of a valid value; servers refuse all else, or disagree. */
static bool
is_host(const td_fetch_stream *f, td_str value)
{
    td_str name;

    return (f->asks & TD_ASKS_HOST) == 0 && td_host_split(value, &name);
}

static int
check_headers(td_fetch_stream *f)
{
    const td_fetch_options *o = f->options;

    for (size_t i = 0; i < o->headers_count; i++) {
        const td_header line = {td_str_of(o->headers[i].name), td_str_of(o->headers[i].value)};

        if (line.name.ptr == NULL || line.value.ptr == NULL || !td_is_token(line.name) ||
            !td_is_field_value(line.value))
            return td_fetch_fail(f, TD_EINVAL, "header %zu is none", i + 1);
        const unsigned asks = find_asked(line.name);

        if (asks == TD_ASKS_FRAMING)
            return td_fetch_fail(f, TD_EINVAL, "%s is not for the caller to set", line.name.ptr);
        if (asks == TD_ASKS_HOST && !is_host(f, line.value))
            return td_fetch_fail(f, TD_EINVAL, "Host is none, or there are two");
        f->asks |= asks;
        *td_headers_append(&f->asked, f->arena) = line;
    }
    if (o->upgrade != NULL && !td_is_token(td_str_of(o->upgrade)))
        return td_fetch_fail(f, TD_EINVAL, "the upgrade is none");
    if (o->user_agent != NULL && !td_is_field_value(td_str_of(o->user_agent)))
        return td_fetch_fail(f, TD_EINVAL, "the user agent is none");
    /* RFC 7617 section 2: with a colon it would be another user, and another password. */
    if (o->auth_username != NULL && strchr(o->auth_username, ':') != NULL)
        return td_fetch_fail(f, TD_EINVAL, "auth_username has a colon");
    return 0;
}

/* What is known of a method. */
enum { METHOD_KNOWN = 1 << 0, METHOD_WANTS_BODY = 1 << 1, METHOD_IDEMPOTENT = 1 << 2 };

static unsigned
find_method(td_str method)
{
    static const struct {
        td_str name;
        unsigned is;
    } methods[] = {
        {{"GET", 3}, METHOD_KNOWN | METHOD_IDEMPOTENT},
        {{"POST", 4}, METHOD_KNOWN | METHOD_WANTS_BODY},
        {{"HEAD", 4}, METHOD_KNOWN | METHOD_IDEMPOTENT},
        {{"PUT", 3}, METHOD_KNOWN | METHOD_WANTS_BODY | METHOD_IDEMPOTENT},
        {{"PATCH", 5}, METHOD_KNOWN | METHOD_WANTS_BODY},
        {{"DELETE", 6}, METHOD_KNOWN | METHOD_IDEMPOTENT},
        {{"OPTIONS", 7}, METHOD_KNOWN | METHOD_IDEMPOTENT},
        {{"TRACE", 5}, METHOD_IDEMPOTENT},
    };

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (td_str_equal(method, methods[i].name))
            return methods[i].is;
    return 0;
}

static int
check_method(td_fetch_stream *f)
{
    const bool has_body = f->body.ptr != NULL || td_fetch_is_streamed(f);

    if (f->options->method == NULL && !has_body)
        return 0; /* the GET of most */

    const unsigned is = find_method(f->method);
    const bool wants_body = (is & METHOD_WANTS_BODY) != 0;

    if ((is == 0 && !td_is_token(f->method)) || td_str_equal(f->method, TD_STR("CONNECT")))
        return td_fetch_fail(f, TD_EINVAL, "the method is none");
    if (f->body.ptr != NULL && td_fetch_is_streamed(f))
        return td_fetch_fail(f, TD_EINVAL, "a body is given that is to be streamed");
    if (f->options->upgrade != NULL && has_body)
        return td_fetch_fail(f, TD_EINVAL, "an upgrade of a request with a body");
    if (f->options->allow_nonstandard_methods)
        return 0;
    if ((is & METHOD_KNOWN) == 0)
        return td_fetch_fail(f, TD_EINVAL, "unknown method %.*s", TD_STR_FMT(f->method));
    if (wants_body != has_body)
        return td_fetch_fail(f, TD_EINVAL, "a body must %sbe given for %.*s",
                             wants_body ? "" : "not ", TD_STR_FMT(f->method));
    return 0;
}

int
td_fetch_check_options(td_fetch_stream *f)
{
    const int rc = check_method(f);

    return rc < 0 ? rc : check_headers(f);
}

/* RFC 9110 section 9.2.2: a second time has no effect that the first one had not. */
bool
td_fetch_is_idempotent(const td_fetch_stream *f)
{
    return (find_method(f->method) & METHOD_IDEMPOTENT) != 0;
}

/* Tornado's rule: ssl_options stand for the four others. */
static bool
read_ssl_options(td_fetch_stream *f, td_ssl_options *out)
{
    const td_fetch_options *o = f->options;
    const td_ssl_options four = {.size = sizeof(four),
                                 .no_validate_cert = o->no_validate_cert,
                                 .ca_certs = o->ca_certs,
                                 .certfile = o->client_cert,
                                 .keyfile = o->client_key};

    if (!td_ssl_options_read(o->ssl_options != NULL ? o->ssl_options : &four, out, "td_fetch"))
        return false;
    if (f->is_foreign) /* who we are is another origin's business as little as our password */
        out->certfile = out->keyfile = out->server_hostname = NULL;
    if (out->server_hostname == NULL)
        out->server_hostname = td_str_dup(f->arena, f->origin.host).ptr;
    if (out->alpn == NULL)
        out->alpn = "http/1.1";
    return true;
}

int
td_fetch_check_url(td_fetch_stream *f)
{
    const td_fetch_options *o = f->options;
    const bool has_proxy = o->proxy_host != NULL && o->proxy_host[0] != '\0';

    if (!td_uri_parse(f->url, &f->uri))
        return td_fetch_fail(f, TD_EINVAL, "not an http URL: %.*s", TD_STR_FMT(f->url));
    if (has_proxy && (o->proxy_port == 0 || o->unix_socket != NULL))
        return td_fetch_fail(f, TD_EINVAL, "a proxy without a port, or for a unix socket");
    f->origin = (td_origin){.is_https = f->uri.is_https,
                            .host = f->uri.host,
                            .authority = f->uri.authority,
                            .port = f->uri.port,
                            .unix_socket = o->unix_socket,
                            .source_address = o->source_address,
                            .family = o->family};
    if (has_proxy) {
        f->origin.proxy_host = o->proxy_host;
        f->origin.proxy_port = o->proxy_port;
        f->origin.proxy_username = o->proxy_username;
        f->origin.proxy_password = o->proxy_password;
    } else if (o->proxy_host == NULL && o->unix_socket == NULL) {
        td_http_client_route(&f->origin);
    }
    if (f->uri.is_https && !read_ssl_options(f, &f->origin.ssl))
        return td_fetch_fail(f, TD_EINVAL, "the TLS options are wrong");
    return 0;
}

/* ---- the request, as it is sent */

#define OURS_MAX 12
#define USUAL_LINES "User-Agent: " USER_AGENT "\r\nAccept-Encoding: gzip\r\n"

/* The lines that we add, and what is made for them. */
struct ours {
    td_header lines[OURS_MAX];
    size_t count;
    bool usual; /* USUAL_LINES come before them */
    char length[TD_DECIMAL_MAX];
};

static void
add(struct ours *ours, td_str name, td_str value)
{
    ours->lines[ours->count++] = (td_header){name, value};
}

/* Authorization: Basic (RFC 7617), of the options or else of the URL. */
static void
add_credentials(td_fetch_stream *f, struct ours *ours)
{
    const td_fetch_options *o = f->options;
    td_str pair = {NULL, 0};

    if (o->auth_username != NULL && !f->is_foreign)
        pair = td_arena_sprintf(f->arena, "%s:%s", o->auth_username,
                                o->auth_password != NULL ? o->auth_password : "");
    else if (f->uri.user_info.ptr != NULL)
        pair = td_url_unescape(f->arena, f->uri.user_info, false);
    if (pair.ptr == NULL)
        return;
    if (memchr(pair.ptr, ':', pair.len) == NULL)
        pair = td_arena_sprintf(f->arena, "%.*s:", TD_STR_FMT(pair));
    add(ours, TD_STR("Authorization"), td_basic_credentials(f->arena, pair));
}

/* What only a proxy is told that is told all. */
static void
add_proxy_credentials(td_fetch_stream *f, struct ours *ours)
{
    const td_str credentials = td_origin_proxy_credentials(f->arena, &f->origin);

    if (credentials.len > 0)
        add(ours, TD_STR("Proxy-Authorization"), credentials);
}

/* RFC 9112 section 6: how long the body is, or that it comes in chunks. */
static void
add_framing(td_fetch_stream *f, struct ours *ours)
{
    const uint64_t len =
        td_fetch_is_streamed(f) ? (uint64_t)f->options->content_length : f->body.len;
    const char *end;

    if (td_str_equal(f->method, TD_STR("POST")) && !f->is_pulled &&
        (f->asks & TD_ASKS_CONTENT_TYPE) == 0)
        add(ours, TD_STR("Content-Type"), TD_STR("application/x-www-form-urlencoded"));
    if (td_fetch_is_streamed(f) && len == 0) {
        add(ours, TD_STR("Transfer-Encoding"), TD_STR("chunked"));
    } else {
        end = td_put_decimal(ours->length, len);
        add(ours, TD_STR("Content-Length"), td_str_make(ours->length, (size_t)(end - ours->length)));
    }
    f->expects_continue = f->options->expect_100_continue && (len > 0 || td_fetch_is_streamed(f));
    if (f->expects_continue)
        add(ours, TD_STR("Expect"), TD_STR("100-continue"));
}

static void
collect_ours(td_fetch_stream *f, struct ours *ours)
{
    const td_fetch_options *o = f->options;

    const bool names_agent = (f->asks & TD_ASKS_USER_AGENT) == 0 &&
                             (o->user_agent == NULL || o->user_agent[0] != '\0');
    const bool inflates = (f->asks & TD_ASKS_ACCEPT_ENCODING) == 0 && !o->no_decompress;

    ours->usual = names_agent && o->user_agent == NULL && inflates;
    if (names_agent && !ours->usual)
        add(ours, TD_STR("User-Agent"),
            o->user_agent != NULL ? td_str_of(o->user_agent) : TD_STR(USER_AGENT));
    if (inflates && !ours->usual)
        add(ours, TD_STR("Accept-Encoding"), TD_STR("gzip"));
    if (o->upgrade != NULL) {
        add(ours, TD_STR("Connection"), TD_STR("Upgrade"));
        add(ours, TD_STR("Upgrade"), td_str_of(o->upgrade));
    } else if (o->no_keep_alive && (f->asks & TD_ASKS_CONNECTION) == 0) {
        add(ours, TD_STR("Connection"), TD_STR("close"));
    }
    if ((f->asks & TD_ASKS_AUTHORIZATION) == 0 || f->is_foreign)
        add_credentials(f, ours);
    if (td_origin_is_relayed(&f->origin))
        add_proxy_credentials(f, ours);
    if (f->body.ptr != NULL || td_fetch_is_streamed(f))
        add_framing(f, ours);
}

static bool
is_one_of(td_str name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (td_str_equal_nocase(name, td_str_of(names[i])))
            return true;
    return false;
}

/* Some of what was asked for is not for everybody, or not for a request without its body. */
static bool
is_withheld(const td_fetch_stream *f, td_str name)
{
    static const char *const secrets[] = {"Authorization", "Cookie"};
    static const char *const of_body[] = {"Content-Type", "Content-Encoding", "Content-Language",
                                          "Content-Location"};
    const bool lost_body = f->body.ptr == NULL && !td_fetch_is_streamed(f);
    const unsigned asks = find_asked(name);

    if (asks == TD_ASKS_PROXY_AUTHORIZATION)
        return f->is_foreign || !td_origin_is_relayed(&f->origin);
    if (f->out->redirects == 0)
        return false;
    return asks == TD_ASKS_HOST || (f->is_foreign && is_one_of(name, secrets, 2)) ||
           (lost_body && is_one_of(name, of_body, 4));
}

static void
withhold(td_fetch_stream *f)
{
    size_t kept = 0;

    if (f->out->redirects == 0 && (f->asks & TD_ASKS_PROXY_AUTHORIZATION) == 0)
        return;
    for (size_t i = 0; i < f->asked.count; i++)
        if (!is_withheld(f, f->asked.items[i].name))
            f->asked.items[kept++] = f->asked.items[i];
    f->asked.count = kept;
}

static size_t
lines_size(const td_header *lines, size_t count)
{
    size_t size = 0;

    for (size_t i = 0; i < count; i++)
        size += lines[i].name.len + lines[i].value.len + sizeof(": \r\n") - 1;
    return size;
}

static char *
put_lines(char *at, const td_header *lines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        at = td_put(at, lines[i].name);
        at = TD_PUT(at, ": ");
        at = td_put(at, lines[i].value);
        at = TD_PUT(at, "\r\n");
    }
    return at;
}

static char *
put_request_line(char *at, const td_fetch_stream *f)
{
    at = td_put(at, f->method);
    *at++ = ' ';
    if (td_origin_is_relayed(&f->origin)) { /* absolute-form */
        at = TD_PUT(at, "http://");
        at = td_put(at, f->uri.authority);
    }
    at = td_put(at, f->uri.path);
    if (f->uri.query.ptr != NULL) {
        *at++ = '?';
        at = td_put(at, f->uri.query);
    }
    return TD_PUT(at, " HTTP/1.1\r\n");
}

void
td_fetch_make_head(td_fetch_stream *f, td_buf *to)
{
    struct ours ours;
    char *start, *at;

    ours.count = 0;
    withhold(f);
    collect_ours(f, &ours);
    start = at = td_buf_reserve(to, f->method.len + 2 * f->url.len +
                                        sizeof("  HTTP/1.1\r\nHost: \r\n\r\n" USUAL_LINES) +
                                        lines_size(f->asked.items, f->asked.count) +
                                        lines_size(ours.lines, ours.count));
    at = put_request_line(at, f);
    if ((f->asks & TD_ASKS_HOST) == 0 || f->out->redirects > 0) {
        at = TD_PUT(at, "Host: ");
        at = td_put(at, f->uri.authority);
        at = TD_PUT(at, "\r\n");
    }
    at = put_lines(at, f->asked.items, f->asked.count);
    if (ours.usual)
        at = TD_PUT(at, USUAL_LINES);
    at = put_lines(at, ours.lines, ours.count);
    at = TD_PUT(at, "\r\n");
    td_buf_added(to, (size_t)(at - start));
}
