/*
 * Goal: what is handed over comes back as it was; anything else is refused, and its line is named.
 */
#include "daemon/master/handover.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "on_arena.h"

#define FIRST "tornadod upgrade " HANDOVER_VERSION "\n"
#define MASTER "master\t2\t-1\t12345\n"
#define LOG "log\t0\t1\t\n"
#define GENERATION "generation\t2\t0\t4\t30000\t30000\t0\t1\t-1\t\n"
#define GOOD FIRST MASTER LOG "listener\ta\tunix:/x\t0\t0\nsocket\t0\t7\n" GENERATION \
    "instance\t2\thello\thello.so\thello\t1.0\nquarantine\thello\t77\nworker\t2\t0\t4711\t1\t0\t8\t9\t-1\n"

static const char *
text_of(const struct handover *handover)
{
    td_buf text = {0};

    handover_write(handover, &text);
    const char *copy = td_str_dup(&arena, td_buf_str(&text)).ptr;
    td_buf_release(&text);
    return copy;
}

START_TEST(what_was_written_comes_back)
{
    struct handover handover;
    td_err err;

    ck_assert_msg(handover_read(&arena, TD_STR(GOOD "end\n"), &handover, &err) == 0, "%s", err.text);
    ck_assert_str_eq(text_of(&handover), GOOD "end\n");
    ck_assert_int_eq(HANDOVER_ONE(&handover, master)->workers_change, -1);
    ck_assert_str_eq(handover.version, HANDOVER_VERSION);
    ck_assert_int_eq(HANDOVER_ONE(&handover, quarantine)->digest, 77);
    ck_assert_int_eq(HANDOVER_ONE(&handover, worker)->pid, 4711);
    ck_assert_int_eq(HANDOVER_ONE(&handover, worker)->access_ring, -1);
    ck_assert_ptr_null(HANDOVER_ONE(&handover, pid_file));
}
END_TEST

START_TEST(what_the_binary_before_wrote_is_read)
{
    struct handover handover;
    td_err err;

    ck_assert_msg(handover_read(&arena, TD_STR("tornadod upgrade 4\n" MASTER LOG GENERATION "end\n"),
                                &handover, &err) == 0, "%s", err.text);
    ck_assert_str_eq(handover.version, "4");
    ck_assert_ptr_null(HANDOVER_ONE(&handover, quarantine));
    ck_assert_str_eq(text_of(&handover), FIRST MASTER LOG GENERATION "end\n");
}
END_TEST

START_TEST(any_text_comes_back)
{
    static const char path[] = "a\tb\nc\\d\\t\x1b\xff";
    struct handover handover, again;
    td_err err;

    ck_assert_int_eq(handover_read(&arena, TD_STR(GOOD "end\n"), &handover, &err), 0);
    *HANDOVER_ADD(&handover, pid_file) = (struct handover_pid_file){5, path};
    const char *text = text_of(&handover);
    ck_assert_msg(handover_read(&arena, td_str_of(text), &again, &err) == 0, "%s", err.text);
    ck_assert_str_eq(HANDOVER_ONE(&again, pid_file)->path, path);
}
END_TEST

static const struct {
    const char *text, *error;
} bad[] = {
    {"", "'' is handed over"},
    {"tornadod upgrade 6\nend\n", "'tornadod upgrade 6' is handed over, and this binary takes"},
    {"tornadod upgrade 45\nend\n", "'tornadod upgrade 45' is handed over, and this binary takes"},
    {"tornadod upgrade 2\nend\n", "'tornadod upgrade 2' is handed over, and this binary takes"},
    {"master\t2\t0\t0\nend\n", "is handed over, and this binary takes"},
    {GOOD, "line 10: '' is no record"},
    {GOOD "end", "has no end"},
    {GOOD "end\nmore\n", "goes on behind it"},
    {FIRST "nothing\t1\nend\n", "line 2: 'nothing' is no record"},
    {FIRST "\nend\n", "line 2: '' is no record"},
    {FIRST "master\t2\t0\nend\n", "line 2: master: started_ns: is missing"},
    {FIRST "master\t2\t0\t0\t0\nend\n", "line 2: master: more fields"},
    {FIRST "master\t0\t0\t0\nend\n", "generations: '0' is no number in 1.."},
    {FIRST "master\t1x\t0\t0\nend\n", "generations: '1x' is no number"},
    {FIRST "master\t\t0\t0\nend\n", "generations: '' is no number"},
    {FIRST "master\t99999999999999999999\t0\t0\nend\n", "is no number"},
    {FIRST "master\t1\t513\t0\nend\n", "workers_change: '513'"},
    {FIRST MASTER MASTER "end\n", "line 3: master: more of them than 1"},
    {FIRST "metrics\t2\nend\n", "metrics: fd: '2'"},
    {FIRST "log\t0\t1\t\\x\nend\n", "log: file: a wrong escape"},
    {FIRST "log\t0\t1\t\\\nend\n", "log: file: a wrong escape"},
    {FIRST LOG GENERATION "end\n", "no master"},
    {FIRST MASTER LOG "end\n", "no generation"},
    {FIRST MASTER LOG "generation\t2\t1\t4\t0\t0\t0\t1\t-1\t\nend\n", "0 generations serve"},
    {GOOD "generation\t3\t0\t4\t0\t0\t0\t1\t-1\t\nend\n", "2 generations serve"},
    {GOOD "generation\t2\t1\t4\t0\t0\t0\t1\t-1\t\nend\n", "two generations 2"},
    {GOOD "worker\t3\t0\t4712\t1\t0\t8\t9\t-1\nend\n", "a worker of no generation"},
    {GOOD "worker\t2\t0\t4711\t1\t0\t8\t9\t-1\nend\n", "two workers 4711"},
    {GOOD "worker\t2\t0\t1\t1\t0\t8\t9\t-1\nend\n", "pid: '1'"},
    {GOOD "worker\t2\t0\t4712\t1\t2048\t8\t9\t-1\nend\n", "place: '2048'"},
    {GOOD "instance\t1\ta\ta\ta\t\nend\n", "a handler of no generation"},
    {GOOD "quarantine\ta\nend\n", "digest: is missing"},
    {GOOD "quarantine\ta\t-1\nend\n", "digest: '-1'"},
    {GOOD "socket\t1\t7\nend\n", "a socket of no listener"},
    {GOOD "listener\tb\tunix:/y\t0\t0\nend\n", "a listener without a socket"},
};

