/* The loop of a worker, and what lives on it whether anybody asks or not, as the settings say. */
#ifndef DAEMON_WORKERLOOP_H
#define DAEMON_WORKERLOOP_H

#include <tornado/error.h>
#include "base/settings.h"
#include "io/ioloop.h"

int workerloop_open(const td_configuration *configuration, td_ioloop **out, td_err *err);
void workerloop_close(td_ioloop **loop);

#endif
