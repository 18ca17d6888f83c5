/*
 * td_streamserver: the connections of a listener whose protocol is a handler's own
 * (<tornado/tcpserver.h>); what td_httpserver is for HTTP.
 */
#ifndef TORNADO_WEB_STREAMSERVER_H
#define TORNADO_WEB_STREAMSERVER_H

#include "base/counters.h"
#include "base/settings.h"
#include "io/ioloop.h"
#include "web/instance.h"

typedef struct td_streamserver td_streamserver;

typedef struct td_streamserver_options {
    int fd;                               /* listening, non-blocking; stays the caller's */
    const td_listener_settings *settings; /* outlive the server, as all of these */
    const td_instance *instance;          /* its plugin has a handle_stream */
    td_listener_counters *counters;
} td_streamserver_options;

/*
 * Why the protocol of that listener (it has one) cannot be what this instance speaks (NULL: there
 * is no such handler): the setting that is wrong, and TD_ECONFIG in err.  NULL: it can.
 */
TD_PRIVATE const char *td_streamserver_find_fault(const td_listener_settings *listener,
                                                  const td_instance *instance, td_err *err);

TD_PRIVATE td_streamserver *td_streamserver_create(td_ioloop *loop,
                                                   const td_streamserver_options *options);
TD_PRIVATE void td_streamserver_start(td_streamserver *server); /* begins to accept */

/*
 * Accept no more, and let the streams know.  `drained(arg)` runs from the loop when no connection
 * is left.
 */
TD_PRIVATE void td_streamserver_drain(td_streamserver *server, void (*drained)(void *arg),
                                      void *arg);

/* Cancel and close all there is. */
TD_PRIVATE void td_streamserver_destroy(td_streamserver **server);
TD_PRIVATE size_t td_streamserver_connections(const td_streamserver *server);

#endif
