/*
 * The smallest that serves: what master, site and worker are in the daemon, in one process and for
 * one plugin that is linked in.
 */
#include <tornado/program.h>

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/table.h"
#include "http/httpserver.h"
#include "io/call.h"
#include "io/executor.h"
#include "io/netutil.h"
#include "web/application.h"
#include "web/metrics.h"
#include "web/pluginlayout.h"
#include "web/streamserver.h"
#include "web/workerloop.h"

#define IDLE_POLL_MS 20
#define QUEUES_POLL_MS 10
#define QUEUES_POLLS_MAX 50

enum state { CREATED, STARTING, SERVING, LEAVING, STOPPING, STOPPED };

struct listening {
    struct listening *next;
    td_listener_settings settings;
    struct sockaddr_storage bound;
    int fd; /* -1: closed */
    td_httpserver *http; /* before SERVING NULL, as the other */
    td_streamserver *stream; /* of a protocol of its own */
    td_listener_counters counters;
};

/* What is counted and configured for a thread, or a process, is the program's. */
static atomic_bool exists;

struct td_program {
    td_arena arena;
    const td_configuration *configuration;
    const char *body_temp_path;
    td_ioloop *loop;
    td_application *app;
    td_instance instance;
    struct listening *listening;
    size_t servers_left; /* not drained yet */
    enum state state;
    bool hooks_done;
    td_coroutine *hooks; /* that runs the drain hook; NULL: none does */
    td_timer deadline, idle, queues;
    int queue_polls; /* how often drain_when_queues_are_empty has looked */
    td_callback stop; /* td_program_stop */
    ev_signal terminate, interrupt;
    td_err failure; /* of a hook; code 0: none */
};

/* ---- misuse */

static int
refuse(const char *function, const char *why, td_err *err)
{
    return td_err_set(err, td_misuse(function, why), "%s: %s", function, why);
}

/* NULL: nothing is wrong with it, or with this thread. */
static const char *
find_misuse(const td_program *program)
{
    if (program == NULL)
        return "no program";
    return td_ioloop_current() == program->loop ? NULL : "the program is another thread's";
}

/* ---- making one */

static int
load_settings(td_program *program, const td_program_options *options, td_err *err)
{
    size_t count = 0;

    while (options->settings != NULL && options->settings[count] != NULL)
        count++;
    return td_settings_load(&program->arena, options->ini, options->settings, count,
                            &program->configuration, err);
}

static const td_handler_settings *
find_section(td_program *program, const char *name)
{
    const td_configuration *configuration = program->configuration;

    for (size_t i = 0; i < configuration->handlers_count; i++) {
        if (strcmp(configuration->handlers[i].name, name) == 0)
            return &configuration->handlers[i];
    }
    return td_handler_settings_default(&program->arena, name);
}

static int
make_instance(td_program *program, const td_plugin *site, td_err *err)
{
    const td_plugin *plugin;
    const td_handler_settings *section;

    if (site == NULL)
        return td_err_set(err, TD_EINVAL, "td_program_create: there is no site");
    if (td_plugin_translate(&program->arena, "the program", site, &plugin, err) < 0)
        return err->code;
    section = find_section(program, plugin->name);
    if (plugin->options != NULL || plugin->shared != NULL || section->own_count > 0)
        return td_err_set(err, TD_EPLUGIN, "%s: options and shared memory are the daemon's",
                          plugin->name);
    program->instance = (td_instance){.name = plugin->name,
                                      .file = "the program",
                                      .index = 1,
                                      .plugin = plugin,
                                      .section = section};
    return td_metrics_create(&program->arena, &program->instance, err);
}

static const td_application_settings *
find_application(const td_program *program)
{
    const td_configuration *configuration = program->configuration;

    for (size_t i = 0; i < configuration->applications_count; i++) {
        if (strcmp(configuration->applications[i].name, program->instance.section->application) == 0)
            return &configuration->applications[i];
    }
    return &configuration->applications[0];
}

static int
make(td_program *program, const td_plugin *site, const td_program_options *options, td_err *err)
{
    const char *temp_path;

    if (load_settings(program, options, err) < 0 || make_instance(program, site, err) < 0)
        return err->code;
    temp_path = program->configuration->tornadod.body_temp_path;
    if (td_spill_find_directory(temp_path, &program->body_temp_path, err) < 0 ||
        td_workerloop_find_fault(program->configuration, err) != NULL)
        return err->code;
    program->app = td_application_create(find_application(program));
    if (td_application_mount(program->app, &program->instance, err) < 0 ||
        td_application_seal(program->app, err) < 0)
        return err->code;
    return td_workerloop_open(program->configuration, 1, &program->loop, err);
}

/* ---- listening */

static int
port_of(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)address)->sin_port);
    return address->ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)address)->sin6_port)
                                          : 0;
}

