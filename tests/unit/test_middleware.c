/*
 * Goal: links stand around everything that a route answers, in their order; whatever ends below a
 * td_next, and however, ends there; what is misuse is told and answered.
 */
#include "base/activity.h"
#include "web_fixture.h"
#include "web/handler.h"

static int rc[8];
static td_handler *kept;

/* ---- links: each test says what they do */

static td_method_fn *outer, *inner, *guard, *get;

static void
pass(td_handler *h)
{
    char text[32];
    const char *name = td_settings(h);

    snprintf(text, sizeof(text), "%s{", name);
    note(text);
    rc[0] = td_next(h);
    ck_assert_ptr_eq(td_settings(h), name);
    ck_assert(td_is_finished(h));
    snprintf(text, sizeof(text), "%d}%s", td_get_status(h), name);
    note(text);
}

static void run_outer(td_handler *h) { outer(h); }
static void run_inner(td_handler *h) { inner(h); }
static void run_guard(td_handler *h) { guard(h); }

/* ---- handlers */

static void
do_get(td_handler *h)
{
    ck_assert_ptr_null(td_settings(h));
    note("get");
    if (get != NULL)
        get(h);
}
static void do_initialize(td_handler *h, const void *arg) { (void)h, (void)arg, note("initialize"); }
static void do_on_finish(td_handler *h) { (void)h, note("on_finish"); }
static void do_write_error(td_handler *h, int status) { note("page"), td_writef(h, "my %d", status); }

static const td_handler_class Plain = {.get = do_get, .post = do_get, .name = "Plain"};
static const td_handler_class Full = {.get = do_get, .initialize = do_initialize,
                                      .on_finish = do_on_finish, .write_error = do_write_error,
                                      .name = "Full"};
static const td_handler_class Short = {
    .get = do_get, .on_finish = do_on_finish, .request_timeout_ms = 30, .name = "Short"};
static const td_handler_class Leaving = {
    .get = do_get, .on_finish = do_on_finish, .flags = TD_CANCEL_ON_CLOSE, .name = "Leaving"};
static const td_url urls[] = {
    TD_URL("/plain", &Plain),     TD_URL("/full", &Full), TD_URL("/short", &Short),
    TD_URL("/leaving", &Leaving), TD_URL("/arg/(.*)", &Plain), {.pattern = NULL},
};
static const td_url admin_urls[] = {TD_URL("/page", &Plain), {.pattern = NULL}};

static td_instance *links[3];

static td_instance *
make_link(int place, const char *name, td_method_fn *run)
{
    td_instance *link = links[place] = web_instance(name, NULL, (td_handler_settings){0});
    td_plugin *plugin = TD_ARENA_NEW(&web_arena, td_plugin);

    plugin->name = name;
    plugin->middleware = run;
    link->plugin = plugin;
    link->settings = name;
    return link;
}

static void
mount(const char *name, const td_url *its_urls, td_handler_settings section,
      const td_instance *const *middleware)
{
    td_instance *instance = web_instance(name, its_urls, section);
    td_err err = {0};

    instance->middleware = middleware;
    ck_assert_msg(td_application_mount(web_app, instance, &err) == 0, "%s", err.text);
}

static void
setup(void)
{
    static const td_instance *around_all[3], *around_admin[2];
    td_err err = {0};

    web_setup();
    gate = td_future_create();
    outer = inner = guard = pass;
    around_all[0] = make_link(0, "outer", run_outer);
    around_all[1] = make_link(1, "inner", run_inner);
    around_admin[0] = make_link(2, "guard", run_guard);
    td_application_set_middleware(web_app, around_all);
    mount("test", urls, (td_handler_settings){0}, NULL);
    mount("admin", admin_urls, (td_handler_settings){.mount = "/admin"}, around_admin);
    mount("vhost", admin_urls, (td_handler_settings){.hosts = "a\\.example"}, around_admin);
    ck_assert_msg(td_application_seal(web_app, &err) == 0, "%s", err.text);
}

/* ---- what they do */

