/*
 * The checker: a child that is thrown away after it has loaded every handler of a plan, to see
 * whether a worker could.  It has the rights of a worker and not much time; what it found is a
 * manifest.
 */
#ifndef DAEMON_SITE_CHECKER_H
#define DAEMON_SITE_CHECKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tornado/error.h>
#include "daemon/privileges.h"
#include "daemon/site/manifest.h"
#include "daemon/site/plan.h"

struct checker {
    pid_t pid; /* 0: none runs */
    int results;
    struct checker_progress *progress; /* shared with the child */
};

/* Fork one.  The caller reaps it, and kills it when it takes too long. */
int checker_start(struct checker *checker, const struct plan *plan, const struct identity *identity,
                  td_err *err);

/*
 * It has been reaped with this status.  0 and a manifest without failures, or an error; then there
 * may be more than one in out->failures.  Frees what checker_start took.
 */
int checker_finish(struct checker *checker, int status, bool timed_out, const struct plan *plan,
                   td_arena *arena, struct manifest *out, td_err *err);

void checker_abandon(struct checker *checker); /* frees without asking; it was killed and reaped */

#endif
