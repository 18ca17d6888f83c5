/*
 * What is handed over is text, a record a line, its fields separated by tabs:
 *
 *     master      GENERATIONS  WORKERS_CHANGE  STARTED_NS
 *     metrics     FD                                        of metrics.h; before the workers
 *     log         TARGET  LEVEL  PATH                       as [log] has them
 *     pid_file    FD  PATH
 *     control     FD  LOCK_FD  PATH
 *     listener    REUSEPORT  IS_UNITS  NAME  ADDRESS  FD...
 *     generation  NUMBER  DRAINS  WORKERS_SET  DRAIN_TIMEOUT_MS  START_TIMEOUT_MS
 *     worker      NUMBER  PID  FD  READY                    of the generation before it
 *     client      FD                                        who waits for the outcome
 *     end
 *
 * Workers of the old binary hear on with control.h's packets, whose shape is part of the version
 * too.
 */
#include "daemon/master/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "daemon/master/controlsocket.h"
#include "daemon/master/master_internal.h"
#include "daemon/master/notify.h"
#include "daemon/master/requests.h"
#include "daemon/status/metrics.h"

#define FIELDS_MAX 520 /* a listener of 512 workers, and its own */

static struct {
    char *program;
    pid_t pid; /* of the test; 0: none runs */
    int output;
    ev_timer limit;
    bool timed_out;
} upgrade;

extern char **environ;

void
upgrade_init(const char *argv0)
{
    char *folder, *program = NULL;

    if (argv0 != NULL && argv0[0] == '/')
        program = td_xstrdup(argv0);
    else if (argv0 != NULL && strchr(argv0, '/') != NULL && (folder = getcwd(NULL, 0)) != NULL) {
        if (asprintf(&program, "%s/%s", folder, argv0) < 0)
            program = NULL;
        free(folder);
    } else {
        program = realpath("/proc/self/exe", NULL);
    }
    upgrade.program = program;
}

/* ---- handing over */

static void
put_worker(td_buf *to, const struct seat *seat)
{
    if (seat->pid != 0)
        td_buf_printf(to, "worker\t%u\t%d\t%d\t%d\n", seat->number, (int)seat->pid,
                      seat->control.fd, seat->ready);
}

static void
put_generation(td_buf *to, const struct generation *generation, bool drains)
{
    const td_tornadod_settings *settings = &generation->configuration->tornadod;

    td_buf_printf(to, "generation\t%u\t%d\t%zu\t%lld\t%lld\n", generation->number, drains,
                  generation->workers_set, (long long)settings->drain_timeout_ms,
                  (long long)settings->start_timeout_ms);
    GENERATION_EACH(seat, generation)
        put_worker(to, seat);
}

static void
put_listeners(td_buf *to, const struct generation *generation)
{
    for (size_t i = 0; i < generation->configuration->listeners_count; i++) {
        const struct listener *listener = generation->listeners[i];
        td_buf_printf(to, "listener\t%d\t%d\t%s\t%s", listener->reuseport, listener->is_units,
                      listener->name, listener->address);
        for (size_t j = 0; j < listener->fds_count; j++)
            td_buf_printf(to, "\t%d", listener->fds[j]);
        td_buf_append(to, TD_STR("\n"));
    }
}

static void
put_client(void *arg, int fd)
{
    td_buf_printf(arg, "client\t%d\n", fd);
}

static void
put_state(td_buf *to)
{
    const td_log_settings *log = &master.current->configuration->log;
    int socket, lock;

    td_buf_printf(to, "master\t%u\t%d\t%lld\n", master.generations, master.workers_change,
                  (long long)master.started_ns);
    if (metrics_descriptor() >= 0)
        td_buf_printf(to, "metrics\t%d\n", metrics_descriptor());
    td_buf_printf(to, "log\t%d\t%d\t%s\n", log->target, log->level,
                  log->file != NULL ? log->file : "");
    if (master.pid_fd >= 0)
        td_buf_printf(to, "pid_file\t%d\t%s\n", master.pid_fd, master.pid_path);
    controlsocket_descriptors(&socket, &lock);
    if (socket >= 0)
        td_buf_printf(to, "control\t%d\t%d\t%s\n", socket, lock, master.control_path);
    put_listeners(to, master.current);
    TD_LIST_FOREACH (link, &master.draining)
        put_generation(to, TD_CONTAINER_OF(link, struct generation, link), true);
    put_generation(to, master.current, false);
    control_each_waiting(put_client, to);
    td_buf_append(to, TD_STR("end\n"));
}

