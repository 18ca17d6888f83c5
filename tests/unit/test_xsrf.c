/*
 * Goal: XSRF tokens are read and written as Tornado does, and a request that changes something is
 * let through only with the token of its cookie.
 */
#include <tornado/auth.h>
#include "web/visitor.h"
#include "web_fixture.h"

/* ---- tokens as text */

static const struct {
    const char *text, *token; /* token NULL: it is none */
    int64_t time;             /* 0: now */
} tokens[] = {
    {"2|00000000|6162|1300000000", "ab", 1300000000},
    {"2|01020304|6060606064|5", "abcde", 5},
    {"2|0A0b0C0d|6b696F69|5", "abcd", 5},
    {"6162", "ab", 0},
    {"616", "616", 0},
    {"not hex", "not hex", 0},
    {"0|6162", "0|6162", 0},
    {"02|x", "02|x", 0},
    {"x2|", "x2|", 0},
    {"", NULL, 0},
    {"1|6162", NULL, 0},
    {"3|00000000|6162|1", NULL, 0},
    {"22|00000000|6162|1", NULL, 0},
    {"2|", NULL, 0},
    {"2|||", NULL, 0},
    {"2|00000000|6162", NULL, 0},
    {"2|00000000||1", NULL, 0},
    {"2|000000|6162|1", NULL, 0},
    {"2|0000000000|6162|1", NULL, 0},
    {"2|0000000x|6162|1", NULL, 0},
    {"2|00000000|616|1", NULL, 0},
    {"2|00000000|616x|1", NULL, 0},
    {"2|00000000|6162|", NULL, 0},
    {"2|00000000|6162|-1", NULL, 0},
    {"2|00000000|6162|1|", NULL, 0},
    {"2|00000000|6162|1234567890123456789", NULL, 0},
};

START_TEST(a_text_is_a_token_or_none)
{
    td_str token;
    int64_t time;
    const bool good = td_xsrf_decode(&web_arena, td_str_of(tokens[_i].text), &token, &time);

    ck_assert_int_eq(good, tokens[_i].token != NULL);
    if (!good)
        return;
    ck_assert(td_str_equal(token, td_str_of(tokens[_i].token)));
    ck_assert_int_eq(time, tokens[_i].time != 0 ? tokens[_i].time : td_clock_cached_wall);
}
END_TEST

START_TEST(a_token_is_masked_and_comes_back)
{
    const td_str text =
        td_xsrf_encode(&web_arena, TD_STR("abcdef"), TD_STR("\x01\x02\xfe\xff"), 1300000000);
    td_str token;
    int64_t time;

    ck_assert_str_eq(text.ptr, "2|0102feff|60609d9b6464|1300000000");
    ck_assert(td_xsrf_decode(&web_arena, text, &token, &time));
    ck_assert(td_str_equal(token, TD_STR("abcdef")));
    ck_assert_int_eq(time, 1300000000);
}
END_TEST

/* ---- requests */

static char *user; /* what get_current_user says */

static void *
get_user(td_handler *h)
{
    (void)h;
    return user;
}

static void
write_token(td_handler *h)
{
    const td_str token = td_xsrf_token(h);

    ck_assert(td_str_equal(td_xsrf_token(h), token));
    td_write(h, token);
}

static void
write_late_token(td_handler *h)
{
    td_flush(h);
    td_xsrf_token(h);
}

static bool prepared;

static void
note_prepare(td_handler *h)
{
    (void)h;
    prepared = true;
}

static void
done(td_handler *h)
{
    td_write_text(h, "done");
}

static const td_handler_class Plain = {.get = write_token, .post = done, .prepare = note_prepare,
                                       .get_current_user = get_user, .name = "Plain"};
static const td_handler_class Late = {.get = write_late_token, .name = "Late"};
static const td_handler_class Checked = {.post = done, .flags = TD_CHECK_XSRF};
static const td_handler_class Skipped = {.post = done, .flags = TD_SKIP_XSRF};
static const td_handler_class Streamed = {.post = done, .prepare = note_prepare,
                                          .flags = TD_STREAM_BODY};
