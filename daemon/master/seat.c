#include "daemon/master/seat.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/logqueue.h"
#include "daemon/master/generation.h"
#include "daemon/master/postmortem.h"
#include "daemon/worker/accesslog.h"
#include "daemon/worker/worker.h"
#include "io/ioloop.h"

#define LIFE_GOOD_NS TD_NS_PER_S /* ready for that long: whatever ended it was not its start */
#define HUNG_GRACE_S 2           /* to write down where it is */
#define PAUSE_FIRST_MS 50        /* doubles from failure to failure */
#define PAUSE_DOUBLINGS_MAX 7    /* 6.4 s */

static struct ev_loop *loop;
static const struct seat_events *events;

void
seat_events_set(struct ev_loop *event_loop, const struct seat_events *seat_events)
{
    loop = event_loop;
    events = seat_events;
}

/* ---- signs of life */

static int64_t
hang_timeout_ms(const struct seat *seat)
{
    return seat->generation->configuration->tornadod.hang_timeout_ms;
}

/*
 * It hangs: SIGABRT has it write down where (see crash.c), SIGKILL is for one that is stopped or
 * past that.
 */
static void
end_hung(struct seat *seat)
{
    kill(seat->pid, seat->hung ? SIGKILL : SIGABRT);
    seat->hung = true;
    ev_timer_stop(loop, &seat->heartbeat);
    ev_timer_set(&seat->heartbeat, HUNG_GRACE_S, HUNG_GRACE_S);
    ev_timer_start(loop, &seat->heartbeat);
}

static void
on_heartbeat(struct ev_loop *unused, ev_timer *timer, int revents)
{
    struct seat *seat = timer->data;
    const int64_t now_ns = td_clock_ns(), timeout_ns = hang_timeout_ms(seat) * TD_NS_PER_MS;
    const bool was_late = now_ns - seat->looked_ns > timeout_ns / 4;

    (void)unused;
    (void)revents;
    seat->looked_ns = now_ns;
    if (seat->hung)
        end_hung(seat);
    else if (now_ns - seat->slot->alive_ns > timeout_ns / 8 * 6 && !was_late)
        end_hung(seat); /* and it was not the master, or the machine, that stood still */
}

static void
watch_heartbeat(struct seat *seat)
{
    const double period_s = (double)HEARTBEAT_OF(hang_timeout_ms(seat)) / 1000.;

    if (hang_timeout_ms(seat) == 0)
        return;
    seat->looked_ns = td_clock_ns();
    ev_timer_set(&seat->heartbeat, period_s, period_s);
    ev_timer_start(loop, &seat->heartbeat);
}

/* ---- what the worker says */

static void
on_message(struct seat *seat, const struct control_message *message)
{
    for (unsigned i = 0; i < CONTROL_FDS_MAX; i++) {
        if (message->fds[i] >= 0)
            close(message->fds[i]); /* workers have none to give */
    }
    if (message->type == CONTROL_FAILED) {
        memcpy(seat->reason, message->text, sizeof(seat->reason));
    } else if (message->type == CONTROL_READY && !seat->ready) {
        seat->ready = true;
        seat->ready_ns = td_clock_ns();
        metrics_worker_is(scoreboard_place(seat->slot), METRICS_SERVING);
        ev_timer_stop(loop, &seat->limit);
        watch_heartbeat(seat);
        events->ready(seat);
    }
}

void
seat_listen(struct seat *seat)
{
    struct control_message message;
    int rc = -EAGAIN;

    while (seat->control.fd >= 0 && (rc = control_receive(seat->control.fd, &message)) > 0)
        on_message(seat, &message);
    if (rc != -EAGAIN)
        ev_io_stop(loop, &seat->control); /* its death is told by the kernel */
}

static void
on_control(struct ev_loop *unused, ev_io *watcher, int revents)
{
    (void)unused;
    if (revents & EV_ERROR)
        td_ioloop_watch_again(loop, watcher, "a worker's control");
    seat_listen(watcher->data);
}

int
seat_send(struct seat *seat, enum control_type type, const char *text, const int *fds)
{
    struct control_message message = {.type = type, .fds = {-1, -1}};

    if (text != NULL)
        snprintf(message.text, sizeof(message.text), "%s", text);
    if (fds != NULL)
        memcpy(message.fds, fds, sizeof(message.fds));
    return control_send(seat->control.fd, &message);
}

/* ---- who sits there */

static void
try_again(struct ev_loop *unused, ev_timer *timer, int revents)
{
    struct seat *seat = timer->data;
    td_err err;

    (void)unused;
    (void)revents;
    if (seat_spawn(seat, &err) == 0)
        return;
    seat->failures++;
    seat_respawn(seat);
    events->respawn_failed(seat, &err);
}

