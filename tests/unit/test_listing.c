/*
 * Goal: a directory is listed as a page or as JSON with what may be seen in it, whatever its names
 * are, up to a limit that the list tells.
 */
#include "static_fixture.h"

static void
serve_listing(void)
{
    static const td_url urls[] = {{.pattern = NULL}};

    put("root/dir/<i>&\"'.txt", "12345", 5);
    put("root/dir/.hidden", "x", 1);
    put("root/dir/\xff", "x", 1);
    run_in(folder, "touch -d '1994-11-06 08:49:37 UTC' root/dir/* && mkfifo root/dir/fifo");
    run_in(folder, "ln -s ../../secret root/dir/out && ln -s index.html root/dir/in");
    run_in(folder, "touch -h -d '1994-11-06 08:49:37 UTC' root/dir/in");
    web_app_settings.static_path = root;
    web_app_settings.static_listing = true;
    web_serve(urls);
}

START_TEST(directory_is_listed_as_a_page)
{
    web_exchange *x;

    serve_listing();
    x = web_get("/static/dir/");
    WEB_UNTIL(x->finishes == 1);
    x->body[x->body_len] = '\0';
    ck_assert_int_eq(x->status, 200);
    check_header(x, "Content-Type: text/html; charset=UTF-8");
    check_header(x, "Vary: Accept");
    ck_assert_str_eq(
        x->body,
        "<!DOCTYPE html>\n<html><head><meta charset=\"UTF-8\"><title>Index of /static/dir/</title>"
        "</head>\n<body><h1>Index of /static/dir/</h1>\n<table>\n"
        "<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n"
        "<tr><td><a href=\"%3Ci%3E%26%22%27.txt\">&lt;i&gt;&amp;&quot;&#x27;.txt</a></td><td>5</td>"
        "<td>" MODIFIED "</td></tr>\n"
        "<tr><td><a href=\"in\">in</a></td><td>3</td><td>" MODIFIED "</td></tr>\n"
        "<tr><td><a href=\"index.html\">index.html</a></td><td>3</td><td>" MODIFIED "</td></tr>\n"
        "<tr><td><a href=\"sub/\">sub/</a></td><td></td><td>" MODIFIED "</td></tr>\n"
        "</table>\n</body></html>\n");
    web_done(x);
}
END_TEST

START_TEST(directory_is_listed_as_json)
{
    web_exchange *x;

    serve_listing();
    x = web_request("GET", "/static/dir/", "Accept: application/json\r\n");
    WEB_UNTIL(x->finishes == 1);
    x->body[x->body_len] = '\0';
    check_header(x, "Content-Type: application/json; charset=UTF-8");
    ck_assert_str_eq(
        x->body,
        "{\"path\": \"/static/dir/\", \"entries\": ["
        "{\"name\": \"<i>&\\\"'.txt\", \"directory\": false, \"size\": 5, \"modified\": 784111777}, "
        "{\"name\": \"in\", \"directory\": false, \"size\": 3, \"modified\": 784111777}, "
        "{\"name\": \"index.html\", \"directory\": false, \"size\": 3, \"modified\": 784111777}, "
        "{\"name\": \"sub\", \"directory\": true, \"size\": 0, \"modified\": 784111777}], "
        "\"complete\": true}");
    web_done(x);
}
END_TEST

START_TEST(long_list_says_that_it_is_not_complete)
{
    web_exchange *x;

    web_app_settings.static_listing_max = 2;
    serve_listing();
    web_log();
    x = web_request("GET", "/static/dir/", "Accept: application/json\r\n");
    WEB_UNTIL(x->finishes == 1);
    x->body[x->body_len] = '\0';
    ck_assert_ptr_nonnull(strstr(x->body, "\"complete\": false}"));
    ck_assert(strstr(web_log(), "/static/dir/ has more than static_listing_max (2) entries"));
    web_done(x);
    x = web_get("/static/dir/");
    WEB_UNTIL(x->finishes == 1);
    x->body[x->body_len] = '\0';
    ck_assert_ptr_nonnull(strstr(x->body, "There are more than 2 entries."));
    web_done(x);
}
END_TEST

START_TEST(list_has_its_slash_and_its_errors)
{
    web_exchange *x;

    serve_listing();
    x = web_get("/static/dir");
    ck_assert_int_eq(x->status, 301);
    web_done(x);
    x = web_get("/static/nothing/");
    ck_assert_int_eq(x->status, 404);
    web_done(x);
    x = web_get("/static/up/");
    ck_assert_int_eq(x->status, 403);
    web_done(x);
    x = web_get("/static/");
    WEB_UNTIL(x->finishes == 1);
    x->body[x->body_len] = '\0';
    ck_assert_ptr_null(strstr(x->body, "../"));
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, directory_is_listed_as_a_page);
    tcase_add_test(tcase, directory_is_listed_as_json);
    tcase_add_test(tcase, long_list_says_that_it_is_not_complete);
    tcase_add_test(tcase, list_has_its_slash_and_its_errors);
}

int
main(void)
{
    return unit_run("listing", fill);
}
