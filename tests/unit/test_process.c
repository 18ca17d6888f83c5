/* Goal: a child process is fed, read, awaited and ended, and nothing of it is left behind. */
#include "io/process.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include "waiting_actors.h"

#define SH(script) ((const char *const[]){"sh", "-c", script, NULL})

static int
count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static int descriptors;

static void
open_all(void)
{
    open_loop();
    descriptors = count_descriptors();
}

/* Neither a process, nor a zombie, nor a descriptor. */
static void
nothing_is_left(void)
{
    ck_assert_uint_eq(td_processes_count(), 0);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    ck_assert_int_eq(count_descriptors(), descriptors);
}

/* ---- how it ends */

static const struct end_case {
    const char *script;
    int code;
} ends[] = {
    {"exit 0", 0},
    {"exit 7", 7},
    {"kill -KILL $$", -SIGKILL},
    {"kill -INT $$; exit 1", -SIGINT}, /* which is ignored here */
    {"kill -USR1 $$; exit 1", -SIGUSR1}, /* which is blocked here */
};

static void
run_to_its_end(void *arg)
{
    const struct end_case *c = arg;
    td_subprocess *process;
    td_future *ended;
    void *code_of_future;
    int code = -1;

    ck_assert_int_eq(td_subprocess_start(SH(c->script), NULL, &process), 0);
    ck_assert_int_gt(td_subprocess_pid(process), 1);
    ck_assert_ptr_null(td_subprocess_stdin(process));
    ended = td_subprocess_wait_future(process);
    ck_assert_int_eq(td_subprocess_wait(process, &code), 0);
    ck_assert_int_eq(code, c->code);
    ck_assert_int_eq(td_subprocess_wait(process, &code), 0);
    ck_assert_int_eq(td_await(ended, &code_of_future), 0);
    ck_assert_int_eq(*(int *)code_of_future, c->code);
    ck_assert_int_eq(td_await(td_subprocess_wait_future(process), NULL), 0);
    ck_assert_int_eq(td_subprocess_signal(process, SIGTERM), TD_ENOTFOUND);
    td_subprocess_destroy(&process);
    ck_assert_ptr_null(process);
    td_subprocess_destroy(&process);
}

START_TEST(its_status_is_awaited)
{
    sigset_t blocked;

    signal(SIGINT, SIG_IGN);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    ck_assert_int_eq(on_coroutine(run_to_its_end, (void *)&ends[_i]), TD_COROUTINE_RETURNED);
    nothing_is_left();
}
END_TEST

static const struct failing {
    const char *program, *cwd;
    int rc;
} failures[] = {
    {"/no/such/program", NULL, -ENOENT},
    {"no-such-program-in-path", NULL, -ENOENT},
    {"/etc/passwd", NULL, -EACCES},
    {"true", "/no/such/directory", -ENOENT},
};

static void
fail_to_start(void *arg)
{
    const struct failing *c = arg;
    const char *const argv[] = {c->program, NULL};
    td_subprocess *process = NULL;

    ck_assert_int_eq(td_subprocess_start(argv,
                                         TD_SUBPROCESS(.in = TD_STDIO_PIPE, .out = TD_STDIO_PIPE,
                                                       .cwd = c->cwd, .tied = true),
                                         &process),
                     c->rc);
    ck_assert_ptr_null(process);
}

START_TEST(what_cannot_be_started_says_why)
{
    ck_assert_int_eq(on_coroutine(fail_to_start, (void *)&failures[_i]), TD_COROUTINE_RETURNED);
    nothing_is_left();
}
END_TEST

/* ---- what goes in and out */

static const struct output_case {
    const char *script, *in, *out;
} outputs[] = {
    {"cat", "hello", "hello"},
    {"echo out; echo err >&2", "", "out\nerr\n"},
    {"pwd; echo $COLOUR $HOME", "", "/tmp\ngreen\n"},
    {"read line; echo $line; cat", "one\ntwo\n", "one\ntwo\n"},
    {"ls /proc/self/fd | wc -l", "", "4\n"}, /* the fourth is that directory */
};

