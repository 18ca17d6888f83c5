/*
 * The order matters: groups while we are still root, then gid, then uid; each is read back, because
 * a service that only believes it has dropped its rights is worse than one that never tried.
 */
#include "daemon/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static bool
parse_number(const char *text, unsigned *out)
{
    char *end;

    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value >= (unsigned)-1)
        return false;
    *out = (unsigned)value;
    return true;
}

static int
resolve_user(const char *user, struct identity *out, td_err *err)
{
    const struct passwd *entry = getpwnam(user);
    unsigned number;

    if (entry == NULL && parse_number(user, &number)) {
        entry = getpwuid(number);
        out->uid = number;
        out->gid = number; /* a number that has no name has no group of its own either */
    }
    if (entry == NULL)
        return parse_number(user, &number)
                   ? 0
                   : td_err_set(err, TD_ECONFIG, "user %s does not exist", user);
    if (strlen(entry->pw_name) >= sizeof(out->name))
        return td_err_set(err, TD_ECONFIG, "user %s: the name is too long", user);
    out->uid = entry->pw_uid;
    out->gid = entry->pw_gid;
    strcpy(out->name, entry->pw_name);
    return 0;
}

static int
resolve_group(const char *group, struct identity *out, td_err *err)
{
    const struct group *entry = getgrnam(group);
    unsigned number;

    if (entry != NULL)
        out->gid = entry->gr_gid;
    else if (parse_number(group, &number))
        out->gid = number;
    else
        return td_err_set(err, TD_ECONFIG, "group %s does not exist", group);
    return 0;
}

int
privileges_resolve(const char *user, const char *group, struct identity *out, td_err *err)
{
    struct identity identity = {.uid = geteuid(), .gid = getegid()};

    if (user != NULL && resolve_user(user, &identity, err) < 0)
        return err->code;
    if (group != NULL && resolve_group(group, &identity, err) < 0)
        return err->code;
    identity.change = identity.uid != geteuid() || identity.gid != getegid();
    if (identity.change && geteuid() != 0)
        return td_err_set(err, TD_ECONFIG, "%s %s: only root can become somebody else",
                          user != NULL ? "user" : "group", user != NULL ? user : group);
    *out = identity;
    return 0;
}

static int
set_groups(const struct identity *identity, td_err *err)
{
    if (identity->name[0] != '\0' && initgroups(identity->name, identity->gid) < 0)
        return td_err_errno(err, "initgroups %s", identity->name);
    if (identity->name[0] == '\0' && setgroups(1, &identity->gid) < 0)
        return td_err_errno(err, "setgroups %u", (unsigned)identity->gid);
    return 0;
}

static bool
is_only(const struct identity *identity)
{
    uid_t real, effective, saved;
    gid_t real_group, effective_group, saved_group;

    return getresuid(&real, &effective, &saved) == 0 && real == identity->uid &&
           effective == identity->uid && saved == identity->uid &&
           getresgid(&real_group, &effective_group, &saved_group) == 0 &&
           real_group == identity->gid && effective_group == identity->gid &&
           saved_group == identity->gid;
}

int
privileges_drop(const struct identity *identity, td_err *err)
{
    if (identity->change) {
        if (set_groups(identity, err) < 0)
            return err->code;
        if (setresgid(identity->gid, identity->gid, identity->gid) < 0)
            return td_err_errno(err, "setresgid %u", (unsigned)identity->gid);
        if (setresuid(identity->uid, identity->uid, identity->uid) < 0)
            return td_err_errno(err, "setresuid %u", (unsigned)identity->uid);
        if (!is_only(identity) || (identity->uid != 0 && setuid(0) == 0))
            return td_err_set(err, -EPERM, "dropping privileges did not work");
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return td_err_errno(err, "PR_SET_NO_NEW_PRIVS");
    return 0;
}

bool
privileges_tie_to_parent(pid_t parent, int signal)
{
    prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0);
    return getppid() == parent;
}
