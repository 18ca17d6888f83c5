/* Goal: a stream gives the bytes that were asked for, however they come, and ends well. */
#include "io/iostream.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include "waiting_actors.h"

static td_iostream *stream;
static int peer;
static char full[4096 + 1]; /* as much as its buffer holds */

static void
open_pair(void)
{
    int pair[2];

    open_loop();
    memset(full, 'f', sizeof(full) - 1);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    peer = pair[1];
    stream = td_iostream_create(
        pair[0], TD_IOSTREAM(.max_buffer = sizeof(full) - 1, .max_write_buffer = 65536));
    ck_assert_ptr_nonnull(stream);
}

static void
close_pair(void)
{
    td_iostream_destroy(&stream);
    close(peer);
    close_loop();
}

static void
peer_sends(const char *text)
{
    ck_assert_int_eq(write(peer, text, strlen(text)), (ssize_t)strlen(text));
}

/* ---- reads, whatever the pieces in which their bytes come */

enum kind { BYTES, PARTIAL, MARKER, REGEX, UNTIL_CLOSE, INTO };

static const struct read_case {
    enum kind kind;
    size_t count;
    const char *pattern, *sent, *expected; /* expected NULL: rc */
    int rc;
} reads[] = {
    {BYTES, 5, NULL, "hello world", "hello", 0},
    {BYTES, 11, NULL, "hello world", "hello world", 0},
    {BYTES, 12, NULL, "hello world", NULL, TD_ECLOSED},
    {BYTES, 0, NULL, "hello", "", 0},
    {BYTES, 0, NULL, "", "", 0},
    {BYTES, sizeof(full) - 1, NULL, full, full, 0},
    {PARTIAL, 1, NULL, "hello", "h", 0},
    {PARTIAL, 0, NULL, "hello", "", 0},
    {PARTIAL, 0, NULL, "", "", 0},
    {MARKER, 0, "\r\n", "one\r\ntwo\r\n", "one\r\n", 0},
    {MARKER, 0, "aab", "aaaab", "aaaab", 0},
    {MARKER, 5, "\r\n", "one\r\n", "one\r\n", 0},
    {MARKER, 4, "\r\n", "one\r\n", NULL, TD_ETOOBIG},
    {MARKER, 4, "\r\n", "one two three", NULL, TD_ETOOBIG},
    {MARKER, 0, "\n", "no end", NULL, TD_ECLOSED},
    {REGEX, 0, "\r?\n", "one\ntwo", "one\n", 0},
    {REGEX, 0, "[0-9]+;", "ab12;cd", "ab12;", 0},
    {REGEX, 0, "(?<=b)c", "abcd", "abc", 0},
    {REGEX, 4, "[0-9]+;", "ab12;", NULL, TD_ETOOBIG},
    {REGEX, 0, "never", "something else", NULL, TD_ECLOSED},
    {UNTIL_CLOSE, 0, NULL, "all of it", "all of it", 0},
    {UNTIL_CLOSE, 0, NULL, "", "", 0},
    {UNTIL_CLOSE, 9, NULL, "all of it", "all of it", 0},
    {UNTIL_CLOSE, 3, NULL, "all of it", NULL, TD_ETOOBIG},
    {UNTIL_CLOSE, 0, NULL, full, full, 0},
    {INTO, 0, NULL, "hello world", "", 0},
    {INTO, 0, NULL, "", "", 0},
    {INTO, 5, NULL, "hello world", "hello", 0},
    {INTO, 12, NULL, "hello world", NULL, TD_ECLOSED},
};

static int
read_as(const struct read_case *c, td_str *out)
{
    static char memory[64];
    ssize_t n;

    switch (c->kind) {
    case BYTES:
        return td_iostream_read_bytes(stream, c->count, out);
    case PARTIAL:
        return td_iostream_read_partial(stream, c->count, out);
    case MARKER:
        return td_iostream_read_until(stream, td_str_of(c->pattern), c->count, out);
    case REGEX:
        return td_iostream_read_until_regex(stream, c->pattern, c->count, out);
    case UNTIL_CLOSE:
        return td_iostream_read_until_close(stream, c->count, out);
    default:
        n = td_iostream_read_into(stream, memory, c->count, false);
        *out = td_str_make(memory, n > 0 ? (size_t)n : 0);
        return n < 0 ? (int)n : 0;
    }
}

