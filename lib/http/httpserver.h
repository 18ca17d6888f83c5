/*
 * td_httpserver: the connections of one listener (Tornado's HTTPServer).
 *
 * Owns its connections, their time-outs and limits; a td_message_delegate gets the requests.
 */
#ifndef TORNADO_HTTP_HTTPSERVER_H
#define TORNADO_HTTP_HTTPSERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <tornado/abi.h>
#include "base/counters.h"
#include "base/settings.h"
#include "http/request.h"
#include "http/spill.h"
#include "io/ioloop.h"
#include "io/tcpserver.h"

typedef struct td_httpserver_options {
    int fd;                                 /* listening, non-blocking; stays the caller's; -1: none */
    const td_listener_settings *settings;   /* outlive the server */
    const td_message_delegate *delegate;
    void *delegate_arg;

    /*
     * One call a response (or refusal of a head, with request->head.raw empty), when it has been
     * given to the kernel or was lost: for the access log.  NULL: none.  duration_ns counts from
     * the complete head.
     */
    void (*log_request)(void *arg, const td_request *request, int64_t duration_ns);
    void *log_arg;
    td_listener_counters *counters; /* connections and bytes are counted there; NULL: nowhere */
    td_spill_place spill_place; /* of the settings: for all servers of the worker together */
} td_httpserver_options;

TD_PRIVATE td_httpserver *td_httpserver_create(td_ioloop *loop,
                                               const td_httpserver_options *options);
TD_PRIVATE void td_httpserver_start(td_httpserver *server); /* begins to accept; fd is not -1 */

/* Serve a client as if it had been accepted; takes its fd (non-blocking) over. */
TD_PRIVATE void td_httpserver_admit(td_httpserver *server, int fd, const td_peer *peer);

/*
 * Accept no more; answer what is there with Connection: close; close idle connections after
 * grace_ms.  `drained(arg)` runs from the loop when no connection is left.
 */
TD_PRIVATE void td_httpserver_drain(td_httpserver *server, int64_t grace_ms,
                                    void (*drained)(void *arg), void *arg);

/* Close everything now; handlers that wait are cancelled. */
TD_PRIVATE void td_httpserver_destroy(td_httpserver **server);

TD_PRIVATE size_t td_httpserver_connections(const td_httpserver *server);

#endif
