/*
 * Goal: a body that is read while it comes reaches its handler whole, in order and as fast as the
 * handler wants it, and each of them ends well whoever gives up first.
 */
#include "web_fixture.h"

/* What happened, in words; each test function has a process of its own. */
static int rc[12];
static td_handler *kept;
static td_str got;

static td_method_fn *prepare, *post;

static void do_prepare(td_handler *h) { note("prepare"), prepare != NULL ? prepare(h) : (void)0; }
static void do_on_finish(td_handler *h) { (void)h, note("on_finish"); }
static void do_close(td_handler *h) { (void)h, note("close"); }

static void
do_received(td_handler *h, td_str data)
{
    note(td_strdup(h, data).ptr);
    if (td_str_equal(data, TD_STR("wait")))
        td_sleep(0);
    if (td_str_equal(data, TD_STR("enough")))
        td_finish(h);
    if (td_str_equal(data, TD_STR("bad")))
        td_raise(h, 422, "bad");
}

static void
pull(td_handler *h)
{
    td_str data;
    int n;

    while ((n = td_read_body(h, &data)) > 0)
        do_received(h, data);
    note(n == 0 ? "end" : "left");
    ck_assert_int_eq(n, n == 0 ? 0 : TD_ECLOSED);
}

static void
do_post(td_handler *h)
{
    note("post");
    if (post != NULL)
        post(h);
    if (!td_is_finished(h))
        td_write_text(h, "ok");
}

#define HOOKS                                                                                      \
    .post = do_post, .get = do_post, .prepare = do_prepare, .on_finish = do_on_finish,             \
    .on_connection_close = do_close, .max_body_size = 100

static const td_handler_class Pull = {HOOKS, .flags = TD_STREAM_BODY};
static const td_handler_class Push = {HOOKS, .flags = TD_STREAM_BODY, .data_received = do_received};
static const td_handler_class Cancelled = {HOOKS, .flags = TD_STREAM_BODY | TD_CANCEL_ON_CLOSE};
static const td_handler_class Short = {HOOKS, .flags = TD_STREAM_BODY, .request_timeout_ms = 30};
static const td_handler_class Checked = {HOOKS, .flags = TD_STREAM_BODY | TD_CHECK_XSRF};
static const td_handler_class Buffered = {HOOKS};
static const td_url urls[] = {
    TD_URL("/pull", &Pull),       TD_URL("/push", &Push),         TD_URL("/cancelled", &Cancelled),
    TD_URL("/short", &Short),     TD_URL("/checked", &Checked),   TD_URL("/buffered", &Buffered),
    TD_URL("/text/(.*)", &Pull),  {.pattern = NULL},
};

static void
setup(void)
{
    web_setup();
    web_serve(urls);
}

/* Nothing may be left: no handler, no coroutine. */
static void
teardown(void)
{
    ck_assert_uint_eq(td_handlers_running(), 0);
    ck_assert_uint_eq(td_coroutines_count(), 0);
    web_teardown();
}

static web_exchange *
begin(const char *method, const char *target, const char *lines)
{
    web_exchange *x = web_route_to(method, target, lines);

    td_application_delegate.headers_received(web_app, x->request);
    return x;
}

static bool
send_piece(web_exchange *x, const char *piece)
{
    char *bytes = strdup(piece); /* gone when the call returns */
    bool goes_on =
        td_application_delegate.data_received(web_app, x->request, td_str_of(bytes));

    free(bytes);
    return goes_on;
}

static void
end_body(web_exchange *x)
{
    if (x->finishes == 0)
        td_application_delegate.finish(web_app, x->request);
}

#define SIZED "Content-Length: 9\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

static void redirect(td_handler *h) { td_redirect(h, "/x", false); }
static void refuse(td_handler *h) { td_raise(h, 403, "not you"); }
static void wait_a_turn(td_handler *h) { (void)h, td_sleep(0); }
static void read_one(td_handler *h) { rc[0] = td_read_body(h, &got); }
static void say_no(td_handler *h) { td_send_error(h, 403, NULL), read_one(h); }

