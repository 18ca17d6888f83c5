/* What td_future is made of: for future.c, and for combine.c, which makes one of several. */
#ifndef TORNADO_IO_FUTURE_INTERNAL_H
#define TORNADO_IO_FUTURE_INTERNAL_H

#include <tornado/future.h>
#include "base/list.h"
#include "io/ioloop.h"

/* Of this thread, that somebody still refers to. */
TD_PRIVATE size_t td_futures_count(void);

#pragma GCC visibility push(hidden)

struct td_future {
    unsigned references;
    bool is_done;
    bool is_canceled; /* by td_future_cancel: what is set afterwards is ignored */
    bool is_seen;     /* somebody has looked at how it ended */
    int error;        /* 0 or negative; means something only when is_done */
    void *result;
    td_list observers;  /* td_observer, in the order of their coming */
    td_callback notify; /* posted: it holds a reference */
    td_future_fn *on_cancel;
    void *on_cancel_arg;
    const char *module; /* whose code made it, for the log; NULL: ours */
    bool is_taken;      /* by the td_gather that runs: to know one that stands in its list twice */
    void **results;     /* of td_gather, until somebody looks; NULL: none */
    void **results_out; /* where they then go */
    size_t results_count;
    void (*dispose)(void *result); /* for a result that nobody has looked at; NULL: nothing to do */
};

typedef struct td_observer {
    td_list link;
    void (*told)(struct td_observer *observer, td_future *future); /* unlinked; on the loop's stack */
} td_observer;

/* Be told when it is done, from the loop; td_list_remove(&observer->link) takes that back. */
void td_future_observe(td_future *future, td_observer *observer);

/* It is not done yet; observers are told later. */
void td_future_resolve(td_future *future, int error, void *result);

/*
 * Resolve it with something that whoever looks at it owns from then on: when nobody does, or it was
 * cancelled, it is disposed of.
 */
void td_future_set_owned(td_future *future, void *result, void (*dispose)(void *result));

#pragma GCC visibility pop

#endif
