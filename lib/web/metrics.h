/* Who writes the state of the daemon, for td_metrics: the daemon. */
#ifndef TORNADO_WEB_METRICS_H
#define TORNADO_WEB_METRICS_H

#include <tornado/metrics.h>
#include "base/buf.h"

typedef void td_metrics_fn(td_buf *to, td_metrics_format format);
TD_PRIVATE extern td_metrics_fn *td_metrics_put; /* NULL: nobody */

#endif
