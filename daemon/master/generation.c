#include "daemon/master/generation.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "daemon/cpus.h"
#include "daemon/master/controlsocket.h"
#include "daemon/source.h"
#include "daemon/worker/accessformat.h"

/* All that are open, of every generation. */
static struct listener *open_listeners[LISTENERS_MAX];
static size_t open_listeners_count;

static int
parse_access_format(struct generation *generation, td_err *err)
{
    const td_log_settings *settings = &generation->configuration->log;

    if (settings->access_format == NULL || settings->access == TD_ACCESS_OFF ||
        accessformat_parse(&generation->arena, settings->access_format, &generation->access_format,
                           err) == 0)
        return 0;
    return source_prefix(generation->configuration, "log", "access_format", err);
}

/* Also where there is no socket to need it. */
static int
check_control_group(const struct generation *generation, td_err *err)
{
    const char *name = generation->configuration->tornadod.control_group;
    gid_t group;

    if (name == NULL || controlsocket_find_group(name, &group, err) == 0)
        return 0;
    return source_prefix(generation->configuration, "tornadod", "control_group", err);
}

int
generation_load(const struct options *options, uint32_t number, struct generation **out,
                td_err *err)
{
    struct generation *generation = td_xcalloc(1, sizeof(*generation));
    const td_tornadod_settings *settings;
    int rc;

    td_arena_init(&generation->arena);
    td_list_init(&generation->seats);
    generation->number = number;
    generation->access_fd = -1;
    rc = td_settings_load(&generation->arena, options->path, options->overrides,
                          options->overrides_count, &generation->configuration, err);
    if (rc < 0) {
        rc = TD_ECONFIG; /* also where the file is not there */
        goto fail;
    }
    settings = &generation->configuration->tornadod;
    rc = privileges_resolve(settings->user, settings->group, &generation->identity, err);
    if (rc < 0) {
        rc = source_prefix(generation->configuration, "tornadod",
                           settings->user != NULL ? "user" : "group", err);
        goto fail;
    }
    rc = parse_access_format(generation, err);
    if (rc == 0)
        rc = check_control_group(generation, err);
    if (rc < 0)
        goto fail;
    generation->directory = plan_directory(&generation->arena, generation->configuration);
    generation->workers_set =
        settings->workers != 0 ? (size_t)settings->workers : (size_t)cpus_available();
    generation_set_seats(generation, generation->workers_set);
    *out = generation;
    return 0;

fail:
    td_arena_fini(&generation->arena);
    free(generation);
    return rc;
}

struct generation *
generation_adopt(uint32_t number, const td_configuration *configuration, int access_fd)
{
    struct generation *generation = td_xcalloc(1, sizeof(*generation));

    td_arena_init(&generation->arena);
    td_list_init(&generation->seats);
    generation->number = number;
    generation->configuration = configuration;
    generation->access_fd = access_fd;
    generation->seats_first = 1;
    generation->is_adopted = true;
    return generation;
}

void
generation_adopt_instances(struct generation *generation, struct manifest_instance *instances,
                           size_t count)
{
    generation->manifest.instances = instances;
    generation->manifest.instances_count = count;
    generation->places.handlers = TD_ARENA_ARRAY(&generation->arena, uint32_t, count + 1);
    for (size_t i = 0; i < count; i++)
        generation->places.handlers[i] = metrics_find_handler(instances[i].name);
    quarantine_init(&generation->quarantine, &generation->arena, count,
                    &generation->configuration->tornadod);
}

int
generation_plan(struct generation *generation, td_err *err)
{
    int rc = plan_make(&generation->arena, generation->configuration, generation->directory,
                       &generation->identity, &generation->plan, err);

    if (rc == 0)
        quarantine_init(&generation->quarantine, &generation->arena,
                        generation->plan.instances_count, &generation->configuration->tornadod);
    return rc;
}

