/*
 * What a handler answers.
 *
 * Until the first flush status, headers and body are collected here, so an error page can still
 * take their place.  A response that ends without a flush has its length and its Etag; one that was
 * flushed has neither.  How it is framed on the wire is the writer's.
 */
#include <tornado/middleware.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <tornado/escape.h>
#include <unistd.h>
#include <xxhash.h>
#include "base/budget.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "web/body.h"
#include "web/compression.h"
#include "web/conditional.h"
#include "web/handler.h"
#include "web/transforms.h"

#define BODY_FIRST 128     /* bytes of room for the first write */
#define FILE_BUFFER 65536  /* bytes of a file that are read at a time to be changed */
#define BODY_IN_ARENA 2048 /* a larger body lies on the heap, where it can grow in place */

void
td_response_init(td_handler *h)
{
    const td_application *app = h->app;

    h->status = 200;
    h->reason = td_str_make(NULL, 0);
    h->content_length = -1;
    h->body_len = 0;
    h->has_etag = false;
    h->headers = (td_headers){h->inline_headers, app->default_headers_count, TD_HANDLER_HEADERS};
    memcpy(h->inline_headers, app->default_headers, sizeof(app->default_headers));
}

static void
release_body(td_handler *h)
{
    if (!h->body_on_heap)
        return;
    td_budget_give(TD_BUDGET_RESPONSES, h->body_size);
    td_note_large(h->body_size);
    free(h->body);
    h->body = NULL;
    h->body_on_heap = false;
    h->body_len = h->body_size = 0;
}

void
td_response_release(td_handler *h)
{
    if (h->filters != NULL)
        td_filters_release(h);
    if (h->sse != NULL)
        td_sse_over(h);
    if (h->incoming != NULL)
        td_body_abandon(h);
    release_body(h);
}

int
td_response_check_open(td_handler *h, const char *function)
{
    if (!td_handler_usable(h, function))
        return TD_EINVAL;
    if (TD_LIKELY(!h->headers_written && !h->finished))
        return 0;
    if (h->finished && h->owes_finish) /* request_timeout has passed: no fault of the caller */
        return TD_ECLOSED;
    return td_handler_misuse(h, function,
                             h->finished ? "the response has ended" : "the headers have been sent");
}

/* ---- status and headers */

/* RFC 9112 section 4: reason-phrase = 1*( HTAB / SP / VCHAR / obs-text ); pages want no '<'. */
static bool
is_reason(td_str s)
{
    return s.len > 0 && td_is_field_value(s) && memchr(s.ptr, '<', s.len) == NULL;
}

int
td_set_status(td_handler *h, int status, const char *reason)
{
    int rc = td_response_check_open(h, "td_set_status");

    if (rc < 0)
        return rc;
    if (status < 200 || status > 999)
        return td_handler_misuse(h, "td_set_status", "a status is 200 to 999");
    h->status = status;
    if (reason == NULL || td_str_equal(td_str_of(reason), td_reason_phrase(status)))
        h->reason = td_str_make(NULL, 0); /* that of the list */
    else if (is_reason(td_str_of(reason)))
        h->reason = td_str_dup(&h->request->arena, td_str_of(reason));
    else
        h->reason = TD_STR("Unknown");
    return 0;
}

int
td_get_status(td_handler *h)
{
    if (!td_handler_usable(h, "td_get_status"))
        return TD_EINVAL;
    /* A connection that refuses a body while it comes has answered itself. */
    if (h->closed && !h->headers_written && h->request->status != 0)
        return h->request->status;
    return h->status;
}

/* RFC 9110 section 8.6: Content-Length = 1*DIGIT */
static bool
parse_length(td_str value, int64_t *out)
{
    int64_t length = 0;

    for (size_t i = 0; i < value.len; i++)
        if (!td_byte_is(value.ptr[i], TD_BYTE_DIGIT) ||
            __builtin_mul_overflow(length, 10, &length) ||
            __builtin_add_overflow(length, value.ptr[i] - '0', &length))
            return false;
    if (value.len > 0)
        *out = length;
    return value.len > 0;
}

