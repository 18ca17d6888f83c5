/* Goal: the URL of a static file changes when its content does, and not otherwise. */
#include "static_fixture.h"

/* As xxhsum -H2 says it, of "0123456789" and of 3,000,000 zero bytes. */
#define HELLO_VERSION "e353667619ec664b49655fc9692165fb"
#define ZEROS_VERSION "c0b66d2c29af5d09a16251685b6b78c4"

static char urls_made[2][256];
static bool made;

static void
make_urls(td_handler *h)
{
    const td_str path = td_path_argument_at(h, 0);
    const td_str url = td_static_url(h, path.ptr), full = td_static_full_url(h, path.ptr);

    snprintf(urls_made[0], sizeof(urls_made[0]), "%.*s", TD_STR_FMT(url));
    snprintf(urls_made[1], sizeof(urls_made[1]), "%.*s", TD_STR_FMT(full));
    made = true;
}

static const td_handler_class Urls = {.get = make_urls, .name = "Urls"};

static void
ask_for_url(const char *path)
{
    char target[128];
    web_exchange *x;

    snprintf(target, sizeof(target), "/url/%s", path);
    made = false;
    x = web_get(target);
    WEB_UNTIL(made && x->finishes == 1);
    web_done(x);
}

static void
serve_urls(void)
{
    static const td_url urls[] = {TD_URL("/url/(.*)", &Urls), {.pattern = NULL}};

    web_serve(urls);
}

START_TEST(url_has_the_version_of_the_content)
{
    static const struct {
        const char *path, *url;
    } cases[] = {
        {"hello.txt", "/static/hello.txt?v=" HELLO_VERSION},
        {"in", "/static/in?v=" HELLO_VERSION}, /* whatever it is called */
        {"a%20b/c%2bd.html", "/static/a%20b/c%2Bd.html?v=12d8bdd17f74de858c40219a46b9f81b"},
        {"nothing", "/static/nothing"},
        {"dir", "/static/dir"},
        {"out", "/static/out"},
        {"../secret", "/static/../secret"},
        {"", "/static/"},
    };
    char version[256];

    web_app_settings.static_path = root;
    serve_urls();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ask_for_url(cases[i].path);
        ck_assert_str_eq(urls_made[0], cases[i].url);
        snprintf(version, sizeof(version), "http://example.org:8888%s", cases[i].url);
        ck_assert_str_eq(urls_made[1], version);
    }
}
END_TEST

START_TEST(url_changes_when_the_content_does)
{
    char before[256];

    web_app_settings.static_path = root;
    serve_urls();
    for (int i = 0; i < 2; i++) { /* in memory, and open */
        const char *name = i == 0 ? "hello.txt" : "large.bin";
        char command[128];

        ask_for_url(name);
        strcpy(before, urls_made[0]);
        ck_assert_uint_eq(strlen(strchr(before, '=')), 33);
        snprintf(command, sizeof(command), "touch root/%s", name);
        run_in(folder, command);
        td_clock_cached_ns += 1000 * TD_NS_PER_MS;
        ask_for_url(name);
        ck_assert_str_eq(urls_made[0], before);
        snprintf(command, sizeof(command), "printf x | dd of=root/%s conv=notrunc 2>/dev/null", name);
        run_in(folder, command);
        td_clock_cached_ns += 1000 * TD_NS_PER_MS;
        ask_for_url(name);
        ck_assert_str_ne(urls_made[0], before);
    }
}
END_TEST

/*
 * The same bytes have the same version, whether they are hashed at once or while others are served.
 */
START_TEST(large_file_is_hashed_in_slices)
{
    static char bytes[3000000];
    FILE *file;
    char path[64], wanted[128];
    const td_url urls[] = {TD_URL("/url/(.*)", &Urls), {.pattern = NULL}};
    web_exchange *x;

    snprintf(path, sizeof(path), "%s/huge.bin", root);
    file = fopen(path, "w");
    fwrite(bytes, 1, sizeof(bytes), file);
    fclose(file);
    web_app_settings.static_path = root;
    web_serve(urls);
    made = false;
    x = web_get("/url/huge.bin");
    ck_assert(!made); /* it waits */
    WEB_UNTIL(made && x->finishes == 1);
    web_done(x);
    snprintf(wanted, sizeof(wanted), "/static/huge.bin?v=%s", ZEROS_VERSION);
    ck_assert_str_eq(urls_made[0], wanted);
    made = false;
    x = web_get("/url/huge.bin");
    ck_assert(made); /* it is known */
    web_done(x);
}
END_TEST

START_TEST(url_without_a_static_path_is_told)
{
    serve_urls();
    ask_for_url("hello.txt");
    ck_assert_str_eq(urls_made[0], "");
    ck_assert(strstr(web_log(), "Urls: td_static_url: there is no static_path"));
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, url_has_the_version_of_the_content);
    tcase_add_test(tcase, url_changes_when_the_content_does);
    tcase_add_test(tcase, large_file_is_hashed_in_slices);
    tcase_add_test(tcase, url_without_a_static_path_is_told);
}

int
main(void)
{
    return unit_run("staticurl", fill);
}
