/*
 * The number of workers while a generation serves: TTIN is one more, TTOU one less, WINCH none.
 * What is asked for is kept as a difference to the setting, so it lasts over reloads and until the
 * setting itself changes; WINCH lasts until a reload, or TTIN, which begins with one.
 *
 * With reuseport a worker has sockets of its own, in whose queues connections wait.  So before one
 * leaves for good, its heir is replaced by a worker that accepts from them as well (seat.c).
 */
#include <fcntl.h>
#include <unistd.h>
#include "base/log.h"
#include "daemon/master/master_internal.h"

static size_t
wanted(const struct generation *generation, int change)
{
    const long count = (long)generation->workers_set + change;

    return count < 1 ? 1 : count > WORKERS_MAX ? WORKERS_MAX : (size_t)count;
}

void
scale_prepare(struct generation *generation)
{
    const struct generation *before = master.current;
    const bool keeps = before != NULL && before->workers_set == generation->workers_set &&
                       before->seats_count > 0;

    generation_set_seats(generation, wanted(generation, keeps ? master.workers_change : 0));
}

/* ---- one more */

static void
add_worker(struct generation *generation)
{
    td_err err;

    if (generation_grow_listeners(generation, generation->seats_count + 1, &err) < 0) {
        td_log_at(TD_LOG_ERROR, "master", "no worker more: %s", err.text);
        return;
    }
    struct seat *seat = generation_add_seat(generation);
    if (seat_spawn(seat, &err) < 0) {
        td_log_at(TD_LOG_ERROR, "master", "no worker more: %s", err.text);
        generation->seats_count--;
        generation_remove_seat(seat);
    }
    generation_store_listeners(generation);
}

/* ---- one less */

static struct seat *
find_seat(const struct generation *generation, size_t number)
{
    struct seat *found = NULL;

    GENERATION_EACH(seat, generation) {
        if (!seat->is_surplus && seat->number == number)
            found = seat; /* of one and its successor, which stands before it, the one that serves */
    }
    return found;
}

static bool
has_own_sockets(const struct generation *generation)
{
    for (size_t i = 0; i < generation->configuration->listeners_count; i++) {
        if (generation->listeners[i]->reuseport)
            return true;
    }
    return false;
}

static void
remove_worker(struct generation *generation)
{
    struct seat *seat = find_seat(generation, generation->seats_count - 1);

    generation->seats_count--;
    if (seat == NULL)
        return;
    seat->is_surplus = true;
    seat_cancel_respawn(seat);
    struct seat *heir = find_seat(generation, generation_owner(generation, seat->number));
    if (has_own_sockets(generation) && heir != NULL && supervise_inherit(heir, seat))
        return; /* it goes when that one is ready */
    if (seat->pid != 0)
        seat_retire(seat);
    else
        generation_remove_seat(seat);
}

/* ---- as many as are wanted */

static void
tell_workers(struct generation *generation)
{
    char count[24];

    snprintf(count, sizeof(count), "%zu", generation->seats_count);
    GENERATION_EACH(seat, generation) {
        if (seat->pid != 0)
            seat_send(seat, CONTROL_WORKERS, count, NULL);
    }
}

static void
settle(struct generation *generation)
{
    const size_t count = wanted(generation, master.workers_change);
    size_t before;

    do {
        before = generation->seats_count;
        if (before < count)
            add_worker(generation);
        else if (before > count)
            remove_worker(generation);
    } while (generation->seats_count != before);
    tell_workers(generation);
    master_tell_status();
}

void
scale_took_over(const struct generation *before)
{
    if (before == NULL || before->workers_set != master.current->workers_set ||
        before->seats_count == 0)
        master.workers_change = (int)master.current->seats_count - (int)master.current->workers_set;
    else
        settle(master.current); /* it may have been changed meanwhile */
}

void
scale_by(int step)
{
    struct generation *generation = master.current;

    if (generation == NULL || generation->is_adopted)
        return;
    const size_t count = wanted(generation, (int)generation->seats_count -
                                                (int)generation->workers_set + step);
    if (count == generation->seats_count) {
        td_log_at(TD_LOG_WARNING, "master", "there are %zu workers, and 1 to %d may be", count,
                  WORKERS_MAX);
        return;
    }
    master.workers_change = (int)count - (int)generation->workers_set;
    td_log_at(TD_LOG_INFO, "master", "%zu worker%s from now on, as a signal says", count,
              count == 1 ? "" : "s");
    settle(generation);
}

static bool
has_terminal(void)
{
    int fd = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

void
scale_to_none(void)
{
    struct generation *generation = master.current;

    if (generation == NULL || generation->seats_count == 0 || has_terminal())
        return; /* a terminal sends it when its window changes */
    td_log_at(TD_LOG_INFO, "master", "workers leave; connections wait until there are some again");
    generation->seats_count = 0;
    for (struct seat *seat = generation_first_seat(generation), *next; seat != NULL; seat = next) {
        next = generation_seat_after(generation, seat);
        seat_cancel_respawn(seat);
        seat->replaces = seat->inherits = NULL;
        if (seat->pid == 0)
            generation_remove_seat(seat);
        else if (!seat->retires)
            seat_retire(seat);
    }
    master_tell_status();
}
