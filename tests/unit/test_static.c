/*
 * Goal: a path is answered with the file that it names below the root or with the right error, its
 * headers are those of BEHAVIOUR section 13, and no spelling of a path leaves the root.
 */
#include <sys/stat.h>
#include "web_fixture.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static char folder[32], root[40];

static void
put(const char *name, const char *text, size_t len)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fwrite(text, 1, len, file);
    fclose(file);
}

static void
run(const char *command)
{
    char line[256];

    snprintf(line, sizeof(line), "cd %s && %s", folder, command);
    ck_assert_int_eq(system(line), 0);
}

static char large[50000];

static void
make_files(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test-static-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(root, sizeof(root), "%s/root", folder);
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (char)('a' + i % 26);
    run("mkdir -p root/dir/sub root/bare 'root/a b' root-beside && mkfifo root/fifo");
    put("secret", "secret", 6);
    put("root-beside/secret", "secret", 6);
    put("root/hello.txt", "0123456789", 10);
    put("root/empty.html", "", 0);
    put("root/a b/c+d.html", "c", 1);
    put("root/favicon.ico", "icon", 4);
    put("root/dir/index.html", "<b>", 3);
    put("root/large.bin", large, sizeof(large));
    run("ln -s ../secret root/out && ln -s hello.txt root/in && ln -s .. root/up");
    run("touch -d '1994-11-06 08:49:37.5 UTC' root/hello.txt root/large.bin");
}

static void
serve(void)
{
    static const td_url urls[] = {{.pattern = NULL}};

    web_app_settings.static_path = root;
    web_app_settings.static_default_filename = "index.html";
    web_serve(urls);
}

static void
setup(void)
{
    web_setup();
    make_files();
}

static void
teardown(void)
{
    web_teardown();
    run("rm -r root root-beside secret");
    ck_assert_int_eq(rmdir(folder), 0);
}

static void
check_header(const web_exchange *x, const char *line)
{
    char wanted[256];

    snprintf(wanted, sizeof(wanted), "\n%s\n", line);
    ck_assert_msg(strstr(x->headers, wanted) != NULL, "no %s in\n%s", line, x->headers);
}

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
    static const td_static_options options = {sizeof(options), root, "index.html",
                                              TD_SYMLINKS_INSIDE};
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

#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"

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
    {"Range: bytes=0-1,3-4\r\n", 200, 10, "0123456789", NULL},
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

/* ---- from a handler */

static td_static_options own;
static int own_rc;

static void
serve_own(td_handler *h)
{
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
        TD_URL("/nothing/(.*)", &td_static_class),
        TD_URL("/groupless", &td_static_class, .initialize_arg = &own),
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
    x = web_get("/nothing/x");
    ck_assert_int_eq(x->status, 500);
    ck_assert(strstr(web_log(), "td_serve_static: no root"));
    web_done(x);
    x = web_get("/groupless");
    ck_assert_int_eq(x->status, 500);
    web_done(x);
    own.symlinks = (td_symlinks)3;
    x = web_get("/class/hello.txt");
    ck_assert_int_eq(x->status, 500);
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
} bad[] = {
    {"/nowhere/files", "/static/", NULL,
     "application default: static_path /nowhere/files: No such file or directory"},
    {"/etc/passwd", "/static/", NULL,
     "application default: static_path /etc/passwd: Not a directory"},
    {"/tmp", "static/", NULL,
     "application default: static_url_prefix 'static/' does not begin and end with '/'"},
    {"/tmp", "/static", NULL,
     "application default: static_url_prefix '/static' does not begin and end with '/'"},
    {"/tmp", "", NULL, "application default: static_url_prefix '' does not begin and end with '/'"},
    {NULL, "/static/", "/nowhere/types", "/nowhere/types: No such file or directory"},
};

START_TEST(bad_setting_is_told)
{
    td_err err = {0};

    web_app_settings.static_path = bad[_i].path;
    web_app_settings.static_url_prefix = bad[_i].prefix;
    web_app_settings.mime_types = bad[_i].types;
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

int
main(void)
{
    Suite *suite = suite_create("static");
    TCase *tcase = tcase_create("static");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, path_names_a_file_or_an_error, 0, COUNT(paths));
    tcase_add_test(tcase, too_long_a_path_is_not_there);
    tcase_add_test(tcase, redirect_never_leads_to_another_host);
    tcase_add_test(tcase, file_has_its_headers);
    tcase_add_loop_test(tcase, versioned_url_lasts, 0, COUNT(versions));
    tcase_add_loop_test(tcase, condition_decides_what_is_sent, 0, COUNT(conditions));
    tcase_add_test(tcase, piece_of_a_large_file_is_sent_from_it);
    tcase_add_test(tcase, unmet_precondition_is_412);
    tcase_add_test(tcase, other_methods_are_refused);
    tcase_add_test(tcase, handler_may_serve_a_file);
    tcase_add_test(tcase, misuse_is_told);
    tcase_add_test(tcase, root_that_is_missing_is_404);
    tcase_add_test(tcase, client_that_has_left_is_told);
    tcase_add_loop_test(tcase, bad_setting_is_told, 0, COUNT(bad));
    tcase_add_test(tcase, prefix_may_be_any_path);
    tcase_add_test(tcase, prefix_may_be_the_root);
    suite_add_tcase(suite, tcase);
    return web_main(suite);
}
