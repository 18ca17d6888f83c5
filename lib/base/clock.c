/* Clocks, and dates without the C library, whose functions follow the locale as HTTP does not. */
#include "base/clock.h"

#include <string.h>
#include <tornado/error.h>

#define SECONDS_PER_DAY 86400
#define HTTP_DATE_MAX INT64_C(253402300799) /* Fri, 31 Dec 9999 23:59:59 GMT */

int64_t td_clock_cached_ns;
int64_t td_clock_read_ns;
time_t td_clock_cached_wall;
static int64_t tick_ns; /* the coarse clock at the last refresh */

static const char day_names[7][10] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                      "Thursday", "Friday", "Saturday"};
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static int64_t
read_clock(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * TD_NS_PER_S + now.tv_nsec;
}

int64_t
td_clock_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

bool
td_clock_is_same_tick(void)
{
    return read_clock(CLOCK_MONOTONIC_COARSE) == tick_ns;
}

void
td_clock_refresh(void)
{
    td_clock_cached_ns = td_clock_read_ns = td_clock_ns();
    tick_ns = read_clock(CLOCK_MONOTONIC_COARSE);
    td_clock_cached_wall = time(NULL);
}

td_str
td_http_date_now(void)
{
    static char text[TD_HTTP_DATE_LEN + 1];
    static time_t made_for = -1;

    if (td_clock_cached_wall != made_for) {
        if (td_clock_cached_wall == 0)
            td_clock_refresh();
        made_for = td_clock_cached_wall;
        td_http_date_format(made_for, text);
    }
    return td_str_make(text, TD_HTTP_DATE_LEN);
}

struct civil {
    int64_t year;
    int month, day; /* 1..12, 1..31 */
};

/*
 * Days since 1970 and the proleptic Gregorian calendar, by years that begin in March: then the leap
 * day is the last one, and the lengths of months repeat every five (153 days).
 */
static int64_t
days_of(struct civil date)
{
    const int64_t year = date.month <= 2 ? date.year - 1 : date.year;
    const int64_t era = (year >= 0 ? year : year - 399) / 400;
    const int64_t year_of_era = year - era * 400;
    const int64_t day_of_year = (153 * ((date.month + 9) % 12) + 2) / 5 + date.day - 1;
    const int64_t day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

static struct civil
civil_of(int64_t days)
{
    const int64_t shifted = days + 719468;
    const int64_t era = shifted / 146097;
    const int64_t day_of_era = shifted - era * 146097;
    const int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const int64_t day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t month_from_march = (5 * day_of_year + 2) / 153;
    const int month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);

    return (struct civil){.year = era * 400 + year_of_era + (month <= 2),
                          .month = month,
                          .day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1)};
}

static void
put_digits(char *end, int64_t value, int count)
{
    for (; count > 0; count--, value /= 10)
        *--end = (char)('0' + value % 10);
}

void
td_http_date_format(time_t t, char out[TD_HTTP_DATE_LEN + 1])
{
    /* A clock that is that wrong must not break the grammar. */
    const int64_t seconds = t < 0 ? 0 : t > HTTP_DATE_MAX ? HTTP_DATE_MAX : t;
    const int64_t days = seconds / SECONDS_PER_DAY, rest = seconds % SECONDS_PER_DAY;
    const struct civil date = civil_of(days);

    memcpy(out, "Ddd, 00 Mmm 0000 00:00:00 GMT", TD_HTTP_DATE_LEN + 1);
    memcpy(out, day_names[(days + 4) % 7], 3); /* 1970 began on a Thursday */
    put_digits(out + 7, date.day, 2);
    memcpy(out + 8, month_names[date.month - 1], 3);
    put_digits(out + 16, date.year, 4);
    put_digits(out + 19, rest / 3600, 2);
    put_digits(out + 22, rest / 60 % 60, 2);
    put_digits(out + 25, rest % 60, 2);
}

/* ---- parsing: each take_ consumes from the front, and says whether it was there */

static bool
take(td_str *s, const char *literal)
{
    const size_t len = strlen(literal);

    if (s->len < len || memcmp(s->ptr, literal, len) != 0)
        return false;
    *s = td_str_make(s->ptr + len, s->len - len);
    return true;
}

