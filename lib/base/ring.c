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
#include "base/memfile.h"

/* The first page is what both sides share, the bytes follow. */
static size_t
page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* The same pages twice in a row; MAP_FAILED. */
static char *
map_twice(int fd, size_t size)
{
    char *place =
        mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    for (size_t i = 0; place != MAP_FAILED && i < 2; i++) {
        if (mmap(place + i * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                 (off_t)page_size()) == MAP_FAILED) {
            munmap(place, 2 * size);
            return MAP_FAILED;
        }
    }
    return place;
}

static size_t
round_up(size_t size)
{
    size_t rounded = page_size();

    while (rounded < size)
        rounded *= 2;
    return rounded;
}

static int
map(int fd, size_t size, td_ring **out, td_err *err)
{
    td_ring *ring = td_xcalloc(1, sizeof(*ring));
    int rc;

    ring->fd = fd;
    ring->size = size;
    ring->bytes = map_twice(fd, size);
    if (ring->bytes == MAP_FAILED) {
        rc = td_err_errno(err, "memory for lines of the log");
        goto fail_free;
    }
    ring->shared = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
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

int
td_ring_create(size_t size, td_ring **out, td_err *err)
{
    const size_t rounded = round_up(size);
    int fd, rc = td_memfile_create("tornadod-ring", page_size() + rounded, &fd, err);

    if (rc < 0)
        return rc;
    rc = map(fd, rounded, out, err);
    if (rc < 0)
        close(fd);
    return rc;
}

int
td_ring_open(int fd, td_ring **out, td_err *err)
{
    uint64_t size;

    if (!td_memfile_is(fd, &size) || size < 2 * page_size() ||
        ((size - page_size()) & (size - page_size() - 1)) != 0)
        return td_err_set(err, TD_EBADMSG, "descriptor %d is no ring", fd);
    return map(fd, (size_t)size - page_size(), out, err);
}

void
td_ring_destroy(td_ring **ring_ref)
{
    td_ring *ring = *ring_ref;

    if (ring == NULL)
        return;
    *ring_ref = NULL;
    munmap(ring->bytes, 2 * ring->size);
    munmap(ring->shared, page_size());
    close(ring->fd);
    free(ring);
}

void
td_ring_hide_from_children(td_ring *ring)
{
    madvise(ring->bytes, 2 * ring->size, MADV_DONTFORK);
    madvise(ring->shared, page_size(), MADV_DONTFORK);
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
