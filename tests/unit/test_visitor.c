/*
 * Goal: cookies are read over several lines, sent once each at the head of the response, error
 * pages included, and refused when it is too late.
 */
#include "web/visitor.h"
#include "acting.h"

#define DEFAULT_LINES "Server: x\nContent-Type: text/html; charset=UTF-8\n"

static int rc[8];

/* ---- reading */

static void
write_cookie(td_handler *h)
{
    const td_str value = td_get_cookie(h, "a");

    td_writef(h, "[%s]", td_str_is_null(value) ? "none" : value.ptr);
}

static const struct {
    const char *lines, *body;
} requests[] = {
    {"", "[none]"},
    {"Cookie: a=1\r\n", "[1]"},
    {"Cookie: a=\"x\\054y\"\r\n", "[x,y]"},
    {"Cookie: a=1\r\ncookie: b=2\r\n", "[1]"},
    {"Cookie: b=1\r\nCookie: a=2\r\n", "[2]"},
    {"Cookie: a=1\r\nCookie: a=2\r\n", "[2]"},
    {"Cookie:\r\n", "[none]"},
};

START_TEST(cookies_of_all_lines_are_read)
{
    web_exchange *x = request("GET", requests[_i].lines, write_cookie);

    ck_assert_str_eq(x->body, requests[_i].body);
    web_done(x);
}
END_TEST

/* The headers of x without the dates of cookies, which all are long ago. */
static const char *
undated(web_exchange *x)
{
    static const char expires[] = "expires=";

    for (char *at = x->headers; (at = strstr(at, expires)) != NULL;) {
        char *const end = at + sizeof(expires) - 1 + TD_HTTP_DATE_LEN + sizeof("; ") - 1;
        time_t time;

        ck_assert_int_eq(td_http_date_parse(td_str_make(end - TD_HTTP_DATE_LEN - 2,
                                                        TD_HTTP_DATE_LEN), &time), 0);
        ck_assert_int_lt(time, td_clock_cached_wall - 300 * 86400);
        memmove(at, end, strlen(end) + 1);
    }
    return x->headers;
}

#define GONE(name, attributes) "Set-Cookie: " name "=\"\"; " attributes "\n"

static void
clear_all(td_handler *h)
{
    td_set_cookie(h, "a", "1", NULL); /* of the client, too: replaced */
    rc[0] = td_clear_all_cookies(h, NULL);
}

static void
clear_all_of_a_path(td_handler *h)
{
    rc[0] = td_clear_all_cookies(h, &TD_COOKIE(.path = "/p", .domain = "d.org"));
}

static const struct {
    const char *lines;
    td_method_fn *fn;
    const char *cleared;
} all[] = {
    {"Cookie: a=1; b=2\r\nCookie: c=3\r\n", clear_all,
     GONE("a", "Path=/") GONE("b", "Path=/") GONE("c", "Path=/")},
    {"Cookie: a=1; a=2; b=3; a=4\r\n", clear_all, GONE("a", "Path=/") GONE("b", "Path=/")},
    {"Cookie: a b=1; =2; 3; ;; a=\r\n", clear_all, GONE("a", "Path=/")},
    {"Cookie: a=1; b=2\r\n", clear_all_of_a_path,
     GONE("a", "Domain=d.org; Path=/p") GONE("b", "Domain=d.org; Path=/p")},
    {"", clear_all_of_a_path, ""},
    {"Cookie: __Host-a=1; __secure-b=2\r\n", clear_all_of_a_path,
     GONE("__Host-a", "Path=/; Secure") GONE("__secure-b", "Domain=d.org; Path=/p; Secure")},
};

START_TEST(all_cookies_that_the_client_has_sent_are_cleared)
{
    web_exchange *x = request("POST", all[_i].lines, all[_i].fn);

    ck_assert_int_eq(rc[0], 0);
    ck_assert_str_eq(undated(x) + strlen(DEFAULT_LINES), all[_i].cleared);
    web_done(x);
}
END_TEST

static void
clear_all_wrongly(td_handler *h)
{
    rc[0] = td_clear_all_cookies(h, &TD_COOKIE(.path = ";"));
    rc[1] = td_clear_all_cookies(h, &(td_cookie_options){.size = 3});
    td_flush(h);
    rc[2] = td_clear_all_cookies(h, NULL);
}

