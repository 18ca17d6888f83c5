/*
 * Goal: a test of a handler needs no daemon and no port (<tornado/testing.h>): what a client would
 * get is what the test gets, hooks run, waits wait, cookies are kept, and what hangs fails with a
 * sentence.  This file is built as an author's would be: public headers, shared libraries.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tornado/testing.h>
#include <tornado/tornado.h>
#include <unistd.h>
#include "unit.h"

/* ---- a handler that is linked in */

struct settings {
    const char *greeting;
    int64_t number;
};

struct state {
    int loads, starts;
    td_future *gate;
};

static char hooks[64]; /* of this test */

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    const struct settings *settings = td_instance_settings(instance);
    struct state *state;

    if (settings->number == 13)
        return td_err_set(err, TD_ECONFIG, "number: not this one");
    td_sleep(settings->number == 14 ? 60000 : 1); /* hooks may wait */
    state = calloc(1, sizeof(*state));
    strcat(hooks, "load ");
    state->gate = td_future_create();
    *state_out = state;
    return 0;
}

static int
start(td_instance *instance, td_err *err)
{
    (void)instance, (void)err;
    strcat(hooks, "start ");
    return 0;
}

static void
drain(td_instance *instance)
{
    (void)instance;
    strcat(hooks, "drain ");
}

static void
stop(td_instance *instance)
{
    struct state *state = td_instance_state(instance);

    td_future_unref(state->gate);
    free(state);
    strcat(hooks, "stop");
}

static void
greet(td_handler *h)
{
    const struct settings *settings = td_settings(h);

    td_writef(h, "%s, %s", settings->greeting, td_path_argument_at(h, 0).ptr);
}

static void
sleep_then_answer(td_handler *h)
{
    td_sleep(20);
    td_write_text(h, "awake");
}

static void
wait_at_gate(td_handler *h)
{
    struct state *state = td_state(h);

    td_await(td_future_ref(state->gate), NULL);
    td_write_text(h, "through");
}

static void
open_gate(td_handler *h)
{
    struct state *state = td_state(h);

    td_future_set_result(state->gate, NULL);
    td_set_status(h, 204, NULL);
}

static void
count_visits(td_handler *h)
{
    const td_str seen = td_get_cookie(h, "visits");
    const int visits = seen.ptr != NULL ? atoi(seen.ptr) + 1 : 1;

    td_set_cookie(h, "visits", td_sprintf(h, "%d", visits).ptr, NULL);
    td_writef(h, "%d", visits);
}

static void
leave_no_cookie(td_handler *h)
{
    td_clear_cookie(h, "visits", NULL);
}

static void
echo(td_handler *h)
{
    td_set_header(h, "X-Type", td_request_header(h, "Content-Type").ptr);
    td_set_header(h, "X-Peer", td_request_remote_addr(h).ptr);
    td_set_header(h, "X-Host", td_request_host(h).ptr);
    td_write(h, td_request_body(h));
}

static void
tell_json(td_handler *h)
{
    td_write_json(h, TD_JSON("name", "jack"), TD_JSON("age", 7));
}

static void
stream(td_handler *h)
{
    for (int i = 0; i < 3; i++) {
        td_writef(h, "%d,", i);
        td_flush(h);
    }
    if (td_get_argument_bool_default(h, "raise", false))
        td_raise(h, 500, "in the middle");
}

static void
stream_for_ever(td_handler *h)
{
    do {
        td_write_text(h, "tick,");
        td_sleep(1);
    } while (td_flush(h) != TD_ECLOSED);
}

static void
hang(td_handler *h)
{
    td_sleep(td_get_argument_int_default(h, "ms", 0, 100000, 60000));
}

static void
spin(td_handler *h)
{
    (void)h;
    for (volatile int on = 1; on;)
        ;
}

static void
complain(td_handler *h)
{
    td_raise(h, 403, "not %s", "you");
}

static void
count_hit(td_handler *h)
{
    int *hits = td_shared(h, "hits");

    td_metric_add(td_get_metric(h, "hits"), 1);
    td_writef(h, "%d", ++*hits);
}

