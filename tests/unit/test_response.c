/*
 * Goal: what a handler sets and writes reaches the writer as the public headers say, and what
 * is too late, too much or malformed is refused with the handler's name.
 */
#include <xxhash.h>
#include "acting.h"

/* ---- status and headers */

static int rc[16];

static void
set_statuses(td_handler *h)
{
    rc[0] = td_set_status(h, 199, NULL);
    rc[1] = td_set_status(h, 1000, NULL);
    rc[2] = td_set_status(h, 599, "Fine <b>");
    rc[3] = td_get_status(h);
    rc[4] = td_set_status(h, 299, "a\nb");
    rc[5] = td_set_status(h, 201, "All good");
}

START_TEST(a_status_is_200_to_999)
{
    web_exchange *x = request("GET", "", set_statuses);

    ck_assert_int_eq(rc[0], TD_EINVAL);
    ck_assert_int_eq(rc[1], TD_EINVAL);
    ck_assert_int_eq(rc[2], 0);
    ck_assert_int_eq(rc[3], 599);
    ck_assert_int_eq(rc[4], 0);
    ck_assert_int_eq(rc[5], 0);
    ck_assert_int_eq(x->status, 201);
    ck_assert_str_eq(x->reason, "All good");
    ck_assert(strstr(web_log(), "Act: td_set_status: a status is 200 to 999"));
    web_done(x);
}
END_TEST

static void
bad_reason(td_handler *h)
{
    td_set_status(h, 200, "a<b");
}

START_TEST(a_reason_that_could_do_harm_is_unknown)
{
    web_exchange *x = request("GET", "", bad_reason);

    ck_assert_str_eq(x->reason, "Unknown");
    web_done(x);
}
END_TEST

static void
set_headers(td_handler *h)
{
    char value[] = "one", name[] = "X-One";

    rc[0] = td_set_header(h, name, value);
    memcpy(value, "xxx", 3); /* both were copied */
    memcpy(name, "X-Xxx", 5);
    rc[1] = td_add_header(h, "X-Two", "2a");
    rc[2] = td_add_header(h, "X-Two", "2b");
    rc[3] = td_set_header(h, "content-type", "text/plain");
    rc[4] = td_set_header(h, "X-Gone", "1");
    rc[5] = td_clear_header(h, "x-gone");
    rc[6] = td_set_header(h, "Bad Name", "1");
    rc[7] = td_set_header(h, "X-Bad", "a\r\nb");
    rc[8] = td_set_header(h, "Date", "now");
    rc[9] = td_add_header(h, "transfer-encoding", "chunked");
    rc[10] = td_set_header(h, NULL, "x");
    rc[11] = td_set_header(h, "X-Null", NULL);
    rc[12] = td_set_header(h, "X-One", "uno");
    rc[13] = td_set_header(h, "Connection", "close");
    rc[14] = td_set_header(h, "X-Tab", "a\tb");
    td_write_text(h, "x");
}

START_TEST(headers_are_set_added_cleared_and_checked)
{
    web_exchange *x = request("POST", "", set_headers);

    ck_assert_str_eq(x->headers, "Server: x\nContent-Type: text/plain\nX-One: uno\nX-Two: 2a\n"
                                 "X-Two: 2b\nConnection: close\nX-Tab: a\tb\n");
    for (int i = 0; i < 15; i++)
        ck_assert_int_eq(rc[i], i >= 6 && i <= 11 ? TD_EINVAL : 0);
    const char *log = web_log();
    ck_assert(strstr(log, "Act: td_set_header: the name is no token"));
    ck_assert(strstr(log, "Act: td_set_header: a control byte is in the value"));
    ck_assert(strstr(log, "Act: td_add_header: "));
    web_done(x);
}
END_TEST

static void
change_too_late(td_handler *h)
{
    td_write_text(h, "a");
    td_flush(h);
    rc[0] = td_set_status(h, 201, NULL);
    rc[1] = td_set_header(h, "X", "y");
    rc[2] = td_redirect(h, "/", false);
    rc[3] = td_clear(h);
    td_finish(h);
    rc[4] = td_finish(h);
    rc[5] = td_write_text(h, "b");
    rc[6] = td_flush(h);
    rc[7] = td_clear_header(h, "X");
    rc[8] = td_send_error(h, 500, "late");
}

