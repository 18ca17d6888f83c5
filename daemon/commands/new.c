/*
 * `tornadod new NAME`: a handler to begin with, its test and a Makefile, in a directory of its own.
 * What is there already is never written over.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/arena.h"
#include "daemon/commands/commands.h"
#include "daemon/program.h"

#define NAME_MAX_BYTES 64

extern const char new_handler_text[], new_test_text[], new_makefile_text[]; /* new_templates.S */

static const struct {
    const char *path, *text; /* @WORD@ in both is filled in */
} templates[] = {
    {"@NAME@.c", new_handler_text},
    {"test_@NAME@.c", new_test_text},
    {"Makefile", new_makefile_text},
};

#define TEMPLATES_COUNT (sizeof(templates) / sizeof(*templates))

struct words {
    const char *name, *pkgconfig, *program;
};

/* It becomes a name of files, of a section of the ini and of a test in C. */
static int
check_name(const char *name, td_err *err)
{
    const size_t len = strlen(name);

    if (len > 0 && len <= NAME_MAX_BYTES && name[0] >= 'a' && name[0] <= 'z' &&
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len)
        return 0;
    return td_err_set(err, TD_EINVAL,
                      "%s: a name is 1 to %d lower-case letters, digits and _, a letter first", name,
                      NAME_MAX_BYTES);
}

static td_str
fill_in(td_arena *arena, const char *text, const struct words *words)
{
    const struct {
        const char *mark, *value;
    } marks[] = {{"@NAME@", words->name},
                 {"@PKGCONFIG@", words->pkgconfig},
                 {"@PROGRAM@", words->program}};
    td_str all = TD_STR("");

    while (text[0] != '\0') {
        size_t len = strcspn(text + 1, "@") + 1, marked = 0;
        const char *piece = text;
        for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++)
            if (strncmp(text, marks[i].mark, strlen(marks[i].mark)) == 0) {
                piece = marks[i].value;
                marked = strlen(marks[i].mark);
            }
        all = td_arena_sprintf(arena, "%.*s%.*s", TD_STR_FMT(all),
                               (int)(marked > 0 ? strlen(piece) : len), piece);
        text += marked > 0 ? marked : len;
    }
    return all;
}

static int
write_file(const char *path, td_str text, td_err *err)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0)
        return td_err_errno(err, "%s", path);
    const ssize_t n = write(fd, text.ptr, text.len);
    if (n < 0 || close(fd) < 0)
        return td_err_errno(err, "%s", path);
    return (size_t)n == text.len ? 0 : td_err_set(err, -ENOSPC, "%s: it was not written", path);
}

/* All or none: whether any is there is looked at before the first is written. */
static int
write_all(td_arena *arena, const char *directory, const struct words *words, td_err *err)
{
    const char *paths[TEMPLATES_COUNT];
    int rc = 0;

    if (mkdir(directory, 0755) < 0 && errno != EEXIST)
        return td_err_errno(err, "%s", directory);
    for (size_t i = 0; i < TEMPLATES_COUNT; i++) {
        paths[i] = td_arena_sprintf(arena, "%s/%s", directory,
                                    fill_in(arena, templates[i].path, words).ptr)
                       .ptr;
        if (access(paths[i], F_OK) == 0)
            return td_err_set(err, TD_EEXISTS, "%s is there already; nothing was written", paths[i]);
    }
    for (size_t i = 0; i < TEMPLATES_COUNT && rc == 0; i++) {
        rc = write_file(paths[i], fill_in(arena, templates[i].text, words), err);
        if (rc == 0)
            puts(paths[i]);
    }
    return rc;
}

static int
create(td_arena *arena, const char *name, const char *directory, td_err *err)
{
    const struct words words = {name, program_find(arena, "pkgconfig", "lib/pkgconfig"),
                                program_path(arena)};

    if (name == NULL)
        return td_err_set(err, TD_EINVAL, "the name of the new handler is missing");
    if (check_name(name, err) < 0)
        return err->code;
    return write_all(arena, directory != NULL ? directory : name, &words, err);
}

int
command_new(int argc, char **argv)
{
    const char *directory = NULL;
    const struct command_option own[] = {
        {"dir", "DIRECTORY", "where to write it; a new directory NAME without", NULL, &directory}};
    struct command_line line;
    td_arena arena;
    td_err err;
    int status;

    if (!COMMAND_LINE_READ(argc, argv, own, 1, &line, &status))
        return status;
    td_arena_init(&arena);
    status = create(&arena, line.operands_count > 0 ? line.operands[0] : NULL, directory, &err) == 0
                 ? EXIT_SUCCESS
                 : EXIT_FAILURE;
    if (status != EXIT_SUCCESS)
        fprintf(stderr, "tornadod new: %s\n", err.text);
    td_arena_fini(&arena);
    command_line_fini(&line);
    return status;
}
