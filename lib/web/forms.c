/*
 * Forms in the body, taken apart before prepare.
 *
 * multipart/form-data is read while it comes, so that it may be of any size: the reader keeps the
 * headers of the parts and where their bodies begin, and when the message is complete they are
 * spans of the whole body, wherever that lies.
 *
 * The first thing that is wrong with one ends the request: one line in the log, and the error page
 * of the handler.
 */
#include "base/clock.h"
#include "base/escape.h"
#include "http/multipart.h"
#include "web/forms.h"

#define PIECE_FIRST 16384  /* bytes that are read in one turn */
#define PIECE_MIN 4096
#define PIECE_NS (40 * 1000) /* that a piece should take at most, or the next ones are smaller */

static bool
begins_with(td_str s, td_str prefix)
{
    return s.len >= prefix.len && td_str_equal_nocase(td_str_make(s.ptr, prefix.len), prefix);
}

enum kind { NONE, URLENCODED, MULTIPART };

static enum kind
kind_of(td_str type)
{
    const char *end = type.len > 0 ? memchr(type.ptr, ';', type.len) : NULL;

    if (begins_with(type, TD_STR("application/x-www-form-urlencoded")))
        return URLENCODED;
    if (end != NULL)
        type.len = (size_t)(end - type.ptr);
    return td_str_equal_nocase(td_str_trim(type), TD_STR("multipart/form-data")) ? MULTIPART : NONE;
}

/* ---- application/x-www-form-urlencoded */

static void
parse_urlencoded(td_handler *h)
{
    const td_limits *limits = h->request->limits;
    td_arguments *fields;

    if (h->request->body.len > (size_t)limits->max_form_memory)
        td_handler_raise_quietly(h, 413, "form: larger than max_form_memory");
    fields = td_arguments_split(h, h->request->body, (size_t)limits->max_fields, true);
    if (fields == NULL)
        td_handler_raise_quietly(h, 413, "form: more fields than max_fields");
    h->form = TD_ARENA_NEW(&h->request->arena, td_form);
    h->form->fields = fields;
}

/* ---- multipart/form-data */

struct part {
    struct part *next;
    td_http_file file; /* filename null for a field; body: where it begins is not known yet */
    uint64_t offset;   /* of the body of the part in that of the request */
};

/* Lies in the arena of the request. */
struct reader {
    td_body_watcher watcher;
    td_application *app;
    td_multipart parser;
    td_multipart_limits multipart_limits;
    const td_limits *limits;
    td_arena *arena;
    struct part *first, *last;
    size_t fields_count, files_count;
    size_t memory;    /* bytes that count as max_form_memory does */
    uint64_t taken;   /* bytes of the body that were read */
    bool has_ended;
    int status;       /* not 0: it is refused, and why */
    const char *what;
};

static void
refuse(struct reader *reader, int status, const char *what)
{
    if (reader->status != 0)
        return;
    reader->status = status;
    reader->what = what;
}

static void
count_memory(struct reader *reader, size_t bytes)
{
    reader->memory += bytes;
    if (reader->memory > (size_t)reader->limits->max_form_memory)
        refuse(reader, 413, "more than max_form_memory beside its files");
}

static void
add_part(struct reader *reader, uint64_t offset)
{
    const td_multipart *parser = &reader->parser;
    struct part *part = TD_ARENA_NEW(reader->arena, struct part);

    part->offset = offset;
    part->file.name = td_str_dup(reader->arena, parser->name);
    if (td_str_is_null(parser->filename)) {
        if (++reader->fields_count > (size_t)reader->limits->max_fields)
            refuse(reader, 413, "more fields than max_fields");
    } else {
        const bool has_type = !td_str_is_null(parser->content_type);

        reader->files_count++;
        part->file.filename = td_str_dup(reader->arena, parser->filename);
        part->file.content_type = has_type ? td_str_dup(reader->arena, parser->content_type)
                                           : TD_STR("application/unknown");
    }
    *(reader->first == NULL ? &reader->first : &reader->last->next) = part;
    reader->last = part;
    count_memory(reader, parser->head_size);
}

static void
add_data(struct reader *reader, size_t len)
{
    reader->last->file.body.len += len;
    if (td_str_is_null(reader->last->file.filename))
        count_memory(reader, len);
}

/* The next piece of the body. */
static void
read_piece(struct reader *reader, td_str piece)
{
    td_str input = piece, data;

    while (reader->status == 0 && !reader->has_ended) {
        const int event =
            td_multipart_next(&reader->parser, &reader->multipart_limits, &input, &data);

        if (event < 0)
            refuse(reader, reader->parser.status, reader->parser.what);
        else if (event == TD_MULTIPART_PART)
            add_part(reader, reader->taken + piece.len - input.len);
        else if (event == TD_MULTIPART_DATA)
            add_data(reader, data.len);
        else if (event == TD_MULTIPART_END)
            reader->has_ended = true;
        else if (event == TD_MULTIPART_MORE)
            break;
    }
    reader->taken += piece.len;
}

