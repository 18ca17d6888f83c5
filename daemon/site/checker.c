/*
 * The results go into memory behind a descriptor and are read when the child is dead, so nothing
 * that it does can make the master wait.  Which file it has reached stands in shared memory: that
 * is who is to blame when it crashes or never comes back.
 */
#include "daemon/site/checker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/log.h"
#include "daemon/descriptors.h"
#include "daemon/site/hooks.h"
#include "daemon/site/site.h"
#include "daemon/source.h"
#include "web/metrics.h"
#include "web/workerloop.h"

#define RESULTS_MAX (16u << 20) /* bytes */

struct checker_progress {
    volatile uint32_t file; /* from 1; 0: before the first, or past the last */
};

/* ---- the child */

struct check {
    const struct plan *plan;
    struct checker_progress *progress;
    td_arena arena;
    struct site site;
    td_buf results;
};

static void
note_file(void *arg, size_t file)
{
    struct check *check = arg;

    check->progress->file = (uint32_t)file + 1;
}

static void
note_failure(void *arg, const td_err *err)
{
    struct check *check = arg;

    manifest_put_failure(&check->results, err->text);
}

static void
note_route(const td_route_info *info, void *arg)
{
    struct check *check = arg;

    manifest_put_route(&check->results, &(struct manifest_route){.instance = info->instance->index,
                                                                 .route = info->route,
                                                                 .mount = info->mount,
                                                                 .hosts = info->hosts,
                                                                 .pattern = info->pattern,
                                                                 .name = info->name,
                                                                 .wanted = info->wanted});
}

static void
note_instance(struct check *check, const td_instance *instance)
{
    const td_plugin *plugin = instance->plugin;
    const td_metric *metric = instance->metrics;

    manifest_put_instance(&check->results, &(struct manifest_instance){
                                               .name = instance->name,
                                               .file = instance->file,
                                               .plugin = plugin->name,
                                               .version = plugin->version,
                                               .application = instance->section->application});
    for (const td_shared_memory *shared = plugin->shared; shared != NULL && shared->name != NULL;
         shared++)
        manifest_put_shared(&check->results, &(struct manifest_shared){.instance = instance->index,
                                                                       .name = shared->name,
                                                                       .size = shared->size});
    for (; metric != NULL && metric->info != NULL; metric++)
        manifest_put_metric(&check->results, &(struct manifest_metric){.instance = instance->index,
                                                                       .kind = metric->info->kind,
                                                                       .name = metric->info->name,
                                                                       .help = metric->info->help,
                                                                       .label = metric->info->label,
                                                                       .value = metric->value});
}

static void
note_site(struct check *check)
{
    const struct plan *plan = check->plan;

    for (size_t i = 0; i < plan->instances_count; i++)
        note_instance(check, &check->site.instances[i]);
    for (size_t i = 0; i < plan->configuration->applications_count; i++)
        td_application_each_route(check->site.applications[i], note_route, check);
}

static bool
write_all(int fd, td_str bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes.ptr += n;
        bytes.len -= (size_t)n;
    }
    return true;
}

static void
close_unneeded(const struct plan *plan, int results)
{
    size_t count = 0;
    int *keep = td_xcalloc(2 + plan->files_count, sizeof(int));

    keep[count++] = results;
    keep[count++] = td_log_fd();
    for (size_t i = 0; i < plan->files_count; i++)
        keep[count++] = plan->files[i].fd;
    descriptors_close_others(keep, count);
    free(keep);
}