int
generation_open_access_log(struct generation *generation, td_err *err)
{
    const td_log_settings *settings = &generation->configuration->log;

    if (settings->access == TD_ACCESS_OFF || settings->access_file == NULL)
        return 0;
    int fd =
        open(settings->access_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    if (fd < 0) {
        td_err_errno(err, "access_file = %s", settings->access_file);
        return source_prefix(generation->configuration, "log", "access_file", err);
    }
    if (generation->access_fd >= 0)
        close(generation->access_fd);
    generation->access_fd = fd;
    return 0;
}

/* ---- listeners */

/* Port 0 is another one for each section. */
static bool
is_the_same(const struct listener *listener, const td_listener_settings *settings)
{
    const char *port = strrchr(settings->address, ':');

    return strcmp(listener->address, settings->address) == 0 &&
           (port == NULL || strcmp(port, ":0") != 0 || strcmp(listener->name, settings->name) == 0);
}

static struct listener *
find_open(const td_listener_settings *settings)
{
    for (size_t i = 0; i < open_listeners_count; i++) {
        if (is_the_same(open_listeners[i], settings))
            return open_listeners[i];
    }
    return NULL;
}

static void
release(struct listener *listener)
{
    if (--listener->users > 0)
        return;
    for (size_t i = 0; i < open_listeners_count; i++) {
        if (open_listeners[i] == listener)
            open_listeners[i] = open_listeners[--open_listeners_count];
    }
    listener_close(&listener);
}

static int
obtain(const td_listener_settings *settings, size_t workers_count, struct listener **out,
       td_err *err)
{
    struct listener *listener = find_open(settings);

    if (listener != NULL) {
        int rc = listener_adapt(listener, settings, workers_count, err);
        if (rc < 0)
            return rc;
    } else {
        if (open_listeners_count == LISTENERS_MAX)
            return td_err_set(err, TD_ECONFIG, "more than %d listeners", LISTENERS_MAX);
        int rc = listener_open(settings, workers_count, &listener, err);
        if (rc < 0)
            return rc;
        open_listeners[open_listeners_count++] = listener;
    }
    listener->users++;
    *out = listener;
    return 0;
}

int
generation_adopt_listener(const td_listener_settings *settings, const int *fds, size_t fds_count,
                          bool is_units, struct listener **out, td_err *err)
{
    if (open_listeners_count == LISTENERS_MAX)
        return td_err_set(err, TD_ECONFIG, "more than %d listeners", LISTENERS_MAX);
    *out = listener_adopt(settings, fds, fds_count, is_units);
    (*out)->users = 1;
    open_listeners[open_listeners_count++] = *out;
    return 0;
}

int
generation_listen(struct generation *generation, td_err *err)
{
    const td_configuration *configuration = generation->configuration;

    generation->listeners =
        TD_ARENA_ARRAY(&generation->arena, struct listener *, configuration->listeners_count);
    for (size_t i = 0; i < configuration->listeners_count; i++) {
        int rc = obtain(&configuration->listeners[i], generation->seats_count,
                        &generation->listeners[i], err);
        if (rc == 0 && generation->identity.change)
            rc = listener_give(generation->listeners[i], generation->identity.uid,
                               generation->identity.gid, err);
        if (rc < 0) {
            generation_release_listeners(generation);
            return rc;
        }
    }
    return 0;
}

void
generation_release_listeners(struct generation *generation)
{
    if (generation->listeners == NULL)
        return;
    for (size_t i = 0; i < generation->configuration->listeners_count; i++) {
        if (generation->listeners[i] != NULL)
            release(generation->listeners[i]);
    }
    generation->listeners = NULL;
}

/* ---- seats */

static struct seat *
seat_at(const struct generation *generation, td_list *link)
{
    return link != &generation->seats ? TD_CONTAINER_OF(link, struct seat, link) : NULL;
}

struct seat *
generation_first_seat(const struct generation *generation)
{
    return seat_at(generation, generation->seats.next);
}

struct seat *
generation_seat_after(const struct generation *generation, const struct seat *seat)
{
    return seat_at(generation, seat->link.next);
}

struct seat *
generation_add_seat(struct generation *generation)
{
    struct seat *seat = td_xcalloc(1, sizeof(*seat));

    seat_init(seat, generation, (uint32_t)generation->seats_count++);
    td_list_append(&generation->seats, &seat->link);
    return seat;
}

void
generation_set_seats(struct generation *generation, size_t count)
{
    while (generation->seats_count > count) {
        generation->seats_count--;
        generation_remove_seat(seat_at(generation, generation->seats.prev));
    }
    while (generation->seats_count < count)
        generation_add_seat(generation);
    generation->seats_first = count;
}

/*
 * Each seat has the socket of its number.  Those beyond are spread as they were when the generation
 * began, so that one that retires has one heir.
 */
size_t
generation_owner(const struct generation *generation, size_t socket)
{
    const size_t number =
        socket < generation->seats_count ? socket : socket % generation->seats_first;

    return number < generation->seats_count ? number : 0;
}

int
generation_grow_listeners(struct generation *generation, size_t workers, td_err *err)
{
    const td_configuration *configuration = generation->configuration;

    for (size_t i = 0; i < configuration->listeners_count; i++) {
        int rc = listener_adapt(generation->listeners[i], &configuration->listeners[i], workers, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

void
generation_store_listeners(const struct generation *generation)
{
    for (size_t i = 0; i < generation->configuration->listeners_count; i++)
        listener_store(generation->listeners[i]);
}

struct seat *
generation_add_successor(struct seat *seat)
{
    struct seat *successor = td_xcalloc(1, sizeof(*successor));

    seat_init(successor, seat->generation, seat->number);
    successor->lives = seat->lives;
    successor->replaces = seat;
    td_list_append(&seat->link, &successor->link); /* before it: the order is by number */
    return successor;
}

void
generation_remove_seat(struct seat *seat)
{
    td_list_remove(&seat->link);
    free(seat);
}

size_t
generation_workers(const struct generation *generation)
{
    size_t count = 0;

    GENERATION_EACH(seat, generation)
        count += seat->pid != 0;
    return count;
}

size_t
generation_ready(const struct generation *generation)
{
    size_t count = 0;

    GENERATION_EACH(seat, generation)
        count += seat->ready && !seat->is_surplus;
    return count;
}

void
generation_destroy(struct generation **generation_ref)
{
    struct generation *generation = *generation_ref;

    if (generation == NULL)
        return;
    *generation_ref = NULL;
    generation_release_listeners(generation);
    while (!td_list_is_empty(&generation->seats))
        generation_remove_seat(generation_first_seat(generation));
    if (generation->access_fd >= 0)
        close(generation->access_fd);
    plan_close(&generation->plan);
    td_arena_fini(&generation->arena);
    free(generation);
}
