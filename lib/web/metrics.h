/* Who writes the state of the daemon, for td_metrics: the daemon; and the metrics of authors. */
#ifndef TORNADO_WEB_METRICS_H
#define TORNADO_WEB_METRICS_H

#include <tornado/metrics.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/metric.h"
#include "web/instance.h"

/*
 * Who reads the text while it is written: called with what there is of it so far, which `take` may
 * send and remove, and between which others may have their turn; so it may suspend, and be unwound.
 * False: nobody wants the rest.
 */
typedef struct td_metrics_reader {
    bool (*take)(td_buf *text, void *arg);
    void *arg;
} td_metrics_reader;

/* reader: NULL where the text is wanted in one piece. */
typedef void td_metrics_fn(td_buf *to, td_metrics_format format, const td_metrics_reader *reader);
TD_PRIVATE extern td_metrics_fn *td_metrics_put; /* NULL: nobody */

#define TD_METRIC_NAME_MAX 63 /* bytes */
#define TD_METRIC_HELP_MAX 255
#define TD_METRIC_VALUE_MAX 255
#define TD_METRIC_VALUES_MAX 100

/* Whether it may be declared so, the rules of TD_METRICS: TD_EPLUGIN.  options: of its plugin. */
TD_PRIVATE int td_metric_check(const td_metric_info *info, const td_option *options, td_err *err);

/*
 * instance->metrics, of its plugin and its settings, in the arena; each counts for itself.
 * TD_ECONFIG: an option names too much.
 */
TD_PRIVATE int td_metrics_create(td_arena *arena, td_instance *instance, td_err *err);

/* value: of its label; NULL: the first of that name.  NULL: there is none. */
TD_PRIVATE td_metric *td_metric_find(const td_instance *instance, const char *name,
                                     const char *value);

#endif
