/*
 * Quarantine: a handler that crashes worker after worker is not run any more; its routes answer
 * 503, and the rest of the site goes on.  A new generation knows nothing of it, so a reload lets it
 * go; but that of another binary holds what the one before had found, while its file is the same.
 */
#ifndef DAEMON_MASTER_QUARANTINE_H
#define DAEMON_MASTER_QUARANTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/settings.h"

struct quarantine {
    size_t instances_count;
    unsigned crashes_max; /* 0: nobody is ever quarantined */
    int64_t window_ns;
    bool *is_in;    /* by the index of the instance less 1 */
    int64_t *times; /* of each instance's last crashes_max crashes, a ring; 0: there was none */
    unsigned *next; /* its oldest */
    int64_t *digests; /* of the files of those that are in (handlerfile.h) */
};

void quarantine_init(struct quarantine *quarantine, td_arena *arena, size_t instances_count,
                     const td_tornadod_settings *settings);

/* Instance `index` (1-based; others are ignored) has crashed.  True: that was once too often. */
bool quarantine_note(struct quarantine *quarantine, uint32_t index, int64_t now_ns);

/* It is in. */
void quarantine_hold(struct quarantine *quarantine, uint32_t index, int64_t digest);

/* Let it go, its crashes forgotten; false: it was not in. */
bool quarantine_release(struct quarantine *quarantine, uint32_t index);

#endif
