/*
 * Goal: an application answers each head with the right handler or the right error, refuses tables
 * that contradict themselves, and narrows limits in the right order.
 */
#include "web_fixture.h"
#include "web/handler.h"

static void
say(td_handler *h)
{
    td_write(h, td_request_method(h));
}

static void
refuse_plainly(td_handler *h, int status)
{
    td_writef(h, "sorry: %d", status);
}

static const td_handler_class Get = {.get = say};
static const td_handler_class Post = {.post = say, .write_error = refuse_plainly};
static const td_handler_class All = {
    .get = say, .head = say, .post = say, .put = say, .delete_ = say, .options = say};

static const td_url table[] = {
    TD_URL("/get", &Get, .name = "get"),
    TD_URL("/post", &Post),
    TD_URL("/all/(.*)", &All, .name = "all"),
    {.pattern = NULL},
};

#define PAGE(text) "<html><title>" text "</title><body>" text "</body></html>"

static const struct {
    const char *method, *target;
    int status;
    const char *body, *allow; /* NULL: there is none */
} answers[] = {
    {"GET", "/get", 200, "GET", NULL},
    {"HEAD", "/get", 200, "", NULL},
    {"POST", "/get", 405,
     PAGE("405: Method Not Allowed"),
     "GET, HEAD, OPTIONS"},
    {"OPTIONS", "/get", 204, "", "GET, HEAD, OPTIONS"},
    {"GET", "/post", 405, "sorry: 405", "POST, OPTIONS"},
    {"HEAD", "/post", 405, "", "POST, OPTIONS"},
    {"POST", "/post", 200, "POST", NULL},
    {"DELETE", "/all/x", 200, "DELETE", NULL},
    {"OPTIONS", "/all/x", 200, "OPTIONS", NULL},
    {"GET", "/all/%ff", 400, PAGE("400: Bad Request"), NULL},
    {"GET", "/none", 404, PAGE("404: Not Found"), NULL},
    {"POST", "/none", 404, PAGE("404: Not Found"),
     NULL},
    {"PATCH", "/get", 501,
     PAGE("501: Not Implemented"), NULL},
    {"FROB", "/get", 501,
     PAGE("501: Not Implemented"), NULL},
    {"get", "/get", 501,
     PAGE("501: Not Implemented"), NULL},
    {"OPTIONS", "*", 200, "", "GET, HEAD, POST, PUT, DELETE, OPTIONS"},
};

START_TEST(each_head_has_its_answer)
{
    char allow[128] = "";
    web_exchange *x;

    web_serve(table);
    x = web_request(answers[_i].method, answers[_i].target, "");
    ck_assert_int_eq(x->status, answers[_i].status);
    ck_assert_str_eq(x->body, answers[_i].body);
    ck_assert_int_eq(x->finishes, 1);
    if (strcmp(answers[_i].method, "HEAD") != 0)
        ck_assert_int_eq(x->length, (int64_t)strlen(answers[_i].body));
    if (answers[_i].allow != NULL)
        snprintf(allow, sizeof(allow), "Allow: %s\n", answers[_i].allow);
    ck_assert_msg(strstr(x->headers, allow) != NULL, "%s", x->headers);
    if (answers[_i].allow == NULL)
        ck_assert_ptr_null(strstr(x->headers, "Allow"));
    web_done(x);
    ck_assert_uint_eq(td_handlers_running(), 0);
}
END_TEST

static void
admit(td_handler *h)
{
    if (td_request_header(h, "Done").len > 0)
        td_finish(h);
}

static const td_handler_class Prepared = {.get = say, .prepare = admit};

static void
say_and_finish(td_handler *h)
{
    say(h);
    td_finish(h);
}

static const td_handler_class Whatever = {.prepare = say_and_finish, .flags = TD_ANY_METHOD};

static const td_handler_class Listed = {.get = say, .prepare = say_and_finish, .flags = TD_ANY_METHOD};

static const td_url any_urls[] = {
    TD_URL("/any", &Whatever),
    TD_URL("/listed", &Listed, .methods = "GET"),
    TD_URL("/get", &Get),
    {.pattern = NULL},
};

static const struct {
    const char *method, *target;
    int status;
    const char *body; /* NULL: a page */
} any_methods[] = {
    {"GET", "/any", 200, "GET"},     {"FROB", "/any", 200, "FROB"},   {"get", "/any", 200, "get"},
    {"TRACE", "/any", 200, "TRACE"}, {"FROB", "/listed", 405, NULL}, {"FROB", "/get", 405, NULL},
    {"FROB", "/none", 404, NULL},
};

