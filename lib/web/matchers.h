/*
 * td_matchers: what a route wants of a request beside its path: a method, headers (Tornado's
 * Matcher).  Made at load from the methods and headers of its td_url and of those around it.
 */
#ifndef TORNADO_WEB_MATCHERS_H
#define TORNADO_WEB_MATCHERS_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <tornado/error.h>
#include <tornado/plugin.h>
#include "base/arena.h"
#include "http/parser.h"

#define TD_ALL_METHODS ((1u << TD_METHODS_COUNT) - 1)

struct td_header_matcher;

typedef struct td_matchers {
    uint32_t methods;      /* 1 << td_method of those that the route is for */
    uint32_t named;        /* those that the last of its urls names itself */
    struct td_header_matcher *headers;
    size_t headers_count;
    const char *text;      /* the same for alike: "GET, HEAD; Accept: .*json"; NULL: any request */
} td_matchers;

/*
 * urls: `count` of them, the outermost first.  TD_EPLUGIN: a word that is no method, nothing left
 * of all the lists, a name that is no token, a bad pattern.
 */
TD_PRIVATE int td_matchers_init(td_matchers *matchers, td_arena *arena, const td_url *const *urls,
                                size_t count, td_err *err);
TD_PRIVATE void td_matchers_fini(td_matchers *matchers);

/*
 * Whether the headers are as they are to be.  0; TD_ENOTFOUND; TD_EBUSY when a match ran into a
 * limit of the context.  vary: the names of what was looked at, so far; those that are new to it
 * are added.
 */
TD_PRIVATE int td_matchers_check(const td_matchers *matchers, const td_headers *headers,
                                 td_arena *arena, pcre2_match_data *data,
                                 pcre2_match_context *context, td_str *vary);

/* "GET, HEAD, OPTIONS" of a mask. */
TD_PRIVATE td_str td_methods_join(td_arena *arena, uint32_t mask);

#endif
