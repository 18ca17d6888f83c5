/*
 * The loop: libev waits, and what runs when is decided here.
 *
 * An iteration is: prepare (the callbacks posted so far and the timers due by now, in this order),
 * poll, the clock, descriptors.  What callbacks and timers post waits for the next iteration, so
 * neither starves the descriptors.
 *
 * A request that posts nothing and starts no timer costs the iteration a few comparisons: libev's
 * own timer, which ends the poll for ours, moves only when an earlier deadline turns up, and the
 * deadlines of idle connections are a list in order of age.
 */
#include "io/ioloop.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/call.h"
#include "io/coroutine.h"
#include "io/executor.h"
#include "io/process.h"
#include "io/resolver.h"
#include "io/tls.h"
#include "io/tcpclient.h"

/* What is compared stands in the heap, so that sifting touches no timer but those that move. */
struct timer_entry {
    int64_t deadline_ns;
    td_timer *timer;
};

struct td_ioloop {
    struct ev_loop *ev; /* its userdata is the loop */
    ev_idle idle;     /* active while callbacks wait, so that the poll does not */
    ev_timer alarm;   /* ends the poll for the earliest timer */
    int64_t alarm_ns; /* when it rings, at or before the earliest deadline; INT64_MAX: it is off */
    ev_io wake; /* a nudge: libev would not tell that it cannot watch the descriptor of its own ev_async */

    td_list callbacks; /* of td_callback */

    struct timer_entry *heap; /* [1..timers_count]; its own place is kept in each timer */
    size_t timers_count, heap_size;
    td_timer **due; /* the batch that is about to run; NULL where one was stopped meanwhile */
    size_t due_count, due_size;
    uint64_t sequence; /* of timers, so that equal deadlines keep their order */

    char *scratch; /* NULL: nobody has asked */

    pthread_mutex_t lock; /* guards what other threads touch: */
    td_list posted;       /* their callbacks */
    bool is_closing;      /* what they post is dropped */
    td_ioloop *next_ended;

    bool is_unprepared; /* there was a poll, or the start, since callbacks and timers were looked at */
    bool is_touched; /* on_polling is to be called: watchers were started since the last poll */
    bool is_running;
    bool is_stopped; /* td_ioloop_stop was called and the start that it ends has not returned yet */
};

/*
 * Initial-exec, so that a look costs one load and is safe in a signal handler; libtornado is linked
 * to the program, never loaded later.
 */
static __thread td_ioloop *current __attribute__((tls_model("initial-exec")));

td_ioloop *
td_ioloop_current(void)
{
    return current;
}

static void on_polling(struct ev_loop *ev);
static void on_polled(struct ev_loop *ev);

/* Watchers are about to be started, so libev may have something to tell when it polls. */
static void
touch(td_ioloop *loop)
{
    if (!loop->is_touched)
        ev_set_loop_release_cb(loop->ev, on_polling, on_polled);
    loop->is_touched = true;
}

struct ev_loop *
td_ioloop_ev(td_ioloop *loop)
{
    touch(loop);
    return loop->ev;
}

char *
td_ioloop_scratch(td_ioloop *loop)
{
    if (TD_UNLIKELY(loop->scratch == NULL))
        loop->scratch = td_xmalloc(TD_SCRATCH_SIZE);
    return loop->scratch;
}

unsigned
td_ioloop_iteration(const td_ioloop *loop)
{
    return ev_iteration(loop->ev);
}

/* ---- callbacks */

static void
drop(td_callback *callback)
{
    if (callback->dropped != NULL)
        callback->dropped(callback->arg);
}

static void
post_from_thread(td_ioloop *loop, td_callback *callback)
{
    bool is_first;

    pthread_mutex_lock(&loop->lock);
    const bool is_closing = loop->is_closing;
    if (!is_closing && !td_list_is_linked(&callback->link)) {
        is_first = td_list_is_empty(&loop->posted);
        td_list_append(&loop->posted, &callback->link);
        if (is_first)
            td_nudge(&loop->wake);
    }
    pthread_mutex_unlock(&loop->lock);
    if (is_closing)
        drop(callback);
}

