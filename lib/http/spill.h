/*
 * td_spill: the body of a request in a temporary file instead of in memory.  While it comes it is
 * appended to the file; when all of it is there it is mapped, so that for those who read it it is
 * one span of memory like any other, with a NUL behind.  The file has no name: it is gone with the
 * request, or with the process.
 *
 * The pages are the kernel's page cache: memory that it may take back, and not of our budget.  On a
 * file system that has no disk (tmpfs) it cannot; what is in files there counts as bodies do.
 */
#ifndef TORNADO_HTTP_SPILL_H
#define TORNADO_HTTP_SPILL_H

#include <stdbool.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/error.h>
#include <tornado/str.h>

typedef struct td_spill {
    int fd;         /* -1: nothing was written yet */
    bool is_memory; /* its bytes are counted in the budget */
    uint64_t size;  /* bytes of the body in the file */
    char *map;      /* all of them and a NUL; NULL before it is complete */
} td_spill;

/* Where such files are and how much they may hold together, in this worker. */
typedef struct td_spill_place {
    const char *directory; /* body_temp_path; NULL: there is none, so bodies stay in memory */
    uint64_t size_max;     /* body_disk, bytes */
} td_spill_place;

/*
 * The place of a setting: the directory itself, which has to be good for files of ours, or for NULL
 * /var/tmp if it is.  0, or an error that names the setting.
 */
TD_PRIVATE int td_spill_find_directory(const char *setting, const char **out, td_err *err);

/*
 * Append; the first time makes the file.  0, TD_ETOOBIG past the place's size_max, TD_EBUSY if it is
 * memory and there is no room in the budget, -errno.
 */
int td_spill_write(td_spill *spill, const td_spill_place *place, td_str data);

/* It is complete, and not empty.  0, or an error of write or mmap. */
int td_spill_map(td_spill *spill, const td_spill_place *place, td_str *out);

/* Unmaps and closes; the disk space of a large one comes back bit by bit, while the loop runs. */
void td_spill_close(td_spill *spill);

#endif
