/* Goal: each side of a stream can end for itself, and what was sent before an end arrives. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include "io/iostream.h"
#include "io/transport_tls.h"
#include "tls_peer.h"
#include "waiting_actors.h"

/* Two streams that are connected: ours is what is tested. */
static td_iostream *ours, *theirs;

enum kind { UNIX, TCP, TLS, TLS12, KINDS };

static void
connect_pair(int pair[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    const int listener = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(pair[0], (struct sockaddr *)&address, len), 0);
    pair[1] = accept(listener, NULL, NULL);
    close(listener);
}

static void
never(td_transport *transport, int events)
{
    (void)transport, (void)events;
    ck_abort_msg("it was given away");
}

static td_iostream *
accept_tls_stream(int fd)
{
    const td_iostream_observer nobody = {0};
    td_buf received = {0}, unsent = {0};
    td_transport transport;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    td_transport_open_plain(&transport, fd, never);
    td_transport_start_tls(&transport, loop, accept_tls(fd));
    return td_iostream_adopt(&transport, &received, &unsent, NULL, &nobody);
}

/* Hands are shaken while each side reads what the other one says first. */
static void
start_tls(void)
{
    td_str greeting;
    td_future *future;

    ck_assert_int_eq(td_iostream_write(theirs, TD_STR("!")), 0);
    future = td_iostream_read_future(theirs, TD_READ_UNTIL(TD_UNTIL_BYTES, .count = 1));
    ck_assert_int_eq(td_iostream_start_tls(ours, TD_SSL(.ca_certs = tls_peer_file,
                                                        .server_hostname = "localhost")), 0);
    ck_assert_int_eq(td_iostream_write(ours, TD_STR("?")), 0);
    ck_assert_int_eq(td_iostream_read_bytes(ours, 1, &greeting), 0);
    ck_assert_int_eq(td_await(future, NULL), 0);
}

static void
open_pair(enum kind kind)
{
    int pair[2];

    if (kind == UNIX)
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    else
        connect_pair(pair);
    ours = td_iostream_create(pair[0], TD_IOSTREAM(.half_open = true));
    if (kind < TLS) {
        theirs = td_iostream_create(pair[1], TD_IOSTREAM(.half_open = true));
        return;
    }
    SSL_CTX_set_max_proto_version(tls_peer_ctx, kind == TLS12 ? TLS1_2_VERSION : 0);
    theirs = accept_tls_stream(pair[1]);
    td_iostream_set_half_open(theirs, true);
    start_tls();
}

static void
close_pair(void)
{
    td_iostream_destroy(&ours);
    td_iostream_destroy(&theirs);
}

/* Run the test of a kind on a coroutine, with the pair open. */
struct run {
    void (*test)(void);
    enum kind kind;
};

static void
run(void *arg)
{
    const struct run *run = arg;

    open_pair(run->kind);
    run->test();
    close_pair();
}

static void
run_with(void (*test)(void), int kind)
{
    struct run one = {test, (enum kind)kind};

    ck_assert_int_eq(on_coroutine(run, &one), TD_COROUTINE_RETURNED);
    ck_assert_int_eq(logged("[E "), 0);
}

static void
check_read(td_iostream *stream, const char *expected)
{
    td_str got;

    ck_assert_int_eq(td_iostream_read_bytes(stream, strlen(expected), &got), 0);
    ck_assert(td_str_equal(got, td_str_of(expected)));
}

static void
check_rest(td_iostream *stream, const char *expected)
{
    td_str got;

    ck_assert_int_eq(td_iostream_read_until_close(stream, 0, &got), 0);
    ck_assert_msg(td_str_equal(got, td_str_of(expected)), "%.*s", TD_STR_FMT(got));
}

static void
say(td_iostream *stream, const char *text)
{
    ck_assert_int_eq(td_iostream_write(stream, td_str_of(text)), 0);
}

/* ---- the end of theirs */

