/*
 * A container with a quota of two processors on a machine of 64 wants two workers, so neither
 * sysconf nor the affinity mask is enough: the quotas of the control groups count too.
 */
#include "daemon/cpus.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/cgroup.h"

#define MASK_CPUS_MAX (64 * 1024)

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
limit_by_v2(const char *folder, int count)
{
    char text[128];
    double quota, period;

    if (!td_cgroup_read(folder, "cpu.max", text, sizeof(text)) ||
        sscanf(text, "%lf %lf", &quota, &period) != 2)
        return count;
    return lesser(count, quota, period);
}

static int
limit_by_v1(const char *folder, int count)
{
    char quota[128], period[128];

    if (!td_cgroup_read(folder, "cpu.cfs_quota_us", quota, sizeof(quota)) ||
        !td_cgroup_read(folder, "cpu.cfs_period_us", period, sizeof(period)))
        return count;
    return lesser(count, strtod(quota, NULL), strtod(period, NULL));
}

static void
limit_by_group(void *arg, int version, const char *folder)
{
    int *count = arg;

    *count = version == 2 ? limit_by_v2(folder, *count) : limit_by_v1(folder, *count);
}

int
cpus_within_quota(const char *root, int mask_count)
{
    int count = mask_count;

    td_cgroup_each(root, "cpu", limit_by_group, &count);
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