START_TEST(a_class_for_any_method_gets_those_that_have_no_entry)
{
    web_exchange *x;

    web_serve(any_urls);
    x = web_request(any_methods[_i].method, any_methods[_i].target, "");
    ck_assert_int_eq(x->status, any_methods[_i].status);
    if (any_methods[_i].body != NULL)
        ck_assert_str_eq(x->body, any_methods[_i].body);
    ck_assert(any_methods[_i].status != 405 || strstr(x->headers, "Allow: ") != NULL);
    web_done(x);
}
END_TEST

static const td_url prepared_urls[] = {
    TD_URL("/prepared", &Prepared),
    {.pattern = NULL},
};

static const struct {
    const char *method, *lines;
    int status;
} prepared[] = {
    {"GET", "Done: yes\r\n", 200},   {"GET", "", 200},   {"POST", "Done: yes\r\n", 200},
    {"POST", "", 405},               {"PATCH", "", 405}, {"PATCH", "Done: yes\r\n", 200},
    {"FROB", "Done: yes\r\n", 501},
};

START_TEST(prepare_may_answer_for_a_method_that_there_is_not)
{
    web_exchange *x;

    web_serve(prepared_urls);
    x = web_request(prepared[_i].method, "/prepared", prepared[_i].lines);
    ck_assert_int_eq(x->status, prepared[_i].status);
    ck_assert(prepared[_i].status != 405 ||
              strstr(x->headers, "Allow: GET, HEAD, OPTIONS\n") != NULL);
    web_done(x);
}
END_TEST

START_TEST(an_error_that_the_head_decides_comes_before_the_body)
{
    web_exchange *x;

    web_serve(table);
    x = web_route_to("POST", "/get", "Content-Length: 5\r\n");
    td_application_delegate.headers_received(web_app, x->request);
    ck_assert_int_eq(x->finishes, 1);
    web_done(x);
    x = web_route_to("POST", "/post", "Content-Length: 5\r\n");
    td_application_delegate.headers_received(web_app, x->request);
    ck_assert_int_eq(x->heads, 0);
    td_application_delegate.finish(web_app, x->request);
    ck_assert_int_eq(x->finishes, 1);
    web_done(x);
}
END_TEST

START_TEST(an_application_without_routes_finds_nothing)
{
    web_exchange *x;

    ck_assert_int_eq(td_application_seal(web_app, NULL), 0);
    x = web_get("/");
    ck_assert_int_eq(x->status, 404);
    web_done(x);
}
END_TEST

START_TEST(the_same_head_may_be_executed_again)
{
    web_exchange *x;
    td_arena_mark routed;

    web_serve(table);
    x = web_route_to("DELETE", "/all/x%20y", "");
    routed = td_arena_mark_now(&x->request->arena);
    for (int i = 0; i < 3; i++) {
        x->heads = x->finishes = 0;
        x->body_len = 0;
        web_execute(x);
        ck_assert_int_eq(x->status, 200);
        ck_assert_str_eq(x->body, "DELETE");
        td_application_delegate.done(web_app, x->request);
        td_arena_rewind(&x->request->arena, routed);
        x->request->handler = NULL;
    }
    td_request_unref(x->request);
    free(x);
}
END_TEST

static void
fail_with_words(td_handler *h)
{
    td_set_header(h, "Content-Type", "text/html");
    td_raise(h, 502, "upstream: <%s>", "gone");
}

static void
fail_without(td_handler *h)
{
    td_raise(h, 502, NULL);
}

static const td_handler_class WithWords = {.get = fail_with_words};
static const td_handler_class Without = {.get = fail_without};

static const struct {
    bool debug;
    const char *target, *type, *body;
} failures[] = {
    {false, "/words", "text/html; charset=UTF-8", PAGE("502: Bad Gateway")},
    {true, "/words", "text/plain; charset=UTF-8", "502: Bad Gateway\n\nupstream: <gone>\n"},
    {true, "/without", "text/html; charset=UTF-8", PAGE("502: Bad Gateway")},
    {true, "/none", "text/html; charset=UTF-8", PAGE("404: Not Found")},
};

