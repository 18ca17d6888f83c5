/*
 * The generation that is to come goes through three phases: its handlers are checked in a child,
 * its first worker (the canary) loads and starts them, the others follow.  Only when all are ready
 * does the one that serves begin to drain; and one that fails on its way leaves the old one as it
 * was.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include "base/log.h"
#include "daemon/master/controlsocket.h"
#include "daemon/master/master_internal.h"
#include "daemon/master/notify.h"
#include "daemon/master/passed.h"
#include "daemon/master/pidfile.h"
#include "daemon/master/requests.h"
#include "daemon/master/upgrade.h"
#include "daemon/master/watch.h"
#include "daemon/site/shared.h"
#include "daemon/source.h"

#define STEPS 3 /* each has start_timeout: the check, the first worker, the others */

static void begin_reload(void);

/* ---- telling */

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

/* ---- its phases */

static void
note_outcome(bool is_good, const char *text)
{
    master.last_reload.time = time(NULL);
    master.last_reload.is_good = is_good;
    snprintf(master.last_reload.text, sizeof(master.last_reload.text), "%s", text);
    control_settle(CONTROL_EVENT_RELOAD, master.reloads, is_good ? NULL : text,
                   is_good ? text : "");
}

/* Whoever has started it looks there, and so does `systemctl status`, not into the log. */
static void
tell_starter(const char *text)
{
    if (!td_log_is_stderr())
        fprintf(stderr, "tornadod: %s\n", text);
}

void
rollout_fail(int status, const char *format, ...)
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
        metrics_reload_failed();
        note_outcome(false, text);
        notify_send("READY=1\nSTATUS=reload failed: %s", text);
        if (master_open_log(master.current->configuration, &err) < 0)
            td_log_at(TD_LOG_ERROR, "master", "%s", err.text);
    } else {
        td_log_at(TD_LOG_CRITICAL, "master", "%s", text);
        tell_starter(text);
        notify_send("STATUS=%s", text);
        listener_leave_stored();
        master.exit_status = status;
        master.stopping = true;
    }
    if (failed != NULL)
        master_drain(failed, CONTROL_DRAIN);
    master_end_when_alone();
    if (master.reload_again && !master.stopping)
        begin_reload();
}

int
rollout_exit_status(int rc)
{
    return rc == TD_ECONFIG || rc == TD_EPLUGIN ? EX_CONFIG : EXIT_FAILURE;
}

