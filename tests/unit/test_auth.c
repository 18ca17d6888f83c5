/*
 * Goal: the current user is asked for once, of the class and then of the plugin, and a class that
 * wants one lets nobody else in.
 */
#include <tornado/auth.h>
#include "web_fixture.h"

static int asked;
static char jack[] = "jack", jill[] = "jill";

static void *
get_jack(td_handler *h)
{
    asked++;
    ck_assert_ptr_null(td_current_user(h)); /* nobody, as long as it is not known */
    return jack;
}

static void *
get_jill(td_handler *h)
{
    (void)h;
    asked++;
    return jill;
}

static void *
get_nobody(td_handler *h)
{
    (void)h;
    asked++;
    return NULL;
}

static void *
get_by_waiting(td_handler *h)
{
    (void)h;
    td_sleep(1);
    return jack;
}

static void *
raise_403(td_handler *h)
{
    td_raise(h, 403, "banned");
}

static void
greet(td_handler *h)
{
    const char *user = td_current_user(h);

    ck_assert_ptr_eq(td_current_user(h), user);
    td_writef(h, "Hello, %s", user != NULL ? user : "stranger");
}

static void
become_jill(td_handler *h)
{
    ck_assert_int_eq(td_set_current_user(h, jill), 0);
}

static void
become_nobody(td_handler *h)
{
    td_set_current_user(h, NULL);
}

/* By the request: pages of several sorts of users. */
static const char *
get_door(td_handler *h)
{
    const td_str door = td_get_query_argument_default(h, "door", NULL);

    ck_assert_ptr_null(td_current_user(h));
    if (td_str_equal(door, TD_STR("none")))
        return NULL;
    if (td_str_equal(door, TD_STR("closed")))
        td_raise(h, 410, "no more users");
    if (td_str_equal(door, TD_STR("sign")))
        td_redirect(h, "/sign", true);
    return door.ptr;
}

#define METHODS .get = greet, .post = greet, .flags = TD_AUTHENTICATED

static const td_handler_class OfPlugin = {.get = greet};
static const td_handler_class OfClass = {.get = greet, .get_current_user = get_jack};
static const td_handler_class Private = {METHODS, .name = "Private"};
static const td_handler_class Nobody = {METHODS, .get_current_user = get_nobody};
static const td_handler_class Waits = {METHODS, .get_current_user = get_by_waiting};
static const td_handler_class Raises = {METHODS, .get_current_user = raise_403};
static const td_handler_class Set = {METHODS, .prepare = become_jill};
static const td_handler_class Unset = {METHODS, .prepare = become_nobody};
static const td_handler_class Options = {.options = greet, .flags = TD_AUTHENTICATED,
                                         .get_current_user = get_nobody};
static const td_handler_class Doors = {METHODS, .get_current_user = get_nobody,
                                       .get_login_url = get_door};
static const td_url urls[] = {
    TD_URL("/doors", &Doors),
    TD_URL("/of-plugin", &OfPlugin), TD_URL("/of-class", &OfClass), TD_URL("/private", &Private),
    TD_URL("/nobody", &Nobody),      TD_URL("/waits", &Waits),      TD_URL("/raises", &Raises),
    TD_URL("/set", &Set),            TD_URL("/unset", &Unset),      TD_URL("/options", &Options),
    {.pattern = NULL},
};

/* One instance, whose plugin says that everybody is Jill; login_url NULL: there is none. */
static void
serve(const char *login_url)
{
    td_instance *instance = web_instance("test", urls, (td_handler_settings){0});
    td_plugin *plugin = TD_ARENA_NEW(&web_arena, td_plugin);

    *plugin = *instance->plugin;
    plugin->get_current_user = get_jill;
    instance->plugin = plugin;
    web_app_settings.login_url = login_url;
    ck_assert_int_eq(td_application_mount(web_app, instance, NULL), 0);
    ck_assert_int_eq(td_application_seal(web_app, NULL), 0);
    asked = 0;
}