START_TEST(what_is_too_late_is_refused)
{
    web_exchange *x = request("GET", "", change_too_late);
    const char *log;

    for (int i = 0; i < 9; i++)
        ck_assert_int_eq(rc[i], TD_EINVAL);
    log = web_log();
    ck_assert(strstr(log, "Act: td_set_status: the headers have been sent"));
    ck_assert(strstr(log, "Act: td_finish: the response has ended"));
    ck_assert(strstr(log, "Act: td_write: the response has ended"));
    ck_assert_str_eq(x->body, "a");
    ck_assert_int_eq(x->finishes, 1);
    web_done(x);
}
END_TEST

START_TEST(without_a_handler_nothing_happens)
{
    ck_assert_int_eq(td_write(NULL, TD_STR("x")), TD_EINVAL);
    ck_assert_int_eq(td_set_header(NULL, "a", "b"), TD_EINVAL);
    ck_assert_int_eq(td_finish(NULL), TD_EINVAL);
    ck_assert_int_eq(td_writef(NULL, "x"), TD_EINVAL);
    ck_assert_ptr_null(td_alloc(NULL, 1));
    ck_assert_ptr_null(td_path_argument(NULL, "x").ptr);
    ck_assert(strstr(web_log(), "td_write: no handler"));
}
END_TEST

/* ---- framing */

static void write_five(td_handler *h) { td_write_text(h, "12345"); }
static void write_nothing(td_handler *h) { (void)h; }
static void set_204(td_handler *h) { td_set_status(h, 204, NULL); }
static void
set_304_with_body(td_handler *h)
{
    td_set_header(h, "Content-Language", "de");
    td_set_status(h, 304, NULL);
    td_write_text(h, "x");
}
static void
set_length(td_handler *h)
{
    td_set_header(h, "Content-Length", "5");
    td_write_text(h, "12345");
}
static void
set_wrong_length(td_handler *h)
{
    td_set_header(h, "content-length", "7");
    td_write_text(h, "12345");
}
static void
length_of_head(td_handler *h)
{
    td_set_header(h, "Content-Length", "123456");
}
static void
unset_length(td_handler *h)
{
    td_set_header(h, "Content-Length", "7");
    td_clear_header(h, "Content-Length");
    td_write_text(h, "12345");
}
static void
bad_lengths(td_handler *h)
{
    td_set_header(h, "Content-Length", "");
    td_set_header(h, "Content-Length", "-1");
    td_set_header(h, "Content-Length", "1 ");
    td_set_header(h, "Content-Length", "99999999999999999999");
    td_write_text(h, "12345");
}
static void
flush_pieces(td_handler *h)
{
    td_write_text(h, "123");
    td_flush(h);
    td_flush(h);
    td_write_text(h, "45");
}
static void
flush_sized(td_handler *h)
{
    td_set_header(h, "Content-Length", "5");
    flush_pieces(h);
}
static void
flush_first(td_handler *h)
{
    td_flush(h);
    td_write_text(h, "12345");
}

#define DEFAULTS "Server: x\nContent-Type: text/html; charset=UTF-8\n"

static const struct {
    const char *method;
    td_method_fn *fn;
    int status;
    int64_t length;
    const char *body, *headers;
    int flushes;
    size_t stable;
} framings[] = {
    {"POST", write_five, 200, 5, "12345", DEFAULTS, 0, 5},
    {"POST", write_nothing, 200, 0, "", DEFAULTS, 0, 0},
    {"POST", set_204, 204, 0, "", "Server: x\n", 0, 0},
    {"POST", set_304_with_body, 304, 0, "", "Server: x\n", 0, 0},
    {"POST", set_length, 200, 5, "12345", DEFAULTS, 0, 5},
    {"POST", set_wrong_length, 200, 7, "12345", DEFAULTS, 0, 5}, /* the writer closes */
    {"POST", unset_length, 200, 5, "12345", DEFAULTS, 0, 5},
    {"POST", bad_lengths, 200, 5, "12345", DEFAULTS, 0, 5},
    {"POST", flush_pieces, 200, -1, "12345", DEFAULTS, 2, 2},
    {"POST", flush_sized, 200, 5, "12345", DEFAULTS, 2, 2},
    {"GET", flush_pieces, 200, -1, "12345", DEFAULTS, 2, 2}, /* no Etag */
    {"GET", flush_first, 200, -1, "12345", DEFAULTS, 1, 5},
    {"HEAD", flush_pieces, 200, -1, "", DEFAULTS, 2, 0},
    {"HEAD", length_of_head, 200, 123456, "", NULL, 0, 0},
    {"HEAD", write_five, 200, 5, "", NULL, 0, 0},
};

