/*
 * The loop as handlers see it: each function that they register runs on a coroutine of its own,
 * under the name and activity of the code that registered it.  When no coroutine is to be had it
 * waits for one (td_coroutine_submit).
 */
#include "io/call.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"

_Static_assert(TD_READ == EV_READ && TD_WRITE == EV_WRITE, "events pass through as they are");

/* ---- complaints */

int
td_misuse(const char *function, const char *text)
{
    td_log(TD_LOG_ERROR, "%s: %s", function, text);
    return TD_EINVAL;
}

bool
td_is_on_loop(const char *function)
{
    if (TD_LIKELY(td_ioloop_current() != NULL))
        return true;
    td_misuse(function, "called on a thread that has no loop");
    return false;
}

bool
td_is_on_coroutine(const char *function)
{
    if (TD_LIKELY(td_coroutine_current() != NULL))
        return true;
    td_misuse(function, "called outside a coroutine, where nothing can wait");
    return false;
}

bool (*td_call_failed)(const td_activity *activity);

void
td_call_ended(const td_coroutine_task *task, td_coroutine_end end, const char *what)
{
    if (end == TD_COROUTINE_RAISED &&
        (td_call_failed == NULL || !td_call_failed(&task->activity)))
        td_log_at(TD_LOG_ERROR, task->module != NULL ? task->module : "handler",
                  "%s: raised outside a request", what);
}

static bool
is_own_loop(const td_ioloop *loop, const char *function)
{
    if (!td_is_on_loop(function))
        return false;
    if (loop == td_ioloop_current())
        return true;
    td_misuse(function, "the loop is not the one of this thread");
    return false;
}

bool
td_is_open(int fd)
{
    return fd >= 0 && fcntl(fd, F_GETFD) >= 0;
}

#define MS_MAX (INT64_MAX / (4 * TD_NS_PER_MS))

int64_t
td_deadline_in_ms(int64_t delay_ms)
{
    return td_clock_ns() + (delay_ms < MS_MAX ? delay_ms : MS_MAX) * TD_NS_PER_MS;
}

int64_t
td_time_left_ms(int64_t deadline_ns)
{
    const int64_t left_ns = deadline_ns - td_clock_ns();

    if (deadline_ns == INT64_MAX)
        return 0;
    return left_ns > 0 ? left_ns / TD_NS_PER_MS + 1 : TD_ETIMEDOUT;
}

int64_t
td_ioloop_time_ms(void)
{
    return td_now_ns() / TD_NS_PER_MS;
}

/* ---- td_add_callback */

struct call {
    td_callback callback;
    td_coroutine_job job;
    td_callback_fn *fn;
    void *arg;
};

static void
call_run(void *arg)
{
    const struct call *call = arg;

    call->fn(call->arg);
}

static void
call_ended(void *arg, td_coroutine_end end)
{
    struct call *call = arg;

    td_call_ended(&call->job.task, end, "td_add_callback");
    free(call);
}

static void
call_submit(void *arg)
{
    struct call *call = arg;

    td_coroutine_submit(&call->job);
}

int
td_add_callback(td_ioloop *loop, td_callback_fn *fn, void *arg)
{
    if (loop == NULL || fn == NULL)
        return td_misuse("td_add_callback", "loop or function is NULL");
    struct call *call = td_xcalloc(1, sizeof(*call));
    call->callback = (td_callback){.fn = call_submit, .arg = call, .dropped = free};
    call->job.task = (td_coroutine_task){.run = call_run, .ended = call_ended, .arg = call};
    call->fn = fn;
    call->arg = arg;
    td_coroutine_inherit(&call->job.task);
    td_ioloop_post(loop, &call->callback);
    return 0;
}

/* ---- td_call_later, td_call_at */

struct timeout {
    td_timer timer;
    td_coroutine_job job;
    td_callback_fn *fn;
    void *arg;
    size_t place;
};

/*
 * A td_timeout is no address but a place and the number of its holder: one that is long over is
 * told from the one that has come after it, and an author may remove it whenever he likes.
 */
struct place {
    struct timeout *holder; /* NULL: the function has begun, or it was removed */
    uintptr_t number;       /* of the holder, or of the next one */
    size_t next_free;
};

#define PLACE_BITS (sizeof(uintptr_t) * CHAR_BIT / 2)
#define PLACES_MAX (((size_t)1 << PLACE_BITS) - 1) /* 0 is none, so that no td_timeout is NULL */

/* What the handlers of this thread's loop have registered. */
static __thread struct {
    struct place *places; /* of timeouts; the first one is nobody's */
    size_t places_size, free_place; /* 0: none is free */
    struct fd_handler **handlers;   /* by descriptor, NULL where there is none */
    size_t handlers_size;
} registered __attribute__((tls_model("initial-exec")));

