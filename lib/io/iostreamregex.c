/*
 * Reading up to a regular expression: PCRE2 looks at what has come, and its partial matches say
 * from where to look again.  An expression is compiled once for reads in a row that have the same.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "io/iostream_internal.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/assert.h"
#include "io/call.h"

#define REGEX_MATCH_LIMIT 100000
#define REGEX_DEPTH_LIMIT 1000

struct stream_regex {
    char *text;
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
    uint32_t lookbehind;
};

void
td_iostream_free_regex(td_iostream *stream)
{
    struct stream_regex *regex = stream->regex;

    if (regex == NULL)
        return;
    pcre2_match_data_free(regex->match);
    pcre2_match_context_free(regex->context);
    pcre2_code_free(regex->code);
    free(regex->text);
    free(regex);
    stream->regex = NULL;
}

static struct stream_regex *
create(pcre2_code *code, const char *text)
{
    struct stream_regex *regex = td_xcalloc(1, sizeof(*regex));

    regex->text = td_xstrdup(text);
    regex->code = code;
    regex->match = pcre2_match_data_create_from_pattern(code, NULL);
    regex->context = pcre2_match_context_create(NULL);
    TD_ASSERT(regex->match != NULL && regex->context != NULL); /* else memory is gone */
    pcre2_set_match_limit(regex->context, REGEX_MATCH_LIMIT);
    pcre2_set_depth_limit(regex->context, REGEX_DEPTH_LIMIT);
    pcre2_pattern_info(code, PCRE2_INFO_MAXLOOKBEHIND, &regex->lookbehind);
    return regex;
}

bool
td_iostream_set_regex(td_iostream *stream, const char *text, const char *function)
{
    PCRE2_SIZE offset;
    pcre2_code *code;
    int error;

    if (stream->regex != NULL && strcmp(stream->regex->text, text) == 0)
        return true;
    td_iostream_free_regex(stream);
    code =
        pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_DOTALL, &error, &offset, NULL);
    if (code == NULL) {
        td_misuse(function, "the regular expression is none");
        return false;
    }
    stream->regex = create(code, text);
    return true;
}

int
td_iostream_find_regex(td_iostream *stream)
{
    struct stream_read *reading = &stream->reading;
    const struct stream_regex *regex = stream->regex;
    const td_str in = td_buf_str(&stream->in);
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(regex->match);
    int rc;

    if (in.len == 0)
        return 0;
    rc = pcre2_match(regex->code, (PCRE2_SPTR)in.ptr, in.len, reading->searched, PCRE2_PARTIAL_SOFT,
                     regex->match, regex->context);
    if (rc >= 0)
        return at[1] <= reading->count ? td_iostream_take(stream, at[1]) : TD_ETOOBIG;
    if (in.len >= reading->count || (rc != PCRE2_ERROR_NOMATCH && rc != PCRE2_ERROR_PARTIAL))
        return TD_ETOOBIG;
    const size_t begin = rc == PCRE2_ERROR_PARTIAL ? at[0] : in.len;

    if (begin > reading->searched + regex->lookbehind)
        reading->searched = begin - regex->lookbehind;
    return 0;
}
