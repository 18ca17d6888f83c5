/*
 * Goal: no path, query or If-None-Match does harm.  Whatever a handler gets as an argument is UTF-8
 * without control bytes, stripped, with a NUL behind it, and leads back to the path it came from.
 *
 * Input: a path, a line feed, a query, a line feed, an If-None-Match.
 */
#include "tests/fuzz/web_request.h"

static const char *const names[] = {"a", "b", "", "a b", "\xc3\xa9"};

/* ---- the handler */

static void
check_value(td_str s)
{
    check_text(s);
    for (size_t i = 0; i < s.len; i++)
        TD_ASSERT((unsigned char)s.ptr[i] >= 0x20 || (s.ptr[i] >= '\t' && s.ptr[i] <= '\r'));
    TD_ASSERT(s.len == 0 || (s.ptr[0] != ' ' && s.ptr[s.len - 1] != ' '));
}

static void
ask(td_handler *h)
{
    const td_argument_pair *pairs;
    const size_t all = td_request_arguments(h, &pairs);

    for (size_t i = 0; i < all; i++)
        TD_ASSERT(pairs[i].name.ptr[pairs[i].name.len] == '\0' &&
                  pairs[i].value.ptr[pairs[i].value.len] == '\0');
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const td_str *values;
        const size_t count = td_get_arguments(h, names[i], &values);
        const td_str last = td_get_argument_default(h, names[i], NULL);

        TD_ASSERT(td_str_is_null(last) == (count == 0));
        for (size_t k = 0; k < count; k++)
            check_value(values[k]);
        TD_ASSERT(count == 0 || td_str_equal(values[count - 1], last));
        if (count > 0) {
            const td_str whole = td_get_argument_unstripped(h, names[i], NULL);

            TD_ASSERT(last.len == 0 || memmem(whole.ptr, whole.len, last.ptr, last.len) != NULL);
        }
    }
    td_write(h, td_request_path(h));
}

static void
ask_path(td_handler *h)
{
    const td_str args[] = {td_path_argument(h, "x"), td_path_argument(h, "y")};
    td_str reversed, expected;
    td_arena arena;

    check_text(args[0]);
    check_text(args[1]);
    reversed = td_reverse_url(h, "path", args, 2);
    check_text(reversed);
    td_arena_init(&arena);
    expected = td_arena_sprintf(&arena, "/p/");
    TD_ASSERT(reversed.len >= 3 && memcmp(reversed.ptr, expected.ptr, 3) == 0);
    reversed = td_url_unescape(&arena, reversed, false);
    TD_ASSERT(reversed.len == 4 + args[0].len + args[1].len);
    TD_ASSERT(memcmp(reversed.ptr + 3, args[0].ptr, args[0].len) == 0);
    TD_ASSERT(memcmp(reversed.ptr + 4 + args[0].len, args[1].ptr, args[1].len) == 0);
    td_arena_fini(&arena);
    ask(h);
}

static const td_handler_class Any = {.get = ask};
static const td_handler_class Path = {.get = ask_path};
static const td_url urls[] = {
    TD_URL("/q/(\\w+)-\\1", &Any),
    TD_URL("/literal", &Any),
    TD_URL(".*", &Any),
    {.pattern = NULL},
};
static const td_url path_urls[] = {
    TD_URL("/p/(?<x>[^/]*)/(?<y>.*)", &Path, .name = "path"),
    {.pattern = NULL},
};

/* What stands before the next line feed; *rest goes on behind it. */
static td_str
take_line(td_str *rest)
{
    const char *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
    const td_str line = td_str_make(rest->ptr, end != NULL ? (size_t)(end - rest->ptr) : rest->len);
    const size_t taken = line.len + (end != NULL);

    *rest = td_str_make(rest->ptr + taken, rest->len - taken);
    return line;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const td_url *const tables[] = {path_urls, urls};
    td_str rest = td_str_make((const char *)data, size);

    serve(tables, 2);
    td_request *request = request_for(TD_METHOD_GET, td_limits_defaults());
    td_head *head = &request->head;
    head->target = head->path = td_str_dup(&request->arena, take_line(&rest));
    head->query = td_str_dup(&request->arena, take_line(&rest));
    td_headers_add(&head->headers, &request->arena, TD_STR("If-None-Match"),
                   td_str_dup(&request->arena, rest));

    begin_request(request);
    if (finishes == 0)
        td_application_delegate.finish(app, request);
    TD_ASSERT(finishes == 1);
    TD_ASSERT(status == 200 || status == 304 || (status >= 400 && status <= 500));
    end_request(request);
    return 0;
}
