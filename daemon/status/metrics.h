/*
 * The metrics of the daemon: memory that the master makes before it forks, and that all of its
 * processes see at the same address for as long as it runs.
 *
 * In front is the *board*, which the master alone writes: what there is to count (listeners,
 * handlers, routes), who works where, and what the workers that are gone had counted.  A thing
 * keeps its place on the board over reloads, so what is counted for it never falls.  Behind it each
 * worker has a *block* of counters, one for each thing on the board when it was made.  What is the
 * case in all is a place's number of the dead plus those in the blocks of the living; status.h adds
 * it up.
 *
 * There is nothing in a block but numbers, so a worker gone mad can make figures wrong and nothing
 * else.
 */
#ifndef DAEMON_STATUS_METRICS_H
#define DAEMON_STATUS_METRICS_H

#include <stdint.h>
#include <sys/types.h>
#include <tornado/error.h>
#include "base/arena.h"
#include "base/counters.h"
#include "base/settings.h"
#include "daemon/scoreboard.h"
#include "daemon/site/manifest.h"

#define METRICS_LISTENERS 1024 /* places there are; what does not fit is counted at place 0 */
#define METRICS_HANDLERS 1024
#define METRICS_ROUTES 16384
#define METRICS_OWN 4096 /* that handlers have declared, also in the past: the oldest make room */

#define METRICS_NAME_SIZE 64 /* longer texts are cut off */
#define METRICS_PATTERN_SIZE 256
#define METRICS_HELP_SIZE 256
#define METRICS_VALUE_SIZE 256

struct metrics_listener {
    char name[METRICS_NAME_SIZE], address[METRICS_NAME_SIZE];
    uint32_t generation; /* the newest that has it */
    td_listener_counters dead;
};

struct metrics_handler {
    char name[METRICS_NAME_SIZE], file[METRICS_NAME_SIZE], version[METRICS_NAME_SIZE];
    uint32_t generation;
    uint32_t is_quarantined;
    uint64_t crashes; /* workers that it has ended */
};

struct metrics_route {
    char handler[METRICS_NAME_SIZE], application[METRICS_NAME_SIZE];
    char hosts[METRICS_NAME_SIZE];        /* pattern; ".*": any */
    char pattern[METRICS_PATTERN_SIZE];   /* from its mount on */
    char wanted[METRICS_PATTERN_SIZE];    /* methods and headers; empty: any request */
    uint32_t generation;
    td_route_counters dead;
};

/* What a handler has declared (TD_METRICS). */
struct metrics_own {
    char handler[METRICS_NAME_SIZE], name[METRICS_NAME_SIZE], help[METRICS_HELP_SIZE];
    char label[METRICS_NAME_SIZE], value[METRICS_VALUE_SIZE]; /* both empty: it has none */
    uint32_t kind; /* td_metric_kind; a name has a place for each, and for each value of a label */
    uint32_t generation;
    uint64_t dead; /* of a counter; of a gauge 0 */
};

enum metrics_state { METRICS_FREE, METRICS_STARTING, METRICS_SERVING, METRICS_DRAINING };

struct metrics_worker {
    uint32_t state; /* enum metrics_state */
    uint32_t number, generation;
    pid_t pid;
    int64_t started_ns; /* monotonic */
    uint64_t offset;    /* of its block in the memory; 0: there was no room, it counts for itself */
    uint32_t listeners_count, routes_count, own_count; /* in its block */
};

/* Why workers were replaced. */
#define METRICS_ENDS(X)                                                                            \
    X(LEFT, "exit")      /* with status 0 */                                                       \
    X(FAILED, "failure") /* with another one */                                                    \
    X(CRASHED, "crash")                                                                            \
    X(KILLED, "kill") /* by SIGKILL, and not by us */                                              \
    X(HUNG, "hang")

enum metrics_end {
#define X(id, name) METRICS_END_##id,
    METRICS_ENDS(X)
#undef X
        METRICS_ENDS_COUNT
};

