/* Goal: an error keeps its number and as much of its text as fits, also where nobody wants it. */
#include <tornado/error.h>

#include <errno.h>
#include <string.h>
#include "unit.h"

static const struct {
    int code;
    const char *text;
} codes[] = {
    {0, "no error"},
    {-ENOENT, "No such file or directory"},
    {TD_ECLOSED, "the other side has gone"},
    {TD_EINVAL, "the call is wrong in this state or with these arguments"},
    {-5000, "error -5000"},
    {7, "error 7"},
};

START_TEST(every_number_has_a_sentence)
{
    ck_assert_str_eq(td_strerror(codes[_i].code), codes[_i].text);
}
END_TEST

START_TEST(set_returns_the_code)
{
    td_err err;

    ck_assert_int_eq(td_err_set(&err, TD_EBADMSG, "line %d", 3), TD_EBADMSG);
    ck_assert_int_eq(err.code, TD_EBADMSG);
    ck_assert_str_eq(err.text, "line 3");
}
END_TEST

START_TEST(errno_becomes_code_and_reason)
{
    td_err err;

    errno = EACCES;
    ck_assert_int_eq(td_err_errno(&err, "bind %s", "0.0.0.0:80"), -EACCES);
    ck_assert_str_eq(err.text, "bind 0.0.0.0:80: Permission denied");
}
END_TEST

START_TEST(a_prefix_stands_in_front)
{
    td_err err;

    td_err_set(&err, TD_ECONFIG, "no");
    ck_assert_int_eq(td_err_prefix(&err, "%s:%d", "a.ini", 3), TD_ECONFIG);
    ck_assert_str_eq(err.text, "a.ini:3: no");
}
END_TEST

START_TEST(null_is_allowed_and_still_a_failure)
{
    errno = EPERM;
    ck_assert_int_eq(td_err_errno(NULL, "x"), -EPERM);
    ck_assert_int_eq(td_err_set(NULL, TD_EBUSY, "x"), TD_EBUSY);
    ck_assert_int_lt(td_err_prefix(NULL, "x"), 0);
}
END_TEST

START_TEST(long_texts_are_cut)
{
    char text[2 * TD_ERR_TEXT_SIZE];
    td_err err;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    td_err_set(&err, TD_EINVAL, "%s", text);
    ck_assert_uint_eq(strlen(err.text), TD_ERR_TEXT_SIZE - 1);
    td_err_prefix(&err, "first");
    ck_assert_uint_eq(strlen(err.text), TD_ERR_TEXT_SIZE - 1);
    ck_assert_int_eq(strncmp(err.text, "first: xxx", 10), 0);
    td_err_prefix(&err, "%s", text);
    ck_assert_uint_eq(strlen(err.text), TD_ERR_TEXT_SIZE - 1);
    errno = EPERM;
    td_err_errno(&err, "%s", text);
    ck_assert_uint_eq(strlen(err.text), TD_ERR_TEXT_SIZE - 1);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, every_number_has_a_sentence, codes);
    tcase_add_test(tcase, set_returns_the_code);
    tcase_add_test(tcase, errno_becomes_code_and_reason);
    tcase_add_test(tcase, a_prefix_stands_in_front);
    tcase_add_test(tcase, null_is_allowed_and_still_a_failure);
    tcase_add_test(tcase, long_texts_are_cut);
}

int
main(void)
{
    return unit_run("error", fill);
}
