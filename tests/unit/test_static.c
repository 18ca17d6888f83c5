/*
 * Goal: a path is answered with the file that it names below the root or with the right error, its
 * headers are those of RFC 9110 sections 13 and 14, and no spelling of a path leaves the root.
 */
#include "static_fixture.h"

/* ---- paths */

static const struct {
    const char *target;
    int status;
    const char *more; /* of the body of a 200, Location of a 301 */
} paths[] = {
    {"/static/hello.txt", 200, "0123456789"},
    {"/static/hello.txt?x=1", 200, "0123456789"},
    {"/static/%68ello.txt", 200, "0123456789"},
    {"/static/empty.html", 200, ""},
    {"/static/a%20b/c+d.html", 200, "c"},
    {"/static/a+b/c+d.html", 404, NULL}, /* no form: a plus is a plus */
    {"/static/HELLO.TXT", 404, NULL},
    {"/static/nothing", 404, NULL},
    {"/static/hello.txt/x", 404, NULL},
    {"/favicon.ico", 200, "icon"},
    {"/robots.txt", 404, NULL},
    {"/static", 404, NULL},

    /* Normalised by their text, as in Tornado. */
    {"/static/./hello.txt", 200, "0123456789"},
    {"/static/dir/../hello.txt", 200, "0123456789"},
    {"/static/nothing/../hello.txt", 200, "0123456789"},
    {"/static/dir/sub/../../hello.txt", 200, "0123456789"},
    {"/static/dir//index.html", 200, "<b>"},
    {"/static/hello.txt/", 200, "0123456789"},
    {"/static/dir%2findex.html", 200, "<b>"},
    {"/static/dir/sub/%2e%2e/index.html", 200, "<b>"},
    {"/static/...", 404, NULL},
    {"/static/..hello.txt", 404, NULL},

    /* Out of the root, and as if. */
    {"/static/../secret", 403, NULL},
    {"/static/..", 403, NULL},
    {"/static/../", 403, NULL},
    {"/static/..%2fsecret", 403, NULL},
    {"/static/%2e%2e/secret", 403, NULL},
    {"/static/%2e%2e%2fsecret", 403, NULL},
    {"/static/.%2e/secret", 403, NULL},
    {"/static/dir/../../secret", 403, NULL},
    {"/static/dir/%2e%2e/%2e%2e/secret", 403, NULL},
    {"/static/../root/hello.txt", 403, NULL},
    {"/static/../root-beside/secret", 403, NULL},
    {"/static//etc/passwd", 403, NULL},
    {"/static/%2fetc/passwd", 403, NULL},
    {"/static///etc/passwd", 403, NULL},
    {"/static//", 403, NULL},
    {"/static/%252e%252e/secret", 404, NULL}, /* decoded once */
    {"/static/..%5csecret", 404, NULL},       /* a name like any other */
    {"/static/..%c0%afsecret", 400, NULL},    /* an overlong slash is no UTF-8 */
    {"/static/%c0%ae%c0%ae/secret", 400, NULL},
    {"/static/hello.txt%00", 404, NULL},
    {"/static/hello.txt%00.html", 404, NULL},
    {"/static/%00", 404, NULL},
    {"/static/..%00/secret", 404, NULL},
    {"/static/out", 403, NULL},
    {"/static/up/secret", 403, NULL},
    {"/static/up/root/hello.txt", 403, NULL},
    {"/static/in", 200, "0123456789"},
    {"/static/fifo", 403, NULL},

    /* Directories. */
    {"/static/dir/", 200, "<b>"},
    {"/static/dir", 301, "/static/dir/"},
    {"/static/dir?x=1", 301, "/static/dir/"},
    {"/static/a%20b", 301, "/static/a%20b/"},
    {"/static/bare/", 404, NULL},
    {"/static/bare", 301, "/static/bare/"},
    {"/static/", 404, NULL},
};