/* A hook that waits for what does not come is ended like one that does not come back. */
static void
on_limit(struct ev_loop *unused, ev_timer *timer, int revents)
{
    struct seat *seat = timer->data;
    const struct generation *generation = seat->generation;
    td_arena arena;

    (void)unused;
    (void)revents;
    if (seat->retires) {
        td_log_at(TD_LOG_WARNING, "master",
                  "worker %u (pid %d) did not leave within drain_timeout and is killed",
                  seat->number, (int)seat->pid);
        kill(seat->pid, SIGKILL);
        return;
    }
    td_arena_init(&arena);
    td_str doing = postmortem_describe(&arena, seat->slot, &generation->manifest);
    snprintf(seat->reason, sizeof(seat->reason),
             "worker %u was not ready within start_timeout (%lld ms)%s%s", seat->number,
             (long long)generation->configuration->tornadod.start_timeout_ms,
             doing.len > 0 ? ": it was in " : "", doing.ptr);
    td_arena_fini(&arena);
    kill(seat->pid, SIGKILL);
}

void
seat_init(struct seat *seat, struct generation *generation, uint32_t number)
{
    seat->generation = generation;
    seat->number = number;
    ev_io_init(&seat->control, on_control, -1, EV_READ);
    seat->control.data = seat;
    ev_timer_init(&seat->limit, on_limit, 0., 0.);
    seat->limit.data = seat;
    ev_timer_init(&seat->heartbeat, on_heartbeat, 0., 0.);
    seat->heartbeat.data = seat;
    ev_timer_init(&seat->respawn, try_again, 0., 0.);
    seat->respawn.data = seat;
}

/* A worker accepts from the shared sockets and from its part of those that are one a worker. */
static struct worker_socket *
choose_sockets(const struct seat *seat, size_t *count_out)
{
    const struct generation *generation = seat->generation;
    const td_configuration *configuration = generation->configuration;
    struct worker_socket *sockets = NULL;
    size_t count = 0;

    for (size_t i = 0; i < configuration->listeners_count; i++) {
        const struct listener *listener = generation->listeners[i];
        for (size_t j = 0; j < listener->fds_count; j++) {
            if (listener->reuseport && generation_owner(generation, j) != seat->number)
                continue;
            sockets = td_xrealloc(sockets, (count + 1) * sizeof(*sockets));
            sockets[count++] = (struct worker_socket){.fd = listener->fds[j],
                                                      .settings = &configuration->listeners[i],
                                                      .place = generation->places.listeners[i]};
        }
    }
    *count_out = count;
    return sockets;
}

TD_NORETURN static void
become_worker(struct seat *seat, pid_t master, int control)
{
    const struct generation *generation = seat->generation;
    struct worker_options options = {.number = seat->number,
                                     .workers_count = generation->seats_count,
                                     .plan = &generation->plan,
                                     .identity = &generation->identity,
                                     .slot = seat->slot,
                                     .manifest = &generation->manifest,
                                     .places = &generation->places,
                                     .master = master,
                                     .control = control,
                                     .access_fd = generation->access_fd,
                                     .quarantined = generation->quarantine.is_in};

    options.access_format = generation->access_format;
    options.log_ring = seat->log_ring;
    options.access_ring = seat->access_ring;
    options.sockets = choose_sockets(seat, &options.sockets_count);
    worker_main(&options);
}

static int
create_rings(struct seat *seat, td_err *err)
{
    const size_t size = (size_t)seat->generation->configuration->log.buffer;
    const int rc = td_ring_create(size, &seat->log_ring, err);

    return rc == 0 ? td_ring_create(size, &seat->access_ring, err) : rc;
}

static void
start_limit(struct seat *seat, int64_t limit_ms)
{
    ev_timer_stop(loop, &seat->limit);
    ev_now_update(loop);
    ev_timer_set(&seat->limit, (double)limit_ms / 1000., 0.);
    ev_timer_start(loop, &seat->limit);
}

