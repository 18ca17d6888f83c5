/*
 * Futures, and what is made of them: td_await, td_gather, td_with_timeout (BEHAVIOUR 19.3 to 19.5).
 *
 * A future tells its observers by one callback on the loop, in the order in which they came; those
 * that come when it is done are told by the next.  An observer that waits lies on the stack that
 * waits.  Handlers' callbacks run on coroutines, ours on the loop's stack.
 */
#include <tornado/coroutine.h>
#include <tornado/future.h>

#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/assert.h"
#include "base/list.h"
#include "base/log.h"
#include "io/call.h"

struct td_future {
    unsigned references;
    bool is_done;
    bool is_canceled; /* by td_future_cancel: what is set afterwards is ignored */
    bool is_seen;     /* somebody has looked at how it ended */
    int error;        /* 0 or negative; means something only when is_done */
    void *result;
    td_list observers;  /* struct observer, in the order of their coming */
    td_callback notify; /* posted: it holds a reference */
    td_future_fn *on_cancel;
    void *on_cancel_arg;
    const char *module; /* whose code made it, for the log; NULL: ours */
    bool is_taken;      /* by the td_gather that runs: to know one that stands in its list twice */
    void **results;     /* of td_gather, until somebody looks; NULL: none */
    void **results_out; /* where they then go */
    size_t results_count;
};

struct observer {
    td_list link;
    void (*told)(struct observer *observer, td_future *future); /* unlinked; on the loop's stack */
};

/* ---- life */

td_future *
td_future_create(void)
{
    if (!td_is_on_loop("td_future_create"))
        return NULL;
    td_coroutine_task context;
    td_coroutine_inherit(&context);
    td_future *future = td_xcalloc(1, sizeof(*future));
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

static void callback_free(struct observer *observer);

static void
future_free(td_future *future)
{
    if (future->is_done && future->error != 0 && !future->is_seen)
        td_log_at(TD_LOG_ERROR, future->module != NULL ? future->module : "future",
                  "a future failed and nobody looked: %s", td_strerror(future->error));
    while (!td_list_is_empty(&future->observers))
        callback_free(TD_CONTAINER_OF(future->observers.next, struct observer, link));
    free(future->results);
    free(future);
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
        struct observer *observer = TD_CONTAINER_OF(batch.next, struct observer, link);

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

static void
observe(td_future *future, struct observer *observer)
{
    td_list_append(&future->observers, &observer->link);
    if (future->is_done)
        notify_later(future);
}

/* A handler's function. */
struct done_callback {
    struct observer observer;
    td_coroutine_job job;
    td_future *future; /* referenced from when it is done */
    td_future_fn *fn;
    void *arg;
};

static void
callback_free(struct observer *observer)
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
callback_told(struct observer *observer, td_future *future)
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
    observe(future, &callback->observer);
    return 0;
}

/* ---- how it ends */

static void
resolve(td_future *future, int error, void *result)
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
    resolve(future, error, result);
    return 0;
}

int
td_future_set_result(td_future *future, void *result)
{
    return set(future, "td_future_set_result", 0, result);
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
    resolve(future, TD_ECANCELED, NULL);
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
    struct observer observer;
    td_future *future;
    td_coroutine *co;
};

static void
await_told(struct observer *observer, td_future *future)
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

        observe(future, &awaiting.observer);
        td_coroutine_wait(await_undo, &awaiting);
    }
    const int error = td_future_error(future);
    if (error == 0 && result_out != NULL)
        *result_out = future->result;
    td_future_unref(future);
    return error;
}

/* ---- combinations, which wait for futures that they own */

struct combination {
    td_list link;                                   /* in `combinations` */
    td_future *whole;                               /* what the caller was given */
    void (*close)(struct combination *combination); /* let go of the parts, and free */
};

/* Those of this thread's loop that are not settled; {NULL, NULL} before the first. */
static __thread td_list combinations __attribute__((tls_model("initial-exec")));

static td_future *
combination_open(struct combination *combination, void (*close)(struct combination *combination))
{
    if (combinations.next == NULL)
        td_list_init(&combinations);
    td_list_append(&combinations, &combination->link);
    combination->whole = td_future_create();
    combination->close = close;
    return td_future_ref(combination->whole);
}

static void
combination_close(struct combination *combination)
{
    td_list_remove(&combination->link);
    td_future_unref(combination->whole);
    combination->close(combination);
}

void
td_futures_close(void)
{
    while (combinations.next != NULL && !td_list_is_empty(&combinations))
        combination_close(TD_CONTAINER_OF(combinations.next, struct combination, link));
}

/* ---- td_gather */

struct part {
    struct observer observer;
    struct gathering *gathering;
    td_future *future; /* NULL: it was missing */
    bool is_again;     /* the same future as an earlier part: one reference for both */
};

struct gathering {
    struct combination combination;
    size_t left; /* parts that are not done */
    size_t count;
    struct part *parts;
};

