/*
 * Lists of methods are cut down from the outside in, lists of headers grow.
 */
#include "web/matchers.h"
#include "base/buf.h"
#include "web/urlspec.h"

struct td_header_matcher {
    td_str name;
    pcre2_code *code;
};

/* ---- methods */

td_str
td_methods_join(td_arena *arena, uint32_t mask)
{
    td_buf text = {0};
    td_str joined;

    for (int method = 0; method < TD_METHODS_COUNT; method++)
        if (mask & 1u << method) {
            if (text.len > 0)
                td_buf_append(&text, TD_STR(", "));
            td_buf_append(&text, td_method_name((td_method)method));
        }
    joined = td_str_dup(arena, td_buf_str(&text));
    td_buf_release(&text);
    return joined;
}

/* 0 when there is none of that name. */
static uint32_t
bit_of(td_str name)
{
    for (int method = 0; method < TD_METHODS_COUNT; method++)
        if (td_str_equal(name, td_method_name((td_method)method)))
            return 1u << method;
    return 0;
}

static int
parse_methods(const char *list, uint32_t *mask_out, td_err *err)
{
    td_str rest = td_str_of(list), name;
    uint32_t mask = 0;

    while (td_list_next(&rest, &name)) {
        uint32_t bit = bit_of(name);

        if (bit == 0)
            return td_err_set(err, TD_EPLUGIN, "methods '%s': '%.*s' is none (GET, POST, ...)",
                              list, TD_STR_FMT(name));
        mask |= bit;
    }
    if (mask == 0)
        return td_err_set(err, TD_EPLUGIN, "methods '%s': there is none", list);
    *mask_out = mask;
    return 0;
}

static int
narrow_methods(td_matchers *matchers, const char *list, td_err *err)
{
    uint32_t mask = 0;
    int rc = parse_methods(list, &mask, err);

    if (rc < 0)
        return rc;
    matchers->named = mask;
    if (mask & 1u << TD_METHOD_GET) /* RFC 9110 section 9.1: they go together */
        mask |= 1u << TD_METHOD_HEAD;
    matchers->methods &= mask;
    if (matchers->methods == 0)
        return td_err_set(err, TD_EPLUGIN, "methods '%s': those around it leave none of them", list);
    return 0;
}

/* GET has HEAD with it; not so where the class does not want that. */
static void
leave_out_head(td_matchers *matchers, const td_handler_class *class)
{
    const uint32_t head = 1u << TD_METHOD_HEAD;

    if (matchers->methods != TD_ALL_METHODS && !(matchers->named & head) && class != NULL &&
        class->head == NULL && (class->flags & TD_NO_AUTO_HEAD))
        matchers->methods &= ~head;
}

/* ---- headers */

static int
add_header(td_matchers *matchers, const td_header_match *wanted, td_err *err)
{
    struct td_header_matcher *header = &matchers->headers[matchers->headers_count];
    char message[128];
    PCRE2_SIZE offset;
    int code;

    header->name = td_str_of(wanted->name);
    if (!td_is_token(header->name))
        return td_err_set(err, TD_EPLUGIN, "headers: '%s' is no name of one", wanted->name);
    if (wanted->pattern == NULL)
        return td_err_set(err, TD_EPLUGIN, "headers: there is no pattern for %s", wanted->name);
    header->code = pcre2_compile((PCRE2_SPTR)wanted->pattern, PCRE2_ZERO_TERMINATED,
                                 TD_URLSPEC_OPTIONS | PCRE2_ENDANCHORED, &code, &offset, NULL);
    if (header->code == NULL) {
        pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof(message));
        return td_err_set(err, TD_EPLUGIN, "headers: %s: '%s': %s at offset %zu", wanted->name,
                          wanted->pattern, message, (size_t)offset);
    }
    pcre2_jit_compile(header->code, PCRE2_JIT_COMPLETE); /* pcre2_match does without, too */
    matchers->headers_count++;
    return 0;
}

static int
add_headers(td_matchers *matchers, td_arena *arena, const td_url *const *urls, size_t count,
            td_err *err)
{
    size_t all = 0;
    int rc = 0;

    for (size_t i = 0; i < count; i++)
        for (const td_header_match *h = urls[i]->headers; h != NULL && h->name != NULL; h++)
            all++;
    matchers->headers = TD_ARENA_ARRAY(arena, struct td_header_matcher, all);
    for (size_t i = 0; i < count; i++)
        for (const td_header_match *h = urls[i]->headers; h != NULL && h->name != NULL && rc == 0; h++)
            rc = add_header(matchers, h, err);
    return rc;
}

/* ---- together */

static const char *
text_of(const td_matchers *matchers, td_arena *arena, const td_url *const *urls, size_t count)
{
    td_buf text = {0};
    const char *copy = NULL;

    if (matchers->methods != TD_ALL_METHODS)
        td_buf_append(&text, td_methods_join(arena, matchers->methods));
    for (size_t i = 0; i < count; i++)
        for (const td_header_match *h = urls[i]->headers; h != NULL && h->name != NULL; h++)
            td_buf_printf(&text, "%s%s: %s", text.len > 0 ? "; " : "", h->name, h->pattern);
    if (text.len > 0)
        copy = td_str_dup(arena, td_buf_str(&text)).ptr;
    td_buf_release(&text);
    return copy;
}

int
td_matchers_init(td_matchers *matchers, td_arena *arena, const td_url *const *urls, size_t count,
                 td_err *err)
{
    int rc = 0;

    *matchers = (td_matchers){.methods = TD_ALL_METHODS};
    for (size_t i = 0; i < count && rc == 0; i++) {
        matchers->named = 0;
        if (urls[i]->methods != NULL)
            rc = narrow_methods(matchers, urls[i]->methods, err);
    }
    leave_out_head(matchers, urls[count - 1]->handler);
    if (rc == 0)
        rc = add_headers(matchers, arena, urls, count, err);
    if (rc < 0)
        td_matchers_fini(matchers);
    else
        matchers->text = text_of(matchers, arena, urls, count);
    return rc;
}

void
td_matchers_fini(td_matchers *matchers)
{
    for (size_t i = 0; i < matchers->headers_count; i++)
        pcre2_code_free(matchers->headers[i].code);
    matchers->headers_count = 0;
}

static void
add_to_vary(td_str *vary, td_arena *arena, td_str name)
{
    if (!td_list_has_token(*vary, name))
        *vary = td_arena_sprintf(arena, "%.*s%s%.*s", TD_STR_FMT(*vary), vary->len > 0 ? ", " : "",
                                 TD_STR_FMT(name));
}

int
td_matchers_check(const td_matchers *matchers, const td_headers *headers, td_arena *arena,
                  pcre2_match_data *data, pcre2_match_context *context, td_str *vary)
{
    for (size_t i = 0; i < matchers->headers_count; i++) {
        const struct td_header_matcher *header = &matchers->headers[i];
        const td_str value = td_headers_get(headers, arena, header->name);
        int rc = PCRE2_ERROR_NOMATCH;

        add_to_vary(vary, arena, header->name);
        if (!td_str_is_null(value))
            rc = pcre2_match(header->code, (PCRE2_SPTR)value.ptr, value.len, 0, 0, data, context);
        if (rc == PCRE2_ERROR_NOMATCH)
            return TD_ENOTFOUND;
        if (rc < 0)
            return TD_EBUSY;
    }
    return 0;
}
