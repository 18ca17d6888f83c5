#include "daemon/status/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <tornado/plugin.h>
#include <unistd.h>
#include <xxhash.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memfile.h"
#include "base/table.h"

#define BLOCKS_SIZE ((size_t)512 << 20) /* bytes of address space; what is not used takes no memory */
#define BLOCK_ALIGN 4096

static struct metrics_board *board;
static char *blocks; /* behind the board */
static int descriptor = -1; /* of both; -1: they have none */

const char *const metrics_end_names[METRICS_ENDS_COUNT] = {
#define X(id, name) name,
    METRICS_ENDS(X)
#undef X
};

/* ---- the memory */

/* Compared with what was cut off, too, so that no two places have the same names. */
static void
set_text(char *place, size_t size, const char *text)
{
    snprintf(place, size, "%s", text != NULL ? text : "");
}

#define SET_TEXT(place, text) set_text(place, sizeof(place), text)

static size_t
board_size(void)
{
    return (sizeof(*board) + BLOCK_ALIGN - 1) & ~(size_t)(BLOCK_ALIGN - 1);
}

/* A block: the worker's counters, its gauges, then listeners, routes and handlers' own by place. */
struct block {
    td_worker_counters counters;
    td_worker_gauges gauges;
};

#define MEMORY_SIZE (board_size() + BLOCKS_SIZE)

#define AT(type, field) offsetof(td_##type, field)

/* Where in its struct each number is; of arrays the sizes of the structs say how long they are. */
static const size_t offsets[] = {
    AT(route_counters, responses),
    AT(route_counters, duration_ns),
    AT(route_counters, buckets),
    AT(route_counters, received),
    AT(route_counters, sent),
    AT(route_counters, slow_callbacks),
    AT(listener_counters, responses),
    AT(listener_counters, accepted),
    AT(listener_counters, received),
    AT(listener_counters, sent),
    AT(worker_counters, reasons),
    AT(worker_counters, slow_callbacks),
    AT(worker_counters, log_dropped),
    AT(worker_counters, access_dropped),
    AT(worker_counters, memory_refused),
    AT(worker_counters, tls_handshakes),
    AT(worker_counters, tls_handshake_ns),
    AT(worker_gauges, connections),
    AT(worker_gauges, coroutines),
    AT(worker_gauges, coroutines_peak),
    AT(worker_gauges, executor_queue),
    AT(worker_gauges, executor_threads),
    AT(worker_gauges, client_active),
    AT(worker_gauges, client_idle),
    AT(worker_gauges, client_queue),
    AT(worker_gauges, memory),
    AT(worker_gauges, memory_limit),
    AT(worker_gauges, memory_peak),
};

/*
 * Differs when a counter or a name does.  The number in front is for what that does not see: count
 * it up when struct metrics_board or what is in it changes at the same size.
 */
static uint64_t
layout(void)
{
    td_buf text = {0};

    td_buf_printf(&text, "1 %zu %zu %zu %zu %zu", board_size(), sizeof(struct block),
                  sizeof(td_listener_counters), sizeof(td_route_counters), BLOCKS_SIZE);
    for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++)
        td_buf_printf(&text, " %zu", offsets[i]);
    for (unsigned i = 0; i < METRICS_ENDS_COUNT; i++)
        td_buf_printf(&text, " %s", metrics_end_names[i]);
    for (unsigned i = 0; i < TD_REASONS_COUNT; i++)
        td_buf_printf(&text, " %s", td_reason_names[i]);
    for (unsigned i = 0; i < TD_CONNECTION_STATES_COUNT; i++)
        td_buf_printf(&text, " %s", td_connection_state_names[i]);
    for (unsigned i = 0; i < TD_BUDGET_KINDS_COUNT; i++)
        td_buf_printf(&text, " %s", td_budget_names[i]);
    for (unsigned i = 0; i < TD_HANDSHAKES_COUNT; i++)
        td_buf_printf(&text, " %s", td_handshake_names[i]);
    for (unsigned i = 0; i < TD_LATENCY_BOUNDS; i++)
        td_buf_printf(&text, " %" PRIu64, td_latency_bounds[i]);
    const uint64_t hash = XXH3_64bits(td_buf_str(&text).ptr, text.len);
    td_buf_release(&text);
    return hash;
}

static void *
map(int fd)
{
    return mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
}

static void
use_memory(void *memory, int fd)
{
    board = memory;
    blocks = (char *)memory + board_size();
    descriptor = fd;
}

