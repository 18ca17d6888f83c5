/*
 * `tornadod check FILE.so`: whether this daemon would load it, what would harm later on, and what
 * it has.  What can be told without running its code is told first; then a process of its own loads
 * it.
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
#include "daemon/program.h"
#include "daemon/site/elf.h"
#include "daemon/site/elfsurvey.h"
#include "daemon/site/plugin.h"
#include "web/urlspec.h"

#define LOAD_SECONDS 10
#define NESTING_MAX 64 /* of urls; those of the daemon are less */

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

/* NULL: a file with something in it. */
static const char *
what_it_is_instead(int fd, struct stat *st)
{
    if (fstat(fd, st) < 0)
        return "cannot be looked at";
    if (S_ISDIR(st->st_mode))
        return "is a directory";
    if (!S_ISREG(st->st_mode))
        return "is no file";
    return st->st_size == 0 ? "is empty" : NULL;
}

static int
read_tables(struct examination *x, td_err *err)
{
    struct stat st;
    const int fd = open(x->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return td_err_errno(err, "%s", x->path);
    const char *bytes = MAP_FAILED;
    const char *wrong = what_it_is_instead(fd, &st);
    if (wrong == NULL)
        bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        return td_err_set(err, TD_EPLUGIN, "%s: %s", x->path,
                          wrong != NULL ? wrong : "cannot be mapped");
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

/* ---- what it has */

static void
print_entry(const char *what, const char *name)
{
    printf("  %-8s %s", what, name);
}

static void
tell_route(struct examination *x, const td_url *url, const char *const *parts, size_t count)
{
    td_urlspec spec;
    const char *pattern;
    td_err err;

    if (td_urlspec_join(&x->arena, parts, count, &pattern, &err) < 0 ||
        td_urlspec_init(&spec, &x->arena, "/", pattern, &err) < 0) {
        tell_fault(x, "%s", err.text);
        return;
    }
    td_urlspec_fini(&spec);
    print_entry("route", pattern);
    if (url->methods != NULL)
        printf(", for %s", url->methods);
    if (url->name != NULL)
        printf(", called %s", url->name);
    putchar('\n');
}

/* Those in lists of lists by depth, without recursion: the tables are the author's. */
static size_t
tell_routes(struct examination *x, const td_url *urls)
{
    const td_url *at[NESTING_MAX] = {urls};
    const char *parts[NESTING_MAX];
    size_t depth = 1, count = 0;

    while (depth > 0 && at[depth - 1] != NULL) {
        const td_url *url = at[depth - 1];
        if (url->pattern == NULL) {
            depth--;
            continue;
        }
        at[depth - 1]++;
        parts[depth - 1] = url->pattern;
        if (url->urls == NULL) {
            tell_route(x, url, parts, depth);
            count++;
        } else if (depth == NESTING_MAX) {
            tell_fault(x, "%s: urls nest deeper than %d", url->pattern, NESTING_MAX);
        } else {
            at[depth++] = url->urls;
        }
    }
    return count;
}

static void
tell_options(const td_option *options)
{
    static const char *const types[] = {
        [TD_OPTION_STRING] = "text", [TD_OPTION_INT] = "number", [TD_OPTION_BOOL] = "on or off",
        [TD_OPTION_SIZE] = "size",   [TD_OPTION_TIME] = "time"};

    for (; options != NULL && options->type != TD_OPTION_END; options++) {
        print_entry("setting", options->name);
        if (options->default_value != NULL && options->default_value[0] != '\0')
            printf(" = %s", options->default_value);
        printf(" (%s%s)", options->type <= TD_OPTION_TIME ? types[options->type] : "unknown",
               options->default_value == NULL ? ", required" : "");
        printf("%s%s\n", options->help != NULL ? ": " : "",
               options->help != NULL ? options->help : "");
    }
}

static void
tell_shared(const td_shared_memory *shared)
{
    for (; shared != NULL && shared->name != NULL; shared++) {
        print_entry("shared", shared->name);
        printf(", %zu bytes\n", shared->size);
    }
}

static void
tell_metrics(const td_metric_info *metrics)
{
    for (; metrics != NULL && metrics->name != NULL; metrics++) {
        print_entry("metric", metrics->name);
        printf(" (%s): %s\n", metrics->kind == TD_METRIC_COUNTER ? "counter" : "gauge",
               metrics->help);
    }
}

static void
tell_plugin(struct examination *x, const td_plugin *plugin)
{
    printf("%s: handler %s %s, built for ABI %u.%u\n", x->path, plugin->name,
           plugin->version != NULL ? plugin->version : "of no version", plugin->abi_major,
           plugin->abi_minor);
    const size_t routes = tell_routes(x, plugin->urls);
    if (plugin->default_handler != NULL)
        puts("  default  what no route of the application matches");
    if (plugin->middleware != NULL)
        puts("  middleware");
    if (plugin->handle_stream != NULL)
        puts("  protocol of its own, for [listen:NAME] protocol");
    if (routes == 0 && plugin->default_handler == NULL && plugin->middleware == NULL &&
        plugin->handle_stream == NULL)
        tell_warning(x, "has no route, no middleware and no protocol: it serves nothing");
    tell_options(plugin->options);
    tell_shared(plugin->shared);
    tell_metrics(plugin->metrics);
    if (plugin->needs_section)
        puts("  serves nothing without a section [handler:NAME]");
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
    tell_plugin(x, plugin);
}

TD_NORETURN static void
load_in_child(struct examination *x)
{
    x->faults = x->warnings = 0;
    alarm(LOAD_SECONDS);
    if (find_libraries(x) && find_symbols(x))
        load(x);
    _exit(program_printed(x->faults > 0     ? EX_CONFIG
                          : x->warnings > 0 ? EXIT_FAILURE
                                            : EXIT_SUCCESS));
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
    else if (WEXITSTATUS(status) == EXIT_FAILURE)
        x->warnings++;
    else
        x->faults += WEXITSTATUS(status) != EXIT_SUCCESS;
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