static void say_hello(td_handler *h) { td_write(h, TD_STR("Hello")); }
static void refuse(td_handler *h) { td_raise(h, 403, "not you"); }
static void finish_at_once(td_handler *h) { note("answer"), td_set_status(h, 401, NULL), td_finish(h); }
static void send_error(td_handler *h) { td_send_error(h, 502, "upstream"); }
static void do_nothing(td_handler *h) { (void)h; }
static void write_only(td_handler *h) { td_write_text(h, "lost"); }
static void next_then_raise(td_handler *h) { pass(h), td_raise(h, 500, "too late"); }
static void wait_then_pass(td_handler *h) { wait_at_gate(), pass(h); }
static void pass_then_wait(td_handler *h) { pass(h), wait_at_gate(), note("awake"); }
static void wait_then_hello(td_handler *h) { wait_at_gate(), say_hello(h); }
static void put_off(td_handler *h) { kept = h, rc[1] = td_asynchronous(h); }
static void redirect_away(td_handler *h) { td_redirect(h, "/x", false); }

static void
raise_in_write(td_handler *h)
{
    td_write_text(h, "dropped");
    td_get_argument(h, "missing");
}

static void
flush_then_raise(td_handler *h)
{
    say_hello(h);
    td_flush(h);
    td_raise(h, 500, "late");
}

#define PAGE(text) "<html><title>" text "</title><body>" text "</body></html>"
#define AROUND(status, what) "outer{ inner{ " what " " status "}inner " status "}outer"

/* ---- in one go */

static const struct {
    const char *method, *target;
    td_method_fn *outer, *inner, *get;
    int status, aborts;
    const char *body, *trace, *log; /* log NULL: nothing is logged */
} lives[] = {
    {"GET", "/plain", pass, pass, say_hello, 200, 0, "Hello", AROUND("200", "get"), NULL},
    {"GET", "/full", pass, pass, say_hello, 200, 0, "Hello",
     AROUND("200", "initialize get on_finish"), NULL},
    {"GET", "/plain", pass, pass, refuse, 403, 0, PAGE("403: Forbidden"), AROUND("403", "get"),
     "test] Plain: 403 GET /plain (0.0.0.0): not you"},
    {"GET", "/full", pass, pass, refuse, 403, 0, "my 403",
     AROUND("403", "initialize get page on_finish"), "not you"},
    {"GET", "/full", pass, pass, raise_in_write, 400, 0, "my 400",
     AROUND("400", "initialize get page on_finish"), "Missing argument missing"},
    {"GET", "/plain", pass, pass, flush_then_raise, 200, 1, "Hello", AROUND("200", "get"), "late"},
    {"GET", "/plain", pass, pass, redirect_away, 302, 0, "", AROUND("302", "get"), NULL},
    {"GET", "/full", pass, pass, send_error, 502, 0, "my 502",
     AROUND("502", "initialize get page on_finish"), "upstream"},

    /* what no method has answered */
    {"GET", "/nothing", pass, pass, NULL, 404, 0, PAGE("404: Not Found"),
     "outer{ inner{ 404}inner 404}outer", NULL},
    {"POST", "/full", pass, pass, NULL, 405, 0, "my 405",
     AROUND("405", "initialize page on_finish"), NULL},
    {"BREW", "/plain", pass, pass, NULL, 501, 0, PAGE("501: Not Implemented"),
     "outer{ inner{ 501}inner 501}outer", NULL},
    {"GET", "/arg/%ff", pass, pass, NULL, 400, 0, PAGE("400: Bad Request"),
     "outer{ inner{ 400}inner 400}outer", "not UTF-8"},
    {"OPTIONS", "/plain", pass, pass, NULL, 204, 0, "", "outer{ inner{ 204}inner 204}outer", NULL},
    {"OPTIONS", "*", pass, pass, NULL, 200, 0, "", "outer{ inner{ 200}inner 200}outer", NULL},

    /* a mount's own */
    {"GET", "/admin/page", pass, pass, say_hello, 200, 0, "Hello",
     "outer{ inner{ guard{ get 200}guard 200}inner 200}outer", NULL},
    {"GET", "/admin/nothing", pass, pass, NULL, 404, 0, PAGE("404: Not Found"),
     "outer{ inner{ guard{ 404}guard 404}inner 404}outer", NULL},
    {"GET", "/admin", pass, pass, NULL, 404, 0, PAGE("404: Not Found"),
     "outer{ inner{ guard{ 404}guard 404}inner 404}outer", NULL},
    {"BREW", "/admin/page", pass, pass, NULL, 501, 0, PAGE("501: Not Implemented"),
     "outer{ inner{ guard{ 501}guard 501}inner 501}outer", NULL},
    {"GET", "/administrator", pass, pass, NULL, 404, 0, PAGE("404: Not Found"),
     "outer{ inner{ 404}inner 404}outer", NULL},

    /* links that answer */
    {"GET", "/full", pass, finish_at_once, say_hello, 401, 0, "",
     "outer{ answer 401}outer", NULL},
    {"GET", "/full", finish_at_once, pass, say_hello, 401, 0, "", "answer", NULL},
    {"GET", "/nothing", pass, finish_at_once, NULL, 401, 0, "", "outer{ answer 401}outer", NULL},
    {"GET", "/full", pass, refuse, say_hello, 403, 0, "my 403",
     "outer{ initialize page on_finish 403}outer",
     "inner] Full: 403 GET /full (0.0.0.0): not you"},
    {"GET", "/full", refuse, pass, say_hello, 403, 0, "my 403", "initialize page on_finish",
     "outer] Full: 403 GET /full (0.0.0.0): not you"},
    {"GET", "/plain", pass, next_then_raise, say_hello, 200, 0, "Hello", AROUND("200", "get"),
     "inner] Plain: 500 GET /plain (0.0.0.0): too late"},

    /* links that forget to */
    {"GET", "/plain", pass, do_nothing, say_hello, 500, 0, PAGE("500: Internal Server Error"),
     "outer{ 500}outer", "inner] Plain: 500 GET /plain (0.0.0.0): the middleware returned without "
                         "td_next and without an answer"},
    {"GET", "/plain", write_only, pass, say_hello, 500, 0, PAGE("500: Internal Server Error"), "",
     "outer] Plain: 500 GET /plain (0.0.0.0): the middleware returned without td_next"},
};

