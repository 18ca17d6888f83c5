/*
 * The life of a worker: fewer rights, a loop, handlers loaded and started, serving, and at the end
 * draining.  All code of handlers runs on coroutines, their hooks too, one after the other in the
 * order of the instances.
 *
 * It leaves when the master says so, when somebody sends it TERM, or when the master is gone; the
 * last is noticed twice, by the end of the control channel and by the parent-death signal.  However
 * long the handlers take, the time to leave is bounded; what the worker cannot end itself (a
 * handler that spins) the master kills.
 */
#include "daemon/worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <unistd.h>
#include "base/budget.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/logqueue.h"
#include "base/table.h"
#include "daemon/control.h"
#include "daemon/descriptors.h"
#include "daemon/modules.h"
#include "daemon/site/hooks.h"
#include "daemon/site/site.h"
#include "daemon/status/status.h"
#include "daemon/worker/accesslog.h"
#include "daemon/worker/crash.h"
#include "http/httpserver.h"
#include "io/coroutine.h"
#include "io/executor.h"
#include "io/ioloop.h"
#include "io/netutil.h"
#include "io/stretch.h"
#include "web/metrics.h"
#include "web/streamserver.h"
#include "web/workerloop.h"

#define ORPHAN_LEAVE_MS 2000
#define HANDLERS_POLL_MS 20
#define QUEUES_POLL_MS 5
#define QUEUES_POLLS_MAX 40

enum state { STARTING, SERVING, LEAVING, STOPPING };

/* One of options->sockets. */
struct served {
    struct worker *worker;
    td_httpserver *http; /* or else */
    td_streamserver *stream;
    td_listener_counters *counters;
};

struct worker {
    const struct worker_options *options;
    const td_configuration *configuration;
    td_arena arena;
    enum state state;
    td_ioloop *loop;
    struct site site;
    accesslog *access;

    struct metrics_block metrics;
    struct served *served;   /* by options->sockets; NULL before SERVING */
    size_t servers_left;     /* not drained yet */
    unsigned queue_polls;
    td_timer queues, deadline, handlers, heartbeat;

    td_coroutine *hooks; /* that runs drain hooks; NULL: none does */
    bool hooks_done;
    td_err failure; /* why it cannot start; code 0: it can */

    ev_io control;
    ev_io terminate; /* readable after a SIGTERM */
};

static void leave(struct worker *worker, bool take_queues, int64_t timeout_ms);

/* ---- hooks */

static int
start_hooks(struct worker *worker, void (*run)(void *arg),
            void (*ended)(void *arg, td_coroutine_end end), td_coroutine **out)
{
    return td_coroutine_start(
        &(td_coroutine_task){.run = run, .ended = ended, .arg = worker}, out);
}

static void
note_starting(void *arg, const td_instance *instance)
{
    struct worker *worker = arg;

    worker->options->slot->starting = instance->index;
}

static void
run_load_and_start(void *arg)
{
    struct worker *worker = arg;

    hooks_load_and_start(&worker->site, note_starting, worker, &worker->failure);
}

static void
run_drain(void *arg)
{
    const struct worker *worker = arg;

    hooks_drain(&worker->site);
}

static void
run_stop(void *arg)
{
    const struct worker *worker = arg;

    hooks_stop(&worker->site);
}

/* ---- serving */

static void
on_answered(void *arg, const td_request *request, int64_t duration_ns)
{
    const struct served *served = arg;
    struct worker *worker = served->worker;
    td_route_counters *route =
        request->counters != NULL ? request->counters : worker->metrics.routes;
    const unsigned class = td_status_class(request->status);

    worker->options->slot->requests++;
    served->counters->responses[class]++;
    route->responses[class]++;
    route->buckets[td_latency_bucket(duration_ns)]++;
    route->duration_ns += (uint64_t)duration_ns;
    route->received += request->body_received;
    route->sent += request->body_sent;
    if (worker->access != NULL)
        accesslog_add(worker->access, request, duration_ns);
}

