/*
 * Goal: large buffers stay in memory while they are used, and go back to the system when they are
 * not.
 */
#include "io/heap.h"

#include <malloc.h>
#include <time.h>
#include "base/arena.h"
#include "on_loop.h"

#define BUFFERS 64
#define BUFFER_SIZE (1024 * 1024)
#define REST_MS 20

#ifdef __SANITIZE_ADDRESS__ /* whose heap is another one */
enum { COUNTED = false };
#else
enum { COUNTED = true };
#endif

/* Kilobytes of memory that is ours alone. */
static long
resident(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    char line[128];
    long n = -1;

    while (n < 0 && fgets(line, sizeof(line), file) != NULL)
        sscanf(line, "Private_Dirty: %ld", &n);
    fclose(file);
    return n;
}

static void
use_buffers(void)
{
    static char *buffers[BUFFERS];

    for (int i = 0; i < BUFFERS; i++)
        memset(buffers[i] = td_xmalloc(BUFFER_SIZE), 'x', BUFFER_SIZE);
    for (int i = 0; i < BUFFERS; i++) {
        td_note_large(BUFFER_SIZE);
        free(buffers[i]);
    }
}

static void
stop(void *arg)
{
    (void)arg;
    td_ioloop_stop(loop);
}

static void
run_for(int64_t ms)
{
    td_timer timer = {.fn = stop};

    td_timer_start(loop, &timer, td_now_ns() + ms * TD_NS_PER_MS);
    td_ioloop_start(loop);
}

START_TEST(memory_stays_while_it_is_used_and_goes_afterwards)
{
    const long before = resident();

    td_heap_open(loop, REST_MS);
    use_buffers();
    ck_assert_int_ge(resident() - before, BUFFERS * BUFFER_SIZE / 1024);
    for (int i = 0; COUNTED && resident() - before > BUFFERS * BUFFER_SIZE / 1024 / 10; i++) {
        ck_assert_int_lt(i, 100);
        run_for(REST_MS);
    }
    td_heap_close();
}
END_TEST

/* Of this thread. */
static int64_t
cpu_ns(void)
{
    struct timespec used;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return used.tv_sec * TD_NS_PER_S + used.tv_nsec;
}

#define PIECES (4 * BUFFERS)

static char *small[2 * PIECES];

/* Small blocks are left between large ones, so that it is many pieces. */
static void
free_pieces(char **left)
{
    static char *large[PIECES];

    for (int i = 0; i < PIECES; i++) {
        memset(large[i] = td_xmalloc(BUFFER_SIZE), 'x', BUFFER_SIZE);
        memset(left[i] = td_xmalloc(2000), 'x', 2000);
    }
    for (int i = 0; i < PIECES; i++)
        free(large[i]);
}

START_TEST(the_loop_does_not_give_much_memory_back_itself)
{
    const long before = resident();
    int64_t control_ns, ours_ns = 0;

    td_heap_open(loop, REST_MS);
    free_pieces(small);
    control_ns = -cpu_ns();
    malloc_trim(0);
    control_ns += cpu_ns();
    free_pieces(small + PIECES);
    for (int i = 0; COUNTED && resident() - before > BUFFERS * BUFFER_SIZE / 1024; i++) {
        ck_assert_int_lt(i, 100);
        ours_ns -= cpu_ns();
        run_for(REST_MS);
        ours_ns += cpu_ns();
    }
    if (COUNTED)
        ck_assert_int_lt(ours_ns, control_ns / 2);
    td_heap_close();
    for (size_t i = 0; i < COUNT_OF(small); i++)
        free(small[i]);
}
END_TEST

#define CHUNKS 1000

START_TEST(idle_chunks_lose_their_memory_some_an_iteration)
{
    static void *chunks[CHUNKS];
    long used;

    td_heap_open(loop, REST_MS);
    for (int i = 0; i < CHUNKS; i++)
        memset(chunks[i] = td_chunk_get(), 'x', TD_CHUNK_SIZE);
    used = resident();
    for (int i = 0; i < CHUNKS; i++)
        td_chunk_put(chunks[i]);
    if (COUNTED)
        ck_assert_int_lt(used - resident(), CHUNKS * TD_CHUNK_SIZE / 1024 / 2);
    for (int i = 0; i < 10; i++)
        turn();
    ck_assert(!td_chunk_cool());
    if (COUNTED)
        ck_assert_int_ge(used - resident(), CHUNKS * TD_CHUNK_SIZE / 1024 / 2);
    td_heap_close();
    td_chunk_trim(0);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_loop, close_loop);
    tcase_add_test(tcase, idle_chunks_lose_their_memory_some_an_iteration);
    tcase_add_test(tcase, the_loop_does_not_give_much_memory_back_itself);
    tcase_add_test(tcase, memory_stays_while_it_is_used_and_goes_afterwards);
}

int
main(void)
{
    return unit_run("heap", fill);
}