START_TEST(a_chain_stands_around_everything)
{
    web_exchange *x;
    const char *log;

    outer = lives[_i].outer;
    inner = lives[_i].inner;
    get = lives[_i].get;
    x = web_request(lives[_i].method, lives[_i].target, "");
    ck_assert_int_eq(x->status, lives[_i].status);
    ck_assert_str_eq(x->body, lives[_i].body);
    ck_assert_str_eq(trace, lives[_i].trace);
    ck_assert_int_eq(x->aborts, lives[_i].aborts);
    ck_assert_int_eq(x->finishes, 1 - lives[_i].aborts);
    log = web_log();
    if (lives[_i].log == NULL)
        ck_assert_str_eq(log, "");
    else
        ck_assert_msg(strstr(log, lives[_i].log) != NULL, "%s", log);
    ck_assert_uint_eq(x->request->references, 1);
    web_done(x);
}
END_TEST

/* A mount for one host keeps its chain to it. */
START_TEST(what_is_not_found_has_the_chain_of_its_host)
{
    static const struct {
        const char *host, *trace;
    } hosts[] = {
        {"a.example", "outer{ inner{ guard{ 404}guard 404}inner 404}outer"},
        {"A.EXAMPLE:80", "outer{ inner{ guard{ 404}guard 404}inner 404}outer"},
        {"b.example", "outer{ inner{ 404}inner 404}outer"},
    };
    char raw[128];
    web_exchange *x;

    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        snprintf(raw, sizeof(raw), "GET /nothing HTTP/1.1\r\nHost: %s\r\n\r\n", hosts[i].host);
        trace[0] = '\0';
        x = web_route(td_arena_strdup(&web_arena, raw));
        web_execute(x);
        ck_assert_int_eq(x->status, 404);
        ck_assert_str_eq(trace, hosts[i].trace);
        web_done(x);
    }
}
END_TEST

START_TEST(a_link_that_is_quarantined_answers_503)
{
    web_exchange *x;

    links[1]->quarantined = true;
    x = web_get("/plain");
    ck_assert_int_eq(x->status, 503);
    ck_assert_str_eq(trace, "outer{ 503}outer");
    web_done(x);
}
END_TEST

/* ---- waiting */

static const struct {
    td_method_fn *outer, *inner, *get;
    const char *target, *before, *after, *body;
} waits[] = {
    {pass, pass, wait_then_hello, "/full", "outer{ inner{ initialize get",
     AROUND("200", "initialize get on_finish"), "Hello"},
    {wait_then_pass, pass, say_hello, "/full", "", AROUND("200", "initialize get on_finish"),
     "Hello"},
    {pass, wait_then_pass, say_hello, "/full", "outer{", AROUND("200", "initialize get on_finish"),
     "Hello"},
    {pass, pass_then_wait, say_hello, "/full", "outer{ inner{ initialize get on_finish 200}inner",
     "outer{ inner{ initialize get on_finish 200}inner awake 200}outer", "Hello"},
    {wait_then_pass, pass, NULL, "/nothing", "", "outer{ inner{ 404}inner 404}outer",
     PAGE("404: Not Found")},
};

