/* Goal: a line arrives whole wherever it goes, and one that cannot is counted, not waited for. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"
#include "files.h"

#define STAMP "[0-9]{6} [0-9]{2}:[0-9]{2}:[0-9]{2}"

static char folder[64], path[96];
static td_err err;

static void
make_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/tornadod-test-log-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/log", folder);
    signal(SIGPIPE, SIG_IGN);
}

static void
remove_folder(void)
{
    char moved[128];

    snprintf(moved, sizeof(moved), "%s.1", path);
    unlink(moved);
    unlink(path);
    rmdir(folder);
}

static void
open_log(td_log_target target, td_log_level level, const char *where)
{
    const td_log_options options = {.target = target, .level = level, .path = where};

    ck_assert_int_eq(td_log_open(&options, &err), 0);
}

static void
assert_matches(const char *text, const char *pattern)
{
    regex_t regex;

    ck_assert_int_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    ck_assert_msg(regexec(&regex, text, 0, NULL, 0) == 0, "'%s' does not match '%s'", text,
                  pattern);
    regfree(&regex);
}

static const struct {
    td_log_level level;
    const char *text, *pattern;
} lines[] = {
    {TD_LOG_DEBUG, "text", "^\\[D " STAMP " http\\] text\n$"},
    {TD_LOG_INFO, "text", "^\\[I " STAMP " http\\] text\n$"},
    {TD_LOG_WARNING, "", "^\\[W " STAMP " http\\] \n$"},
    {TD_LOG_ERROR, "a\nb\r\x1b[0m\x7f",
     "^\\[E " STAMP " http\\] a\\\\x0ab\\\\x0d\\\\x1b\\[0m\\\\x7f\n$"},
    {TD_LOG_ERROR, "\xc2\x9b" "2J\x9b\xc2\xa0",
     "^\\[E " STAMP " http\\] \\\\xc2\\\\x9b2J\\\\x9b\xc2\xa0\n$"},
    {TD_LOG_CRITICAL, "\"caf\xc3\xa9\" \\", "^\\[C " STAMP " http\\] \"caf\xc3\xa9\" \\\\\n$"},
};

START_TEST(a_line_has_tornados_form_and_no_control_bytes)
{
    open_log(TD_LOG_FILE, TD_LOG_DEBUG, path);
    td_log_at(lines[_i].level, "http", "%s", lines[_i].text);
    assert_matches(content(path), lines[_i].pattern);
}
END_TEST

START_TEST(the_role_stands_in_front_of_the_module)
{
    open_log(TD_LOG_FILE, TD_LOG_INFO, path);
    td_log_set_role("worker 2");
    td_log_at(TD_LOG_INFO, "http", "text");
    assert_matches(content(path), "^\\[I " STAMP " worker 2 http\\] text\n$");
}
END_TEST

static const char *
plugin_name(void)
{
    return "hello";
}

START_TEST(a_handlers_line_carries_its_name)
{
    open_log(TD_LOG_FILE, TD_LOG_INFO, path);
    td_log_info("%d", 1);
    td_log_current_module = plugin_name;
    td_log_info("%d", 2);
    assert_matches(content(path), " handler\\] 1\n.* hello\\] 2\n$");
}
END_TEST

START_TEST(less_important_lines_are_left_out)
{
    open_log(TD_LOG_FILE, TD_LOG_WARNING, path);
    ck_assert(!td_log_wants(TD_LOG_INFO));
    ck_assert(td_log_wants(TD_LOG_WARNING));
    td_log_at(TD_LOG_INFO, "http", "no");
    td_log_at(TD_LOG_WARNING, "http", "yes");
    assert_matches(content(path), "^[^\n]* yes\n$");
    ck_assert_uint_eq(td_log_dropped(), 0);
}
END_TEST

START_TEST(a_module_may_have_a_level_of_its_own)
{
    static const char loud[] = "loud", quiet[] = "quiet";
    static const td_log_module modules[] = {{loud, TD_LOG_DEBUG}, {quiet, TD_LOG_ERROR}};
    static const char namesake[] = {'l', 'o', 'u', 'd', 0};

    open_log(TD_LOG_FILE, TD_LOG_WARNING, path);
    td_log_set_modules(modules, 2);
    ck_assert(td_log_wants(TD_LOG_DEBUG));
    td_log_at(TD_LOG_DEBUG, loud, "1");
    td_log_at(TD_LOG_WARNING, quiet, "no");
    td_log_at(TD_LOG_ERROR, quiet, "2");
    td_log_at(TD_LOG_INFO, namesake, "no");
    td_log_at(TD_LOG_INFO, "http", "no");
    td_log_at(TD_LOG_WARNING, "http", "3");
    td_log_current_module = plugin_name; /* it has none */
    td_log_info("no");
    ck_assert(!td_log_enabled(TD_LOG_INFO) && td_log_enabled(TD_LOG_WARNING));
    td_log_warning("4");
    td_log_set_modules(NULL, 0);
    td_log_at(TD_LOG_DEBUG, loud, "no");
    assert_matches(content(path), "^[^\n]* 1\n[^\n]* 2\n[^\n]* 3\n[^\n]* 4\n$");
}
END_TEST

