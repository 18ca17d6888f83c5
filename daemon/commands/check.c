/*
 * `tornadod check FILE.so`: whether this daemon would load it, and what would harm later on.  What can
 * be told without running its code is told first; then a process of its own loads it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>
#include "daemon/commands/commands.h"
#include "daemon/site/elf.h"
#include "daemon/site/elfsurvey.h"
#include "daemon/site/plugin.h"

#define LOAD_SECONDS 10

struct examination {
    const char *path;
    td_arena arena;
    struct elf_survey survey;
    unsigned faults, warnings; /* it would be refused; it may do harm */
};

static void tell_fault(struct examination *x, const char *format, ...) TD_PRINTF(2, 3);
static void tell_warning(struct examination *x, const char *format, ...) TD_PRINTF(2, 3);

static void
tell(const struct examination *x, const char *kind, const char *format, va_list args)
{
    printf("%s: %s", x->path, kind);
    vprintf(format, args);
    putchar('\n');
}

static void
tell_fault(struct examination *x, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    tell(x, "", format, args);
    va_end(args);
    x->faults++;
}

static void
tell_warning(struct examination *x, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    tell(x, "warning: ", format, args);
    va_end(args);
    x->warnings++;
}

/* ---- what its tables say */

static void
tell_tables(struct examination *x)
{
    const struct elf_survey *survey = &x->survey;

    if (!survey->has_plugin)
        tell_fault(x, "has no symbol tornado_plugin: it is not a handler (see TD_PLUGIN)");
    for (size_t i = 0; i < survey->private_.count; i++)
        tell_fault(x, "uses %s, which is the daemon's own", survey->private_.items[i]);
    for (size_t i = 0; i < survey->writable.count; i++)
        tell_warning(x,
                     "%s can be written to: each worker has its own, and a reload another (see load, "
                     "td_state and TD_SHARED)",
                     survey->writable.items[i]);
    for (size_t i = 0; i < survey->unwindless.count; i++)
        tell_warning(x, "%s has no unwind information: td_raise leaves it without cleaning up",
                     survey->unwindless.items[i]);
    if (survey->lacks_exceptions)
        tell_warning(x, "was compiled without -fexceptions (pkg-config --cflags tornado has it): "
                        "td_raise does not run what __attribute__((cleanup)) names");
    if (survey->is_stripped)
        printf("%s: it is stripped: variables and functions that it does not export were not looked "
               "at\n", x->path);
}

static int
read_tables(struct examination *x, td_err *err)
{
    struct stat st;
    const int fd = open(x->path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return td_err_errno(err, "%s", x->path);
    const char *bytes = MAP_FAILED;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
        bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        return td_err_set(err, TD_EPLUGIN, "%s: is no file with anything in it", x->path);
    const int rc = elf_check(bytes, (size_t)st.st_size, err);
    if (elf_survey(&x->arena, bytes, (size_t)st.st_size, &x->survey, rc < 0 ? NULL : err) < 0 ||
        (rc < 0 && x->survey.private_.count == 0))
        return td_err_prefix(err, "%s", x->path);
    return 0; /* mapped until we end: the names point into it */
}

/* ---- what loading says */

static bool
find_libraries(struct examination *x)
{
    for (size_t i = 0; i < x->survey.libraries.count; i++)
        if (dlopen(x->survey.libraries.items[i], RTLD_LAZY | RTLD_GLOBAL) == NULL)
            tell_fault(x, "%s", dlerror());
    return x->faults == 0;
}

static bool
find_symbols(struct examination *x)
{
    for (size_t i = 0; i < x->survey.wanted.count; i++)
        if (dlsym(RTLD_DEFAULT, x->survey.wanted.items[i]) == NULL)
            tell_fault(x, "nobody has %s, which it needs", x->survey.wanted.items[i]);
    return x->faults == 0;
}

static size_t
count_routes(const td_url *urls)
{
    size_t count = 0;

    for (; urls != NULL && urls->pattern != NULL; urls++)
        count += urls->urls != NULL ? count_routes(urls->urls) : 1;
    return count;
}

static void
load(struct examination *x)
{
    const td_plugin *plugin;
    td_err err;

    if (plugin_load_path(&x->arena, x->path, &plugin, &err) < 0) {
        x->faults++;
        puts(err.text);
        return;
    }
    const size_t routes = count_routes(plugin->urls);
    printf("%s: handler %s %s, built for ABI %u.%u, %zu route%s\n", x->path, plugin->name,
           plugin->version != NULL ? plugin->version : "of no version", plugin->abi_major,
           plugin->abi_minor, routes, routes == 1 ? "" : "s");
}

TD_NORETURN static void
load_in_child(struct examination *x)
{
    x->faults = 0;
    alarm(LOAD_SECONDS);
    if (find_libraries(x) && find_symbols(x))
        load(x);
    fflush(stdout);
    _exit(x->faults > 0);
}

static void
try_to_load(struct examination *x)
{
    int status = 0;

    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0)
        load_in_child(x);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        tell_fault(x, "there is no process to load it in");
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        tell_fault(x, "loading takes longer than %d s", LOAD_SECONDS);
    else if (WIFSIGNALED(status))
        tell_fault(x, "crashed while it was loaded (SIG%s)", sigabbrev_np(WTERMSIG(status)));
    else
        x->faults += WEXITSTATUS(status) != 0;
}

static int
examine(struct examination *x)
{
    td_err err;

    if (read_tables(x, &err) < 0) {
        puts(err.text);
        return EX_CONFIG;
    }
    tell_tables(x);
    if (x->survey.has_plugin)
        try_to_load(x);
    if (x->faults > 0)
        return EX_CONFIG;
    return x->warnings > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int
command_check(int argc, char **argv)
{
    struct examination x = {.path = NULL};
    struct command_line line;
    int status;

    if (!command_line_read(argc, argv, NULL, 0, 1, &line, &status))
        return status;
    td_arena_init(&x.arena);
    if (line.operands_count > 0) {
        x.path = line.operands[0];
        status = examine(&x);
    } else {
        fputs("tornadod check: which FILE.so?\n", stderr);
        status = EXIT_FAILURE;
    }
    td_arena_fini(&x.arena);
    command_line_fini(&line);
    return status;
}