static void
answer_after_their_end(void)
{
    td_str got;

    say(theirs, "one\ntwo");
    ck_assert_int_eq(td_iostream_shutdown(theirs), 0);
    ck_assert_int_eq(td_iostream_read_until(ours, TD_STR("\n"), 0, &got), 0);
    ck_assert_int_eq(td_iostream_read_until(ours, TD_STR("\n"), 0, &got), TD_ECLOSED);
    ck_assert_int_eq(td_iostream_read_bytes(ours, 4, &got), TD_ECLOSED);
    check_read(ours, "two");
    ck_assert_int_eq(td_iostream_read_partial(ours, 4, &got), TD_ECLOSED);
    check_rest(ours, "");
    ck_assert(!td_iostream_is_closed(ours));

    say(ours, "answer");
    ck_assert_int_eq(td_iostream_flush(ours), 0);
    say(ours, " and end");
    ck_assert_int_eq(td_iostream_shutdown(ours), 0);
    ck_assert(td_iostream_is_closed(ours));
    ck_assert_int_eq(td_iostream_error(ours), 0);
    ck_assert_int_eq(td_iostream_flush(ours), 0);
    ck_assert_int_eq(td_iostream_shutdown(ours), 0);
    check_rest(theirs, "answer and end");
    ck_assert(td_iostream_is_closed(theirs));
    ck_assert_int_eq(td_iostream_error(theirs), 0);
}

START_TEST(the_end_of_the_other_side_ends_reading_alone)
{
    run_with(answer_after_their_end, _i);
}
END_TEST

static void
close_at_their_end(void)
{
    td_str got;

    td_iostream_set_half_open(ours, false);
    say(theirs, "one");
    td_iostream_shutdown(theirs);
    ck_assert_int_eq(td_iostream_read_bytes(ours, 4, &got), TD_ECLOSED);
    ck_assert(td_iostream_is_closed(ours));
    check_read(ours, "one");
}

START_TEST(unless_it_is_not_half_open)
{
    run_with(close_at_their_end, _i);
}
END_TEST

static void
read_line(void *arg)
{
    td_str line;

    (void)arg;
    note_outcome('r', td_iostream_read_until(ours, TD_STR("\n"), 0, &line));
}

static void
end_while_it_waits(void)
{
    td_future *future = td_spawn(read_line, NULL);

    td_sleep(0);
    say(theirs, "half a li");
    td_sleep(0);
    ck_assert_str_eq(notes, "");
    td_iostream_shutdown(theirs);
    td_await(future, NULL);
    ck_assert_str_eq(notes, "#");
    ck_assert(!td_iostream_is_closed(ours));

    future = td_iostream_read_future(ours, TD_READ_UNTIL(TD_UNTIL_CLOSE));
    ck_assert(td_future_is_done(future));
    ck_assert_int_eq(td_await(future, NULL), 0);
    say(ours, "what?");
    check_read(theirs, "what?");
}

START_TEST(a_read_that_waits_hears_of_the_end)
{
    run_with(end_while_it_waits, _i);
}
END_TEST

static void
cancel_before_the_end(void)
{
    td_future *future = td_spawn(read_line, NULL);

    td_sleep(0);
    say(theirs, "half");
    td_sleep(0);
    td_future_cancel(future);
    td_future_unref(future);
    td_sleep(0);
    td_iostream_shutdown(theirs);
    read_line(NULL);
    ck_assert_str_eq(notes, "#");
    check_rest(ours, "half");
    td_iostream_drain(ours);
    read_line(NULL); /* there is nothing that it could wait for */
    ck_assert_str_eq(notes, "##");
}

START_TEST(so_does_the_read_behind_one_that_was_cancelled)
{
    run_with(cancel_before_the_end, _i);
}
END_TEST

static void
turns(int count)
{
    while (count-- > 0)
        td_sleep(1);
}

/* What is half closed asks for nothing, so it takes no time. */
static void
count_iterations(void)
{
    td_str got;

    td_iostream_shutdown(theirs);
    ck_assert_int_eq(td_iostream_read_partial(ours, 1, &got), TD_ECLOSED);
    td_sleep(1);

    const unsigned before = ev_iteration(td_ioloop_ev(loop));

    td_sleep(20);
    ck_assert_uint_lt(ev_iteration(td_ioloop_ev(loop)) - before, 8);
}

