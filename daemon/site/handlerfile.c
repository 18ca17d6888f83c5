/*
 * Checks are made on what was opened, not on a name that may mean something else a moment later.
 * openat2 keeps symbolic links inside the directory.
 */
#include "daemon/site/handlerfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u
#endif

static int
check_writers(const struct stat *st, const char *name, const struct identity *identity, td_err *err)
{
    if (st->st_uid != 0 && st->st_uid != geteuid() && st->st_uid != identity->uid)
        return td_err_set(err, TD_EPLUGIN,
                          "%s: belongs to uid %u, neither to root nor to the daemon's user", name,
                          (unsigned)st->st_uid);
    if (st->st_mode & S_IWOTH)
        return td_err_set(err, TD_EPLUGIN, "%s: may be written by others (mode %04o)", name,
                          (unsigned)(st->st_mode & 07777));
    if ((st->st_mode & S_IWGRP) && st->st_gid != 0 && st->st_gid != getegid() &&
        st->st_gid != identity->gid)
        return td_err_set(err, TD_EPLUGIN, "%s: may be written by the group %u (mode %04o)", name,
                          (unsigned)st->st_gid, (unsigned)(st->st_mode & 07777));
    return 0;
}

/*
 * Where others may write into a directory above, they can put another one in the place of ours; the
 * sticky bit (of /tmp) forbids that.
 */
static int
check_ancestors(const char *path, td_err *err)
{
    char *real = realpath(path, NULL);
    struct stat st;
    int rc = 0;

    if (real == NULL)
        return td_err_errno(err, "%s", path);
    for (char *slash = strrchr(real, '/'); rc == 0 && slash != NULL; slash = strrchr(real, '/')) {
        *slash = '\0';
        const char *above = real[0] != '\0' ? real : "/";
        if (stat(above, &st) < 0)
            rc = td_err_errno(err, "%s", above);
        else if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
            rc = td_err_set(err, TD_EPLUGIN, "%s: may be written by others (mode %04o), above %s",
                            above, (unsigned)(st.st_mode & 07777), path);
    }
    free(real);
    return rc;
}

int
handlerdir_open(const char *path, const struct identity *identity, int *fd_out, td_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
    struct stat st;

    if (fd < 0)
        return td_err_errno(err, "handlers = %s", path);
    if (fstat(fd, &st) < 0)
        rc = td_err_errno(err, "handlers = %s", path);
    else if ((rc = check_writers(&st, path, identity, err)) == 0)
        rc = check_ancestors(path, err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    *fd_out = fd;
    return 0;
}

static bool
is_handler_name(const char *name)
{
    size_t len = strlen(name);

    return name[0] != '.' && len > 3 && strcmp(name + len - 3, ".so") == 0;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t
count_entries(DIR *dir)
{
    size_t count = 0;

    while (readdir(dir) != NULL)
        count++;
    rewinddir(dir);
    return count;
}

int
handlerdir_list(int dir_fd, td_arena *arena, const char *const **names_out, size_t *count_out,
                td_err *err)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* closedir takes this one */
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (dir == NULL) {
        int rc = td_err_errno(err, "directory of the handlers");
        if (fd >= 0)
            close(fd);
        return rc;
    }
    size_t room = count_entries(dir), count = 0;
    const char **names = TD_ARENA_ARRAY(arena, const char *, room + 1);
    for (struct dirent *entry; count < room && (entry = readdir(dir)) != NULL;) {
        if (is_handler_name(entry->d_name))
            names[count++] = td_arena_strdup(arena, entry->d_name);
    }
    closedir(dir);
    qsort(names, count, sizeof(*names), compare_names);
    *names_out = names;
    *count_out = count;
    return 0;
}

/* O_NONBLOCK: a fifo of that name must not hold us up. */
static int
open_beneath(int dir_fd, const char *name)
{
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));

    /* Kernels before 5.6, and filters that do not know it: no symbolic link at all then. */
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    return fd;
}

static int
create_memory(const char *name)
{
    /* From Linux 6.3 on a system may want it said that the memory is to be executed. */
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd;
}

static int
copy_bytes(int to, int from, off_t size)
{
    off_t done = 0;

    while (done < size) {
        ssize_t n = sendfile(to, from, NULL, (size_t)(size - done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += n;
    }
    return 0;
}

static bool
was_changed(int fd, const struct stat *before)
{
    struct stat now;

    return fstat(fd, &now) < 0 || now.st_size != before->st_size ||
           now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != before->st_mtim.tv_nsec;
}

static int
copy_sealed(int fd, const char *name, const struct stat *st, int *copy_out, td_err *err)
{
    int copy = create_memory(name), rc;

    if (copy < 0)
        return td_err_errno(err, "%s: memory for a copy", name);
    rc = copy_bytes(copy, fd, st->st_size);
    if (rc < 0)
        rc = td_err_set(err, rc, "%s: copy: %s", name, strerror(-rc));
    else if (was_changed(fd, st))
        rc = td_err_set(err, TD_EPLUGIN, "%s: is being written just now", name);
    else if (fcntl(copy, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        rc = td_err_errno(err, "%s: seal the copy", name);
    if (rc < 0) {
        close(copy);
        return rc;
    }
    *copy_out = copy;
    return 0;
}

int
handlerfile_copy(int dir_fd, const char *name, const struct identity *identity, int *fd_out,
                 td_err *err)
{
    int fd = open_beneath(dir_fd, name), rc;
    struct stat st;

    if (fd < 0 && (errno == EXDEV || errno == ELOOP))
        return td_err_set(err, TD_EPLUGIN, "%s: is a link that leads out of the directory", name);
    if (fd < 0)
        return td_err_errno(err, "%s", name);
    if (fstat(fd, &st) < 0)
        rc = td_err_errno(err, "%s", name);
    else if (!S_ISREG(st.st_mode))
        rc = td_err_set(err, TD_EPLUGIN, "%s: is not a file", name);
    else if (st.st_size > (off_t)HANDLER_FILE_SIZE_MAX)
        rc = td_err_set(err, TD_EPLUGIN, "%s: is larger than %u MiB", name,
                        HANDLER_FILE_SIZE_MAX >> 20);
    else if ((rc = check_writers(&st, name, identity, err)) == 0)
        rc = copy_sealed(fd, name, &st, fd_out, err);
    close(fd);
    return rc;
}

int64_t
handlerfile_digest(int fd)
{
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0)
        return 0;
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return 0;
    const int64_t digest = (int64_t)(XXH3_64bits(bytes, (size_t)st.st_size) >> 1);
    munmap(bytes, (size_t)st.st_size);
    return digest != 0 ? digest : 1;
}