int
seat_spawn(struct seat *seat, td_err *err)
{
    pid_t master = getpid();
    int ours, theirs;

    seat->reason[0] = '\0';
    seat->hung = false;
    seat->is_outdated = false;
    seat->slot = scoreboard_take();
    if (seat->slot == NULL)
        return td_err_set(err, TD_EBUSY, "more than %d workers in all generations",
                          SCOREBOARD_SLOTS);
    metrics_worker_begins(scoreboard_place(seat->slot), seat->generation->number, seat->number);
    if (create_rings(seat, err) < 0 || control_pair(&ours, &theirs, err) < 0)
        goto fail_slot;
    pid_t pid = fork();
    if (pid < 0) {
        td_err_errno(err, "worker %u: fork", seat->number);
        goto fail_pair;
    }
    if (pid == 0)
        become_worker(seat, master, theirs);

    close(theirs);
    td_ring_hide_from_children(seat->log_ring);
    td_ring_hide_from_children(seat->access_ring);
    seat->pid = pid;
    metrics_worker_forked(scoreboard_place(seat->slot), pid);
    seat->lives++;
    seat->spawned_ns = td_clock_ns();
    seat->slot->pid = pid;
    seat->slot->worker = seat->number;
    seat->slot->generation = seat->generation->number;
    ev_io_set(&seat->control, ours, EV_READ);
    ev_io_start(loop, &seat->control);
    start_limit(seat, seat->generation->configuration->tornadod.start_timeout_ms);
    return 0;

fail_pair:
    close(ours);
    close(theirs);
fail_slot:
    seat_clear(seat);
    return err->code;
}

void
seat_adopt(struct seat *seat, const struct seat_worker *worker)
{
    seat->number = worker->number;
    seat->pid = worker->pid;
    seat->ready = worker->ready;
    seat->log_ring = worker->log_ring;
    seat->access_ring = worker->access_ring;
    seat->lives = 1;
    seat->ready_ns = seat->spawned_ns = td_clock_ns();
    seat->slot = worker->slot != NULL ? worker->slot : scoreboard_take();
    metrics_worker_adopted(scoreboard_place(seat->slot), seat->generation->number, worker->number,
                           worker->pid);
    ev_io_set(&seat->control, worker->control, EV_READ);
    ev_io_start(loop, &seat->control);
    if (!seat->ready)
        start_limit(seat, seat->generation->configuration->tornadod.start_timeout_ms);
    else if (worker->slot != NULL)
        watch_heartbeat(seat);
}

void
seat_hear_last_words(struct seat *seat)
{
    const struct generation *generation = seat->generation;
    const struct accesslog_options access =
        accesslog_options_of(&generation->configuration->log, generation->access_format,
                             generation->access_fd, seat->access_ring, &seat->slot->access_dropped);
    char whose[32];

    snprintf(whose, sizeof(whose), "worker %u", seat->number);
    if (seat->log_ring != NULL)
        td_logqueue_inherit(seat->log_ring);
    if (seat->access_ring != NULL)
        accesslog_inherit(&access, whose);
    seat_listen(seat);
}

void
seat_retire(struct seat *seat)
{
    const int64_t limit_ms =
        seat->generation->configuration->tornadod.drain_timeout_ms + SEAT_KILL_AFTER_MS;

    seat->is_surplus = seat->retires = true;
    metrics_worker_is(scoreboard_place(seat->slot), METRICS_DRAINING);
    start_limit(seat, limit_ms);
    if (!seat->ready || seat_send(seat, CONTROL_DRAIN, NULL, NULL) < 0)
        kill(seat->pid, SIGKILL);
}

void
seat_bury(struct seat *seat)
{
    ev_timer_stop(loop, &seat->limit);
    ev_timer_stop(loop, &seat->heartbeat);
    ev_io_stop(loop, &seat->control);
    close(seat->control.fd);
    ev_io_set(&seat->control, -1, EV_READ);
    if (seat->ready && td_clock_ns() - seat->ready_ns >= LIFE_GOOD_NS)
        seat->failures = 0;
    else
        seat->failures++;
    seat->pid = 0;
    seat->ready = false;
}

void
seat_clear(struct seat *seat)
{
    if (seat->slot != NULL) {
        metrics_worker_ended(scoreboard_place(seat->slot));
        scoreboard_release(seat->slot);
    }
    seat->slot = NULL;
    td_ring_destroy(&seat->log_ring);
    td_ring_destroy(&seat->access_ring);
}

int
seat_respawn(struct seat *seat)
{
    unsigned doublings =
        seat->failures > PAUSE_DOUBLINGS_MAX ? PAUSE_DOUBLINGS_MAX : seat->failures - 1;
    int pause_ms = seat->failures == 0 ? 0 : PAUSE_FIRST_MS << doublings;

    ev_timer_set(&seat->respawn, pause_ms / 1000., 0.);
    ev_timer_start(loop, &seat->respawn);
    return pause_ms;
}

void
seat_cancel_respawn(struct seat *seat)
{
    ev_timer_stop(loop, &seat->respawn);
}
