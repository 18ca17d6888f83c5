/*
 * A head is judged line by line as it comes, so that what is wrong is told at the line that shows
 * it; once it is whole it is taken apart, and its fields are compared with each other.  Most are
 * whole and plain when they come, and are seen through in one go; what is wrong with one is for the
 * long way to tell.
 */
#include "http/responsehead.h"

#include <stdlib.h>
#include <string.h>
#include <tornado/error.h>
#include "base/escape.h"
#include "http/parser.h"
#include "http/plain.h"

#define STATUS_LINE_MIN 12 /* "HTTP/1.1 200" */
#define KNOWN_MAX 1024     /* bytes of a head that is worth keeping */
#define IDLE_MAX_S 86400   /* what a server says beyond it is as good as that */

static int
refuse(const char **what, const char *text)
{
    *what = text;
    return TD_EBADMSG;
}

/* ---- lines */

/* status-line = HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112 section 4) */
static int
judge_status_line(td_str line, const char **what)
{
    static const char version[] = "HTTP/1.";
    const char *p = line.ptr;

    if (line.len < STATUS_LINE_MIN || memcmp(p, version, strlen(version)) != 0 ||
        !td_byte_is(p[7], TD_BYTE_DIGIT) || p[8] != ' ')
        return refuse(what, "status line: not HTTP/1.x");
    if (p[9] < '1' || p[9] > '5' || !td_byte_is(p[10], TD_BYTE_DIGIT) ||
        !td_byte_is(p[11], TD_BYTE_DIGIT) || (line.len > STATUS_LINE_MIN && p[12] != ' '))
        return refuse(what, "status line: no status");
    if (!td_is_field_value(td_str_make(p + STATUS_LINE_MIN, line.len - STATUS_LINE_MIN)))
        return refuse(what, "status line: a control byte in the reason");
    return 0;
}

/* field-line = field-name ":" OWS field-value OWS (RFC 9112 section 5) */
static int
judge_field_line(td_str line, const char **what)
{
    const char *colon = memchr(line.ptr, ':', line.len);

    if (line.ptr[0] == ' ' || line.ptr[0] == '\t')
        return refuse(what, "header: a line begins with a blank");
    if (colon == NULL || !td_is_token(td_str_make(line.ptr, (size_t)(colon - line.ptr))))
        return refuse(what, "header: the name is not a token and a colon");
    if (!td_is_field_value(td_str_make(colon, line.len - (size_t)(colon - line.ptr))))
        return refuse(what, "header: a control byte in a value");
    return 0;
}

/* The line, without its CRLF, that begins there and ends in front of `end`. */
static int
judge_line(td_response_scan *scan, td_str line, const char **what)
{
    if (scan->lines++ == 0)
        return judge_status_line(line, what);
    if (line.len > 0 && scan->lines > TD_RESPONSE_LINES_MAX + 1) {
        *what = "header: too many lines";
        return TD_ETOOBIG;
    }
    return line.len > 0 ? judge_field_line(line, what) : 0;
}

/* What is there of the status line tells at once when this is some other protocol. */
static bool
may_be_http(td_str bytes)
{
    static const char protocol[] = "HTTP/";
    const size_t len = bytes.len < strlen(protocol) ? bytes.len : strlen(protocol);

    return memcmp(bytes.ptr, protocol, len) == 0;
}

ssize_t
td_response_head_scan(td_response_scan *scan, td_str bytes, const char **what)
{
    const char *lf;

    if (bytes.len > 0 && !may_be_http(bytes))
        return refuse(what, "status line: not HTTP/1.x");
    while (scan->looked < bytes.len &&
           (lf = memchr(bytes.ptr + scan->looked, '\n', bytes.len - scan->looked)) != NULL) {
        const char *start = bytes.ptr + scan->judged;
        const size_t len = (size_t)(lf - start);
        int rc;

        if (len == 0 || lf[-1] != '\r')
            return refuse(what, "header: LF without CR");
        if (scan->judged + len + 1 > TD_RESPONSE_HEAD_MAX)
            break;
        rc = judge_line(scan, td_str_make(start, len - 1), what);
        if (rc < 0)
            return rc;
        scan->judged = scan->looked = (size_t)(lf + 1 - bytes.ptr);
        if (len == 1)
            return (ssize_t)scan->judged;
    }
    scan->looked = bytes.len;
    if (bytes.len < TD_RESPONSE_HEAD_MAX)
        return 0;
    *what = "header: too long";
    return TD_ETOOBIG;
}

/* ---- what they say */

struct notes {
    bool has_length, has_coding, close, keep_alive;
};

/* RFC 9112 section 6.1: as of a request, whatever is not just "chunked" is refused. */
static int
note_coding(td_response_head *head, struct notes *notes, td_str value, const char **what)
{
    if (notes->has_coding || !td_str_equal_nocase(value, TD_STR("chunked")))
        return refuse(what, "Transfer-Encoding: not one chunked");
    if (head->minor == 0)
        return refuse(what, "Transfer-Encoding: in HTTP/1.0");
    notes->has_coding = head->chunked = true;
    return 0;
}

