/* Rules are few and short, so they are read where they stand each time. */
#include "web/cacherules.h"

#include "base/escape.h"
#include "http/headers.h"

/* Take the next rule off the front of rules that are not empty.  False: it is none. */
static bool
next_rule(td_str *rules, td_str *which_out, td_str *value_out)
{
    const char *bar = memchr(rules->ptr, '|', rules->len), *colon;
    const size_t len = bar != NULL ? (size_t)(bar - rules->ptr) : rules->len;
    const td_str rule = {rules->ptr, len};

    *rules = td_str_make(rules->ptr + len + (bar != NULL), rules->len - len - (bar != NULL));
    colon = memchr(rule.ptr, ':', rule.len);
    *which_out = rule;
    if (colon == NULL)
        return false;
    *which_out = td_str_trim(td_str_make(rule.ptr, (size_t)(colon - rule.ptr)));
    *value_out = td_str_trim(td_str_make(colon + 1, (size_t)(rule.ptr + rule.len - colon - 1)));
    return value_out->len > 0 && td_is_field_value(*value_out);
}

static bool
is_which(td_str which)
{
    switch (which.len > 0 ? which.ptr[0] : '\0') {
    case '*': /* and nothing like "*.css" */
        return which.len == 1 || td_str_equal(which, TD_STR("*/*"));
    case '.':
        return which.len > 1;
    default:
        return which.len > 0 && memchr(which.ptr, '/', which.len) != NULL;
    }
}

int
td_cache_rules_check(td_str rules, td_err *err)
{
    do {
        td_str which, value;

        if (!next_rule(&rules, &which, &value) || !is_which(which))
            return td_err_set(
                err, TD_ECONFIG,
                "'%.*s' is no rule: text/html, text/*, .css, /path/ or *, then a colon "
                "and the Cache-Control",
                TD_STR_FMT(td_str_trim(which)));
    } while (rules.len > 0);
    return 0;
}

static bool
starts_with(td_str s, td_str start)
{
    return s.len >= start.len && td_str_equal_nocase(td_str_make(s.ptr, start.len), start);
}

static bool
is_type(td_str which, td_str type)
{
    const char *end = memchr(type.ptr, ';', type.len); /* of the parameters it may have */

    if (end != NULL)
        type = td_str_trim(td_str_make(type.ptr, (size_t)(end - type.ptr)));
    if (which.len > 1 && which.ptr[which.len - 1] == '*')
        return starts_with(type, td_str_make(which.ptr, which.len - 1));
    return td_str_equal_nocase(which, type);
}

static bool
is_for(td_str which, td_str path, td_str content_type)
{
    switch (which.len > 0 ? which.ptr[0] : '\0') {
    case '\0':
        return false;
    case '*':
        return true;
    case '/':
        return path.len >= which.len - 1 && memcmp(path.ptr, which.ptr + 1, which.len - 1) == 0;
    case '.':
        return path.len > which.len &&
               td_str_equal_nocase(td_str_make(path.ptr + path.len - which.len, which.len), which);
    default:
        return is_type(which, content_type);
    }
}

td_str
td_cache_rules_find(td_str rules, td_str path, td_str content_type)
{
    while (rules.len > 0) {
        td_str which, value;

        if (next_rule(&rules, &which, &value) && is_for(which, path, content_type))
            return value;
    }
    return td_str_make(NULL, 0);
}