START_TEST(in_debug_an_error_page_says_what_the_log_says)
{
    const td_url urls[] = {TD_URL("/words", &WithWords), TD_URL("/without", &Without), {0}};
    char type[128];
    web_exchange *x;

    web_app_settings.debug = failures[_i].debug;
    web_serve(urls);
    x = web_get(failures[_i].target);
    snprintf(type, sizeof(type), "Content-Type: %s\n", failures[_i].type);
    ck_assert_str_eq(x->body, failures[_i].body);
    ck_assert_msg(strstr(x->headers, type) != NULL, "%s", x->headers);
    ck_assert_int_eq(strstr(x->headers, "nosniff") != NULL, strstr(type, "plain") != NULL);
    web_done(x);
}
END_TEST

/* ---- tables */

static const struct {
    const char *mounts[2], *hosts[2], *patterns[2];
    bool is_error;
} twins[] = {
    {{"/", "/"}, {".*", ".*"}, {"/x", "/x"}, true},
    {{"/", "/"}, {".*", ".*"}, {"/x", "^/x$"}, true},
    {{"/a", "/a/"}, {".*", ".*"}, {"/(.*)", "/(.*)"}, true},
    {{"/a", "/b"}, {".*", ".*"}, {"/x", "/x"}, false},
    {{"/", "/"}, {".*", "a"}, {"/x", "/x"}, false},
    {{"/", "/"}, {".*", ".*"}, {"/x", "/y"}, false},
};

START_TEST(the_same_route_twice_is_refused)
{
    td_err err = {0};
    int rc;

    for (int i = 0; i < 2; i++) {
        td_url *urls = TD_ARENA_ARRAY(&web_arena, td_url, 2);

        urls[0] = (td_url){twins[_i].patterns[i], &Get, .name = NULL};
        ck_assert_int_eq(
            td_application_mount(web_app,
                                 web_instance(i == 0 ? "one" : "two", urls,
                                              (td_handler_settings){.mount = twins[_i].mounts[i],
                                                                    .hosts = twins[_i].hosts[i]}),
                                 &err),
            0);
    }
    rc = td_application_seal(web_app, &err);
    ck_assert_int_eq(rc, twins[_i].is_error ? TD_EPLUGIN : 0);
    if (twins[_i].is_error) {
        ck_assert_msg(strstr(err.text, "one.so") != NULL, "%s", err.text);
        ck_assert_msg(strstr(err.text, "two.so") != NULL, "%s", err.text);
    }
}
END_TEST

static const td_handler_class Slashes = {.get = say, .flags = TD_ADD_SLASH | TD_REMOVE_SLASH};
static const td_url inner_bad[] = {TD_URL("/fine", &Get), TD_URL("/)", &Get), {0}};
static td_url endless[] = {TD_URL_MOUNT("/x", endless), {0}};

static const struct {
    td_url url;
    const char *error;
} wrong_urls[] = {
    {TD_URL("/a", &Get, .methods = "GET, POST"), "route 1, '/a': methods: the class has no POST"},
    {TD_URL("/a", &Get, .methods = "FROB"), "route 1, '/a': methods 'FROB': 'FROB' is none"},
    {TD_URL("/a", &Get, .headers = TD_HEADERS({"A", "("})), "route 1, '/a': headers: A: '(': missing"},
    {TD_URL("/a", &Slashes), "TD_REMOVE_SLASH and TD_ADD_SLASH exclude each other"},
    {TD_URL_MOUNT("/a", inner_bad), "bad.so: route 2, '/)': '/)': unmatched closing parenthesis"},
    {TD_URL_MOUNT("/(", inner_bad), "bad.so: route 1, '/fine': '/(': missing closing parenthesis"},
    {TD_URL_MOUNT("/(?<a>x)", TD_URLS(TD_URL("/(x)", &Get))), "all named or all positional"},
    {TD_URL_MOUNT("/(?<a>x)", TD_URLS(TD_URL("/(?<a>x)", &Get))), "have the same name"},
    {TD_URL_MOUNT("/a", TD_URLS(TD_URL("/b", NULL))), "route 1, '/b': no handler class"},
    {{.pattern = "/a", .handler = &Get, .urls = inner_bad}, "'/a': it has a handler and urls"},
    {TD_URL_MOUNT("/x", endless), "'/x': its urls stand in more than 7 others"},
};

