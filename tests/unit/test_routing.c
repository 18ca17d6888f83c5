/*
 * Goal: a host and a path find the route that BEHAVIOUR section 6 says: host groups before the
 * rest, the first declared wins, whether routes are literals, joined or matched alone; between
 * plugins the longest mount, then `order`, then the name.
 */
#include "web_fixture.h"
#include "http/parser.h"
#include "web/handler.h"

static void noop(td_handler *h) { (void)h; }

static const td_handler_class Any = {.get = noop};

/* Routes of an instance, told apart by their names. */
#define ROUTE(pattern_, name_) TD_URL(pattern_, &Any, .name = name_)

static void
mount(const char *name, const td_url *urls, td_handler_settings section)
{
    td_err err = {0};

    ck_assert_msg(td_application_mount(web_app, web_instance(name, urls, section), &err) == 0, "%s",
                  err.text);
}

static void
seal(void)
{
    td_err err = {0};

    ck_assert_msg(td_application_seal(web_app, &err) == 0, "%s", err.text);
}

/* Name of the route that a GET finds, or the status of the error; its args joined with '|'. */
static const char *
find(const char *host, const char *target, char *args_out)
{
    static char status[8];
    char raw[20000];
    web_exchange *x;
    const td_route_match *match;
    const char *name;

    snprintf(raw, sizeof(raw), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, host);
    x = web_route(raw);
    match = x->request->route_data;
    if (args_out != NULL)
        *args_out = '\0';
    for (unsigned i = 0; args_out != NULL && i < match->route->spec.groups_count; i++) {
        strcat(args_out, i > 0 ? "|" : "");
        strcat(args_out, match->args[i].ptr != NULL ? match->args[i].ptr : "(null)");
    }
    snprintf(status, sizeof(status), "%d", match->status);
    name = match->status != 0 ? status : match->route->url->name;
    td_request_unref(x->request);
    free(x);
    return name;
}

/* ---- one instance */

static const td_url table[] = {
    ROUTE("/", "root"),
    ROUTE("/a", "a"),
    ROUTE("/u/(\\d+)", "number"),
    ROUTE("/u/me", "me"),
    ROUTE("/u/([^/]+)", "word"),
    ROUTE("/u/never", "never"),
    ROUTE("/pair/(?<x>\\w+)/(?<y>\\w+)", "pair"),
    ROUTE("/opt(?:/(\\d+))?", "opt"),
    ROUTE("/twice/(\\w+)-\\1", "twice"),
    ROUTE("/twice/(.*)", "once"),
    ROUTE("/case/(?i)(abc)", "case"),
    ROUTE("/case/(.*)", "other-case"),
    ROUTE("/x|/y", "alternative"),
    ROUTE("/three/(a)?(b)?(c)?", "three"),
    {.pattern = NULL},
};

static const struct {
    const char *target, *name, *args;
} lookups[] = {
    {"/", "root", ""},
    {"/a", "a", ""},
    {"/a?b=/", "a", ""},
    {"/a/", "404", ""},
    {"/A", "404", ""},
    {"//a", "404", ""},
    {"/a%2e", "404", ""},
    {"/u/12", "number", "12"},
    {"/u/12x", "word", "12x"},
    {"/u/me", "me", ""},
    {"/u/never", "word", "never"},
    {"/u/a%20b+c", "word", "a b+c"},
    {"/u/%c3%a9", "word", "\xc3\xa9"},
    {"/u/%ff", "400", "\xff"},
    {"/u/a/b", "404", ""},
    {"/u/a%2Fb", "word", "a/b"},
    {"/pair/1/2", "pair", "1|2"},
    {"/opt", "opt", "(null)"},
    {"/opt/5", "opt", "5"},
    {"/opt/", "404", ""},
    {"/twice/ab-ab", "twice", "ab"},
    {"/twice/ab-ac", "once", "ab-ac"},
    {"/case/aBc", "case", "aBc"},
    {"/CASE/abc", "404", ""},
    {"/case/abcd", "other-case", "abcd"},
    {"/x", "alternative", ""},
    {"/y", "alternative", ""},
    {"/xy", "404", ""},
    {"/three/ac", "three", "a|(null)|c"},
    {"/three/b", "three", "(null)|b|(null)"},
    {"http://example.org/u/1?x", "number", "1"},
};