START_TEST(path_names_a_file_or_an_error)
{
    char location[128];
    web_exchange *x;

    serve();
    x = web_get(paths[_i].target);
    ck_assert_msg(x->status == paths[_i].status, "%s: %d", paths[_i].target, x->status);
    ck_assert_int_eq(x->finishes, 1);
    if (x->status == 200) {
        ck_assert_uint_eq(x->body_len, strlen(paths[_i].more));
        ck_assert_mem_eq(x->body, paths[_i].more, x->body_len);
    } else if (x->status == 301) {
        snprintf(location, sizeof(location), "Location: %s", paths[_i].more);
        check_header(x, location);
    }
    ck_assert_ptr_null(memmem(x->body, x->body_len, "secret", 6));
    web_done(x);
}
END_TEST

START_TEST(too_long_a_path_is_not_there)
{
    char target[7000] = "/static/";
    web_exchange *x;

    serve();
    for (size_t n = 250; n < sizeof(target) - 8; n += 500) {
        memset(target + 8, 'x', n);
        target[8 + n] = '\0';
        x = web_get(target);
        ck_assert_int_eq(x->status, 404);
        web_done(x);
    }
}
END_TEST

/* What a prefix of two slashes would lead to is another host (CVE-2023-28370). */
START_TEST(redirect_never_leads_to_another_host)
{
    static const char *const targets[] = {"//dir", "//example.org/%2e%2e/dir"};
    static const td_static_options options = {
        .size = sizeof(options), .root = root, .default_filename = "index.html"};
    static const td_url urls[] = {
        TD_URL("(?://[^/]*/|//?)(.*)", &td_static_class, .initialize_arg = &options),
        {.pattern = NULL}};

    web_serve(urls);
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        web_exchange *x = web_get(targets[i]);

        ck_assert_msg(x->status == 403, "%s: %d", targets[i], x->status);
        web_done(x);
    }
}
END_TEST

/* ---- headers */

START_TEST(file_has_its_headers)
{
    web_exchange *x;
    char etag[64];

    serve();
    x = web_get("/static/hello.txt");
    check_header(x, "Content-Type: text/plain");
    check_header(x, "Accept-Ranges: bytes");
    check_header(x, "Last-Modified: " MODIFIED);
    ck_assert_int_eq(x->length, 10);
    ck_assert_ptr_null(strstr(x->headers, "Cache-Control"));
    ck_assert_ptr_null(strstr(x->headers, "Expires"));
    ck_assert_int_eq(sscanf(strstr(x->headers, "Etag: "), "Etag: %63s", etag), 1);
    ck_assert_uint_eq(strlen(etag), 34);
    web_done(x);

    x = web_request("HEAD", "/static/hello.txt", "");
    ck_assert_int_eq(x->status, 200);
    ck_assert_int_eq(x->length, 10);
    ck_assert_uint_eq(x->body_len, 0);
    check_header(x, "Content-Type: text/plain");
    ck_assert_ptr_nonnull(strstr(x->headers, etag)); /* the same */
    web_done(x);

    x = web_get("/static/large.bin");
    ck_assert_ptr_null(strstr(x->headers, etag));
    ck_assert_int_eq(x->files, 1);
    ck_assert_int_eq(x->length, sizeof(large));
    ck_assert_mem_eq(x->body, large, sizeof(large));
    web_done(x);
}
END_TEST

static const struct {
    const char *query;
    bool lasts;
} versions[] = {
    {"v=1", true},  {"a=b&v=abc", true}, {"v=x&a=b", true}, {"", false},   {"v=", false},
    {"v", false},   {"v=&a", false},     {"xv=1", false},   {"a=v", false}, {"av=1&vv=2", false},
};

START_TEST(versioned_url_lasts)
{
    web_exchange *x;
    char target[64];

    serve();
    snprintf(target, sizeof(target), "/static/hello.txt?%s", versions[_i].query);
    x = web_get(target);
    ck_assert_int_eq(x->status, 200);
    ck_assert_msg((strstr(x->headers, "\nCache-Control: max-age=315360000\n") != NULL) ==
                      versions[_i].lasts, "%s", target);
    ck_assert_int_eq(strstr(x->headers, "\nExpires: ") != NULL, versions[_i].lasts);
    web_done(x);
}
END_TEST

