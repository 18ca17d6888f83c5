/*
 * Goal: versions that a handler sets are compared with what a client knows, for reading and for
 * writing, as RFC 9110 section 13 wants it.
 */
#include "web_fixture.h"

static const char *etag, *modified;
static bool over;
static int rc;

static void
answer(td_handler *h)
{
    rc = td_set_etag(h, etag);
    if (modified != NULL)
        td_set_header(h, "Last-Modified", modified);
    over = td_check_etag(h);
    if (!over)
        td_write_text(h, "done");
}

static void
compute(td_handler *h, td_str body)
{
    td_set_etag(h, td_sprintf(h, "of-%zu", body.len).ptr);
}

static void
write_three(td_handler *h)
{
    td_write_text(h, "abc");
}

static const td_handler_class Act = {.get = answer, .put = answer, .name = "Act"};
static const td_handler_class Own = {.get = write_three, .compute_etag = compute};
static const td_url urls[] = {TD_URL("/", &Act), TD_URL("/own", &Own), {.pattern = NULL}};

static void
setup(void)
{
    web_setup();
    web_serve(urls);
    modified = NULL;
}

static const struct {
    const char *etag, *sent; /* sent NULL: refused */
} forms[] = {
    {"v17", "Etag: \"v17\"\n"},   {"\"v17\"", "Etag: \"v17\"\n"}, {"W/\"v17\"", "Etag: W/\"v17\"\n"},
    {"\"\"", "Etag: \"\"\n"},     {"W/17", "Etag: \"W/17\"\n"},   {"", NULL},
    {"a b", NULL},                {"a\"b", NULL},                 {"\"a\"b\"", NULL},
    {"a\r\nX: y", NULL},          {"\"", NULL},                   {"\x7f", NULL},
};

START_TEST(an_etag_is_quoted_or_refused)
{
    web_exchange *x;

    etag = forms[_i].etag;
    x = web_get("/");
    if (forms[_i].sent != NULL) {
        ck_assert_int_eq(rc, 0);
        ck_assert_msg(strstr(x->headers, forms[_i].sent) != NULL, "%s", x->headers);
    } else {
        ck_assert_int_eq(rc, TD_EINVAL);
        ck_assert(strstr(web_log(), "Act: td_set_etag: "));
    }
    web_done(x);
}
END_TEST

START_TEST(null_means_none)
{
    web_exchange *x;

    etag = NULL;
    x = web_get("/");
    ck_assert_ptr_null(strstr(x->headers, "Etag"));
    web_done(x);
}
END_TEST

#define OLD "Sun, 06 Nov 1994 08:49:37 GMT"
#define NEW "Sun, 06 Nov 1994 08:49:38 GMT"

static const struct {
    const char *method, *etag, *modified, *lines;
    int status;
} rows[] = {
    {"GET", "v1", NULL, "", 200},
    {"GET", "v1", NULL, "If-None-Match: \"v1\"\r\n", 304},
    {"HEAD", "v1", NULL, "If-None-Match: \"v1\"\r\n", 304},
    {"GET", "v1", NULL, "If-None-Match: W/\"v1\"\r\n", 304},
    {"GET", "v1", NULL, "If-None-Match: \"v1-gzip\"\r\n", 304},
    {"GET", "v1", NULL, "If-None-Match: \"v1-deflate\"\r\n", 200},
    {"GET", "v1", NULL, "If-None-Match: \"v0\", \"v1\"\r\n", 304},
    {"GET", "v1", NULL, "If-None-Match: *\r\n", 304},
    {"GET", "v1", NULL, "If-None-Match: \"v2\"\r\n", 200},
    {"GET", "v1", NULL, "If-Match: \"v2\"\r\n", 412},
    {"PUT", "v1", NULL, "If-Match: \"v1\"\r\n", 200},
    {"PUT", "v1", NULL, "If-Match: \"v1-zstd\"\r\n", 200},
    {"PUT", "v1", NULL, "If-Match: \"v2\"\r\n", 412},
    {"PUT", "v1", NULL, "If-Match: W/\"v1\"\r\n", 412},
    {"PUT", "W/\"v1\"", NULL, "If-Match: W/\"v1\"\r\n", 412},
    {"PUT", "v1", NULL, "If-Match: *\r\n", 200},
    {"PUT", NULL, NULL, "If-Match: *\r\n", 412},
    {"PUT", NULL, NULL, "If-Match: \"v1\"\r\n", 412},
    {"PUT", NULL, NULL, "If-None-Match: *\r\n", 200},
    {"PUT", "v1", NULL, "If-None-Match: *\r\n", 412},
    {"PUT", "v1", NULL, "If-None-Match: \"v1\"\r\n", 412},
    {"PUT", "v1", NULL, "", 200},
    {"PUT", "v1", NEW, "If-Unmodified-Since: " OLD "\r\n", 412},
    {"PUT", "v1", NEW, "If-Unmodified-Since: " NEW "\r\n", 200},
    {"PUT", "v1", NEW, "If-Match: \"v1\"\r\nIf-Unmodified-Since: " OLD "\r\n", 200},
    {"PUT", "v1", NULL, "If-Unmodified-Since: " OLD "\r\n", 200},
    {"GET", "v1", OLD, "If-Modified-Since: " OLD "\r\n", 304},
    {"GET", "v1", NEW, "If-Modified-Since: " OLD "\r\n", 200},
    {"GET", "v1", OLD, "If-None-Match: \"v2\"\r\nIf-Modified-Since: " OLD "\r\n", 200},
    {"PUT", "v1", OLD, "If-Modified-Since: " OLD "\r\n", 200},
    {"GET", "v1", OLD, "If-Modified-Since: yesterday\r\n", 200},
};

START_TEST(preconditions_are_judged)
{
    web_exchange *x;

    etag = rows[_i].etag;
    modified = rows[_i].modified;
    x = web_request(rows[_i].method, "/", rows[_i].lines);
    ck_assert_int_eq(x->status, rows[_i].status);
    ck_assert_int_eq(over, rows[_i].status != 200);
    ck_assert_int_eq(x->finishes, 1);
    if (x->status == 304)
        ck_assert(x->body_len == 0 && strstr(x->headers, "Etag: ") != NULL);
    web_done(x);
}
END_TEST

START_TEST(a_class_may_make_its_own)
{
    web_exchange *x = web_get("/own");

    ck_assert(strstr(x->headers, "Etag: \"of-3\"\n"));
    web_done(x);
    x = web_request("GET", "/own", "If-None-Match: \"of-3\"\r\n");
    ck_assert_int_eq(x->status, 304);
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, web_teardown);
    ADD_TABLE(tcase, an_etag_is_quoted_or_refused, forms);
    tcase_add_test(tcase, null_means_none);
    ADD_TABLE(tcase, preconditions_are_judged, rows);
    tcase_add_test(tcase, a_class_may_make_its_own);
}

int
main(void)
{
    return unit_run("etag", fill);
}
