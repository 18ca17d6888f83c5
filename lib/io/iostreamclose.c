/* The end of a td_iostream: why, who is told, and the close callback. */
#include "io/iostream_internal.h"

#include <stdlib.h>
#include "base/arena.h"
#include "io/call.h"
#include "io/transport_tls.h"

void
td_iostream_set_error_text(td_iostream *stream, const char *reason)
{
    td_err err;

    td_err_set(&err, stream->error, "%s: %s", td_strerror(stream->error), reason);
    stream->error_text = td_xstrdup(err.text);
}

static void
keep_reason(td_iostream *stream)
{
    const char *reason = td_transport_reason(&stream->transport);

    if (reason != NULL && (stream->error == TD_ETLS || stream->error == TD_ECERTIFICATE))
        td_iostream_set_error_text(stream, reason);
}

/* Whoever is cut short had better notice. */
static bool
may_linger(const td_iostream *stream)
{
    return stream->observer.lingers != NULL && !stream->has_ended && stream->out.len == 0 &&
           !td_iostream_is_opening(stream);
}

void
td_iostream_close_with(td_iostream *stream, int error)
{
    const int told = error != 0 ? error : TD_ECLOSED;
    const bool lingers = error == 0 && may_linger(stream);

    if (stream->is_closed)
        return;
    stream->is_closed = true;
    stream->is_connecting = stream->is_shaking = false;
    stream->error = error;
    keep_reason(stream);
    if (lingers)
        stream->observer.lingers(stream->observer.arg, &stream->transport);
    td_transport_close(&stream->transport, stream->loop);
    td_iostream_end_read(stream, told);
    td_waiters_release_all(&stream->flushers, told);
    td_waiters_release_all(&stream->connectors, told);
    td_buf_release(&stream->out);
    if (stream->close_job != NULL)
        td_ioloop_post(stream->loop, &stream->closed);
    if (stream->observer.closed != NULL && !lingers)
        stream->observer.closed(stream->observer.arg);
}

void
td_iostream_close_at_once(td_iostream *stream)
{
    stream->observer.lingers = NULL;
    td_iostream_close_with(stream, 0);
}

/* With half_open it takes both. */
void
td_iostream_close_if_over(td_iostream *stream)
{
    if (stream->has_ended && (!stream->half_open || stream->we_ended))
        td_iostream_close_with(stream, 0);
}

int
td_iostream_closed_code(const td_iostream *stream)
{
    return stream->error != 0 ? stream->error : TD_ECLOSED;
}

void
td_iostream_close(td_iostream *stream)
{
    if (td_waiters_are_usable(stream, "td_iostream_close"))
        td_iostream_close_with(stream, 0);
}

bool
td_iostream_is_closed(const td_iostream *stream)
{
    return stream == NULL || stream->is_closed;
}

int
td_iostream_error(const td_iostream *stream)
{
    return stream != NULL ? stream->error : TD_EINVAL;
}

const char *
td_iostream_error_text(const td_iostream *stream)
{
    return stream != NULL && stream->error_text != NULL ? stream->error_text
                                                        : td_strerror(td_iostream_error(stream));
}

/* ---- the close callback */

struct close_job {
    td_coroutine_job job;
    td_callback_fn *fn;
    void *arg;
};

static void
close_job_run(void *arg)
{
    const struct close_job *job = arg;

    job->fn(job->arg);
}

static void
close_job_ended(void *arg, td_coroutine_end end)
{
    struct close_job *job = arg;

    td_call_ended(&job->job.task, end, "td_iostream_set_close_callback");
    free(job);
}

void
td_iostream_start_close_job(void *arg)
{
    td_iostream *stream = arg;
    td_coroutine_job *job = stream->close_job;

    stream->close_job = NULL;
    td_coroutine_submit(job);
}

void
td_iostream_drop_close_job(td_iostream *stream)
{
    if (stream->close_job != NULL)
        free(TD_CONTAINER_OF(stream->close_job, struct close_job, job));
    stream->close_job = NULL;
}

static td_coroutine_job *
close_job_create(td_callback_fn *fn, void *arg)
{
    struct close_job *job = td_xcalloc(1, sizeof(*job));

    job->fn = fn;
    job->arg = arg;
    job->job.task = (td_coroutine_task){.run = close_job_run, .ended = close_job_ended, .arg = job};
    td_coroutine_inherit(&job->job.task);
    return &job->job;
}

/* One that has closed already is none of the caller's faults: who went is the other side. */
int
td_iostream_set_close_callback(td_iostream *stream, td_callback_fn *fn, void *arg)
{
    if (!td_waiters_are_usable(stream, "td_iostream_set_close_callback"))
        return TD_EINVAL;
    td_iostream_drop_close_job(stream);
    td_callback_cancel(&stream->closed);
    if (fn != NULL)
        stream->close_job = close_job_create(fn, arg);
    if (fn != NULL && stream->is_closed)
        td_ioloop_post(stream->loop, &stream->closed);
    td_iostream_watch(stream);
    return 0;
}
