/*
 * Goal: each error that the daemon makes is counted under the name of its limit, or of what is bad.
 */
#include "base/counters.h"

#include <string.h>
#include "unit.h"

static const struct {
    int status;
    const char *why;
    td_reason reason;
} reasons[] = {
    {414, "request line: above max_request_line", TD_REASON_MAX_REQUEST_LINE},
    {431, "header: above max_header_size", TD_REASON_MAX_HEADER_SIZE},
    {431, "header: more lines than max_headers", TD_REASON_MAX_HEADERS},
    {400, "header: a line begins with a blank", TD_REASON_HEADER},
    {505, "request line: not HTTP/1.x", TD_REASON_REQUEST_LINE},
    {400, "Host: missing", TD_REASON_HOST},
    {413, "Content-Length is above max_body_size", TD_REASON_MAX_BODY_SIZE},
    {413, "chunk size: the body is above max_body_size", TD_REASON_MAX_BODY_SIZE},
    {400, "chunk size: no digit", TD_REASON_CHUNK},
    {431, "trailer: above max_trailer_size", TD_REASON_MAX_TRAILER_SIZE},
    {431, "trailer: more lines than max_headers", TD_REASON_MAX_HEADERS},
    {400, "trailer: a control byte in a value", TD_REASON_TRAILER},
    {413, "inflated the body is above max_body_size", TD_REASON_MAX_BODY_SIZE},
    {400, "Content-Length: not a number that fits", TD_REASON_CONTENT_LENGTH},
    {503, "max_connections", TD_REASON_MAX_CONNECTIONS},
    {503, "max_connections_per_address", TD_REASON_MAX_CONNECTIONS_PER_ADDRESS},
    {507, "body_temp_path /tmp: No space left on device", TD_REASON_BODY_TEMP_PATH},
    {504, "request_timeout has passed", TD_REASON_REQUEST_TIMEOUT},
    {503, "it is quarantined: it has crashed too often", TD_REASON_QUARANTINE},
    {413, "form: more fields than max_fields", TD_REASON_MAX_FIELDS},
    {400, "form: no boundary", TD_REASON_FORM},
    {400, "json: line 1, column 2: '}' expected", TD_REASON_JSON},
    {400, "Missing argument q", TD_REASON_ARGUMENT},
    {403, "XSRF cookie does not match POST argument", TD_REASON_XSRF_COOKIE},
    {404, NULL, TD_REASON_NO_ROUTE},
    {405, NULL, TD_REASON_NO_METHOD},
    {500, NULL, TD_REASON_HANDLER_FAILED},
    {501, NULL, TD_REASON_NOT_UNDERSTOOD},
    {418, "I am a teapot", TD_REASON_OTHER},
};

START_TEST(an_error_has_its_reason)
{
    td_worker_counters counted = {0};

    td_counters = &counted;
    td_count_reason(reasons[_i].status, reasons[_i].why);
    for (unsigned i = 0; i < TD_REASONS_COUNT; i++)
        ck_assert_msg(counted.reasons[i] == (i == reasons[_i].reason), "%s: %s",
                      reasons[_i].why != NULL ? reasons[_i].why : "", td_reason_names[i]);
}
END_TEST

START_TEST(no_two_reasons_have_one_name)
{
    for (unsigned i = 0; i < TD_REASONS_COUNT; i++)
        for (unsigned j = 0; j < i; j++)
            ck_assert_str_ne(td_reason_names[i], td_reason_names[j]);
}
END_TEST

static const struct {
    int status;
    unsigned class;
} statuses[] = {{200, 2}, {100, 1}, {599, 5}, {600, 0}, {999, 0}, {99, 0}, {0, 0}, {-1, 0}};

START_TEST(a_status_has_its_class)
{
    ck_assert_uint_eq(td_status_class(statuses[_i].status), statuses[_i].class);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, an_error_has_its_reason, reasons);
    tcase_add_test(tcase, no_two_reasons_have_one_name);
    ADD_TABLE(tcase, a_status_has_its_class, statuses);
}

int
main(void)
{
    return unit_run("counters", fill);
}
