/*
 * What was asked: the fields of the request, path arguments, arguments.
 *
 * A head is bytes of a peer without a NUL; what is asked for is copied once, with one behind.  The
 * query is split when the first argument is asked for, a form before prepare (forms.c), and a value
 * decoded when it is asked for.
 */
#include <ctype.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <tornado/coroutine.h>
#include "base/clock.h"
#include "base/escape.h"
#include "base/value.h"
#include "http/accept.h"
#include "web/forms.h"

/* What is done in one go of a large form; others are served before the next.  Some 100 us each. */
#define PAIRS_A_TURN 1024
#define BYTES_A_TURN (128 * 1024)

static const td_str none = {NULL, 0};

/* ---- fields of the request */

enum text {
    TEXT_METHOD, /* that has no name of ours */
    TEXT_URI,
    TEXT_PATH,
    TEXT_QUERY,
    TEXT_HOST,
    TEXT_HOST_NAME,
    TEXT_REMOTE_ADDR,
    TEXT_FULL_URL,
    TEXTS_COUNT,
};

/* Where the copy is kept; null as long as nobody has asked. */
static td_str *
text_of(td_handler *h, enum text which)
{
    if (h->texts == NULL)
        h->texts = TD_ARENA_ARRAY(&h->request->arena, td_str, TEXTS_COUNT);
    return &h->texts[which];
}

static td_str
copied(td_handler *h, enum text which, td_str s)
{
    td_str *text = text_of(h, which);

    if (td_str_is_null(*text))
        *text = td_str_dup(&h->request->arena, s);
    return *text;
}

td_str
td_request_method(td_handler *h)
{
    if (!td_handler_usable(h, "td_request_method"))
        return none;
    return h->request->head.method == TD_METHOD_OTHER
               ? copied(h, TEXT_METHOD, h->request->head.method_name)
               : td_method_name(h->request->head.method);
}

td_str
td_request_uri(td_handler *h)
{
    if (!td_handler_usable(h, "td_request_uri"))
        return none;
    return copied(h, TEXT_URI, h->request->head.target);
}

td_str
td_request_path(td_handler *h)
{
    if (!td_handler_usable(h, "td_request_path"))
        return none;
    return copied(h, TEXT_PATH, h->request->head.path);
}

td_str
td_request_query(td_handler *h)
{
    if (!td_handler_usable(h, "td_request_query"))
        return none;
    return td_str_is_null(h->request->head.query) ? TD_STR("")
                                                  : copied(h, TEXT_QUERY, h->request->head.query);
}

td_str
td_request_version(td_handler *h)
{
    if (!td_handler_usable(h, "td_request_version"))
        return none;
    return h->request->head.minor == 0 ? TD_STR("HTTP/1.0") : TD_STR("HTTP/1.1");
}

td_str
td_request_host(td_handler *h)
{
    if (!td_handler_usable(h, "td_request_host"))
        return none;
    return copied(h, TEXT_HOST, h->request->head.host);
}

td_str
td_request_host_name(td_handler *h)
{
    td_str *text;
    td_str name;

    if (!td_handler_usable(h, "td_request_host_name"))
        return none;
    text = text_of(h, TEXT_HOST_NAME);
    if (td_str_is_null(*text)) {
        name = h->request->head.host_name;
        char *lower = td_arena_alloc(&h->request->arena, name.len + 1);

        for (size_t i = 0; i < name.len; i++)
            lower[i] = (char)tolower((unsigned char)name.ptr[i]);
        *text = td_str_make(lower, name.len);
    }
    return *text;
}

td_str
td_request_remote_addr(td_handler *h)
{
    if (!td_handler_usable(h, "td_request_remote_addr"))
        return none;
    return copied(h, TEXT_REMOTE_ADDR, td_request_remote_ip(h->request));
}

td_str
td_request_scheme(td_handler *h)
{
    if (!td_handler_usable(h, "td_request_scheme"))
        return none;
    return td_str_of(td_request_protocol(h->request));
}

td_str
td_full_url(td_handler *h)
{
    const td_head *head;
    td_str *text;

    if (!td_handler_usable(h, "td_full_url"))
        return none;
    head = &h->request->head;
    if (head->absolute_form)
        return td_request_uri(h);
    text = text_of(h, TEXT_FULL_URL);
    if (td_str_is_null(*text))
        *text = td_arena_sprintf(&h->request->arena, "%s://%.*s%.*s",
                                 td_request_protocol(h->request), TD_STR_FMT(head->host),
                                 TD_STR_FMT(head->target));
    return *text;
}