/* Pieces: '|' ends one, '!' at the end: the client leaves, '.': the body is complete. */
static const struct {
    const char *what, *target, *lines, *pieces;
    td_method_fn *prepare, *post;
    int status;
    const char *trace;
} lives[] = {
    {"pushed", "/push", SIZED, "abc|d|.", NULL, NULL, 200, "prepare abc d post on_finish"},
    {"pulled", "/pull", SIZED, "abc|d|.", NULL, pull, 200, "prepare post abc d end on_finish"},
    {"chunked", "/pull", CHUNKED, "abc|.", NULL, pull, 200, "prepare post abc end on_finish"},
    {"pushed nothing", "/push", "", ".", NULL, NULL, 200, "prepare post on_finish"},
    {"pulled nothing", "/pull", "", ".", NULL, pull, 200, "prepare post end on_finish"},
    {"an empty chunked one", "/pull", CHUNKED, ".", NULL, pull, 200, "prepare post end on_finish"},
    {"waits in data_received", "/push", SIZED, "wait|d|.", NULL, NULL, 200,
     "prepare wait d post on_finish"},
    {"waits while pulling", "/pull", SIZED, "wait|d|.", NULL, pull, 200,
     "prepare post wait d end on_finish"},
    {"waits in prepare", "/push", SIZED, "a|.", wait_a_turn, NULL, 200,
     "prepare a post on_finish"},
    {"pulls in prepare", "/pull", SIZED, "a|.", pull, NULL, 200,
     "prepare a end post on_finish"},
    {"prepare ends it", "/push", SIZED, "", redirect, NULL, 302, "prepare on_finish"},
    {"prepare refuses it", "/pull", SIZED, "", refuse, pull, 403, "prepare on_finish"},
    {"read after the response", "/pull", SIZED, "", NULL, say_no, 403, "prepare post on_finish"},
    {"data_received ends it", "/push", SIZED, "a|enough|", NULL, NULL, 200,
     "prepare a enough on_finish"},
    {"data_received refuses it", "/push", SIZED, "bad|", NULL, NULL, 422,
     "prepare bad on_finish"},
    {"the client leaves, pushed", "/push", SIZED, "abc|!", NULL, NULL, 0,
     "prepare abc close on_finish"},
    {"the client leaves, pulled", "/pull", SIZED, "abc|!", NULL, pull, 0,
     "prepare post abc close left on_finish"},
    {"the client leaves, cancelled", "/cancelled", SIZED, "abc|!", NULL, pull, 0,
     "prepare post abc close on_finish"},
    {"no token", "/checked", SIZED, "", NULL, NULL, 403, "on_finish"},
    {"a form is none", "/pull", SIZED "Content-Type: application/x-www-form-urlencoded\r\n"
     "Content-Encoding: gzip\r\n", "a=b|.", NULL, pull, 200, "prepare post a=b end on_finish"},
    {"too long", "/pull", "Content-Length: 101\r\n", "", NULL, pull, 413,
     "prepare post on_finish"},
    {"too long, pushed", "/push", "Content-Length: 101\r\n", "", NULL, NULL, 413,
     "prepare on_finish"},
    {"too long, but unread", "/pull", "Content-Length: 101\r\n", "", NULL, NULL, 200,
     "prepare post on_finish"},
    {"no such path argument", "/text/%ff", SIZED, "", NULL, NULL, 400, "on_finish"},
    {"buffered after all", "/buffered", SIZED, ".", NULL, NULL, 200, "prepare post on_finish"},
};

START_TEST(a_life_with_a_streamed_body)
{
    const char *at = lives[_i].pieces;
    web_exchange *x;

    prepare = lives[_i].prepare;
    post = lives[_i].post;
    x = begin(at[0] == '.' && lives[_i].lines[0] == '\0' ? "GET" : "POST", lives[_i].target,
              lives[_i].lines);
    web_turn();
    for (const char *end; (end = strchr(at, '|')) != NULL; at = end + 1) {
        char piece[32];

        snprintf(piece, sizeof(piece), "%.*s", (int)(end - at), at);
        send_piece(x, piece);
        web_turn();
    }
    if (*at == '.')
        end_body(x);
    else if (*at == '!')
        web_client_leaves(x);
    web_turn();
    ck_assert_int_eq(x->status, lives[_i].status);
    ck_assert_msg(strcmp(trace, lives[_i].trace) == 0, "%s: %s", lives[_i].what, trace);
    ck_assert_int_eq(x->finishes, lives[_i].status != 0);
    ck_assert_uint_eq(x->request->references, 1);
    web_done(x);
}
END_TEST

/* ---- pieces */

START_TEST(connection_is_told_whether_more_is_wanted)
{
    web_exchange *x;

    post = pull;
    x = begin("POST", "/pull", SIZED);
    ck_assert(send_piece(x, "a"));
    ck_assert(!send_piece(x, "wait"));
    web_turn();
    ck_assert(send_piece(x, "b"));
    end_body(x);
    ck_assert_str_eq(trace, "prepare post a wait b end on_finish");
    web_done(x);
}
END_TEST

static void
hold_a_piece(td_handler *h)
{
    rc[0] = td_read_body(h, &got);
    td_sleep(0);
    note(td_strdup(h, got).ptr);
    rc[1] = td_read_body(h, &got);
    rc[2] = td_read_body(h, &got);
    rc[3] = td_read_body(h, &got);
}

