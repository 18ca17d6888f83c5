/*
 * Goal: a request head means the same whichever way it is parsed.
 *
 * Parses the bytes by the fast scanner and by http-parser, whole, cut in two and byte by byte, each
 * time in memory that ends where the bytes do, and aborts when two ways differ in anything: the
 * length, the error, or any field of td_head.  What was accepted is then held against the grammar
 * once more, by plain code that shares nothing with the parser.
 */
#ifndef TORNADO_TESTS_HEAD_EVERY_WAY_H
#define TORNADO_TESTS_HEAD_EVERY_WAY_H

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/escape.h"
#include "http/parser.h"

static td_str input_now; /* for the message */

#define MUST(condition) ((condition) ? (void)0 : must_failed(__LINE__, #condition))

static TD_NORETURN void
must_failed(int line, const char *condition)
{
    char text[4096];
    const size_t len = td_log_escape_into(text, sizeof text, input_now);

    fprintf(stderr, "%s:%d: not so: %s\nof: %.*s\n", __FILE__, line, condition, (int)len, text);
    abort();
}

/* What one way of parsing gave.  The head points into bytes, and its lines into the arena. */
typedef struct outcome {
    ssize_t rc;
    size_t told_at; /* bytes that were there when the result came */
    td_head head;
    td_head_error error;
    td_arena arena;
    char *bytes;
} outcome;

static void
outcome_fini(outcome *o)
{
    td_arena_fini(&o->arena);
    free(o->bytes);
}

/* Parse again and again, with first, first + step, first + 2 step ... at last all bytes there. */
static outcome
parse_in_steps(td_str input, const td_head_limits *limits, bool fast, size_t first, size_t step)
{
    outcome o = {.rc = 0};
    td_head_parser parser = {.judged = 0};

    input_now = input;
    td_arena_init(&o.arena);
    td_head_parser_fast(fast);
    for (size_t len = first < input.len ? first : input.len;; len += step) {
        if (len > input.len)
            len = input.len;
        free(o.bytes);
        o.bytes = malloc(len);
        if (len > 0)
            memcpy(o.bytes, input.ptr, len);
        o.told_at = len;
        o.rc = td_head_parse(&parser, o.bytes, len, limits, &o.arena, &o.head, &o.error);
        if (o.rc != 0 || len == input.len)
            break;
    }
    td_head_parser_fast(true);
    MUST(o.rc <= 0 || (parser.judged == 0 && parser.state == 0));
    return o;
}

/* The same bytes, and either both in the head at the same place or both constants. */
static bool
is_same_str(td_str a, const outcome *of_a, td_str b, const outcome *of_b)
{
    if ((a.ptr == NULL) != (b.ptr == NULL) || !td_str_equal(a, b))
        return false;

    const bool a_inside = a.ptr >= of_a->bytes && a.ptr < of_a->bytes + of_a->told_at;
    const bool b_inside = b.ptr >= of_b->bytes && b.ptr < of_b->bytes + of_b->told_at;

    if (a.len == 0) /* where nothing stands does not matter */
        return true;
    return a_inside == b_inside && (!a_inside || a.ptr - of_a->bytes == b.ptr - of_b->bytes);
}

static void
must_be_same_head(const outcome *a, const outcome *b)
{
    const td_head *x = &a->head, *y = &b->head;

    MUST(is_same_str(x->raw, a, y->raw, b));
    MUST(x->method == y->method);
    MUST(is_same_str(x->method_name, a, y->method_name, b));
    MUST(is_same_str(x->target, a, y->target, b));
    MUST(is_same_str(x->path, a, y->path, b));
    MUST(is_same_str(x->query, a, y->query, b));
    MUST(is_same_str(x->host, a, y->host, b));
    MUST(is_same_str(x->host_name, a, y->host_name, b));
    MUST(x->minor == y->minor);
    MUST(x->content_length == y->content_length);
    MUST(x->chunked == y->chunked);
    MUST(x->keep_alive == y->keep_alive);
    MUST(x->absolute_form == y->absolute_form);
    MUST(x->upgrade == y->upgrade);
    MUST(x->expect == y->expect);
    MUST(x->headers.count == y->headers.count);
    for (size_t i = 0; i < x->headers.count; i++) {
        MUST(is_same_str(x->headers.items[i].name, a, y->headers.items[i].name, b));
        MUST(is_same_str(x->headers.items[i].value, a, y->headers.items[i].value, b));
    }
}

