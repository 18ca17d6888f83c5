/*
 * Goal: a JSON body is read as RFC 8259 has it, a broken one is a 400, and one that is too deep or
 * too large a 413, whatever the stack and whoever else uses the same library.
 */
#include <jansson.h>
#include "acting.h"

static td_limits narrow;

static void
setup(void)
{
    acting_setup();
    narrow = web_configuration->listeners[0].limits;
}

static web_exchange *
post(td_str body)
{
    web_exchange *x = web_route_to("POST", "/", "Content-Length: 1\r\n");

    x->request->limits = &narrow;
    x->request->body = body;
    web_execute(x);
    return x;
}

static void
check_post(td_str body, int status)
{
    web_exchange *x = post(body);

    ck_assert_int_eq(x->status, status);
    web_done(x);
}

/* ---- what is JSON */

static const struct {
    const char *text;
    int type; /* -1: it is none */
} texts[] = {
    {"{}", TD_JSON_OBJECT},
    {" [ 1 , 2 ] \r\n\t", TD_JSON_ARRAY},
    {"\"a\"", TD_JSON_STRING},
    {"\"\\u0000\\ud83d\\ude00\"", TD_JSON_STRING},
    {"-9223372036854775808", TD_JSON_INT},
    {"1.0", TD_JSON_DOUBLE},
    {"1e2", TD_JSON_DOUBLE},
    {"true", TD_JSON_BOOL},
    {"null", TD_JSON_NULL},
    {"", -1},
    {" ", -1},
    {"{", -1},
    {"}", -1},
    {"[1,]", -1},
    {"[1 2]", -1},
    {"{\"a\":1,}", -1},
    {"{a:1}", -1},
    {"{'a':1}", -1},
    {"01", -1},
    {"+1", -1},
    {".5", -1},
    {"NaN", -1},
    {"Infinity", -1},
    {"1e999", -1},
    {"9223372036854775808", -1},
    {"\"a", -1},
    {"\"\n\"", -1},
    {"\"\xff\"", -1},
    {"\"\xed\xa0\x80\"", -1},
    {"\"\\ud800\"", -1},
    {"\"\\x\"", -1},
    {"1 2", -1},
    {"[] x", -1},
    {"\xef\xbb\xbf{}", -1},
};
static int text_index;

static void
ask_type(td_handler *h)
{
    ck_assert_int_eq((int)td_json_type_of(td_request_json(h)), texts[text_index].type);
    ck_assert_ptr_eq(td_request_json(h), td_request_json(h));
}

START_TEST(a_text_is_json_or_400)
{
    text_index = _i;
    act = ask_type;
    check_post(td_str_of(texts[_i].text), texts[_i].type >= 0 ? 200 : 400);
    if (texts[_i].type < 0)
        ck_assert(strstr(web_log(), "json: line "));
}
END_TEST

/* ---- values */

static void
ask_values(td_handler *h)
{
    const td_json *root = td_request_json(h), *list = td_json_get(root, "list");
    td_json_member member = {.place = NULL};
    char names[64] = "";

    ck_assert_uint_eq(td_json_count(root), 6);
    ck_assert_str_eq(td_json_as_str(td_json_get(root, "name"), "x").ptr, "J\xc3\xa9");
    ck_assert_uint_eq(td_json_as_str(td_json_get(root, "zero"), "x").len, 3);
    ck_assert_int_eq(td_json_as_int(td_json_get(root, "age"), 0), 7);
    ck_assert_double_eq(td_json_as_double(td_json_get(root, "age"), 0), 7);
    ck_assert_double_eq(td_json_as_double(td_json_get(root, "size"), 0), 1.5);
    ck_assert(td_json_as_bool(td_json_get(root, "on"), false));
    ck_assert_uint_eq(td_json_count(list), 3);
    ck_assert_int_eq(td_json_as_int(td_json_at(list, 1), 0), 2);
    ck_assert_int_eq((int)td_json_type_of(td_json_at(list, 2)), TD_JSON_NULL);
    ck_assert_ptr_null(td_json_at(list, 3));

    while (td_json_next(root, &member)) {
        strcat(strcat(names, member.name.ptr), " ");
        ck_assert_ptr_eq(td_json_get(root, member.name.ptr), member.value);
    }
    ck_assert_str_eq(names, "name zero age size on list ");
}

