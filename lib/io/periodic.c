/*
 * td_periodic, Tornado's PeriodicCallback: the schedule is start + k * period, counted from the
 * schedule and not from the end of the call, so it does not drift, and what a late loop has missed
 * is skipped.
 */
#include <stdlib.h>
#include <sys/random.h>
#include "base/arena.h"
#include "base/clock.h"
#include "io/call.h"

/* Some thirty years: in nanoseconds, jittered and added to the clock, it fits. */
#define PERIOD_MS_MAX (INT64_C(1000) * 1000 * 1000 * 1000)

struct td_periodic {
    td_ioloop *loop;
    td_timer timer;
    td_coroutine_job job;
    td_callback_fn *fn;
    void *arg;
    int64_t period_ns;
    double jitter;
    int64_t next_ns; /* as scheduled */
    bool is_started;
    bool is_running;   /* fn has been submitted and has not ended: the timer is off */
    bool is_destroyed; /* and freed as soon as fn has ended */
};

/* From 0.0 up to 1.0.  The kernel's: a sequence of our own would have to be seeded. */
static double
random_share(void)
{
    uint32_t bits = 0;

    if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != sizeof(bits))
        return 0.5;
    return bits / 4294967296.0;
}

static int64_t
jittered_period_ns(const td_periodic *periodic)
{
    if (periodic->jitter == 0.0)
        return periodic->period_ns;
    const double share = 1.0 + periodic->jitter * (random_share() - 0.5);
    return (int64_t)((double)periodic->period_ns * share);
}

/* The first multiple of the period that is to come. */
static void
schedule(td_periodic *periodic)
{
    const int64_t period_ns = jittered_period_ns(periodic), now_ns = td_clock_ns();
    const int64_t missed = (now_ns - periodic->next_ns) / period_ns;

    periodic->next_ns += ((missed > 0 ? missed : 0) + 1) * period_ns;
    td_timer_start(periodic->loop, &periodic->timer, periodic->next_ns);
}

static void
on_due(void *arg)
{
    td_periodic *periodic = arg;

    periodic->is_running = true;
    td_coroutine_submit(&periodic->job);
}

static void
run(void *arg)
{
    const td_periodic *periodic = arg;

    periodic->fn(periodic->arg);
}

static void
ended(void *arg, td_coroutine_end end)
{
    td_periodic *periodic = arg;

    td_call_ended(&periodic->job.task, end, "td_periodic");
    periodic->is_running = false;
    if (periodic->is_destroyed)
        free(periodic);
    else if (periodic->is_started)
        schedule(periodic);
}

td_periodic *
td_periodic_create(td_callback_fn *fn, void *arg, int64_t period_ms, double jitter)
{
    if (!td_is_on_loop("td_periodic_create"))
        return NULL;
    if (fn == NULL || period_ms < 1 || period_ms > PERIOD_MS_MAX ||
        !(jitter >= 0.0 && jitter <= 1.0)) {
        td_misuse("td_periodic_create", "function, period or jitter are wrong");
        return NULL;
    }
    td_periodic *periodic = td_xcalloc(1, sizeof(*periodic));
    periodic->loop = td_ioloop_current();
    periodic->timer = (td_timer){.fn = on_due, .arg = periodic};
    periodic->job.task = (td_coroutine_task){.run = run, .ended = ended, .arg = periodic};
    periodic->fn = fn;
    periodic->arg = arg;
    periodic->period_ns = period_ms * TD_NS_PER_MS;
    periodic->jitter = jitter;
    td_coroutine_inherit(&periodic->job.task);
    return periodic;
}

void
td_periodic_start(td_periodic *periodic)
{
    if (!td_is_on_loop("td_periodic_start"))
        return;
    if (periodic == NULL) {
        td_misuse("td_periodic_start", "NULL");
        return;
    }
    if (periodic->is_started)
        return;
    periodic->is_started = true;
    periodic->next_ns = td_clock_ns();
    if (!periodic->is_running)
        schedule(periodic);
}

void
td_periodic_stop(td_periodic *periodic)
{
    if (!td_is_on_loop("td_periodic_stop"))
        return;
    if (periodic == NULL) {
        td_misuse("td_periodic_stop", "NULL");
        return;
    }
    periodic->is_started = false;
    td_timer_stop(periodic->loop, &periodic->timer);
    if (td_list_is_linked(&periodic->job.link)) { /* waits for a coroutine */
        td_list_remove(&periodic->job.link);
        periodic->is_running = false;
    }
}

void
td_periodic_destroy(td_periodic **address)
{
    if (address == NULL || *address == NULL || !td_is_on_loop("td_periodic_destroy"))
        return;
    td_periodic *periodic = *address;
    *address = NULL;
    td_periodic_stop(periodic);
    if (periodic->is_running)
        periodic->is_destroyed = true;
    else
        free(periodic);
}