double
td_request_time(td_handler *h)
{
    if (!td_handler_usable(h, "td_request_time"))
        return 0;
    return (double)(td_clock_ns() - h->request->started_ns) / (double)TD_NS_PER_S;
}

td_str
td_request_header(td_handler *h, const char *name)
{
    td_str value;

    if (!td_handler_has(h, "td_request_header", name))
        return none;
    value = td_headers_get(&h->request->head.headers, &h->request->arena, td_str_of(name));
    return td_str_is_null(value) ? none : td_str_dup(&h->request->arena, value);
}

static td_str
without_parameters(const char *type)
{
    size_t len = strcspn(type, ";");

    while (len > 0 && type[len - 1] == ' ')
        len--;
    return td_str_make(type, len);
}

const char *
td_best_type_of(td_handler *h, const char *const types[], size_t count)
{
    const char *best = NULL;
    int best_quality = 0;

    if (!td_handler_has(h, "td_best_type", types))
        return NULL;
    const td_str accept =
        td_headers_get(&h->request->head.headers, &h->request->arena, TD_STR("Accept"));
    for (size_t i = 0; i < count; i++) {
        const int quality =
            types[i] != NULL ? td_accept_media(accept, without_parameters(types[i])) : 0;
        if (quality > best_quality) {
            best = types[i];
            best_quality = quality;
        }
    }
    if (!h->headers_written)
        td_handler_vary(h, TD_STR("Accept"));
    return best;
}

const char *
td_best_language_of(td_handler *h, const char *const languages[], size_t count)
{
    const char *best = NULL;
    int best_quality = -1;

    if (!td_handler_has(h, "td_best_language", languages))
        return NULL;
    const td_str accept =
        td_headers_get(&h->request->head.headers, &h->request->arena, TD_STR("Accept-Language"));
    for (size_t i = 0; i < count; i++) {
        const int quality =
            languages[i] != NULL ? td_accept_language(accept, td_str_of(languages[i])) : -1;
        if (quality > best_quality) {
            best = languages[i];
            best_quality = quality;
        }
    }
    if (best == NULL)
        td_handler_misuse(h, "td_best_language", "there are no languages");
    if (!h->headers_written)
        td_handler_vary(h, TD_STR("Accept-Language"));
    return best;
}

/* With a NUL behind it. */
static char *
put_text(char *to, td_str text)
{
    memcpy(to, text.ptr, text.len);
    to[text.len] = '\0';
    return to + text.len + 1;
}

/* One piece of memory for all of it: the array, then the texts. */
size_t
td_request_headers(td_handler *h, const td_header_line **lines_out)
{
    const td_headers *headers;
    td_header_line *lines;
    size_t size = 0;
    char *p;

    if (!td_handler_has(h, "td_request_headers", lines_out))
        return 0;
    headers = &h->request->head.headers;
    for (size_t i = 0; i < headers->count; i++)
        size += sizeof(*lines) + headers->items[i].name.len + headers->items[i].value.len + 2;
    lines = td_arena_alloc_raw(&h->request->arena, size + 1);
    p = (char *)&lines[headers->count];
    for (size_t i = 0; i < headers->count; i++) {
        lines[i].name = p;
        p = put_text(p, headers->items[i].name);
        lines[i].value = p;
        p = put_text(p, headers->items[i].value);
    }
    *lines_out = lines;
    return headers->count;
}

td_str
td_request_body(td_handler *h)
{
    if (!td_handler_usable(h, "td_request_body"))
        return none;
    return h->request->body.len > 0 ? h->request->body : TD_STR("");
}

/* ---- path arguments */

td_str
td_path_argument_at(td_handler *h, unsigned index)
{
    if (!td_handler_usable(h, "td_path_argument_at"))
        return none;
    if (index < td_handler_route(h)->spec.groups_count)
        return h->match->args[index];
    td_handler_misuse(h, "td_path_argument_at", "the pattern has fewer groups");
    return none;
}

