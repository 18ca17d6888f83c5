/*
 * Workers come and go: what ended one is told, whose code it was is noted, another takes its place.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include "base/clock.h"
#include "base/log.h"
#include "daemon/master/master_internal.h"
#include "daemon/master/postmortem.h"
#include "daemon/master/upgrade.h"

/* Who is to come in its place while it still sits there; NULL: nobody. */
static struct seat *
successor_of(const struct seat *seat)
{
    GENERATION_EACH(other, seat->generation) {
        if (other->replaces == seat)
            return other;
    }
    return NULL;
}

void
supervise_seat_ready(struct seat *seat)
{
    struct generation *generation = seat->generation;

    if (seat->replaces != NULL)
        seat_retire(seat->replaces);
    if (seat->inherits != NULL)
        seat_retire(seat->inherits);
    seat->replaces = seat->inherits = NULL;
    if (generation == master.next)
        rollout_seat_ready(generation);
    else
        master_tell_status();
    if (seat->is_outdated)
        supervise_replace(seat);
}

void
supervise_respawn_failed(struct seat *seat, const td_err *err)
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

    quarantine_hold(&generation->quarantine, index, plan_digest(&generation->plan, index));
    td_log_at(
        TD_LOG_CRITICAL, "master",
        "handler %s (%s) is quarantined: %lld crashes within quarantine_window (%lld ms); its "
        "routes answer 503 until the next reload, or tornadod handlers release %s",
        instance->name, instance->file, (long long)settings->quarantine_crashes,
        (long long)settings->quarantine_window_ms, instance->name);
    GENERATION_EACH(seat, generation) {
        if (seat->pid != 0)
            seat_send(seat, CONTROL_QUARANTINE, instance->name, NULL);
    }
}

static enum metrics_end
kind_of_end(const struct seat *seat, int status)
{
    if (seat->hung)
        return METRICS_END_HUNG;
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGKILL ? METRICS_END_KILLED : METRICS_END_CRASHED;
    return WEXITSTATUS(status) == 0 ? METRICS_END_LEFT : METRICS_END_FAILED;
}

static void
replace(struct seat *seat, pid_t pid, int status, td_str text)
{
    int pause_ms = seat_respawn(seat);

    metrics_worker_replaced(kind_of_end(seat, status));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        td_log_at(TD_LOG_INFO, "master", "worker %u (pid %d) left; another takes its place",
                  seat->number, (int)pid);
    else
        td_log_at(TD_LOG_ERROR, "master", "%s; the next one in %d ms", text.ptr, pause_ms);
    master_tell_status();
}

/* ---- one for another */

void
supervise_replace(struct seat *seat)
{
    td_err err;

    if (seat->pid == 0 || seat->is_surplus)
        return; /* the next one comes by itself, or none is wanted */
    seat->is_outdated = !seat->ready;
    if (seat->is_outdated || successor_of(seat) != NULL)
        return; /* its turn comes when it is ready, or it is there already */
    struct seat *successor = generation_add_successor(seat);
    if (seat_spawn(successor, &err) < 0) {
        td_log_at(TD_LOG_ERROR, "master", "%s; the old one goes on", err.text);
        generation_remove_seat(successor);
    }
}

bool
supervise_inherit(struct seat *seat, struct seat *leaving)
{
    if (!seat->ready || leaving->pid == 0 || successor_of(seat) != NULL)
        return false;
    supervise_replace(seat);
    struct seat *successor = successor_of(seat);
    if (successor != NULL)
        successor->inherits = leaving;
    return successor != NULL;
}

/*
 * Workers that started while it was quarantined have never loaded it, so no message brings it back:
 * each is replaced; those of the binary before us, whom we cannot replace, by a generation.
 */
bool
supervise_release(struct generation *generation, const char *instance)
{
    const struct manifest *manifest = &generation->manifest;
    bool found = false;

    for (size_t i = 0; i < manifest->instances_count; i++) {
        if (strcmp(manifest->instances[i].name, instance) != 0 ||
            !quarantine_release(&generation->quarantine, (uint32_t)i + 1))
            continue;
        metrics_handler_quarantined(generation->places.handlers[i], false);
        found = true;
    }
    if (!found)
        return false;
    td_log_at(TD_LOG_INFO, "master", "handler %s is released from quarantine", instance);
    if (generation->is_adopted) {
        rollout_reload();
        return true;
    }
    GENERATION_EACH(seat, generation)
        supervise_replace(seat);
    return true;
}

/* ---- the end of one */

/* A successor that dies before it is ready leaves its place to the one before. */
static bool
is_expendable(const struct seat *seat)
{
    return seat->generation->is_adopted || seat->is_surplus || seat->replaces != NULL ||
           successor_of(seat) != NULL;
}

static void
remove_expendable(struct seat *seat, int status, td_str text)
{
    GENERATION_EACH(other, seat->generation) {
        if (other->replaces == seat)
            other->replaces = NULL;
        if (other->inherits == seat)
            other->inherits = NULL;
    }
    if (seat->inherits != NULL)
        seat_retire(seat->inherits); /* what waits for it waits until a reload */
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        td_log_at(TD_LOG_ERROR, "master", "%s%s", text.ptr,
                  seat->replaces != NULL ? "; the one before goes on" : "");
    generation_remove_seat(seat);
    master_tell_status();
}

static void
on_worker_ended(struct seat *seat, int status)
{
    struct generation *generation = seat->generation;
    bool drains = td_list_is_linked(&generation->link);
    pid_t pid = seat->pid;
    td_arena arena;

    td_arena_init(&arena);
    seat_hear_last_words(seat);
    td_str text = describe_end(seat, pid, status, &arena);
    const uint32_t instance = blamed(seat, status);
    seat_bury(seat);
    seat_clear(seat);
    const bool is_too_often =
        generation == master.current &&
        quarantine_note(&generation->quarantine, instance, td_clock_ns());
    if (instance - 1 < generation->manifest.instances_count)
        metrics_handler_crashed(generation->places.handlers[instance - 1], is_too_often);
    if (is_too_often)
        quarantine(generation, instance);
    if (drains) {
        if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
            td_log_at(TD_LOG_ERROR, "master", "%s", text.ptr);
        if (generation_workers(generation) == 0)
            master_forget(generation);
    } else if (generation == master.next && master.phase == PHASE_CANARY) {
        rollout_fail(EX_CONFIG, "%s", text.ptr);
    } else if (is_expendable(seat)) {
        remove_expendable(seat, status, text);
    } else {
        replace(seat, pid, status, text);
    }
    td_arena_fini(&arena);
}

static struct seat *
find_in(struct generation *generation, pid_t pid)
{
    if (generation == NULL)
        return NULL;
    GENERATION_EACH(seat, generation) {
        if (seat->pid == pid)
            return seat;
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

void
supervise_reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct seat *seat = find_seat(pid);
        if (upgrade_reaped(pid, status)) {
            continue;
        } else if (seat != NULL) {
            on_worker_ended(seat, status);
        } else if (pid == master.checker.pid && master.phase == PHASE_CHECK) {
            rollout_checked(status);
        } else if (pid == master.checker.pid) {
            checker_abandon(&master.checker);
            master_end_when_alone();
        }
    }
}