/* The names that mean something to us.  True: *rc_out is the answer, the line is not stored. */
static bool
is_special(td_handler *h, const char *function, const td_header *line, int *rc_out)
{
    switch (line->name.len) {
    case 4:
        if (td_str_equal_nocase(line->name, TD_STR("Etag")))
            h->has_etag = true;
        if (!td_str_equal_nocase(line->name, TD_STR("Date")))
            return false;
        break;
    case 14:
        if (!td_str_equal_nocase(line->name, TD_STR("Content-Length")))
            return false;
        *rc_out = parse_length(line->value, &h->content_length)
                      ? 0
                      : td_handler_misuse(h, function, "Content-Length is not a number");
        return true;
    case 17:
        if (!td_str_equal_nocase(line->name, TD_STR("Transfer-Encoding")))
            return false;
        break;
    default:
        return false;
    }
    *rc_out = td_handler_misuse(h, function, "Date and Transfer-Encoding are the connection's own");
    return true;
}

/* 0, and name and value as td_strs, when they may stand in a header. */
static int
take_line(td_handler *h, const char *function, const char *name, const char *value,
          td_header *line_out)
{
    int rc = td_response_check_open(h, function);

    if (rc < 0)
        return rc;
    *line_out = (td_header){td_str_of(name), td_str_of(value)};
    if (name == NULL || !td_is_token(line_out->name))
        return td_handler_misuse(h, function, "the name is no token");
    if (value == NULL || !td_is_field_value(line_out->value))
        return td_handler_misuse(h, function, "a control byte is in the value");
    return 0;
}

/* The same line in memory of its own, one piece. */
static td_header
dup_line(td_arena *arena, td_header line)
{
    char *name = td_arena_alloc_raw(arena, line.name.len + line.value.len + 2);
    char *value = name + line.name.len + 1;

    memcpy(name, line.name.ptr, line.name.len + 1); /* with their NULs */
    memcpy(value, line.value.ptr, line.value.len + 1);
    return (td_header){td_str_make(name, line.name.len), td_str_make(value, line.value.len)};
}

int
td_set_header(td_handler *h, const char *name, const char *value)
{
    td_header line, *kept;
    td_arena *arena;
    int rc = take_line(h, "td_set_header", name, value, &line);

    if (rc < 0 || is_special(h, "td_set_header", &line, &rc))
        return rc;
    arena = &h->request->arena;
    kept = td_headers_only(&h->headers, line.name);
    if (kept == NULL) {
        kept = td_headers_append(&h->headers, arena);
        kept->name = td_str_dup(arena, line.name);
    }
    kept->value = td_str_dup(arena, line.value);
    return 0;
}

int
td_add_header(td_handler *h, const char *name, const char *value)
{
    td_header line;
    int rc = take_line(h, "td_add_header", name, value, &line);

    if (rc < 0 || is_special(h, "td_add_header", &line, &rc))
        return rc;
    *td_headers_append(&h->headers, &h->request->arena) = dup_line(&h->request->arena, line);
    return 0;
}

int
td_clear_header(td_handler *h, const char *name)
{
    const td_str key = td_str_of(name);
    int rc = td_response_check_open(h, "td_clear_header");

    if (rc < 0)
        return rc;
    if (!td_handler_has(h, "td_clear_header", name))
        return TD_EINVAL;
    if (td_str_equal_nocase(key, TD_STR("Content-Length")))
        h->content_length = -1;
    if (td_headers_remove(&h->headers, key) && td_str_equal_nocase(key, TD_STR("Etag")))
        h->has_etag = false;
    return 0;
}

void
td_handler_vary(td_handler *h, td_str name)
{
    td_arena *arena = &h->request->arena;
    const td_str before = td_headers_get(&h->headers, arena, TD_STR("Vary"));

    if (td_str_is_null(before))
        td_headers_set(&h->headers, arena, TD_STR("Vary"), name);
    else if (!td_list_has_token(before, name) && !td_list_has_token(before, TD_STR("*")))
        td_headers_set(&h->headers, arena, TD_STR("Vary"),
                       td_arena_sprintf(arena, "%.*s, %.*s", TD_STR_FMT(before),
                                        TD_STR_FMT(name)));
}

td_str
td_response_header(td_handler *h, const char *name)
{
    const td_header *line;

    if (!td_handler_has(h, "td_response_header", name))
        return td_str_make(NULL, 0);
    line = td_headers_find(&h->headers, td_str_of(name));
    return line != NULL ? td_str_dup(&h->request->arena, line->value) : td_str_make(NULL, 0);
}

