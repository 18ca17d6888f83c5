#include "daemon/check.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "daemon/master/generation.h"
#include "daemon/master/upgrade.h"
#include "daemon/privileges.h"
#include "daemon/program.h"
#include "daemon/site/checker.h"

/* Wait for the checker for as long as it may take, then end it: that returns true. */
static bool
wait_for(pid_t pid, int64_t timeout_ms, const sigset_t *child_signal, int *status_out)
{
    int64_t deadline_ns = td_clock_ns() + timeout_ms * TD_NS_PER_MS;
    bool timed_out = false;

    while (waitpid(pid, status_out, timed_out ? 0 : WNOHANG) != pid) {
        int64_t left_ns = deadline_ns - td_clock_ns();
        if (left_ns <= 0) {
            timed_out = true;
            kill(pid, SIGKILL);
            continue;
        }
        const struct timespec left = {left_ns / TD_NS_PER_S, left_ns % TD_NS_PER_S};
        sigtimedwait(child_signal, NULL, &left);
    }
    return timed_out;
}

static int
check_handlers(struct generation *generation, td_err *err)
{
    struct checker checker = {.pid = 0};
    sigset_t child_signal;
    int status;

    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_signal, NULL); /* before the fork, or it may be missed */
    if (generation_plan(generation, err) < 0 ||
        checker_start(&checker, &generation->plan, &generation->identity, err) < 0)
        return err->code;
    bool timed_out = wait_for(checker.pid, generation->configuration->tornadod.start_timeout_ms,
                              &child_signal, &status);
    return checker_finish(&checker, status, timed_out, &generation->plan, &generation->arena,
                          &generation->manifest, err);
}

/* Where to reach an application, from the first listener that serves it. */
static const char *
base_of(const struct generation *generation, const char *application)
{
    const td_configuration *configuration = generation->configuration;

    for (size_t i = 0; i < configuration->listeners_count; i++) {
        const td_listener_settings *listener = &configuration->listeners[i];
        if (listener->protocol == NULL && strcmp(listener->application, application) == 0)
            return strncmp(listener->address, "unix:", 5) == 0
                       ? listener->address
                       : td_arena_sprintf(&((struct generation *)generation)->arena, "http://%s",
                                          listener->address)
                             .ptr;
    }
    return "(no listener)";
}

/* "http://127.0.0.1:8888/hello/(?<name>[^/]+)  hello (hosts a) (GET, HEAD)" */
static void
print_routes(const struct generation *generation)
{
    const struct manifest *manifest = &generation->manifest;

    for (size_t i = 0; i < manifest->routes_count; i++) {
        const struct manifest_route *route = &manifest->routes[i];
        const struct manifest_instance *instance = &manifest->instances[route->instance - 1];
        size_t mount_len = strlen(route->mount);
        if (mount_len > 0 && route->mount[mount_len - 1] == '/')
            mount_len--; /* patterns begin with one */
        printf("%s%.*s%s  %s%s%s%s%s%s%s\n", base_of(generation, instance->application), (int)mount_len,
               route->mount, route->pattern, instance->name,
               strcmp(route->hosts, ".*") != 0 ? " (hosts " : "",
               strcmp(route->hosts, ".*") != 0 ? route->hosts : "",
               strcmp(route->hosts, ".*") != 0 ? ")" : "", route->wanted != NULL ? " (" : "",
               route->wanted != NULL ? route->wanted : "", route->wanted != NULL ? ")" : "");
    }
}

/* "127.0.0.1:7  echo (its own protocol)" */
static void
print_protocols(const td_configuration *configuration)
{
    for (size_t i = 0; i < configuration->listeners_count; i++) {
        const td_listener_settings *listener = &configuration->listeners[i];

        if (listener->protocol != NULL)
            printf("%s  %s (its own protocol)\n", listener->address, listener->protocol);
    }
}

