/* Goal: as many workers as processors that may really be used, whatever kind of control groups. */
#include "daemon/cpus.h"

#include "fake_root.h"

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

START_TEST(the_smallest_bound_wins)
{
    char root[FAKE_ROOT_SIZE] = "";

    fake_root_make(root, machines[_i].groups, machines[_i].files, COUNT_OF(machines[_i].files));
    const int cpus = cpus_within_quota(root, machines[_i].mask);
    fake_root_remove(root);
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
