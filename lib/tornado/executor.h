/*
 * Threads for what cannot wait otherwise: a blocking library, a long computation (Tornado's
 * run_on_executor).
 *
 *     static void *
 *     compress(void *arg)
 *     {
 *         struct picture *picture = arg;
 *
 *         picture->result = compress_file(picture->path); // as long as it likes
 *         return picture;
 *     }
 *
 *     td_executor_run(NULL, compress, &picture, NULL); // others are served meanwhile
 *
 * A job runs on one of the executor's threads.  It sees what arg points to and nothing of the
 * request: of this library only td_log and td_add_callback may be called there.  It must not leave
 * by a C++ exception.  All else here is for the loop's thread, and misuse elsewhere.
 */
#ifndef TORNADO_EXECUTOR_H
#define TORNADO_EXECUTOR_H

#include <stddef.h>
#include <tornado/abi.h>
#include <tornado/future.h>

typedef struct td_executor td_executor;
typedef void *td_executor_fn(void *arg);

/*
 * threads_max: 1..1024, started when they are needed; queue_max: jobs that may wait for one (0..).
 * Where an executor is asked for below, NULL stands for the worker's own (executor_threads,
 * executor_queue of [tornadod]).
 */
TD_API td_executor *td_executor_create(unsigned threads_max, size_t queue_max);

/*
 * Jobs that have not begun are cancelled; those that run end in their own time, and are waited for
 * by nobody.
 */
TD_API void td_executor_destroy(td_executor **executor);

/*
 * Run fn(arg) on a thread and wait for it.  0 and what it returned (result_out may be NULL);
 * TD_EBUSY: queue_max jobs wait already, which is a case for td_raise(h, 503, ...); TD_ECANCELED:
 * the job has ended its thread, or the executor was destroyed before its turn.
 *
 * A request that is cancelled takes a job back that has not begun; for one that has, the unwinding
 * waits until it ends, so arg may point into the stack or to the request's memory.
 */
TD_API int td_executor_run(td_executor *executor, td_executor_fn *fn, void *arg, void **result_out);

/*
 * The same without waiting: a future of what fn returns, with the same errors.  arg has to live
 * until the job has ended, also when the future is cancelled or unreferenced: then the result is
 * lost, and only a job that has not begun is taken back.
 */
TD_API td_future *td_executor_submit(td_executor *executor, td_executor_fn *fn, void *arg);

#endif
