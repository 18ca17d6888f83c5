/*
 * td_http_client: the requests of this thread's loop to other servers (BEHAVIOUR section 18), with
 * neither handler nor request.
 */
#ifndef TORNADO_HTTP_HTTPCLIENT_H
#define TORNADO_HTTP_HTTPCLIENT_H

#include <tornado/error.h>
#include <tornado/httpclient.h>
#include "base/arena.h"

typedef struct td_http_client_options {
    size_t max_clients;      /* requests under way */
    size_t idle_max;         /* connections that are kept */
    size_t idle_origin_max;  /* to one origin */
    int64_t idle_timeout_ms; /* for so long */
} td_http_client_options;

/* Before this thread's first request. */
TD_PRIVATE void td_http_client_configure(const td_http_client_options *options);

/*
 * Ask, and wait on the current coroutine, which may be unwound meanwhile.  All that *out points to is
 * in the arena.  0 or out->error.
 */
TD_PRIVATE int td_http_client_fetch(td_arena *arena, const char *url,
                                    const td_fetch_options *options, td_response *out);

/* Close what is kept, before the loop ends. */
TD_PRIVATE void td_http_client_close(void);

/* Of this thread: requests under way, connections kept. */
TD_PRIVATE size_t td_http_client_active(void);
TD_PRIVATE size_t td_http_client_idle(void);

#endif