static void
start_limit(struct generation *generation, void (*expired)(struct ev_loop *, ev_timer *, int))
{
    const int64_t limit_ms = generation->configuration->tornadod.start_timeout_ms;

    notify_takes(STEPS * limit_ms);
    ev_timer_stop(master.loop, &generation->limit);
    ev_now_update(master.loop);
    ev_timer_init(&generation->limit, expired, (double)limit_ms / 1000., 0.);
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
    rollout_fail(EXIT_FAILURE, "%zu of %zu workers were ready within start_timeout (%lld ms)",
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

/* The instance of that name; 0: there is none. */
static uint32_t
find_instance(const struct manifest *manifest, const char *name)
{
    for (size_t i = 0; i < manifest->instances_count; i++) {
        if (strcmp(manifest->instances[i].name, name) == 0)
            return (uint32_t)i + 1;
    }
    return 0;
}

/* What the binary before us has found: another binary makes no handler better, another file may. */
static void
hold_quarantine(struct generation *generation, const struct generation *before)
{
    for (size_t i = 0; i < before->quarantine.instances_count; i++) {
        const char *name = before->manifest.instances[i].name;
        const uint32_t index = find_instance(&generation->manifest, name);
        const int64_t digest = before->quarantine.digests[i];
        if (!before->quarantine.is_in[i] || index == 0 || digest == 0 ||
            digest != plan_digest(&generation->plan, index))
            continue;
        quarantine_hold(&generation->quarantine, index, digest);
        metrics_handler_quarantined(generation->places.handlers[index - 1], true);
        td_log_at(TD_LOG_WARNING, "master",
                  "handler %s stays in quarantine: its file is the same; tornadod handlers release "
                  "%s, or a reload, lets it go",
                  name, name);
    }
}

void
rollout_checked(int status)
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
    if (rc == 0) {
        metrics_describe(&generation->arena, generation->number, generation->configuration,
                         manifest, &generation->places);
        if (master.current != NULL && master.current->is_adopted)
            hold_quarantine(generation, master.current);
        rc = seat_spawn(generation_first_seat(generation), &err);
    }
    if (rc < 0) {
        rollout_fail(rollout_exit_status(rc), "%s", err.text);
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

/* Where none was asked for, and the usual place has no room for one, the daemon goes without. */
static int
open_control_socket(const td_configuration *configuration, td_arena *arena, td_err *err)
{
    const char *path = controlsocket_path(arena, configuration, master.ini);

    if (master.current != NULL) {
        if ((path == NULL) != (master.control_path == NULL) ||
            (path != NULL && strcmp(path, master.control_path) != 0))
            td_log_at(TD_LOG_WARNING, "master", "control changes with a restart only");
        return controlsocket_set_group(configuration->tornadod.control_group, err);
    }
    if (path == NULL)
        return 0;
    master.control_path = td_xstrdup(path);
    int rc = controlsocket_open(master.loop, path, configuration->tornadod.control_group,
                                requests_asked, err);
    if (rc == 0)
        return 0;
    if (configuration->tornadod.control != NULL) {
        source_prefix(configuration, "tornadod", "control", err);
        return rc == TD_EBUSY ? rc : err->code;
    }
    if (rc == TD_EBUSY)
        td_log_at(TD_LOG_WARNING, "master",
                  "%s: commands reach that one and not this one; set control in [tornadod]",
                  err->text);
    else
        td_log_at(TD_LOG_INFO, "master", "%s; commands cannot reach this daemon", err->text);
    return 0;
}

/* Everything of a generation that needs no handler's code; then the checker is on its way. */
int
rollout_begin(td_err *err)
{
    int rc = generation_load(master.options, master.generations + 1, &master.next, err);

    if (rc < 0)
        return rc;
    master.generations++;
    scale_prepare(master.next);
    rc = master_open_log(master.next->configuration, err);
    if (rc == 0)
        rc = open_pid_file(master.next->configuration, err);
    if (rc == 0)
        rc = open_control_socket(master.next->configuration, &master.next->arena, err);
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
    master.reloads++;
    watch_forget(); /* it reads the files as they are now */
    td_log_at(TD_LOG_INFO, "master", "reloading");
    notify_reloading();
    int rc = rollout_begin(&err);
    if (rc < 0)
        rollout_fail(rollout_exit_status(rc), "%s", err.text);
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
        td_log_at(TD_LOG_WARNING, "master", "%s; changes there are noticed at the next reload",
                  err.text);
}

static void
tell_who_serves(const struct generation *generation, bool is_reload)
{
    char text[128];

    snprintf(text, sizeof(text), "generation %u serves: %zu worker%s, %zu handler%s",
             generation->number, generation->seats_count, generation->seats_count == 1 ? "" : "s",
             generation->manifest.instances_count,
             generation->manifest.instances_count == 1 ? "" : "s");
    td_log_at(TD_LOG_INFO, "master", "%s", text);
    if (is_reload)
        note_outcome(true, text);
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
    metrics_generation_serves(master.current->number, master.current->seats_count);
    if (old == NULL)
        finish_first();
    tell_who_serves(master.current, old != NULL);
    warn_of_debug(master.current);
    watch_handlers(master.current);
    passed_drop();
    generation_store_listeners(master.current);
    scale_took_over(old);
    recycle_begin(&master.current->configuration->tornadod);
    if (old != NULL)
        master_drain(old, CONTROL_DRAIN);
    notify_send("READY=1");
    master_tell_status();
    if (master.reload_again)
        begin_reload();
}

static void
fill_up(void)
{
    td_err err;

    master.phase = PHASE_FILL;
    start_limit(master.next, on_fill_limit);
    GENERATION_EACH(seat, master.next) {
        if (seat->pid == 0 && seat_spawn(seat, &err) < 0) {
            rollout_fail(EXIT_FAILURE, "%s", err.text);
            return;
        }
    }
    if (master.next->seats_count == 1)
        complete_next();
}

void
rollout_seat_ready(struct generation *generation)
{
    if (master.phase == PHASE_CANARY)
        fill_up();
    else if (generation_ready(generation) == generation->seats_count)
        complete_next();
}

void
rollout_reload(void)
{
    if (master.stopping)
        return;
    if (master.next != NULL || master.current == NULL || upgrade_is_on_its_way())
        master.reload_again = true;
    else
        begin_reload();
}