static int
note_length(td_response_head *head, struct notes *notes, td_str value, const char **what)
{
    if (notes->has_length)
        return refuse(what, "Content-Length: more than one");
    notes->has_length = true;
    head->content_length = td_content_length_parse(value);
    return head->content_length < 0 ? refuse(what, "Content-Length: not a number that fits") : 0;
}

/*
 * "Keep-Alive: timeout=5, max=100" (RFC 2068 section 19.7.1.1), as Apache and node.js say it.  What
 * else is in there is said by Connection: close in time.
 */
static void
note_idle_max(td_response_head *head, struct notes *notes, td_str list)
{
    const td_str timeout = TD_STR("timeout=");
    td_str element;

    while (td_list_next(&list, &element)) {
        int64_t seconds;

        if (element.len < timeout.len ||
            !td_str_equal_nocase(td_str_make(element.ptr, timeout.len), timeout))
            continue;
        seconds = td_content_length_parse(
            td_str_make(element.ptr + timeout.len, element.len - timeout.len));
        head->idle_max_s = seconds < 0 ? 0 : seconds > IDLE_MAX_S ? IDLE_MAX_S : (int)seconds;
        notes->close |= seconds == 0;
    }
}

/* Either of the two fields about the connection, which most answers leave out. */
static __attribute__((noinline)) void
note_connection(td_response_head *head, struct notes *notes, td_str name, td_str value)
{
    if (TD_IS_WORD(name, "connection")) {
        notes->close |= td_list_has_token(value, TD_STR("close"));
        notes->keep_alive |= td_list_has_token(value, TD_STR("keep-alive"));
    }
    if (TD_IS_WORD(name, "keep-alive"))
        note_idle_max(head, notes, value);
}

static int
note_field(td_response_head *head, struct notes *notes, td_str name, td_str value,
           const char **what)
{
    if (TD_IS_WORD(name, "content-length"))
        return note_length(head, notes, value, what);
    if (TD_IS_WORD(name, "transfer-encoding"))
        return note_coding(head, notes, value, what);
    if (TD_IS_WORD(name, "content-encoding"))
        head->is_encoded = true;
    if (name.len == sizeof("connection") - 1)
        note_connection(head, notes, name, value);
    return 0;
}

/* RFC 9110 sections 8.6 and 15.3.5, RFC 9112 section 6.1. */
static int
compare(td_response_head *head, const struct notes *notes, const char **what)
{
    if (notes->has_coding && notes->has_length)
        return refuse(what, "Transfer-Encoding: beside Content-Length");
    if (head->status < 200 && (notes->has_coding || notes->has_length))
        return refuse(what, "an interim response with a body");
    if (head->status == 204 && (notes->has_coding || head->content_length > 0))
        return refuse(what, "204 with a body");
    head->keep_alive = !notes->close && (head->minor > 0 || notes->keep_alive);
    return 0;
}

