/* Goal: everything that a handler can do wrong while it serves; the daemon is to say who it was. */
#include <signal.h>
#include <stdlib.h>
#include <tornado/tornado.h>
#include <unistd.h>

static void
pid(td_handler *h)
{
    td_writef(h, "%d", (int)getpid());
}

static void
log_query(td_handler *h)
{
    td_log_info("%.*s", TD_STR_FMT(td_request_query(h)));
}

/* Megabytes that nobody gives back, each page of them used. */
static void
leak(td_handler *h)
{
    const size_t size = (size_t)atoi(td_get_argument(h, "mb").ptr) << 20;
    volatile char *bytes = malloc(size);

    for (size_t i = 0; i < size; i += 4096)
        bytes[i] = 1;
}

static void
slow(td_handler *h)
{
    td_sleep(strtol(td_get_argument(h, "ms").ptr, NULL, 10));
    td_write_text(h, "slow");
}

static const char bytes[65536];

static void
big(td_handler *h)
{

    for (int i = 0; i < 160; i++) { /* 10 MiB */
        td_write(h, td_str_make(bytes, sizeof(bytes)));
        if (td_flush(h) != 0)
            return;
    }
}

static void
lump(td_handler *h)
{
    for (int i = 0; i < 160; i++) /* 10 MiB, all in memory */
        td_write(h, td_str_make(bytes, sizeof(bytes)));
}

/* The sanitizers are not to find these: a real crash is wanted. */
#define UNWATCHED __attribute__((no_sanitize("address", "undefined")))

static int *volatile nowhere;

UNWATCHED static void
segv(td_handler *h)
{
    (void)h;
    *nowhere = 1;
}

static void
crash_in_callback(void *arg)
{
    segv(arg);
}

/* After the answer, on a coroutine of its own. */
static void
later(td_handler *h)
{
    td_call_later(td_ioloop_current(), 1, crash_in_callback, NULL);
    td_write_text(h, "later");
}

static void
after_wait(td_handler *h)
{
    td_sleep(1);
    segv(h);
}

static void
call_abort(td_handler *h)
{
    (void)h;
    abort();
}

static void
call_exit(td_handler *h)
{
    (void)h;
    _exit(3);
}

/* As the kernel does when memory is short: nobody gets to say a word. */
static void
call_kill(td_handler *h)
{
    (void)h;
    td_log_error("the end is near");
    raise(SIGKILL);
}

static void
divide(td_handler *h)
{
    (void)h;
    raise(SIGFPE);
}

static volatile int depth;

UNWATCHED static int
descend(volatile char *above)
{
    volatile char frame[1024];

    frame[0] = above[0];
    if (++depth == INT32_MAX)
        return 0; /* or the compiler would know that nobody comes back */
    return descend(frame) + frame[0];
}

static void
overflow(td_handler *h)
{
    volatile char top[1] = {0};

    td_writef(h, "%d", descend(top));
}

static void
call_raise(td_handler *h)
{
    td_raise(h, 502, "the cat ate it");
}

static void
misuse(td_handler *h)
{
    td_finish(h);
    td_finish(h);
    td_write_text(h, "more");
    td_set_header(h, "X", "y");
    td_set_header(NULL, "X", "y");
}

static td_handler *volatile forgotten;

/* As if its callback never came. */
static void
never(td_handler *h)
{
    td_asynchronous(h);
    forgotten = h;
}

/* Holds the loop, and the rest of the worker with it. */
static void
spin(td_handler *h)
{
    for (;;)
        (void)*(td_handler *volatile *)&h;
}

/* The same without using the processor. */
static void
block(td_handler *h)
{
    (void)h;
    for (;;)
        pause();
}

#define CLASS(name_) ((const td_handler_class[]){{.get = name_}})

TD_PLUGIN(.name = "faults", .version = "1.0",
          .urls = TD_URLS(TD_URL("/pid", CLASS(pid)), TD_URL("/slow", CLASS(slow)),
                          TD_URL("/big", CLASS(big)), TD_URL("/lump", CLASS(lump)), TD_URL("/segv", CLASS(segv)),
                          TD_URL("/later", CLASS(later)), TD_URL("/after-wait", CLASS(after_wait)),
                          TD_URL("/abort", CLASS(call_abort)), TD_URL("/exit", CLASS(call_exit)),
                          TD_URL("/divide", CLASS(divide)), TD_URL("/overflow", CLASS(overflow)),
                          TD_URL("/raise", CLASS(call_raise)), TD_URL("/misuse", CLASS(misuse)),
                          TD_URL("/never", CLASS(never)), TD_URL("/spin", CLASS(spin)),
                          TD_URL("/block", CLASS(block)),
                          TD_URL("/kill", CLASS(call_kill)), TD_URL("/leak", CLASS(leak)), TD_URL("/log", CLASS(log_query))));
