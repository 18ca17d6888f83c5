/*
 * How a request fails, in words that name the phase, and how late it is.  Two texts for each phase:
 * one for a wait that took too long, and one in front of what the system or TLS says.
 */
#include "http/fetch_internal.h"

#include <stdarg.h>
#include "base/clock.h"
#include "io/call.h"
#include "io/iostream.h"

#define TIMEOUT_DEFAULT_MS 20000

int
td_fetch_fail(td_fetch_stream *f, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    f->out->reason = td_arena_vsprintf(f->arena, format, args);
    va_end(args);
    f->out->error = error;
    return error;
}

/* With whom: whoever reads the log may not have the source. */
static int
fail_connecting(td_fetch_stream *f, int error, const char *text)
{
    const td_origin *to = &f->origin;

    if (error == TD_ENOTFOUND)
        text = "there is no such host";
    if (to->unix_socket != NULL)
        return td_fetch_fail(f, error, "connecting to unix:%s: %s", to->unix_socket, text);
    if (to->proxy_host != NULL)
        return td_fetch_fail(f, error, "connecting to the proxy %s:%u: %s", to->proxy_host,
                             (unsigned)to->proxy_port, text);
    return td_fetch_fail(f, error, "connecting to %.*s:%u: %s", TD_STR_FMT(to->host),
                         (unsigned)to->port, text);
}

int
td_fetch_fail_saying(td_fetch_stream *f, int error, const char *text)
{
    static const char *const late[] = {
        [TD_FETCH_QUEUED] = "Timeout in request queue",
        [TD_FETCH_CONNECT] = "Timeout while connecting",
        [TD_FETCH_PROXY] = "Timeout while connecting through the proxy",
        [TD_FETCH_TLS] = "Timeout during TLS handshake",
        [TD_FETCH_SEND] = "Timeout during request",
        [TD_FETCH_HEAD] = "Timeout during request",
        [TD_FETCH_BODY] = "Timeout during request",
    };
    static const char *const doing[] = {
        [TD_FETCH_QUEUED] = "waiting for others",
        [TD_FETCH_PROXY] = "proxy",
        [TD_FETCH_TLS] = "TLS handshake",
        [TD_FETCH_SEND] = "sending the request",
        [TD_FETCH_HEAD] = "waiting for the response",
        [TD_FETCH_BODY] = "receiving the body",
    };
    const td_fetch_phase phase = f->out->phase;

    if (error == TD_ETIMEDOUT)
        return td_fetch_fail(f, error, "%s", late[phase]);
    if (phase == TD_FETCH_CONNECT)
        return fail_connecting(f, error, text);
    return td_fetch_fail(f, error, "%s: %s", doing[phase], text);
}

int
td_fetch_fail_waiting(td_fetch_stream *f, int error)
{
    const td_iostream *stream = f->upstream != NULL ? f->upstream->stream : NULL;

    return td_fetch_fail_saying(f, error,
                                td_iostream_error(stream) == error ? td_iostream_error_text(stream)
                                                                   : td_strerror(error));
}

int
td_fetch_end_wait(td_fetch_stream *f, int rc)
{
    return rc < 0 && f->out->error == 0 ? td_fetch_fail_waiting(f, rc) : rc;
}

/* ---- time */

int64_t
td_fetch_deadline_after(int64_t since_ns, int64_t timeout_ms)
{
    if (timeout_ms == 0)
        timeout_ms = TIMEOUT_DEFAULT_MS;
    return timeout_ms < 0 || timeout_ms > (INT64_MAX - since_ns) / TD_NS_PER_MS
               ? INT64_MAX
               : since_ns + timeout_ms * TD_NS_PER_MS;
}

/* A wait has ended with a look at the clock; where there was none nothing took time. */
void
td_fetch_end_time(td_fetch_stream *f)
{
    const int64_t took_ns = td_now_ns() - f->begun_ns;

    f->out->request_time = took_ns > 0 ? (double)took_ns / (double)TD_NS_PER_S : 0;
}

int64_t
td_fetch_deadline_in(int64_t timeout_ms)
{
    return td_fetch_deadline_after(td_clock_ns(), timeout_ms);
}

int64_t
td_fetch_connect_deadline(const td_fetch_stream *f)
{
    const int64_t connect_ns = td_fetch_deadline_in(f->options->connect_timeout_ms);
    const int64_t end_ns = td_fetch_wait_until(f);

    return connect_ns < end_ns ? connect_ns : end_ns;
}

int64_t
td_fetch_wait_until(const td_fetch_stream *f)
{
    return f->is_pulled ? td_fetch_deadline_in(f->options->request_timeout_ms) : f->deadline_ns;
}

/*
 * The loop's time will do, but for one who does not let it go on: a server may be faster than we.
 */
int
td_fetch_limit_wait(td_fetch_stream *f, int64_t deadline_ns)
{
    const bool is_first = f->looked_ns != td_now_ns();

    f->looked_ns = td_now_ns();
    if (deadline_ns <= (is_first ? td_now_ns() : td_clock_ns()))
        return TD_ETIMEDOUT;
    td_iostream_set_deadline(f->upstream->stream, deadline_ns);
    return 0;
}
