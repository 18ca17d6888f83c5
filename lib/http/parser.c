/*
 * Two ways lead through a head.
 *
 *   scan_plain        knows the heads that nearly everybody sends, complete and at once, and yields
 *                     their spans.  It never refuses: what it does not know goes the long way.
 *   judge             walks over the bytes by table as they come, stops at the first one that
 *                     breaks the grammar or a limit, and can be interrupted at any byte; then
 *   ask_http_parser   gives the judged head to http-parser, which yields the spans.
 *
 * What fields say about the message is for the note_ functions, on either way.  All refusals come
 * from the long way, so a peer is told the same however its bytes were cut.
 */
#include <arpa/inet.h>
#include <http_parser.h>
#include <string.h>
#include <tornado/error.h>
#include "base/assert.h"
#include "base/escape.h"
#include "http/parser.h"
#include "http/plain.h"

enum {
    LEADING_CRLF_MAX = 2, /* RFC 9112 section 2.2 asks for at least one */
    IPV6_TEXT_MAX = 45,   /* "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255" */
    PORT_MAX = 65535,
};

/* What judge expects next.  Those before REQUEST_CR belong to the request line and its limit. */
enum state {
    LEADING,
    LEADING_LF,
    METHOD,
    TARGET,
    VERSION, /* and one state a byte up to VERSION + 7 */
    REQUEST_CR = VERSION + 8,
    REQUEST_LF,
    LINE,
    NAME,
    VALUE,
    VALUE_LF,
    END_LF,
    COMPLETE,
};

static const td_str method_names[] = {
#define X(name) {#name, sizeof(#name) - 1},
#include "http/method.def"
#undef X
};

/* What the fields of one head have said so far. */
struct notes {
    bool has_host, has_length, has_coding, has_upgrade;
    bool other_coding;                      /* one that we do not have stands before "chunked" */
    bool close, keep_alive, upgrade_option; /* elements of Connection */
};

static bool scanner_on = true;

void
td_head_parser_fast(bool on)
{
    scanner_on = on;
}

td_str
td_method_name(td_method method)
{
    return method < TD_METHODS_COUNT ? method_names[method] : TD_STR("");
}

static td_method
find_method(td_str name)
{
    unsigned i = 0;

    while (i < TD_METHODS_COUNT && !td_str_equal(name, method_names[i]))
        i++;
    return (td_method)i;
}

static int
refuse(td_head_error *error, int status, const char *what)
{
    *error = (td_head_error){status, what};
    return TD_EBADMSG;
}

/* RFC 3986 section 2.1: every '%' of a path or a name is followed by two hex digits. */
static const char *
skip_escaped(const char *p, const char *end, uint8_t classes)
{
    p = td_skip_bytes(p, end, classes);
    while (end - p >= 3 && p[0] == '%' && td_byte_is(p[1], TD_BYTE_HEX) &&
           td_byte_is(p[2], TD_BYTE_HEX))
        p = td_skip_bytes(p + 3, end, classes);
    return p;
}

