/*
 * Goal: no Cookie line does harm, its values come out within it, and a value that may be set comes
 * back as it was.
 *
 * Input: a name, a line feed, a Cookie line, which is also taken for a value to set.
 */
#include <stdint.h>
#include <string.h>
#include "base/assert.h"
#include "http/cookies.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_reading(td_arena *arena, td_str line, td_str name)
{
    const td_str raw = td_cookie_find(line, name);
    td_str text;

    if (td_str_is_null(raw))
        return;
    TD_ASSERT(raw.ptr >= line.ptr && raw.ptr + raw.len <= line.ptr + line.len);
    TD_ASSERT(memchr(raw.ptr, ';', raw.len) == NULL);
    text = td_cookie_unquote(arena, raw);
    TD_ASSERT(text.len <= raw.len && text.ptr[text.len] == '\0');
}

static void
check_writing(td_arena *arena, td_str value, td_str name)
{
    const td_cookie_options options = TD_COOKIE(.httponly = true);
    td_str line;

    if (td_cookie_fault(name, value, &options) != NULL)
        return;
    line = td_cookie_format(arena, name, value, &options);
    TD_ASSERT(memchr(line.ptr, '\n', line.len) == NULL);
    TD_ASSERT(td_str_equal(td_cookie_unquote(arena, td_cookie_find(line, name)), value) ||
              td_str_equal(name, TD_STR("Path")));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *end = size > 0 ? memchr(text, '\n', size) : NULL;
    const size_t len = end != NULL ? (size_t)(end - text) : 0;
    const td_str name = td_str_make(text, len);
    const td_str line = td_str_make(text + len + (end != NULL), size - len - (end != NULL));
    td_arena arena;

    td_arena_init(&arena);
    check_reading(&arena, line, name);
    check_reading(&arena, line, TD_STR("a"));
    check_writing(&arena, line, name);
    td_arena_fini(&arena);
    return 0;
}