static void
feed_and_read(void *arg)
{
    const struct output_case *c = arg;
    static const char *const env[] = {"COLOUR=green", "PATH=/usr/bin:/bin", NULL};
    const int leaky = open("/dev/null", O_RDONLY); /* not O_CLOEXEC */
    td_subprocess *process;
    td_str out;
    int code;

    ck_assert_int_eq(
        td_subprocess_start(SH(c->script),
                            TD_SUBPROCESS(.in = TD_STDIO_PIPE, .out = TD_STDIO_PIPE,
                                          .err = TD_STDIO_OUTPUT, .env = env, .cwd = "/tmp"),
                            &process),
        0);
    close(leaky);
    ck_assert_int_eq(td_iostream_write(td_subprocess_stdin(process), td_str_of(c->in)), 0);
    td_iostream_flush(td_subprocess_stdin(process));
    td_iostream_close(td_subprocess_stdin(process));
    ck_assert_int_eq(td_iostream_read_until_close(td_subprocess_stdout(process), 0, &out), 0);
    ck_assert_uint_eq(out.len, strlen(c->out));
    ck_assert(memcmp(out.ptr, c->out, out.len) == 0);
    ck_assert_ptr_null(td_subprocess_stderr(process));
    ck_assert_int_eq(td_subprocess_wait(process, &code), 0);
    ck_assert_int_eq(code, 0);
    td_subprocess_destroy(&process);
}

START_TEST(its_pipes_are_streams)
{
    ck_assert_int_eq(on_coroutine(feed_and_read, (void *)&outputs[_i]), TD_COROUTINE_RETURNED);
    nothing_is_left();
}
END_TEST

/* ---- how it is ended */

static const struct {
    const char *script;
    int code;
} slow[] = {
    {"echo ready; exec sleep 1000", -SIGTERM},
    {"echo ready; sleep 1000 & sleep 1000", -SIGTERM},
    {"trap '' TERM; echo ready; while :; do sleep 1000; done", -SIGKILL},
    {"echo ready; kill -STOP $$; exit 1", -SIGTERM},
};

static td_subprocess *
start_slow(const char *script, int64_t timeout_ms, bool tied)
{
    td_subprocess *process;
    td_str line;

    ck_assert_int_eq(td_subprocess_start(SH(script),
                                         TD_SUBPROCESS(.out = TD_STDIO_PIPE, .tied = tied,
                                                       .timeout_ms = timeout_ms,
                                                       .kill_after_ms = 100),
                                         &process),
                     0);
    ck_assert_int_eq(td_iostream_read_until(td_subprocess_stdout(process), TD_STR("\n"), 0, &line),
                     0);
    return process;
}

static void
outlast_its_time(void *arg)
{
    const int *i = arg;
    td_subprocess *process = start_slow(slow[*i].script, 200, false);
    td_str rest;
    int code = 0;

    ck_assert_int_eq(td_subprocess_wait(process, &code), TD_ETIMEDOUT);
    ck_assert_int_eq(code, slow[*i].code);
    /* What it has started has gone with it, or the pipe would be open. */
    ck_assert_int_eq(td_iostream_read_until_close(td_subprocess_stdout(process), 0, &rest), 0);
    td_subprocess_destroy(&process);
}

START_TEST(one_that_takes_too_long_is_ended_with_all_that_it_has_started)
{
    int i = _i;

    ck_assert_int_eq(on_coroutine(outlast_its_time, &i), TD_COROUTINE_RETURNED);
    nothing_is_left();
}
END_TEST

static void
wait_in_vain(void *arg)
{
    note_outcome('w', td_subprocess_wait(arg, NULL));
}

static void
destroy_it(void *arg)
{
    const int *i = arg;
    td_subprocess *process = start_slow(slow[*i].script, 0, false);

    td_future_unref(td_spawn(wait_in_vain, process));
    td_sleep(1);
    td_subprocess_destroy(&process);
    while (td_processes_count() > 0)
        td_sleep(1);
    ck_assert_str_eq(notes, "#");
}

START_TEST(a_destroyed_one_is_ended_and_reaped)
{
    int i = _i;

    ck_assert_int_eq(on_coroutine(destroy_it, &i), TD_COROUTINE_RETURNED);
    nothing_is_left();
}
END_TEST

