/*
 * The twin of tests/integration/tornado_app.py: what a handler does is a script in the query, so
 * that the same request makes Tornado and us do the same.
 *
 *     /do?prepare=set_header|X-A|1&do=write|hello&do=flush&error=write|oops
 *
 * prepare, do (any method), error (write_error) and data (data_received) are steps in order; words
 * of a step stand between '|'.  A step that is refused as misuse writes "!".
 */
#include <stdlib.h>
#include <string.h>
#include <tornado/tornado.h>

#define WORDS_MAX 4

/* The words of a step; NULL past the last. */
typedef char *const step[WORDS_MAX];

static const char *
text_of(const char *word)
{
    return word != NULL ? word : "";
}

static void
note(td_handler *h, int rc)
{
    if (rc == TD_EINVAL)
        td_write_text(h, "!");
}

static void
write_value(td_handler *h, td_str value)
{
    td_write(h, td_str_is_null(value) ? TD_STR("None") : value);
}

/* ---- the response */

static void
do_write(td_handler *h, step word)
{
    td_write_text(h, text_of(word[0]));
}

/* write_many|x|N: N times. */
static void
do_write_many(td_handler *h, step word)
{
    for (int i = atoi(word[1]); i > 0; i--)
        td_write_text(h, word[0]);
}

static void
do_write_json(td_handler *h, step word)
{
    td_write_json(h, TD_JSON(word[0], word[1]));
}

static void
do_flush(td_handler *h, step word)
{
    (void)word;
    td_flush(h);
}

static void
do_finish(td_handler *h, step word)
{
    if (word[0] != NULL)
        td_write_text(h, word[0]);
    td_finish(h);
}

static void
do_status(td_handler *h, step word)
{
    note(h, td_set_status(h, atoi(word[0]), word[1]));
}

static void
do_get_status(td_handler *h, step word)
{
    (void)word;
    td_writef(h, "%d", td_get_status(h));
}

static void
do_set_header(td_handler *h, step word)
{
    note(h, td_set_header(h, word[0], text_of(word[1])));
}

static void
do_add_header(td_handler *h, step word)
{
    note(h, td_add_header(h, word[0], text_of(word[1])));
}

static void
do_clear_header(td_handler *h, step word)
{
    note(h, td_clear_header(h, word[0]));
}

static void
do_clear(td_handler *h, step word)
{
    (void)word;
    td_clear(h);
}

static void
do_redirect(td_handler *h, step word)
{
    if (word[1] != NULL)
        note(h, td_redirect_status(h, word[0], atoi(word[1])));
    else
        note(h, td_redirect(h, word[0], false));
}

static void
do_send_error(td_handler *h, step word)
{
    td_send_error(h, atoi(word[0]), NULL);
}

static void
do_raise(td_handler *h, step word)
{
    td_raise(h, atoi(word[0]), word[1] != NULL ? "%s" : NULL, text_of(word[1]));
}

static void
do_wait(td_handler *h, step word)
{
    (void)h, (void)word;
    td_sleep(0);
}

/* ---- cookies: set_cookie|NAME|VALUE|ATTRIBUTE */

static td_cookie_options
cookie_options(const char *attribute)
{
    static const char domain[] = "Domain=", path[] = "Path=", age[] = "Max-Age=",
                      site[] = "SameSite=";
    td_cookie_options options = TD_COOKIE(.path = NULL);

    attribute = text_of(attribute);
    options.secure = strcmp(attribute, "Secure") == 0;
    options.httponly = strcmp(attribute, "HttpOnly") == 0;
    if (strncmp(attribute, domain, strlen(domain)) == 0)
        options.domain = attribute + strlen(domain);
    if (strncmp(attribute, path, strlen(path)) == 0)
        options.path = attribute + strlen(path);
    if (strncmp(attribute, age, strlen(age)) == 0)
        options.max_age = atoi(attribute + strlen(age));
    if (strncmp(attribute, site, strlen(site)) == 0)
        options.samesite = attribute + strlen(site);
    return options;
}

