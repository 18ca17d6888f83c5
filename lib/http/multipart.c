/*
 * Where a body ends is a search for a line.  What may be the beginning of that line, cut off by the
 * end of the input, is withheld; should it turn out to be data, its bytes are known, for they are
 * those of the line, and nothing needs to be kept.  The line begins with CR and has no other in it
 * (a header's value has none), so a mismatch never leads back, and the search is linear.
 */
#include <tornado/error.h>
#include "base/assert.h"
#include "base/escape.h"
#include "http/headers.h"
#include "http/multipart.h"
#include "http/plain.h"

#define PARAMETERS_MAX 16 /* of a Content-Disposition: RFC 6266 and 7578 know three for forms */

enum state {
    PREAMBLE,
    HEAD,
    BODY,
    END,
};

static int
refuse(td_multipart *m, int rc, int status, const char *what)
{
    m->status = status;
    m->what = what;
    return rc;
}

static int
malformed(td_multipart *m, const char *what)
{
    return refuse(m, TD_EBADMSG, 400, what);
}

static td_str
take(td_str *input, size_t len)
{
    const td_str front = td_str_make(input->ptr, len);

    *input = td_str_make(input->ptr + len, input->len - len);
    return front;
}

/* ---- parameters: *( OWS ";" OWS token OWS "=" OWS ( quoted-string / *( byte but ";" ) ) ) */

/* What stands before the byte, without the blanks around it; the byte is taken, too. */
static td_str
take_before(td_str *rest, char byte)
{
    const char *at = rest->len > 0 ? memchr(rest->ptr, byte, rest->len) : NULL;
    const td_str front = take(rest, at != NULL ? (size_t)(at - rest->ptr) : rest->len);

    if (at != NULL)
        take(rest, 1);
    return td_str_trim(front);
}

/*
 * rest->ptr[0] is the opening quote.  Browsers escape neither '\' nor anything else with it, so
 * that it means something before '"' and '\' only.  Unescapes in place; false: no closing quote.
 */
static bool
take_quoted(td_str *rest, td_str *value_out)
{
    char *const text = (char *)(uintptr_t)rest->ptr + 1; /* the buffer is the parser's own */
    const size_t size = rest->len - 1;
    size_t len = 0, i = 0;

    for (; i < size && text[i] != '"'; i++) {
        if (text[i] == '\\' && i + 1 < size && (text[i + 1] == '"' || text[i + 1] == '\\'))
            i++;
        text[len++] = text[i];
    }
    if (i == size)
        return false;
    *value_out = td_str_make(text, len);
    take(rest, i + 2);
    return true;
}

/* Take the next parameter.  1; 0: there is none left; TD_EBADMSG. */
static int
next_parameter(td_str *rest, td_str *name_out, td_str *value_out)
{
    size_t blanks = 0;

    *rest = td_str_trim(*rest);
    while (blanks < rest->len && memchr("; \t", rest->ptr[blanks], 3) != NULL)
        blanks++; /* empty ones are passed over */
    take(rest, blanks);
    if (rest->len == 0)
        return 0;
    if (memchr(rest->ptr, '=', rest->len) == NULL)
        return TD_EBADMSG;
    *name_out = take_before(rest, '=');
    *rest = td_str_trim(*rest);
    if (!td_is_token(*name_out))
        return TD_EBADMSG;
    if (rest->len == 0 || rest->ptr[0] != '"') {
        *value_out = take_before(rest, ';');
        return 1;
    }
    if (!take_quoted(rest, value_out))
        return TD_EBADMSG;
    return take_before(rest, ';').len == 0 ? 1 : TD_EBADMSG;
}

/* ---- the header of a part */

