/*
 * The master's life is a sequence of generations.  One that is to come goes through three phases:
 * its handlers are checked in a child, its first worker (the canary) loads and starts them, the
 * others follow.  Only when all are ready does the one that serves begin to drain, so there is
 * always a generation that accepts; and one that fails on its way leaves the old one as it was.
 *
 * Signals come through a descriptor and are blocked from before the first fork on, so none is lost
 * and none interrupts; children unblock them when they have handlers of their own.
 */
#include "daemon/master.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "daemon/checker.h"
#include "daemon/generation.h"
#include "daemon/notify.h"
#include "daemon/pidfile.h"
#include "daemon/postmortem.h"
#include "daemon/shared.h"
#include "daemon/source.h"
#include "daemon/watch.h"

#define KILL_AFTER_MS 1000 /* beyond drain_timeout: the worker itself should have ended by then */
#define DRAINING_MAX 2     /* generations; the oldest goes when there is one more */

enum phase {
    PHASE_NONE, /* no generation is to come */
    PHASE_CHECK,
    PHASE_CANARY,
    PHASE_FILL,
};

static struct {
    const struct options *options;
    struct ev_loop *loop;
    ev_io signals;
    ev_timer watchdog;

    struct generation *current; /* serves; NULL before the first one does, and when stopping */
    struct generation *next;    /* is to come; NULL: none */
    enum phase phase;
    td_list draining;     /* oldest first */
    uint32_t generations; /* there ever were */

    struct checker checker;
    bool checker_timed_out;
    bool reload_again; /* HUP came while a reload was on its way */
    bool stopping;
    int exit_status;

    const char *pid_path; /* NULL: none */
    int pid_fd;
} master;

static void begin_reload(void);
static void fill_up(void);

/* ---- telling */

static void
tell_status(void)
{
    if (master.stopping || master.current == NULL)
        return;
    size_t ready = generation_ready(master.current), wanted = master.current->seats_count;
    if (ready < wanted)
        notify_send("STATUS=degraded: %zu of %zu workers serve", ready, wanted);
    else
        notify_send("STATUS=%zu worker%s serve%s, generation %u", wanted, wanted == 1 ? "" : "s",
                    wanted == 1 ? "s" : "", master.current->number);
}

/* A file that cannot be opened is a setting that is wrong; syslog or the journal may be back soon.
 */
static int
open_log(const td_configuration *configuration, td_err *err)
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

static void
tell_listeners(const struct generation *generation)
{
    for (size_t i = 0; i < generation->configuration->listeners_count; i++)
        td_log_at(TD_LOG_INFO, "master", "listening on %s", generation->listeners[i]->url);
}

static bool
is_in_debug(const td_configuration *configuration, const char *application)
{
    for (size_t i = 0; i < configuration->applications_count; i++) {
        if (strcmp(configuration->applications[i].name, application) == 0)
            return configuration->applications[i].debug;
    }
    return false;
}

/* The pages of an application in debug are not for strangers. */
static void
warn_of_debug(const struct generation *generation)
{
    const td_configuration *configuration = generation->configuration;

    for (size_t i = 0; i < configuration->listeners_count; i++) {
        const td_listener_settings *listener = &configuration->listeners[i];
        if (is_in_debug(configuration, listener->application) &&
            !listener_is_local(generation->listeners[i]))
            td_log_at(TD_LOG_WARNING, "master",
                      "debug is on in [application:%s], and [listen:%s] %s is not for this machine "
                      "alone: error pages tell everybody what the log says",
                      listener->application, listener->name, listener->address);
    }
}

/* ---- ending */

static void
signal_workers(struct generation *generation, int number)
{
    for (size_t i = 0; i < generation->seats_count; i++) {
        if (generation->seats[i].pid != 0)
            kill(generation->seats[i].pid, number);
    }
}

static void
end_when_alone(void)
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

