/*
 * A worker without a master, in the process of a test: settings, handlers and a loop are made as a
 * worker makes them, and a server that accepts nobody is given one end of a pair of sockets for
 * each request.  The loop runs while the test waits for something, and only then.
 */
#include "daemon/testing/testing.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "daemon/site/hooks.h"
#include "daemon/site/plugin.h"
#include "daemon/site/shared.h"
#include "io/coroutine.h"
#include "io/executor.h"
#include "web/json.h"
#include "web/pluginlayout.h"
#include "web/workerloop.h"

#define TIMEOUT_MS 3000
#define WATCHDOG_MS 500 /* past a time-out: the loop has not come to it */
#define POLL_MS 1
#define MESSAGE_SIZE 1024

static td_test *open_test; /* a process has one loop */

/* ---- failing */

static void
print_log(td_test *test)
{
    const char *log = td_test_log(test);

    if (log[0] != '\0')
        fprintf(stderr, "It was logged:\n%s", log);
}

TD_NORETURN static void
fail_with(td_test_fail_fn *fail, const char *source, int line, const char *message)
{
    if (fail != NULL)
        fail(source, line, message);
    fprintf(stderr, "%s:%d: %s\n", source, line, message);
    abort();
}

void
testing_fail(td_test *test, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    print_log(test);
    fail_with(test->fail, test->source, test->line, message);
}

static void
check_at(const td_test *t, const char *source, int line)
{
    if (t == NULL || t != open_test)
        fail_with(NULL, source, line, "this td_test is not open");
    if (!pthread_equal(t->thread, pthread_self()))
        fail_with(NULL, source, line, "this td_test is another thread's");
}

void
testing_check(const td_test *t)
{
    const td_test *known = open_test;

    check_at(t, known != NULL ? known->source : "?", known != NULL ? known->line : 0);
}

td_test *
td_test_at(td_test *t, const char *source, int line)
{
    check_at(t, source, line);
    t->source = source;
    t->line = line;
    return t;
}

/* ---- the loop, and a clock for when it stands */

static char spin_message[MESSAGE_SIZE];

static void
on_watchdog(int number)
{
    (void)number;
    (void)!write(STDERR_FILENO, spin_message, strlen(spin_message));
    abort();
}

static void
arm_watchdog(const td_test *test, int64_t timeout_ms, const char *what, timer_t *out)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    const int64_t after_ms = timeout_ms + WATCHDOG_MS;
    const struct itimerspec when = {
        .it_value = {after_ms / 1000, after_ms % 1000 * TD_NS_PER_MS}};

    snprintf(spin_message, sizeof(spin_message),
             "%s:%d: %s: a handler spins or blocks: for %lld ms it has not given the loop back\n",
             test->source, test->line, what, (long long)after_ms);
    signal(SIGALRM, on_watchdog);
    if (timer_create(CLOCK_MONOTONIC, &event, out) < 0 || timer_settime(*out, 0, &when, NULL) < 0)
        abort();
}

static void
on_limit(void *arg)
{
    td_test *test = arg;

    test->timed_out = true;
    td_ioloop_stop(test->loop);
}

bool
testing_wait(td_test *test, int64_t timeout_ms, const char *what)
{
    timer_t watchdog;

    if (test->runs)
        testing_fail(test, "%s: asked by a handler, but only the test can wait for handlers", what);
    td_clock_refresh();
    test->timed_out = false;
    test->limit = (td_timer){.fn = on_limit, .arg = test};
    td_timer_start(test->loop, &test->limit, td_now_ns() + timeout_ms * TD_NS_PER_MS);
    arm_watchdog(test, timeout_ms, what, &watchdog);
    test->runs = true;
    td_ioloop_start(test->loop);
    test->runs = false;
    timer_delete(watchdog);
    td_timer_stop(test->loop, &test->limit);
    return !test->timed_out;
}

void
testing_stop(td_test *test)
{
    if (test->runs)
        td_ioloop_stop(test->loop);
}

void
td_test_run(td_test *t, int64_t ms)
{
    testing_wait(t, ms, "td_test_run");
}

/* ---- handlers that run, and hooks */

void
td_test_settle(td_test *t)
{
    const int64_t end_ns = td_clock_ns() + t->timeout_ms * TD_NS_PER_MS;

    while (td_handlers_running() > 0 || td_executor_jobs() > 0) {
        if (td_clock_ns() > end_ns)
            testing_fail(t, "after %lld ms %zu handlers and %zu jobs of threads still run",
                         (long long)t->timeout_ms, td_handlers_running(), td_executor_jobs());
        testing_wait(t, POLL_MS, "td_test_settle");
    }
}

static void
note_nobody(void *arg, const td_instance *instance)
{
    (void)arg, (void)instance;
}

static void
run_load_and_start(void *arg)
{
    td_test *test = arg;

    hooks_load_and_start(&test->site, note_nobody, NULL, &test->failure);
}

static void
run_drain_and_stop(void *arg)
{
    td_test *test = arg;

    hooks_drain(&test->site);
    hooks_stop(&test->site);
}

