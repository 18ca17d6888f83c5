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
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"

#define PATIENCE_S 2
#define TRIES 3       /* where the kernel had no memory for it, or was interrupted */
#define SPARE_MS 5000 /* for what is done around it */

static struct sockaddr_un target;
static socklen_t target_len; /* 0: nobody listens */
static bool is_stuck; /* it had no room for the last message */
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

static bool
is_worth_a_try(int error)
{
    return error == ENOBUFS || error == ENOMEM || error == EINTR || error == ECONNRESET;
}

/*
 * The queue of the manager may be short (net.unix.max_dgram_qlen), and what is not told has
 * consequences: a start that it does not hear of it gives up, a socket that it does not have is
 * lost with the next restart.  So there is some waiting; one that hangs is not waited for twice
 * but with what matters most.
 */
static bool
deliver(const struct msghdr *message, bool matters)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    const int flags = MSG_NOSIGNAL | (is_stuck && !matters ? MSG_DONTWAIT : 0);
    bool is_told = sendmsg(fd, message, flags) >= 0;
    for (int i = 1; !is_told && is_worth_a_try(errno) && i < TRIES; i++)
        is_told = sendmsg(fd, message, flags) >= 0;
    const int error = errno;
    close(fd);
    is_stuck = !is_told && error == EAGAIN;
    errno = error;
    return is_told;
}

/* passed: a descriptor that goes along, or -1.  False: it could not be told. */
static bool
tell(const char *text, size_t len, int passed)
{
    static td_log_gate gate;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } ancillary = {.bytes = {0}};
    struct iovec part = {(char *)text, len};
    struct msghdr message = {
        .msg_name = &target, .msg_namelen = target_len, .msg_iov = &part, .msg_iovlen = 1};

    if (passed >= 0) {
        message.msg_control = ancillary.bytes;
        message.msg_controllen = sizeof(ancillary.bytes);
        struct cmsghdr *item = CMSG_FIRSTHDR(&message);
        item->cmsg_level = SOL_SOCKET;
        item->cmsg_type = SCM_RIGHTS;
        item->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(item), &passed, sizeof(int));
    }
    if (deliver(&message, strncmp(text, "READY=1", 7) == 0))
        return true;
    td_log_gated(&gate, TD_LOG_WARNING, "master", "%.*s could not be told: %s",
                 (int)strcspn(text, "\n"), text, strerror(errno));
    return false;
}

void
notify_send(const char *format, ...)
{
    char text[1024];
    va_list args;

    if (target_len == 0)
        return;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    tell(text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1, -1);
}

bool
notify_has_store(void)
{
    return has_store;
}

bool
notify_store(const char *name, int fd)
{
    char text[512];

    if (!has_store)
        return false;
    int n = snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", name);
    return tell(text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1, fd);
}

void
notify_forget(const char *name)
{
    if (has_store)
        notify_send("FDSTOREREMOVE=1\nFDNAME=%s", name);
}

void
notify_takes(int64_t ms)
{
    notify_send("EXTEND_TIMEOUT_USEC=%lld", (long long)(ms + SPARE_MS) * 1000);
    if (watchdog_us > 0)
        notify_send("WATCHDOG=1"); /* which was extended, too */
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
