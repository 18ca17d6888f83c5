/*
 * The state of the whole daemon as text: what the bundled handler `status` answers, for those who
 * want to serve it elsewhere or in another way.
 *
 *     static void
 *     metrics(td_handler *h)
 *     {
 *         td_set_header(h, "Content-Type", TD_OPENMETRICS_TYPE);
 *         td_write_metrics(h, TD_METRICS_OPENMETRICS);
 *     }
 *
 * Any worker can tell it, of all workers; what workers had counted that have ended is in it, so
 * counters never fall as long as the daemon runs, reloads or not.  It tells strangers more than
 * they should know: see to it who may ask.
 */
#ifndef TORNADO_METRICS_H
#define TORNADO_METRICS_H

#include <tornado/abi.h>
#include <tornado/handler.h>
#include <tornado/plugin.h>
#include <tornado/str.h>

typedef enum td_metrics_format {
    TD_METRICS_JSON,        /* one object */
    TD_METRICS_OPENMETRICS, /* what Prometheus scrapes: OpenMetrics 1.0 */
    TD_METRICS_HTML,        /* a page for people */
} td_metrics_format;

#define TD_OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/*
 * Write it to the response, a piece of some 32 KiB after the other with td_flush in between, so any
 * number of routes takes no more memory than few and others are served meanwhile.  Suspends.  Each
 * route's numbers are of one moment, those of another route may be of the next.  Returns 0,
 * TD_ECLOSED when the client has gone, TD_EINVAL for a format that is none, which is misuse.
 * Writes nothing outside of the daemon (tests in process).
 */
TD_API int td_write_metrics(td_handler *h, td_metrics_format format);

/*
 * The same in one piece, in no time in which others are served (some 100 us, and 10 us for each
 * route), from the arena of the request.  The null string outside of the daemon (tests in process),
 * and for a format that is none, which is misuse.
 */
TD_API td_str td_metrics(td_handler *h, td_metrics_format format);

/*
 * A number of the author's own, declared by TD_METRICS of plugin.h and told with all others, by
 * the label handler="INSTANCE".
 *
 *     static void
 *     order(td_handler *h)
 *     {
 *         td_metric_add(td_get_metric(h, "orders"), 1);
 *     }
 *
 * What is told is the sum over all workers.  A counter keeps what workers have counted that are
 * gone, reloads or not; a gauge is what those say that live, so one that only some worker knows is
 * set there alone.
 */
typedef struct td_metric td_metric;

/*
 * Find it by its name: in a method, and in a hook (which may keep it in the state, for timers,
 * callbacks and threads).  Valid as long as the worker lives.  NULL, which is logged: the instance
 * has not declared it.
 */
TD_API td_metric *td_get_metric(td_handler *h, const char *name);
TD_API td_metric *td_instance_metric(const td_instance *instance, const char *name);

/*
 * Of one with a label (TD_COUNTER_BY), that with this value.  NULL, which is logged: the instance
 * has not declared it, it has no label, or its option does not name the value.
 */
TD_API td_metric *td_get_metric_by(td_handler *h, const char *name, const char *value);
TD_API td_metric *td_instance_metric_by(const td_instance *instance, const char *name,
                                        const char *value);

/*
 * From any thread, in a few ns.  A counter takes no negative number and cannot be set; that, and
 * NULL, is logged and changes nothing.
 */
TD_API void td_metric_add(td_metric *metric, int64_t by);
TD_API void td_metric_set(td_metric *metric, int64_t value);

/* What this worker has counted, for tests; 0 of NULL. */
TD_API int64_t td_metric_value(const td_metric *metric);

#endif
