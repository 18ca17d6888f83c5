#include "http/origin.h"

#include <string.h>
#include <tornado/tcpclient.h>
#include "base/base64.h"
#include "base/buf.h"
#include "http/plain.h"
#include "http/responsehead.h"
#include "io/call.h"
#include "io/tls.h"

#define HTTP_PORT 80

/* ---- keys */

static void
make_lower(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] |= 0x20;
}

static td_block
is_capital(td_block b)
{
    return (td_block)((b - 'A') < 26);
}

/*
 * The key of nearly all: a place that is asked without TLS or a proxy.  It is what the URL says,
 * unless that can be said in another way.
 */
static td_str
plain_key(td_arena *arena, const td_origin *origin)
{
    const td_str said = origin->port == HTTP_PORT ? origin->host : origin->authority;
    char *key;

    if (td_is_run(said, is_capital))
        return said;
    key = memcpy(td_arena_alloc_raw(arena, said.len), said.ptr, said.len);
    make_lower(key, said.len);
    return td_str_make(key, said.len);
}

static void
append_place(td_buf *key, td_str scheme, td_str host, uint16_t port)
{
    td_buf_append(key, scheme);
    td_buf_append(key, host);
    td_buf_append(key, TD_STR(":"));
    td_buf_decimal(key, port);
}

/*
 * Scheme, host and port, the same in whatever case; then what else makes it another connection.  A
 * proxy that relays has the same connection for all.
 */
td_str
td_origin_key(td_arena *arena, const td_origin *origin)
{
    td_buf key = {0};
    td_str copy;

    if (!origin->is_https && origin->unix_socket == NULL && origin->proxy_host == NULL &&
        origin->family == 0)
        return plain_key(arena, origin);
    if (td_origin_is_relayed(origin))
        append_place(&key, TD_STR("proxy://"), td_str_of(origin->proxy_host), origin->proxy_port);
    else if (origin->is_https)
        append_place(&key, TD_STR("https://"), origin->host, origin->port);
    else if (origin->unix_socket == NULL)
        append_place(&key, TD_STR("http://"), origin->host, origin->port);
    make_lower(key.base, key.len);
    if (origin->family != 0)
        td_buf_printf(&key, "\nfamily %d", origin->family);
    if (origin->unix_socket != NULL) {
        td_buf_append(&key, TD_STR("\nunix "));
        td_buf_append(&key, td_str_of(origin->unix_socket));
    }
    if (origin->proxy_host != NULL && origin->is_https)
        td_buf_printf(&key, "\nproxy %s:%u %s:%s", origin->proxy_host, origin->proxy_port,
                      origin->proxy_username != NULL ? origin->proxy_username : "",
                      origin->proxy_password != NULL ? origin->proxy_password : "");
    if (origin->is_https) {
        td_buf_append(&key, TD_STR("\n"));
        td_ssl_options_describe(&origin->ssl, &key);
    }
    copy = td_str_dup(arena, td_buf_str(&key));
    td_buf_release(&key);
    return copy;
}

/* ---- credentials */

td_str
td_basic_credentials(td_arena *arena, td_str pair)
{
    static const char scheme[] = "Basic ";
    const size_t len = strlen(scheme);
    char *text = td_arena_alloc_raw(arena, len + TD_BASE64_LEN(pair.len) + 1);

    memcpy(text, scheme, len);
    return td_str_make(text, (size_t)(td_base64_encode(text + len, pair) - text));
}

td_str
td_origin_proxy_credentials(td_arena *arena, const td_origin *origin)
{
    if (origin->proxy_host == NULL || origin->proxy_username == NULL)
        return td_str_make(NULL, 0);
    return td_basic_credentials(
        arena, td_arena_sprintf(arena, "%s:%s", origin->proxy_username,
                                origin->proxy_password != NULL ? origin->proxy_password : ""));
}

/* ---- the way */

