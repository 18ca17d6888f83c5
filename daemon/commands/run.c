/*
 * `tornadod run FILE`: one handler served in the foreground while somebody writes on it.
 *
 * The daemon is a child with a directory of its own, in which the built file lies and which it
 * watches as always; we watch the source.  What compiles is put into that directory, what does not
 * changes nothing, so the last good one serves.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/arena.h"
#include "daemon/commands/commands.h"
#include "daemon/program.h"

#define QUIET_MS 50 /* after a change, until what is being written is whole */

struct run {
    td_arena arena;
    const char *source, *base; /* as it was given; without its directories */
    const char *compiler;      /* its words; NULL: it is a shared object already */
    const char *variable;      /* of the environment, that names another one */
    const char *work;          /* our directory; NULL: not made */
    const char *built, *built_new; /* in it */
    int signals, changes;
    pid_t daemon;
};

static bool
ends_in(const char *name, const char *end)
{
    const size_t len = strlen(name), end_len = strlen(end);

    return len > end_len && strcmp(name + len - end_len, end) == 0;
}

/* Of what is written in C or C++, headers too. */
static bool
is_source(const char *name)
{
    static const char *const ends[] = {".c", ".h", ".cc", ".cpp", ".hh", ".hpp"};

    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
        if (ends_in(name, ends[i]))
            return true;
    return false;
}

static const char *
compiler_of(struct run *run, const char *variable, const char *usual, const char *standard)
{
    const char *chosen = getenv(variable);

    run->variable = variable;
    return td_arena_sprintf(&run->arena, "%s%s",
                            chosen != NULL && chosen[0] != '\0' ? chosen : usual, standard)
        .ptr;
}

static int
choose_compiler(struct run *run, td_err *err)
{
    if (ends_in(run->base, ".c"))
        run->compiler = compiler_of(run, "CC", "cc", "");
    else if (ends_in(run->base, ".cc") || ends_in(run->base, ".cpp"))
        run->compiler = compiler_of(run, "CXX", "c++", " -std=c++20");
    else if (!ends_in(run->base, ".so"))
        return td_err_set(err, TD_EINVAL, "%s: its name ends in none of .c .cc .cpp .so",
                          run->source);
    return 0;
}

/* ---- building */

/* The words of the shell's script are its arguments, so no name can be more than a name. */
static void
exec_compiler(struct run *run)
{
    sigset_t none;
    static const char script[] =
        "exec $1 -shared -fPIC -g -Wall -Wextra -o \"$2\" \"$3\" $(pkg-config --cflags --libs tornado)";
    const char *given = getenv("PKG_CONFIG_PATH");
    const char *path = td_arena_sprintf(&run->arena, "%s:%s", given != NULL ? given : "",
                                        program_find(&run->arena, "pkgconfig", "lib/pkgconfig"))
                           .ptr;

    setenv("PKG_CONFIG_PATH", path, 1);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execl("/bin/sh", "sh", "-c", script, "sh", run->compiler, run->built_new, run->source,
          (char *)NULL);
    _exit(127);
}

static int
compile(struct run *run, td_err *err)
{
    int status = -1;
    const pid_t pid = fork();

    if (pid < 0)
        return td_err_errno(err, "fork");
    if (pid == 0)
        exec_compiler(run);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) /* as the shell says it */
        return td_err_set(err, TD_EPLUGIN, "%s: cannot be run; %s names another compiler",
                          run->compiler, run->variable);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0
               ? 0
               : td_err_set(err, TD_EPLUGIN, "%s does not compile", run->source);
}