td_str
td_path_argument(td_handler *h, const char *name)
{
    const td_urlspec *spec;

    if (!td_handler_has(h, "td_path_argument", name))
        return none;
    spec = &td_handler_route(h)->spec;
    for (unsigned i = 0; spec->names != NULL && i < spec->groups_count; i++)
        if (strcmp(spec->names[i], name) == 0)
            return h->match->args[i];
    td_handler_misuse(h, "td_path_argument",
                      td_sprintf(h, "the pattern has no group %s", name).ptr);
    return none;
}

/* ---- arguments of the query and of the body */

/* Which lists are meant; both, in this order, make td_get_argument. */
enum source {
    QUERY = 1,
    BODY = 2,
    UNSTRIPPED = 4, /* and the white space around a value is part of it */
};

td_arguments *
td_arguments_create(td_handler *h, size_t count_max)
{
    td_arguments *arguments = td_arena_alloc_raw(
        &h->request->arena, sizeof(td_arguments) + count_max * sizeof(td_argument));

    arguments->count = 0;
    return arguments;
}

void
td_arguments_add(td_arguments *arguments, td_argument argument, bool in_turns)
{
    arguments->items[arguments->count++] = argument;
    if (in_turns && arguments->count % PAIRS_A_TURN == 0)
        td_sleep(0);
}

/* Take what stands before the next `separator` off the front. */
static td_str
next_part(td_str *rest, char separator)
{
    const char *at = rest->len > 0 ? memchr(rest->ptr, separator, rest->len) : NULL;
    const td_str part = td_str_make(rest->ptr, at != NULL ? (size_t)(at - rest->ptr) : rest->len);
    const size_t taken = part.len + (at != NULL ? 1 : 0);

    *rest = td_str_make(rest->ptr + taken, rest->len - taken);
    return part;
}

/*
 * Those that begin in the text; `before` is the byte in front of it.  Not by parts: most may be
 * empty.
 */
static size_t
count_beginnings(td_str text, char before)
{
    size_t count = 0;

    for (size_t i = 0; i < text.len; i++) {
        count += (before == '&') & (text.ptr[i] != '&');
        before = text.ptr[i];
    }
    return count;
}

/* More than count_max: there are at least so many. */
static size_t
count_pairs(td_str text, size_t count_max, bool in_turns)
{
    size_t count = 0;

    for (size_t at = 0; at < text.len && count <= count_max; at += BYTES_A_TURN) {
        const size_t left = text.len - at;
        const td_str piece = {text.ptr + at, left < BYTES_A_TURN ? left : BYTES_A_TURN};

        if (in_turns && at > 0)
            td_sleep(0);
        count += count_beginnings(piece, at > 0 ? piece.ptr[-1] : '&');
    }
    return count;
}

/* Pass over the separators in front of the next pair. */
static void
skip_separators(td_str *text, bool in_turns)
{
    for (size_t skipped = 1; text->len > 0 && text->ptr[0] == '&'; skipped++) {
        *text = td_str_make(text->ptr + 1, text->len - 1);
        if (in_turns && skipped % BYTES_A_TURN == 0)
            td_sleep(0);
    }
}

td_arguments *
td_arguments_split(td_handler *h, td_str text, size_t count_max, bool in_turns)
{
    const size_t count = count_pairs(text, count_max, in_turns);
    td_arguments *arguments;

    if (count > count_max)
        return NULL;
    arguments = td_arguments_create(h, count);
    for (skip_separators(&text, in_turns); text.len > 0; skip_separators(&text, in_turns)) {
        td_str value = next_part(&text, '&');
        const td_str name = td_url_unescape(&h->request->arena, next_part(&value, '='), true);

        td_arguments_add(arguments, (td_argument){.name = name, .raw = value}, in_turns);
    }
    return arguments;
}

/* Those of the body were counted before prepare. */
static td_arguments *
split_query(td_handler *h)
{
    const size_t others = h->form != NULL ? h->form->fields->count : 0;
    td_arguments *arguments = td_arguments_split(
        h, h->request->head.query, (size_t)h->request->limits->max_fields - others, false);

    if (arguments == NULL)
        td_handler_raise_quietly(h, 413, "more arguments than max_fields");
    return arguments;
}

static td_arguments *
arguments_of(td_handler *h, enum source source)
{
    static td_arguments nothing;

    if (source == BODY)
        return h->form != NULL ? h->form->fields : &nothing;
    if (h->arguments == NULL)
        h->arguments = split_query(h);
    return h->arguments;
}

