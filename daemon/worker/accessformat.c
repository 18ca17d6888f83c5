/*
 * The text is taken apart once, into pieces that each write themselves.  A piece has a bound of its
 * own and the room that is left; a line that would be longer is cut.
 */
#include "daemon/worker/accessformat.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include "base/assert.h"
#include "base/put.h"
#include "base/value.h"
#include "http/traceparent.h"
#include "web/handler.h"
#include "web/visitor.h"

enum {
    NUMBER_MAX = 64, /* bytes of what no client can make longer: numbers, dates, addresses */
};

struct entry {
    const td_request *request;
    int64_t duration_ns;
    time_t now;
};

/* Writes at most max bytes, which are NUMBER_MAX at least, and returns the end of them. */
typedef char *put_fn(char *at, size_t max, const struct entry *entry, td_str arg);

struct piece {
    put_fn *put;
    td_str arg; /* a text, or the name of a header */
};

struct accessformat {
    struct piece *pieces;
    size_t count;
};

/* ---- pieces */

static char *
put_text(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)entry;
    return td_put(at, td_str_make(arg.ptr, arg.len < max ? arg.len : max));
}

static char *
put_given(char *at, size_t max, td_str s)
{
    return accessline_put_escaped(at, s.len > 0 ? s : TD_STR("-"), max);
}

static char *
put_remote_addr(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)max, (void)arg;
    return at + td_peer_format(&entry->request->peer, at);
}

static char *
put_remote_port(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)max, (void)arg;
    return td_put_decimal(at, entry->request->peer.port);
}

static char *
put_nothing(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)max, (void)entry, (void)arg;
    return TD_PUT(at, "-");
}

static char *
put_time_local(char *at, size_t max, const struct entry *entry, td_str arg)
{
    struct tm tm;

    (void)max, (void)arg;
    localtime_r(&entry->now, &tm);
    return at + strftime(at, NUMBER_MAX, "%d/%b/%Y:%H:%M:%S %z", &tm);
}

/* RFC 3339 wants a colon in the offset, which strftime does not write. */
static char *
put_time_iso8601(char *at, size_t max, const struct entry *entry, td_str arg)
{
    struct tm tm;

    (void)max, (void)arg;
    localtime_r(&entry->now, &tm);
    char *end = at + strftime(at, NUMBER_MAX, "%Y-%m-%dT%H:%M:%S%z", &tm);
    memmove(end - 1, end - 2, 2);
    end[-2] = ':';
    return end + 1;
}

static char *
put_msec(char *at, size_t max, const struct entry *entry, td_str arg)
{
    struct timespec now;

    (void)max, (void)entry, (void)arg;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    at = td_put_decimal(at, (uint64_t)now.tv_sec);
    return accessline_put_fraction(at, now.tv_nsec, 3);
}

static char *
put_request(char *at, size_t max, const struct entry *entry, td_str arg)
{
    const td_str raw = entry->request->head.raw;
    const char *end = raw.len > 0 ? memchr(raw.ptr, '\r', raw.len) : NULL;

    (void)arg;
    return put_given(at, max, end != NULL ? td_str_make(raw.ptr, (size_t)(end - raw.ptr)) : raw);
}

static char *
put_method(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)arg;
    return put_given(at, max, entry->request->head.method_name);
}

static char *
put_target(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)arg;
    return put_given(at, max, entry->request->head.target);
}

static char *
put_path(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)arg;
    return put_given(at, max, entry->request->head.path);
}

static char *
put_query(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)arg;
    return put_given(at, max, entry->request->head.query);
}

static char *
put_protocol(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)max, (void)arg;
    if (entry->request->head.method_name.len == 0)
        return TD_PUT(at, "-");
    at = TD_PUT(at, "HTTP/1.");
    return td_put_decimal(at, (uint64_t)entry->request->head.minor);
}

static char *
put_scheme(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)max, (void)arg;
    return td_put(at, td_str_of(td_request_protocol(entry->request)));
}

static char *
put_host(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)arg;
    return put_given(at, max, entry->request->head.host_name);
}

static char *
put_header(char *at, size_t max, const struct entry *entry, td_str arg)
{
    const td_header *header = td_headers_find(&entry->request->head.headers, arg);

    return put_given(at, max, header != NULL ? header->value : TD_STR(""));
}

static char *
put_status(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)max, (void)arg;
    return td_put_decimal(at, (uint64_t)entry->request->status);
}

static char *
put_body_bytes(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)max, (void)arg;
    return td_put_decimal(at, entry->request->body_sent);
}

/* "0.005": seconds; "-" below zero. */
static char *
put_seconds(char *at, int64_t ns)
{
    if (ns < 0)
        return TD_PUT(at, "-");
    at = td_put_decimal(at, (uint64_t)ns / 1000000000);
    return accessline_put_fraction(at, ns % 1000000000, 3);
}

static char *
put_request_time(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)max, (void)arg;
    return put_seconds(at, entry->duration_ns > 0 ? entry->duration_ns : 0);
}

static char *
put_upstream_time(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)max, (void)arg;
    return put_seconds(at, td_visitor_fetch_ns(entry->request));
}

static char *
put_request_id(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)arg;
    return put_given(at, max, td_visitor_request_id(entry->request));
}

static char *
put_traceparent(char *at, size_t max, const struct entry *entry, td_str arg)
{
    td_trace trace = {.sampled = false};

    (void)arg;
    td_traceparent_find(&entry->request->head.headers, &trace);
    return put_given(at, max, trace.text);
}

static char *
put_trace_id(char *at, size_t max, const struct entry *entry, td_str arg)
{
    td_trace trace = {.sampled = false};

    (void)arg;
    td_traceparent_find(&entry->request->head.headers, &trace);
    return put_given(at, max, trace.trace_id);
}

