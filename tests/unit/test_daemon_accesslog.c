/* Goal: every line is written once and whole, and a target that does not take them holds nobody up.
 */
#include "daemon/worker/accesslog.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "unit.h"

#define RING 65536

static td_ioloop *loop;
static accesslog *log_under_test;
static td_ring *ring;
static uint64_t dropped;
static char folder[64];

static void
setup(void)
{
    strcpy(folder, "/tmp/test_daemon_accesslog.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(td_ioloop_create(&loop, NULL), 0);
    ck_assert_int_eq(td_ring_create(RING, &ring, NULL), 0);
}

static void
teardown(void)
{
    char command[100];

    accesslog_destroy(&log_under_test);
    td_ioloop_destroy(&loop);
    td_ring_destroy(&ring);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static struct accesslog_options
options_for(int fd)
{
    return (struct accesslog_options){
        .format = TD_ACCESS_TORNADO, .fd = fd, .ring = ring, .dropped = &dropped};
}

static void
create_log(int fd)
{
    const struct accesslog_options options = options_for(fd);

    ck_assert_int_eq(accesslog_create(loop, &options, &log_under_test, NULL), 0);
}

static int
open_file(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return open(path, O_RDWR | O_CREAT | O_APPEND, 0644);
}

/* Requests number first..last, each with its number in the target; returns the bytes of their
 * lines. */
static off_t
add_requests(int first, int last)
{
    const size_t others = strlen("[I 241121 19:42:50 access] 200 GET  (0.0.0.0) 0.00ms\n");
    off_t bytes = 0;
    char target[32];
    td_request request = {.peer = {.address_len = 4}, .status = 200};

    request.head.method_name = TD_STR("GET");
    for (int i = first; i <= last; i++) {
        request.head.target =
            td_str_make(target, (size_t)snprintf(target, sizeof(target), "/%d/", i));
        accesslog_add(log_under_test, &request, 0);
        bytes += (off_t)(others + request.head.target.len);
    }
    return bytes;
}

/* All lines are whole, their numbers grow by one from `first` on; returns how many there are. */
static int
count_lines(int fd, int first)
{
    FILE *file = fdopen(dup(fd), "r");
    char line[256];
    int count = 0, number;

    rewind(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        ck_assert_msg(strlen(line) > 30 && line[strlen(line) - 1] == '\n', "%s", line);
        ck_assert_int_eq(sscanf(line + 27, "200 GET /%d/ (0.0.0.0) 0.00ms", &number), 1);
        ck_assert_int_eq(number, first + count);
        count++;
    }
    fclose(file);
    return count;
}

/* Paced by what is written: all that were given, many times the size of the ring, in order. */
START_TEST(all_lines_arrive)
{
    int fd = open_file("access.log");
    struct stat st = {0};
    off_t added = 0;

    create_log(fd);
    for (int i = 0; i < 100; i++) {
        added += add_requests(i * 200, i * 200 + 199);
        accesslog_set_fd(log_under_test, dup(fd)); /* wakes it; the same file */
        while (fstat(fd, &st) == 0 && st.st_size < added)
            poll(NULL, 0, 1);
    }
    accesslog_destroy(&log_under_test);
    ck_assert_int_eq(count_lines(fd, 0), 20000);
}
END_TEST

START_TEST(another_file_takes_over_at_a_line)
{
    int before = open_file("before.log"), after = open_file("after.log");

    create_log(before);
    add_requests(0, 99);
    accesslog_set_fd(log_under_test, dup(after));
    add_requests(100, 199);
    accesslog_destroy(&log_under_test);
    int in_first = count_lines(before, 0);
    ck_assert_int_eq(in_first + count_lines(after, in_first), 200);
}
END_TEST

START_TEST(a_reader_that_sleeps_costs_lines_and_no_time)
{
    int ends[2];
    char bytes[4096];
    char last = 0;
    size_t total = 0;
    ssize_t n;

    ck_assert_int_eq(pipe(ends), 0);
    create_log(ends[1]);
    int64_t start_ns = td_clock_ns();
    add_requests(0, 100000); /* some 5 MB, into a pipe of 64 KiB and a ring of that size */
    ck_assert_int_lt(td_clock_ns() - start_ns, 2 * TD_NS_PER_S);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    for (int empty = 0; empty < 100;) { /* what was kept comes out in whole lines */
        while ((n = read(ends[0], bytes, sizeof(bytes))) > 0) {
            total += (size_t)n;
            empty = 0;
            last = bytes[n - 1];
        }
        empty++;
        poll(NULL, 0, 1);
    }
    ck_assert_int_eq(last, '\n');
    ck_assert_uint_gt(total, RING / 2);
    ck_assert_uint_lt(total, 4 * RING);
}
END_TEST

START_TEST(the_end_does_not_wait_for_ever)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    create_log(ends[1]);
    add_requests(0, 10000);
    int64_t start_ns = td_clock_ns();
    accesslog_destroy(&log_under_test);
    ck_assert_int_lt(td_clock_ns() - start_ns, 4 * TD_NS_PER_S);
}
END_TEST

/* Two kinds of request by turns: as many of the one as of the other, and every error. */
START_TEST(one_in_so_many_and_every_error)
{
    struct accesslog_options options = options_for(open_file("access.log"));
    td_request request = {.peer = {.address_len = 4}, .head.method_name = TD_STR("GET")};
    char line[256];
    int counts[2] = {0, 0}, errors = 0;

    options.sample = 10;
    ck_assert_int_eq(accesslog_create(loop, &options, &log_under_test, NULL), 0);
    for (int i = 0; i < 2000; i++) {
        request.status = i % 100 == 99 ? 404 : 200;
        request.head.target = i % 2 == 0 ? TD_STR("/even") : TD_STR("/odd");
        accesslog_add(log_under_test, &request, 0);
    }
    accesslog_destroy(&log_under_test);
    lseek(options.fd, 0, SEEK_SET);
    FILE *file = fdopen(options.fd, "r");
    while (fgets(line, sizeof(line), file) != NULL) {
        errors += strstr(line, "404 ") != NULL;
        counts[strstr(line, "/odd") != NULL] += strstr(line, "200 ") != NULL;
    }
    fclose(file);
    ck_assert_int_eq(errors, 20);
    ck_assert_int_ge(counts[0], 95);
    ck_assert_int_le(counts[0], 105);
    ck_assert_int_ge(counts[1], 93);
    ck_assert_int_le(counts[1], 103);
}
END_TEST

static const struct {
    int status;
    const char *to_file, *to_log;
} marks[] = {
    {200, "[I ", "[I "}, {302, "[I ", "[I "}, {404, "<4>[W ", "[W "}, {502, "<3>[E ", "[E "}};

/* What reads the lines wants them marked: in the file as they are, in the log by its own means. */
START_TEST(levels_are_marked_for_those_who_want_them)
{
    for (int passed = 0; passed < 2; passed++) {
        const char *wanted = passed ? marks[_i].to_log : marks[_i].to_file;
        struct accesslog_options options = options_for(open_file(passed ? "passed" : "written"));
        td_request request = {.peer = {.address_len = 4}, .status = marks[_i].status};
        char path[128], line[256] = "";
        const int fd = options.fd;

        snprintf(path, sizeof(path), "%s/passed", folder);
        ck_assert_int_eq(
            td_log_open(&(td_log_options){.target = TD_LOG_FILE, .path = path}, NULL), 0);
        options.marks_levels = true;
        if (passed)
            options.fd = -1;
        request.head.method_name = TD_STR("GET");
        request.head.target = TD_STR("/");
        ck_assert_int_eq(accesslog_create(loop, &options, &log_under_test, NULL), 0);
        accesslog_add(log_under_test, &request, 0);
        accesslog_destroy(&log_under_test);
        ck_assert_int_gt(pread(fd, line, sizeof(line) - 1, 0), 0);
        ck_assert_msg(strncmp(line, wanted, strlen(wanted)) == 0, "%s", line);
        ck_assert_ptr_nonnull(strstr(line, " GET / (0.0.0.0) 0.00ms\n"));
        close(fd);
    }
}
END_TEST

/* A child adds lines and dies at once, as one that crashes does. */
static void
add_and_die(int fd, int first, int last)
{
    const pid_t pid = fork();
    int status;

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        create_log(fd);
        add_requests(first, last);
        raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}

START_TEST(what_a_killed_worker_left_is_written)
{
    const int fd = open_file("access.log");
    const struct accesslog_options options = options_for(fd);

    for (int i = 0; i < 20; i++) {
        add_and_die(fd, i * 100, i * 100 + 99);
        accesslog_inherit(&options, "worker 0");
        ck_assert_int_eq(count_lines(fd, 0), (i + 1) * 100);
    }
    ck_assert_uint_eq(dropped, 0);
}
END_TEST

static int
count_lines_of_pipe(int ends[2])
{
    close(ends[1]);
    FILE *file = fdopen(ends[0], "r");
    char line[256];
    int count = 0;

    while (fgets(line, sizeof(line), file) != NULL)
        count++;
    fclose(file);
    return count;
}

START_TEST(what_nobody_takes_then_is_counted)
{
    struct accesslog_options options;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    options = options_for(_i == 0 ? open("/dev/full", O_WRONLY) : ends[1]);
    fcntl(ends[1], F_SETPIPE_SZ, 4096);
    add_and_die(open("/dev/full", O_WRONLY), 0, 199);
    accesslog_inherit(&options, "worker 0");
    if (_i == 0)
        ck_assert_uint_eq(dropped, 200);
    else
        ck_assert_int_eq(count_lines_of_pipe(ends) + (int)dropped, 200);
}
END_TEST

/* To the master the ring of a worker is hostile. */
START_TEST(a_ring_gone_mad_harms_nobody)
{
    const struct accesslog_options options = options_for(open_file("access.log"));

    memset(ring->bytes, 'x', RING);
    ring->shared->written = _i == 0 ? RING : UINT64_C(1) << 40; /* no newline; more than there is */
    accesslog_inherit(&options, "worker 0");
    ck_assert_uint_eq(dropped, 0);
}
END_TEST

static _Atomic bool has_inherited;

/* As a process that the dead one has forked: faster than anybody writes out. */
static void *
write_on(void *arg)
{
    char *at;

    (void)arg;
    while (!has_inherited) {
        if ((at = td_ring_reserve(ring, 2)) != NULL) {
            memcpy(at, "x\n", 2);
            td_ring_commit(ring, 2);
        }
    }
    return NULL;
}

/* Its end is not waited for. */
START_TEST(a_writer_that_outlives_its_worker_holds_nobody_up)
{
    pthread_t thread;
    const struct accesslog_options options = options_for(open_file("access.log"));
    struct stat st;

    ck_assert_int_eq(pthread_create(&thread, NULL, write_on, NULL), 0);
    while (td_ring_used(ring) < RING / 2)
        sched_yield();
    accesslog_inherit(&options, "worker 0");
    has_inherited = true;
    pthread_join(thread, NULL);
    ck_assert_int_eq(fstat(options.fd, &st), 0);
    ck_assert_int_le(st.st_size, RING);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, all_lines_arrive);
    tcase_add_test(tcase, another_file_takes_over_at_a_line);
    tcase_add_test(tcase, a_reader_that_sleeps_costs_lines_and_no_time);
    tcase_add_test(tcase, the_end_does_not_wait_for_ever);
    tcase_add_test(tcase, one_in_so_many_and_every_error);
    tcase_add_loop_test(tcase, levels_are_marked_for_those_who_want_them, 0,
                        sizeof(marks) / sizeof(*marks));
    tcase_add_test(tcase, what_a_killed_worker_left_is_written);
    tcase_add_loop_test(tcase, what_nobody_takes_then_is_counted, 0, 2);
    tcase_add_test(tcase, a_writer_that_outlives_its_worker_holds_nobody_up);
    tcase_add_loop_test(tcase, a_ring_gone_mad_harms_nobody, 0, 2);
}

int
main(void)
{
    return unit_run("daemon_accesslog", fill);
}
