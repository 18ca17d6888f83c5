/*
 * The protocol is one datagram a message to the socket in the environment; '@' in front stands for
 * the abstract name space.  Linking libsystemd for this would load half a dozen libraries.
 */
#include "daemon/master/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"

#define TRIES_MAX 3

static struct sockaddr_un target;
static socklen_t target_len; /* 0: nobody listens */
static int64_t watchdog_us;
static bool has_store; /* systemd from 254 on says so itself, the unit does for those before */

void
notify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    target_len = 0;
    watchdog_us = 0;
    has_store = false;
    if (path == NULL || (path[0] != '/' && path[0] != '@') ||
        strlen(path) >= sizeof(target.sun_path))
        return;
    target.sun_family = AF_UNIX;
    memcpy(target.sun_path, path, strlen(path) + 1);
    target_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@')
        target.sun_path[0] = '\0';
    has_store = getenv("FDSTORE") != NULL;
    if (usec != NULL && (pid == NULL || strtol(pid, NULL, 10) == getpid()))
        watchdog_us = strtoll(usec, NULL, 10);
}

void
notify_send(const char *format, ...)
{
    static td_log_gate gate;
    char text[1024];
    va_list args;

    if (target_len == 0)
        return;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    size_t len = n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1;
    int tries = 0;
    while (sendto(fd, text, len, MSG_NOSIGNAL, (struct sockaddr *)&target, target_len) < 0 &&
           ++tries < TRIES_MAX)
        continue; /* systemd gives up a start that it does not hear of */
    if (tries == TRIES_MAX)
        td_log_gated(&gate, TD_LOG_WARNING, "master", "%.*s could not be told: %s",
                     (int)strcspn(text, "\n"), text, strerror(errno));
    close(fd);
}

bool
notify_has_store(void)
{
    return has_store;
}

void
notify_store(const char *name, size_t slot, int sent)
{
    char text[256];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } ancillary = {.bytes = {0}};

    if (!has_store || strchr(name, ':') != NULL)
        return;
    int n = snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=" NOTIFY_STORED "%s-%zu", name, slot);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    struct iovec part = {text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1};
    struct msghdr header = {.msg_name = &target,
                            .msg_namelen = target_len,
                            .msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = ancillary.bytes,
                            .msg_controllen = sizeof(ancillary.bytes)};
    struct cmsghdr *item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(item), &sent, sizeof(int));
    sendmsg(fd, &header, MSG_NOSIGNAL);
    close(fd);
}

void
notify_forget(const char *name, size_t slot)
{
    if (has_store && strchr(name, ':') == NULL)
        notify_send("FDSTOREREMOVE=1\nFDNAME=" NOTIFY_STORED "%s-%zu", name, slot);
}

void
notify_reloading(void)
{
    notify_send("RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reloading",
                (long long)(td_clock_ns() / 1000));
}

int64_t
notify_watchdog_ms(void)
{
    return watchdog_us / 1000;
}