static bool
is_ipv6_address(td_str s)
{
    char text[IPV6_TEXT_MAX + 1];
    struct in6_addr address;

    if (s.len > IPV6_TEXT_MAX)
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

/*
 * RFC 9110 section 7.2: Host = uri-host [ ":" port ].  False when it is something else; a name is
 * required here (section 4.2.1).  IPvFuture addresses and zones, which nobody serves, are refused.
 */
bool
td_host_port_split(td_str host, td_str *name_out, int *port_out)
{
    const char *p = host.ptr, *const end = p + host.len, *digits;
    int port = 0;

    if (p < end && *p == '[') {
        const char *close = memchr(p, ']', host.len);

        if (close == NULL || !is_ipv6_address(td_str_make(p + 1, (size_t)(close - p) - 1)))
            return false;
        p = close + 1;
    } else {
        p = skip_escaped(p, end, TD_BYTE_HOST);
    }
    *name_out = td_str_make(host.ptr, (size_t)(p - host.ptr));
    *port_out = -1;
    if (p == host.ptr)
        return false;
    if (p == end)
        return true;
    if (*p++ != ':')
        return false;
    for (digits = p; p < end && td_byte_is(*p, TD_BYTE_DIGIT) && port <= PORT_MAX; p++)
        port = port * 10 + (*p - '0');
    if (p > digits) /* "host:" says nothing */
        *port_out = port;
    return p == end && port <= PORT_MAX;
}

/* RFC 3986 section 3.3 and 3.4: path [ "?" query ].  A bad '%' in the query stays literal. */
static int
split_path(td_str s, td_head *head, td_head_error *error)
{
    const char *const end = s.ptr + s.len, *p = skip_escaped(s.ptr, end, TD_BYTE_PATH);

    if (p < end && *p == '%')
        return refuse(error, 400, "request target: % without two hex digits");
    head->path = td_str_make(s.ptr, (size_t)(p - s.ptr));
    head->query = p < end ? td_str_make(p + 1, (size_t)(end - p) - 1) : (td_str){NULL, 0};
    return 0;
}

/* RFC 9112 section 3.2.2: its authority replaces Host. */
static int
split_absolute(td_str rest, td_head *head, td_head_error *error)
{
    const char *p = rest.ptr, *const end = p + rest.len;

    while (p < end && *p != '/' && *p != '?')
        p++;
    head->host = td_str_make(rest.ptr, (size_t)(p - rest.ptr));
    head->absolute_form = true;
    if (!td_host_split(head->host, &head->host_name)) /* user information has no place in it either */
        return refuse(error, 400, "request target: bad authority");

    const int rc = split_path(td_str_make(p, (size_t)(end - p)), head, error);

    if (head->path.len > 0)
        return rc;
    if (head->method == TD_METHOD_OPTIONS && td_str_is_null(head->query))
        head->path = TD_STR("*"); /* RFC 9112 section 3.2.4 */
    else
        head->path = TD_STR("/"); /* RFC 9110 section 4.2.3 */
    return rc;
}

static bool
has_scheme(td_str target, td_str scheme, td_str *rest_out)
{
    if (target.len < scheme.len ||
        !td_str_equal_nocase(td_str_make(target.ptr, scheme.len), scheme))
        return false;
    *rest_out = td_str_make(target.ptr + scheme.len, target.len - scheme.len);
    return true;
}

/* RFC 9112 section 3.2: origin-form, absolute-form, and asterisk-form for OPTIONS alone. */
static int
split_target(td_head *head, td_head_error *error)
{
    const td_str target = head->target;
    td_str rest;

    if (target.ptr[0] == '/')
        return split_path(target, head, error);
    if (head->method == TD_METHOD_OPTIONS && td_str_equal(target, TD_STR("*"))) {
        head->path = target;
        return 0;
    }
    head->https = has_scheme(target, TD_STR("https://"), &rest);
    if (head->https || has_scheme(target, TD_STR("http://"), &rest))
        return split_absolute(rest, head, error);
    return refuse(error, 400, "request target: no such form for this method");
}

/*
 * A request line whose bytes have been judged, without its CRLF:
 * request-line = method SP request-target SP HTTP-version.  Fills in all that it says.
 */
static int
split_request_line(td_str line, td_head *head, td_head_error *error)
{
    const char *version = line.ptr + line.len - strlen("HTTP/1.1");
    const char *target = (const char *)memchr(line.ptr, ' ', line.len) + 1;
    const td_str method = td_str_make(line.ptr, (size_t)(target - line.ptr) - 1);

    *head = (td_head){
        .method = find_method(method),
        .method_name = method,
        .target = {target, (size_t)(version - target) - 1},
        .minor = version[7] == '0' ? 0 : 1, /* RFC 9110 section 2.5: later ones are read as ours */
        .content_length = -1,
    };
    if (version[5] != '1')
        return refuse(error, 505, "request line: not HTTP/1.x");
    if (td_str_equal(method, TD_STR("CONNECT")))
        return refuse(error, 501, "request line: CONNECT");
    return split_target(head, error);
}

/*
 * RFC 9112 section 3.2: one valid Host, with an absolute-form target too, which then counts.  It is
 * empty where the target has no authority (RFC 9110 section 7.2).
 */
static int
note_host(td_head *head, struct notes *notes, td_str value, td_head_error *error)
{
    td_str name = value;

    if (notes->has_host)
        return refuse(error, 400, "Host: more than one");
    notes->has_host = true;
    if (value.len > 0 && !td_host_split(value, &name))
        return refuse(error, 400, "Host: not a host and port");
    if (!head->absolute_form) {
        head->host = value;
        head->host_name = name;
    }
    return 0;
}

/* Content-Length = 1*DIGIT (RFC 9110 section 8.6).  -1: it is not, or does not fit. */
int64_t
td_content_length_parse(td_str value)
{
    int64_t length = 0;

    if (value.len == 0)
        return -1;
    for (size_t i = 0; i < value.len; i++)
        if (!td_byte_is(value.ptr[i], TD_BYTE_DIGIT) ||
            __builtin_mul_overflow(length, 10, &length) ||
            __builtin_add_overflow(length, value.ptr[i] - '0', &length))
            return -1;
    return length;
}

static int
note_length(td_head *head, struct notes *notes, td_str value, td_head_error *error)
{
    if (notes->has_length) /* RFC 9110 section 8.6 would let equal ones pass; no client needs it */
        return refuse(error, 400, "Content-Length: more than one");
    notes->has_length = true;
    head->content_length = td_content_length_parse(value);
    if (head->content_length < 0)
        return refuse(error, 400, "Content-Length: not a number that fits");
    return 0;
}

/* transfer-coding = token *( OWS ";" OWS transfer-parameter ); the parameters are not looked at. */
static bool
is_other_coding(td_str element)
{
    const char *semicolon = memchr(element.ptr, ';', element.len);
    const size_t len = semicolon != NULL ? (size_t)(semicolon - element.ptr) : element.len;
    const td_str name = td_str_trim(td_str_make(element.ptr, len));

    return td_is_token(name) && !TD_IS_WORD(name, "chunked");
}

/*
 * RFC 9112 section 6.1.  A body whose last coding is not chunked has no end; one with another
 * coding below it has an end, but we could not decode it.
 */
static int
note_coding(td_head *head, struct notes *notes, td_str value, td_head_error *error)
{
    bool last = false;
    td_str element;

    if (notes->has_coding)
        return refuse(error, 400, "Transfer-Encoding: more than one");
    notes->has_coding = true;
    if (head->minor == 0)
        return refuse(error, 400, "Transfer-Encoding: in HTTP/1.0");
    head->chunked = TD_IS_WORD(value, "chunked");
    if (head->chunked)
        return 0;
    while (!last && td_list_next(&value, &element)) {
        last = TD_IS_WORD(element, "chunked");
        if (!last && !is_other_coding(element))
            return refuse(error, 400, "Transfer-Encoding: not a list of codings");
        notes->other_coding |= !last;
    }
    if (!last || !notes->other_coding || value.len > 0)
        return refuse(error, 400, "Transfer-Encoding: does not end in one chunked");
    return 0;
}

static void
note_connection_option(struct notes *notes, td_str option)
{
    if (TD_IS_WORD(option, "keep-alive"))
        notes->keep_alive = true;
    else if (TD_IS_WORD(option, "close"))
        notes->close = true;
    else if (TD_IS_WORD(option, "upgrade"))
        notes->upgrade_option = true;
}

static void
note_connection(struct notes *notes, td_str value)
{
    td_str option;

    if (memchr(value.ptr, ',', value.len) == NULL)
        note_connection_option(notes, value);
    else
        while (td_list_next(&value, &option))
            note_connection_option(notes, option);
}

/* RFC 9110 section 10.1.1: Expect = #expectation, on any number of lines. */
static void
note_expect(td_head *head, td_str value)
{
    td_str expectation;

    while (td_list_next(&value, &expectation))
        if (!TD_IS_WORD(expectation, "100-continue"))
            head->expect = TD_EXPECT_OTHER;
        else if (head->expect == TD_EXPECT_NONE)
            head->expect = TD_EXPECT_CONTINUE;
}

/* What a field says about the message. */
typedef enum field {
    FIELD_OTHER, /* nothing */
    FIELD_HOST,
    FIELD_EXPECT,
    FIELD_UPGRADE,
    FIELD_CONNECTION,
    FIELD_LENGTH,
    FIELD_CODING,
} field;

/* Length and first letter tell nearly all names apart. */
static inline __attribute__((always_inline)) field
find_field(td_str name)
{
#define KEY(len, first) ((len) << 8 | (first))
    switch (KEY(name.len, (size_t)(name.ptr[0] | 0x20))) {
    case KEY(4, 'h'):
        return TD_IS_WORD(name, "host") ? FIELD_HOST : FIELD_OTHER;
    case KEY(6, 'e'):
        return TD_IS_WORD(name, "expect") ? FIELD_EXPECT : FIELD_OTHER;
    case KEY(7, 'u'):
        return TD_IS_WORD(name, "upgrade") ? FIELD_UPGRADE : FIELD_OTHER;
    case KEY(10, 'c'):
        return TD_IS_WORD(name, "connection") ? FIELD_CONNECTION : FIELD_OTHER;
    case KEY(14, 'c'):
        return TD_IS_WORD(name, "content-length") ? FIELD_LENGTH : FIELD_OTHER;
    case KEY(17, 't'):
        return TD_IS_WORD(name, "transfer-encoding") ? FIELD_CODING : FIELD_OTHER;
    default:
        return FIELD_OTHER;
    }
#undef KEY
}

static int
note_field(td_head *head, struct notes *notes, td_str name, td_str value, td_head_error *error)
{
    switch (find_field(name)) {
    case FIELD_HOST:
        return note_host(head, notes, value, error);
    case FIELD_EXPECT:
        note_expect(head, value);
        return 0;
    case FIELD_UPGRADE:
        notes->has_upgrade = true;
        return 0;
    case FIELD_CONNECTION:
        note_connection(notes, value);
        return 0;
    case FIELD_LENGTH:
        return note_length(head, notes, value, error);
    case FIELD_CODING:
        return note_coding(head, notes, value, error);
    case FIELD_OTHER:
        break;
    }
    return 0;
}

/* RFC 9112 section 9.3.  A 1.0 client must ask, and its body must have an end. */
static bool
wants_keep_alive(const td_head *head, const struct notes *notes)
{
    if (notes->close)
        return false;
    if (head->minor > 0)
        return true;
    return notes->keep_alive && (head->content_length >= 0 || head->method == TD_METHOD_GET ||
                                 head->method == TD_METHOD_HEAD);
}

/* RFC 9112 section 3.2.2: the Host that was received is ignored, by whoever asks for it. */
static void
replace_host(td_head *head)
{
    const td_header *line = td_headers_find(&head->headers, TD_STR("Host"));

    head->headers.items[line - head->headers.items].value = head->host;
}

/* All lines have been noted: what do they say together? */
static int
finish_fields(td_head *head, const struct notes *notes, td_head_error *error)
{
    if (!notes->has_host && head->minor > 0)
        return refuse(error, 400, "Host: missing");
    if (!notes->has_host && !head->absolute_form)
        head->host = head->host_name = TD_STR("127.0.0.1");
    /* RFC 9112 section 6.1: this may be request smuggling; who knows which one others believe. */
    if (notes->has_coding && notes->has_length)
        return refuse(error, 400, "Transfer-Encoding: beside Content-Length");
    if (notes->other_coding)
        return refuse(error, 501, "Transfer-Encoding: a coding other than chunked");
    if (head->absolute_form && notes->has_host)
        replace_host(head);
    head->keep_alive = wants_keep_alive(head, notes);
    if (head->minor == 0) /* RFC 9110 sections 7.8 and 10.1.1: both are ignored in 1.0 */
        head->expect = TD_EXPECT_NONE;
    else
        head->upgrade = notes->has_upgrade && notes->upgrade_option;
    return 0;
}

/* Runs of plain heads, beside those of plain.h. */
static inline td_block
host_ends(td_block b)
{
    return (td_block)~((((b | 0x20) - 'a') < 26) | ((b - '0') < 10) | ((b - '-') < 2));
}

static inline td_block
path_ends(td_block b)
{
    return td_target_ends(b) | (td_block)((b == '?') | (b == '%'));
}

#define FIND(what)                                                                                 \
    static inline const char *find_##what##_end(const char *p, const char *end)                    \
    {                                                                                              \
        return td_find_end(p, end, what##_ends);                                                          \
    }
FIND(host)
FIND(path)

/* The method, and the space behind it.  At least 16 bytes are there. */
static inline td_method
scan_method(const char *start, size_t *len_out)
{
#define X(name)                                                                                    \
    if (memcmp(start, #name " ", sizeof #name) == 0) {                                             \
        *len_out = sizeof #name - 1;                                                               \
        return TD_METHOD_##name;                                                                   \
    }
#include "http/method.def"
#undef X
    return TD_METHOD_OTHER;
}

/* "METHOD /path?query HTTP/1.x" CRLF.  Returns what is behind it, or NULL: it is not plain. */
static inline const char *
scan_request_line(const char *start, const char *end, td_head *head)
{
    size_t method_len;
    const td_method method = scan_method(start, &method_len);
    td_str query = {NULL, 0};

    if (method == TD_METHOD_OTHER || start[method_len + 1] != '/')
        return NULL;

    const char *const target = start + method_len + 1;
    const char *p = find_path_end(target, end);

    while (end - p >= 3 && p[0] == '%' && td_byte_is(p[1], TD_BYTE_HEX) &&
           td_byte_is(p[2], TD_BYTE_HEX))
        p = find_path_end(p + 3, end);

    const td_str path = td_str_make(target, (size_t)(p - target));

    if (p < end && *p == '?') {
        query.ptr = p + 1;
        p = td_find_end(query.ptr, end, td_target_ends);
        query.len = (size_t)(p - query.ptr);
    }
    if (end - p < (ptrdiff_t)sizeof " HTTP/1.1\r\n\r\n" - 1 || memcmp(p, " HTTP/1.", 8) != 0 ||
        (p[8] != '0' && p[8] != '1') || memcmp(p + 9, "\r\n", 2) != 0)
        return NULL;

    head->method = method;
    head->method_name = td_str_make(start, method_len);
    head->target = td_str_make(target, (size_t)(p - target));
    head->path = path;
    head->query = query;
    head->minor = p[8] - '0';
    return p + sizeof " HTTP/1.1\r\n" - 1;
}

/* A name, and maybe a port.  False: it is not plain. */
static inline bool
scan_host(td_str host, const char *end, td_head *head)
{
    const char *p = find_host_end(host.ptr, end), *const host_end = host.ptr + host.len;
    unsigned port = 0;

    head->host = host;
    head->host_name = td_str_make(host.ptr, (size_t)(p - host.ptr));
    if (p == host.ptr)
        return false;
    if (p == host_end)
        return true;
    if (*p++ != ':' || host_end - p > 5)
        return false;
    for (; p < host_end && *p >= '0' && *p <= '9'; p++)
        port = port * 10 + (unsigned)(*p - '0');
    return p == host_end && port <= PORT_MAX;
}

/* The field lines and the last CRLF.  Returns what is behind them, or NULL: they are not plain. */
static inline const char *
scan_lines(const char *p, const char *end, const td_head_limits *limits, td_arena *arena,
           td_head *head)
{
    struct notes notes = {.has_host = false};
    td_head_error error;

    while (*p != '\r') {
        td_str name, value;

        p = td_plain_line(p, end, &name, &value);
        if (p == NULL || head->headers.count == limits->headers_max)
            return NULL;
        *td_headers_append(&head->headers, arena) = (td_header){name, value};
        switch (find_field(name)) {
        case FIELD_OTHER:
            break;
        case FIELD_HOST:
            if (notes.has_host || !scan_host(value, end, head))
                return NULL;
            notes.has_host = true;
            break;
        case FIELD_CONNECTION:
            note_connection(&notes, value);
            break;
        case FIELD_LENGTH:
            if (note_length(head, &notes, value, &error) < 0)
                return NULL;
            break;
        default:
            return NULL;
        }
    }
    if (p[1] != '\n' || !notes.has_host)
        return NULL;
    head->keep_alive = wants_keep_alive(head, &notes);
    return p + 2;
}

/* The length of a complete plain head at the front of `bytes`; 0: there is none. */
static size_t
scan_plain(td_str bytes, const td_head_limits *limits, td_arena *arena, td_head *head)
{
    const size_t len = bytes.len < limits->size_max ? bytes.len : limits->size_max;
    const char *const end = bytes.ptr + len, *p;
    const td_arena_mark mark = td_arena_mark_now(arena);

    if (len < sizeof(td_block))
        return 0;
    p = scan_request_line(bytes.ptr, end, head);
    if (p == NULL || (size_t)(p - bytes.ptr) - 2 > limits->request_line_max)
        return 0;
    td_headers_init(&head->headers, arena);
    head->content_length = -1;
    head->chunked = head->absolute_form = head->upgrade = false;
    head->expect = TD_EXPECT_NONE;
    p = scan_lines(p, end, limits, arena, head);
    if (p == NULL) {
        td_arena_rewind(arena, mark);
        return 0;
    }
    head->raw = td_str_make(bytes.ptr, (size_t)(p - bytes.ptr));
    return head->raw.len;
}

/*
 * The grammar of a head, byte by byte (RFC 9112 sections 2.1, 3 and 5): in each state a run of
 * bytes of some classes, maybe empty, and then the one byte that ends it.  No line may be folded,
 * and no bare CR or LF is taken for a line end (sections 2.2 and 5.2 allow to refuse them).
 */
#define VERSION_BYTE(i, byte)                                                                      \
    [VERSION + (i)] = {0, byte, VERSION + (i) + 1, "request line: bad version"}

static const struct step {
    uint8_t run;
    char end; /* '0': any digit */
    uint8_t next;
    const char *what;
} steps[] = {
    [LEADING_LF] = {0, '\n', LEADING, "request line: CR without LF"},
    [METHOD] = {TD_BYTE_TOKEN, ' ', TARGET, "request line: the method is not a token"},
    [TARGET] = {TD_BYTE_TARGET, ' ', VERSION, "request target: a byte that no URI has"},
    VERSION_BYTE(0, 'H'),
    VERSION_BYTE(1, 'T'),
    VERSION_BYTE(2, 'T'),
    VERSION_BYTE(3, 'P'),
    VERSION_BYTE(4, '/'),
    VERSION_BYTE(5, '0'),
    VERSION_BYTE(6, '.'),
    VERSION_BYTE(7, '0'),
    [REQUEST_CR] = {0, '\r', REQUEST_LF, "request line: no CRLF behind the version"},
    [REQUEST_LF] = {0, '\n', LINE, "request line: CR without LF"},
    [NAME] = {TD_BYTE_TOKEN, ':', VALUE, "header: the name is not a token and a colon"},
    [VALUE] = {TD_BYTE_FIELD, '\r', VALUE_LF, "header: a control byte in a value"},
    [VALUE_LF] = {0, '\n', LINE, "header: CR without LF"},
    [END_LF] = {0, '\n', COMPLETE, "header: CR without LF"},
};

/* Up to where the part of the head that the parser is in may go. */
static size_t
part_max(const td_head_parser *parser, const td_head_limits *limits)
{
    if (parser->state <= LEADING_LF)
        return 2 * LEADING_CRLF_MAX + 1;
    if (parser->state < REQUEST_CR && limits->request_line_max < limits->size_max)
        return parser->start + limits->request_line_max;
    return parser->start + limits->size_max;
}

/* The first byte of a request, or of a CRLF before it, decides. */
static int
judge_leading(td_head_parser *parser, td_str bytes, td_head_error *error)
{
    const char first = bytes.ptr[parser->judged];

    if (first == '\r' && parser->judged < 2 * LEADING_CRLF_MAX) {
        parser->judged++;
        parser->state = LEADING_LF;
        return 0;
    }
    if (!td_byte_is(first, TD_BYTE_TOKEN))
        return refuse(error, 400, steps[METHOD].what);
    parser->start = parser->judged;
    parser->state = METHOD;
    return 0;
}

static int
judge_line_start(td_head_parser *parser, td_str bytes, const td_head_limits *limits,
                 td_head_error *error)
{
    const char first = bytes.ptr[parser->judged];

    if (first == '\r') {
        parser->judged++;
        parser->state = END_LF;
        return 0;
    }
    if (first == ' ' || first == '\t')
        return refuse(error, 400, "header: a line begins with a blank");
    if (!td_byte_is(first, TD_BYTE_TOKEN))
        return refuse(error, 400, steps[NAME].what);
    if (parser->lines++ == limits->headers_max)
        return refuse(error, 431, "header: more lines than max_headers");
    parser->state = NAME;
    return 0;
}

static int
judge_step(td_head_parser *parser, td_str bytes, size_t max, td_head_error *error)
{
    const struct step *const step = &steps[parser->state];
    const char *const end = bytes.ptr + (bytes.len < max ? bytes.len : max);
    const char *p = td_skip_bytes(bytes.ptr + parser->judged, end, step->run);

    parser->judged = (uint32_t)(p - bytes.ptr);
    if (p == end)
        return 0;
    if (step->end == '0' ? !td_byte_is(*p, TD_BYTE_DIGIT) : *p != step->end)
        return refuse(error, 400, step->what);
    parser->judged++;
    parser->state = step->next;
    if (step == &steps[REQUEST_LF]) {
        const char *const start = bytes.ptr + parser->start;
        td_head head;

        return split_request_line(td_str_make(start, (size_t)(p - 1 - start)), &head, error);
    }
    return 0;
}

/* 1: the head is complete, it is bytes[start .. judged); 0: more is needed; TD_EBADMSG. */
static int
judge(td_head_parser *parser, td_str bytes, const td_head_limits *limits, td_head_error *error)
{
    for (;;) {
        const size_t max = part_max(parser, limits);
        int rc;

        if (parser->state == COMPLETE)
            return 1;
        if (parser->judged >= max)
            return parser->state < REQUEST_CR && max < parser->start + limits->size_max
                       ? refuse(error, 414, "request line: above max_request_line")
                       : refuse(error, 431, "header: above max_header_size");
        if (parser->judged == bytes.len)
            return 0;
        if (parser->state == LEADING)
            rc = judge_leading(parser, bytes, error);
        else if (parser->state == LINE)
            rc = judge_line_start(parser, bytes, limits, error);
        else
            rc = judge_step(parser, bytes, max, error);
        if (rc < 0)
            return rc;
    }
}

/* What http-parser is asked, and what it has said so far. */
struct inquiry {
    td_head *head;
    struct notes notes;
    td_arena *arena;
    td_head_error *error;
    ptrdiff_t shown_by; /* from what it is shown to the same byte of the head */
    td_str name;
    int rc; /* of the callback that stopped it */
    bool complete;
};

/*
 * OWS is SP or HTAB (RFC 9110 section 5.6.3), but behind the digits of Content-Length http-parser
 * takes SP alone.  It is shown SP for each HTAB, which is the same to it wherever both may stand.
 */
static td_str
show(td_str head, td_arena *arena)
{
    if (memchr(head.ptr, '\t', head.len) == NULL)
        return head;

    char *const shown = memcpy(td_arena_alloc_raw(arena, head.len), head.ptr, head.len);

    for (char *tab = shown; (tab = memchr(tab, '\t', head.len - (size_t)(tab - shown))) != NULL;)
        *tab = ' ';
    return td_str_make(shown, head.len);
}

static int
on_url(http_parser *asked, const char *at, size_t len)
{
    struct inquiry *inquiry = asked->data;
    const td_str target = inquiry->head->target;

    if (at + inquiry->shown_by == target.ptr && len == target.len)
        return 0;
    inquiry->rc = refuse(inquiry->error, 400, "request target: it can be read in two ways");
    return -1;
}

static int
on_header_field(http_parser *asked, const char *at, size_t len)
{
    struct inquiry *inquiry = asked->data;

    inquiry->name = td_str_make(at + inquiry->shown_by, len);
    return 0;
}

static int
on_header_value(http_parser *asked, const char *at, size_t len)
{
    struct inquiry *inquiry = asked->data;
    const td_str value = td_str_trim(td_str_make(at + inquiry->shown_by, len));

    td_headers_add(&inquiry->head->headers, inquiry->arena, inquiry->name, value);
    inquiry->rc = note_field(inquiry->head, &inquiry->notes, inquiry->name, value, inquiry->error);
    return inquiry->rc;
}

static int
on_headers_complete(http_parser *asked)
{
    struct inquiry *inquiry = asked->data;

    inquiry->complete = asked->http_major == 1 && (asked->http_minor > 0) == inquiry->head->minor;
    return 2; /* no body follows, as far as it is concerned */
}

/*
 * Fill in *head from a head that was judged good.  http-parser knows too few methods, and reads the
 * target differently for one of them (CONNECT); the method has been judged, so GET stands in.
 */
static int
ask_http_parser(td_str raw, td_arena *arena, td_head *head, td_head_error *error)
{
    static const http_parser_settings settings = {
        .on_url = on_url,
        .on_header_field = on_header_field,
        .on_header_value = on_header_value,
        .on_headers_complete = on_headers_complete,
    };
    struct inquiry inquiry = {.head = head, .arena = arena, .error = error};
    const char *const line_end = memchr(raw.ptr, '\r', raw.len);
    http_parser asked;
    size_t eaten;

    if (split_request_line(td_str_make(raw.ptr, (size_t)(line_end - raw.ptr)), head, error) < 0)
        return TD_EBADMSG;

    const td_str rest = td_str_make(raw.ptr + head->method_name.len,
                                    raw.len - head->method_name.len);
    const td_str shown = show(rest, arena);

    inquiry.shown_by = rest.ptr - shown.ptr;
    http_parser_init(&asked, HTTP_REQUEST);
    http_parser_set_max_header_size(UINT32_MAX); /* our own limits have been kept */
    asked.lenient_http_headers = 1; /* what the fields say is judged by the note_ functions */
    asked.allow_chunked_length = 1;
    asked.data = &inquiry;
    http_parser_execute(&asked, &settings, "GET", strlen("GET"));
    eaten = http_parser_execute(&asked, &settings, shown.ptr, shown.len);

    if (inquiry.rc < 0)
        return inquiry.rc;
    if (HTTP_PARSER_ERRNO(&asked) != HPE_OK)
        return refuse(error, 400, http_errno_description(HTTP_PARSER_ERRNO(&asked)));
    if (!inquiry.complete || eaten != rest.len)
        return refuse(error, 400, "header: it can be read in two ways");
    head->raw = raw;
    return finish_fields(head, &inquiry.notes, error);
}

/* All but a plain head that is there at the first look; `looked`: scan_plain did not know it. */
static __attribute__((noinline)) ssize_t
parse_long_way(td_head_parser *parser, td_str bytes, const td_head_limits *limits, td_arena *arena,
               td_head *out, td_head_error *error)
{
    const bool looked = parser->judged == 0 && bytes.len > 0;
    int rc = judge(parser, bytes, limits, error);

    if (rc <= 0)
        return rc;

    const td_str raw = td_str_make(bytes.ptr + parser->start, parser->judged - parser->start);
    const ssize_t taken = (ssize_t)parser->judged;

    if (looked || !scanner_on || scan_plain(raw, limits, arena, out) == 0) {
        rc = ask_http_parser(raw, arena, out, error);
        if (rc < 0)
            return rc;
    }
    *parser = (td_head_parser){.judged = 0};
    return taken;
}

ssize_t
td_head_parse(td_head_parser *parser, const char *bytes, size_t len, const td_head_limits *limits,
              td_arena *arena, td_head *out, td_head_error *error)
{
    const td_str all = td_str_make(bytes, len);

    if (TD_LIKELY(parser->judged == 0 && scanner_on)) {
        const size_t plain = scan_plain(all, limits, arena, out);

        if (TD_LIKELY(plain > 0))
            return (ssize_t)plain;
    }
    return parse_long_way(parser, all, limits, arena, out, error);
}