static const struct {
    const char *lines;
    int status;
    int64_t length;
    const char *body, *header;
} conditions[] = {
    {"Range: bytes=2-4\r\n", 206, 3, "234", "Content-Range: bytes 2-4/10"},
    {"Range: bytes=-1\r\n", 206, 1, "9", "Content-Range: bytes 9-9/10"},
    {"Range: bytes=0-\r\n", 200, 10, "0123456789", NULL},
    {"Range: bytes=0-1,2-4\r\n", 206, 5, "01234", "Content-Range: bytes 0-4/10"},
    {"Range: bytes=0-1,x\r\n", 200, 10, "0123456789", NULL},
    {"Range: bytes=10-\r\n", 416, 0, "", "Content-Range: bytes */10"},
    {"If-Modified-Since: " MODIFIED "\r\n", 304, 0, "", NULL},
    {"If-None-Match: *\r\n", 304, 0, "", NULL},
    {"If-None-Match: *\r\nRange: bytes=2-4\r\n", 304, 0, "", NULL},
    {"If-None-Match: \"x\"\r\nIf-Modified-Since: " MODIFIED "\r\n", 200, 10, "0123456789", NULL},
    {"If-Range: \"x\"\r\nRange: bytes=2-4\r\n", 200, 10, "0123456789", NULL},
    {"If-Range: " MODIFIED "\r\nRange: bytes=2-4\r\n", 206, 3, "234", NULL},
};

START_TEST(condition_decides_what_is_sent)
{
    web_exchange *x;

    serve();
    x = web_request("GET", "/static/hello.txt", conditions[_i].lines);
    ck_assert_msg(x->status == conditions[_i].status, "%s: %d", conditions[_i].lines, x->status);
    ck_assert_int_eq(x->length, conditions[_i].length);
    ck_assert_uint_eq(x->body_len, strlen(conditions[_i].body));
    ck_assert_mem_eq(x->body, conditions[_i].body, x->body_len);
    if (conditions[_i].header != NULL)
        check_header(x, conditions[_i].header);
    else
        ck_assert_int_eq(strstr(x->headers, "Content-Range") != NULL, x->status == 206);
    check_header(x, "Last-Modified: " MODIFIED);
    ck_assert_ptr_nonnull(strstr(x->headers, "\nEtag: "));
    if (x->status == 304)
        ck_assert_ptr_null(strstr(x->headers, "Content-Type"));
    web_done(x);
}
END_TEST

START_TEST(piece_of_a_large_file_is_sent_from_it)
{
    web_exchange *x;

    serve();
    x = web_request("GET", "/static/large.bin", "Range: bytes=40000-49998\r\n");
    ck_assert_int_eq(x->status, 206);
    ck_assert_int_eq(x->files, 1);
    ck_assert_int_eq(x->length, 9999);
    ck_assert_mem_eq(x->body, large + 40000, 9999);
    web_done(x);
}
END_TEST

START_TEST(unmet_precondition_is_412)
{
    web_exchange *x;

    serve();
    x = web_request("GET", "/static/hello.txt", "If-Match: \"x\"\r\n");
    ck_assert_int_eq(x->status, 412);
    ck_assert_ptr_nonnull(strstr(x->body, "412: Precondition Failed"));
    web_done(x);
}
END_TEST

START_TEST(other_methods_are_refused)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH"};

    serve();
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        web_exchange *x = web_request(methods[i], "/static/hello.txt", "");

        /* 501 is what no route of the application answers at all. */
        ck_assert_msg(x->status == 405 || x->status == 501, "%s: %d", methods[i], x->status);
        web_done(x);
    }
}
END_TEST

/* ---- neighbours */

