/*
 * td_request_json, by libjansson behind our header.
 *
 * Jansson's allocator is one for the whole process, and a handler may use Jansson as well.  Ours
 * takes from the request's arena, and only so much, while this file is parsing on this thread, and
 * is malloc otherwise; nothing that was parsed is ever freed but with the arena.  Jansson parses by
 * recursion, on a stack that is small here, so the depth is measured before.
 *
 * It parses a text in one go, 50 ns a byte at worst.  A long one goes to a thread of the executor, so that
 * others are served meanwhile.
 */
#include <jansson.h>
#include <stdlib.h>
#include <tornado/executor.h>
#include <tornado/json.h>
#include "web/handler.h"

#define SHORT 4096        /* bytes of a text that is parsed where it is asked for */
#define BLOCK (64 * 1024) /* bytes that are taken from the arena at once; it has them from malloc */

_Static_assert(BLOCK > TD_CHUNK_SIZE, "the pool of chunks is for the loop's thread");

/* A text that is being parsed, and what has become of it. */
struct parse {
    td_str text;
    size_t depth_max;
    td_arena arena;    /* of the values */
    char *next, *end;  /* what is left of its newest block */
    size_t left;       /* bytes that may still be taken */
    json_t *root;      /* NULL: it was refused */
    bool is_too_deep, is_too_large;
    json_error_t error;
};

static __thread struct parse *parsing; /* NULL: nothing is being parsed on this thread */

static void *
take_memory(size_t size)
{
    struct parse *parse = parsing;

    if (parse == NULL)
        return malloc(size);
    size = (size + 15) & ~(size_t)15;
    if (size > parse->left) {
        parse->is_too_large = true;
        return NULL;
    }
    parse->left -= size;
    if (size > BLOCK / 4)
        return td_arena_alloc_raw(&parse->arena, size);
    if (size > (size_t)(parse->end - parse->next)) {
        parse->next = td_arena_alloc_raw(&parse->arena, BLOCK);
        parse->end = parse->next + BLOCK;
    }
    parse->next += size;
    return parse->next - size;
}

static void
give_memory(void *p)
{
    if (parsing == NULL)
        free(p);
}

/* False: somebody else has put his own in the place of malloc. */
static bool
install_allocator(void)
{
    json_malloc_t take;
    json_free_t give;

    json_get_alloc_funcs(&take, &give);
    if (take == malloc && give == free)
        json_set_alloc_funcs(take_memory, give_memory);
    else if (take != take_memory || give != give_memory)
        return false;
    return true;
}

/* Of arrays and objects in one another, as far as this is JSON. */
static size_t
depth_of(td_str json)
{
    size_t depth = 0, deepest = 0;
    bool is_string = false;

    for (size_t i = 0; i < json.len; i++) {
        const char c = json.ptr[i];

        if (c == '"')
            is_string = !is_string;
        else if (is_string)
            i += c == '\\';
        else if (c == '[' || c == '{')
            deepest = ++depth > deepest ? depth : deepest;
        else if ((c == ']' || c == '}') && depth > 0)
            depth--;
    }
    return deepest;
}

static void *
parse(void *arg)
{
    struct parse *parse = arg;

    parse->is_too_deep = depth_of(parse->text) > parse->depth_max;
    if (parse->is_too_deep)
        return NULL;
    parsing = parse;
    parse->root = json_loadb(parse->text.ptr, parse->text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL,
                             &parse->error);
    parsing = NULL;
    return NULL;
}

static void
parse_fini(struct parse *parse)
{
    td_arena_fini(&parse->arena);
}

static void
parse_body(td_handler *h, td_str body)
{
    struct parse job __attribute__((cleanup(parse_fini))) = {
        .text = body,
        .depth_max = (size_t)h->request->limits->max_json_depth,
        .left = (size_t)h->request->limits->max_json_memory,
    };

    if (body.len <= SHORT || td_coroutine_current() == NULL)
        parse(&job);
    else if (td_executor_run(NULL, parse, &job, NULL) < 0)
        td_handler_raise_quietly(h, 503, "json: executor_queue is full");
    if (job.is_too_deep)
        td_handler_raise_quietly(h, 413, "json: deeper than max_json_depth");
    if (job.is_too_large)
        td_handler_raise_quietly(h, 413, "json: larger than max_json_memory");
    if (job.root == NULL)
        td_handler_raise_quietly(h, 400, "json: line %d, column %d: %s", job.error.line,
                                 job.error.column, job.error.text);
    td_arena_adopt(&h->request->arena, &job.arena);
    h->json = (const td_json *)job.root;
}

const td_json *
td_request_json(td_handler *h)
{
    if (!td_handler_usable(h, "td_request_json"))
        return NULL;
    if (!install_allocator())
        td_raise(h, 500, "json: a handler has replaced the allocator of libjansson");
    if (h->json == NULL)
        parse_body(h, td_request_body(h));
    return h->json;
}

/* ---- values */

static json_t *
json_of(const td_json *value)
{
    return (json_t *)(uintptr_t)value; /* Jansson knows no const where it iterates */
}

td_json_type
td_json_type_of(const td_json *value)
{
    if (value == NULL)
        return TD_JSON_NULL;
    switch (json_typeof(json_of(value))) {
    case JSON_OBJECT:
        return TD_JSON_OBJECT;
    case JSON_ARRAY:
        return TD_JSON_ARRAY;
    case JSON_STRING:
        return TD_JSON_STRING;
    case JSON_INTEGER:
        return TD_JSON_INT;
    case JSON_REAL:
        return TD_JSON_DOUBLE;
    case JSON_TRUE:
    case JSON_FALSE:
        return TD_JSON_BOOL;
    case JSON_NULL:
        break;
    }
    return TD_JSON_NULL;
}

size_t
td_json_count(const td_json *value)
{
    return json_object_size(json_of(value)) + json_array_size(json_of(value));
}

const td_json *
td_json_get(const td_json *object, const char *name)
{
    return name != NULL ? (const td_json *)json_object_get(json_of(object), name) : NULL;
}

const td_json *
td_json_at(const td_json *array, size_t index)
{
    return (const td_json *)json_array_get(json_of(array), index);
}

td_str
td_json_as_str(const td_json *value, const char *default_value)
{
    if (!json_is_string(json_of(value)))
        return td_str_of(default_value);
    return td_str_make(json_string_value(json_of(value)), json_string_length(json_of(value)));
}

int64_t
td_json_as_int(const td_json *value, int64_t default_value)
{
    return json_is_integer(json_of(value)) ? json_integer_value(json_of(value)) : default_value;
}

double
td_json_as_double(const td_json *value, double default_value)
{
    return json_is_number(json_of(value)) ? json_number_value(json_of(value)) : default_value;
}

bool
td_json_as_bool(const td_json *value, bool default_value)
{
    return json_is_boolean(json_of(value)) ? json_is_true(json_of(value)) : default_value;
}

bool
td_json_next(const td_json *object, td_json_member *member)
{
    json_t *json = json_of(object);
    void *place =
        member->place == NULL ? json_object_iter(json) : json_object_iter_next(json, member->place);

    if (place == NULL)
        return false;
    *member = (td_json_member){
        .name = td_str_make(json_object_iter_key(place), json_object_iter_key_len(place)),
        .value = (const td_json *)json_object_iter_value(place),
        .place = place,
    };
    return true;
}
