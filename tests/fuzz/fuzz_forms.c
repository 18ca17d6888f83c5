/*
 * Goal: no form in a body makes a handler that asks for all of it crash, leak, or meet a name or
 * value that is not what is promised; the limits of forms hold.
 *
 * Input: a Content-Type, a line feed, the body.  It comes in two pieces, and is then there as a
 * whole.
 */
#include "tests/fuzz/web_request.h"

#define FIELDS_MAX 8
#define PARTS_MAX 8

static td_limits limits;
static const char *const names[] = {"a", "b", "", "a b", "\xc3\xa9"};

static void
check_file(const td_http_file *file, td_str body)
{
    check_text(file->name);
    check_text(file->filename);
    check_text(file->content_type);
    TD_ASSERT(file->name.len > 0 && file->filename.len > 0);
    TD_ASSERT(file->body.len == 0 || (file->body.ptr >= body.ptr &&
                                      file->body.ptr + file->body.len < body.ptr + body.len));
}

static void
post(td_handler *h)
{
    const td_http_file *files;
    const size_t count = td_get_files(h, NULL, &files);

    TD_ASSERT(count <= PARTS_MAX);
    for (size_t i = 0; i < count; i++)
        check_file(&files[i], td_request_body(h));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const td_str *values;
        const size_t values_count = td_get_body_arguments(h, names[i], &values);

        TD_ASSERT(values_count <= FIELDS_MAX);
        for (size_t k = 0; k < values_count; k++)
            check_text(values[k]);
        td_get_argument_int_default(h, names[i], INT64_MIN, INT64_MAX, 0);
        td_get_argument_double_default(h, names[i], 0);
        td_get_argument_bool_default(h, names[i], false);
    }
}

/* Once is enough. */
static void
set_up(void)
{
    static const td_handler_class Post = {.post = post};
    static const td_url urls[] = {TD_URL("/", &Post), {.pattern = NULL}};
    static const td_url *const tables[] = {urls};

    limits = *td_limits_defaults();
    limits.max_fields = FIELDS_MAX;
    limits.max_parts = PARTS_MAX;
    serve(tables, 1);
}

static void
show_to_watcher(td_request *request, td_str piece)
{
    if (request->body_watcher != NULL && !request->body_unwanted)
        request->body_watcher->received(request->body_watcher, request, piece);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *end = size > 0 ? memchr(text, '\n', size) : NULL;
    const td_str type = td_str_make(text, end != NULL ? (size_t)(end - text) : 0);
    const td_str body = end != NULL ? td_str_make(end + 1, size - type.len - 1) : type;

    set_up();
    td_request *request = request_for(TD_METHOD_POST, &limits);
    request->head.content_length = (int64_t)body.len;
    td_headers_add(&request->head.headers, &request->arena, TD_STR("Content-Type"),
                   td_is_field_value(type) ? type : TD_STR("application/x-www-form-urlencoded"));
    request->body = td_str_dup(&request->arena, body);

    begin_request(request);
    show_to_watcher(request, td_str_make(body.ptr, body.len / 3));
    show_to_watcher(request, td_str_make(body.ptr + body.len / 3, body.len / 3));
    td_application_delegate.finish(app, request);
    TD_ASSERT(status == 200 || status == 400 || status == 413);
    end_request(request);
    return 0;
}
