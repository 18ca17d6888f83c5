/*
 * Executors: threads that take jobs from a queue and post them back to the loop when they are done.
 *
 * A job is queued, runs, and is done; what may happen to it depends on that, and only the queue and
 * that state are shared with threads, under the executor's lock.  Who waits for a running job that
 * is cancelled is held until the job ends, for the job may use what lies on its stack.
 *
 * The struct of an executor stays until the loop ends, because a thread may still be busy in a
 * destroyed one.
 */
#include "io/executor.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <tornado/coroutine.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/list.h"
#include "base/log.h"
#include "io/call.h"

#define THREADS_MAX 1024
#define CLOSE_GRACE_NS (100 * TD_NS_PER_MS) /* for jobs that run when the loop ends */

typedef enum job_state {
    QUEUED,
    RUNNING,
    DONE, /* posted to the loop */
} job_state;

struct job {
    td_list link; /* while it is queued */
    td_executor *executor;
    td_executor_fn *fn;
    void *arg;
    td_activity activity;
    job_state state;
    td_callback done;

    /* How it ended; the thread's until it is done. */
    void *result;
    int error;

    /* Who wants to know: one of them or, when it has lost interest, none. */
    td_future *future; /* referenced */
    td_coroutine *co;
    struct outcome *outcome; /* on co's stack */
};

struct outcome {
    void *result;
    int error;
};

struct td_executor {
    td_executor *next; /* in `executors` */
    unsigned threads_max;
    size_t queue_max;

    pthread_mutex_t lock;         /* guards all that follows */
    pthread_cond_t work;          /* a job was queued, or is_closing was set */
    pthread_cond_t idle;          /* no job runs any more */
    td_ioloop *loop;              /* NULL: it has ended */
    td_list queue;                /* of jobs */
    size_t queued, running, done; /* jobs in each state; done: and not back yet */
    unsigned threads;
    pthread_t *ids; /* of the threads; room for threads_max */
    bool is_closing;
};

/* Of this thread's loop. */
static __thread td_executor *executors __attribute__((tls_model("initial-exec")));
static __thread td_executor *own __attribute__((tls_model("initial-exec"))); /* made when needed */
static __thread size_t abandoned __attribute__((tls_model("initial-exec")));

static __thread const struct job *current_job __attribute__((tls_model("initial-exec")));

static td_executor_options options = {16, 1000};

void
td_executor_configure(const td_executor_options *wanted)
{
    options = *wanted;
}

const td_activity *
td_executor_activity(void)
{
    return current_job != NULL ? &current_job->activity : NULL;
}

/* ---- on a thread */

/* With the lock held. */
static void
finish(td_executor *executor, struct job *job)
{
    executor->running--;
    if (executor->loop != NULL) {
        job->state = DONE;
        executor->done++;
        td_ioloop_post(executor->loop, &job->done);
    }
    if (executor->running == 0)
        pthread_cond_signal(&executor->idle);
}

/* With the lock held: this thread ends and is not to be joined. */
static void
forget_thread(td_executor *executor)
{
    unsigned i = 0;

    while (!pthread_equal(executor->ids[i], pthread_self()))
        i++;
    executor->ids[i] = executor->ids[--executor->threads];
    td_gauge_add(&td_gauges->executor_threads, -1);
    pthread_detach(pthread_self());
}

/* The job has called pthread_exit, as td_raise does on a thread. */
static void
lose_thread(void *arg)
{
    struct job *job = arg;
    td_executor *executor = job->executor;

    job->error = TD_ECANCELED;
    pthread_mutex_lock(&executor->lock);
    forget_thread(executor);
    finish(executor, job);
    pthread_mutex_unlock(&executor->lock);
}

static void
run(struct job *job)
{
    current_job = job;
    pthread_cleanup_push(lose_thread, job);
    job->result = job->fn(job->arg);
    pthread_cleanup_pop(0);
    current_job = NULL;
}

static void *
thread_main(void *arg)
{
    td_executor *executor = arg;

    pthread_mutex_lock(&executor->lock);
    for (;;) {
        while (executor->queued == 0 && !executor->is_closing)
            pthread_cond_wait(&executor->work, &executor->lock);
        if (executor->is_closing)
            break;
        struct job *job = TD_CONTAINER_OF(executor->queue.next, struct job, link);
        td_list_remove(&job->link);
        executor->queued--;
        td_gauge_add(&td_gauges->executor_queue, -1);
        executor->running++;
        job->state = RUNNING;
        pthread_mutex_unlock(&executor->lock);
        run(job);
        pthread_mutex_lock(&executor->lock);
        finish(executor, job);
    }
    pthread_mutex_unlock(&executor->lock);
    return NULL;
}

