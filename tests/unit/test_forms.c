/*
 * Goal: what a client has filled in reaches the handler: fields of multipart/form-data as
 * arguments, files as files, and what is broken or too much as one line and an error page.
 */
#include "web_fixture.h"

static td_method_fn *act;
static int prepared;

static void
do_act(td_handler *h)
{
    act(h);
}

static void
do_prepare(td_handler *h)
{
    (void)h;
    prepared++;
}

static void
own_page(td_handler *h, int status)
{
    td_writef(h, "own %d", status);
}

static const td_handler_class Act = {
    .post = do_act, .prepare = do_prepare, .write_error = own_page, .name = "Act"};
static const td_url urls[] = {TD_URL("/", &Act), {.pattern = NULL}};

static void
setup(void)
{
    web_setup();
    web_serve(urls);
}

#define TYPE "Content-Type: multipart/form-data; boundary=B\r\n"
#define FIELD(name, value) \
    "--B\r\nContent-Disposition: form-data; name=" name "\r\n\r\n" value "\r\n"
#define UPLOAD(name, filename, more, body)                                                 \
    "--B\r\nContent-Disposition: form-data; name=" name "; filename=" filename "\r\n" more \
    "\r\n" body "\r\n"
#define END "--B--\r\n"

static void
ask(td_handler *h)
{
    const td_http_file *file = td_get_file(h, "upload"), *files;
    const td_str *values;

    ck_assert_str_eq(td_get_argument(h, "a").ptr, "x+%20y");
    ck_assert_str_eq(td_get_query_argument(h, "a").ptr, "query");
    ck_assert_str_eq(td_get_body_argument(h, "\xc3\xa9").ptr, "");
    ck_assert_uint_eq(td_get_arguments(h, "a", &values), 3);
    ck_assert_str_eq(values[1].ptr, "first  part");
    ck_assert_ptr_null(td_get_argument_default(h, "upload", NULL).ptr);

    ck_assert_str_eq(file->name.ptr, "upload");
    ck_assert_str_eq(file->filename.ptr, "1.txt");
    ck_assert_str_eq(file->content_type.ptr, "text/plain");
    ck_assert(td_str_equal(file->body, TD_STR("\0one\r\n")));
    ck_assert(file->body.ptr >= td_request_body(h).ptr); /* no copy */
    ck_assert(file->body.ptr < td_request_body(h).ptr + td_request_body(h).len);

    ck_assert_uint_eq(td_get_files(h, "upload", &files), 2);
    ck_assert_ptr_eq(files[0].body.ptr, file->body.ptr);
    ck_assert_str_eq(files[1].filename.ptr, "2.txt");
    ck_assert_str_eq(files[1].content_type.ptr, "application/unknown");
    ck_assert_uint_eq(files[1].body.len, 0);
    ck_assert_ptr_nonnull(files[1].body.ptr);
    ck_assert_uint_eq(td_get_files(h, NULL, &files), 3);
    ck_assert_str_eq(files[2].name.ptr, "other");
    ck_assert_uint_eq(td_get_files(h, "a", NULL), 0);
    ck_assert_ptr_null(td_get_file(h, "none"));
    td_write(h, TD_STR("asked"));
}

START_TEST(fields_are_arguments_and_files_are_files)
{
    static const char body[] = FIELD("a", " first\1 part ")
        UPLOAD("upload", "1.txt", "Content-Type: text/plain\r\n", "\0one\r\n") FIELD("a", "x+%20y")
            UPLOAD("upload", "2.txt", "", "") FIELD("\"\xc3\xa9\"", "")
                UPLOAD("other", "3.txt", "", "three") END;
    web_exchange *x;

    act = ask;
    x = web_post("/?a=query", TYPE, td_str_make(body, sizeof(body) - 1));
    ck_assert_str_eq(x->body, "asked");
    ck_assert_int_eq(prepared, 1);
    web_done(x);
}
END_TEST