static const struct {
    const char *method, *target;
    int status, asked;
    const char *body;
} requests[] = {
    {"GET", "/of-plugin", 200, 1, "Hello, jill"}, {"GET", "/of-class", 200, 1, "Hello, jack"},
    {"GET", "/private", 200, 1, "Hello, jill"},   {"POST", "/private", 200, 1, "Hello, jill"},
    {"GET", "/nobody", 302, 1, ""},               {"HEAD", "/nobody", 302, 1, ""},
    {"POST", "/nobody", 403, 1, NULL},            {"OPTIONS", "/nobody", 204, 0, ""},
    {"OPTIONS", "/options", 403, 1, NULL},        {"POST", "/of-class", 405, 0, NULL},
    {"GET", "/waits", 200, 0, "Hello, jack"},     {"GET", "/raises", 403, 0, NULL},
    {"GET", "/set", 200, 0, "Hello, jill"},       {"GET", "/unset", 302, 0, ""},
    {"GET", "/missing", 404, 0, NULL},
};

START_TEST(who_is_asked_and_who_is_let_in)
{
    serve("/login");
    web_exchange *x = web_request(requests[_i].method, requests[_i].target, "");

    WEB_UNTIL(x->finishes == 1);
    ck_assert_int_eq(x->status, requests[_i].status);
    ck_assert_int_eq(asked, requests[_i].asked);
    if (requests[_i].body != NULL)
        ck_assert_str_eq(x->body, requests[_i].body);
    web_done(x);
}
END_TEST

static const struct {
    const char *login_url, *location;
} logins[] = {
    {"/login", "/login?next=%2Fnobody%3Fa%3Db%2526c%26d~"},
    {"/login?x", "/login?x"},
    {"/#login", "/?next=%2Fnobody%3Fa%3Db%2526c%26d~#login"},
    {"//host/login", "//host/login?next=%2Fnobody%3Fa%3Db%2526c%26d~"},
    {"https://host/login",
     "https://host/login?next=http%3A%2F%2Fexample.org%3A8888%2Fnobody%3Fa%3Db%2526c%26d~"},
    {"https://host/login?", "https://host/login?"},
    {"my-app:login",
     "my-app:login?next=http%3A%2F%2Fexample.org%3A8888%2Fnobody%3Fa%3Db%2526c%26d~"},
    {"1:login", "1:login?next=%2Fnobody%3Fa%3Db%2526c%26d~"},
};

START_TEST(the_login_page_is_told_where_to_go_next)
{
    char expected[256];

    serve(logins[_i].login_url);
    web_exchange *x = web_get("/nobody?a=b%26c&d~");

    snprintf(expected, sizeof(expected), "\nLocation: %s\n", logins[_i].location);
    ck_assert_msg(strstr(x->headers, expected), "%s", x->headers);
    web_done(x);
}
END_TEST

static const struct {
    const char *door;
    int status;
    const char *login_url, *location; /* NULL: there is none */
} doors[] = {
    {"/staff", 302, "/login", "/staff?next=%2Fdoors%3Fdoor%3D%2Fstaff"},
    {"/staff", 302, NULL, "/staff?next=%2Fdoors%3Fdoor%3D%2Fstaff"},
    {"none", 302, "/login", "/login?next=%2Fdoors%3Fdoor%3Dnone"},
    {"none", 500, NULL, NULL},
    {"closed", 410, "/login", NULL},
    {"sign", 301, "/login", "/sign"},
};

START_TEST(a_class_may_have_a_login_page_of_its_own)
{
    char target[64], expected[128];

    serve(doors[_i].login_url);
    snprintf(target, sizeof(target), "/doors?door=%s", doors[_i].door);
    web_exchange *x = web_get(target);

    ck_assert_int_eq(x->status, doors[_i].status);
    if (doors[_i].location != NULL) {
        snprintf(expected, sizeof(expected), "\nLocation: %s\n", doors[_i].location);
        ck_assert_msg(strstr(x->headers, expected), "%s", x->headers);
    }
    web_done(x);
}
END_TEST

START_TEST(without_a_login_page_it_is_500)
{
    serve(NULL);
    web_exchange *x = web_get("/nobody");

    ck_assert_int_eq(x->status, 500);
    ck_assert(strstr(web_log(), "there is no login_url in [application:default]"));
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, web_setup, web_teardown);
    ADD_TABLE(tcase, who_is_asked_and_who_is_let_in, requests);
    ADD_TABLE(tcase, the_login_page_is_told_where_to_go_next, logins);
    ADD_TABLE(tcase, a_class_may_have_a_login_page_of_its_own, doors);
    tcase_add_test(tcase, without_a_login_page_it_is_500);
}

int
main(void)
{
    return unit_run("auth", fill);
}
