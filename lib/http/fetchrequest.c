/*
 * The head of a request: whether it can be sent as it is asked for, and how it is written.  What a
 * redirect has changed is seen to here, too: credentials are not for another origin.
 */
#include "http/fetch_internal.h"

#include <string.h>
#include <strings.h>
#include "base/escape.h"
#include "base/put.h"
#include "http/parser.h"
#include "io/tls.h"

#define USER_AGENT "tornadod/" TD_VERSION

/* ---- the request, as it is asked for */

const td_fetch_header *
td_fetch_find_asked(const td_fetch_stream *f, const char *name)
{
    const td_fetch_options *options = f->options;

    for (size_t i = 0; i < options->headers_count; i++)
        if (td_str_equal_nocase(td_str_of(options->headers[i].name), td_str_of(name)))
            return &options->headers[i];
    return NULL;
}

static int
check_headers(td_fetch_stream *f)
{
    /* How the message is framed is ours to say. */
    static const char *const ours[] = {"Content-Length", "Transfer-Encoding", "Expect", "Upgrade"};

    for (size_t i = 0; i < f->options->headers_count; i++) {
        const td_fetch_header *header = &f->options->headers[i];

        if (header->name == NULL || header->value == NULL ||
            !td_is_token(td_str_of(header->name)) || !td_is_field_value(td_str_of(header->value)))
            return td_fetch_fail(f, TD_EINVAL, "header %zu is none", i + 1);
    }
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (td_fetch_find_asked(f, ours[i]) != NULL)
            return td_fetch_fail(f, TD_EINVAL, "%s is not for the caller to set", ours[i]);
    if (f->options->upgrade != NULL && !td_is_token(td_str_of(f->options->upgrade)))
        return td_fetch_fail(f, TD_EINVAL, "the upgrade is none");
    if (f->options->user_agent != NULL && !td_is_field_value(td_str_of(f->options->user_agent)))
        return td_fetch_fail(f, TD_EINVAL, "the user agent is none");
    return 0;
}

static bool
is_one_of(td_str method, const char *const *methods, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (td_str_equal(method, td_str_of(methods[i])))
            return true;
    return false;
}
#define IS_ONE_OF(method, ...)                            \
    is_one_of(method, (const char *const[]){__VA_ARGS__}, \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static int
check_method(td_fetch_stream *f)
{
    const bool wants_body = IS_ONE_OF(f->method, "POST", "PUT", "PATCH");
    const bool has_body = f->body.ptr != NULL || td_fetch_is_streamed(f);
    const bool is_known = wants_body || IS_ONE_OF(f->method, "GET", "HEAD", "DELETE", "OPTIONS");

    if (!td_is_token(f->method) || td_str_equal(f->method, TD_STR("CONNECT")))
        return td_fetch_fail(f, TD_EINVAL, "the method is none");
    if (f->body.ptr != NULL && td_fetch_is_streamed(f))
        return td_fetch_fail(f, TD_EINVAL, "a body is given that is to be streamed");
    if (f->options->upgrade != NULL && has_body)
        return td_fetch_fail(f, TD_EINVAL, "an upgrade of a request with a body");
    if (f->options->allow_nonstandard_methods)
        return 0;
    if (!is_known)
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
    return IS_ONE_OF(f->method, "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE");
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
        out->server_hostname = f->origin.host;
    if (out->alpn == NULL)
        out->alpn = "http/1.1";
    return true;
}

int
td_fetch_check_url(td_fetch_stream *f)
{
    const td_fetch_options *o = f->options;

    if (!td_uri_parse(f->url, &f->uri))
        return td_fetch_fail(f, TD_EINVAL, "not an http URL: %.*s", TD_STR_FMT(f->url));
    if (o->proxy_host != NULL && (o->proxy_port == 0 || o->unix_socket != NULL))
        return td_fetch_fail(f, TD_EINVAL, "a proxy without a port, or for a unix socket");
    f->origin = (td_origin){.is_https = f->uri.is_https,
                            .host = td_str_dup(f->arena, f->uri.host).ptr,
                            .port = f->uri.port,
                            .unix_socket = o->unix_socket,
                            .source_address = o->source_address,
                            .proxy_host = o->proxy_host,
                            .proxy_port = o->proxy_port,
                            .proxy_username = o->proxy_username,
                            .proxy_password = o->proxy_password};
    if (f->uri.is_https && !read_ssl_options(f, &f->origin.ssl))
        return td_fetch_fail(f, TD_EINVAL, "the TLS options are wrong");
    return 0;
}

/* ---- the request, as it is sent */

static void
add_header(td_fetch_stream *f, const char *name, td_str value)
{
    const td_str name_ = td_str_of(name);
    const size_t size = name_.len + value.len + strlen(": \r\n");
    char *at = td_buf_reserve(&f->sent, size);

    at = td_put(at, name_);
    at = TD_PUT(at, ": ");
    at = td_put(at, value);
    TD_PUT(at, "\r\n");
    td_buf_added(&f->sent, size);
}

static void
add_unless_asked(td_fetch_stream *f, const char *name, td_str value)
{
    if (td_fetch_find_asked(f, name) == NULL)
        add_header(f, name, value);
}

/* Authorization: Basic (RFC 7617), of the options or else of the URL. */
static void
add_credentials(td_fetch_stream *f)
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
    add_header(f, "Authorization", td_basic_credentials(f->arena, pair));
}

