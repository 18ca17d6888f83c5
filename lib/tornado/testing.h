/*
 * Tests of handlers (Tornado's tornado.testing): a program of tests calls them in its own process,
 * a request in, a response out, without a port and without a daemon.
 *
 *     #include <check.h>
 *     #include <tornado/testing.h>
 *
 *     START_TEST(greets_whom_it_is_told)
 *     {
 *         td_test *t = td_test_open(TD_TEST(.files = TD_TEST_LIST("./hello.so")));
 *         const td_response *r = td_test_fetch(t, "/hello/world", NULL);
 *
 *         ck_assert_int_eq(r->status, 200);
 *         ck_assert_str_eq(r->body.ptr, "Hello, world\n");
 *         td_test_close(&t);
 *     }
 *     END_TEST
 *
 *     cc -o test_hello test_hello.c $(pkg-config --cflags --libs tornado-test check)
 *
 * What is between the two is what it is in a worker: the parser and its limits, routes, middleware,
 * coroutines, hooks; the connection is a pair of sockets that leads nowhere.  The loop runs inside
 * of these functions and at no other time, so what a handler waits for goes on only there.
 *
 * A test fails by libcheck when <check.h> was included before; without it a line is written to
 * standard error and the process aborts.  A process has one td_test at a time, and all functions
 * are for the thread that opened it; another one that calls them ends the process with such a line.
 * A handler cannot wait for another one by them: that fails the test.
 */
#ifndef TORNADO_TESTING_H
#define TORNADO_TESTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/error.h>
#include <tornado/httpclient.h>
#include <tornado/json.h>
#include <tornado/plugin.h>
#include <tornado/str.h>

#define TD_TEST_API TD_EXTERN_C __attribute__((visibility("default")))

typedef struct td_test td_test;
typedef struct td_test_exchange td_test_exchange; /* a request, and what is answered to it */

/* Ends the test: what is wrong, and the line of the test where it turned up.  Must not return. */
typedef void td_test_fail_fn(const char *source, int line, const char *message);

/*
 * What is tested.  All that is named is loaded, each a handler as if it lay in the directory of a
 * daemon; strings and lists are copied, plugins and urls have to stay.
 */
typedef struct td_test_options {
    size_t size TD_ZERO; /* of the struct; set by TD_TEST */
    td_test_fail_fn *fail TD_ZERO; /* these, too: how a test fails, */
    const char *source TD_ZERO;    /* and where it stands */
    int line TD_ZERO;
    const char *const *files TD_ZERO; /* paths of shared objects; a list that ends in NULL */
    const td_plugin *plugin TD_ZERO;  /* one that is linked in: a handler of its .name */
    const td_url *urls TD_ZERO;       /* classes alone: a handler of the name "test" */
    const char *ini TD_ZERO;          /* path of a file of settings; NULL: none */
    /*
     * "handler:hello.greeting=Hi", "application.debug=on": as --set of tornadod; win over the ini.
     */
    const char *const *settings TD_ZERO;
    int64_t timeout_ms TD_ZERO; /* of each wait in here; 0: 3 s, less than libcheck's own 4 s */
    bool keep_cookies TD_ZERO;  /* send those that responses have set, as a browser does */
    bool keep_log TD_ZERO;      /* for td_test_log; else warnings and errors go to standard error */
} td_test_options;

/* A request; zeroed, or NULL: GET. */
typedef struct td_test_request {
    size_t size TD_ZERO;        /* of the struct; set by TD_TEST_REQUEST */
    const char *method TD_ZERO; /* NULL: GET.  Any token */
    /* Sent as they are, TD_FETCH_HEADERS writes them; beside Host (unless it is among them) and how
       the body is framed.  A body of a POST without Content-Type is said to be a form. */
    const td_fetch_header *headers TD_ZERO;
    size_t headers_count TD_ZERO;
    td_str body TD_ZERO;         /* the null string: none */
    size_t chunk_size TD_ZERO;   /* bytes a chunk, of a chunked body; 0: it has Content-Length */
    bool expect_continue TD_ZERO; /* the body is held back until 100 Continue has come */
    const char *peer TD_ZERO;    /* address of the client, in numbers; NULL: 127.0.0.1 */
} td_test_request;

#define TD_TEST_PLACE .fail = TD_TEST_FAIL, .source = __FILE__, .line = __LINE__
#ifndef __cplusplus
#define TD_TEST(...)                                                                               \
    (&(const td_test_options){.size = sizeof(td_test_options), TD_TEST_PLACE, __VA_ARGS__})
#define TD_TEST_REQUEST(...)                                                                       \
    (&(const td_test_request){.size = sizeof(td_test_request), __VA_ARGS__})
#define TD_TEST_LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#else /* lists: arrays of one's own */
#define TD_TEST(...) TD_TEST_OPTIONS_OF(td_test_options, TD_TEST_PLACE, __VA_ARGS__)
#define TD_TEST_OPTIONS_OF(type_, ...) TD_OPTIONS_OF(type_, __VA_ARGS__)
#define TD_TEST_REQUEST(...) TD_OPTIONS_OF(td_test_request, __VA_ARGS__)
#endif