/* For the master, which ends a worker that hangs. */
static void
on_heartbeat(void *arg)
{
    struct worker *worker = arg;
    const int64_t period_ms = HEARTBEAT_OF(worker->configuration->tornadod.hang_timeout_ms);

    worker->options->slot->alive_ns = td_clock_ns();
    td_budget_publish();
    td_timer_start(worker->loop, &worker->heartbeat,
                   worker->options->slot->alive_ns + period_ms * TD_NS_PER_MS);
}

static td_listener_counters *
listener_counters(const struct worker *worker, uint32_t place)
{
    return &worker->metrics.listeners[place < worker->metrics.listeners_count ? place : 0];
}

static td_route_counters *
route_counters(void *arg, uint32_t instance, uint32_t route)
{
    const struct worker *worker = arg;
    const struct manifest *manifest = worker->options->manifest;
    const struct manifest_route *found = manifest_find_route(manifest, instance, route);

    if (found == NULL)
        return NULL;
    const uint32_t place = worker->options->places->routes[found - manifest->routes];
    return place < worker->metrics.routes_count ? &worker->metrics.routes[place] : NULL;
}

/* What the handlers count is counted where all can see it, from before their hooks on. */
static void
place_handlers_metrics(struct worker *worker)
{
    const struct manifest *manifest = worker->options->manifest;

    for (size_t i = 0; i < manifest->metrics_count; i++) {
        const struct manifest_metric *declared = &manifest->metrics[i];
        const uint32_t place = worker->options->places->own[i];
        td_metric *metric =
            td_metric_find(&worker->site.instances[declared->instance - 1], declared->name,
                           declared->value);
        if (metric != NULL && place < worker->metrics.own_count)
            metric->number = (int64_t *)&worker->metrics.own[place];
    }
}

static td_httpserver *
start_http(struct served *served, const struct worker_socket *socket)
{
    const struct worker *worker = served->worker;
    const td_tornadod_settings *shared = &worker->configuration->tornadod;
    td_httpserver *server = td_httpserver_create(
        worker->loop,
        &(td_httpserver_options){
            .fd = socket->fd,
            .settings = socket->settings,
            .delegate = &td_application_delegate,
            .delegate_arg = site_application(&worker->site, socket->settings->application),
            .log_request = on_answered,
            .log_arg = served,
            .counters = served->counters,
            .spill_place = {worker->site.body_temp_path, (uint64_t)shared->body_disk}});

    td_httpserver_start(server);
    return server;
}

static td_streamserver *
start_stream(struct served *served, const struct worker_socket *socket, const td_instance *protocol)
{
    td_streamserver *server =
        td_streamserver_create(served->worker->loop, &(td_streamserver_options){
                                                         .fd = socket->fd,
                                                         .settings = socket->settings,
                                                         .instance = protocol,
                                                         .counters = served->counters});

    td_streamserver_start(server);
    return server;
}

static void
create_servers(struct worker *worker)
{
    const struct worker_options *options = worker->options;

    if (worker->site.body_temp_path == NULL)
        td_log(TD_LOG_WARNING, "no file can be made in /var/tmp: request bodies stay in memory "
                               "(body_temp_path)");
    worker->served = TD_ARENA_ARRAY(&worker->arena, struct served, options->sockets_count);
    for (size_t i = 0; i < options->sockets_count; i++) {
        const struct worker_socket *socket = &options->sockets[i];
        const td_instance *protocol = site_protocol(&worker->site, socket->settings);
        struct served *served = &worker->served[i];

        served->worker = worker;
        served->counters = listener_counters(worker, socket->place);
        if (protocol == NULL)
            served->http = start_http(served, socket);
        else
            served->stream = start_stream(served, socket, protocol);
    }
}

static void
destroy_servers(struct worker *worker)
{
    for (size_t i = 0; worker->served != NULL && i < worker->options->sockets_count; i++) {
        td_httpserver_destroy(&worker->served[i].http);
        td_streamserver_destroy(&worker->served[i].stream);
    }
}

