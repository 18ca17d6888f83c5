#include "daemon/status/status.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"

#define LOOKS_MAX 10 /* then it is taken as it is */

static void
add_up(void *to, const void *from, size_t size)
{
    uint64_t *sums = to;
    const volatile uint64_t *counts = from; /* others go on writing them */

    for (size_t i = 0; i < size / sizeof(uint64_t); i++)
        sums[i] += metrics_believed(counts[i]);
}

#define ADD_UP(to, from) add_up((to), (from), sizeof(*(to)))

/* A gauge of a handler's may be negative. */
static void
add_own(int64_t *sum, const volatile uint64_t *count)
{
    *sum = (int64_t)((uint64_t)*sum + *count);
}

/* "SIZE RESIDENT ..." in pages. */
static uint64_t
resident_memory(pid_t pid)
{
    char path[64], text[128];
    unsigned long long size = 0, resident = 0;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    if (sscanf(text, "%llu %llu", &size, &resident) != 2)
        return 0;
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void
take_worker(struct status *status, const struct metrics_worker *is, const struct slot *slot)
{
    struct status_worker *worker = &status->workers[status->workers_count++];
    struct metrics_block block;

    *worker = (struct status_worker){.is = *is};
    if (!metrics_find_block(&worker->is, &block))
        return;
    ADD_UP(&worker->counters, block.counters);
    worker->counters.log_dropped = metrics_believed(slot->log_dropped);
    worker->counters.access_dropped = metrics_believed(slot->access_dropped);
    ADD_UP(&worker->gauges, block.gauges);
    for (size_t i = 0; i < worker->is.listeners_count && i < status->listeners_count; i++) {
        ADD_UP(&status->listeners[i].all, &block.listeners[i]);
        ADD_UP(&worker->responses, &block.listeners[i].responses);
    }
    for (size_t i = 0; i < worker->is.own_count && i < status->own_count; i++)
        add_own(&status->own[i].all, &block.own[i]);
    worker->connections = status_sum(worker->gauges.connections, TD_CONNECTION_STATES_COUNT);
    ADD_UP(&status->all, &worker->counters);
    ADD_UP(&status->gauges, &worker->gauges);
}

static bool
is_alive(const struct metrics_worker *worker)
{
    return worker->state != METRICS_FREE && worker->pid != 0;
}

static void
take_workers(td_arena *arena, struct status *status)
{
    const struct metrics_worker *workers = status->board->workers;
    size_t count = 0;

    for (size_t i = 0; i < SCOREBOARD_SLOTS; i++)
        count += is_alive(&workers[i]);
    status->workers = TD_ARENA_ARRAY(arena, struct status_worker, count + 1);
    for (size_t i = 0; i < SCOREBOARD_SLOTS && status->workers_count < count; i++) {
        if (is_alive(&workers[i]))
            take_worker(status, &workers[i], scoreboard_slot(i));
    }
}

static void
take_own(td_arena *arena, struct status *status)
{
    const struct metrics_board *board = status->board;

    status->own_count = board->own_count;
    status->own = TD_ARENA_ARRAY(arena, struct status_own, status->own_count + 1);
    for (size_t i = 0; i < status->own_count; i++)
        status->own[i] = (struct status_own){&board->own[i], (int64_t)board->own[i].dead};
}

static void
take_counters(td_arena *arena, struct status *status)
{
    const struct metrics_board *board = status->board;

    status->listeners_count = board->listeners_count;
    status->routes_count = board->routes_count;
    status->listeners = TD_ARENA_ARRAY(arena, struct status_listener, status->listeners_count);
    status->all = board->dead;
    for (size_t i = 0; i < status->listeners_count; i++)
        status->listeners[i] =
            (struct status_listener){&board->listeners[i], board->listeners[i].dead};
    take_own(arena, status);
    take_workers(arena, status);
    for (size_t i = 0; i < status->listeners_count; i++)
        ADD_UP(&status->responses, &status->listeners[i].all.responses);
}

uint64_t
status_sum(const uint64_t *numbers, size_t count)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += numbers[i];
    return sum;
}