/* %XX to bytes, in place; those above 0x7f to UTF-8 where is_latin1.  False: it is no such text. */
static bool
decode_percent(td_str *text, bool is_latin1)
{
    char *const bytes = (char *)(uintptr_t)text->ptr;
    size_t len = 0;

    for (size_t i = 0; i < text->len; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        const bool is_encoded = byte == '%';

        if (is_encoded) {
            if (text->len - i < 3 || !td_byte_is(bytes[i + 1], TD_BYTE_HEX) ||
                !td_byte_is(bytes[i + 2], TD_BYTE_HEX))
                return false;
            byte = (unsigned char)(td_hex_value(bytes[i + 1]) << 4 | td_hex_value(bytes[i + 2]));
            i += 2;
        }
        if (is_latin1 && byte >= 0x80) {
            if (!is_encoded)
                return false;
            bytes[len++] = (char)(0xc0 | byte >> 6);
            byte = 0x80 | (byte & 0x3f);
        }
        bytes[len++] = (char)byte;
    }
    *text = td_str_make(bytes, len);
    return td_utf8_is_valid(*text) && td_is_field_value(*text);
}

/* ext-value = charset "'" [ language ] "'" value-chars (RFC 8187 section 3.2) */
static bool
decode_extended(td_str *value)
{
    td_str rest = *value;
    const td_str charset = take_before(&rest, '\'');
    const bool is_latin1 = td_str_equal_nocase(charset, TD_STR("iso-8859-1"));

    if (!is_latin1 && !td_str_equal_nocase(charset, TD_STR("utf-8")))
        return false;
    if (rest.len == 0 || memchr(rest.ptr, '\'', rest.len) == NULL)
        return false;
    take_before(&rest, '\'');
    *value = rest;
    return decode_percent(value, is_latin1);
}

/* Null before, so that a second one is told. */
static int
set_once(td_multipart *m, td_str *field, td_str value)
{
    if (!td_str_is_null(*field))
        return malformed(m, "a parameter of Content-Disposition comes twice");
    *field = value;
    return 0;
}

/*
 * start: "filename*".  filename*0, filename*1*, ...: RFC 2231 section 3.  Passed over, they would
 * make a field of a file.
 */
static bool
is_piece(td_str name, td_str start)
{
    return name.len > start.len &&
           td_str_equal_nocase(td_str_make(name.ptr, start.len), start);
}

/* In the place of `field`, where there is one: who sends both means the other for old servers. */
static int
prefer_extended(td_multipart *m, td_str *field, td_str extended, const char *what)
{
    if (td_str_is_null(extended))
        return 0;
    if (!decode_extended(&extended))
        return malformed(m, what);
    *field = extended;
    return 0;
}

static int
parse_disposition(td_multipart *m, td_str rest)
{
    td_str name, value, extended_name = {NULL, 0}, extended_filename = {NULL, 0};
    int rc, count = 0;

    if (!td_str_equal_nocase(take_before(&rest, ';'), TD_STR("form-data")))
        return malformed(m, "Content-Disposition is not form-data");
    while ((rc = next_parameter(&rest, &name, &value)) > 0) {
        if (++count > PARAMETERS_MAX)
            return malformed(m, "Content-Disposition has more than 16 parameters");
        if (td_str_equal_nocase(name, TD_STR("name")))
            rc = set_once(m, &m->name, value);
        else if (td_str_equal_nocase(name, TD_STR("filename")))
            rc = set_once(m, &m->filename, value);
        else if (td_str_equal_nocase(name, TD_STR("filename*")))
            rc = set_once(m, &extended_filename, value);
        else if (td_str_equal_nocase(name, TD_STR("name*")))
            rc = set_once(m, &extended_name, value);
        else if (is_piece(name, TD_STR("filename*")))
            return malformed(m, "filename* comes in pieces");
        else if (is_piece(name, TD_STR("name*")))
            return malformed(m, "name* comes in pieces");
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return malformed(m, "a parameter of Content-Disposition is broken");
    rc = prefer_extended(m, &m->name, extended_name, "name* is broken or in an unknown charset");
    if (rc < 0)
        return rc;
    if (m->name.len == 0)
        return malformed(m, "a part has no name");
    rc = prefer_extended(m, &m->filename, extended_filename,
                         "filename* is broken or in an unknown charset");
    if (rc < 0)
        return rc;
    if (m->filename.len == 0) /* what browsers send where no file was chosen */
        m->filename = td_str_make(NULL, 0);
    return 0;
}

/* The value stays while the part does, and there may be only one of that name. */
static int
keep_value(td_multipart *m, td_buf *buf, bool is_second, td_str value)
{
    if (is_second)
        return malformed(m, "a line of a part's header comes twice");
    td_buf_reserve(buf, value.len + 1); /* so that an empty one is not null */
    td_buf_append(buf, value);
    return 0;
}

/* line: with the LF at its end. */
static int
parse_line(td_multipart *m, td_str line)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    const td_str name = td_str_make(line.ptr, colon != NULL ? (size_t)(colon - line.ptr) : 0);
    const bool ends = line.len >= 2 && line.ptr[line.len - 2] == '\r';
    td_str value;
    int rc = 0;

    if (!td_utf8_is_valid(line))
        return malformed(m, "the header of a part is not UTF-8");
    if (!td_is_token(name)) /* a folded line, too */
        return malformed(m, "a line of a part's header is not a name and a colon");
    value = td_str_trim(td_str_make(colon + 1, line.len - name.len - 1 - (ends ? 2 : 0)));
    if (!td_is_field_value(value))
        return malformed(m, "the header of a part has a control byte");
    if (td_str_equal_nocase(name, TD_STR("Content-Disposition"))) {
        rc = keep_value(m, &m->disposition, m->has_disposition, value);
        m->has_disposition = true;
    } else if (td_str_equal_nocase(name, TD_STR("Content-Type"))) {
        rc = keep_value(m, &m->type, !td_str_is_null(m->content_type), value);
        m->content_type = td_buf_str(&m->type);
    }
    return rc;
}

