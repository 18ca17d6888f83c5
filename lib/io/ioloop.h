/*
 * td_ioloop: Tornado's IOLoop on libev.
 *
 * One loop a worker, made after the fork (ev_loop_new, EVBACKEND_EPOLL, never
 * the default loop).  libev waits; the order of what runs is Tornado's: an own FIFO of callbacks
 * drained as a snapshot, then an own heap of timers, both before each poll.
 *
 * Everything here runs its functions on the loop's own stack, where td_await is misuse.  What
 * handlers see (<tornado/ioloop.h>) runs theirs on coroutines and is a thin layer over this.
 */
#ifndef TORNADO_IO_IOLOOP_H
#define TORNADO_IO_IOLOOP_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/error.h>
#include <tornado/ioloop.h>
#include "base/list.h"

typedef void td_loop_fn(void *arg);

TD_PRIVATE int td_ioloop_create(td_ioloop **out, td_err *err); /* becomes td_ioloop_current() */

/* What has not run is dropped; coroutines that wait are unwound. */
TD_PRIVATE void td_ioloop_destroy(td_ioloop **loop);

/* Run until td_ioloop_stop.  A stop before the start makes the start return at once (19.2). */
TD_PRIVATE int td_ioloop_start(td_ioloop *loop); /* TD_EINVAL when it runs already */
TD_PRIVATE void td_ioloop_stop(td_ioloop *loop); /* the current iteration finishes */

/* For watchers of our own kind (transports, listeners). */
TD_PRIVATE struct ev_loop *td_ioloop_ev(td_ioloop *loop);

TD_PRIVATE unsigned td_ioloop_iteration(const td_ioloop *loop); /* how often it has polled */

/*
 * TD_SCRATCH_SIZE bytes for whoever runs on the loop's thread, until something else does.  All use
 * the same, so they are in the processor's caches.
 */
#define TD_SCRATCH_SIZE ((size_t)64 * 1024)
TD_PRIVATE char *td_ioloop_scratch(td_ioloop *loop);

/*
 * For a watcher's function that gets EV_ERROR: the system does not watch the descriptor (epoll_ctl:
 * no memory, or too many) and libev has stopped the watcher.  Logs that, with `what` it is of, and
 * starts it once more.
 */
TD_PRIVATE void td_ioloop_watch_again(struct ev_loop *ev, ev_io *watcher, const char *what);

/*
 * What ends a poll: libev finds out about such watchers just before it polls, and tells them
 * afterwards, which may be never.  A td_ioloop sees to that itself; another loop opens a nudge
 * before any other watcher, and has a release callback (ev_set_loop_release_cb) that nudges when
 * ev_pending_count is not 0.  fn reads the descriptor, an eventfd, and on EV_ERROR watches again.
 */
TD_PRIVATE int td_nudge_open(struct ev_loop *ev, ev_io *nudge, void (*fn)(struct ev_loop *, ev_io *, int),
                             td_err *err);
TD_PRIVATE void td_nudge(const ev_io *nudge);

/* ---- callbacks: run in the next iteration, FIFO; the node is the caller's */

typedef struct td_callback {
    td_list link; /* unlinked: {NULL, NULL} */
    td_loop_fn *fn;
    void *arg;
    void (*dropped)(void *arg); /* instead of fn when the loop is destroyed first; may be NULL */
} td_callback;

/*
 * From any thread; from another one the node is the loop's until fn has begun, and cannot be
 * cancelled.  Posting what is posted does nothing.  The loop must outlive the threads that know it.
 */
TD_PRIVATE void td_ioloop_post(td_ioloop *loop, td_callback *callback);
static inline void
td_callback_cancel(td_callback *callback)
{
    td_list_remove(&callback->link);
}

/* The same with a node of its own. */
TD_PRIVATE void td_ioloop_add_callback(td_ioloop *loop, td_loop_fn *fn, void *arg);

/* ---- timers: deadline order, ties by insertion, never early; the node is the caller's */

typedef struct td_timer {
    int64_t deadline_ns; /* monotonic, of td_now_ns */
    uint64_t sequence;
    size_t place; /* in the heap, from 1; 0: not started */
    td_loop_fn *fn;
    void *arg;
} td_timer;

/* Starting a started timer moves it. */
TD_PRIVATE void td_timer_start(td_ioloop *loop, td_timer *timer, int64_t deadline_ns);
TD_PRIVATE void td_timer_stop(td_ioloop *loop, td_timer *timer); /* harmless when not started */

/*
 * ---- deadlines: time-outs that nearly never happen
 *
 * All deadlines of one list have the same duration, so the list is in order of age and starting or
 * stopping one is a list operation; one timer a list looks at its oldest.  `expired` runs on the
 * loop's stack with the deadline unlinked, at or up to a sixteenth of the duration after the due
 * time.
 */
typedef struct td_deadline {
    td_list link;
    int64_t at_ns; /* when it is due */
} td_deadline;

typedef struct td_deadlines {
    td_list head; /* oldest first */
    td_timer timer;
    td_ioloop *loop;
    int64_t duration_ns; /* 0: never; starting is a no-op */
    void (*expired)(td_deadline *deadline);
} td_deadlines;

TD_PRIVATE void td_deadlines_init(td_deadlines *list, td_ioloop *loop, int64_t duration_ms,
                                  void (*expired)(td_deadline *deadline));
TD_PRIVATE void td_deadlines_fini(td_deadlines *list);
TD_PRIVATE void td_deadlines_arm(td_deadlines *list); /* the slow part of td_deadline_start */

static inline void
td_deadline_stop(td_deadline *deadline)
{
    td_list_remove(&deadline->link);
}

/* Counts from td_now_ns; moves the deadline if it was in this or another list. */
static inline void
td_deadline_start(td_deadlines *list, td_deadline *deadline, int64_t now_ns)
{
    td_list_remove(&deadline->link);
    if (list->duration_ns == 0)
        return;
    deadline->at_ns = now_ns + list->duration_ns;
    td_list_append(&list->head, &deadline->link);
    if (list->timer.place == 0)
        td_deadlines_arm(list);
}

#endif
