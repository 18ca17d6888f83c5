/*
 * Goal: redirects go where they are to go and never to a host that a client has named; slashes are
 * added and removed as Tornado does; an error route is that error for every method; options that
 * make no sense are told at load.
 */
#include "web_fixture.h"
#include "web/handler.h"

static void
say(td_handler *h)
{
    td_writef(h, "%.*s", TD_STR_FMT(td_request_method(h)));
}

#define REDIRECT(pattern_, ...)                                                                    \
    TD_URL(pattern_, &td_redirect_class, .initialize_arg = TD_REDIRECT(__VA_ARGS__))
#define REDIRECT_ALL(pattern_, ...)                                                                \
    TD_URL(pattern_, &td_redirect_all_class, .initialize_arg = TD_REDIRECT(__VA_ARGS__))
#define REFUSE(pattern_, status_)                                                                  \
    TD_URL(pattern_, &td_error_class, .initialize_arg = TD_ERROR(.status = status_))

static const td_handler_class Remove = {
    .get = say, .post = say, .put = say, .delete_ = say, .patch = say, .flags = TD_REMOVE_SLASH};
static const td_handler_class Add = {.get = say, .post = say, .flags = TD_ADD_SLASH};

static const td_url table[] = {
    REDIRECT("/old", .url = "/new"),
    REDIRECT("/temporary", .url = "/new", .status = 302),
    REDIRECT("/swap/(.*?)/(.*?)/(.*)", .url = "/{1}/{0}/{2}"),
    REDIRECT("/named/(?<a>[^/]*)(?<b>x)?", .url = "/{a}-{b}?a={a}#{a}"),
    REDIRECT("/numbered/(?<a>[^/]*)", .url = "/{0}"),
    REDIRECT("/braces/(x)", .url = "/{{{0}}}"),
    REDIRECT("/rest(/.*)", .url = "https://example.org{0}"),
    REDIRECT("/rest2/(.*)", .url = "https://example.org{0}"),
    REDIRECT("/root/(.*)", .url = "/{0}"),
    REDIRECT("/whole/(.*)", .url = "{0}"),
    REDIRECT("/host/(.*)", .url = "//{0}/x"),
    REDIRECT("/relative/(.*)", .url = "../{0}"),
    REDIRECT("/question", .url = "/new?"),
    REDIRECT("/both", .url = "/new?a=b#c"),
    REDIRECT_ALL("/all/(.*)", .url = "/new/{0}"),
    REDIRECT_ALL("/all307", .url = "/new", .status = 307),
    REDIRECT_ALL("/see", .url = "/new", .status = 303),
    REFUSE("/gone/(.*)", 410),
    REFUSE("/busy", 503),
    TD_URL("/remove/*", &Remove),
    TD_URL("/add/?", &Add),
    TD_URL("/*", &Remove),
    TD_URL("//evil.example/?", &Add),
    TD_URL("/+evil.example/*", &Remove),
    TD_URL("/\\\\evil/*", &Remove),
    {.pattern = NULL},
};

#define GONE "<html><title>410: Gone</title><body>410: Gone</body></html>"

