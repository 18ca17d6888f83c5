/* Goal: a worker's lines arrive, each once and in order, whoever is slow, full, or dead. */
#include "base/logqueue.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "files.h"

#define RING 65536

static td_ring *ring;
static uint64_t dropped;
static char folder[64], path[96];

static void
setup(void)
{
    strcpy(folder, "/tmp/test_logqueue.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/log", folder);
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(td_ring_create(RING, &ring, NULL), 0);
    td_log_count_dropped_in(&dropped);
}

static void
teardown(void)
{
    char command[128];

    td_logqueue_stop();
    td_ring_destroy(&ring);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static void
open_log(td_log_target target, const char *where)
{
    const td_log_options options = {.target = target, .level = TD_LOG_INFO, .path = where};

    ck_assert_int_eq(td_log_open(&options, NULL), 0);
}

static void
start(void)
{
    ck_assert_int_eq(td_logqueue_start(ring, NULL), 0);
}

static void
log_numbers(int first, int last)
{
    for (int i = first; i <= last; i++)
        td_log_at(TD_LOG_INFO, "a", "number %d", i);
}

/* The numbers in `text`, which have to grow by one from `first` on; returns how many there are. */
static int
count_numbers(const char *text, int first)
{
    int count = 0;

    for (; (text = strstr(text, "number ")) != NULL; count++, text++)
        ck_assert_int_eq(atoi(text + strlen("number ")), first + count);
    return count;
}

/* Our stderr becomes one end; returns the other. */
static int
replace_stderr(void)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    open_log(TD_LOG_STDERR, NULL);
    return ends[0];
}

START_TEST(lines_arrive_in_order)
{
    open_log(TD_LOG_FILE, path);
    start();
    for (int i = 0; i < 100; i++) {
        log_numbers(i * 100, i * 100 + 99);
        while (td_ring_used(ring) > RING / 2)
            poll(NULL, 0, 1);
    }
    td_logqueue_stop();
    log_numbers(10000, 10000); /* without the thread, again */
    ck_assert_int_eq(count_numbers(content(path), 0), 10001);
    ck_assert_uint_eq(dropped, 0);
}
END_TEST

START_TEST(a_line_is_written_without_being_asked_for)
{
    open_log(TD_LOG_FILE, path);
    start();
    for (int i = 0; i < 100; i++) {
        log_numbers(i, i);
        while (count_numbers(content(path), 0) <= i)
            poll(NULL, 0, 1);
    }
}
END_TEST

/* So that the pipe takes not a byte more. */
static void
fill_pipe(int fd)
{
    static const char bytes[4096] = "\n";

    while (write(fd, bytes, sizeof(bytes)) > 0)
        continue;
}

/* What fits in the ring waits, the rest is counted, and nobody waits for it. */
START_TEST(a_reader_that_sleeps_costs_lines_and_no_time)
{
    const int reader = replace_stderr();
    const int64_t start_ns = td_clock_ns();
    size_t len = 0;
    ssize_t n;

    fill_pipe(td_log_fd());
    start();
    log_numbers(0, 19999);
    ck_assert_int_lt(td_clock_ns() - start_ns, 2 * TD_NS_PER_S);
    ck_assert_uint_gt(dropped, 10000);
    drain(reader);
    do { /* until it has told how many are missing */
        n = read(reader, got + len, sizeof(got) - 1 - len);
        if (n > 0)
            len += (size_t)n;
        else
            poll(NULL, 0, 1);
        got[len] = '\0';
    } while (strstr(got, "lines lost: ") == NULL || strchr(strstr(got, "lines lost: "), '\n') == NULL);
    ck_assert_int_eq(atoi(strstr(got, "lines lost: ") + 12), (int)dropped);
    strstr(got, "lines lost: ")[0] = '\0';
    ck_assert_int_eq(count_numbers(got, 0) + (int)dropped, 20000);
    log_numbers(0, 0);
    td_logqueue_stop();
    ck_assert_int_eq(count_numbers(drain(reader), 0), 1);
}
END_TEST

START_TEST(the_end_does_not_wait_for_who_has_gone)
{
    const int64_t start_ns = td_clock_ns();

    close(replace_stderr());
    start();
    log_numbers(0, 9);
    td_logqueue_stop();
    ck_assert_int_lt(td_clock_ns() - start_ns, TD_NS_PER_S);
    td_logqueue_inherit(ring);
    ck_assert_uint_eq(dropped, 10);
}
END_TEST