static void
must_be_same(const outcome *a, const outcome *b)
{
    MUST(a->rc == b->rc);
    if (a->rc > 0)
        must_be_same_head(a, b);
    if (a->rc < 0) {
        MUST(a->error.status == b->error.status);
        MUST(strcmp(a->error.what, b->error.what) == 0);
    }
}

static bool
is_name_byte(char byte)
{
    return isalnum((unsigned char)byte) || memchr("!#$%&'*+-.^_`|~", byte, 15) != NULL;
}

static bool
is_named(const td_header *header, const char *name)
{
    return header->name.len == strlen(name) &&
           strncasecmp(header->name.ptr, name, header->name.len) == 0;
}

/* Is `line` name ":" OWS value OWS? */
static bool
is_field_line(td_str line, const td_header *header)
{
    const char *p = header->name.ptr + header->name.len;
    const char *const end = line.ptr + line.len;

    if (header->name.ptr != line.ptr || header->name.len == 0 || *p++ != ':')
        return false;
    for (size_t i = 0; i < header->name.len; i++)
        if (!is_name_byte(header->name.ptr[i]))
            return false;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    if (header->value.len > 0 && p != header->value.ptr)
        return false;
    for (size_t i = 0; i < header->value.len; i++, p++)
        if ((unsigned char)*p != '\t' && ((unsigned char)*p < 0x20 || *p == 0x7f))
            return false;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    return p == end;
}

/* The lines of an accepted head are its field lines, each ended by the first CR or LF. */
static void
must_be_well_formed(const td_head *head, const td_head_limits *limits)
{
    const char *p = head->raw.ptr, *const end = p + head->raw.len;
    size_t lines = 0, hosts = 0, lengths = 0, codings = 0;

    MUST(head->raw.len <= limits->size_max);
    for (;; lines++) {
        const char *line = p;

        while (*p != '\r' && *p != '\n')
            p++;
        MUST(end - p >= 2 && p[0] == '\r' && p[1] == '\n');
        p += 2;
        if (lines == 0) {
            MUST((size_t)(p - 2 - line) <= limits->request_line_max);
            continue;
        }
        if (p - 2 == line)
            break;
        MUST(lines <= head->headers.count);

        const td_str text = td_str_make(line, (size_t)(p - 2 - line));
        td_header header = head->headers.items[lines - 1];

        if (head->absolute_form && is_named(&header, "Host")) { /* replaced */
            MUST(header.value.ptr == head->host.ptr && header.value.len == head->host.len);
            header.value = td_str_trim(td_str_make(line + 5, text.len - 5));
        }
        MUST(is_field_line(text, &header));
        hosts += is_named(&header, "Host");
        lengths += is_named(&header, "Content-Length");
        codings += is_named(&header, "Transfer-Encoding");
    }
    MUST(p == end);
    MUST(lines - 1 == head->headers.count && head->headers.count <= limits->headers_max);
    MUST(hosts <= 1 && (hosts == 1 || head->minor == 0));
    MUST(lengths + codings <= 1);
    MUST((lengths == 1) == (head->content_length >= 0) && (codings == 1) == head->chunked);
    MUST(!head->chunked || head->minor == 1);
    MUST(head->path.len > 0 && (head->path.ptr[0] == '/' || head->path.ptr[0] == '*'));
    MUST(head->minor == 1 || (head->expect == TD_EXPECT_NONE && !head->upgrade));
}

static void
compare_with(const outcome *whole, td_str input, const td_head_limits *limits, bool fast,
             size_t first, size_t step)
{
    outcome other = parse_in_steps(input, limits, fast, first, step);

    must_be_same(whole, &other);
    outcome_fini(&other);
}

/* splits_max: at most so many places are tried to cut the input in two. */
static void
parse_every_way(td_str input, const td_head_limits *limits, size_t splits_max)
{
    outcome whole = parse_in_steps(input, limits, false, input.len, 1);
    const size_t stride = input.len / (splits_max + 1) + 1;

    if (whole.rc > 0)
        must_be_well_formed(&whole.head, limits);
    compare_with(&whole, input, limits, true, input.len, 1);
    compare_with(&whole, input, limits, true, 0, 1);
    compare_with(&whole, input, limits, false, 0, 1);
    for (size_t split = stride; split < input.len; split += stride) {
        compare_with(&whole, input, limits, true, split, input.len);
        compare_with(&whole, input, limits, false, split, input.len);
    }
    outcome_fini(&whole);
}

#endif