START_TEST(a_path_finds_its_route_and_arguments)
{
    char args[256];

    web_serve(table);
    ck_assert_str_eq(find("example.org", lookups[_i].target, args), lookups[_i].name);
    ck_assert_str_eq(args, lookups[_i].args);
}
END_TEST

START_TEST(a_route_behind_another_is_told)
{
    web_serve(table);
    ck_assert(strstr(web_log(),
                     "route '/u/never' is never reached: '/u/([^/]+)' of test comes first"));
}
END_TEST

START_TEST(the_only_pattern_is_matched_behind_its_mount)
{
    char args[256];
    const td_url urls[] = {ROUTE("/x/(\\d+)", "x"), {.pattern = NULL}};

    mount("one", urls, (td_handler_settings){.mount = "/a.b/"});
    seal();
    ck_assert_str_eq(find("h", "/a.b/x/7", args), "x");
    ck_assert_str_eq(args, "7");
    ck_assert_str_eq(find("h", "/aab/x/7", NULL), "404");
    ck_assert_str_eq(find("h", "/x/7", NULL), "404");
    ck_assert_str_eq(find("h", "/a", NULL), "404");
}
END_TEST

START_TEST(many_patterns_are_more_than_one_expression)
{
    static td_url urls[3001];
    char args[256];

    for (int i = 0; i < 3000; i++)
        urls[i] = (td_url){
            td_arena_sprintf(&web_arena, "/section%d/(?<a>[^/]+)/(?<b>\\d+|[a-f]+)", i).ptr, &Any,
            .name = td_arena_sprintf(&web_arena, "r%d", i).ptr};
    web_serve(urls);
    ck_assert_str_eq(find("h", "/section0/x/12", args), "r0");
    ck_assert_str_eq(args, "x|12");
    ck_assert_str_eq(find("h", "/section1499/y/abc", args), "r1499");
    ck_assert_str_eq(find("h", "/section2999/z/1", args), "r2999");
    ck_assert_str_eq(args, "z|1");
    ck_assert_str_eq(find("h", "/section3000/z/1", args), "404");
}
END_TEST

START_TEST(a_match_that_takes_too_long_is_given_up)
{
    char target[4096] = "/", *end = target + 1;
    const td_url urls[] = {ROUTE("/(a+)+(a+)+(b|c)", "hard"), {.pattern = NULL}};

    memset(end, 'a', 3000);
    web_serve(urls);
    ck_assert_str_eq(find("h", target, NULL), "500");
    ck_assert(strstr(web_log(), "too hard to match"));
    ck_assert_str_eq(find("h", "/aaaab", NULL), "hard");
}
END_TEST

/* ---- several */

START_TEST(the_longest_mount_is_asked_first_then_order_then_name)
{
    const td_url all[] = {ROUTE("/(.*)", "all"), {.pattern = NULL}};
    const td_url exact[] = {ROUTE("/api/x", "exact"), {.pattern = NULL}};
    const td_url api[] = {ROUTE("/(.*)", "api"), {.pattern = NULL}};
    const td_url late[] = {ROUTE("/z(.*)", "late"), {.pattern = NULL}};
    const td_url early[] = {ROUTE("/z(.*?)", "early"), {.pattern = NULL}};
    char args[256];

    mount("m", all, (td_handler_settings){.order = 0});
    mount("b", exact, (td_handler_settings){.order = 5});
    mount("a", api, (td_handler_settings){.mount = "/api", .order = 9});
    mount("k", late, (td_handler_settings){.order = -1});
    mount("c", early, (td_handler_settings){.order = -1});
    seal();
    ck_assert_str_eq(find("h", "/api/x", args), "api");
    ck_assert_str_eq(args, "x");
    ck_assert_str_eq(find("h", "/zebra", NULL), "early");
    ck_assert_str_eq(find("h", "/other", NULL), "all");
    ck_assert(strstr(web_log(), "'/api/x' is never reached: '/(.*)' of a comes first"));
}
END_TEST