static void
forget(struct generation *generation)
{
    td_list_remove(&generation->link);
    ev_timer_stop(master.loop, &generation->limit);
    generation_destroy(&generation);
    shared_forget_before(oldest_number());
    end_when_alone();
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
    signal_workers(generation, SIGKILL);
}

static void
force_oldest(void)
{
    size_t count = 0;

    TD_LIST_FOREACH (link, &master.draining)
        count++;
    if (count > DRAINING_MAX)
        signal_workers(TD_CONTAINER_OF(master.draining.next, struct generation, link), SIGKILL);
}

/* Tell its workers to leave; those that serve nobody yet are simply ended. */
static void
drain(struct generation *generation, enum control_type how)
{
    int64_t limit_ms = generation->configuration->tornadod.drain_timeout_ms + KILL_AFTER_MS;

    generation_release_listeners(generation);
    td_list_append(&master.draining, &generation->link);
    ev_timer_stop(master.loop, &generation->limit);
    ev_timer_init(&generation->limit, on_drain_limit, (double)limit_ms / 1000., 0.);
    generation->limit.data = generation;
    ev_timer_start(master.loop, &generation->limit);
    for (size_t i = 0; i < generation->seats_count; i++) {
        struct seat *seat = &generation->seats[i];
        seat_cancel_respawn(seat);
        if (seat->pid == 0)
            continue;
        seat_listen(seat);
        if (!seat->ready || seat_send(seat, how, NULL, NULL) < 0)
            kill(seat->pid, SIGKILL);
    }
    if (generation_workers(generation) == 0)
        forget(generation);
    else
        force_oldest();
}

/* ---- the next generation */

/* status: the exit status of the program if this is the first generation. */
TD_PRINTF(2, 3)
static void
fail_next(int status, const char *format, ...)
{
    struct generation *failed = master.next;
    char text[TD_ERR_TEXT_SIZE + 1024];
    td_err err;
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    master.next = NULL;
    master.phase = PHASE_NONE;
    if (master.current != NULL) {
        td_log_at(TD_LOG_ERROR, "master", "reload failed: %s", text);
        notify_send("READY=1\nSTATUS=reload failed: %s", text);
        if (open_log(master.current->configuration, &err) < 0)
            td_log_at(TD_LOG_ERROR, "master", "%s", err.text);
    } else {
        td_log_at(TD_LOG_CRITICAL, "master", "%s", text);
        notify_send("STATUS=%s", text);
        master.exit_status = status;
        master.stopping = true;
    }
    if (failed != NULL)
        drain(failed, CONTROL_DRAIN);
    end_when_alone();
    if (master.reload_again && !master.stopping)
        begin_reload();
}

static int
status_of(int rc)
{
    return rc == TD_ECONFIG || rc == TD_EPLUGIN ? EX_CONFIG : EXIT_FAILURE;
}

static void
start_limit(struct generation *generation, void (*expired)(struct ev_loop *, ev_timer *, int))
{
    ev_timer_stop(master.loop, &generation->limit);
    ev_now_update(master.loop);
    ev_timer_init(&generation->limit, expired,
                  (double)generation->configuration->tornadod.start_timeout_ms / 1000., 0.);
    generation->limit.data = generation;
    ev_timer_start(master.loop, &generation->limit);
}

static void
on_check_limit(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
    master.checker_timed_out = true;
    kill(master.checker.pid, SIGKILL);
}

static void
on_fill_limit(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct generation *generation = timer->data;

    (void)loop;
    (void)events;
    fail_next(EXIT_FAILURE, "%zu of %zu workers were ready within start_timeout (%lld ms)",
              generation_ready(generation), generation->seats_count,
              (long long)generation->configuration->tornadod.start_timeout_ms);
}