static const td_url urls[] = {TD_URL("/", &Plain), TD_URL("/late", &Late),
                              TD_URL("/checked", &Checked), TD_URL("/skipped", &Skipped),
                              TD_URL("/streamed", &Streamed),
                              {.pattern = NULL}};

static void
serve(bool xsrf_cookies)
{
    web_app_settings.xsrf_cookies = xsrf_cookies;
    web_serve(urls);
    user = NULL;
    prepared = false;
}

START_TEST(the_first_token_of_a_client_is_its_cookie)
{
    char date[TD_HTTP_DATE_LEN + 1];

    serve(true);
    user = _i == 0 ? NULL : (char *)(uintptr_t)"jack";
    web_exchange *x = web_get("/");
    const char *cookie = strstr(x->headers, "Set-Cookie: ");

    td_http_date_format(td_clock_cached_wall + 30 * 86400, date);
    ck_assert_ptr_nonnull(cookie); /* the last line */
    ck_assert_str_eq(cookie, td_arena_sprintf(&web_arena, "Set-Cookie: _xsrf=%s%s%s; Path=/\n",
                                              x->body, _i == 0 ? "" : "; expires=",
                                              _i == 0 ? "" : date)
                                 .ptr);
    web_done(x);
}
END_TEST

START_TEST(a_prefix_of_its_name_makes_it_secure)
{
    web_app_settings.xsrf_cookie_name = "__Host-x";
    serve(true);
    web_exchange *x = web_get("/");

    ck_assert(strstr(x->headers, "Set-Cookie: __Host-x=2|") && strstr(x->headers, "; Secure\n"));
    web_done(x);
}
END_TEST

static const struct {
    int samesite;
    bool httponly;
    const char *domain;
    const char *attributes; /* behind the value */
} attributes[] = {
    {0, false, NULL, "; Path=/\n"},
    {0, true, NULL, "; HttpOnly; Path=/\n"},
    {1, false, NULL, "; Path=/; SameSite=Lax\n"},
    {2, true, NULL, "; HttpOnly; Path=/; SameSite=Strict\n"},
    {3, false, NULL, "; Path=/; SameSite=None; Secure\n"},
    {0, false, "example.org", "; Domain=example.org; Path=/\n"},
};

START_TEST(settings_say_what_its_cookie_is_like)
{
    web_app_settings.xsrf_cookie_samesite = attributes[_i].samesite;
    web_app_settings.xsrf_cookie_httponly = attributes[_i].httponly;
    web_app_settings.xsrf_cookie_domain = attributes[_i].domain;
    serve(true);
    web_exchange *x = web_get("/");
    const char *cookie = strstr(x->headers, "Set-Cookie: _xsrf=2|");

    ck_assert_ptr_nonnull(cookie); /* the last line */
    ck_assert_str_eq(strchr(cookie, ';'), attributes[_i].attributes);
    web_done(x);
}
END_TEST

START_TEST(a_client_that_has_one_keeps_it)
{
    serve(true);
    web_exchange *x =
        web_request("GET", "/", "Cookie: _xsrf=2|00000000|6162|1300000000\r\n");
    td_str token;
    int64_t time;

    ck_assert_ptr_null(strstr(x->headers, "Set-Cookie"));
    ck_assert(td_xsrf_decode(&web_arena, td_str_make(x->body, x->body_len), &token, &time));
    ck_assert(td_str_equal(token, TD_STR("ab")));
    ck_assert_int_eq(time, 1300000000);
    web_done(x);
}
END_TEST

START_TEST(a_token_that_comes_too_late_is_told)
{
    serve(true);
    web_exchange *x = web_get("/late");

    ck_assert(strstr(web_log(), "Late: td_set_cookie: the headers have been sent"));
    web_done(x);
}
END_TEST

#define COOKIE "Cookie: _xsrf=2|00000000|6162|1\r\n"