/* Its empty line has come. */
static int
end_head(td_multipart *m)
{
    if (!m->has_disposition)
        return malformed(m, "a part has no Content-Disposition");
    return parse_disposition(m, td_buf_str(&m->disposition));
}

/* Whether a line of that name is for parse_line: one that is neither of the two, but as long. */
static bool
may_mean_something(size_t name_len)
{
    return name_len == sizeof("Content-Disposition") - 1 || name_len == sizeof("Content-Type") - 1;
}

static inline td_block
ascii_ends(td_block b)
{
    return (td_block)((b < 0x20) | (b >= 0x7f));
}

/* Where the value that begins there ends; end, when that is not known or it is not UTF-8. */
static inline const char *
find_value_end(const char *value, const char *end)
{
    const char *const ascii = td_find_end(value, end, ascii_ends);

    if (TD_LIKELY(ascii == end || (unsigned char)*ascii < 0x80))
        return ascii;
    const char *const stop = td_find_end(ascii, end, td_value_ends);
    return td_utf8_is_valid(td_str_make(ascii, (size_t)(stop - ascii))) ? stop : end;
}

/*
 * The lines at the front that parse_line would pass over: plain ones, of which a header may have as
 * many as fit.  Where they end earlier than they might, parse_line goes on.
 */
static size_t
find_plain_lines(td_str input)
{
    const char *const end = input.ptr + input.len, *p = input.ptr;

    while ((size_t)(end - p) > sizeof(td_block)) {
        const char *const colon = td_find_end(p, end, td_name_ends);

        if (colon == p || colon == end || *colon != ':' || may_mean_something((size_t)(colon - p)))
            break;
        const char *const stop = find_value_end(colon, end);

        if (end - stop < 2 || memcmp(stop, "\r\n", 2) != 0)
            break;
        p = stop + 2;
    }
    return (size_t)(p - input.ptr);
}

/* What of a line has come with this piece; the line when that is its end, else the null string. */
static td_str
take_line(td_multipart *m, td_str *input)
{
    const char *lf = memchr(input->ptr, '\n', input->len);
    const td_str piece = take(input, lf != NULL ? (size_t)(lf - input->ptr) + 1 : input->len);

    m->head_size += piece.len;
    if (lf != NULL && m->cut_line.len == 0)
        return piece;
    td_buf_append(&m->cut_line, piece);
    return lf != NULL ? td_buf_str(&m->cut_line) : td_str_make(NULL, 0);
}