static void
ask_others(td_handler *h)
{
    const td_json *root = td_request_json(h), *none = td_json_get(root, "none");
    const td_json *others[] = {NULL,
                               root,
                               none,
                               td_json_get(root, "list"),
                               td_json_get(none, "x"),
                               td_json_at(root, 0),
                               td_json_get(root, NULL)};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        td_json_member member = {.place = NULL};

        ck_assert_str_eq(td_json_as_str(others[i], "x").ptr, "x");
        ck_assert_ptr_null(td_json_as_str(others[i], NULL).ptr);
        ck_assert_int_eq(td_json_as_int(others[i], 5), 5);
        ck_assert_double_eq(td_json_as_double(others[i], 5.5), 5.5);
        ck_assert(td_json_as_bool(others[i], true));
        ck_assert(others[i] == root || !td_json_next(others[i], &member));
        ck_assert(!td_json_next(others[i], NULL)); /* misuse, and logged */
    }
    ck_assert_int_eq(td_json_as_int(td_json_get(root, "size"), 5), 5);
    ck_assert_int_eq((int)td_json_type_of(none), TD_JSON_NULL);
    ck_assert_uint_eq(td_json_count(none), 0);
}

#define DOCUMENT                                                                                  \
    "{\"name\": \"J\\u00e9\", \"zero\": \"a\\u0000b\", \"age\": 6, \"size\": 1.5, \"on\": true, " \
    "\"list\": [1, 2, null], \"age\": 7}"

START_TEST(values_are_found_and_iterated)
{
    act = ask_values;
    check_post(TD_STR(DOCUMENT), 200);
}
END_TEST

START_TEST(what_is_something_else_is_the_default)
{
    act = ask_others;
    check_post(TD_STR(DOCUMENT), 200);
}
END_TEST

/* ---- limits */

static void
ask_json(td_handler *h)
{
    td_request_json(h);
}

static td_str
nested(size_t depth, const char *open, const char *close)
{
    char *const text = td_arena_alloc(&web_arena, 8 * depth + 8);

    for (size_t i = 0; i < depth; i++)
        strcat(text, open);
    for (size_t i = 0; i < depth; i++)
        strcat(text, close);
    return td_str_of(text);
}

START_TEST(what_is_too_deep_is_413)
{
    act = ask_json;
    check_post(nested(64, "[", "]"), 200);
    check_post(nested(65, "[", "]"), 413);
    ck_assert(strstr(web_log(), "json: deeper than max_json_depth"));
    check_post(
        TD_STR("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"]"),
        200);
}
END_TEST

/* The smallest stack that coroutine_stack may be set to, and the greatest depth. */
START_TEST(the_deepest_document_fits_the_smallest_stack)
{
    td_str text = nested(199, "{\"a\":", "}");

    td_coroutine_configure(&(td_coroutine_options){.stack_size = 65536, .coroutines_max = 10});
    narrow.max_json_depth = 200;
    act = ask_json;
    text = td_arena_sprintf(&web_arena, "%.*s[]%.*s", 199 * 5, text.ptr, 199, text.ptr + 199 * 5);
    check_post(text, 200);
}
END_TEST

START_TEST(what_takes_too_much_memory_is_413)
{
    act = ask_json;
    narrow.max_json_memory = 4096;
    check_post(TD_STR("[[],[],[]]"), 200);
    check_post(nested(40, "[", "]"), 413);
    ck_assert(strstr(web_log(), "json: larger than max_json_memory"));
    check_post(TD_STR("[[],[],[]]"), 200);
}
END_TEST

/* ---- long texts */

#define ELEMENTS 40000 /* in objects of one member: some milliseconds */

static td_str
long_text(const char *end)
{
    char *const text = td_arena_alloc(&web_arena, 8 * ELEMENTS + 64), *p = text;

    for (size_t i = 0; i < ELEMENTS; i++)
        p = stpcpy(p, i > 0 ? ",{\"a\":1}" : "[{\"a\":1}");
    strcpy(p, end);
    return td_str_of(text);
}

static size_t elements_count;

static void
count_elements(td_handler *h)
{
    elements_count = td_json_count(td_request_json(h));
}

START_TEST(others_have_their_turn_while_a_long_text_is_parsed)
{
    json_t *others;
    web_exchange *x;

    act = count_elements;
    elements_count = 0;
    x = post(long_text("]"));
    ck_assert_int_eq(x->finishes, 0);
    others = json_pack("{s:i}", "a", 1); /* not with the memory of the request */
    WEB_UNTIL(x->finishes == 1);
    ck_assert_uint_eq(elements_count, ELEMENTS);
    web_done(x);
    ck_assert_int_eq(json_integer_value(json_object_get(others, "a")), 1);
    json_decref(others);
}
END_TEST