static int
compare_workers(const void *a_, const void *b_)
{
    const struct metrics_worker *a = &((const struct status_worker *)a_)->is;
    const struct metrics_worker *b = &((const struct status_worker *)b_)->is;

    if (a->generation != b->generation)
        return a->generation < b->generation ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* By name, then by place. */
static int
compare_own(const void *a_, const void *b_)
{
    const struct metrics_own *a = ((const struct status_own *)a_)->is;
    const struct metrics_own *b = ((const struct status_own *)b_)->is;
    const int order = strcmp(a->name, b->name);

    return order != 0 ? order : (a > b) - (a < b);
}

/*
 * Of those that are declared now.  What one generation called a counter the next may call a gauge:
 * where both are known the kind is that of the first.
 */
static void
choose_own(struct status *status)
{
    size_t count = 0;

    for (size_t i = 0; i < status->own_count; i++) {
        if (status->own[i].is->generation >= status->board->generation)
            status->own[count++] = status->own[i];
    }
    qsort(status->own, count, sizeof(*status->own), compare_own);
    status->own_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct metrics_own *own = status->own[i].is;
        const struct metrics_own *last =
            status->own_count > 0 ? status->own[status->own_count - 1].is : NULL;
        if (last == NULL || strcmp(last->name, own->name) != 0 || last->kind == own->kind)
            status->own[status->own_count++] = status->own[i];
    }
}

static void
find_living(struct status *status)
{
    status->living_count = 0;
    for (size_t i = 0; i < SCOREBOARD_SLOTS; i++) {
        if (is_alive(&status->board->workers[i]))
            status->living[status->living_count++] = (uint16_t)i;
    }
}

void
status_take(td_arena *arena, const td_metrics_reader *reader, struct status *out)
{
    const td_arena_mark mark = td_arena_mark_now(arena);
    td_buf nothing = {0};
    int looks = 0;

    do {
        td_arena_rewind(arena, mark);
        *out = (struct status){.board = metrics_board(),
                               .now_ns = td_clock_ns(),
                               .sequence = metrics_begin_look()};
        take_counters(arena, out);
        find_living(out);
    } while (!metrics_end_look(out->sequence) && ++looks < LOOKS_MAX);
    if (reader != NULL)
        out->reader = *reader;
    qsort(out->workers, out->workers_count, sizeof(*out->workers), compare_workers);
    choose_own(out);
    for (size_t i = 0; i < out->workers_count && status_goes_on(out, &nothing); i++)
        out->workers[i].resident_memory = resident_memory(out->workers[i].is.pid);
}

static void
add_route(struct status *status, size_t place, td_route_counters *sum)
{
    for (size_t i = 0; i < status->living_count; i++) {
        const struct metrics_worker worker = status->board->workers[status->living[i]];
        struct metrics_block block;

        if (metrics_find_block(&worker, &block) && place < block.routes_count)
            ADD_UP(sum, &block.routes[place]);
    }
}

void
status_take_route(struct status *status, size_t place, struct status_route *out)
{
    const struct metrics_route *route = &status->board->routes[place];
    uint32_t sequence;
    int looks = 0;

    do {
        sequence = metrics_begin_look();
        if (sequence != status->sequence)
            find_living(status);
        status->sequence = sequence;
        *out = (struct status_route){route, route->dead};
        add_route(status, place, &out->all);
    } while (!metrics_end_look(sequence) && ++looks < LOOKS_MAX);
}

static void
put_json(td_buf *to, struct status *status)
{
    td_jsontext text = {.to = to};

    status_put_json(&text, NULL, status);
    td_buf_append(to, TD_STR("\n"));
}

void
status_put(td_buf *to, td_metrics_format format, const td_metrics_reader *reader)
{
    /* The reader may be unwound, and so are we then. */
    td_arena arena __attribute__((cleanup(td_arena_fini)));
    struct status *status;

    td_arena_init(&arena);
    status = TD_ARENA_ARRAY(&arena, struct status, 1);
    status_take(&arena, reader, status);
    switch (format) {
    case TD_METRICS_JSON:
        put_json(to, status);
        break;
    case TD_METRICS_OPENMETRICS:
        status_put_openmetrics(to, status);
        break;
    case TD_METRICS_HTML:
        status_put_html(to, status);
        break;
    }
}
