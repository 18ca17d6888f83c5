/*
 * The master's life is a sequence of generations: one that is ready takes over from the one before,
 * so there is always one that accepts (rollout.c).
 *
 * Signals come through a descriptor and are blocked from before the first fork on, so none is lost
 * and none interrupts; children unblock them when they have handlers of their own.
 */
#include "daemon/master/master.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/master/controlsocket.h"
#include "daemon/master/master_internal.h"
#include "daemon/master/notify.h"
#include "daemon/master/passed.h"
#include "daemon/master/pidfile.h"
#include "daemon/master/upgrade.h"
#include "daemon/master/watch.h"
#include "daemon/site/shared.h"
#include "daemon/source.h"
#include "io/ioloop.h"

#define MEMORY_TRIES_MAX 1000 /* 10 s */
#define LOG_PATIENCE_MS 100 /* what workers say by thousands may not keep out what a crash was */
#define DRAINING_MAX 2 /* generations; the oldest goes when there is one more */

struct master master;

/* ---- telling */

void
master_tell_status(void)
{
    if (master.stopping || master.current == NULL)
        return;
    size_t ready = generation_ready(master.current), wanted = master.current->seats_count;
    if (wanted == 0)
        notify_send("STATUS=no workers; TTIN or a reload brings some");
    else if (ready < wanted)
        notify_send("STATUS=degraded: %zu of %zu workers serve", ready, wanted);
    else
        notify_send("STATUS=%zu worker%s serve%s, generation %u", wanted, wanted == 1 ? "" : "s",
                    wanted == 1 ? "s" : "", master.current->number);
}

/* A file that cannot be opened is a wrong setting; syslog or the journal may be back soon. */
int
master_open_log(const td_configuration *configuration, td_err *err)
{
    const td_log_settings *settings = &configuration->log;
    bool is_file = settings->target == TD_LOG_FILE;

    if (td_log_open(&(td_log_options){.target = (td_log_target)settings->target,
                                      .level = (td_log_level)settings->level,
                                      .path = is_file ? settings->file : NULL},
                    err) == 0)
        return 0;
    source_prefix(configuration, "log", is_file ? "file" : "target", err);
    if (is_file)
        return err->code;
    td_log_at(TD_LOG_ERROR, "master", "%s; lines go where they went before", err->text);
    return 0;
}

/* ---- ending */

static void
kill_workers(const struct generation *generation)
{
    GENERATION_EACH(seat, generation) {
        if (seat->pid != 0)
            kill(seat->pid, SIGKILL);
    }
}

void
master_end_when_alone(void)
{
    if (master.stopping && td_list_is_empty(&master.draining) && master.checker.pid == 0)
        ev_break(master.loop, EVBREAK_ALL);
}

/* The oldest generation that still has workers: what only older ones wanted can go. */
static uint32_t
oldest_number(void)
{
    if (!td_list_is_empty(&master.draining))
        return TD_CONTAINER_OF(master.draining.next, struct generation, link)->number;
    return master.current != NULL ? master.current->number : master.generations + 1;
}

void
master_forget(struct generation *generation)
{
    td_list_remove(&generation->link);
    ev_timer_stop(master.loop, &generation->limit);
    generation_destroy(&generation);
    shared_forget_before(oldest_number());
    master_end_when_alone();
}

static void
on_drain_limit(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct generation *generation = timer->data;

    (void)loop;
    (void)events;
    td_log_at(TD_LOG_WARNING, "master",
              "generation %u: workers that did not leave within drain_timeout are killed: %zu",
              generation->number, generation_workers(generation));
    kill_workers(generation);
}

static void
force_oldest(void)
{
    size_t count = 0;

    TD_LIST_FOREACH (link, &master.draining)
        count++;
    if (count > DRAINING_MAX)
        kill_workers(TD_CONTAINER_OF(master.draining.next, struct generation, link));
}

void
master_await_end(struct generation *generation)
{
    int64_t limit_ms = generation->configuration->tornadod.drain_timeout_ms + SEAT_KILL_AFTER_MS;

    td_list_append(&master.draining, &generation->link);
    ev_timer_stop(master.loop, &generation->limit);
    ev_timer_init(&generation->limit, on_drain_limit, (double)limit_ms / 1000., 0.);
    generation->limit.data = generation;
    ev_timer_start(master.loop, &generation->limit);
}

