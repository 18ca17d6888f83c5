/*
 * td_ring: bytes from one writer to one reader, in shared memory.  Made before a fork, it outlives
 * the child that writes: whoever made it reads what a dead one left.  So does a program that this
 * one has become (exec), which opens its descriptor.
 *
 * The bytes lie contiguous wherever they begin: the same pages are mapped twice in a row.
 */
#ifndef TORNADO_BASE_RING_H
#define TORNADO_BASE_RING_H

#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/error.h>
#include <tornado/str.h>

/* What both sides share, each counter on a cache line of its own; they only grow. */
struct td_ring_shared {
    _Alignas(64) uint64_t written;
    _Alignas(64) uint64_t read;
};

typedef struct td_ring {
    char *bytes; /* 2 * size bytes of address space */
    size_t size; /* a power of two */
    struct td_ring_shared *shared;
    int fd; /* of all of it, in the process that made or opened it */
} td_ring;

/* size: bytes, rounded up to a power of two of whole pages; they take memory when they are used. */
TD_PRIVATE int td_ring_create(size_t size, td_ring **out, td_err *err);

/* One that was made elsewhere; takes fd over.  TD_EBADMSG: that is none, and stays the caller's. */
TD_PRIVATE int td_ring_open(int fd, td_ring **out, td_err *err);
TD_PRIVATE void td_ring_destroy(td_ring **ring);

/* Children that are forked from now on have it not. */
TD_PRIVATE void td_ring_hide_from_children(td_ring *ring);

/* Of the writer: where `size` contiguous bytes go, or NULL when there is no room for them. */
static inline char *
td_ring_reserve(const td_ring *ring, size_t size)
{
    const uint64_t written = ring->shared->written;
    const uint64_t used = written - __atomic_load_n(&ring->shared->read, __ATOMIC_ACQUIRE);

    return ring->size - used >= size ? ring->bytes + (written & (ring->size - 1)) : NULL;
}

/* That many of them are filled in, and the reader's. */
static inline void
td_ring_commit(td_ring *ring, size_t size)
{
    __atomic_store_n(&ring->shared->written, ring->shared->written + size, __ATOMIC_RELEASE);
}

static inline size_t
td_ring_used(const td_ring *ring)
{
    return __atomic_load_n(&ring->shared->written, __ATOMIC_RELAXED) -
           __atomic_load_n(&ring->shared->read, __ATOMIC_RELAXED);
}

/*
 * Of the reader: all there is.  Counters that cannot be (the writer has gone mad) are nothing; what
 * the bytes say is for the reader to check.
 */
TD_PRIVATE td_str td_ring_peek(const td_ring *ring);
TD_PRIVATE void td_ring_consume(td_ring *ring, size_t size); /* of what was peeked at */

#endif
