/*
 * Recycling: a worker that has answered so many requests, is so old or has become so large is
 * replaced, for handlers that leak or libraries that fragment.  The master looks once a second, so
 * that it costs the workers nothing and believes them nothing but their count of requests.
 *
 * Workers that were born together would be due together, so each has limits of its own, up to a
 * fifth below the settings; and no one is replaced while another one is being.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "daemon/master/master_internal.h"

#define PERIOD_S 1.
#define LIFE_LEAST_NS (5 * TD_NS_PER_S) /* or one that is born too large would be replaced for ever */

static ev_timer timer; /* not active: nothing is limited */

/* Of a limit, what holds for this worker: the same whenever it is asked. */
static int64_t
share_of(int64_t limit, const struct seat *seat)
{
    const uint32_t spread = (uint32_t)seat->pid * UINT32_C(2654435769) >> 16; /* 0..65535 */

    return limit - (int64_t)((double)limit * 0.2 * spread / 65536.);
}

/* Bytes of memory that the process has; 0: nobody knows. */
static int64_t
resident(pid_t pid)
{
    int64_t pages = 0;
    char path[32];

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*d %" SCNd64, &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static bool
is_over(int64_t value, int64_t limit, const struct seat *seat)
{
    return limit > 0 && value >= share_of(limit, seat);
}

/* Whether it is to be replaced, and why. */
static bool
is_due(const struct seat *seat, td_err *why)
{
    const td_tornadod_settings *settings = &seat->generation->configuration->tornadod;
    const int64_t age_ns = td_clock_ns() - seat->ready_ns;
    const int64_t requests = (int64_t)seat->slot->requests, age_ms = age_ns / TD_NS_PER_MS;
    int64_t memory;

    if (is_over(requests, settings->max_worker_requests, seat))
        td_err_set(why, TD_EBUSY, "it has answered %" PRId64 " requests (max_worker_requests)",
                   requests);
    else if (is_over(age_ms, settings->max_worker_age_ms, seat))
        td_err_set(why, TD_EBUSY, "it is %" PRId64 " s old (max_worker_age)", age_ms / 1000);
    else if (settings->max_worker_memory > 0 && age_ns >= LIFE_LEAST_NS &&
             is_over(memory = resident(seat->pid), settings->max_worker_memory, seat))
        td_err_set(why, TD_EBUSY, "it has %" PRId64 " MiB of memory (max_worker_memory)",
                   memory >> 20);
    else
        return false;
    return true;
}

static bool
is_being_replaced(const struct seat *seat)
{
    return seat->replaces != NULL || seat->retires || !seat->ready;
}

/* Of those that are due the oldest, so that all have their turn; NULL: none, or not now. */
static struct seat *
choose(const struct generation *generation, td_err *why)
{
    struct seat *chosen = NULL;

    GENERATION_EACH(seat, generation) {
        if (is_being_replaced(seat))
            return NULL;
        if ((chosen == NULL || seat->ready_ns < chosen->ready_ns) && is_due(seat, why))
            chosen = seat;
    }
    return chosen;
}

static void
look(struct ev_loop *loop, ev_timer *unused, int events)
{
    td_err why;

    (void)loop, (void)unused, (void)events;
    if (master.current == NULL || master.phase != PHASE_NONE)
        return; /* stopping, or all are replaced by a reload anyway */
    struct seat *seat = choose(master.current, &why);
    if (seat == NULL)
        return;
    td_log_at(TD_LOG_INFO, "master", "worker %u (pid %d) is replaced: %s", seat->number,
              (int)seat->pid, why.text);
    supervise_replace(seat);
}

void
recycle_begin(const td_tornadod_settings *settings)
{
    recycle_end();
    if (settings->max_worker_requests == 0 && settings->max_worker_age_ms == 0 &&
        settings->max_worker_memory == 0)
        return;
    ev_timer_init(&timer, look, PERIOD_S, PERIOD_S);
    ev_timer_start(master.loop, &timer);
}

void
recycle_end(void)
{
    ev_timer_stop(master.loop, &timer);
}