START_TEST(a_url_that_is_wrong_is_told)
{
    const td_url urls[] = {wrong_urls[_i].url, {0}};
    td_err err = {0};

    ck_assert_int_eq(
        td_application_mount(web_app, web_instance("bad", urls, (td_handler_settings){0}), &err),
        TD_EPLUGIN);
    ck_assert_msg(strstr(err.text, wrong_urls[_i].error) != NULL, "%s", err.text);
    ck_assert_ptr_eq(strstr(err.text, "bad.so: "), err.text);
}
END_TEST

START_TEST(routes_that_want_the_same_are_twins_too)
{
    const td_url urls[] = {TD_URL("/a", &Get, .methods = "GET"), TD_URL("/a", &Post, .methods = "POST"),
                           TD_URL("/a", &Get, .headers = TD_HEADERS({"A", "b"})), {0}};
    const td_url again[] = {TD_URL("/a", &Get, .methods = "HEAD, GET"), {0}};
    td_err err = {0};

    td_application_mount(web_app, web_instance("one", urls, (td_handler_settings){0}), &err);
    ck_assert_int_eq(
        td_application_mount(web_app, web_instance("two", again, (td_handler_settings){0}), &err), 0);
    ck_assert_int_eq(td_application_seal(web_app, &err), TD_EPLUGIN);
    ck_assert_str_eq(err.text, "route '/a' is in one.so (handler one) and in two.so (handler two), "
                               "both at '/' for hosts '.*'");
}
END_TEST

/* ---- answers of several routes */

static const td_handler_class Put = {.put = say, .write_error = refuse_plainly};

static const struct {
    const char *method, *lines;
    int status;
    const char *body, *allow, *vary; /* NULL: there is none */
} several[] = {
    {"GET", "", 200, "GET", NULL, "X-Version"},
    {"GET", "X-Version: 2\r\n", 200, "GET", NULL, "X-Version"},
    {"PUT", "X-Version: 2\r\n", 200, "PUT", NULL, "X-Version"},
    {"PUT", "", 405, PAGE("405: Method Not Allowed"), "GET, HEAD, OPTIONS", "X-Version"},
    {"POST", "X-Version: 2\r\n", 405, "sorry: 405", "GET, HEAD, PUT, OPTIONS", "X-Version"},
    {"OPTIONS", "X-Version: 2\r\n", 204, "", "GET, HEAD, PUT, OPTIONS", "X-Version"},
    {"OPTIONS", "", 204, "", "GET, HEAD, OPTIONS", "X-Version"},
};

START_TEST(routes_of_one_path_answer_together)
{
    const td_url urls[] = {
        TD_URL("/x", &Put, .methods = "PUT", .headers = TD_HEADERS({"X-Version", "2"})),
        TD_URL("/x", &Get, .methods = "GET"), TD_URL("/post", &Post), {0}};
    char line[128];
    web_exchange *x;

    web_serve(urls);
    x = web_request(several[_i].method, "/x", several[_i].lines);
    ck_assert_int_eq(x->status, several[_i].status);
    ck_assert_str_eq(x->body, several[_i].body);
    snprintf(line, sizeof(line), "Allow: %s\n", several[_i].allow != NULL ? several[_i].allow : "");
    ck_assert_msg((strstr(x->headers, line) != NULL) == (several[_i].allow != NULL), "%s", x->headers);
    snprintf(line, sizeof(line), "Vary: %s\n", several[_i].vary);
    ck_assert_msg(strstr(x->headers, line) != NULL, "%s", x->headers);
    web_done(x);
}
END_TEST

/* ---- what no route matches */

static void
say_arg(td_handler *h, const void *arg)
{
    td_set_user_data(h, (void *)(uintptr_t)arg);
}

static void
say_lost(td_handler *h)
{
    td_writef(h, "lost, %s", (const char *)td_user_data(h));
}

static const td_handler_class Lost = {
    .get = say_lost, .initialize = say_arg, .write_error = refuse_plainly};

static td_instance *
instance_with_default(const char *name, const td_url *urls, const td_handler_class *class,
                      const char *arg)
{
    td_instance *instance = web_instance(name, urls, (td_handler_settings){0});

    ((td_plugin *)(uintptr_t)instance->plugin)->default_handler = class;
    ((td_plugin *)(uintptr_t)instance->plugin)->default_handler_arg = arg;
    return instance;
}

