/*
 * Goal: which responses are compressed and what their headers say then;
 * bodies pass transforms in order, lengths are those of what leaves, and what a transform may not
 * do is refused.
 */
#include <zlib.h>
#include "web_fixture.h"

static td_method_fn *act;
static td_transform chain[2];
static char args[][4] = {"arg", "rg"};
static size_t chain_count;

static void
do_act(td_handler *h)
{
    act(h);
}

static void
do_prepare(td_handler *h)
{
    for (size_t i = 0; i < chain_count; i++)
        ck_assert_int_eq(td_add_transform(h, &chain[i], args[i]), 0);
}

static const td_handler_class Act = {.get = do_act, .prepare = do_prepare, .name = "Act"};
static const td_url urls[] = {TD_URL("/", &Act), {.pattern = NULL}};

static web_exchange *
get(const char *lines, td_method_fn *fn)
{
    act = fn;
    return web_request("GET", "/", lines);
}

static void
setup(void)
{
    web_setup();
    chain_count = 0;
    web_serve(urls);
}

static void
setup_compressing(void)
{
    web_setup();
    chain_count = 0;
    web_app_settings.compress_response = true;
    web_serve(urls);
}

/* ---- what is compressed */

struct given {
    const char *type, *control, *encoding, *etag, *vary;
    int status, size; /* 0: 200; 2000 */
    bool secret;
};

static const struct {
    const char *accept;
    struct given given;
    const char *coding, *etag, *vary; /* coding NULL: not compressed; etag NULL: whatever it is */
} rows[] = {
    {"gzip", {.etag = "\"x\""}, "gzip", "\"x-gzip\"", "Accept-Encoding"},
    {"zstd", {.etag = "\"x\""}, "zstd", "\"x-zstd\"", "Accept-Encoding"},
    {"br", {.etag = "\"x\""}, "br", "\"x-br\"", "Accept-Encoding"},
    {"gzip, deflate, br, zstd", {0}, "zstd", NULL, "Accept-Encoding"},
    {"gzip, deflate, br", {0}, "br", NULL, "Accept-Encoding"},
    {"gzip;q=1, zstd;q=0.5", {0}, "gzip", NULL, "Accept-Encoding"},
    {"gzip", {.etag = "W/\"x\""}, "gzip", "W/\"x\"", "Accept-Encoding"},
    {"gzip;q=0", {.etag = "\"x\""}, NULL, "\"x\"", "Accept-Encoding"},
    {"identity", {0}, NULL, NULL, "Accept-Encoding"},
    {"*;q=0", {0}, NULL, NULL, "Accept-Encoding"},
    {"deflate", {0}, NULL, NULL, "Accept-Encoding"},
    {NULL, {0}, NULL, NULL, "Accept-Encoding"},
    {"gzip", {.size = 1023}, NULL, NULL, "Accept-Encoding"},
    {"gzip", {.size = 1024}, "gzip", NULL, "Accept-Encoding"},
    {"gzip", {.type = "image/png"}, NULL, NULL, "Accept-Encoding"},
    {"gzip", {.type = "TEXT/Plain ; charset=x"}, "gzip", NULL, "Accept-Encoding"},
    {"gzip", {.type = "application/json"}, "gzip", NULL, "Accept-Encoding"},
    {"gzip", {.type = "application/jsonx"}, NULL, NULL, "Accept-Encoding"},
    {"gzip", {.type = "texts/plain"}, NULL, NULL, "Accept-Encoding"},
    {"gzip", {.control = "max-age=1, No-Transform"}, NULL, NULL, "Accept-Encoding"},
    {"gzip", {.encoding = "br"}, "br", NULL, "Accept-Encoding"},
    {"gzip", {.secret = true}, NULL, NULL, "Accept-Encoding"},
    {"gzip", {.status = 206}, NULL, NULL, "Accept-Encoding"},
    {"gzip", {.status = 404}, "gzip", NULL, "Accept-Encoding"},
    {"gzip", {.vary = "Origin"}, "gzip", NULL, "Origin, Accept-Encoding"},
    {"gzip", {.vary = "accept-encoding"}, "gzip", NULL, "accept-encoding"},
    {"gzip", {.vary = "*"}, "gzip", NULL, "*"},
};

static struct given given;

static void
give(td_handler *h)
{
    const struct {
        const char *name, *value;
    } fields[] = {{"Content-Type", given.type}, {"Cache-Control", given.control},
                  {"Content-Encoding", given.encoding}, {"Etag", given.etag}, {"Vary", given.vary}};

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (fields[i].value != NULL)
            td_set_header(h, fields[i].name, fields[i].value);
    if (given.status != 0)
        td_set_status(h, given.status, NULL);
    if (given.secret)
        td_never_compress(h);
    for (int i = given.size != 0 ? given.size : 2000; i > 0; i--)
        td_write_text(h, "a");
}

