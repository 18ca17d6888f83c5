/*
 * JSON that a client has sent.  Values are read only, belong to the request and live as long as it.
 *
 * Every function takes NULL for a value and treats it as null, so that what is asked of a member
 * that is not there is answered as it is for one of another type.
 */
#ifndef TORNADO_JSON_H
#define TORNADO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/handler.h>
#include <tornado/str.h>

typedef struct td_json td_json;

/*
 * The body of the request, whatever its Content-Type; the same value each time.  Raises 400 when it
 * is no JSON (RFC 8259: UTF-8; an integer has to fit 64 bits, a number a double; of members of the
 * same name the last counts), 413 beyond max_json_depth or max_json_memory.  Never NULL; 500 when a
 * handler that uses libjansson itself has replaced its allocator.
 *
 * The first call may wait, in a coroutine: of a body beyond 4 KiB some 100 us are spent at a time,
 * and others are served in between.
 */
TD_API const td_json *td_request_json(td_handler *h);

/* TD_JSON_OBJECT, _ARRAY, _STRING, _INT (a number without fraction and exponent), _DOUBLE, _BOOL,
 * _NULL */
TD_API td_json_type td_json_type_of(const td_json *value);

/* Members of an object, elements of an array, else 0. */
TD_API size_t td_json_count(const td_json *value);

/* NULL: there is none, or that is no object or array. */
TD_API const td_json *td_json_get(const td_json *object, const char *name);
TD_API const td_json *td_json_at(const td_json *array, size_t index);

/* What the value is, or the default when it is something else.  A double may be an integer, too. */
TD_API td_str td_json_as_str(const td_json *value, const char *default_value);
TD_API int64_t td_json_as_int(const td_json *value, int64_t default_value);
TD_API double td_json_as_double(const td_json *value, double default_value);
TD_API bool td_json_as_bool(const td_json *value, bool default_value);

/*
 * Members in the order in which they came:
 *
 *     td_json_member member = {0};
 *
 *     while (td_json_next(object, &member))
 *         td_writef(h, "%s\n", member.name.ptr);
 */
typedef struct td_json_member {
    td_str name;
    const td_json *value;
    void *place; /* ours; NULL at the beginning */
} td_json_member;

TD_API bool td_json_next(const td_json *object, td_json_member *member);

#endif