static const struct {
    const char *setting, *method, *target;
    int status;
    const char *body;
} lost[] = {
    {NULL, "GET", "/get", 200, "GET"},
    {NULL, "GET", "/nowhere", 200, "lost, one"},
    {NULL, "HEAD", "/nowhere", 200, ""},
    {NULL, "POST", "/nowhere", 404, "sorry: 404"},
    {NULL, "OPTIONS", "/nowhere", 404, "sorry: 404"},
    {NULL, "DELETE", "/get", 405, PAGE("405: Method Not Allowed")},
    {NULL, "PATCH", "/nowhere", 501, "sorry: 501"},
    {"one", "GET", "/nowhere", 200, "lost, one"},
};

START_TEST(a_default_handler_answers_what_no_route_matches)
{
    td_err err = {0};
    web_exchange *x;

    web_app_settings.default_handler = lost[_i].setting;
    td_application_mount(web_app, instance_with_default("one", table, &Lost, "one"), &err);
    ck_assert_msg(td_application_seal(web_app, &err) == 0, "%s", err.text);
    x = web_request(lost[_i].method, lost[_i].target, "");
    ck_assert_int_eq(x->status, lost[_i].status);
    ck_assert_str_eq(x->body, lost[_i].body);
    web_done(x);
}
END_TEST

static const struct {
    const char *setting;
    int defaults;
    const char *error; /* NULL: the body of what is lost */
} elections[] = {
    {NULL, 0, NULL},
    {NULL, 1, NULL},
    {"two", 2, NULL},
    {NULL, 2, "one.so (handler one) and two.so (handler two) have a default_handler"},
    {"three", 2, "default_handler = three: none of its handlers"},
    {"one", 0, "default_handler = one: none of its handlers"},
};

START_TEST(a_default_handler_is_one_at_most)
{
    const td_url one[] = {TD_URL("/one", &Get), {0}}, two[] = {TD_URL("/two", &Get), {0}};
    const bool is_error = elections[_i].error != NULL;
    td_err err = {0};
    int rc;

    web_app_settings.default_handler = elections[_i].setting;
    td_application_mount(
        web_app, instance_with_default("one", one, elections[_i].defaults > 0 ? &Lost : NULL, "1"), &err);
    td_application_mount(
        web_app, instance_with_default("two", two, elections[_i].defaults > 1 ? &Lost : NULL, "2"), &err);
    rc = td_application_seal(web_app, &err);
    ck_assert_int_eq(rc, is_error ? TD_ECONFIG : 0);
    if (is_error) {
        ck_assert_msg(strstr(err.text, elections[_i].error) != NULL, "%s", err.text);
        return;
    }
    web_exchange *x = web_get("/nowhere");
    ck_assert_str_eq(x->body, elections[_i].defaults == 0   ? PAGE("404: Not Found")
                              : elections[_i].defaults == 1 ? "lost, 1"
                                                            : "lost, 2");
    web_done(x);
}
END_TEST

START_TEST(a_redirect_without_a_default_host_is_told)
{
    td_err err = {0};

    web_app_settings.default_host_redirect = true;
    ck_assert_int_eq(td_application_seal(web_app, &err), TD_ECONFIG);
    ck_assert(strstr(err.text, "default_host_redirect = on: there is no default_host"));
}
END_TEST

START_TEST(a_bad_pattern_names_file_and_route)
{
    const td_url urls[] = {TD_URL("/a", &Get), TD_URL("/(", &Get), {.pattern = NULL}};
    const td_url no_class[] = {{"/a", NULL, .name = NULL}, {.pattern = NULL}};
    td_err err = {0};

    ck_assert_int_eq(
        td_application_mount(web_app, web_instance("bad", urls, (td_handler_settings){0}), &err),
        TD_EPLUGIN);
    ck_assert_str_eq(err.text, "bad.so: route 2, '/(': missing closing parenthesis at offset 2");
    ck_assert_int_eq(
        td_application_mount(web_app, web_instance("bad", no_class, (td_handler_settings){0}), &err),
        TD_EPLUGIN);
    ck_assert_str_eq(err.text, "bad.so: route 1, '/a': no handler class");
}
END_TEST

static void
list_route(const td_route_info *route, void *arg)
{
    char *out = arg;

    sprintf(out + strlen(out), "%s %u %s %s %s %s%s%s\n", route->instance->name, route->route,
            route->hosts, route->mount, route->pattern, route->name != NULL ? route->name : "-",
            route->wanted != NULL ? " " : "", route->wanted != NULL ? route->wanted : "");
}