START_TEST(what_has_ended_is_not_watched)
{
    run_with(count_iterations, _i);
}
END_TEST

/* ---- the end of ours */

static void
hear_the_answer(void)
{
    td_iostream_set_half_open(ours, false);
    say(ours, "question");
    ck_assert_int_eq(td_iostream_shutdown(ours), 0);
    ck_assert_int_eq(td_iostream_shutdown(ours), 0);
    ck_assert_int_eq(td_iostream_flush(ours), 0);
    check_rest(theirs, "question");
    say(theirs, "answer");
    td_iostream_shutdown(theirs);
    check_rest(ours, "answer");
    ck_assert(td_iostream_is_closed(ours));
    ck_assert_int_eq(td_iostream_error(ours), 0);
}

START_TEST(who_has_said_all_hears_the_answer)
{
    run_with(hear_the_answer, _i);
}
END_TEST

#define MUCH 700000 /* bytes, more than the kernel takes at once */

static void
flush(void *arg)
{
    (void)arg;
    note_outcome('f', td_iostream_flush(ours));
}

static void
end_behind_much(void)
{
    static char bytes[MUCH];
    td_str got;

    ck_assert_int_eq(setsockopt(td_iostream_fd(ours), SOL_SOCKET, SO_SNDBUF, &(int){4096},
                                sizeof(int)), 0);
    ck_assert_int_eq(td_iostream_write(ours, td_str_make(bytes, MUCH)), 0);
    ck_assert_int_eq(td_iostream_shutdown(ours), 0);
    ck_assert_uint_gt(td_iostream_unsent(ours), 0);

    td_future *flushed = td_spawn(flush, NULL);

    turns(2);
    ck_assert_str_eq(notes, "");
    ck_assert_int_eq(td_iostream_read_until_close(theirs, 0, &got), 0);
    ck_assert_uint_eq(got.len, MUCH);
    td_await(flushed, NULL);
    ck_assert_str_eq(notes, "f");
    ck_assert(!td_iostream_is_closed(ours));
}

START_TEST(ours_comes_behind_all_that_was_written)
{
    run_with(end_behind_much, _i);
}
END_TEST