void
td_ioloop_post(td_ioloop *loop, td_callback *callback)
{
    if (TD_UNLIKELY(loop != current))
        post_from_thread(loop, callback);
    else if (TD_UNLIKELY(loop->is_closing))
        drop(callback);
    else if (!td_list_is_linked(&callback->link))
        td_list_append(&loop->callbacks, &callback->link);
}

/* The callbacks of other threads queue up behind those of our own. */
static void
on_wake(struct ev_loop *ev, ev_io *watcher, int events)
{
    td_ioloop *loop = watcher->data;
    td_list posted;
    uint64_t count;

    if (events & EV_ERROR)
        td_ioloop_watch_again(ev, watcher, "what threads post");
    pthread_mutex_lock(&loop->lock);
    (void)!read(watcher->fd, &count, sizeof(count)); /* locked: what is posted later wakes again */
    td_list_take(&posted, &loop->posted);
    pthread_mutex_unlock(&loop->lock);
    while (!td_list_is_empty(&posted)) {
        td_list *link = posted.next;

        td_list_remove(link);
        td_list_append(&loop->callbacks, link);
    }
}

struct added {
    td_callback callback;
    td_loop_fn *fn;
    void *arg;
};

static void
run_added(void *arg)
{
    const struct added added = *(struct added *)arg;

    free(arg);
    added.fn(added.arg);
}

void
td_ioloop_add_callback(td_ioloop *loop, td_loop_fn *fn, void *arg)
{
    struct added *added = td_xcalloc(1, sizeof(*added));

    added->callback.fn = run_added;
    added->callback.arg = added;
    added->callback.dropped = free;
    added->fn = fn;
    added->arg = arg;
    td_ioloop_post(loop, &added->callback);
}

/* A snapshot: what is posted meanwhile waits for the next iteration. */
static void
run_callbacks(td_ioloop *loop)
{
    td_list batch;

    td_list_take(&batch, &loop->callbacks);
    while (!td_list_is_empty(&batch)) {
        td_callback *callback = TD_CONTAINER_OF(batch.next, td_callback, link);

        td_list_remove(&callback->link);
        callback->fn(callback->arg);
    }
}

/* ---- timers */

/* The place of a timer in the batch of due ones counts from the top, in the heap from 1. */
#define DUE_PLACE(index) (SIZE_MAX - (index))

static bool
is_due_place(size_t place)
{
    return place > SIZE_MAX / 2;
}

static bool
is_before(const struct timer_entry *a, const struct timer_entry *b)
{
    return a->deadline_ns != b->deadline_ns ? a->deadline_ns < b->deadline_ns
                                            : a->timer->sequence < b->timer->sequence;
}

static void
heap_put(td_ioloop *loop, size_t place, struct timer_entry entry)
{
    loop->heap[place] = entry;
    entry.timer->place = place;
}

static void
sift_up(td_ioloop *loop, size_t place, struct timer_entry entry)
{
    for (; place > 1 && is_before(&entry, &loop->heap[place / 2]); place /= 2)
        heap_put(loop, place, loop->heap[place / 2]);
    heap_put(loop, place, entry);
}

static void
sift_down(td_ioloop *loop, size_t place, struct timer_entry entry)
{
    for (;;) {
        size_t child = 2 * place;

        if (child < loop->timers_count && is_before(&loop->heap[child + 1], &loop->heap[child]))
            child++;
        if (child > loop->timers_count || !is_before(&loop->heap[child], &entry))
            break;
        heap_put(loop, place, loop->heap[child]);
        place = child;
    }
    heap_put(loop, place, entry);
}

