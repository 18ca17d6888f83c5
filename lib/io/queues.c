/*
 * td_queue: a ring of items between a line of those who put and a line of those who get.
 *
 * Who is let go to get leaves its item in the ring, where it is promised to it, until it comes
 * back: if it is cancelled on the way nothing has to be put back.  The item of who is let go to put
 * is in the ring already.
 */
#include <tornado/queues.h>

#include <stdlib.h>
#include "base/arena.h"
#include "io/call.h"
#include "io/waiters.h"

#define QUEUE_SIZE_MAX 1000000

struct td_queue {
    void **items; /* the oldest at `first` */
    size_t size_max, first, count;
    size_t promised; /* of count: to those who were let go to get */
    uint64_t unfinished;
    bool is_closed;
    td_waiters getters, putters; /* own: of putters the item */
    td_waiters joiners;
    /*
     * Invariants: a getter waits only while count == promised; a putter only while count ==
     * size_max; nobody of both in a closed queue.
     */
};

/* ---- the ring */

/* Let getters go as long as there is something for them. */
static void
promise(td_queue *queue)
{
    while (queue->count > queue->promised && td_waiters_any(&queue->getters)) {
        queue->promised++;
        td_waiters_release(&queue->getters, 0);
    }
}

static void
push(td_queue *queue, void *item)
{
    queue->items[(queue->first + queue->count++) % queue->size_max] = item;
    queue->unfinished++;
    promise(queue);
}

static void *
pop(td_queue *queue)
{
    void *item = queue->items[queue->first];

    queue->first = (queue->first + 1) % queue->size_max;
    queue->count--;
    if (td_waiters_any(&queue->putters))
        push(queue, td_waiters_release(&queue->putters, 0));
    return item;
}

/* One that was let go to get was cancelled: its item is the next one's. */
static void
break_promise(void *arg)
{
    td_queue *queue = arg;

    queue->promised--;
    promise(queue);
}

/* ---- life */

td_queue *
td_queue_create(size_t size_max)
{
    if (!td_is_on_loop("td_queue_create"))
        return NULL;
    if (size_max < 1 || size_max > QUEUE_SIZE_MAX) {
        td_misuse("td_queue_create", "the size is not 1 to 1,000,000");
        return NULL;
    }
    td_queue *queue = td_xcalloc(1, sizeof(*queue));
    queue->items = td_xcalloc(size_max, sizeof(*queue->items));
    queue->size_max = size_max;
    td_waiters_init(&queue->getters, break_promise, queue);
    td_waiters_init(&queue->putters, NULL, NULL);
    td_waiters_init(&queue->joiners, NULL, NULL);
    return queue;
}

void
td_queue_destroy(td_queue **queue)
{
    if (*queue == NULL)
        return;
    td_waiters_fini(&(*queue)->getters);
    td_waiters_fini(&(*queue)->putters);
    td_waiters_fini(&(*queue)->joiners);
    free((*queue)->items);
    free(*queue);
    *queue = NULL;
}

int
td_queue_close(td_queue *queue)
{
    if (!td_waiters_are_usable(queue, "td_queue_close"))
        return TD_EINVAL;
    queue->is_closed = true;
    td_waiters_release_all(&queue->getters, TD_ECLOSED);
    td_waiters_release_all(&queue->putters, TD_ECLOSED);
    return 0;
}

size_t
td_queue_size(const td_queue *queue)
{
    return td_waiters_are_usable(queue, "td_queue_size") ? queue->count : 0;
}

/* ---- in */

static int
put_now(td_queue *queue, void *item)
{
    if (queue->is_closed)
        return TD_ECLOSED;
    if (queue->count == queue->size_max)
        return TD_EBUSY;
    push(queue, item);
    return 0;
}

int
td_queue_put_nowait(td_queue *queue, void *item)
{
    return td_waiters_are_usable(queue, "td_queue_put_nowait") ? put_now(queue, item) : TD_EINVAL;
}

int
td_queue_put(td_queue *queue, void *item, int64_t timeout_ms)
{
    int rc;

    if (!td_waiters_may_wait(queue, timeout_ms, "td_queue_put"))
        return TD_EINVAL;
    rc = put_now(queue, item);
    return rc == TD_EBUSY ? td_waiters_wait(&queue->putters, item, timeout_ms) : rc;
}

/* ---- out */

static int
get_now(td_queue *queue, void **item_out)
{
    if (queue->count == queue->promised)
        return queue->is_closed ? TD_ECLOSED : TD_EBUSY;
    *item_out = pop(queue);
    return 0;
}

int
td_queue_get_nowait(td_queue *queue, void **item_out)
{
    if (!td_waiters_are_usable(queue, "td_queue_get_nowait"))
        return TD_EINVAL;
    if (item_out == NULL)
        return td_misuse("td_queue_get_nowait", "there is no place for the item");
    return get_now(queue, item_out);
}

int
td_queue_get(td_queue *queue, void **item_out, int64_t timeout_ms)
{
    int rc;

    if (!td_waiters_may_wait(queue, timeout_ms, "td_queue_get"))
        return TD_EINVAL;
    if (item_out == NULL)
        return td_misuse("td_queue_get", "there is no place for the item");
    rc = get_now(queue, item_out);
    if (rc != TD_EBUSY)
        return rc;
    rc = td_waiters_wait(&queue->getters, NULL, timeout_ms);
    if (rc == 0) {
        queue->promised--;
        *item_out = pop(queue);
    }
    return rc;
}

/* ---- what was taken out is done */

int
td_queue_task_done(td_queue *queue)
{
    if (!td_waiters_are_usable(queue, "td_queue_task_done"))
        return TD_EINVAL;
    if (queue->unfinished == 0)
        return td_misuse("td_queue_task_done", "more were done than put");
    if (--queue->unfinished == 0)
        td_waiters_release_all(&queue->joiners, 0);
    return 0;
}

int
td_queue_join(td_queue *queue, int64_t timeout_ms)
{
    if (!td_waiters_may_wait(queue, timeout_ms, "td_queue_join"))
        return TD_EINVAL;
    return queue->unfinished == 0 ? 0 : td_waiters_wait(&queue->joiners, NULL, timeout_ms);
}
