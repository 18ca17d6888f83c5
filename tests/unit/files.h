/* For tests that look at files: what is in one, or comes out of a pipe; what is in a folder. */
#ifndef TESTS_UNIT_FILES_H
#define TESTS_UNIT_FILES_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "unit.h"

static char got[1 << 22]; /* what was read last */

/* All of a file from where it is, or what is in a pipe or socket now. */
static inline const char *
drain(int fd)
{
    size_t len = 0;
    ssize_t n;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    while ((n = read(fd, got + len, sizeof(got) - 1 - len)) > 0)
        len += (size_t)n;
    got[len] = '\0';
    return got;
}

static inline const char *
content(const char *file)
{
    const int fd = open(file, O_RDONLY);

    ck_assert_int_ge(fd, 0);
    drain(fd);
    close(fd);
    return got;
}

static inline size_t
names_count(const char *directory)
{
    DIR *dir = opendir(directory);
    size_t count = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count - 2; /* without "." and ".." */
}

static inline int
open_files(void)
{
    return (int)names_count("/proc/self/fd");
}

/* A command of the shell that has to go well. */
static inline void
run_in(const char *directory, const char *command)
{
    char line[256];

    ck_assert_int_lt(snprintf(line, sizeof(line), "cd %s && %s", directory, command),
                     (int)sizeof(line));
    ck_assert_int_eq(system(line), 0);
}

#endif
