/* How many processors this process may really use: for `workers = auto`. */
#ifndef DAEMON_CPUS_H
#define DAEMON_CPUS_H

/*
 * The processors of the affinity mask, at most what the quota of the control group (version 2 or 1,
 * or any group above it) allows, rounded up; at least 1.
 */
int cpus_available(void);

/* The same with another root for the files, for tests; mask_count stands for the affinity mask. */
int cpus_within_quota(const char *root, int mask_count);

#endif