/* One that raises is not called again, for the error page of that. */
void
td_response_set_defaults(td_handler *h)
{
    const td_handler_class *class = td_handler_route(h)->class;

    if (class->set_default_headers == NULL || h->setting_defaults)
        return;
    h->setting_defaults = true;
    class->set_default_headers(h);
    h->setting_defaults = false;
}

int
td_clear(td_handler *h)
{
    int rc = td_response_check_open(h, "td_clear");

    if (rc == 0) {
        td_response_init(h);
        if (h->began)
            td_response_set_defaults(h);
    }
    return rc;
}

/* ---- the body */

/*
 * The body may have `size` bytes, or if there is no room for them, `needed`; returns which.
 * Clients that do not read keep theirs, so there is a limit.
 */
static size_t
account_body(td_handler *h, size_t size, size_t needed)
{
    const size_t has = h->body_on_heap ? h->body_size : 0;

    if (td_budget_take(TD_BUDGET_RESPONSES, size - has))
        return size;
    if (td_budget_take(TD_BUDGET_RESPONSES, needed - has))
        return needed;
    td_budget_refused(TD_BUDGET_RESPONSES, NULL);
    td_raise(h, 503, "%s", td_budget_text());
}

static char *
grow_body(td_handler *h, size_t n)
{
    const size_t max = (size_t)h->request->limits->max_response_buffer, needed = h->body_len + n;
    size_t size = 2 * h->body_size;

    if (n > max - h->body_len)
        td_raise(h, 500, "more than max_response_buffer (%zu bytes) was written: td_flush sends it",
                 max);
    if (size < BODY_FIRST)
        size = BODY_FIRST;
    if (size > max)
        size = max;
    if (size < needed)
        size = needed;
    if (h->body_on_heap || needed > BODY_IN_ARENA)
        size = account_body(h, size, needed);
    else if (size > BODY_IN_ARENA)
        size = BODY_IN_ARENA;
    if (h->body_on_heap) {
        h->body = td_xrealloc(h->body, size);
    } else {
        bool to_heap = size > BODY_IN_ARENA;
        char *body = to_heap ? td_xmalloc(size) : td_arena_alloc_raw(&h->request->arena, size);

        if (h->body_len > 0)
            memcpy(body, h->body, h->body_len);
        h->body = body;
        h->body_on_heap = to_heap;
    }
    h->body_size = size;
    return h->body + h->body_len;
}

/* Room for n more bytes.  Raises 500 when they would be too many. */
static inline char *
body_room(td_handler *h, size_t n)
{
    if (TD_LIKELY(h->body_len + n <= h->body_size))
        return h->body + h->body_len;
    return grow_body(h, n);
}

void
td_response_append(td_handler *h, td_str bytes)
{
    memcpy(body_room(h, bytes.len), bytes.ptr, bytes.len);
    h->body_len += bytes.len;
}

/* Code of the author is asked what leaves. */
static bool
is_asking(const td_handler *h)
{
    return h->in_head || h->filtering;
}

static int
refuse_to_ask(const td_handler *h, const char *function)
{
    return td_handler_misuse(h, function, h->in_head ? "the head is being made"
                                                     : "a transform is running");
}

/*
 * A large part of the request's own body, which stays until the response is sent, need not be
 * copied.  Its size is 0: there is no room in it, and none behind it.
 */
static bool
borrow(td_handler *h, td_str bytes)
{
    const td_str own = h->request->body;

    if (h->body_len > 0 || h->body_on_heap || bytes.len <= BODY_IN_ARENA ||
        bytes.len > (size_t)h->request->limits->max_response_buffer || bytes.ptr < own.ptr ||
        bytes.ptr + bytes.len > own.ptr + own.len)
        return false;
    h->body = (char *)(uintptr_t)bytes.ptr;
    h->body_len = bytes.len;
    h->body_size = 0;
    return true;
}

static int
refuse_to_write(const td_handler *h, const char *function)
{
    if (is_asking(h))
        return refuse_to_ask(h, function);
    if (h->closed || h->owes_finish) /* the client has left or the time was up: no misuse */
        return TD_ECLOSED;
    return td_handler_misuse(h, function, "the response has ended");
}

int
td_response_check_ending(const td_handler *h, const char *function)
{
    return is_asking(h) ? refuse_to_ask(h, function) : 0;
}

