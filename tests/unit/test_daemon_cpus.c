/* Goal: as many workers as processors that may really be used, whatever kind of control groups. */
#include "daemon/cpus.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "unit.h"

static const struct {
    const char *groups;      /* /proc/self/cgroup */
    const char *files[3][2]; /* below the root: path, content */
    int mask, cpus;
} machines[] = {
    {"0::/\n", {{NULL}}, 4, 4},
    {"0::/\n", {{"/sys/fs/cgroup/cpu.max", "max 100000\n"}}, 4, 4},
    {"0::/\n", {{"/sys/fs/cgroup/cpu.max", "200000 100000\n"}}, 4, 2},
    {"0::/\n", {{"/sys/fs/cgroup/cpu.max", "150000 100000\n"}}, 4, 2},
    {"0::/\n", {{"/sys/fs/cgroup/cpu.max", "1000 100000\n"}}, 4, 1},
    {"0::/\n", {{"/sys/fs/cgroup/cpu.max", "900000 100000\n"}}, 4, 4},
    {"0::/\n", {{"/sys/fs/cgroup/cpu.max", "nonsense\n"}}, 4, 4},
    {"0::/\n", {{"/sys/fs/cgroup/cpu.max", "200000 0\n"}}, 4, 4},
    {"0::/a/b\n", {{"/sys/fs/cgroup/a/b/cpu.max", "300000 100000\n"}}, 4, 3},
    {"0::/a/b\n",
     {{"/sys/fs/cgroup/a/b/cpu.max", "300000 100000\n"},
      {"/sys/fs/cgroup/a/cpu.max", "100000 100000\n"}},
     4,
     1},
    {"5:cpu,cpuacct:/a\n0::/\n",
     {{"/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "200000\n"},
      {"/sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n"}},
     4,
     2},
    {"5:cpuacct,cpu:/a\n",
     {{"/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "-1\n"},
      {"/sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n"}},
     4,
     4},
    {"5:cpuset:/a\n",
     {{"/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "200000\n"},
      {"/sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n"}},
     4,
     4},
    {"garbage\n::\n:\n", {{NULL}}, 3, 3},
    {"", {{NULL}}, 1, 1},
};

static void
write_below(const char *root, const char *path, const char *content)
{
    char full[512];

    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(full, 0755);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    ck_assert_ptr_nonnull(file);
    fputs(content, file);
    fclose(file);
}

START_TEST(the_smallest_bound_wins)
{
    char root[] = "/tmp/test_daemon_cpus.XXXXXX", remove[64];

    ck_assert_ptr_nonnull(mkdtemp(root));
    write_below(root, "/proc/self/cgroup", machines[_i].groups);
    for (size_t i = 0; i < COUNT_OF(machines[_i].files) && machines[_i].files[i][0] != NULL; i++)
        write_below(root, machines[_i].files[i][0], machines[_i].files[i][1]);
    int cpus = cpus_within_quota(root, machines[_i].mask);
    snprintf(remove, sizeof(remove), "rm -r %s", root);
    ck_assert_int_eq(system(remove), 0);
    ck_assert_int_eq(cpus, machines[_i].cpus);
}
END_TEST

START_TEST(there_is_at_least_one)
{
    ck_assert_int_ge(cpus_available(), 1);
    ck_assert_int_eq(cpus_within_quota("/nonexistent", 5), 5);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, the_smallest_bound_wins, machines);
    tcase_add_test(tcase, there_is_at_least_one);
}

int
main(void)
{
    return unit_run("daemon_cpus", fill);
}