/* Tell its workers to leave; those that serve nobody yet are simply ended. */
void
master_drain(struct generation *generation, enum control_type how)
{
    generation_release_listeners(generation);
    master_await_end(generation);
    GENERATION_EACH(seat, generation) {
        seat_cancel_respawn(seat);
        if (seat->pid == 0)
            continue;
        seat_listen(seat);
        metrics_worker_is(scoreboard_place(seat->slot), METRICS_DRAINING);
        if (!seat->ready || seat_send(seat, how, NULL, NULL) < 0)
            kill(seat->pid, SIGKILL);
    }
    if (generation_workers(generation) == 0)
        master_forget(generation);
    else
        force_oldest();
}

/* ---- what the master is told */

void
master_stop(void)
{
    if (master.stopping) {
        TD_LIST_FOREACH (link, &master.draining)
            kill_workers(TD_CONTAINER_OF(link, struct generation, link));
        return;
    }
    master.stopping = true;
    td_log_at(TD_LOG_INFO, "master", "stopping: work in flight has drain_timeout to end");
    notify_send("STOPPING=1\nSTATUS=draining");
    listener_leave_stored(); /* the manager may start another one at once */
    if (master.checker.pid != 0)
        kill(master.checker.pid, SIGKILL);
    struct generation *leaving[] = {master.next, master.current};
    for (size_t i = 0; i < 2; i++) {
        if (leaving[i] != NULL)
            notify_takes(leaving[i]->configuration->tornadod.drain_timeout_ms + SEAT_KILL_AFTER_MS);
    }
    master.next = master.current = NULL;
    master.phase = PHASE_NONE;
    control_settle(CONTROL_EVENT_RELOAD, UINT32_MAX, "the daemon is stopping", "");
    control_settle(CONTROL_EVENT_UPGRADE, UINT32_MAX, "the daemon is stopping", "");
    upgrade_abandon();
    for (size_t i = 0; i < 2; i++) {
        if (leaving[i] != NULL)
            master_drain(leaving[i], CONTROL_STOP);
    }
    master_end_when_alone();
}

static bool
reopen_logs_of(struct generation *generation)
{
    td_err err = {.code = 0};

    if (generation == NULL)
        return true;
    if (generation_open_access_log(generation, &err) < 0)
        td_log_at(TD_LOG_ERROR, "master", "%s; the old one goes on", err.text);
    const td_log_settings *settings = &generation->configuration->log;
    int fds[] = {settings->target == TD_LOG_FILE ? td_log_fd() : -1, generation->access_fd};
    GENERATION_EACH(seat, generation) {
        if (seat->pid != 0)
            seat_send(seat, CONTROL_LOGS, NULL, fds);
    }
    return err.code == 0;
}

/* Workers may have no right to open the files, so they are sent the descriptors. */
bool
master_reopen_logs(void)
{
    td_err err = {.code = 0};
    bool all;

    if (td_log_reopen(&err) < 0)
        td_log_at(TD_LOG_ERROR, "master", "%s; the old one goes on", err.text);
    all = err.code == 0;
    all &= reopen_logs_of(master.current);
    all &= reopen_logs_of(master.next);
    TD_LIST_FOREACH (link, &master.draining)
        all &= reopen_logs_of(TD_CONTAINER_OF(link, struct generation, link));
    td_log_at(TD_LOG_INFO, "master", "logs opened anew");
    return all;
}

static void
on_handlers_changed(const char *name)
{
    td_log_at(TD_LOG_INFO, "master", "%s has changed", name);
    rollout_reload();
}

static void
on_signal(int number)
{
    switch (number) {
    case SIGCHLD:
        supervise_reap();
        break;
    case SIGHUP:
        rollout_reload();
        break;
    case SIGUSR1:
        master_reopen_logs();
        break;
    case SIGUSR2:
        upgrade_begin();
        break;
    case SIGTTIN:
        scale_by(1);
        break;
    case SIGTTOU:
        scale_by(-1);
        break;
    case SIGWINCH:
        scale_to_none();
        break;
    default: /* TERM, INT, QUIT */
        master_stop();
    }
}

static void
on_signals(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct signalfd_siginfo info;

    if (events & EV_ERROR)
        td_ioloop_watch_again(loop, watcher, "signals");
    while (read(watcher->fd, &info, sizeof(info)) == sizeof(info))
        on_signal((int)info.ssi_signo);
}

