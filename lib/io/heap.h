/*
 * td_heap: the memory of large buffers (bodies that come, responses that leave) stays with the
 * worker while it is used again and again, and goes back to the system when it is not.
 *
 * The C library by itself maps a large buffer anew each time, and each of its pages is a fault:
 * with a body of 1 MiB that is more than all the rest of such a request costs.
 *
 * Much of it goes back on a thread of its own, so that the loop goes on meanwhile.
 *
 * What the pool of chunks has too many of goes back a few an iteration.
 */
#ifndef TORNADO_IO_HEAP_H
#define TORNADO_IO_HEAP_H

#include <tornado/abi.h>
#include "io/ioloop.h"

/*
 * From now on; one a process.  What is free is given back when nothing large was asked for or freed
 * in rest_ms, and at the latest every ten times rest_ms.
 */
TD_PRIVATE void td_heap_open(td_ioloop *loop, int64_t rest_ms);
TD_PRIVATE void td_heap_close(void); /* before the loop is destroyed */

#endif
