/*
 * Goal: a file leaves in slices, one in an iteration of the loop, in its order among what was
 * written around it; it is let go of when it has left, and when it cannot.
 */
#include <dlfcn.h>
#include <sys/sendfile.h>
#include "http1_fixture.h"

static struct {
    int sendfiles;
    size_t slice_max; /* most bytes that were asked for in one */
} kernel;

__attribute__((visibility("default"))) ssize_t
sendfile(int out, int in, off_t *offset, size_t size)
{
    ssize_t (*real)(int, int, off_t *, size_t);

    *(void **)&real = dlsym(RTLD_NEXT, "sendfile");
    kernel.sendfiles++;
    if (size > kernel.slice_max)
        kernel.slice_max = size;
    return real(out, in, offset, size);
}

static int
ask_for_file(const char *path)
{
    char head[64];
    int fd, len = snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\n" HOST "\r\n", path);

    start();
    fd = connect_client();
    ck_assert_int_eq(write(fd, head, (size_t)len), len);
    return fd;
}

/*
 * How many of them are those of the file from that offset on; an assertion for each takes seconds.
 */
static size_t
count_digits(const char *bytes, size_t len, size_t offset)
{
    size_t i = 0;

    while (i < len && bytes[i] == (char)('0' + (i + offset) % 10))
        i++;
    return i;
}

/* A head has ended and digits follow, beginning with that of the offset 3. */
static size_t
check_digits(const char *got, size_t len)
{
    const char *body = strstr(got, "\r\n\r\n") + 4;
    const size_t n = len - (size_t)(body - got);

    ck_assert_uint_eq(count_digits(body, n, 3), n);
    return n;
}

START_TEST(file_leaves_in_slices_and_others_are_served_in_between)
{
    static char got[FILE_SIZE + 1024];
    char other[256];
    int fd = ask_for_file("/file"), small = connect_client(), rounds = 0;

    memset(got, 0, sizeof(got));
    for (size_t len = 0; seen.done < 1 || len == 0; rounds++) {
        const int before = kernel.sendfiles;
        ssize_t n;

        ck_assert_int_eq(write(small, "GET / HTTP/1.1\r\n" HOST "\r\n", 27), 27);
        ev_run(td_ioloop_ev(loop), EVRUN_NOWAIT);
        ck_assert_int_le(kernel.sendfiles, before + 1);
        ck_assert_int_gt(read(small, other, sizeof(other)), 0);
        seen.done -= 1; /* that of the small one */
        n = read(fd, got + len, sizeof(got) - len);
        len += n > 0 ? (size_t)n : 0;
        ck_assert_int_lt(rounds, 1000);
    }
    receive_all(fd, got, sizeof(got));
    ck_assert_uint_eq(kernel.slice_max, 256 * 1024);
    ck_assert_int_ge(rounds, FILE_SIZE / (256 * 1024));
    ck_assert_uint_eq(check_digits(got, strlen(got)), FILE_SIZE - 3);
    ck_assert_uint_eq(file->references, 1);
    close(fd);
    close(small);
    turn();
}
END_TEST

START_TEST(pieces_of_a_file_leave_in_order_one_slice_a_turn)
{
    static char got[FILE_SIZE + 1024];
    int fd = ask_for_file("/pieces"), before = 0;
    const char *body, *second;

    memset(got, 0, sizeof(got));
    for (int i = 0; seen.done < 1 && i < 1000; i++, before = kernel.sendfiles) {
        ev_run(td_ioloop_ev(loop), EVRUN_NOWAIT);
        ck_assert_int_le(kernel.sendfiles, before + 1);
        receive_all(fd, got, sizeof(got));
    }
    receive_all(fd, got, sizeof(got));
    body = strstr(got, "\r\n\r\n") + 4;
    second = body + 1 + PIECE_SIZE + 1;
    ck_assert_uint_eq(strlen(body), 2 * PIECE_SIZE + 4);
    ck_assert_int_eq(body[0], '<');
    ck_assert_int_eq(second[-1], '|');
    ck_assert_str_eq(second + PIECE_SIZE, ">.");
    ck_assert_uint_eq(count_digits(body + 1, PIECE_SIZE, 7), PIECE_SIZE);
    ck_assert_uint_eq(count_digits(second, PIECE_SIZE, 3), PIECE_SIZE);
    ck_assert_uint_eq(seen.body_sent, 2 * PIECE_SIZE + 4);
    ck_assert_uint_eq(file->references, 1);
    close(fd);
    turn();
}
END_TEST

START_TEST(client_that_leaves_lets_go_of_all_pieces)
{
    char got[1000];
    int fd = ask_for_file("/pieces");

    turn();
    ck_assert_int_eq(read(fd, got, sizeof(got)), sizeof(got));
    ck_assert_uint_eq(file->references, 3);
    close(fd);
    turn();
    ck_assert_int_eq(seen.done, 1);
    ck_assert_uint_lt(seen.body_sent, PIECE_SIZE);
    ck_assert_uint_eq(file->references, 1);
}
END_TEST

