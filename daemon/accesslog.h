/*
 * The access log of one worker.  The loop writes lines into a ring in memory, a thread of its own
 * writes the ring out, so a full disk or a reader that sleeps never holds a request up: what does
 * not fit is dropped and counted.  No system call a request.
 */
#ifndef DAEMON_ACCESSLOG_H
#define DAEMON_ACCESSLOG_H

#include <stdint.h>
#include <tornado/error.h>
#include "base/settings.h"
#include "http/request.h"
#include "io/ioloop.h"

typedef struct accesslog accesslog;

struct accesslog_options {
    td_access_format format; /* not TD_ACCESS_OFF */
    int fd;                  /* stays the caller's; -1: each line goes to the log of the process */
    size_t ring_size;        /* bytes, a power of two; 0: 1 MiB */
};

int accesslog_create(td_ioloop *loop, const struct accesslog_options *options, accesslog **out,
                     td_err *err);

/* The line for a request; on the loop's thread. */
void accesslog_add(accesslog *log, const td_request *request, int64_t duration_ns);

/*
 * Go on in another file, from a whole line on; takes the descriptor over.  Lines that were added
 * before may still go into the old one.
 */
void accesslog_set_fd(accesslog *log, int fd);

/* Write out what is left, from the fatal-signal handler of the loop's thread. */
void accesslog_rescue(accesslog *log);

/* Write out what is left, for at most two seconds. */
void accesslog_destroy(accesslog **log);

#endif
