/*
 * Goal: what is answered leaves whole and in its order, however little of it the kernel takes at a
 * time; what was prepared is sent as it lies.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include "http1_fixture.h"

/* ---- the kernel, more or less willing */

static struct {
    int sends;        /* calls of sendto and sendmsg, counted while every other one is refused */
    bool refuses_odd; /* that finds no room */
} kernel;

static bool
refuses(void)
{
    if (!kernel.refuses_odd || ++kernel.sends % 2 == 0)
        return false;
    errno = EAGAIN;
    return true;
}

/* It is by this that the transport sends. */
__attribute__((visibility("default"))) long
syscall(long number, ...)
{
    long (*real)(long, ...), args[6];
    va_list list;

    va_start(list, number);
    for (size_t i = 0; i < COUNT_OF(args); i++)
        args[i] = va_arg(list, long);
    va_end(list);
    if ((number == SYS_sendto || number == SYS_sendmsg) && refuses())
        return -1;
    *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    return real(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}

/* ---- prepared answers */

START_TEST(prepared_answer_says_what_time_it_is)
{
    const char *head = "GET /prepared HTTP/1.1\r\n" HOST "\r\n";
    char got[512];
    int fd;

    start();
    fd = connect_client();
    for (int i = 0; i < 3; i++) {
        ck_assert_int_gt(write(fd, head, strlen(head)), 0);
        turn();
        ck_assert_int_gt(read(fd, got, sizeof(got)), 0);

        const char *date = strstr(got, "Date: ") + 6;
        ck_assert_int_eq(memcmp(date, td_http_date_now().ptr, TD_HTTP_DATE_LEN), 0);
        memset(prepared_ok.prepared.date, 'x', TD_HTTP_DATE_LEN); /* as if it were that of long ago */
        prepared_ok.prepared.dated--;
    }
    ck_assert_int_eq(prepared_ok.sent, 3);
    close(fd);
    turn();
}
END_TEST

/* What the kernel does not take is kept, once, and later requests wait until it has left. */
START_TEST(prepared_answers_that_are_not_read_take_no_memory)
{
    enum { COUNT = 20 };
    const char *head = "GET /prepared-large HTTP/1.1\r\n" HOST "\r\n";
    static char got[COUNT * 110000];
    int fd;

    send_buffer = 4096;
    start();
    fd = connect_client();
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_gt(write(fd, head, strlen(head)), 0);
    turn();
    ck_assert_int_le(seen.begun, 2);
    memset(got, 0, sizeof(got));
    receive_all(fd, got, sizeof(got));
    ck_assert_int_eq(seen.done, COUNT);
    ck_assert_int_gt(prepared_large.sent, 0);

    static const char answered[] = OK("Content-Length: 100000\r\n\r\n");
    const char *at = got;
    for (int i = 0; i < COUNT; i++, at += 100000) {
        ck_assert_msg(strncmp(at, answered, sizeof(answered) - 1) == 0, "answer %d: %.80s", i, at);
        at += sizeof(answered) - 1;
        ck_assert_uint_eq(strspn(at, "p"), 100000);
    }
    ck_assert_uint_eq(strlen(at), 0);
    close(fd);
    turn();
}
END_TEST

START_TEST(head_that_has_no_room_is_not_prepared)
{
    char room[TD_PREPARED_ROOM + 1], long_value[TD_PREPARED_ROOM];
    td_prepared prepared = {.body = {room + TD_PREPARED_ROOM, 1}};
    td_header fields[] = {{TD_STR("Server"), {long_value, sizeof(long_value)}}};
    const td_headers headers = {fields, 1, 1};
    const char *head = "GET /later HTTP/1.1\r\n" HOST "\r\n";
    int fd;

    start();
    fd = connect_with(head);
    ck_assert(!seen.later->writer->prepare(seen.later, &prepared, &headers));
    ck_assert_uint_eq(prepared.head_len, 0);
    fields[0].value.len = 100;
    memset(long_value, 'v', 100);
    ck_assert(seen.later->writer->prepare(seen.later, &prepared, &headers));
    ck_assert(!seen.later->writer->send_prepared(seen.later, &prepared)); /* out of turn */
    close(fd);
    turn();
}
END_TEST

/* ---- clients that read slowly */

START_TEST(slow_reader_gets_all_of_a_big_body)
{
    const char *sent = "GET /big HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n";
    static char got[sizeof(big) + 1024];
    int fd, small = 4096;

    start();
    fd = connect_client();
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    got[0] = '\0';
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    turn();
    ck_assert_int_eq(seen.done, 0); /* the second waits for the first to be sent */
    while (seen.done < 2) {
        turn();
        receive_all(fd, got, sizeof(got));
    }
    receive_all(fd, got, sizeof(got));
    const char *body = strstr(got, "\r\n\r\n") + 4;
    ck_assert_int_eq(memcmp(body, big, sizeof(big)), 0);
    ck_assert_str_eq(body + sizeof(big), OK2);
    close(fd);
    turn();
}
END_TEST

/* The kernel may find room for the rest between two attempts of the same turn. */
START_TEST(rest_that_leaves_at_the_second_attempt_ends_the_answer)
{
    const char *sent = "GET /big HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n";
    static char got[sizeof(big) + 1024];
    int fd;

    start();
    fd = connect_client();
    got[0] = '\0';
    kernel.refuses_odd = true;
    ck_assert_int_gt(write(fd, sent, strlen(sent)), 0);
    for (int i = 0; i < 100 && seen.done < 2; i++) {
        turn();
        receive_all(fd, got, sizeof(got));
    }
    ck_assert_int_eq(seen.done, 2);
    ck_assert_int_gt(kernel.sends, 2); /* it was refused something */
    close(fd);
    turn();
}
END_TEST

START_TEST(whoever_waits_for_room_hears_of_it_however_it_came)
{
    const char *sent = "GET /later HTTP/1.1\r\n" HOST "\r\n";
    static char got[sizeof(big) + 512];
    td_headers headers = {NULL, 0, 0};
    td_str none = {NULL, 0};
    int fd;

    settings.limits.write_high_water = 4096;
    start();
    fd = connect_with(sent);
    ck_assert_int_eq(seen.later->writer->head(seen.later, 200, none, &headers, -1), 0);
    ck_assert_int_eq(seen.later->writer->body(seen.later, td_str_make(big, sizeof(big)), false), 0);
    ck_assert_int_eq(seen.later->writer->flush(seen.later), 0);
    ck_assert_uint_gt(td_request_pending(seen.later), 4096);
    while (read(fd, got, sizeof(got)) > 0)
        continue; /* now all of it fits, and nobody has said that it may be written */
    turn();
    ck_assert_uint_eq(td_request_pending(seen.later), 0);
    ck_assert_int_eq(seen.writable, 1);
    close(fd);
    turn();
}
END_TEST

static void
fill(TCase *tcase)
{
    add_fixtures(tcase);
    tcase_add_test(tcase, prepared_answer_says_what_time_it_is);
    tcase_add_test(tcase, prepared_answers_that_are_not_read_take_no_memory);
    tcase_add_test(tcase, head_that_has_no_room_is_not_prepared);
    tcase_add_test(tcase, slow_reader_gets_all_of_a_big_body);
    tcase_add_test(tcase, rest_that_leaves_at_the_second_attempt_ends_the_answer);
    tcase_add_test(tcase, whoever_waits_for_room_hears_of_it_however_it_came);
}

int
main(void)
{
    return unit_run("http1writer", fill);
}
