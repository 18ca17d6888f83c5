/*
 * What single parts of tornadod cost, each beside what it is measured by, in one process:
 * micro ROW.  Prints a line of JSON for each of the row's figures:
 *
 *     {"name": "...", "value": 1.07, "unit": "times", "target": 1.3, "detail": "..."}
 *
 * A figure is the median of ROUNDS rounds of CPU time; ours and its measure take turns within a
 * round.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <zlib.h>
#include <tornado/coroutine.h>
#include <tornado/executor.h>
#include <tornado/future.h>
#include "base/log.h"
#include "http/compressor.h"
#include "http/signer.h"
#include "io/coroutine.h"
#include "io/ioloop.h"

#define ROUNDS 41
#define SLEEPERS 10000

static td_ioloop *loop;

/* ---- measuring */

static int64_t
now_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int
compare(const void *a_, const void *b_)
{
    const double a = *(const double *)a_, b = *(const double *)b_;

    return (a > b) - (a < b);
}

static double
median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    return values[count / 2];
}

typedef void work_fn(size_t times);

struct cost {
    double ns, control_ns, ratio; /* medians, of the ratios of the rounds, too */
};

static double
measure(work_fn *work, size_t times, clockid_t clock)
{
    const int64_t begin = now_ns(clock);

    work(times);
    return (double)(now_ns(clock) - begin) / (double)times;
}

static struct cost
compare_costs(work_fn *ours, work_fn *control, size_t times, clockid_t clock)
{
    static double a[ROUNDS], b[ROUNDS], ratios[ROUNDS];

    ours(times / 10 + 1);
    control(times / 10 + 1);
    for (size_t i = 0; i < ROUNDS; i++) {
        a[i] = measure(ours, times, clock);
        b[i] = measure(control, times, clock);
        ratios[i] = a[i] / b[i];
    }
    return (struct cost){median(a, ROUNDS), median(b, ROUNDS), median(ratios, ROUNDS)};
}

static void
tell(const char *name, double value, const char *unit, double target, const char *detail)
{
    printf("{\"name\": \"%s\", \"value\": %.3f, \"unit\": \"%s\", \"target\": %g, \"detail\": "
           "\"%s\"}\n",
           name, value, unit, target, detail);
}

/* ---- gzip: a body of 2 KiB, beside zlib with the same settings and a stream that is reset */

static char page[2048];
static td_buf compressed;
static z_stream bare;

static void
gzip_ours(size_t times)
{
    for (size_t i = 0; i < times; i++) {
        td_buf_consume(&compressed, compressed.len);
        td_compress(TD_CODING_GZIP, 6, td_str_make(page, sizeof(page)), &compressed);
    }
}

static void
gzip_bare(size_t times)
{
    static unsigned char out[4096];

    for (size_t i = 0; i < times; i++) {
        deflateReset(&bare);
        bare.next_in = (unsigned char *)page;
        bare.avail_in = sizeof(page);
        bare.next_out = out;
        bare.avail_out = sizeof(out);
        deflate(&bare, Z_FINISH);
    }
}

