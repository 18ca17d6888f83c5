#include "daemon/master/passed.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/log.h"
#include "daemon/master/notify.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */

static struct passed {
    int fd; /* -1: taken */
    char *name;
} passed[PASSED_MAX];
static size_t passed_count;

void
passed_init(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    char *all = td_xstrdup(names != NULL ? names : ""), *rest = all;
    long count = pid != NULL && fds != NULL && strtol(pid, NULL, 10) == getpid()
                     ? strtol(fds, NULL, 10)
                     : 0;

    for (long i = 0; i < count && passed_count < PASSED_MAX; i++) {
        const char *name = strsep(&rest, ":");
        if (fcntl(FIRST_FD + (int)i, F_SETFD, FD_CLOEXEC) < 0)
            continue;
        fcntl(FIRST_FD + (int)i, F_SETFL, O_NONBLOCK);
        passed[passed_count++] =
            (struct passed){FIRST_FD + (int)i, td_xstrdup(name != NULL ? name : "")};
    }
    free(all);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

static bool
is_listening_stream(int fd)
{
    int type = 0, listens = 0;
    socklen_t size = sizeof(int);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0;
}

static bool
has_address(int fd, const struct sockaddr_storage *address, socklen_t len)
{
    struct sockaddr_storage bound = {.ss_family = AF_UNSPEC};
    socklen_t bound_len = sizeof(bound);

    if (getsockname(fd, (struct sockaddr *)&bound, &bound_len) < 0 ||
        bound.ss_family != address->ss_family)
        return false;
    if (bound.ss_family == AF_UNIX) /* one length counts the NUL behind the path, the other may not */
        return strncmp((const char *)&bound + 2, (const char *)address + 2,
                       sizeof(struct sockaddr_storage) - 2) == 0 &&
               bound_len > 2 && len > 2;
    return bound_len == len && memcmp(&bound, address, len) == 0;
}

static bool
is_stored(const struct passed *one)
{
    return strncmp(one->name, NOTIFY_STORED, strlen(NOTIFY_STORED)) == 0;
}

/* A unix socket whose name was removed: nobody can connect to it any more. */
static bool
has_lost_its_name(const struct sockaddr_storage *address)
{
    const struct sockaddr_un *path = (const struct sockaddr_un *)address;
    struct stat st;

    return address->ss_family == AF_UNIX && path->sun_path[0] != '\0' &&
           (lstat(path->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode));
}

static struct passed *
find(const char *listener, const struct sockaddr_storage *address, socklen_t len)
{
    struct passed *same_name = NULL;

    for (size_t i = 0; i < passed_count; i++) {
        struct passed *one = &passed[i];
        if (one->fd < 0 || !is_listening_stream(one->fd))
            continue;
        if (has_address(one->fd, address, len))
            return one;
        if (same_name == NULL && !is_stored(one) && strcmp(one->name, listener) == 0)
            same_name = one;
    }
    return same_name;
}

int
passed_take(const char *listener, const struct sockaddr_storage *address, socklen_t len,
            char **stored_out)
{
    struct passed *one = find(listener, address, len);

    if (one == NULL)
        return -1;
    const int fd = one->fd;
    one->fd = -1;
    if (is_stored(one) && has_lost_its_name(address)) {
        notify_forget(one->name);
        close(fd);
        return -1;
    }
    *stored_out = is_stored(one) ? td_xstrdup(one->name) : NULL;
    return fd;
}

/* Its name in the file system was ours. */
static void
remove_name(int fd)
{
    struct sockaddr_un path = {.sun_family = AF_UNSPEC};
    socklen_t len = sizeof(path) - 1; /* there is always a NUL */

    if (getsockname(fd, (struct sockaddr *)&path, &len) == 0 && path.sun_family == AF_UNIX &&
        path.sun_path[0] == '/')
        unlink(path.sun_path);
}

static void
drop(const struct passed *one)
{
    td_log_at(TD_LOG_WARNING, "master", "the socket %s that was passed is no listener's",
              one->name);
    if (is_stored(one)) {
        remove_name(one->fd);
        notify_forget(one->name);
    }
    close(one->fd);
}

void
passed_drop(void)
{
    for (size_t i = 0; i < passed_count; i++) {
        if (passed[i].fd >= 0)
            drop(&passed[i]);
        free(passed[i].name);
    }
    passed_count = 0;
}