struct metrics_board {
    uint64_t layout;   /* of all that is here, and of the blocks: who finds another one leaves it alone */
    uint32_t sequence; /* odd while the master writes; see metrics_begin_look */
    pid_t master;
    int64_t started_ns, started_s; /* monotonic; since 1970 */
    uint32_t generation;           /* that serves; 0: none does yet */
    uint32_t workers_wanted;       /* in it */
    uint64_t reloads, reloads_failed;
    uint64_t ends[METRICS_ENDS_COUNT];
    td_worker_counters dead;
    uint32_t listeners_count, handlers_count, routes_count, own_count;
    struct metrics_listener listeners[METRICS_LISTENERS];
    struct metrics_handler handlers[METRICS_HANDLERS];
    struct metrics_route routes[METRICS_ROUTES]; /* the first: of all that no route serves */
    struct metrics_own own[METRICS_OWN];
    struct metrics_worker workers[SCOREBOARD_SLOTS];
};

/* ---- the master */

int metrics_create(td_err *err); /* once, before the first fork */

/*
 * For the binary that takes over (upgrade.h): what is counted goes on, the workers that it finds go
 * on counting where they did.  The descriptor is closed on exec; -1: the memory has none.
 */
int metrics_descriptor(void);

/*
 * In that binary, before it has a worker: go on in the memory behind fd, which is ours from here
 * on.  That of a binary that counts other things is left alone, which is logged, and all begins
 * anew.
 */
void metrics_adopt(int fd);

/* Where the things of one generation are on the board. */
struct metrics_places {
    uint32_t *listeners; /* by configuration->listeners */
    uint32_t *handlers;  /* by manifest->instances */
    uint32_t *routes;    /* by manifest->routes */
    uint32_t *own;       /* by manifest->metrics; METRICS_OWN: there was no room */
};

/* Take places for what it has, in the arena. */
void metrics_describe(td_arena *arena, uint32_t generation, const td_configuration *configuration,
                      const struct manifest *manifest, struct metrics_places *out);

void metrics_generation_serves(uint32_t generation, size_t workers_wanted);
void metrics_reload_failed(void);

/* place: of its slot on the scoreboard. */
void metrics_worker_begins(size_t place, uint32_t generation, uint32_t number);
void metrics_worker_forked(size_t place, pid_t pid);
void metrics_worker_adopted(size_t place, uint32_t generation, uint32_t number, pid_t pid);
void metrics_worker_is(size_t place, enum metrics_state state);
void metrics_worker_ended(size_t place); /* its counters are added to those of the dead */
void metrics_worker_replaced(enum metrics_end why);

/* The place of the handler in what was described before; METRICS_HANDLERS: it has none. */
uint32_t metrics_find_handler(const char *name);
void metrics_handler_crashed(uint32_t handler, bool is_quarantined);
void metrics_handler_quarantined(uint32_t handler, bool is_in);

/* ---- a worker */

struct metrics_block {
    td_worker_counters *counters;
    td_worker_gauges *gauges;
    td_listener_counters *listeners; /* by place; of those that exceed the counts, take place 0 */
    td_route_counters *routes;
    uint64_t *own;
    uint32_t listeners_count, routes_count, own_count;
};

/*
 * td_counters and td_gauges are the block's from now on, and the board cannot be written any more.
 */
void metrics_enter(size_t place, struct metrics_block *out);

/* ---- everybody */

const struct metrics_board *metrics_board(void); /* NULL: there is none */

/*
 * What is read between the two is as it was at one time if the second returns true, else half of it
 * may be older.  Never wait for the master in between: it may have died while it wrote.
 */
uint32_t metrics_begin_look(void);
bool metrics_end_look(uint32_t sequence);

#define METRICS_COUNT_MAX (UINT64_C(1) << 60) /* no honest worker gets there */

/*
 * A number of a worker's; 0 where it has gone mad: what is told has to be a number to those who
 * read it.
 */
static inline uint64_t
metrics_believed(uint64_t count)
{
    return count < METRICS_COUNT_MAX ? count : 0;
}

/* The counters of a worker that lives; its block checked to lie where blocks do. */
bool metrics_find_block(const struct metrics_worker *worker, struct metrics_block *out);

extern const char *const metrics_end_names[METRICS_ENDS_COUNT];

#endif