static size_t
count_connections(const struct worker *worker)
{
    size_t count = 0;

    for (size_t i = 0; i < worker->options->sockets_count; i++) {
        const struct served *served = &worker->served[i];

        count += served->http != NULL ? td_httpserver_connections(served->http)
                                      : td_streamserver_connections(served->stream);
    }
    return count;
}

static int
tell_master(const struct worker *worker, enum control_type type, const char *text)
{
    struct control_message message = {.type = type, .fds = {-1, -1}};

    snprintf(message.text, sizeof(message.text), "%s", text);
    return control_send(worker->options->control, &message);
}

/* Not before: load hooks may take their time. */
static void
watch_stretches(int64_t slow_ms)
{
    td_clock_read_ns = td_clock_ns();
    if (slow_ms > 0)
        td_stretch_max_ns = slow_ms * TD_NS_PER_MS;
}

static void
on_started(void *arg, td_coroutine_end end)
{
    struct worker *worker = arg;

    worker->hooks = NULL;
    if (worker->state != STARTING)
        return; /* told to leave meanwhile */
    if (end != TD_COROUTINE_RETURNED && worker->failure.code == 0)
        td_err_set(&worker->failure, TD_EPLUGIN, "a load or start hook did not return");
    if (worker->failure.code != 0) {
        td_ioloop_stop(worker->loop);
        return;
    }
    worker->options->slot->starting = 0;
    create_servers(worker);
    watch_stretches(worker->configuration->tornadod.slow_callback_ms);
    worker->state = SERVING;
    if (worker->configuration->tornadod.hang_timeout_ms > 0)
        on_heartbeat(worker);
    const int rc = tell_master(worker, CONTROL_READY, "");
    if (rc < 0) { /* a worker of whom nobody knows; the master starts another one */
        td_log_at(TD_LOG_CRITICAL, "daemon", "READY could not be told: %s", strerror(-rc));
        td_logqueue_stop();
        exit(EX_OSERR);
    }
}

/* ---- leaving */

static void
on_stopped(void *arg, td_coroutine_end end)
{
    struct worker *worker = arg;

    (void)end;
    td_ioloop_stop(worker->loop);
}

static void
stop_handlers(struct worker *worker)
{
    worker->state = STOPPING;
    td_timer_stop(worker->loop, &worker->queues);
    destroy_servers(worker);
    if (start_hooks(worker, run_stop, on_stopped, NULL) < 0)
        td_ioloop_stop(worker->loop);
}

/* Handlers, and the jobs that they gave to threads, may go on working after the answer was sent. */
static void
stop_when_idle(void *arg)
{
    struct worker *worker = arg;

    if (worker->state != LEAVING || worker->servers_left > 0 || !worker->hooks_done)
        return;
    if (td_handlers_running() == 0 && td_executor_jobs() == 0)
        stop_handlers(worker);
    else
        td_timer_start(worker->loop, &worker->handlers,
                       td_now_ns() + HANDLERS_POLL_MS * TD_NS_PER_MS);
}

static void
on_drained(void *arg)
{
    struct worker *worker = arg;

    worker->servers_left--;
    stop_when_idle(worker);
}

static void
on_drain_hooks_ended(void *arg, td_coroutine_end end)
{
    struct worker *worker = arg;

    (void)end;
    worker->hooks = NULL;
    worker->hooks_done = true;
    stop_when_idle(worker);
}

static void
on_deadline(void *arg)
{
    struct worker *worker = arg;

    if (worker->state != LEAVING)
        return;
    td_log_at(TD_LOG_WARNING, "daemon",
              "the time to drain is over: %zu connections closed, %zu handlers cancelled",
              count_connections(worker), td_handlers_running());
    worker->state = STOPPING;
    if (worker->hooks != NULL)
        td_coroutine_cancel(worker->hooks);
    td_handlers_cancel_all();
    stop_handlers(worker);
}

static void
close_sockets(struct worker *worker)
{
    for (size_t i = 0; i < worker->options->sockets_count; i++)
        close(worker->options->sockets[i].fd);
}