static char *
put_handler(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)arg;
    return put_given(at, max, accessline_handler(entry->request));
}

static char *
put_request_number(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)max, (void)arg;
    return td_put_decimal(at, entry->request->number);
}

static char *
put_pid(char *at, size_t max, const struct entry *entry, td_str arg)
{
    (void)max, (void)entry, (void)arg;
    return td_put_decimal(at, (uint64_t)getpid());
}

static const struct variable {
    const char *name;
    put_fn *put;
} variables[] = {
    {"args", put_query},
    {"body_bytes_sent", put_body_bytes},
    {"handler", put_handler},
    {"host", put_host},
    {"msec", put_msec},
    {"pid", put_pid},
    {"query_string", put_query},
    {"remote_addr", put_remote_addr},
    {"remote_port", put_remote_port},
    {"remote_user", put_nothing}, /* of the handlers; for formats that were nginx's */
    {"request", put_request},
    {"request_id", put_request_id},
    {"request_method", put_method},
    {"request_number", put_request_number},
    {"request_time", put_request_time},
    {"request_uri", put_target},
    {"scheme", put_scheme},
    {"server_protocol", put_protocol},
    {"status", put_status},
    {"time_iso8601", put_time_iso8601},
    {"time_local", put_time_local},
    {"trace_id", put_trace_id},
    {"traceparent", put_traceparent},
    {"upstream_response_time", put_upstream_time},
    {"uri", put_path},
};
#define VARIABLES_COUNT (sizeof(variables) / sizeof(*variables))

/* ---- parsing */

static struct piece *
add_piece(td_arena *arena, accessformat *format)
{
    if (format->count % 16 == 0) {
        struct piece *grown = TD_ARENA_ARRAY(arena, struct piece, format->count + 16);

        if (format->count > 0)
            memcpy(grown, format->pieces, format->count * sizeof(*grown));
        format->pieces = grown;
    }
    return &format->pieces[format->count++];
}

/* http_user_agent: the header User-Agent. */
static td_str
header_name(td_arena *arena, td_str name)
{
    char *copy = td_arena_strdup(arena, td_arena_sprintf(arena, "%.*s", TD_STR_FMT(name)).ptr);

    for (char *at = copy; *at != '\0'; at++) {
        if (*at == '_')
            *at = '-';
    }
    return td_str_of(copy);
}

static int
add_variable(td_arena *arena, accessformat *format, td_str name, td_err *err)
{
    const char *names[VARIABLES_COUNT];
    const td_str http = TD_STR("http_");

    for (size_t i = 0; i < VARIABLES_COUNT; i++) {
        if (td_str_equal(name, td_str_of(variables[i].name))) {
            *add_piece(arena, format) = (struct piece){.put = variables[i].put};
            return 0;
        }
        names[i] = variables[i].name;
    }
    if (name.len > http.len && memcmp(name.ptr, http.ptr, http.len) == 0) {
        const td_str header = td_str_make(name.ptr + http.len, name.len - http.len);

        *add_piece(arena, format) =
            (struct piece){.put = put_header, .arg = header_name(arena, header)};
        return 0;
    }
    const char *text = td_arena_sprintf(arena, "%.*s", TD_STR_FMT(name)).ptr;
    const char *nearest = td_nearest(text, names, VARIABLES_COUNT);
    return td_err_set(err, TD_ECONFIG, "access_format: there is no $%s%s%s%s", text,
                      nearest != NULL ? "; did you mean $" : "", nearest != NULL ? nearest : "",
                      nearest != NULL ? "?" : "");
}

static bool
is_of_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* A tab may be written \t. */
static td_str
unescape(td_arena *arena, const char *text, size_t len)
{
    char *copy = td_arena_alloc(arena, len + 1);
    size_t used = 0;

    for (size_t i = 0; i < len; i++) {
        const bool is_tab = text[i] == '\\' && i + 1 < len && text[i + 1] == 't';

        copy[used++] = is_tab ? '\t' : text[i];
        i += is_tab;
    }
    return td_str_make(copy, used);
}

/* Up to the next name; a dollar sign in front of none is one. */
static size_t
text_len(const char *text)
{
    size_t len = 0;

    while (text[len] != '\0' && (text[len] != '$' || !is_of_name(text[len + 1])))
        len++;
    return len;
}

int
accessformat_parse(td_arena *arena, const char *text, const accessformat **out, td_err *err)
{
    accessformat *format = TD_ARENA_NEW(arena, accessformat);

    while (*text != '\0') {
        size_t len = text_len(text);

        if (len > 0) {
            *add_piece(arena, format) =
                (struct piece){.put = put_text, .arg = unescape(arena, text, len)};
            text += len;
            continue;
        }
        while (is_of_name(text[1 + len]))
            len++;
        if (add_variable(arena, format, td_str_make(text + 1, len), err) < 0)
            return err->code;
        text += 1 + len;
    }
    *out = format;
    return 0;
}

/* ---- writing */

size_t
accessformat_line(const accessformat *format, const td_request *request, int64_t duration_ns,
                  time_t now, char out[ACCESSLINE_MAX])
{
    const struct entry entry = {request, duration_ns, now};
    char *at = out, *const end = out + ACCESSLINE_MAX - 1;

    for (size_t i = 0; i < format->count && end - at >= NUMBER_MAX; i++) {
        const struct piece *piece = &format->pieces[i];

        at = piece->put(at, (size_t)(end - at), &entry, piece->arg);
        TD_ASSERT(at <= end);
    }
    *at++ = '\n';
    return (size_t)(at - out);
}
