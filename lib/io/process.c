/*
 * Child processes: started by posix_spawn, which stops only this thread and only until the exec,
 * and watched by a pidfd, so that neither SIGCHLD nor wait for just any child comes into it.
 *
 * Until it is reaped the number of a process is its own, and so signals go to it and to no
 * stranger.
 */
#include "io/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/call.h"
#include "io/iostream.h"
#include "io/waiters.h"

#define KILL_AFTER_MS 2000
#define KILLED_WAIT_MS 1000 /* for one that cannot even be killed, at the end of the loop */
#define REST_LOOK_MS 50

/* For a coroutine that ends and a process that may have been destroyed before. */
struct tie {
    td_subprocess *process;
};

struct td_subprocess {
    td_list link; /* of `all` */
    td_ioloop *loop;
    pid_t pid;
    int pidfd; /* -1: it has ended and was reaped */
    ev_io watcher;
    td_timer timer; /* timeout_ms, or from SIGTERM to SIGKILL */
    int64_t kill_after_ms;
    td_iostream *streams[3];
    td_waiters waiters;
    td_future *ended; /* NULL: nobody has asked */
    struct tie *tie;  /* NULL: to nothing */
    int code;         /* what td_subprocess_wait gives */
    int outcome;      /* the same */
    bool is_orphan;   /* destroyed: its memory goes when it is reaped */
};

/* What was left of the group of one that was ended, until it has gone as well. */
struct rest {
    td_list link; /* of `rests` */
    td_ioloop *loop;
    pid_t group;
    int64_t kill_at_ns;
    td_timer look;
};

static td_list all = {&all, &all};
static td_list rests = {&rests, &rests};
static size_t running, running_max = 64;

void
td_processes_configure(size_t count_max)
{
    running_max = count_max;
}

size_t
td_processes_count(void)
{
    return running;
}

/* ---- the end */

static void
free_process(td_subprocess *process)
{
    td_list_remove(&process->link);
    for (int i = 0; i < 3; i++)
        td_iostream_destroy(&process->streams[i]);
    td_waiters_fini(&process->waiters);
    td_future_unref(process->ended);
    free(process);
}

static void
tell_ended(td_subprocess *process)
{
    td_waiters_release_all(&process->waiters, process->outcome);
    if (process->ended == NULL || td_future_is_done(process->ended))
        return;
    if (process->outcome == 0)
        td_future_set_result(process->ended, &process->code);
    else
        td_future_set_error(process->ended, process->outcome);
}

static void
kill_it(void *arg)
{
    const td_subprocess *process = arg;

    kill(-process->pid, SIGKILL);
}

/* ---- what it has started, and what goes more slowly */

static void
free_rest(struct rest *rest)
{
    td_timer_stop(rest->loop, &rest->look);
    td_list_remove(&rest->link);
    free(rest);
}

/*
 * The number of the group is its own as long as somebody is in it, and the system is not through
 * with all other numbers between two looks.
 */
static void
look_at_rest(void *arg)
{
    struct rest *rest = arg;
    const bool is_late = td_now_ns() >= rest->kill_at_ns;

    if (kill(-rest->group, is_late ? SIGKILL : 0) < 0 || is_late)
        free_rest(rest);
    else
        td_timer_start(rest->loop, &rest->look, td_deadline_in_ms(REST_LOOK_MS));
}

/* They were sent SIGTERM with it, and have as much time. */
static void
mind_rest(const td_subprocess *process)
{
    struct rest *rest;

    if (process->timer.fn != kill_it || kill(-process->pid, 0) < 0)
        return;
    rest = td_xcalloc(1, sizeof(*rest));
    rest->loop = process->loop;
    rest->group = process->pid;
    rest->kill_at_ns = process->timer.deadline_ns;
    rest->look = (td_timer){.fn = look_at_rest, .arg = rest};
    td_list_append(&rests, &rest->link);
    look_at_rest(rest);
}

/* ---- its own end */