START_TEST(the_framing_is_decided_at_the_first_flush)
{
    web_exchange *x = request(framings[_i].method, "", framings[_i].fn);

    ck_assert_int_eq(x->status, framings[_i].status);
    ck_assert_int_eq(x->length, framings[_i].length);
    ck_assert_str_eq(x->body, framings[_i].body);
    if (framings[_i].headers != NULL)
        ck_assert_str_eq(x->headers, framings[_i].headers);
    ck_assert_int_eq(x->flushes, framings[_i].flushes);
    ck_assert_uint_eq(x->stable_len, framings[_i].stable);
    ck_assert_int_eq(x->finishes, 1);
    web_done(x);
}
END_TEST

START_TEST(a_length_that_is_wrong_names_the_handler)
{
    web_done(request("POST", "", set_wrong_length));
    ck_assert(strstr(web_log(), "Act: td_finish: Content-Length is not the length"));
}
END_TEST

/* ---- bodies of any size */

static size_t pieces, piece_len;

static void
write_pieces(td_handler *h)
{
    char piece[4096];

    for (size_t i = 0; i < pieces; i++) {
        memset(piece, (char)('a' + i % 26), piece_len);
        ck_assert_int_eq(td_write(h, td_str_make(piece, piece_len)), 0);
    }
}

static const struct {
    size_t pieces, len;
} sizes[] = {{1, 1},    {1, 127},  {1, 128},  {1, 129},  {200, 1},
             {1, 2048}, {1, 2049}, {3, 1000}, {30, 4096}};

START_TEST(a_body_is_the_sum_of_what_was_written)
{
    web_exchange *x;

    pieces = sizes[_i].pieces;
    piece_len = sizes[_i].len;
    x = request("POST", "", write_pieces);
    ck_assert_uint_eq(x->body_len, pieces * piece_len);
    for (size_t i = 0; i < x->body_len; i++)
        ck_assert_int_eq(x->body[i], 'a' + (int)(i / piece_len % 26));
    web_done(x);
}
END_TEST

static void
write_formats(td_handler *h)
{
    td_writef(h, "%s", "");
    td_writef(h, "%d-%s|", 7, "x");
    td_writef(h, "%0300d", 1);
    td_writef(h, "%s%c", "tail", 0);
}

START_TEST(formats_of_any_length_are_written)
{
    web_exchange *x = request("POST", "", write_formats);

    ck_assert_uint_eq(x->body_len, 4 + 300 + 5);
    ck_assert(memcmp(x->body, "7-x|000", 7) == 0);
    ck_assert(memcmp(x->body + 303, "1tail", 6) == 0);
    web_done(x);
}
END_TEST

static void
write_too_much(td_handler *h)
{
    char piece[4096] = "x";

    for (;;)
        rc[0] = td_write(h, td_str_make(piece, sizeof(piece)));
}

static void
write_much_and_flush(td_handler *h)
{
    char piece[4096] = "x";

    for (int i = 0; i < 16; i++) {
        ck_assert_int_eq(td_write(h, td_str_make(piece, sizeof(piece))), 0);
        ck_assert_int_eq(td_flush(h), 0);
    }
}

START_TEST(past_max_response_buffer_the_request_fails)
{
    static td_limits limits;
    web_exchange *x = web_route_to("GET", "/", "");

    limits = *td_limits_defaults();
    limits.max_response_buffer = 10000;
    x->request->limits = &limits;
    act = write_too_much;
    web_execute(x);
    ck_assert_int_eq(x->status, 500);
    ck_assert(strstr(web_log(), "Act: 500 GET / (0.0.0.0): more than max_response_buffer "
                                "(10000 bytes) was written: td_flush sends it"));
    web_done(x);

    x = web_route_to("GET", "/", "");
    x->request->limits = &limits;
    act = write_much_and_flush;
    web_execute(x);
    ck_assert_int_eq(x->status, 200);
    ck_assert_uint_eq(x->body_len, 16 * 4096);
    web_done(x);
}
END_TEST

