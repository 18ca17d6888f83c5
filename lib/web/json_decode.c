/*
 * td_request_json, by libjansson behind our header.
 *
 * Jansson's allocator is one for the whole process, and a handler may use Jansson as well.  Ours
 * takes from the request's arena, and only so much, while this file is parsing on this thread, and
 * is malloc otherwise; nothing that was parsed is ever freed but with the arena.  Jansson parses by
 * recursion, on a stack that is small here, so the depth is measured before.
 */
#include <jansson.h>
#include <stdlib.h>
#include <tornado/json.h>
#include "web/handler.h"

static __thread struct {
    td_arena *arena; /* NULL: nothing is being parsed on this thread */
    size_t left;     /* bytes it may still take */
    bool is_exceeded;
} parsing;

static void *
take_memory(size_t size)
{
    if (parsing.arena == NULL)
        return malloc(size);
    if (size > parsing.left) {
        parsing.is_exceeded = true;
        return NULL;
    }
    parsing.left -= size;
    return td_arena_alloc_raw(parsing.arena, size);
}

static void
give_memory(void *p)
{
    if (parsing.arena == NULL)
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

static json_t *
parse(td_handler *h, td_str body, json_error_t *error)
{
    json_t *root;

    parsing.arena = &h->request->arena;
    parsing.left = (size_t)h->request->limits->max_json_memory;
    parsing.is_exceeded = false;
    root = json_loadb(body.ptr, body.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, error);
    parsing.arena = NULL;
    return root;
}

const td_json *
td_request_json(td_handler *h)
{
    json_error_t error;
    td_str body;

    if (!td_handler_usable(h, "td_request_json"))
        return NULL;
    if (h->json != NULL)
        return h->json;
    body = td_request_body(h);
    if (!install_allocator())
        td_raise(h, 500, "json: a handler has replaced the allocator of libjansson");
    if (depth_of(body) > (size_t)h->request->limits->max_json_depth)
        td_handler_raise_quietly(h, 413, "json: deeper than max_json_depth");
    h->json = (const td_json *)parse(h, body, &error);
    if (h->json == NULL && parsing.is_exceeded)
        td_handler_raise_quietly(h, 413, "json: larger than max_json_memory");
    if (h->json == NULL)
        td_handler_raise_quietly(h, 400, "json: line %d, column %d: %s", error.line, error.column,
                                 error.text);
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