static void
do_set_cookie(td_handler *h, step word)
{
    const td_cookie_options options = cookie_options(word[2]);

    note(h, td_set_cookie(h, word[0], text_of(word[1]), &options));
}

static void
do_clear_cookie(td_handler *h, step word)
{
    const td_cookie_options options = cookie_options(word[1]);

    note(h, td_clear_cookie(h, word[0], &options));
}

static void
do_clear_all_cookies(td_handler *h, step word)
{
    (void)word;
    td_clear_all_cookies(h, NULL);
}

static void
do_get_cookie(td_handler *h, step word)
{
    write_value(h, td_get_cookie(h, word[0]));
}

static void
do_get_signed_cookie(td_handler *h, step word)
{
    write_value(h, td_get_signed_cookie(h, word[0], word[1] != NULL ? atof(word[1]) : 0));
}

/* ---- the request */

static void
write_values(td_handler *h, const td_str *values, size_t count)
{
    td_writef(h, "%zu", count);
    for (size_t i = 0; i < count; i++)
        td_writef(h, "[%.*s]", TD_STR_FMT(values[i]));
}

static void
do_argument(td_handler *h, step word)
{
    write_value(h, td_get_argument_default(h, text_of(word[0]), NULL));
}

static void
do_unstripped(td_handler *h, step word)
{
    write_value(h, td_get_argument_unstripped(h, text_of(word[0]), NULL));
}

static void
do_body_unstripped(td_handler *h, step word)
{
    write_value(h, td_get_body_argument_unstripped(h, text_of(word[0]), NULL));
}

static void
do_pairs(td_handler *h, step word)
{
    const td_argument_pair *pairs;
    const size_t count = td_request_arguments(h, &pairs);

    (void)word;
    for (size_t i = 0; i < count; i++) {
        td_write(h, TD_STR("["));
        td_write(h, pairs[i].name);
        td_write(h, TD_STR("="));
        td_write(h, pairs[i].value);
        td_write(h, TD_STR("]"));
    }
}

static void
do_required_argument(td_handler *h, step word)
{
    write_value(h, td_get_argument(h, text_of(word[0])));
}

static void
do_query_argument(td_handler *h, step word)
{
    write_value(h, td_get_query_argument_default(h, text_of(word[0]), NULL));
}

static void
do_body_argument(td_handler *h, step word)
{
    write_value(h, td_get_body_argument_default(h, text_of(word[0]), NULL));
}

static void
do_arguments(td_handler *h, step word)
{
    const td_str *values;
    const size_t count = td_get_arguments(h, text_of(word[0]), &values);

    write_values(h, values, count);
}

static void
do_query_arguments(td_handler *h, step word)
{
    const td_str *values;
    const size_t count = td_get_query_arguments(h, text_of(word[0]), &values);

    write_values(h, values, count);
}

static void
do_body_arguments(td_handler *h, step word)
{
    const td_str *values;
    const size_t count = td_get_body_arguments(h, text_of(word[0]), &values);

    write_values(h, values, count);
}

static void
do_files(td_handler *h, step word)
{
    const td_http_file *files;
    const size_t count = td_get_files(h, word[0], &files);

    for (size_t i = 0; i < count; i++)
        td_writef(h, "[%.*s %.*s %.*s]", TD_STR_FMT(files[i].filename),
                  TD_STR_FMT(files[i].content_type), TD_STR_FMT(files[i].body));
}

static void
do_body(td_handler *h, step word)
{
    (void)word;
    td_write(h, td_request_body(h));
}

static void
do_request_header(td_handler *h, step word)
{
    write_value(h, td_request_header(h, word[0]));
}