/* The alert, when the kernel takes no more than what was in front of it. */
static void
end_on_a_full_socket(void)
{
    const int size = 1;
    td_str got;
    size_t len = 0;

    setsockopt(td_iostream_fd(ours), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    setsockopt(td_iostream_fd(theirs), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    while (td_iostream_unsent(ours) == 0 && len < 100000) {
        say(ours, "a record of its own");
        len += 19;
    }
    ck_assert_uint_lt(len, 100000);
    ck_assert_int_eq(td_iostream_shutdown(ours), 0);
    ck_assert_int_eq(td_iostream_read_until_close(theirs, 0, &got), 0);
    ck_assert_uint_eq(got.len, len);
    ck_assert(!td_iostream_is_closed(ours));
}

START_TEST(it_waits_for_a_socket_that_is_full)
{
    run_with(end_on_a_full_socket, _i);
}
END_TEST

/* ---- the end of both */

static void
note_close(void *arg)
{
    (void)arg;
    note('c');
}

static void
end_both(bool ours_first)
{
    td_iostream_set_close_callback(ours, note_close, NULL);
    td_iostream_shutdown(ours_first ? ours : theirs);
    turns(3);
    ck_assert_str_eq(notes, "");
    ck_assert(!td_iostream_is_closed(ours));
    td_iostream_shutdown(ours_first ? theirs : ours);
    turns(3);
    ck_assert_str_eq(notes, "c");
    ck_assert(td_iostream_is_closed(ours));
    ck_assert_int_eq(td_iostream_error(ours), 0);
}

static void
end_ours_first(void)
{
    end_both(true);
}

static void
end_theirs_first(void)
{
    end_both(false);
}

START_TEST(the_close_callback_comes_when_both_have_ended)
{
    run_with(end_ours_first, _i);
    notes_len = 0;
    notes[0] = '\0';
    run_with(end_theirs_first, _i);
}
END_TEST

static void
write_to_who_has_gone(void)
{
    td_str got;
    int rc = 0;

    say(theirs, "bye");
    td_iostream_flush(theirs);
    td_iostream_destroy(&theirs);
    ck_assert_int_eq(td_iostream_read_until_close(ours, 0, &got), 0);
    ck_assert(!td_iostream_is_closed(ours));
    for (int i = 0; rc == 0 && i < 100; i++) {
        rc = td_iostream_write(ours, TD_STR("are you there?"));
        td_sleep(1);
    }
    ck_assert_msg(rc == -EPIPE || rc == -ECONNRESET, "%d", rc);
    ck_assert(td_iostream_is_closed(ours));
    ck_assert_int_eq(td_iostream_error(ours), rc);
    ck_assert_int_eq(td_iostream_shutdown(ours), rc);
    ck_assert_int_eq(td_iostream_flush(ours), rc);
}

START_TEST(who_has_gone_is_noticed_by_writing)
{
    run_with(write_to_who_has_gone, _i);
}
END_TEST

static void
end_without_a_word(void)
{
    td_str got;

    say(theirs, "cut");
    td_iostream_flush(theirs);
    shutdown(td_iostream_fd(theirs), SHUT_WR); /* whoever is between us can do that */
    ck_assert_int_eq(td_iostream_read_until_close(ours, 0, &got), TD_ETRUNCATED);
    ck_assert(td_iostream_is_closed(ours));
    ck_assert_int_eq(td_iostream_error(ours), TD_ETRUNCATED);
}

START_TEST(an_end_of_tls_that_was_not_announced_is_an_error)
{
    run_with(end_without_a_word, _i);
}
END_TEST

/* ---- streams of servers */

static void
note_closed(void *arg)
{
    (void)arg;
    note('c');
}

static void
note_linger(void *arg, td_transport *transport)
{
    (void)arg;
    ck_assert_ptr_null(td_transport_tls(transport));
    note('l');
    td_transport_close(transport, loop);
}

static void
leave_unsent(void)
{
    static char bytes[MUCH];

    while (td_iostream_unsent(ours) == 0)
        say(ours, "much");
    ck_assert_int_eq(td_iostream_write(ours, td_str_make(bytes, sizeof(bytes))), 0);
}

static void
leave_unread(void)
{
    say(theirs, "unread");
}

static void
hear_the_end(void)
{
    td_iostream_shutdown(theirs);
    check_rest(ours, "");
}

static void
read_too_much(void)
{
    td_str got;

    say(theirs, "too long");
    ck_assert_int_eq(td_iostream_read_until(ours, TD_STR("\n"), 4, &got), TD_ETOOBIG);
}

static void
close_at_once(void)
{
    td_iostream_close_at_once(ours);
}

static const struct {
    void (*before)(void);
    const char *notes;
} closings[] = {
    {leave_unread, "l"}, {leave_unsent, "c"}, {hear_the_end, "c"}, {read_too_much, "c"},
    {close_at_once, "c"},
};

static void
close_ours(void *arg)
{
    const td_iostream_observer observer = {.closed = note_closed, .lingers = note_linger};

    open_pair(UNIX);
    td_iostream_observe(ours, &observer);
    closings[*(int *)arg].before();
    td_iostream_close(ours);
    ck_assert_str_eq(notes, closings[*(int *)arg].notes);
    ck_assert_int_eq(td_iostream_fd(ours), -1);
    close_pair();
    ck_assert_uint_eq(notes_len, 1);
}

START_TEST(who_has_said_all_and_not_heard_all_may_linger)
{
    int i = _i;

    ck_assert_int_eq(on_coroutine(close_ours, &i), TD_COROUTINE_RETURNED);
}
END_TEST

/* ---- what has one direction, and what is not open yet */

static void
end_pipes(void *arg)
{
    int ends[2];

    (void)arg;
    ck_assert_int_eq(pipe(ends), 0);
    ours = td_iostream_create(ends[0], NULL);
    theirs = td_iostream_create(ends[1], TD_IOSTREAM(.half_open = true));
    say(theirs, "through a pipe");
    ck_assert_int_eq(td_iostream_shutdown(theirs), 0);
    ck_assert(td_iostream_is_closed(theirs));
    ck_assert_int_eq(td_iostream_shutdown(ours), 0); /* it never sent anything */
    check_rest(ours, "through a pipe");
    close_pair();
}

START_TEST(of_a_pipe_that_is_written_there_is_no_other_half)
{
    ck_assert_int_eq(on_coroutine(end_pipes, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static void
end_ours(void *arg)
{
    (void)arg;
    ck_assert_int_eq(td_iostream_shutdown(ours), 0);
}

static void
end_while_shaking(void *arg)
{
    int pair[2];
    td_future *future;

    (void)arg;
    connect_pair(pair);
    ours = td_iostream_create(pair[0], NULL);
    theirs = accept_tls_stream(pair[1]);
    td_iostream_set_half_open(theirs, true);
    future = td_iostream_read_future(theirs, TD_READ_UNTIL(TD_UNTIL_CLOSE));
    td_add_callback(loop, end_ours, NULL);
    ck_assert_int_eq(td_iostream_start_tls(ours, TD_SSL(.no_validate_cert = true)), 0);
    ck_assert_int_eq(td_await(future, NULL), 0);
    say(theirs, "yes?");
    td_iostream_shutdown(theirs);
    check_rest(ours, "yes?");
    close_pair();
}

START_TEST(what_is_not_open_yet_ends_when_it_is)
{
    ck_assert_int_eq(on_coroutine(end_while_shaking, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static void
misuse(void *arg)
{
    (void)arg;
    open_pair(UNIX);
    ck_assert_int_eq(td_iostream_shutdown(ours), 0);
    ck_assert_int_eq(td_iostream_write(ours, TD_STR("more")), TD_EINVAL);
    ck_assert_int_eq(td_iostream_start_tls(ours, TD_SSL(.no_validate_cert = true)), TD_EINVAL);
    ck_assert_int_eq(td_iostream_shutdown(NULL), TD_EINVAL);
    td_iostream_set_half_open(NULL, true);
    ck_assert_int_eq(logged("[E "), 4);
    close_pair();
}

START_TEST(misuse_is_told)
{
    ck_assert_int_eq(on_coroutine(misuse, NULL), TD_COROUTINE_RETURNED);
}
END_TEST

static void
open_all(void)
{
    open_loop();
    open_tls_peer();
}

static void
close_all(void)
{
    close_tls_peer();
    close_loop();
}

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_all, close_all);
    tcase_add_loop_test(tcase, the_end_of_the_other_side_ends_reading_alone, 0, KINDS);
    tcase_add_loop_test(tcase, unless_it_is_not_half_open, 0, KINDS);
    tcase_add_loop_test(tcase, a_read_that_waits_hears_of_the_end, 0, KINDS);
    tcase_add_loop_test(tcase, so_does_the_read_behind_one_that_was_cancelled, 0, KINDS);
    tcase_add_loop_test(tcase, what_has_ended_is_not_watched, 0, KINDS);
    tcase_add_loop_test(tcase, who_has_said_all_hears_the_answer, 0, KINDS);
    tcase_add_loop_test(tcase, ours_comes_behind_all_that_was_written, 0, KINDS);
    tcase_add_loop_test(tcase, it_waits_for_a_socket_that_is_full, 0, KINDS);
    tcase_add_loop_test(tcase, the_close_callback_comes_when_both_have_ended, 0, KINDS);
    tcase_add_loop_test(tcase, who_has_gone_is_noticed_by_writing, 0, KINDS);
    tcase_add_loop_test(tcase, an_end_of_tls_that_was_not_announced_is_an_error, TLS, KINDS);
    ADD_TABLE(tcase, who_has_said_all_and_not_heard_all_may_linger, closings);
    tcase_add_test(tcase, of_a_pipe_that_is_written_there_is_no_other_half);
    tcase_add_test(tcase, what_is_not_open_yet_ends_when_it_is);
    tcase_add_test(tcase, misuse_is_told);
}

int
main(void)
{
    return unit_run("iostreamclose", fill);
}
