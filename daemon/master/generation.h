/*
 * A generation: the workers that serve one state of the settings and of the handlers.  A reload
 * makes a new one beside the old, so these never change in it: workers alone come and go.
 */
#ifndef DAEMON_MASTER_GENERATION_H
#define DAEMON_MASTER_GENERATION_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/arena.h"
#include "base/list.h"
#include "base/settings.h"
#include "daemon/master/listener.h"
#include "daemon/master/quarantine.h"
#include "daemon/master/seat.h"
#include "daemon/options.h"
#include "daemon/privileges.h"
#include "daemon/site/manifest.h"
#include "daemon/site/plan.h"
#include "daemon/status/metrics.h"

#define LISTENERS_MAX 1024

struct generation {
    td_list link;    /* of the draining ones */
    uint32_t number; /* from 1 */
    td_arena arena;
    const td_configuration *configuration;
    struct identity identity;
    const char *directory; /* of the handlers */
    struct plan plan;
    struct manifest manifest;
    struct quarantine quarantine;
    struct metrics_places places; /* of what is counted; once it was checked */
    const struct accessformat *access_format; /* NULL: none of one's own */
    int access_fd;               /* -1: access lines go where the others go */
    struct listener **listeners; /* by configuration->listeners; NULL once released */
    td_list seats;      /* by number; one that retires stays until its worker has gone */
    size_t seats_count; /* of those that are to stay */
    size_t seats_first; /* that there were when it began */
    size_t workers_set; /* what the settings say */
    bool is_adopted;    /* its workers are those of the binary before us: nobody replaces them */
    ev_timer limit; /* the time it has, to become ready or to drain */
};

#define GENERATION_EACH(each, generation)                                                          \
    for (struct seat *each = generation_first_seat(generation); each != NULL;                      \
         each = generation_seat_after(generation, each))

struct seat *generation_first_seat(const struct generation *generation); /* NULL: there is none */
struct seat *generation_seat_after(const struct generation *generation, const struct seat *seat);

void generation_set_seats(struct generation *generation, size_t count); /* before any is taken */

/* The number of the seat that accepts from socket number `socket` of a listener with reuseport. */
size_t generation_owner(const struct generation *generation, size_t socket);

/* The listeners have sockets for that many workers. */
int generation_grow_listeners(struct generation *generation, size_t workers, td_err *err);

/* Those that the service manager does not have yet go into its store. */
void generation_store_listeners(const struct generation *generation);

struct seat *generation_add_seat(struct generation *generation);
struct seat *generation_add_successor(struct seat *seat); /* for the same number of workers */
void generation_remove_seat(struct seat *seat); /* nobody sits there, nor will */

/* Settings and identity.  TD_ECONFIG with file and line, or -errno. */
int generation_load(const struct options *options, uint32_t number, struct generation **out,
                    td_err *err);

/* One that runs already; access_fd as in the struct, taken over. */
struct generation *generation_adopt(uint32_t number, const td_configuration *configuration,
                                    int access_fd);

/*
 * Its handlers, in the order of their numbers, so that it can be told what a dead worker was doing.
 */
void generation_adopt_instances(struct generation *generation, struct manifest_instance *instances,
                                size_t count);

/* A listener that is open already: fds are taken over, and it has one user; is_units as it says. */
int generation_adopt_listener(const td_listener_settings *settings, const int *fds, size_t fds_count,
                              bool is_units, struct listener **out, td_err *err);

/* Copy the handlers' files; the manifest is for a checker to find. */
int generation_plan(struct generation *generation, td_err *err);

/* Open the access log's file, or open it again; on failure the old one goes on. */
int generation_open_access_log(struct generation *generation, td_err *err);

/* Take over those listeners of `open` that the settings name and open the others, all or none. */
int generation_listen(struct generation *generation, td_err *err);
void generation_release_listeners(struct generation *generation); /* closes those nobody uses */

size_t generation_workers(const struct generation *generation); /* that live */
size_t generation_ready(const struct generation *generation);   /* that serve */

void generation_destroy(struct generation **generation); /* no worker of it lives */

#endif