static const struct {
    const char *target, *lines, *coding; /* coding NULL: none */
    const char *body;
    int status;
    bool varies;
} negotiations[] = {
    {"app.js", "", NULL, "plain", 200, true},
    {"app.js", "Accept-Encoding: gzip, br\r\n", "br", "BR", 200, true},
    {"app.js", "Accept-Encoding: gzip\r\n", "gzip", "GZIP!", 200, true},
    {"app.js", "Accept-Encoding: br;q=0.5, gzip\r\n", "gzip", "GZIP!", 200, true},
    {"app.js", "Accept-Encoding: zstd\r\n", NULL, "plain", 200, true}, /* not there */
    {"app.js", "Accept-Encoding: br;q=0, identity\r\n", NULL, "plain", 200, true},
    {"app.js", "Accept-Encoding: br\r\nRange: bytes=1-1\r\n", "br", "R", 206, true},
    {"app.js", "Range: bytes=1-1\r\n", NULL, "l", 206, true},
    {"app.js", "Accept-Encoding: br\r\nRange: bytes=2-\r\n", NULL, "", 416, true},
    {"app.js", "Accept-Encoding: br\r\nIf-None-Match: *\r\n", NULL, "", 304, true},
    {"app.js.br", "Accept-Encoding: br\r\n", NULL, "BR", 200, false}, /* asked for as it is */
    {"hello.txt", "Accept-Encoding: br, gzip, zstd\r\n", NULL, "0123456789", 200, false},
    {"old.js", "Accept-Encoding: gzip\r\n", NULL, "new", 200, false},
};

static void
serve_neighbours(void)
{
    put("root/app.js", "plain", 5);
    put("root/app.js.br", "BR", 2);
    put("root/app.js.gz", "GZIP!", 5);
    put("root/old.js.gz", "OLD", 3);
    run_in(folder, "touch -d '1 hour ago' root/old.js.gz");
    put("root/old.js", "new", 3);
    web_app_settings.static_precompressed = true;
    serve();
}

START_TEST(neighbour_that_is_liked_better_is_sent)
{
    char target[64], line[64];
    web_exchange *x;

    serve_neighbours();
    snprintf(target, sizeof(target), "/static/%s", negotiations[_i].target);
    x = web_request("GET", target, negotiations[_i].lines);
    ck_assert_int_eq(x->status, negotiations[_i].status);
    ck_assert_uint_eq(x->body_len, strlen(negotiations[_i].body));
    ck_assert_mem_eq(x->body, negotiations[_i].body, x->body_len);
    ck_assert_int_eq(strstr(x->headers, "\nVary: Accept-Encoding\n") != NULL,
                     negotiations[_i].varies);
    if (negotiations[_i].coding != NULL) {
        snprintf(line, sizeof(line), "Content-Encoding: %s", negotiations[_i].coding);
        check_header(x, line);
        check_header(x, "Content-Type: text/javascript");
    } else {
        ck_assert_ptr_null(strstr(x->headers, "Content-Encoding"));
    }
    web_done(x);
}
END_TEST

static void
etag_of(const char *lines, char etag[64])
{
    web_exchange *x = web_request("GET", "/static/app.js", lines);

    ck_assert_int_eq(sscanf(strstr(x->headers, "Etag: "), "Etag: %63s", etag), 1);
    web_done(x);
}

START_TEST(each_representation_has_its_own_etag)
{
    char plain[64], br[64], lines[128];
    web_exchange *x;

    serve_neighbours();
    etag_of("", plain);
    etag_of("Accept-Encoding: br\r\n", br);
    ck_assert_str_ne(plain, br);
    snprintf(lines, sizeof(lines), "Accept-Encoding: br\r\nIf-None-Match: %s\r\n", plain);
    x = web_request("GET", "/static/app.js", lines);
    ck_assert_int_eq(x->status, 200);
    web_done(x);
    snprintf(lines, sizeof(lines), "Accept-Encoding: br\r\nIf-None-Match: %s\r\n", br);
    x = web_request("HEAD", "/static/app.js", lines);
    ck_assert_int_eq(x->status, 304);
    web_done(x);
}
END_TEST