/* 1: the header is complete; 0: more is wanted. */
static int
take_head(td_multipart *m, const td_multipart_limits *limits, td_str *input)
{
    while (input->len > 0) {
        if (m->cut_line.len == 0)
            m->head_size += take(input, find_plain_lines(*input)).len;

        const td_str line = take_line(m, input);
        int rc;

        if (m->head_size > limits->head_size_max)
            return refuse(m, TD_ETOOBIG, 413,
                          "the header of a part is larger than max_part_header_size");
        if (td_str_is_null(line))
            return 0;
        if (td_str_equal(line, TD_STR("\r\n"))) {
            td_buf_consume(&m->cut_line, m->cut_line.len);
            return 1;
        }
        rc = parse_line(m, line);
        if (rc < 0)
            return rc;
        td_buf_consume(&m->cut_line, m->cut_line.len);
    }
    return 0;
}

/* ---- the delimiter */

enum verdict {
    NO,
    CUT, /* it is, as far as the input goes */
    YES,
};

/* Do the bytes (at least one) go on as the delimiter does from its byte `from` on? */
static enum verdict
judge(const td_multipart *m, td_str bytes, size_t from)
{
    const size_t left = m->line_len - from;

    if (memcmp(bytes.ptr, m->line + from, bytes.len < left ? bytes.len : left) != 0)
        return NO;
    if (bytes.len <= left)
        return CUT;
    take(&bytes, left);
    if (bytes.ptr[0] != '\r' && bytes.ptr[0] != '-')
        return NO;
    if (bytes.len == 1)
        return CUT;
    return bytes.ptr[1] == (bytes.ptr[0] == '\r' ? '\n' : '-') ? YES : NO;
}

/* How many bytes come before what is a delimiter line or may become one. */
static size_t
find_line(const td_multipart *m, td_str input)
{
    const char *const end = input.ptr + input.len, *p = input.ptr;

    while (p < end && (p = memchr(p, '\r', (size_t)(end - p))) != NULL) {
        if (judge(m, td_str_make(p, (size_t)(end - p)), 0) != NO)
            return (size_t)(p - input.ptr);
        p++;
    }
    return input.len;
}

/* Go on with the line of which m->matched bytes have come.  Unless NO, what is its own is taken. */
static enum verdict
go_on(td_multipart *m, td_str *input)
{
    enum verdict verdict;

    if (input->len == 0)
        return CUT;
    if (m->matched > m->line_len) {
        if (input->ptr[0] != (m->tail == '\r' ? '\n' : '-'))
            return NO;
        take(input, 1);
        return YES;
    }
    verdict = judge(m, *input, m->matched);
    if (verdict == NO)
        return NO;
    if (m->matched + input->len > m->line_len)
        m->tail = input->ptr[m->line_len - m->matched];
    if (verdict == CUT)
        m->matched += take(input, input->len).len;
    else
        take(input, m->line_len - m->matched + 2);
    return verdict;
}

/* It was not the line after all: the bytes that were withheld.  A CR at their end may begin one. */
static td_str
give_back(td_multipart *m)
{
    td_str data = td_str_make(m->line + m->skipped, m->matched - m->skipped);

    m->skipped = m->matched = 0;
    if (data.len > 0 && data.ptr + data.len > m->line + m->line_len && m->tail == '\r') {
        data.len--;
        m->matched = 1;
    }
    return data;
}

enum found {
    FOUND_MORE,
    FOUND_DATA,
    FOUND_NEXT, /* the delimiter line, and a part behind it */
    FOUND_LAST, /* the last of them */
};

static enum found
scan(td_multipart *m, td_str *input, td_str *data_out)
{
    for (;;) {
        enum verdict verdict;

        if (m->matched == 0) {
            const size_t before = find_line(m, *input);

            if (before > 0) {
                *data_out = take(input, before);
                return FOUND_DATA;
            }
        }
        verdict = go_on(m, input);
        if (verdict == CUT)
            return FOUND_MORE;
        if (verdict == YES) {
            m->matched = m->skipped = 0;
            return m->tail == '\r' ? FOUND_NEXT : FOUND_LAST;
        }
        *data_out = give_back(m);
        if (data_out->len > 0)
            return FOUND_DATA;
    }
}

