#include "daemon/master/facts.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/escape.h"
#include "daemon/master/master_internal.h"
#include "daemon/status/status.h"

/* ---- pieces of JSON: members begin with a comma, but the first one of an object */

static void
put_string(td_buf *out, const char *key, const char *value)
{
    td_buf_printf(out, "\"%s\":", key);
    if (value == NULL) {
        td_buf_append(out, TD_STR("null"));
        return;
    }
    td_buf_append(out, TD_STR("\""));
    td_json_escape(out, td_str_of(value));
    td_buf_append(out, TD_STR("\""));
}

static void
put_next_string(td_buf *out, const char *key, const char *value)
{
    td_buf_append(out, TD_STR(","));
    put_string(out, key, value);
}

static void
put_number(td_buf *out, const char *key, int64_t value)
{
    td_buf_printf(out, ",\"%s\":%" PRId64, key, value);
}

static void
put_bool(td_buf *out, const char *key, bool value)
{
    td_buf_printf(out, ",\"%s\":%s", key, value ? "true" : "false");
}

static void
put_seconds_since(td_buf *out, int64_t then_ns)
{
    td_buf_printf(out, ",\"uptime_seconds\":%.3f",
                  (double)(td_clock_ns() - then_ns) / (double)TD_NS_PER_S);
}

/* Between the elements of an array. */
static void
put_comma(td_buf *out, bool is_first)
{
    if (!is_first)
        td_buf_append(out, TD_STR(","));
}

/* ---- workers */

static const char *
state_of_seat(const struct seat *seat)
{
    if (seat->pid == 0)
        return "waiting"; /* for its next worker */
    if (seat->retires || td_list_is_linked(&seat->generation->link))
        return "leaving";
    if (seat->hung)
        return "hung";
    return seat->ready ? "ready" : "starting";
}

/* As metrics has it: a worker that was adopted writes to no slot of ours. */
static const struct status_worker *
find_worker(const struct status *status, const struct seat *seat)
{
    static const struct status_worker nobody;

    for (size_t i = 0; seat->pid != 0 && i < status->workers_count; i++) {
        if (status->workers[i].is.pid == seat->pid)
            return &status->workers[i];
    }
    return &nobody;
}

static void
put_worker(td_buf *out, const struct seat *seat, const struct status *status)
{
    const struct status_worker *counted = find_worker(status, seat);

    td_buf_printf(out, "{\"number\":%u", seat->number);
    put_number(out, "pid", seat->pid);
    put_next_string(out, "state", state_of_seat(seat));
    put_seconds_since(out, seat->pid != 0 ? seat->spawned_ns : td_clock_ns());
    put_number(out, "restarts", seat->lives > 0 ? seat->lives - 1 : 0);
    put_number(out, "requests", (int64_t)status_sum(counted->responses, TD_STATUS_CLASSES));
    put_number(out, "memory_bytes",
               (int64_t)status_sum(counted->gauges.memory, TD_BUDGET_KINDS_COUNT));
    put_number(out, "memory_limit_bytes", (int64_t)counted->gauges.memory_limit);
    put_number(out, "memory_refused",
               (int64_t)status_sum(counted->counters.memory_refused, TD_BUDGET_KINDS_COUNT));
    td_buf_append(out, TD_STR("}"));
}

static void
put_workers(td_buf *out, const struct generation *generation, const struct status *status)
{
    bool is_first = true;

    td_buf_append(out, TD_STR(",\"workers\":["));
    GENERATION_EACH(seat, generation) {
        put_comma(out, is_first);
        is_first = false;
        put_worker(out, seat, status);
    }
    td_buf_append(out, TD_STR("]"));
}

/* ---- handlers */

static int64_t
count_routes(const struct manifest *manifest, uint32_t instance)
{
    int64_t count = 0;

    for (size_t i = 0; i < manifest->routes_count; i++)
        count += manifest->routes[i].instance == instance;
    return count;
}