static void
work_on(td_handler *h)
{
    struct state *state = td_state(h);

    td_write_text(h, "done");
    td_finish(h);
    td_sleep(10);
    state->loads = 42;
}

static td_test *t;

static void
fetch_within(td_handler *h)
{
    td_test_fetch(t, "/greet/you", NULL);
    td_write_text(h, "it was answered");
}

static void
close_within(td_handler *h)
{
    td_test_close(&t);
    td_write_text(h, "it was closed");
}

static void
shout(td_handler *h)
{
    td_iostream *connection = td_detach(h, TD_DETACH(.upgrade = "shout"));
    td_str line;

    while (td_iostream_read_until(connection, TD_STR("\n"), 0, &line) == 0 && line.len > 1) {
        td_iostream_write(connection, TD_STR("! "));
        td_iostream_write(connection, line);
    }
    td_iostream_flush(connection);
}

static const td_handler_class Within = {.get = fetch_within, .post = close_within},
                              Shout = {.get = shout};
static const td_handler_class Greet = {.get = greet}, Sleep = {.get = sleep_then_answer},
                              Wait = {.get = wait_at_gate}, Open = {.post = open_gate},
                              Visits = {.get = count_visits, .delete_ = leave_no_cookie},
                              Echo = {.post = echo, .put = echo}, Json = {.get = tell_json},
                              Stream = {.get = stream}, Ticks = {.get = stream_for_ever},
                              Hang = {.get = hang}, Spin = {.get = spin}, Complain = {.get = complain},
                              Hits = {.get = count_hit}, WorkOn = {.get = work_on};

static const td_plugin tested = TD_PLUGIN_OF(
        .name = "tested",
        .urls = TD_URLS(TD_URL("/greet/([^/]+)", &Greet), TD_URL("/sleep", &Sleep),
                        TD_URL("/wait", &Wait), TD_URL("/open", &Open), TD_URL("/visits", &Visits),
                        TD_URL("/echo", &Echo), TD_URL("/json", &Json), TD_URL("/stream", &Stream),
                        TD_URL("/ticks", &Ticks), TD_URL("/hang", &Hang), TD_URL("/spin", &Spin),
                        TD_URL("/complain", &Complain), TD_URL("/hits", &Hits),
                        TD_URL("/work_on", &WorkOn), TD_URL("/within", &Within),
                        TD_URL("/shout", &Shout)),
        .options = TD_OPTIONS(struct settings,
                              TD_OPT_STRING(struct settings, greeting, "Hello", "what to say"),
                              TD_OPT_INT(struct settings, number, "1", 0, 0, "a number")),
        .shared = TD_SHARED({"hits", sizeof(int)}), .load = load, .start = start, .drain = drain,
        .stop = stop, .metrics = TD_METRICS(TD_COUNTER("hits", "What count_hit has counted.")));

static void
open_tested(void)
{
    t = td_test_open(TD_TEST(.plugin = &tested, .keep_log = true));
}

static void
close_tested(void)
{
    td_test_close(&t);
}

#define CHECK_BODY(response, text) ck_assert_str_eq((response)->body.ptr, (text))

/* ---- one request */

START_TEST(a_request_goes_in_and_a_response_comes_out)
{
    const td_response *r = td_test_fetch(t, "/greet/world", NULL);

    ck_assert_int_eq(r->status, 200);
    ck_assert_str_eq(r->reason.ptr, "OK");
    CHECK_BODY(r, "Hello, world");
    ck_assert_str_eq(td_fetched_header(r, "content-length").ptr, "12");
    ck_assert_ptr_null(td_fetched_header(r, "X-None").ptr);
    ck_assert_str_eq(r->effective_url.ptr, "/greet/world");
    ck_assert_int_eq(r->error, 0);
}
END_TEST

START_TEST(requests_follow_one_another)
{
    for (int i = 0; i < 100; i++)
        CHECK_BODY(td_test_fetch(t, "/greet/you", NULL), "Hello, you");
}
END_TEST

START_TEST(handlers_may_wait)
{
    CHECK_BODY(td_test_fetch(t, "/sleep", NULL), "awake");
}
END_TEST

