/*
 * What is made of several futures, or of one and a time: td_gather, td_with_timeout, td_first and
 * the iterator in the order of their ends (Tornado's WaitIterator).
 *
 * Each owns the futures that it was made of.  Those that are futures themselves settle with the
 * loop at the latest; the iterator is its maker's.
 */
#include <tornado/coroutine.h>

#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/log.h"
#include "io/call.h"
#include "io/future_internal.h"
#include "io/waiters.h"

/* ---- those that are futures */

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

/* End as one of its futures has; if that is a gathering, it is looked at through the whole. */
static void
combination_settle_as(struct combination *combination, td_future *future)
{
    td_future *whole = combination->whole;

    if (!whole->is_done) {
        future->is_seen = true;
        whole->results = future->results;
        whole->results_out = future->results_out;
        whole->results_count = future->results_count;
        future->results = NULL;
        td_future_resolve(whole, future->error, future->result);
    }
    combination_close(combination);
}

/* ---- the futures of a list */

struct part {
    td_observer observer;
    struct parts *parts;
    td_future *future; /* NULL: it was missing */
    bool is_again;     /* the same future as an earlier part: one reference for both */
};

struct parts {
    size_t count;
    struct part *items;
};

/* told gets the observer of a part; returns how many of the futures are not missing. */
static size_t
parts_take(struct parts *parts, td_future *const *futures, size_t count,
           void (*told)(td_observer *observer, td_future *future))
{
    size_t there = 0;

    parts->count = count;
    parts->items = td_xcalloc(count > 0 ? count : 1, sizeof(*parts->items));
    for (size_t i = 0; i < count; i++) {
        struct part *part = &parts->items[i];

        *part = (struct part){{.told = told}, parts, futures[i], false};
        if (futures[i] == NULL)
            continue;
        there++;
        part->is_again = futures[i]->is_taken;
        futures[i]->is_taken = true;
        td_future_observe(futures[i], &part->observer);
    }
    for (size_t i = 0; i < count; i++)
        if (futures[i] != NULL)
            futures[i]->is_taken = false;
    return there;
}

static void
parts_release(struct parts *parts)
{
    for (size_t i = 0; i < parts->count; i++)
        td_list_remove(&parts->items[i].observer.link);
    for (size_t i = 0; i < parts->count; i++) /* which ends one that is there twice */
        if (!parts->items[i].is_again)
            td_future_unref(parts->items[i].future);
    free(parts->items);
}

static struct part *
part_of(td_observer *observer)
{
    return TD_CONTAINER_OF(observer, struct part, observer);
}

static void
told_nobody(td_observer *observer, td_future *future)
{
    (void)observer, (void)future;
}

/* False, and logged, when one is missing: then those that are there are let go of. */
static bool
are_futures(td_future *const *futures, size_t count, const char *function)
{
    struct parts parts;
    bool all = futures != NULL || count == 0;

    for (size_t i = 0; all && i < count; i++)
        all = futures[i] != NULL;
    if (all)
        return true;
    td_misuse(function, "there are no futures, or one of them is NULL");
    parts_take(&parts, futures, futures != NULL ? count : 0, told_nobody);
    parts_release(&parts);
    return false;
}

/* ---- td_gather */

struct gathering {
    struct combination combination;
    struct parts parts;
    size_t left; /* parts that are not done */
};