/* Length of the white space that s begins with: what Python's str.strip removes. */
static size_t
leading_space(td_str s)
{
    static const td_str others[] = {
        {"\xc2\x85", 2},     {"\xc2\xa0", 2},     {"\xe1\x9a\x80", 3}, {"\xe2\x80\xa8", 3},
        {"\xe2\x80\xa9", 3}, {"\xe2\x80\xaf", 3}, {"\xe2\x81\x9f", 3}, {"\xe3\x80\x80", 3},
    };

    if (s.len == 0)
        return 0;
    if (s.ptr[0] == ' ' || (s.ptr[0] >= '\t' && s.ptr[0] <= '\r'))
        return 1;
    if (s.len >= 3 && memcmp(s.ptr, "\xe2\x80", 2) == 0 && (unsigned char)s.ptr[2] >= 0x80 &&
        (unsigned char)s.ptr[2] <= 0x8a) /* U+2000..U+200A */
        return 3;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (s.len >= others[i].len && memcmp(s.ptr, others[i].ptr, others[i].len) == 0)
            return others[i].len;
    return 0;
}

static size_t
trailing_space(td_str s)
{
    for (size_t len = 1; len <= 3 && len <= s.len; len++) {
        const size_t space = leading_space(td_str_make(s.ptr + s.len - len, len));

        if (space == len)
            return len;
    }
    return 0;
}

static td_str
strip(td_str s)
{
    size_t n;

    while ((n = leading_space(s)) > 0)
        s = td_str_make(s.ptr + n, s.len - n);
    while ((n = trailing_space(s)) > 0)
        s.len -= n;
    return s;
}

/* What was sent, as a copy of ours with a NUL behind it. */
static td_str
decoded(td_handler *h, const td_argument *argument)
{
    return argument->is_plain ? td_str_dup(&h->request->arena, argument->raw)
                              : td_url_unescape(&h->request->arena, argument->raw, true);
}

/* The same as text: UTF-8 without control bytes but those of white space. */
static td_str
text_of_argument(td_handler *h, const td_argument *argument)
{
    const td_str s = decoded(h, argument);
    char *const bytes = (char *)(uintptr_t)s.ptr; /* it is our copy */

    if (!td_utf8_is_valid(s))
        td_handler_raise_quietly(h, 400, "Argument %.*s is not UTF-8", TD_STR_FMT(argument->name));
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)bytes[i] < 0x20 && !(bytes[i] >= '\t' && bytes[i] <= '\r'))
            bytes[i] = ' ';
    return s;
}

static td_str
value_of(td_handler *h, td_argument *argument)
{
    td_str s;

    if (!td_str_is_null(argument->value))
        return argument->value;
    s = strip(text_of_argument(h, argument));
    ((char *)(uintptr_t)s.ptr)[s.len] = '\0';
    argument->value = s;
    return s;
}

static td_argument *
last_of(td_arguments *arguments, td_str name)
{
    for (size_t i = arguments->count; i-- > 0;)
        if (td_str_equal(arguments->items[i].name, name))
            return &arguments->items[i];
    return NULL;
}

/* The null string: there is none, or `function` may not be called here. */
static td_str
find(td_handler *h, unsigned sources, const char *name, const char *function)
{
    td_argument *argument = NULL;

    if (!td_handler_has(h, function, name))
        return none;
    if (sources & BODY)
        argument = last_of(arguments_of(h, BODY), td_str_of(name));
    if (argument == NULL && (sources & QUERY))
        argument = last_of(arguments_of(h, QUERY), td_str_of(name));
    if (argument == NULL)
        return none;
    return sources & UNSTRIPPED ? text_of_argument(h, argument) : value_of(h, argument);
}

static td_str
find_or_raise(td_handler *h, unsigned sources, const char *name, const char *function)
{
    td_str value = find(h, sources, name, function);

    if (td_str_is_null(value) && h != NULL && name != NULL && td_handler_thread)
        td_handler_raise_quietly(h, 400, "Missing argument %s", name);
    return value;
}

static td_str
find_or_default(td_handler *h, unsigned sources, const char *name, const char *default_value,
                const char *function)
{
    td_str value = find(h, sources, name, function);

    return td_str_is_null(value) ? td_str_of(default_value) : value;
}

td_str
td_get_argument(td_handler *h, const char *name)
{
    return find_or_raise(h, QUERY | BODY, name, "td_get_argument");
}

td_str
td_get_argument_default(td_handler *h, const char *name, const char *default_value)
{
    return find_or_default(h, QUERY | BODY, name, default_value, "td_get_argument_default");
}