static void
read_and_check(void *arg)
{
    const struct read_case *c = arg;
    td_str out = {NULL, 0};

    ck_assert_int_eq(read_as(c, &out), c->rc);
    if (c->expected == NULL)
        return;
    ck_assert_uint_eq(out.len, strlen(c->expected));
    ck_assert(memcmp(out.ptr, c->expected, out.len) == 0);
    if (c->kind != INTO)
        ck_assert_int_eq(out.ptr[out.len], '\0');
    note('.');
}

START_TEST(a_read_gets_what_it_wants_of_bytes_that_are_there)
{
    const struct read_case *c = &reads[_i];

    peer_sends(c->sent);
    shutdown(peer, SHUT_WR);
    ck_assert_int_eq(on_coroutine(read_and_check, (void *)c), TD_COROUTINE_RETURNED);
    ck_assert_str_eq(notes, c->expected != NULL ? "." : "");
}
END_TEST

static void
send_one_by_one(void *arg)
{
    const struct read_case *c = arg;

    for (const char *at = c->sent; *at != '\0'; at++) {
        if (write(peer, at, 1) != 1)
            return; /* it was too much, and the stream has closed */
        td_sleep(0);
        td_sleep(0);
    }
    shutdown(peer, SHUT_WR);
}

START_TEST(a_read_gets_the_same_of_bytes_that_come_one_by_one)
{
    const struct read_case *c = &reads[_i];

    start_actor(send_one_by_one, (void *)c);
    ck_assert_int_eq(on_coroutine(read_and_check, (void *)c), TD_COROUTINE_RETURNED);
    ck_assert_str_eq(notes, c->expected != NULL ? "." : "");
}
END_TEST

static void
read_several(void *arg)
{
    td_str line, rest;

    (void)arg;
    ck_assert_int_eq(td_iostream_read_until(stream, TD_STR("\n"), 0, &line), 0);
    ck_assert(td_str_equal(line, TD_STR("one\n")));
    peer_sends("four"); /* what comes meanwhile does not move the line */
    td_sleep(1);
    ck_assert(td_str_equal(line, TD_STR("one\n")));
    ck_assert_int_eq(td_iostream_read_until(stream, TD_STR("\n"), 0, &line), 0);
    ck_assert(td_str_equal(line, TD_STR("two\n")));
    ck_assert_int_eq(td_iostream_read_partial(stream, 100, &rest), 0);
    ck_assert(td_str_equal(rest, TD_STR("three")));
    ck_assert_int_eq(td_iostream_read_bytes(stream, 4, &rest), 0);
    ck_assert(td_str_equal(rest, TD_STR("four")));
}