static const struct {
    const char *method, *url;
    int status;
} pages[] = {
    {"GET", "/nowhere", 404},     {"DELETE", "/greet/you", 405}, {"BREW", "/greet/you", 501},
    {"GET", "/greet/%zz", 400},   {"GET", "no slash", 400},      {"HEAD", "/greet/you", 200},
    {"OPTIONS", "/greet/you", 204},
};

START_TEST(what_no_handler_answers_is_answered)
{
    const td_response *r =
        td_test_fetch(t, pages[_i].url, TD_TEST_REQUEST(.method = pages[_i].method));

    ck_assert_int_eq(r->status, pages[_i].status);
}
END_TEST

START_TEST(bodies_and_headers_arrive)
{
    const td_response *r = td_test_fetch(
        t, "http://example.org/echo?x",
        TD_TEST_REQUEST(.method = "PUT", .body = TD_STR("a\0b"), .peer = "2001:db8::1",
                        TD_FETCH_HEADERS({"Content-Type", "text/x"})));

    ck_assert_uint_eq(r->body.len, 3);
    ck_assert_int_eq(memcmp(r->body.ptr, "a\0b", 4), 0);
    ck_assert_str_eq(td_fetched_header(r, "X-Type").ptr, "text/x");
    ck_assert_str_eq(td_fetched_header(r, "X-Peer").ptr, "2001:db8::1");
    ck_assert_str_eq(td_fetched_header(r, "X-Host").ptr, "example.org");
}
END_TEST

START_TEST(a_post_is_a_form_unless_it_says_what_it_is)
{
    const td_response *r =
        td_test_fetch(t, "/echo", TD_TEST_REQUEST(.method = "POST", .body = TD_STR("a=b")));

    ck_assert_str_eq(td_fetched_header(r, "X-Type").ptr, "application/x-www-form-urlencoded");
    ck_assert_str_eq(td_fetched_header(r, "X-Peer").ptr, "127.0.0.1");
    ck_assert_str_eq(td_fetched_header(r, "X-Host").ptr, "localhost");
    CHECK_BODY(r, "a=b");
}
END_TEST

static const struct {
    size_t size, chunk_size;
    bool expect_continue;
} bodies[] = {{0, 0, false},      {1, 1, false},    {100000, 0, false}, {100000, 333, false},
              {1 << 20, 0, true}, {5, 2, true}};

START_TEST(large_and_chunked_and_expected_bodies_arrive)
{
    char *bytes = malloc(bodies[_i].size + 1);
    const td_str body = td_str_make(bytes, bodies[_i].size);

    memset(bytes, 'x', body.len);
    const td_response *r = td_test_fetch(
        t, "/echo",
        TD_TEST_REQUEST(.method = "POST", .body = body, .chunk_size = bodies[_i].chunk_size,
                        .expect_continue = bodies[_i].expect_continue));
    ck_assert_int_eq(r->status, 200);
    ck_assert(td_str_equal(r->body, body));
    free(bytes);
}
END_TEST

START_TEST(a_body_that_is_too_large_is_refused)
{
    static char bytes[(1 << 20) + 1];
    const td_response *r = td_test_fetch(
        t, "/echo", TD_TEST_REQUEST(.method = "POST", .body = {bytes, sizeof(bytes)}));

    ck_assert_int_eq(r->status, 413);
}
END_TEST

START_TEST(json_is_parsed)
{
    const td_json *json = td_test_json(t, td_test_fetch(t, "/json", NULL));

    ck_assert_str_eq(td_json_as_str(td_json_get(json, "name"), "").ptr, "jack");
    ck_assert_int_eq(td_json_as_int(td_json_get(json, "age"), 0), 7);
}
END_TEST

START_TEST(streams_are_joined_and_what_is_cut_off_is_599)
{
    CHECK_BODY(td_test_fetch(t, "/stream", NULL), "0,1,2,");
    const td_response *r = td_test_fetch(t, "/stream?raise=on", NULL);
    ck_assert_int_eq(r->status, 599);
    ck_assert_int_eq(r->error, TD_ECLOSED);
    ck_assert_str_eq(r->reason.ptr, "closed in the middle of the response");
    CHECK_BODY(r, "0,1,2,");
}
END_TEST

