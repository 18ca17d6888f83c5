/*
 * Locks, semaphores, conditions and events: a count or a flag, and a line of those who wait for it.
 *
 * What is given back while somebody waits goes straight to the one in front and is never free in
 * between, so nobody can overtake.  A lock is a semaphore of one.
 */
#include <tornado/locks.h>

#include <stdlib.h>
#include <tornado/coroutine.h>
#include "base/arena.h"
#include "io/call.h"
#include "io/waiters.h"

struct td_semaphore {
    int64_t value, max;
    td_waiters waiters;
    td_list holds; /* of struct hold */
    /* Invariant: somebody waits only while value is 0. */
};

/* What a coroutine gives back at its end, unless it has done so by then. */
struct hold {
    td_list link; /* not in the list: it was given back, or there is no semaphore any more */
    td_semaphore *semaphore;
    const td_coroutine *co;
};

struct td_lock {
    td_semaphore semaphore;
};

struct td_condition {
    td_waiters waiters;
};

struct td_event {
    bool is_set;
    td_waiters waiters;
};

/* ---- semaphores */

static void
give_back(void *arg)
{
    td_semaphore *semaphore = arg;

    if (td_waiters_any(&semaphore->waiters))
        td_waiters_release(&semaphore->waiters, 0);
    else
        semaphore->value++;
}

static void
semaphore_init(td_semaphore *semaphore, int64_t value, int64_t max)
{
    semaphore->value = value;
    semaphore->max = max;
    td_waiters_init(&semaphore->waiters, give_back, semaphore);
    td_list_init(&semaphore->holds);
}

static void
semaphore_fini(td_semaphore *semaphore)
{
    td_waiters_fini(&semaphore->waiters);
    while (!td_list_is_empty(&semaphore->holds))
        td_list_remove(semaphore->holds.next);
}

static int
semaphore_acquire(td_semaphore *semaphore, int64_t timeout_ms, const char *function)
{
    if (!td_waiters_may_wait(semaphore, timeout_ms, function))
        return TD_EINVAL;
    if (semaphore->value == 0)
        return td_waiters_wait(&semaphore->waiters, NULL, timeout_ms);
    semaphore->value--;
    return 0;
}

/* One that this coroutine holds is not given back a second time at its end. */
static void
forget_hold(td_semaphore *semaphore)
{
    const td_coroutine *co = td_coroutine_current();

    TD_LIST_FOREACH(link, &semaphore->holds)
        if (TD_CONTAINER_OF(link, struct hold, link)->co == co) {
            td_list_remove(link);
            return;
        }
}

static int
semaphore_release(td_semaphore *semaphore, const char *function)
{
    if (!td_waiters_are_usable(semaphore, function))
        return TD_EINVAL;
    if (semaphore->value == semaphore->max)
        return td_misuse(function, "nobody has it");
    forget_hold(semaphore);
    give_back(semaphore);
    return 0;
}

static void
let_go(void *arg)
{
    struct hold *hold = arg;

    if (td_list_is_linked(&hold->link)) {
        td_list_remove(&hold->link);
        give_back(hold->semaphore);
    }
    free(hold);
}

static int
semaphore_hold(td_semaphore *semaphore, int64_t timeout_ms, const char *function)
{
    const int rc = semaphore_acquire(semaphore, timeout_ms, function);
    struct hold *hold;

    if (rc < 0)
        return rc;
    hold = td_xcalloc(1, sizeof(*hold));
    hold->semaphore = semaphore;
    hold->co = td_coroutine_current();
    td_list_append(&semaphore->holds, &hold->link);
    return td_defer(let_go, hold);
}

td_semaphore *
td_semaphore_create(int64_t value, int64_t max)
{
    if (!td_is_on_loop("td_semaphore_create"))
        return NULL;
    if (max < 1 || value < 0 || value > max) {
        td_misuse("td_semaphore_create", "0 <= value <= max and 1 <= max do not hold");
        return NULL;
    }
    td_semaphore *semaphore = td_xcalloc(1, sizeof(*semaphore));
    semaphore_init(semaphore, value, max);
    return semaphore;
}

void
td_semaphore_destroy(td_semaphore **semaphore)
{
    if (*semaphore == NULL)
        return;
    semaphore_fini(*semaphore);
    free(*semaphore);
    *semaphore = NULL;
}

int
td_semaphore_acquire(td_semaphore *semaphore, int64_t timeout_ms)
{
    return semaphore_acquire(semaphore, timeout_ms, "td_semaphore_acquire");
}