static void
on_hooks_ended(void *arg, td_coroutine_end end)
{
    td_test *test = arg;

    if (end == TD_COROUTINE_RETURNED)
        test->hooks_return = true;
    testing_stop(test);
}

/* False: they have not come back. */
static bool
run_hooks(td_test *test, void (*run)(void *arg), const char *what)
{
    test->hooks_return = false;
    td_coroutine_start(
        &(td_coroutine_task){.run = run, .ended = on_hooks_ended, .arg = test}, NULL);
    if (!test->hooks_return)
        testing_wait(test, test->timeout_ms, what);
    return test->hooks_return;
}

/* ---- what is tested */

static size_t
count(const char *const *list)
{
    size_t n = 0;

    while (list != NULL && list[n] != NULL)
        n++;
    return n;
}

static int
load_settings(td_test *test, const td_test_options *options)
{
    const size_t given = count(options->settings);
    const char **overrides = TD_ARENA_ARRAY(&test->arena, const char *, given + 1);

    overrides[0] = options->keep_log ? "log.level=debug" : "log.level=warning"; /* who says more wins */
    for (size_t i = 0; i < given; i++)
        overrides[i + 1] = td_arena_strdup(&test->arena, options->settings[i]);
    return td_settings_load(&test->arena, options->ini, overrides, given + 1, &test->configuration,
                            &test->failure);
}

static int
open_log(td_test *test, bool keep)
{
    td_log_options options = {.target = TD_LOG_STDERR,
                              .level = (td_log_level)test->configuration->log.level};

    if (keep) {
        test->log_fd = memfd_create("log", MFD_CLOEXEC);
        options.target = TD_LOG_FILE;
        options.path = td_arena_sprintf(&test->arena, "/proc/self/fd/%d", test->log_fd).ptr;
    }
    return td_log_open(&options, &test->failure);
}

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

static int
load_file(td_test *test, const char *path, struct plan_file *out)
{
    const char *name = base_name(path);

    if (strlen(name) < 4 || strcmp(name + strlen(name) - 3, ".so") != 0)
        return td_err_set(&test->failure, TD_EPLUGIN, "%s: its name does not end in .so", path);
    out->name = td_arena_strdup(&test->arena, name);
    out->fd = -1;
    return plugin_load_path(&test->arena, path, &out->plugin, &test->failure);
}

static int
take_linked(td_test *test, const td_plugin *plugin, struct plan_file *out)
{
    const char *name = plugin->name != NULL ? plugin->name : "?";

    out->name = td_arena_sprintf(&test->arena, "%s.so", name).ptr;
    out->fd = -1;
    return td_plugin_translate(&test->arena, name, plugin, &out->plugin, &test->failure);
}

static int
make_plan(td_test *test, const td_test_options *options)
{
    const size_t files_count = count(options->files);
    struct plan_file *files = TD_ARENA_ARRAY(&test->arena, struct plan_file, files_count + 2);
    td_plugin *bare = TD_ARENA_NEW(&test->arena, td_plugin);
    size_t n = 0;

    *bare = (td_plugin)TD_PLUGIN_OF(.name = "test", .urls = options->urls);
    for (; n < files_count; n++)
        if (load_file(test, options->files[n], &files[n]) < 0)
            return test->failure.code;
    if (options->plugin != NULL && take_linked(test, options->plugin, &files[n++]) < 0)
        return test->failure.code;
    if (options->urls != NULL && take_linked(test, bare, &files[n++]) < 0)
        return test->failure.code;
    if (n == 0)
        return td_err_set(&test->failure, TD_EINVAL, "nothing to test: no files, plugin or urls");
    return plan_of_files(&test->arena, test->configuration, files, n, &test->plan, &test->failure);
}

static int
make_shared(td_test *test)
{
    int rc = 0;

    for (size_t i = 0; i < test->plan.instances_count && rc == 0; i++) {
        const struct plan_instance *planned = &test->plan.instances[i];
        const td_shared_memory *shared = test->plan.files[planned->file].plugin->shared;

        for (; shared != NULL && shared->name != NULL && rc == 0; shared++)
            rc = shared_want(planned->section->name, shared->name, shared->size, 1, &test->failure);
    }
    return rc;
}

static void
keep_first_failure(void *arg, const td_err *err)
{
    td_test *test = arg;

    if (test->failure.code == 0)
        test->failure = *err;
}

static int
open_site(td_test *test)
{
    const struct site_watch watch = {.failed = keep_first_failure, .arg = test};
    td_err err;

    if (make_shared(test) < 0 ||
        site_open(&test->site, &test->plan, &test->arena, &watch) < 0 ||
        site_mount(&test->site, &watch) < 0)
        return test->failure.code;
    for (size_t i = 0; i < test->plan.instances_count; i++)
        if (hooks_check(&test->site, &test->site.instances[i], &err) < 0)
            keep_first_failure(test, &err);
    return test->failure.code;
}