START_TEST(what_cannot_clear_them_is_refused)
{
    web_exchange *x = request("POST", "Cookie: a=1\r\n", clear_all_wrongly);

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(rc[i], TD_EINVAL);
    ck_assert_ptr_null(strstr(x->headers, "Set-Cookie"));
    web_done(x);
}
END_TEST

static void
clear_many(td_handler *h)
{
    const int64_t started = td_clock_ns();

    ck_assert_int_eq(td_clear_all_cookies(h, NULL), 0);
    ck_assert_int_lt(td_clock_ns() - started, TD_NS_PER_S);
    for (const struct td_new_cookie *c = td_visitor_of(h)->cookies; c != NULL; c = c->next)
        rc[0]++;
    td_visitor_of(h)->cookies = NULL; /* more than the fixture has room for */
}

START_TEST(of_many_names_each_is_cleared_once)
{
    static char line[16384];
    size_t len = 0;
    web_exchange *x = web_route_to("POST", "/", "");

    for (int i = 0; len < sizeof(line) - 16; i++)
        len += (size_t)snprintf(line + len, sizeof(line) - len, "%x=;", i % 2500);
    td_headers_add(&x->request->head.headers, &x->request->arena, TD_STR("Cookie"),
                   td_str_make(line, len));
    act = clear_many;
    web_execute(x);
    ck_assert_int_eq(rc[0], 2500);
    web_done(x);
}
END_TEST

static const struct {
    size_t first, second; /* bytes of two Cookie lines */
    int status;
} sizes[] = {{4096, 0, 200}, {16384 - 100, 100, 200}, {16384, 0, 200}, {16385, 0, 431},
             {10000, 10000, 431}};

START_TEST(more_than_max_cookie_size_is_431)
{
    static char head[65536];
    web_exchange *x = web_route_to("GET", "/", "");
    td_headers *headers = &x->request->head.headers;

    memset(head, 'x', sizeof(head));
    td_headers_add(headers, &x->request->arena, TD_STR("Cookie"),
                   td_str_make(head, sizes[_i].first));
    td_headers_add(headers, &x->request->arena, TD_STR("Cookie"),
                   td_str_make(head, sizes[_i].second));
    act = write_cookie;
    web_execute(x);
    ck_assert_int_eq(x->status, sizes[_i].status);
    ck_assert(!strstr(web_log(), "max_cookie_size") == (sizes[_i].status == 200));
    web_done(x);
}
END_TEST

/* ---- setting */

static void
set_cookies(td_handler *h)
{
    char name[] = "a", value[] = "1", path[] = "/x";

    rc[0] = td_set_cookie(h, name, value, &TD_COOKIE(.path = path));
    name[0] = value[0] = path[1] = '-'; /* all were copied */
    rc[1] = td_set_cookie(h, "b", "2", NULL);
    rc[2] = td_set_cookie(h, "c", "3", NULL);
    rc[3] = td_set_cookie(h, "b", "4", &TD_COOKIE(.httponly = true)); /* replaces, options too */
    ck_assert(td_str_is_null(td_get_cookie(h, "b")));
}

START_TEST(a_later_cookie_replaces_one_of_the_same_name)
{
    web_exchange *x = request("POST", "", set_cookies);

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(rc[i], 0);
    ck_assert_str_eq(x->headers, DEFAULT_LINES "Set-Cookie: a=1; Path=/x\n"
                                               "Set-Cookie: c=3; Path=/\n"
                                               "Set-Cookie: b=4; HttpOnly; Path=/\n");
    web_done(x);
}
END_TEST

static void
clear_cookie(td_handler *h)
{
    td_set_cookie(h, "a", "1", NULL);
    td_clear_cookie(h, "a", &TD_COOKIE(.path = "/p", .max_age = 5, .secure = true));
}

START_TEST(a_cleared_cookie_is_empty_and_long_gone)
{
    char date[TD_HTTP_DATE_LEN + 1], expected[256];
    web_exchange *x = request("POST", "", clear_cookie);

    td_http_date_format(td_clock_cached_wall - 365 * 86400, date);
    snprintf(expected, sizeof(expected),
             DEFAULT_LINES "Set-Cookie: a=\"\"; expires=%s; Path=/p; Secure\n", date);
    ck_assert_str_eq(x->headers, expected);
    web_done(x);
}
END_TEST

