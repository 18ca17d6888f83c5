/*
 * Field lines, the grammar of names, values and lists, and reason phrases.
 *
 * Lines stand in one array in the order in which they came: a message has few, and a walk over a
 * few lines of memory is cheaper than any index that would have to be built for it.
 */
#include "http/headers.h"
#include "base/escape.h"
#include "http/plain.h"

/* The character classes, as the grammar of RFC 9110 section 5 and RFC 3986 section 2 has them. */
#define ALPHA(c) (((c) | 0x20) >= 'a' && ((c) | 0x20) <= 'z')
#define DIGIT(c) ((c) >= '0' && (c) <= '9')
#define HEXDIG(c) (DIGIT(c) || (((c) | 0x20) >= 'a' && ((c) | 0x20) <= 'f'))
#define TCHAR(c)                                                                                   \
    (ALPHA(c) || DIGIT(c) || (c) == '!' || ((c) >= '#' && (c) <= '\'') || (c) == '*' ||            \
     (c) == '+' || (c) == '-' || (c) == '.' || ((c) >= '^' && (c) <= '`') || (c) == '|' ||         \
     (c) == '~')
#define FIELD_BYTE(c) ((c) == '\t' || ((c) >= 0x20 && (c) != 0x7f))
#define TARGET_BYTE(c) ((c) > 0x20 && (c) < 0x7f && (c) != '#')
#define PATH_BYTE(c) (TARGET_BYTE(c) && (c) != '?' && (c) != '%')
/* unreserved and sub-delims, without the comma that would make two hosts of one field */
#define HOST_BYTE(c)                                                                               \
    (ALPHA(c) || DIGIT(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~' ||               \
     (c) == '!' || (c) == '$' || ((c) >= '&' && (c) <= '+') || (c) == ';' || (c) == '=')

#define CLASS(c)                                                                                   \
    ((TCHAR(c) ? TD_BYTE_TOKEN : 0) | (FIELD_BYTE(c) ? TD_BYTE_FIELD : 0) |                        \
     (TARGET_BYTE(c) ? TD_BYTE_TARGET : 0) | (PATH_BYTE(c) ? TD_BYTE_PATH : 0) |                   \
     (HOST_BYTE(c) ? TD_BYTE_HOST : 0) | (DIGIT(c) ? TD_BYTE_DIGIT : 0) |                          \
     (HEXDIG(c) ? TD_BYTE_HEX : 0))
#define CLASS4(c) CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define CLASS16(c) CLASS4(c), CLASS4((c) + 4), CLASS4((c) + 8), CLASS4((c) + 12)
#define CLASS64(c) CLASS16(c), CLASS16((c) + 16), CLASS16((c) + 32), CLASS16((c) + 48)

const uint8_t td_byte_classes[256] = {CLASS64(0), CLASS64(64), CLASS64(128), CLASS64(192)};

/* Nearly always it does, so no byte is worth a branch of its own. */
static inline bool
consists_of(td_str s, uint8_t class)
{
    uint8_t common = class;

#pragma GCC unroll 4
    for (size_t i = 0; i < s.len; i++)
        common &= td_byte_classes[(unsigned char)s.ptr[i]];
    return common != 0;
}

bool
td_is_token(td_str s)
{
    return s.len > 0 && (td_is_run(s, td_name_ends) || consists_of(s, TD_BYTE_TOKEN));
}

bool
td_is_field_value(td_str s)
{
    return td_is_run(s, td_value_ends) || consists_of(s, TD_BYTE_FIELD);
}

size_t
td_target_len(td_str s)
{
    const char *const end = s.ptr + s.len;

    return (size_t)((s.len >= sizeof(td_block) ? td_find_end(s.ptr, end, td_target_ends)
                                               : td_skip_bytes(s.ptr, end, TD_BYTE_TARGET)) -
                    s.ptr);
}

/* The first line of that name from the i-th on. */
static td_header *
find_from(const td_headers *headers, size_t i, td_str name)
{
    for (; i < headers->count; i++)
        if (td_str_equal_nocase(headers->items[i].name, name))
            return &headers->items[i];
    return NULL;
}

const td_header *
td_headers_find(const td_headers *headers, td_str name)
{
    return find_from(headers, 0, name);
}

const td_header *
td_headers_next(const td_headers *headers, const td_header *previous)
{
    return find_from(headers, (size_t)(previous - headers->items) + 1, previous->name);
}

td_str
td_headers_get(const td_headers *headers, td_arena *arena, td_str name)
{
    const td_header *first = td_headers_find(headers, name), *header;
    size_t len = 0;

    if (first == NULL)
        return (td_str){NULL, 0};
    if (td_headers_next(headers, first) == NULL)
        return first->value;

    for (header = first; header != NULL; header = td_headers_next(headers, header))
        len += header->value.len + 2;

    char *joined = td_arena_alloc_raw(arena, len), *p = joined;

    for (header = first; header != NULL; header = td_headers_next(headers, header)) {
        p = mempcpy(p, header->value.ptr, header->value.len);
        p = mempcpy(p, ", ", 2);
    }
    p[-2] = '\0';
    return td_str_make(joined, len - 2);
}

void
td_headers_grow(td_headers *headers, td_arena *arena)
{
    const size_t size = headers->size > 0 ? headers->size * 2 : TD_HEADERS_FIRST;
    td_header *items = td_arena_alloc_raw(arena, size * sizeof *items);

    if (headers->count > 0)
        memcpy(items, headers->items, headers->count * sizeof *items);
    headers->items = items;
    headers->size = size;
}

void
td_headers_add(td_headers *headers, td_arena *arena, td_str name, td_str value)
{
    *td_headers_append(headers, arena) = (td_header){name, value};
}

/* Drop the lines of that name from `line` on; the others move up to `to`. */
static void
remove_from(td_headers *headers, td_header *to, const td_header *line, td_str name)
{
    const td_header *const end = headers->items + headers->count;

    for (; line < end; line++)
        if (!td_str_equal_nocase(line->name, name))
            *to++ = *line;
    headers->count = (size_t)(to - headers->items);
}

td_header *
td_headers_only(td_headers *headers, td_str name)
{
    td_header *first = find_from(headers, 0, name);

    if (first != NULL && first + 1 < headers->items + headers->count)
        remove_from(headers, first + 1, first + 1, name);
    return first;
}

void
td_headers_set(td_headers *headers, td_arena *arena, td_str name, td_str value)
{
    td_header *line = td_headers_only(headers, name);

    if (line == NULL)
        line = td_headers_append(headers, arena);
    *line = (td_header){name, value};
}

bool
td_headers_remove(td_headers *headers, td_str name)
{
    td_header *first = find_from(headers, 0, name);

    if (first != NULL)
        remove_from(headers, first, first + 1, name);
    return first != NULL;
}

bool
td_list_next(td_str *list, td_str *element_out)
{
    while (list->len > 0) {
        const char *comma = memchr(list->ptr, ',', list->len);
        const size_t len = comma != NULL ? (size_t)(comma - list->ptr) : list->len;
        const td_str element = td_str_trim(td_str_make(list->ptr, len));
        const size_t taken = comma != NULL ? len + 1 : len;

        *list = td_str_make(list->ptr + taken, list->len - taken);
        if (element.len > 0) {
            *element_out = element;
            return true;
        }
    }
    return false;
}

bool
td_list_has_token(td_str list, td_str token)
{
    td_str element;

    while (td_list_next(&list, &element))
        if (td_str_equal_nocase(element, token))
            return true;
    return false;
}

td_str
td_reason_phrase(int status)
{
    switch (status) {
#define X(code, reason)                                                                            \
    case code:                                                                                     \
        return TD_STR(reason);
#include "http/status.def"
#undef X
    default:
        return TD_STR("Unknown");
    }
}