static void
add_places(void)
{
    const size_t old = registered.places_size, size = old > 0 ? 2 * old : 16;

    TD_ASSERT(size <= PLACES_MAX);
    registered.places = td_xrealloc(registered.places, size * sizeof(*registered.places));
    registered.places_size = size;
    for (size_t i = old; i < size; i++) { /* who comes to the first has come to the end */
        registered.places[i] = (struct place){.next_free = registered.free_place};
        registered.free_place = i;
    }
}

static td_timeout *
take_place(struct timeout *timeout)
{
    if (registered.free_place == 0)
        add_places();

    struct place *place = &registered.places[registered.free_place];

    timeout->place = registered.free_place;
    registered.free_place = place->next_free;
    place->holder = timeout;
    return (td_timeout *)(place->number << PLACE_BITS | timeout->place);
}

static void
leave_place(struct timeout *timeout)
{
    struct place *place = &registered.places[timeout->place];

    if (timeout->place == 0)
        return;
    *place = (struct place){.number = place->number + 1, .next_free = registered.free_place};
    registered.free_place = timeout->place;
    timeout->place = 0;
}

/* NULL: it is over. */
static struct timeout *
timeout_of(const td_timeout *handle)
{
    const size_t at = (uintptr_t)handle & PLACES_MAX;

    if (at >= registered.places_size)
        return NULL;
    const struct place *place = &registered.places[at];
    return (place->number << PLACE_BITS | at) == (uintptr_t)handle ? place->holder : NULL;
}

static void
timeout_run(void *arg)
{
    struct timeout *timeout = arg;
    td_callback_fn *const fn = timeout->fn;
    void *const fn_arg = timeout->arg;

    leave_place(timeout);
    fn(fn_arg);
}

static void
timeout_ended(void *arg, td_coroutine_end end)
{
    struct timeout *timeout = arg;

    td_call_ended(&timeout->job.task, end, "td_call_later");
    leave_place(timeout);
    free(timeout);
}

static void
timeout_due(void *arg)
{
    struct timeout *timeout = arg;

    td_coroutine_submit(&timeout->job);
}

static td_timeout *
timeout_create(td_ioloop *loop, const char *function, int64_t deadline_ns, td_callback_fn *fn,
               void *arg)
{
    if (!is_own_loop(loop, function))
        return NULL;
    if (fn == NULL) {
        td_misuse(function, "the function is NULL");
        return NULL;
    }
    struct timeout *timeout = td_xcalloc(1, sizeof(*timeout));
    timeout->timer = (td_timer){.fn = timeout_due, .arg = timeout};
    timeout->job.task =
        (td_coroutine_task){.run = timeout_run, .ended = timeout_ended, .arg = timeout};
    timeout->fn = fn;
    timeout->arg = arg;
    td_coroutine_inherit(&timeout->job.task);
    td_timer_start(loop, &timeout->timer, deadline_ns);
    return take_place(timeout);
}

td_timeout *
td_call_later(td_ioloop *loop, int64_t delay_ms, td_callback_fn *fn, void *arg)
{
    if (delay_ms < 0) {
        td_misuse("td_call_later", "the delay is negative");
        return NULL;
    }
    return timeout_create(loop, "td_call_later", td_deadline_in_ms(delay_ms), fn, arg);
}

td_timeout *
td_call_at(td_ioloop *loop, int64_t deadline_ms, td_callback_fn *fn, void *arg)
{
    const int64_t bounded_ms = deadline_ms < 0 ? 0 : deadline_ms > MS_MAX ? MS_MAX : deadline_ms;

    return timeout_create(loop, "td_call_at", bounded_ms * TD_NS_PER_MS, fn, arg);
}

static void
timeout_remove(td_ioloop *loop, struct timeout *timeout)
{
    td_timer_stop(loop, &timeout->timer);
    td_list_remove(&timeout->job.link);
    leave_place(timeout);
    free(timeout);
}

void
td_remove_timeout(td_ioloop *loop, td_timeout *handle)
{
    struct timeout *timeout;

    if (handle == NULL || !is_own_loop(loop, "td_remove_timeout"))
        return;
    timeout = timeout_of(handle);
    if (timeout != NULL)
        timeout_remove(loop, timeout);
}

/* ---- td_add_handler */

struct fd_handler {
    ev_io watcher; /* stopped while fn runs */
    td_coroutine_job job;
    int ready; /* the events that fn is called for */
    bool is_running;
    bool is_removed; /* and freed as soon as it does not run any more */
    td_fd_fn *fn;
    void *arg;
};

static struct fd_handler *
handler_of(int fd)
{
    return fd >= 0 && (size_t)fd < registered.handlers_size ? registered.handlers[fd] : NULL;
}

