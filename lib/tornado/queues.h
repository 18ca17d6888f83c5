/*
 * A bounded channel between coroutines of one worker (Tornado's tornado.queues).
 *
 * Items come out in the order in which they went in; who waits first, on either side, is served
 * first.  An item is a pointer that the queue only passes on: its memory is the author's, and must
 * outlive the request that put it if another takes it.  For timeout_ms and for misuse see locks.h.
 */
#ifndef TORNADO_QUEUES_H
#define TORNADO_QUEUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>

typedef struct td_queue td_queue;

/* size_max: items that it holds, 1..1,000,000; the memory for them is allocated at once. */
TD_API td_queue *td_queue_create(size_t size_max);

/* What is still in it is the author's, who may take it out before with td_queue_get_nowait. */
TD_API void td_queue_destroy(td_queue **queue);

/*
 * Wait until there is room, and put item (NULL is one, too) in.  0, TD_ETIMEDOUT, or TD_ECLOSED
 * after td_queue_close.  The second: TD_EBUSY instead of waiting.
 */
TD_API int td_queue_put(td_queue *queue, void *item, int64_t timeout_ms);
TD_API int td_queue_put_nowait(td_queue *queue, void *item);

/*
 * Wait for an item and take it out.  0, TD_ETIMEDOUT, or TD_ECLOSED when the queue is closed and
 * nothing is left in it.  The second: TD_EBUSY instead of waiting.
 */
TD_API int td_queue_get(td_queue *queue, void **item_out, int64_t timeout_ms);
TD_API int td_queue_get_nowait(td_queue *queue, void **item_out);

/* Nothing more goes in; what is in still comes out.  Wakes all that wait in vain. */
TD_API int td_queue_close(td_queue *queue);

TD_API size_t td_queue_size(const td_queue *queue); /* items in it */

/*
 * For whoever wants to know that all is done: each item that was put counts until its
 * td_queue_task_done (one more is TD_EINVAL); td_queue_join waits until none counts.
 */
TD_API int td_queue_task_done(td_queue *queue);
TD_API int td_queue_join(td_queue *queue, int64_t timeout_ms);

#endif