static void
set_and_raise(td_handler *h)
{
    td_set_cookie(h, "a", "1", NULL);
    td_set_header(h, "X-Never", "sent");
    td_raise(h, 403, "no");
}

static void
set_and_clear(td_handler *h)
{
    td_set_cookie(h, "a", "1", NULL);
    td_set_header(h, "X-Never", "sent");
    td_clear(h);
}

START_TEST(cookies_are_kept_where_headers_are_forgotten)
{
    static td_method_fn *const methods[] = {set_and_raise, set_and_clear};
    web_exchange *x = request("POST", "", methods[_i]);

    ck_assert_int_eq(x->status, _i == 0 ? 403 : 200);
    ck_assert_str_eq(x->headers, DEFAULT_LINES "Set-Cookie: a=1; Path=/\n");
    web_done(x);
}
END_TEST

static void
set_and_redirect(td_handler *h)
{
    td_set_cookie(h, "a", "1", NULL);
    td_redirect(h, "/", false);
}

START_TEST(a_redirect_has_them)
{
    web_exchange *x = request("GET", "", set_and_redirect);

    ck_assert_ptr_nonnull(strstr(x->headers, "Set-Cookie: a=1; Path=/\n"));
    web_done(x);
}
END_TEST

static void
set_wrongly(td_handler *h)
{
    td_cookie_options untold = {.path = "/"};

    rc[0] = td_set_cookie(h, "a b", "1", NULL);
    rc[1] = td_set_cookie(h, "a", "1\r\nX: y", NULL);
    rc[2] = td_set_cookie(h, NULL, "1", NULL);
    rc[3] = td_set_cookie(h, "a", NULL, NULL);
    rc[4] = td_set_cookie(h, "a", "1", &untold);
    rc[5] = td_clear_cookie(h, "a", &TD_COOKIE(.path = ";"));
    ck_assert(td_str_is_null(td_get_cookie(h, NULL)));
    td_flush(h);
    rc[6] = td_set_cookie(h, "a", "1", NULL);
    rc[7] = td_clear_cookie(h, "a", NULL);
}

START_TEST(what_is_wrong_or_too_late_is_refused)
{
    web_exchange *x = request("POST", "", set_wrongly);
    const char *log = web_log();

    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(rc[i], TD_EINVAL);
    ck_assert_str_eq(x->headers, DEFAULT_LINES);
    ck_assert(strstr(log, "Act: td_set_cookie: the name is no token"));
    ck_assert(strstr(log, "Act: td_set_cookie: a control byte or a blank is in the value"));
    ck_assert(strstr(log, "Act: td_set_cookie: options are written as &TD_COOKIE(...)"));
    ck_assert(strstr(log, "Act: td_set_cookie: the headers have been sent"));
    ck_assert(strstr(log, "Act: td_clear_cookie: the headers have been sent"));
    web_done(x);
}
END_TEST

static void
set_by_an_older_caller(td_handler *h)
{
    td_cookie_options options = TD_COOKIE(.path = "/x", .secure = true);

    options.size = offsetof(td_cookie_options, secure); /* as if it had no such field */
    td_set_cookie(h, "a", "1", &options);
}

START_TEST(options_count_as_far_as_the_caller_knew_them)
{
    web_exchange *x = request("POST", "", set_by_an_older_caller);

    ck_assert_str_eq(x->headers, DEFAULT_LINES "Set-Cookie: a=1; Path=/x\n");
    web_done(x);
}
END_TEST

/* ---- signing */

static void
give_secret(void)
{
    static const td_secret secret = {0, {"It's a secret to everybody", 26}};

    web_app_settings.cookie_secrets = (td_secrets){&secret, 1, false};
}