static void
start_tied(void *arg)
{
    td_subprocess *process = start_slow(slow[0].script, 0, true);

    *(void **)arg = NULL;
    td_subprocess_wait(process, NULL);
    note('!');
}

static void
outlive_a_tied_one(void *arg)
{
    td_future *spawned = td_spawn(start_tied, &arg);

    td_sleep(0);
    while (td_processes_count() == 0 || arg != NULL)
        td_sleep(1);
    td_future_cancel(spawned);
    td_future_unref(spawned);
    while (td_processes_count() > 0)
        td_sleep(1);
    ck_assert_str_eq(notes, "");
}

START_TEST(a_tied_one_ends_with_its_coroutine)
{
    ck_assert_int_eq(on_coroutine(outlive_a_tied_one, (void *)1), TD_COROUTINE_RETURNED);
    nothing_is_left();
}
END_TEST

static void
wait_and_destroy(void *arg)
{
    td_subprocess *process = *(td_subprocess **)arg;

    note_outcome('d', td_subprocess_wait(process, NULL));
    td_subprocess_destroy(&process);
}

static void
wait_for_code(void *arg)
{
    int code = -1;

    note_outcome('w', td_subprocess_wait(*(td_subprocess **)arg, &code));
    note((char)('0' + code));
}

static void
destroy_before_all_are_told(void *arg)
{
    td_subprocess *process;

    (void)arg;
    ck_assert_int_eq(td_subprocess_start(SH("exit 7"), NULL, &process), 0);
    td_future_unref(td_spawn(wait_and_destroy, &process));
    td_future_unref(td_spawn(wait_for_code, &process));
    while (notes_len < 3)
        td_sleep(1);
    ck_assert_str_eq(notes, "d#/"); /* and no code */
}

START_TEST(who_is_told_first_may_destroy_it)
{
    ck_assert_int_eq(on_coroutine(destroy_before_all_are_told, NULL), TD_COROUTINE_RETURNED);
    nothing_is_left();
}
END_TEST

/* And is no zombie, which whoever has inherited it may leave lying about. */
static bool
lives(pid_t pid)
{
    char path[32], state = 'Z';
    FILE *stat;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    stat = fopen(path, "r");
    if (stat == NULL)
        return false;
    ck_assert_int_eq(fscanf(stat, "%*d %*s %c", &state), 1);
    fclose(stat);
    return state != 'Z';
}

static const struct {
    const char *script;
    int64_t kill_after_ms;
    bool is_told; /* it has the time to say goodbye */
} slower[] = {
    {"sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' & wait", 100, false},
    {"sh -c 'trap \"sleep 0.2; kill -USR1 $OTHER\" TERM; sleep 1000 & echo $$; wait' & wait",
     10000, true},
};

static volatile sig_atomic_t goodbyes;

static void
count_goodbye(int number)
{
    (void)number;
    goodbyes++;
}

/* What ignores SIGTERM, or takes its time, while its parent goes at once. */
static void
end_a_group(void *arg)
{
    const int *i = arg;
    char other[32];
    td_subprocess *process;
    td_str line;
    pid_t pid;

    snprintf(other, sizeof(other), "OTHER=%d", (int)getpid());
    ck_assert_int_eq(
        td_subprocess_start(SH(slower[*i].script),
                            TD_SUBPROCESS(.out = TD_STDIO_PIPE,
                                          .env = (const char *const[]){other, NULL},
                                          .kill_after_ms = slower[*i].kill_after_ms),
                            &process),
        0);
    ck_assert_int_eq(td_iostream_read_until(td_subprocess_stdout(process), TD_STR("\n"), 0, &line),
                     0);
    pid = atoi(line.ptr);
    td_subprocess_destroy(&process);
    while (lives(pid))
        td_sleep(1);
    ck_assert_int_eq(goodbyes, slower[*i].is_told);
}

START_TEST(its_group_ends_with_it_however_slowly)
{
    int i = _i;

    signal(SIGUSR1, count_goodbye);
    ck_assert_int_eq(on_coroutine(end_a_group, &i), TD_COROUTINE_RETURNED);
    nothing_is_left();
}
END_TEST