/* 0, or what a function that adds to the response has to return. */
static inline int
check_writable(td_handler *h, const char *function)
{
    if (!td_handler_usable(h, function))
        return TD_EINVAL;
    if (TD_LIKELY(!(h->finished | h->closed | h->in_head | h->filtering)))
        return 0;
    return refuse_to_write(h, function);
}

int
td_write(td_handler *h, td_str bytes)
{
    int rc = check_writable(h, "td_write");

    if (TD_UNLIKELY(rc < 0))
        return rc;
    if (bytes.len == 0)
        return 0;
    if (TD_UNLIKELY(bytes.ptr == NULL))
        return td_handler_misuse(h, "td_write", "the bytes are nowhere");
    if (TD_LIKELY(h->request->body.ptr == NULL) || !borrow(h, bytes))
        td_response_append(h, bytes);
    return 0;
}

int
td_write_text(td_handler *h, const char *text)
{
    if (!td_handler_has(h, "td_write_text", text))
        return TD_EINVAL;
    return td_write(h, td_str_of(text));
}

int
td_writef(td_handler *h, const char *format, ...)
{
    va_list args;
    size_t room;
    int len, rc = check_writable(h, "td_writef");

    if (rc < 0)
        return rc;
    if (!td_handler_has(h, "td_writef", format))
        return TD_EINVAL;
    body_room(h, 1);
    room = h->body_size - h->body_len;
    va_start(args, format);
    len = vsnprintf(h->body + h->body_len, room, format, args);
    va_end(args);
    if (len < 0)
        return td_handler_misuse(h, "td_writef", "the format cannot be used");
    if ((size_t)len >= room) {
        body_room(h, (size_t)len + 1); /* vsnprintf wants its NUL */
        va_start(args, format);
        vsnprintf(h->body + h->body_len, (size_t)len + 1, format, args);
        va_end(args);
    }
    h->body_len += (size_t)len;
    if (TD_UNLIKELY(h->app->settings->debug))
        td_escape_check(h, format, td_str_make(h->body + h->body_len - len, (size_t)len));
    return 0;
}

int
td_write_escaped(td_handler *h, td_str text)
{
    int rc = check_writable(h, "td_write_escaped");

    if (rc < 0)
        return rc;
    if (text.len > 0 && text.ptr == NULL)
        return td_handler_misuse(h, "td_write_escaped", "the text is nowhere");
    while (text.len > 0) {
        const size_t plain = td_html_plain(text);
        const size_t len = plain > 0 ? plain : 1;

        td_response_append(h, plain > 0 ? td_str_make(text.ptr, plain) : td_html_entity(*text.ptr));
        text = td_str_make(text.ptr + len, text.len - len);
    }
    return 0;
}

/* ---- Etag and If-None-Match (RFC 9110 sections 8.8.3 and 13.1.2) */

typedef uint8_t sixteen __attribute__((vector_size(16)));

static sixteen
hex_digits(sixteen nibbles)
{
    const sixteen is_letter = (sixteen)(nibbles > 9); /* all bits, or none */

    return nibbles + '0' + (is_letter & ('a' - '9' - 1));
}

/* 32 digits: every request has an Etag, and one digit after the other took 120 instructions. */
static void
put_hex(char *out, sixteen bytes)
{
    const sixteen high = bytes >> 4, low = bytes & 15;
    const sixteen digits[] = {
        hex_digits(__builtin_shufflevector(high, low, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6,
                                           22, 7, 23)),
        hex_digits(__builtin_shufflevector(high, low, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29,
                                           14, 30, 15, 31))};

    memcpy(out, digits, sizeof(digits));
}

static void
add_etag(td_handler *h)
{
    const td_handler_class *class = td_handler_route(h)->class;

    if (TD_UNLIKELY(class->compute_etag != NULL)) {
        class->compute_etag(h, td_str_make(h->body, h->body_len));
        return;
    }
    const XXH128_hash_t hash = XXH3_128bits(h->body, h->body_len);
    const uint64_t words[] = {htobe64(hash.high64), htobe64(hash.low64)};
    char *etag = td_arena_alloc_raw(&h->request->arena, 34);
    sixteen bytes;

    memcpy(&bytes, words, sizeof(bytes));
    etag[0] = etag[33] = '"';
    put_hex(etag + 1, bytes);
    td_headers_add(&h->headers, &h->request->arena, TD_STR("Etag"), td_str_make(etag, 34));
}