int
metrics_create(td_err *err)
{
    int fd = -1;

    td_memfile_create("tornadod-metrics", MEMORY_SIZE, &fd, NULL); /* or they end with this binary */
    void *memory = map(fd);

    if (memory == MAP_FAILED)
        return td_err_errno(err, "memory for metrics");
    td_latency_init();
    use_memory(memory, fd);
    board->layout = layout();
    board->master = getpid();
    board->started_ns = td_clock_ns();
    board->started_s = time(NULL);
    board->listeners_count = board->routes_count = 1;
    SET_TEXT(board->listeners[0].name, "(other)");
    SET_TEXT(board->routes[0].pattern, "(none)");
    return 0;
}

int
metrics_descriptor(void)
{
    return descriptor;
}

static bool
is_ours(int fd)
{
    uint64_t size, found;

    return td_memfile_is(fd, &size) && size == MEMORY_SIZE &&
           pread(fd, &found, sizeof(found), offsetof(struct metrics_board, layout)) ==
               (ssize_t)sizeof(found) &&
           found == board->layout;
}

void
metrics_adopt(int fd)
{
    void *memory = is_ours(fd) ? map(fd) : MAP_FAILED;

    if (memory == MAP_FAILED) {
        td_log_at(TD_LOG_WARNING, "master",
                  "the binary before has counted other things: all metrics begin anew");
        close(fd);
        return;
    }
    munmap(board, MEMORY_SIZE);
    close(descriptor);
    use_memory(memory, fd);
}

static size_t
block_size(const struct metrics_worker *worker)
{
    const size_t size =
        sizeof(struct block) + worker->listeners_count * sizeof(td_listener_counters) +
        worker->routes_count * sizeof(td_route_counters) + worker->own_count * sizeof(uint64_t);

    return (size + BLOCK_ALIGN - 1) & ~(size_t)(BLOCK_ALIGN - 1);
}

static struct block *
block_at(uint64_t offset)
{
    return (struct block *)(blocks + offset - BLOCK_ALIGN); /* 0 stands for none */
}

static struct metrics_block
parts_of(struct block *block, const struct metrics_worker *worker)
{
    td_listener_counters *listeners = (td_listener_counters *)(block + 1);
    td_route_counters *routes = (td_route_counters *)(listeners + worker->listeners_count);

    return (struct metrics_block){.counters = &block->counters,
                                  .gauges = &block->gauges,
                                  .listeners = listeners,
                                  .routes = routes,
                                  .own = (uint64_t *)(routes + worker->routes_count),
                                  .listeners_count = worker->listeners_count,
                                  .routes_count = worker->routes_count,
                                  .own_count = worker->own_count};
}

/* Where a block that begins at `offset` runs into another one, the end of that; else 0. */
static uint64_t
find_overlap(uint64_t offset, size_t size)
{
    for (size_t i = 0; i < SCOREBOARD_SLOTS; i++) {
        const struct metrics_worker *other = &board->workers[i];
        if (other->offset != 0 && other->offset < offset + size &&
            offset < other->offset + block_size(other))
            return other->offset + block_size(other);
    }
    return 0;
}

/* First fit: 0 when there is no room. */
static uint64_t
find_room(size_t size)
{
    uint64_t offset = BLOCK_ALIGN, next;

    while (offset + size <= BLOCKS_SIZE && (next = find_overlap(offset, size)) != 0)
        offset = next;
    return offset + size <= BLOCKS_SIZE ? offset : 0;
}

/* ---- writing and reading at the same time */

