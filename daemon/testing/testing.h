/* The inside of <tornado/testing.h>: testing.c is the worker, testclient.c who asks it. */
#ifndef DAEMON_TESTING_TESTING_H
#define DAEMON_TESTING_TESTING_H

#define TD_TEST_WITHOUT_PLACES
#include <pthread.h>
#include <tornado/testing.h>
#include "base/list.h"
#include "base/settings.h"
#include "daemon/site/plan.h"
#include "daemon/site/site.h"
#include "http/httpserver.h"
#include "io/ioloop.h"

struct td_test {
    td_arena arena;
    pthread_t thread; /* that has opened it */
    td_err failure; /* why it cannot be opened; code 0: it can */
    const td_configuration *configuration;
    struct plan plan;
    struct site site;
    td_ioloop *loop;       /* NULL: it is not open yet */
    td_httpserver *server; /* of the first listener, though it does not listen */
    bool hooks_return;     /* those that were called have come back */

    td_test_fail_fn *fail;
    const char *source; /* where the test is */
    int line;
    int64_t timeout_ms;
    int log_fd; /* -1: the log is not kept */
    char *log;  /* malloced, for td_test_log */

    td_list exchanges;
    bool keeps_cookies;
    td_list cookies; /* of struct testcookie */

    bool runs;       /* inside of testing_wait */
    bool timed_out;
    td_timer limit;
};

/* The test ends here; what was logged is printed, so that it is not lost. */
TD_NORETURN void testing_fail(td_test *test, const char *format, ...) TD_PRINTF(2, 3);

/* The process ends, with the last place that is known, unless t is open and this thread's. */
void testing_check(const td_test *t);

/*
 * Run the loop until testing_stop, for at most timeout_ms; false: it took longer.  what: for the
 * line that says that a handler does not give the loop back.
 */
bool testing_wait(td_test *test, int64_t timeout_ms, const char *what);
void testing_stop(td_test *test);

/* ---- testclient.c */

void testclient_close_all(td_test *test); /* all clients go */

#endif
