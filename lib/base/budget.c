/*
 * Counting is an addition where something large is taken; arenas, which take pooled chunks all the
 * time, are not counted but asked how many chunks they have when somebody wants to know.
 */
#include "base/budget.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/cgroup.h"
#include "base/counters.h"
#include "base/log.h"

#define SHARE_MIN ((size_t)4 << 20)
#define WORKER_ALONE ((size_t)8 << 20) /* what is dirty in an idle worker, its log rings included */

const char *const td_budget_names[TD_BUDGET_KINDS_COUNT] = {
#define X(id, name, share) name,
    TD_BUDGET_KINDS(X)
#undef X
};

static const unsigned shares[TD_BUDGET_KINDS_COUNT] = {
#define X(id, name, share) share,
    TD_BUDGET_KINDS(X)
#undef X
};

static struct {
    size_t limit;
    size_t used[TD_BUDGET_KINDS_COUNT]; /* bytes; written by all threads */
    char text[64];
} budget = {.limit = SIZE_MAX, .text = "memory is used up"};

void
td_budget_configure(size_t limit)
{
    budget.limit = limit;
    snprintf(budget.text, sizeof(budget.text), "memory (%zu bytes) is used up", limit);
    td_budget_publish();
}

const char *
td_budget_text(void)
{
    return budget.text;
}

static size_t
used_for(td_budget_kind kind)
{
    const size_t counted = __atomic_load_n(&budget.used[kind], __ATOMIC_RELAXED);

    return kind == TD_BUDGET_REQUESTS ? counted + td_chunks_in_use() * TD_CHUNK_SIZE : counted;
}

size_t
td_budget_used(void)
{
    size_t sum = 0;

    for (unsigned kind = 0; kind < TD_BUDGET_KINDS_COUNT; kind++)
        sum += used_for((td_budget_kind)kind);
    return sum;
}

bool
td_budget_has(td_budget_kind kind, size_t size)
{
    const size_t most = budget.limit / 100 * shares[kind], used = td_budget_used();

    return used <= most && size <= most - used;
}

static void
publish_peak(size_t used)
{
    if (used > td_gauges->memory_peak)
        td_gauges->memory_peak = used;
}

static void
publish(td_budget_kind kind, size_t used)
{
    __atomic_store_n(&td_gauges->memory[kind], used, __ATOMIC_RELAXED);
}

void
td_budget_publish(void)
{
    for (unsigned kind = 0; kind < TD_BUDGET_KINDS_COUNT; kind++)
        publish((td_budget_kind)kind, used_for((td_budget_kind)kind));
    td_gauges->memory_limit = budget.limit;
    publish_peak(td_budget_used());
}

void
td_budget_note(td_budget_kind kind, size_t size)
{
    publish(kind, __atomic_add_fetch(&budget.used[kind], size, __ATOMIC_RELAXED));
    publish_peak(td_budget_used());
}

void
td_budget_give(td_budget_kind kind, size_t size)
{
    publish(kind, __atomic_sub_fetch(&budget.used[kind], size, __ATOMIC_RELAXED));
}

bool
td_budget_take(td_budget_kind kind, size_t size)
{
    if (!td_budget_has(kind, size))
        return false;
    td_budget_note(kind, size);
    return true;
}

void
td_budget_refused(td_budget_kind kind, const char *instead)
{
    static td_log_gate gates[TD_BUDGET_KINDS_COUNT];

    td_counters->memory_refused[kind]++;
    if (instead != NULL)
        td_log_gated(&gates[kind], TD_LOG_WARNING, "memory", "%s: %s", budget.text, instead);
}

/* ---- how much there is */

static void
limit_by_file(uint64_t *limit, const char *folder, const char *name)
{
    char text[64], *end;
    uint64_t bytes;

    if (!td_cgroup_read(folder, name, text, sizeof(text)))
        return;
    bytes = strtoull(text, &end, 10); /* "max": none */
    if (end != text && bytes < *limit)
        *limit = bytes;
}

/* Past memory.high the kernel slows a group down until nothing moves. */
static void
limit_by_group(void *arg, int version, const char *folder)
{
    uint64_t *limit = arg;

    if (version == 2) {
        limit_by_file(limit, folder, "memory.max");
        limit_by_file(limit, folder, "memory.high");
    } else {
        limit_by_file(limit, folder, "memory.limit_in_bytes");
    }
}

size_t
td_budget_share(const char *root, uint64_t machine, size_t workers_count)
{
    uint64_t group = UINT64_MAX, all;

    td_cgroup_each(root, "memory", limit_by_group, &group);
    all = group / 2 < machine / 4 ? group / 2 : machine / 4;
    all /= workers_count > 0 ? workers_count : 1;
    if (all < SHARE_MIN + WORKER_ALONE)
        return SHARE_MIN;
    return all < SIZE_MAX ? (size_t)all - WORKER_ALONE : SIZE_MAX;
}

size_t
td_budget_auto(size_t workers_count)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGESIZE);
    const uint64_t machine = pages > 0 ? (uint64_t)pages * (uint64_t)page_size : UINT64_MAX;

    return td_budget_share("", machine, workers_count);
}
