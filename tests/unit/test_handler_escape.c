/*
 * Goal: whatever text a handler escapes is harmless where it goes, comes back as it was, and debug
 * tells of markup that td_writef was given by its arguments, and of nothing else.
 */
#include <tornado/escape.h>
#include "web_fixture.h"
#include "unit.h"

static td_method_fn *act;

static void
do_act(td_handler *h)
{
    act(h);
}

static const td_handler_class Act = {.get = do_act, .name = "Act"};
static const td_url urls[] = {TD_URL("/", &Act), TD_URL("/other", &Act), {.pattern = NULL}};

static web_exchange *
request(const char *target, td_method_fn *fn)
{
    act = fn;
    return web_get(target);
}

static void
setup(void)
{
    web_setup();
    web_serve(urls);
}

/* ---- text */

static const struct {
    const char *text, *html, *url, *json;
} texts[] = {
    {"", "", "", "\"\""},
    {"plain", "plain", "plain", "\"plain\""},
    {"<b>&amp;</b>", "&lt;b&gt;&amp;amp;&lt;/b&gt;", "%3Cb%3E%26amp%3B%3C%2Fb%3E",
     "\"<b>&amp;<\\/b>\""},
    {"\"it's\"", "&quot;it&#x27;s&quot;", "%22it%27s%22", "\"\\\"it's\\\"\""},
    {"<", "&lt;", "%3C", "\"<\""},
    {"a b+c%20/?-._~", "a b+c%20/?-._~", "a%20b%2Bc%2520%2F%3F-._~", "\"a b+c%20/?-._~\""},
    {"J\xc3\xbcrg\n", "J\xc3\xbcrg\n", "J%C3%BCrg%0A", "\"J\xc3\xbcrg\\n\""},
};
static int row;

static void
escape_text(td_handler *h)
{
    const td_str text = td_str_of(texts[row].text), url = td_escape_url(h, text);
    char bare[64]; /* what is behind the text is not looked at */
    td_str s = td_str_make(memcpy(memset(bare, '<', sizeof(bare)), text.ptr, text.len), text.len);

    ck_assert_str_eq(td_escape(h, s).ptr, texts[row].html);
    ck_assert_str_eq(td_escape_url(h, s).ptr, texts[row].url);
    ck_assert_str_eq(td_escape_json(h, s).ptr, texts[row].json);
    ck_assert_str_eq(td_unescape_url(h, url).ptr, texts[row].text);
    ck_assert_int_eq(td_write_text(h, "["), 0);
    ck_assert_int_eq(td_write_escaped(h, s), 0);
    ck_assert_int_eq(td_write_text(h, "]"), 0);
}

START_TEST(text_is_escaped_for_where_it_goes)
{
    char body[128];
    web_exchange *x;

    row = _i;
    x = request("/", escape_text);
    snprintf(body, sizeof(body), "[%s]", texts[_i].html);
    ck_assert_str_eq(x->body, body);
    web_done(x);
}
END_TEST

static void
escape_nothing(td_handler *h)
{
    const td_str null = {NULL, 0}, nowhere = {NULL, 3};

    ck_assert(td_str_is_null(td_escape(h, null)) && td_str_is_null(td_escape_url(h, null)) &&
              td_str_is_null(td_escape_json(h, null)) && td_str_is_null(td_unescape_url(h, null)));
    ck_assert_int_eq(td_write_escaped(h, null), 0);
    ck_assert_int_eq(td_write_escaped(h, nowhere), TD_EINVAL);
    ck_assert_str_eq(td_unescape_url(h, TD_STR("a+b%zz%41")).ptr, "a b%zzA");
    td_finish(h);
    ck_assert_int_eq(td_write_escaped(h, TD_STR("x")), TD_EINVAL);
}

START_TEST(the_null_string_stays_null)
{
    web_done(request("/", escape_nothing));
}
END_TEST

static void
write_much_markup(td_handler *h)
{
    char text[5000];

    memset(text, '"', sizeof(text));
    for (;;)
        td_write_escaped(h, td_str_make(text, sizeof(text)));
}

START_TEST(escaping_ends_at_max_response_buffer)
{
    web_exchange *x = request("/", write_much_markup);

    ck_assert_int_eq(x->status, 500);
    ck_assert(strstr(web_log(), "max_response_buffer"));
    web_done(x);
}
END_TEST

static void
escape_in_a_stream(td_handler *h)
{
    const td_scope scope = td_scope_mark(h);
    const char *first = td_escape(h, TD_STR("<")).ptr;

    td_scope_rewind(h, scope);
    ck_assert_ptr_eq(td_escape(h, TD_STR("<")).ptr, first);
}

START_TEST(its_memory_is_taken_back_by_a_rewind)
{
    web_done(request("/", escape_in_a_stream));
}
END_TEST

/* ---- debug */

static const struct {
    const char *type, *format, *argument;
    bool is_told;
} formats[] = {
    {NULL, "<p>%s</p>", "<script>", true},
    {NULL, "<a href=\"/%s\">", "x\" onclick=\"y", true},
    {NULL, "%s", "it's", true},
    {"TEXT/HTML", "%-20s", ">", true},
    {NULL, "<p>%s</p>", "plain", false},
    {NULL, "<p title='%%'>%s</p>", "a & b", false},
    {NULL, "<p>%s</p>", "&lt;script&gt;", false}, /* what td_escape has made */
    {"text/plain; charset=UTF-8", "%s", "<b>", false},
    {"application/json", "{\"a\": \"%s\"}", "\"", false},
};

static void
write_formatted(td_handler *h)
{
    if (formats[row].type != NULL)
        td_set_header(h, "Content-Type", formats[row].type);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    td_writef(h, formats[row].format, formats[row].argument);
#pragma GCC diagnostic pop
}

static const char warning[] = "Act: td_writef: an argument has brought markup into text/html";

START_TEST(debug_tells_of_markup_in_arguments)
{
    row = _i;
    web_app_settings.debug = true;
    web_done(request("/", write_formatted));
    ck_assert((strstr(web_log(), warning) != NULL) == formats[_i].is_told);
    web_app_settings.debug = false;
    web_done(request("/other", write_formatted));
    ck_assert(!strstr(web_log(), warning));
}
END_TEST

START_TEST(debug_tells_once_a_route)
{
    row = 0;
    web_app_settings.debug = true;
    web_done(request("/", write_formatted));
    ck_assert(strstr(web_log(), warning));
    web_done(request("/", write_formatted));
    ck_assert(!strstr(web_log(), warning));
    web_done(request("/other", write_formatted));
    ck_assert(strstr(web_log(), warning));
}
END_TEST

static void
write_numbers(td_handler *h)
{
    td_writef(h, "<p>%'d %.*f %s</p>%%", 1234567, 2, 1.5, "x");
}

START_TEST(a_flag_is_no_quote)
{
    web_app_settings.debug = true;
    web_done(request("/", write_numbers));
    ck_assert(!strstr(web_log(), warning));
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, web_teardown);
    ADD_TABLE(tcase, text_is_escaped_for_where_it_goes, texts);
    tcase_add_test(tcase, the_null_string_stays_null);
    tcase_add_test(tcase, escaping_ends_at_max_response_buffer);
    tcase_add_test(tcase, its_memory_is_taken_back_by_a_rewind);
    ADD_TABLE(tcase, debug_tells_of_markup_in_arguments, formats);
    tcase_add_test(tcase, debug_tells_once_a_route);
    tcase_add_test(tcase, a_flag_is_no_quote);
}

int
main(void)
{
    return unit_run("handler_escape", fill);
}