/* The same, seen by the reader as it comes, with every cut of it in two. */
START_TEST(a_form_is_read_while_it_comes)
{
    static const char body[] = FIELD("a", " first\1 part ")
        UPLOAD("upload", "1.txt", "Content-Type: text/plain\r\n", "\0one\r\n") FIELD("a", "x+%20y")
            UPLOAD("upload", "2.txt", "", "") FIELD("\"\xc3\xa9\"", "")
                UPLOAD("other", "3.txt", "", "three") END;
    const td_str all = td_str_make(body, sizeof(body) - 1);

    act = ask;
    for (size_t cut = 0; cut <= all.len; cut++) {
        char more[128];
        web_exchange *x;
        td_request *request;

        snprintf(more, sizeof(more), TYPE "Content-Length: %zu\r\n", all.len);
        x = web_route_to("POST", "/?a=query", more);
        request = x->request;
        td_application_delegate.headers_received(web_app, request);
        ck_assert_ptr_nonnull(request->body_watcher);
        request->body_watcher->received(request->body_watcher, request, td_str_make(all.ptr, cut));
        request->body_watcher->received(request->body_watcher, request,
                                        td_str_make(all.ptr + cut, all.len - cut));
        request->body = all;
        td_application_delegate.finish(web_app, request);
        ck_assert_str_eq(x->body, "asked");
        web_done(x);
    }
}
END_TEST

/* Whatever is wrong is answered by the piece that shows it; no other piece is wanted. */
START_TEST(what_is_broken_is_answered_at_once)
{
    const td_str broken = TD_STR(FIELD("a", "1") "--B\r\nX\r\n");
    web_exchange *x = web_route_to("POST", "/", TYPE "Content-Length: 100000\r\n");
    td_request *request = x->request;

    td_application_delegate.headers_received(web_app, request);
    for (size_t i = 0; i < broken.len; i++) {
        ck_assert(!request->body_unwanted);
        request->body_watcher->received(request->body_watcher, request,
                                        td_str_make(broken.ptr + i, 1));
    }
    ck_assert(request->body_unwanted);
    ck_assert_int_eq(x->status, 400);
    ck_assert_str_eq(x->body, "own 400");
    ck_assert_int_eq(prepared, 0);
    web_done(x);
}
END_TEST

static void
ask_nothing(td_handler *h)
{
    const td_http_file *files = NULL;

    ck_assert_uint_eq(td_get_files(h, NULL, &files), 0);
    ck_assert_ptr_null(td_get_file(h, "a"));
    ck_assert_ptr_null(td_get_body_argument_default(h, "a", NULL).ptr);
    td_write(h, TD_STR("asked"));
}

static const struct {
    const char *lines, *body;
} others[] = {
    {"", FIELD("a", "1") END},
    {"Content-Type: multipart/mixed; boundary=B\r\n", FIELD("a", "1") END},
    {"Content-Type: multipart/form-dataX; boundary=B\r\n", FIELD("a", "1") END},
    {"Content-Type: application/x-www-form-urlencoded\r\n", FIELD("b", "1") END},
    {TYPE, END},
};

START_TEST(a_body_that_is_no_such_form_has_neither)
{
    web_exchange *x;

    act = ask_nothing;
    x = web_post("/", others[_i].lines, td_str_of(others[_i].body));
    ck_assert_str_eq(x->body, "asked");
    web_done(x);
}
END_TEST

static const struct {
    const char *lines, *body;
    int status;
    const char *log;
} refusals[] = {
    {TYPE, "", 400, "form: it has no end"},
    {TYPE, FIELD("a", "1"), 400, "form: it has no end"},
    {TYPE, FIELD("", "1") END, 400, "form: a part has no name"},
    {"Content-Type: multipart/form-data\r\n", END, 400, "form: no boundary of 1 to 70 bytes"},
    {"Content-Type: Multipart/Form-Data ; boundary=\r\n", END, 400, "form: no boundary"},
    {TYPE "Content-Encoding: gzip\r\n", END, 400, "form: it has a Content-Encoding"},
};

static int
lines_of(const char *log)
{
    int lines = 0;

    for (; *log != '\0'; log++)
        lines += *log == '\n';
    return lines;
}

START_TEST(a_broken_form_is_one_line_and_one_page)
{
    const char *log;
    web_exchange *x;

    act = ask_nothing;
    x = web_post("/", refusals[_i].lines, td_str_of(refusals[_i].body));
    ck_assert_int_eq(x->status, refusals[_i].status);
    ck_assert_int_eq(prepared, 0);
    ck_assert_str_eq(x->body, refusals[_i].status == 400 ? "own 400" : "own 413");
    log = web_log();
    ck_assert_msg(strstr(log, refusals[_i].log) != NULL, "%s", log);
    ck_assert_int_eq(lines_of(log), 1);
    web_done(x);
}
END_TEST

/* ---- limits: each is crossed by one */

static td_limits narrow;