/* However many downloads there are, an iteration of the loop sends one slice. */
START_TEST(files_leave_in_a_line)
{
    static char got[3][FILE_SIZE + 1024];
    size_t len[3] = {0};
    int fds[3] = {ask_for_file("/file"), connect_client(), connect_client()};

    memset(got, 0, sizeof(got));
    for (int i = 1; i < 3; i++)
        ck_assert_int_eq(write(fds[i], "GET /file HTTP/1.1\r\n" HOST "\r\n", 31), 31);
    for (int rounds = 0; seen.done < 3; rounds++) {
        const int before = kernel.sendfiles;

        ck_assert_int_lt(rounds, 1000);
        ev_run(td_ioloop_ev(loop), EVRUN_NOWAIT);
        ck_assert_int_le(kernel.sendfiles, before + 1);
        for (int i = 0; i < 3; i++) {
            const ssize_t n = read(fds[i], got[i] + len[i], sizeof(got[i]) - len[i]);

            len[i] += n > 0 ? (size_t)n : 0;
        }
    }
    for (int i = 0; i < 3; i++) {
        receive_all(fds[i], got[i], sizeof(got[i]));
        ck_assert_uint_eq(check_digits(got[i], strlen(got[i])), FILE_SIZE - 3);
        close(fds[i]);
    }
    ck_assert_uint_eq(file->references, 1);
    turn();
}
END_TEST

START_TEST(file_that_shrinks_closes_the_connection)
{
    static char got[FILE_SIZE + 1024];
    int fd = ask_for_file("/file");
    bool ended = false;

    memset(got, 0, sizeof(got));
    turn();
    ck_assert_int_eq(ftruncate(file->fd, 1000000), 0);
    for (int i = 0; i < 100 && !ended; i++) {
        turn();
        ended = receive_all(fd, got, sizeof(got));
    }
    ck_assert(ended);
    ck_assert_uint_eq(check_digits(got, strlen(got)), 1000000 - 3);
    ck_assert_int_eq(seen.done, 1);
    ck_assert_uint_eq(seen.body_sent, 1000000 - 3);
    ck_assert_uint_eq(file->references, 1);
    close(fd);
}
END_TEST

START_TEST(client_that_leaves_lets_go_of_the_file)
{
    char got[1000];
    int fd = ask_for_file("/file");

    turn();
    ck_assert_int_eq(read(fd, got, sizeof(got)), sizeof(got));
    ck_assert_uint_eq(file->references, 2);
    close(fd);
    turn();
    ck_assert_int_eq(seen.done, 1);
    ck_assert_int_eq(seen.closed, 0); /* it was answered */
    ck_assert_uint_lt(seen.body_sent, FILE_SIZE - 3);
    ck_assert_uint_eq(file->references, 1);
}
END_TEST

START_TEST(slow_reader_of_a_file_is_closed)
{
    int fd;

    settings.limits.send_min_rate = 1 << 30;
    fd = ask_for_file("/file");
    turn();
    ck_assert_uint_eq(file->references, 2);
    context.sending.timer.deadline_ns = 0;
    TD_LIST_FOREACH(link, &context.sending.head)
        TD_CONTAINER_OF(link, td_deadline, link)->at_ns = 0;
    context.sending.timer.fn(context.sending.timer.arg);
    ck_assert_uint_eq(file->references, 1);
    close(fd);
}
END_TEST

START_TEST(file_may_be_answered_with_later)
{
    static char got[FILE_SIZE + 1024];
    int fd = ask_for_file("/later");

    memset(got, 0, sizeof(got));
    turn();
    ck_assert_int_eq(answer_file(seen.later, FILE_SIZE - 3, 3, FILE_SIZE - 3), 0);
    ck_assert_int_eq(seen.later->writer->body(seen.later, TD_STR("x"), true), TD_EINVAL);
    while (seen.done < 1) {
        turn();
        receive_all(fd, got, sizeof(got));
    }
    receive_all(fd, got, sizeof(got));
    ck_assert_uint_eq(check_digits(got, strlen(got)), FILE_SIZE - 3);
    close(fd);
    turn();
}
END_TEST

START_TEST(file_needs_a_length)
{
    td_headers headers = {NULL, 0, 0};
    td_str none = {NULL, 0};
    int fd = ask_for_file("/later");

    turn();
    ck_assert_int_eq(seen.later->writer->file(seen.later, file, 0, 1), TD_EINVAL);
    ck_assert_int_eq(seen.later->writer->head(seen.later, 200, none, &headers, -1), 0);
    ck_assert_int_eq(seen.later->writer->file(seen.later, file, 0, 1), TD_EINVAL);
    ck_assert_uint_eq(file->references, 1);
    close(fd);
    turn();
}
END_TEST

static void
fill(TCase *tcase)
{
    add_fixtures(tcase);
    tcase_add_test(tcase, file_leaves_in_slices_and_others_are_served_in_between);
    tcase_add_test(tcase, files_leave_in_a_line);
    tcase_add_test(tcase, pieces_of_a_file_leave_in_order_one_slice_a_turn);
    tcase_add_test(tcase, client_that_leaves_lets_go_of_all_pieces);
    tcase_add_test(tcase, file_that_shrinks_closes_the_connection);
    tcase_add_test(tcase, client_that_leaves_lets_go_of_the_file);
    tcase_add_test(tcase, slow_reader_of_a_file_is_closed);
    tcase_add_test(tcase, file_may_be_answered_with_later);
    tcase_add_test(tcase, file_needs_a_length);
}

int
main(void)
{
    return unit_run("http1file", fill);
}