START_TEST(neighbour_that_goes_is_not_missed)
{
    web_exchange *x;

    serve_neighbours();
    x = web_request("GET", "/static/app.js", "Accept-Encoding: br\r\n");
    ck_assert_mem_eq(x->body, "BR", 2);
    web_done(x);
    run_in(folder, "rm root/app.js.br");
    td_clock_cached_ns += 1000 * TD_NS_PER_MS;
    x = web_request("GET", "/static/app.js", "Accept-Encoding: br\r\n");
    ck_assert_int_eq(x->status, 200);
    ck_assert_mem_eq(x->body, "plain", 5);
    web_done(x);
}
END_TEST

/* ---- pages of applications of one page */

#define BROWSER "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"

static const struct {
    const char *method, *target, *lines;
    int status;
    const char *body;
} fallbacks[] = {
    {"GET", "/static/users/7", BROWSER, 200, "<app>"},
    {"HEAD", "/static/users/7", BROWSER, 200, ""},
    {"GET", "/static/users/7?v=1", BROWSER, 200, "<app>"},
    {"GET", "/static/dir", BROWSER, 200, "<app>"}, /* there is no default file */
    {"GET", "/static/", BROWSER, 200, "<app>"},
    {"GET", "/static/hello.txt", BROWSER, 200, "0123456789"},
    {"GET", "/static/hello.txt/x", BROWSER, 200, "<app>"},
    {"GET", "/static/users/7", "Accept: */*\r\n", 404, NULL},
    {"GET", "/static/missing.js", "", 404, NULL},
    {"GET", "/static/users/7", "Accept: text/html;q=0\r\n", 404, NULL},
    {"GET", "/static/dir", "", 403, NULL},
    {"GET", "/static/../secret", BROWSER, 403, NULL},
    {"GET", "/static/out", BROWSER, 403, NULL},
    {"GET", "/favicon.icon", BROWSER, 404, NULL},
    {"GET", "/robots.txt", BROWSER, 404, NULL},
};

START_TEST(page_that_is_not_there_is_the_fallback)
{
    static const td_url urls[] = {{.pattern = NULL}};
    web_exchange *x;

    put("root/app.html", "<app>", 5);
    web_app_settings.static_path = root;
    web_app_settings.static_fallback = "app.html";
    web_serve(urls);
    x = web_request(fallbacks[_i].method, fallbacks[_i].target, fallbacks[_i].lines);
    ck_assert_msg(x->status == fallbacks[_i].status, "%s: %d", fallbacks[_i].target, x->status);
    if (fallbacks[_i].body != NULL) {
        ck_assert_uint_eq(x->body_len, strlen(fallbacks[_i].body));
        ck_assert_mem_eq(x->body, fallbacks[_i].body, x->body_len);
        ck_assert_ptr_null(strstr(x->headers, "Cache-Control")); /* whatever v says */
        ck_assert_int_eq(strstr(x->headers, "\nVary: Accept\n") != NULL,
                         strstr(x->headers, "text/html") != NULL);
    }
    web_done(x);
}
END_TEST

static void
answer_api(td_handler *h)
{
    td_write_text(h, "api");
}

static const td_handler_class Api = {.get = answer_api, .post = answer_api, .name = "Api"};

START_TEST(root_prefix_leaves_routes_to_handlers)
{
    static const td_url urls[] = {TD_URL("/api/(.*)", &Api), TD_URL("/robots\\.txt", &Api),
                                  {.pattern = NULL}};
    static const struct {
        const char *target, *body;
    } cases[] = {{"/api/users", "api"}, {"/robots.txt", "api"}, {"/", "<app>"},
                 {"/users/7", "<app>"}, {"/hello.txt", "0123456789"}, {"/favicon.ico", "icon"}};

    put("root/index.html", "<app>", 5);
    web_app_settings.static_path = root;
    web_app_settings.static_url_prefix = "/";
    web_app_settings.static_fallback = web_app_settings.static_default_filename = "index.html";
    web_serve(urls);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        web_exchange *x = web_request("GET", cases[i].target, BROWSER);

        ck_assert_int_eq(x->status, 200);
        ck_assert_uint_eq(x->body_len, strlen(cases[i].body));
        ck_assert_mem_eq(x->body, cases[i].body, x->body_len);
        web_done(x);
    }
}
END_TEST