/* Some of what was asked for is not for everybody, or not for a request without its body. */
static bool
is_withheld(const td_fetch_stream *f, const char *name)
{
    static const char *const secrets[] = {"Authorization", "Cookie", "Proxy-Authorization"};
    static const char *const of_body[] = {"Content-Type", "Content-Encoding", "Content-Language",
                                          "Content-Location"};
    const bool lost_body = f->out->redirects > 0 && f->body.ptr == NULL && !td_fetch_is_streamed(f);

    for (size_t i = 0; f->is_foreign && i < sizeof(secrets) / sizeof(secrets[0]); i++)
        if (strcasecmp(name, secrets[i]) == 0)
            return true;
    for (size_t i = 0; lost_body && i < sizeof(of_body) / sizeof(of_body[0]); i++)
        if (strcasecmp(name, of_body[i]) == 0)
            return true;
    if (strcasecmp(name, "Proxy-Authorization") == 0 && !td_origin_is_relayed(&f->origin))
        return true;
    return f->out->redirects > 0 && strcasecmp(name, "Host") == 0;
}

static void
append_authority(td_fetch_stream *f)
{
    td_buf_append(&f->sent, f->uri.host);
    if (f->uri.has_port) {
        td_buf_append(&f->sent, TD_STR(":"));
        td_buf_decimal(&f->sent, f->uri.port);
    }
}

static void
add_host(td_fetch_stream *f)
{
    if (td_fetch_find_asked(f, "Host") != NULL && f->out->redirects == 0)
        return;
    td_buf_append(&f->sent, TD_STR("Host: "));
    append_authority(f);
    td_buf_append(&f->sent, TD_STR("\r\n"));
}

/* What only the proxy is told. */
static void
add_proxy_credentials(td_fetch_stream *f)
{
    const td_str credentials = td_origin_proxy_credentials(f->arena, &f->origin);

    if (td_origin_is_relayed(&f->origin) && credentials.len > 0)
        add_header(f, "Proxy-Authorization", credentials);
}

static void
add_length(td_fetch_stream *f, uint64_t len)
{
    td_buf_append(&f->sent, TD_STR("Content-Length: "));
    td_buf_decimal(&f->sent, len);
    td_buf_append(&f->sent, TD_STR("\r\n"));
}

/* RFC 9112 section 6: how long the body is, or that it comes in chunks. */
static void
add_body_headers(td_fetch_stream *f)
{
    const uint64_t len =
        td_fetch_is_streamed(f) ? (uint64_t)f->options->content_length : f->body.len;

    if (td_str_equal(f->method, TD_STR("POST")) && !f->is_pulled)
        add_unless_asked(f, "Content-Type", TD_STR("application/x-www-form-urlencoded"));
    if (td_fetch_is_streamed(f) && len == 0)
        add_header(f, "Transfer-Encoding", TD_STR("chunked"));
    else
        add_length(f, len);
    f->expects_continue = f->options->expect_100_continue && (len > 0 || td_fetch_is_streamed(f));
    if (f->expects_continue)
        add_header(f, "Expect", TD_STR("100-continue"));
}

void
td_fetch_make_head(td_fetch_stream *f)
{
    const td_fetch_options *o = f->options;

    td_buf_append(&f->sent, f->method);
    td_buf_append(&f->sent, TD_STR(" "));
    if (td_origin_is_relayed(&f->origin)) { /* absolute-form */
        td_buf_append(&f->sent, TD_STR("http://"));
        append_authority(f);
    }
    td_buf_append(&f->sent, f->uri.path);
    if (f->uri.query.ptr != NULL) {
        td_buf_append(&f->sent, TD_STR("?"));
        td_buf_append(&f->sent, f->uri.query);
    }
    td_buf_append(&f->sent, TD_STR(" HTTP/1.1\r\n"));
    add_host(f);
    for (size_t i = 0; i < o->headers_count; i++)
        if (!is_withheld(f, o->headers[i].name))
            add_header(f, o->headers[i].name, td_str_of(o->headers[i].value));
    if (o->user_agent == NULL || o->user_agent[0] != '\0')
        add_unless_asked(f, "User-Agent",
                         td_str_of(o->user_agent != NULL ? o->user_agent : USER_AGENT));
    if (!o->no_decompress)
        add_unless_asked(f, "Accept-Encoding", TD_STR("gzip"));
    if (o->upgrade != NULL) {
        add_header(f, "Connection", TD_STR("Upgrade"));
        add_header(f, "Upgrade", td_str_of(o->upgrade));
    } else if (o->no_keep_alive) {
        add_unless_asked(f, "Connection", TD_STR("close"));
    }
    if (td_fetch_find_asked(f, "Authorization") == NULL || f->is_foreign)
        add_credentials(f);
    add_proxy_credentials(f);
    if (f->body.ptr != NULL || td_fetch_is_streamed(f))
        add_body_headers(f);
    td_buf_append(&f->sent, TD_STR("\r\n"));
}
