/*
 * Futures and td_await.
 *
 * A future tells its observers by one callback on the loop, in the order in which they came; those
 * that come when it is done are told by the next.  An observer that waits lies on the stack that
 * waits.  Handlers' callbacks run on coroutines, ours on the loop's stack.
 */
#include <tornado/coroutine.h>

#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/assert.h"
#include "base/log.h"
#include "io/call.h"
#include "io/future_internal.h"

/* ---- life */

static __thread size_t futures_count __attribute__((tls_model("initial-exec")));

size_t
td_futures_count(void)
{
    return futures_count;
}

td_future *
td_future_create(void)
{
    if (!td_is_on_loop("td_future_create"))
        return NULL;
    td_coroutine_task context;
    td_coroutine_inherit(&context);
    td_future *future = td_xcalloc(1, sizeof(*future));
    futures_count++;
    future->references = 1;
    future->module = context.module;
    td_list_init(&future->observers);
    return future;
}

td_future *
td_future_ref(td_future *future)
{
    if (future == NULL)
        td_misuse("td_future_ref", "NULL");
    else
        future->references++;
    return future;
}

static void callback_free(td_observer *observer);

static void
future_free(td_future *future)
{
    if (future->is_done && future->error != 0 && !future->is_seen)
        td_log_at(TD_LOG_ERROR, future->module != NULL ? future->module : "future",
                  "a future failed and nobody looked: %s", td_strerror(future->error));
    while (!td_list_is_empty(&future->observers))
        callback_free(TD_CONTAINER_OF(future->observers.next, td_observer, link));
    if (future->dispose != NULL && !future->is_seen)
        future->dispose(future->result);
    free(future->results);
    free(future);
    futures_count--;
}

void
td_future_unref(td_future *future)
{
    if (future == NULL)
        return;
    TD_ASSERT(future->references > 0);
    if (--future->references == 0)
        future_free(future);
}

/* ---- observers */

static void
notify(void *arg)
{
    td_future *future = arg;
    td_list batch;

    td_list_take(&batch, &future->observers);
    while (!td_list_is_empty(&batch)) {
        td_observer *observer = TD_CONTAINER_OF(batch.next, td_observer, link);

        td_list_remove(&observer->link);
        observer->told(observer, future);
    }
    td_future_unref(future);
}

static void
drop_reference(void *arg)
{
    td_future_unref(arg);
}

static void
notify_later(td_future *future)
{
    if (td_list_is_linked(&future->notify.link))
        return;
    future->notify = (td_callback){.fn = notify, .arg = future, .dropped = drop_reference};
    td_future_ref(future);
    td_ioloop_post(td_ioloop_current(), &future->notify);
}

void
td_future_observe(td_future *future, td_observer *observer)
{
    td_list_append(&future->observers, &observer->link);
    if (future->is_done)
        notify_later(future);
}

/* A handler's function. */
struct done_callback {
    td_observer observer;
    td_coroutine_job job;
    td_future *future; /* referenced from when it is done */
    td_future_fn *fn;
    void *arg;
};

static void
callback_free(td_observer *observer)
{
    struct done_callback *callback = TD_CONTAINER_OF(observer, struct done_callback, observer);

    td_list_remove(&observer->link);
    free(callback);
}

static void
callback_run(void *arg)
{
    const struct done_callback *callback = arg;

    callback->fn(callback->future, callback->arg);
}

static void
callback_ended(void *arg, td_coroutine_end end)
{
    struct done_callback *callback = arg;

    td_call_ended(&callback->job.task, end, "td_future_add_done_callback");
    td_future_unref(callback->future);
    free(callback);
}

static void
callback_told(td_observer *observer, td_future *future)
{
    struct done_callback *callback = TD_CONTAINER_OF(observer, struct done_callback, observer);

    callback->future = td_future_ref(future);
    td_coroutine_submit(&callback->job);
}

int
td_future_add_done_callback(td_future *future, td_future_fn *fn, void *arg)
{
    if (!td_is_on_loop("td_future_add_done_callback"))
        return TD_EINVAL;
    if (future == NULL || fn == NULL)
        return td_misuse("td_future_add_done_callback", "future or function is NULL");
    struct done_callback *callback = td_xcalloc(1, sizeof(*callback));
    callback->observer.told = callback_told;
    callback->job.task =
        (td_coroutine_task){.run = callback_run, .ended = callback_ended, .arg = callback};
    callback->fn = fn;
    callback->arg = arg;
    td_coroutine_inherit(&callback->job.task);
    td_future_observe(future, &callback->observer);
    return 0;
}