static void
gathering_free(struct combination *combination)
{
    struct gathering *gathering = TD_CONTAINER_OF(combination, struct gathering, combination);

    parts_release(&gathering->parts);
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

    for (size_t i = 0; i < gathering->parts.count; i++) {
        const struct part *part = &gathering->parts.items[i];
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
        td_future_resolve(whole, error, NULL);
    combination_close(&gathering->combination);
}

static void
gathering_told(td_observer *observer, td_future *future)
{
    struct gathering *gathering =
        TD_CONTAINER_OF(part_of(observer)->parts, struct gathering, parts);

    (void)future;
    if (--gathering->left == 0)
        gathering_settle(gathering);
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
    gathering->left = parts_take(&gathering->parts, futures, count, gathering_told);
    if (gathering->left == 0)
        gathering_settle(gathering);
    return whole;
}

/* ---- td_with_timeout */

struct timed {
    struct combination combination;
    td_observer observer;
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

static void
timed_told(td_observer *observer, td_future *future)
{
    struct timed *timed = TD_CONTAINER_OF(observer, struct timed, observer);

    combination_settle_as(&timed->combination, future);
}

static void
timed_out(void *arg)
{
    struct timed *timed = arg;
    td_future *whole = timed->combination.whole;

    if (!whole->is_done)
        td_future_resolve(whole, TD_ETIMEDOUT, NULL);
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
    td_future_observe(future, &timed->observer);
    td_timer_start(timed->loop, &timed->timer, td_deadline_in_ms(timeout_ms));
    return whole;
}

/* ---- td_first */

struct race {
    struct combination combination;
    struct parts parts;
};

static void
race_free(struct combination *combination)
{
    struct race *race = TD_CONTAINER_OF(combination, struct race, combination);

    parts_release(&race->parts);
    free(race);
}

static void
race_told(td_observer *observer, td_future *future)
{
    struct race *race = TD_CONTAINER_OF(part_of(observer)->parts, struct race, parts);

    combination_settle_as(&race->combination, future);
}

td_future *
td_first(td_future *const *futures, size_t count)
{
    if (!td_is_on_loop("td_first") || !are_futures(futures, count, "td_first"))
        return NULL;
    if (count == 0) {
        td_misuse("td_first", "there is nothing that could be the first");
        return NULL;
    }
    struct race *race = td_xcalloc(1, sizeof(*race));
    td_future *whole = combination_open(&race->combination, race_free);
    parts_take(&race->parts, futures, count, race_told);
    return whole;
}

/* ---- td_wait_iterator */

struct td_wait_iterator {
    struct parts parts; /* links of observers: of the future while that runs, then of `arrived` */
    size_t given;
    td_list arrived; /* in the order of their ends; not given yet */
    td_waiters waiters;
};

static void
iterator_told(td_observer *observer, td_future *future)
{
    td_wait_iterator *iterator = TD_CONTAINER_OF(part_of(observer)->parts, td_wait_iterator, parts);

    (void)future;
    td_list_append(&iterator->arrived, &observer->link);
    if (td_waiters_any(&iterator->waiters))
        td_waiters_release(&iterator->waiters, 0);
}

td_wait_iterator *
td_wait_iterator_create(td_future *const *futures, size_t count)
{
    if (!td_is_on_loop("td_wait_iterator_create") ||
        !are_futures(futures, count, "td_wait_iterator_create"))
        return NULL;
    td_wait_iterator *iterator = td_xcalloc(1, sizeof(*iterator));
    td_list_init(&iterator->arrived);
    td_waiters_init(&iterator->waiters, NULL, NULL);
    parts_take(&iterator->parts, futures, count, iterator_told);
    return iterator;
}

td_future *
td_wait_iterator_next(td_wait_iterator *iterator, size_t *index_out)
{
    static const char function[] = "td_wait_iterator_next";

    if (!td_waiters_may_wait(iterator, 0, function) || iterator->given == iterator->parts.count)
        return NULL;
    if (td_waiters_any(&iterator->waiters) || !td_list_is_empty(&iterator->waiters.coming)) {
        td_misuse(function, "another coroutine waits in it");
        return NULL;
    }
    if (td_list_is_empty(&iterator->arrived) && td_waiters_wait(&iterator->waiters, NULL, 0) != 0)
        return NULL;
    struct part *part = part_of(TD_CONTAINER_OF(iterator->arrived.next, td_observer, link));
    td_list_remove(&part->observer.link);
    iterator->given++;
    if (index_out != NULL)
        *index_out = (size_t)(part - iterator->parts.items);
    return part->future;
}

void
td_wait_iterator_destroy(td_wait_iterator **iterator_)
{
    td_wait_iterator *iterator = *iterator_;

    if (iterator == NULL)
        return;
    *iterator_ = NULL;
    td_waiters_fini(&iterator->waiters);
    parts_release(&iterator->parts);
    free(iterator);
}