/* ---- how a job ends, on the loop's stack */

static void
job_free(struct job *job)
{
    if (job->future != NULL)
        td_future_on_cancel(job->future, NULL, NULL);
    td_future_unref(job->future);
    free(job);
}

/* The loop has ended first. */
static void
job_dropped(void *arg)
{
    job_free(arg);
}

static void
job_done(void *arg)
{
    struct job *job = arg;
    td_executor *executor = job->executor;
    td_coroutine *co = job->co;

    pthread_mutex_lock(&executor->lock);
    executor->done--;
    pthread_mutex_unlock(&executor->lock);
    if (co != NULL)
        *job->outcome = (struct outcome){job->result, job->error};
    else if (job->future != NULL && job->error == 0)
        td_future_set_result(job->future, job->result);
    else if (job->future != NULL)
        td_future_set_error(job->future, job->error);
    job_free(job);
    if (co != NULL)
        td_coroutine_resume(co, 0);
}

/* True when it had not begun, and now never will. */
static bool
take_back(struct job *job)
{
    td_executor *executor = job->executor;
    bool is_back;

    pthread_mutex_lock(&executor->lock);
    is_back = job->state == QUEUED;
    if (is_back) {
        td_list_remove(&job->link);
        executor->queued--;
        td_gauge_add(&td_gauges->executor_queue, -1);
    }
    pthread_mutex_unlock(&executor->lock);
    if (is_back)
        job_free(job);
    return is_back;
}

static bool
is_running(struct job *job)
{
    bool runs;

    pthread_mutex_lock(&job->executor->lock);
    runs = job->state == RUNNING;
    pthread_mutex_unlock(&job->executor->lock);
    return runs;
}

/* ---- how it begins */

/* With the lock held.  Signals are for the loop's thread, but for those that tell of a crash. */
static int
start_thread(td_executor *executor)
{
    sigset_t all, before;
    int error;

    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    sigdelset(&all, SIGSYS);
    sigdelset(&all, SIGTRAP);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&executor->ids[executor->threads], NULL, thread_main, executor);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        executor->threads++;
        td_gauge_add(&td_gauges->executor_threads, 1);
    }
    return -error;
}

/* With the lock held.  0, or why the job cannot be had. */
static int
find_thread(td_executor *executor)
{
    int rc = 0;

    if (executor->is_closing)
        return TD_ECANCELED;
    if (executor->queued + executor->running >= executor->threads_max + executor->queue_max)
        return TD_EBUSY;
    if (executor->queued + executor->running >= executor->threads &&
        executor->threads < executor->threads_max)
        rc = start_thread(executor);
    return executor->threads > 0 ? 0 : rc;
}

static td_executor *
executor_or_own(td_executor *executor)
{
    if (executor != NULL)
        return executor;
    if (own == NULL)
        own = td_executor_create(options.threads_max, options.queue_max);
    return own;
}

/* 0 and the job, which may be done at any time; or why not. */
static int
enqueue(td_executor *executor, td_executor_fn *fn, void *arg, struct job **out)
{
    struct job *job = td_xcalloc(1, sizeof(*job));
    td_coroutine_task context;
    int rc;

    td_coroutine_inherit(&context);
    *job = (struct job){.executor = executor, .fn = fn, .arg = arg, .activity = context.activity};
    job->done = (td_callback){.fn = job_done, .arg = job, .dropped = job_dropped};
    pthread_mutex_lock(&executor->lock);
    rc = find_thread(executor);
    if (rc == 0) {
        td_list_append(&executor->queue, &job->link);
        executor->queued++;
        td_gauge_add(&td_gauges->executor_queue, 1);
        pthread_cond_signal(&executor->work);
    }
    pthread_mutex_unlock(&executor->lock);
    if (rc == 0)
        *out = job;
    else
        free(job);
    return rc;
}

/* ---- td_executor_run */

static void
run_undo(void *arg)
{
    struct job *job = arg;

    if (take_back(job))
        return;
    if (is_running(job))
        td_coroutine_hold(job->co);
    else
        job->co = NULL; /* done, and on its way back: nobody cares any more */
}

int
td_executor_run(td_executor *executor, td_executor_fn *fn, void *arg, void **result_out)
{
    struct outcome outcome = {0};
    struct job *job;
    int rc;

    if (!td_is_on_coroutine("td_executor_run"))
        return TD_EINVAL;
    if (fn == NULL)
        return td_misuse("td_executor_run", "the function is NULL");
    rc = enqueue(executor_or_own(executor), fn, arg, &job);
    if (rc < 0)
        return rc;
    job->co = td_coroutine_current();
    job->outcome = &outcome;
    td_coroutine_wait(run_undo, job);
    if (outcome.error == 0 && result_out != NULL)
        *result_out = outcome.result;
    return outcome.error;
}

