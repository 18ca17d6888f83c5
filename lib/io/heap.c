/* While nothing large is used there is no timer: an idle worker is not woken. */
#include "io/heap.h"

#include <limits.h>
#include <malloc.h>
#include "base/arena.h"
#include "base/clock.h"

#define MAPPED_MIN (32 * 1024 * 1024) /* bytes; larger ones are mapped, and gone when they are freed */
#define RESTLESS_MAX 10

static struct {
    td_ioloop *loop;
    td_timer timer;
    int64_t rest_ns;
    bool used;    /* since the timer was started */
    int restless; /* how often it was in a row */
    td_callback cooling;
} heap;

static void
wait_for_rest(void)
{
    heap.used = false;
    td_timer_start(heap.loop, &heap.timer, td_now_ns() + heap.rest_ns);
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
    td_callback_cancel(&heap.cooling);
}
