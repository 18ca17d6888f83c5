/*
 * Memory and plain facts of a request.  The object lies in the first chunk of its own arena, so a
 * request that allocates little is one pooled chunk, and giving it back is one call.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include "base/assert.h"
#include "base/budget.h"
#include "http/detached.h"
#include "http/request_internal.h"

td_request *
td_request_create(void)
{
    td_arena arena;
    td_request *request;

    td_arena_init(&arena);
    request = TD_ARENA_NEW(&arena, td_request);
    request->arena = arena;
    request->empty = td_arena_mark_now(&arena);
    request->references = 1;
    return request;
}

void
td_request_reset(td_request *request)
{
    const td_arena arena = request->arena;
    const td_arena_mark empty = request->empty;

    td_request_release_body(request);
    td_request_release_scope(request);
    memset(request, 0, sizeof(*request));
    request->arena = arena;
    request->empty = empty;
    request->references = 1;
    td_arena_rewind(&request->arena, empty);
}

void
td_request_unref(td_request *request)
{
    TD_ASSERT(request->references > 0);
    if (--request->references > 0)
        return;
    if (TD_UNLIKELY(request->detached != NULL))
        td_detached_release(request->detached);
    td_request_release_body(request);
    td_request_release_scope(request);

    td_arena arena = request->arena; /* the request lies in it */
    td_arena_fini(&arena);
}

bool
td_request_body_fits(const td_request *request, uint64_t size)
{
    const size_t has = request->body_buf.size;

    return size < has || (size < SIZE_MAX && td_budget_has(TD_BUDGET_BODIES, size + 1 - has));
}

bool
td_request_reserve_body(td_request *request, size_t size)
{
    td_buf *body = &request->body_buf;

    size++; /* for the NUL behind it */
    if (size <= body->size)
        return true;
    if (!td_budget_take(TD_BUDGET_BODIES, size - body->size))
        return false;
    TD_ASSERT(body->start == 0); /* nothing is taken from its front */
    body->base = td_xrealloc(body->base, size); /* a large one grows without being copied */
    body->size = size;
    return true;
}

static void
release_body_buf(td_request *request)
{
    td_budget_give(TD_BUDGET_BODIES, request->body_buf.size);
    td_note_large(request->body_buf.size);
    free(request->body_buf.base);
    request->body_buf = (td_buf){0};
}

void
td_request_begin_spill(td_request *request)
{
    request->spill = TD_ARENA_NEW(&request->arena, td_spill);
    request->spill->fd = -1;
}

int
td_request_spill(td_request *request, const td_spill_place *place, td_str data)
{
    if (request->body_buf.base != NULL) {
        const int rc = td_spill_write(request->spill, place, td_buf_str(&request->body_buf));

        release_body_buf(request);
        if (rc < 0)
            return rc;
    }
    return td_spill_write(request->spill, place, data);
}

void
td_request_release_body(td_request *request)
{
    if (request->body_buf.base == NULL && request->spill == NULL && request->body_watcher == NULL)
        return;
    release_body_buf(request);
    if (request->spill != NULL)
        td_spill_close(request->spill);
    if (request->body_watcher != NULL)
        request->body_watcher->release(request->body_watcher);
    request->spill = NULL;
    request->body_watcher = NULL;
    request->body = td_str_make(NULL, 0);
}

td_peer
td_peer_make(td_address address, uint16_t port)
{
    td_peer peer = {.address_len = address.len, .port = port};

    memcpy(peer.address, address.bytes, sizeof(peer.address));
    return peer;
}

td_peer
td_peer_of(const struct sockaddr_storage *address)
{
    td_peer peer = {.address_len = 0};

    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;

        memcpy(peer.address, &in->sin_addr, 4);
        peer.address_len = 4;
        peer.port = ntohs(in->sin_port);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

        peer = td_peer_make(td_address_of_v6(in6->sin6_addr.s6_addr), ntohs(in6->sin6_port));
    }
    return peer;
}

static char *
format_octet(char *out, unsigned octet)
{
    if (octet >= 100)
        *out++ = (char)('0' + octet / 100);
    if (octet >= 10)
        *out++ = (char)('0' + octet / 10 % 10);
    *out++ = (char)('0' + octet % 10);
    return out;
}

/* IPv4 by hand: this runs once a request for the access log, and inet_ntop goes through printf. */
size_t
td_peer_format(const td_peer *peer, char out[TD_PEER_TEXT_SIZE])
{
    char *end = out;

    if (peer->address_len == 0) {
        memcpy(out, "unix:", 6);
        return 5;
    }
    if (peer->address_len == 16) {
        inet_ntop(AF_INET6, peer->address, out, TD_PEER_TEXT_SIZE);
        return strlen(out);
    }
    for (int i = 0; i < 4; i++) {
        end = format_octet(end, peer->address[i]);
        *end++ = '.';
    }
    *--end = '\0';
    return (size_t)(end - out);
}

td_str
td_request_remote_ip(td_request *request)
{
    char text[TD_PEER_TEXT_SIZE];
    size_t len = td_peer_format(&request->peer, text);

    return td_str_dup(&request->arena, td_str_make(text, len));
}

const char *
td_request_protocol(const td_request *request)
{
    return request->https ? "https" : "http";
}