static int
load_handlers(td_test *test)
{
    if (!run_hooks(test, run_load_and_start, "load and start") && test->failure.code == 0)
        td_err_set(&test->failure, TD_ETIMEDOUT,
                   "a load or start hook has not returned within %lld ms",
                   (long long)test->timeout_ms);
    return test->failure.code;
}

static void
create_server(td_test *test)
{
    const td_configuration *configuration = test->configuration;
    const td_listener_settings *listener = &configuration->listeners[0];

    test->server = td_httpserver_create(
        test->loop, &(td_httpserver_options){
                        .fd = -1,
                        .settings = listener,
                        .delegate = &td_application_delegate,
                        .delegate_arg = site_application(&test->site, listener->application),
                        .spill_place = {test->site.body_temp_path,
                                        (uint64_t)configuration->tornadod.body_disk}});
}

/* ---- life */

/* Whatever of it there is. */
static void
destroy(td_test *test)
{
    td_httpserver_destroy(&test->server);
    if (test->loop != NULL)
        td_workerloop_close(&test->loop);
    if (test->site.applications != NULL)
        site_close(&test->site);
    shared_forget_before(UINT32_MAX);
    td_log_open(&(td_log_options){.target = TD_LOG_STDERR, .level = TD_LOG_INFO}, NULL);
    if (test->log_fd >= 0)
        close(test->log_fd);
    free(test->log);
    td_arena_fini(&test->arena);
    free(test);
    open_test = NULL;
}

static td_test *
create(const td_test_options *options)
{
    td_test *test = td_xcalloc(1, sizeof(*test));

    td_arena_init(&test->arena);
    td_list_init(&test->exchanges);
    td_list_init(&test->cookies);
    test->thread = pthread_self();
    test->fail = options->fail;
    test->source = options->source != NULL ? options->source : "?";
    test->line = options->line;
    test->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
    test->keeps_cookies = options->keep_cookies;
    test->log_fd = -1;
    open_test = test;
    return test;
}

/* Says in test->failure whether it could be. */
static td_test *
open_with(const td_test_options *given)
{
    td_test_options options = {.size = 0}; /* of today, whatever they were built with */

    if (given != NULL)
        memcpy(&options, given, given->size < sizeof(options) ? given->size : sizeof(options));
    if (open_test != NULL)
        fail_with(options.fail, options.source, options.line, "another td_test is open");
    signal(SIGPIPE, SIG_IGN);
    td_clock_refresh();
    td_test *test = create(&options);
    if (load_settings(test, &options) < 0 || open_log(test, options.keep_log) < 0 ||
        td_workerloop_open(test->configuration, 1, &test->loop, &test->failure) < 0 ||
        make_plan(test, &options) < 0 || open_site(test) < 0 || load_handlers(test) < 0)
        return test;
    create_server(test);
    return test;
}

td_test *
td_test_open(const td_test_options *options)
{
    td_test *test = open_with(options);

    if (test->failure.code != 0)
        testing_fail(test, "%s", test->failure.text);
    return test;
}

const char *
td_test_refusal(const td_test_options *options)
{
    static td_err refusal;
    td_test *test = open_with(options);

    refusal = test->failure;
    if (refusal.code == 0)
        td_test_close(&test);
    else
        destroy(test);
    return refusal.code != 0 ? refusal.text : NULL;
}

void
td_test_close(td_test **t)
{
    td_test *test = *t;

    if (test == NULL)
        return;
    testing_check(test);
    if (test->runs)
        testing_fail(test, "td_test_close: called by a handler");
    testclient_close_all(test);
    td_test_settle(test);
    if (!run_hooks(test, run_drain_and_stop, "drain and stop"))
        testing_fail(test, "a drain or stop hook has not returned within %lld ms",
                     (long long)test->timeout_ms);
    destroy(test);
    *t = NULL;
}

/* ---- looking inside */

const char *
td_test_log(td_test *t)
{
    struct stat st;

    testing_check(t);
    if (t->log_fd < 0 || fstat(t->log_fd, &st) < 0)
        return "";
    free(t->log);
    t->log = td_xcalloc(1, (size_t)st.st_size + 1);
    (void)!pread(t->log_fd, t->log, (size_t)st.st_size, 0);
    return t->log;
}

td_instance *
td_test_instance(const td_test *t, const char *name)
{
    testing_check(t);
    for (size_t i = 0; i < t->plan.instances_count; i++)
        if (name != NULL && strcmp(t->site.instances[i].name, name) == 0)
            return &t->site.instances[i];
    return NULL;
}

const td_json *
td_test_json(td_test *t, const td_response *response)
{
    td_err err;

    if (response == NULL)
        testing_fail(t, "td_test_json: there is no response");
    const td_json *json = td_json_parse(&t->arena, response->body, &err);

    if (json == NULL)
        testing_fail(t, "%.*s: its body is no JSON: %s: %.200s",
                     TD_STR_FMT(response->effective_url), err.text,
                     response->body.ptr != NULL ? response->body.ptr : "");
    return json;
}
