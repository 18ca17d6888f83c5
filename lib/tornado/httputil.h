/*
 * URLs with arguments, and dates as HTTP writes them (Tornado's tornado.httputil).  Text that is
 * returned is memory of the request, as that of td_sprintf, and has a NUL behind it.
 */
#ifndef TORNADO_HTTPUTIL_H
#define TORNADO_HTTPUTIL_H

#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/handler.h>
#include <tornado/str.h>

/*
 * `url` with arguments behind those that its query has, names and values escaped as by
 * td_escape_url, in front of its fragment; what stands in it is left as it is.
 *
 *     const td_argument_pair page[] = {{.name = TD_STR("q"), .value = words},
 *                                      {.name = TD_STR("page"), .value = TD_STR("2")}};
 *
 *     td_redirect(h, td_url_concat(h, "/search?by=date", page, 2).ptr, false);
 *
 * arguments are of any bytes (from_body is not looked at: those of td_request_arguments may be
 * passed on), the null string as an empty one; NULL: none, the URL comes back as it was.  The null
 * string for url NULL, which is misuse.
 */
TD_API td_str td_url_concat(td_handler *h, const char *url, const td_argument_pair *arguments,
                            size_t count);

/*
 * "Sun, 06 Nov 1994 08:49:37 GMT", for Last-Modified, Expires and their kin (RFC 9110 section
 * 5.6.7).  time: Unix time, seconds; below 0 as 0, and beyond the year 9999 as its end.
 */
TD_API td_str td_format_timestamp(td_handler *h, int64_t time);

/*
 * What such a header says, in any of the three forms of that section.  0, TD_EBADMSG for what is no
 * date, TD_EINVAL for time_out NULL, which is misuse.
 */
TD_API int td_parse_timestamp(td_handler *h, td_str text, int64_t *time_out);

#endif
