/*
 * Goal: what a request brings in its query and its body, told so that a test can compare: one line
 * of hexadecimal digits for each value.
 */
#include <tornado/tornado.h>

static void
write_hex(td_handler *h, td_str s)
{
    for (size_t i = 0; i < s.len; i++)
        td_writef(h, "%02x", (unsigned char)s.ptr[i]);
}

static void
write_all(td_handler *h, const td_str *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        write_hex(h, values[i]);
        td_write(h, TD_STR("\n"));
    }
}

static void
all(td_handler *h)
{
    const td_str *values;
    const size_t count = td_get_arguments(h, td_path_argument_at(h, 0).ptr, &values);

    write_all(h, values, count);
}

static void
of_query(td_handler *h)
{
    const td_str *values;
    const size_t count = td_get_query_arguments(h, td_path_argument_at(h, 0).ptr, &values);

    write_all(h, values, count);
}

static void
of_body(td_handler *h)
{
    const td_str *values;
    const size_t count = td_get_body_arguments(h, td_path_argument_at(h, 0).ptr, &values);

    write_all(h, values, count);
}

static void
last(td_handler *h)
{
    write_hex(h, td_get_argument(h, td_path_argument_at(h, 0).ptr));
    td_write(h, TD_STR("\n"));
}

/* A line for each: file name, content type, body. */
static void
files(td_handler *h)
{
    const td_http_file *found;
    const size_t files_count = td_get_files(h, td_path_argument_at(h, 0).ptr, &found);

    for (size_t i = 0; i < files_count; i++) {
        write_all(h, &found[i].filename, 1);
        write_all(h, &found[i].content_type, 1);
        write_all(h, &found[i].body, 1);
    }
}

static void
count(td_handler *h)
{
    td_writef(h, "%zu", td_get_arguments(h, "f", NULL));
}

static void
json(td_handler *h)
{
    const td_json *root = td_request_json(h);
    td_json_member member = {.place = NULL};

    while (td_json_next(root, &member)) {
        write_all(h, &member.name, 1);
        td_writef(h, "%d\n", (int)td_json_type_of(member.value));
    }
}

static void
own_page(td_handler *h, int status)
{
    td_writef(h, "page of the handler: %d", status);
}

static const td_handler_class All = {.get = all, .post = all, .delete_ = all};
static const td_handler_class OfQuery = {.post = of_query};
static const td_handler_class OfBody = {.post = of_body};
static const td_handler_class Files = {.post = files};
static const td_handler_class Last = {.post = last};
static const td_handler_class Json = {.post = json, .write_error = own_page};
static const td_handler_class Count = {.post = count, .write_error = own_page};

TD_PLUGIN(.name = "forms", .version = "1.0",
          .urls = TD_URLS(TD_URL("/all/(.*)", &All), TD_URL("/query/(.*)", &OfQuery),
                          TD_URL("/body/(.*)", &OfBody), TD_URL("/last/(.*)", &Last),
                          TD_URL("/files/(.*)", &Files), TD_URL("/count", &Count),
                          TD_URL("/json", &Json)));