START_TEST(first_default_file_that_is_there_is_served)
{
    static const td_url urls[] = {{.pattern = NULL}};
    web_exchange *x;

    put("root/dir/home.htm", "htm", 3);
    web_app_settings.static_path = root;
    web_app_settings.static_default_filename = "none.html, home.htm,index.html";
    web_serve(urls);
    x = web_get("/static/dir/");
    ck_assert_mem_eq(x->body, "htm", 3);
    web_done(x);
    x = web_get("/static/bare/");
    ck_assert_int_eq(x->status, 404);
    web_done(x);
}
END_TEST

/* ---- Cache-Control */

START_TEST(rules_say_how_long_a_file_is_good)
{
    static const struct {
        const char *target, *line; /* NULL: none */
    } cases[] = {
        {"/static/dir/index.html", "Cache-Control: no-cache"},
        {"/static/dir/", "Cache-Control: no-cache"},
        {"/static/hello.txt", "Cache-Control: max-age=60"},
        {"/static/hello.txt?v=1", "Cache-Control: max-age=315360000"},
        {"/favicon.ico", NULL},
    };

    web_app_settings.static_cache_control = "text/html: no-cache | .txt: max-age=60";
    serve();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        web_exchange *x = web_get(cases[i].target);

        ck_assert_int_eq(x->status, 200);
        if (cases[i].line != NULL)
            check_header(x, cases[i].line);
        else
            ck_assert_ptr_null(strstr(x->headers, "Cache-Control"));
        web_done(x);
    }
}
END_TEST

/* ---- from a handler */

static td_static_options own;
static int own_rc;

static void
serve_own(td_handler *h)
{
    td_clear_header(h, "Server");
    td_set_header(h, "Last-Modified", "never");
    td_set_header(h, "X-Own", "yes");
    td_set_status(h, 299, "Own");
    own_rc = td_serve_static(h, &own, td_path_argument_at(h, 0));
}

static void
serve_late(td_handler *h)
{
    td_write_text(h, "x");
    td_flush(h);
    own_rc = td_serve_static(h, &own, TD_STR("hello.txt"));
}

static const td_handler_class Own = {.get = serve_own, .post = serve_own, .name = "Own"};
static const td_handler_class Late = {.get = serve_late, .name = "Late"};

static void
serve_handlers(void)
{
    static const td_url urls[] = {
        TD_URL("/own/(.*)", &Own),
        TD_URL("/late", &Late),
        TD_URL("/class/(.*)", &td_static_class, .initialize_arg = &own),
        {.pattern = NULL},
    };

    own = (td_static_options){.size = sizeof(own), .root = root};
    web_serve(urls);
}

START_TEST(handler_may_serve_a_file)
{
    web_exchange *x;

    serve_handlers();
    x = web_get("/own/hello.txt");
    ck_assert_int_eq(own_rc, 0);
    ck_assert_int_eq(x->status, 200); /* the file's */
    check_header(x, "X-Own: yes");
    check_header(x, "Last-Modified: " MODIFIED);
    ck_assert_ptr_null(strstr(x->headers, "never"));
    ck_assert_mem_eq(x->body, "0123456789", 10);
    web_done(x);

    x = web_get("/own/dir/");
    ck_assert_int_eq(x->status, 403); /* there is no default file */
    web_done(x);

    x = web_get("/class/hello.txt");
    ck_assert_int_eq(x->status, 200);
    web_done(x);
    x = web_request("POST", "/class/hello.txt", "Content-Length: 0\r\n");
    ck_assert_int_eq(x->status, 405);
    check_header(x, "Allow: GET, HEAD, OPTIONS");
    web_done(x);
}
END_TEST