static void
heap_remove(td_ioloop *loop, size_t place)
{
    const struct timer_entry last = loop->heap[loop->timers_count--];

    if (place > loop->timers_count)
        return;
    if (place > 1 && is_before(&last, &loop->heap[place / 2]))
        sift_up(loop, place, last);
    else
        sift_down(loop, place, last);
}

void
td_timer_stop(td_ioloop *loop, td_timer *timer)
{
    if (timer->place == 0)
        return;
    if (is_due_place(timer->place))
        loop->due[DUE_PLACE(timer->place)] = NULL;
    else
        heap_remove(loop, timer->place);
    timer->place = 0;
}

void
td_timer_start(td_ioloop *loop, td_timer *timer, int64_t deadline_ns)
{
    td_timer_stop(loop, timer);
    timer->deadline_ns = deadline_ns;
    timer->sequence = loop->sequence++;
    if (loop->timers_count + 1 >= loop->heap_size) {
        loop->heap_size = loop->heap_size > 0 ? 2 * loop->heap_size : 64;
        loop->heap = td_xrealloc(loop->heap, loop->heap_size * sizeof(*loop->heap));
    }
    sift_up(loop, ++loop->timers_count, (struct timer_entry){deadline_ns, timer});
}

/* Move what is due from the heap to the batch; it may still be stopped there. */
static void
collect_due(td_ioloop *loop)
{
    const int64_t now_ns = td_now_ns();

    while (loop->timers_count > 0 && loop->heap[1].deadline_ns <= now_ns) {
        if (loop->due_count == loop->due_size) {
            loop->due_size = loop->due_size > 0 ? 2 * loop->due_size : 16;
            loop->due = td_xrealloc(loop->due, loop->due_size * sizeof(*loop->due));
        }
        td_timer *timer = loop->heap[1].timer;
        heap_remove(loop, 1);
        timer->place = DUE_PLACE(loop->due_count);
        loop->due[loop->due_count++] = timer;
    }
}

static void
run_due(td_ioloop *loop)
{
    for (size_t i = 0; i < loop->due_count; i++) {
        td_timer *timer = loop->due[i];

        if (timer == NULL)
            continue;
        timer->place = 0;
        timer->fn(timer->arg);
    }
    loop->due_count = 0;
}

/* ---- deadlines */

static void
on_oldest_due(void *arg)
{
    td_deadlines *list = arg;

    while (!td_list_is_empty(&list->head)) {
        td_deadline *oldest = TD_CONTAINER_OF(list->head.next, td_deadline, link);

        if (oldest->at_ns > td_now_ns())
            break;
        td_list_remove(&oldest->link);
        list->expired(oldest);
    }
    if (!td_list_is_empty(&list->head))
        td_deadlines_arm(list);
}

/* At most sixteen looks in a duration, however many deadlines there are. */
void
td_deadlines_arm(td_deadlines *list)
{
    const td_deadline *oldest = TD_CONTAINER_OF(list->head.next, td_deadline, link);
    const int64_t soonest_ns = td_now_ns() + list->duration_ns / 16;

    td_timer_start(list->loop, &list->timer,
                   oldest->at_ns > soonest_ns ? oldest->at_ns : soonest_ns);
}

void
td_deadlines_init(td_deadlines *list, td_ioloop *loop, int64_t duration_ms,
                  void (*expired)(td_deadline *deadline))
{
    *list = (td_deadlines){.loop = loop,
                           .duration_ns = duration_ms * TD_NS_PER_MS,
                           .expired = expired,
                           .timer = {.fn = on_oldest_due, .arg = list}};
    td_list_init(&list->head);
}

void
td_deadlines_fini(td_deadlines *list)
{
    td_timer_stop(list->loop, &list->timer);
    while (!td_list_is_empty(&list->head))
        td_list_remove(list->head.next);
}

/* ---- the iteration */