static void
drain_servers(struct worker *worker)
{
    int64_t grace_ms = worker->configuration->tornadod.drain_grace_ms;

    td_log_at(TD_LOG_DEBUG, "daemon", "draining");
    worker->servers_left = worker->options->sockets_count;
    for (size_t i = 0; i < worker->options->sockets_count; i++) {
        if (worker->served[i].http != NULL)
            td_httpserver_drain(worker->served[i].http, grace_ms, on_drained, worker);
        else
            td_streamserver_drain(worker->served[i].stream, on_drained, worker);
    }
    td_sse_drain();
    close_sockets(worker); /* or the port would stay busy as long as the last request takes */
    if (start_hooks(worker, run_drain, on_drain_hooks_ended, &worker->hooks) < 0)
        on_drain_hooks_ended(worker, TD_COROUTINE_CANCELED);
}

static bool
connections_wait(const struct worker *worker)
{
    for (size_t i = 0; i < worker->options->sockets_count; i++) {
        if (td_netutil_is_awaited(worker->options->sockets[i].fd))
            return true;
    }
    return false;
}

/*
 * The last one to close a listening socket resets what waits in its queue, so that is accepted
 * first. Not for ever: clients may be faster than we are.
 */
static void
drain_when_queues_are_empty(void *arg)
{
    struct worker *worker = arg;

    if (connections_wait(worker) && worker->queue_polls++ < QUEUES_POLLS_MAX)
        td_timer_start(worker->loop, &worker->queues, td_now_ns() + QUEUES_POLL_MS * TD_NS_PER_MS);
    else
        drain_servers(worker);
}

static void
leave(struct worker *worker, bool take_queues, int64_t timeout_ms)
{
    int64_t deadline_ns = td_now_ns() + timeout_ms * TD_NS_PER_MS;

    if (worker->state == STARTING) {
        worker->state = STOPPING;
        td_ioloop_stop(worker->loop);
        return;
    }
    /* Being orphaned shortens a drain that is on its way; nothing makes one longer. */
    if (worker->deadline.place == 0 || worker->deadline.deadline_ns > deadline_ns)
        td_timer_start(worker->loop, &worker->deadline, deadline_ns);
    if (worker->state != SERVING)
        return;
    worker->state = LEAVING;
    if (take_queues)
        drain_when_queues_are_empty(worker);
    else
        drain_servers(worker);
}

static void
leave_as_orphan(struct worker *worker)
{
    int64_t timeout_ms = worker->configuration->tornadod.drain_timeout_ms;

    td_log_at(TD_LOG_ERROR, "daemon", "the master is gone; leaving");
    leave(worker, true, timeout_ms < ORPHAN_LEAVE_MS ? timeout_ms : ORPHAN_LEAVE_MS);
}

/* ---- what the master says */

static void
take_logs(struct worker *worker, const struct control_message *message)
{
    if (message->fds[0] >= 0)
        td_log_set_fd(message->fds[0]);
    if (message->fds[1] >= 0 && worker->access != NULL)
        accesslog_set_fd(worker->access, message->fds[1]);
    else if (message->fds[1] >= 0)
        close(message->fds[1]);
}

static void
on_message(struct worker *worker, const struct control_message *message)
{
    int64_t timeout_ms = worker->configuration->tornadod.drain_timeout_ms;

    switch ((enum control_type)message->type) {
    case CONTROL_DRAIN:
        leave(worker, false, timeout_ms);
        break;
    case CONTROL_STOP:
        leave(worker, true, timeout_ms);
        break;
    case CONTROL_LOGS:
        take_logs(worker, message);
        break;
    case CONTROL_QUARANTINE:
        site_quarantine(&worker->site, message->text);
        break;
    case CONTROL_WORKERS:
        td_workerloop_share_memory(worker->configuration, strtoul(message->text, NULL, 10));
        break;
    case CONTROL_READY:
    case CONTROL_FAILED:
        break; /* ours */
    }
}

