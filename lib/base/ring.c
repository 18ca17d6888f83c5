/*
 * Two counters that only grow are all the agreement that one writer and one reader need.  A child
 * that dies between writing some bytes out and saying so leaves them to be written twice; there is
 * no other window.
 */
#include "base/ring.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/arena.h"

/* The same pages twice in a row; MAP_FAILED. */
static char *
map_twice(size_t size)
{
    const int fd = memfd_create("tornadod-ring", MFD_CLOEXEC);
    char *place = MAP_FAILED;

    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        goto done;
    place = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED)
        goto done;
    for (size_t i = 0; i < 2; i++) {
        if (mmap(place + i * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
            MAP_FAILED) {
            munmap(place, 2 * size);
            place = MAP_FAILED;
            goto done;
        }
    }

done:
    if (fd >= 0)
        close(fd);
    return place;
}

static size_t
round_up(size_t size)
{
    size_t rounded = (size_t)sysconf(_SC_PAGESIZE);

    while (rounded < size)
        rounded *= 2;
    return rounded;
}

int
td_ring_create(size_t size, td_ring **out, td_err *err)
{
    td_ring *ring = td_xcalloc(1, sizeof(*ring));
    int rc;

    ring->size = round_up(size);
    ring->bytes = map_twice(ring->size);
    if (ring->bytes == MAP_FAILED) {
        rc = td_err_errno(err, "memory for lines of the log");
        goto fail_free;
    }
    ring->shared = mmap(NULL, sizeof(*ring->shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ring->shared == MAP_FAILED) {
        rc = td_err_errno(err, "memory for lines of the log");
        goto fail_unmap;
    }
    *out = ring;
    return 0;

fail_unmap:
    munmap(ring->bytes, 2 * ring->size);
fail_free:
    free(ring);
    return rc;
}

void
td_ring_destroy(td_ring **ring_ref)
{
    td_ring *ring = *ring_ref;

    if (ring == NULL)
        return;
    *ring_ref = NULL;
    munmap(ring->bytes, 2 * ring->size);
    munmap(ring->shared, sizeof(*ring->shared));
    free(ring);
}

void
td_ring_hide_from_children(td_ring *ring)
{
    madvise(ring->bytes, 2 * ring->size, MADV_DONTFORK);
    madvise(ring->shared, (size_t)sysconf(_SC_PAGESIZE), MADV_DONTFORK);
}

td_str
td_ring_peek(const td_ring *ring)
{
    const uint64_t written = __atomic_load_n(&ring->shared->written, __ATOMIC_ACQUIRE);
    const uint64_t read = __atomic_load_n(&ring->shared->read, __ATOMIC_RELAXED);

    if (written - read > ring->size)
        return td_str_make(NULL, 0);
    return td_str_make(ring->bytes + (read & (ring->size - 1)), written - read);
}

void
td_ring_consume(td_ring *ring, size_t size)
{
    __atomic_store_n(&ring->shared->read, ring->shared->read + size, __ATOMIC_RELEASE);
}