START_TEST(piece_stays_until_the_next_is_asked_for_and_the_end_is_for_ever)
{
    web_exchange *x;

    post = hold_a_piece;
    x = begin("POST", "/pull", SIZED);
    send_piece(x, "first");
    web_turn();
    send_piece(x, "2nd");
    end_body(x);
    web_turn();
    ck_assert_str_eq(trace, "prepare post first on_finish");
    ck_assert_int_eq(rc[0], 5);
    ck_assert_int_eq(rc[1], 3);
    ck_assert_int_eq(rc[2], 0);
    ck_assert_int_eq(rc[3], 0);
    ck_assert_uint_eq(got.len, 0);
    web_done(x);
}
END_TEST

static size_t total;

static void
count_all(td_handler *h)
{
    while (td_read_body(h, &got) > 0)
        for (size_t i = 0; i < got.len; i++, total++)
            if (got.ptr[i] != (char)('a' + total % 7))
                ck_abort_msg("byte %zu", total);
}

START_TEST(memory_is_that_of_two_pieces)
{
    static char piece[TD_BODY_PIECE_MAX];
    const size_t sizes[] = {1, 4096, 4097, TD_BODY_PIECE_MAX, 5, TD_BODY_PIECE_MAX};
    web_exchange *x;
    size_t sent = 0, before;

    post = count_all;
    x = begin("POST", "/pull", CHUNKED);
    before = x->request->arena.total;
    for (size_t i = 0; i < 100; i++) {
        const size_t size = sizes[i % (sizeof(sizes) / sizeof(sizes[0]))];

        for (size_t j = 0; j < size; j++, sent++)
            piece[j] = (char)('a' + sent % 7);
        ck_assert(td_application_delegate.data_received(web_app, x->request,
                                                        td_str_make(piece, size)));
    }
    end_body(x);
    ck_assert_uint_eq(total, sent);
    ck_assert_uint_le(x->request->arena.total - before, TD_BODY_PIECE_MAX + 3 * 4096);
    web_done(x);
}
END_TEST

/* ---- time */

START_TEST(request_timeout_stands_still_while_a_piece_is_waited_for)
{
    const int64_t end_ns = td_clock_ns() + 90 * TD_NS_PER_MS;
    web_exchange *x;

    post = pull;
    x = begin("POST", "/short", SIZED);
    while (td_clock_ns() < end_ns)
        web_turn();
    ck_assert_int_eq(x->finishes, 0);
    send_piece(x, "a");
    end_body(x);
    ck_assert_int_eq(x->status, 200);
    web_done(x);
}
END_TEST

static void
read_and_hang(td_handler *h)
{
    td_read_body(h, &got);
    note("hangs");
    td_sleep(100000);
}

START_TEST(request_timeout_counts_for_what_the_handler_does_with_a_piece)
{
    web_exchange *x;

    post = read_and_hang;
    x = begin("POST", "/short", SIZED);
    ck_assert(!send_piece(x, "a"));
    WEB_UNTIL(x->finishes == 1);
    ck_assert_int_eq(x->status, 504);
    ck_assert_str_eq(trace, "prepare post hangs on_finish");
    web_done(x);
}
END_TEST

static void
hurry(td_handler *h)
{
    rc[0] = td_set_body_timeout(h, 30);
}

START_TEST(body_timeout_of_one_request)
{
    web_exchange *x;

    prepare = hurry;
    post = pull;
    x = begin("POST", "/pull", SIZED);
    send_piece(x, "a");
    WEB_UNTIL(x->finishes == 1);
    ck_assert_int_eq(x->status, 408);
    ck_assert_str_eq(trace, "prepare post a on_finish");
    ck_assert(strstr(web_log(), "408 POST /pull (0.0.0.0): td_set_body_timeout") != NULL);
    web_done(x);
}
END_TEST

START_TEST(body_timeout_ends_with_the_body)
{
    const int64_t end_ns = td_clock_ns() + 60 * TD_NS_PER_MS;
    web_exchange *x;

    prepare = hurry;
    post = hold_a_piece;
    x = begin("POST", "/pull", SIZED);
    send_piece(x, "a");
    end_body(x);
    while (td_clock_ns() < end_ns)
        web_turn();
    ck_assert_int_eq(x->status, 200);
    web_done(x);
}
END_TEST

/* ---- limits of one request */

static void allow_more(td_handler *h) { rc[0] = td_set_max_body_size(h, 101); }

static void
set_late(td_handler *h)
{
    td_read_body(h, &got);
    rc[1] = td_set_max_body_size(h, 5);
    rc[2] = td_set_body_timeout(h, 5);
}