/* RFC 9110 section 13.1.2 */
static bool
is_known_to_client(td_handler *h)
{
    const td_header *etag = td_headers_find(&h->headers, TD_STR("Etag"));

    return etag != NULL && td_etag_is_in(etag->value, h->match->if_none_match, true);
}

/* ---- to the writer */

/*
 * RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5: these have no content, and no headers about it; 205
 * has the length 0.
 */
static bool
has_no_body(int status)
{
    return status == 204 || status == 205 || status == 304;
}

static void
strip_body(td_handler *h)
{
    td_headers_remove(&h->headers, TD_STR("Content-Type"));
    td_headers_remove(&h->headers, TD_STR("Content-Encoding"));
    td_headers_remove(&h->headers, TD_STR("Content-Language"));
    if (h->status != 304 && h->body_len > 0)
        td_handler_misuse(h, "td_write", "a response of this status has no body: it is dropped");
    h->body_len = 0;
}

/* Ask those who have a say in the head. */
static inline int
complete_head(td_handler *h)
{
    if (TD_LIKELY(h->on_head == NULL) || td_chain_head(h))
        return 0;
    h->request->writer->abort(h->request); /* the head lacks what it was to get */
    h->closed = true;
    return TD_ECLOSED;
}

/* What is certain only when nothing can be changed any more. */
static inline void
seal_head(td_handler *h)
{
    if (TD_UNLIKELY(h->visitor != NULL))
        td_response_add_cookies(h);
    if (TD_UNLIKELY(h->match->vary.len > 0)) /* RFC 9110 section 12.5.5 */
        td_headers_add(&h->headers, &h->request->arena, TD_STR("Vary"), h->match->vary);
    h->headers_written = true;
    if (TD_UNLIKELY(h->wait != NULL))
        td_handler_head_written(h);
}

/* length: of the body, -1 when it is not known. */
static int
write_head(td_handler *h, int64_t length)
{
    td_request *request = h->request;

    if (complete_head(h) < 0)
        return TD_ECLOSED;
    if (TD_UNLIKELY(h->app->compression != NULL))
        td_compression_vary(h);
    if (TD_UNLIKELY(has_no_body(h->status))) {
        strip_body(h);
        length = 0;
    } else if (TD_UNLIKELY(h->content_length >= 0)) {
        length = h->content_length;
    }
    seal_head(h);
    return request->writer->head(request, h->status, h->reason, &h->headers, length);
}

static int
write_bytes(td_handler *h, td_str bytes, bool stable)
{
    td_request *request = h->request;

    if (bytes.len == 0 || request->head.method == TD_METHOD_HEAD)
        return 0;
    return request->writer->body(request, bytes, stable);
}

/* A piece of the body on its way through the transforms; the head before it if it is the first. */
static int
write_filtered(td_handler *h, td_str bytes, bool finishing)
{
    /* They may wait and raise, so the buffers are released by the unwinding, too. */
    td_filtered filtered __attribute__((cleanup(td_filtered_release))) = {0};
    int rc = td_filters_run(h, bytes, finishing, &filtered);

    if (rc == TD_EINVAL)
        td_response_abort(h);
    if (rc == 0 && !h->headers_written)
        rc = write_head(h, filtered.length);
    return rc < 0 ? rc : write_bytes(h, filtered.bytes, false);
}

static int
write_body(td_handler *h, bool finishing)
{
    const td_str body = {h->body, h->body_len};

    h->body_len = 0;
    if (TD_UNLIKELY(td_is_filtered(h)))
        return write_filtered(h, body, finishing);
    return write_bytes(h, body, finishing);
}

static void
check_length(td_handler *h)
{
    if (h->content_length < 0 || h->request->head.method == TD_METHOD_HEAD ||
        h->content_length == (int64_t)h->body_len || has_no_body(h->status))
        return;
    td_handler_misuse(h, "td_finish", "Content-Length is not the length of what was written");
}

void
td_response_not_modified(td_handler *h)
{
    h->status = 304;
    h->reason = td_str_make(NULL, 0);
    h->content_length = -1;
    h->body_len = 0;
}