/* ---- several at once */

START_TEST(one_waits_while_another_is_answered)
{
    td_test_exchange *waiting = td_test_send(t, "/wait", NULL);

    CHECK_BODY(td_test_fetch(t, "/greet/you", NULL), "Hello, you");
    ck_assert_int_eq(td_test_fetch(t, "/open", TD_TEST_REQUEST(.method = "POST"))->status, 204);
    CHECK_BODY(td_test_receive(t, waiting), "through");
    CHECK_BODY(td_test_receive(t, waiting), "through"); /* it is still there */
}
END_TEST

START_TEST(a_stream_is_read_while_it_goes_on)
{
    td_test_exchange *ticks = td_test_send(t, "/ticks", NULL);
    const td_str some = td_test_receive_some(t, ticks, 15);

    ck_assert_uint_ge(some.len, 15);
    ck_assert_int_eq(strncmp(some.ptr, "tick,tick,tick,", 15), 0);
    td_test_leave(t, ticks); /* and the handler learns it */
    td_test_settle(t);
}
END_TEST

START_TEST(a_connection_that_was_taken_over_is_spoken_on)
{
    static const td_fetch_header headers[] = {{"Connection", "upgrade"}, {"Upgrade", "shout"}};
    td_test_exchange *x = td_test_send(t, "/shout", TD_TEST_REQUEST(.headers = headers,
                                                                    .headers_count = 2));
    const td_response *r;

    ck_assert_str_eq((td_test_write(t, x, TD_STR("one\n")), td_test_receive_some(t, x, 6).ptr),
                     "! one\n");
    td_test_write(t, x, TD_STR("two\n\n"));
    r = td_test_receive(t, x);
    ck_assert_int_eq(r->status, 101);
    CHECK_BODY(r, "! one\n! two\n");
}
END_TEST

START_TEST(work_after_the_answer_is_waited_for)
{
    const struct state *state = td_instance_state(td_test_instance(t, "tested"));

    CHECK_BODY(td_test_fetch(t, "/work_on", NULL), "done");
    ck_assert_int_eq(state->loads, 0);
    td_test_settle(t);
    ck_assert_int_eq(state->loads, 42);
}
END_TEST

START_TEST(time_passes_when_it_is_let)
{
    td_test_exchange *sleeping = td_test_send(t, "/sleep", NULL);

    td_test_run(t, 100);
    CHECK_BODY(td_test_receive(t, sleeping), "awake");
}
END_TEST

/* ---- what stays from one to the next */

START_TEST(cookies_are_kept_when_that_is_wanted)
{
    td_test_close(&t);
    t = td_test_open(TD_TEST(.plugin = &tested, .keep_cookies = true));
    CHECK_BODY(td_test_fetch(t, "/visits", NULL), "1");
    CHECK_BODY(td_test_fetch(t, "/visits", NULL), "2");
    ck_assert_str_eq(td_test_cookie(t, "visits").ptr, "2");
    td_test_set_cookie(t, "visits", "41");
    td_test_set_cookie(t, "other", "x");
    CHECK_BODY(td_test_fetch(t, "/visits", NULL), "42");
    td_test_fetch(t, "/visits", TD_TEST_REQUEST(.method = "DELETE"));
    ck_assert_ptr_null(td_test_cookie(t, "visits").ptr);
    CHECK_BODY(td_test_fetch(t, "/visits", NULL), "1");
}
END_TEST

START_TEST(cookies_are_not_kept_else)
{
    CHECK_BODY(td_test_fetch(t, "/visits", NULL), "1");
    CHECK_BODY(td_test_fetch(t, "/visits", NULL), "1");
    ck_assert_ptr_null(td_test_cookie(t, "visits").ptr);
}
END_TEST