START_TEST(max_body_size_is_that_of_one_request)
{
    const td_limits *before;
    web_exchange *x;

    prepare = allow_more;
    post = set_late;
    x = web_route_to("POST", "/pull", "Content-Length: 101\r\n");
    before = x->request->limits;
    td_application_delegate.headers_received(web_app, x->request);
    send_piece(x, "a");
    end_body(x);
    ck_assert_int_eq(x->status, 200);
    ck_assert_int_eq(rc[0], 0);
    ck_assert_int_eq(rc[1], TD_EINVAL);
    ck_assert_int_eq(rc[2], TD_EINVAL);
    ck_assert_int_eq(x->request->limits->max_body_size, 101);
    ck_assert_int_eq(before->max_body_size, 100);
    web_done(x);

    x = begin("GET", "/pull", ""); /* the same head may come again and find what this leaves */
    end_body(x);
    ck_assert_int_eq(rc[0], 0);
    ck_assert_ptr_eq(x->request->limits, before);
    web_done(x);
}
END_TEST

/* ---- misuse */

static void
misuse_it(td_handler *h)
{
    rc[0] = td_read_body(h, &got);
    rc[1] = td_set_max_body_size(h, 1);
    rc[2] = td_set_body_timeout(h, 1);
}

START_TEST(other_classes_have_no_stream)
{
    post = misuse_it;
    web_done(web_request("POST", "/buffered", SIZED));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(rc[i], TD_EINVAL);
    ck_assert(strstr(web_log(), "td_read_body: the class has no TD_STREAM_BODY") != NULL);
}
END_TEST

static void
misuse_arguments(td_handler *h)
{
    rc[0] = td_read_body(h, NULL);
    rc[1] = td_read_body(NULL, &got);
    rc[2] = td_set_max_body_size(h, -1);
    rc[3] = td_set_body_timeout(h, -1);
    rc[4] = td_set_max_body_size(NULL, 1);
    rc[5] = td_set_body_timeout(NULL, 1);
}

START_TEST(wrong_arguments_are_refused)
{
    web_exchange *x;

    post = misuse_arguments;
    x = begin("POST", "/pull", SIZED);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(rc[i], TD_EINVAL);
    web_done(x);
}
END_TEST

static void
read_elsewhere(void *arg)
{
    rc[0] = td_read_body(arg, &got);
}

static void
read_twice(td_handler *h)
{
    td_future_unref(td_spawn(read_elsewhere, h));
    pull(h);
}

START_TEST(one_coroutine_reads_at_a_time)
{
    web_exchange *x;

    post = read_twice;
    x = begin("POST", "/pull", SIZED);
    web_turn();
    ck_assert_int_eq(rc[0], TD_EINVAL);
    ck_assert(strstr(web_log(), "td_read_body: another coroutine waits in it") != NULL);
    send_piece(x, "a");
    end_body(x);
    ck_assert_str_eq(trace, "prepare post a end on_finish");
    web_done(x);
}
END_TEST

static void keep(td_handler *h) { kept = h, pull(h); }

static void
finish_it(void *arg)
{
    rc[0] = td_finish(arg);
}

START_TEST(response_that_ends_elsewhere_ends_the_wait)
{
    web_exchange *x;

    post = keep;
    x = begin("POST", "/pull", SIZED);
    td_future_unref(td_spawn(finish_it, kept));
    web_turn();
    ck_assert_int_eq(rc[0], 0);
    ck_assert_int_eq(x->finishes, 1);
    web_done(x);
    ck_assert_str_eq(trace, "prepare post left on_finish");
}
END_TEST

START_TEST(end_of_the_worker_ends_the_wait)
{
    web_exchange *x;

    post = pull;
    x = begin("POST", "/pull", SIZED);
    td_handlers_cancel_all();
    web_turn();
    ck_assert_int_eq(x->status, 503);
    ck_assert_str_eq(trace, "prepare post on_finish");
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    ADD_TABLE(tcase, a_life_with_a_streamed_body, lives);
    tcase_add_test(tcase, connection_is_told_whether_more_is_wanted);
    tcase_add_test(tcase, piece_stays_until_the_next_is_asked_for_and_the_end_is_for_ever);
    tcase_add_test(tcase, memory_is_that_of_two_pieces);
    tcase_add_test(tcase, request_timeout_stands_still_while_a_piece_is_waited_for);
    tcase_add_test(tcase, request_timeout_counts_for_what_the_handler_does_with_a_piece);
    tcase_add_test(tcase, body_timeout_of_one_request);
    tcase_add_test(tcase, body_timeout_ends_with_the_body);
    tcase_add_test(tcase, max_body_size_is_that_of_one_request);
    tcase_add_test(tcase, other_classes_have_no_stream);
    tcase_add_test(tcase, wrong_arguments_are_refused);
    tcase_add_test(tcase, one_coroutine_reads_at_a_time);
    tcase_add_test(tcase, response_that_ends_elsewhere_ends_the_wait);
    tcase_add_test(tcase, end_of_the_worker_ends_the_wait);
}

int
main(void)
{
    return unit_run("body", fill);
}
