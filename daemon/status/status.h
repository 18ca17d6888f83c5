/*
 * The state of the daemon, added up from what its processes count (metrics.h), and as text.  Any
 * of its processes may ask: a worker for the status handler, the master for its control socket.
 */
#ifndef DAEMON_STATUS_STATUS_H
#define DAEMON_STATUS_STATUS_H

#include <tornado/metrics.h>
#include "base/arena.h"
#include "base/jsontext.h"
#include "daemon/status/metrics.h"
#include "web/metrics.h"

struct status_listener {
    const struct metrics_listener *is;
    td_listener_counters all; /* of the dead and the living */
};

struct status_route {
    const struct metrics_route *is;
    td_route_counters all;
};

struct status_own {
    const struct metrics_own *is;
    int64_t all;
};

struct status_worker {
    struct metrics_worker is;
    td_worker_counters counters;
    td_worker_gauges gauges;
    uint64_t responses[TD_STATUS_CLASSES];
    uint64_t connections;     /* in all states */
    uint64_t resident_memory; /* bytes */
};

struct status {
    const struct metrics_board *board; /* its texts and plain numbers; what it adds up stands below */
    int64_t now_ns;
    struct status_listener *listeners;
    struct status_own *own; /* of handlers that there are, by name */
    struct status_worker *workers; /* by generation and number */
    size_t listeners_count, routes_count, own_count, workers_count;
    td_worker_counters all;
    td_worker_gauges gauges; /* of all workers together; of peaks the sum */
    uint64_t responses[TD_STATUS_CLASSES];
    td_metrics_reader reader;
    /* For status_take_route: who lived when the board was last seen to change. */
    uint32_t sequence;
    uint16_t living[SCOREBOARD_SLOTS]; /* places */
    size_t living_count;
};

/*
 * In the arena.  Routes, of which there may be many, are counted but not taken.  reader: as of
 * status_goes_on; NULL: there is none.
 */
void status_take(td_arena *arena, const td_metrics_reader *reader, struct status *out);

/* The route at that place, 0..routes_count - 1: all of its numbers of one moment. */
void status_take_route(struct status *status, size_t place, struct status_route *out);

/* Between two pieces of what is written: the reader has its turn.  False: it wants no more. */
static inline bool
status_goes_on(const struct status *status, td_buf *to)
{
    return status->reader.take == NULL || status->reader.take(to, status->reader.arg);
}

/*
 * As an object.  The first members are stable: version, pid, uptime_seconds, generation, requests,
 * workers (with pid, number, generation, state, requests, connections).
 */
void status_put_json(td_jsontext *text, const char *key, struct status *status);

void status_put_openmetrics(td_buf *to, struct status *status);
void status_put_html(td_buf *to, struct status *status);

/* Take it and write it; JSON with a line end.  reader: see web/metrics.h; NULL: all in one go. */
void status_put(td_buf *to, td_metrics_format format, const td_metrics_reader *reader);

/* Of an array of counters. */
uint64_t status_sum(const uint64_t *numbers, size_t count);

#endif