static void
leave_a_group(void *arg)
{
    td_subprocess *process;
    td_str line;

    ck_assert_int_eq(td_subprocess_start(SH(slower[0].script),
                                         TD_SUBPROCESS(.out = TD_STDIO_PIPE), &process),
                     0);
    ck_assert_int_eq(td_iostream_read_until(td_subprocess_stdout(process), TD_STR("\n"), 0, &line),
                     0);
    *(pid_t *)arg = atoi(line.ptr);
    td_subprocess_destroy(&process);
    while (td_processes_count() > 0)
        td_sleep(1);
}

START_TEST(what_is_left_of_a_group_ends_with_the_loop)
{
    pid_t pid;

    ck_assert_int_eq(on_coroutine(leave_a_group, &pid), TD_COROUTINE_RETURNED);
    ck_assert(lives(pid));
    close_loop();
    for (int i = 0; i < 1000 && lives(pid); i++)
        usleep(1000);
    ck_assert(!lives(pid));
    open_all();
    nothing_is_left();
}
END_TEST

static void
hold_the_loop(void *arg)
{
    td_subprocess *process;
    int code = -1;

    (void)arg;
    ck_assert_int_eq(td_subprocess_start(SH("exit 7"), TD_SUBPROCESS(.timeout_ms = 200), &process),
                     0);
    usleep(300000);
    ck_assert_int_eq(td_subprocess_wait(process, &code), 0);
    ck_assert_int_eq(code, 7);
    td_subprocess_destroy(&process);
}

START_TEST(one_that_has_ended_in_time_is_not_blamed_for_a_loop_that_was_late)
{
    ck_assert_int_eq(on_coroutine(hold_the_loop, NULL), TD_COROUTINE_RETURNED);
    ck_assert_int_eq(logged("timeout_ms"), 0);
    nothing_is_left();
}
END_TEST

static void
destroy_a_pipe(void *arg)
{
    td_iostream *in;
    td_subprocess *process;
    int code = -1;

    (void)arg;
    ck_assert_int_eq(td_subprocess_start(SH("cat"), TD_SUBPROCESS(.in = TD_STDIO_PIPE), &process),
                     0);
    in = td_subprocess_stdin(process);
    td_iostream_destroy(&in);
    ck_assert_ptr_null(td_subprocess_stdin(process));
    ck_assert_int_eq(td_subprocess_wait(process, &code), 0);
    ck_assert_int_eq(code, 0);
    td_subprocess_destroy(&process);
}

START_TEST(a_pipe_may_be_destroyed_before_it)
{
    ck_assert_int_eq(on_coroutine(destroy_a_pipe, NULL), TD_COROUTINE_RETURNED);
    nothing_is_left();
}
END_TEST

static pid_t left_running;

static void
leave_it_running(void *arg)
{
    (void)arg;
    left_running = td_subprocess_pid(start_slow(slow[0].script, 0, false));
}

START_TEST(the_end_of_the_loop_kills_what_runs)
{
    ck_assert_int_eq(on_coroutine(leave_it_running, NULL), TD_COROUTINE_RETURNED);
    ck_assert_uint_eq(td_processes_count(), 1);
    close_loop();
    ck_assert_int_eq(kill(left_running, 0), -1);
    ck_assert_int_eq(errno, ESRCH);
    open_loop();
}
END_TEST

/* ---- others, and limits */

START_TEST(children_of_others_are_left_to_them)
{
    const pid_t other = fork();
    int status;

    if (other == 0)
        _exit(3);
    ck_assert_int_eq(on_coroutine(run_to_its_end, (void *)&ends[1]), TD_COROUTINE_RETURNED);
    ck_assert_int_eq(waitpid(other, &status, 0), other);
    ck_assert_int_eq(WEXITSTATUS(status), 3);
    nothing_is_left();
}
END_TEST

static void
lose_its_status(void *arg)
{
    td_subprocess *process = start_slow(slow[0].script, 0, false);

    (void)arg;
    ck_assert_int_eq(td_subprocess_signal(process, SIGKILL), 0);
    ck_assert_int_eq(waitpid(td_subprocess_pid(process), NULL, 0), td_subprocess_pid(process));
    ck_assert_int_eq(td_subprocess_wait(process, NULL), -ECHILD);
    td_subprocess_destroy(&process);
}