START_TEST(host_groups_come_before_the_rest_and_fall_through)
{
    const td_url any[] = {ROUTE("/x", "any-x"), ROUTE("/y", "any-y"), ROUTE("/(.*)", "any"), {0}};
    const td_url sub[] = {ROUTE("/x", "sub-x"), ROUTE("/z", "sub-z"), {0}};
    const td_url main_[] = {ROUTE("/x", "main-x"), ROUTE("/y", "main-y"), {0}};

    mount("any", any, (td_handler_settings){.mount = "/"});
    mount("sub", sub, (td_handler_settings){.hosts = ".*\\.example\\.org", .order = 1});
    mount("main", main_, (td_handler_settings){.hosts = "(www\\.)?example\\.org"});
    seal();
    ck_assert_str_eq(find("example.org:8888", "/x", NULL), "main-x");
    ck_assert_str_eq(find("WWW.Example.ORG", "/x", NULL), "main-x");
    ck_assert_str_eq(find("www.example.org", "/z", NULL), "sub-z");
    ck_assert_str_eq(find("a.example.org", "/x", NULL), "sub-x");
    ck_assert_str_eq(find("a.example.org", "/y", NULL), "any-y");
    ck_assert_str_eq(find("example.org.evil", "/x", NULL), "any-x");
    ck_assert_str_eq(find("", "/x", NULL), "any-x");
}
END_TEST

START_TEST(default_host_serves_hosts_that_nobody_names)
{
    const td_url any[] = {ROUTE("/any", "any"), {0}};
    const td_url main_[] = {ROUTE("/x", "main"), {0}};
    const td_url other[] = {ROUTE("/x", "other"), ROUTE("/z", "other-z"), {0}};

    web_app_settings.default_host = "example.org";
    mount("any", any, (td_handler_settings){0});
    mount("other", other, (td_handler_settings){.hosts = "other\\.org"});
    mount("main", main_, (td_handler_settings){.hosts = "example\\.org"});
    seal();
    ck_assert_str_eq(find("1.2.3.4", "/x", NULL), "main");
    ck_assert_str_eq(find("other.org", "/x", NULL), "other");
    ck_assert_str_eq(find("1.2.3.4", "/any", NULL), "any");
    ck_assert_str_eq(find("1.2.3.4", "/z", NULL), "404");
}
END_TEST

START_TEST(a_wrong_host_pattern_is_told)
{
    const td_url urls[] = {ROUTE("/x", "x"), {0}};
    td_err err = {0};

    mount("one", urls, (td_handler_settings){.hosts = "("});
    ck_assert_int_eq(td_application_seal(web_app, &err), TD_EPLUGIN);
    ck_assert_str_eq(err.text, "[handler:one] hosts '(': missing closing parenthesis at offset 1");
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof((table)[0]))

int
main(void)
{
    Suite *suite = suite_create("routing");
    TCase *tcase = tcase_create("routes");

    tcase_add_checked_fixture(tcase, web_setup, web_teardown);
    tcase_add_loop_test(tcase, a_path_finds_its_route_and_arguments, 0, COUNT(lookups));
    tcase_add_test(tcase, a_route_behind_another_is_told);
    tcase_add_test(tcase, the_only_pattern_is_matched_behind_its_mount);
    tcase_add_test(tcase, many_patterns_are_more_than_one_expression);
    tcase_add_test(tcase, a_match_that_takes_too_long_is_given_up);
    tcase_add_test(tcase, the_longest_mount_is_asked_first_then_order_then_name);
    tcase_add_test(tcase, host_groups_come_before_the_rest_and_fall_through);
    tcase_add_test(tcase, default_host_serves_hosts_that_nobody_names);
    tcase_add_test(tcase, a_wrong_host_pattern_is_told);
    suite_add_tcase(suite, tcase);
    return web_main(suite);
}