static void
do_request(td_handler *h, step word)
{
    (void)word;
    td_writef(h, "%s %s %s %s %s %s %s %s", td_request_method(h).ptr, td_request_path(h).ptr,
              td_request_version(h).ptr, td_request_host(h).ptr, td_request_host_name(h).ptr,
              td_request_remote_addr(h).ptr, td_request_scheme(h).ptr, td_full_url(h).ptr);
}

static void
do_xsrf_token(td_handler *h, step word)
{
    (void)word;
    td_write(h, td_xsrf_token(h));
}

static void
do_reverse_url(td_handler *h, step word)
{
    td_str args[WORDS_MAX];
    size_t count = 0;

    while (count + 1 < WORDS_MAX && word[count + 1] != NULL) {
        args[count] = td_str_of(word[count + 1]);
        count++;
    }
    write_value(h, td_reverse_url(h, word[0], args, count));
}

static const struct {
    const char *name;
    void (*run)(td_handler *h, step word);
} verbs[] = {
    {"add_header", do_add_header},       {"argument", do_argument},
    {"arguments", do_arguments},         {"body", do_body},
    {"body_argument", do_body_argument}, {"body_arguments", do_body_arguments},
    {"body_unstripped", do_body_unstripped},
    {"clear", do_clear},                 {"clear_all_cookies", do_clear_all_cookies},
    {"clear_cookie", do_clear_cookie},   {"clear_header", do_clear_header},
    {"files", do_files},                 {"finish", do_finish},
    {"flush", do_flush},
    {"get_cookie", do_get_cookie},       {"get_signed_cookie", do_get_signed_cookie},
    {"get_status", do_get_status},       {"pairs", do_pairs},
    {"query_argument", do_query_argument},
    {"query_arguments", do_query_arguments}, {"raise", do_raise},
    {"redirect", do_redirect},           {"request", do_request},
    {"request_header", do_request_header}, {"required_argument", do_required_argument},
    {"reverse_url", do_reverse_url},     {"send_error", do_send_error},
    {"set_cookie", do_set_cookie},       {"set_header", do_set_header},
    {"status", do_status},               {"unstripped", do_unstripped},
    {"wait", do_wait},
    {"write", do_write},                 {"write_json", do_write_json},
    {"write_many", do_write_many},       {"xsrf_token", do_xsrf_token},
};

static void
run_step(td_handler *h, td_str text)
{
    char *rest = (char *)(uintptr_t)td_strdup(h, text).ptr;
    const char *const verb = strsep(&rest, "|");
    char *word[WORDS_MAX] = {NULL};

    for (size_t i = 0; i < WORDS_MAX && rest != NULL; i++)
        word[i] = strsep(&rest, "|");
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i].name, verb) == 0)
            verbs[i].run(h, word);
    }
}

static void
run_script(td_handler *h, const char *name)
{
    const td_str *steps;
    const size_t count = td_get_query_arguments(h, name, &steps);

    for (size_t i = 0; i < count; i++)
        run_step(h, steps[i]);
}

static void
prepare(td_handler *h)
{
    run_script(h, "prepare");
}

static void
perform(td_handler *h)
{
    run_script(h, "do");
}

static void
receive(td_handler *h, td_str data)
{
    if (data.len > 0)
        run_script(h, "data");
}

/* Without steps of its own: the status alone. */
static void
write_error(td_handler *h, int status)
{
    td_writef(h, "error %d: ", status);
    run_script(h, "error");
}

/* The twin of a compute_etag: the argument etag. */
static void
compute_etag(td_handler *h, td_str body)
{
    (void)body;
    td_set_etag(h, td_get_query_argument_default(h, "etag", NULL).ptr);
}

static void
set_default_headers(td_handler *h)
{
    td_set_header(h, "X-Default", "1");
    td_set_header(h, "Content-Type", "text/plain");
}

/* ---- routes */

