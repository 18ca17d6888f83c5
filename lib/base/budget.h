/*
 * td_budget: the memory of a process that its clients can make grow, counted as it is taken and
 * given back, and refused where there is too much of it.
 *
 * There is one limit, the setting `memory`, for all kinds together.  A kind is refused when the sum
 * of all would pass its share of the limit, so that bodies, which have files to go to, leave room
 * for answers, and both leave room for whoever wants little: it is never bodies that end the
 * requests of others.  What cannot be refused where it is taken is noted, and makes the others be
 * refused earlier.
 *
 * What does not depend on clients is not counted: code, settings, log rings, caches with limits of
 * their own; nor what handlers take from malloc.
 */
#ifndef TORNADO_BASE_BUDGET_H
#define TORNADO_BASE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>

/* X(id, name, share of the limit in per cent): */
#define TD_BUDGET_KINDS(X)                                                                         \
    X(BODIES, "bodies", 50)           /* of requests; beyond it they go to files */                \
    X(COMPRESSORS, "compressors", 50) /* of streams; beyond it they are sent uncompressed */       \
    X(BUFFERS, "buffers", 50)         /* of connections and streams; beyond it heads are closed */ \
    X(RESPONSES, "responses", 75)     /* large ones; other servers' are refused there, too */      \
    X(STACKS, "stacks", 100)          /* of coroutines */                                          \
    X(REQUESTS, "requests", 100)      /* arenas: heads, arguments, what handlers allocate for them */

typedef enum td_budget_kind {
#define X(id, name, share) TD_BUDGET_##id,
    TD_BUDGET_KINDS(X)
#undef X
        TD_BUDGET_KINDS_COUNT
} td_budget_kind;

TD_PRIVATE extern const char *const td_budget_names[TD_BUDGET_KINDS_COUNT];

/* limit: bytes; SIZE_MAX, as it is at first: none. */
TD_PRIVATE void td_budget_configure(size_t limit);

/*
 * "memory (1048576 bytes) is used up": why something was refused; constant until the next
 * configure.
 */
TD_PRIVATE const char *td_budget_text(void);

/* Whether there is room for size bytes more of that kind. */
TD_PRIVATE bool td_budget_has(td_budget_kind kind, size_t size);

/* Count them, if there is; false: there is not, nothing was counted. */
TD_PRIVATE bool td_budget_take(td_budget_kind kind, size_t size);

/* Count them, whether there is or not; what was counted is gone.  In any thread. */
TD_PRIVATE void td_budget_note(td_budget_kind kind, size_t size);
TD_PRIVATE void td_budget_give(td_budget_kind kind, size_t size);

/*
 * Something was refused for want of room: count that.  instead: what happens, for a line in the log
 * ("request bodies go to files"); NULL: whoever refused says so itself.
 */
TD_PRIVATE void td_budget_refused(td_budget_kind kind, const char *instead);

TD_PRIVATE size_t td_budget_used(void); /* of all kinds */

/*
 * Write what is used to td_gauges.  That is done whenever something is taken or given back, too;
 * but small requests take what they need from pools, past all this.
 */
TD_PRIVATE void td_budget_publish(void);

/*
 * A worker's part of the memory that there is, when workers_count have the same: half of what the
 * control groups allow (there may be two generations of workers at a time), but a quarter of the
 * machine's at most (others live there, too), less what a worker takes with nobody to serve; never
 * less than 4 MiB.
 *
 * root: in front of the paths of control groups; "" but in tests.  machine: bytes.
 */
TD_PRIVATE size_t td_budget_share(const char *root, uint64_t machine, size_t workers_count);

/* The same of this machine. */
TD_PRIVATE size_t td_budget_auto(size_t workers_count);

#endif
