/*
 * traceparent: which trace a request is part of (W3C Trace Context, Recommendation of 23 November
 * 2021, section 3.2).
 */
#ifndef TORNADO_HTTP_TRACEPARENT_H
#define TORNADO_HTTP_TRACEPARENT_H

#include <stdbool.h>
#include <tornado/abi.h>
#include <tornado/str.h>
#include "http/headers.h"

typedef struct td_trace {
    td_str text;      /* all of it, as it came */
    td_str trace_id;  /* 32 hexadecimal digits */
    td_str parent_id; /* 16 */
    bool sampled;     /* the caller may have recorded it */
} td_trace;

/* Strictly; false: it has to be ignored. */
TD_PRIVATE bool td_traceparent_parse(td_str text, td_trace *out);

/* Of the headers of a request; false also when there are several. */
TD_PRIVATE bool td_traceparent_find(const td_headers *headers, td_trace *out);

#endif
