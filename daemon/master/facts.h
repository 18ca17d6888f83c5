/*
 * What the master knows of itself, its generations, workers and handlers, and what is counted
 * ("metrics", as status.h says it, the same as /status.json): the answer to `tornadod status
 * --json`.
 */
#ifndef DAEMON_MASTER_FACTS_H
#define DAEMON_MASTER_FACTS_H

#include "base/buf.h"

/* One JSON object and a line feed. */
void facts_put(td_buf *out);

#endif
