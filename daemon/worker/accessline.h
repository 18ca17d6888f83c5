/* One line of the access log, in the formats of `[log] access`. */
#ifndef DAEMON_WORKER_ACCESSLINE_H
#define DAEMON_WORKER_ACCESSLINE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include "base/settings.h"
#include "http/request.h"

#define ACCESSLINE_MAX 12288 /* bytes, the newline included; longer fields are cut */

/*
 * Write the line for a request that was answered at `now`, and its newline; returns its length.
 * What the client sent is escaped (base/escape.h); a head that was refused shows "-".
 */
size_t accessline_format(td_access_format format, const td_request *request, int64_t duration_ns,
                         time_t now, char out[ACCESSLINE_MAX]);

/* ---- pieces; each returns the end of what it wrote */

char *accessline_put_escaped(char *at, td_str s, size_t max); /* at most max bytes */

/* "." and the first 1..9 digits of so many ns. */
char *accessline_put_fraction(char *at, int64_t ns, int digits);

/* To whose routes it was led; the null string: to nobody's. */
td_str accessline_handler(const td_request *request);

/* Of a Tornado line, what the log itself puts in front: "[I 241121 19:42:50 access] ". */
#define ACCESSLINE_PREFIX 27

#endif