static void
begin_writing(void)
{
    __atomic_store_n(&board->sequence, board->sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void
end_writing(void)
{
    __atomic_store_n(&board->sequence, board->sequence + 1, __ATOMIC_RELEASE);
}

const struct metrics_board *
metrics_board(void)
{
    return board;
}

uint32_t
metrics_begin_look(void)
{
    return __atomic_load_n(&board->sequence, __ATOMIC_ACQUIRE);
}

bool
metrics_end_look(uint32_t sequence)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return sequence % 2 == 0 && __atomic_load_n(&board->sequence, __ATOMIC_RELAXED) == sequence;
}

bool
metrics_find_block(const struct metrics_worker *worker, struct metrics_block *out)
{
    if (worker->offset < BLOCK_ALIGN || worker->offset > BLOCKS_SIZE ||
        worker->listeners_count > METRICS_LISTENERS || worker->routes_count > METRICS_ROUTES ||
        worker->own_count > METRICS_OWN || worker->offset + block_size(worker) > BLOCKS_SIZE)
        return false;
    *out = parts_of(block_at(worker->offset), worker);
    return true;
}

/* ---- places */

static uint32_t
place_of_listener(const struct metrics_listener *wanted)
{
    uint32_t i = 1;

    while (i < board->listeners_count && strcmp(board->listeners[i].name, wanted->name) != 0)
        i++;
    if (i == METRICS_LISTENERS)
        return 0;
    if (i == board->listeners_count)
        board->listeners_count++;
    struct metrics_listener *listener = &board->listeners[i];
    memcpy(listener->name, wanted->name, sizeof(listener->name));
    memcpy(listener->address, wanted->address, sizeof(listener->address));
    listener->generation = wanted->generation;
    return i;
}

/* METRICS_HANDLERS: there is no room. */
static uint32_t
place_of_handler(const struct metrics_handler *wanted)
{
    uint32_t i = 0;

    while (i < board->handlers_count && strcmp(board->handlers[i].name, wanted->name) != 0)
        i++;
    if (i == METRICS_HANDLERS)
        return i;
    if (i == board->handlers_count)
        board->handlers_count++;
    const uint64_t crashes = board->handlers[i].crashes;
    board->handlers[i] = *wanted;
    board->handlers[i].crashes = crashes;
    return i;
}

/* All that tells it from others; behind the end of each text there are zeroes. */
static td_str
texts_of(const struct metrics_route *route)
{
    return td_str_make((const char *)route, offsetof(struct metrics_route, generation));
}

/* Those on the board by their texts: there may be thousands, and each is looked for. */
static void
index_routes(td_table *index)
{
    td_table_init(index);
    for (uint32_t i = 1; i < board->routes_count; i++)
        td_table_set(index, texts_of(&board->routes[i]), &board->routes[i]);
}

static uint32_t
place_of_route(td_table *index, const struct metrics_route *wanted)
{
    struct metrics_route *route = td_table_get(index, texts_of(wanted));

    if (route == NULL && board->routes_count == METRICS_ROUTES)
        return 0;
    if (route == NULL) {
        route = &board->routes[board->routes_count++];
        *route = *wanted;
        td_table_set(index, texts_of(route), route);
    }
    route->generation = wanted->generation;
    return (uint32_t)(route - board->routes);
}

/* The oldest generation that serves, or has a worker that still counts. */
static uint32_t
find_oldest_generation(void)
{
    uint32_t oldest = board->generation;

    for (size_t i = 0; i < SCOREBOARD_SLOTS; i++) {
        const struct metrics_worker *worker = &board->workers[i];
        if (worker->state != METRICS_FREE && worker->generation < oldest)
            oldest = worker->generation;
    }
    return oldest;
}

/*
 * Values of a label come and go, as the addresses of upstreams do: where all places are taken, that
 * of one which nobody counts any more; METRICS_OWN: there is none.  If it comes back it begins anew.
 */
static uint32_t
reuse_place_of_own(void)
{
    const uint32_t oldest = find_oldest_generation();
    uint32_t i = 0;

    while (i < METRICS_OWN && board->own[i].generation >= oldest)
        i++;
    if (i < METRICS_OWN)
        board->own[i].dead = 0;
    return i;
}

/* METRICS_OWN: there is no room. */
static uint32_t
place_of_own(const struct metrics_own *wanted)
{
    uint32_t i = 0;

    while (i < board->own_count && (strcmp(board->own[i].name, wanted->name) != 0 ||
                                    strcmp(board->own[i].handler, wanted->handler) != 0 ||
                                    strcmp(board->own[i].value, wanted->value) != 0 ||
                                    board->own[i].kind != wanted->kind))
        i++;
    if (i == METRICS_OWN)
        i = reuse_place_of_own();
    if (i == METRICS_OWN)
        return i;
    if (i == board->own_count)
        board->own_count++;
    const uint64_t dead = board->own[i].dead;
    board->own[i] = *wanted;
    board->own[i].dead = dead;
    return i;
}

static void
describe_listener(const td_listener_settings *settings, uint32_t generation, uint32_t *place)
{
    struct metrics_listener listener = {.generation = generation};

    SET_TEXT(listener.name, settings->name);
    SET_TEXT(listener.address, settings->address);
    *place = place_of_listener(&listener);
}

static void
describe_handler(const struct manifest_instance *instance, uint32_t generation, uint32_t *place)
{
    struct metrics_handler handler = {.generation = generation};

    SET_TEXT(handler.name, instance->name);
    SET_TEXT(handler.file, instance->file);
    SET_TEXT(handler.version, instance->version);
    *place = place_of_handler(&handler);
}

/* A mount of "/api/" and a pattern of "/users" are what an operator knows as /api/users. */
static void
describe_route(td_table *index, const struct manifest *manifest,
               const struct manifest_route *found, uint32_t generation, uint32_t *place)
{
    const struct manifest_instance *instance = &manifest->instances[found->instance - 1];
    struct metrics_route route = {.generation = generation};
    size_t mount_len = strlen(found->mount);

    if (mount_len > 0 && found->mount[mount_len - 1] == '/')
        mount_len--;
    SET_TEXT(route.handler, instance->name);
    SET_TEXT(route.application, instance->application);
    SET_TEXT(route.hosts, found->hosts);
    snprintf(route.pattern, sizeof(route.pattern), "%.*s%s", (int)mount_len, found->mount,
             found->pattern);
    SET_TEXT(route.wanted, found->wanted);
    *place = place_of_route(index, &route);
}

static void
describe_own(const struct manifest *manifest, const struct manifest_metric *found,
             uint32_t generation, uint32_t *place)
{
    struct metrics_own own = {.kind = found->kind, .generation = generation};

    SET_TEXT(own.handler, manifest->instances[found->instance - 1].name);
    SET_TEXT(own.name, found->name);
    SET_TEXT(own.help, found->help);
    SET_TEXT(own.label, found->label);
    SET_TEXT(own.value, found->value);
    *place = place_of_own(&own);
    if (*place == METRICS_OWN)
        td_log_at(TD_LOG_WARNING, "master",
                  "handler %s: no room for its metric %s, which is not told", own.handler,
                  own.name);
}

void
metrics_describe(td_arena *arena, uint32_t generation, const td_configuration *configuration,
                 const struct manifest *manifest, struct metrics_places *out)
{
    *out = (struct metrics_places){
        .listeners = TD_ARENA_ARRAY(arena, uint32_t, configuration->listeners_count + 1),
        .handlers = TD_ARENA_ARRAY(arena, uint32_t, manifest->instances_count + 1),
        .routes = TD_ARENA_ARRAY(arena, uint32_t, manifest->routes_count + 1),
        .own = TD_ARENA_ARRAY(arena, uint32_t, manifest->metrics_count + 1)};
    td_table index;

    index_routes(&index);
    begin_writing();
    for (size_t i = 0; i < configuration->listeners_count; i++)
        describe_listener(&configuration->listeners[i], generation, &out->listeners[i]);
    for (size_t i = 0; i < manifest->instances_count; i++)
        describe_handler(&manifest->instances[i], generation, &out->handlers[i]);
    for (size_t i = 0; i < manifest->routes_count; i++)
        describe_route(&index, manifest, &manifest->routes[i], generation, &out->routes[i]);
    for (size_t i = 0; i < manifest->metrics_count; i++)
        describe_own(manifest, &manifest->metrics[i], generation, &out->own[i]);
    end_writing();
    td_table_fini(&index);
}

/* ---- what happens */

void
metrics_generation_serves(uint32_t generation, size_t workers_wanted)
{
    begin_writing();
    board->reloads += board->generation != 0 && board->generation != generation;
    board->generation = generation;
    board->workers_wanted = (uint32_t)workers_wanted;
    end_writing();
}

void
metrics_reload_failed(void)
{
    begin_writing();
    board->reloads_failed++;
    end_writing();
}

void
metrics_worker_begins(size_t place, uint32_t generation, uint32_t number)
{
    struct metrics_worker worker = {.state = METRICS_STARTING,
                                    .number = number,
                                    .generation = generation,
                                    .started_ns = td_clock_ns(),
                                    .listeners_count = board->listeners_count,
                                    .routes_count = board->routes_count,
                                    .own_count = board->own_count};

    worker.offset = find_room(block_size(&worker));
    if (worker.offset == 0)
        td_log_at(TD_LOG_WARNING, "master", "worker %u: no room for its metrics, they are lost",
                  number);
    begin_writing();
    board->workers[place] = worker;
    end_writing();
}

void
metrics_worker_forked(size_t place, pid_t pid)
{
    begin_writing();
    board->workers[place].pid = pid;
    end_writing();
}

/* Where its worker is on the board of the binary before; SCOREBOARD_SLOTS: nowhere. */
static size_t
find_worker(pid_t pid)
{
    size_t i = 0;

    while (i < SCOREBOARD_SLOTS &&
           (board->workers[i].state == METRICS_FREE || board->workers[i].pid != pid))
        i++;
    return i;
}

void
metrics_worker_adopted(size_t place, uint32_t generation, uint32_t number, pid_t pid)
{
    const size_t before = find_worker(pid);

    if (before == place)
        return;
    if (before == SCOREBOARD_SLOTS) {
        metrics_worker_begins(place, generation, number);
        metrics_worker_forked(place, pid);
        metrics_worker_is(place, METRICS_SERVING);
        return;
    }
    begin_writing(); /* places are those of the scoreboard, which may have begun anew */
    const struct metrics_worker other = board->workers[place];
    board->workers[place] = board->workers[before];
    board->workers[before] = other;
    end_writing();
}

void
metrics_worker_is(size_t place, enum metrics_state state)
{
    begin_writing();
    board->workers[place].state = state;
    end_writing();
}

/* Numbers that nobody can have counted are left out, or all figures would be wrong for ever. */
static void
add_up(void *to, const void *from, size_t size)
{
    uint64_t *sums = to;

    for (size_t i = 0; i < size / sizeof(uint64_t); i++) {
        uint64_t count;
        memcpy(&count, (const uint64_t *)from + i, sizeof(count));
        if (sums[i] < METRICS_COUNT_MAX)
            sums[i] += metrics_believed(count);
    }
}

static void
inherit(const struct metrics_worker *worker)
{
    const struct metrics_block block = parts_of(block_at(worker->offset), worker);

    add_up(&board->dead, block.counters, sizeof(*block.counters));
    for (uint32_t i = 0; i < worker->listeners_count; i++)
        add_up(&board->listeners[i].dead, &block.listeners[i], sizeof(*block.listeners));
    for (uint32_t i = 0; i < worker->routes_count; i++)
        add_up(&board->routes[i].dead, &block.routes[i], sizeof(*block.routes));
    for (uint32_t i = 0; i < worker->own_count; i++) {
        if (board->own[i].kind == TD_METRIC_COUNTER)
            add_up(&board->own[i].dead, &block.own[i], sizeof(*block.own));
    }
}

/* What is counted where the master goes on counting after the death. */
static void
inherit_from_slot(const struct slot *slot)
{
    add_up(&board->dead.log_dropped, &slot->log_dropped, sizeof(slot->log_dropped));
    add_up(&board->dead.access_dropped, &slot->access_dropped, sizeof(slot->access_dropped));
}

/* Its memory to the system; the next one there finds zeroes. */
static void
give_back(const struct metrics_worker *worker)
{
    if (madvise(block_at(worker->offset), block_size(worker), MADV_REMOVE) < 0)
        memset(block_at(worker->offset), 0, block_size(worker));
}

void
metrics_worker_ended(size_t place)
{
    struct metrics_worker *worker = &board->workers[place];

    begin_writing();
    inherit_from_slot(scoreboard_slot(place));
    if (worker->offset != 0) {
        inherit(worker);
        give_back(worker);
    }
    *worker = (struct metrics_worker){.state = METRICS_FREE};
    end_writing();
}

void
metrics_worker_replaced(enum metrics_end why)
{
    begin_writing();
    board->ends[why]++;
    end_writing();
}

uint32_t
metrics_find_handler(const char *name)
{
    uint32_t i = 0;

    while (i < board->handlers_count && strcmp(board->handlers[i].name, name) != 0)
        i++;
    return i < board->handlers_count ? i : METRICS_HANDLERS;
}

void
metrics_handler_crashed(uint32_t handler, bool is_quarantined)
{
    if (handler >= METRICS_HANDLERS)
        return;
    begin_writing();
    board->handlers[handler].crashes++;
    board->handlers[handler].is_quarantined |= is_quarantined;
    end_writing();
}

void
metrics_handler_quarantined(uint32_t handler, bool is_in)
{
    if (handler >= METRICS_HANDLERS)
        return;
    begin_writing();
    board->handlers[handler].is_quarantined = is_in;
    end_writing();
}

/* ---- a worker */

void
metrics_enter(size_t place, struct metrics_block *out)
{
    const struct metrics_worker *worker = &board->workers[place];
    struct block *block =
        worker->offset != 0 ? block_at(worker->offset) : td_xcalloc(1, block_size(worker));

    *out = parts_of(block, worker);
    td_counters = out->counters;
    td_gauges = out->gauges;
    mprotect(board, board_size(), PROT_READ);
}