static int
share_memory(struct generation *generation, td_err *err)
{
    const struct manifest *manifest = &generation->manifest;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < manifest->shared_count; i++) {
        const struct manifest_shared *shared = &manifest->shared[i];
        rc = shared_want(manifest->instances[shared->instance - 1].name, shared->name, shared->size,
                         generation->number, err);
    }
    return rc;
}

static void
on_checked(int status)
{
    struct generation *generation = master.next;
    struct manifest *manifest = &generation->manifest;
    td_err err;
    int rc = checker_finish(&master.checker, status, master.checker_timed_out, &generation->plan,
                            &generation->arena, manifest, &err);

    for (size_t i = 1; rc < 0 && i < manifest->failures_count; i++)
        td_log_at(TD_LOG_ERROR, "master", "%s", manifest->failures[i]);
    if (rc == 0)
        rc = share_memory(generation, &err);
    if (rc == 0)
        rc = seat_spawn(&generation->seats[0], &err);
    if (rc < 0) {
        fail_next(status_of(rc), "%s", err.text);
        return;
    }
    master.phase = PHASE_CANARY;
    ev_timer_stop(master.loop, &generation->limit); /* the seat has one of its own */
}

static int
open_pid_file(const td_configuration *configuration, td_err *err)
{
    const char *path = configuration->tornadod.pid_file;

    if (master.current != NULL) {
        if ((path == NULL) != (master.pid_path == NULL) ||
            (path != NULL && strcmp(path, master.pid_path) != 0))
            td_log_at(TD_LOG_WARNING, "master", "pid_file changes with a restart only");
        return 0;
    }
    if (path == NULL)
        return 0;
    int rc = pidfile_open(path, &master.pid_fd, err);
    if (rc < 0) {
        source_prefix(configuration, "tornadod", "pid_file", err);
        return rc == TD_EBUSY ? rc : err->code;
    }
    master.pid_path = td_xstrdup(path);
    return 0;
}

/* Everything of a generation that needs no handler's code; then the checker is on its way. */
static int
begin_next(td_err *err)
{
    int rc = generation_load(master.options, master.generations + 1, &master.next, err);

    if (rc < 0)
        return rc;
    master.generations++;
    rc = open_log(master.next->configuration, err);
    if (rc == 0)
        rc = open_pid_file(master.next->configuration, err);
    if (rc == 0)
        rc = generation_open_access_log(master.next, err);
    if (rc == 0)
        rc = generation_listen(master.next, err);
    if (rc == 0)
        rc = generation_plan(master.next, err);
    if (rc == 0)
        rc = checker_start(&master.checker, &master.next->plan, &master.next->identity, err);
    if (rc < 0)
        return rc;
    master.checker_timed_out = false;
    master.phase = PHASE_CHECK;
    start_limit(master.next, on_check_limit);
    return 0;
}

static void
begin_reload(void)
{
    td_err err;

    master.reload_again = false;
    watch_forget(); /* it reads the files as they are now */
    td_log_at(TD_LOG_INFO, "master", "reloading");
    notify_reloading();
    int rc = begin_next(&err);
    if (rc < 0)
        fail_next(status_of(rc), "%s", err.text);
}

static void
finish_first(void)
{
    td_err err;

    tell_listeners(master.current);
    if (master.current->identity.uid == 0)
        td_log_at(TD_LOG_WARNING, "master",
                  "running as root, and so do the handlers: set user in [tornadod]");
    if (master.pid_fd >= 0 && pidfile_write(master.pid_fd, master.pid_path, &err) < 0)
        td_log_at(TD_LOG_ERROR, "master", "%s", err.text);
}

static void
watch_handlers(const struct generation *generation)
{
    const bool wanted = generation->configuration->tornadod.handlers_watch;
    td_err err;

    if (watch_directory(wanted ? generation->directory : NULL, &err) < 0)
        td_log_at(TD_LOG_WARNING, "master", "%s; changes there are noticed at the next reload", err.text);
}