/* "shop counts orders (counter): Orders that were taken." */
static void
print_metrics(const struct manifest *manifest)
{
    for (size_t i = 0; i < manifest->metrics_count; i++) {
        const struct manifest_metric *metric = &manifest->metrics[i];

        printf("%s counts %s", manifest->instances[metric->instance - 1].name, metric->name);
        if (metric->label != NULL)
            printf(", %s %s", metric->label, metric->value);
        printf(" (%s): %s\n", metric->kind == TD_METRIC_COUNTER ? "counter" : "gauge", metric->help);
    }
}

static void
print_failures(const struct generation *generation, const td_err *err)
{
    const struct manifest *manifest = &generation->manifest;

    fprintf(stderr, "tornadod: %s\n", err->text);
    for (size_t i = 1; i < manifest->failures_count; i++)
        fprintf(stderr, "tornadod: %s\n", manifest->failures[i]);
}

static void
print_findings(const struct generation *generation, enum action action)
{
    const struct manifest *manifest = &generation->manifest;

    if (action == ACTION_PRINT)
        td_settings_print(generation->configuration, stdout);
    else if (action == ACTION_ROUTES) {
        print_routes(generation);
        print_protocols(generation->configuration);
        print_metrics(manifest);
    } else
        printf("settings and handlers are good: %zu handler%s, %zu route%s\n",
               manifest->instances_count, manifest->instances_count == 1 ? "" : "s",
               manifest->routes_count, manifest->routes_count == 1 ? "" : "s");
}

int
check_run(const struct options *options)
{
    struct generation *generation;
    td_err err;
    int rc = generation_load(options, 1, &generation, &err);

    if (rc < 0) {
        fprintf(stderr, "tornadod: %s\n", err.text);
        return EX_CONFIG;
    }
    rc = check_handlers(generation, &err);
    if (rc == 0)
        print_findings(generation, options->action);
    else
        print_failures(generation, &err);
    generation_destroy(&generation);
    if (rc == 0 && (rc = upgrade_acknowledge(&err)) < 0)
        fprintf(stderr, "tornadod: %s\n", err.text);
    return rc == 0 ? EXIT_SUCCESS : EX_CONFIG;
}

/* ---- looking closer */

struct telling {
    struct generation *generation;
    int (*tell)(void *arg, const struct site *site);
    void *arg;
};

static void
print_failure(void *arg, const td_err *err)
{
    (void)arg;
    fprintf(stderr, "tornadod: %s\n", err->text);
}

/* In the child.  The checker has found nothing wrong, so there is little left to go wrong. */
TD_NORETURN static void
mount_and_tell(const struct telling *telling)
{
    const struct site_watch watch = {.failed = print_failure};
    struct site site;
    td_arena arena;
    td_err err;

    td_arena_init(&arena);
    if (privileges_drop(&telling->generation->identity, &err) < 0)
        print_failure(NULL, &err);
    else if (site_open(&site, &telling->generation->plan, &arena, &watch) == 0 &&
             site_mount(&site, &watch) == 0) {
        _exit(program_printed(telling->tell(telling->arg, &site)));
    }
    _exit(EX_CONFIG);
}

static int
tell_in_child(const struct telling *telling)
{
    sigset_t child_signal;
    int status;
    const pid_t pid = fork();

    if (pid < 0) {
        perror("tornadod: fork");
        return EXIT_FAILURE;
    }
    if (pid == 0)
        mount_and_tell(telling);
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD); /* blocked since the checker */
    const bool timed_out =
        wait_for(pid, telling->generation->configuration->tornadod.start_timeout_ms, &child_signal,
                 &status);
    return !timed_out && WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

int
check_and_tell(const struct options *options, int (*tell)(void *arg, const struct site *site),
               void *arg)
{
    struct telling telling = {.tell = tell, .arg = arg};
    td_err err;
    int status = EX_CONFIG;

    if (generation_load(options, 1, &telling.generation, &err) < 0) {
        fprintf(stderr, "tornadod: %s\n", err.text);
        return EX_CONFIG;
    }
    if (check_handlers(telling.generation, &err) == 0)
        status = tell_in_child(&telling);
    else
        print_failures(telling.generation, &err);
    generation_destroy(&telling.generation);
    return status;
}