START_TEST(a_log_daemon_that_is_restarted_gets_what_waits)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t folder_len = strlen(path);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0), count = 0;
    ssize_t n;

    memcpy(address.sun_path, path, folder_len + 1);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    open_log(TD_LOG_SYSLOG, path);
    start();
    close(fd);
    unlink(path);
    log_numbers(0, 99);
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    for (; count < 100; count++) {
        n = recv(fd, got, sizeof(got) - 1, 0);
        got[n] = '\0';
        ck_assert_int_eq(count_numbers(got, count), 1);
    }
    ck_assert_uint_eq(dropped, 0);
    close(fd);
}
END_TEST

START_TEST(what_a_killed_process_left_is_written)
{
    open_log(TD_LOG_FILE, path);
    const pid_t pid = fork();
    if (pid == 0) {
        open_log(TD_LOG_FILE, "/dev/full");
        start();
        log_numbers(0, 99);
        raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    td_logqueue_inherit(ring);
    ck_assert_int_eq(count_numbers(content(path), 0), 100);
}
END_TEST

static const uint32_t mad_lengths[] = {0, 4097, UINT32_MAX, 1000};

START_TEST(a_ring_gone_mad_harms_nobody)
{
    open_log(TD_LOG_FILE, path);
    memcpy(ring->bytes, &mad_lengths[_i], sizeof(uint32_t));
    ring->shared->written = 500;
    td_logqueue_inherit(ring);
    ck_assert_str_eq(content(path), "");
}
END_TEST

static void *
log_a_thousand(void *arg)
{
    for (int i = 0; i < 1000; i++) {
        td_log_at(TD_LOG_INFO, "a", "%s", (const char *)arg);
        while (td_ring_used(ring) > RING / 2)
            poll(NULL, 0, 1);
    }
    return NULL;
}

START_TEST(threads_do_not_mix_their_lines)
{
    static const char *const texts[] = {"aaaaaaaaaaaaaaaa", "bbbbbbbb", "cccc", "d"};
    pthread_t threads[4];
    int count = 0;

    open_log(TD_LOG_FILE, path);
    start();
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, log_a_thousand, (void *)texts[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    td_logqueue_stop();
    content(path);
    for (char *line = strtok(got, "\n"); line != NULL; line = strtok(NULL, "\n"), count++) {
        const char *text = strstr(line, "] ") + 2;
        ck_assert(strspn(text, text[0] == 'a' ? "a" : text[0] == 'b' ? "b" : text[0] == 'c' ? "c" : "d") ==
                  strlen(text));
    }
    ck_assert_int_eq(count, 4000);
}
END_TEST

static _Atomic bool has_inherited;

/* As a process that the dead one has forked: faster than anybody writes out. */
static void *
write_on(void *arg)
{
    static const char line[] = {1, 0, 0, 0, 'x'};
    char *at;

    (void)arg;
    while (!has_inherited) {
        if ((at = td_ring_reserve(ring, sizeof(line))) != NULL) {
            memcpy(at, line, sizeof(line));
            td_ring_commit(ring, sizeof(line));
        }
    }
    return NULL;
}

/* Its end is not waited for. */
START_TEST(a_writer_that_outlives_its_worker_holds_nobody_up)
{
    pthread_t thread;

    open_log(TD_LOG_FILE, path);
    ck_assert_int_eq(pthread_create(&thread, NULL, write_on, NULL), 0);
    while (td_ring_used(ring) < RING / 2)
        sched_yield();
    td_logqueue_inherit(ring);
    has_inherited = true;
    pthread_join(thread, NULL);
    ck_assert_uint_le(strlen(content(path)), RING / 5);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, lines_arrive_in_order);
    tcase_add_test(tcase, a_line_is_written_without_being_asked_for);
    tcase_add_test(tcase, a_reader_that_sleeps_costs_lines_and_no_time);
    tcase_add_test(tcase, the_end_does_not_wait_for_who_has_gone);
    tcase_add_test(tcase, a_log_daemon_that_is_restarted_gets_what_waits);
    tcase_add_test(tcase, what_a_killed_process_left_is_written);
    tcase_add_test(tcase, a_writer_that_outlives_its_worker_holds_nobody_up);
    tcase_add_loop_test(tcase, a_ring_gone_mad_harms_nobody, 0, 4);
    tcase_add_test(tcase, threads_do_not_mix_their_lines);
}

int
main(void)
{
    return unit_run("logqueue", fill);
}