static void
handler_run(void *arg)
{
    const struct fd_handler *handler = arg;

    handler->fn(handler->watcher.fd, handler->ready, handler->arg);
}

/* Watching again within the iteration costs no system call: libev compares first. */
static void
handler_ended(void *arg, td_coroutine_end end)
{
    struct fd_handler *handler = arg;

    td_call_ended(&handler->job.task, end, "td_add_handler");
    handler->is_running = false;
    if (handler->is_removed)
        free(handler);
    else
        ev_io_start(td_ioloop_ev(td_ioloop_current()), &handler->watcher);
}

static void
on_fd_ready(struct ev_loop *ev, ev_io *watcher, int events)
{
    struct fd_handler *handler = TD_CONTAINER_OF(watcher, struct fd_handler, watcher);

    if (TD_UNLIKELY(events & EV_ERROR)) {
        td_ioloop_watch_again(ev, watcher, "td_add_handler");
        return;
    }
    ev_io_stop(ev, watcher);
    handler->ready = events & (TD_READ | TD_WRITE);
    handler->is_running = true;
    td_coroutine_submit(&handler->job);
}

static void
handlers_reserve(int fd)
{
    const size_t old = registered.handlers_size, wanted = (size_t)fd + 1;

    if (wanted <= old)
        return;
    registered.handlers_size = wanted > 2 * old ? wanted : 2 * old;
    registered.handlers =
        td_xrealloc(registered.handlers, registered.handlers_size * sizeof(*registered.handlers));
    memset(registered.handlers + old, 0,
           (registered.handlers_size - old) * sizeof(*registered.handlers));
}

static bool
are_events(int events)
{
    return events != 0 && (events & ~(TD_READ | TD_WRITE)) == 0;
}

int
td_add_handler(td_ioloop *loop, int fd, int events, td_fd_fn *fn, void *arg)
{
    if (!is_own_loop(loop, "td_add_handler"))
        return TD_EINVAL;
    if (!td_is_open(fd) || fn == NULL || !are_events(events))
        return td_misuse("td_add_handler", "descriptor, events or function are wrong");
    if (handler_of(fd) != NULL)
        return TD_EEXISTS;
    struct fd_handler *handler = td_xcalloc(1, sizeof(*handler));
    handler->job.task =
        (td_coroutine_task){.run = handler_run, .ended = handler_ended, .arg = handler};
    handler->fn = fn;
    handler->arg = arg;
    td_coroutine_inherit(&handler->job.task);
    handlers_reserve(fd);
    registered.handlers[fd] = handler;
    ev_io_init(&handler->watcher, on_fd_ready, fd, events);
    ev_io_start(td_ioloop_ev(loop), &handler->watcher);
    return 0;
}

int
td_update_handler(td_ioloop *loop, int fd, int events)
{
    if (!is_own_loop(loop, "td_update_handler"))
        return TD_EINVAL;
    if (!td_is_open(fd) || !are_events(events))
        return td_misuse("td_update_handler", "descriptor or events are wrong");
    struct fd_handler *handler = handler_of(fd);
    if (handler == NULL)
        return TD_ENOTFOUND;
    ev_io_stop(td_ioloop_ev(loop), &handler->watcher);
    ev_io_modify(&handler->watcher, events);
    if (!handler->is_running)
        ev_io_start(td_ioloop_ev(loop), &handler->watcher);
    return 0;
}

static void
handler_remove(td_ioloop *loop, struct fd_handler *handler)
{
    registered.handlers[handler->watcher.fd] = NULL;
    ev_io_stop(td_ioloop_ev(loop), &handler->watcher);
    if (td_list_is_linked(&handler->job.link)) { /* waits for a coroutine */
        td_list_remove(&handler->job.link);
        handler->is_running = false;
    }
    if (handler->is_running)
        handler->is_removed = true;
    else
        free(handler);
}

void
td_remove_handler(td_ioloop *loop, int fd)
{
    if (!is_own_loop(loop, "td_remove_handler"))
        return;
    struct fd_handler *handler = handler_of(fd);
    if (handler != NULL)
        handler_remove(loop, handler);
}

/* ---- the loop's end */

void
td_calls_close(td_ioloop *loop)
{
    for (size_t i = 0; i < registered.places_size; i++)
        if (registered.places[i].holder != NULL)
            timeout_remove(loop, registered.places[i].holder);
    free(registered.places);
    registered.places = NULL;
    registered.places_size = registered.free_place = 0;
    for (size_t fd = 0; fd < registered.handlers_size; fd++)
        if (registered.handlers[fd] != NULL)
            handler_remove(loop, registered.handlers[fd]);
    free(registered.handlers);
    registered.handlers = NULL;
    registered.handlers_size = 0;
}
