/* Cookie and Set-Cookie lines: reading and writing (RFC 6265; quoted as by Tornado). */
#ifndef TORNADO_HTTP_COOKIES_H
#define TORNADO_HTTP_COOKIES_H

#include <stdbool.h>
#include <tornado/cookies.h>
#include "base/arena.h"

/*
 * The value of the last cookie of that name in the value of a Cookie line, as it was sent; the null
 * string: there is none.
 */
td_str td_cookie_find(td_str line, td_str name);

/*
 * Take the next cookie off the front of such a line: its name, which is a token, and its value as
 * it was sent.  False: there is none left.
 */
bool td_cookie_next(td_str *line, td_str *name_out, td_str *value_out);

/* Without its double quotes and what they escape; a copy, with a NUL behind. */
td_str td_cookie_unquote(td_arena *arena, td_str value);

/* NULL, or what is wrong with a cookie that is to be set. */
const char *td_cookie_fault(td_str name, td_str value, const td_cookie_options *options);

/* The value of a Set-Cookie line; what td_cookie_fault has found good. */
td_str td_cookie_format(td_arena *arena, td_str name, td_str value,
                        const td_cookie_options *options);

#endif