static int
copy(struct run *run, td_err *err)
{
    const int from = open(run->source, O_RDONLY | O_CLOEXEC);
    struct stat st;
    int rc = 0;

    if (from < 0 || fstat(from, &st) < 0) {
        td_err_errno(err, "%s", run->source);
        if (from >= 0)
            close(from);
        return err->code;
    }
    const int to = open(run->built_new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    for (ssize_t n = 1; to >= 0 && n > 0;)
        n = sendfile(to, from, NULL, 1 << 20);
    if (to < 0 || lseek(to, 0, SEEK_CUR) != st.st_size)
        rc = td_err_errno(err, "%s", run->built_new);
    close(from);
    if (to >= 0)
        close(to);
    return rc;
}

/* A compiler would wait for ever at a pipe, and says little of a directory. */
static int
check_source(const struct run *run, td_err *err)
{
    struct stat st;

    if (stat(run->source, &st) < 0)
        return td_err_errno(err, "%s", run->source);
    return S_ISREG(st.st_mode) ? 0 : td_err_set(err, TD_EPLUGIN, "%s: is no file", run->source);
}

/* Whole at once, for somebody watches. */
static int
build(struct run *run, td_err *err)
{
    int rc = check_source(run, err);

    if (rc == 0)
        rc = run->compiler != NULL ? compile(run, err) : copy(run, err);
    if (rc < 0)
        return rc;
    return rename(run->built_new, run->built) < 0 ? td_err_errno(err, "%s", run->built) : 0;
}

/* ---- the daemon */

static const char **
daemon_arguments(struct run *run, const struct options *options, const char *listen)
{
    const size_t room = 2 * options->overrides_count + 20;
    const char **argv = TD_ARENA_ARRAY(&run->arena, const char *, room);
    size_t n = 0;

    argv[n++] = "tornadod";
    if (options->path != NULL) {
        argv[n++] = "-c";
        argv[n++] = options->path;
    }
    argv[n++] = "--set=tornadod.workers=1";
    argv[n++] = "--set=application.debug=on";
    argv[n++] = "--set=tornadod.control=off"; /* that of the machine's own daemon is not for us */
    if (listen != NULL)
        argv[n++] = td_arena_sprintf(&run->arena, "--set=listen:run.address=%s", listen).ptr;
    for (size_t i = 0; i < options->overrides_count; i++)
        argv[n++] = td_arena_sprintf(&run->arena, "--set=%s", options->overrides[i]).ptr;
    argv[n++] = td_arena_sprintf(&run->arena, "--set=tornadod.handlers=%s", run->work).ptr;
    argv[n++] = "--set=tornadod.handlers_watch=on";
    return argv;
}

/* In a group of its own: what a terminal sends is for us to pass on, once. */
static int
start_daemon(struct run *run, const char *const *argv, td_err *err)
{
    const char *program = program_path(&run->arena);
    const pid_t us = getpid();
    sigset_t none;

    run->daemon = fork();
    if (run->daemon < 0)
        return td_err_errno(err, "fork");
    if (run->daemon > 0)
        return 0;
    setpgid(0, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == us)
        execv(program, (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* ---- watching */

static bool
is_ours(const struct run *run, const char *name)
{
    return run->compiler != NULL ? is_source(name) : strcmp(name, run->base) == 0;
}

/* Whether any of what has happened in the directory is a change of ours. */
static bool
take_changes(const struct run *run)
{
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool changed = false;
    ssize_t len;

    while ((len = read(run->changes, buffer, sizeof(buffer))) > 0) {
        for (char *at = buffer; at < buffer + len;) {
            const struct inotify_event *event = (const struct inotify_event *)(void *)at;
            changed |= event->len > 0 && is_ours(run, event->name);
            at += sizeof(*event) + event->len;
        }
    }
    return changed;
}

static void
build_again(struct run *run)
{
    struct pollfd changes = {.fd = run->changes, .events = POLLIN};
    td_err err;

    while (poll(&changes, 1, QUIET_MS) > 0)
        take_changes(run);
    if (build(run, &err) == 0)
        fprintf(stderr, "tornadod run: %s has changed\n", run->source);
    else
        fprintf(stderr, "tornadod run: %s; the old one goes on\n", err.text);
}

/* Pass on what asks us to end.  True, and the status: the daemon has. */
static bool
take_signal(struct run *run, int *status_out)
{
    struct signalfd_siginfo info;
    int status;

    if (read(run->signals, &info, sizeof(info)) != sizeof(info))
        return false;
    if (info.ssi_signo != SIGCHLD)
        kill(run->daemon, info.ssi_signo == SIGHUP ? SIGHUP : SIGTERM);
    if (waitpid(run->daemon, &status, WNOHANG) != run->daemon)
        return false;
    *status_out = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
    return true;
}

static int
supervise(struct run *run)
{
    struct pollfd fds[] = {{.fd = run->signals, .events = POLLIN},
                           {.fd = run->changes, .events = POLLIN}};
    int status;

    while (1) {
        poll(fds, 2, -1);
        if ((fds[0].revents & POLLIN) && take_signal(run, &status))
            return status;
        if ((fds[1].revents & POLLIN) && take_changes(run))
            build_again(run);
    }
}

/* ---- life */

static int
open_signals(struct run *run, td_err *err)
{
    static const int taken[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGCHLD};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
        sigaddset(&set, taken[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return run->signals < 0 ? td_err_errno(err, "signalfd") : 0;
}

static int
watch_source(struct run *run, td_err *err)
{
    const size_t len = (size_t)(run->base - run->source);
    const char *directory =
        len > 0 ? td_str_dup(&run->arena, td_str_make(run->source, len)).ptr : ".";

    run->changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (run->changes < 0 ||
        inotify_add_watch(run->changes, directory, IN_CLOSE_WRITE | IN_MOVED_TO) < 0)
        return td_err_errno(err, "%s: inotify", directory);
    return 0;
}

static int
make_work(struct run *run, td_err *err)
{
    const char *temporary = getenv("TMPDIR");
    char *path = td_arena_strdup(&run->arena,
                                 td_arena_sprintf(&run->arena, "%s/tornadod-run-XXXXXX",
                                                  temporary != NULL ? temporary : "/tmp")
                                     .ptr);
    const int stem_len = (int)(strrchr(run->base, '.') - run->base);

    if (mkdtemp(path) == NULL)
        return td_err_errno(err, "%s", path);
    run->work = path;
    if (chmod(path, 0755) < 0) /* for workers of another user */
        return td_err_errno(err, "%s", path);
    run->built = td_arena_sprintf(&run->arena, "%s/%.*s.so", path, stem_len, run->base).ptr;
    run->built_new = td_arena_sprintf(&run->arena, "%s/.%.*s.so", path, stem_len, run->base).ptr;
    return 0;
}

static void
remove_work(const struct run *run)
{
    if (run->work == NULL)
        return;
    if (run->built != NULL) {
        unlink(run->built);
        unlink(run->built_new);
    }
    rmdir(run->work);
}

static int
serve(struct run *run, const char *source, const struct options *options, const char *listen,
      td_err *err)
{
    const char *slash;

    if (source == NULL)
        return td_err_set(err, TD_EINVAL, "which FILE.c or FILE.so?");
    slash = strrchr(source, '/');
    run->source = source;
    run->base = slash != NULL ? slash + 1 : source;
    if (choose_compiler(run, err) < 0 || open_signals(run, err) < 0 || make_work(run, err) < 0 ||
        watch_source(run, err) < 0 || build(run, err) < 0 ||
        start_daemon(run, daemon_arguments(run, options, listen), err) < 0)
        return err->code;
    return supervise(run);
}

int
command_run(int argc, char **argv)
{
    const char *listen = NULL;
    const struct command_option own[] = {
        {"listen", "ADDRESS", "where to serve it, beside the listeners of the settings", NULL, &listen}};
    struct command_line line;
    struct run run = {.signals = -1, .changes = -1};
    td_err err;
    int status;

    if (!COMMAND_LINE_READ(argc, argv, own, 1, &line, &status))
        return status;
    td_arena_init(&run.arena);
    status = serve(&run, line.operands_count > 0 ? line.operands[0] : NULL, &line.options, listen,
                   &err);
    if (status < 0)
        fprintf(stderr, "tornadod run: %s\n", err.text);
    remove_work(&run);
    td_arena_fini(&run.arena);
    command_line_fini(&line);
    return status < 0 ? EXIT_FAILURE : status;
}