static void
check_line(const web_exchange *x, const char *name, const char *value)
{
    char line[128];

    snprintf(line, sizeof(line), "%s: %s\n", name, value != NULL ? value : "");
    if (value != NULL)
        ck_assert_msg(strstr(x->headers, line) != NULL, "no %s in %s", line, x->headers);
    else
        ck_assert_ptr_null(strstr(x->headers, name));
}

START_TEST(what_suits_is_compressed)
{
    char lines[256] = "";
    web_exchange *x;

    given = rows[_i].given;
    if (rows[_i].accept != NULL)
        snprintf(lines, sizeof(lines), "Accept-Encoding: %s\r\n", rows[_i].accept);
    x = get(lines, give);
    check_line(x, "Content-Encoding", rows[_i].coding);
    check_line(x, "Vary", rows[_i].vary);
    if (rows[_i].etag != NULL)
        check_line(x, "Etag", rows[_i].etag);
    ck_assert_int_eq(x->length, (int64_t)x->body_len);
    if (rows[_i].coding == NULL)
        ck_assert_uint_eq(x->body_len, given.size != 0 ? (size_t)given.size : 2000);
    else if (given.encoding == NULL)
        ck_assert_uint_lt(x->body_len, 200);
    web_done(x);
}
END_TEST

static const struct {
    const char *etag, *known, *told;
} revisits[] = {
    {"\"x\"", "\"x\"", "\"x\""},
    {"\"x\"", "W/\"x\"", "\"x\""},
    {"\"x\"", "\"y\", \"x-gzip\", \"x\"", "\"x-gzip\""},
    {"\"x\"", "*", "\"x\""},
    {"W/\"x\"", "W/\"x\"", "W/\"x\""},
    {"W/\"x\"", "\"x\"", "W/\"x\""},
    {"W/\"x\"", "\"x-gzip\"", "W/\"x\""},
};

START_TEST(what_has_not_changed_has_the_tag_that_was_sent)
{
    char lines[128];
    web_exchange *x;

    given = (struct given){.etag = revisits[_i].etag};
    snprintf(lines, sizeof(lines), "Accept-Encoding: gzip\r\nIf-None-Match: %s\r\n",
             revisits[_i].known);
    x = get(lines, give);
    ck_assert_int_eq(x->status, 304);
    check_line(x, "\nEtag", revisits[_i].told);
    web_done(x);
}
END_TEST

static const char *promised; /* NULL: nothing is */

static void
flush_twice(td_handler *h)
{
    if (promised != NULL)
        td_set_header(h, "Content-Length", promised);
    td_write_text(h, "abc");
    td_flush(h);
    td_flush(h);
    td_write_text(h, "def");
}

START_TEST(a_stream_is_flushed_through)
{
    web_exchange *x;
    char out[16];

    promised = NULL;
    x = get("Accept-Encoding: gzip, br\r\n", flush_twice);

    z_stream z = {.next_in = (Bytef *)x->body, .avail_in = (uInt)x->body_len,
                  .next_out = (Bytef *)out, .avail_out = sizeof(out)};

    check_line(x, "Content-Encoding", "gzip"); /* not br, whose streams are too large */
    ck_assert_int_eq(x->length, -1);
    ck_assert_int_eq(inflateInit2(&z, 31), Z_OK);
    ck_assert_int_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
    ck_assert_int_eq(memcmp(out, "abcdef", 6), 0);
    inflateEnd(&z);
    web_done(x);
}
END_TEST

/* ---- transforms */

static void
bracket(td_handler *h, td_str chunk, bool finishing, td_output *out, void *arg)
{
    (void)h;
    td_emit(out, td_str_of(arg));
    td_emit(out, TD_STR("("));
    td_emit(out, chunk);
    td_emit(out, finishing ? TD_STR(".)") : TD_STR(")"));
}

static void
write_abc(td_handler *h)
{
    td_set_header(h, "Content-Length", "3");
    td_write_text(h, "abc");
}

static void
use_brackets(size_t count)
{
    for (size_t i = 0; i < count; i++)
        chain[i] = (td_transform)TD_TRANSFORM(.name = "bracket", .transform_chunk = bracket);
    chain_count = count;
}