START_TEST(anything_else_is_refused_and_told)
{
    struct handover handover = {NULL};
    td_err err;

    ck_assert_int_eq(handover_read(&arena, td_str_of(bad[_i].text), &handover, &err), TD_EBADMSG);
    ck_assert_msg(strstr(err.text, bad[_i].error) != NULL, "%s", err.text);
    ck_assert_ptr_null(handover.arena); /* untouched */
}
END_TEST

START_TEST(a_zero_byte_and_too_much_are_refused)
{
    static char much[HANDOVER_SIZE_MAX + 1];
    struct handover handover;

    memset(much, 'x', sizeof(much));
    ck_assert_int_eq(handover_read(&arena, td_str_make(much, sizeof(much)), &handover, NULL), TD_EBADMSG);
    ck_assert_int_eq(handover_read(&arena, TD_STR(GOOD "\0end\n"), &handover, NULL), TD_EBADMSG);
}
END_TEST

/* What is taken after a change is as good as what was written: it comes back, too. */
START_TEST(no_change_of_bytes_does_harm)
{
    static const char bytes[] = "\t\n\\0129-nte\xff";
    char text[] = GOOD "end\n";
    unsigned seed = 1;
    int taken = 0;

    for (int i = 0; i < 50000; i++) {
        char changed[sizeof(text)];
        struct handover handover, again;
        td_err err = {.code = 0};

        memcpy(changed, text, sizeof(text));
        for (int changes = 1 + i % 3; changes > 0; changes--)
            changed[(size_t)rand_r(&seed) % (sizeof(text) - 1)] =
                bytes[(size_t)rand_r(&seed) % (sizeof(bytes) - 1)];
        if (handover_read(&arena, td_str_of(changed), &handover, &err) < 0) {
            ck_assert(err.code == TD_EBADMSG && err.text[0] != '\0');
        } else {
            const char *written = text_of(&handover);
            ck_assert_int_eq(handover_read(&arena, td_str_of(written), &again, &err), 0);
            ck_assert_str_eq(text_of(&again), written);
            taken++;
        }
        td_arena_fini(&arena);
        td_arena_init(&arena);
    }
    ck_assert_int_gt(taken, 100);
}
END_TEST

START_TEST(descriptors_are_looked_at)
{
    struct handover handover;
    const int pipe_end = dup(STDIN_FILENO), listening = socket(AF_UNIX, SOCK_STREAM, 0);
    td_err err;

    ck_assert_int_eq(handover_read(&arena, TD_STR(FIRST MASTER LOG GENERATION "end\n"), &handover, &err),
                     0);
    ck_assert_int_eq(handover_check_fds(&handover, &err), 0);
    HANDOVER_ADD(&handover, client)->fd = pipe_end;
    ck_assert_int_eq(handover_check_fds(&handover, &err), 0);
    HANDOVER_ADD(&handover, client)->fd = pipe_end;
    ck_assert_int_eq(handover_check_fds(&handover, &err), TD_EBADMSG);
    ck_assert_ptr_nonnull(strstr(err.text, "is named twice"));
    HANDOVER_ONE(&handover, client)[1].fd = 1000000;
    ck_assert_int_eq(handover_check_fds(&handover, &err), TD_EBADMSG);
    ck_assert_str_eq(err.text, "descriptor 1000000 is not open");
    handover.of[HANDOVER_client].count = 1;
    HANDOVER_ADD(&handover, socket)->fd = listening;
    ck_assert_int_eq(handover_check_fds(&handover, &err), TD_EBADMSG);
    ck_assert_ptr_nonnull(strstr(err.text, "does not listen"));
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, arena_setup, arena_teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, what_was_written_comes_back);
    tcase_add_test(tcase, what_the_binary_before_wrote_is_read);
    tcase_add_test(tcase, any_text_comes_back);
    ADD_TABLE(tcase, anything_else_is_refused_and_told, bad);
    tcase_add_test(tcase, a_zero_byte_and_too_much_are_refused);
    tcase_add_test(tcase, no_change_of_bytes_does_harm);
    tcase_add_test(tcase, descriptors_are_looked_at);
}

int
main(void)
{
    return unit_run("daemon_handover", fill);
}
