/*
 * O_TMPFILE, or where a file system has it not (NFS, old overlays) a name that nobody guesses.
 * Then a process that is killed may leave a file behind that has no other use: ".tornadod-" and
 * digits.
 */
#include "base/tempfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "base/arena.h"

#define ATTEMPTS_MAX 10 /* of names; a second one is hardly ever needed */

/* What kernels and file systems say that know no O_TMPFILE. */
static bool
has_no_tmpfile(int error)
{
    return error == EOPNOTSUPP || error == EISDIR || error == EINVAL;
}

static char *
random_name(const char *directory)
{
    const size_t size = strlen(directory) + sizeof("/.tornadod-0123456789abcdef");
    char *name = td_xmalloc(size);
    uint64_t number = 0;

    (void)!getrandom(&number, sizeof(number), 0); /* in the worst case it is there already */
    snprintf(name, size, "%s/.tornadod-%016" PRIx64, directory, number);
    return name;
}

/* fd and its name, which is to be freed; or -errno. */
static int
open_named(const char *directory, mode_t mode, char **name_out)
{
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        char *name = random_name(directory);
        const int fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, mode);
        const int error = errno;

        if (fd >= 0) {
            *name_out = name;
            return fd;
        }
        free(name);
        if (error != EEXIST)
            return -error;
    }
    return -EEXIST;
}

int
td_tempfile_open(const char *directory)
{
    char *name;
    int fd = open(directory, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0)
        return fd;
    if (!has_no_tmpfile(errno))
        return -errno;
    fd = open_named(directory, 0600, &name);
    if (fd >= 0) {
        unlink(name);
        free(name);
    }
    return fd;
}

/* ---- files that replace others */

/* The directory of path, to be freed: "." or what ends in "/." */
static char *
directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const size_t len = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    char *directory = td_xmalloc(len + 2);

    memcpy(directory, path, len);
    memcpy(directory + len, ".", 2);
    return directory;
}

int
td_newfile_open(td_newfile *file, const char *path)
{
    char *directory = directory_of(path);

    *file = (td_newfile){.path = td_xstrdup(path)};
    file->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (file->fd < 0 && has_no_tmpfile(errno))
        file->fd = open_named(directory, 0666, &file->temporary);
    else if (file->fd < 0)
        file->fd = -errno;
    free(directory);
    if (file->fd >= 0)
        return 0;

    const int rc = file->fd;

    free(file->path);
    *file = (td_newfile){.path = NULL};
    return rc;
}

static int
link_as(const td_newfile *file, const char *name)
{
    char own[32];

    snprintf(own, sizeof(own), "/proc/self/fd/%d", file->fd);
    return linkat(AT_FDCWD, own, AT_FDCWD, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/* A link cannot take the place of something else, a rename can. */
static int
link_temporarily(td_newfile *file)
{
    char *directory = directory_of(file->path);
    int rc = -EEXIST;

    for (int attempt = 0; attempt < ATTEMPTS_MAX && rc == -EEXIST; attempt++) {
        free(file->temporary);
        file->temporary = random_name(directory);
        rc = link_as(file, file->temporary);
    }
    if (rc < 0) {
        free(file->temporary);
        file->temporary = NULL;
    }
    free(directory);
    return rc;
}

int
td_newfile_commit(td_newfile *file)
{
    int rc = 0;

    if (file->temporary == NULL) {
        rc = link_as(file, file->path);
        if (rc != -EEXIST)
            return rc;
        rc = link_temporarily(file);
    }
    if (rc == 0 && rename(file->temporary, file->path) < 0)
        rc = -errno;
    if (rc == 0) {
        free(file->temporary);
        file->temporary = NULL;
    }
    return rc;
}

void
td_newfile_close(td_newfile *file)
{
    if (file->path == NULL)
        return;
    if (file->temporary != NULL)
        unlink(file->temporary);
    close(file->fd);
    free(file->temporary);
    free(file->path);
    *file = (td_newfile){.path = NULL};
}