static bool
take_digits(td_str *s, size_t count, int *value_out)
{
    int value = 0;

    if (s->len < count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (s->ptr[i] < '0' || s->ptr[i] > '9')
            return false;
        value = value * 10 + (s->ptr[i] - '0');
    }
    *s = td_str_make(s->ptr + count, s->len - count);
    *value_out = value;
    return true;
}

static bool
take_month(td_str *s, int *month_out)
{
    for (int i = 0; i < 12; i++)
        if (take(s, month_names[i])) {
            *month_out = i + 1;
            return true;
        }
    return false;
}

struct broken {
    struct civil date;
    int hour, minute, second;
};

/* time-of-day = hour ":" minute ":" second */
static bool
take_time(td_str *s, struct broken *b)
{
    return take_digits(s, 2, &b->hour) && take(s, ":") && take_digits(s, 2, &b->minute) &&
           take(s, ":") && take_digits(s, 2, &b->second);
}

/* IMF-fixdate = day-name "," SP 2DIGIT SP month SP 4DIGIT SP time-of-day SP "GMT" */
static bool
take_imf(td_str s, struct broken *b)
{
    int year;

    if (!(take(&s, ", ") && take_digits(&s, 2, &b->date.day) && take(&s, " ") &&
          take_month(&s, &b->date.month) && take(&s, " ") && take_digits(&s, 4, &year) &&
          take(&s, " ") && take_time(&s, b) && take(&s, " GMT")))
        return false;
    b->date.year = year;
    return s.len == 0;
}

/*
 * rfc850-date = day-name-l "," SP 2DIGIT "-" month "-" 2DIGIT SP time-of-day SP "GMT"
 * A year that would be more than 50 years ahead is the latest one in the past with these digits.
 */
static bool
take_rfc850(td_str s, struct broken *b)
{
    const int64_t this_year = civil_of(time(NULL) / SECONDS_PER_DAY).year;
    int year;

    if (!(take(&s, ", ") && take_digits(&s, 2, &b->date.day) && take(&s, "-") &&
          take_month(&s, &b->date.month) && take(&s, "-") && take_digits(&s, 2, &year) &&
          take(&s, " ") && take_time(&s, b) && take(&s, " GMT")))
        return false;
    b->date.year = this_year - this_year % 100 + year;
    if (b->date.year > this_year + 50)
        b->date.year -= 100;
    return s.len == 0;
}

/* asctime-date = day-name SP month SP ( 2DIGIT / ( SP 1DIGIT )) SP time-of-day SP 4DIGIT */
static bool
take_asctime(td_str s, struct broken *b)
{
    int year;

    if (!(take(&s, " ") && take_month(&s, &b->date.month) && take(&s, " ") &&
          take_digits(&s, take(&s, " ") ? 1 : 2, &b->date.day) && take(&s, " ") &&
          take_time(&s, b) && take(&s, " ") && take_digits(&s, 4, &year)))
        return false;
    b->date.year = year;
    return s.len == 0;
}

static bool
take_date(td_str s, struct broken *b)
{
    for (int i = 0; i < 7; i++) {
        td_str rest = s;

        if (take(&rest, day_names[i]) && take_rfc850(rest, b))
            return true;
        if (s.len < 3 || memcmp(s.ptr, day_names[i], 3) != 0)
            continue;
        rest = td_str_make(s.ptr + 3, s.len - 3);
        return take_imf(rest, b) || take_asctime(rest, b);
    }
    return false;
}

static int
days_in(struct civil date)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool is_leap = date.year % 4 == 0 && (date.year % 100 != 0 || date.year % 400 == 0);

    return days[date.month - 1] + (date.month == 2 && is_leap);
}

int
td_http_date_parse(td_str s, time_t *out)
{
    struct broken b;

    if (!take_date(s, &b))
        return TD_EBADMSG;
    if (b.date.day < 1 || b.date.day > days_in(b.date) || b.hour > 23 || b.minute > 59 ||
        b.second > 60) /* a leap second is one */
        return TD_EBADMSG;
    *out = days_of(b.date) * SECONDS_PER_DAY + b.hour * 3600 + b.minute * 60 + b.second;
    return 0;
}