/* All of its workers are ready: it takes over. */
static void
complete_next(void)
{
    struct generation *old = master.current;

    master.current = master.next;
    master.next = NULL;
    master.phase = PHASE_NONE;
    ev_timer_stop(master.loop, &master.current->limit);
    if (old == NULL)
        finish_first();
    td_log_at(TD_LOG_INFO, "master", "generation %u serves: %zu worker%s, %zu handler%s",
              master.current->number, master.current->seats_count,
              master.current->seats_count == 1 ? "" : "s", master.current->manifest.instances_count,
              master.current->manifest.instances_count == 1 ? "" : "s");
    warn_of_debug(master.current);
    watch_handlers(master.current);
    if (old != NULL)
        drain(old, CONTROL_DRAIN);
    notify_send("READY=1");
    tell_status();
    if (master.reload_again)
        begin_reload();
}

static void
fill_up(void)
{
    td_err err;

    master.phase = PHASE_FILL;
    start_limit(master.next, on_fill_limit);
    for (size_t i = 1; i < master.next->seats_count; i++) {
        if (seat_spawn(&master.next->seats[i], &err) < 0) {
            fail_next(EXIT_FAILURE, "%s", err.text);
            return;
        }
    }
    if (master.next->seats_count == 1)
        complete_next();
}

/* ---- workers come and go */

static void
on_seat_ready(struct seat *seat)
{
    struct generation *generation = seat->generation;

    if (generation == master.next && master.phase == PHASE_CANARY)
        fill_up();
    else if (generation == master.next && generation_ready(generation) == generation->seats_count)
        complete_next();
    else
        tell_status();
}

static void
on_respawn_failed(struct seat *seat, const td_err *err)
{
    static td_log_gate gate;

    (void)seat;
    td_log_gated(&gate, TD_LOG_ERROR, "master", "%s", err->text);
}

/* "worker 2 (pid 1234) died: SIGSEGV at address 0x0 in ..." */
static td_str
describe_end(struct seat *seat, pid_t pid, int status, td_arena *arena)
{
    td_str doing = postmortem_describe(arena, seat->slot, &seat->generation->manifest);
    const char *text = doing.len > 0 ? doing.ptr : "nothing of a handler was running";

    if (seat->reason[0] != '\0')
        return td_arena_sprintf(arena, "%s", seat->reason);
    if (seat->hung)
        return td_arena_sprintf(
            arena, "worker %u (pid %d) gave no sign of life for hang_timeout (%lld ms): %s",
            seat->number, (int)pid,
            (long long)seat->generation->configuration->tornadod.hang_timeout_ms, text);
    if (WIFSIGNALED(status) && seat->slot->crash.signal != 0)
        return td_arena_sprintf(arena, "worker %u (pid %d) crashed: %s", seat->number, (int)pid,
                                text);
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        return td_arena_sprintf(arena, "worker %u (pid %d) was killed by SIG%s: %s", seat->number,
                                (int)pid, name != NULL ? name : "?", text);
    }
    return td_arena_sprintf(arena, "worker %u (pid %d) exited with status %d: %s", seat->number,
                            (int)pid, WEXITSTATUS(status), text);
}