START_TEST(routes_are_listed_in_the_order_of_matching)
{
    char text[1024] = "";
    const td_url one[] = {TD_URL("/b", &Get), TD_URL("/a", &Get, .name = "n"), {.pattern = NULL}};
    const td_url two[] = {TD_URL("/c", &Get, .methods = "GET"),
                          TD_URL_MOUNT("/d", TD_URLS(TD_URL("/e", &Get), TD_URL("/f", &Get))),
                          {.pattern = NULL}};
    td_err err = {0};

    td_application_mount(web_app, instance_with_default("zero", NULL, &Lost, ""), &err);
    td_application_mount(web_app, web_instance("one", one, (td_handler_settings){0}), &err);
    td_application_mount(web_app, web_instance("two", two, (td_handler_settings){.mount = "/m"}),
                         &err);
    ck_assert_int_eq(td_application_seal(web_app, &err), 0);
    td_application_each_route(web_app, list_route, text);
    ck_assert_str_eq(text, "two 1 .* /m /c - GET, HEAD\ntwo 2 .* /m /d/e -\ntwo 3 .* /m /d/f -\n"
                           "one 1 .* / /b -\none 2 .* / /a n\nzero 1 .* / /.* -\n");
}
END_TEST

/* ---- names */

static char reversed[256];

static void
reverse(td_handler *h)
{
    const td_str args[] = {TD_STR("a b"), TD_STR("2")};
    const char *const names[] = {"all", "get", "twice", "none", "all"};
    const size_t counts[] = {1, 0, 0, 0, 2};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        td_str path = td_reverse_url(h, names[i], args, counts[i]);

        strcat(reversed, path.ptr != NULL ? path.ptr : "(null)");
        strcat(reversed, " ");
    }
}

START_TEST(names_lead_back_to_paths_and_the_last_one_wins)
{
    const td_handler_class Reverse = {.get = reverse};
    const td_url urls[] = {TD_URL("/first", &Get, .name = "twice"), TD_URL("/r", &Reverse),
                           TD_URL("/second", &Get, .name = "twice"), {.pattern = NULL}};
    td_err err = {0};

    td_application_mount(web_app, web_instance("names", urls, (td_handler_settings){0}), &err);
    td_application_mount(web_app, web_instance("table", table, (td_handler_settings){.mount = "/t"}),
                         &err);
    ck_assert_int_eq(td_application_seal(web_app, &err), 0);
    ck_assert(strstr(web_log(), "the name 'twice' of route '/second' was that of '/first'"));
    web_done(web_get("/r"));
    ck_assert_str_eq(reversed, "/t/all/a%20b /t/get /second (null) (null) ");
    ck_assert(strstr(web_log(), "/r: td_reverse_url: no path for 'none' with 0 arguments"));
}
END_TEST

static void
reverse_own(td_handler *h)
{
    strcat(reversed, td_reverse_url(h, "own", NULL, 0).ptr);
    strcat(reversed, " ");
}

START_TEST(instances_of_a_file_find_their_own_names_first)
{
    const td_handler_class Reverse = {.get = reverse_own};
    const td_url urls[] = {TD_URL("/r", &Reverse, .name = "own"), {.pattern = NULL}};
    const char *const mounts[] = {"/a", "/b", "/c"};
    const td_plugin *plugin = NULL;
    td_err err = {0};

    for (size_t i = 0; i < 3; i++) {
        td_instance *instance =
            web_instance(mounts[i] + 1, urls, (td_handler_settings){.mount = mounts[i]});

        plugin = instance->plugin = plugin != NULL ? plugin : instance->plugin;
        td_application_mount(web_app, instance, &err);
    }
    ck_assert_int_eq(td_application_seal(web_app, &err), 0);
    ck_assert_ptr_null(strstr(web_log(), "the name"));
    web_done(web_get("/b/r"));
    web_done(web_get("/a/r"));
    web_done(web_get("/c/r"));
    ck_assert_str_eq(reversed, "/b/r /a/r /c/r ");
}
END_TEST