static void
sign_and_read(td_handler *h)
{
    const td_str text = td_create_signed_value(h, "key", TD_STR("a\0b"));

    ck_assert(td_str_equal(td_decode_signed_value(h, "key", text, 0), TD_STR("a\0b")));
    ck_assert(td_str_equal(td_decode_signed_value(h, "key", text, 1), TD_STR("a\0b")));
    ck_assert(td_str_is_null(td_decode_signed_value(h, "kez", text, 0)));
    ck_assert(td_str_is_null(td_decode_signed_value(h, "key", text, -1)));
    ck_assert(td_str_is_null(td_decode_signed_value(h, "key", TD_STR(""), 0)));
    ck_assert(td_str_is_null(td_get_signed_cookie(h, "key", 0)));
    ck_assert(td_str_is_null(td_get_signed_cookie(h, NULL, 0)));
    ck_assert(td_str_is_null(td_create_signed_value(h, NULL, text)));
    ck_assert_int_eq(td_set_signed_cookie(h, NULL, text, NULL), TD_EINVAL);
    ck_assert_int_eq(td_set_signed_cookie(h, "a b", text, NULL), TD_EINVAL);
    td_write_text(h, "done");
}

START_TEST(what_is_signed_is_read_under_its_name_and_in_its_time)
{
    give_secret();
    web_exchange *x = request("GET", "", sign_and_read);

    ck_assert_str_eq(x->body, "done");
    ck_assert(strstr(web_log(), "Act: td_get_signed_cookie: there is no name"));
    web_done(x);
}
END_TEST

static void
set_signed(td_handler *h)
{
    td_set_signed_cookie(h, "a", TD_STR("1"), NULL);
    td_set_signed_cookie(h, "b", TD_STR("1"), &TD_COOKIE(.expires = TD_COOKIE_SESSION));
    td_set_signed_cookie(h, "c", TD_STR("1"), &TD_COOKIE(.expires = 784111777, .secure = true));
}

START_TEST(a_signed_cookie_lasts_30_days_unless_told_otherwise)
{
    char date[TD_HTTP_DATE_LEN + 1];

    give_secret();
    web_exchange *x = request("GET", "", set_signed);
    const char *a = strstr(x->headers, "Set-Cookie: a="), *b = strstr(a, "Set-Cookie: b="),
               *c = strstr(b, "Set-Cookie: c=");

    td_http_date_format(td_clock_cached_wall + 30 * 86400, date);
    ck_assert(strstr(a, date) != NULL && strstr(a, date) < b);
    ck_assert(strstr(b, "expires") > c);
    ck_assert(strstr(c, "expires=Sun, 06 Nov 1994 08:49:37 GMT; Path=/; Secure\n"));
    web_done(x);
}
END_TEST

static void
get_signed(td_handler *h)
{
    td_get_signed_cookie(h, "a", 0);
}

START_TEST(without_a_secret_it_is_500)
{
    static td_method_fn *const methods[] = {set_signed, get_signed};
    web_exchange *x = request("GET", "", methods[_i]);

    ck_assert_int_eq(x->status, 500);
    ck_assert(strstr(web_log(), "there is no cookie_secret_file in [application:default]"));
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, acting_setup, web_teardown);
    ADD_TABLE(tcase, cookies_of_all_lines_are_read, requests);
    ADD_TABLE(tcase, more_than_max_cookie_size_is_431, sizes);
    ADD_TABLE(tcase, all_cookies_that_the_client_has_sent_are_cleared, all);
    tcase_add_test(tcase, what_cannot_clear_them_is_refused);
    tcase_add_test(tcase, of_many_names_each_is_cleared_once);
    tcase_add_test(tcase, a_later_cookie_replaces_one_of_the_same_name);
    tcase_add_test(tcase, a_cleared_cookie_is_empty_and_long_gone);
    tcase_add_loop_test(tcase, cookies_are_kept_where_headers_are_forgotten, 0, 2);
    tcase_add_test(tcase, a_redirect_has_them);
    tcase_add_test(tcase, what_is_wrong_or_too_late_is_refused);
    tcase_add_test(tcase, options_count_as_far_as_the_caller_knew_them);
    tcase_add_test(tcase, what_is_signed_is_read_under_its_name_and_in_its_time);
    tcase_add_test(tcase, a_signed_cookie_lasts_30_days_unless_told_otherwise);
    tcase_add_loop_test(tcase, without_a_secret_it_is_500, 0, 2);
}

int
main(void)
{
    return unit_run("visitor", fill);
}