/* Known once the checker has looked. */
static void
put_handlers(td_buf *out, const struct generation *generation)
{
    const struct manifest *manifest = &generation->manifest;

    td_buf_append(out, TD_STR(",\"handlers\":["));
    for (size_t i = 0; i < manifest->instances_count; i++) {
        const struct manifest_instance *instance = &manifest->instances[i];
        put_comma(out, i == 0);
        td_buf_append(out, TD_STR("{"));
        put_string(out, "name", instance->name);
        put_next_string(out, "file", instance->file);
        put_next_string(out, "plugin", instance->plugin);
        put_next_string(out, "version", instance->version);
        put_next_string(out, "application", instance->application);
        put_number(out, "routes", count_routes(manifest, (uint32_t)i + 1));
        put_bool(out, "quarantined", generation->quarantine.is_in[i]);
        td_buf_append(out, TD_STR("}"));
    }
    td_buf_append(out, TD_STR("]"));
}

/* ---- generations */

static void
put_generation(td_buf *out, const struct generation *generation, const char *state,
               const struct status *status)
{
    td_buf_printf(out, "{\"number\":%u", generation->number);
    put_next_string(out, "state", state);
    put_number(out, "workers_wanted", (int64_t)generation->seats_count);
    put_workers(out, generation, status);
    put_handlers(out, generation);
    td_buf_append(out, TD_STR("}"));
}

static void
put_generations(td_buf *out, const struct status *status)
{
    const struct generation *last = NULL;

    td_buf_append(out, TD_STR(",\"generations\":["));
    TD_LIST_FOREACH (link, &master.draining) {
        put_comma(out, last == NULL);
        last = TD_CONTAINER_OF(link, struct generation, link);
        put_generation(out, last, "draining", status);
    }
    if (master.current != NULL) {
        put_comma(out, last == NULL);
        last = master.current;
        put_generation(out, last, "serving", status);
    }
    if (master.next != NULL) {
        put_comma(out, last == NULL);
        put_generation(out, master.next, "coming", status);
    }
    td_buf_append(out, TD_STR("]"));
}

static void
put_listeners(td_buf *out)
{
    const struct generation *generation = master.current;
    const size_t count =
        generation != NULL ? generation->configuration->listeners_count : 0;

    td_buf_append(out, TD_STR(",\"listeners\":["));
    for (size_t i = 0; i < count; i++) {
        const struct listener *listener = generation->listeners[i];
        put_comma(out, i == 0);
        td_buf_append(out, TD_STR("{"));
        put_string(out, "name", generation->configuration->listeners[i].name);
        put_next_string(out, "url", listener->url);
        put_bool(out, "reuseport", listener->reuseport);
        put_number(out, "sockets", (int64_t)listener->fds_count);
        td_buf_append(out, TD_STR("}"));
    }
    td_buf_append(out, TD_STR("]"));
}

static void
put_last_reload(td_buf *out)
{
    const struct outcome *last = &master.last_reload;

    if (last->time == 0) {
        td_buf_append(out, TD_STR(",\"last_reload\":null"));
        return;
    }
    td_buf_printf(out, ",\"last_reload\":{\"time\":%" PRId64, (int64_t)last->time);
    put_bool(out, "ok", last->is_good);
    put_next_string(out, "text", last->text);
    td_buf_append(out, TD_STR("}"));
}

static const char *
state_of_master(void)
{
    if (master.stopping)
        return "stopping";
    if (master.current == NULL)
        return "starting";
    if (master.next != NULL)
        return "reloading";
    if (master.current->seats_count == 0)
        return "without workers";
    return generation_ready(master.current) < master.current->seats_count ? "degraded" : "serving";
}

void
facts_put(td_buf *out)
{
    struct status status;
    td_arena arena;

    td_arena_init(&arena);
    status_take(&arena, &status);
    td_buf_append(out, TD_STR("{"));
    put_string(out, "version", TD_VERSION);
    put_number(out, "pid", getpid());
    put_next_string(out, "state", state_of_master());
    put_seconds_since(out, master.started_ns);
    put_next_string(out, "ini", master.ini);
    put_number(out, "generation", master.current != NULL ? master.current->number : 0);
    put_number(out, "requests", (int64_t)status_sum(status.responses, TD_STATUS_CLASSES));
    put_last_reload(out);
    put_listeners(out);
    put_generations(out, &status);
    td_buf_append(out, TD_STR(",\"metrics\":"));
    status_put_json(out, &status);
    td_buf_append(out, TD_STR("}\n"));
    td_arena_fini(&arena);
}