START_TEST(a_status_that_somebody_else_has_taken_is_told)
{
    ck_assert_int_eq(on_coroutine(lose_its_status, NULL), TD_COROUTINE_RETURNED);
    nothing_is_left();
}
END_TEST

static void
start_too_many(void *arg)
{
    td_subprocess *first, *second = NULL;

    (void)arg;
    td_processes_configure(1);
    first = start_slow(slow[0].script, 0, true);
    ck_assert_int_eq(td_subprocess_start(SH("exit 0"), NULL, &second), TD_EBUSY);
    ck_assert_ptr_null(second);
    ck_assert_int_eq(logged("max_subprocesses"), 1);
    ck_assert_int_eq(td_subprocess_signal(first, SIGTERM), 0);
    ck_assert_int_eq(td_subprocess_wait(first, NULL), 0);
    ck_assert_int_eq(td_subprocess_start(SH("exit 0"), NULL, &second), 0);
    ck_assert_int_eq(td_subprocess_wait(second, NULL), 0);
    td_subprocess_destroy(&second);
    td_processes_configure(64);
}

START_TEST(beyond_max_subprocesses_none_is_started)
{
    ck_assert_int_eq(on_coroutine(start_too_many, NULL), TD_COROUTINE_RETURNED);
    nothing_is_left();
}
END_TEST

static void
misuse(void *arg)
{
    td_subprocess *process = NULL;

    (void)arg;
    ck_assert_int_eq(td_subprocess_start(NULL, NULL, &process), TD_EINVAL);
    ck_assert_int_eq(td_subprocess_start((const char *const[]){NULL}, NULL, &process), TD_EINVAL);
    ck_assert_int_eq(td_subprocess_start(SH("exit 0"), NULL, NULL), TD_EINVAL);
    ck_assert_int_eq(td_subprocess_start(SH("exit 0"), TD_SUBPROCESS(.out = TD_STDIO_OUTPUT), &process),
                     TD_EINVAL);
    ck_assert_int_eq(td_subprocess_start(SH("exit 0"), TD_SUBPROCESS(.timeout_ms = -1), &process),
                     TD_EINVAL);
    ck_assert_int_eq(td_subprocess_wait(NULL, NULL), TD_EINVAL);
    ck_assert_ptr_null(td_subprocess_wait_future(NULL));
    ck_assert_ptr_null(td_subprocess_stdin(NULL));
    ck_assert_int_eq(td_subprocess_signal(NULL, 0), TD_EINVAL);
    ck_assert_int_eq(td_subprocess_pid(NULL), -1);
    ck_assert_int_eq(logged("[E "), 10);
}

START_TEST(misuse_is_told)
{
    ck_assert_int_eq(on_coroutine(misuse, NULL), TD_COROUTINE_RETURNED);
    nothing_is_left();
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_all, close_loop);
    ADD_TABLE(tcase, its_status_is_awaited, ends);
    ADD_TABLE(tcase, what_cannot_be_started_says_why, failures);
    ADD_TABLE(tcase, its_pipes_are_streams, outputs);
    ADD_TABLE(tcase, one_that_takes_too_long_is_ended_with_all_that_it_has_started, slow);
    ADD_TABLE(tcase, a_destroyed_one_is_ended_and_reaped, slow);
    tcase_add_test(tcase, a_tied_one_ends_with_its_coroutine);
    tcase_add_test(tcase, who_is_told_first_may_destroy_it);
    ADD_TABLE(tcase, its_group_ends_with_it_however_slowly, slower);
    tcase_add_test(tcase, what_is_left_of_a_group_ends_with_the_loop);
    tcase_add_test(tcase, one_that_has_ended_in_time_is_not_blamed_for_a_loop_that_was_late);
    tcase_add_test(tcase, a_pipe_may_be_destroyed_before_it);
    tcase_add_test(tcase, the_end_of_the_loop_kills_what_runs);
    tcase_add_test(tcase, children_of_others_are_left_to_them);
    tcase_add_test(tcase, a_status_that_somebody_else_has_taken_is_told);
    tcase_add_test(tcase, beyond_max_subprocesses_none_is_started);
    tcase_add_test(tcase, misuse_is_told);
}

int
main(void)
{
    return unit_run("process", fill);
}
