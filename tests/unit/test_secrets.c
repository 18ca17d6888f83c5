/* Goal: a secret is read from a file or a value as it stands there, and never told by an error. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/secrets.h"
#include "on_arena.h"

static td_err err;

static const struct {
    const char *text;
    size_t count;
    int64_t versions[3];
    const char *secrets[3];
} good[] = {
    {"abc", 1, {0}, {"abc"}},
    {"abc\n", 1, {0}, {"abc"}},
    {"\n\n  abc def \r\n\n", 1, {0}, {"abc def"}},
    {":abc", 1, {0}, {":abc"}},
    {"a:b", 1, {0}, {"a:b"}},
    {"12", 1, {0}, {"12"}},
    {"12:", 1, {0}, {"12:"}},
    {"1234567890:a", 1, {0}, {"1234567890:a"}},
    {"7:abc", 1, {7}, {"abc"}},
    {"2:new\n1:old\n", 2, {2, 1}, {"new", "old"}},
    {"2:new\r\n\r\n1:old:er\r\n0:x", 3, {2, 1, 0}, {"new", "old:er", "x"}},
};

START_TEST(one_secret_or_several_with_versions)
{
    td_secrets secrets;

    ck_assert_msg(td_secrets_parse(&arena, td_str_of(good[_i].text), &secrets, &err) == 0, "%s",
                  err.text);
    ck_assert_uint_eq(secrets.count, good[_i].count);
    ck_assert_int_eq(secrets.has_versions, _i >= 8);
    for (size_t i = 0; i < secrets.count; i++) {
        ck_assert_int_eq(secrets.items[i].version, good[_i].versions[i]);
        ck_assert(td_str_equal(secrets.items[i].text, td_str_of(good[_i].secrets[i])));
    }
}
END_TEST

static const struct {
    const char *text, *error;
} bad[] = {
    {"", "there is no secret"},
    {" \n\r\n\t\n", "there is no secret"},
    {"abc\ndef", "line 1 is not VERSION:SECRET"},
    {"1:abc\n\ndef", "line 3 is not VERSION:SECRET"},
    {"1:abc\n01:def", "line 2 has the version of another one"},
};

START_TEST(what_is_wrong_is_said_without_the_secret)
{
    td_secrets secrets;

    ck_assert_int_eq(td_secrets_parse(&arena, td_str_of(bad[_i].text), &secrets, &err),
                     TD_ECONFIG);
    ck_assert_str_eq(err.text, bad[_i].error);
}
END_TEST

/* A file of `len` bytes; returns what td_secrets_read does. */
static int
read_file_of(const char *text, size_t len, td_secrets *out)
{
    char path[] = "/tmp/test_secrets.XXXXXX";
    const int fd = mkstemp(path);
    int rc;

    ck_assert_int_ge(fd, 0);
    for (size_t written = 0; written < len; written += strlen(text))
        ck_assert_int_gt(write(fd, text, strlen(text)), 0);
    close(fd);
    rc = td_secrets_read(&arena, path, out, &err);
    unlink(path);
    return rc;
}

START_TEST(a_file_is_read_whole)
{
    td_secrets secrets;

    ck_assert_int_eq(read_file_of("secret\n", 7, &secrets), 0);
    ck_assert(td_str_equal(secrets.items[0].text, TD_STR("secret")));
    ck_assert_int_eq(read_file_of("0123456789abcdef", TD_SECRETS_FILE_MAX, &secrets), 0);
    ck_assert_uint_eq(secrets.items[0].text.len, TD_SECRETS_FILE_MAX);
    ck_assert_int_eq(read_file_of("0123456789abcdef", TD_SECRETS_FILE_MAX + 1, &secrets),
                     TD_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, ": is larger than 65536 bytes"));
    ck_assert_int_eq(read_file_of("", 0, &secrets), TD_ECONFIG);
}
END_TEST

START_TEST(what_is_no_file_is_refused_and_not_waited_for)
{
    char path[] = "/tmp/test_secrets.XXXXXX";
    td_secrets secrets;

    ck_assert_ptr_nonnull(mkdtemp(path));
    ck_assert_int_eq(td_secrets_read(&arena, path, &secrets, &err), TD_ECONFIG);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(td_secrets_read(&arena, path, &secrets, &err), -ENOENT);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(td_secrets_read(&arena, path, &secrets, &err), TD_ECONFIG);
    unlink(path);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, arena_setup, arena_teardown);
    ADD_TABLE(tcase, one_secret_or_several_with_versions, good);
    ADD_TABLE(tcase, what_is_wrong_is_said_without_the_secret, bad);
    tcase_add_test(tcase, a_file_is_read_whole);
    tcase_add_test(tcase, what_is_no_file_is_refused_and_not_waited_for);
}

int
main(void)
{
    return unit_run("secrets", fill);
}