/* ---- how it ends */

void
td_future_resolve(td_future *future, int error, void *result)
{
    future->is_done = true;
    future->error = error;
    future->result = result;
    future->on_cancel = NULL;
    if (!td_list_is_empty(&future->observers))
        notify_later(future);
}

static int
set(td_future *future, const char *function, int error, void *result)
{
    if (!td_is_on_loop(function))
        return TD_EINVAL;
    if (future == NULL)
        return td_misuse(function, "NULL");
    if (future->is_canceled)
        return 0;
    if (future->is_done)
        return td_misuse(function, "the future is done already");
    td_future_resolve(future, error, result);
    return 0;
}

int
td_future_set_result(td_future *future, void *result)
{
    return set(future, "td_future_set_result", 0, result);
}

void
td_future_set_owned(td_future *future, void *result, void (*dispose)(void *result))
{
    if (future->is_done) {
        dispose(result);
        return;
    }
    future->dispose = dispose;
    td_future_resolve(future, 0, result);
}

int
td_future_set_error(td_future *future, int error)
{
    if (error >= 0)
        return td_misuse("td_future_set_error", "the error is not negative");
    return set(future, "td_future_set_error", error, NULL);
}

bool
td_future_cancel(td_future *future)
{
    if (!td_is_on_loop("td_future_cancel"))
        return false;
    if (future == NULL) {
        td_misuse("td_future_cancel", "NULL");
        return false;
    }
    if (future->is_done)
        return false;
    td_future_fn *const on_cancel = future->on_cancel;
    future->is_canceled = future->is_seen = true;
    td_future_ref(future); /* on_cancel may give up the last one */
    td_future_resolve(future, TD_ECANCELED, NULL);
    if (on_cancel != NULL)
        on_cancel(future, future->on_cancel_arg);
    td_future_unref(future);
    return true;
}

void
td_future_on_cancel(td_future *future, td_future_fn *fn, void *arg)
{
    if (future == NULL) {
        td_misuse("td_future_on_cancel", "NULL");
        return;
    }
    future->on_cancel = fn;
    future->on_cancel_arg = arg;
}

/*
 * Somebody looks.  Only now are the results of a td_gather copied out: who was cancelled before
 * looking is gone, and so may be the memory that it lent us.
 */
static void
see(td_future *future)
{
    future->is_seen = true;
    if (future->results == NULL)
        return;
    memcpy(future->results_out, future->results, future->results_count * sizeof(*future->results));
    free(future->results);
    future->results = NULL;
}

bool
td_future_is_done(const td_future *future)
{
    return future != NULL && future->is_done;
}

void *
td_future_result(td_future *future)
{
    if (future == NULL || !future->is_done) {
        td_misuse("td_future_result", future == NULL ? "NULL" : "the future is not done");
        return NULL;
    }
    see(future);
    return future->result;
}

int
td_future_error(td_future *future)
{
    if (future == NULL || !future->is_done)
        return td_misuse("td_future_error", future == NULL ? "NULL" : "the future is not done");
    see(future);
    return future->error;
}

bool
td_future_is_wanted(const td_future *future)
{
    return future->references > 1 || !td_list_is_empty(&future->observers);
}

/* ---- td_await */

struct awaiting {
    td_observer observer;
    td_future *future;
    td_coroutine *co;
};

static void
await_told(td_observer *observer, td_future *future)
{
    struct awaiting *awaiting = TD_CONTAINER_OF(observer, struct awaiting, observer);

    (void)future;
    td_coroutine_resume(awaiting->co, 0);
}

static void
await_undo(void *arg)
{
    struct awaiting *awaiting = arg;

    td_list_remove(&awaiting->observer.link);
    td_future_unref(awaiting->future);
}

int
td_await(td_future *future, void **result_out)
{
    if (!td_is_on_coroutine("td_await"))
        return TD_EINVAL;
    if (future == NULL)
        return td_misuse("td_await", "NULL");
    if (!future->is_done) {
        struct awaiting awaiting = {{.told = await_told}, future, td_coroutine_current()};

        td_future_observe(future, &awaiting.observer);
        td_coroutine_wait(await_undo, &awaiting);
    }
    const int error = td_future_error(future);
    if (error == 0 && result_out != NULL)
        *result_out = future->result;
    td_future_unref(future);
    return error;
}
