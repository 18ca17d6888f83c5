/*
 * The smallest that serves: what master, site and worker are in the daemon, in one process and for
 * one plugin that is linked in.
 */
#include <tornado/program.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/congestion.h"
#include "base/log.h"
#include "base/table.h"
#include "http/httpserver.h"
#include "io/call.h"
#include "io/executor.h"
#include "web/application.h"
#include "web/metrics.h"
#include "web/pluginlayout.h"
#include "web/workerloop.h"

#define IDLE_POLL_MS 20

enum state { CREATED, STARTING, SERVING, LEAVING, STOPPING, STOPPED };

struct listening {
    struct listening *next;
    td_listener_settings settings;
    int fd;
    td_httpserver *server; /* NULL before SERVING */
};

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
    td_timer deadline, idle;
    td_callback stop; /* td_program_stop */
    ev_signal terminate, interrupt;
    td_err failure; /* of a hook; code 0: none */
};

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
    program->instance.metrics = td_metrics_create(&program->arena, &program->instance);
    return 0;
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
    if (td_spill_find_directory(temp_path, &program->body_temp_path, err) < 0)
        return err->code;
    program->app = td_application_create(find_application(program));
    if (td_application_mount(program->app, &program->instance, err) < 0 ||
        td_application_seal(program->app, err) < 0)
        return err->code;
    return td_workerloop_open(program->configuration, 1, &program->loop, err);
}

/* ---- listening */

static int
set_options(int fd, int family)
{
    const int on = 1;

    if (family == AF_UNIX)
        return 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
        return -1;
    return family == AF_INET6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) : 0;
}

/* Negative: -errno.  *port_out: that of the system's choice if the address has none. */
static int
open_socket(const char *address, int backlog, int *port_out, td_err *err)
{
    struct sockaddr_storage bound;
    socklen_t len;
    int fd;

    if (td_value_parse_address(address, &bound, &len, err) < 0)
        return err->code;
    fd = socket(bound.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return td_err_errno(err, "listen %s", address);
    td_congestion_set(fd, (struct sockaddr *)&bound, TD_CONGESTION_AUTO); /* as well without it */
    if (set_options(fd, bound.ss_family) < 0 || bind(fd, (struct sockaddr *)&bound, len) < 0 ||
        listen(fd, backlog) < 0 || getsockname(fd, (struct sockaddr *)&bound, &len) < 0) {
        const int rc = td_err_errno(err, "listen %s", address);

        close(fd);
        return rc;
    }
    if (bound.ss_family == AF_INET)
        *port_out = ntohs(((struct sockaddr_in *)&bound)->sin_port);
    else
        *port_out = bound.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&bound)->sin6_port) : 0;
    return fd;
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

static void
serve(td_program *program, struct listening *listening)
{
    const td_tornadod_settings *settings = &program->configuration->tornadod;

    listening->server = td_httpserver_create(
        program->loop,
        &(td_httpserver_options){
            .fd = listening->fd,
            .settings = &listening->settings,
            .delegate = &td_application_delegate,
            .delegate_arg = program->app,
            .log_request = log_request,
            .log_arg = program,
            .spill_place = {program->body_temp_path, (uint64_t)settings->body_disk}});
    td_httpserver_start(listening->server);
}

static int
listen_with(td_program *program, const td_listener_settings *settings, td_err *err)
{
    struct listening *listening;
    int port = 0;
    const int fd = open_socket(settings->address, (int)settings->backlog, &port, err);

    if (fd < 0)
        return fd;
    listening = TD_ARENA_NEW(&program->arena, struct listening);
    listening->settings = *settings;
    listening->fd = fd;
    listening->next = program->listening;
    program->listening = listening;
    if (program->state == SERVING)
        serve(program, listening);
    return port;
}

int
td_program_listen(td_program *program, const char *address, td_err *err)
{
    td_listener_settings settings;

    if (program == NULL || address == NULL || program->state > SERVING)
        return td_err_set(err, td_misuse("td_program_listen", "no program, no address, or it is over"),
                          "td_program_listen: no program, no address, or it is over");
    settings = program->configuration->listeners[0];
    settings.name = settings.address = td_str_dup(&program->arena, td_str_of(address)).ptr;
    return listen_with(program, &settings, err);
}

static int
listen_as_settings_say(td_program *program)
{
    const td_configuration *configuration = program->configuration;
    int rc = 0;

    for (size_t i = 0; rc >= 0 && program->listening == NULL && i < configuration->listeners_count; i++)
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
                                    .module = program->instance.name,
                                    .arena = &program->arena};

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
    for (struct listening *l = program->listening; l != NULL; l = l->next)
        td_httpserver_destroy(&l->server);
}

static void
stop_handlers(td_program *program)
{
    program->state = STOPPING;
    close_servers(program);
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

/* The time to drain is over, or somebody does not want to wait for it. */
static void
stop_now(void *arg)
{
    td_program *program = arg;

    if (program->state != LEAVING)
        return;
    td_log(TD_LOG_WARNING, "not waiting any longer: %zu handlers cancelled", td_handlers_running());
    program->state = STOPPING;
    if (program->hooks != NULL)
        td_coroutine_cancel(program->hooks);
    td_handlers_cancel_all();
    stop_handlers(program);
}

static void
leave(td_program *program)
{
    const td_tornadod_settings *settings = &program->configuration->tornadod;

    program->state = LEAVING;
    td_timer_start(program->loop, &program->deadline,
                   td_now_ns() + settings->drain_timeout_ms * TD_NS_PER_MS);
    for (struct listening *l = program->listening; l != NULL; l = l->next) {
        program->servers_left++;
        td_httpserver_drain(l->server, settings->drain_grace_ms, on_drained, program);
    }
    td_sse_drain();
    start_hooks(program, run_drain, on_drain_hook_ended);
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
    if (program->state == LEAVING)
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
    if (program == NULL || program->state != CREATED)
        return td_err_set(err, td_misuse("td_program_run", "no program, or it has run"),
                          "td_program_run: no program, or it has run");
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

    if (td_ioloop_current() != NULL) {
        td_err_set(err, TD_EINVAL, "td_program_create: this thread has a loop");
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

    if (program == NULL)
        return;
    if (program->state != CREATED && program->state != STOPPED) {
        td_misuse("td_program_destroy", "it runs");
        return;
    }
    *program_ = NULL;
    close_servers(program);
    for (struct listening *l = program->listening; l != NULL; l = l->next)
        close(l->fd);
    if (program->loop != NULL) {
        td_timer_stop(program->loop, &program->deadline);
        td_timer_stop(program->loop, &program->idle);
        td_workerloop_close(&program->loop);
    }
    td_application_destroy(&program->app);
    td_arena_fini(&program->arena);
    free(program);
}
