/* Becoming somebody with fewer rights, for good. */
#ifndef DAEMON_PRIVILEGES_H
#define DAEMON_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>
#include <tornado/error.h>

struct identity {
    bool change; /* false: stay who we are; uid and gid are then our own */
    uid_t uid;
    gid_t gid;
    char name[64]; /* for initgroups; "" for a bare number */
};

/*
 * Who the children are to be: `user` (name or number) and `group` (NULL: the user's first one),
 * both NULL: nobody changes.  Asked for a change without being root: TD_ECONFIG, unless it is us
 * already.
 */
int privileges_resolve(const char *user, const char *group, struct identity *out, td_err *err);

/*
 * Take the identity, verify that there is no way back, forbid new privileges.  To be called in a
 * child, before any code of a handler.
 */
int privileges_drop(const struct identity *identity, td_err *err);

/*
 * Be sent `signal` when the parent dies; after privileges_drop, which clears it.  Returns false
 * when the parent has died already.
 */
bool privileges_tie_to_parent(pid_t parent, int signal);

#endif
