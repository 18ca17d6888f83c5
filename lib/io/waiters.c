#include "io/waiters.h"

#include "io/call.h"

struct waiter {
    td_list link;     /* in the line, or of those that come back */
    td_callback back; /* posted when it is let go */
    td_timer timer;
    td_ioloop *loop;
    td_coroutine *co;
    td_waiters *waiters; /* NULL: they are gone */
    void *own;
    int code;
};

bool
td_waiters_are_usable(const void *what, const char *function)
{
    if (!td_is_on_loop(function))
        return false;
    if (what == NULL)
        td_misuse(function, "NULL");
    return what != NULL;
}

bool
td_waiters_may_wait(const void *what, int64_t timeout_ms, const char *function)
{
    if (!td_is_on_coroutine(function) || !td_waiters_are_usable(what, function))
        return false;
    if (timeout_ms < 0)
        td_misuse(function, "the time is negative");
    return timeout_ms >= 0;
}

void
td_waiters_init(td_waiters *waiters, void (*declined)(void *arg), void *arg)
{
    td_list_init(&waiters->line);
    td_list_init(&waiters->coming);
    waiters->declined = declined;
    waiters->arg = arg;
}

static void
come_back(void *arg)
{
    struct waiter *waiter = arg;

    td_list_remove(&waiter->link);
    td_coroutine_resume(waiter->co, waiter->code);
}

static void
time_is_up(void *arg)
{
    struct waiter *waiter = arg;

    td_list_remove(&waiter->link);
    td_coroutine_resume(waiter->co, TD_ETIMEDOUT);
}

static void
cancelled(void *arg)
{
    struct waiter *waiter = arg;
    const td_waiters *waiters = waiter->waiters;
    const bool was_let_go = td_list_is_linked(&waiter->back.link) && waiter->code == 0;

    td_list_remove(&waiter->link);
    td_callback_cancel(&waiter->back);
    td_timer_stop(waiter->loop, &waiter->timer);
    if (was_let_go && waiters != NULL && waiters->declined != NULL)
        waiters->declined(waiters->arg);
}

void
td_waiters_resume(td_waiters *waiters)
{
    struct waiter *waiter = TD_CONTAINER_OF(waiters->coming.next, struct waiter, link);

    if (td_list_is_empty(&waiters->coming))
        return;
    td_callback_cancel(&waiter->back);
    come_back(waiter);
}

int
td_waiters_wait(td_waiters *waiters, void *own, int64_t timeout_ms)
{
    return td_waiters_wait_until(waiters, own,
                                 timeout_ms > 0 ? td_deadline_in_ms(timeout_ms) : INT64_MAX);
}

int
td_waiters_wait_until(td_waiters *waiters, void *own, int64_t deadline_ns)
{
    struct waiter waiter = {
        .loop = td_ioloop_current(),
        .co = td_coroutine_current(),
        .waiters = waiters,
        .own = own,
    };

    waiter.back = (td_callback){.fn = come_back, .arg = &waiter};
    waiter.timer = (td_timer){.fn = time_is_up, .arg = &waiter};
    td_list_append(&waiters->line, &waiter.link);
    if (deadline_ns < INT64_MAX)
        td_timer_start(waiter.loop, &waiter.timer, deadline_ns);
    return td_coroutine_wait(cancelled, &waiter);
}

static inline struct waiter *
let_go(td_waiters *waiters, int code)
{
    struct waiter *waiter = TD_CONTAINER_OF(waiters->line.next, struct waiter, link);

    td_list_remove(&waiter->link);
    td_list_append(&waiters->coming, &waiter->link);
    td_timer_stop(waiter->loop, &waiter->timer);
    waiter->code = code;
    return waiter;
}

void *
td_waiters_release(td_waiters *waiters, int code)
{
    struct waiter *waiter = let_go(waiters, code);

    td_ioloop_post(waiter->loop, &waiter->back);
    return waiter->own;
}

void
td_waiters_release_here(td_waiters *waiters, int code)
{
    let_go(waiters, code);
}

void
td_waiters_release_all(td_waiters *waiters, int code)
{
    while (td_waiters_any(waiters))
        td_waiters_release(waiters, code);
}

void
td_waiters_fini(td_waiters *waiters)
{
    td_waiters_release_all(waiters, TD_ECLOSED);
    while (!td_list_is_empty(&waiters->coming)) {
        struct waiter *waiter = TD_CONTAINER_OF(waiters->coming.next, struct waiter, link);

        td_list_remove(&waiter->link);
        waiter->waiters = NULL;
        waiter->code = TD_ECLOSED; /* what it was let go for is no more */
    }
}
