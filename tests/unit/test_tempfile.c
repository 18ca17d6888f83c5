/*
 * Goal: a temporary file leaves nothing behind, and a file that is replaced is the old one or the
 * new one as a whole, on file systems with and without O_TMPFILE.
 */
#include "base/tempfile.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "files.h"

/* ---- a file system that has no O_TMPFILE */

static int tmpfile_error; /* 0: it has */
static int refusals;

/* By another name, for fcntl.h may define open itself. */
int faulty_open(const char *path, int flags, ...) __asm__("open")
    __attribute__((visibility("default")));

int
faulty_open(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...);
    mode_t mode = 0;
    va_list args;

    if ((flags & (O_CREAT | O_TMPFILE)) != 0) {
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    if ((flags & O_TMPFILE) == O_TMPFILE && tmpfile_error != 0) {
        refusals++;
        errno = tmpfile_error;
        return -1;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "open");
    return real(path, flags, mode);
}

static const int errors[] = {0, EOPNOTSUPP, EISDIR};

/* ---- a folder */

static char folder[] = "/tmp/test_tempfile-XXXXXX";

static void
setup(void)
{
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
    umask(022);
    tmpfile_error = refusals = 0;
}

static void
teardown(void)
{
    char line[64];

    snprintf(line, sizeof(line), "rm -r %s", folder);
    ck_assert_int_eq(system(line), 0);
}

/* 0 or what failed. */
static int
replace(const char *path, const char *text, bool commits)
{
    td_newfile file;
    int rc = td_newfile_open(&file, path);

    if (rc < 0)
        return rc;
    ck_assert_int_eq(write(file.fd, text, strlen(text)), (ssize_t)strlen(text));
    if (commits)
        rc = td_newfile_commit(&file);
    td_newfile_close(&file);
    td_newfile_close(&file); /* once more is nothing */
    return rc;
}

START_TEST(a_temporary_file_has_no_name)
{
    char back[4] = "";
    int fd;

    tmpfile_error = errors[_i];
    fd = td_tempfile_open(folder);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(names_count(folder), 0);
    ck_assert_int_eq(write(fd, "abc", 3), 3);
    ck_assert_int_eq(pread(fd, back, 3, 0), 3);
    ck_assert_str_eq(back, "abc");
    close(fd);
    ck_assert_int_eq(refusals, tmpfile_error != 0);
    tmpfile_error = 0;
    ck_assert_int_eq(td_tempfile_open("nowhere"), -ENOENT);
    ck_assert_int_eq(td_tempfile_open("/proc/self/status"), -ENOTDIR);
}
END_TEST

START_TEST(a_new_file_is_there_when_it_is_committed)
{
    struct stat st;

    tmpfile_error = errors[_i];
    ck_assert_int_eq(replace("a", "lost", false), 0);
    ck_assert_uint_eq(names_count(folder), 0);
    ck_assert_int_eq(replace("a", "first", true), 0);
    ck_assert_str_eq(content("a"), "first");
    ck_assert_int_eq(stat("a", &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0644);
    ck_assert_uint_eq(names_count(folder), 1);
}
END_TEST

START_TEST(a_file_that_was_there_is_replaced_as_a_whole)
{
    char absolute[64];

    tmpfile_error = errors[_i];
    snprintf(absolute, sizeof(absolute), "%s/a", folder);
    ck_assert_int_eq(replace(absolute, "first", true), 0);
    ck_assert_int_eq(replace("a", "lost", false), 0);
    ck_assert_str_eq(content("a"), "first");
    ck_assert_int_eq(replace("./a", "second", true), 0);
    ck_assert_str_eq(content("a"), "second");
    ck_assert_int_eq(symlink("a", "link"), 0);
    ck_assert_int_eq(replace("link", "third", true), 0);
    ck_assert_str_eq(content("a"), "second"); /* links are not followed */
    ck_assert_uint_eq(names_count(folder), 2);
}
END_TEST

START_TEST(what_cannot_be_replaced_leaves_nothing_behind)
{
    tmpfile_error = errors[_i];
    ck_assert_int_eq(mkdir("dir", 0755), 0);
    ck_assert_int_eq(replace("dir", "x", true), -EISDIR);
    ck_assert_int_lt(replace("a/", "x", true), 0);
    ck_assert_int_eq(replace("nowhere/a", "x", true), -ENOENT);
    ck_assert_uint_eq(names_count(folder), 1);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    ADD_TABLE(tcase, a_temporary_file_has_no_name, errors);
    ADD_TABLE(tcase, a_new_file_is_there_when_it_is_committed, errors);
    ADD_TABLE(tcase, a_file_that_was_there_is_replaced_as_a_whole, errors);
    ADD_TABLE(tcase, what_cannot_be_replaced_leaves_nothing_behind, errors);
}

int
main(void)
{
    return unit_run("tempfile", fill);
}
