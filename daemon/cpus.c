/*
 * A container with a quota of two processors on a machine of 64 wants two workers, so neither
 * sysconf nor the affinity mask is enough: the quotas of the control groups count too.
 */
#include "daemon/cpus.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 1024
#define MASK_CPUS_MAX (64 * 1024)

static bool
read_file(const char *root, const char *path, char *out, size_t size)
{
    char full[2 * PATH_SIZE];
    int n = snprintf(full, sizeof(full), "%s%s", root, path);

    if (n < 0 || (size_t)n >= sizeof(full))
        return false;
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, out, size - 1);
    close(fd);
    out[got > 0 ? got : 0] = '\0';
    return got > 0;
}

static int
lesser(int count, double quota, double period)
{
    if (quota <= 0 || period <= 0)
        return count;
    double cpus = quota / period;
    int rounded_up = cpus >= count ? count : (int)cpus + (cpus > (int)cpus);
    return rounded_up < count ? rounded_up : count;
}

/* "QUOTA PERIOD" in microseconds, or "max PERIOD" for none. */
static int
limit_by_v2(const char *root, const char *group, int count)
{
    char path[PATH_SIZE + 64], text[128];
    double quota, period;

    snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.max", group);
    if (!read_file(root, path, text, sizeof(text)) || sscanf(text, "%lf %lf", &quota, &period) != 2)
        return count;
    return lesser(count, quota, period);
}

static int
limit_by_v1(const char *root, const char *group, int count)
{
    char path[PATH_SIZE + 64], quota[128], period[128];

    snprintf(path, sizeof(path), "/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", group);
    if (!read_file(root, path, quota, sizeof(quota)))
        return count;
    snprintf(path, sizeof(path), "/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", group);
    if (!read_file(root, path, period, sizeof(period)))
        return count;
    return lesser(count, strtod(quota, NULL), strtod(period, NULL));
}

/* A group is bound by those above it too; in a container the outer ones are simply not there. */
static int
limit_by_ancestors(const char *root, char *group, int count,
                   int (*limit)(const char *root, const char *group, int count))
{
    for (;;) {
        count = limit(root, group, count);
        char *slash = strrchr(group, '/');
        if (slash == NULL)
            return count;
        *slash = '\0';
    }
}

static bool
names_controller(const char *list, const char *end, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = list; p < end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma != NULL ? comma : end;
        if ((size_t)(stop - p) == len && memcmp(p, name, len) == 0)
            return true;
        p = stop + 1;
    }
    return false;
}

int
cpus_within_quota(const char *root, int mask_count)
{
    char groups[4 * PATH_SIZE], group[PATH_SIZE], *rest = NULL;
    int count = mask_count;

    if (!read_file(root, "/proc/self/cgroup", groups, sizeof(groups)))
        return count;
    /* Lines of "ID:CONTROLLERS:GROUP"; version 2 has the ID 0 and no controllers. */
    for (char *line = strtok_r(groups, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *controllers = strchr(line, ':');
        char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL || strlen(path + 1) >= sizeof(group))
            continue;
        strcpy(group, path + 1);
        if (path == controllers + 1)
            count = limit_by_ancestors(root, group, count, limit_by_v2);
        else if (names_controller(controllers + 1, path, "cpu"))
            count = limit_by_ancestors(root, group, count, limit_by_v1);
    }
    return count > 0 ? count : 1;
}

/* cpu_set_t holds 1024; the kernel says EINVAL when it has more. */
static int
count_mask(void)
{
    for (int cpus = CPU_SETSIZE; cpus <= MASK_CPUS_MAX; cpus *= 2) {
        cpu_set_t *mask = CPU_ALLOC(cpus);
        size_t size = CPU_ALLOC_SIZE(cpus);
        int count = 0;

        if (mask != NULL && sched_getaffinity(0, size, mask) == 0)
            count = CPU_COUNT_S(size, mask);
        CPU_FREE(mask);
        if (count > 0)
            return count;
    }
    return 1;
}

int
cpus_available(void)
{
    return cpus_within_quota("", count_mask());
}
