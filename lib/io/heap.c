/*
 * While nothing large is used there is no timer: an idle worker is not woken.
 *
 * To give hundreds of MiB back takes the kernel tens of milliseconds, and the C library does it in
 * one go.  So a thread does it, beside the loop, which has to wait for it only where it wants from
 * malloc what it has not got in store.
 */
#include "io/heap.h"

#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include "base/arena.h"
#include "base/clock.h"

#define MAPPED_MIN (32 * 1024 * 1024) /* bytes; larger ones are mapped, and gone when they are freed */
#define RESTLESS_MAX 10
#define QUICK_MAX ((size_t)8 << 20) /* bytes: half a millisecond */

static struct {
    td_ioloop *loop;
    td_timer timer;
    int64_t rest_ns;
    bool used;    /* since the timer was started */
    int restless; /* how often it was in a row */
    td_callback cooling;
    pthread_t trimmer;
    bool has_trimmer; /* it is to be joined */
} heap;

static void
wait_for_rest(void)
{
    heap.used = false;
    td_timer_start(heap.loop, &heap.timer, td_now_ns() + heap.rest_ns);
}

static void *
trim(void *arg)
{
    (void)arg;
    malloc_trim(0);
    return NULL;
}

static void
join_trimmer(void)
{
    if (heap.has_trimmer)
        pthread_join(heap.trimmer, NULL);
    heap.has_trimmer = false;
}

static void
trim_beside(void)
{
    sigset_t all, before;

    join_trimmer(); /* of a second ago, and more */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    heap.has_trimmer = pthread_create(&heap.trimmer, NULL, trim, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!heap.has_trimmer)
        malloc_trim(0);
}

static void
on_timer(void *arg)
{
    (void)arg;
    if (heap.used && ++heap.restless < RESTLESS_MAX) {
        wait_for_rest();
        return;
    }
    heap.restless = 0;
    if (mallinfo2().fordblks > QUICK_MAX)
        trim_beside();
    else
        malloc_trim(0);
}

static void
on_large(void)
{
    if (td_ioloop_current() != heap.loop) /* a thread that computes */
        return;
    heap.used = true;
    if (heap.timer.place == 0)
        wait_for_rest();
}

static void
on_cooling(void *arg)
{
    (void)arg;
    if (td_chunk_cool())
        td_ioloop_post(heap.loop, &heap.cooling);
}

static void
on_chunks_idle(void)
{
    td_ioloop_post(heap.loop, &heap.cooling);
}

void
td_heap_open(td_ioloop *loop, int64_t rest_ms)
{
    heap.loop = loop;
    heap.timer = (td_timer){.fn = on_timer};
    heap.cooling = (td_callback){.fn = on_cooling};
    heap.rest_ns = rest_ms * TD_NS_PER_MS;
    mallopt(M_MMAP_THRESHOLD, MAPPED_MIN);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    td_large_used = on_large;
    td_chunks_idle = on_chunks_idle;
}

void
td_heap_close(void)
{
    td_large_used = NULL;
    td_chunks_idle = NULL;
    td_timer_stop(heap.loop, &heap.timer);
    join_trimmer();
    td_callback_cancel(&heap.cooling);
}
