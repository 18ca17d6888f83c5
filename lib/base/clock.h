/*
 * Time: one cached now for the loop, and dates as HTTP writes them.
 *
 * td_now_ns is the monotonic clock as of the loop's last refresh (once an iteration), so it costs a
 * load.  Code that measures calls td_clock_ns.
 */
#ifndef TORNADO_BASE_CLOCK_H
#define TORNADO_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <tornado/abi.h>
#include <tornado/str.h>

#define TD_NS_PER_MS INT64_C(1000000)
#define TD_NS_PER_S INT64_C(1000000000)
#define TD_HTTP_DATE_LEN 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

TD_PRIVATE int64_t td_clock_ns(void); /* CLOCK_MONOTONIC, now */

/* The cached pair; written by td_clock_refresh alone. */
TD_PRIVATE extern int64_t td_clock_cached_ns;
TD_PRIVATE extern time_t td_clock_cached_wall;

/*
 * The latest reading on the loop's thread: the cached one, or one since of whoever measures there.
 */
TD_PRIVATE extern int64_t td_clock_read_ns;

/*
 * The kernel's tick, some ms long, in which the last refresh was, is not over: known for an eighth of
 * what a reading costs.
 */
TD_PRIVATE bool td_clock_is_same_tick(void);

TD_PRIVATE void td_clock_refresh(void);

static inline int64_t
td_now_ns(void)
{
    return td_clock_cached_ns;
}

/* Now as an IMF-fixdate (RFC 9110 section 5.6.7), TD_HTTP_DATE_LEN bytes; made once a second. */
TD_PRIVATE td_str td_http_date_now(void);

TD_PRIVATE void td_http_date_format(time_t t, char out[TD_HTTP_DATE_LEN + 1]);

/* All three forms of RFC 9110 section 5.6.7.  0 or TD_EBADMSG. */
TD_PRIVATE int td_http_date_parse(td_str s, time_t *out);

#endif
