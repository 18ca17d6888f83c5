/*
 * Forms in the body, taken apart before prepare (BEHAVIOUR sections 3.5, 7 and 8).
 *
 * The first thing that is wrong with one ends the request: one line in the log, and the error page
 * of the handler.
 */
#include "base/escape.h"
#include "http/multipart.h"
#include "web/forms.h"

/* ---- application/x-www-form-urlencoded */

static bool
begins_with(td_str s, td_str prefix)
{
    return s.len >= prefix.len && td_str_equal_nocase(td_str_make(s.ptr, prefix.len), prefix);
}

static void
parse_urlencoded(td_handler *h)
{
    td_arguments *fields =
        td_arguments_split(h, h->request->body, (size_t)h->request->limits->max_fields);

    if (fields == NULL)
        td_handler_raise_quietly(h, 413, "form: more fields than max_fields");
    h->form = TD_ARENA_NEW(&h->request->arena, td_form);
    h->form->fields = fields;
}

/* ---- multipart/form-data */

/* The parts of a form while it is being read: td_http_file of each, filename being null for a
 * field. */
struct parts {
    td_buf items;
    size_t fields_count, files_count;
    int status; /* not 0: it is refused, and why */
    const char *what;
};

static void
add_part(td_handler *h, struct parts *parts, const td_multipart *parser)
{
    td_arena *arena = &h->request->arena;
    td_http_file part = {.name = td_str_dup(arena, parser->name), .body = TD_STR("")};

    if (td_str_is_null(parser->filename)) {
        parts->fields_count++;
    } else {
        const bool has_type = !td_str_is_null(parser->content_type);

        parts->files_count++;
        part.filename = td_str_dup(arena, parser->filename);
        part.content_type =
            has_type ? td_str_dup(arena, parser->content_type) : TD_STR("application/unknown");
    }
    td_buf_append(&parts->items, td_str_make((const char *)&part, sizeof(part)));
}

static td_http_file *
items_of(struct parts *parts)
{
    return (td_http_file *)(void *)parts->items.base;
}

/* The whole body is there, so each part's is one span of it. */
static void
read_parts(td_handler *h, td_multipart *parser, struct parts *parts)
{
    const td_limits *limits = h->request->limits;
    const td_multipart_limits multipart = {(size_t)limits->max_parts,
                                           (size_t)limits->max_part_header_size};
    td_str input = h->request->body, data;
    int event;

    while ((event = td_multipart_next(parser, &multipart, &input, &data)) > TD_MULTIPART_MORE &&
           event != TD_MULTIPART_END) {
        if (event == TD_MULTIPART_PART)
            add_part(h, parts, parser);
        else if (event == TD_MULTIPART_DATA)
            items_of(parts)[parts->fields_count + parts->files_count - 1].body = data;
    }
    if (event < 0) {
        parts->status = parser->status;
        parts->what = parser->what;
    } else if (event == TD_MULTIPART_MORE) {
        parts->status = 400;
        parts->what = "it has no end";
    } else if (parts->fields_count > (size_t)limits->max_fields) {
        parts->status = 413;
        parts->what = "more fields than max_fields";
    }
}

static void
make_form(td_handler *h, struct parts *parts)
{
    const td_http_file *items = items_of(parts);
    td_form *form = TD_ARENA_NEW(&h->request->arena, td_form);

    form->fields = td_arguments_create(h, parts->fields_count);
    form->files = TD_ARENA_ARRAY(&h->request->arena, td_http_file, parts->files_count);
    for (size_t i = 0; i < parts->fields_count + parts->files_count; i++)
        if (td_str_is_null(items[i].filename))
            form->fields->items[form->fields->count++] =
                (td_argument){.name = items[i].name, .raw = items[i].body, .is_plain = true};
        else
            form->files[form->files_count++] = items[i];
    h->form = form;
}

static void
parse_multipart(td_handler *h, td_str content_type)
{
    td_multipart parser = {.name = {NULL, 0}};
    struct parts parts = {.status = 0};

    if (td_multipart_init(&parser, content_type) < 0) {
        parts.status = parser.status;
        parts.what = parser.what;
    } else {
        read_parts(h, &parser, &parts);
    }
    if (parts.status == 0)
        make_form(h, &parts);
    td_multipart_fini(&parser);
    td_buf_release(&parts.items);
    if (parts.status != 0)
        td_handler_raise_quietly(h, parts.status, "form: %s", parts.what);
}

const td_http_file *
td_get_file(td_handler *h, const char *name)
{
    if (!td_handler_usable(h, "td_get_file") || h->form == NULL)
        return NULL;
    for (size_t i = 0; i < h->form->files_count; i++)
        if (td_str_equal(h->form->files[i].name, td_str_of(name)))
            return &h->form->files[i];
    return NULL;
}

size_t
td_get_files(td_handler *h, const char *name, const td_http_file **files_out)
{
    td_http_file *files;
    size_t count = 0;

    if (!td_handler_usable(h, "td_get_files") || h->form == NULL)
        return 0;
    files = TD_ARENA_ARRAY(&h->request->arena, td_http_file, h->form->files_count);
    for (size_t i = 0; i < h->form->files_count; i++)
        if (name == NULL || td_str_equal(h->form->files[i].name, td_str_of(name)))
            files[count++] = h->form->files[i];
    if (files_out != NULL)
        *files_out = files;
    return count;
}

/* ---- which of them it is */

static bool
is_multipart(td_str type)
{
    const char *end = type.len > 0 ? memchr(type.ptr, ';', type.len) : NULL;

    if (end != NULL)
        type.len = (size_t)(end - type.ptr);
    return td_str_equal_nocase(td_str_trim(type), TD_STR("multipart/form-data"));
}

/* What is compressed, say, would be taken for something else than its sender meant. */
static void
refuse_content_encoding(td_handler *h)
{
    if (td_headers_find(&h->request->head.headers, TD_STR("Content-Encoding")) != NULL)
        td_handler_raise_quietly(h, 400, "form: it has a Content-Encoding");
}

void
td_form_parse(td_handler *h)
{
    const td_str type =
        td_headers_get(&h->request->head.headers, &h->request->arena, TD_STR("Content-Type"));

    if (begins_with(type, TD_STR("application/x-www-form-urlencoded"))) {
        refuse_content_encoding(h);
        parse_urlencoded(h);
    } else if (is_multipart(type)) {
        refuse_content_encoding(h);
        parse_multipart(h, type);
    }
}
