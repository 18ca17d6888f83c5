/*
 * What passes from one binary to the next when it takes over in place, as a struct and as text: a
 * record a line, its name and its fields separated by tabs, in such texts \t, \n and \\ for the
 * bytes that would end them.  The first line tells the version, the last one is "end".
 *
 * Whoever reads it trusts nothing in it: names, counts, ranges and what refers to what are checked
 * before anything of it is used.
 */
#ifndef DAEMON_MASTER_HANDOVER_H
#define DAEMON_MASTER_HANDOVER_H

#include <stddef.h>
#include <stdint.h>
#include <tornado/error.h>
#include "base/arena.h"
#include "base/buf.h"

#define HANDOVER_VERSION "5" /* that is written */
#define HANDOVER_SIZE_MAX (16u << 20) /* bytes of the text */

#define RECORD(record, min, max) struct handover_##record {
#define NUMBER(record, field, min, max) int64_t field;
#define FD(record, field) int64_t field;
#define FD_OR_NONE(record, field) int64_t field;
#define TEXT(record, field) const char *field;
#define END(record)                                                                                \
    }                                                                                              \
    ;
#include "daemon/master/handover.def"

enum handover_kind {
#define RECORD(record, min, max) HANDOVER_##record,
#define NUMBER(record, field, min, max)
#define FD(record, field)
#define FD_OR_NONE(record, field)
#define TEXT(record, field)
#define END(record)
#include "daemon/master/handover.def"
    HANDOVER_KINDS
};

struct handover {
    td_arena *arena; /* where all of it lies; texts that are added are the caller's */
    const char *version; /* that it was read of; HANDOVER_VERSION or one before */
    struct handover_rows {
        void *rows;
        size_t count, room;
    } of[HANDOVER_KINDS];
};

/* Each record of a kind; one or none: NULL. */
#define HANDOVER_EACH(row, handover, record)                                                       \
    for (struct handover_##record *row = (handover)->of[HANDOVER_##record].rows,                   \
                                  *row##_end = row + (handover)->of[HANDOVER_##record].count;      \
         row < row##_end; row++)
#define HANDOVER_ONE(handover, record)                                                             \
    ((struct handover_##record *)(handover)->of[HANDOVER_##record].rows)

/* One more of them, zeroed; valid until the next one of its kind. */
#define HANDOVER_ADD(handover, record)                                                             \
    ((struct handover_##record *)handover_add((handover), HANDOVER_##record))
void *handover_add(struct handover *handover, enum handover_kind kind);

void handover_write(const struct handover *handover, td_buf *to);

/* text: anything.  TD_EBADMSG and the line that is wrong.  Texts are copied. */
int handover_read(td_arena *arena, td_str text, struct handover *out, td_err *err);

void handover_each_fd(const struct handover *handover, void (*each)(void *arg, int fd), void *arg);

/* Is each descriptor open, none named twice, those of sockets such that accept?  TD_EBADMSG. */
int handover_check_fds(const struct handover *handover, td_err *err);

#endif
