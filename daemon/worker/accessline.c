/*
 * No printf: a line is made for every request, and what does not change within a second (the date)
 * is made once a second.  Every field has a bound, and the bounds together stay below
 * ACCESSLINE_MAX.
 */
#include "daemon/worker/accessline.h"

#include <string.h>
#include "base/assert.h"
#include "base/buf.h"
#include "base/escape.h"
#include "base/put.h"
#include "http/traceparent.h"
#include "web/handler.h"
#include "web/visitor.h"

enum {
    URI_MAX = 8192, /* bytes after escaping */
    METHOD_MAX = 64,
    FIELD_MAX = 1024,
    HOST_MAX = 256,
    OTHERS_MAX = 512, /* numbers, dates, names of JSON members */
};
_Static_assert(URI_MAX + 3 * METHOD_MAX + 2 * FIELD_MAX + 2 * HOST_MAX + OTHERS_MAX <= ACCESSLINE_MAX,
               "a line must fit");

static const char tornado_prefix[] = "[I 241121 19:42:50 access] ";
_Static_assert(sizeof(tornado_prefix) - 1 == ACCESSLINE_PREFIX, "as the header says");

/* ---- pieces; each returns the end of what it wrote */

static char *
put_two_digits(char *at, int number)
{
    at[0] = (char)('0' + number / 10 % 10);
    at[1] = (char)('0' + number % 10);
    return at + 2;
}

/* Milliseconds with two places: "1.23". */
static char *
put_duration(char *at, int64_t duration_ns)
{
    uint64_t hundredths = duration_ns > 0 ? (uint64_t)duration_ns / 10000 : 0;

    at = td_put_decimal(at, hundredths / 100);
    *at++ = '.';
    return put_two_digits(at, (int)(hundredths % 100));
}

/* True when none of the eight bytes is to be escaped; false may be a false alarm. */
static inline bool
is_plain_word(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\'),
             del = word ^ (ones * 0x7f);

    /* The top bit of a byte is set where it is below 0x20, or was equal to what is XORed. */
    uint64_t hits =
        ((word - ones * 0x20) | (quote - ones) | (backslash - ones) | (del - ones) | word);
    return (hits & tops) == 0;
}

char *
accessline_put_escaped(char *at, td_str s, size_t max)
{
    char *const end = at + max;

    while (s.len >= 8 && end - at >= 8) {
        uint64_t word;
        memcpy(&word, s.ptr, 8);
        if (!is_plain_word(word))
            break;
        memcpy(at, &word, 8);
        at += 8;
        s.ptr += 8;
        s.len -= 8;
    }
    return at + td_log_escape_into(at, (size_t)(end - at), s);
}

char *
accessline_put_fraction(char *at, int64_t ns, int digits)
{
    int64_t unit = 100000000;

    *at++ = '.';
    for (; digits > 0; digits--, unit /= 10)
        *at++ = (char)('0' + ns / unit % 10);
    return at;
}

td_str
accessline_handler(const td_request *request)
{
    const td_handler *h = request->handler; /* an answer that was prepared needs none */
    const td_route_match *match = h != NULL ? h->match : request->route_data;

    return match != NULL ? td_str_of(match->route->instance->name) : td_str_make(NULL, 0);
}

static char *
put_peer(char *at, const td_request *request)
{
    return at + td_peer_format(&request->peer, at);
}

static td_str
header_or_dash(const td_request *request, td_str name)
{
    const td_header *header = td_headers_find(&request->head.headers, name);

    return header != NULL ? header->value : TD_STR("-");
}

/* A head that was refused has neither. */
static td_str
or_dash(td_str s)
{
    return s.len > 0 ? s : TD_STR("-");
}

/* ---- Tornado: "[I 241121 19:42:50 access] 200 GET /uri (127.0.0.1) 1.23ms" */

static char *
put_tornado_prefix(char *at, int status, time_t now)
{
    static char prefix[sizeof(tornado_prefix)];
    static time_t made_for = -1;
    struct tm tm;

    if (now != made_for && localtime_r(&now, &tm) != NULL) {
        const int fields[] = {tm.tm_year, tm.tm_mon + 1, tm.tm_mday,
                              tm.tm_hour, tm.tm_min,     tm.tm_sec};
        const char places[] = {3, 5, 7, 10, 13, 16};
        memcpy(prefix, tornado_prefix, sizeof(prefix));
        for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
            put_two_digits(prefix + places[i], fields[i]);
        made_for = now;
    }
    memcpy(at, prefix, ACCESSLINE_PREFIX);
    at[1] = status < 400 ? 'I' : status < 500 ? 'W' : 'E';
    return at + ACCESSLINE_PREFIX;
}

static char *
format_tornado(const td_request *request, int64_t duration_ns, time_t now, char *at)
{
    at = put_tornado_prefix(at, request->status, now);
    at = td_put_decimal(at, (uint64_t)request->status);
    *at++ = ' ';
    at = accessline_put_escaped(at, or_dash(request->head.method_name), METHOD_MAX);
    *at++ = ' ';
    at = accessline_put_escaped(at, or_dash(request->head.target), URI_MAX);
    at = TD_PUT(at, " (");
    at = put_peer(at, request);
    at = TD_PUT(at, ") ");
    at = put_duration(at, duration_ns);
    return TD_PUT(at, "ms\n");
}

/* ---- combined: 1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 45 "-" "agent" */

static char *
put_combined_date(char *at, time_t now)
{
    static char date[64];
    static size_t len;
    static time_t made_for = -1;
    struct tm tm;

    if (now != made_for && localtime_r(&now, &tm) != NULL) {
        len = strftime(date, sizeof(date), " - - [%d/%b/%Y:%H:%M:%S %z] \"", &tm);
        made_for = now;
    }
    return td_put(at, td_str_make(date, len));
}

