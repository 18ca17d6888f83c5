/*
 * Goal: what proxies say, in front of a connection or in the headers of a request, does no harm
 * whatever it is, and a header of the PROXY protocol is the same at every cut.
 *
 * Input: the bytes of a connection, and the values of headers, a line each.
 */
#include <stdint.h>
#include <string.h>
#include "base/assert.h"
#include "base/escape.h"
#include "http/proxyprotocol.h"
#include "http/request_internal.h"
#include "http/xheaders.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CUTS_MAX = 300, SIZE_MAX_HERE = 512 };

static void
check_cuts(const char *bytes, size_t len)
{
    td_proxy_header whole, header;
    const char *why;
    const ssize_t n = td_proxy_parse(bytes, len, SIZE_MAX_HERE, &whole, &why);

    TD_ASSERT(n <= (ssize_t)len && n <= SIZE_MAX_HERE);
    TD_ASSERT(n >= 0 || why != NULL);
    for (size_t cut = 0; cut < len && cut < CUTS_MAX; cut++) {
        const ssize_t m = td_proxy_parse(bytes, cut, SIZE_MAX_HERE, &header, &why);

        TD_ASSERT(m == 0 || (m < 0 && n < 0) || (m == n && cut >= (size_t)n));
    }
    if (n > 0)
        TD_ASSERT(td_proxy_parse(bytes, (size_t)n, SIZE_MAX_HERE, &header, &why) == n &&
                  memcmp(&header, &whole, sizeof(header)) == 0);
}

static void
add_lines(td_request *request, td_str name, td_str text)
{
    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        const size_t len = end != NULL ? (size_t)(end - text.ptr) : text.len;

        td_headers_add(&request->head.headers, &request->arena, name,
                       td_str_trim(td_str_make(text.ptr, len)));
        text = td_str_make(text.ptr + len + (end != NULL), text.len - len - (end != NULL));
    }
}

static void
check_headers(td_listener_settings *settings, td_str text)
{
    static const td_str names[] = {TD_STR("X-Forwarded-For"), TD_STR("X-Real-Ip"),
                                   TD_STR("Forwarded"), TD_STR("X-Scheme"),
                                   TD_STR("X-Forwarded-Proto")};
    td_request *request = td_request_create();
    char peer[TD_PEER_TEXT_SIZE];

    request->peer.address_len = 4;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        add_lines(request, names[i], text);
    td_xheaders_apply(settings, request);
    TD_ASSERT(td_peer_format(&request->peer, peer) < sizeof(peer));
    td_request_unref(request);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const td_str text = td_str_make((const char *)data, size);
    td_listener_settings settings = {.xheaders = TD_XHEADERS_OFF};
    td_arena arena;

    if (size == 0)
        return 0;
    td_arena_init(&arena);
    TD_ASSERT(td_networks_parse(&arena, "0.0.0.0/1, fd00::/8, unix:", &settings.trusted_downstream,
                                NULL) == 0);
    check_cuts(text.ptr, text.len);
    for (settings.xheaders = TD_XHEADERS_ON; settings.xheaders <= TD_XHEADERS_FORWARDED;
         settings.xheaders++)
        check_headers(&settings, text);
    td_arena_fini(&arena);
    td_chunk_trim(0);
    return 0;
}
