/*
 * A seat: the place of one worker in its generation.  Who sits there may die and be replaced; the
 * seat knows when the next may come.
 */
#ifndef DAEMON_MASTER_SEAT_H
#define DAEMON_MASTER_SEAT_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tornado/error.h>
#include "base/list.h"
#include "base/ring.h"
#include "daemon/control.h"
#include "daemon/scoreboard.h"

#define SEAT_KILL_AFTER_MS 1000 /* beyond drain_timeout: the worker should have ended by then */

struct generation;

struct seat {
    td_list link; /* of its generation's seats */
    struct generation *generation;
    uint32_t number;  /* from 0 */
    pid_t pid;        /* 0: nobody sits here */
    bool ready;       /* it has said so */
    int64_t ready_ns; /* when, monotonic */
    int64_t spawned_ns;     /* when the one that sits here came */
    unsigned lives;         /* workers that ever sat here */
    bool is_surplus;        /* nobody comes after who sits here, */
    bool retires;           /* who was told to leave */
    bool is_outdated;       /* it was forked before something that it should know of */
    struct seat *replaces;  /* once this one is ready, that one retires; NULL: none */
    struct seat *inherits;  /* and that one, whose sockets it has as well; NULL: none */
    struct slot *slot;
    td_ring *log_ring, *access_ring; /* lines of the worker on their way; NULL: nobody sits here */
    ev_io control;                 /* fd -1: closed */
    ev_timer limit;                /* runs until it is ready */
    ev_timer heartbeat;            /* runs while it is ready, if there is a hang_timeout */
    int64_t looked_ns;             /* when that last ran */
    bool hung;                     /* it gave no sign of life, and is being ended */
    ev_timer respawn;              /* runs while nobody sits here and somebody is to */
    unsigned failures;             /* in a row: lives that ended early */
    char reason[TD_ERR_TEXT_SIZE]; /* why it ends, when that is known; else empty */
};

/* Who is told, with the seat as it is then. */
struct seat_events {
    void (*ready)(struct seat *seat);
    void (*respawn_failed)(struct seat *seat, const td_err *err); /* tried again later */
};

void seat_events_set(struct ev_loop *loop, const struct seat_events *events);

void seat_init(struct seat *seat, struct generation *generation, uint32_t number);

/*
 * A worker that another binary has forked sits here; what is open becomes ours.  Without a slot, as
 * it writes to a board of another kind, nobody sees whether it hangs; without rings its last lines
 * are lost.
 */
struct seat_worker {
    uint32_t number;
    pid_t pid;
    bool ready;
    int control;       /* the channel to it */
    struct slot *slot; /* NULL: out of our sight */
    td_ring *log_ring, *access_ring;
};
void seat_adopt(struct seat *seat, const struct seat_worker *worker);

/* Fork the worker. */
int seat_spawn(struct seat *seat, td_err *err);

/* The worker was reaped: write what it has logged, then listen to what it has said. */
void seat_hear_last_words(struct seat *seat);

/*
 * The worker was reaped: close what was its own, keep its slot for a description.  seat_clear gives
 * that back.
 */
void seat_bury(struct seat *seat);
void seat_clear(struct seat *seat);

/* Spawn again: at once after a good life, else after a pause, whose milliseconds are returned. */
int seat_respawn(struct seat *seat);
void seat_cancel_respawn(struct seat *seat);

/* Tell the worker to leave for good, and end it if it is not gone a second after drain_timeout. */
void seat_retire(struct seat *seat);

/* Read what the worker has said until now. */
void seat_listen(struct seat *seat);

/* A message to a worker that lives.  text and fds may be NULL. */
int seat_send(struct seat *seat, enum control_type type, const char *text, const int *fds);

#endif