static char *
format_combined(const td_request *request, time_t now, char *at)
{
    at = put_peer(at, request);
    at = put_combined_date(at, now);
    if (request->head.method_name.len > 0) {
        at = accessline_put_escaped(at, request->head.method_name, METHOD_MAX);
        *at++ = ' ';
        at = accessline_put_escaped(at, request->head.target, URI_MAX);
        at = TD_PUT(at, " HTTP/1.");
        *at++ = (char)('0' + request->head.minor % 10);
    } else {
        *at++ = '-';
    }
    at = TD_PUT(at, "\" ");
    at = td_put_decimal(at, (uint64_t)request->status);
    *at++ = ' ';
    at = td_put_decimal(at, request->body_sent);
    at = TD_PUT(at, " \"");
    at = accessline_put_escaped(at, header_or_dash(request, TD_STR("Referer")), FIELD_MAX);
    at = TD_PUT(at, "\" \"");
    at = accessline_put_escaped(at, header_or_dash(request, TD_STR("User-Agent")), FIELD_MAX);
    return TD_PUT(at, "\"\n");
}

/* ---- JSON: an object a line */

static char *
put_json_date(char *at, time_t now)
{
    static char date[64];
    static size_t len;
    static time_t made_for = -1;
    struct tm tm;

    if (now != made_for && gmtime_r(&now, &tm) != NULL) {
        len = strftime(date, sizeof(date), "{\"time\":\"%Y-%m-%dT%H:%M:%SZ\",\"status\":", &tm);
        made_for = now;
    }
    return td_put(at, td_str_make(date, len));
}

/* A member with its comma in front; nothing when there is no value. */
static char *
put_json_text(char *at, td_str member, td_str value, size_t max)
{
    static td_buf escaped; /* keeps its memory from line to line */
    size_t len = value.len < max ? value.len : max;

    if (value.ptr == NULL)
        return at;
    td_buf_reserve(&escaped, 1); /* of an empty value nothing is appended */
    td_json_escape(&escaped, td_str_make(value.ptr, len));
    while (escaped.len > max) { /* half a text is cut cleanly, half an escape is not */
        td_buf_consume(&escaped, escaped.len);
        len /= 2;
        td_json_escape(&escaped, td_str_make(value.ptr, len));
    }
    at = td_put(at, member);
    at = td_put(at, td_buf_str(&escaped));
    *at++ = '"';
    td_buf_consume(&escaped, escaped.len);
    return at;
}

static char *
put_json_header(char *at, td_str member, const td_request *request, td_str name, size_t max)
{
    const td_header *header = td_headers_find(&request->head.headers, name);

    return header != NULL ? put_json_text(at, member, header->value, max) : at;
}

/* Who has answered, and what other logs know the request by; nothing of what there is not. */
static char *
put_json_origin(char *at, const td_request *request)
{
    const int64_t fetch_ns = td_visitor_fetch_ns(request);
    td_trace trace;

    at = put_json_text(at, TD_STR(",\"handler\":\""), accessline_handler(request), METHOD_MAX);
    if (fetch_ns >= 0) {
        at = TD_PUT(at, ",\"upstream_ms\":");
        at = put_duration(at, fetch_ns);
    }
    at = put_json_text(at, TD_STR(",\"request_id\":\""), td_visitor_request_id(request), HOST_MAX);
    if (td_traceparent_find(&request->head.headers, &trace))
        at = put_json_text(at, TD_STR(",\"trace_id\":\""), trace.trace_id, METHOD_MAX);
    return at;
}

static char *
format_json(const td_request *request, int64_t duration_ns, time_t now, char *at)
{
    at = put_json_date(at, now);
    at = td_put_decimal(at, (uint64_t)request->status);
    at =
        put_json_text(at, TD_STR(",\"method\":\""), or_dash(request->head.method_name), METHOD_MAX);
    at = put_json_text(at, TD_STR(",\"uri\":\""), or_dash(request->head.target), URI_MAX);
    at = TD_PUT(at, ",\"remote_ip\":\"");
    at = put_peer(at, request);
    at = TD_PUT(at, "\",\"bytes\":");
    at = td_put_decimal(at, request->body_sent);
    at = TD_PUT(at, ",\"duration_ms\":");
    at = put_duration(at, duration_ns);
    at = put_json_text(at, TD_STR(",\"host\":\""), request->head.host, HOST_MAX);
    at = put_json_header(at, TD_STR(",\"referer\":\""), request, TD_STR("Referer"), FIELD_MAX);
    at =
        put_json_header(at, TD_STR(",\"user_agent\":\""), request, TD_STR("User-Agent"), FIELD_MAX);
    at = put_json_origin(at, request);
    return TD_PUT(at, "}\n");
}

size_t
accessline_format(td_access_format format, const td_request *request, int64_t duration_ns,
                  time_t now, char out[ACCESSLINE_MAX])
{
    char *end = out;

    switch (format) {
    case TD_ACCESS_TORNADO:
        end = format_tornado(request, duration_ns, now, out);
        break;
    case TD_ACCESS_COMBINED:
        end = format_combined(request, now, out);
        break;
    case TD_ACCESS_JSON:
        end = format_json(request, duration_ns, now, out);
        break;
    case TD_ACCESS_CUSTOM: /* accessformat.c */
    case TD_ACCESS_OFF:
        break;
    }
    TD_ASSERT(end - out <= ACCESSLINE_MAX);
    return (size_t)(end - out);
}
