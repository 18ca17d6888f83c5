/* Goal: messages and descriptors arrive whole, strangers' packets do not, and the end is noticed.
 */
#include "daemon/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "unit.h"

static int ours, theirs;

static void
setup(void)
{
    ck_assert_int_eq(control_pair(&ours, &theirs, NULL), 0);
}

static bool
is_same_file(int a, int b)
{
    struct stat x, y;

    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

START_TEST(a_message_arrives)
{
    struct control_message out = {.type = CONTROL_FAILED, .text = "why", .fds = {-1, -1}}, in;

    ck_assert_int_eq(control_receive(ours, &in), -EAGAIN);
    ck_assert_int_eq(control_send(theirs, &out), 0);
    ck_assert_int_eq(control_receive(ours, &in), 1);
    ck_assert_uint_eq(in.type, CONTROL_FAILED);
    ck_assert_str_eq(in.text, "why");
    ck_assert_int_eq(in.fds[0], -1);
    ck_assert_int_eq(in.fds[1], -1);
    close(theirs);
    ck_assert_int_eq(control_receive(ours, &in), 0);
}
END_TEST

static const struct {
    bool first, second;
} descriptors[] = {{true, true}, {true, false}, {false, true}};

START_TEST(descriptors_arrive_in_their_places)
{
    int a = open("/dev/null", O_RDWR), b = open("/dev/zero", O_RDWR);
    struct control_message out = {.type = CONTROL_LOGS, .fds = {-1, -1}}, in;

    if (descriptors[_i].first)
        out.fds[0] = a;
    if (descriptors[_i].second)
        out.fds[1] = b;
    ck_assert_int_eq(control_send(ours, &out), 0);
    ck_assert_int_eq(control_receive(theirs, &in), 1);
    ck_assert_int_eq(in.fds[0] >= 0, descriptors[_i].first);
    ck_assert_int_eq(in.fds[1] >= 0, descriptors[_i].second);
    ck_assert(!descriptors[_i].first || (is_same_file(in.fds[0], a) && in.fds[0] != a));
    ck_assert(!descriptors[_i].second || is_same_file(in.fds[1], b));
    ck_assert(!descriptors[_i].first || (fcntl(in.fds[0], F_GETFD) & FD_CLOEXEC));
}
END_TEST

START_TEST(packets_of_another_size_are_skipped)
{
    char junk[4096];
    struct control_message out = {.type = CONTROL_READY, .fds = {-1, -1}}, in;

    memset(junk, 0xff, sizeof(junk));
    for (size_t len = 1; len <= sizeof(junk); len = len * 3 + 1)
        ck_assert_int_eq(send(theirs, junk, len, 0), (ssize_t)len);
    ck_assert_int_eq(control_send(theirs, &out), 0);
    ck_assert_int_eq(control_receive(ours, &in), 1);
    ck_assert_uint_eq(in.type, CONTROL_READY);
    ck_assert_int_eq(control_receive(ours, &in), -EAGAIN);
}
END_TEST

START_TEST(a_reader_that_sleeps_does_not_hold_us_up)
{
    struct control_message out = {.type = CONTROL_DRAIN, .fds = {-1, -1}};
    int rc = 0;

    for (int i = 0; i < 100000 && rc == 0; i++)
        rc = control_send(ours, &out);
    ck_assert_int_eq(rc, -EAGAIN);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, a_message_arrives);
    ADD_TABLE(tcase, descriptors_arrive_in_their_places, descriptors);
    tcase_add_test(tcase, packets_of_another_size_are_skipped);
    tcase_add_test(tcase, a_reader_that_sleeps_does_not_hold_us_up);
}

int
main(void)
{
    return unit_run("daemon_control", fill);
}