/* Everything at once: no flush was before. */
static int
finish_whole(td_handler *h)
{
    const td_method method = h->request->head.method;
    int rc;

    if (h->status == 200 && (method == TD_METHOD_GET || method == TD_METHOD_HEAD)) {
        if (!h->has_etag)
            add_etag(h);
        if (TD_UNLIKELY(!td_str_is_null(h->match->if_none_match)) && is_known_to_client(h))
            td_response_not_modified(h);
    }
    if (TD_UNLIKELY(td_is_filtered(h)))
        return write_body(h, true);
    if (TD_UNLIKELY(h->content_length >= 0))
        check_length(h);
    rc = write_head(h, (int64_t)h->body_len);
    return rc < 0 ? rc : write_bytes(h, td_str_make(h->body, h->body_len), true);
}

int
td_response_finish(td_handler *h)
{
    int rc = TD_ECLOSED;

    if (TD_LIKELY(!h->closed)) {
        rc = TD_LIKELY(!h->headers_written) ? finish_whole(h) : write_body(h, true);
        if (rc == 0)
            rc = h->request->writer->finish(h->request);
    }
    h->finished = true;
    if (TD_UNLIKELY(h->wait != NULL))
        td_handler_response_ended(h);
    return rc;
}

/* What td_flush lets a handler do in one iteration of the loop without a wait. */
#define FLUSHED_MAX ((size_t)256 * 1024)
#define FLUSH_COST 4096 /* bytes that the shortest one counts for */

/*
 * A client that takes whatever comes, and a body that is dropped, make no flush wait; others have
 * their turn nevertheless.
 */
static int
give_way(td_handler *h, size_t flushed)
{
    static const td_handler *last; /* compared, and no more */
    static int64_t iteration_ns;
    static size_t in_iteration;
    int rc;

    if (h != last || td_now_ns() != iteration_ns)
        in_iteration = 0;
    last = h;
    iteration_ns = td_now_ns();
    in_iteration += flushed + FLUSH_COST;
    if (in_iteration < FLUSHED_MAX || td_coroutine_current() == NULL)
        return 0;
    rc = td_sleep(0);
    return rc == 0 && h->closed ? TD_ECLOSED : rc;
}

/*
 * Give the writer what there is, and wait until the client has taken enough of it; what waits holds
 * the bytes that are unsent, and no room for others.
 */
static int
flush_and_wait(td_handler *h)
{
    int rc = h->request->writer->flush(h->request);

    if (rc < 0 || td_request_pending(h->request) <= (size_t)h->request->limits->write_high_water)
        return rc;
    if (h->body_len == 0)
        release_body(h);
    return td_handler_wait_writable(h);
}

static void
free_buffer(char **buffer)
{
    free(*buffer);
}

static void
unref_file(td_file **file)
{
    td_file_unref(*file);
}

/* Through memory, so that it can be changed.  Others are served after each buffer. */
static int
write_filtered_file(td_handler *h, const td_piece *piece, bool finishing)
{
    const size_t size = piece->length < FILE_BUFFER ? (size_t)piece->length : FILE_BUFFER;
    td_file *file __attribute__((cleanup(unref_file))) = td_file_ref(piece->file);
    char *buffer __attribute__((cleanup(free_buffer))) = td_xmalloc(size);
    uint64_t sent = 0;
    int rc = 0;

    while (rc == 0 && sent < piece->length) {
        const uint64_t left = piece->length - sent;
        const ssize_t n = pread(file->fd, buffer, left < size ? (size_t)left : size,
                                (off_t)(piece->offset + sent));

        if (n <= 0)
            return td_handler_misuse(h, "td_serve_static", "the file has become shorter");
        sent += (uint64_t)n;
        rc = write_filtered(h, td_str_make(buffer, (size_t)n), finishing && sent == piece->length);
        if (h->request->head.method == TD_METHOD_HEAD)
            break;
        if (rc == 0 && sent < piece->length)
            rc = flush_and_wait(h);
        if (rc == 0 && sent < piece->length) {
            td_sleep(0);
            rc = h->closed ? TD_ECLOSED : 0;
        }
    }
    return rc;
}

static int
write_filtered_pieces(td_handler *h, const td_piece *pieces, size_t count)
{
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = pieces[i].file != NULL && pieces[i].length > 0
                 ? write_filtered_file(h, &pieces[i], i + 1 == count)
                 : write_filtered(h, pieces[i].bytes, i + 1 == count);
    if (rc == TD_EINVAL)
        td_response_abort(h);
    return rc;
}