START_TEST(the_first_added_comes_first)
{
    web_exchange *x;

    use_brackets(2);
    x = get("", write_abc);
    ck_assert_str_eq(x->body, "rg(arg(abc.).)");
    ck_assert_int_eq(x->length, 14);
    web_done(x);
    promised = "6"; /* of what is written, and not of what is made of it */
    x = get("", flush_twice);
    ck_assert_str_eq(x->body, "rg(arg(abc))rg(arg(def.).)");
    ck_assert_int_eq(x->length, -1);
    web_done(x);
}
END_TEST

static void
promise_more(td_handler *h)
{
    td_set_header(h, "Content-Length", "4");
    td_write_text(h, "abc");
}

START_TEST(a_promise_that_is_not_kept_ends_the_connection)
{
    web_exchange *x;

    use_brackets(1);
    x = get("", promise_more);
    ck_assert_int_eq(x->aborts, 1);
    ck_assert_uint_eq(x->body_len, 0);
    ck_assert(strstr(web_log(), "Content-Length is not the length"));
    web_done(x);
}
END_TEST

static int rc[11];

static void
misuse(td_handler *h, td_str chunk, bool finishing, td_output *out, void *arg)
{
    (void)finishing, (void)arg;
    rc[0] = td_write_text(h, "x");
    rc[1] = td_flush(h);
    rc[2] = td_finish(h);
    rc[3] = td_redirect(h, "/", false);
    rc[4] = td_send_error(h, 500, NULL);
    rc[5] = td_add_transform(h, &chain[0], NULL);
    rc[6] = td_emit(NULL, chunk);
    rc[7] = td_sse_begin(h);
    rc[8] = td_serve_static(h, TD_STATIC(.root = "/"), TD_STR("x"));
    rc[9] = td_asynchronous(h);
    rc[10] = td_set_header(h, "X-Fine", "1");
    td_emit(out, chunk);
}

START_TEST(what_a_transform_may_not_do_is_refused)
{
    web_exchange *x;

    chain[0] = (td_transform)TD_TRANSFORM(.transform_first_chunk = misuse);
    chain_count = 1;
    x = get("", write_abc);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(rc[i], TD_EINVAL);
    ck_assert_int_eq(rc[10], 0);
    ck_assert_str_eq(x->body, "abc");
    ck_assert(strstr(x->headers, "X-Fine: 1\n"));
    ck_assert(strstr(web_log(), "Act: td_write: a transform is running"));
    web_done(x);
}
END_TEST

static void
swell(td_handler *h, td_str chunk, bool finishing, td_output *out, void *arg)
{
    (void)h, (void)finishing, (void)arg;
    for (;;)
        td_emit(out, chunk);
}

START_TEST(one_that_makes_too_much_is_answered_500)
{
    static td_limits limits;
    web_exchange *x = web_route_to("GET", "/", "");

    limits = *td_limits_defaults();
    limits.max_response_buffer = 10000;
    x->request->limits = &limits;
    chain[0] = (td_transform)TD_TRANSFORM(.transform_chunk = swell);
    chain_count = 1;
    act = write_abc;
    web_execute(x);
    ck_assert_int_eq(x->status, 500);
    ck_assert(strstr(x->body, "<html><title>500: Internal Server Error</title>"));
    ck_assert(strstr(web_log(), "max_response_buffer"));
    web_done(x);
}
END_TEST

static void
not_found(td_handler *h)
{
    td_raise(h, 404, NULL);
}

START_TEST(error_pages_pass_through)
{
    web_exchange *x;

    use_brackets(1);
    x = get("", not_found);
    ck_assert_int_eq(x->status, 404);
    ck_assert_str_eq(x->body, "arg(<html><title>404: Not Found</title><body>404: Not Found</body>"
                              "</html>.)");
    web_done(x);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("transforms");
    TCase *compressing = tcase_create("compression"), *plain = tcase_create("transforms");

    tcase_add_checked_fixture(compressing, setup_compressing, web_teardown);
    ADD_TABLE(compressing, what_suits_is_compressed, rows);
    ADD_TABLE(compressing, what_has_not_changed_has_the_tag_that_was_sent, revisits);
    tcase_add_test(compressing, a_stream_is_flushed_through);
    suite_add_tcase(suite, compressing);
    tcase_add_checked_fixture(plain, setup, web_teardown);
    tcase_add_test(plain, the_first_added_comes_first);
    tcase_add_test(plain, a_promise_that_is_not_kept_ends_the_connection);
    tcase_add_test(plain, what_a_transform_may_not_do_is_refused);
    tcase_add_test(plain, one_that_makes_too_much_is_answered_500);
    tcase_add_test(plain, error_pages_pass_through);
    suite_add_tcase(suite, plain);
    return unit_run_suite(suite);
}