START_TEST(misuse_is_told)
{
    web_exchange *x;

    serve_handlers();
    x = web_get("/late");
    ck_assert_int_eq(own_rc, TD_EINVAL);
    ck_assert(strstr(web_log(), "Late: td_serve_static: the response has begun"));
    web_done(x);
    own.root = NULL;
    x = web_get("/class/hello.txt");
    ck_assert_int_eq(x->status, 500);
    ck_assert(strstr(web_log(), "td_serve_static: no root"));
    web_done(x);
    own.root = root;
    own.symlinks = (td_symlinks)3;
    x = web_get("/class/hello.txt");
    ck_assert_int_eq(x->status, 500);
    web_done(x);
    own = (td_static_options){.size = sizeof(own), .root = root, .max_ranges = 65};
    x = web_get("/class/hello.txt");
    ck_assert_int_eq(x->status, 500);
    web_done(x);
    own = (td_static_options){.size = sizeof(own), .root = root, .fallback = "../secret"};
    x = web_get("/class/hello.txt");
    ck_assert_int_eq(x->status, 500);
    web_done(x);
}
END_TEST

static const char *extra;

static void
set_extra(td_handler *h, td_str path)
{
    if (strcmp(extra, "raise") == 0)
        td_raise(h, 418, "no");
    if (strcmp(extra, "answer") == 0)
        td_redirect(h, "/elsewhere", false);
    if (strcmp(extra, "wait") == 0) {
        run_in(folder, "rm root/hello.txt");
        td_clock_cached_ns += 2000 * TD_NS_PER_MS;
        td_sleep(0);
    }
    td_set_header(h, "X-Path", path.ptr);
    td_set_header(h, "Content-Type", "text/x-own");
}

static const struct {
    const char *what, *lines;
    int status;
    const char *header, *body;
} extras[] = {
    {"", "", 200, "X-Path: hello.txt", "0123456789"},
    {"", "", 200, "Content-Type: text/x-own", "0123456789"},
    {"", "Range: bytes=1-1\r\n", 206, "Content-Type: text/x-own", "1"},
    {"", "If-None-Match: *\r\n", 304, "X-Path: hello.txt", ""},
    {"wait", "", 200, "X-Path: hello.txt", "0123456789"}, /* of what has gone meanwhile */
    {"answer", "", 302, "Location: /elsewhere", ""},
    {"raise", "", 418, NULL, NULL},
};

START_TEST(author_may_set_more_headers)
{
    web_exchange *x;

    serve_handlers();
    own.set_extra_headers = set_extra;
    extra = extras[_i].what;
    x = web_request("GET", "/class/hello.txt", extras[_i].lines);
    WEB_UNTIL(x->finishes == 1);
    ck_assert_int_eq(x->status, extras[_i].status);
    if (extras[_i].header != NULL) {
        check_header(x, extras[_i].header);
        ck_assert_uint_eq(x->body_len, strlen(extras[_i].body));
        ck_assert_mem_eq(x->body, extras[_i].body, x->body_len);
    }
    web_done(x);
}
END_TEST

START_TEST(root_that_is_missing_is_404)
{
    web_exchange *x;

    serve_handlers();
    own.root = "/nowhere/at/all";
    x = web_get("/class/hello.txt");
    ck_assert_int_eq(x->status, 404);
    web_done(x);
}
END_TEST

START_TEST(client_that_has_left_is_told)
{
    web_exchange *x = NULL;

    serve_handlers();
    x = web_route_to("GET", "/own/hello.txt", "");
    x->gone = true;
    web_execute(x);
    ck_assert_int_eq(own_rc, TD_ECLOSED);
    web_done(x);
}
END_TEST

/* ---- settings */