static int
write_piece(td_request *request, const td_piece *piece)
{
    if (piece->file == NULL)
        return request->writer->body(request, piece->bytes, false);
    return request->writer->file(request, piece->file, piece->offset, piece->length);
}

static int
write_pieces(td_handler *h, const td_piece *pieces, size_t count)
{
    int64_t length = 0;
    int rc;

    for (size_t i = 0; i < count; i++)
        length += (int64_t)(pieces[i].file != NULL ? pieces[i].length : pieces[i].bytes.len);
    if (TD_UNLIKELY(td_is_filtered(h)) && td_filters_want(h, length))
        return write_filtered_pieces(h, pieces, count);
    rc = write_head(h, length);
    if (h->request->head.method == TD_METHOD_HEAD || has_no_body(h->status))
        return rc;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = write_piece(h->request, &pieces[i]);
    return rc;
}

int
td_response_finish_pieces(td_handler *h, const td_piece *pieces, size_t count)
{
    int rc = TD_ECLOSED;

    h->body_len = 0;
    h->content_length = -1;
    if (!h->closed)
        rc = write_pieces(h, pieces, count);
    if (rc == 0)
        rc = h->request->writer->finish(h->request);
    h->finished = true;
    if (h->wait != NULL)
        td_handler_response_ended(h);
    td_handler_owes_nothing(h);
    return rc;
}

void
td_response_abort(td_handler *h)
{
    if (!h->closed)
        h->request->writer->abort(h->request);
    h->filtering = false;
    h->closed = h->finished = true;
    if (h->wait != NULL)
        td_handler_response_ended(h);
}

int
td_response_detach(td_handler *h, td_detached *detached)
{
    const td_headers *head = NULL;
    int rc;

    if (h->status == 101) {
        if (complete_head(h) < 0)
            return TD_ECLOSED;
        strip_body(h);
        head = &h->headers;
    }
    seal_head(h);
    rc = h->request->writer->detach(h->request, detached, h->status, head);
    if (rc < 0) {
        td_response_abort(h);
        return rc;
    }
    h->finished = true;
    if (h->wait != NULL)
        td_handler_response_ended(h);
    td_handler_owes_nothing(h);
    return 0;
}

int
td_flush(td_handler *h)
{
    int rc = check_writable(h, "td_flush");
    size_t written;

    if (rc < 0)
        return rc;
    written = h->body_len;
    if (!h->headers_written && !td_is_filtered(h))
        rc = write_head(h, -1);
    if (rc == 0)
        rc = write_body(h, false);
    if (rc == 0)
        rc = flush_and_wait(h);
    if (rc < 0)
        return rc;
    if (h->request->head.method == TD_METHOD_HEAD && h->headers_written)
        return TD_ECLOSED; /* RFC 9110 section 9.3.2: the client has all that it asked for */
    return give_way(h, written);
}

int
td_finish(td_handler *h)
{
    int rc;

    if (!td_handler_usable(h, "td_finish"))
        return TD_EINVAL;
    if (is_asking(h))
        return refuse_to_ask(h, "td_finish");
    if (h->finished && !h->owes_finish && h->sse == NULL)
        return td_handler_misuse(h, "td_finish", "the response has ended");
    rc = h->finished ? TD_ECLOSED : td_response_finish(h);
    td_handler_owes_nothing(h);
    return rc;
}

bool
td_is_finished(td_handler *h)
{
    return td_handler_usable(h, "td_is_finished") && h->finished;
}

/* ---- redirects */

int
td_redirect_status(td_handler *h, const char *url, int status)
{
    int rc = td_response_check_open(h, "td_redirect");

    if (rc == TD_ECLOSED)
        td_handler_owes_nothing(h);
    if (rc < 0)
        return rc;
    if (is_asking(h))
        return refuse_to_ask(h, "td_redirect");
    if (status < 300 || status > 399)
        return td_handler_misuse(h, "td_redirect", "the status of a redirect is 300 to 399");
    if (url == NULL || !td_is_field_value(td_str_of(url)))
        return td_handler_misuse(h, "td_redirect", "a control byte is in the URL");
    h->body_len = 0;
    td_set_status(h, status, NULL);
    td_set_header(h, "Location", url);
    return td_finish(h);
}

int
td_redirect(td_handler *h, const char *url, bool permanent)
{
    return td_redirect_status(h, url, permanent ? 301 : 302);
}