/* ---- Etag */

static void hello(td_handler *h) { td_write_text(h, "Hello"); }
static void hello_404(td_handler *h) { td_set_status(h, 404, NULL), hello(h); }
static void own_etag(td_handler *h) { td_set_header(h, "ETag", "W/\"v1\""), hello(h); }

static const char *
header_of(const web_exchange *x, const char *name)
{
    static char value[256];
    const char *at = strstr(x->headers, name);

    if (at == NULL)
        return NULL;
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(at + strlen(name), "\n"),
             at + strlen(name));
    return value;
}

START_TEST(an_etag_is_the_xxh3_of_the_body)
{
    char expected[40];
    XXH128_hash_t hash = XXH3_128bits("Hello", 5);
    web_exchange *x = request("GET", "", hello);

    snprintf(expected, sizeof(expected), "\"%016llx%016llx\"", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
    ck_assert_str_eq(header_of(x, "Etag: "), expected);
    web_done(x);
    x = request("GET", "", write_nothing);
    ck_assert_str_eq(header_of(x, "Etag: "), "\"99aa06d3014798d86001c324468d497f\"");
    web_done(x);
}
END_TEST

static const struct {
    const char *method, *lines; /* @: the Etag of "Hello" */
    td_method_fn *fn;
    int status;
    bool has_etag;
} conditions[] = {
    {"GET", "", hello, 200, true},
    {"HEAD", "", hello, 200, true},
    {"POST", "", hello, 200, false},
    {"GET", "", hello_404, 404, false},
    {"GET", "If-None-Match: @\r\n", hello, 304, true},
    {"HEAD", "If-None-Match: @\r\n", hello, 304, true},
    {"POST", "If-None-Match: @\r\n", hello, 200, false},
    {"GET", "If-None-Match: W/@\r\n", hello, 304, true},
    {"GET", "If-None-Match: \"x\", @\r\n", hello, 304, true},
    {"GET", "If-None-Match: \"x\"\r\nIf-None-Match: @\r\n", hello, 304, true},
    {"GET", "If-None-Match: \"x\"\r\n", hello, 200, true},
    {"GET", "If-None-Match: *\r\n", hello, 304, true},
    {"GET", "If-None-Match: \"x\", *\r\n", hello, 200, true},
    {"GET", "If-None-Match: *, \"x\"\r\n", hello, 304, true},
    {"GET", "If-None-Match: @x\"\r\n", hello, 304, true},
    {"GET", "If-None-Match: x\r\n", hello, 200, true},
    {"GET", "If-None-Match: \"\r\n", hello, 200, true},
    {"GET", "If-None-Match:\r\n", hello, 200, true},
    {"GET", "If-None-Match: \"v1\"\r\n", own_etag, 304, true},
    {"GET", "If-None-Match: W/\"v1\"\r\n", own_etag, 304, true},
    {"GET", "If-None-Match: @\r\n", own_etag, 200, true},
    {"GET", "If-None-Match: @\r\n", hello_404, 404, false},
    {"GET", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", hello, 200, true},
};

START_TEST(a_client_that_knows_it_gets_304)
{
    web_exchange *x = request("GET", "", hello);
    char lines[512] = "", etag[64];

    snprintf(etag, sizeof(etag), "%s", header_of(x, "Etag: "));
    web_done(x);
    for (const char *p = conditions[_i].lines; *p != '\0'; p++)
        snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), *p == '@' ? "%s" : "%.1s",
                 *p == '@' ? etag : p);
    x = request(conditions[_i].method, lines, conditions[_i].fn);
    ck_assert_int_eq(x->status, conditions[_i].status);
    ck_assert_int_eq(strstr(x->headers, "Etag: ") != NULL || strstr(x->headers, "ETag: ") != NULL,
                     conditions[_i].has_etag);
    if (x->status == 304) {
        ck_assert_str_eq(x->body, "");
        ck_assert_ptr_null(strstr(x->headers, "Content-Type"));
    } else if (strcmp(conditions[_i].method, "HEAD") != 0) {
        ck_assert_str_eq(x->body, "Hello");
    }
    web_done(x);
}
END_TEST