START_TEST(links_and_handlers_may_wait)
{
    web_exchange *x;

    outer = waits[_i].outer;
    inner = waits[_i].inner;
    get = waits[_i].get;
    x = web_get(waits[_i].target);
    ck_assert_str_eq(trace, waits[_i].before);
    ck_assert_uint_eq(td_handlers_running(), 1);
    open_gate();
    ck_assert_str_eq(trace, waits[_i].after);
    ck_assert_str_eq(x->body, waits[_i].body);
    ck_assert_int_eq(x->finishes, 1);
    web_done(x);
}
END_TEST

static void
finish_kept(void *arg)
{
    (void)arg;
    note("callback");
    ck_assert_ptr_null(td_settings(kept));
    rc[2] = td_next(kept);
    td_write_text(kept, "later");
    rc[3] = td_finish(kept);
}

static void
put_off_and_call(td_handler *h)
{
    put_off(h);
    td_call_later(web_loop, 1, finish_kept, NULL);
}

START_TEST(td_next_waits_for_a_response_that_was_put_off)
{
    web_exchange *x;

    get = put_off_and_call;
    x = web_get("/full");
    ck_assert_str_eq(trace, "outer{ inner{ initialize get");
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_str_eq(trace, AROUND("200", "initialize get callback on_finish"));
    ck_assert_int_eq(rc[2], TD_EINVAL);
    ck_assert_int_eq(rc[3], 0);
    ck_assert(strstr(web_log(), "td_next: called outside of a middleware"));
    ck_assert_str_eq(x->body, "later");
    ck_assert_uint_eq(x->request->references, 1);
    web_done(x);
}
END_TEST

static void
fail_kept(void *arg)
{
    (void)arg;
    note("callback");
    td_raise(kept, 502, "callback");
}

static void
put_off_and_fail(td_handler *h)
{
    put_off(h);
    td_call_later(web_loop, 1, fail_kept, NULL);
}

static void
fail_elsewhere_and_wait(td_handler *h)
{
    kept = h;
    td_call_later(web_loop, 1, fail_kept, NULL);
    wait_at_gate();
    note("never");
}

START_TEST(a_callback_that_raises_ends_at_the_innermost_td_next)
{
    td_method_fn *const fails[] = {put_off_and_fail, fail_elsewhere_and_wait};
    web_exchange *x;

    get = fails[_i];
    x = web_get("/full");
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(x->status, 502);
    ck_assert_str_eq(x->body, "my 502");
    ck_assert_str_eq(trace, AROUND("502", "initialize get callback page on_finish"));
    web_done(x);
}
END_TEST

/* ---- cancellation */

static void
note_deferred(void *arg)
{
    (void)arg;
    note("deferred");
}

static void
defer_and_wait(td_handler *h)
{
    kept = h;
    td_defer(note_deferred, NULL);
    wait_at_gate();
    note("never");
}

START_TEST(a_handler_that_waits_too_long_ends_at_the_innermost_td_next)
{
    td_method_fn *const slow[] = {defer_and_wait, put_off};
    web_exchange *x;

    inner = pass_then_wait;
    get = slow[_i];
    x = web_get("/short");
    WEB_UNTIL(x->finishes == 1);
    ck_assert_int_eq(x->status, 504);
    ck_assert_uint_eq(td_handlers_running(), 1); /* the link goes on, and is not cancelled */
    ck_assert(strstr(web_log(), "test] Short: 504 GET /short (0.0.0.0): request_timeout"));
    open_gate();
    ck_assert_str_eq(trace, _i == 0 ? "outer{ inner{ get deferred on_finish 504}inner awake 504}outer"
                                    : "outer{ inner{ get on_finish 504}inner awake 504}outer");
    if (_i == 1)
        ck_assert_int_eq(td_finish(kept), TD_ECLOSED);
    web_done(x);
}
END_TEST