static const struct {
    const char *method, *target;
    int status;
    const char *location; /* or the body where nothing is redirected */
} answers[] = {
    {"GET", "/old", 301, "/new"},
    {"HEAD", "/old", 301, "/new"},
    {"GET", "/old?", 301, "/new"},
    {"GET", "/old?a=b&a=c+%zz", 301, "/new?a=b&a=c+%zz"},
    {"POST", "/old", 405, NULL},
    {"GET", "/temporary", 302, "/new"},
    {"GET", "/swap/a/b/c", 301, "/b/a/c"},
    {"GET", "/swap/a%20b/%C3%A9/c/d%3Fe", 301, "/%C3%A9/a%20b/c/d%3Fe"},
    {"GET", "/swap/a%0d%0ab/c/", 301, "/c/a%0D%0Ab/"},
    {"GET", "/swap/a%ff/b/", 400, NULL},
    {"GET", "/named/x%25y", 301, "/x%25y-?a=x%25y#x%25y"},
    {"GET", "/named/q?z", 301, "/q-?a=q&z#q"},
    {"GET", "/numbered/5", 301, "/5"},
    {"GET", "/braces/x", 301, "/{x}"},
    {"GET", "/rest/a", 301, "https://example.org/a"},
    {"GET", "/rest//a", 301, "https://example.org//a"},
    {"GET", "/rest2/.evil.example", 404, NULL},
    {"GET", "/rest2/%40evil.example", 404, NULL},
    {"GET", "/rest2/%3a99", 404, NULL},
    {"GET", "/rest2/", 301, "https://example.org"},
    {"GET", "/rest2//a", 301, "https://example.org/a"},
    {"GET", "/root/a", 301, "/a"},
    {"GET", "/root//evil.example", 404, NULL},
    {"GET", "/root/%2fevil.example", 404, NULL},
    {"GET", "/root/%5cevil.example", 301, "/%5Cevil.example"},
    {"GET", "/whole/a", 301, "a"},
    {"GET", "/whole//a", 301, "/a"},
    {"GET", "/whole///evil.example", 404, NULL},
    {"GET", "/whole/https://evil.example", 301, "https%3A//evil.example"},
    {"GET", "/whole/javascript:alert(1)", 301, "javascript%3Aalert%281%29"},
    {"GET", "/host/evil.example", 404, NULL},
    {"GET", "/relative/a", 301, "../a"},
    {"GET", "/question?a", 301, "/new?a"},
    {"GET", "/both?d", 301, "/new?a=b&d#c"},
    {"GET", "/all/x", 308, "/new/x"},
    {"POST", "/all/x?y", 308, "/new/x?y"},
    {"DELETE", "/all/x", 308, "/new/x"},
    {"OPTIONS", "/all/x", 204, NULL},
    {"PATCH", "/all307", 307, "/new"},
    {"POST", "/see", 303, "/new"},
    {"GET", "/gone/x", 410, NULL},
    {"POST", "/gone/x", 410, NULL},
    {"PATCH", "/gone/x", 410, NULL},
    {"OPTIONS", "/gone/x", 410, NULL},
    {"GET", "/gone/%ff", 410, NULL},
    {"GET", "/busy", 503, NULL},
    {"GET", "/remove", 200, NULL},
    {"GET", "/remove/", 301, "/remove"},
    {"HEAD", "/remove/", 301, "/remove"},
    {"GET", "/remove///?a=b/", 301, "/remove?a=b/"},
    {"POST", "/remove/", 404, NULL},
    {"POST", "/remove", 200, NULL},
    {"DELETE", "/remove", 200, NULL},
    {"OPTIONS", "/remove/", 204, NULL},
    {"DELETE", "/add/", 405, NULL},
    {"GET", "/add/", 200, NULL},
    {"HEAD", "/add/", 200, NULL},
    {"GET", "/add", 301, "/add/"},
    {"GET", "/add?/", 301, "/add/?/"},
    {"POST", "/add", 404, NULL},
    {"POST", "/add/", 200, NULL},
    {"GET", "/", 200, NULL},
    {"POST", "/", 200, NULL},
    {"GET", "///", 200, NULL},
    {"GET", "//evil.example", 404, NULL},
    {"GET", "//evil.example/", 200, NULL},
    {"GET", "///evil.example/", 404, NULL},
    {"GET", "///evil.example", 200, NULL},
    {"GET", "/\\evil/", 404, NULL},
    {"GET", "http://example.org//evil.example", 404, NULL},
    {"GET", "http://example.org/add?a", 301, "/add/?a"},
};

START_TEST(each_path_leads_where_it_should)
{
    char line[256] = "Location: ";
    web_exchange *x;

    web_serve(table);
    x = web_request(answers[_i].method, answers[_i].target, "");
    ck_assert_int_eq(x->status, answers[_i].status);
    ck_assert_int_eq(x->finishes, 1);
    ck_assert_int_eq(strstr(x->headers, line) != NULL, answers[_i].location != NULL);
    if (answers[_i].location != NULL) {
        snprintf(line, sizeof(line), "Location: %s\n", answers[_i].location);
        ck_assert_msg(strstr(x->headers, line) != NULL, "%s", x->headers);
        ck_assert_uint_eq(x->body_len, 0);
    }
    if (x->status == 410)
        ck_assert_str_eq(x->body, GONE);
    if (x->status == 200 && strcmp(answers[_i].method, "HEAD") != 0)
        ck_assert_str_eq(x->body, answers[_i].method);
    web_done(x);
}
END_TEST

START_TEST(one_that_would_leave_is_logged)
{
    web_serve(table);
    web_done(web_get("/rest2/.evil.example"));
    ck_assert(strstr(web_log(), "RedirectHandler: 404 GET /rest2/.evil.example (0.0.0.0): a redirect to "
                                "'https://example.org.evil.example' would leave https://example.org{0}"));
}
END_TEST

START_TEST(an_error_route_wants_no_body_and_no_token)
{
    web_exchange *x;

    web_app_settings.xsrf_cookies = true;
    web_serve(table);
    x = web_route_to("POST", "/gone/x", "Content-Length: 100000\r\n");
    td_application_delegate.headers_received(web_app, x->request);
    ck_assert_int_eq(x->status, 410);
    ck_assert_int_eq(x->finishes, 1);
    web_done(x);
    x = web_request("POST", "/all/x", "");
    ck_assert_int_eq(x->status, 308);
    web_done(x);
    x = web_request("POST", "/remove", "");
    ck_assert_int_eq(x->status, 403);
    web_done(x);
}
END_TEST