static int
connect_socket(const td_origin *origin, td_arena *arena, int64_t deadline_ns, td_iostream **out,
               td_err *err)
{
    const int64_t left_ms = td_time_left_ms(deadline_ns);
    const char *host;
    uint16_t port = origin->port;

    if (left_ms < 0)
        return td_err_set(err, (int)left_ms, "%s", td_strerror((int)left_ms));
    if (origin->unix_socket != NULL) {
        host = td_arena_sprintf(arena, "unix:%s", origin->unix_socket).ptr;
    } else if (origin->proxy_host != NULL) {
        host = origin->proxy_host;
        port = origin->proxy_port;
    } else {
        host = td_str_dup(arena, origin->host).ptr;
    }
    return td_tcpclient_connect(host, port,
                                TD_CONNECT(.timeout_ms = left_ms > 0 ? left_ms : INT64_MAX / 2,
                                           .family = origin->family,
                                           .source_address = origin->source_address, .err = err),
                                out);
}

/* The next wait for the stream is no longer than that. */
static int
limit_wait(td_iostream *stream, int64_t deadline_ns, td_err *err)
{
    const int64_t left_ms = td_time_left_ms(deadline_ns);

    if (left_ms < 0)
        return td_err_set(err, (int)left_ms, "%s", td_strerror((int)left_ms));
    td_iostream_set_timeout(stream, left_ms);
    return 0;
}

static int
read_tunnel_head(td_arena *arena, td_str head, td_err *err)
{
    td_response_scan scan = {0};
    td_response_head response;
    const char *what = "its answer is incomplete";
    const ssize_t len = td_response_head_scan(&scan, head, &what);

    if (len <= 0 ||
        td_response_head_read(td_str_dup(arena, head), arena, &response, &what) < 0)
        return td_err_set(err, TD_EBADMSG, "%s", what);
    if (response.status / 100 != 2)
        return td_err_set(err, TD_EPROXY, "%d %.*s", response.status,
                          TD_STR_FMT(response.reason));
    return 0;
}

/* What it says behind its head would be the origin's: td_iostream_start_tls refuses that. */
static int
ask_for_tunnel(const td_origin *origin, td_arena *arena, td_iostream *stream, td_err *err)
{
    const td_str credentials = td_origin_proxy_credentials(arena, origin);
    const td_str request = td_arena_sprintf(
        arena, "CONNECT %.*s:%u HTTP/1.1\r\nHost: %.*s:%u\r\n%s%.*s%s\r\n",
        TD_STR_FMT(origin->host), origin->port, TD_STR_FMT(origin->host), origin->port, credentials.len > 0 ? "Proxy-Authorization: " : "",
        TD_STR_FMT(credentials), credentials.len > 0 ? "\r\n" : "");
    td_str head;
    int rc = td_iostream_write(stream, request);

    if (rc == 0)
        rc = td_iostream_read_until(stream, TD_STR("\r\n\r\n"), TD_RESPONSE_HEAD_MAX, &head);
    if (rc < 0)
        return td_err_set(err, rc, "%s", td_strerror(rc));
    return read_tunnel_head(arena, head, err);
}

static int
start_tls(const td_origin *origin, td_iostream *stream, td_err *err)
{
    const int rc = td_iostream_start_tls(stream, &origin->ssl);

    return rc < 0 ? td_err_set(err, rc, "%s", td_iostream_error_text(stream)) : 0;
}

int
td_origin_connect(const td_origin *origin, td_arena *arena, int64_t deadline_ns,
                  td_fetch_phase *phase, td_iostream **out, td_err *err)
{
    td_iostream *stream __attribute__((cleanup(td_iostream_destroy))) = NULL;
    int rc;

    *phase = TD_FETCH_CONNECT;
    rc = connect_socket(origin, arena, deadline_ns, &stream, err);
    if (rc == 0 && origin->proxy_host != NULL && origin->is_https) {
        *phase = TD_FETCH_PROXY;
        rc = limit_wait(stream, deadline_ns, err);
        if (rc == 0)
            rc = ask_for_tunnel(origin, arena, stream, err);
    }
    if (rc == 0 && origin->is_https) {
        *phase = TD_FETCH_TLS;
        rc = limit_wait(stream, deadline_ns, err);
        if (rc == 0)
            rc = start_tls(origin, stream, err);
    }
    if (rc < 0)
        return rc;
    *out = stream;
    stream = NULL;
    return 0;
}