static void pass_then_finish(td_handler *h) { pass(h), td_finish(h); }
static void pass_then_redirect(td_handler *h) { pass(h), td_redirect(h, "/", false); }
static void pass_then_refuse(td_handler *h) { pass(h), td_send_error(h, 403, NULL); }
static void pass_then_raise(td_handler *h) { pass(h), td_raise(h, 403, NULL); }

/* Whoever was promised to finish it comes yet, and h has to be valid for him. */
START_TEST(a_link_behind_the_end_does_not_finish_for_others)
{
    td_method_fn *const ends[] = {pass_then_finish, pass_then_redirect, pass_then_refuse,
                                  pass_then_raise};
    web_exchange *x;

    inner = ends[_i];
    get = put_off;
    x = web_get("/short");
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(x->status, 504);
    ck_assert_uint_eq(x->request->references, 2);
    ck_assert_int_eq(td_finish(kept), TD_ECLOSED);
    ck_assert_uint_eq(x->request->references, 1);
    web_done(x);
}
END_TEST

START_TEST(a_link_that_waits_too_long_is_cancelled_and_named)
{
    web_exchange *x;

    inner = wait_then_pass;
    x = web_get("/short");
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(x->status, 504);
    ck_assert_str_eq(trace, "outer{ on_finish 504}outer");
    ck_assert(strstr(web_log(), "inner] Short: 504 GET /short (0.0.0.0): request_timeout"));
    web_done(x);
}
END_TEST

START_TEST(the_end_of_the_worker_cancels_links_too)
{
    web_exchange *x;

    inner = outer = pass_then_wait;
    get = defer_and_wait;
    x = web_get("/plain");
    td_handlers_cancel_all();
    web_turn();
    ck_assert_int_eq(x->status, 503);
    ck_assert_str_eq(trace, "outer{ inner{ get deferred 503}inner 503}outer");
    ck_assert_uint_eq(td_handlers_running(), 0);
    web_done(x);
}
END_TEST

START_TEST(cancel_on_close_ends_at_the_innermost_td_next)
{
    web_exchange *x;

    get = defer_and_wait;
    x = web_get("/leaving");
    web_client_leaves(x);
    web_turn();
    ck_assert_str_eq(trace, "outer{ inner{ get deferred on_finish 200}inner 200}outer");
    ck_assert_uint_eq(td_handlers_running(), 0);
    web_done(x);
}
END_TEST

/* ---- misuse */

static void
next_twice(td_handler *h)
{
    pass(h);
    rc[4] = td_next(h);
}

static void
next_after_answer(td_handler *h)
{
    td_finish(h);
    rc[4] = td_next(h);
}

static void
next_after_putting_off(td_handler *h)
{
    td_asynchronous(h);
    rc[4] = td_next(h);
    td_finish(h);
}

static void
next_in_a_handler(td_handler *h)
{
    rc[4] = td_next(h);
}

static const struct {
    td_method_fn *inner, *get;
    const char *log;
} misuses[] = {
    {next_twice, say_hello, "inner] Plain: td_next: called twice"},
    {next_after_answer, say_hello, "inner] Plain: td_next: the response has ended"},
    {next_after_putting_off, say_hello, "inner] Plain: td_next: the end has been put off"},
    {pass, next_in_a_handler, "test] Plain: td_next: called outside of a middleware"},
};

START_TEST(misuse_of_td_next_is_told)
{
    web_exchange *x;

    inner = misuses[_i].inner;
    get = misuses[_i].get;
    x = web_get("/plain");
    web_turn();
    ck_assert_int_eq(rc[4], TD_EINVAL);
    ck_assert(strstr(web_log(), misuses[_i].log));
    ck_assert_int_eq(x->finishes, 1);
    ck_assert_int_eq(td_next(NULL), TD_EINVAL);
    web_done(x);
}
END_TEST

/* ---- a link may answer later, too */

static void
answer_kept(void *arg)
{
    (void)arg;
    td_set_status(kept, 429, NULL);
    td_finish(kept);
}

static void
answer_later(td_handler *h)
{
    put_off(h);
    td_call_later(web_loop, 1, answer_kept, NULL);
}

START_TEST(a_link_may_answer_later)
{
    web_exchange *x;

    if (_i == 0)
        inner = answer_later;
    else
        outer = answer_later;
    x = web_get("/full");
    WEB_UNTIL(td_handlers_running() == 0);
    ck_assert_int_eq(x->status, 429);
    ck_assert_str_eq(trace, _i == 0 ? "outer{ 429}outer" : "");
    web_done(x);
}
END_TEST

