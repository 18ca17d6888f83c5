/* Goal: the state of the daemon goes out in pieces, and stops where nobody reads it any more. */
#include "acting.h"
#include "web/metrics.h"

#define PIECES 100
#define PIECE 1000

static int result, pieces;
static bool has_ended;
static web_exchange *exchange;
static int leaves_after; /* pieces; 0: it stays */

/* As the daemon does: a piece, then the reader. */
static void
put(td_buf *to, td_metrics_format format, const td_metrics_reader *reader)
{
    static const char piece[PIECE];

    ck_assert_int_eq(format, TD_METRICS_JSON);
    for (pieces = 0; pieces < PIECES; pieces++) {
        if (leaves_after > 0 && pieces == leaves_after)
            exchange->gone = true;
        if (reader != NULL && !reader->take(to, reader->arg))
            return;
        td_buf_append(to, td_str_make(piece, sizeof(piece)));
    }
}

static void
setup(void)
{
    acting_setup();
    td_metrics_put = put;
}

static void
write_metrics(td_handler *h)
{
    result = td_write_metrics(h, TD_METRICS_JSON);
    has_ended = true;
}

static web_exchange *
serve(td_method_fn *method)
{
    act = method;
    exchange = web_route("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    web_execute(exchange);
    WEB_UNTIL(has_ended);
    web_turn();
    return exchange;
}

START_TEST(it_goes_out_in_pieces)
{
    web_exchange *x = serve(write_metrics);

    ck_assert_int_eq(result, 0);
    ck_assert_uint_eq(x->body_len, PIECES * PIECE);
    ck_assert_int_eq(x->flushes, 3); /* of 32 KiB and a part; the rest is the end's */
    ck_assert_int_eq(x->length, -1);
    web_done(x);
}
END_TEST

START_TEST(it_stops_when_the_client_has_gone)
{
    leaves_after = 40;
    web_exchange *x = serve(write_metrics);
    ck_assert_int_eq(result, TD_ECLOSED);
    ck_assert_int_eq(pieces, 66); /* the second time that it is sent */
    web_done(x);
}
END_TEST

static void
tell_at_once(td_handler *h)
{
    ck_assert_uint_eq(td_metrics(h, TD_METRICS_JSON).len, PIECES * PIECE);
    ck_assert_int_eq(td_write_metrics(h, (td_metrics_format)7), TD_EINVAL);
    ck_assert_ptr_null(td_metrics(h, (td_metrics_format)7).ptr);
    ck_assert_int_eq(td_write_metrics(NULL, TD_METRICS_JSON), TD_EINVAL);
    td_metrics_put = NULL;
    has_ended = true;
    ck_assert_int_eq(td_write_metrics(h, TD_METRICS_JSON), 0);
    ck_assert_ptr_null(td_metrics(h, TD_METRICS_JSON).ptr);
}

START_TEST(misuse_is_told_and_writes_nothing)
{
    web_exchange *x = serve(tell_at_once);

    ck_assert_uint_eq(x->body_len, 0);
    ck_assert(strstr(web_log(), "Act: td_write_metrics: there is no such format"));
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, web_teardown);
    tcase_add_test(tcase, it_goes_out_in_pieces);
    tcase_add_test(tcase, it_stops_when_the_client_has_gone);
    tcase_add_test(tcase, misuse_is_told_and_writes_nothing);
}

int
main(void)
{
    return unit_run("metrics", fill);
}
