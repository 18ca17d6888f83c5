/* What the HTTP client knows of a td_iostream beside <tornado/iostream.h>. */
#ifndef TORNADO_IO_IOSTREAM_INTERNAL_H
#define TORNADO_IO_IOSTREAM_INTERNAL_H

#include <tornado/iostream.h>
#include "io/ioloop.h"

#pragma GCC visibility push(hidden)

/* Bytes received and not read, written and not sent. */
size_t td_iostream_unread(const td_iostream *stream);
size_t td_iostream_unsent(const td_iostream *stream);

/*
 * td_iostream_flush that ends with 1 when something has come meanwhile, be it the end: there is
 * something to read.  While another coroutine reads it is td_iostream_flush.
 */
int td_iostream_flush_or_input(td_iostream *stream);

/*
 * Call fn(arg), once, on the loop's stack, when something has come, be it the end; it may destroy the
 * stream.  NULL: no more.  Not while somebody reads.
 */
void td_iostream_on_input(td_iostream *stream, td_loop_fn *fn, void *arg);

#pragma GCC visibility pop

#endif