int
td_response_head_read(td_str bytes, td_arena *arena, td_response_head *out, const char **what)
{
    const char *p = memchr(bytes.ptr, '\r', bytes.len);
    const char *const status = bytes.ptr + strlen("HTTP/1.1 ");
    const char *reason = bytes.ptr + STATUS_LINE_MIN;
    struct notes notes = {false};
    int rc = 0;

    *out = (td_response_head){
        .status = (status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0'),
        .minor = bytes.ptr[7] == '0' ? 0 : 1,
        .reason = td_str_trim(td_str_make(reason, (size_t)(p - reason))),
        .content_length = -1,
    };
    for (p += 2; rc == 0 && *p != '\r'; p += 2) {
        const char *colon = memchr(p, ':', bytes.len - (size_t)(p - bytes.ptr));
        const char *end = memchr(p, '\r', bytes.len - (size_t)(p - bytes.ptr));
        const td_str name = td_str_make(p, (size_t)(colon - p));
        const td_str value = td_str_trim(td_str_make(colon + 1, (size_t)(end - colon) - 1));

        td_headers_add(&out->headers, arena, name, value);
        rc = note_field(out, &notes, name, value, what);
        p = end;
    }
    return rc < 0 ? rc : compare(out, &notes, what);
}

/* ---- one that is whole and plain */

/* "HTTP/1.x 200 Reason" CRLF.  Returns what is behind it, or NULL: it is not plain. */
static const char *
read_plain_status(const char *start, const char *end, td_response_head *out)
{
    const char *const reason = start + sizeof("HTTP/1.1 200 ") - 1;
    const char *const stop = td_find_end(start, end, td_value_ends);
    td_str line = td_str_make(start, STATUS_LINE_MIN);
    const char *what;

    if (stop < reason || end - stop < (ptrdiff_t)sizeof("\r\n\r\n") - 1 ||
        memcmp(stop, "\r\n", 2) != 0 || start[STATUS_LINE_MIN] != ' ' ||
        judge_status_line(line, &what) < 0)
        return NULL;
    *out = (td_response_head){
        .status = (start[9] - '0') * 100 + (start[10] - '0') * 10 + (start[11] - '0'),
        .minor = start[7] == '0' ? 0 : 1,
        .reason = td_str_trim(td_str_make(reason, (size_t)(stop - reason))),
        .content_length = -1,
    };
    return stop + 2;
}

/* The field lines and the last CRLF.  Returns what is behind them, or NULL: they are not plain. */
static const char *
read_plain_lines(const char *p, const char *end, td_arena *arena, td_response_head *out)
{
    struct notes notes = {false};
    const char *what;

    td_headers_init(&out->headers, arena);
    while (*p != '\r') {
        td_str name, value;

        p = td_plain_line(p, end, &name, &value);
        if (p == NULL || out->headers.count == TD_RESPONSE_LINES_MAX ||
            note_field(out, &notes, name, value, &what) < 0)
            return NULL;
        *td_headers_append(&out->headers, arena) = (td_header){name, value};
    }
    return p[1] == '\n' && compare(out, &notes, &what) == 0 ? p + 2 : NULL;
}

/* What pointed into `from` points into a copy of it, and so the lines, of which there is room. */
static void
point_into(td_response_head *out, const td_response_head *head, const char *from, const char *copy,
           td_header *lines)
{
    const td_headers *headers = &head->headers;

    *out = *head;
    out->reason.ptr = copy + (head->reason.ptr - from);
    out->headers = (td_headers){lines, headers->count, headers->count};
    for (size_t i = 0; i < headers->count; i++) {
        const td_header *line = &headers->items[i];

        lines[i] = (td_header){{copy + (line->name.ptr - from), line->name.len},
                               {copy + (line->value.ptr - from), line->value.len}};
    }
}

static void
terminate(char *text, td_str s, const char *from)
{
    text[s.ptr - from + (ptrdiff_t)s.len] = '\0';
}

/* A copy of the head that *out points into takes its place, with a NUL behind each string. */
static const char *
settle(td_response_head *out, td_str head, td_arena *arena)
{
    char *const copy = memcpy(td_arena_alloc_raw(arena, head.len), head.ptr, head.len);

    terminate(copy, out->reason, head.ptr);
    for (size_t i = 0; i < out->headers.count; i++) {
        terminate(copy, out->headers.items[i].name, head.ptr);
        terminate(copy, out->headers.items[i].value, head.ptr);
    }
    point_into(out, out, head.ptr, copy, out->headers.items);
    return copy;
}

/* ---- one that has come before */

static bool
is_known(const td_response_known *known, td_str bytes)
{
    return known->len > 0 && bytes.len >= known->len &&
           memcmp(bytes.ptr, known->bytes, known->len) == 0;
}

static size_t
repeat(const td_response_known *known, td_arena *arena, td_response_head *out)
{
    const char *text = known->bytes + known->len;
    const char *copy = memcpy(td_arena_alloc_raw(arena, known->len), text, known->len);

    point_into(out, &known->head, text, copy,
               td_arena_alloc_raw(arena, known->head.headers.count * sizeof(td_header)));
    return known->len;
}

/* `text` is the head with its NULs, into which *head points. */
static void
note(td_response_known *known, td_str bytes, const char *text, const td_response_head *head)
{
    const size_t lines_at = (2 * bytes.len + sizeof(void *) - 1) / sizeof(void *) * sizeof(void *);
    const bool is_like_last = known->last_len == bytes.len;

    known->last_len = bytes.len;
    if (!is_like_last || bytes.len > KNOWN_MAX)
        return;
    known->bytes =
        td_xrealloc(known->bytes, lines_at + head->headers.count * sizeof(*head->headers.items));
    known->len = bytes.len;
    memcpy(known->bytes, bytes.ptr, bytes.len);
    memcpy(known->bytes + bytes.len, text, bytes.len);
    point_into(&known->head, head, text, known->bytes + bytes.len,
               (td_header *)(void *)(known->bytes + lines_at));
}

void
td_response_known_release(td_response_known *known)
{
    free(known->bytes);
    *known = (td_response_known){0};
}

size_t
td_response_head_plain(td_str bytes, td_arena *arena, td_response_known *known,
                       td_response_head *out)
{
    const size_t max = bytes.len < TD_RESPONSE_HEAD_MAX ? bytes.len : TD_RESPONSE_HEAD_MAX;
    const td_arena_mark mark = td_arena_mark_now(arena);
    const char *p = NULL, *text;
    td_str head;

    if (known != NULL && is_known(known, bytes))
        return repeat(known, arena, out);
    if (max > sizeof(td_block))
        p = read_plain_status(bytes.ptr, bytes.ptr + max, out);
    if (p != NULL)
        p = read_plain_lines(p, bytes.ptr + max, arena, out);
    if (p == NULL) {
        td_arena_rewind(arena, mark);
        return 0;
    }
    head = td_str_make(bytes.ptr, (size_t)(p - bytes.ptr));
    text = settle(out, head, arena);
    if (known != NULL)
        note(known, head, text, out);
    return head.len;
}