static const td_error_options small_error = {.size = 4, .status = 410};

static const struct {
    td_url url;
    const char *error;
} wrong[] = {
    {TD_URL("/a", &td_redirect_class), "is no TD_REDIRECT"},
    {REDIRECT("/a", .status = 301), "is no TD_REDIRECT"},
    {REDIRECT("/a", .url = ""), "is no TD_REDIRECT"},
    {REDIRECT("/a", .url = "/x\r\nSet-Cookie: a=b"), "is no TD_REDIRECT"},
    {REDIRECT("/a", .url = "/{0}"), "url '/{0}': no group of the pattern fits '{0}'"},
    {REDIRECT("/(a)", .url = "/{1}"), "fits '{1}'"},
    {REDIRECT("/(a)", .url = "/{name}"), "fits '{name}'"},
    {REDIRECT("/(?<a>a)", .url = "/{b}/x"), "fits '{b}/x'"},
    {REDIRECT("/(a)", .url = "/{}"), "fits '{}'"},
    {REDIRECT("/(a)", .url = "/{0"), "fits '{0'"},
    {REDIRECT("/(a)", .url = "/0}"), "fits '}'"},
    {REDIRECT("/(a)", .url = "/{00000000000000000}"), "fits '{0000"},
    {REDIRECT("/a", .url = "/x", .status = 200), "status 200 cannot redirect anything"},
    {REDIRECT("/a", .url = "/x", .status = 304), "status 304 cannot redirect anything"},
    {REDIRECT_ALL("/a", .url = "/x", .status = 301), "status 301 cannot redirect every method"},
    {TD_URL("/a", &td_error_class), "is no TD_ERROR"},
    {REFUSE("/a", 399), "is no TD_ERROR"},
    {REFUSE("/a", 600), "is no TD_ERROR"},
    {TD_URL("/a", &td_error_class, .initialize_arg = &small_error), "is no TD_ERROR"},
};

START_TEST(options_that_make_no_sense_are_told)
{
    const td_url urls[] = {wrong[_i].url, {0}};
    td_err err = {0};

    ck_assert_int_eq(
        td_application_mount(web_app, web_instance("bad", urls, (td_handler_settings){0}), &err),
        TD_EPLUGIN);
    ck_assert_msg(strstr(err.text, wrong[_i].error) != NULL, "%s", err.text);
}
END_TEST

/* As the loader makes them. */
START_TEST(copies_of_the_classes_are_known_too)
{
    const td_handler_class redirect = td_redirect_class, error = td_error_class;
    const td_url urls[] = {
        TD_URL("/a", &redirect, .initialize_arg = TD_REDIRECT(.url = "/b")),
        TD_URL("/c", &error, .initialize_arg = TD_ERROR(.status = 451)), {0}};
    web_exchange *x;

    web_serve(urls);
    x = web_get("/a");
    ck_assert_int_eq(x->status, 301);
    web_done(x);
    x = web_get("/c");
    ck_assert_int_eq(x->status, 451);
    web_done(x);
}
END_TEST

START_TEST(clients_are_sent_to_the_default_host)
{
    static const char *const rows[][2] = {
        {"/x", "http://www.example.org:81/x"},
        {"/x?a=b", "http://www.example.org:81/x?a=b"},
        {"/x%20y//z", "http://www.example.org:81/x%20y//z"},
        {"http://example.org:8888//evil.example/", "http://www.example.org:81//evil.example/"},
    };
    const td_handler_class Get = {.get = say};
    const td_url urls[] = {TD_URL("/.*", &Get), {0}};
    td_err err = {0};

    web_app_settings.default_host = "www.example.org:81";
    web_app_settings.default_host_redirect = true;
    td_application_mount(
        web_app, web_instance("site", urls, (td_handler_settings){.hosts = "www\\.example\\.org"}), &err);
    ck_assert_int_eq(td_application_seal(web_app, &err), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        web_exchange *x = web_get(rows[i][0]);
        char line[256];

        snprintf(line, sizeof(line), "Location: %s\n", rows[i][1]);
        ck_assert_int_eq(x->status, 301);
        ck_assert_msg(strstr(x->headers, line) != NULL, "%s", x->headers);
        web_done(x);
    }
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, web_setup, web_teardown);
    ADD_TABLE(tcase, each_path_leads_where_it_should, answers);
    tcase_add_test(tcase, one_that_would_leave_is_logged);
    tcase_add_test(tcase, an_error_route_wants_no_body_and_no_token);
    ADD_TABLE(tcase, options_that_make_no_sense_are_told, wrong);
    tcase_add_test(tcase, copies_of_the_classes_are_known_too);
    tcase_add_test(tcase, clients_are_sent_to_the_default_host);
}

int
main(void)
{
    return unit_run("redirect", fill);
}
