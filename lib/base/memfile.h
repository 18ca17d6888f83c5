/*
 * Memory with a descriptor: it can be mapped by whoever is given that, also after an exec.  Its
 * size is sealed, so nobody who has the descriptor can cut it off below those who have it mapped.
 */
#ifndef TORNADO_BASE_MEMFILE_H
#define TORNADO_BASE_MEMFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/error.h>

/*
 * name: what /proc/PID/maps calls it.  size: bytes, all zero; they take memory when they are used.
 * -EFBIG where files may not be that large (RLIMIT_FSIZE); the descriptor is close-on-exec.
 */
TD_PRIVATE int td_memfile_create(const char *name, uint64_t size, int *fd_out, td_err *err);

/* Is that such memory?  Its size then. */
TD_PRIVATE bool td_memfile_is(int fd, uint64_t *size_out);

#endif
