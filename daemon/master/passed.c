#include "daemon/master/passed.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
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

int
passed_take(const char *listener, const struct sockaddr_storage *address, socklen_t len,
            bool *is_stored_out)
{
    for (size_t i = 0; i < passed_count; i++) {
        struct passed *one = &passed[i];
        if (one->fd < 0 || !is_listening_stream(one->fd))
            continue;
        const bool is_stored = strncmp(one->name, NOTIFY_STORED, strlen(NOTIFY_STORED)) == 0;
        if (!has_address(one->fd, address, len) && (is_stored || strcmp(one->name, listener) != 0))
            continue;
        const int fd = one->fd;
        one->fd = -1;
        *is_stored_out = is_stored;
        return fd;
    }
    return -1;
}

void
passed_drop(void)
{
    for (size_t i = 0; i < passed_count; i++) {
        struct passed *one = &passed[i];
        if (one->fd >= 0) {
            td_log_at(TD_LOG_WARNING, "master", "the socket %s that was passed is no listener's",
                      one->name);
            notify_send("FDSTOREREMOVE=1\nFDNAME=%s", one->name);
            close(one->fd);
        }
        free(one->name);
    }
    passed_count = 0;
}