/* True when it has ended. */
static bool
reap(td_subprocess *process)
{
    siginfo_t info = {0};
    int rc;

    do
        rc = waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG);
    while (rc < 0 && errno == EINTR);
    if (rc == 0 && info.si_pid == 0)
        return false;
    if (rc < 0)
        process->outcome = -errno;
    else
        process->code = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    if (rc == 0)
        mind_rest(process);
    ev_io_stop(td_ioloop_ev(process->loop), &process->watcher);
    td_timer_stop(process->loop, &process->timer);
    close(process->pidfd);
    process->pidfd = -1;
    running--;
    return true;
}

static void
on_ended(struct ev_loop *ev, ev_io *watcher, int events)
{
    td_subprocess *process = watcher->data;

    if (!reap(process)) {
        if (events & EV_ERROR)
            td_ioloop_watch_again(ev, watcher, "a process");
        return;
    }
    if (process->is_orphan)
        free_process(process);
    else
        tell_ended(process);
}

/* One that has been stopped is to hear of it, too. */
static void
end_it(td_subprocess *process)
{
    kill(-process->pid, SIGTERM);
    kill(-process->pid, SIGCONT);
    process->timer.fn = kill_it;
    td_timer_start(process->loop, &process->timer, td_deadline_in_ms(process->kill_after_ms));
}

static void
time_is_up(void *arg)
{
    td_subprocess *process = arg;

    if (reap(process)) { /* while something held the loop */
        tell_ended(process);
        return;
    }
    td_log(TD_LOG_WARNING, "process %d is ended: timeout_ms have passed", (int)process->pid);
    process->outcome = TD_ETIMEDOUT;
    end_it(process);
}

void
td_subprocess_destroy(td_subprocess **process_)
{
    td_subprocess *process = *process_;

    if (process == NULL || !td_is_on_loop("td_subprocess_destroy"))
        return;
    *process_ = NULL;
    if (process->tie != NULL)
        process->tie->process = NULL;
    process->tie = NULL;
    if (process->pidfd < 0) {
        free_process(process);
        return;
    }
    process->is_orphan = true;
    process->outcome = TD_ECLOSED;
    tell_ended(process);
    for (int i = 0; i < 3; i++)
        td_iostream_destroy(&process->streams[i]);
    end_it(process);
}

void
td_processes_close(void)
{
    while (!td_list_is_empty(&all)) {
        td_subprocess *process = TD_CONTAINER_OF(all.next, td_subprocess, link);
        struct pollfd ended = {.fd = process->pidfd, .events = POLLIN};

        if (process->pidfd >= 0) {
            kill_it(process);
            poll(&ended, 1, KILLED_WAIT_MS);
            if (!reap(process)) { /* it hangs in the kernel; whoever inherits it reaps it */
                td_timer_stop(process->loop, &process->timer);
                ev_io_stop(td_ioloop_ev(process->loop), &process->watcher);
                close(process->pidfd);
                running--;
            }
        }
        free_process(process);
    }
    while (!td_list_is_empty(&rests)) {
        struct rest *rest = TD_CONTAINER_OF(rests.next, struct rest, link);

        kill(-rest->group, SIGKILL);
        free_rest(rest);
    }
}

static void
untie(void *arg)
{
    struct tie *tie = arg;

    td_subprocess_destroy(&tie->process);
    free(tie);
}

/* ---- the beginning */

/* What the child gets, and what is to be closed here afterwards. */
struct plumbing {
    posix_spawn_file_actions_t actions;
    int theirs[3], ours[3]; /* -1: no pipe */
};

/* Not among 0 to 2, where it would be in its own way; -1 and errno. */
static int
move_up(int fd)
{
    int moved, error;

    if (fd > 2 || fd < 0)
        return fd;
    moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    error = errno;
    close(fd);
    errno = error;
    return moved;
}

static int
add_pipe(struct plumbing *p, int number)
{
    const int theirs = number == 0 ? 0 : 1;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    p->theirs[number] = move_up(ends[theirs]);
    p->ours[number] = move_up(ends[1 - theirs]);
    if (p->theirs[number] < 0 || p->ours[number] < 0)
        return -errno;
    return -posix_spawn_file_actions_adddup2(&p->actions, p->theirs[number], number);
}