START_TEST(a_long_line_is_cut_and_says_so)
{
    static char text[10000];

    memset(text, _i == 0 ? 'x' : '\n', sizeof(text) - 1);
    open_log(TD_LOG_FILE, TD_LOG_INFO, path);
    td_log_at(TD_LOG_INFO, "http", "%s", text);
    td_log_at(TD_LOG_INFO, "http", "next");
    assert_matches(content(path), _i == 0 ? "^[^\n]*xxx\\.\\.\\.\n[^\n]* next\n$"
                                          : "^[^\n]*\\\\x0a\\.\\.\\.\n[^\n]* next\n$");
    ck_assert_uint_le(strchr(got, '\n') - got, 4095);
}
END_TEST

START_TEST(errno_survives_a_line)
{
    open_log(TD_LOG_FILE, TD_LOG_INFO, "/dev/full");
    errno = EXDEV;
    td_log_at(TD_LOG_INFO, "http", "text");
    ck_assert_int_eq(errno, EXDEV);
    ck_assert_uint_eq(td_log_dropped(), 1);
}
END_TEST

START_TEST(a_file_is_appended_to_and_not_readable_for_all)
{
    struct stat st;

    open_log(TD_LOG_FILE, TD_LOG_INFO, path);
    td_log_at(TD_LOG_INFO, "a", "1");
    open_log(TD_LOG_FILE, TD_LOG_INFO, path);
    td_log_at(TD_LOG_INFO, "b", "2");
    assert_matches(content(path), " a\\] 1\n.* b\\] 2\n$");
    stat(path, &st);
    ck_assert_int_eq(st.st_mode & 07, 0);
}
END_TEST

START_TEST(reopening_follows_the_name)
{
    char moved[128];

    snprintf(moved, sizeof(moved), "%s.1", path);
    open_log(TD_LOG_FILE, TD_LOG_INFO, path);
    td_log_at(TD_LOG_INFO, "a", "1");
    rename(path, moved);
    td_log_at(TD_LOG_INFO, "a", "2");

    const int fd = td_log_fd();

    ck_assert_int_eq(td_log_reopen(&err), 0);
    ck_assert_int_eq(td_log_fd(), fd);
    td_log_at(TD_LOG_INFO, "a", "3");
    assert_matches(content(moved), " 1\n.* 2\n$");
    assert_matches(content(path), "^[^\n]* 3\n$");
}
END_TEST

START_TEST(a_failed_reopen_keeps_the_old_file)
{
    open_log(TD_LOG_FILE, TD_LOG_INFO, path);
    unlink(path);
    mkdir(path, 0700);
    ck_assert_int_eq(td_log_reopen(&err), -EISDIR);
    td_log_at(TD_LOG_INFO, "a", "1");
    ck_assert_uint_eq(td_log_dropped(), 0);
    rmdir(path);
}
END_TEST

START_TEST(a_worker_takes_the_masters_descriptor)
{
    char moved[128];

    snprintf(moved, sizeof(moved), "%s.1", path);
    open_log(TD_LOG_FILE, TD_LOG_INFO, path);
    td_log_set_fd(open(moved, O_WRONLY | O_APPEND | O_CREAT, 0600));
    ck_assert(fcntl(td_log_fd(), F_GETFD) & FD_CLOEXEC);
    td_log_at(TD_LOG_INFO, "a", "1");
    assert_matches(content(moved), " 1\n$");
    ck_assert_str_eq(content(path), "");
}
END_TEST