/* libev's; without it libev would abort. */
static void *
allocate(void *p, long size)
{
    if (size > 0)
        return td_xrealloc(p, (size_t)size);
    free(p);
    return NULL;
}

static void
on_nudge(struct ev_loop *loop, ev_io *watcher, int events)
{
    uint64_t count;

    if (events & EV_ERROR)
        td_ioloop_watch_again(loop, watcher, "its nudge");
    (void)!read(watcher->fd, &count, sizeof(count));
}

/*
 * Watchers wait to be told that they are not watched: not until somebody else has something to say.
 */
static void
on_polling(struct ev_loop *loop)
{
    if (ev_pending_count(loop) > 0)
        td_nudge(&master.nudge);
}

static void
on_watchdog(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
    notify_send("WATCHDOG=1");
}

/* ---- life */

static int
watch_signals(td_err *err)
{
    static const int watched[] = {SIGCHLD, SIGHUP,  SIGUSR1, SIGUSR2, SIGTERM,
                                  SIGINT,  SIGQUIT, SIGTTIN, SIGTTOU, SIGWINCH};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(watched) / sizeof(*watched); i++)
        sigaddset(&set, watched[i]);
    sigprocmask(SIG_SETMASK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return td_err_errno(err, "signalfd");
    ev_io_init(&master.signals, on_signals, fd, EV_READ);
    ev_io_start(master.loop, &master.signals);
    return 0;
}

static int
open_master(td_err *err)
{
    static const struct seat_events seat_events = {.ready = supervise_seat_ready,
                                                   .respawn_failed = supervise_respawn_failed};

    td_memory_tries_max = MEMORY_TRIES_MAX;
    ev_set_allocator(allocate);
    td_list_init(&master.draining);
    master.pid_fd = -1;
    master.loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (master.loop == NULL)
        return td_err_set(err, -ENOMEM, "no event loop");
    if (td_nudge_open(master.loop, &master.nudge, on_nudge, err) < 0)
        return err->code;
    ev_set_loop_release_cb(master.loop, on_polling, NULL);
    seat_events_set(master.loop, &seat_events);
    notify_init();
    passed_init();
    double watchdog_s = (double)notify_watchdog_ms() / 1000. / 2;
    ev_timer_init(&master.watchdog, on_watchdog, watchdog_s, watchdog_s);
    if (watchdog_s > 0)
        ev_timer_start(master.loop, &master.watchdog);
    if (scoreboard_create(err) < 0 || metrics_create(err) < 0 ||
        watch_open(master.loop, on_handlers_changed, err) < 0)
        return err->code;
    return watch_signals(err);
}

static void
close_master(void)
{
    pidfile_close(master.pid_fd, master.pid_path);
    controlsocket_close();
    free((char *)master.pid_path);
    free((char *)master.control_path);
    free((char *)master.ini);
    ev_io_stop(master.loop, &master.signals);
    close(master.signals.fd);
    ev_timer_stop(master.loop, &master.watchdog);
    recycle_end();
    watch_close();
    close(master.nudge.fd);
    ev_loop_destroy(master.loop);
}

/* With nothing, or with what the binary before us has left. */
static int
begin(td_err *err)
{
    if (!upgrade_is_ours())
        return rollout_begin(err);
    int rc = upgrade_resume(err);
    if (rc < 0)
        return rc;
    supervise_reap(); /* who ended meanwhile */
    rollout_reload();
    return 0;
}

int
master_run(const struct options *options)
{
    td_err err;

    master.options = options;
    master.ini = options->path != NULL ? realpath(options->path, NULL) : NULL;
    master.started_ns = td_clock_ns();
    td_log_set_patience(LOG_PATIENCE_MS);
    if (open_master(&err) < 0) {
        td_log_at(TD_LOG_CRITICAL, "master", "%s", err.text);
        return EXIT_FAILURE;
    }
    int rc = begin(&err);
    if (rc < 0)
        rollout_fail(rollout_exit_status(rc), "%s", err.text);
    else
        ev_run(master.loop, 0);
    if (master.exit_status == 0)
        td_log_at(TD_LOG_INFO, "master", "stopped after %llu requests",
                  (unsigned long long)scoreboard_requests());
    close_master();
    return master.exit_status;
}
