/*
 * The control groups of this process, of version 2 or 1: its own and each above it, whose limits
 * bind it, too.  In a container the outer ones are simply not there.
 */
#ifndef TORNADO_BASE_CGROUP_H
#define TORNADO_BASE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <tornado/abi.h>

/* folder: of the group's files, for td_cgroup_read; good during the call. */
typedef void td_cgroup_fn(void *arg, int version, const char *folder);

/*
 * Call look for each group, the innermost first, that may have the files of controller ("cpu",
 * "memory").  root: in front of all paths; "" but in tests.
 */
TD_PRIVATE void td_cgroup_each(const char *root, const char *controller, td_cgroup_fn *look, void *arg);

/* The beginning of a file, with a NUL behind it; false: there is none, or it is empty. */
TD_PRIVATE bool td_cgroup_read(const char *folder, const char *name, char *out, size_t size);

#endif
