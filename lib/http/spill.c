/* Bodies in temporary files: see spill.h. */
#include "http/spill.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/tempfile.h"

#define DEFAULT_DIRECTORY "/var/tmp" /* on a disk, where /tmp is often memory */

static uint64_t spilled; /* bytes in the files of this worker */

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

int
td_spill_write(td_spill *spill, const td_spill_place *place, td_str data)
{
    if (spilled + data.len > place->size_max)
        return TD_ETOOBIG;
    if (spill->fd < 0) {
        spill->fd = td_tempfile_open(place->directory);
        if (spill->fd < 0) {
            const int rc = spill->fd;

            spill->fd = -1;
            return rc;
        }
    }
    while (data.len > 0) {
        const ssize_t n = write(spill->fd, data.ptr, data.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data = td_str_make(data.ptr + n, data.len - (size_t)n);
        spill->size += (uint64_t)n;
        spilled += (uint64_t)n;
    }
    return 0;
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

void
td_spill_close(td_spill *spill)
{
    if (spill->fd < 0)
        return;
    if (spill->map != NULL)
        munmap(spill->map, (size_t)spill->size);
    close(spill->fd);
    spilled -= spill->size;
    *spill = (td_spill){.fd = -1};
}