static const struct {
    const char *path, *prefix, *types, *says;
    const char *fallback, *cache_control;
} bad[] = {
    {"/nowhere/files", "/static/", NULL,
     "application default: static_path /nowhere/files: No such file or directory", NULL, NULL},
    {"/etc/passwd", "/static/", NULL,
     "application default: static_path /etc/passwd: Not a directory", NULL, NULL},
    {"/tmp", "static/", NULL,
     "application default: static_url_prefix 'static/' does not begin and end with '/'", NULL, NULL},
    {"/tmp", "/static", NULL,
     "application default: static_url_prefix '/static' does not begin and end with '/'", NULL, NULL},
    {"/tmp", "", NULL, "application default: static_url_prefix '' does not begin and end with '/'", NULL, NULL},
    {NULL, "/static/", "/nowhere/types", "application default: mime_types: /nowhere/types: No such file or directory", NULL, NULL},
    {"/tmp", "/a b/", NULL,
     "application default: static_url_prefix '/a b/' has what no path of a request has: a space is %20",
     NULL, NULL},
    {"/tmp", "/static/", NULL,
     "application default: static_fallback '../x' is no path below static_path", "../x", NULL},
    {"/tmp", "/static/", NULL,
     "application default: static_cache_control: 'html' is no rule: text/html, text/*, .css, /path/ or "
     "*, then a colon and the Cache-Control", NULL, "*: a | html: b"},
};

START_TEST(bad_setting_is_told)
{
    td_err err = {0};

    web_app_settings.static_path = bad[_i].path;
    web_app_settings.static_url_prefix = bad[_i].prefix;
    web_app_settings.mime_types = bad[_i].types;
    web_app_settings.static_fallback = bad[_i].fallback;
    web_app_settings.static_cache_control = bad[_i].cache_control;
    ck_assert_int_lt(td_application_seal(web_app, &err), 0);
    ck_assert_str_eq(err.text, bad[_i].says);
}
END_TEST

START_TEST(prefix_may_be_any_path)
{
    web_exchange *x;

    web_app_settings.static_url_prefix = "/f.*s+(1)/";
    serve();
    x = web_get("/f.*s+(1)/hello.txt");
    ck_assert_int_eq(x->status, 200);
    web_done(x);
    x = web_get("/fooss1/hello.txt");
    ck_assert_int_eq(x->status, 404);
    web_done(x);
}
END_TEST

START_TEST(prefix_may_be_the_root)
{
    web_exchange *x;

    web_app_settings.static_url_prefix = "/";
    serve();
    x = web_get("/dir/");
    ck_assert_mem_eq(x->body, "<b>", 3);
    web_done(x);
    x = web_get("//dir");
    ck_assert_int_eq(x->status, 403); /* neither /dir nor a way to the host "dir" */
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    ADD_TABLE(tcase, path_names_a_file_or_an_error, paths);
    tcase_add_test(tcase, too_long_a_path_is_not_there);
    tcase_add_test(tcase, redirect_never_leads_to_another_host);
    tcase_add_test(tcase, file_has_its_headers);
    ADD_TABLE(tcase, versioned_url_lasts, versions);
    ADD_TABLE(tcase, condition_decides_what_is_sent, conditions);
    tcase_add_test(tcase, piece_of_a_large_file_is_sent_from_it);
    tcase_add_test(tcase, unmet_precondition_is_412);
    tcase_add_test(tcase, other_methods_are_refused);
    ADD_TABLE(tcase, neighbour_that_is_liked_better_is_sent, negotiations);
    tcase_add_test(tcase, each_representation_has_its_own_etag);
    tcase_add_test(tcase, neighbour_that_goes_is_not_missed);
    ADD_TABLE(tcase, page_that_is_not_there_is_the_fallback, fallbacks);
    tcase_add_test(tcase, root_prefix_leaves_routes_to_handlers);
    tcase_add_test(tcase, first_default_file_that_is_there_is_served);
    tcase_add_test(tcase, rules_say_how_long_a_file_is_good);
    ADD_TABLE(tcase, author_may_set_more_headers, extras);
    tcase_add_test(tcase, handler_may_serve_a_file);
    tcase_add_test(tcase, misuse_is_told);
    tcase_add_test(tcase, root_that_is_missing_is_404);
    tcase_add_test(tcase, client_that_has_left_is_told);
    ADD_TABLE(tcase, bad_setting_is_told, bad);
    tcase_add_test(tcase, prefix_may_be_any_path);
    tcase_add_test(tcase, prefix_may_be_the_root);
}

int
main(void)
{
    return unit_run("static", fill);
}
