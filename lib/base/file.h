/*
 * td_file: an open file that several may hold, such as answers that send it and a cache that knows
 * it.  Whoever gives the last reference back closes it.  For the loop's thread.
 */
#ifndef TORNADO_BASE_FILE_H
#define TORNADO_BASE_FILE_H

#include <stdint.h>
#include <tornado/abi.h>

typedef struct td_file {
    int fd;
    uint32_t references;
} td_file;

TD_PRIVATE td_file *td_file_create(int fd); /* takes fd over; one reference, the caller's */
TD_PRIVATE void td_file_unref(td_file *file);

static inline td_file *
td_file_ref(td_file *file)
{
    file->references++;
    return file;
}

#endif
