/*
 * td_request_json, by libjansson behind our header.
 *
 * Jansson's allocator is one for the whole process, and a handler may use Jansson as well.  Ours
 * takes from the request's arena, and only so much, while this file is parsing, and is malloc
 * otherwise; nothing that was parsed is ever freed but with the arena.
 *
 * Jansson asks for the text piece by piece.  Of a long one (10 ns a byte, 100 at worst) it gets the
 * next piece only after others had their turn, where the last turn was long enough: the coroutine
 * waits in Jansson's midst.  A cancellation ends at that wait, for C frames of others are not to be
 * unwound, and goes on when Jansson has seen the text end there.  Jansson parses by recursion, on a
 * stack that is small here, so the depth of a piece is known before it gets it.
 */
#include <jansson.h>
#include <stdlib.h>
#include <tornado/coroutine.h>
#include <tornado/json.h>
#include "base/clock.h"
#include "io/call.h"
#include "io/coroutine.h"
#include "web/handler.h"
#include "web/json.h"

#define SHORT 4096             /* bytes of a text that is parsed in one go */
#define TURN_NS INT64_C(100000) /* of a longer one; a piece begun is parsed, and an array grown, to its end */
#define BLOCK (64 * 1024)      /* bytes that are taken from the arena at once for a longer one */

/* A text that is being parsed, and what has become of it. */
struct parse {
    td_str rest;
    size_t depth, depth_max;
    bool in_string, after_backslash; /* where the depth was measured up to */
    td_arena *arena;   /* of the values */
    size_t block_size; /* bytes; 0: each value is taken from the arena itself */
    char *next, *end;  /* what is left of the newest block */
    size_t left;       /* bytes that may still be taken */
    int64_t turn_end_ns;
    bool is_in_turns, is_too_deep, is_too_large, is_canceled;
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
    if (size > parse->block_size / 4)
        return td_arena_alloc_raw(parse->arena, size);
    if (size > (size_t)(parse->end - parse->next)) {
        parse->next = td_arena_alloc_raw(parse->arena, parse->block_size);
        parse->end = parse->next + parse->block_size;
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

/* Of arrays and objects in one another, as far as this is JSON.  False: too many. */
static bool
measure_depth(struct parse *parse, td_str piece)
{
    for (size_t i = 0; i < piece.len; i++) {
        const char c = piece.ptr[i];

        if (parse->after_backslash)
            parse->after_backslash = false;
        else if (c == '"')
            parse->in_string = !parse->in_string;
        else if (parse->in_string)
            parse->after_backslash = c == '\\';
        else if ((c == '[' || c == '{') && ++parse->depth > parse->depth_max)
            return false;
        else if ((c == ']' || c == '}') && parse->depth > 0)
            parse->depth--;
    }
    return true;
}

static void
wait_for_turn(void *arg)
{
    struct parse *parse = arg;

    td_sleep(0);
    parse->turn_end_ns = td_clock_ns() + TURN_NS;
}

/* What others do meanwhile is not our parsing. */
static void
end_turn(struct parse *parse)
{
    parsing = NULL;
    parse->is_canceled = td_coroutine_catch(wait_for_turn, parse) != TD_COROUTINE_RETURNED;
    parsing = parse;
}

/* For Jansson: the next piece of the text; 0 is its end. */
static size_t
next_piece(void *room, size_t size, void *arg)
{
    struct parse *parse = arg;
    const td_str piece = {parse->rest.ptr, parse->rest.len < size ? parse->rest.len : size};

    if (parse->is_in_turns && td_clock_ns() > parse->turn_end_ns)
        end_turn(parse);
    if (parse->is_canceled)
        return 0;
    parse->is_too_deep = !measure_depth(parse, piece);
    if (parse->is_too_deep)
        return 0;
    memcpy(room, piece.ptr, piece.len);
    parse->rest = td_str_make(piece.ptr + piece.len, parse->rest.len - piece.len);
    return piece.len;
}

static void
parse_body(td_handler *h, td_str body)
{
    struct parse job = {
        .rest = body,
        .depth_max = (size_t)h->request->limits->max_json_depth,
        .arena = &h->request->arena,
        .left = (size_t)h->request->limits->max_json_memory,
    };
    json_error_t error;
    json_t *root;

    if (body.len > SHORT && td_coroutine_current() != NULL) {
        job.block_size = BLOCK;
        job.is_in_turns = true;
        job.turn_end_ns = td_clock_ns() + TURN_NS;
    }
    parsing = &job;
    root = json_load_callback(next_piece, &job, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    parsing = NULL;
    if (job.is_canceled) {
        td_coroutine_cancel(td_coroutine_current());
        td_sleep(0); /* does not return */
    }
    if (job.is_too_deep)
        td_handler_raise_quietly(h, 413, "json: deeper than max_json_depth");
    if (job.is_too_large)
        td_handler_raise_quietly(h, 413, "json: larger than max_json_memory");
    if (root == NULL)
        td_handler_raise_quietly(h, 400, "json: line %d, column %d: %s", error.line, error.column,
                                 error.text);
    h->json = (const td_json *)root;
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

const td_json *
td_json_parse(td_arena *arena, td_str text, td_err *err)
{
    struct parse job = {
        .rest = text,
        .depth_max = (size_t)td_limits_defaults()->max_json_depth,
        .arena = arena,
        .left = SIZE_MAX,
    };
    json_error_t error;

    if (!install_allocator()) {
        td_err_set(err, TD_EINVAL, "somebody has replaced the allocator of libjansson");
        return NULL;
    }
    parsing = &job;
    const json_t *root =
        json_load_callback(next_piece, &job, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    parsing = NULL;
    if (root == NULL)
        td_err_set(err, TD_EBADMSG, "line %d, column %d: %s", error.line, error.column,
                   job.is_too_deep ? "too deep" : error.text);
    return (const td_json *)root;
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
    void *place;

    if (member == NULL) {
        td_misuse("td_json_next", "there is no member");
        return false;
    }
    place =
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