START_TEST(shared_memory_is_there_and_zeroed)
{
    CHECK_BODY(td_test_fetch(t, "/hits", NULL), "1");
    CHECK_BODY(td_test_fetch(t, "/hits", NULL), "2");
    td_test_close(&t);
    open_tested();
    CHECK_BODY(td_test_fetch(t, "/hits", NULL), "1");
}
END_TEST

START_TEST(metrics_can_be_read)
{
    const td_metric *metric = td_instance_metric(td_test_instance(t, "tested"), "hits");

    td_test_fetch(t, "/hits", NULL);
    td_test_fetch(t, "/hits", NULL);
    ck_assert_int_eq(td_metric_value(metric), 2);
}
END_TEST

START_TEST(the_log_can_be_read)
{
    ck_assert_str_eq(td_test_log(t), "");
    ck_assert_int_eq(td_test_fetch(t, "/complain", NULL)->status, 403);
    ck_assert_msg(strstr(td_test_log(t), "tested] /complain: 403") != NULL, "%s", td_test_log(t));
}
END_TEST

/* ---- what is loaded */

START_TEST(hooks_run_once_in_their_order)
{
    ck_assert_str_eq(hooks, "load start ");
    td_test_close(&t);
    ck_assert_str_eq(hooks, "load start drain stop");
    ck_assert_ptr_null(t);
}
END_TEST

START_TEST(settings_are_those_of_an_ini)
{
    td_test_close(&t);
    t = td_test_open(TD_TEST(
            .plugin = &tested, .settings = TD_TEST_LIST("handler:tested.greeting=Ahoy",
                                                        "handler:tested.mount=/api",
                                                        "handler:other.file=tested.so",
                                                        "handler:other.greeting=Moin")));
    CHECK_BODY(td_test_fetch(t, "/api/greet/you", NULL), "Ahoy, you");
    CHECK_BODY(td_test_fetch(t, "/greet/you", NULL), "Moin, you");
    ck_assert_ptr_nonnull(td_test_instance(t, "other"));
    ck_assert_ptr_null(td_test_instance(t, "nobody"));
}
END_TEST

START_TEST(classes_alone_are_enough)
{
    td_test_close(&t);
    t = td_test_open(TD_TEST(.urls = TD_URLS(TD_URL("/", &Json)),
                             .settings = TD_TEST_LIST("handler:test.mount=/below")));
    ck_assert_int_eq(td_test_fetch(t, "/below/", NULL)->status, 200);
}
END_TEST

START_TEST(shared_objects_are_loaded_as_a_worker_does)
{
    td_test_close(&t);
    t = td_test_open(TD_TEST(.files = TD_TEST_LIST("handlers/hello.so",
                                                   "handlers/security_headers.so"),
                             .settings = TD_TEST_LIST("application.middleware=security_headers")));
    const td_response *r = td_test_fetch(t, "/hello/world", NULL);
    ck_assert_int_eq(r->status, 200);
    ck_assert_str_eq(td_fetched_header(r, "X-Content-Type-Options").ptr, "nosniff");
}
END_TEST

#define REFUSED(text, ...) {text, &(const td_test_options){.size = sizeof(td_test_options), __VA_ARGS__}}

static const struct {
    const char *text;
    const td_test_options *options;
} refused[] = {
    REFUSED("nothing to test", .timeout_ms = 0),
    REFUSED("no/such.so: No such file or directory", .files = TD_TEST_LIST("no/such.so")),
    REFUSED("tornadod: its name does not end in .so", .files = TD_TEST_LIST("tornadod")),
    REFUSED("undefined symbol", .files = TD_TEST_LIST("tests/handlers/undefined_symbol.so")),
    REFUSED("the daemon's own", .files = TD_TEST_LIST("tests/handlers/private_symbol.so")),
    REFUSED("handler:tested] does not know greting; did you mean greeting?", .plugin = &tested,
            .settings = TD_TEST_LIST("handler:tested.greting=x")),
    REFUSED("handler tested (tested.so): number: not this one", .plugin = &tested,
            .settings = TD_TEST_LIST("handler:tested.number=13")),
    REFUSED("a load or start hook has not returned within 50 ms", .plugin = &tested,
            .timeout_ms = 50, .settings = TD_TEST_LIST("handler:tested.number=14")),
    REFUSED("there is no other.so", .plugin = &tested,
            .settings = TD_TEST_LIST("handler:x.file=other.so")),
    REFUSED("middleware: there is no handler 'nobody'", .plugin = &tested,
            .settings = TD_TEST_LIST("application.middleware=nobody")),
    REFUSED("no_such.ini: No such file", .plugin = &tested, .ini = "no_such.ini"),
};