static void
refuse_early(td_application *app, td_request *request, int status, const char *what)
{
    request->body_unwanted = true;
    td_handler_refuse(app, request, status,
                      td_arena_sprintf(&request->arena, "form: %s", what).ptr);
}

static struct reader *
reader_of(const td_request *request)
{
    return (struct reader *)request->body_watcher;
}

/* What it costs to read depends on what it is: many lines, or one body. */
static void
choose_piece_max(td_body_watcher *watcher, size_t len, int64_t took_ns)
{
    if (took_ns > PIECE_NS)
        watcher->piece_max = watcher->piece_max / 2 > PIECE_MIN ? watcher->piece_max / 2 : PIECE_MIN;
    else if (took_ns < PIECE_NS / 4 && len == watcher->piece_max)
        watcher->piece_max = 2 * len < TD_BODY_PIECE_MAX ? 2 * len : TD_BODY_PIECE_MAX;
}

static void
reader_received(td_body_watcher *watcher, td_request *request, td_str data)
{
    struct reader *reader = (struct reader *)watcher;
    const int64_t began_ns = td_clock_ns();

    read_piece(reader, data);
    choose_piece_max(watcher, data.len, td_clock_ns() - began_ns);
    if (reader->status != 0)
        refuse_early(reader->app, request, reader->status, reader->what);
}

static void
reader_release(td_body_watcher *watcher)
{
    td_multipart_fini(&((struct reader *)watcher)->parser);
}

static void
expect_multipart(td_application *app, td_request *request, td_str content_type)
{
    const td_limits *limits = request->limits;
    struct reader *reader = TD_ARENA_NEW(&request->arena, struct reader);

    reader->watcher = (td_body_watcher){reader_received, reader_release, PIECE_FIRST};
    reader->app = app;
    reader->multipart_limits = (td_multipart_limits){(size_t)limits->max_parts,
                                                     (size_t)limits->max_part_header_size};
    reader->limits = limits;
    reader->arena = &request->arena;
    request->body_watcher = &reader->watcher;
    if (td_multipart_init(&reader->parser, content_type) < 0)
        refuse_early(app, request, reader->parser.status, reader->parser.what);
}

static void
make_form(td_handler *h, const struct reader *reader)
{
    const char *body = h->request->body.ptr;
    td_form *form = TD_ARENA_NEW(&h->request->arena, td_form);

    form->fields = td_arguments_create(h, reader->fields_count);
    form->files = TD_ARENA_ARRAY(&h->request->arena, td_http_file, reader->files_count);
    for (const struct part *part = reader->first; part != NULL; part = part->next) {
        td_http_file file = part->file;

        file.body.ptr = body + part->offset;
        if (td_str_is_null(file.filename))
            td_arguments_add(form->fields,
                             (td_argument){.name = file.name, .raw = file.body, .is_plain = true},
                             true);
        else
            form->files[form->files_count++] = file;
    }
    h->form = form;
}

static void
parse_multipart(td_handler *h)
{
    struct reader *reader = reader_of(h->request);
    const td_str body = h->request->body;

    /* What nobody has shown to the reader. */
    read_piece(reader, td_str_make(body.ptr + reader->taken, body.len - (size_t)reader->taken));
    if (!reader->has_ended)
        refuse(reader, 400, "it has no end");
    if (reader->status != 0)
        td_handler_raise_quietly(h, reader->status, "form: %s", reader->what);
    make_form(h, reader);
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

bool
td_form_type_is_told(const td_head *head)
{
    const td_header *type = td_headers_find(&head->headers, TD_STR("Content-Type"));

    return type != NULL && kind_of(type->value) != NONE;
}

void
td_form_expect(td_application *app, td_request *request)
{
    const td_head *head = &request->head;
    const td_str type = td_headers_get(&head->headers, &request->arena, TD_STR("Content-Type"));

    /* What is compressed, say, would be taken for something else than its sender meant. */
    if (td_headers_find(&head->headers, TD_STR("Content-Encoding")) != NULL)
        refuse_early(app, request, 400, "it has a Content-Encoding");
    else if (kind_of(type) != URLENCODED)
        expect_multipart(app, request, type);
    else if (head->content_length > request->limits->max_form_memory)
        refuse_early(app, request, 413, "larger than max_form_memory");
}

void
td_form_parse(td_handler *h)
{
    if (h->request->body_mode != TD_BODY_BUFFERED)
        return;
    if (h->request->body_watcher != NULL)
        parse_multipart(h);
    else
        parse_urlencoded(h);
}