td_str
td_get_query_argument(td_handler *h, const char *name)
{
    return find_or_raise(h, QUERY, name, "td_get_query_argument");
}

td_str
td_get_query_argument_default(td_handler *h, const char *name, const char *default_value)
{
    return find_or_default(h, QUERY, name, default_value, "td_get_query_argument_default");
}

td_str
td_get_body_argument(td_handler *h, const char *name)
{
    return find_or_raise(h, BODY, name, "td_get_body_argument");
}

td_str
td_get_body_argument_default(td_handler *h, const char *name, const char *default_value)
{
    return find_or_default(h, BODY, name, default_value, "td_get_body_argument_default");
}

td_str
td_get_argument_unstripped(td_handler *h, const char *name, const char *default_value)
{
    return find_or_default(h, QUERY | BODY | UNSTRIPPED, name, default_value,
                           "td_get_argument_unstripped");
}

td_str
td_get_query_argument_unstripped(td_handler *h, const char *name, const char *default_value)
{
    return find_or_default(h, QUERY | UNSTRIPPED, name, default_value,
                           "td_get_query_argument_unstripped");
}

td_str
td_get_body_argument_unstripped(td_handler *h, const char *name, const char *default_value)
{
    return find_or_default(h, BODY | UNSTRIPPED, name, default_value,
                           "td_get_body_argument_unstripped");
}

/* ---- all of one name */

static size_t
collect(td_handler *h, td_arguments *arguments, const char *name, td_str *values)
{
    size_t count = 0;

    for (size_t i = 0; i < arguments->count; i++)
        if (td_str_equal(arguments->items[i].name, td_str_of(name)))
            values[count++] = value_of(h, &arguments->items[i]);
    return count;
}

static size_t
find_all(td_handler *h, unsigned sources, const char *name, const td_str **values_out,
         const char *function)
{
    static td_arguments nothing;
    td_arguments *query, *body;
    td_str *values;
    size_t count;

    if (!td_handler_has(h, function, name))
        return 0;
    query = sources & QUERY ? arguments_of(h, QUERY) : &nothing;
    body = sources & BODY ? arguments_of(h, BODY) : &nothing;
    values = TD_ARENA_ARRAY(&h->request->arena, td_str, query->count + body->count);
    count = collect(h, query, name, values);
    count += collect(h, body, name, values + count);
    if (values_out != NULL)
        *values_out = values;
    return count;
}

size_t
td_get_arguments(td_handler *h, const char *name, const td_str **values_out)
{
    return find_all(h, QUERY | BODY, name, values_out, "td_get_arguments");
}

size_t
td_get_query_arguments(td_handler *h, const char *name, const td_str **values_out)
{
    return find_all(h, QUERY, name, values_out, "td_get_query_arguments");
}

size_t
td_get_body_arguments(td_handler *h, const char *name, const td_str **values_out)
{
    return find_all(h, BODY, name, values_out, "td_get_body_arguments");
}

/* ---- all of them */

static td_argument_pair *
put_pairs(td_handler *h, const td_arguments *arguments, bool from_body, td_argument_pair *to)
{
    for (size_t i = 0; i < arguments->count; i++)
        *to++ = (td_argument_pair){
            .name = arguments->items[i].name,
            .value = decoded(h, &arguments->items[i]),
            .from_body = from_body,
        };
    return to;
}

size_t
td_request_arguments(td_handler *h, const td_argument_pair **pairs_out)
{
    const td_arguments *query, *body;
    td_argument_pair *pairs;

    if (!td_handler_has(h, "td_request_arguments", pairs_out))
        return 0;
    query = arguments_of(h, QUERY);
    body = arguments_of(h, BODY);
    pairs = TD_ARENA_ARRAY(&h->request->arena, td_argument_pair, query->count + body->count);
    put_pairs(h, body, true, put_pairs(h, query, false, pairs));
    *pairs_out = pairs;
    return query->count + body->count;
}

/* ---- arguments that are no text */

/* What kinds have in common: parse `text` into *out; 0, or the error that is logged. */
typedef int parse_fn(const char *text, const int64_t range[2], void *out, td_err *err);