#ifdef CHECK_H
static inline void
td_test_fail_by_check(const char *source, int line, const char *message)
{
    _ck_assert_failed(source, line, "Failed", "%s", message);
}
#define TD_TEST_FAIL td_test_fail_by_check
#else
#define TD_TEST_FAIL NULL
#endif

/*
 * Load, run the hooks check, load and start.  A failure of any of it, or hooks that do not return
 * within timeout_ms, fails the test.
 */
TD_TEST_API td_test *td_test_open(const td_test_options *options);

/*
 * The text of what refuses to load, for the test that it does: a td_err's, until the next call.
 * NULL: nothing does.
 */
TD_TEST_API const char *td_test_refusal(const td_test_options *options);

/*
 * Wait until no handler runs and no thread works for one, run the hooks drain and stop, free all
 * that has come out of this td_test, and clear *t.  Fails the test when that takes longer than
 * timeout_ms. NULL inside is harmless.
 */
TD_TEST_API void td_test_close(td_test **t);

/* The place in the test that a failure names from now on; returns t.  Macros below note it. */
TD_TEST_API td_test *td_test_at(td_test *t, const char *source, int line);

/*
 * Ask, and wait until the answer is complete: td_test_send and td_test_receive.
 *
 * url      "/path?query", sent as it is; or "http://host/path", which gives Host, too (else
 *          "localhost").
 * Returns  the response, valid until td_test_close; its body has a NUL behind.  What is no whole
 *          response (cut off, malformed) has the status 599, error TD_ECLOSED or TD_EBADMSG, and says
 *          in `reason` what is wrong with it.  Redirects are not followed, bodies not inflated.
 *
 * No answer within timeout_ms fails the test, and so does a handler that spins or blocks: then the
 * process aborts, half a second later, with a line that says so.
 */
TD_TEST_API const td_response *td_test_fetch(td_test *t, const char *url,
                                             const td_test_request *request);

/*
 * Begin to ask, for tests of what several clients do at once.  Nothing is sent before the next
 * wait.
 */
TD_TEST_API td_test_exchange *td_test_send(td_test *t, const char *url,
                                           const td_test_request *request);

/* Wait for that one; the others go on meanwhile. */
TD_TEST_API const td_response *td_test_receive(td_test *t, td_test_exchange *exchange);

/*
 * Wait until so many bytes of its body have come, of a stream of events that does not end by
 * itself. They are valid until the next wait, with a NUL behind.  Fails the test when it ends
 * before.
 */
TD_TEST_API td_str td_test_receive_some(td_test *t, td_test_exchange *exchange, size_t bytes);

/*
 * Send bytes as they are behind the request, at the next wait: what a handler reads that has taken
 * the connection over (td_detach, WebSocket).  Its response is complete when it closes, with status
 * 101 and what it has written as the body, so td_test_receive_some reads what it says meanwhile.
 */
TD_TEST_API void td_test_write(td_test *t, td_test_exchange *exchange, td_str bytes);

/* The client goes away, at once and without a word.  It may have its answer already. */
TD_TEST_API void td_test_leave(td_test *t, td_test_exchange *exchange);

/* Let the loop run for so long: timers, spawned coroutines. */
TD_TEST_API void td_test_run(td_test *t, int64_t ms);

/*
 * Wait until no handler runs, also of those that work on after their answer, and no thread for one.
 */
TD_TEST_API void td_test_settle(td_test *t);

/* The body as JSON, valid until td_test_close; what is none fails the test. */
TD_TEST_API const td_json *td_test_json(td_test *t, const td_response *response);

/*
 * Of keep_cookies: the value of a cookie as it was sent, the null string for none; and to change it
 * (value NULL: forget it).  Paths and domains are not looked at.  Valid until td_test_close.
 */
TD_TEST_API td_str td_test_cookie(const td_test *t, const char *name);
TD_TEST_API void td_test_set_cookie(td_test *t, const char *name, const char *value);

/* With keep_log: all that was logged so far, valid until the next call; without it "". */
TD_TEST_API const char *td_test_log(td_test *t);

/*
 * A handler that was loaded, for td_instance_state, td_instance_metric and their kin; NULL: there
 * is none of that name.
 */
TD_TEST_API td_instance *td_test_instance(const td_test *t, const char *name);

#ifndef TD_TEST_WITHOUT_PLACES /* as it is where these functions are defined */
#define TD_TEST_HERE(t_) td_test_at((t_), __FILE__, __LINE__)
#define td_test_fetch(t_, ...) td_test_fetch(TD_TEST_HERE(t_), __VA_ARGS__)
#define td_test_send(t_, ...) td_test_send(TD_TEST_HERE(t_), __VA_ARGS__)
#define td_test_receive(t_, exchange_) td_test_receive(TD_TEST_HERE(t_), (exchange_))
#define td_test_receive_some(t_, ...) td_test_receive_some(TD_TEST_HERE(t_), __VA_ARGS__)
#define td_test_write(t_, ...) td_test_write(TD_TEST_HERE(t_), __VA_ARGS__)
#define td_test_run(t_, ms_) td_test_run(TD_TEST_HERE(t_), (ms_))
#define td_test_settle(t_) td_test_settle(TD_TEST_HERE(t_))
#define td_test_json(t_, response_) td_test_json(TD_TEST_HERE(t_), (response_))
#endif

#endif
