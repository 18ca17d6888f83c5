/* All that a handler needs: #include <tornado/tornado.h> */
#ifndef TORNADO_TORNADO_H
#define TORNADO_TORNADO_H

#include <tornado/abi.h>
#include <tornado/auth.h>
#include <tornado/cookies.h>
#include <tornado/coroutine.h>
#include <tornado/detach.h>
#include <tornado/error.h>
#include <tornado/escape.h>
#include <tornado/executor.h>
#include <tornado/forms.h>
#include <tornado/future.h>
#include <tornado/handler.h>
#include <tornado/httpclient.h>
#include <tornado/httputil.h>
#include <tornado/ioloop.h>
#include <tornado/iostream.h>
#include <tornado/json.h>
#include <tornado/json_writer.h>
#include <tornado/locks.h>
#include <tornado/log.h>
#include <tornado/metrics.h>
#include <tornado/middleware.h>
#include <tornado/plugin.h>
#include <tornado/process.h>
#include <tornado/program.h>
#include <tornado/queues.h>
#include <tornado/redirect.h>
#include <tornado/resolver.h>
#include <tornado/sse.h>
#include <tornado/ssl.h>
#include <tornado/static.h>
#include <tornado/str.h>
#include <tornado/tcpclient.h>
#include <tornado/tcpserver.h>
#include <tornado/tracing.h>
#include <tornado/transform.h>

#endif