/* ---- td_on_head */

static void
mark_head(td_handler *h, void *arg)
{
    ck_assert_str_eq(td_settings(h), arg);
    td_add_header(h, "X-Mark", arg);
    if (td_get_status(h) == 200)
        td_set_status(h, 201, NULL);
    note(arg);
}

static void
mark_and_pass(td_handler *h)
{
    rc[5] = td_on_head(h, mark_head, (void *)td_settings(h));
    pass(h);
    rc[6] = td_on_head(h, mark_head, NULL);
}

START_TEST(before_the_head_the_last_one_registered_comes_first)
{
    static const struct {
        const char *target;
        td_method_fn *get;
        int status;
    } heads[] = {
        {"/plain", say_hello, 201},    {"/plain", refuse, 403},      {"/full", refuse, 403},
        {"/plain", redirect_away, 302}, {"/plain", flush_then_raise, 201}, {"/nothing", NULL, 404},
        {"/plain", wait_then_hello, 201},
    };
    web_exchange *x;

    outer = inner = mark_and_pass;
    get = heads[_i].get;
    x = web_get(heads[_i].target);
    open_gate();
    ck_assert_int_eq(x->status, heads[_i].status);
    ck_assert(strstr(x->headers, "X-Mark: inner\nX-Mark: outer\n"));
    ck_assert(strstr(trace, "inner outer"));
    ck_assert_int_eq(rc[5], 0);
    ck_assert_int_eq(rc[6], TD_EINVAL);
    web_done(x);
}
END_TEST

/* The page of the outermost is made on another coroutine, and after write_error on none. */
static void
mark_and_refuse(td_handler *h)
{
    td_on_head(h, mark_head, (void *)td_settings(h));
    td_raise(h, 403, "no");
}

START_TEST(the_page_of_the_outermost_has_its_marks)
{
    web_exchange *x;

    outer = mark_and_refuse;
    x = web_get(_i == 0 ? "/plain" : "/full");
    ck_assert_int_eq(x->status, 403);
    ck_assert(strstr(x->headers, "X-Mark: outer\n"));
    web_done(x);
}
END_TEST

static void
misuse_in_head(td_handler *h, void *arg)
{
    (void)arg;
    ck_assert_int_eq(td_write_text(h, "x"), TD_EINVAL);
    ck_assert_int_eq(td_flush(h), TD_EINVAL);
    ck_assert_int_eq(td_finish(h), TD_EINVAL);
    ck_assert_int_eq(td_redirect(h, "/", false), TD_EINVAL);
    ck_assert_int_eq(td_send_error(h, 500, NULL), TD_EINVAL);
    ck_assert_int_eq(td_sse_begin(h), TD_EINVAL);
    ck_assert_int_eq(td_serve_static(h, TD_STATIC(.root = "/"), TD_STR("x")), TD_EINVAL);
    ck_assert_int_eq(td_asynchronous(h), TD_EINVAL);
    ck_assert(!td_check_etag(h));
    ck_assert_int_eq(td_next(h), TD_EINVAL);
    ck_assert_int_eq(td_sleep(1), TD_EINVAL);
    ck_assert_int_eq(td_on_head(h, misuse_in_head, NULL), TD_EINVAL);
    ck_assert_int_eq(td_set_header(h, "X-Still", "good"), 0);
}

static void
register_misuse(td_handler *h)
{
    ck_assert_int_eq(td_on_head(h, NULL, NULL), TD_EINVAL);
    td_on_head(h, misuse_in_head, NULL);
    pass(h);
}

START_TEST(misuse_before_the_head_changes_nothing)
{
    web_exchange *x;

    inner = register_misuse;
    get = say_hello;
    x = web_get("/plain");
    ck_assert_int_eq(x->status, 200);
    ck_assert_str_eq(x->body, "Hello");
    ck_assert(strstr(x->headers, "X-Still: good\n"));
    web_done(x);
}
END_TEST

static void raise_in_head(td_handler *h, void *arg) { (void)arg, td_raise(h, 500, "in the head"); }
static void
register_raise(td_handler *h)
{
    td_on_head(h, raise_in_head, NULL);
    pass(h);
}

