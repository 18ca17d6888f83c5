/* Goal: what others may have written is not loaded, and what was accepted stays as it was. */
#include "daemon/site/handlerfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "unit.h"

static char folder[64], directory[80];
static struct identity identity;
static td_err err;

static void
setup(void)
{
    strcpy(folder, "/tmp/test_daemon_handlerfile.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(directory, sizeof(directory), "%s/handlers", folder);
    ck_assert_int_eq(mkdir(directory, 0755), 0);
    identity = (struct identity){.uid = geteuid(), .gid = getegid()};
}

static void
teardown(void)
{
    char command[100];

    snprintf(command, sizeof(command), "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static void
write_file(const char *name, const char *content, mode_t mode)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static int
open_directory(void)
{
    int fd = -1;

    ck_assert_msg(handlerdir_open(directory, &identity, &fd, &err) == 0, "%s", err.text);
    return fd;
}

START_TEST(the_copy_does_not_change_and_cannot_be_changed)
{
    char bytes[16] = "";
    int dir = open_directory(), fd = -1;

    write_file("a.so", "before", 0755);
    ck_assert_int_eq(handlerfile_copy(dir, "a.so", &identity, &fd, &err), 0);
    write_file("a.so", "afterwards", 0755);
    ck_assert_int_eq(pread(fd, bytes, sizeof(bytes), 0), 6);
    ck_assert_str_eq(bytes, "before");
    ck_assert_int_lt(pwrite(fd, "x", 1, 0), 0);
    ck_assert_int_lt(ftruncate(fd, 0), 0);
    close(fd);
    close(dir);
}
END_TEST

static const struct {
    const char *what;
    mode_t mode;
    uid_t uid; /* 0 and 1000 need root to set */
    gid_t gid;
    const char *error; /* NULL: accepted */
} files[] = {
    {"plain", 0644, 0, 0, NULL},
    {"not readable by others", 0600, 0, 0, NULL},
    {"writable by root's group", 0664, 0, 0, NULL},
    {"writable by another group", 0664, 0, 1000, "may be written by the group 1000 (mode 0664)"},
    {"readable by another group", 0644, 0, 1000, NULL},
    {"writable by others", 0646, 0, 0, "may be written by others (mode 0646)"},
    {"of a stranger", 0644, 1000, 0, "belongs to uid 1000"},
};

START_TEST(files_that_others_may_write_are_refused)
{
    char path[200];
    int dir = open_directory(), fd = -1;

    snprintf(path, sizeof(path), "%s/a.so", directory);
    write_file("a.so", "x", 0644);
    if (geteuid() == 0)
        ck_assert_int_eq(chown(path, files[_i].uid, files[_i].gid), 0);
    else if (files[_i].uid != 0 || files[_i].gid != 0)
        return; /* takes root to arrange */
    ck_assert_int_eq(chmod(path, files[_i].mode), 0);
    int rc = handlerfile_copy(dir, "a.so", &identity, &fd, &err);
    close(dir);
    if (files[_i].error == NULL) {
        ck_assert_msg(rc == 0, "%s: %s", files[_i].what, err.text);
        close(fd);
        return;
    }
    ck_assert_int_eq(rc, TD_EPLUGIN);
    ck_assert_msg(strstr(err.text, files[_i].error) != NULL, "%s: %s", files[_i].what, err.text);
}
END_TEST

START_TEST(the_daemons_user_may_own_them)
{
    char path[200];
    int dir = open_directory(), fd = -1;

    if (geteuid() != 0)
        return;
    identity = (struct identity){.uid = 1000, .gid = 1000};
    snprintf(path, sizeof(path), "%s/a.so", directory);
    write_file("a.so", "x", 0664);
    ck_assert_int_eq(chown(path, 1000, 1000), 0);
    ck_assert_msg(handlerfile_copy(dir, "a.so", &identity, &fd, &err) == 0, "%s", err.text);
    close(fd);
    close(dir);
}
END_TEST

START_TEST(links_stay_inside)
{
    char link[200];
    int dir = open_directory(), fd = -1;

    write_file("a.so.1", "x", 0644);
    snprintf(link, sizeof(link), "%s/inside.so", directory);
    ck_assert_int_eq(symlink("a.so.1", link), 0);
    ck_assert_msg(handlerfile_copy(dir, "inside.so", &identity, &fd, &err) == 0, "%s", err.text);
    close(fd);
    snprintf(link, sizeof(link), "%s/outside.so", directory);
    ck_assert_int_eq(symlink("/etc/passwd", link), 0);
    ck_assert_int_eq(handlerfile_copy(dir, "outside.so", &identity, &fd, &err), TD_EPLUGIN);
    ck_assert_ptr_nonnull(strstr(err.text, "leads out of the directory"));
    ck_assert_int_lt(handlerfile_copy(dir, "../a.so", &identity, &fd, &err), 0);
    ck_assert_int_lt(handlerfile_copy(dir, "/etc/passwd", &identity, &fd, &err), 0);
    close(dir);
}
END_TEST

START_TEST(only_files_are_files)
{
    char path[200];
    int dir = open_directory(), fd = -1;

    ck_assert_int_eq(mkdirat(dir, "d.so", 0755), 0);
    snprintf(path, sizeof(path), "%s/fifo.so", directory);
    ck_assert_int_eq(mkfifo(path, 0644), 0);
    ck_assert_int_eq(handlerfile_copy(dir, "d.so", &identity, &fd, &err), TD_EPLUGIN);
    ck_assert_int_eq(handlerfile_copy(dir, "fifo.so", &identity, &fd, &err), TD_EPLUGIN);
    ck_assert_int_eq(handlerfile_copy(dir, "none.so", &identity, &fd, &err), -ENOENT);
    close(dir);
}
END_TEST

START_TEST(directories_that_others_may_write_are_refused)
{
    int fd;

    ck_assert_int_eq(chmod(directory, 01777), 0);
    ck_assert_int_eq(handlerdir_open(directory, &identity, &fd, &err), TD_EPLUGIN);
    ck_assert_int_eq(chmod(directory, 0755), 0);
    ck_assert_int_eq(chmod(folder, 0777), 0); /* who may write there may rename ours */
    ck_assert_int_eq(handlerdir_open(directory, &identity, &fd, &err), TD_EPLUGIN);
    ck_assert_ptr_nonnull(strstr(err.text, "above"));
    ck_assert_int_eq(chmod(folder, 01777), 0); /* not with the sticky bit */
    ck_assert_int_eq(handlerdir_open(directory, &identity, &fd, &err), 0);
    close(fd);
}
END_TEST

START_TEST(the_list_is_sorted_and_has_only_handlers)
{
    static const char *const names[] = {"b.so",   "a.so", ".hidden.so", "c.so.new",
                                        "README", ".so",  "so"};
    const char *const *found;
    size_t count;
    td_arena arena;
    int dir = open_directory();

    for (size_t i = 0; i < COUNT_OF(names); i++)
        write_file(names[i], "x", 0644);
    td_arena_init(&arena);
    ck_assert_int_eq(handlerdir_list(dir, &arena, &found, &count, &err), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(found[0], "a.so");
    ck_assert_str_eq(found[1], "b.so");
    td_arena_fini(&arena);
    close(dir);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_copy_does_not_change_and_cannot_be_changed);
    ADD_TABLE(tcase, files_that_others_may_write_are_refused, files);
    tcase_add_test(tcase, the_daemons_user_may_own_them);
    tcase_add_test(tcase, links_stay_inside);
    tcase_add_test(tcase, only_files_are_files);
    tcase_add_test(tcase, directories_that_others_may_write_are_refused);
    tcase_add_test(tcase, the_list_is_sorted_and_has_only_handlers);
}

int
main(void)
{
    return unit_run("daemon_handlerfile", fill);
}