static int
add_stdio(struct plumbing *p, int number, td_stdio what)
{
    switch (what) {
    case TD_STDIO_PIPE:
        return add_pipe(p, number);
    case TD_STDIO_INHERIT:
        return -posix_spawn_file_actions_adddup2(&p->actions, number, number);
    case TD_STDIO_OUTPUT:
        return -posix_spawn_file_actions_adddup2(&p->actions, 1, number);
    case TD_STDIO_NULL:
        break;
    }
    return -posix_spawn_file_actions_addopen(&p->actions, number, "/dev/null", O_RDWR, 0);
}

static void
close_all(int fds[3])
{
    for (int i = 0; i < 3; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

/* Descriptors that a library has opened without O_CLOEXEC are nobody else's business either. */
static int
lay_pipes(struct plumbing *p, const td_subprocess_options *options)
{
    int rc = add_stdio(p, 0, options->in);

    if (rc == 0)
        rc = add_stdio(p, 1, options->out);
    if (rc == 0)
        rc = add_stdio(p, 2, options->err);
    if (rc == 0)
        rc = -posix_spawn_file_actions_addclosefrom_np(&p->actions, 3);
    if (rc == 0 && options->cwd != NULL)
        rc = -posix_spawn_file_actions_addchdir_np(&p->actions, options->cwd);
    return rc;
}

static int
spawn(const char *const *argv, const td_subprocess_options *options,
      const posix_spawn_file_actions_t *actions, pid_t *pid_out)
{
    char *const *env = options->env != NULL ? (char *const *)options->env : environ;
    posix_spawnattr_t attributes;
    sigset_t signals;
    int rc;

    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    sigfillset(&signals);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    rc = -posix_spawnp(pid_out, argv[0], actions, &attributes, (char *const *)argv, env);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

/* Whoever it is lent to may destroy it. */
static void
forget_stream(void *arg)
{
    *(td_iostream **)arg = NULL;
}

static td_iostream *
make_stream(int fd, const td_iostream_options *options, td_iostream **place)
{
    td_iostream *stream = td_iostream_create(fd, options);

    td_iostream_observe(stream, &(td_iostream_observer){.destroyed = forget_stream, .arg = place});
    return stream;
}

static td_subprocess *
make_process(pid_t pid, int pidfd, struct plumbing *p, const td_subprocess_options *options)
{
    td_subprocess *process = td_xcalloc(1, sizeof(*process));

    process->loop = td_ioloop_current();
    process->pid = pid;
    process->pidfd = pidfd;
    process->kill_after_ms = options->kill_after_ms > 0 ? options->kill_after_ms : KILL_AFTER_MS;
    process->timer = (td_timer){.fn = time_is_up, .arg = process};
    td_waiters_init(&process->waiters, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        if (p->ours[i] >= 0)
            process->streams[i] = make_stream(p->ours[i], options->stream, &process->streams[i]);
        p->ours[i] = -1;
    }
    ev_io_init(&process->watcher, on_ended, pidfd, EV_READ);
    process->watcher.data = process;
    ev_io_start(td_ioloop_ev(process->loop), &process->watcher);
    if (options->timeout_ms > 0)
        td_timer_start(process->loop, &process->timer, td_deadline_in_ms(options->timeout_ms));
    td_list_append(&all, &process->link);
    running++;
    return process;
}

static int
start(const char *const *argv, const td_subprocess_options *options, td_subprocess **out)
{
    struct plumbing p = {.theirs = {-1, -1, -1}, .ours = {-1, -1, -1}};
    pid_t pid;
    int pidfd, rc;

    posix_spawn_file_actions_init(&p.actions);
    rc = lay_pipes(&p, options);
    if (rc == 0)
        rc = spawn(argv, options, &p.actions, &pid);
    posix_spawn_file_actions_destroy(&p.actions);
    close_all(p.theirs);
    if (rc < 0)
        goto fail_close;
    pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        rc = -errno;
        goto fail_kill;
    }
    *out = make_process(pid, pidfd, &p, options);
    return 0;

fail_kill:
    kill(-pid, SIGKILL);
    waitpid(pid, NULL, 0);
fail_close:
    close_all(p.ours);
    return rc;
}

static const char *
find_misuse(const char *const *argv, const td_subprocess_options *options,
            td_subprocess *const *out)
{
    if (argv == NULL || argv[0] == NULL || out == NULL)
        return "no program, or no place for it";
    if ((unsigned)options->in > TD_STDIO_INHERIT || (unsigned)options->out > TD_STDIO_INHERIT ||
        (unsigned)options->err > TD_STDIO_OUTPUT)
        return "no such td_stdio there";
    if (options->timeout_ms < 0 || options->kill_after_ms < 0)
        return "the time is negative";
    return NULL;
}

int
td_subprocess_start(const char *const *argv, const td_subprocess_options *wanted,
                    td_subprocess **out)
{
    static const char function[] = "td_subprocess_start";
    static td_log_gate gate;
    td_subprocess_options options = {0};
    td_subprocess *process = NULL;
    const char *misuse;
    int rc;

    if (!td_is_on_loop(function))
        return TD_EINVAL;
    if (wanted != NULL)
        memcpy(&options, wanted, wanted->size < sizeof(options) ? wanted->size : sizeof(options));
    misuse = find_misuse(argv, &options, out);
    if (misuse != NULL)
        return td_misuse(function, misuse);
    if (options.tied && !td_is_on_coroutine(function))
        return TD_EINVAL;
    if (running >= running_max) {
        td_log_gated(&gate, TD_LOG_WARNING, "process", "%s is not started: max_subprocesses run",
                     argv[0]);
        return TD_EBUSY;
    }
    rc = start(argv, &options, &process);
    if (rc < 0)
        return rc;
    if (options.tied) {
        process->tie = td_xcalloc(1, sizeof(*process->tie));
        process->tie->process = process;
        td_defer(untie, process->tie);
    }
    *out = process;
    return 0;
}

/* ---- while it runs */

static td_iostream *
stream_of(td_subprocess *process, int number, const char *function)
{
    return td_waiters_are_usable(process, function) ? process->streams[number] : NULL;
}

td_iostream *
td_subprocess_stdin(td_subprocess *process)
{
    return stream_of(process, 0, "td_subprocess_stdin");
}

td_iostream *
td_subprocess_stdout(td_subprocess *process)
{
    return stream_of(process, 1, "td_subprocess_stdout");
}

td_iostream *
td_subprocess_stderr(td_subprocess *process)
{
    return stream_of(process, 2, "td_subprocess_stderr");
}

int
td_subprocess_wait(td_subprocess *process, int *code_out)
{
    int rc;

    if (!td_waiters_may_wait(process, 0, "td_subprocess_wait"))
        return TD_EINVAL;
    rc = process->pidfd < 0 ? process->outcome : td_waiters_wait(&process->waiters, NULL, 0);
    if (code_out != NULL && (rc == 0 || rc == TD_ETIMEDOUT))
        *code_out = process->code;
    return rc;
}

td_future *
td_subprocess_wait_future(td_subprocess *process)
{
    if (!td_waiters_are_usable(process, "td_subprocess_wait_future"))
        return NULL;
    if (process->ended != NULL && (process->pidfd < 0 || !td_future_is_done(process->ended)))
        return td_future_ref(process->ended);
    td_future_unref(process->ended); /* cancelled */
    process->ended = td_future_create();
    if (process->pidfd < 0)
        tell_ended(process);
    return td_future_ref(process->ended);
}

int
td_subprocess_signal(td_subprocess *process, int signal_number)
{
    if (!td_waiters_are_usable(process, "td_subprocess_signal"))
        return TD_EINVAL;
    if (process->pidfd < 0)
        return TD_ENOTFOUND;
    return kill(-process->pid, signal_number) < 0 ? -errno : 0;
}

pid_t
td_subprocess_pid(const td_subprocess *process)
{
    return td_waiters_are_usable(process, "td_subprocess_pid") ? process->pid : -1;
}