START_TEST(one_that_raises_before_the_head_ends_the_connection)
{
    td_method_fn *const gets[] = {say_hello, refuse, flush_then_raise};
    web_exchange *x;

    inner = register_raise;
    get = gets[_i];
    x = web_get("/full");
    web_turn();
    ck_assert_int_eq(x->heads, 0);
    ck_assert_int_ge(x->aborts, 1);
    ck_assert(strstr(web_log(), "in the head"));
    ck_assert(strstr(trace, "}inner") && strstr(trace, "}outer"));
    web_done(x);
}
END_TEST

/* ---- values, users, names */

static void
hand_down(td_handler *h)
{
    static int a = 1, b = 2;

    ck_assert_ptr_null(td_value(h, "a"));
    ck_assert_int_eq(td_set_value(h, "a", &a), 0);
    ck_assert_int_eq(td_set_value(h, "b", &a), 0);
    ck_assert_int_eq(td_set_value(h, "b", &b), 0);
    ck_assert_int_eq(td_set_current_user(h, &a), 0);
    ck_assert_int_eq(td_set_value(h, NULL, &a), TD_EINVAL);
    ck_assert_ptr_null(td_value(h, NULL));
    pass(h);
    ck_assert_str_eq(td_value(h, "up"), "from below");
}

static void
take_up(td_handler *h)
{
    ck_assert_int_eq(*(int *)td_value(h, "a"), 1);
    ck_assert_int_eq(*(int *)td_value(h, "b"), 2);
    ck_assert_ptr_eq(td_current_user(h), td_value(h, "a"));
    td_set_value(h, "up", (void *)"from below");
}

START_TEST(values_are_handed_down_and_up)
{
    web_exchange *x;

    outer = hand_down;
    get = take_up;
    x = web_get("/plain");
    ck_assert_int_eq(x->status, 200);
    web_done(x);
}
END_TEST

static uint32_t seen[3];

static void
look_and_pass(td_handler *h)
{
    seen[0] = td_activity_slot->instance;
    pass(h);
    seen[2] = td_activity_slot->instance;
}

static void look(td_handler *h) { (void)h, seen[1] = td_activity_slot->instance; }

START_TEST(what_runs_is_known_after_a_crash)
{
    web_exchange *x;

    inner = look_and_pass;
    get = look;
    x = web_get("/plain");
    ck_assert_uint_eq(seen[0], links[1]->index);
    ck_assert_uint_eq(seen[1], links[2]->index + 1); /* of test */
    ck_assert_uint_eq(seen[2], links[1]->index);
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, web_teardown_gate);
    ADD_TABLE(tcase, a_chain_stands_around_everything, lives);
    tcase_add_test(tcase, what_is_not_found_has_the_chain_of_its_host);
    tcase_add_test(tcase, a_link_that_is_quarantined_answers_503);
    ADD_TABLE(tcase, links_and_handlers_may_wait, waits);
    tcase_add_test(tcase, td_next_waits_for_a_response_that_was_put_off);
    tcase_add_loop_test(tcase, a_callback_that_raises_ends_at_the_innermost_td_next, 0, 2);
    tcase_add_loop_test(tcase, a_handler_that_waits_too_long_ends_at_the_innermost_td_next, 0, 2);
    tcase_add_loop_test(tcase, a_link_behind_the_end_does_not_finish_for_others, 0, 4);
    tcase_add_test(tcase, a_link_that_waits_too_long_is_cancelled_and_named);
    tcase_add_test(tcase, the_end_of_the_worker_cancels_links_too);
    tcase_add_test(tcase, cancel_on_close_ends_at_the_innermost_td_next);
    ADD_TABLE(tcase, misuse_of_td_next_is_told, misuses);
    tcase_add_loop_test(tcase, a_link_may_answer_later, 0, 2);
    tcase_add_loop_test(tcase, before_the_head_the_last_one_registered_comes_first, 0, 7);
    tcase_add_loop_test(tcase, the_page_of_the_outermost_has_its_marks, 0, 2);
    tcase_add_test(tcase, misuse_before_the_head_changes_nothing);
    tcase_add_loop_test(tcase, one_that_raises_before_the_head_ends_the_connection, 0, 3);
    tcase_add_test(tcase, values_are_handed_down_and_up);
    tcase_add_test(tcase, what_runs_is_known_after_a_crash);
}

int
main(void)
{
    return unit_run("middleware", fill);
}