START_TEST(a_file_that_cannot_be_opened_leaves_the_log_as_it_was)
{
    const td_log_options missing = {.target = TD_LOG_FILE, .path = "/nowhere/log"};

    open_log(TD_LOG_FILE, TD_LOG_INFO, path);
    ck_assert_int_eq(td_log_open(&missing, &err), -ENOENT);
    ck_assert_str_eq(err.text, "log file /nowhere/log: No such file or directory");
    td_log_at(TD_LOG_INFO, "a", "1");
    assert_matches(content(path), " 1\n$");
}
END_TEST

/* Our stderr becomes one end; returns the other. */
static int
replace_stderr(bool with_socket)
{
    int ends[2];

    ck_assert_int_eq(with_socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    return ends[0];
}

START_TEST(a_reader_that_does_not_read_blocks_nobody_and_is_told_what_it_missed)
{
    const int reader = replace_stderr(_i == 1);
    int sent = 0;

    open_log(TD_LOG_STDERR, TD_LOG_INFO, NULL);
    for (; td_log_dropped() < 41; sent++)
        td_log_at(TD_LOG_INFO, "a", "%d", sent);
    ck_assert_int_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    drain(reader);
    td_log_at(TD_LOG_INFO, "a", "after");
    assert_matches(drain(reader), "^\\[W [^\n]* log\\] lines lost: 41\n[^\n]* after\n$");
    td_log_at(TD_LOG_INFO, "a", "again");
    assert_matches(drain(reader), "^[^\n]* again\n$");
    ck_assert_uint_eq(td_log_dropped(), 41);
}
END_TEST

static void *
read_late(void *arg)
{
    usleep(50000);
    drain(*(const int *)arg);
    return NULL;
}

static void
fill_stderr(void)
{
    static const char noise[4096];
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};

    while (poll(&room, 1, 0) > 0)
        ck_assert_int_gt(write(STDERR_FILENO, noise, sizeof(noise)), 0);
}

START_TEST(with_patience_a_reader_who_is_late_misses_nothing_and_one_who_stopped_holds_nobody)
{
    int reader = replace_stderr(false);
    pthread_t thread;

    open_log(TD_LOG_STDERR, TD_LOG_INFO, NULL);
    td_log_set_patience(INT_MAX);
    fill_stderr();
    pthread_create(&thread, NULL, read_late, &reader);
    td_log_at(TD_LOG_INFO, "a", "waited for");
    pthread_join(thread, NULL);
    ck_assert_uint_eq(td_log_dropped(), 0);
    fill_stderr();
    td_log_set_patience(1);
    td_log_at(TD_LOG_INFO, "a", "in vain");
    td_log_set_patience(INT_MAX);
    td_log_at(TD_LOG_INFO, "a", "not waited for any more");
    ck_assert_uint_eq(td_log_dropped(), 2);
}
END_TEST

START_TEST(a_pipe_that_cannot_be_opened_anew_does_not_block_either)
{
    const int reader = replace_stderr(false);

    /* The log as it is before it was opened: it shares the descriptor. */
    for (int i = 0; td_log_dropped() < 10; i++)
        td_log_at(TD_LOG_INFO, "a", "%d", i);
    drain(reader);
    td_log_at(TD_LOG_INFO, "a", "after");
    assert_matches(drain(reader), "lines lost: 10\n[^\n]* after\n$");
}
END_TEST

START_TEST(a_reader_that_has_gone_kills_nobody)
{
    close(replace_stderr(_i == 1));
    open_log(TD_LOG_STDERR, TD_LOG_INFO, NULL);
    td_log_at(TD_LOG_INFO, "a", "1");
    ck_assert_uint_eq(td_log_dropped(), 1);
}
END_TEST

START_TEST(stderr_in_a_file_shares_its_offset)
{
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);

    dup2(fd, STDERR_FILENO);
    close(fd);
    open_log(TD_LOG_STDERR, TD_LOG_INFO, NULL);
    td_log_at(TD_LOG_INFO, "a", "1");
    fprintf(stderr, "somebody else\n");
    td_log_at(TD_LOG_INFO, "a", "2");
    assert_matches(content(path), " 1\nsomebody else\n.* 2\n$");
}
END_TEST

