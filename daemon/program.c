#include "daemon/program.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool
is_directory(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

const char *
program_path(td_arena *arena)
{
    char program[PATH_MAX];
    const ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);

    return td_str_dup(arena, td_str_make(program, len > 0 ? (size_t)len : 0)).ptr;
}

const char *
program_find(td_arena *arena, const char *beside, const char *installed)
{
    char *program = td_arena_strdup(arena, program_path(arena));
    char *slash = strrchr(program, '/');

    if (slash == NULL)
        return beside; /* no /proc: below the current directory, then */
    *slash = '\0';
    const char *here = td_arena_sprintf(arena, "%s/%s", program, beside).ptr;
    if (is_directory(here))
        return here;
    slash = strrchr(program, '/');
    if (slash != NULL)
        *slash = '\0';
    return td_arena_sprintf(arena, "%s/%s", program, installed).ptr;
}

int
program_printed(int status)
{
    const int error = fflush(stdout) != 0 ? errno : 0;

    if (error == EPIPE || (error == 0 && ferror(stdout) == 0))
        return status;
    fprintf(stderr, "tornadod: stdout: %s\n", error != 0 ? strerror(error) : "not all was written");
    return EXIT_FAILURE;
}