static int
open_socket(struct listening *listening, td_err *err)
{
    socklen_t len;
    int rc = td_value_parse_address(listening->settings.address, &listening->bound, &len, err);

    if (rc == 0)
        rc = td_netutil_open(&listening->settings, &listening->bound, len, false, &listening->fd,
                             err);
    if (rc == 0)
        getsockname(listening->fd, (struct sockaddr *)&listening->bound, &len);
    return rc;
}

static void
close_socket(struct listening *listening)
{
    const char *path = td_netutil_path(&listening->bound);

    if (listening->fd < 0)
        return;
    if (path != NULL)
        unlink(path);
    close(listening->fd);
    listening->fd = -1;
}

/* As Tornado writes it. */
static void
log_request(void *arg, const td_request *request, int64_t duration_ns)
{
    const td_program *program = arg;
    const int status = request->status;
    const bool is_refused = request->head.raw.len == 0;
    char peer[TD_PEER_TEXT_SIZE];

    if (program->configuration->log.access == TD_ACCESS_OFF)
        return;
    td_peer_format(&request->peer, peer);
    td_log_at(status < 400   ? TD_LOG_INFO
              : status < 500 ? TD_LOG_WARNING
                             : TD_LOG_ERROR,
              "access", "%d %.*s %.*s (%s) %.2fms", status,
              is_refused ? 1 : (int)request->head.method_name.len,
              is_refused ? "-" : request->head.method_name.ptr,
              is_refused ? 1 : (int)request->head.target.len,
              is_refused ? "-" : request->head.target.ptr, peer, (double)duration_ns / 1e6);
}

static td_httpserver *
start_http(td_program *program, struct listening *listening)
{
    const td_tornadod_settings *settings = &program->configuration->tornadod;
    td_httpserver *server = td_httpserver_create(
        program->loop,
        &(td_httpserver_options){
            .fd = listening->fd,
            .settings = &listening->settings,
            .delegate = &td_application_delegate,
            .delegate_arg = program->app,
            .log_request = log_request,
            .log_arg = program,
            .counters = &listening->counters,
            .spill_place = {program->body_temp_path, (uint64_t)settings->body_disk}});

    td_httpserver_start(server);
    return server;
}

static td_streamserver *
start_stream(td_program *program, struct listening *listening)
{
    td_streamserver *server = td_streamserver_create(
        program->loop, &(td_streamserver_options){.fd = listening->fd,
                                                  .settings = &listening->settings,
                                                  .instance = &program->instance,
                                                  .counters = &listening->counters});

    td_streamserver_start(server);
    return server;
}

static void
serve(td_program *program, struct listening *listening)
{
    if (listening->settings.protocol == NULL)
        listening->http = start_http(program, listening);
    else
        listening->stream = start_stream(program, listening);
}

static int
check_protocol(const td_program *program, const td_listener_settings *settings, td_err *err)
{
    const td_instance *instance = &program->instance;

    if (settings->protocol == NULL)
        return 0;
    if (strcmp(settings->protocol, instance->name) != 0)
        instance = NULL;
    if (td_streamserver_find_fault(settings, instance, err) == NULL)
        return 0;
    return td_err_prefix(err, "listen %s", settings->address);
}

/* The port, or an error. */
static int
listen_with(td_program *program, const td_listener_settings *settings, td_err *err)
{
    struct listening *listening = TD_ARENA_NEW(&program->arena, struct listening);
    int rc = check_protocol(program, settings, err);

    listening->settings = *settings;
    if (rc == 0)
        rc = open_socket(listening, err);
    if (rc < 0)
        return rc;
    listening->next = program->listening;
    program->listening = listening;
    if (program->state == SERVING)
        serve(program, listening);
    return port_of(&listening->bound);
}

int
td_program_listen(td_program *program, const char *address, td_err *err)
{
    const char *misuse = find_misuse(program);
    td_listener_settings settings;
    td_err failure = {0};
    int rc;

    if (misuse == NULL && address == NULL)
        misuse = "no address";
    if (misuse == NULL && program->state > SERVING)
        misuse = "the program is over";
    if (misuse != NULL)
        return refuse("td_program_listen", misuse, err);
    settings = program->configuration->listeners[0];
    settings.name = settings.address = td_str_dup(&program->arena, td_str_of(address)).ptr;
    rc = listen_with(program, &settings, &failure);
    if (rc < 0 && err != NULL)
        *err = failure;
    return rc;
}

static int
listen_as_settings_say(td_program *program)
{
    const td_configuration *configuration = program->configuration;
    int rc = 0;

    if (program->listening != NULL)
        return 0;
    for (size_t i = 0; rc >= 0 && i < configuration->listeners_count; i++)
        rc = listen_with(program, &configuration->listeners[i], &program->failure);
    return rc;
}

