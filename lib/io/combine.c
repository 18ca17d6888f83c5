/*
 * What is made of several futures, or of one and a time: td_gather, td_with_timeout, td_first and
 * the iterator in the order of their ends (BEHAVIOUR 19.4 and 19.5).
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

/* ---- td_gather */

struct part {
    td_observer observer;
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
        td_future_resolve(whole, error, NULL);
    combination_close(&gathering->combination);
}

static void
part_told(td_observer *observer, td_future *future)
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
    td_future_observe(future, &part->observer);
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
timed_told(td_observer *observer, td_future *future)
{
    struct timed *timed = TD_CONTAINER_OF(observer, struct timed, observer);
    td_future *whole = timed->combination.whole;

    if (!whole->is_done) {
        future->is_seen = true;
        pass_results(future, whole);
        td_future_resolve(whole, future->error, future->result);
    }
    combination_close(&timed->combination);
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

struct contender {
    td_observer observer;
    struct race *race;
    td_future *future;
    bool is_again; /* the same future as an earlier one: one reference for both */
};

struct race {
    struct combination combination;
    size_t count;
    struct contender *contenders;
};

static void
race_free(struct combination *combination)
{
    struct race *race = TD_CONTAINER_OF(combination, struct race, combination);

    for (size_t i = 0; i < race->count; i++) {
        td_list_remove(&race->contenders[i].observer.link);
        if (!race->contenders[i].is_again)
            td_future_unref(race->contenders[i].future);
    }
    free(race->contenders);
    free(race);
}

static void
contender_told(td_observer *observer, td_future *future)
{
    struct race *race = TD_CONTAINER_OF(observer, struct contender, observer)->race;
    td_future *whole = race->combination.whole;

    if (!whole->is_done) {
        future->is_seen = true;
        pass_results(future, whole);
        td_future_resolve(whole, future->error, future->result);
    }
    combination_close(&race->combination);
}

/* False, and logged, when there is nothing to wait for. */
static bool
are_futures(td_future *const *futures, size_t count, const char *function)
{
    size_t missing = futures == NULL || count == 0;

    for (size_t i = 0; missing == 0 && i < count; i++)
        missing = futures[i] == NULL;
    if (missing > 0)
        td_misuse(function, "there are no futures, or one of them is NULL");
    return missing == 0;
}

td_future *
td_first(td_future *const *futures, size_t count)
{
    if (!td_is_on_loop("td_first") || !are_futures(futures, count, "td_first"))
        return NULL;
    struct race *race = td_xcalloc(1, sizeof(*race));
    td_future *whole = combination_open(&race->combination, race_free);
    race->count = count;
    race->contenders = td_xcalloc(count, sizeof(*race->contenders));
    for (size_t i = 0; i < count; i++) {
        race->contenders[i] =
            (struct contender){{.told = contender_told}, race, futures[i], futures[i]->is_taken};
        futures[i]->is_taken = true;
        td_future_observe(futures[i], &race->contenders[i].observer);
    }
    for (size_t i = 0; i < count; i++)
        futures[i]->is_taken = false;
    return whole;
}

/* ---- td_wait_iterator */

struct runner {
    td_observer observer; /* its link: of the future while that runs, then of iterator->arrived */
    td_wait_iterator *iterator;
    td_future *future;
    bool is_again;
};

struct td_wait_iterator {
    size_t count, given;
    struct runner *runners;
    td_list arrived; /* in the order of their ends; not given yet */
    td_waiters waiters;
};

static void
runner_told(td_observer *observer, td_future *future)
{
    struct runner *runner = TD_CONTAINER_OF(observer, struct runner, observer);
    td_wait_iterator *iterator = runner->iterator;

    (void)future;
    td_list_append(&iterator->arrived, &runner->observer.link);
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
    iterator->count = count;
    iterator->runners = td_xcalloc(count, sizeof(*iterator->runners));
    td_list_init(&iterator->arrived);
    td_waiters_init(&iterator->waiters, NULL, NULL);
    for (size_t i = 0; i < count; i++) {
        iterator->runners[i] =
            (struct runner){{.told = runner_told}, iterator, futures[i], futures[i]->is_taken};
        futures[i]->is_taken = true;
        td_future_observe(futures[i], &iterator->runners[i].observer);
    }
    for (size_t i = 0; i < count; i++)
        futures[i]->is_taken = false;
    return iterator;
}

td_future *
td_wait_iterator_next(td_wait_iterator *iterator, size_t *index_out)
{
    if (!td_waiters_may_wait(iterator, 0, "td_wait_iterator_next") ||
        iterator->given == iterator->count)
        return NULL;
    if (td_list_is_empty(&iterator->arrived) && td_waiters_wait(&iterator->waiters, NULL, 0) != 0)
        return NULL;
    struct runner *runner = TD_CONTAINER_OF(iterator->arrived.next, struct runner, observer.link);
    td_list_remove(&runner->observer.link);
    iterator->given++;
    if (index_out != NULL)
        *index_out = (size_t)(runner - iterator->runners);
    return runner->future;
}

void
td_wait_iterator_destroy(td_wait_iterator **iterator_)
{
    td_wait_iterator *iterator = *iterator_;

    if (iterator == NULL)
        return;
    *iterator_ = NULL;
    td_waiters_fini(&iterator->waiters);
    for (size_t i = 0; i < iterator->count; i++) {
        td_list_remove(&iterator->runners[i].observer.link);
        if (!iterator->runners[i].is_again)
            td_future_unref(iterator->runners[i].future);
    }
    free(iterator->runners);
    free(iterator);
}