/* Over the exec, or, when there was none, not any more. */
static void
keep_descriptors(bool keep)
{
    const int flags = keep ? 0 : FD_CLOEXEC;
    int socket, lock;

    fcntl(master.pid_fd, F_SETFD, flags);
    fcntl(metrics_descriptor(), F_SETFD, flags);
    controlsocket_descriptors(&socket, &lock);
    fcntl(socket, F_SETFD, flags);
    fcntl(lock, F_SETFD, flags);
    for (size_t i = 0; i < master.current->configuration->listeners_count; i++) {
        const struct listener *listener = master.current->listeners[i];
        for (size_t j = 0; j < listener->fds_count; j++)
            fcntl(listener->fds[j], F_SETFD, flags);
    }
    GENERATION_EACH(seat, master.current)
        fcntl(seat->control.fd, F_SETFD, flags);
    TD_LIST_FOREACH (link, &master.draining) {
        GENERATION_EACH(seat, TD_CONTAINER_OF(link, struct generation, link))
            fcntl(seat->control.fd, F_SETFD, flags);
    }
    control_keep_waiting(keep);
}

static int
make_state(int *fd_out, td_err *err)
{
    td_buf state = {0};
    int fd = memfd_create("tornadod upgrade", 0);

    if (fd < 0)
        return td_err_errno(err, "memfd");
    put_state(&state);
    ssize_t n = write(fd, td_buf_str(&state).ptr, state.len);
    int rc = n == (ssize_t)state.len ? 0 : td_err_errno(err, "memfd: write");
    td_buf_release(&state);
    if (rc < 0)
        close(fd);
    else
        *fd_out = fd;
    return rc;
}

/* The arguments that this process was started with, and -t. */
static char **
make_arguments(bool test)
{
    const struct options *options = master.options;
    char **argv = td_xcalloc(2 * options->overrides_count + 5, sizeof(*argv));
    size_t count = 0;

    argv[count++] = upgrade.program;
    if (test)
        argv[count++] = (char *)"-t";
    if (options->path != NULL) {
        argv[count++] = (char *)"-c";
        argv[count++] = (char *)options->path;
    }
    for (size_t i = 0; i < options->overrides_count; i++) {
        argv[count++] = (char *)"--set";
        argv[count++] = (char *)options->overrides[i];
    }
    return argv;
}

/* ---- the test */

static void
fail(const char *text)
{
    td_log_at(TD_LOG_ERROR, "master", "upgrade failed: %s", text);
    notify_send("STATUS=upgrade failed: %s", text);
    control_settle(CONTROL_EVENT_UPGRADE, UINT32_MAX, text, "");
    if (master.reload_again && master.next == NULL && !master.stopping)
        rollout_reload();
}

static void
execute(void)
{
    char number[16], text[TD_ERR_TEXT_SIZE + 64];
    td_err err;
    int fd = -1;

    if (make_state(&fd, &err) < 0) {
        fail(err.text);
        return;
    }
    td_log_at(TD_LOG_INFO, "master", "upgrading: %s takes over", upgrade.program);
    notify_reloading();
    keep_descriptors(true);
    snprintf(number, sizeof(number), "%d", fd);
    setenv(UPGRADE_STATE, number, 1);
    char **argv = make_arguments(false);
    execv(upgrade.program, argv);

    snprintf(text, sizeof(text), "%s: %s", upgrade.program, strerror(errno));
    free(argv);
    unsetenv(UPGRADE_STATE);
    keep_descriptors(false);
    close(fd);
    notify_send("READY=1");
    fail(text);
}

TD_NORETURN static void
run_test(int output)
{
    sigset_t none;

    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setenv(UPGRADE_TEST, "1", 1);
    unsetenv("NOTIFY_SOCKET");
    execv(upgrade.program, make_arguments(true));
    fprintf(stderr, "%s: %s\n", upgrade.program, strerror(errno));
    _exit(EXIT_FAILURE);
}

static void
on_limit(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
    upgrade.timed_out = true;
    kill(upgrade.pid, SIGKILL);
}