static const struct {
    const char *name, *path;
    size_t count;
} exactly[] = {
    {"own", "/b/r", 0},
    {"a:own", "/a/r", 0},
    {"b:own", "/b/r", 0},
    {"c:own", "/c/r", 0},
    {"c:v1.item", "/c/v1/x%20y/2", 2},
    {"v1.item", "/b/v1/x%20y/2", 2},
    {"b:with:colon", "/b/colon", 0},
    {"with:colon", "/b/colon", 0},
    {"d:own", NULL, 0},
    {":own", NULL, 0},
    {"a:", NULL, 0},
    {"item", NULL, 2},
    {"v1", NULL, 0},
    {"c:v1.item", NULL, 1},
};

static void
reverse_exactly(td_handler *h)
{
    const td_str args[] = {TD_STR("x y"), TD_STR("2")};

    for (size_t i = 0; i < sizeof(exactly) / sizeof(exactly[0]); i++)
        ck_assert_pstr_eq(td_reverse_url(h, exactly[i].name, args, exactly[i].count).ptr,
                          exactly[i].path);
}

START_TEST(an_instance_may_be_named_with_a_name)
{
    const td_handler_class Reverse = {.get = reverse_exactly};
    const td_url below[] = {TD_URL("/(\\w+)/(\\d+)", &Get, .name = "item"), {0}};
    const td_url urls[] = {TD_URL("/r", &Reverse, .name = "own"),
                           {.pattern = "/v1", .name = "v1", .urls = below},
                           TD_URL("/colon", &Get, .name = "with:colon"), {0}};
    const char *const mounts[] = {"/a", "/b", "/c"};
    td_err err = {0};

    for (size_t i = 0; i < 3; i++)
        td_application_mount(web_app, web_instance(mounts[i] + 1, urls, (td_handler_settings){.mount = mounts[i]}),
                             &err);
    ck_assert_int_eq(td_application_seal(web_app, &err), 0);
    web_done(web_get("/b/r"));
}
END_TEST

/* ---- limits */

START_TEST(the_narrower_limit_wins)
{
    static td_limits listener, other;
    const td_handler_class Large = {.get = say, .max_body_size = 9000, .request_timeout_ms = -1};
    const td_url urls[] = {TD_URL("/get", &Get), TD_URL("/large", &Large), {.pattern = NULL}};
    td_handler_settings *section;
    td_instance *instance = web_instance("limits", urls, (td_handler_settings){0});
    web_exchange *x;
    const td_limits *limits;
    td_err err = {0};

    listener = other = *td_limits_defaults();
    listener.max_body_size = 1000;
    listener.max_fields = 10;
    other.max_fields = 20;
    web_app_settings.limits.write_high_water = 5000;
    web_app_settings.limits.max_response_buffer = 6000;
    section = (td_handler_settings *)(uintptr_t)instance->section;
    section->limits.max_response_buffer = 7000;
    section->limits.max_body_size = 8000;
    ck_assert_int_eq(td_application_mount(web_app, instance, &err), 0);
    ck_assert_int_eq(td_application_seal(web_app, &err), 0);

    for (int i = 0; i < 4; i++) {
        x = web_route_to("GET", i % 2 == 0 ? "/get" : "/large", "");
        x->request->limits = i < 2 ? &listener : &other;
        td_application_delegate.route(web_app, x->request);
        limits = x->request->limits;
        ck_assert_int_eq(limits->max_fields, i < 2 ? 10 : 20);
        ck_assert_int_eq(limits->write_high_water, 5000);
        ck_assert_int_eq(limits->max_response_buffer, 7000);
        ck_assert_int_eq(limits->max_body_size, i % 2 == 0 ? 8000 : 9000);
        ck_assert_int_eq(limits->request_timeout_ms,
                         i % 2 == 0 ? td_limits_defaults()->request_timeout_ms : 0);
        td_request_unref(x->request);
        free(x);
    }
}
END_TEST

START_TEST(a_listener_without_narrower_limits_keeps_its_own)
{
    web_exchange *x;

    web_serve(table);
    x = web_route_to("GET", "/get", "");
    ck_assert_ptr_eq(x->request->limits, &web_configuration->listeners[0].limits);
    td_request_unref(x->request);
    free(x);
}
END_TEST

START_TEST(the_server_header_may_be_off)
{
    td_application *app = web_app;
    web_exchange *x;

    web_app_settings.server_header = "";
    web_app = td_application_create(&web_app_settings);
    td_application_destroy(&app);
    web_serve(table);
    x = web_get("/none");
    ck_assert_str_eq(x->headers, "Content-Type: text/html; charset=UTF-8\n");
    web_done(x);
}
END_TEST

