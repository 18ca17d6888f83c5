/*
 * Goal: the JSON writer writes what was nested as it was nested, in pieces of any size, and stays
 * well-formed whatever it is asked for.
 */
#include "acting.h"

/* ---- scripts: one letter is one call */

static const struct {
    const char *script, *out;
    int rc;
    const char *log; /* NULL: nothing is logged */
} scripts[] = {
    {"{}", "{}", 0, NULL},
    {"[]", "[]", 0, NULL},
    {"{aA", "{\"a\": 1, \"a\": 1}", 0, NULL}, /* A: with a key; the end closes */
    {"[12", "[1, 2]", 0, NULL},
    {"[1[2]2]", "[1, [2], 2]", 0, NULL},
    {"{k1]a}", "{\"k\": [1], \"a\": 1}", 0, NULL},
    {"{o}k{a}", "{\"o\": {}, \"k\": [{\"a\": 1}]}", 0, NULL},
    {"{ooooo", "{\"o\": {\"o\": {\"o\": {\"o\": {\"o\": {}}}}}}", 0, NULL},
    {"[{f}{f}", "[{}, {}]", 0, NULL}, /* f: td_flush */
    {"", "", 0, NULL},
    /* what fits nowhere is left out, with all that is in it */
    {"{1a}", "{\"a\": 1}", TD_EINVAL, "Act: td_json_write: no key in an object"},
    {"[a1]", "[1]", TD_EINVAL, "Act: td_json_write: a key in an array"},
    {"{{aa}a}", "{\"a\": 1}", TD_EINVAL, "Act: td_json_open_object: no key in an object"},
    {"[o{a}a}1]", "[1]", TD_EINVAL, "Act: td_json_open_object: a key in an array"},
    {"[k[[1]]]2]", "[2]", TD_EINVAL, "Act: td_json_open_array: a key in an array"},
    {"{}{a}", "{}", TD_EINVAL, "Act: td_json_open_object: the value is complete"},
    {"{}a", "{}", TD_EINVAL, "Act: td_json_write: nothing is open"},
    {"a{}", "{}", TD_EINVAL, "Act: td_json_write: nothing is open"},
    {"o}{}", "{}", TD_EINVAL, "Act: td_json_open_object: a key at the top"},
    {"[]]", "[]", TD_EINVAL, "Act: td_json_close: nothing is open"},
    {"[n1]", "[1]", TD_EINVAL, "Act: td_json_write: there are no pairs"},
};

static const char *script;
static int result;

static void
step(td_handler *h, td_json_writer *w, char letter)
{
    switch (letter) {
    case '{':
        td_json_open_object(w, NULL);
        break;
    case '[':
        td_json_open_array(w, NULL);
        break;
    case 'o':
        td_json_open_object(w, "o");
        break;
    case 'k':
        td_json_open_array(w, "k");
        break;
    case '}':
    case ']':
        td_json_close(w);
        break;
    case 'a':
    case 'A':
        td_json_write(w, TD_JSON("a", 1));
        break;
    case 'f':
        td_flush(h);
        break;
    case 'n':
        td_json_write_pairs(w, NULL, 1);
        break;
    default:
        td_json_write(w, TD_JSON_ITEM(letter - '0'));
    }
}

static void
play(td_handler *h)
{
    td_json_writer w = td_json_begin(h);

    for (const char *p = script; *p != '\0'; p++)
        step(h, &w, *p);
    result = td_json_end(&w);
}

START_TEST(a_script_is_written)
{
    web_exchange *x;
    const char *log;

    act = play;
    script = scripts[_i].script;
    x = web_get("/");
    ck_assert_str_eq(x->body, scripts[_i].out);
    ck_assert_int_eq(result, scripts[_i].rc);
    ck_assert(strstr(x->headers, "Content-Type: application/json; charset=UTF-8\n"));
    log = web_log();
    if (scripts[_i].log == NULL)
        ck_assert_str_eq(log, "");
    else
        ck_assert_msg(strstr(log, scripts[_i].log) != NULL, "%s", log);
    web_done(x);
}
END_TEST

/* ---- depth */

static void
dig(td_handler *h)
{
    td_json_writer w = td_json_begin(h);

    for (int i = 0; i < TD_JSON_WRITER_DEPTH + 6; i++)
        td_json_open_array(&w, NULL);
    td_json_write(&w, TD_JSON_ITEM("too deep"));
    for (int i = 0; i < 6; i++)
        td_json_close(&w);
    td_json_write(&w, TD_JSON_ITEM("</script>"));
    result = td_json_end(&w);
}

START_TEST(the_depth_is_bounded)
{
    web_exchange *x;

    act = dig;
    x = web_get("/");
    ck_assert_int_eq(result, TD_EINVAL);
    ck_assert_uint_eq(x->body_len, 2 * TD_JSON_WRITER_DEPTH + 12);
    ck_assert_int_eq(memcmp(x->body + TD_JSON_WRITER_DEPTH, "\"<\\/script>\"", 12), 0);
    ck_assert(strstr(web_log(), "Act: td_json_open_array: deeper than TD_JSON_WRITER_DEPTH"));
    web_done(x);
}
END_TEST

/* ---- misuse */

static void
use_nothing(td_handler *h)
{
    td_json_writer w = td_json_begin(NULL);

    (void)h;
    ck_assert_int_eq(td_json_open_object(&w, NULL), TD_EINVAL);
    ck_assert_int_eq(td_json_write(&w, TD_JSON("a", 1)), TD_EINVAL);
    ck_assert_int_eq(td_json_close(NULL), TD_EINVAL);
    ck_assert_int_eq(td_json_end(&w), TD_EINVAL);
}

START_TEST(a_writer_of_nothing_is_refused)
{
    web_exchange *x;

    act = use_nothing;
    x = web_get("/");
    ck_assert_uint_eq(x->body_len, 0);
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, acting_setup, web_teardown);
    ADD_TABLE(tcase, a_script_is_written, scripts);
    tcase_add_test(tcase, the_depth_is_bounded);
    tcase_add_test(tcase, a_writer_of_nothing_is_refused);
}

int
main(void)
{
    return unit_run("json_writer", fill);
}
