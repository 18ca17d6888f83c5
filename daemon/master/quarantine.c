#include "daemon/master/quarantine.h"

#include <string.h>
#include "base/clock.h"

void
quarantine_init(struct quarantine *quarantine, td_arena *arena, size_t instances_count,
                const td_tornadod_settings *settings)
{
    const size_t crashes_max = (size_t)settings->quarantine_crashes;

    *quarantine = (struct quarantine){
        .instances_count = instances_count,
        .crashes_max = (unsigned)crashes_max,
        .window_ns = settings->quarantine_window_ms * TD_NS_PER_MS,
        .is_in = TD_ARENA_ARRAY(arena, bool, instances_count + 1),
        .times = TD_ARENA_ARRAY(arena, int64_t, instances_count * crashes_max + 1),
        .next = TD_ARENA_ARRAY(arena, unsigned, instances_count + 1),
        .digests = TD_ARENA_ARRAY(arena, int64_t, instances_count + 1),
    };
}

bool
quarantine_note(struct quarantine *quarantine, uint32_t index, int64_t now_ns)
{
    const size_t i = index - 1; /* of 0 it is too large */
    const unsigned max = quarantine->crashes_max;

    if (i >= quarantine->instances_count || max == 0 || quarantine->is_in[i])
        return false;
    int64_t *times = &quarantine->times[i * max];
    times[quarantine->next[i]] = now_ns;
    quarantine->next[i] = (quarantine->next[i] + 1) % max;
    const int64_t oldest_ns = times[quarantine->next[i]];
    quarantine->is_in[i] = oldest_ns != 0 && now_ns - oldest_ns <= quarantine->window_ns;
    return quarantine->is_in[i];
}

void
quarantine_hold(struct quarantine *quarantine, uint32_t index, int64_t digest)
{
    const size_t i = index - 1;

    if (i >= quarantine->instances_count)
        return;
    quarantine->is_in[i] = true;
    quarantine->digests[i] = digest;
}

bool
quarantine_release(struct quarantine *quarantine, uint32_t index)
{
    const size_t i = index - 1;

    if (i >= quarantine->instances_count || !quarantine->is_in[i])
        return false;
    quarantine->is_in[i] = false;
    memset(&quarantine->times[i * quarantine->crashes_max], 0,
           quarantine->crashes_max * sizeof(*quarantine->times));
    return true;
}