/* A crash in here is an answer and no accident: no core of it. */
static void
become_checker(const struct plan *plan, const struct identity *identity, int results, pid_t master)
{
    const struct rlimit no_core = {0, 0};
    sigset_t none;
    td_err err;

    close_unneeded(plan, results);
    setrlimit(RLIMIT_CORE, &no_core);
    if (privileges_drop(identity, &err) < 0) {
        td_log_at(TD_LOG_ERROR, "checker", "%s", err.text);
        _exit(1);
    }
    if (!privileges_tie_to_parent(master, SIGKILL))
        _exit(1);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
check_instances(struct check *check)
{
    const struct plan *plan = check->plan;

    for (size_t i = 0; i < plan->instances_count; i++) {
        const td_instance *instance = &check->site.instances[i];
        td_err err;

        check->progress->file = (uint32_t)plan->instances[i].file + 1;
        if (hooks_check(&check->site, instance, &err) < 0)
            note_failure(check, &err);
    }
    check->progress->file = 0;
}

static bool
is_served(const td_configuration *configuration, const td_handler_settings *section)
{
    for (size_t i = 0; i < configuration->listeners_count; i++) {
        const td_listener_settings *listener = &configuration->listeners[i];
        if (listener->protocol != NULL ? strcmp(listener->protocol, section->name) == 0
                                       : strcmp(listener->application, section->application) == 0)
            return true;
    }
    return false;
}

/* Not wrong, but hardly meant by who has written a section for it. */
static void
warn_of_unserved(struct check *check)
{
    const td_configuration *configuration = check->plan->configuration;
    td_err err;

    for (size_t i = 0; i < check->plan->instances_count; i++) {
        const td_handler_settings *section = check->plan->instances[i].section;
        const td_plugin *plugin = check->site.instances[i].plugin;
        const bool has_routes = plugin->urls != NULL && plugin->urls->pattern != NULL;
        if (!check->plan->instances[i].has_section || is_served(configuration, section) ||
            (!has_routes && plugin->default_handler == NULL))
            continue;
        td_err_set(&err, TD_ECONFIG, "no listener serves application %s, so nobody reaches this handler",
                   section->application);
        source_prefix(configuration, td_arena_sprintf(&check->arena, "handler:%s", section->name).ptr,
                      "application", &err);
        td_log_at(TD_LOG_WARNING, section->name, "%s", err.text);
    }
}

/* What the loop of a worker is made of, which only turns out to be wrong when it is used. */
static void
check_loop(struct check *check)
{
    const td_configuration *configuration = check->plan->configuration;
    td_err err;
    const char *key = td_workerloop_find_fault(configuration, &err);

    if (key == NULL)
        return;
    source_prefix(configuration, "tornadod", key, &err);
    note_failure(check, &err);
}

TD_NORETURN static void
run_check(const struct plan *plan, struct checker_progress *progress, int results)
{
    struct check check = {.plan = plan, .progress = progress};
    const struct site_watch watch = {.at_file = note_file, .failed = note_failure, .arg = &check};

    td_arena_init(&check.arena);
    check_loop(&check);
    int rc = site_open(&check.site, plan, &check.arena, &watch);
    progress->file = 0;
    if (rc == 0)
        rc = site_mount(&check.site, &watch);
    if (rc == 0) {
        check_instances(&check);
        warn_of_unserved(&check);
        note_site(&check);
    }
    manifest_put_end(&check.results);
    _exit(write_all(results, td_buf_str(&check.results)) ? 0 : 1); /* destructors prove nothing */
}

/* ---- the master */

int
checker_start(struct checker *checker, const struct plan *plan, const struct identity *identity,
              td_err *err)
{
    pid_t master = getpid();
    int rc;

    checker->results = memfd_create("checker", MFD_CLOEXEC);
    if (checker->results < 0)
        return td_err_errno(err, "checker: memory");
    checker->progress = mmap(NULL, sizeof(*checker->progress), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (checker->progress == MAP_FAILED) {
        rc = td_err_errno(err, "checker: memory");
        goto fail_close;
    }
    checker->pid = fork();
    if (checker->pid < 0) {
        rc = td_err_errno(err, "checker: fork");
        goto fail_unmap;
    }
    if (checker->pid == 0) {
        become_checker(plan, identity, checker->results, master);
        run_check(plan, checker->progress, checker->results);
    }
    return 0;

fail_unmap:
    munmap(checker->progress, sizeof(*checker->progress));
fail_close:
    close(checker->results);
    checker->pid = 0;
    return rc;
}

void
checker_abandon(struct checker *checker)
{
    munmap(checker->progress, sizeof(*checker->progress));
    close(checker->results);
    checker->pid = 0;
}

static int
read_results(int fd, td_arena *arena, struct manifest *out)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || st.st_size > (off_t)RESULTS_MAX)
        return TD_EBADMSG;
    char *bytes = td_xmalloc((size_t)st.st_size + 1);
    ssize_t n = pread(fd, bytes, (size_t)st.st_size, 0);
    int rc =
        n == st.st_size ? manifest_read(arena, td_str_make(bytes, (size_t)n), out) : TD_EBADMSG;
    free(bytes);
    return rc;
}

/* It ended as no checker ends by itself. */
static int
blame(const struct checker *checker, int status, bool timed_out, const struct plan *plan,
      td_err *err)
{
    uint32_t file = checker->progress->file;
    const char *name = file - 1 < plan->files_count ? plan->files[file - 1].name : "the handlers";

    if (timed_out)
        return td_err_set(err, TD_EPLUGIN, "%s: loading takes longer than start_timeout (%lld ms)",
                          name, (long long)plan->configuration->tornadod.start_timeout_ms);
    if (WIFSIGNALED(status)) {
        const char *signal_name = sigabbrev_np(WTERMSIG(status));
        return td_err_set(err, TD_EPLUGIN, "%s: crashed while it was loaded (SIG%s)", name,
                          signal_name != NULL ? signal_name : "?");
    }
    return td_err_set(err, TD_EPLUGIN, "%s: ended the process while it was loaded (status %d)",
                      name, WEXITSTATUS(status));
}

int
checker_finish(struct checker *checker, int status, bool timed_out, const struct plan *plan,
               td_arena *arena, struct manifest *out, td_err *err)
{
    int rc = 0;

    *out = (struct manifest){0};
    if (timed_out || !WIFEXITED(status) || WEXITSTATUS(status) != 0 ||
        read_results(checker->results, arena, out) < 0)
        rc = blame(checker, status, timed_out, plan, err);
    else if (out->failures_count > 0)
        rc = td_err_set(err, TD_EPLUGIN, "%s", out->failures[0]);
    else if (out->instances_count != plan->instances_count)
        rc = td_err_set(err, TD_EPLUGIN, "the checker's manifest does not fit the plan");
    checker_abandon(checker);
    return rc;
}
