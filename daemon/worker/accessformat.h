/*
 * A format of one's own for access lines: text with $names in it, those of nginx where it has them,
 * so that its log_format can be taken over.  The names are in accessformat.c, and in
 * tornadod.ini(5).
 */
#ifndef DAEMON_WORKER_ACCESSFORMAT_H
#define DAEMON_WORKER_ACCESSFORMAT_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <tornado/error.h>
#include "base/arena.h"
#include "daemon/worker/accessline.h"
#include "http/request.h"

typedef struct accessformat accessformat;

/* In the arena.  TD_ECONFIG and what is wrong with the text. */
int accessformat_parse(td_arena *arena, const char *text, const accessformat **out, td_err *err);

/* As accessline_format. */
size_t accessformat_line(const accessformat *format, const td_request *request,
                         int64_t duration_ns, time_t now, char out[ACCESSLINE_MAX]);

#endif