/* ---- quarantine */

static void
crash(td_handler *h)
{
    (void)h;
    ck_abort_msg("its code was run");
}

static void
crash_with(td_handler *h, int status)
{
    (void)status;
    crash(h);
}

static const td_handler_class Crashing = {.prepare = crash, .get = crash,
                                          .post = crash, .on_finish = crash,
                                          .write_error = crash_with, .flags = TD_AUTHENTICATED,
                                          .set_default_headers = crash};
static const td_handler_class CrashingStream = {.post = crash, .prepare = crash,
                                                .flags = TD_STREAM_BODY | TD_ANY_METHOD};

static const td_url crashing_urls[] = {
    TD_URL("/crash", &Crashing),
    TD_URL("/stream", &CrashingStream),
    {.pattern = NULL},
};

static const struct {
    const char *method, *target, *lines;
    int status;
} quarantined[] = {
    {"GET", "/get", "", 200},
    {"GET", "/crash", "", 503},
    {"POST", "/crash", "", 503},
    {"PUT", "/crash", "", 503}, /* its prepare would come before 405 */
    {"POST", "/stream", "Content-Length: 5\r\n", 503},
    {"FROB", "/stream", "", 503},
    {"GET", "/nothing", "", 503}, /* it has the default handler, too */
};

START_TEST(an_instance_in_quarantine_runs_no_code)
{
    td_instance *good = web_instance("good", table, (td_handler_settings){0});
    td_instance *bad = instance_with_default("bad", crashing_urls, &Crashing, NULL);
    web_exchange *before, *x;
    td_err err = {0};

    ck_assert_int_eq(td_application_mount(web_app, good, &err), 0);
    ck_assert_int_eq(td_application_mount(web_app, bad, &err), 0);
    ck_assert_int_eq(td_application_seal(web_app, &err), 0);
    /* Routed before, as a head that comes again is. */
    before = web_route_to(quarantined[_i].method, quarantined[_i].target, quarantined[_i].lines);
    td_application_quarantine(web_app, bad);
    web_execute(before);
    ck_assert_int_eq(before->status, quarantined[_i].status);
    web_done(before);
    x = web_request(quarantined[_i].method, quarantined[_i].target, quarantined[_i].lines);
    ck_assert_int_eq(x->status, quarantined[_i].status);
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, web_setup, web_teardown);
    ADD_TABLE(tcase, each_head_has_its_answer, answers);
    ADD_TABLE(tcase, prepare_may_answer_for_a_method_that_there_is_not, prepared);
    tcase_add_test(tcase, an_error_that_the_head_decides_comes_before_the_body);
    tcase_add_test(tcase, an_application_without_routes_finds_nothing);
    tcase_add_test(tcase, the_same_head_may_be_executed_again);
    ADD_TABLE(tcase, in_debug_an_error_page_says_what_the_log_says, failures);
    ADD_TABLE(tcase, the_same_route_twice_is_refused, twins);
    tcase_add_test(tcase, a_bad_pattern_names_file_and_route);
    ADD_TABLE(tcase, a_url_that_is_wrong_is_told, wrong_urls);
    tcase_add_test(tcase, routes_that_want_the_same_are_twins_too);
    ADD_TABLE(tcase, routes_of_one_path_answer_together, several);
    ADD_TABLE(tcase, a_default_handler_answers_what_no_route_matches, lost);
    ADD_TABLE(tcase, a_default_handler_is_one_at_most, elections);
    tcase_add_test(tcase, a_redirect_without_a_default_host_is_told);
    ADD_TABLE(tcase, a_class_for_any_method_gets_those_that_have_no_entry, any_methods);
    ADD_TABLE(tcase, an_instance_in_quarantine_runs_no_code, quarantined);
    tcase_add_test(tcase, an_instance_may_be_named_with_a_name);
    tcase_add_test(tcase, routes_are_listed_in_the_order_of_matching);
    tcase_add_test(tcase, names_lead_back_to_paths_and_the_last_one_wins);
    tcase_add_test(tcase, instances_of_a_file_find_their_own_names_first);
    tcase_add_test(tcase, the_narrower_limit_wins);
    tcase_add_test(tcase, a_listener_without_narrower_limits_keeps_its_own);
    tcase_add_test(tcase, the_server_header_may_be_off);
}

int
main(void)
{
    return unit_run("application", fill);
}
