/* Goal: jobs on threads, of which the daemon may see each kind: long, failing, left behind. */
#include <stdlib.h>
#include <tornado/tornado.h>
#include <unistd.h>

static void *
block(void *arg)
{
    usleep((useconds_t)(1000 * *(const int64_t *)arg));
    return NULL;
}

static void
run(td_handler *h)
{
    int64_t ms = td_get_argument_int(h, "ms", 0, 60000);
    int rc = td_executor_run(NULL, block, &ms, NULL);

    if (rc == TD_EBUSY)
        td_raise(h, 503, "the queue of the executor is full");
    td_writef(h, "%d", rc);
}

static void *
touch(void *arg)
{
    char *path = arg;

    usleep(300000);
    if (mkdtemp(path) == NULL)
        abort();
    free(path);
    return NULL;
}

/* The answer goes at once, the work is done later. */
static void
answer_first(td_handler *h)
{
    char *path = strdup(td_get_argument(h, "path").ptr);

    td_future_unref(td_executor_submit(NULL, touch, path));
    td_write_text(h, "later");
}

__attribute__((no_sanitize("address", "undefined"))) static void *
crash_job(void *arg)
{
    *(volatile int *)arg = 1;
    return NULL;
}

static void
crash(td_handler *h)
{
    (void)h;
    td_executor_run(NULL, crash_job, NULL, NULL);
}

static void *
write_from_thread(void *arg)
{
    td_write_text(arg, "no"); /* misuse: logged, and nothing happens */
    return NULL;
}

static void
misuse(td_handler *h)
{
    td_writef(h, "%d", td_executor_run(NULL, write_from_thread, h, NULL));
}

static const td_handler_class Run = {.get = run}, AnswerFirst = {.get = answer_first},
                              Crash = {.get = crash}, Misuse = {.get = misuse};

TD_PLUGIN(.name = "executor", .version = "1.0",
          .urls = TD_URLS(TD_URL("/run", &Run), TD_URL("/answer-first", &AnswerFirst),
                          TD_URL("/crash", &Crash), TD_URL("/misuse", &Misuse)));
