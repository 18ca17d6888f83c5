/*
 * What a worker counts, where the master and all other workers can read it.
 *
 * Each number has one writer, the loop of its worker, so an addition is a load and a store; readers
 * are other processes, and an aligned number of 64 bits is never seen half written.  Before a
 * worker has its place, and in programs that have none, the pointers lead to places that nobody
 * reads.
 *
 * Structs of counters are nothing but uint64_t, so that those of a dead worker are added up as
 * arrays.
 */
#ifndef TORNADO_BASE_COUNTERS_H
#define TORNADO_BASE_COUNTERS_H

#include <stdint.h>
#include <tornado/abi.h>
#include "base/budget.h"
#include "base/latency.h"

#define TD_STATUS_CLASSES 6 /* 1xx..5xx at 1..5; at 0 what is neither */

/* Of one route, or of all that no route serves. */
typedef struct td_route_counters {
    uint64_t responses[TD_STATUS_CLASSES];
    uint64_t duration_ns;                 /* of all of them together, from the complete head on */
    uint64_t received, sent;              /* bytes of bodies; beside what each request adds to, too */
    uint64_t slow_callbacks;              /* stretches longer than slow_callback */
    uint64_t buckets[TD_LATENCY_BUCKETS]; /* how many took how long */
} td_route_counters;

/* What the connection is doing when the loop leaves it. */
#define TD_CONNECTION_STATES(X)                                                                    \
    X(IDLE, "idle")       /* between requests */                                                   \
    X(HEAD, "head")       /* a part of a request's head has come */                                \
    X(BODY, "body")       /* its body is coming */                                                 \
    X(HANDLING, "active") /* a handler works on the answer, or waits */                            \
    X(SENDING, "writing") /* the client is taking the answer */                                    \
    X(LINGER, "closing")  /* our last word is said */                                              \
    X(DETACHED, "detached") /* a handler has taken it over */                                      \
    X(STREAM, "stream")     /* its listener speaks a protocol of its own */

typedef enum td_connection_state {
#define X(id, name) TD_CONNECTION_##id,
    TD_CONNECTION_STATES(X)
#undef X
        TD_CONNECTION_STATES_COUNT
} td_connection_state;

/* Of one listener. */
typedef struct td_listener_counters {
    uint64_t responses[TD_STATUS_CLASSES];
    uint64_t accepted;       /* connections */
    uint64_t received, sent; /* bytes, as they went over the wire */
} td_listener_counters;

/* Why an answer is an error that no handler has chosen. */
typedef enum td_reason {
#define X(id, name, words) TD_REASON_##id,
#include "base/reasons.def"
#undef X
    TD_REASONS_COUNT
} td_reason;

/* How a TLS handshake has ended. */
#define TD_HANDSHAKES(X)                                                                           \
    X(FULL, "full")                                                                                \
    X(RESUMED, "resumed") /* of a session that was kept */                                         \
    X(FAILED, "failed")   /* or was abandoned: the time was up */

typedef enum td_handshake {
#define X(id, name) TD_HANDSHAKE_##id,
    TD_HANDSHAKES(X)
#undef X
        TD_HANDSHAKES_COUNT
} td_handshake;

/* Of the worker as a whole; what has ended stays counted. */
typedef struct td_worker_counters {
    uint64_t reasons[TD_REASONS_COUNT];
    uint64_t slow_callbacks; /* stretches of a handler longer than slow_callback */
    uint64_t log_dropped, access_dropped; /* lines that the two logs did not take */
    uint64_t memory_refused[TD_BUDGET_KINDS_COUNT]; /* how often there was no room for it */
    uint64_t tls_handshakes[TD_HANDSHAKES_COUNT];   /* with other servers */
    uint64_t tls_handshake_ns;                      /* of those that succeeded, together */
} td_worker_counters;

/* Of the worker as it is now: these end with it. */
typedef struct td_worker_gauges {
    uint64_t connections[TD_CONNECTION_STATES_COUNT]; /* by what they are doing */
    uint64_t coroutines, coroutines_peak;             /* that wait */
    uint64_t executor_queue, executor_threads;
    uint64_t client_active, client_idle; /* of td_fetch: requests under way, connections kept */
    uint64_t client_queue;               /* and requests that wait for a place among max_clients */
    uint64_t memory[TD_BUDGET_KINDS_COUNT]; /* bytes, of the budget */
    uint64_t memory_limit, memory_peak;     /* its size; the most there ever was of all kinds */
} td_worker_gauges;

TD_PRIVATE extern td_worker_counters *td_counters;
TD_PRIVATE extern td_worker_gauges *td_gauges;
TD_PRIVATE extern td_listener_counters td_listener_counters_nowhere;

/* Of the few that other threads write, too.  Returns what it is now. */
static inline uint64_t
td_gauge_add(uint64_t *gauge, int by)
{
    return __atomic_add_fetch(gauge, (uint64_t)(int64_t)by, __ATOMIC_RELAXED);
}

static inline unsigned
td_status_class(int status)
{
    const unsigned class = (unsigned)status / 100;

    return class < TD_STATUS_CLASSES ? class : 0;
}

/* why: what the log says of it, which names the limit or the part of the message; NULL: none. */
TD_PRIVATE void td_count_reason(int status, const char *why);

TD_PRIVATE extern const char *const td_reason_names[TD_REASONS_COUNT];
TD_PRIVATE extern const char *const td_connection_state_names[TD_CONNECTION_STATES_COUNT];
TD_PRIVATE extern const char *const td_handshake_names[TD_HANDSHAKES_COUNT];

#endif