static void
on_control(struct ev_loop *ev, ev_io *watcher, int events)
{
    struct worker *worker = watcher->data;
    struct control_message message;
    int rc;

    if (events & EV_ERROR)
        td_ioloop_watch_again(ev, watcher, "the master's control");
    while ((rc = control_receive(watcher->fd, &message)) > 0)
        on_message(worker, &message);
    if (rc == -EAGAIN)
        return;
    ev_io_stop(ev, watcher);
    leave_as_orphan(worker);
}

/* Not libev's own way, which would not tell that the system does not watch its descriptor. */
static int terminate_fd;

static void
note_terminate(int number)
{
    const int saved = errno;
    const uint64_t one = 1;

    (void)number;
    (void)!write(terminate_fd, &one, sizeof(one));
    errno = saved;
}

/* TERM comes from an operator or, when the master has died, from the kernel. */
static void
on_terminate(struct ev_loop *ev, ev_io *watcher, int events)
{
    struct worker *worker = watcher->data;
    uint64_t count;

    if (events & EV_ERROR)
        td_ioloop_watch_again(ev, watcher, "SIGTERM");
    if (read(watcher->fd, &count, sizeof(count)) < 0)
        return;
    if (getppid() != worker->options->master)
        leave_as_orphan(worker);
    else
        leave(worker, false, worker->configuration->tornadod.drain_timeout_ms);
}

/* ---- becoming one */

static void
close_unneeded(const struct worker_options *options)
{
    size_t count = 0;
    int *keep = td_xcalloc(3 + options->sockets_count + options->plan->files_count, sizeof(int));

    keep[count++] = options->control;
    keep[count++] = options->access_fd;
    keep[count++] = td_log_fd();
    for (size_t i = 0; i < options->sockets_count; i++)
        keep[count++] = options->sockets[i].fd;
    for (size_t i = 0; i < options->plan->files_count; i++)
        keep[count++] = options->plan->files[i].fd;
    descriptors_close_others(keep, count);
    free(keep);
}

