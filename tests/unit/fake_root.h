/*
 * A folder that stands for the root of the file system, with what there is of control groups in it.
 */
#ifndef TESTS_UNIT_FAKE_ROOT_H
#define TESTS_UNIT_FAKE_ROOT_H

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "unit.h"

#define FAKE_ROOT_SIZE 64

static void
write_below(const char *root, const char *path, const char *content)
{
    char full[512];

    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(full, 0755);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    ck_assert_ptr_nonnull(file);
    fputs(content, file);
    fclose(file);
}

/* groups: /proc/self/cgroup; files: path and content, up to the first NULL. */
static void
fake_root_make(char root[FAKE_ROOT_SIZE], const char *groups, const char *const files[][2],
               size_t files_max)
{
    strcpy(root, "/tmp/test_fake_root.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    write_below(root, "/proc/self/cgroup", groups);
    for (size_t i = 0; i < files_max && files[i][0] != NULL; i++)
        write_below(root, files[i][0], files[i][1]);
}

static void
fake_root_remove(const char *root)
{
    char command[FAKE_ROOT_SIZE + 8];

    snprintf(command, sizeof(command), "rm -r %s", root);
    ck_assert_int_eq(system(command), 0);
}

#endif
