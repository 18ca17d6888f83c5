/*
 * Bodies in temporary files: see spill.h.
 *
 * To give a large file back takes the kernel long (0.1 s for 1 GiB), so it is done a slice an
 * iteration of the loop, one file after the other.
 */
#include "http/spill.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/budget.h"
#include "base/tempfile.h"
#include "io/ioloop.h"

#define DEFAULT_DIRECTORY "/var/tmp" /* on a disk, where /tmp is often memory */

#define SLICE (UINT64_C(4) << 20) /* bytes given back at once: about a millisecond */

struct doomed {
    struct doomed *next;
    td_spill spill;
};

static uint64_t spilled; /* bytes in the files of this worker */
static struct doomed *doomed;
static void free_slice(void *arg);
static void free_doomed(void *arg);
static td_callback freeing = {.fn = free_slice, .dropped = free_doomed};

int
td_spill_find_directory(const char *setting, const char **out, td_err *err)
{
    const char *directory = setting != NULL ? setting : DEFAULT_DIRECTORY;
    const int fd = td_tempfile_open(directory);

    if (fd < 0 && setting != NULL)
        return td_err_set(err, fd, "body_temp_path: no file can be made in %s: %s", directory,
                          td_strerror(fd));
    if (fd >= 0)
        close(fd);
    *out = fd >= 0 ? directory : NULL;
    return 0;
}

static bool
is_memory(int fd)
{
    struct statfs status;

    return fstatfs(fd, &status) == 0 &&
           (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}

static int
open_spill(td_spill *spill, const char *directory)
{
    const int fd = td_tempfile_open(directory);

    if (fd < 0)
        return fd;
    spill->fd = fd;
    spill->is_memory = is_memory(fd);
    return 0;
}

static int
write_all(td_spill *spill, td_str data)
{
    while (data.len > 0) {
        const ssize_t n = write(spill->fd, data.ptr, data.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data = td_str_make(data.ptr + n, data.len - (size_t)n);
        spill->size += (uint64_t)n;
        spilled += (uint64_t)n;
        if (spill->is_memory)
            td_budget_note(TD_BUDGET_BODIES, (size_t)n);
    }
    return 0;
}

int
td_spill_write(td_spill *spill, const td_spill_place *place, td_str data)
{
    if (spilled + data.len > place->size_max)
        return TD_ETOOBIG;
    const int rc = spill->fd < 0 ? open_spill(spill, place->directory) : 0;
    if (rc < 0)
        return rc;
    if (spill->is_memory && !td_budget_has(TD_BUDGET_BODIES, data.len))
        return TD_EBUSY;
    return write_all(spill, data);
}

/*
 * The NUL is written and no hole, nor the rest of a page: a full memory file system would let us
 * find out about a hole when it is read.
 */
int
td_spill_map(td_spill *spill, const td_spill_place *place, td_str *out)
{
    const int rc = td_spill_write(spill, place, td_str_make("", 1));
    char *map;

    if (rc < 0)
        return rc;
    map = mmap(NULL, (size_t)spill->size, PROT_READ, MAP_SHARED, spill->fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    spill->map = map;
    *out = td_str_make(map, (size_t)spill->size - 1);
    return 0;
}

/* Make it no larger than `size`, a multiple of the page size; 0 closes it, as does a failure. */
static void
shrink(td_spill *spill, uint64_t size)
{
    if (size > 0 && ftruncate(spill->fd, (off_t)size) < 0)
        size = 0;
    if (spill->map != NULL)
        munmap(spill->map + size, (size_t)(spill->size - size));
    if (size == 0) {
        close(spill->fd);
        spill->fd = -1;
    }
    spilled -= spill->size - size;
    if (spill->is_memory)
        td_budget_give(TD_BUDGET_BODIES, (size_t)(spill->size - size));
    spill->size = size;
}

static void
free_slice(void *arg)
{
    struct doomed *first = doomed;

    (void)arg;
    shrink(&first->spill, (first->spill.size - 1) / SLICE * SLICE);
    if (first->spill.size == 0) {
        doomed = first->next;
        free(first);
    }
    if (doomed != NULL)
        td_ioloop_post(td_ioloop_current(), &freeing);
}

/* The loop has ended. */
static void
free_doomed(void *arg)
{
    (void)arg;
    while (doomed != NULL) {
        struct doomed *first = doomed;

        doomed = first->next;
        shrink(&first->spill, 0);
        free(first);
    }
}

void
td_spill_close(td_spill *spill)
{
    if (spill->fd < 0)
        return;
    if (spill->size <= SLICE) {
        shrink(spill, 0);
    } else {
        struct doomed *first = td_xmalloc(sizeof(*first));

        *first = (struct doomed){doomed, *spill};
        doomed = first;
        td_ioloop_post(td_ioloop_current(), &freeing);
    }
    *spill = (td_spill){.fd = -1};
}