static const struct {
    const char *target, *lines;
    const char *error; /* NULL: let through */
} posts[] = {
    {"/", "", "'_xsrf' argument missing from POST"},
    {"/", COOKIE, "'_xsrf' argument missing from POST"},
    {"/?_xsrf=", COOKIE "X-Xsrftoken: \r\n", "'_xsrf' argument missing from POST"},
    {"/?_xsrf=6162", "", "XSRF cookie does not match POST argument"},
    {"/?_xsrf=6162", COOKIE, NULL},
    {"/?_xsrf=2|ffffffff|9e9d|7", COOKIE, NULL},
    {"/?_xsrf=", COOKIE "X-Xsrftoken: 6162\r\n", NULL},
    {"/", COOKIE "X-Xsrftoken: 6162\r\n", NULL},
    {"/", COOKIE "X-Csrftoken: 6162\r\n", NULL},
    {"/?_xsrf=6163", COOKIE "X-Xsrftoken: 6162\r\n", "XSRF cookie does not match POST argument"},
    {"/", COOKIE "X-Xsrftoken: 616263\r\n", "XSRF cookie does not match POST argument"},
    {"/", COOKIE "X-Xsrftoken: 61\r\n", "XSRF cookie does not match POST argument"},
    {"/", COOKIE "X-Xsrftoken: 2|x\r\n", "'_xsrf' argument has invalid format"},
    {"/?_xsrf=2|00000000||1", "Cookie: _xsrf=2|00000000||1\r\n",
     "'_xsrf' argument has invalid format"},
    {"/skipped", "", NULL},
    {"/checked", "", "'_xsrf' argument missing from POST"},
};

START_TEST(a_post_wants_the_token_of_its_cookie)
{
    serve(true);
    web_exchange *x = web_request("POST", posts[_i].target, posts[_i].lines);

    ck_assert_int_eq(x->status, posts[_i].error == NULL ? 200 : 403);
    if (posts[_i].error != NULL) {
        ck_assert_ptr_nonnull(strstr(web_log(), posts[_i].error));
        ck_assert(!prepared);
    }
    web_done(x);
}
END_TEST

static const struct {
    const char *target, *lines;
    int status;
} streams[] = {
    {"/streamed", COOKIE, 403},
    {"/streamed", COOKIE "Content-Type: application/x-www-form-urlencoded\r\n", 403},
    {"/streamed", COOKIE "X-Xsrftoken: 6162\r\n", 200},
    {"/streamed?_xsrf=6162", COOKIE, 200},
};

START_TEST(of_a_streamed_body_the_head_has_to_have_it)
{
    serve(true);

    const char *lines =
        td_arena_sprintf(&web_arena, "%sContent-Length: 10\r\n", streams[_i].lines).ptr;
    web_exchange *x = web_route_to("POST", streams[_i].target, lines);

    td_application_delegate.headers_received(web_app, x->request);
    ck_assert_int_eq(prepared, streams[_i].status == 200);
    ck_assert_int_eq(x->status, streams[_i].status);
    web_done(x);
}
END_TEST

START_TEST(without_the_setting_only_a_class_that_says_so_checks)
{
    serve(false);
    web_exchange *x = web_request("POST", "/", "");
    web_exchange *y = web_request("POST", "/checked", "");

    ck_assert_int_eq(x->status, 200);
    ck_assert_int_eq(y->status, 403);
    web_done(x);
    web_done(y);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, web_setup, web_teardown);
    ADD_TABLE(tcase, a_text_is_a_token_or_none, tokens);
    tcase_add_test(tcase, a_token_is_masked_and_comes_back);
    tcase_add_loop_test(tcase, the_first_token_of_a_client_is_its_cookie, 0, 2);
    tcase_add_test(tcase, a_prefix_of_its_name_makes_it_secure);
    ADD_TABLE(tcase, settings_say_what_its_cookie_is_like, attributes);
    tcase_add_test(tcase, a_client_that_has_one_keeps_it);
    tcase_add_test(tcase, a_token_that_comes_too_late_is_told);
    ADD_TABLE(tcase, of_a_streamed_body_the_head_has_to_have_it, streams);
    ADD_TABLE(tcase, a_post_wants_the_token_of_its_cookie, posts);
    tcase_add_test(tcase, without_the_setting_only_a_class_that_says_so_checks);
}

int
main(void)
{
    return unit_run("xsrf", fill);
}
