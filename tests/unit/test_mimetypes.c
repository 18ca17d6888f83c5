/* Goal: the type of a file is that of its last extension, of a table that may be added to. */
#include "web/mimetypes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "unit.h"

static td_arena arena;
static td_mimetypes types;

static void
setup(void)
{
    td_arena_init(&arena);
}

static void
teardown(void)
{
    td_mimetypes_fini(&types);
    td_arena_fini(&arena);
    td_chunk_trim(0);
}

static const struct {
    const char *path, *type;
} files[] = {
    {"index.html", "text/html"},
    {"a/b/style.css", "text/css"},
    {"app.js", "text/javascript"},
    {"PHOTO.JPG", "image/jpeg"},
    {"a.b.png", "image/png"},
    {"data.json", "application/json"},
    {"page.html.gz", "application/gzip"}, /* RFC 6713, as Tornado does */
    {"logo.svgz", "application/gzip"},
    {"data.tgz", "application/gzip"},
    {"page.html.br", "application/octet-stream"},
    {"data.tar.bz2", "application/octet-stream"},
    {"data.Z", "application/octet-stream"},
    {"README", "application/octet-stream"},
    {"what.unknown", "application/octet-stream"},
    {"dir.html/file", "application/octet-stream"},
    {".html", "application/octet-stream"}, /* a name, not an extension */
    {"dir/.html", "application/octet-stream"},
    {"dir/x.html", "text/html"},
    {"html", "application/octet-stream"},
    {"a.", "application/octet-stream"},
    {".", "application/octet-stream"},
    {"", "application/octet-stream"},
    {"a.htmlhtmlhtmlhtmlhtmlhtmlhtmlhtmlhtml", "application/octet-stream"},
};

START_TEST(extension_gives_the_type)
{
    ck_assert_int_eq(td_mimetypes_init(&types, &arena, NULL, NULL), 0);

    const td_str type = td_mimetypes_find(&types, td_str_of(files[_i].path));
    ck_assert_msg(td_str_equal(type, td_str_of(files[_i].type)), "%s: %.*s", files[_i].path,
                  TD_STR_FMT(type));
}
END_TEST

static int
load(const char *text, td_err *err)
{
    char path[] = "/tmp/test-mime-XXXXXX";
    const int fd = mkstemp(path);
    int rc;

    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    rc = td_mimetypes_init(&types, &arena, path, err);
    unlink(path);
    return rc;
}

START_TEST(lines_of_a_file_win)
{
    ck_assert_int_eq(load("# all\n\ntext/x-own\tjs  OWN # more\r\nimage/none\ntext/last last", NULL), 0);
    ck_assert(td_str_equal(td_mimetypes_find(&types, TD_STR("a.js")), TD_STR("text/x-own")));
    ck_assert(td_str_equal(td_mimetypes_find(&types, TD_STR("a.own")), TD_STR("text/x-own")));
    ck_assert(td_str_equal(td_mimetypes_find(&types, TD_STR("a.last")), TD_STR("text/last")));
    ck_assert(td_str_equal(td_mimetypes_find(&types, TD_STR("a.css")), TD_STR("text/css")));
}
END_TEST

static const struct {
    const char *text, *says;
} bad[] = {
    {"text/a a\nhtml text/html\n", ":2: 'html' is no media type"},
    {"/html x\n", ":1: '/html' is no media type"},
    {"text/\x01 x\n", ":1: 'text/\x01' is no media type"},
    {"text/a aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", "is too long"},
};

START_TEST(bad_line_is_told)
{
    td_err err;

    ck_assert_int_eq(load(bad[_i].text, &err), TD_ECONFIG);
    ck_assert_msg(strstr(err.text, bad[_i].says) != NULL, "%s", err.text);
}
END_TEST

START_TEST(missing_file_is_told)
{
    td_err err;

    ck_assert_int_eq(td_mimetypes_init(&types, &arena, "/nowhere/types", &err), -ENOENT);
    ck_assert_str_eq(err.text, "/nowhere/types: No such file or directory");
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    ADD_TABLE(tcase, extension_gives_the_type, files);
    tcase_add_test(tcase, lines_of_a_file_win);
    ADD_TABLE(tcase, bad_line_is_told, bad);
    tcase_add_test(tcase, missing_file_is_told);
}

int
main(void)
{
    return unit_run("mimetypes", fill);
}