START_TEST(the_journal_behind_stderr_is_told_levels)
{
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);
    struct stat st;
    char stream[64];

    fstat(fd, &st);
    dup2(fd, STDERR_FILENO);
    close(fd);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    open_log(TD_LOG_STDERR, TD_LOG_DEBUG, NULL);
    td_log_at(TD_LOG_DEBUG, "a", "1");
    td_log_at(TD_LOG_WARNING, "a", "2");
    td_log_at(TD_LOG_CRITICAL, "a", "3");
    setenv("JOURNAL_STREAM", "1:2", 1); /* somebody has turned it elsewhere */
    open_log(TD_LOG_STDERR, TD_LOG_INFO, NULL);
    td_log_at(TD_LOG_ERROR, "a", "4");
    unsetenv("JOURNAL_STREAM");
    assert_matches(content(path), "^<7>\\[D .* 1\n<4>\\[W .* 2\n<2>\\[C .* 3\n\\[E .* 4\n$");
}
END_TEST

START_TEST(a_terminal_gets_colours_unless_it_does_not_want_them)
{
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    int slave;

    ck_assert_int_ge(master, 0);
    grantpt(master);
    unlockpt(master);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    ck_assert_int_ge(slave, 0);
    dup2(slave, STDERR_FILENO);
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    open_log(TD_LOG_STDERR, TD_LOG_INFO, NULL);
    td_log_at(TD_LOG_ERROR, "a", "1");
    assert_matches(drain(master), "^\033\\[31m\\[E " STAMP " a\\]\033\\[0m 1\r\n$");
    ck_assert_int_eq(fcntl(slave, F_GETFL) & O_NONBLOCK, 0);
    setenv("NO_COLOR", "1", 1);
    open_log(TD_LOG_STDERR, TD_LOG_INFO, NULL);
    td_log_at(TD_LOG_ERROR, "a", "1");
    assert_matches(drain(master), "^\\[E ");
}
END_TEST

/* A disk that fills up inside a line: the next line does not stick to the half one. */
START_TEST(a_torn_line_is_ended_before_the_next)
{
    const struct rlimit small = {60, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};

    signal(SIGXFSZ, SIG_IGN);
    open_log(TD_LOG_FILE, TD_LOG_INFO, path);
    setrlimit(RLIMIT_FSIZE, &small);
    td_log_at(TD_LOG_INFO, "a", "%050d", 1);
    setrlimit(RLIMIT_FSIZE, &none);
    td_log_at(TD_LOG_INFO, "a", "2");
    assert_matches(content(path), "^[^\n]* 0+\n[^\n]* lines lost: 1\n[^\n]* 2\n$");
}
END_TEST

static int
bind_datagrams(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

START_TEST(syslog_gets_rfc_3164)
{
    const int daemon = bind_datagrams();
    char expected[128];

    open_log(TD_LOG_SYSLOG, TD_LOG_INFO, path);
    td_log_set_role("master");
    td_log_at(TD_LOG_ERROR, "http", "a\nb");
    snprintf(expected, sizeof(expected),
             "^<27>[A-Z][a-z]{2} [ 1-3][0-9] [0-9:]{8} tornadod\\[%d\\]: master http: a\\\\x0ab$",
             (int)getpid());
    assert_matches(drain(daemon), expected);
}
END_TEST

START_TEST(the_journal_gets_fields)
{
    const int daemon = bind_datagrams();
    const td_log_options options = {
        .target = TD_LOG_JOURNAL, .level = TD_LOG_INFO, .path = path, .identifier = "mine"};

    ck_assert_int_eq(td_log_open(&options, &err), 0);
    td_log_set_role("worker 0");
    td_log_at(TD_LOG_WARNING, "http", "a\nMESSAGE=b");
    ck_assert_str_eq(drain(daemon),
                     "PRIORITY=4\nSYSLOG_IDENTIFIER=mine\nSYSLOG_FACILITY=3\nTORNADO_MODULE=http\n"
                     "TORNADO_ROLE=worker 0\nMESSAGE=worker 0 http: a\\x0aMESSAGE=b\n");
}
END_TEST

START_TEST(a_log_daemon_may_be_slow_or_restarted)
{
    int daemon = bind_datagrams();
    uint64_t dropped;

    open_log(TD_LOG_JOURNAL, TD_LOG_INFO, path);
    while (td_log_dropped() == 0)
        td_log_at(TD_LOG_INFO, "a", "1");
    close(daemon);
    td_log_at(TD_LOG_INFO, "a", "2");
    dropped = td_log_dropped();
    ck_assert_uint_eq(dropped, 2);
    unlink(path);
    daemon = bind_datagrams();
    td_log_at(TD_LOG_INFO, "a", "3");
    assert_matches(drain(daemon), "MESSAGE=log: lines lost: 2\n.*MESSAGE=a: 3\n$");
}
END_TEST

START_TEST(a_log_daemon_that_is_not_there_is_an_error)
{
    const td_log_options options = {.target = TD_LOG_SYSLOG, .path = "/nowhere/log"};

    ck_assert_int_eq(td_log_open(&options, &err), -ENOENT);
    ck_assert_str_eq(err.text, "log socket /nowhere/log: No such file or directory");
}
END_TEST

START_TEST(a_gate_lets_one_line_a_second_through_and_counts_the_others)
{
    td_log_gate gate = {0};

    open_log(TD_LOG_FILE, TD_LOG_INFO, path);
    td_log_gated(&gate, TD_LOG_DEBUG, "a", "not wanted, not counted");
    for (int i = 0; i < 42; i++)
        td_log_gated(&gate, TD_LOG_INFO, "a", "line %d", i);
    gate.last_ns -= TD_NS_PER_S;
    td_log_gated(&gate, TD_LOG_INFO, "a", "line 42");
    gate.last_ns -= TD_NS_PER_S;
    td_log_gated(&gate, TD_LOG_INFO, "a", "line 43");
    assert_matches(content(path),
                   "^[^\n]* line 0\n[^\n]* line 42 \\(and 41 more\\)\n[^\n]* line 43\n$");
}
END_TEST

#define THREADS 4
#define LINES 500

static void *
write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++)
        td_log_at(TD_LOG_INFO, "a", "%c%0200d", (int)(uintptr_t)arg, i);
    return NULL;
}

