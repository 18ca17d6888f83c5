#include "base/congestion.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SIMPLEST "reno" /* part of every kernel, and free for everybody */
#define NAME_SIZE 16    /* TCP_CA_NAME_MAX */
#define AVAILABLE "/proc/sys/net/ipv4/tcp_available_congestion_control"

bool
td_sockaddr_is_local(const struct sockaddr *address)
{
    const struct sockaddr_in *ip4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *ip6 = (const struct sockaddr_in6 *)address;

    if (address->sa_family == AF_INET)
        return ntohl(ip4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&ip6->sin6_addr);
    return true;
}

static int
get_name(int fd, char name[NAME_SIZE])
{
    socklen_t len = NAME_SIZE - 1;

    memset(name, 0, NAME_SIZE);
    return getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) < 0 ? -errno : 0;
}

static int
set_name(int fd, const char *name)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) < 0 ? -errno
                                                                                         : 0;
}

/* A socket that has never been told follows the system's changes: it is not told without need. */
static void
set_system(int fd)
{
    const int new = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char wanted[NAME_SIZE], name[NAME_SIZE];

    if (new < 0)
        return;
    if (get_name(new, wanted) == 0 && get_name(fd, name) == 0 && strcmp(wanted, name) != 0)
        set_name(fd, wanted);
    close(new);
}

int
td_congestion_set(int fd, const struct sockaddr *address, const char *name)
{
    const bool is_auto = strcmp(name, TD_CONGESTION_AUTO) == 0;

    if (address->sa_family == AF_UNIX)
        return 0;
    if (is_auto && td_sockaddr_is_local(address))
        set_name(fd, SIMPLEST);
    else if (is_auto || strcmp(name, TD_CONGESTION_SYSTEM) == 0)
        set_system(fd);
    else
        return set_name(fd, name);
    return 0;
}

bool
td_congestion_is_known(const char *name)
{
    int fd, rc;

    if (strcmp(name, TD_CONGESTION_AUTO) == 0 || strcmp(name, TD_CONGESTION_SYSTEM) == 0)
        return true;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true; /* whoever sets it will see */
    rc = set_name(fd, name);
    close(fd);
    return rc == 0 || rc == -EPERM;
}

void
td_congestion_names(char *out, size_t size)
{
    FILE *file = fopen(AVAILABLE, "re");

    if (file == NULL || fgets(out, (int)size, file) == NULL)
        snprintf(out, size, SIMPLEST);
    out[strcspn(out, "\n")] = '\0';
    if (file != NULL)
        fclose(file);
}