static web_exchange *
post_narrow(td_str body)
{
    char more[128];
    web_exchange *x;

    snprintf(more, sizeof(more), TYPE "Content-Length: %zu\r\n", body.len);
    x = web_route_to("POST", "/", more);
    x->request->limits = &narrow;
    x->request->body = body;
    web_execute(x);
    return x;
}

/* Headers of 42 + 54 + 42 bytes, and fields of 0 + 1. */
static const struct {
    int64_t parts, fields, head_size, memory;
    int status;
    const char *log;
} limits[] = {
    {3, 2, 100, 139, 200, ""},
    {2, 2, 100, 139, 413, "form: more parts than max_parts"},
    {3, 1, 100, 139, 413, "form: more fields than max_fields"},
    {3, 2, 20, 139, 413, "form: the header of a part is larger than max_part_header_size"},
    {3, 2, 100, 138, 413, "form: more than max_form_memory beside its files"},
};

START_TEST(a_limit_that_is_crossed_is_named)
{
    web_exchange *x;

    narrow = web_configuration->listeners[0].limits;
    narrow.max_parts = limits[_i].parts;
    narrow.max_fields = limits[_i].fields;
    narrow.max_part_header_size = limits[_i].head_size;
    narrow.max_form_memory = limits[_i].memory;
    act = ask_nothing;
    if (limits[_i].status == 200)
        act = do_prepare;
    x = post_narrow(TD_STR(FIELD("b", "") UPLOAD("c", "x", "", "long") FIELD("b", "x") END));
    ck_assert_int_eq(x->status, limits[_i].status);
    ck_assert(strstr(web_log(), limits[_i].log));
    web_done(x);
}
END_TEST

/* ---- time */

static void
ask_one(td_handler *h)
{
    td_get_body_argument(h, "f");
}

static const struct {
    const char *lines, *again, *end;
} large[] = {
    {"Content-Type: application/x-www-form-urlencoded\r\n", "f=%20x&", ""},
    {TYPE, FIELD("f", "x"), END},
    {TYPE, UPLOAD("f", "x", "", "x"), FIELD("f", "x") END},
};

/* Nanoseconds of this thread for a form of so many fields, the least of a few requests. */
static int64_t
cost(int which, size_t count)
{
    const size_t again = strlen(large[which].again), len = count * again;
    char *const text = td_arena_alloc(&web_arena, len + strlen(large[which].end) + 1);
    int64_t least = INT64_MAX;

    for (size_t at = 0; at < len; at += again)
        memcpy(text + at, large[which].again, again);
    strcpy(text + len, large[which].end);
    for (int run = 0; run < 3; run++) {
        struct timespec begin, end;
        web_exchange *x = web_route_to(
            "POST", "/",
            td_arena_sprintf(&web_arena, "%sContent-Length: %zu\r\n", large[which].lines, len).ptr);
        int64_t ns;

        x->request->limits = &narrow;
        x->request->body = td_str_of(text);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
        web_execute(x);
        while (x->status == 0) /* others would be served */
            web_turn();
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        ck_assert_int_eq(x->status, 200);
        web_done(x);
        ns = (end.tv_sec - begin.tv_sec) * TD_NS_PER_S + end.tv_nsec - begin.tv_nsec;
        least = ns < least ? ns : least;
    }
    return least;
}

START_TEST(a_form_takes_time_in_proportion_to_its_fields)
{
    int64_t ns[3];

    narrow = web_configuration->listeners[0].limits;
    narrow.max_parts = narrow.max_fields = 1000000;
    narrow.max_form_memory = 1 << 30;
    act = ask_one;
    for (size_t k = 0, count = 1000; k < 3; k++, count *= 10)
        ns[k] = cost(_i, count);
    /* A hundred times as many: were it quadratic, 10,000 times as long. */
    ck_assert_msg(ns[2] < 1000 * ns[0], "%ld, %ld, %ld ns", (long)ns[0], (long)ns[1], (long)ns[2]);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, web_teardown);
    tcase_add_test(tcase, fields_are_arguments_and_files_are_files);
    tcase_add_test(tcase, a_form_is_read_while_it_comes);
    tcase_add_test(tcase, what_is_broken_is_answered_at_once);
    ADD_TABLE(tcase, a_body_that_is_no_such_form_has_neither, others);
    ADD_TABLE(tcase, a_broken_form_is_one_line_and_one_page, refusals);
    ADD_TABLE(tcase, a_limit_that_is_crossed_is_named, limits);
    ADD_TABLE(tcase, a_form_takes_time_in_proportion_to_its_fields, large);
}

int
main(void)
{
    return unit_run("forms", fill);
}
