#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "daemon/commands/client.h"

#define AGE_OF(object, text) client_format_age(client_seconds((object), "uptime_seconds"), (text))

static void
print_labelled(const char *label, const char *text)
{
    printf("%-12s ", label);
    client_print(text);
    putchar('\n');
}

static void
print_listeners(const json_t *listeners)
{
    const json_t *listener;
    size_t i;

    json_array_foreach(listeners, i, listener) {
        print_labelled(i == 0 ? "listening" : "", client_text(listener, "url"));
    }
}

static void
print_last_reload(const json_t *reload)
{
    const time_t when = (time_t)client_number(reload, "time");
    struct tm local;
    char text[64];

    if (!json_is_object(reload))
        return;
    strftime(text, sizeof(text), "%F %T", localtime_r(&when, &local));
    printf("%-12s %s, %s: ", "last reload", text,
           json_is_true(json_object_get(reload, "ok")) ? "good" : "FAILED");
    client_print(client_text(reload, "text"));
    putchar('\n');
}

/* What is used of the setting `memory`, in MiB. */
static void
format_memory(const json_t *worker, char *out, size_t size)
{
    const double mib = 1 << 20;

    snprintf(out, size, "%.1f of %.1f MiB", (double)client_number(worker, "memory_bytes") / mib,
             (double)client_number(worker, "memory_limit_bytes") / mib);
}

static void
print_worker(const json_t *worker)
{
    char age[CLIENT_AGE_SIZE], memory[64];

    AGE_OF(worker, age);
    format_memory(worker, memory, sizeof(memory));
    printf("  %6lld %9lld  %-9s %10s %9lld %12lld %18s %8lld\n",
           (long long)client_number(worker, "number"), (long long)client_number(worker, "pid"),
           client_text(worker, "state"), age, (long long)client_number(worker, "restarts"),
           (long long)client_number(worker, "requests"), memory,
           (long long)client_number(worker, "memory_refused"));
}

static void
print_quarantine(const json_t *handlers)
{
    const json_t *handler;
    size_t i;

    json_array_foreach(handlers, i, handler) {
        if (!json_is_true(json_object_get(handler, "quarantined")))
            continue;
        fputs("  in quarantine: ", stdout);
        client_print(client_text(handler, "name"));
        fputs(" (", stdout);
        client_print(client_text(handler, "file"));
        puts(")");
    }
}

static void
print_generation(const json_t *generation)
{
    const json_t *workers = json_object_get(generation, "workers"), *worker;
    size_t i;

    printf("\ngeneration %lld, %s: %zu handlers\n", (long long)client_number(generation, "number"),
           client_text(generation, "state"),
           json_array_size(json_object_get(generation, "handlers")));
    puts("  worker       pid  state            age  restarts     requests             memory  refused");
    json_array_foreach(workers, i, worker)
        print_worker(worker);
    print_quarantine(json_object_get(generation, "handlers"));
}

/* "gateway_requests of shop, upstream 127.0.0.1:8000" */
static void
print_own(const json_t *own)
{
    const char *label;
    const json_t *value;

    printf("  %12lld  ", (long long)client_number(own, "value"));
    client_print(client_text(own, "name"));
    fputs(" of ", stdout);
    client_print(client_text(own, "handler"));
    json_object_foreach((json_t *)json_object_get(own, "labels"), label, value) {
        fputs(", ", stdout);
        client_print(label);
        fputs(" ", stdout);
        client_print(json_string_value(value));
    }
    putchar('\n');
}

static void
print_owns(const json_t *all)
{
    const json_t *own;
    size_t i;

    if (json_array_size(all) > 0)
        puts("\nhandlers count");
    json_array_foreach(all, i, own)
        print_own(own);
}

static void
print_status(const json_t *status)
{
    const json_t *generations = json_object_get(status, "generations"), *generation;
    const char *ini = client_text(status, "ini");
    char age[CLIENT_AGE_SIZE];
    size_t i;

    AGE_OF(status, age);
    printf("tornadod %s, pid %lld: %s, up %s\n", client_text(status, "version"),
           (long long)client_number(status, "pid"), client_text(status, "state"), age);
    print_labelled("settings", ini[0] != '\0' ? ini : "defaults");
    print_listeners(json_object_get(status, "listeners"));
    printf("%-12s %lld\n", "requests", (long long)client_number(status, "requests"));
    client_print_handshakes(status);
    print_last_reload(json_object_get(status, "last_reload"));
    json_array_foreach(generations, i, generation)
        print_generation(generation);
    print_owns(json_object_get(json_object_get(status, "metrics"), "handler_metrics"));
}

int
command_status(int argc, char **argv)
{
    const char *path = NULL;
    bool as_json = false;
    const struct command_option own[] = {{"json", NULL, "as JSON, all there is", &as_json, NULL},
                                         CLIENT_OPTION(path)};
    struct command_line line;
    td_err err;
    int exit_status;

    if (!COMMAND_LINE_READ(argc, argv, own, 0, &line, &exit_status))
        return exit_status;
    json_t *status = client_status(&line, path, &err);
    if (status == NULL) {
        exit_status = client_fail(argv[0], &err);
    } else if (as_json) {
        json_dumpf(status, stdout, JSON_INDENT(2));
        putchar('\n');
        exit_status = EXIT_SUCCESS;
    } else {
        print_status(status);
        exit_status = EXIT_SUCCESS;
    }
    json_decref(status);
    command_line_fini(&line);
    return exit_status;
}