static void
set_alarm(td_ioloop *loop, int64_t deadline_ns)
{
    const int64_t delay_ns = deadline_ns > td_now_ns() ? deadline_ns - td_now_ns() : 0;

    ev_timer_stop(loop->ev, &loop->alarm);
    ev_timer_set(&loop->alarm, (double)delay_ns / (double)TD_NS_PER_S, 0.0);
    ev_timer_start(loop->ev, &loop->alarm);
    loop->alarm_ns = deadline_ns;
}

/* Its only purpose is to end the poll; prepare looks at the heap. */
static void
on_alarm(struct ev_loop *ev, ev_timer *watcher, int events)
{
    td_ioloop *loop = watcher->data;

    (void)ev, (void)events;
    loop->alarm_ns = INT64_MAX;
}

static void
on_idle(struct ev_loop *ev, ev_idle *watcher, int events)
{
    (void)ev, (void)watcher, (void)events;
}

static void
prepare(td_ioloop *loop)
{
    if (loop->timers_count > 0)
        collect_due(loop);
    if (!td_list_is_empty(&loop->callbacks))
        run_callbacks(loop);
    if (loop->due_count > 0)
        run_due(loop);

    if (!td_list_is_empty(&loop->callbacks))
        ev_idle_start(loop->ev, &loop->idle);
    else if (ev_is_active(&loop->idle))
        ev_idle_stop(loop->ev, &loop->idle);
    if (loop->timers_count > 0 && loop->heap[1].deadline_ns < loop->alarm_ns)
        set_alarm(loop, loop->heap[1].deadline_ns);
}

/*
 * libev calls this for what is pending, at its start and after each poll, so there is time to
 * prepare for the next one.  An ev_prepare would be pending itself, and cost a hundred instructions
 * more.
 */
static void
on_pending(struct ev_loop *ev)
{
    td_ioloop *loop = ev_userdata(ev);

    ev_invoke_pending(ev);
    if (loop->is_unprepared && !loop->is_stopped) {
        loop->is_unprepared = false;
        prepare(loop);
    }
}

/*
 * libev calls this before it polls, once: watchers may wait to be told that they are not watched.
 */
static void
on_polling(struct ev_loop *ev)
{
    current->is_touched = false;
    ev_set_loop_release_cb(ev, NULL, on_polled);
    if (ev_pending_count(ev) > 0)
        td_nudge(&current->wake);
}

/* libev calls this when the poll returns, before it looks at what is ready. */
static void
on_polled(struct ev_loop *ev)
{
    td_ioloop *loop = ev_userdata(ev);

    loop->is_unprepared = true;
    td_clock_refresh();
}

/*
 * ev_io_set: without it libev would take the descriptor for one that it watches.  The rest: as long
 * as the system has no memory it is told again in the next iteration.
 */
void
td_ioloop_watch_again(struct ev_loop *ev, ev_io *watcher, const char *what)
{
    static td_log_gate gate;
    const struct timespec rest = {.tv_nsec = TD_NS_PER_MS};

    td_log_gated(&gate, TD_LOG_ERROR, "ioloop",
                 "the system does not watch a descriptor (%s); trying again", what);
    nanosleep(&rest, NULL);
    if (current != NULL)
        touch(current);
    ev_io_set(watcher, watcher->fd, watcher->events & (EV_READ | EV_WRITE));
    ev_io_start(ev, watcher);
}

void
td_nudge(const ev_io *nudge)
{
    const uint64_t one = 1;

    (void)!write(nudge->fd, &one, sizeof(one));
}

/* A refusal comes out of the first run, and so does what was refused out of the second. */
int
td_nudge_open(struct ev_loop *ev, ev_io *nudge, void (*fn)(struct ev_loop *, ev_io *, int), td_err *err)
{
    const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (fd < 0)
        return td_err_errno(err, "eventfd");
    ev_io_init(nudge, fn, fd, EV_READ);
    ev_io_start(ev, nudge);
    for (int i = 0; i < 3; i++)
        ev_run(ev, EVRUN_NOWAIT);
    return 0;
}