int
td_semaphore_release(td_semaphore *semaphore)
{
    return semaphore_release(semaphore, "td_semaphore_release");
}

int
td_semaphore_hold(td_semaphore *semaphore, int64_t timeout_ms)
{
    return semaphore_hold(semaphore, timeout_ms, "td_semaphore_hold");
}

/* ---- locks */

td_lock *
td_lock_create(void)
{
    if (!td_is_on_loop("td_lock_create"))
        return NULL;
    td_lock *lock = td_xcalloc(1, sizeof(*lock));
    semaphore_init(&lock->semaphore, 1, 1);
    return lock;
}

void
td_lock_destroy(td_lock **lock)
{
    if (*lock == NULL)
        return;
    semaphore_fini(&(*lock)->semaphore);
    free(*lock);
    *lock = NULL;
}

static td_semaphore *
semaphore_of(td_lock *lock)
{
    return lock != NULL ? &lock->semaphore : NULL;
}

int
td_lock_acquire(td_lock *lock, int64_t timeout_ms)
{
    return semaphore_acquire(semaphore_of(lock), timeout_ms, "td_lock_acquire");
}

int
td_lock_release(td_lock *lock)
{
    return semaphore_release(semaphore_of(lock), "td_lock_release");
}

int
td_lock_hold(td_lock *lock, int64_t timeout_ms)
{
    return semaphore_hold(semaphore_of(lock), timeout_ms, "td_lock_hold");
}

/* ---- conditions */

/* Who was notified and cancelled before it could do anything about it: the next one's turn. */
static void
notify_next(void *arg)
{
    td_condition *condition = arg;

    if (td_waiters_any(&condition->waiters))
        td_waiters_release(&condition->waiters, 0);
}

td_condition *
td_condition_create(void)
{
    if (!td_is_on_loop("td_condition_create"))
        return NULL;
    td_condition *condition = td_xcalloc(1, sizeof(*condition));
    td_waiters_init(&condition->waiters, notify_next, condition);
    return condition;
}

void
td_condition_destroy(td_condition **condition)
{
    if (*condition == NULL)
        return;
    td_waiters_fini(&(*condition)->waiters);
    free(*condition);
    *condition = NULL;
}

int
td_condition_wait(td_condition *condition, int64_t timeout_ms)
{
    if (!td_waiters_may_wait(condition, timeout_ms, "td_condition_wait"))
        return TD_EINVAL;
    return td_waiters_wait(&condition->waiters, NULL, timeout_ms);
}

int
td_condition_notify(td_condition *condition, unsigned count)
{
    if (!td_waiters_are_usable(condition, "td_condition_notify"))
        return TD_EINVAL;
    for (; count > 0 && td_waiters_any(&condition->waiters); count--)
        td_waiters_release(&condition->waiters, 0);
    return 0;
}

int
td_condition_notify_all(td_condition *condition)
{
    if (!td_waiters_are_usable(condition, "td_condition_notify_all"))
        return TD_EINVAL;
    td_waiters_release_all(&condition->waiters, 0);
    return 0;
}

/* ---- events */

td_event *
td_event_create(void)
{
    if (!td_is_on_loop("td_event_create"))
        return NULL;
    td_event *event = td_xcalloc(1, sizeof(*event));
    td_waiters_init(&event->waiters, NULL, NULL);
    return event;
}

void
td_event_destroy(td_event **event)
{
    if (*event == NULL)
        return;
    td_waiters_fini(&(*event)->waiters);
    free(*event);
    *event = NULL;
}

int
td_event_wait(td_event *event, int64_t timeout_ms)
{
    if (!td_waiters_may_wait(event, timeout_ms, "td_event_wait"))
        return TD_EINVAL;
    return event->is_set ? 0 : td_waiters_wait(&event->waiters, NULL, timeout_ms);
}

int
td_event_set(td_event *event)
{
    if (!td_waiters_are_usable(event, "td_event_set"))
        return TD_EINVAL;
    event->is_set = true;
    td_waiters_release_all(&event->waiters, 0);
    return 0;
}

int
td_event_clear(td_event *event)
{
    if (!td_waiters_are_usable(event, "td_event_clear"))
        return TD_EINVAL;
    event->is_set = false;
    return 0;
}

bool
td_event_is_set(const td_event *event)
{
    return td_waiters_are_usable(event, "td_event_is_set") && event->is_set;
}