START_TEST(what_refuses_to_load_says_why)
{
    td_test_close(&t);
    const char *text = td_test_refusal(refused[_i].options);
    ck_assert_ptr_nonnull(text);
    ck_assert_msg(strstr(text, refused[_i].text) != NULL, "'%s', not '%s'", text, refused[_i].text);
    open_tested(); /* nothing of it is in the way */
    ck_assert_ptr_null((td_test_close(&t), td_test_refusal(TD_TEST(.plugin = &tested))));
}
END_TEST

/* ---- failing: in a child, whose last words are looked at */

static char said[4096];

static void
tell_and_exit(const char *source, int line, const char *message)
{
    fprintf(stderr, "%s:%d: %s\n", source, line, message);
    _exit(7); /* of a coroutine, too, whose stack is all that LeakSanitizer would look at */
}

static int
in_child(void (*run)(void))
{
    int ends[2], status;
    size_t len = 0;
    ssize_t n;

    ck_assert_int_eq(pipe(ends), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        run();
        _exit(0);
    }
    close(ends[1]);
    while ((n = read(ends[0], said + len, sizeof(said) - 1 - len)) > 0)
        len += (size_t)n;
    close(ends[0]);
    said[len] = '\0';
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static td_test *
open_impatient(void)
{
    return td_test_open(&(const td_test_options){.size = sizeof(td_test_options),
                                                 .fail = tell_and_exit,
                                                 .source = "here.c",
                                                 .line = 1,
                                                 .plugin = &tested,
                                                 .timeout_ms = 50});
}

static void fetch_what_hangs(void) { td_test_fetch(open_impatient(), "/hang", NULL); }
static void fetch_without_end(void) { td_test_fetch(open_impatient(), "/ticks", NULL); }
static void fetch_what_spins(void) { td_test_fetch(open_impatient(), "/spin", NULL); }

static void
close_what_hangs(void)
{
    td_test *impatient = open_impatient();

    td_test_send(impatient, "/hang", NULL);
    td_test_run(impatient, 10);
    td_test_close(&impatient);
}

static void
parse_no_json(void)
{
    td_test *impatient = open_impatient();

    td_test_json(impatient, td_test_fetch(impatient, "/greet/you", NULL));
}

static void
await_more_than_comes(void)
{
    td_test *impatient = open_impatient();

    td_test_receive_some(impatient, td_test_send(impatient, "/greet/you", NULL), 100);
}

static void
use_what_is_closed(void)
{
    td_test *impatient = open_impatient(), *copy = impatient;

    td_test_close(&impatient);
    td_test_fetch(copy, "/greet/you", NULL);
}

static void
open_two(void)
{
    open_impatient();
    open_impatient();
}

static void fetch_within_a_handler(void) { td_test_fetch(t = open_impatient(), "/within", NULL); }

static void
close_within_a_handler(void)
{
    t = open_impatient();
    td_test_fetch(t, "/within", TD_TEST_REQUEST(.method = "POST"));
}

static void *
fetch_for_another(void *arg)
{
    td_test_fetch(arg, "/greet/you", NULL);
    return NULL;
}

static void
fetch_on_a_thread(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, fetch_for_another, open_impatient());
    pthread_join(thread, NULL);
}

static void
ask_nobody_for_the_log(void)
{
    open_impatient();
    td_test_log(NULL);
}

static void fetch_nothing(void) { td_test_fetch(open_impatient(), NULL, NULL); }
static void receive_nothing(void) { td_test_receive(open_impatient(), NULL); }