/* ---- td_executor_submit */

static void
future_canceled(td_future *future, void *arg)
{
    (void)future;
    take_back(arg); /* else it runs, and what comes of it is ignored */
}

td_future *
td_executor_submit(td_executor *executor, td_executor_fn *fn, void *arg)
{
    td_future *future;
    struct job *job;
    int rc;

    if (!td_is_on_loop("td_executor_submit"))
        return NULL;
    if (fn == NULL) {
        td_misuse("td_executor_submit", "the function is NULL");
        return NULL;
    }
    future = td_future_create();
    rc = enqueue(executor_or_own(executor), fn, arg, &job);
    if (rc < 0) {
        td_future_set_error(future, rc);
        return future;
    }
    job->future = td_future_ref(future);
    td_future_on_cancel(future, future_canceled, job);
    return future;
}

/* ---- life */

td_executor *
td_executor_create(unsigned threads_max, size_t queue_max)
{
    td_executor *executor;

    if (!td_is_on_loop("td_executor_create"))
        return NULL;
    if (threads_max < 1 || threads_max > THREADS_MAX) {
        td_misuse("td_executor_create", "the threads are not 1 to 1024");
        return NULL;
    }
    executor = td_xcalloc(1, sizeof(*executor));
    executor->threads_max = threads_max;
    executor->queue_max = queue_max;
    executor->ids = td_xcalloc(threads_max, sizeof(*executor->ids));
    executor->loop = td_ioloop_current();
    td_list_init(&executor->queue);
    pthread_mutex_init(&executor->lock, NULL);
    pthread_cond_init(&executor->work, NULL);
    pthread_cond_init(&executor->idle, NULL);
    executor->next = executors;
    executors = executor;
    return executor;
}

/* No job begins any more; who waits for one that has not is told. */
static void
close_queue(td_executor *executor)
{
    pthread_mutex_lock(&executor->lock);
    executor->is_closing = true;
    while (!td_list_is_empty(&executor->queue)) {
        struct job *job = TD_CONTAINER_OF(executor->queue.next, struct job, link);

        td_list_remove(&job->link);
        executor->queued--;
        td_gauge_add(&td_gauges->executor_queue, -1);
        executor->done++;
        job->state = DONE;
        job->error = TD_ECANCELED;
        td_ioloop_post(executor->loop, &job->done);
    }
    pthread_cond_broadcast(&executor->work);
    pthread_mutex_unlock(&executor->lock);
}

void
td_executor_destroy(td_executor **executor)
{
    if (!td_is_on_loop("td_executor_destroy") || *executor == NULL)
        return;
    close_queue(*executor);
    *executor = NULL;
}

size_t
td_executor_jobs(void)
{
    size_t count = abandoned;

    for (td_executor *executor = executors; executor != NULL; executor = executor->next) {
        pthread_mutex_lock(&executor->lock);
        count += executor->queued + executor->running + executor->done;
        pthread_mutex_unlock(&executor->lock);
    }
    return count;
}

/* Wait for jobs that run, until then at most. */
static void
stop_threads(td_executor *executor, const struct timespec *deadline)
{
    bool is_idle;

    close_queue(executor);
    pthread_mutex_lock(&executor->lock);
    while (executor->running > 0 &&
           pthread_cond_timedwait(&executor->idle, &executor->lock, deadline) == 0)
        ;
    is_idle = executor->running == 0;
    if (!is_idle) {
        executor->loop = NULL;
        abandoned += executor->running;
    }
    pthread_mutex_unlock(&executor->lock);
    for (unsigned i = 0; is_idle && i < executor->threads; i++)
        pthread_join(executor->ids[i], NULL);
}

void
td_executors_stop(void)
{
    struct timespec deadline;

    abandoned = 0;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_nsec += CLOSE_GRACE_NS;
    if (deadline.tv_nsec >= TD_NS_PER_S) {
        deadline.tv_nsec -= TD_NS_PER_S;
        deadline.tv_sec++;
    }
    for (td_executor *executor = executors; executor != NULL; executor = executor->next)
        stop_threads(executor, &deadline);
    if (abandoned > 0)
        td_log(TD_LOG_ERROR, "%zu jobs of executors still run and are left behind", abandoned);
}

void
td_executors_close(void)
{
    while (executors != NULL) {
        td_executor *executor = executors;

        executors = executor->next;
        if (executor->loop == NULL)
            continue; /* its threads are still there */
        pthread_cond_destroy(&executor->idle);
        pthread_cond_destroy(&executor->work);
        pthread_mutex_destroy(&executor->lock);
        free(executor->ids);
        free(executor);
    }
    own = NULL;
}
