/*
 * Goal: a host and a path find the route that Tornado finds: host groups before the
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

static char allow[256], vary[256]; /* of the last one that was found */

/* Name of the route that a request finds, or the status of the error; its args joined with '|'. */
static const char *
find_for(const char *method, const char *host, const char *target, const char *lines, char *args_out)
{
    static char status[8];
    char raw[20000];
    web_exchange *x;
    const td_route_match *match;
    const char *name;

    snprintf(raw, sizeof(raw), "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, target, host, lines);
    x = web_route(raw);
    match = x->request->route_data;
    snprintf(allow, sizeof(allow), "%.*s", TD_STR_FMT(match->allow));
    snprintf(vary, sizeof(vary), "%.*s", TD_STR_FMT(match->vary));
    if (args_out != NULL)
        *args_out = '\0';
    for (unsigned i = 0; args_out != NULL && i < match->route->spec.groups_count; i++) {
        strcat(args_out, i > 0 ? "|" : "");
        strcat(args_out, match->args[i].ptr != NULL ? match->args[i].ptr : "(null)");
    }
    snprintf(status, sizeof(status), "%d", match->status);
    name = match->status != 0 ? status : match->route->name != NULL ? match->route->name : "ours";
    td_request_unref(x->request);
    free(x);
    return name;
}

static const char *
find(const char *host, const char *target, char *args_out)
{
    return find_for("GET", host, target, "", args_out);
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

/* ---- methods and headers */

static const td_handler_class All = {.get = noop, .post = noop, .put = noop, .delete_ = noop};
static const td_handler_class Post = {.post = noop};
static const td_handler_class Options = {.get = noop, .options = noop};
static const td_handler_class NoAuto = {.get = noop,
                                        .flags = TD_NO_AUTO_HEAD | TD_NO_AUTO_OPTIONS};

#define CHOOSY(pattern_, name_, ...) TD_URL(pattern_, &All, .name = name_, __VA_ARGS__)
#define METHODS(list) .methods = list
#define VERSION(pattern_) .headers = TD_HEADERS({"X-Version", pattern_})

static const td_url choosy[] = {
    CHOOSY("/x", "x-get", METHODS("GET")),
    CHOOSY("/x", "x-post", METHODS("POST")),
    CHOOSY("/item/(\\d+)", "item-put", METHODS("PUT")),
    CHOOSY("/item/(\\w+)/?", "item-v2", VERSION("2")),
    CHOOSY("/item/(\\w+)", "item-get", METHODS("GET")),
    TD_URL("/item/me", &Post, .name = "item-me"),
    CHOOSY("/item/(\\d+)", "item-delete", METHODS("DELETE")),
    CHOOSY("/v", "v1", VERSION("1")),
    CHOOSY("/v", "v2", VERSION("2"), METHODS("GET")),
    CHOOSY("/v", "v-json", .headers = TD_HEADERS({"Accept", ".*json.*"}, {"X-Version", "[12]"})),
    CHOOSY("/twice/(\\w+)-\\1", "twice", METHODS("POST")),
    CHOOSY("/twice/(a+)-(a+)", "twice-get", METHODS("GET")),
    CHOOSY("/o", "o-get", METHODS("GET")),
    TD_URL("/o", &Options, .name = "o-own", .methods = "OPTIONS"),
    TD_URL("/n", &NoAuto, .name = "n", .methods = "GET"),
    TD_URL("/n", &NoAuto, .name = "n2", .headers = TD_HEADERS({"X-Version", "2"})),
    TD_URL("/plain", &NoAuto, .name = "plain"),
    CHOOSY("/head", "head", METHODS("HEAD")),
    CHOOSY("/head", "head-get", METHODS("GET")),
    CHOOSY("/before/(?:a|b)", "before", METHODS("POST")),
    ROUTE("/before/a", "behind"),
    {.pattern = NULL},
};

#define V(n) "X-Version: " n "\r\n"

static const struct {
    const char *method, *target, *lines, *name, *args, *allow, *vary;
} choices[] = {
    {"GET", "/x", "", "x-get", "", NULL, ""},
    {"HEAD", "/x", "", "x-get", "", NULL, ""},
    {"POST", "/x", "", "x-post", "", NULL, ""},
    {"DELETE", "/x", "", "405", "", "GET, HEAD, POST, OPTIONS", ""},
    {"OPTIONS", "/x", "", "x-get", "", "GET, HEAD, POST, OPTIONS", ""},
    {"PUT", "/item/5", "", "item-put", "5", NULL, ""},
    {"PUT", "/item/5", V("2"), "item-put", "5", NULL, ""},
    {"GET", "/item/5", V("2"), "item-v2", "5", NULL, "X-Version"},
    {"GET", "/item/5", "", "item-get", "5", NULL, "X-Version"},
    {"DELETE", "/item/5", "", "item-delete", "5", NULL, "X-Version"},
    {"DELETE", "/item/5", V("2"), "item-v2", "5", NULL, "X-Version"},
    {"POST", "/item/5", "", "405", "(null)", "GET, HEAD, PUT, DELETE, OPTIONS", "X-Version"},
    {"OPTIONS", "/item/5", "", "item-put", "5", "GET, HEAD, PUT, DELETE, OPTIONS", "X-Version"},
    {"PUT", "/item/x", "", "405", "(null)", "GET, HEAD, OPTIONS", "X-Version"},
    {"GET", "/item/x/", "", "404", "", NULL, "X-Version"},
    {"GET", "/item/x/", V("2"), "item-v2", "x", NULL, "X-Version"},
    {"GET", "/item/me", "", "item-get", "me", NULL, "X-Version"},
    {"POST", "/item/me", "", "item-me", "", NULL, "X-Version"},
    {"DELETE", "/item/me", "", "405", "", "GET, HEAD, POST, OPTIONS", "X-Version"},
    {"GET", "/v", V("1"), "v1", "", NULL, "X-Version"},
    {"GET", "/v", V("2"), "v2", "", NULL, "X-Version"},
    {"GET", "/v", V("2") "Accept: application/json\r\n", "v2", "", NULL, "X-Version"},
    {"POST", "/v", V("2") "Accept: application/json\r\n", "v-json", "", NULL, "X-Version, Accept"},
    {"POST", "/v", V("2"), "405", "", "GET, HEAD, OPTIONS", "X-Version, Accept"},
    {"GET", "/v", "", "404", "", NULL, "X-Version, Accept"},
    {"POST", "/v", V("3"), "404", "", NULL, "X-Version, Accept"},
    {"POST", "/twice/aa-aa", "", "twice", "aa", NULL, ""},
    {"GET", "/twice/aa-aa", "", "twice-get", "aa|aa", NULL, ""},
    {"OPTIONS", "/twice/aa-aa", "", "twice", "aa", "GET, HEAD, POST, OPTIONS", ""},
    {"OPTIONS", "/twice/aa-a", "", "twice-get", "aa|a", "GET, HEAD, OPTIONS", ""},
    {"POST", "/twice/aa-a", "", "405", "(null)|(null)", "GET, HEAD, OPTIONS", ""},
    {"OPTIONS", "/o", "", "o-own", "", NULL, ""},
    {"POST", "/o", "", "405", "", "GET, HEAD, OPTIONS", ""},
    {"GET", "/n", "", "n", "", NULL, ""},
    {"HEAD", "/n", "", "405", "", "GET", "X-Version"},
    {"HEAD", "/n", V("2"), "405", "", "GET", "X-Version"},
    {"OPTIONS", "/n", "", "405", "", "GET", "X-Version"},
    {"OPTIONS", "/plain", "", "405", "", "GET", ""},
    {"HEAD", "/plain", "", "405", "", "GET", ""},
    {"HEAD", "/head", "", "head", "", NULL, ""},
    {"GET", "/head", "", "head-get", "", NULL, ""},
    {"POST", "/before/a", "", "before", "", NULL, ""},
    {"GET", "/before/a", "", "behind", "", NULL, ""},
    {"PUT", "/before/a", "", "405", "", "GET, HEAD, POST, OPTIONS", ""},
    {"GET", "/before/b", "", "405", "", "POST, OPTIONS", ""},
};

static void
check_choice(int i)
{
    char args[256];

    ck_assert_str_eq(find_for(choices[i].method, "h", choices[i].target, choices[i].lines, args),
                     choices[i].name);
    ck_assert_str_eq(args, choices[i].args);
    ck_assert_str_eq(vary, choices[i].vary);
    if (choices[i].allow != NULL)
        ck_assert_str_eq(allow, choices[i].allow);
}

START_TEST(methods_and_headers_choose_between_routes)
{
    web_serve(choosy);
    ck_assert_str_eq(web_log(), "");
    check_choice(_i);
}
END_TEST

/* The same where no two patterns are in one expression: the other half of the router. */
START_TEST(they_choose_between_routes_that_are_matched_alone)
{
    static td_url alone[2 * sizeof(choosy) / sizeof(choosy[0])];
    size_t count = 0;

    for (const td_url *url = choosy; url->pattern != NULL; url++) {
        alone[count++] = *url;
        alone[count++] =
            (td_url)TD_URL(td_arena_sprintf(&web_arena, "/alone%zu(x)\\1", count).ptr, &Any);
    }
    web_serve(alone);
    check_choice(_i);
}
END_TEST

START_TEST(a_header_that_is_too_hard_is_given_up)
{
    const td_url urls[] = {
        CHOOSY("/x", "x", .headers = TD_HEADERS({"X", "(a+)+(a+)+(b|c)"})),
        CHOOSY("/x", "y", METHODS("POST")),
        {.pattern = NULL},
    };
    char lines[4096] = "X: ";

    memset(lines + 3, 'a', 3000);
    strcpy(lines + 3003, "\r\n");
    web_serve(urls);
    ck_assert_str_eq(find_for("GET", "h", "/x", lines, NULL), "500");
    ck_assert(strstr(web_log(), "or a header, was too hard to match"));
    ck_assert_str_eq(find_for("GET", "h", "/x", "X: aaab\r\n", NULL), "x");
}
END_TEST

START_TEST(a_route_that_is_left_nothing_is_told)
{
    const td_url urls[] = {
        ROUTE("/a", "a"), CHOOSY("/a", "a-post", METHODS("POST")),
        ROUTE("/b/(.*)", "b"), CHOOSY("/b/(.*)", "b-post", METHODS("POST")),
        CHOOSY("/c", "c-post", METHODS("POST")), ROUTE("/c", "c"), ROUTE("/c|/d", "cd"),
        CHOOSY("/d", "d", METHODS("PUT")),
        {.pattern = NULL},
    };
    const char *log;

    web_serve(urls);
    log = web_log();
    ck_assert(strstr(log, "route '/a' is never reached: '/a' of test comes first"));
    ck_assert(strstr(log, "route '/b/(.*)' (POST) is never reached: '/b/(.*)' of test"));
    ck_assert(strstr(log, "route '/d' is never reached: '/c|/d' of test comes first"));
    ck_assert_ptr_null(strstr(log, "'/c' is never"));
    ck_assert_str_eq(find_for("POST", "h", "/a", "", NULL), "405");
    ck_assert_str_eq(find_for("POST", "h", "/c", "", NULL), "c-post");
    ck_assert_str_eq(find("h", "/c", NULL), "c");
}
END_TEST

/* ---- nested urls */

static int one, two;

static const td_url deep[] = {
    TD_URL("/", &Any, .name = "list"),
    TD_URL("/(\\d+)", &All, .name = "one", .methods = "GET, PUT"),
    TD_URL("/(\\d+)", &Post, .initialize_arg = &two),
    {.pattern = NULL},
};

static const td_url middle[] = {
    {.pattern = "/users", .name = "users", .urls = deep, .headers = TD_HEADERS({"X-Version", "[12]"})},
    ROUTE("/status", "status"),
    ROUTE("|/index", "index"),
    {.pattern = NULL},
};

static const td_url nested[] = {
    ROUTE("/", "root"),
    {.pattern = "/api/v(\\d)/", .name = "api", .initialize_arg = &one, .urls = middle},
    TD_URL("/delete", &All),
    TD_URL_MOUNT("/(?<a>x)", TD_URLS(TD_URL("/(?<b>y)", &Any, .name = "xy"))),
    {.pattern = NULL},
};

static const struct {
    const char *method, *target, *lines, *name, *args;
} nestings[] = {
    {"GET", "/", "", "root", ""},
    {"GET", "/api/v1/users/", V("1"), "api.users.list", "1"},
    {"GET", "/api/v1/users/", "", "404", ""},
    {"GET", "/api/v2/users/7", V("2"), "api.users.one", "2|7"},
    {"POST", "/api/v2/users/7", V("2"), "ours", "2|7"},
    {"DELETE", "/api/v2/users/7", V("2"), "405", "(null)|(null)"},
    {"GET", "/api/v3/status", "", "api.status", "3"},
    {"GET", "/api/v3", "", "api.index", "3"},
    {"GET", "/api/v3/index", "", "api.index", "3"},
    {"GET", "/api/v3/", "", "404", ""},
    {"GET", "/api/v10/status", "", "404", ""},
    {"GET", "/x/y", "", "xy", "x|y"},
};

START_TEST(nested_urls_go_on_where_those_around_them_end)
{
    char args[256];

    web_serve(nested);
    ck_assert_str_eq(find_for(nestings[_i].method, "h", nestings[_i].target, nestings[_i].lines, args),
                     nestings[_i].name);
    ck_assert_str_eq(args, nestings[_i].args);
}
END_TEST

START_TEST(what_is_around_a_url_is_its_own_too)
{
    static const struct {
        const char *method, *target;
        const void *arg;
        uint32_t number;
        const char *pattern;
    } rows[] = {
        {"GET", "/api/v1/users/1", &one, 3, "/api/v(\\d)/users/(\\d+)"},
        {"POST", "/api/v1/users/1", &two, 4, "/api/v(\\d)/users/(\\d+)"},
        {"GET", "/", NULL, 1, "/"},
        {"GET", "/api/v1", &one, 6, "/api/v(\\d)(?:|/index)"},
        {"GET", "/x/y", NULL, 8, "/(?<a>x)/(?<b>y)"},
    };

    web_serve(nested);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        web_exchange *x = web_route_to(rows[i].method, rows[i].target, V("1"));
        const td_route *route = ((const td_route_match *)x->request->route_data)->route;

        ck_assert_ptr_eq(route->initialize_arg, rows[i].arg);
        ck_assert_uint_eq(route->number, rows[i].number);
        ck_assert_str_eq(route->pattern, rows[i].pattern);
        td_request_unref(x->request);
        free(x);
    }
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

START_TEST(default_host_may_be_where_clients_are_sent)
{
    static const struct {
        const char *method, *host, *target, *name;
    } rows[] = {
        {"GET", "1.2.3.4", "/x", "ours"},  {"HEAD", "1.2.3.4", "/x", "ours"},
        {"POST", "1.2.3.4", "/x", "404"},  {"OPTIONS", "1.2.3.4", "/x", "404"},
        {"GET", "1.2.3.4", "/z", "ours"},  {"GET", "1.2.3.4", "/any", "any"},
        {"GET", "other.org", "/z", "404"}, {"GET", "other.org", "/x", "404"},
        {"GET", "example.org", "/x", "main"}, {"POST", "example.org", "/x", "405"},
        {"DELETE", "example.org", "/x", "501"},
    };
    const td_url any[] = {ROUTE("/any", "any"), TD_URL("/post", &Post), {0}};
    const td_url other[] = {ROUTE("/other", "other"), {0}};
    const td_url main_[] = {ROUTE("/x", "main"), {0}};

    web_app_settings.default_host = "Example.org:8443";
    web_app_settings.default_host_redirect = true;
    mount("any", any, (td_handler_settings){0});
    mount("main", main_, (td_handler_settings){.hosts = "example\\.org"});
    mount("other", other, (td_handler_settings){.hosts = "other\\.org"});
    seal();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        ck_assert_str_eq(find_for(rows[i].method, rows[i].host, rows[i].target, "", NULL),
                         rows[i].name);
}
END_TEST

static const char *const no_hosts[] = {"", "a b", "a/b", "http://a", "a:b", ":80", "[::1"};

START_TEST(a_default_host_that_is_none_is_told)
{
    td_err err = {0};

    web_app_settings.default_host = no_hosts[_i];
    ck_assert_int_eq(td_application_seal(web_app, &err), TD_ECONFIG);
    ck_assert_msg(strstr(err.text, "default_host"), "%s", err.text);
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

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, web_setup, web_teardown);
    ADD_TABLE(tcase, a_path_finds_its_route_and_arguments, lookups);
    tcase_add_test(tcase, a_route_behind_another_is_told);
    tcase_add_test(tcase, the_only_pattern_is_matched_behind_its_mount);
    tcase_add_test(tcase, many_patterns_are_more_than_one_expression);
    tcase_add_test(tcase, a_match_that_takes_too_long_is_given_up);
    ADD_TABLE(tcase, methods_and_headers_choose_between_routes, choices);
    ADD_TABLE(tcase, they_choose_between_routes_that_are_matched_alone, choices);
    tcase_add_test(tcase, a_header_that_is_too_hard_is_given_up);
    tcase_add_test(tcase, a_route_that_is_left_nothing_is_told);
    ADD_TABLE(tcase, nested_urls_go_on_where_those_around_them_end, nestings);
    tcase_add_test(tcase, what_is_around_a_url_is_its_own_too);
    tcase_add_test(tcase, the_longest_mount_is_asked_first_then_order_then_name);
    tcase_add_test(tcase, host_groups_come_before_the_rest_and_fall_through);
    tcase_add_test(tcase, default_host_serves_hosts_that_nobody_names);
    tcase_add_test(tcase, default_host_may_be_where_clients_are_sent);
    ADD_TABLE(tcase, a_default_host_that_is_none_is_told, no_hosts);
    tcase_add_test(tcase, a_wrong_host_pattern_is_told);
}

int
main(void)
{
    return unit_run("routing", fill);
}