/* ---- hooks */

static void
start_hooks(td_program *program, void (*run)(void *arg),
            void (*ended)(void *arg, td_coroutine_end end))
{
    const td_coroutine_task task = {.run = run,
                                    .ended = ended,
                                    .arg = program,
                                    .activity = {.instance = 1},
                                    .module = program->instance.name};

    program->hooks = NULL;
    if (td_coroutine_start(&task, &program->hooks) < 0)
        ended(program, TD_COROUTINE_CANCELED);
}

static void
run_load_and_start(void *arg)
{
    td_program *program = arg;
    td_instance *instance = &program->instance;
    const td_plugin *plugin = instance->plugin;
    td_err *err = &program->failure;
    int rc = 0;

    if (plugin->check != NULL)
        rc = plugin->check(instance, err);
    if (rc == 0 && plugin->load != NULL)
        rc = plugin->load(instance, &instance->state, err);
    if (rc == 0 && plugin->start != NULL)
        rc = plugin->start(instance, err);
    if (rc < 0 && err->text[0] == '\0')
        td_err_set(err, rc, "a hook has failed: %s", td_strerror(rc));
    err->code = rc;
}

static void
on_started(void *arg, td_coroutine_end end)
{
    td_program *program = arg;

    program->hooks = NULL;
    if (program->state != STARTING)
        return; /* a signal was faster */
    if (end != TD_COROUTINE_RETURNED && program->failure.code == 0)
        td_err_set(&program->failure, TD_EPLUGIN, "load or start did not return");
    if (program->failure.code < 0) {
        td_ioloop_stop(program->loop);
        return;
    }
    program->state = SERVING;
    for (struct listening *l = program->listening; l != NULL; l = l->next)
        serve(program, l);
}

static void
run_drain(void *arg)
{
    td_program *program = arg;

    if (program->instance.plugin->drain != NULL)
        program->instance.plugin->drain(&program->instance);
}

static void
run_stop(void *arg)
{
    td_program *program = arg;

    if (program->instance.plugin->stop != NULL)
        program->instance.plugin->stop(&program->instance);
}

/* ---- leaving */

static void
on_stopped(void *arg, td_coroutine_end end)
{
    td_program *program = arg;

    (void)end;
    td_ioloop_stop(program->loop);
}

static void
close_servers(td_program *program)
{
    for (struct listening *l = program->listening; l != NULL; l = l->next) {
        td_httpserver_destroy(&l->http);
        td_streamserver_destroy(&l->stream);
        close_socket(l);
    }
}

static void
give_time(td_program *program)
{
    td_timer_start(program->loop, &program->deadline,
                   td_deadline_in_ms(program->configuration->tornadod.drain_timeout_ms));
}

static void
stop_handlers(td_program *program)
{
    program->state = STOPPING;
    close_servers(program);
    give_time(program);
    start_hooks(program, run_stop, on_stopped);
}

static void
stop_when_idle(void *arg)
{
    td_program *program = arg;

    if (program->state != LEAVING || program->servers_left > 0 || !program->hooks_done)
        return;
    if (td_handlers_running() == 0 && td_executor_jobs() == 0)
        stop_handlers(program);
    else
        td_timer_start(program->loop, &program->idle, td_now_ns() + IDLE_POLL_MS * TD_NS_PER_MS);
}

static void
on_drained(void *arg)
{
    td_program *program = arg;

    program->servers_left--;
    stop_when_idle(program);
}

static void
on_drain_hook_ended(void *arg, td_coroutine_end end)
{
    td_program *program = arg;

    (void)end;
    program->hooks = NULL;
    program->hooks_done = true;
    stop_when_idle(program);
}

static void
cancel_handlers(td_program *program)
{
    td_log(TD_LOG_WARNING, "not waiting any longer: %zu handlers cancelled", td_handlers_running());
    program->state = STOPPING;
    if (program->hooks != NULL)
        td_coroutine_cancel(program->hooks);
    td_handlers_cancel_all();
    stop_handlers(program);
}

/* The time to drain, or to stop, is over; or somebody does not want to wait for it. */
static void
stop_now(void *arg)
{
    td_program *program = arg;

    if (program->state == LEAVING) {
        cancel_handlers(program);
    } else if (program->state == STOPPING) {
        td_log(TD_LOG_WARNING, "not waiting any longer: the hook stop is cancelled");
        td_ioloop_stop(program->loop);
    }
}

/* New connections are refused from here on, and another program may listen there. */
static void
drain(td_program *program)
{
    const int64_t grace_ms = program->configuration->tornadod.drain_grace_ms;

    for (struct listening *l = program->listening; l != NULL; l = l->next) {
        program->servers_left++;
        if (l->http != NULL)
            td_httpserver_drain(l->http, grace_ms, on_drained, program);
        else
            td_streamserver_drain(l->stream, on_drained, program);
        close_socket(l);
    }
    td_sse_drain();
    start_hooks(program, run_drain, on_drain_hook_ended);
}