START_TEST(two_long_texts_are_parsed_side_by_side)
{
    web_exchange *a, *b;

    act = count_elements;
    a = post(long_text("]"));
    b = post(long_text("}"));
    WEB_UNTIL(a->finishes == 1 && b->finishes == 1);
    ck_assert_int_eq(a->status, 200);
    ck_assert_int_eq(b->status, 400);
    web_done(a);
    web_done(b);
}
END_TEST

static const struct {
    const char *end;
    int status;
} long_ends[] = {
    {"]", 200},
    {"", 400},
    {",[[[[]]]]]", 200},
    {",[[[[[]]]]]]", 413},
    {",\"[[[[[[[[[[\\\\\\\"[[[[\"]", 200},
    {",\"\\\\\",[[[[[", 413},
};

START_TEST(a_long_text_is_judged_as_a_short_one)
{
    web_exchange *x;

    act = ask_json;
    narrow.max_json_depth = 5;
    x = post(long_text(long_ends[_i].end));
    WEB_UNTIL(x->finishes == 1);
    ck_assert_int_eq(x->status, long_ends[_i].status);
    web_done(x);
}
END_TEST

static bool was_unwound;

static void
note_unwound(int *unused)
{
    (void)unused;
    was_unwound = true;
}

static void
ask_in_vain(td_handler *h)
{
    int guard __attribute__((cleanup(note_unwound))) = 0;

    td_request_json(h);
    ck_abort_msg("%d: it goes on", guard);
}

static const td_handler_class Leaving = {.post = ask_in_vain, .flags = TD_CANCEL_ON_CLOSE};
static const td_url leaving_urls[] = {TD_URL("/", &Leaving), {.pattern = NULL}};

START_TEST(who_leaves_while_it_is_parsed_is_unwound)
{
    web_exchange *x;

    web_teardown();
    web_setup();
    web_serve(leaving_urls);
    was_unwound = false;
    x = post(long_text("]"));
    ck_assert_int_eq(x->finishes, 0);
    web_client_leaves(x);
    WEB_UNTIL(was_unwound);
    web_done(x);
}
END_TEST

/* ---- a handler that uses the same library */

static void
ask_beside(td_handler *h)
{
    json_t *own = json_pack("{s:i}", "a", 1);
    char *text;

    td_request_json(h);
    text = json_dumps(own, JSON_COMPACT);
    td_write_text(h, text);
    free(text);
    json_decref(own);
}

START_TEST(a_handler_may_use_the_library_too)
{
    web_exchange *x;

    act = ask_beside;
    x = post(TD_STR("[1]"));
    ck_assert_str_eq(x->body, "{\"a\":1}");
    web_done(x);
}
END_TEST

static void *
another_malloc(size_t size)
{
    return malloc(size);
}

START_TEST(an_allocator_that_is_not_ours_is_left_alone)
{
    json_malloc_t take;

    json_set_alloc_funcs(another_malloc, free);
    act = ask_json;
    check_post(TD_STR("[1]"), 500);
    ck_assert(strstr(web_log(), "json: a handler has replaced the allocator of libjansson"));
    json_get_alloc_funcs(&take, NULL);
    ck_assert(take == another_malloc);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, web_teardown);
    ADD_TABLE(tcase, a_text_is_json_or_400, texts);
    tcase_add_test(tcase, values_are_found_and_iterated);
    tcase_add_test(tcase, what_is_something_else_is_the_default);
    tcase_add_test(tcase, what_is_too_deep_is_413);
    tcase_add_test(tcase, the_deepest_document_fits_the_smallest_stack);
    tcase_add_test(tcase, what_takes_too_much_memory_is_413);
    tcase_add_test(tcase, others_have_their_turn_while_a_long_text_is_parsed);
    tcase_add_test(tcase, two_long_texts_are_parsed_side_by_side);
    ADD_TABLE(tcase, a_long_text_is_judged_as_a_short_one, long_ends);
    tcase_add_test(tcase, who_leaves_while_it_is_parsed_is_unwound);
    tcase_add_test(tcase, a_handler_may_use_the_library_too);
    tcase_add_test(tcase, an_allocator_that_is_not_ours_is_left_alone);
}

int
main(void)
{
    return unit_run("json_decode", fill);
}
