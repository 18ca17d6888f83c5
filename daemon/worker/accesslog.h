/*
 * The access log of one worker.  The loop writes lines into a ring in shared memory, a thread of
 * its own writes the ring out, so a full disk or a reader that sleeps never holds a request up:
 * what does not fit is dropped and counted.  No system call a request.  What a dead worker left in
 * its ring the master writes.
 */
#ifndef DAEMON_WORKER_ACCESSLOG_H
#define DAEMON_WORKER_ACCESSLOG_H

#include <stdbool.h>
#include <stdint.h>
#include <tornado/error.h>
#include "base/ring.h"
#include "base/settings.h"
#include "http/request.h"
#include "io/ioloop.h"

typedef struct accesslog accesslog;

struct accesslog_options {
    td_access_format format;
    const struct accessformat *custom; /* of TD_ACCESS_CUSTOM */
    uint32_t sample; /* one line in so many, errors excepted; 0: 1 */
    bool marks_levels; /* "<4>" stands in front of those of 4xx, "<3>" of 5xx: the reader wants it */
    int fd;            /* stays the caller's; -1: each line goes to the log of the process */
    td_ring *ring;     /* outlives it */
    uint64_t *dropped; /* lines: counted in there; outlives it */
};

/* What the settings say; format is TD_ACCESS_OFF where there is none to be. */
struct accesslog_options accesslog_options_of(const td_log_settings *settings,
                                              const struct accessformat *custom, int access_fd,
                                              td_ring *ring, uint64_t *dropped);

int accesslog_create(td_ioloop *loop, const struct accesslog_options *options, accesslog **out,
                     td_err *err);

/* The line for a request; on the loop's thread. */
void accesslog_add(accesslog *log, const td_request *request, int64_t duration_ns);

/*
 * Go on in another file, from a whole line on; takes the descriptor over.  Lines that were added
 * before may still go into the old one.
 */
void accesslog_set_fd(accesslog *log, int fd);

/* Write out what is left, for at most two seconds. */
void accesslog_destroy(accesslog **log);

/*
 * Write what a dead worker left in options->ring, without waiting; counts and tells what cannot be
 * written.  `whose` is for the log: "worker 2".
 */
void accesslog_inherit(const struct accesslog_options *options, const char *whose);

#endif
