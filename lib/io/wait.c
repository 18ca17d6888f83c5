/*
 * Waiting for time and descriptors, and coroutines of their own.  A wait's watchers lie on the
 * stack that waits, so it allocates nothing; its undo stops them before that stack is unwound.
 */
#include <errno.h>
#include <stdlib.h>
#include <tornado/coroutine.h>
#include "base/arena.h"
#include "io/call.h"

/* ---- td_sleep */

struct sleeping {
    td_ioloop *loop;
    td_timer timer;
    td_callback moment; /* for a sleep of nought: the next iteration */
    td_coroutine *co;
};

static void
sleep_over(void *arg)
{
    struct sleeping *sleeping = arg;

    td_coroutine_resume(sleeping->co, 0);
}

static void
sleep_undo(void *arg)
{
    struct sleeping *sleeping = arg;

    td_timer_stop(sleeping->loop, &sleeping->timer);
    td_callback_cancel(&sleeping->moment);
}

int
td_sleep(int64_t duration_ms)
{
    if (!td_is_on_coroutine("td_sleep"))
        return TD_EINVAL;
    if (duration_ms < 0)
        return td_misuse("td_sleep", "the duration is negative");
    struct sleeping sleeping = {.loop = td_ioloop_current(), .co = td_coroutine_current()};
    sleeping.timer.fn = sleeping.moment.fn = sleep_over;
    sleeping.timer.arg = sleeping.moment.arg = &sleeping;
    if (duration_ms == 0)
        td_ioloop_post(sleeping.loop, &sleeping.moment);
    else
        td_timer_start(sleeping.loop, &sleeping.timer, td_deadline_in_ms(duration_ms));
    return td_coroutine_wait(sleep_undo, &sleeping);
}

/* ---- td_wait_fd */

struct fd_wait {
    ev_io watcher;
    td_timer timer;
    td_ioloop *loop;
    td_coroutine *co;
};

static void
fd_wait_undo(void *arg)
{
    struct fd_wait *wait = arg;

    ev_io_stop(td_ioloop_ev(wait->loop), &wait->watcher);
    td_timer_stop(wait->loop, &wait->timer);
}

static void
fd_wait_ready(struct ev_loop *ev, ev_io *watcher, int events)
{
    struct fd_wait *wait = TD_CONTAINER_OF(watcher, struct fd_wait, watcher);

    (void)ev;
    fd_wait_undo(wait);
    td_coroutine_resume(wait->co, events & EV_ERROR ? -ENOMEM : events & (TD_READ | TD_WRITE));
}

static void
fd_wait_timed_out(void *arg)
{
    struct fd_wait *wait = arg;

    fd_wait_undo(wait);
    td_coroutine_resume(wait->co, TD_ETIMEDOUT);
}

int
td_wait_fd(int fd, int events, int64_t timeout_ms)
{
    if (!td_is_on_coroutine("td_wait_fd"))
        return TD_EINVAL;
    if (!td_is_open(fd) || events == 0 || (events & ~(TD_READ | TD_WRITE)) != 0 || timeout_ms < 0)
        return td_misuse("td_wait_fd", "descriptor, events or time-out are wrong");
    struct fd_wait wait = {.loop = td_ioloop_current(), .co = td_coroutine_current()};
    ev_io_init(&wait.watcher, fd_wait_ready, fd, events);
    ev_io_start(td_ioloop_ev(wait.loop), &wait.watcher);
    if (timeout_ms > 0) {
        wait.timer = (td_timer){.fn = fd_wait_timed_out, .arg = &wait};
        td_timer_start(wait.loop, &wait.timer, td_deadline_in_ms(timeout_ms));
    }
    return td_coroutine_wait(fd_wait_undo, &wait);
}

/* ---- td_spawn */

struct spawned {
    td_callback callback;
    td_coroutine_job job;
    td_coroutine *co; /* NULL: has not begun */
    td_future *future;
    td_callback_fn *fn;
    void *arg;
};

static void
spawned_run(void *arg)
{
    struct spawned *spawned = arg;

    spawned->co = td_coroutine_current();
    spawned->fn(spawned->arg);
}

static void
spawned_free(struct spawned *spawned)
{
    td_future_on_cancel(spawned->future, NULL, NULL);
    td_future_unref(spawned->future);
    free(spawned);
}

static void
spawned_ended(void *arg, td_coroutine_end end)
{
    struct spawned *spawned = arg;

    if (!td_future_is_wanted(spawned->future))
        td_call_ended(&spawned->job.task, end, "td_spawn");
    else if (end == TD_COROUTINE_RETURNED)
        td_future_set_result(spawned->future, NULL);
    else
        td_future_set_error(spawned->future, TD_ECANCELED);
    spawned_free(spawned);
}

static void
spawned_submit(void *arg)
{
    struct spawned *spawned = arg;

    td_coroutine_submit(&spawned->job);
}

static void
spawned_dropped(void *arg)
{
    spawned_ended(arg, TD_COROUTINE_CANCELED);
}

/* Of the future.  One that has not begun never will. */
static void
spawned_cancel(td_future *future, void *arg)
{
    struct spawned *spawned = arg;

    (void)future;
    if (spawned->co != NULL) {
        td_coroutine_cancel(spawned->co);
        return;
    }
    td_callback_cancel(&spawned->callback);
    td_list_remove(&spawned->job.link);
    spawned_free(spawned);
}

td_future *
td_spawn(td_callback_fn *fn, void *arg)
{
    if (!td_is_on_loop("td_spawn"))
        return NULL;
    if (fn == NULL) {
        td_misuse("td_spawn", "the function is NULL");
        return NULL;
    }
    struct spawned *spawned = td_xcalloc(1, sizeof(*spawned));
    spawned->callback =
        (td_callback){.fn = spawned_submit, .arg = spawned, .dropped = spawned_dropped};
    spawned->job.task =
        (td_coroutine_task){.run = spawned_run, .ended = spawned_ended, .arg = spawned};
    td_coroutine_inherit(&spawned->job.task);
    spawned->fn = fn;
    spawned->arg = arg;
    spawned->future = td_future_create();
    td_future_on_cancel(spawned->future, spawned_cancel, spawned);
    td_ioloop_post(td_ioloop_current(), &spawned->callback);
    return td_future_ref(spawned->future);
}
