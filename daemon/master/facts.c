#include "daemon/master/facts.h"

#include <unistd.h>
#include "base/clock.h"
#include "daemon/master/master_internal.h"
#include "daemon/status/status.h"

static void
put_seconds_since(td_jsontext *out, int64_t then_ns)
{
    td_jsontext_double(out, "uptime_seconds",
                       (double)(td_clock_ns() - then_ns) / (double)TD_NS_PER_S);
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
put_worker(td_jsontext *out, const struct seat *seat, const struct status *status)
{
    const struct status_worker *counted = find_worker(status, seat);

    td_jsontext_open_object(out, NULL);
    td_jsontext_number(out, "number", seat->number);
    td_jsontext_signed(out, "pid", seat->pid);
    td_jsontext_string(out, "state", state_of_seat(seat));
    put_seconds_since(out, seat->pid != 0 ? seat->spawned_ns : td_clock_ns());
    td_jsontext_signed(out, "restarts", seat->lives > 0 ? seat->lives - 1 : 0);
    td_jsontext_number(out, "requests", status_sum(counted->responses, TD_STATUS_CLASSES));
    td_jsontext_number(out, "memory_bytes",
                       status_sum(counted->gauges.memory, TD_BUDGET_KINDS_COUNT));
    td_jsontext_number(out, "memory_peak_bytes", counted->gauges.memory_peak);
    td_jsontext_number(out, "memory_limit_bytes", counted->gauges.memory_limit);
    td_jsontext_number(out, "memory_refused",
                       status_sum(counted->counters.memory_refused, TD_BUDGET_KINDS_COUNT));
    td_jsontext_close(out);
}

static void
put_workers(td_jsontext *out, const struct generation *generation, const struct status *status)
{
    td_jsontext_open_array(out, "workers");
    GENERATION_EACH(seat, generation)
        put_worker(out, seat, status);
    td_jsontext_close(out);
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
put_handlers(td_jsontext *out, const struct generation *generation)
{
    const struct manifest *manifest = &generation->manifest;

    td_jsontext_open_array(out, "handlers");
    for (size_t i = 0; i < manifest->instances_count; i++) {
        const struct manifest_instance *instance = &manifest->instances[i];
        td_jsontext_open_object(out, NULL);
        td_jsontext_string(out, "name", instance->name);
        td_jsontext_string(out, "file", instance->file);
        td_jsontext_string(out, "plugin", instance->plugin);
        td_jsontext_string(out, "version", instance->version);
        td_jsontext_string(out, "application", instance->application);
        td_jsontext_signed(out, "routes", count_routes(manifest, (uint32_t)i + 1));
        td_jsontext_bool(out, "quarantined", generation->quarantine.is_in[i]);
        td_jsontext_close(out);
    }
    td_jsontext_close(out);
}

/* ---- generations */

static void
put_generation(td_jsontext *out, const struct generation *generation, const char *state,
               const struct status *status)
{
    td_jsontext_open_object(out, NULL);
    td_jsontext_number(out, "number", generation->number);
    td_jsontext_string(out, "state", state);
    td_jsontext_signed(out, "workers_wanted", (int64_t)generation->seats_count);
    put_workers(out, generation, status);
    put_handlers(out, generation);
    td_jsontext_close(out);
}

static void
put_generations(td_jsontext *out, const struct status *status)
{
    td_jsontext_open_array(out, "generations");
    TD_LIST_FOREACH (link, &master.draining)
        put_generation(out, TD_CONTAINER_OF(link, struct generation, link), "draining", status);
    if (master.current != NULL)
        put_generation(out, master.current, "serving", status);
    if (master.next != NULL)
        put_generation(out, master.next, "coming", status);
    td_jsontext_close(out);
}

static void
put_listeners(td_jsontext *out)
{
    const struct generation *generation = master.current;
    const size_t count =
        generation != NULL ? generation->configuration->listeners_count : 0;

    td_jsontext_open_array(out, "listeners");
    for (size_t i = 0; i < count; i++) {
        const struct listener *listener = generation->listeners[i];
        td_jsontext_open_object(out, NULL);
        td_jsontext_string(out, "name", generation->configuration->listeners[i].name);
        td_jsontext_string(out, "url", listener->url);
        td_jsontext_bool(out, "reuseport", listener->reuseport);
        td_jsontext_signed(out, "sockets", (int64_t)listener->fds_count);
        td_jsontext_close(out);
    }
    td_jsontext_close(out);
}

static void
put_last_reload(td_jsontext *out)
{
    const struct outcome *last = &master.last_reload;

    if (last->time == 0) {
        td_jsontext_string(out, "last_reload", NULL);
        return;
    }
    td_jsontext_open_object(out, "last_reload");
    td_jsontext_signed(out, "time", last->time);
    td_jsontext_bool(out, "ok", last->is_good);
    td_jsontext_string(out, "text", last->text);
    td_jsontext_close(out);
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

static void
put_facts(td_jsontext *out, struct status *status)
{
    td_jsontext_open_object(out, NULL);
    td_jsontext_string(out, "version", TD_VERSION);
    td_jsontext_signed(out, "pid", getpid());
    td_jsontext_string(out, "state", state_of_master());
    put_seconds_since(out, master.started_ns);
    td_jsontext_string(out, "ini", master.ini);
    td_jsontext_signed(out, "generation", master.current != NULL ? master.current->number : 0);
    td_jsontext_number(out, "requests", status_sum(status->responses, TD_STATUS_CLASSES));
    put_last_reload(out);
    put_listeners(out);
    put_generations(out, status);
    status_put_json(out, "metrics", status);
    td_jsontext_close(out);
}

void
facts_put(td_buf *out)
{
    td_jsontext text = {.to = out};
    struct status *status;
    td_arena arena;

    td_arena_init(&arena);
    status = TD_ARENA_ARRAY(&arena, struct status, 1);
    status_take(&arena, NULL, status);
    put_facts(&text, status);
    td_buf_append(out, TD_STR("\n"));
    td_arena_fini(&arena);
}
