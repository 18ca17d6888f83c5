/*
 * Sections come first, in their order, then the files that no section names, each as an instance of
 * its own name.  A file that only disabled sections name is not opened at all, so a broken handler
 * can be switched off.
 */
#include "daemon/site/plan.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include "daemon/program.h"
#include "daemon/site/handlerfile.h"
#include "daemon/source.h"

struct maker {
    td_arena *arena;
    int dir_fd; /* -1: there is none, all files are known */
    const char *directory;
    const struct identity *identity;
    const struct plan_file *known; /* files that are there already */
    size_t known_count;
    const char *const *names; /* of all files in the directory */
    size_t names_count;
    struct plan_file *files;
    struct plan_instance *instances;
    size_t files_count, instances_count;
};

static bool
has_section(const td_configuration *configuration, const char *file)
{
    for (size_t i = 0; i < configuration->handlers_count; i++) {
        if (strcmp(configuration->handlers[i].file, file) == 0)
            return true;
    }
    return false;
}

/* Instances of one file share its copy. */
static int
add_file(struct maker *maker, const char *name, size_t *place_out, td_err *err)
{
    int fd, rc;

    for (size_t i = 0; i < maker->files_count; i++) {
        if (strcmp(maker->files[i].name, name) == 0) {
            *place_out = i;
            return 0;
        }
    }
    if (maker->dir_fd < 0)
        return td_err_set(err, TD_EPLUGIN, "there is no %s", name);
    rc = handlerfile_copy(maker->dir_fd, name, maker->identity, &fd, err);
    if (rc < 0)
        return td_err_prefix(err, "%s", maker->directory);
    *place_out = maker->files_count;
    maker->files[maker->files_count++] = (struct plan_file){.name = name, .fd = fd};
    return 0;
}

static int
add_section(struct maker *maker, const td_handler_settings *section, td_err *err)
{
    size_t place;

    if (!section->enabled)
        return 0;
    if (add_file(maker, section->file, &place, err) < 0)
        return td_err_prefix(err, "%s: [handler:%s]", td_source_text(maker->arena, section->source),
                             section->name);
    maker->instances[maker->instances_count++] =
        (struct plan_instance){.section = section, .has_section = true, .file = place};
    return 0;
}

static int
add_plain_file(struct maker *maker, const char *name, td_err *err)
{
    size_t place;
    const char *instance = td_str_dup(maker->arena, td_str_make(name, strlen(name) - 3)).ptr;

    if (add_file(maker, name, &place, err) < 0)
        return err->code;
    maker->instances[maker->instances_count++] = (struct plan_instance){
        .section = td_handler_settings_default(maker->arena, instance), .file = place};
    return 0;
}

static int
fill(struct maker *maker, const td_configuration *configuration, td_err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < configuration->handlers_count; i++)
        rc = add_section(maker, &configuration->handlers[i], err);
    for (size_t i = 0; rc == 0 && i < maker->names_count; i++) {
        if (!has_section(configuration, maker->names[i]))
            rc = add_plain_file(maker, maker->names[i], err);
    }
    return rc;
}

/* Room for all instances that there can be, and as many files; then the plan. */
static int
make(struct maker *maker, const td_configuration *configuration, struct plan *out, td_err *err)
{
    const size_t room = maker->names_count + configuration->handlers_count;
    int rc;

    maker->files = TD_ARENA_ARRAY(maker->arena, struct plan_file, room + 1);
    while (maker->files_count < maker->known_count) {
        maker->files[maker->files_count] = maker->known[maker->files_count];
        maker->files_count++;
    }
    maker->instances = TD_ARENA_ARRAY(maker->arena, struct plan_instance, room + 1);
    rc = fill(maker, configuration, err);
    struct plan plan = {.configuration = configuration,
                        .files = maker->files,
                        .files_count = maker->files_count,
                        .instances = maker->instances,
                        .instances_count = maker->instances_count};
    if (rc < 0) {
        plan_close(&plan);
        return err->code = TD_EPLUGIN;
    }
    *out = plan;
    return 0;
}

int
plan_make(td_arena *arena, const td_configuration *configuration, const char *directory,
          const struct identity *identity, struct plan *out, td_err *err)
{
    struct maker maker = {.arena = arena, .directory = directory, .identity = identity};
    int rc = handlerdir_open(directory, identity, &maker.dir_fd, err);

    if (rc < 0)
        return source_prefix(configuration, "tornadod", "handlers", err);
    rc = handlerdir_list(maker.dir_fd, arena, &maker.names, &maker.names_count, err);
    if (rc == 0)
        rc = make(&maker, configuration, out, err);
    else
        err->code = rc = TD_EPLUGIN;
    close(maker.dir_fd);
    return rc;
}

int
plan_of_files(td_arena *arena, const td_configuration *configuration,
              const struct plan_file *files, size_t files_count, struct plan *out, td_err *err)
{
    struct maker maker = {.arena = arena,
                          .dir_fd = -1,
                          .directory = "the files given",
                          .known = files,
                          .known_count = files_count,
                          .names_count = files_count};
    const char **names = TD_ARENA_ARRAY(arena, const char *, files_count + 1);

    for (size_t i = 0; i < files_count; i++)
        names[i] = files[i].name;
    maker.names = names;
    return make(&maker, configuration, out, err);
}

int64_t
plan_digest(const struct plan *plan, uint32_t index)
{
    const size_t i = index - 1;

    return i < plan->instances_count
               ? handlerfile_digest(plan->files[plan->instances[i].file].fd)
               : 0;
}

void
plan_close(struct plan *plan)
{
    for (size_t i = 0; i < plan->files_count; i++)
        if (plan->files[i].fd >= 0)
            close(plan->files[i].fd);
    plan->files_count = 0;
}

const char *
plan_directory(td_arena *arena, const td_configuration *configuration)
{
    if (configuration->tornadod.handlers != NULL)
        return configuration->tornadod.handlers;
    return program_find(arena, "handlers", "lib/tornadod/handlers");
}