static void
gathering_free(struct combination *combination)
{
    struct gathering *gathering = TD_CONTAINER_OF(combination, struct gathering, combination);

    for (size_t i = 0; i < gathering->count; i++) {
        td_list_remove(&gathering->parts[i].observer.link);
        if (!gathering->parts[i].is_again)
            td_future_unref(gathering->parts[i].future);
    }
    free(gathering->parts);
    free(gathering);
}

static int
part_error(const struct part *part)
{
    return part->future != NULL ? td_future_error(part->future) : TD_EINVAL;
}

/* The first error in the order of the parts is that of the whole; the others end in the log. */
static void
gathering_settle(struct gathering *gathering)
{
    td_future *whole = gathering->combination.whole;
    int error = 0;

    for (size_t i = 0; i < gathering->count; i++) {
        const struct part *part = &gathering->parts[i];
        const int part_failed = part_error(part);

        if (whole->results != NULL && part_failed == 0)
            whole->results[i] = td_future_result(part->future);
        if (error == 0)
            error = part_failed;
        else if (part_failed != 0 && part_failed != TD_ECANCELED && !part->is_again)
            td_log_at(TD_LOG_ERROR, whole->module != NULL ? whole->module : "future",
                      "td_gather: another of its futures failed: %s", td_strerror(part_failed));
    }
    if (!whole->is_done)
        resolve(whole, error, NULL);
    combination_close(&gathering->combination);
}

static void
part_told(struct observer *observer, td_future *future)
{
    struct part *part = TD_CONTAINER_OF(observer, struct part, observer);

    (void)future;
    if (--part->gathering->left == 0)
        gathering_settle(part->gathering);
}

static void
gathering_take(struct gathering *gathering, size_t index, td_future *future)
{
    struct part *part = &gathering->parts[index];

    part->gathering = gathering;
    part->observer.told = part_told;
    part->future = future;
    if (future == NULL)
        return;
    part->is_again = future->is_taken;
    future->is_taken = true;
    gathering->left++;
    observe(future, &part->observer);
}

td_future *
td_gather(td_future *const *futures, size_t count, void **results)
{
    if (!td_is_on_loop("td_gather"))
        return NULL;
    if (futures == NULL && count > 0) {
        td_misuse("td_gather", "futures is NULL");
        return NULL;
    }
    struct gathering *gathering = td_xcalloc(1, sizeof(*gathering));
    td_future *whole = combination_open(&gathering->combination, gathering_free);
    if (results != NULL && count > 0) {
        whole->results = td_xcalloc(count, sizeof(*results));
        whole->results_out = results;
        whole->results_count = count;
    }
    gathering->count = count;
    gathering->parts = td_xcalloc(count > 0 ? count : 1, sizeof(*gathering->parts));
    for (size_t i = 0; i < count; i++)
        gathering_take(gathering, i, futures[i]);
    for (size_t i = 0; i < count; i++)
        if (futures[i] != NULL)
            futures[i]->is_taken = false;
    if (gathering->left == 0)
        gathering_settle(gathering);
    return whole;
}

/* ---- td_with_timeout */

struct timed {
    struct combination combination;
    struct observer observer;
    td_future *part;
    td_timer timer;
    td_ioloop *loop;
};

static void
timed_free(struct combination *combination)
{
    struct timed *timed = TD_CONTAINER_OF(combination, struct timed, combination);

    td_timer_stop(timed->loop, &timed->timer);
    td_list_remove(&timed->observer.link);
    td_future_unref(timed->part); /* if it fails yet, that is logged when the last reference goes */
    free(timed);
}

/* A gathering with a time-out is looked at through the whole. */
static void
pass_results(td_future *from, td_future *to)
{
    to->results = from->results;
    to->results_out = from->results_out;
    to->results_count = from->results_count;
    from->results = NULL;
}

static void
timed_told(struct observer *observer, td_future *future)
{
    struct timed *timed = TD_CONTAINER_OF(observer, struct timed, observer);
    td_future *whole = timed->combination.whole;

    if (!whole->is_done) {
        future->is_seen = true;
        pass_results(future, whole);
        resolve(whole, future->error, future->result);
    }
    combination_close(&timed->combination);
}

static void
timed_out(void *arg)
{
    struct timed *timed = arg;
    td_future *whole = timed->combination.whole;

    if (!whole->is_done)
        resolve(whole, TD_ETIMEDOUT, NULL);
    combination_close(&timed->combination);
}

td_future *
td_with_timeout(int64_t timeout_ms, td_future *future)
{
    if (!td_is_on_loop("td_with_timeout"))
        return NULL;
    if (future == NULL || timeout_ms < 0) {
        td_misuse("td_with_timeout", "the future is NULL or the time negative");
        td_future_unref(future);
        return NULL;
    }
    struct timed *timed = td_xcalloc(1, sizeof(*timed));
    td_future *whole = combination_open(&timed->combination, timed_free);
    timed->loop = td_ioloop_current();
    timed->part = future;
    timed->observer.told = timed_told;
    timed->timer = (td_timer){.fn = timed_out, .arg = timed};
    observe(future, &timed->observer);
    td_timer_start(timed->loop, &timed->timer, td_deadline_in_ms(timeout_ms));
    return whole;
}