START_TEST(reads_follow_each_other)
{
    peer_sends("one\ntwo\nthree");
    ck_assert_int_eq(on_coroutine(read_several, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static bool has_done_all;

static void
read_all_that_is_there(void *arg)
{
    td_str out;

    (void)arg;
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(td_iostream_read_bytes(stream, sizeof(full) - 1, &out), 0);
    has_done_all = true;
}

static void
count_turns(void *arg)
{
    int *turns = arg;

    for (; !has_done_all; ++*turns)
        td_sleep(0);
    td_ioloop_stop(loop);
}

START_TEST(who_reads_as_fast_as_the_peer_sends_leaves_others_their_turns)
{
    int turns = 0;

    has_done_all = false;
    for (int i = 0; i < 20; i++)
        peer_sends(full);
    start_actor(count_turns, &turns);
    start_actor(read_all_that_is_there, NULL);
    td_ioloop_start(loop);
    ck_assert_int_ge(turns, 4);
}
END_TEST

static void
write_little_by_little(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(td_iostream_write(stream, TD_STR("x")), 0);
        ck_assert_int_eq(td_iostream_flush(stream), 0);
    }
    has_done_all = true;
}

START_TEST(who_flushes_to_a_peer_that_takes_all_leaves_others_their_turns)
{
    int turns = 0;

    has_done_all = false;
    start_actor(count_turns, &turns);
    start_actor(write_little_by_little, NULL);
    td_ioloop_start(loop);
    ck_assert_int_ge(turns, 5);
}
END_TEST

static void
read_past_the_end(void *arg)
{
    td_str out;

    (void)arg;
    ck_assert_int_eq(td_iostream_read_bytes(stream, 3, &out), 0);
    ck_assert_int_eq(td_iostream_read_bytes(stream, 3, &out), 0); /* it was there before the end */
    ck_assert(td_str_equal(out, TD_STR("two")));
    ck_assert_int_eq(td_iostream_read_bytes(stream, 1, &out), TD_ECLOSED);
    ck_assert(td_iostream_is_closed(stream));
    ck_assert_int_eq(td_iostream_error(stream), 0);
    ck_assert_int_eq(td_iostream_write(stream, TD_STR("x")), TD_ECLOSED);
    ck_assert_int_eq(td_iostream_flush(stream), TD_ECLOSED);
}

START_TEST(what_came_before_the_end_can_be_read_after_it)
{
    peer_sends("onetwo");
    shutdown(peer, SHUT_WR);
    ck_assert_int_eq(on_coroutine(read_past_the_end, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static void
read_again(void *arg)
{
    td_str out;

    (void)arg;
    ck_assert_int_eq(td_iostream_read_partial(stream, 64, &out), 0);
    ck_assert(td_str_equal(out, TD_STR("101\r\n\r\none")));
    peer_sends(" two\n");
    td_iostream_push_back(stream, td_str_make(out.ptr + 7, out.len - 7));
    ck_assert_int_eq(td_iostream_read_bytes(stream, 2, &out), 0);
    ck_assert(td_str_equal(out, TD_STR("on")));
    td_iostream_push_back(stream, TD_STR("On"));
    ck_assert_int_eq(td_iostream_read_until(stream, TD_STR("\n"), 64, &out), 0);
    ck_assert(td_str_equal(out, TD_STR("One two\n")));
}

START_TEST(bytes_that_are_given_back_are_read_first)
{
    peer_sends("101\r\n\r\none");
    ck_assert_int_eq(on_coroutine(read_again, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

/* ---- what ends a wait */

static void
read_line(void *arg)
{
    td_str line;

    (void)arg;
    note_outcome('r', td_iostream_read_until(stream, TD_STR("\n"), 0, &line));
}

START_TEST(a_read_that_is_cancelled_or_late_leaves_its_bytes_to_the_next)
{
    td_coroutine *first = start_actor(read_line, NULL);

    peer_sends("li");
    turn();
    if (_i == 0) {
        td_coroutine_cancel(first);
    } else {
        td_iostream_set_timeout(stream, 0);
        td_coroutine_cancel(first);
        td_iostream_set_timeout(stream, 1);
        start_actor(read_line, NULL);
        td_call_later(loop, 4, stop_loop, NULL);
        td_ioloop_start(loop);
        ck_assert_str_eq(notes, "R");
    }
    start_actor(read_line, NULL);
    peer_sends("ne\n");
    turn();
    ck_assert_str_eq(notes, _i == 0 ? "r" : "Rr");
}
END_TEST

static char memory[8];

static void
read_into_memory(void *arg)
{
    (void)arg;
    td_iostream_read_into(stream, memory, sizeof(memory), false);
}

START_TEST(a_cancelled_read_writes_no_more_into_memory)
{
    td_coroutine *co = start_actor(read_into_memory, NULL);

    peer_sends("12");
    turn();
    ck_assert_int_eq(memcmp(memory, "12", 3), 0);
    td_coroutine_cancel(co);
    peer_sends("345");
    turn();
    ck_assert_int_eq(memcmp(memory, "12", 3), 0);
}
END_TEST

START_TEST(destroying_wakes_who_reads)
{
    start_actor(read_line, NULL);
    td_iostream_destroy(&stream);
    turn();
    ck_assert_str_eq(notes, "#");
}
END_TEST

static void
second_read(void *arg)
{
    td_str out;
    char byte;

    (void)arg;
    ck_assert_int_eq(td_iostream_read_bytes(stream, 1, &out), TD_EINVAL);
    ck_assert_int_eq((int)td_iostream_read_into(stream, &byte, 1, true), TD_EINVAL);
    ck_assert_ptr_null(td_iostream_read_future(stream, TD_READ_UNTIL(TD_UNTIL_CLOSE)));
    ck_assert_int_eq(logged("another read is pending"), 3);
}

START_TEST(a_second_read_is_misuse_and_the_first_goes_on)
{
    start_actor(read_line, NULL);
    on_coroutine(second_read, NULL);
    peer_sends("\n");
    turn();
    ck_assert_str_eq(notes, "r");
}
END_TEST

static void
note_close(void *arg)
{
    (void)arg;
    ck_assert_ptr_nonnull(td_coroutine_current());
    note('c');
}

START_TEST(the_close_callback_comes_after_the_read_and_also_when_nobody_reads)
{
    td_iostream_set_close_callback(stream, note_close, NULL);
    if (_i == 0)
        start_actor(read_line, NULL);
    peer_sends("some");
    turn();
    ck_assert_str_eq(notes, "");
    close(peer);
    peer = -1;
    turn();
    ck_assert_str_eq(notes, _i == 0 ? "#c" : "c");
    ck_assert(td_iostream_is_closed(stream));
}
END_TEST

static void
note_other(void *arg)
{
    (void)arg;
    note('o');
}

START_TEST(the_close_callback_that_was_set_last_is_called_even_if_it_comes_late)
{
    td_iostream_set_close_callback(stream, note_close, NULL);
    td_iostream_set_close_callback(stream, NULL, NULL);
    td_iostream_close(stream);
    turn();
    ck_assert_str_eq(notes, "");
    td_iostream_set_close_callback(stream, note_close, NULL);
    ck_assert_str_eq(notes, "");
    turn();
    ck_assert_str_eq(notes, "c");
    td_iostream_set_close_callback(stream, note_close, NULL);
    td_iostream_set_close_callback(stream, note_other, NULL);
    turn();
    ck_assert_str_eq(notes, "co");
    td_iostream_set_close_callback(stream, note_close, NULL);
    td_iostream_set_close_callback(stream, NULL, NULL);
    turn();
    ck_assert_str_eq(notes, "co");
    td_iostream_set_close_callback(stream, note_close, NULL); /* goes with it */
}
END_TEST

START_TEST(a_peer_that_floods_an_idle_stream_is_stopped_by_its_buffer)
{
    static const char flood[1 << 16];
    ssize_t sent = 0, n;

    td_iostream_set_close_callback(stream, note_close, NULL);
    fcntl(peer, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 100; i++) {
        turn();
        n = write(peer, flood, sizeof(flood));
        sent += n > 0 ? n : 0;
    }
    ck_assert_int_lt(sent, 1 << 20);
    ck_assert(!td_iostream_is_closed(stream));
    ck_assert_str_eq(notes, "");
}
END_TEST

/* ---- writing */

static void
write_much(void *arg)
{
    static char bytes[32768];

    (void)arg;
    for (int i = 0; i < 64; i++) {
        memset(bytes, 'a' + i % 26, sizeof(bytes));
        ck_assert_int_eq(td_iostream_write(stream, td_str_make(bytes, sizeof(bytes))), 0);
        ck_assert_int_eq(td_iostream_flush(stream), 0);
    }
    td_iostream_close(stream);
    note('w');
}

static void
drain_peer(void *arg)
{
    static char bytes[10000];
    size_t *total = arg, wrong = 0;
    ssize_t n;

    fcntl(peer, F_SETFL, O_NONBLOCK);
    for (;;) {
        n = read(peer, bytes, sizeof(bytes));
        if (n == 0)
            break;
        for (ssize_t i = 0; i < n; i++, (*total)++)
            wrong += bytes[i] != 'a' + (int)(*total / 32768) % 26;
        td_sleep(0);
    }
    ck_assert_uint_eq(wrong, 0);
    td_ioloop_stop(loop);
}

START_TEST(all_that_is_written_arrives_in_order_through_a_bounded_buffer)
{
    size_t total = 0;

    start_actor(write_much, NULL);
    start_actor(drain_peer, &total);
    td_ioloop_start(loop);
    ck_assert_uint_eq(total, 64 * 32768);
    ck_assert_str_eq(notes, "w");
}
END_TEST

START_TEST(beyond_the_write_buffer_nothing_is_kept)
{
    static char bytes[65536];
    int i = 0, rc;

    while ((rc = td_iostream_write(stream, td_str_make(bytes, sizeof(bytes)))) == 0 && i < 100)
        i++;
    ck_assert_int_eq(rc, TD_ETOOBIG);
    ck_assert(!td_iostream_is_closed(stream));
    ck_assert_int_eq(td_iostream_write(stream, td_str_make(bytes, 65537)), TD_ETOOBIG);
}
END_TEST

static void
flush_and_note(void *arg)
{
    (void)arg;
    note_outcome('f', td_iostream_flush(stream));
}

START_TEST(who_flushes_is_woken_when_the_peer_goes)
{
    static char bytes[65536];

    for (int i = 0; td_iostream_write(stream, td_str_make(bytes, sizeof(bytes))) == 0 && i < 100;
         i++)
        ;
    start_actor(flush_and_note, NULL);
    start_actor(flush_and_note, NULL);
    ck_assert_str_eq(notes, "");
    close(peer);
    peer = -1;
    turn();
    ck_assert_str_eq(notes, "??"); /* -EPIPE or -ECONNRESET */
    ck_assert_int_lt(td_iostream_error(stream), 0);
}
END_TEST

/* ---- futures */

static void
await_future(void *arg)
{
    td_future *future = td_iostream_read_future(stream, TD_READ_UNTIL(TD_UNTIL_BYTES, .count = 3));
    void *result;

    (void)arg;
    ck_assert(!td_future_is_done(future));
    peer_sends("abcdef");
    ck_assert_int_eq(td_await(future, &result), 0);
    ck_assert(td_str_equal(*(const td_str *)result, TD_STR("abc")));
    future = td_iostream_read_future(stream, TD_READ_UNTIL(TD_UNTIL_PARTIAL, .count = 9));
    ck_assert(td_future_is_done(future));
    ck_assert_int_eq(td_await(future, &result), 0);
    ck_assert(td_str_equal(*(const td_str *)result, TD_STR("def")));

    future = td_iostream_read_future(stream, TD_READ_UNTIL(TD_UNTIL_REGEX, .regex = "x"));
    ck_assert(td_future_cancel(future));
    td_future_unref(future);
    future = td_iostream_read_future(stream, TD_READ_UNTIL(TD_UNTIL_MARKER, .marker = TD_STR("x")));
    td_iostream_close(stream);
    ck_assert_int_eq(td_await(future, NULL), TD_ECLOSED);
}

START_TEST(the_same_reads_are_futures)
{
    ck_assert_int_eq(on_coroutine(await_future, NULL), TD_COROUTINE_RETURNED);
    ck_assert_int_eq(logged("[E "), 0);
}
END_TEST

/* ---- sockets that connect, and pipes */

static int
listening(struct sockaddr_in *address)
{
    socklen_t len = sizeof(*address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(bind(fd, (struct sockaddr *)address, len), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)address, &len), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    return fd;
}

static void
connect_and_talk(void *arg)
{
    struct sockaddr_in address;
    int listener = listening(&address), accepted;
    td_iostream *client = td_iostream_create(socket(AF_INET, SOCK_STREAM, 0), NULL);
    const struct linger at_once = {1, 0};
    td_str out;

    (void)arg;
    ck_assert_int_eq(td_iostream_connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    accepted = accept(listener, NULL, NULL);
    ck_assert_int_eq(td_iostream_write(client, TD_STR("hello")), 0);
    ck_assert_int_eq(td_iostream_flush(client), 0);
    ck_assert_int_eq(read(accepted, memory, 8), 5);
    setsockopt(accepted, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(accepted); /* with a reset */
    ck_assert_int_eq(td_iostream_read_bytes(client, 1, &out), -ECONNRESET);
    td_iostream_destroy(&client);

    close(listener); /* nobody is there any more */
    client = td_iostream_create(socket(AF_INET, SOCK_STREAM, 0), NULL);
    ck_assert_int_eq(td_iostream_connect(client, (struct sockaddr *)&address, sizeof(address)),
                     -ECONNREFUSED);
    ck_assert(td_iostream_is_closed(client));
    td_iostream_destroy(&client);
}

START_TEST(a_socket_is_connected_and_its_errors_are_told)
{
    ck_assert_int_eq(on_coroutine(connect_and_talk, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static void
talk_through_a_pipe(void *arg)
{
    int ends[2];
    td_iostream *in, *out;
    td_str line;

    (void)arg;
    ck_assert_int_eq(pipe(ends), 0);
    in = td_iostream_create(ends[0], NULL);
    out = td_iostream_create(ends[1], NULL);
    ck_assert_int_eq(td_iostream_write(out, TD_STR("through\na pipe")), 0);
    ck_assert_int_eq(td_iostream_read_until(in, TD_STR("\n"), 0, &line), 0);
    ck_assert(td_str_equal(line, TD_STR("through\n")));
    td_iostream_destroy(&out);
    ck_assert_int_eq(td_iostream_read_until_close(in, 0, &line), 0);
    ck_assert(td_str_equal(line, TD_STR("a pipe")));
    td_iostream_destroy(&in);
}

START_TEST(the_ends_of_a_pipe_are_streams)
{
    ck_assert_int_eq(on_coroutine(talk_through_a_pipe, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

/* ---- misuse */

/* ---- streams of servers */

static void
note_closed(void *arg)
{
    (void)arg;
    note('c');
}

static void
note_destroyed(void *arg)
{
    (void)arg;
    note('d');
}

static void
never(td_transport *transport, int events)
{
    (void)transport, (void)events;
    ck_abort_msg("it was given away");
}

/* Of a connection on which "one\n" has come and "hello" is to be sent. */
static void
adopt(void)
{
    const td_iostream_observer observer = {.closed = note_closed, .destroyed = note_destroyed};
    td_transport before;
    td_buf received = {0}, unsent = {0};

    td_transport_open_plain(&before, dup(td_iostream_fd(stream)), never);
    td_transport_watch(&before, td_ioloop_current(), TD_READABLE);
    td_iostream_destroy(&stream);
    td_buf_append(&received, TD_STR("one\n"));
    td_buf_append(&unsent, TD_STR("hello"));
    stream = td_iostream_adopt(&before, &received, &unsent, TD_IOSTREAM(.max_buffer = 2), &observer);
    ck_assert_int_eq(td_transport_fd(&before), -1);
    ck_assert_uint_eq(received.size + unsent.size, 0);
}

static void
use_adopted(void *arg)
{
    char sent[16];
    td_str out;

    (void)arg;
    adopt();
    peer_sends("two");
    ck_assert_int_eq(td_iostream_flush(stream), 0);
    ck_assert_int_eq(read(peer, sent, sizeof(sent)), 5);
    ck_assert(memcmp(sent, "hello", 5) == 0);
    for (size_t i = 0; i < 3; i++) { /* it has come with more than its buffer may hold */
        ck_assert_int_eq(td_iostream_read_bytes(stream, 2, &out), 0);
        ck_assert(memcmp(out.ptr, &"one\ntw"[2 * i], 2) == 0);
    }
    ck_assert_int_eq(td_iostream_read_partial(stream, 2, &out), 0);
    ck_assert(td_str_equal(out, TD_STR("o")));
    td_iostream_close(stream);
    td_iostream_close(stream);
    td_iostream_destroy(&stream);
    ck_assert_str_eq(notes, "cd");
}

START_TEST(an_adopted_stream_goes_on_where_its_connection_was)
{
    ck_assert_int_eq(on_coroutine(use_adopted, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static void
drain(void *arg)
{
    (void)arg;
    td_sleep(1);
    td_iostream_drain(stream);
    td_sleep(1);
    peer_sends("\n");
}

/*
 * What has come before the drain, and how the reads end; what is sent after it is the line's end.
 */
static const struct {
    const char *before;
    int first, second;
} drains[] = {
    {"", TD_EDRAINING, 0},
    {"half", 0, TD_EDRAINING},
    {"whole\n", 0, TD_EDRAINING},
};

static void
read_through_drain(void *arg)
{
    const int *i = arg;
    td_str line;

    peer_sends(drains[*i].before);

    td_future *drained = td_spawn(drain, NULL);

    if (strchr(drains[*i].before, '\n') != NULL)
        td_await(drained, NULL); /* nobody reads when it begins */
    else
        td_future_unref(drained);
    ck_assert_int_eq(td_iostream_read_until(stream, TD_STR("\n"), 0, &line), drains[*i].first);
    if (drains[*i].second == TD_EDRAINING && strchr(drains[*i].before, '\n') != NULL)
        ck_assert_int_eq(td_iostream_read_until(stream, TD_STR("\n"), 0, &line), 0);
    ck_assert_int_eq(td_iostream_read_until(stream, TD_STR("\n"), 0, &line), drains[*i].second);
    ck_assert(!td_iostream_is_closed(stream));
}

START_TEST(a_read_that_has_nothing_yet_is_told_of_the_drain_once)
{
    int i = _i;

    ck_assert_int_eq(on_coroutine(read_through_drain, &i), TD_COROUTINE_RETURNED);
}
END_TEST

static void
misuse(void *arg)
{
    td_str out;

    (void)arg;
    ck_assert_ptr_null(td_iostream_create(-1, NULL));
    ck_assert_int_eq(td_iostream_read_bytes(NULL, 1, &out), TD_EINVAL);
    ck_assert_int_eq(td_iostream_read_bytes(stream, 4097, &out), TD_EINVAL);
    ck_assert_int_eq(td_iostream_read_bytes(stream, 1, NULL), TD_EINVAL);
    ck_assert_int_eq(td_iostream_read_until(stream, TD_STR(""), 0, &out), TD_EINVAL);
    ck_assert_int_eq(td_iostream_read_until(stream, TD_STR("12345678901234567"), 0, &out),
                     TD_EINVAL);
    ck_assert_int_eq(td_iostream_read_until_regex(stream, NULL, 0, &out), TD_EINVAL);
    ck_assert_int_eq(td_iostream_read_until_regex(stream, "(", 0, &out), TD_EINVAL);
    ck_assert_int_eq((int)td_iostream_read_into(stream, NULL, 1, false), TD_EINVAL);
    ck_assert_int_eq(td_iostream_write(NULL, TD_STR("x")), TD_EINVAL);
    ck_assert_int_eq(td_iostream_connect(stream, NULL, 0), TD_EINVAL);
    ck_assert_int_eq(td_iostream_set_close_callback(NULL, note_close, NULL), TD_EINVAL);
    ck_assert_ptr_null(td_iostream_read_future(stream, NULL));
    td_iostream_set_timeout(stream, -1);
    ck_assert_int_eq(logged("[E "), 14);
    td_iostream_destroy(&(td_iostream *){NULL});
}

START_TEST(misuse_is_told)
{
    ck_assert_int_eq(on_coroutine(misuse, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_pair, close_pair);
    ADD_TABLE(tcase, a_read_gets_what_it_wants_of_bytes_that_are_there, reads);
    ADD_TABLE(tcase, a_read_gets_the_same_of_bytes_that_come_one_by_one, reads);
    tcase_add_test(tcase, reads_follow_each_other);
    tcase_add_test(tcase, who_reads_as_fast_as_the_peer_sends_leaves_others_their_turns);
    tcase_add_test(tcase, who_flushes_to_a_peer_that_takes_all_leaves_others_their_turns);
    tcase_add_test(tcase, what_came_before_the_end_can_be_read_after_it);
    tcase_add_test(tcase, bytes_that_are_given_back_are_read_first);
    tcase_add_loop_test(tcase, a_read_that_is_cancelled_or_late_leaves_its_bytes_to_the_next, 0, 2);
    tcase_add_test(tcase, a_cancelled_read_writes_no_more_into_memory);
    tcase_add_test(tcase, destroying_wakes_who_reads);
    tcase_add_test(tcase, a_second_read_is_misuse_and_the_first_goes_on);
    tcase_add_loop_test(tcase, the_close_callback_comes_after_the_read_and_also_when_nobody_reads,
                        0, 2);
    tcase_add_test(tcase, the_close_callback_that_was_set_last_is_called_even_if_it_comes_late);
    tcase_add_test(tcase, a_peer_that_floods_an_idle_stream_is_stopped_by_its_buffer);
    tcase_add_test(tcase, all_that_is_written_arrives_in_order_through_a_bounded_buffer);
    tcase_add_test(tcase, beyond_the_write_buffer_nothing_is_kept);
    tcase_add_test(tcase, who_flushes_is_woken_when_the_peer_goes);
    tcase_add_test(tcase, the_same_reads_are_futures);
    tcase_add_test(tcase, a_socket_is_connected_and_its_errors_are_told);
    tcase_add_test(tcase, the_ends_of_a_pipe_are_streams);
    tcase_add_test(tcase, an_adopted_stream_goes_on_where_its_connection_was);
    ADD_TABLE(tcase, a_read_that_has_nothing_yet_is_told_of_the_drain_once, drains);
    tcase_add_test(tcase, misuse_is_told);
}

int
main(void)
{
    return unit_run("iostream", fill);
}
