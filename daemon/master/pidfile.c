/*
 * flock and not the number inside says whether a daemon lives: the kernel drops the lock with the
 * process, however it ends.  Workers close their copy of the descriptor, or the lock would outlive
 * the master.
 */
#include "daemon/master/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Between our open and our lock the daemon before us may have removed the name. */
static bool
still_has_name(int fd, const char *path)
{
    struct stat by_fd, by_name;

    return fstat(fd, &by_fd) == 0 && stat(path, &by_name) == 0 && by_fd.st_ino == by_name.st_ino &&
           by_fd.st_dev == by_name.st_dev;
}

int
pidfile_open(const char *path, int *fd_out, td_err *err)
{
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
            return td_err_errno(err, "pid_file %s", path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            int rc = errno == EWOULDBLOCK
                         ? td_err_set(err, TD_EBUSY, "pid_file %s: another tornadod holds it", path)
                         : td_err_errno(err, "pid_file %s: lock", path);
            close(fd);
            return rc;
        }
        if (still_has_name(fd, path)) {
            *fd_out = fd;
            return 0;
        }
        close(fd);
    }
}

int
pidfile_write(int fd, const char *path, td_err *err)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return td_err_errno(err, "pid_file %s: write", path);
    return 0;
}

void
pidfile_close(int fd, const char *path)
{
    if (fd < 0)
        return;
    if (still_has_name(fd, path))
        unlink(path);
    close(fd);
}