/* ---- redirects */

static const struct {
    const char *url;
    int status, rc;
} redirects[] = {
    {"/there?a=b", 302, 0},
    {"http://example.org/", 307, 0},
    {"", 301, 0},
    {"/a\r\nSet-Cookie: x", 302, TD_EINVAL},
    {"/a\x7f", 302, TD_EINVAL},
    {NULL, 302, TD_EINVAL},
    {"/", 299, TD_EINVAL},
    {"/", 400, TD_EINVAL},
};
static int redirect_index;

static void
redirect(td_handler *h)
{
    td_write_text(h, "dropped");
    rc[0] = td_redirect_status(h, redirects[redirect_index].url, redirects[redirect_index].status);
}

START_TEST(a_redirect_has_its_location_as_given)
{
    char expected[64];
    web_exchange *x;

    redirect_index = _i;
    x = request("GET", "", redirect);
    ck_assert_int_eq(rc[0], redirects[_i].rc);
    ck_assert_int_eq(x->status, rc[0] == 0 ? redirects[_i].status : 200);
    ck_assert_str_eq(x->body, rc[0] == 0 ? "" : "dropped");
    ck_assert_int_eq(x->finishes, 1);
    if (rc[0] == 0) {
        snprintf(expected, sizeof(expected), "Location: %s\n", redirects[_i].url);
        ck_assert(strstr(x->headers, expected));
    }
    web_done(x);
}
END_TEST

static void
redirect_for_ever(td_handler *h)
{
    td_redirect(h, "/x", true);
    rc[0] = td_redirect(h, "/y", false);
}

START_TEST(a_redirect_ends_the_response)
{
    web_exchange *x = request("GET", "", redirect_for_ever);

    ck_assert_int_eq(x->status, 301);
    ck_assert_int_eq(rc[0], TD_EINVAL);
    web_done(x);
}
END_TEST

static void
clear(td_handler *h)
{
    td_set_status(h, 404, "Nope");
    td_set_header(h, "X", "y");
    td_set_header(h, "Etag", "\"e\"");
    td_clear_header(h, "Server");
    td_set_header(h, "Content-Length", "77");
    td_write_text(h, "dropped");
    td_clear(h);
    td_write_text(h, "kept");
}

START_TEST(clear_begins_anew)
{
    web_exchange *x = request("POST", "", clear);

    ck_assert_int_eq(x->status, 200);
    ck_assert_str_eq(x->reason, "");
    ck_assert_str_eq(x->headers, DEFAULTS);
    ck_assert_str_eq(x->body, "kept");
    ck_assert_int_eq(x->length, 4);
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, acting_setup, web_teardown);
    tcase_add_test(tcase, a_status_is_200_to_999);
    tcase_add_test(tcase, a_reason_that_could_do_harm_is_unknown);
    tcase_add_test(tcase, headers_are_set_added_cleared_and_checked);
    tcase_add_test(tcase, what_is_too_late_is_refused);
    tcase_add_test(tcase, without_a_handler_nothing_happens);
    ADD_TABLE(tcase, the_framing_is_decided_at_the_first_flush, framings);
    tcase_add_test(tcase, a_length_that_is_wrong_names_the_handler);
    ADD_TABLE(tcase, a_body_is_the_sum_of_what_was_written, sizes);
    tcase_add_test(tcase, formats_of_any_length_are_written);
    tcase_add_test(tcase, past_max_response_buffer_the_request_fails);
    tcase_add_test(tcase, an_etag_is_the_xxh3_of_the_body);
    ADD_TABLE(tcase, a_client_that_knows_it_gets_304, conditions);
    ADD_TABLE(tcase, a_redirect_has_its_location_as_given, redirects);
    tcase_add_test(tcase, a_redirect_ends_the_response);
    tcase_add_test(tcase, clear_begins_anew);
}

int
main(void)
{
    return unit_run("response", fill);
}