static int
start_test(td_err *err)
{
    int ends[2];

    if (upgrade.program == NULL)
        return td_err_set(err, TD_ENOTFOUND, "it is not known which file this program came from");
    if (pipe2(ends, O_CLOEXEC) < 0)
        return td_err_errno(err, "pipe");
    upgrade.pid = fork();
    if (upgrade.pid == 0)
        run_test(ends[1]);
    close(ends[1]);
    if (upgrade.pid < 0) {
        upgrade.pid = 0;
        close(ends[0]);
        return td_err_errno(err, "fork");
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    upgrade.output = ends[0];
    upgrade.timed_out = false;
    const int64_t limit_ms = 2 * master.current->configuration->tornadod.start_timeout_ms;
    ev_now_update(master.loop);
    ev_timer_init(&upgrade.limit, on_limit, (double)limit_ms / 1000., 0.);
    ev_timer_start(master.loop, &upgrade.limit);
    return 0;
}

void
upgrade_begin(void)
{
    td_err err;

    if (upgrade.pid != 0)
        return; /* the one that asks again has the same outcome */
    if (master.stopping || master.current == NULL || master.next != NULL) {
        fail("there is no upgrade during a start, a reload or a stop");
        return;
    }
    td_log_at(TD_LOG_INFO, "master", "upgrading: %s tests itself",
              upgrade.program != NULL ? upgrade.program : "?");
    if (start_test(&err) < 0)
        fail(err.text);
}

bool
upgrade_is_on_its_way(void)
{
    return upgrade.pid != 0;
}

void
upgrade_abandon(void)
{
    if (upgrade.pid != 0)
        kill(upgrade.pid, SIGKILL);
}

/* The last line of what it said. */
static const char *
last_line(char *text)
{
    size_t len = strlen(text);

    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    const char *slash = strrchr(text, '\n');
    const char *line = slash != NULL ? slash + 1 : text;
    return strncmp(line, "tornadod: ", 10) == 0 ? line + 10 : line;
}

static void
judge(int status, char *output)
{
    char text[TD_ERR_TEXT_SIZE];
    const char *line = last_line(output);

    if (upgrade.timed_out)
        fail("the new binary did not test itself within twice start_timeout");
    else if (WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
             strcmp(line, UPGRADE_ACKNOWLEDGED) == 0)
        execute();
    else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        fail("the new binary does not know what to take over");
    else if (line[0] != '\0')
        fail(line);
    else {
        snprintf(text, sizeof(text), "the new binary ended its test with status %d",
                 WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        fail(text);
    }
}

bool
upgrade_reaped(pid_t pid, int status)
{
    char output[4096];
    size_t len = 0;
    ssize_t n;

    if (upgrade.pid == 0 || pid != upgrade.pid)
        return false;
    upgrade.pid = 0;
    ev_timer_stop(master.loop, &upgrade.limit);
    while (len < sizeof(output) - 1 &&
           (n = read(upgrade.output, output + len, sizeof(output) - 1 - len)) > 0)
        len += (size_t)n;
    close(upgrade.output);
    output[len] = '\0';
    if (!master.stopping)
        judge(status, output);
    return true;
}

void
upgrade_acknowledge(void)
{
    if (getenv(UPGRADE_TEST) != NULL)
        puts(UPGRADE_ACKNOWLEDGED);
}

/* ---- taking over */

struct taking {
    td_arena arena;
    td_configuration *configuration;
    td_listener_settings *listeners;
    struct listener **open;
    size_t listeners_count;
    struct generation *generation; /* the last one that was named */
    char *fields[FIELDS_MAX];
    size_t fields_count;
};

static struct taking taken; /* what was handed over lasts as long as the program */

static long long
number_of(const struct taking *t, size_t field)
{
    return strtoll(t->fields[field], NULL, 10);
}

static int
descriptor_of(const struct taking *t, size_t field)
{
    int fd = (int)number_of(t, field);

    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

static int
take_master(struct taking *t, td_err *err)
{
    (void)err;
    master.generations = (uint32_t)number_of(t, 1);
    master.workers_change = (int)number_of(t, 2);
    master.started_ns = number_of(t, 3);
    return 0;
}

static int
take_metrics(struct taking *t, td_err *err)
{
    (void)err;
    metrics_adopt(descriptor_of(t, 1));
    return 0;
}

static int
take_log(struct taking *t, td_err *err)
{
    td_log_settings *log = &t->configuration->log;

    log->target = (int)number_of(t, 1);
    log->level = (int)number_of(t, 2);
    log->file = t->fields[3][0] != '\0' ? td_arena_strdup(&t->arena, t->fields[3]) : NULL;
    log->access = TD_ACCESS_OFF;
    if (master_open_log(t->configuration, err) < 0)
        td_log_at(TD_LOG_ERROR, "master", "%s", err->text);
    return 0;
}

static int
take_pid_file(struct taking *t, td_err *err)
{
    (void)err;
    master.pid_fd = descriptor_of(t, 1);
    master.pid_path = td_xstrdup(t->fields[2]);
    return 0;
}

static int
take_control(struct taking *t, td_err *err)
{
    (void)err;
    int socket = descriptor_of(t, 1), lock = descriptor_of(t, 2);

    master.control_path = td_xstrdup(t->fields[3]);
    controlsocket_adopt(master.loop, t->fields[3], socket, lock, requests_asked);
    return 0;
}

static int
take_listener(struct taking *t, td_err *err)
{
    const size_t first = 5, count = t->fields_count - first;
    int *fds = td_xcalloc(count, sizeof(*fds));

    for (size_t i = 0; i < count; i++)
        fds[i] = descriptor_of(t, first + i);
    t->listeners = td_xrealloc(t->listeners, (t->listeners_count + 1) * sizeof(*t->listeners));
    t->open = td_xrealloc(t->open, (t->listeners_count + 1) * sizeof(struct listener *));
    t->listeners[t->listeners_count] =
        (td_listener_settings){.name = td_arena_strdup(&t->arena, t->fields[3]),
                               .address = td_arena_strdup(&t->arena, t->fields[4]),
                               .reuseport = number_of(t, 1) != 0};
    int rc = generation_adopt_listener(&t->listeners[t->listeners_count], fds, count,
                                       number_of(t, 2) != 0, &t->open[t->listeners_count], err);
    free(fds);
    if (rc == 0)
        t->listeners_count++;
    return rc;
}

static int
take_generation(struct taking *t, td_err *err)
{
    const bool drains = number_of(t, 2) != 0;
    struct generation *generation =
        generation_adopt((uint32_t)number_of(t, 1), t->configuration);

    (void)err;
    t->configuration->tornadod.drain_timeout_ms = number_of(t, 4); /* of all, the last one's */
    t->configuration->tornadod.start_timeout_ms = number_of(t, 5);
    generation->workers_set = (size_t)number_of(t, 3);
    if (drains) {
        master_await_end(generation);
    } else {
        generation->listeners = t->open;
        master.current = generation;
    }
    t->generation = generation;
    return 0;
}

static int
take_worker(struct taking *t, td_err *err)
{
    if (t->generation == NULL)
        return td_err_set(err, TD_EBADMSG, "a worker of no generation");
    struct seat *seat = generation_add_seat(t->generation);
    seat_adopt(seat, (uint32_t)number_of(t, 1), (pid_t)number_of(t, 2), descriptor_of(t, 3),
               number_of(t, 4) != 0);
    return 0;
}

static int
take_client(struct taking *t, td_err *err)
{
    (void)err;
    control_adopt_waiting(descriptor_of(t, 1), CONTROL_EVENT_RELOAD, 1);
    return 0;
}

static const struct {
    const char *name;
    size_t fields_min;
    int (*take)(struct taking *t, td_err *err);
} records[] = {
    {"master", 4, take_master},     {"log", 4, take_log},
    {"pid_file", 3, take_pid_file}, {"control", 4, take_control},
    {"listener", 6, take_listener}, {"generation", 6, take_generation},
    {"worker", 5, take_worker},     {"client", 2, take_client},
    {"metrics", 2, take_metrics},
};

static int
take_record(struct taking *t, char *line, td_err *err)
{
    char *rest = line;

    t->fields_count = 0;
    while (rest != NULL && t->fields_count < FIELDS_MAX)
        t->fields[t->fields_count++] = strsep(&rest, "\t");
    for (size_t i = 0; i < sizeof(records) / sizeof(*records); i++) {
        if (strcmp(records[i].name, t->fields[0]) == 0 && t->fields_count >= records[i].fields_min)
            return records[i].take(t, err);
    }
    return td_err_set(err, TD_EBADMSG, "upgrade: %s is no record", t->fields[0]);
}

static int
read_state(int fd, td_buf *out, td_err *err)
{
    ssize_t n;

    if (lseek(fd, 0, SEEK_SET) < 0)
        return td_err_errno(err, "upgrade: state");
    while ((n = read(fd, td_buf_reserve(out, 65536), 65536)) > 0)
        td_buf_added(out, (size_t)n);
    td_buf_append(out, td_str_make("", 1));
    return n < 0 ? td_err_errno(err, "upgrade: state") : 0;
}

bool
upgrade_is_ours(void)
{
    return getenv(UPGRADE_STATE) != NULL;
}

int
upgrade_resume(td_err *err)
{
    const int fd = atoi(getenv(UPGRADE_STATE));
    struct taking *t = &taken;
    td_buf state = {0};
    int rc = read_state(fd, &state, err);

    unsetenv(UPGRADE_STATE);
    close(fd);
    td_arena_init(&t->arena);
    t->configuration = td_xcalloc(1, sizeof(*t->configuration));
    char *rest = rc == 0 ? (char *)td_buf_str(&state).ptr : NULL;
    for (char *line; rc == 0 && (line = strsep(&rest, "\n")) != NULL && strcmp(line, "end") != 0;)
        rc = take_record(t, line, err);
    td_buf_release(&state);
    if (rc == 0 && master.current == NULL)
        rc = td_err_set(err, TD_EBADMSG, "upgrade: no generation serves");
    if (rc < 0)
        return rc;
    t->configuration->listeners = t->listeners;
    t->configuration->listeners_count = t->listeners_count;
    return 0;
}