static void
row_gzip(void)
{
    char detail[100];
    struct cost cost;

    for (size_t i = 0; i < sizeof(page); i++) /* as compressible as a page is */
        page[i] = i % 16 < 10 ? "<td class=" [i % 16] : (char)('a' + random() % 26);
    deflateInit2(&bare, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    cost = compare_costs(gzip_ours, gzip_bare, 200, CLOCK_THREAD_CPUTIME_ID);
    snprintf(detail, sizeof(detail), "%.1f us; deflateReset and deflate %.1f us", cost.ns / 1000,
             cost.control_ns / 1000);
    tell("gzip of 2 KiB", cost.ratio, "times", 1.3, detail);
}

/* ---- cookie: a signed value that is verified, beside one HMAC-SHA256 of its bytes by libcrypto */

static td_signer *signer;
static td_arena arena;
static td_str signed_text;

static void
verify(size_t times)
{
    const td_arena_mark mark = td_arena_mark_now(&arena);

    for (size_t i = 0; i < times; i++) {
        if (td_str_is_null(td_signer_verify(signer, &arena, TD_STR("key"), signed_text, 31, 1000)))
            abort();
        td_arena_rewind(&arena, mark);
    }
}

static void
hash_alone(size_t times)
{
    static const unsigned char key[32];
    unsigned char out[32];

    for (size_t i = 0; i < times; i++)
        HMAC(EVP_sha256(), key, sizeof(key), (const unsigned char *)signed_text.ptr,
             signed_text.len, out, NULL);
}

static void
row_cookie(void)
{
    static const td_secret secret = {.text = {"0123456789abcdef0123456789abcdef", 32}};
    const td_secrets secrets = {&secret, 1, false};
    char detail[100];
    struct cost cost;

    signer = td_signer_create(&secrets);
    signed_text = td_signer_sign(signer, &arena, TD_STR("key"), TD_STR("value"), 1000);
    cost = compare_costs(verify, hash_alone, 2000, CLOCK_THREAD_CPUTIME_ID);
    snprintf(detail, sizeof(detail), "one HMAC of libcrypto %.0f ns", cost.control_ns);
    tell("signed cookie verified", cost.ns, "ns", 1000, detail);
}

/* ---- await: of what is there, and of what is not, beside an empty turn of the loop */

static void
stop(void *arg)
{
    (void)arg;
    td_ioloop_stop(loop);
}

static void
stop_at_end(void *arg, td_coroutine_end end)
{
    (void)end;
    stop(arg);
}

/* Run fn(arg) on a coroutine and the loop until it has ended. */
static void
on_coroutine(void (*fn)(void *arg), void *arg)
{
    const td_coroutine_task task = {.run = fn, .ended = stop_at_end, .arg = arg, .module = "micro"};

    td_coroutine_start(&task, NULL);
    td_ioloop_start(loop);
}

static void
await_finished(void *arg)
{
    const size_t times = *(size_t *)arg;
    td_future *future = td_future_create();

    td_future_set_result(future, NULL);
    for (size_t i = 0; i < times; i++)
        td_await(td_future_ref(future), NULL);
    td_future_unref(future);
}

static void
set_result(void *future)
{
    td_future_set_result(future, NULL);
}

static void
await_pending(void *arg)
{
    const size_t times = *(size_t *)arg;

    for (size_t i = 0; i < times; i++) {
        td_future *future = td_future_create();

        td_ioloop_add_callback(loop, set_result, future);
        td_await(future, NULL);
    }
}

static void
finished(size_t times)
{
    on_coroutine(await_finished, &times);
}

static void
pending(size_t times)
{
    on_coroutine(await_pending, &times);
}

struct turns {
    td_callback callback;
    size_t left;
};

static void
turn(void *arg)
{
    struct turns *turns = arg;

    if (turns->left-- == 0)
        td_ioloop_stop(loop);
    else
        td_ioloop_post(loop, &turns->callback);
}

static void
empty_turns(size_t times)
{
    struct turns turns = {{.fn = turn, .arg = &turns}, times};

    td_ioloop_post(loop, &turns.callback);
    td_ioloop_start(loop);
}

static void
row_await(void)
{
    char detail[100];
    struct cost cost = compare_costs(finished, empty_turns, 20000, CLOCK_THREAD_CPUTIME_ID);

    tell("td_await of a finished future", cost.ns, "ns", 10, "");
    cost = compare_costs(pending, empty_turns, 20000, CLOCK_THREAD_CPUTIME_ID);
    snprintf(detail, sizeof(detail), "an empty turn of the loop, its epoll_wait included, %.0f ns",
             cost.control_ns);
    tell("suspended and resumed by a future", cost.ns, "ns", 1000, detail);
}

/* ---- executor: a job there and back, beside a bare thread that is told so by eventfds */

static void *
job(void *arg)
{
    return arg;
}

static void
run_jobs(void *arg)
{
    const size_t times = *(size_t *)arg;

    for (size_t i = 0; i < times; i++)
        if (td_executor_run(NULL, job, NULL, NULL) < 0)
            abort();
}

static void
executor(size_t times)
{
    on_coroutine(run_jobs, &times);
}

static int there, back;

static void *
bare_thread(void *arg)
{
    uint64_t count;

    while (read(there, &count, sizeof(count)) == sizeof(count))
        if (write(back, &(uint64_t){1}, sizeof(count)) < 0)
            break;
    return arg;
}

static void
hand_over(size_t times)
{
    uint64_t count;

    for (size_t i = 0; i < times; i++)
        if (write(there, &(uint64_t){1}, sizeof(count)) < 0 ||
            read(back, &count, sizeof(count)) < 0)
            abort();
}

static void
row_executor(void)
{
    char detail[100];
    pthread_t thread;
    struct cost cost;

    there = eventfd(0, EFD_CLOEXEC);
    back = eventfd(0, EFD_CLOEXEC);
    if (pthread_create(&thread, NULL, bare_thread, NULL) != 0)
        abort();
    cost = compare_costs(executor, hand_over, 500, CLOCK_MONOTONIC);
    snprintf(detail, sizeof(detail), "%.1f us; a bare thread and two eventfds %.1f us",
             cost.ns / 1000, cost.control_ns / 1000);
    tell("job of the executor, there and back", cost.ratio, "times", 3, detail);
}

/* ---- sleepers: memory of coroutines that wait */

static void
sleep_long(void *arg)
{
    (void)arg;
    td_sleep(600000);
}

/* Memory of this process that no other has, from smaps_rollup. */
static long
private_kib(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    char line[200];
    long kib = 0;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        sscanf(line, "Private_Dirty: %ld", &kib);
    if (file != NULL)
        fclose(file);
    return kib;
}

static void
row_sleepers(void)
{
    const td_coroutine_task task = {.run = sleep_long, .module = "micro"};
    const long before = private_kib();

    for (int i = 0; i < SLEEPERS; i++)
        if (td_coroutine_start(&task, NULL) < 0)
            abort();
    tell("one of 10,000 sleeping coroutines", (double)(private_kib() - before) / SLEEPERS, "KiB",
         12, "Private_Dirty");
}

/* ---- the whole */

static const struct {
    const char *name;
    void (*run)(void);
} rows[] = {
    {"gzip", row_gzip},         {"cookie", row_cookie},     {"await", row_await},
    {"executor", row_executor}, {"sleepers", row_sleepers},
};

int
main(int argc, char **argv)
{
    if (td_ioloop_create(&loop, NULL) < 0)
        return 1;
    td_arena_init(&arena);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (argc == 2 && strcmp(argv[1], rows[i].name) == 0) {
            rows[i].run();
            return 0; /* what still waits goes with the process */
        }
    return 2;
}