/* The instance whose code was running; 0: none was, or that was not what ended it. */
static uint32_t
blamed(const struct seat *seat, int status)
{
    if (seat->slot->starting != 0)
        return seat->slot->starting;
    if ((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !seat->hung) ||
        (WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return 0;
    return seat->slot->activity.instance;
}

static void
quarantine(struct generation *generation, uint32_t index)
{
    const td_tornadod_settings *settings = &generation->configuration->tornadod;
    const struct manifest_instance *instance = &generation->manifest.instances[index - 1];

    td_log_at(TD_LOG_CRITICAL, "master",
              "handler %s (%s) is quarantined: %lld crashes within quarantine_window (%lld ms); its "
              "routes answer 503 until the next reload",
              instance->name, instance->file, (long long)settings->quarantine_crashes,
              (long long)settings->quarantine_window_ms);
    for (size_t i = 0; i < generation->seats_count; i++) {
        if (generation->seats[i].pid != 0)
            seat_send(&generation->seats[i], CONTROL_QUARANTINE, instance->name, NULL);
    }
}

static void
replace(struct seat *seat, pid_t pid, int status, td_str text)
{
    int pause_ms = seat_respawn(seat);

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        td_log_at(TD_LOG_INFO, "master", "worker %u (pid %d) left; another takes its place",
                  seat->number, (int)pid);
    else
        td_log_at(TD_LOG_ERROR, "master", "%s; the next one in %d ms", text.ptr, pause_ms);
    tell_status();
}

static void
on_worker_ended(struct seat *seat, int status)
{
    struct generation *generation = seat->generation;
    bool drains = td_list_is_linked(&generation->link);
    pid_t pid = seat->pid;
    td_arena arena;

    td_arena_init(&arena);
    seat_listen(seat); /* its last words */
    td_str text = describe_end(seat, pid, status, &arena);
    const uint32_t instance = blamed(seat, status);
    seat_bury(seat);
    seat_clear(seat);
    if (generation == master.current &&
        quarantine_note(&generation->quarantine, instance, td_clock_ns()))
        quarantine(generation, instance);
    if (drains) {
        if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
            td_log_at(TD_LOG_ERROR, "master", "%s", text.ptr);
        if (generation_workers(generation) == 0)
            forget(generation);
    } else if (generation == master.next && master.phase == PHASE_CANARY) {
        fail_next(EX_CONFIG, "%s", text.ptr);
    } else {
        replace(seat, pid, status, text);
    }
    td_arena_fini(&arena);
}

static struct seat *
find_in(struct generation *generation, pid_t pid)
{
    for (size_t i = 0; generation != NULL && i < generation->seats_count; i++) {
        if (generation->seats[i].pid == pid)
            return &generation->seats[i];
    }
    return NULL;
}

static struct seat *
find_seat(pid_t pid)
{
    struct seat *seat = find_in(master.current, pid);

    if (seat == NULL)
        seat = find_in(master.next, pid);
    TD_LIST_FOREACH (link, &master.draining) {
        if (seat == NULL)
            seat = find_in(TD_CONTAINER_OF(link, struct generation, link), pid);
    }
    return seat;
}

static void
reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct seat *seat = find_seat(pid);
        if (seat != NULL) {
            on_worker_ended(seat, status);
        } else if (pid == master.checker.pid && master.phase == PHASE_CHECK) {
            on_checked(status);
        } else if (pid == master.checker.pid) {
            checker_abandon(&master.checker);
            end_when_alone();
        }
    }
}

/* ---- what the master is told */

static void
stop(void)
{
    if (master.stopping) {
        TD_LIST_FOREACH (link, &master.draining)
            signal_workers(TD_CONTAINER_OF(link, struct generation, link), SIGKILL);
        return;
    }
    master.stopping = true;
    td_log_at(TD_LOG_INFO, "master", "stopping: work in flight has drain_timeout to end");
    notify_send("STOPPING=1\nSTATUS=draining");
    if (master.checker.pid != 0)
        kill(master.checker.pid, SIGKILL);
    struct generation *leaving[] = {master.next, master.current};
    master.next = master.current = NULL;
    master.phase = PHASE_NONE;
    for (size_t i = 0; i < 2; i++) {
        if (leaving[i] != NULL)
            drain(leaving[i], CONTROL_STOP);
    }
    end_when_alone();
}

static void
reopen_logs_of(struct generation *generation)
{
    td_err err;

    if (generation == NULL)
        return;
    if (generation_open_access_log(generation, &err) < 0)
        td_log_at(TD_LOG_ERROR, "master", "%s; the old one goes on", err.text);
    const td_log_settings *settings = &generation->configuration->log;
    int fds[] = {settings->target == TD_LOG_FILE ? td_log_fd() : -1, generation->access_fd};
    for (size_t i = 0; i < generation->seats_count; i++) {
        if (generation->seats[i].pid != 0)
            seat_send(&generation->seats[i], CONTROL_LOGS, NULL, fds);
    }
}