/* What a terminal sends to the whole group of processes is for the master, which tells us. */
static int
set_signals(struct worker *worker)
{
    static const int ignored[] = {SIGINT,  SIGQUIT, SIGHUP,   SIGUSR1, SIGUSR2,
                                  SIGTTIN, SIGTTOU, SIGWINCH, SIGPIPE};
    const struct sigaction terminate = {.sa_handler = note_terminate, .sa_flags = SA_RESTART};
    sigset_t none;

    for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
        signal(ignored[i], SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    terminate_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (terminate_fd < 0)
        return td_err_errno(&worker->failure, "eventfd");
    ev_io_init(&worker->terminate, on_terminate, terminate_fd, EV_READ);
    worker->terminate.data = worker;
    ev_io_start(td_ioloop_ev(worker->loop), &worker->terminate);
    sigaction(SIGTERM, &terminate, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    return 0;
}

static int
open_access_log(struct worker *worker, td_err *err)
{
    const struct worker_options *options = worker->options;
    const struct accesslog_options access = accesslog_options_of(
        &worker->configuration->log, options->access_format, options->access_fd,
        options->access_ring, &options->slot->access_dropped);

    return access.format != TD_ACCESS_OFF
               ? accesslog_create(worker->loop, &access, &worker->access, err)
               : 0;
}

/* "/proc/self/fd/7" is the file that we know under its name. */
static const char *
name_of_module(void *arg, const char *path)
{
    const struct plan *plan = arg;
    char copy[64];

    for (size_t i = 0; i < plan->files_count; i++) {
        snprintf(copy, sizeof(copy), "/proc/self/fd/%d", plan->files[i].fd);
        if (strcmp(path, copy) == 0)
            return plan->files[i].name;
    }
    return NULL;
}

static void
keep_first_failure(void *arg, const td_err *err)
{
    struct worker *worker = arg;

    if (worker->failure.code == 0)
        worker->failure = *err;
}

static int
open_site(struct worker *worker)
{
    const struct plan *plan = worker->options->plan;
    const struct site_watch watch = {.failed = keep_first_failure, .arg = worker};

    if (site_open(&worker->site, plan, &worker->arena, &watch) < 0 ||
        site_mount(&worker->site, &watch) < 0)
        return worker->failure.code;
    for (size_t i = 0; i < plan->instances_count; i++)
        if (worker->options->quarantined[i])
            site_quarantine(&worker->site, worker->site.instances[i].name);
    for (size_t i = 0; i < worker->configuration->applications_count; i++)
        td_application_count(worker->site.applications[i], route_counters, worker);
    place_handlers_metrics(worker);
    modules_note(name_of_module, (void *)plan);
    for (size_t i = 0; i < plan->files_count; i++)
        close(plan->files[i].fd); /* loaded; the mapping needs no descriptor */
    return 0;
}

static void
init_watchers(struct worker *worker)
{
    worker->deadline = (td_timer){.fn = on_deadline, .arg = worker};
    worker->queues = (td_timer){.fn = drain_when_queues_are_empty, .arg = worker};
    worker->handlers = (td_timer){.fn = stop_when_idle, .arg = worker};
    worker->heartbeat = (td_timer){.fn = on_heartbeat, .arg = worker};
    ev_io_init(&worker->control, on_control, worker->options->control, EV_READ);
    worker->control.data = worker;
    ev_io_start(td_ioloop_ev(worker->loop), &worker->control);
}

static int
become_worker(struct worker *worker)
{
    const struct worker_options *options = worker->options;
    char role[32];

    snprintf(role, sizeof(role), "worker %u", options->number);
    td_log_set_role(role);
    td_memory_tries_max = 0;
    close_unneeded(options);
    td_table_reseed();
    crash_install(options->slot);
    td_activity_slot = &options->slot->activity;
    metrics_enter(scoreboard_place(options->slot), &worker->metrics);
    td_metrics_put = status_put;
    if (privileges_drop(options->identity, &worker->failure) < 0 ||
        td_workerloop_open(worker->configuration, options->workers_count, &worker->loop,
                           &worker->failure) < 0)
        return worker->failure.code;
    if (set_signals(worker) < 0)
        return worker->failure.code;
    if (!privileges_tie_to_parent(options->master, SIGTERM))
        return td_err_set(&worker->failure, TD_ECLOSED, "the master has gone");
    init_watchers(worker);
    td_log_count_dropped_in(&options->slot->log_dropped);
    if (td_logqueue_start(options->log_ring, &worker->failure) < 0)
        return worker->failure.code;
    return open_access_log(worker, &worker->failure);
}

static void
close_worker(struct worker *worker)
{
    destroy_servers(worker);
    accesslog_destroy(&worker->access);
    ev_io_stop(td_ioloop_ev(worker->loop), &worker->control);
    ev_io_stop(td_ioloop_ev(worker->loop), &worker->terminate);
    td_timer_stop(worker->loop, &worker->deadline);
    td_timer_stop(worker->loop, &worker->queues);
    td_timer_stop(worker->loop, &worker->handlers);
    td_timer_stop(worker->loop, &worker->heartbeat);
    td_workerloop_close(&worker->loop);
    if (td_executor_jobs() > 0)
        _exit(0); /* a job that never ends may still use what would go now */
    site_close(&worker->site);
    td_arena_fini(&worker->arena);
    td_logqueue_stop();
}

TD_NORETURN static void
fail(const struct worker *worker)
{
    tell_master(worker, CONTROL_FAILED, worker->failure.text);
    td_logqueue_stop();
    exit(EX_CONFIG);
}

void
worker_main(const struct worker_options *options)
{
    struct worker worker = {.options = options, .configuration = options->plan->configuration};

    td_arena_init(&worker.arena);
    if (become_worker(&worker) < 0 || open_site(&worker) < 0)
        fail(&worker);
    if (start_hooks(&worker, run_load_and_start, on_started, &worker.hooks) < 0)
        td_err_set(&worker.failure, TD_EBUSY, "no coroutine for the load hooks");
    else
        td_ioloop_start(worker.loop);
    if (worker.failure.code != 0)
        fail(&worker);
    close_worker(&worker);
    exit(0);
}
