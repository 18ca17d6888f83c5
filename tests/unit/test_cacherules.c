/*
 * Goal: the first rule that is for a file says its Cache-Control, and what is no rule is refused.
 */
#include "web/cacherules.h"

#include "unit.h"

#define RULES                                                                                      \
    "text/html: no-cache | /assets/ : public, max-age=31536000, immutable|.CSS:max-age=60 |\t"     \
    "image/*: max-age=3600 | /exact.txt: no-store | *: max-age=5"

static const struct {
    const char *rules, *path, *type, *value; /* NULL: no rule is for it */
} finds[] = {
    {RULES, "index.html", "text/html", "no-cache"},
    {RULES, "index.html", "text/html; charset=UTF-8", "no-cache"},
    {RULES, "assets/index.html", "text/html", "no-cache"}, /* the first one counts */
    {RULES, "assets/app.css", "text/css", "public, max-age=31536000, immutable"},
    {RULES, "assets", "text/plain", "max-age=5"},
    {RULES, "Assets/x", "text/plain", "max-age=5"},
    {RULES, "x/assets/x", "text/plain", "max-age=5"},
    {RULES, "site.css", "text/css", "max-age=60"},
    {RULES, "a/SITE.Css", "text/css", "max-age=60"},
    {RULES, "css", "text/css", "max-age=5"},
    {RULES, "logo.png", "image/png", "max-age=3600"},
    {RULES, "logo.png", "imagex/png", "max-age=5"},
    {RULES, "exact.txt", "text/plain", "no-store"},
    {RULES, "", "", "max-age=5"},
    {".js: max-age=1", "x.css", "text/css", NULL},
    {".js: max-age=1", "x.js", "text/css", "max-age=1"},
    {"/: max-age=1", "x", "text/css", "max-age=1"},
    {"*/*: max-age=1", "x", "text/css", "max-age=1"},
    {"", "x", "text/css", NULL},
    {"nonsense | .x: y", "a.x", "text/css", "y"},
};

START_TEST(first_rule_that_is_for_it_counts)
{
    const td_str value = td_cache_rules_find(td_str_of(finds[_i].rules), td_str_of(finds[_i].path),
                                             td_str_of(finds[_i].type));

    ck_assert_msg(td_str_equal(value, td_str_of(finds[_i].value)), "%s: %.*s", finds[_i].path,
                  TD_STR_FMT(value));
    ck_assert_int_eq(td_str_is_null(value), finds[_i].value == NULL);
}
END_TEST

static const struct {
    const char *rules, *named; /* NULL: it is good */
} checks[] = {
    {RULES, NULL},
    {"*: no-store", NULL},
    {"*/*: no-store", NULL},
    {"", "''"},
    {"no-store", "'no-store'"},
    {": no-store", "''"},
    {".css:", "'.css'"},
    {".: no-store", "'.'"},
    {"css: no-store", "'css'"},
    {"*.css: no-store", "'*.css'"},
    {"*: a || *: b", "''"},
    {"*: a | html: b", "'html'"},
    {"*: a\r\nSet-Cookie: b", "'*'"},
};

START_TEST(what_is_no_rule_is_named)
{
    td_err err = {0};
    const int rc = td_cache_rules_check(td_str_of(checks[_i].rules), &err);

    ck_assert_int_eq(rc, checks[_i].named == NULL ? 0 : TD_ECONFIG);
    if (checks[_i].named != NULL)
        ck_assert_msg(strncmp(err.text, checks[_i].named, strlen(checks[_i].named)) == 0, "%s",
                      err.text);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, first_rule_that_is_for_it_counts, finds);
    ADD_TABLE(tcase, what_is_no_rule_is_named, checks);
}

int
main(void)
{
    return unit_run("cacherules", fill);
}