/* ---- life */

static void
start_watchers(td_ioloop *loop)
{
    ev_idle_init(&loop->idle, on_idle);
    ev_timer_init(&loop->alarm, on_alarm, 0.0, 0.0);
    loop->alarm.data = loop;
    ev_set_userdata(loop->ev, loop);
    ev_set_invoke_pending_cb(loop->ev, on_pending);
    touch(loop);
}

int
td_ioloop_create(td_ioloop **out, td_err *err)
{
    if (current != NULL)
        return td_err_set(err, TD_EEXISTS, "this thread has a loop already");

    /* Named and without the environment: libev's io_uring backend costs twice as much as epoll. */
    struct ev_loop *ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (ev == NULL)
        return td_err_errno(err, "an epoll loop");

    td_ioloop *loop = td_xcalloc(1, sizeof(*loop));
    loop->ev = ev;
    loop->alarm_ns = INT64_MAX;
    td_list_init(&loop->callbacks);
    td_list_init(&loop->posted);
    pthread_mutex_init(&loop->lock, NULL);
    loop->wake.data = loop;
    if (td_nudge_open(ev, &loop->wake, on_wake, err) < 0) {
        ev_loop_destroy(ev);
        pthread_mutex_destroy(&loop->lock);
        free(loop);
        return err->code;
    }
    start_watchers(loop);
    td_clock_refresh();
    current = loop;
    td_coroutines_open(loop);
    *out = loop;
    return 0;
}

static void
drop_all(td_list *callbacks)
{
    while (!td_list_is_empty(callbacks)) {
        td_callback *callback = TD_CONTAINER_OF(callbacks->next, td_callback, link);

        td_list_remove(&callback->link);
        drop(callback);
    }
}

/*
 * A thread may know a loop for longer than it lasts: a job that was left behind, an author's own.
 * What it posts is dropped for ever, so of each loop there remains what says so.
 */
static void
remain(td_ioloop *loop)
{
    static td_ioloop *ended;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&lock);
    loop->next_ended = ended;
    ended = loop;
    pthread_mutex_unlock(&lock);
}

void
td_ioloop_destroy(td_ioloop **loop_address)
{
    td_ioloop *loop = *loop_address;

    if (loop == NULL)
        return;
    TD_ASSERT(loop == current && !loop->is_running);
    td_executors_stop();
    pthread_mutex_lock(&loop->lock);
    loop->is_closing = true;
    pthread_mutex_unlock(&loop->lock);
    td_coroutines_close();
    td_calls_close(loop);
    td_processes_close();
    td_connectings_close();
    td_futures_close();
    td_resolver_close();
    td_tls_close();
    drop_all(&loop->posted);
    drop_all(&loop->callbacks);
    td_executors_close();
    for (size_t i = 1; i <= loop->timers_count; i++)
        loop->heap[i].timer->place = 0;

    current = NULL;
    ev_loop_destroy(loop->ev);
    close(loop->wake.fd);
    free(loop->heap);
    free(loop->scratch);
    free(loop->due);
    remain(loop);
    *loop_address = NULL;
}

int
td_ioloop_start(td_ioloop *loop)
{
    if (loop->is_running) {
        td_log_at(TD_LOG_ERROR, "ioloop", "started while it runs");
        return TD_EINVAL;
    }
    if (!loop->is_stopped) {
        loop->is_running = loop->is_unprepared = true;
        ev_now_update(loop->ev);
        td_clock_refresh();
        td_coroutines_look_for_cxx();
        ev_run(loop->ev, 0);
        loop->is_running = false;
    }
    loop->is_stopped = false;
    return 0;
}

void
td_ioloop_stop(td_ioloop *loop)
{
    loop->is_stopped = true;
    if (loop->is_running)
        ev_break(loop->ev, EVBREAK_ONE);
}
