/*
 * Goal: each public function called as it must not be: it says so under this handler's name and
 * does nothing.  The answer lists the calls that did not refuse.
 */
#include <pthread.h>
#include <tornado/tornado.h>
#include <unistd.h>

/* Formats that are NULL are the point. */
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

#define EXPECT(call)                                                                               \
    do {                                                                                           \
        if (!(call))                                                                               \
            td_log_error("NOT REFUSED: %s", #call);                                                \
    } while (0)
#define NOTHING(call) EXPECT(td_str_is_null(call))

static void
nothing(void *arg)
{
    (void)arg;
}

static void
nothing_on_fd(int fd, int events, void *arg)
{
    (void)fd, (void)events, (void)arg;
}

static void
nothing_with_future(td_future *future, void *arg)
{
    (void)future, (void)arg;
}

/* The compiler is not to see that these are NULL: it warns of some. */
static td_handler *volatile none;
static const char *volatile no_text;

static void
nothing_on_head(td_handler *h, void *arg)
{
    (void)h, (void)arg;
}

static void
without_a_handler(void)
{
    td_handler *const h = none;
    const td_argument_pair *pairs;

    EXPECT(td_next(h) == TD_EINVAL);
    EXPECT(td_on_head(h, nothing_on_head, NULL) == TD_EINVAL);
    EXPECT(td_set_value(h, "x", NULL) == TD_EINVAL);
    EXPECT(td_value(h, "x") == NULL);
    NOTHING(td_response_header(h, "x"));
    NOTHING(td_request_upgrade(h));
    EXPECT(td_detach(h, NULL) == NULL);
    EXPECT(td_subprocess_start(NULL, NULL, NULL) == TD_EINVAL);
    EXPECT(td_subprocess_stdout(NULL) == NULL);
    EXPECT(td_subprocess_stderr(NULL) == NULL);
    EXPECT(td_connection_stream(NULL) == NULL);
    EXPECT(td_connection_instance(NULL) == NULL);
    EXPECT(td_connection_alloc(NULL, 1) == NULL);
    EXPECT(td_connection_remote_port(NULL) == 0);
    NOTHING(td_connection_remote_addr(NULL));
    NOTHING(td_connection_sprintf(NULL, "x"));
    NOTHING(td_request_method(h));
    NOTHING(td_request_uri(h));
    NOTHING(td_request_path(h));
    NOTHING(td_request_query(h));
    NOTHING(td_request_version(h));
    NOTHING(td_request_host(h));
    NOTHING(td_request_host_name(h));
    NOTHING(td_request_remote_addr(h));
    NOTHING(td_request_scheme(h));
    NOTHING(td_request_body(h));
    NOTHING(td_full_url(h));
    EXPECT(td_save_file(h, &(td_http_file){.body = {NULL, 0}}, "x") == TD_EINVAL);
    EXPECT(td_save_body(h, "x") == TD_EINVAL);
    NOTHING(td_static_url(h, "x"));
    NOTHING(td_static_full_url(h, "x"));
    EXPECT(td_serve_static(h, TD_STATIC(.root = "/"), TD_STR("x")) == TD_EINVAL);
    EXPECT(td_request_time(h) == 0);
    NOTHING(td_request_header(h, "Host"));
    NOTHING(td_path_argument(h, "x"));
    NOTHING(td_path_argument_at(h, 0));
    NOTHING(td_get_argument(h, "x"));
    EXPECT(td_str_equal(td_get_argument_default(h, "x", "y"), TD_STR("y")));
    NOTHING(td_get_query_argument(h, "x"));
    EXPECT(td_str_equal(td_get_query_argument_default(h, "x", "y"), TD_STR("y")));
    EXPECT(td_get_arguments(h, "x", NULL) == 0);
    EXPECT(td_str_equal(td_get_argument_unstripped(h, "x", "y"), TD_STR("y")));
    NOTHING(td_get_query_argument_unstripped(h, "x", NULL));
    NOTHING(td_get_body_argument_unstripped(h, "x", NULL));
    EXPECT(td_request_arguments(h, &pairs) == 0);
    EXPECT(td_get_argument_int(h, "x", 0, 9) == 0);
    EXPECT(!td_get_argument_bool(h, "x"));
    EXPECT(td_get_argument_double(h, "x") == 0);
    NOTHING(td_get_cookie(h, "x"));
    EXPECT(td_set_cookie(h, "a", "b", NULL) == TD_EINVAL);
    EXPECT(td_clear_cookie(h, "a", NULL) == TD_EINVAL);
    EXPECT(td_clear_all_cookies(h, NULL) == TD_EINVAL);
    NOTHING(td_get_signed_cookie(h, "a", 0));
    EXPECT(td_set_signed_cookie(h, "a", TD_STR("b"), NULL) == TD_EINVAL);
    NOTHING(td_create_signed_value(h, "a", TD_STR("b")));
    NOTHING(td_decode_signed_value(h, "a", TD_STR("b"), 0));
    EXPECT(td_current_user(h) == NULL);
    EXPECT(td_set_current_user(h, h) == TD_EINVAL);
    NOTHING(td_xsrf_token(h));
    NOTHING(td_xsrf_form_html(h));
    EXPECT(td_read_body(h, &(td_str){NULL, 0}) == TD_EINVAL);
    EXPECT(td_set_max_body_size(h, 1) == TD_EINVAL);
    EXPECT(td_set_body_timeout(h, 1) == TD_EINVAL);
    EXPECT(td_set_status(h, 200, NULL) == TD_EINVAL);
    EXPECT(td_get_status(h) == TD_EINVAL);
    EXPECT(td_set_header(h, "A", "b") == TD_EINVAL);
    EXPECT(td_add_header(h, "A", "b") == TD_EINVAL);
    EXPECT(td_clear_header(h, "A") == TD_EINVAL);
    EXPECT(td_write(h, TD_STR("x")) == TD_EINVAL);
    EXPECT(td_write_text(h, "x") == TD_EINVAL);
    EXPECT(td_writef(h, "x") == TD_EINVAL);
    EXPECT(td_write_escaped(h, TD_STR("x")) == TD_EINVAL);
    NOTHING(td_escape(h, TD_STR("x")));
    NOTHING(td_escape_url(h, TD_STR("x")));
    NOTHING(td_unescape_url(h, TD_STR("x")));
    NOTHING(td_escape_json(h, TD_STR("x")));
    EXPECT(td_write_json(h, TD_JSON("a", 1)) == TD_EINVAL);
    EXPECT(td_flush(h) == TD_EINVAL);
    EXPECT(td_finish(h) == TD_EINVAL);
    EXPECT(!td_is_finished(h));
    EXPECT(td_asynchronous(h) == TD_EINVAL);
    EXPECT(td_redirect(h, "/", false) == TD_EINVAL);
    EXPECT(td_redirect_status(h, "/", 302) == TD_EINVAL);
    EXPECT(td_send_error(h, 500, NULL) == TD_EINVAL);
    EXPECT(td_clear(h) == TD_EINVAL);
    EXPECT(td_alloc(h, 1) == NULL);
    NOTHING(td_sprintf(h, "x"));
    NOTHING(td_strdup(h, TD_STR("x")));
    EXPECT(td_scope_rewind(h, td_scope_mark(h)) == TD_EINVAL);
    EXPECT(td_handler_ref(h) == NULL);
    td_handler_unref(h);
    td_set_user_data(h, NULL);
    EXPECT(td_user_data(h) == NULL);
    EXPECT(td_settings(h) == NULL);
    EXPECT(td_state(h) == NULL);
    EXPECT(td_shared(h, "x") == NULL);
    NOTHING(td_reverse_url(h, "x", NULL, 0));
}

static void
with_wrong_arguments(td_handler *h)
{
    const char *const null = no_text;
    const td_str nowhere = {NULL, 5};

    NOTHING(td_request_header(h, null));
    NOTHING(td_path_argument(h, null));
    NOTHING(td_path_argument(h, "none"));
    NOTHING(td_path_argument_at(h, 1000));
    NOTHING(td_static_url(h, null));
    NOTHING(td_static_url(h, "x")); /* there is no static_path */
    NOTHING(td_static_full_url(h, null));
    EXPECT(td_serve_static(h, TD_STATIC(.root = null), TD_STR("x")) == TD_EINVAL);
    EXPECT(td_serve_static(h, NULL, TD_STR("x")) == TD_EINVAL);
    EXPECT(td_serve_static(h, TD_STATIC(.root = "/", .max_ranges = 65), TD_STR("x")) == TD_EINVAL);
    EXPECT(td_serve_static(h, TD_STATIC(.root = "/", .listing_max = 10001), TD_STR("x")) == TD_EINVAL);
    EXPECT(td_serve_static(h, TD_STATIC(.root = "/", .fallback = "/x"), TD_STR("x")) == TD_EINVAL);
    NOTHING(td_get_argument(h, null));
    EXPECT(td_str_equal(td_get_argument_default(h, null, "y"), TD_STR("y")));
    NOTHING(td_get_query_argument(h, null));
    EXPECT(td_get_arguments(h, null, NULL) == 0);
    NOTHING(td_get_argument_unstripped(h, null, NULL));
    EXPECT(td_request_arguments(h, NULL) == 0);
    EXPECT(td_get_argument_int(h, null, 0, 9) == 0);
    EXPECT(!td_get_argument_bool(h, null));
    EXPECT(td_get_argument_double(h, null) == 0);
    EXPECT(td_save_file(h, NULL, "x") == TD_EINVAL);
    EXPECT(td_save_file(h, &(td_http_file){.body = {NULL, 0}}, null) == TD_EINVAL);
    EXPECT(td_save_body(h, null) == TD_EINVAL);
    NOTHING(td_get_cookie(h, null));
    EXPECT(td_set_cookie(h, null, "b", NULL) == TD_EINVAL);
    EXPECT(td_set_cookie(h, "a", null, NULL) == TD_EINVAL);
    EXPECT(td_set_cookie(h, "a", "b", &(td_cookie_options){.size = 3}) == TD_EINVAL);
    EXPECT(td_clear_cookie(h, null, NULL) == TD_EINVAL);
    NOTHING(td_get_signed_cookie(h, null, 0));
    EXPECT(td_set_signed_cookie(h, null, TD_STR("b"), NULL) == TD_EINVAL);
    NOTHING(td_create_signed_value(h, null, TD_STR("b")));
    NOTHING(td_decode_signed_value(h, null, TD_STR("b"), 0));
    EXPECT(td_read_body(h, &(td_str){NULL, 0}) == TD_EINVAL); /* no class that streams */
    EXPECT(td_set_max_body_size(h, 1) == TD_EINVAL);
    EXPECT(td_set_body_timeout(h, 1) == TD_EINVAL);
    EXPECT(td_set_status(h, 199, NULL) == TD_EINVAL);
    EXPECT(td_set_status(h, 1000, NULL) == TD_EINVAL);
    EXPECT(td_set_header(h, null, "b") == TD_EINVAL);
    EXPECT(td_set_header(h, "A", null) == TD_EINVAL);
    EXPECT(td_set_header(h, "A b", "c") == TD_EINVAL);
    EXPECT(td_set_header(h, "A", "b\r\nC: d") == TD_EINVAL);
    EXPECT(td_set_header(h, "Content-Length", "many") == TD_EINVAL);
    EXPECT(td_add_header(h, null, null) == TD_EINVAL);
    EXPECT(td_add_header(h, "Date", "today") == TD_EINVAL);
    EXPECT(td_clear_header(h, null) == TD_EINVAL);
    EXPECT(td_write(h, nowhere) == TD_EINVAL);
    EXPECT(td_write_escaped(h, nowhere) == TD_EINVAL);
    EXPECT(td_write_text(h, null) == TD_EINVAL);
    EXPECT(td_writef(h, null) == TD_EINVAL);
    EXPECT(td_write_json_object(h, NULL, 1) == TD_EINVAL);
    EXPECT(td_write_json(h, TD_JSON(null, 1)) == TD_EINVAL);
    EXPECT(td_redirect(h, null, false) == TD_EINVAL);
    EXPECT(td_redirect(h, "/\r\nA: b", false) == TD_EINVAL);
    EXPECT(td_redirect_status(h, "/", 200) == TD_EINVAL);
    NOTHING(td_sprintf(h, null));
    NOTHING(td_strdup(h, td_str_of(NULL)));
    EXPECT(td_scope_rewind(h, (td_scope){h, h}) == TD_EINVAL);
    td_handler_unref(h);
    EXPECT(td_shared(h, null) == NULL);
    EXPECT(td_shared(h, "none") == NULL);
    NOTHING(td_reverse_url(h, null, NULL, 0));
    NOTHING(td_reverse_url(h, "misuse", NULL, 3));
    NOTHING(td_reverse_url(h, "none", NULL, 0));
    td_log(TD_LOG_ERROR, null);
    td_log((td_log_level)77, "x");
    EXPECT(td_instance_name(NULL) == NULL);
    EXPECT(td_instance_settings(NULL) == NULL);
    EXPECT(td_instance_state(NULL) == NULL);
    EXPECT(td_instance_shared(NULL, "x") == NULL);
}

static void
of_loop_and_futures(void)
{
    td_ioloop *loop = td_ioloop_current();
    td_future *future = td_future_create();
    td_periodic *no_periodic = NULL;

    EXPECT(td_add_callback(NULL, nothing, NULL) == TD_EINVAL);
    EXPECT(td_add_callback(loop, NULL, NULL) == TD_EINVAL);
    EXPECT(td_call_later(NULL, 1, nothing, NULL) == NULL);
    EXPECT(td_call_later(loop, -1, nothing, NULL) == NULL);
    EXPECT(td_call_later(loop, 1, NULL, NULL) == NULL);
    EXPECT(td_call_at(loop, 1, NULL, NULL) == NULL);
    td_remove_timeout(loop, NULL);
    EXPECT(td_add_handler(loop, -1, TD_READ, nothing_on_fd, NULL) == TD_EINVAL);
    EXPECT(td_add_handler(loop, 0, 0, nothing_on_fd, NULL) == TD_EINVAL);
    EXPECT(td_add_handler(loop, 0, 8, nothing_on_fd, NULL) == TD_EINVAL);
    EXPECT(td_add_handler(loop, 0, TD_READ, NULL, NULL) == TD_EINVAL);
    EXPECT(td_update_handler(loop, 1000000, TD_READ) == TD_EINVAL);
    td_remove_handler(loop, 1000000);
    td_remove_handler(NULL, 1);
    EXPECT(td_periodic_create(NULL, NULL, 1, 0) == NULL);
    EXPECT(td_periodic_create(nothing, NULL, 0, 0) == NULL);
    EXPECT(td_periodic_create(nothing, NULL, 1, 2) == NULL);
    td_periodic_start(NULL);
    td_periodic_stop(NULL);
    td_periodic_destroy(NULL);
    td_periodic_destroy(&no_periodic);
    EXPECT(td_await(NULL, NULL) == TD_EINVAL);
    EXPECT(td_sleep(-1) == TD_EINVAL);
    EXPECT(td_wait_fd(-1, TD_READ, 1) == TD_EINVAL);
    EXPECT(td_wait_fd(0, 0, 1) == TD_EINVAL);
    EXPECT(td_wait_fd(0, TD_READ, -1) == TD_EINVAL);
    EXPECT(td_spawn(NULL, NULL) == NULL);
    EXPECT(td_gather(NULL, 2, NULL) == NULL);
    EXPECT(td_await(td_gather((td_future *[]){NULL}, 1, NULL), NULL) == TD_EINVAL);
    EXPECT(td_with_timeout(1, NULL) == NULL);
    EXPECT(td_with_timeout(-1, td_future_create()) == NULL);
    EXPECT(td_defer(NULL, NULL) == TD_EINVAL);
    td_cancel_enable();
    EXPECT(td_future_ref(NULL) == NULL);
    td_future_unref(NULL);
    EXPECT(td_future_set_result(NULL, NULL) == TD_EINVAL);
    EXPECT(td_future_set_error(NULL, -1) == TD_EINVAL);
    EXPECT(td_future_set_error(future, 1) == TD_EINVAL);
    EXPECT(!td_future_cancel(NULL));
    td_future_on_cancel(NULL, nothing_with_future, NULL);
    EXPECT(!td_future_is_done(NULL));
    EXPECT(td_future_result(NULL) == NULL);
    EXPECT(td_future_result(future) == NULL);
    EXPECT(td_future_error(NULL) == TD_EINVAL);
    EXPECT(td_future_error(future) == TD_EINVAL);
    EXPECT(td_future_add_done_callback(NULL, nothing_with_future, NULL) == TD_EINVAL);
    EXPECT(td_future_add_done_callback(future, NULL, NULL) == TD_EINVAL);
    td_future_set_result(future, NULL);
    EXPECT(td_future_set_result(future, NULL) == TD_EINVAL);
    td_future_unref(future);
}

struct thread_job {
    td_handler *h;
    td_ioloop *loop;
    td_future *future;
    td_periodic *periodic;
};

static void *
on_a_thread(void *arg)
{
    const struct thread_job *job = arg;

    EXPECT(td_write_text(job->h, "x") == TD_EINVAL);
    EXPECT(td_finish(job->h) == TD_EINVAL);
    EXPECT(td_next(job->h) == TD_EINVAL);
    EXPECT(td_on_head(job->h, nothing_on_head, NULL) == TD_EINVAL);
    EXPECT(td_alloc(job->h, 1) == NULL);
    NOTHING(td_get_argument(job->h, "x"));
    EXPECT(td_read_body(job->h, &(td_str){NULL, 0}) == TD_EINVAL);
    EXPECT(td_ioloop_current() == NULL);
    EXPECT(td_call_later(job->loop, 1, nothing, NULL) == NULL);
    EXPECT(td_add_handler(job->loop, 0, TD_READ, nothing_on_fd, NULL) == TD_EINVAL);
    EXPECT(td_periodic_create(nothing, NULL, 1, 0) == NULL);
    td_periodic_start(job->periodic);
    EXPECT(td_future_create() == NULL);
    EXPECT(td_future_set_result(job->future, NULL) == TD_EINVAL);
    EXPECT(!td_future_cancel(job->future));
    EXPECT(td_spawn(nothing, NULL) == NULL);
    EXPECT(td_sleep(1) == TD_EINVAL);
    EXPECT(td_await(job->future, NULL) == TD_EINVAL);
    EXPECT(td_wait_fd(0, TD_READ, 1) == TD_EINVAL);
    EXPECT(td_defer(nothing, NULL) == TD_EINVAL);
    td_cancel_disable();
    td_raise(job->h, 500, "ends the thread");
}

static void
from_elsewhere(td_handler *h)
{
    struct thread_job job = {h, td_ioloop_current(), td_future_create(),
                             td_periodic_create(nothing, NULL, 1000, 0)};
    pthread_t thread;

    pthread_create(&thread, NULL, on_a_thread, &job);
    pthread_join(thread, NULL);
    td_future_unref(job.future);
    td_periodic_destroy(&job.periodic);
}

static void
misuse(td_handler *h)
{
    EXPECT(td_next(h) == TD_EINVAL); /* this is no middleware */
    EXPECT(td_on_head(h, NULL, NULL) == TD_EINVAL);
    EXPECT(td_set_value(h, no_text, NULL) == TD_EINVAL);
    without_a_handler();
    with_wrong_arguments(h);
    of_loop_and_futures();
    from_elsewhere(h);
    EXPECT(td_clear(h) == 0);
    EXPECT(td_write_text(h, "done") == 0);
    EXPECT(td_finish(h) == 0);
}

static void
after_the_end(td_handler *h)
{
    EXPECT(td_next(h) == TD_EINVAL);
    EXPECT(td_on_head(h, nothing_on_head, NULL) == TD_EINVAL);
    EXPECT(td_write_text(h, "x") == TD_EINVAL);
    EXPECT(td_writef(h, "x") == TD_EINVAL);
    EXPECT(td_write_json(h, TD_JSON("a", 1)) == TD_EINVAL);
    EXPECT(td_set_status(h, 200, NULL) == TD_EINVAL);
    EXPECT(td_set_header(h, "A", "b") == TD_EINVAL);
    EXPECT(td_clear_header(h, "A") == TD_EINVAL);
    EXPECT(td_clear(h) == TD_EINVAL);
    EXPECT(td_flush(h) == TD_EINVAL);
    EXPECT(td_finish(h) == TD_EINVAL);
    EXPECT(td_redirect(h, "/", false) == TD_EINVAL);
    EXPECT(td_send_error(h, 500, NULL) == TD_EINVAL);
    EXPECT(td_asynchronous(h) == TD_EINVAL);
}

static void
raise_without_a_handler(td_handler *h)
{
    (void)h;
    td_raise(none, 502, "no handler");
}

static void
raise_in_action(void *arg)
{
    td_raise(arg, 500, "too late");
}

static void
wait_in_action(void *arg)
{
    (void)arg;
    EXPECT(td_sleep(1) == TD_EINVAL);
}

static void
defer(td_handler *h)
{
    td_defer(wait_in_action, h);
    td_defer(raise_in_action, h);
    td_write_text(h, "done");
}

static const td_handler_class Misuse = {.get = misuse, .on_finish = after_the_end};
static const td_handler_class Raise = {.get = raise_without_a_handler}, Defer = {.get = defer};

TD_PLUGIN(.name = "misuse", .version = "1.0",
          .urls = TD_URLS(TD_URL("/misuse/(.*)", &Misuse, .name = "misuse"), TD_URL("/raise", &Raise),
                          TD_URL("/defer", &Defer)));
