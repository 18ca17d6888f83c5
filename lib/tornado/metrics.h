/*
 * The state of the whole daemon as text: what the bundled handler `status` answers, for those who want
 * to serve it elsewhere or in another way.
 *
 *     static void
 *     metrics(td_handler *h)
 *     {
 *         td_set_header(h, "Content-Type", TD_OPENMETRICS_TYPE);
 *         td_write(h, td_metrics(h, TD_METRICS_OPENMETRICS));
 *     }
 *
 * Any worker can tell it, of all workers, in some 100 us; what workers had counted that have ended is
 * in it, so counters never fall as long as the daemon runs, reloads or not.  It tells strangers more
 * than they should know: see to it who may ask.
 */
#ifndef TORNADO_METRICS_H
#define TORNADO_METRICS_H

#include <tornado/abi.h>
#include <tornado/handler.h>
#include <tornado/str.h>

typedef enum td_metrics_format {
    TD_METRICS_JSON,        /* one object */
    TD_METRICS_OPENMETRICS, /* what Prometheus scrapes: OpenMetrics 1.0 */
    TD_METRICS_HTML,        /* a page for people */
} td_metrics_format;

#define TD_OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/*
 * From the arena of the request.  The null string outside of the daemon (tests in process), and for a
 * format that is none, which is misuse.
 */
TD_API td_str td_metrics(td_handler *h, td_metrics_format format);

#endif