static bool
connections_wait(const td_program *program)
{
    for (const struct listening *l = program->listening; l != NULL; l = l->next) {
        if (td_netutil_is_awaited(l->fd))
            return true;
    }
    return false;
}

/* Whoever waits to be accepted comes first.  Not for ever: clients may be faster than we are. */
static void
drain_when_queues_are_empty(void *arg)
{
    td_program *program = arg;

    if (program->state != LEAVING)
        return;
    if (connections_wait(program) && program->queue_polls++ < QUEUES_POLLS_MAX)
        td_timer_start(program->loop, &program->queues, td_deadline_in_ms(QUEUES_POLL_MS));
    else
        drain(program);
}

static void
leave(td_program *program)
{
    program->state = LEAVING;
    give_time(program);
    drain_when_queues_are_empty(program);
}

/* From the loop, whoever has asked for it: hooks start there alone. */
static void
begin_to_end(void *arg)
{
    td_program *program = arg;

    if (program->state == SERVING)
        leave(program);
    else if (program->state == CREATED || program->state == STARTING)
        td_ioloop_stop(program->loop);
}

void
td_program_stop(td_program *program)
{
    if (program == NULL)
        td_misuse("td_program_stop", "no program");
    else
        td_ioloop_post(program->loop, &program->stop);
}

/* ---- running */

static void
on_signal(struct ev_loop *ev, ev_signal *watcher, int events)
{
    td_program *program = watcher->data;

    (void)ev, (void)events;
    if (program->state >= LEAVING)
        stop_now(program);
    else
        begin_to_end(program);
}

static void
watch_signal(td_program *program, ev_signal *watcher, int number)
{
    ev_signal_init(watcher, on_signal, number);
    watcher->data = program;
    ev_signal_start(td_ioloop_ev(program->loop), watcher);
}

int
td_program_run(td_program *program, td_err *err)
{
    const char *misuse = find_misuse(program);

    if (misuse == NULL && program->state != CREATED)
        misuse = "the program runs, or has run";
    if (misuse != NULL)
        return refuse("td_program_run", misuse, err);
    if (listen_as_settings_say(program) >= 0) {
        program->state = STARTING;
        watch_signal(program, &program->terminate, SIGTERM);
        watch_signal(program, &program->interrupt, SIGINT);
        start_hooks(program, run_load_and_start, on_started);
        td_ioloop_start(program->loop);
        ev_signal_stop(td_ioloop_ev(program->loop), &program->terminate);
        ev_signal_stop(td_ioloop_ev(program->loop), &program->interrupt);
    }
    program->state = STOPPED;
    if (err != NULL)
        *err = program->failure;
    return program->failure.code;
}

/* ---- life */

td_program *
td_program_create(const td_plugin *site, const td_program_options *wanted, td_err *err)
{
    td_program_options options = {0};
    td_program *program;
    td_err failure = {0};

    if (td_ioloop_current() != NULL || atomic_exchange(&exists, true)) {
        refuse("td_program_create", "this thread has a loop, or this process a program", err);
        return NULL;
    }
    if (wanted != NULL)
        memcpy(&options, wanted, wanted->size < sizeof(options) ? wanted->size : sizeof(options));
    signal(SIGPIPE, SIG_IGN);
    td_table_reseed();
    program = td_xcalloc(1, sizeof(*program));
    td_arena_init(&program->arena);
    program->deadline = (td_timer){.fn = stop_now, .arg = program};
    program->idle = (td_timer){.fn = stop_when_idle, .arg = program};
    program->queues = (td_timer){.fn = drain_when_queues_are_empty, .arg = program};
    program->stop = (td_callback){.fn = begin_to_end, .arg = program};
    if (make(program, site, &options, &failure) < 0)
        td_program_destroy(&program);
    if (err != NULL)
        *err = failure;
    return program;
}

void
td_program_destroy(td_program **program_)
{
    td_program *program = *program_;
    const char *misuse;

    if (program == NULL)
        return;
    misuse = find_misuse(program);
    if (misuse == NULL && program->state != CREATED && program->state != STOPPED)
        misuse = "the program runs";
    if (misuse != NULL) {
        td_misuse("td_program_destroy", misuse);
        return;
    }
    *program_ = NULL;
    close_servers(program);
    if (program->loop != NULL) {
        td_timer_stop(program->loop, &program->deadline);
        td_timer_stop(program->loop, &program->idle);
        td_timer_stop(program->loop, &program->queues);
        td_workerloop_close(&program->loop);
    }
    td_application_destroy(&program->app);
    td_arena_fini(&program->arena);
    free(program);
    exists = false;
}
