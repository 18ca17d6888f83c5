/* Goal: dates are written as RFC 9110 section 5.6.7 has them, and all its three forms are read. */
#include "base/clock.h"

#include <tornado/error.h>
#include <stdio.h>
#include "unit.h"

static const struct {
    time_t t;
    const char *text;
} dates[] = {
    {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
    {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
    {951782399, "Mon, 28 Feb 2000 23:59:59 GMT"},
    {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
    {951868800, "Wed, 01 Mar 2000 00:00:00 GMT"},
    {1709164800, "Thu, 29 Feb 2024 00:00:00 GMT"},
    {4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"},
    {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"},
    {2147483648, "Tue, 19 Jan 2038 03:14:08 GMT"},
    {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
};

START_TEST(a_date_is_written_and_read)
{
    char text[TD_HTTP_DATE_LEN + 1];
    time_t t;

    td_http_date_format(dates[_i].t, text);
    ck_assert_str_eq(text, dates[_i].text);
    ck_assert_int_eq(td_http_date_parse(td_str_of(text), &t), 0);
    ck_assert_int_eq(t, dates[_i].t);
}
END_TEST

START_TEST(every_day_agrees_with_the_c_library)
{
    for (time_t t = 0; t < 253402300799; t += 86400 * 13 + 3607) {
        char text[TD_HTTP_DATE_LEN + 1], expected[64];
        struct tm tm;
        time_t read;

        gmtime_r(&t, &tm);
        strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        td_http_date_format(t, text);
        ck_assert_str_eq(text, expected);
        ck_assert_int_eq(td_http_date_parse(td_str_of(text), &read), 0);
        ck_assert_int_eq(read, t);
    }
}
END_TEST

START_TEST(a_clock_that_is_wrong_keeps_the_grammar)
{
    char text[TD_HTTP_DATE_LEN + 1];

    td_http_date_format(-1, text);
    ck_assert_str_eq(text, "Thu, 01 Jan 1970 00:00:00 GMT");
    td_http_date_format(253402300800, text);
    ck_assert_str_eq(text, "Fri, 31 Dec 9999 23:59:59 GMT");
}
END_TEST

static const struct {
    const char *text;
    time_t t; /* -1: TD_EBADMSG */
} texts[] = {
    {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
    {"Sun Nov  6 08:49:37 1994", 784111777},
    {"Sun Nov 16 08:49:37 1994", 784975777},
    {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777}, /* the day's name is not checked against it */
    {"Sun, 06 Nov 1994 08:49:60 GMT", 784111800}, /* a leap second */
    {"Mon, 01 Jan 0000 00:00:00 GMT", -62167219200},
    {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
    {"", -1},
    {"Sun", -1},
    {"Sunday", -1},
    {"Sun, 06 Nov 1994 08:49:37", -1},
    {"Sun, 06 Nov 1994 08:49:37 UTC", -1},
    {"Sun, 06 Nov 1994 08:49:37 GMT ", -1},
    {" Sun, 06 Nov 1994 08:49:37 GMT", -1},
    {"sun, 06 Nov 1994 08:49:37 GMT", -1},
    {"Sun, 06 nov 1994 08:49:37 GMT", -1},
    {"Sun, 6 Nov 1994 08:49:37 GMT", -1},
    {"Sun,06 Nov 1994 08:49:37 GMT", -1},
    {"Sun, 00 Nov 1994 08:49:37 GMT", -1},
    {"Sun, 31 Nov 1994 08:49:37 GMT", -1},
    {"Tue, 29 Feb 1900 00:00:00 GMT", -1},
    {"Sun, 06 Nov 1994 24:00:00 GMT", -1},
    {"Sun, 06 Nov 1994 08:60:37 GMT", -1},
    {"Sun, 06 Nov 1994 08:49:61 GMT", -1},
    {"Sun, +6 Nov 1994 08:49:37 GMT", -1},
    {"Sun, 06 Nov 94 08:49:37 GMT", -1},
    {"Sunday, 06-Nov-1994 08:49:37 GMT", -1},
    {"Sun, 06-Nov-94 08:49:37 GMT", -1},
    {"Sun Nov 6 08:49:37 1994", -1},
    {"Sun Nov  6 08:49:37 1994 GMT", -1},
};

START_TEST(all_forms_are_read_and_nothing_else)
{
    time_t t = 1;
    const int rc = td_http_date_parse(td_str_of(texts[_i].text), &t);

    ck_assert_int_eq(rc, texts[_i].t == -1 ? TD_EBADMSG : 0);
    ck_assert_int_eq(t, texts[_i].t == -1 ? 1 : texts[_i].t);
}
END_TEST

START_TEST(every_truncation_is_refused)
{
    static const char *const forms[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                        "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};
    time_t t;

    for (size_t i = 0; i < COUNT_OF(forms); i++)
        for (size_t len = 0; len < strlen(forms[i]); len++)
            ck_assert_int_eq(td_http_date_parse(td_str_make(forms[i], len), &t), TD_EBADMSG);
}
END_TEST

START_TEST(two_digits_of_a_year_are_at_most_50_years_ahead)
{
    const time_t now = time(NULL);

    for (int year = 0; year < 100; year++) {
        char text[64];
        struct tm tm;
        time_t t;

        snprintf(text, sizeof(text), "Sunday, 06-Nov-%02d 08:49:37 GMT", year);
        ck_assert_int_eq(td_http_date_parse(td_str_of(text), &t), 0);
        gmtime_r(&t, &tm);
        ck_assert_int_eq(tm.tm_year % 100, year);
        ck_assert_int_le(t - now, INT64_C(51) * 366 * 86400);
    }
}
END_TEST

START_TEST(the_date_of_now_is_made_once_a_second)
{
    time_t t;

    td_clock_refresh();

    const td_str date = td_http_date_now();

    ck_assert_uint_eq(date.len, TD_HTTP_DATE_LEN);
    ck_assert_int_eq(td_http_date_parse(date, &t), 0);
    ck_assert_int_eq(t, td_clock_cached_wall);
    td_clock_cached_wall += 86400;
    ck_assert_int_eq(td_http_date_parse(td_http_date_now(), &t), 0);
    ck_assert_int_eq(t, td_clock_cached_wall);
}
END_TEST

START_TEST(a_tick_is_over_after_a_while_and_not_at_once)
{
    const int64_t end_ns = td_clock_ns() + 10 * TD_NS_PER_S;
    bool was_same = false;

    while (!was_same && td_clock_ns() < end_ns) { /* the next one may begin in between */
        td_clock_refresh();
        was_same = td_clock_is_same_tick();
    }
    ck_assert(was_same);
    while (td_clock_is_same_tick() && td_clock_ns() < end_ns)
        ;
    ck_assert(!td_clock_is_same_tick());
    ck_assert_int_ge(td_clock_ns(), td_now_ns());
}
END_TEST

START_TEST(now_is_what_the_last_refresh_saw)
{
    td_clock_refresh();

    const int64_t now_ns = td_now_ns();

    ck_assert_int_ge(td_clock_ns(), now_ns);
    ck_assert_int_eq(td_now_ns(), now_ns);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, a_date_is_written_and_read, dates);
    tcase_add_test(tcase, every_day_agrees_with_the_c_library);
    tcase_add_test(tcase, a_clock_that_is_wrong_keeps_the_grammar);
    ADD_TABLE(tcase, all_forms_are_read_and_nothing_else, texts);
    tcase_add_test(tcase, every_truncation_is_refused);
    tcase_add_test(tcase, two_digits_of_a_year_are_at_most_50_years_ahead);
    tcase_add_test(tcase, the_date_of_now_is_made_once_a_second);
    tcase_add_test(tcase, now_is_what_the_last_refresh_saw);
    tcase_add_test(tcase, a_tick_is_over_after_a_while_and_not_at_once);
}

int
main(void)
{
    return unit_run("clock", fill);
}