START_TEST(threads_do_not_mix_their_lines)
{
    pthread_t threads[THREADS];
    int count = 0;

    open_log(TD_LOG_FILE, TD_LOG_INFO, path);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, write_lines, (void *)(uintptr_t)("abcd"[i]));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    content(path);
    for (char *line = strtok(got, "\n"); line != NULL; line = strtok(NULL, "\n"), count++)
        ck_assert_uint_eq(strlen(line), strlen("[I 261121 19:42:50 a] ") + 201);
    ck_assert_int_eq(count, THREADS * LINES);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, make_folder, remove_folder);
    ADD_TABLE(tcase, a_line_has_tornados_form_and_no_control_bytes, lines);
    tcase_add_test(tcase, the_role_stands_in_front_of_the_module);
    tcase_add_test(tcase, a_handlers_line_carries_its_name);
    tcase_add_test(tcase, less_important_lines_are_left_out);
    tcase_add_test(tcase, a_module_may_have_a_level_of_its_own);
    tcase_add_loop_test(tcase, a_long_line_is_cut_and_says_so, 0, 2);
    tcase_add_test(tcase, errno_survives_a_line);
    tcase_add_test(tcase, a_file_is_appended_to_and_not_readable_for_all);
    tcase_add_test(tcase, reopening_follows_the_name);
    tcase_add_test(tcase, a_failed_reopen_keeps_the_old_file);
    tcase_add_test(tcase, a_worker_takes_the_masters_descriptor);
    tcase_add_test(tcase, a_file_that_cannot_be_opened_leaves_the_log_as_it_was);
    tcase_add_loop_test(tcase, a_reader_that_does_not_read_blocks_nobody_and_is_told_what_it_missed,
                        0, 2);
    tcase_add_test(
        tcase, with_patience_a_reader_who_is_late_misses_nothing_and_one_who_stopped_holds_nobody);
    tcase_add_test(tcase, a_pipe_that_cannot_be_opened_anew_does_not_block_either);
    tcase_add_loop_test(tcase, a_reader_that_has_gone_kills_nobody, 0, 2);
    tcase_add_test(tcase, stderr_in_a_file_shares_its_offset);
    tcase_add_test(tcase, the_journal_behind_stderr_is_told_levels);
    tcase_add_test(tcase, a_terminal_gets_colours_unless_it_does_not_want_them);
    tcase_add_test(tcase, a_torn_line_is_ended_before_the_next);
    tcase_add_test(tcase, syslog_gets_rfc_3164);
    tcase_add_test(tcase, the_journal_gets_fields);
    tcase_add_test(tcase, a_log_daemon_may_be_slow_or_restarted);
    tcase_add_test(tcase, a_log_daemon_that_is_not_there_is_an_error);
    tcase_add_test(tcase, a_gate_lets_one_line_a_second_through_and_counts_the_others);
    tcase_add_test(tcase, threads_do_not_mix_their_lines);
}

int
main(void)
{
    return unit_run("log", fill);
}