/* ---- all of it */

static int
begin_part(td_multipart *m, const td_multipart_limits *limits)
{
    if (m->parts == limits->parts_max)
        return refuse(m, TD_ETOOBIG, 413, "more parts than max_parts");
    m->parts++;
    m->head_size = 0;
    td_buf_consume(&m->disposition, m->disposition.len);
    td_buf_consume(&m->type, m->type.len);
    m->has_disposition = false;
    m->name = m->filename = m->content_type = td_str_make(NULL, 0);
    m->state = HEAD;
    return 0;
}

static int
next_of_preamble(td_multipart *m, const td_multipart_limits *limits, td_str *input)
{
    td_str ignored;

    for (;;)
        switch (scan(m, input, &ignored)) {
        case FOUND_MORE:
            return TD_MULTIPART_MORE;
        case FOUND_DATA:
            break;
        case FOUND_NEXT:
            return begin_part(m, limits);
        case FOUND_LAST:
            m->state = END;
            return 0;
        }
}

static int
next_of_head(td_multipart *m, const td_multipart_limits *limits, td_str *input)
{
    int rc = take_head(m, limits, input);

    if (rc <= 0)
        return rc < 0 ? rc : TD_MULTIPART_MORE;
    rc = end_head(m);
    if (rc < 0)
        return rc;
    m->state = BODY;
    m->matched = m->skipped = 2; /* the CRLF of the empty line begins a delimiter, too */
    return TD_MULTIPART_PART;
}

static int
next_of_body(td_multipart *m, const td_multipart_limits *limits, td_str *input, td_str *data_out)
{
    int rc = 0;

    switch (scan(m, input, data_out)) {
    case FOUND_MORE:
        return TD_MULTIPART_MORE;
    case FOUND_DATA:
        return TD_MULTIPART_DATA;
    case FOUND_NEXT:
        rc = begin_part(m, limits);
        break;
    case FOUND_LAST:
        m->state = END;
    }
    return rc < 0 ? rc : TD_MULTIPART_PART_END;
}

int
td_multipart_next(td_multipart *m, const td_multipart_limits *limits, td_str *input,
                  td_str *data_out)
{
    if (m->state == PREAMBLE) {
        const int rc = next_of_preamble(m, limits, input);

        if (rc < 0 || m->state == PREAMBLE)
            return rc;
    }
    switch ((enum state)m->state) {
    case HEAD:
        return next_of_head(m, limits, input);
    case BODY:
        return next_of_body(m, limits, input, data_out);
    case END:
        return TD_MULTIPART_END;
    case PREAMBLE:
        break;
    }
    TD_ASSERT(!"the preamble is over");
}

int
td_multipart_init(td_multipart *m, td_str content_type)
{
    td_str rest, name, value, boundary = {NULL, 0};
    int rc;

    if (content_type.len == 0)
        return malformed(m, "no Content-Type");
    td_buf_append(&m->disposition, content_type); /* a copy to unescape in */
    rest = td_buf_str(&m->disposition);
    take_before(&rest, ';');
    while ((rc = next_parameter(&rest, &name, &value)) > 0)
        if (td_str_equal_nocase(name, TD_STR("boundary"))) {
            if (!td_str_is_null(boundary))
                return malformed(m, "two boundaries");
            boundary = value;
        }
    if (rc < 0)
        return malformed(m, "a parameter of Content-Type is broken");
    if (boundary.len == 0 || boundary.len > TD_BOUNDARY_MAX)
        return malformed(m, "no boundary of 1 to 70 bytes");
    memcpy(m->line, "\r\n--", 4);
    memcpy(m->line + 4, boundary.ptr, boundary.len);
    m->line_len = 4 + boundary.len;
    m->line[m->line_len] = '-';
    m->matched = m->skipped = 2; /* the first line of all may be the delimiter */
    return 0;
}

void
td_multipart_fini(td_multipart *m)
{
    td_buf_release(&m->cut_line);
    td_buf_release(&m->disposition);
    td_buf_release(&m->type);
}
