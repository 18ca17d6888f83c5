/*
 * What a checker tells the master about a plan: the master never loads a handler, so this is all it
 * knows of them.  The bytes come from a process that ran handlers' code and are read like a
 * stranger's.
 */
#ifndef DAEMON_SITE_MANIFEST_H
#define DAEMON_SITE_MANIFEST_H

#include <stddef.h>
#include <stdint.h>
#include <tornado/error.h>
#include "base/arena.h"
#include "base/buf.h"

struct manifest_instance {
    const char *name, *file;      /* of the instance, of its file */
    const char *plugin, *version; /* as the handler calls itself; version may be NULL */
    const char *application;
};

struct manifest_route {
    uint32_t instance, route;                   /* as in td_activity, both from 1 */
    const char *mount, *hosts, *pattern, *name; /* name may be NULL */
    const char *wanted; /* of methods and headers; NULL: any request */
};

struct manifest_shared {
    uint32_t instance;
    const char *name;
    uint64_t size;
};

struct manifest_metric {
    uint32_t instance, kind; /* td_metric_kind */
    const char *name, *help;
    const char *label, *value; /* NULL: it has none */
};

struct manifest {
    struct manifest_instance *instances; /* in the order of the plan */
    struct manifest_route *routes;       /* of each application in matching order */
    struct manifest_shared *shared;
    struct manifest_metric *metrics;
    const char **failures; /* what is wrong; then the rest may be missing */
    size_t instances_count, routes_count, shared_count, metrics_count, failures_count;
};

/* Writing, in the checker: any number of each, then the end. */
void manifest_put_instance(td_buf *to, const struct manifest_instance *instance);
void manifest_put_route(td_buf *to, const struct manifest_route *route);
void manifest_put_shared(td_buf *to, const struct manifest_shared *shared);
void manifest_put_metric(td_buf *to, const struct manifest_metric *metric);
void manifest_put_failure(td_buf *to, const char *text);
void manifest_put_end(td_buf *to);

/* TD_EBADMSG for what those above do not write, and without an end.  Copies into the arena. */
int manifest_read(td_arena *arena, td_str bytes, struct manifest *out);

/* NULL: there is none. */
const struct manifest_route *manifest_find_route(const struct manifest *manifest, uint32_t instance,
                                                 uint32_t route);

#endif
