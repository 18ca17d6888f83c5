/*
 * The scoreboard: memory that the master shares with its workers, a slot each.  A worker writes
 * what it is doing, and when it crashes, how; the master reads the slot of a dead one.  To the
 * master all of it is hostile: it is copied, then checked.
 */
#ifndef DAEMON_SCOREBOARD_H
#define DAEMON_SCOREBOARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tornado/error.h>
#include "base/activity.h"

#define SCOREBOARD_SLOTS 2048 /* four generations of 512 workers; untouched ones take no memory */
#define CRASH_FRAMES_MAX 12
#define CRASH_MODULE_SIZE 48
#define CRASH_REQUEST_SIZE 200

struct crash_frame {
    char module[CRASH_MODULE_SIZE]; /* "hello.so"; empty: unknown, then offset is the address */
    uint64_t offset;
};

/* Filled in by the fatal-signal handler, in this order; whatever it does not reach stays zero. */
struct crash_report {
    int32_t signal; /* 0: no crash was written down */
    int32_t code;   /* si_code */
    uint64_t address;
    uint32_t is_overflow;
    struct crash_frame at;
    char request[CRASH_REQUEST_SIZE]; /* request line, escaped; empty: none or not to be found */
    uint32_t frames_count;
    struct crash_frame frames[CRASH_FRAMES_MAX]; /* callers, innermost first */
};

/* A worker gives a sign of life so often, in ms, and the master looks as often. */
#define HEARTBEAT_OF(hang_timeout_ms) ((hang_timeout_ms) / 8 > 0 ? (hang_timeout_ms) / 8 : 1)

struct slot {
    _Alignas(64) td_activity activity;
    uint32_t starting; /* index of the instance whose load or start hook runs; 0: none */
    uint64_t requests; /* answered */
    int64_t alive_ns;  /* monotonic: when its loop last came by, see HEARTBEAT_OF */
    pid_t pid; /* these three for whoever looks at the board; the master knows them itself */
    uint32_t generation, worker;
    uint64_t log_dropped, access_dropped; /* lines that the two logs did not take */
    struct crash_report crash;
};

int scoreboard_create(td_err *err); /* once, before the first fork */

/*
 * For a binary that takes over: a descriptor of the board, and what has to be the same in both for
 * it to be of use.  -1: it has none.
 */
int scoreboard_descriptor(void);
uint64_t scoreboard_layout(void);

/*
 * Go on with the board of the binary before us, instead of the one that was created; takes fd over.
 * False: it is another kind of board, and fd was closed.
 */
bool scoreboard_adopt(int fd, uint64_t layout, uint64_t requests_of_dead);

/*
 * The slot of a worker that lives, as it is; NULL: there is no such place, or it is another one's.
 */
struct slot *scoreboard_take_over(size_t place);

/* A free slot, cleared; NULL: all are in use. */
struct slot *scoreboard_take(void);

/* Give it back; its requests count in the total from now on. */
void scoreboard_release(struct slot *slot);

const struct slot *scoreboard_slot(size_t place);
size_t scoreboard_place(const struct slot *slot); /* 0..SCOREBOARD_SLOTS - 1 */

uint64_t scoreboard_requests(void); /* of all workers there ever were */
uint64_t scoreboard_requests_of_dead(void);

#endif