static void
echo_groups(td_handler *h)
{
    td_write_text(h, "groups");
    for (unsigned i = 0; i < (unsigned)td_get_argument_int(h, "groups", 0, 9); i++) {
        td_write_text(h, " ");
        write_value(h, td_path_argument_at(h, i));
    }
}

static void
reply(td_handler *h)
{
    td_write_text(h, "reply");
}

static void *
get_user(td_handler *h)
{
    const td_str user = td_get_query_argument_default(h, "user", NULL);

    return user.len > 0 ? (void *)(uintptr_t)user.ptr : NULL;
}

static const td_handler_class Do = {
    .get = perform, .head = perform, .post = perform, .put = perform, .delete_ = perform,
    .patch = perform, .options = perform, .prepare = prepare};
static const td_handler_class Page = {
    .get = perform, .post = perform, .prepare = prepare, .write_error = write_error};
static const td_handler_class Defaults = {
    .get = perform, .prepare = prepare, .set_default_headers = set_default_headers};
static const td_handler_class DefaultsPage = {
    .get = perform, .prepare = prepare, .write_error = write_error,
    .set_default_headers = set_default_headers};
static const td_handler_class Stream = {
    .get = perform, .post = perform, .put = perform, .prepare = prepare, .data_received = receive,
    .flags = TD_STREAM_BODY};
static const td_handler_class Tagged = {.get = perform, .post = perform, .put = perform,
                                        .delete_ = perform, .compute_etag = compute_etag};
static const td_handler_class Prepared = {.prepare = prepare};
static const td_handler_class PreparedStream = {.prepare = prepare, .flags = TD_STREAM_BODY};
static const td_handler_class Groups = {.get = echo_groups};
static const td_handler_class Get = {.get = reply};
static const td_handler_class Post = {.post = reply};
static const td_handler_class Nothing = {.name = "Nothing"};
static const td_handler_class Removed = {.get = reply, .flags = TD_REMOVE_SLASH};
static const td_handler_class Added = {.get = reply, .flags = TD_ADD_SLASH};
static const td_handler_class Private = {.get = reply, .post = reply, .flags = TD_AUTHENTICATED,
                                         .get_current_user = get_user};

TD_PLUGIN(.name = "tornado", .version = "1.0",
          .urls = TD_URLS(
              TD_URL("/do", &Do), TD_URL("/page", &Page), TD_URL("/stream", &Stream),
              TD_URL("/defaults", &Defaults), TD_URL("/defaults-page", &DefaultsPage),
              TD_URL("/tagged", &Tagged), TD_URL("/prepared", &Prepared),
              TD_URL("/prepared-stream", &PreparedStream),
              TD_URL("/group/(.*)", &Groups, .name = "group"),
              TD_URL("/two/([^/]*)/([^/]*)", &Groups, .name = "two"),
              TD_URL("/named/(?P<a>[^/]*)/(?P<b>.*)", &Groups, .name = "named"),
              TD_URL("/optional/(.+)?", &Groups), TD_URL("//double", &Get),
              TD_URL("/get", &Get), TD_URL("/post", &Post), TD_URL("/nothing", &Nothing),
              TD_URL("/removed/?", &Removed), TD_URL("/added/?", &Added),
              TD_URL("/private", &Private),
              TD_URL("/moved", &td_redirect_class, .initialize_arg = TD_REDIRECT(.url = "/dst")),
              TD_URL("/moved-query", &td_redirect_class,
                     .initialize_arg = TD_REDIRECT(.url = "/dst?foo=bar")),
              TD_URL("/found", &td_redirect_class,
                     .initialize_arg = TD_REDIRECT(.url = "/dst", .status = 302)),
              TD_URL("/swap/(.*?)/(.*?)/(.*)", &td_redirect_class,
                     .initialize_arg = TD_REDIRECT(.url = "/swapped/{1}/{0}/{2}")),
              TD_URL("/refused", &td_error_class, .initialize_arg = TD_ERROR(.status = 417))));
