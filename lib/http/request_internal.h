/* What the HTTP layer alone does with a td_request. */
#ifndef TORNADO_HTTP_REQUEST_INTERNAL_H
#define TORNADO_HTTP_REQUEST_INTERNAL_H

#include <sys/socket.h>
#include "base/assert.h"
#include "http/request.h"
#include "http/spill.h"

/* See td_address for IPv4 addresses that came through an IPv6 socket. */
td_peer td_peer_of(const struct sockaddr_storage *address);

td_request *td_request_create(void); /* one reference, the connection's */

/* As new, for the next request of the connection; nobody else holds a reference. */
void td_request_reset(td_request *request);

/* Whether a body of that size may come, as far as can be told before it does. */
bool td_request_body_fits(const td_request *request, uint64_t size);

/*
 * Room in body_buf for `size` bytes in all; false when the budget has none.
 */
bool td_request_reserve_body(td_request *request, size_t size);

/* From here on the body goes to a file, which is made when there is something to write. */
void td_request_begin_spill(td_request *request);

/* Append to it; what had come to memory goes first.  As td_spill_write. */
int td_request_spill(td_request *request, const td_spill_place *place, td_str data);
void td_request_release_body(td_request *request);

/* Before arena is rewound. */
static inline void
td_request_release_scope(td_request *request)
{
    if (TD_LIKELY(request->scope == NULL))
        return;
    td_arena_fini(request->scope);
    request->scope = NULL;
}

#endif
