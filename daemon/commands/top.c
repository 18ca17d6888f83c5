/*
 * The daemon's status once a second, with what has changed since the one before: workers, upstreams
 * of the gateway, and the routes that were asked most.  The first picture shows the average since each worker came.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/clock.h"
#include "daemon/commands/client.h"

#define ROWS_SHOWN 15 /* of a table, at most */
#define TO_THE_TOP "\033[H\033[J\033[?7l" /* and lines that are too long are cut off */
#define WRAP_AGAIN "\033[?7h"

struct picture {
    json_t *status;
    double taken_s; /* monotonic */
};

static double
time_between(const struct picture *now, const struct picture *before)
{
    return before->status != NULL ? now->taken_s - before->taken_s
                                  : client_seconds(now->status, "uptime_seconds");
}

static double
per_second(int64_t count, double elapsed_s)
{
    return elapsed_s > 0 ? (double)count / elapsed_s : 0;
}

/* Of a table that has so many lines for itself: below its head, and a blank line above that. */
static size_t
rows_of(size_t lines)
{
    const size_t rows = lines > 2 ? lines - 2 : 0;

    return rows < ROWS_SHOWN ? rows : ROWS_SHOWN;
}

/* ---- workers */

static const json_t *
find_worker(const json_t *status, int64_t pid)
{
    const json_t *generation, *worker;
    size_t i, j;

    json_array_foreach(json_object_get(status, "generations"), i, generation) {
        json_array_foreach(json_object_get(generation, "workers"), j, worker) {
            if (client_number(worker, "pid") == pid)
                return worker;
        }
    }
    return NULL;
}

static double
rate_of(const json_t *worker, const struct picture *now, const struct picture *before)
{
    const json_t *then = find_worker(before->status, client_number(worker, "pid"));
    const int64_t since = then != NULL ? client_number(then, "requests") : 0;
    const double elapsed_s =
        then != NULL ? now->taken_s - before->taken_s : client_seconds(worker, "uptime_seconds");

    return per_second(client_number(worker, "requests") - since, elapsed_s);
}

static void
print_workers(const json_t *generation, const struct picture *now, const struct picture *before)
{
    const json_t *worker;
    char age[CLIENT_AGE_SIZE];
    size_t i;

    json_array_foreach(json_object_get(generation, "workers"), i, worker) {
        client_format_age(client_seconds(worker, "uptime_seconds"), age);
        printf("%10lld %6lld %9lld  %-9s %10s %8lld %12lld %10.1f\n",
               (long long)client_number(generation, "number"),
               (long long)client_number(worker, "number"), (long long)client_number(worker, "pid"),
               client_text(worker, "state"), age, (long long)client_number(worker, "restarts"),
               (long long)client_number(worker, "requests"), rate_of(worker, now, before));
    }
}

/* ---- upstreams of the gateway, which are told by its metrics */

static const json_t *
owns_of(const json_t *status)
{
    return json_object_get(json_object_get(status, "metrics"), "handler_metrics");
}

static const char *
upstream_of(const json_t *own)
{
    return client_text(json_object_get(own, "labels"), "upstream");
}

/* The number of that name of the same handler and upstream. */
static int64_t
number_beside(const json_t *status, const json_t *upstream, const char *name)
{
    const json_t *own;
    size_t i;

    json_array_foreach(owns_of(status), i, own) {
        if (strcmp(client_text(own, "name"), name) == 0 &&
            strcmp(client_text(own, "handler"), client_text(upstream, "handler")) == 0 &&
            strcmp(upstream_of(own), upstream_of(upstream)) == 0)
            return client_number(own, "value");
    }
    return 0;
}

static void
print_upstream(const json_t *upstream, const struct picture *now, const struct picture *before)
{
    const int64_t requests = client_number(upstream, "value") -
                             number_beside(before->status, upstream, "gateway_requests");
    const int64_t open = number_beside(now->status, upstream, "gateway_connections");
    const int64_t kept = number_beside(now->status, upstream, "gateway_connections_kept");

    printf("%10.1f %12lld %10lld %8lld %8lld %8lld  ",
           per_second(requests, time_between(now, before)),
           (long long)client_number(upstream, "value"),
           (long long)number_beside(now->status, upstream, "gateway_failures"),
           (long long)(open > kept ? open - kept : 0), (long long)kept,
           (long long)number_beside(now->status, upstream, "gateway_upstream_down"));
    client_print(upstream_of(upstream));
    fputs("  ", stdout);
    client_print(client_text(upstream, "handler"));
    putchar('\n');
}

/* Returns how many lines it takes, of those that there are. */
static size_t
print_upstreams(const struct picture *now, const struct picture *before, size_t room)
{
    const json_t *own;
    size_t printed = 0, i;

    json_array_foreach(owns_of(now->status), i, own) {
        if (printed == rows_of(room) || strcmp(client_text(own, "name"), "gateway_requests") != 0)
            continue;
        if (printed++ == 0)
            puts("\nrequests/s     requests   failures   in use     kept     down  upstream  handler");
        print_upstream(own, now, before);
    }
    return printed > 0 ? printed + 2 : 0;
}

