#include "http/traceparent.h"

#include <string.h>

enum { VERSION = 2, TRACE_ID = 32, PARENT_ID = 16, FLAGS = 2, LEN = 55 };
_Static_assert(VERSION + 1 + TRACE_ID + 1 + PARENT_ID + 1 + FLAGS == LEN, "section 3.2.2");

/* Section 3.2.2.1: HEXDIGLC = DIGIT / "a" / "b" / "c" / "d" / "e" / "f" */
static bool
is_hex(td_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!(s.ptr[i] >= '0' && s.ptr[i] <= '9') && !(s.ptr[i] >= 'a' && s.ptr[i] <= 'f'))
            return false;
    }
    return true;
}

/* Sections 3.2.2.3 and 3.2.2.4: an id of zeros is none. */
static bool
is_id(td_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '0')
            return is_hex(s);
    }
    return false;
}

bool
td_traceparent_parse(td_str text, td_trace *out)
{
    const char *at = text.ptr;

    if (text.len < LEN)
        return false;
    const td_str version = td_str_make(at, VERSION);
    const td_str trace_id = td_str_make(at + 3, TRACE_ID), parent_id = td_str_make(at + 36, PARENT_ID);
    const td_str flags = td_str_make(at + 53, FLAGS);
    if (at[2] != '-' || at[35] != '-' || at[52] != '-')
        return false;
    /*
     * Section 3.2.2: version ff is invalid. Section 4.3: what a later one has more follows a dash.
     */
    if (!is_hex(version) || td_str_equal(version, TD_STR("ff")) ||
        (text.len > LEN && (td_str_equal(version, TD_STR("00")) || at[LEN] != '-')))
        return false;
    if (!is_id(trace_id) || !is_id(parent_id) || !is_hex(flags))
        return false;
    *out = (td_trace){text, trace_id, parent_id,
                            .sampled = strchr("13579bdf", flags.ptr[1]) != NULL};
    return true;
}

bool
td_traceparent_find(const td_headers *headers, td_trace *out)
{
    const td_header *header = td_headers_find(headers, TD_STR("traceparent"));

    return header != NULL && td_headers_next(headers, header) == NULL &&
           td_traceparent_parse(header->value, out);
}