/* False: it is not there, and need not be. */
static bool
convert(td_handler *h, const char *name, bool is_required, const char *function, parse_fn *parse,
        const int64_t range[2], void *out)
{
    const td_str text = is_required ? find_or_raise(h, QUERY | BODY, name, function)
                                    : find(h, QUERY | BODY, name, function);
    td_err err;

    if (td_str_is_null(text))
        return false;
    if (parse(text.ptr, range, out, &err) < 0)
        td_handler_raise_quietly(h, 400, "Argument %s: %s", name, err.text);
    return true;
}

static int
parse_int(const char *text, const int64_t range[2], void *out, td_err *err)
{
    return td_value_parse_int(text, range[0], range[1], out, err);
}

static int
parse_bool(const char *text, const int64_t range[2], void *out, td_err *err)
{
    (void)range;
    return td_value_parse_bool(text, out, err);
}

static const char *
skip_digits(const char *p)
{
    while (td_byte_is(*p, TD_BYTE_DIGIT))
        p++;
    return p;
}

/* [ "-" / "+" ] ( 1*DIGIT [ "." *DIGIT ] / "." 1*DIGIT ) [ "e" [ "-" / "+" ] 1*DIGIT ] */
static bool
is_decimal(const char *text)
{
    const char *whole = text + (*text == '-' || *text == '+'), *p = skip_digits(whole);
    size_t digits = (size_t)(p - whole);

    if (*p == '.') {
        const char *fraction = p + 1;

        p = skip_digits(fraction);
        digits += (size_t)(p - fraction);
    }
    if (digits > 0 && (*p == 'e' || *p == 'E')) {
        const char *exponent = p + 1 + (p[1] == '-' || p[1] == '+');

        p = skip_digits(exponent);
        digits = (size_t)(p - exponent);
    }
    return digits > 0 && *p == '\0';
}

static int
parse_double(const char *text, const int64_t range[2], void *out, td_err *err)
{
    static locale_t plain; /* a handler may have set a locale with another decimal point */
    double value;

    (void)range;
    if (plain == NULL)
        plain = newlocale(LC_ALL_MASK, "C", NULL);
    value = is_decimal(text) ? strtod_l(text, NULL, plain) : NAN;
    if (!isfinite(value))
        return td_err_set(err, TD_EBADMSG, "'%s' is not a number", text);
    *(double *)out = value;
    return 0;
}

/* Of a page that there cannot be we say what one that is not there says. */
int64_t
td_path_argument_int(td_handler *h, const char *name, int64_t min, int64_t max)
{
    const td_str text = td_path_argument(h, name);
    int64_t value = 0;
    td_err err;

    if (name == NULL || !td_handler_usable(h, "td_path_argument_int"))
        return 0;
    if (td_str_is_null(text))
        td_handler_raise_quietly(h, 404, "Path argument %s is not there", name);
    if (strlen(text.ptr) != text.len)
        td_handler_raise_quietly(h, 404, "Path argument %s is not a number", name);
    if (td_value_parse_int(text.ptr, min, max, &value, &err) < 0)
        td_handler_raise_quietly(h, 404, "Path argument %s: %s", name, err.text);
    return value;
}

int64_t
td_get_argument_int(td_handler *h, const char *name, int64_t min, int64_t max)
{
    int64_t value = 0;

    convert(h, name, true, "td_get_argument_int", parse_int, (const int64_t[]){min, max}, &value);
    return value;
}

int64_t
td_get_argument_int_default(td_handler *h, const char *name, int64_t min, int64_t max,
                            int64_t default_value)
{
    int64_t value = default_value;

    convert(h, name, false, "td_get_argument_int_default", parse_int, (const int64_t[]){min, max},
            &value);
    return value;
}

bool
td_get_argument_bool(td_handler *h, const char *name)
{
    bool value = false;

    convert(h, name, true, "td_get_argument_bool", parse_bool, NULL, &value);
    return value;
}

bool
td_get_argument_bool_default(td_handler *h, const char *name, bool default_value)
{
    bool value = default_value;

    convert(h, name, false, "td_get_argument_bool_default", parse_bool, NULL, &value);
    return value;
}

double
td_get_argument_double(td_handler *h, const char *name)
{
    double value = 0;

    convert(h, name, true, "td_get_argument_double", parse_double, NULL, &value);
    return value;
}

double
td_get_argument_double_default(td_handler *h, const char *name, double default_value)
{
    double value = default_value;

    convert(h, name, false, "td_get_argument_double_default", parse_double, NULL, &value);
    return value;
}
