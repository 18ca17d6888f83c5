/*
 * Nothing is lost by an upgrade: what the old workers write to (their slots, their rings, the
 * memory of handlers, counters) has descriptors, which stay open over the exec, and handover.h says
 * which is which.  The new binary reads all of that when it tests itself, and again when it takes
 * over.
 *
 * Workers of the old binary hear on with control.h's packets.
 */
#include "daemon/master/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/ring.h"
#include "base/value.h"
#include "daemon/master/controlsocket.h"
#include "daemon/master/handover.h"
#include "daemon/master/master_internal.h"
#include "daemon/master/notify.h"
#include "daemon/master/requests.h"
#include "daemon/scoreboard.h"
#include "daemon/site/shared.h"
#include "daemon/status/metrics.h"

static struct {
    char *program;
    struct stat tested; /* the file that tests itself */
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

/* A worker that was taken over may have one that we do not understand. */
static int
ring_descriptor(const td_ring *ring)
{
    return ring != NULL ? ring->fd : -1;
}

static void
put_worker(struct handover *to, const struct seat *seat)
{
    if (seat->pid != 0)
        *HANDOVER_ADD(to, worker) =
            (struct handover_worker){.generation = seat->generation->number,
                                     .number = seat->number,
                                     .pid = seat->pid,
                                     .ready = seat->ready,
                                     .place = (int64_t)scoreboard_place(seat->slot),
                                     .control = seat->control.fd,
                                     .log_ring = ring_descriptor(seat->log_ring),
                                     .access_ring = ring_descriptor(seat->access_ring)};
}

static void
put_generation(struct handover *to, const struct generation *generation, bool drains)
{
    const td_tornadod_settings *settings = &generation->configuration->tornadod;
    const td_log_settings *log = &generation->configuration->log;

    *HANDOVER_ADD(to, generation) = (struct handover_generation){
        .number = generation->number,
        .drains = drains,
        .workers_set = (int64_t)generation->workers_set,
        .drain_timeout_ms = settings->drain_timeout_ms,
        .start_timeout_ms = settings->start_timeout_ms,
        .hang_timeout_ms = settings->hang_timeout_ms,
        .access = generation->access_format != NULL ? TD_ACCESS_CUSTOM : log->access,
        .access_fd = generation->access_fd,
        .access_file = log->access_file,
    };
    for (size_t i = 0; i < generation->manifest.instances_count; i++) {
        const struct manifest_instance *instance = &generation->manifest.instances[i];
        *HANDOVER_ADD(to, instance) =
            (struct handover_instance){.generation = generation->number,
                                       .name = instance->name,
                                       .file = instance->file,
                                       .plugin = instance->plugin,
                                       .version = instance->version};
    }
    GENERATION_EACH(seat, generation)
        put_worker(to, seat);
}

static void
put_quarantine(struct handover *to, const struct generation *generation)
{
    const struct quarantine *quarantine = &generation->quarantine;

    for (size_t i = 0; i < quarantine->instances_count; i++) {
        if (quarantine->is_in[i])
            *HANDOVER_ADD(to, quarantine) =
                (struct handover_quarantine){.instance = generation->manifest.instances[i].name,
                                             .digest = quarantine->digests[i]};
    }
}

static void
put_listeners(struct handover *to, const struct generation *generation)
{
    for (size_t i = 0; i < generation->configuration->listeners_count; i++) {
        const struct listener *listener = generation->listeners[i];
        *HANDOVER_ADD(to, listener) =
            (struct handover_listener){.name = listener->name,
                                       .address = listener->address,
                                       .reuseport = listener->reuseport,
                                       .is_units = listener->is_units};
        for (size_t j = 0; j < listener->fds_count; j++)
            *HANDOVER_ADD(to, socket) =
                (struct handover_socket){.listener = (int64_t)i, .fd = listener->fds[j]};
    }
}

static void
put_client(void *arg, int fd)
{
    HANDOVER_ADD((struct handover *)arg, client)->fd = fd;
}

static void
put_shared(void *arg, const struct shared_region *region)
{
    *HANDOVER_ADD((struct handover *)arg, shared) =
        (struct handover_shared){.instance = region->instance,
                                 .name = region->name,
                                 .size = (int64_t)region->size,
                                 .wanted_by = region->wanted_by,
                                 .fd = region->fd};
}

/* What is of the process as a whole. */
static void
put_master(struct handover *to)
{
    const td_log_settings *log = &master.current->configuration->log;
    int socket, lock;

    *HANDOVER_ADD(to, master) = (struct handover_master){.generations = master.generations,
                                                         .workers_change = master.workers_change,
                                                         .started_ns = master.started_ns};
    *HANDOVER_ADD(to, log) = (struct handover_log){log->target, log->level, log->file};
    if (metrics_descriptor() >= 0)
        HANDOVER_ADD(to, metrics)->fd = metrics_descriptor();
    if (scoreboard_descriptor() >= 0)
        *HANDOVER_ADD(to, scoreboard) =
            (struct handover_scoreboard){scoreboard_descriptor(), (int64_t)scoreboard_layout(),
                                         (int64_t)scoreboard_requests_of_dead()};
    if (master.pid_fd >= 0)
        *HANDOVER_ADD(to, pid_file) = (struct handover_pid_file){master.pid_fd, master.pid_path};
    controlsocket_descriptors(&socket, &lock);
    if (socket >= 0)
        *HANDOVER_ADD(to, control) =
            (struct handover_control){socket, lock, master.control_path};
}

static void
collect(struct handover *to)
{
    put_master(to);
    shared_each(put_shared, to);
    put_listeners(to, master.current);
    TD_LIST_FOREACH (link, &master.draining)
        put_generation(to, TD_CONTAINER_OF(link, struct generation, link), true);
    put_generation(to, master.current, false);
    put_quarantine(to, master.current);
    control_each_waiting(put_client, to);
}

static void
keep_descriptor(void *arg, int fd)
{
    fcntl(fd, F_SETFD, *(const int *)arg);
}

/* Over the exec, or, when there was none, not any more. */
static void
keep_descriptors(const struct handover *handover, bool keep)
{
    int flags = keep ? 0 : FD_CLOEXEC;

    handover_each_fd(handover, keep_descriptor, &flags);
}

/* Its text, in a file without a name. */
static int
write_state(const struct handover *handover, int *fd_out, td_err *err)
{
    td_buf state = {0};
    int fd = memfd_create("tornadod upgrade", MFD_CLOEXEC);

    if (fd < 0)
        return td_err_errno(err, "memfd");
    handover_write(handover, &state);
    ssize_t n = write(fd, td_buf_str(&state).ptr, state.len);
    int rc = n == (ssize_t)state.len ? 0 : td_err_errno(err, "memfd: write");
    td_buf_release(&state);
    if (rc < 0)
        close(fd);
    else
        *fd_out = fd;
    return rc;
}

/* Whoever is executed next finds it. */
static void
tell_state(const struct handover *handover, int fd)
{
    char number[16];

    snprintf(number, sizeof(number), "%d", fd);
    setenv(UPGRADE_STATE, number, 1);
    fcntl(fd, F_SETFD, 0);
    keep_descriptors(handover, true);
}

static void
forget_state(const struct handover *handover, int fd)
{
    unsetenv(UPGRADE_STATE);
    close(fd);
    keep_descriptors(handover, false);
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

/* What took the place of a file that was good may not be; that it is gone, execv says. */
static bool
is_another_file(void)
{
    struct stat now;

    return stat(upgrade.program, &now) == 0 &&
           (now.st_dev != upgrade.tested.st_dev || now.st_ino != upgrade.tested.st_ino ||
            now.st_size != upgrade.tested.st_size ||
            now.st_mtim.tv_sec != upgrade.tested.st_mtim.tv_sec ||
            now.st_mtim.tv_nsec != upgrade.tested.st_mtim.tv_nsec);
}

static void
execute(void)
{
    char text[TD_ERR_TEXT_SIZE + 64];
    td_arena arena;
    struct handover handover = {.arena = &arena};
    td_err err;
    int fd;

    if (is_another_file()) {
        snprintf(text, sizeof(text), "%s has changed since it was tested", upgrade.program);
        fail(text);
        return;
    }
    td_arena_init(&arena);
    collect(&handover);
    if (write_state(&handover, &fd, &err) < 0) {
        fail(err.text);
        goto done;
    }
    td_log_at(TD_LOG_INFO, "master", "upgrading: %s takes over", upgrade.program);
    notify_reloading();
    tell_state(&handover, fd);
    char **argv = make_arguments(false);
    execv(upgrade.program, argv);

    snprintf(text, sizeof(text), "%s: %s", upgrade.program, strerror(errno));
    free(argv);
    forget_state(&handover, fd);
    notify_send("READY=1");
    fail(text);

done:
    td_arena_fini(&arena);
}

/* In the child, whose descriptors are its own. */
TD_NORETURN static void
run_test(int output)
{
    td_arena arena;
    struct handover handover = {.arena = &arena};
    sigset_t none;
    td_err err;
    int fd;

    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    td_arena_init(&arena);
    collect(&handover);
    if (write_state(&handover, &fd, &err) == 0) {
        tell_state(&handover, fd);
        setenv(UPGRADE_TEST, "1", 1);
        unsetenv("NOTIFY_SOCKET");
        execv(upgrade.program, make_arguments(true));
        td_err_errno(&err, "%s", upgrade.program);
    }
    fprintf(stderr, "%s\n", err.text);
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
    if (stat(upgrade.program, &upgrade.tested) < 0)
        return td_err_errno(err, "%s", upgrade.program);
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
        fail("the new binary does not know what to take over (" UPGRADE_ACKNOWLEDGED
             "); a restart can bring it");
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

/* ---- in the new binary */

static int
read_state(int fd, td_arena *arena, struct handover *out, td_err *err)
{
    td_buf text = {0};
    ssize_t n = 0;

    while (text.len <= HANDOVER_SIZE_MAX &&
           (n = pread(fd, td_buf_reserve(&text, 65536), 65536, (off_t)text.len)) > 0)
        td_buf_added(&text, (size_t)n);
    int rc = n < 0 ? td_err_errno(err, "upgrade: descriptor %d", fd)
                   : handover_read(arena, td_buf_str(&text), out, err);
    td_buf_release(&text);
    return rc < 0 ? rc : handover_check_fds(out, err);
}

/* -1: there is none. */
static int
state_descriptor(void)
{
    const char *number = getenv(UPGRADE_STATE);
    int64_t fd;

    return number != NULL && td_value_parse_int(number, STDERR_FILENO + 1, INT32_MAX, &fd, NULL) == 0
               ? (int)fd
               : -1;
}

int
upgrade_acknowledge(td_err *err)
{
    const int fd = state_descriptor();
    struct handover handover;
    td_arena arena;
    int rc;

    if (getenv(UPGRADE_TEST) == NULL)
        return 0;
    if (fd < 0)
        return td_err_set(err, TD_ECONFIG,
                          "the daemon that runs is older than upgrades to this binary (version "
                          HANDOVER_VERSION "); a restart can bring it");
    td_arena_init(&arena);
    rc = read_state(fd, &arena, &handover, err);
    if (rc == 0)
        printf(UPGRADE_UNDERSTANDS "%s\n", handover.version);
    td_arena_fini(&arena);
    return rc;
}

/* ---- taking over */

struct taking {
    td_arena arena; /* what was handed over lasts as long as the program */
    struct handover handover;
    td_listener_settings *listeners;
    struct listener **open;
    size_t listeners_count;
    td_log_settings log;
    bool has_board; /* the one that its workers write to */
};

static struct taking taken;

static const char *
unless_empty(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static void
take_master(const struct handover *from)
{
    const struct handover_master *found = HANDOVER_ONE(from, master);

    master.generations = (uint32_t)found->generations;
    master.workers_change = (int)found->workers_change;
    master.started_ns = found->started_ns;
}

static void
take_log(struct taking *t)
{
    const struct handover_log *log = HANDOVER_ONE(&t->handover, log);
    td_configuration *configuration = TD_ARENA_NEW(&t->arena, td_configuration);
    td_err err;

    t->log = (td_log_settings){.target = (int)log->target,
                               .level = (int)log->level,
                               .file = unless_empty(log->file)};
    configuration->log = t->log;
    if (master_open_log(configuration, &err) < 0)
        td_log_at(TD_LOG_ERROR, "master", "%s", err.text);
}

/* What is counted and what is watched; boards of another kind begin anew. */
static void
take_boards(struct taking *t)
{
    HANDOVER_EACH (metrics, &t->handover, metrics) {
        metrics_adopt((int)metrics->fd);
    }
    HANDOVER_EACH (board, &t->handover, scoreboard) {
        t->has_board = scoreboard_adopt((int)board->fd, (uint64_t)board->layout,
                                        (uint64_t)board->requests_of_dead);
        if (!t->has_board)
            td_log_at(TD_LOG_WARNING, "master",
                      "the binary before has another scoreboard: nobody sees whether its workers hang");
    }
}

static void
take_files(const struct handover *from)
{
    HANDOVER_EACH (file, from, pid_file) {
        master.pid_fd = (int)file->fd;
        master.pid_path = td_xstrdup(file->path);
    }
    HANDOVER_EACH (control, from, control) {
        master.control_path = td_xstrdup(control->path);
        controlsocket_adopt(master.loop, control->path, (int)control->fd, (int)control->lock,
                            requests_asked);
    }
}

/* Memory that cannot be had is made anew when a handler wants it. */
static void
take_shared(const struct handover *from)
{
    td_err err;

    HANDOVER_EACH (shared, from, shared) {
        const struct shared_region region = {shared->instance, shared->name,
                                             (uint64_t)shared->size, (uint32_t)shared->wanted_by,
                                             (int)shared->fd};
        if (shared_adopt(&region, &err) < 0)
            td_log_at(TD_LOG_WARNING, "master", "handler %s: its shared memory %s begins anew: %s",
                      region.instance, region.name, err.text);
    }
}

static int
take_listener(struct taking *t, int64_t number, const struct handover_listener *listener,
              td_err *err)
{
    td_listener_settings *settings = &t->listeners[number];
    size_t count = 0;
    int *fds = td_xcalloc(t->handover.of[HANDOVER_socket].count, sizeof(*fds));

    *settings = (td_listener_settings){.name = listener->name,
                                       .address = listener->address,
                                       .reuseport = listener->reuseport != 0};
    HANDOVER_EACH (socket, &t->handover, socket) {
        if (socket->listener == number)
            fds[count++] = (int)socket->fd;
    }
    int rc = generation_adopt_listener(settings, fds, count, listener->is_units != 0,
                                       &t->open[number], err);
    free(fds);
    return rc;
}

static int
take_listeners(struct taking *t, td_err *err)
{
    t->listeners_count = t->handover.of[HANDOVER_listener].count;
    t->listeners = TD_ARENA_ARRAY(&t->arena, td_listener_settings, t->listeners_count + 1);
    t->open = TD_ARENA_ARRAY(&t->arena, struct listener *, t->listeners_count + 1);
    HANDOVER_EACH (listener, &t->handover, listener) {
        if (take_listener(t, listener - HANDOVER_ONE(&t->handover, listener), listener, err) < 0)
            return err->code;
    }
    return 0;
}

static const td_configuration *
configuration_of(struct taking *t, const struct handover_generation *from)
{
    td_configuration *configuration = TD_ARENA_NEW(&t->arena, td_configuration);

    configuration->tornadod.drain_timeout_ms = from->drain_timeout_ms;
    configuration->tornadod.start_timeout_ms = from->start_timeout_ms;
    configuration->tornadod.hang_timeout_ms = from->hang_timeout_ms;
    configuration->log = t->log;
    configuration->log.access = (int)from->access;
    configuration->log.access_file = unless_empty(from->access_file);
    if (!from->drains) {
        configuration->listeners = t->listeners;
        configuration->listeners_count = t->listeners_count;
    }
    return configuration;
}

/* Lines that wait in a ring of another kind are lost. */
static td_ring *
take_ring(int64_t fd)
{
    td_ring *ring = NULL;
    td_err err;

    if (fd < 0)
        return NULL;
    if (td_ring_open((int)fd, &ring, &err) < 0) {
        td_log_at(TD_LOG_WARNING, "master", "%s", err.text);
        close((int)fd);
    } else {
        td_ring_hide_from_children(ring);
    }
    return ring;
}

/* Whom it can kill has to be a child of ours. */
static int
take_worker(const struct taking *t, struct generation *generation,
            const struct handover_worker *from, td_err *err)
{
    siginfo_t info;

    if (waitid(P_PID, (id_t)from->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return td_err_errno(err, "upgrade: worker %d", (int)from->pid);
    const struct seat_worker worker = {
        .number = (uint32_t)from->number,
        .pid = (pid_t)from->pid,
        .ready = from->ready != 0,
        .control = (int)from->control,
        .slot = t->has_board ? scoreboard_take_over((size_t)from->place) : NULL,
        .log_ring = take_ring(from->log_ring),
        .access_ring = take_ring(from->access_ring),
    };
    seat_adopt(generation_add_seat(generation), &worker);
    return 0;
}

static void
take_instances(struct taking *t, struct generation *generation)
{
    struct manifest_instance *instances = TD_ARENA_ARRAY(
        &t->arena, struct manifest_instance, t->handover.of[HANDOVER_instance].count + 1);
    size_t count = 0;

    HANDOVER_EACH (instance, &t->handover, instance) {
        if (instance->generation == generation->number)
            instances[count++] = (struct manifest_instance){.name = instance->name,
                                                            .file = instance->file,
                                                            .plugin = instance->plugin,
                                                            .version = unless_empty(instance->version)};
    }
    generation_adopt_instances(generation, instances, count);
}

/* Names of nobody are nobody's. */
static void
take_quarantine(const struct handover *from, struct generation *generation)
{
    const struct manifest *manifest = &generation->manifest;

    HANDOVER_EACH (quarantine, from, quarantine) {
        for (size_t i = 0; i < manifest->instances_count; i++) {
            if (strcmp(manifest->instances[i].name, quarantine->instance) == 0)
                quarantine_hold(&generation->quarantine, (uint32_t)i + 1, quarantine->digest);
        }
    }
}

static int
take_generation(struct taking *t, const struct handover_generation *from, td_err *err)
{
    struct generation *generation = generation_adopt((uint32_t)from->number,
                                                     configuration_of(t, from),
                                                     (int)from->access_fd);

    generation->workers_set = (size_t)from->workers_set;
    if (from->drains) {
        master_await_end(generation);
    } else {
        generation->listeners = t->open;
        master.current = generation;
    }
    take_instances(t, generation);
    if (!from->drains)
        take_quarantine(&t->handover, generation);
    HANDOVER_EACH (worker, &t->handover, worker) {
        if (worker->generation == from->number && take_worker(t, generation, worker, err) < 0)
            return err->code;
    }
    return 0;
}

bool
upgrade_is_ours(void)
{
    return getenv(UPGRADE_STATE) != NULL;
}

int
upgrade_resume(td_err *err)
{
    const int fd = state_descriptor();
    struct taking *t = &taken;

    td_arena_init(&t->arena);
    int rc = read_state(fd, &t->arena, &t->handover, err);
    unsetenv(UPGRADE_STATE);
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        return rc;
    keep_descriptors(&t->handover, false);
    take_master(&t->handover);
    take_log(t);
    take_boards(t);
    take_files(&t->handover);
    take_shared(&t->handover);
    rc = take_listeners(t, err);
    HANDOVER_EACH (generation, &t->handover, generation) {
        if (rc == 0)
            rc = take_generation(t, generation, err);
    }
    HANDOVER_EACH (client, &t->handover, client) {
        control_adopt_waiting((int)client->fd, CONTROL_EVENT_RELOAD, 1);
    }
    return rc;
}