static void
write_to_who_has_left(void)
{
    td_test *impatient = open_impatient();
    td_test_exchange *x = td_test_send(impatient, "/hang", NULL);

    td_test_leave(impatient, x);
    td_test_write(impatient, x, TD_STR("x"));
}

static const struct {
    void (*run)(void);
    const char *text;
    bool aborts;
} failing[] = {
    {fetch_what_hangs, "GET /hang: no answer within 50 ms: its handler still waits", false},
    {fetch_without_end, "GET /ticks: 200, but after", false},
    {fetch_what_spins, "GET /spin: a handler spins or blocks: for 550 ms", true},
    {close_what_hangs, "after 50 ms 1 handlers and 0 jobs of threads still run", false},
    {parse_no_json, "/greet/you: its body is no JSON: line 1, column 5", false},
    {await_more_than_comes, "GET /greet/you: it has ended after 10 bytes of body", false},
    {use_what_is_closed, "this td_test is not open", true},
    {open_two, "here.c:1: another td_test is open", false},
    {fetch_within_a_handler, "GET /greet/you: asked by a handler", false},
    {close_within_a_handler, "td_test_close: called by a handler", false},
    {fetch_on_a_thread, "this td_test is another thread's", true},
    {ask_nobody_for_the_log, "here.c:1: this td_test is not open", true},
    {fetch_nothing, "td_test_send: there is no url", false},
    {receive_nothing, "td_test_receive: there is no exchange", false},
    {write_to_who_has_left, "GET /hang: its client has left", false},
};

START_TEST(what_hangs_fails_with_a_sentence)
{
    td_test_close(&t);
    const int status = in_child(failing[_i].run);
    ck_assert_msg(strstr(said, failing[_i].text) != NULL, "it said: %s", said);
    if (failing[_i].aborts)
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    else
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    ck_assert_msg(strncmp(said, "here.c:1: ", 10) == 0 || strstr(said, __FILE__ ":") != NULL,
                  "no place: %s", said);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_tested, close_tested);
    tcase_add_test(tcase, a_request_goes_in_and_a_response_comes_out);
    tcase_add_test(tcase, requests_follow_one_another);
    tcase_add_test(tcase, handlers_may_wait);
    ADD_TABLE(tcase, what_no_handler_answers_is_answered, pages);
    tcase_add_test(tcase, bodies_and_headers_arrive);
    tcase_add_test(tcase, a_post_is_a_form_unless_it_says_what_it_is);
    ADD_TABLE(tcase, large_and_chunked_and_expected_bodies_arrive, bodies);
    tcase_add_test(tcase, a_body_that_is_too_large_is_refused);
    tcase_add_test(tcase, json_is_parsed);
    tcase_add_test(tcase, streams_are_joined_and_what_is_cut_off_is_599);
    tcase_add_test(tcase, one_waits_while_another_is_answered);
    tcase_add_test(tcase, a_stream_is_read_while_it_goes_on);
    tcase_add_test(tcase, a_connection_that_was_taken_over_is_spoken_on);
    tcase_add_test(tcase, work_after_the_answer_is_waited_for);
    tcase_add_test(tcase, time_passes_when_it_is_let);
    tcase_add_test(tcase, cookies_are_kept_when_that_is_wanted);
    tcase_add_test(tcase, cookies_are_not_kept_else);
    tcase_add_test(tcase, shared_memory_is_there_and_zeroed);
    tcase_add_test(tcase, metrics_can_be_read);
    tcase_add_test(tcase, the_log_can_be_read);
    tcase_add_test(tcase, hooks_run_once_in_their_order);
    tcase_add_test(tcase, settings_are_those_of_an_ini);
    tcase_add_test(tcase, classes_alone_are_enough);
    tcase_add_test(tcase, shared_objects_are_loaded_as_a_worker_does);
    ADD_TABLE(tcase, what_refuses_to_load_says_why, refused);
    ADD_TABLE(tcase, what_hangs_fails_with_a_sentence, failing);
}

int
main(void)
{
    if (chdir(getenv("TD_BUILD") != NULL ? getenv("TD_BUILD") : "build") < 0)
        return EXIT_FAILURE;
    return unit_run("testing", fill);
}