/* ---- routes */

struct busy {
    const json_t *route;
    int64_t requests; /* since the picture before */
};

static const json_t *
routes_of(const json_t *status)
{
    return json_object_get(json_object_get(status, "metrics"), "routes");
}

static bool
is_same_route(const json_t *a, const json_t *b)
{
    static const char *const keys[] = {"handler", "application", "hosts", "route", "wanted"};

    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        if (strcmp(client_text(a, keys[i]), client_text(b, keys[i])) != 0)
            return false;
    }
    return true;
}

/* Routes keep their places, so it mostly stands where it stood. */
static int64_t
requests_before(const json_t *route, const json_t *routes, size_t place)
{
    const json_t *other = json_array_get(routes, place);
    size_t i;

    if (other != NULL && is_same_route(route, other))
        return client_number(other, "requests");
    json_array_foreach(routes, i, other) {
        if (is_same_route(route, other))
            return client_number(other, "requests");
    }
    return 0;
}

static int
compare_busy(const void *a, const void *b)
{
    const struct busy *x = a, *y = b;

    return (x->requests < y->requests) - (x->requests > y->requests);
}

static void
print_busy(const struct busy *busy, double elapsed_s)
{
    printf("%10.1f %12lld  ", per_second(busy->requests, elapsed_s),
           (long long)client_number(busy->route, "requests"));
    client_print(client_text(busy->route, "route"));
    fputs("  ", stdout);
    client_print(client_text(busy->route, "handler"));
    putchar('\n');
}

static void
print_routes(const struct picture *now, const struct picture *before, size_t room)
{
    const json_t *routes = routes_of(now->status), *route;
    const double elapsed_s = time_between(now, before);
    const size_t count = json_array_size(routes), shown = rows_of(room);
    struct busy *all = calloc(count + 1, sizeof(*all));
    size_t i;

    if (count == 0 || all == NULL) {
        free(all);
        return;
    }
    json_array_foreach(routes, i, route)
        all[i] = (struct busy){
            route, client_number(route, "requests") -
                       requests_before(route, routes_of(before->status), i)};
    qsort(all, count, sizeof(*all), compare_busy);
    puts("\nrequests/s     requests  route  handler");
    for (i = 0; i < count && i < shown && all[i].requests > 0; i++)
        print_busy(&all[i], elapsed_s);
    free(all);
}

/* ---- */

/* Below the workers; a terminal may change its size at any time. */
static size_t
count_room(const json_t *status, bool has_tls)
{
    struct winsize size;
    size_t above = 4 + has_tls, i; /* the heads, and the line of the cursor */
    const json_t *generation;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0)
        return SIZE_MAX;
    json_array_foreach(json_object_get(status, "generations"), i, generation)
        above += json_array_size(json_object_get(generation, "workers"));
    return size.ws_row > above ? size.ws_row - above : 0;
}

static void
print_picture(const struct picture *now, const struct picture *before)
{
    const json_t *generation;
    char age[CLIENT_AGE_SIZE];
    bool has_tls;
    size_t room, i;

    client_format_age(client_seconds(now->status, "uptime_seconds"), age);
    printf("tornadod %s, pid %lld: %s, up %s, %lld requests\n",
           client_text(now->status, "version"), (long long)client_number(now->status, "pid"),
           client_text(now->status, "state"), age,
           (long long)client_number(now->status, "requests"));
    has_tls = client_print_handshakes(now->status);
    puts("\ngeneration worker       pid  state            age restarts     requests requests/s");
    json_array_foreach(json_object_get(now->status, "generations"), i, generation)
        print_workers(generation, now, before);
    room = count_room(now->status, has_tls);
    room -= print_upstreams(now, before, room / 2);
    print_routes(now, before, room);
}

static int
watch(const struct command_line *line, const char *path, bool once, td_err *err)
{
    struct picture before = {NULL, 0}, now;
    const bool is_terminal = isatty(STDOUT_FILENO) == 1;

    while ((now.status = client_status(line, path, err)) != NULL) {
        now.taken_s = (double)td_clock_ns() / TD_NS_PER_S;
        if (is_terminal && !once)
            fputs(TO_THE_TOP, stdout);
        print_picture(&now, &before);
        if (is_terminal && !once)
            fputs(WRAP_AGAIN, stdout); /* at once: who interrupts us gets his terminal as it was */
        json_decref(before.status);
        before = now;
        if (once || fflush(stdout) != 0)
            break;
        sleep(1);
    }
    json_decref(before.status);
    return now.status != NULL ? 0 : err->code;
}

int
command_top(int argc, char **argv)
{
    const char *path = NULL;
    bool once = false;
    const struct command_option own[] = {{"once", NULL, "one picture, and no more", &once, NULL},
                                         CLIENT_OPTION(path)};
    struct command_line line;
    td_err err;
    int status;

    if (!COMMAND_LINE_READ(argc, argv, own, 0, &line, &status))
        return status;
    status = watch(&line, path, once, &err) == 0 ? EXIT_SUCCESS : client_fail(argv[0], &err);
    command_line_fini(&line);
    return status;
}
