/*
 * td_instance: one [handler:NAME] in one worker: a plugin's file with options, state, mount and
 * hosts of its own.  The daemon loads the file and fills this in; the web layer routes to it.
 */
#ifndef TORNADO_WEB_INSTANCE_H
#define TORNADO_WEB_INSTANCE_H

#include <stdint.h>
#include <tornado/metrics.h>
#include <tornado/plugin.h>
#include "base/settings.h"

struct td_instance {
    const char *name;     /* of the section, or of the file without ".so" */
    const char *file;     /* as an operator knows it, for messages */
    uint32_t index;       /* 1-based, the same in every worker of a generation: td_activity.instance */
    const td_plugin *plugin; /* in today's layout, whatever the file was built with */
    const td_handler_settings *section; /* mount, hosts, application, order, limits; never NULL */
    const void *settings; /* the struct that the plugin's options describe, NULL without */
    void *state;          /* what load made */
    void **shared;        /* one address for each of plugin->shared */
    const td_instance *const *middleware; /* of its section, NULL at the end; NULL: none */
    td_metric *metrics;   /* of plugin->metrics, see td_metrics_create */
    bool quarantined;     /* none of its code is run: its routes and middleware answer 503 */
};

#endif
