/* A worker: the process that loads the handlers and serves. */
#ifndef DAEMON_WORKER_WORKER_H
#define DAEMON_WORKER_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/ring.h"
#include "daemon/privileges.h"
#include "daemon/scoreboard.h"
#include "daemon/site/manifest.h"
#include "daemon/site/plan.h"
#include "daemon/status/metrics.h"

struct worker_socket {
    int fd;
    const td_listener_settings *settings;
    uint32_t place; /* of the listener among the metrics */
};

struct worker_options {
    uint32_t number; /* from 0: "worker 0" in the log */
    size_t workers_count; /* of its generation */
    const struct plan *plan;
    const struct identity *identity;
    struct slot *slot;
    const struct manifest *manifest;
    const struct metrics_places *places; /* of its listeners and routes */
    pid_t master;
    int control;
    int access_fd; /* -1: access lines go where the others go */
    const struct accessformat *access_format; /* NULL: none of one's own */
    td_ring *log_ring, *access_ring;
    const bool *quarantined; /* by the index of the instance less 1 */
    const struct worker_socket *sockets;
    size_t sockets_count;
};

/*
 * Live as a worker, in a child of the master with all signals blocked.  Says CONTROL_READY once it
 * accepts, or CONTROL_FAILED with the reason; ends with exit.
 */
TD_NORETURN void worker_main(const struct worker_options *options);

#endif