/* Workers may have no right to open the files, so they are sent the descriptors. */
static void
reopen_logs(void)
{
    td_err err;

    if (td_log_reopen(&err) < 0)
        td_log_at(TD_LOG_ERROR, "master", "%s; the old one goes on", err.text);
    reopen_logs_of(master.current);
    reopen_logs_of(master.next);
    TD_LIST_FOREACH (link, &master.draining)
        reopen_logs_of(TD_CONTAINER_OF(link, struct generation, link));
    td_log_at(TD_LOG_INFO, "master", "logs opened anew");
}

static void
reload(void)
{
    if (master.stopping)
        return;
    if (master.next != NULL || master.current == NULL)
        master.reload_again = true;
    else
        begin_reload();
}

static void
on_handlers_changed(const char *name)
{
    td_log_at(TD_LOG_INFO, "master", "%s has changed", name);
    reload();
}

static void
on_signal(int number)
{
    switch (number) {
    case SIGCHLD:
        reap();
        break;
    case SIGHUP:
        reload();
        break;
    case SIGUSR1:
        reopen_logs();
        break;
    default: /* TERM, INT, QUIT */
        stop();
    }
}

static void
on_signals(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct signalfd_siginfo info;

    (void)loop;
    (void)events;
    while (read(watcher->fd, &info, sizeof(info)) == sizeof(info))
        on_signal((int)info.ssi_signo);
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
    static const int watched[] = {SIGCHLD, SIGHUP, SIGUSR1, SIGTERM, SIGINT, SIGQUIT};
    static const int ignored[] = {SIGUSR2, SIGTTIN, SIGTTOU, SIGWINCH};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(watched) / sizeof(*watched); i++)
        sigaddset(&set, watched[i]);
    for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
        signal(ignored[i], SIG_IGN);
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
    static const struct seat_events seat_events = {.ready = on_seat_ready,
                                                   .respawn_failed = on_respawn_failed};

    td_list_init(&master.draining);
    master.pid_fd = -1;
    master.loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (master.loop == NULL)
        return td_err_set(err, -ENOMEM, "no event loop");
    seat_events_set(master.loop, &seat_events);
    notify_init();
    double watchdog_s = (double)notify_watchdog_ms() / 1000. / 2;
    ev_timer_init(&master.watchdog, on_watchdog, watchdog_s, watchdog_s);
    if (watchdog_s > 0)
        ev_timer_start(master.loop, &master.watchdog);
    if (scoreboard_create(err) < 0 || watch_open(master.loop, on_handlers_changed, err) < 0)
        return err->code;
    return watch_signals(err);
}

static void
close_master(void)
{
    pidfile_close(master.pid_fd, master.pid_path);
    free((char *)master.pid_path);
    ev_io_stop(master.loop, &master.signals);
    close(master.signals.fd);
    ev_timer_stop(master.loop, &master.watchdog);
    watch_close();
    ev_loop_destroy(master.loop);
}

int
master_run(const struct options *options)
{
    td_err err;

    master.options = options;
    if (open_master(&err) < 0) {
        td_log_at(TD_LOG_CRITICAL, "master", "%s", err.text);
        return EXIT_FAILURE;
    }
    int rc = begin_next(&err);
    if (rc < 0)
        fail_next(status_of(rc), "%s", err.text);
    else
        ev_run(master.loop, 0);
    if (master.exit_status == 0)
        td_log_at(TD_LOG_INFO, "master", "stopped after %llu requests",
                  (unsigned long long)scoreboard_requests());
    close_master();
    return master.exit_status;
}
