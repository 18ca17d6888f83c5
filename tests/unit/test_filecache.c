/* Goal: nothing outside of a root is opened, and what is kept is what was there a moment ago. */
#include "web/filecache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "files.h"

#define RECHECK_MS 1000
#define MEMORY_MAX 200000

static td_filecache *cache;
static char folder[32], root[40];

static void
put(const char *name, const char *text)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void
put_link(const char *target, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    ck_assert_int_eq(symlink(target, path), 0);
}

static void
put_socket(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", folder, name);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
}

static void
setup(void)
{
    td_clock_refresh();
    snprintf(folder, sizeof(folder), "/tmp/test-files-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(root, sizeof(root), "%s/root", folder);
    run_in(folder, "mkdir -p root/sub root-beside && mkfifo root/fifo");
    put("secret", "secret");
    put("root-beside/secret", "secret");
    put("root/a.txt", "hello");
    put("root/empty", "");
    put("root/sub/b.html", "<b>");
    put_link("../secret", "root/out");
    put_link("/etc/passwd", "root/absolute");
    put_link("../root-beside", "root/beside");
    put_link("a.txt", "root/in");
    put_link("sub", "root/sub-in");
    put_link("sub/../../root/a.txt", "root/out-and-in");
    put_link("loop", "root/loop");
    put_link("nothing", "root/dangling");
    put_link("/proc/self/root/etc/passwd", "root/magic");
    put_socket("root/socket");
    ck_assert_int_eq(td_filecache_create(&cache, 100, MEMORY_MAX, RECHECK_MS, NULL, NULL), 0);
}

static void
teardown(void)
{
    td_filecache_destroy(&cache);
    run_in(folder, "rm -r root root-beside secret");
    ck_assert_int_eq(rmdir(folder), 0);
    td_chunk_trim(0);
}

static const struct {
    const char *path;
    int rc[3]; /* by td_symlinks */
} opens[] = {
    {"a.txt", {0, 0, 0}},
    {"", {0, 0, 0}},
    {"sub", {0, 0, 0}},
    {"sub/b.html", {0, 0, 0}},
    {"empty", {0, 0, 0}},
    {"A.TXT", {-ENOENT, -ENOENT, -ENOENT}},
    {"nothing", {-ENOENT, -ENOENT, -ENOENT}},
    {"a.txt/b", {-ENOTDIR, -ENOTDIR, -ENOTDIR}},
    {"a.txt/", {-ENOTDIR, -ENOTDIR, -ENOTDIR}},
    {"in", {0, -ELOOP, 0}},
    {"sub-in/b.html", {0, -ELOOP, 0}},
    {"out", {-EXDEV, -ELOOP, 0}},
    {"absolute", {-EXDEV, -ELOOP, 0}},
    {"beside/secret", {-EXDEV, -ELOOP, 0}},
    {"out-and-in", {-EXDEV, -ELOOP, 0}},
    {"loop", {-ELOOP, -ELOOP, -ELOOP}},
    {"dangling", {-ENOENT, -ELOOP, -ENOENT}},
    {"magic", {-EXDEV, -ELOOP, -ELOOP}}, /* /proc/self/root is no link like others */
    {"fifo", {TD_EINVAL, TD_EINVAL, TD_EINVAL}},
    {"socket", {-ENXIO, -ENXIO, -ENXIO}},
    {"../secret", {-EXDEV, -EXDEV, 0}}, /* nobody asks for these; the kernel would refuse */
    {"sub/../../secret", {-EXDEV, -EXDEV, 0}},
    {"/etc/passwd", {-EXDEV, -EXDEV, 0}},
};

START_TEST(only_what_is_below_the_root_is_opened)
{
    for (td_symlinks symlinks = TD_SYMLINKS_INSIDE; symlinks <= TD_SYMLINKS_ANYWHERE; symlinks++) {
        td_cached_file *file;
        const int rc = td_filecache_open(cache, root, symlinks, td_str_of(opens[_i].path), &file);

        ck_assert_msg(rc == opens[_i].rc[symlinks], "%s, policy %d: %s", opens[_i].path, symlinks,
                      td_strerror(rc));
        if (rc == 0)
            td_filecache_done(cache, file);
    }
}
END_TEST

static td_cached_file *
take_file(const char *path)
{
    td_cached_file *file = NULL;
    const int rc = td_filecache_open(cache, root, TD_SYMLINKS_INSIDE, td_str_of(path), &file);

    ck_assert_msg(rc == 0, "%s: %s", path, td_strerror(rc));
    return file;
}

/* It stays in the cache, and nobody uses it. */
static td_cached_file *
open_file(const char *path)
{
    td_cached_file *file = take_file(path);

    td_filecache_done(cache, file);
    return file;
}

static void
pass(int64_t ms)
{
    td_clock_cached_ns += ms * TD_NS_PER_MS;
}

START_TEST(small_file_is_in_memory_and_a_large_one_open)
{
    td_cached_file *small = open_file("a.txt"), *empty = open_file("empty"), *large;
    char text[TD_FILECACHE_SMALL + 2];

    ck_assert_ptr_null(small->file);
    ck_assert_uint_eq(small->size, 5);
    ck_assert_mem_eq(small->bytes, "hello", 5);
    ck_assert(td_str_equal(small->content_type, TD_STR("text/plain")));
    ck_assert_uint_eq(empty->size, 0);
    ck_assert_ptr_nonnull(empty->bytes);
    ck_assert(open_file("sub")->is_directory);

    memset(text, 'x', sizeof(text));
    text[TD_FILECACHE_SMALL] = '\0';
    put("root/large", text);
    ck_assert_ptr_null(open_file("large")->file);
    text[TD_FILECACHE_SMALL] = 'x';
    text[TD_FILECACHE_SMALL + 1] = '\0';
    put("root/large", text);
    pass(RECHECK_MS);
    large = open_file("large");
    ck_assert_ptr_null(large->bytes);
    ck_assert_uint_eq(large->size, TD_FILECACHE_SMALL + 1);
    ck_assert_int_ge(large->file->fd, 0);
}
END_TEST

START_TEST(change_is_seen_after_the_time)
{
    char before[34];

    memcpy(before, open_file("a.txt")->etag, 34);
    put("root/a.txt", "world!");
    pass(RECHECK_MS - 1);
    ck_assert_mem_eq(open_file("a.txt")->bytes, "hello", 5);
    pass(1);
    ck_assert_mem_eq(open_file("a.txt")->bytes, "world!", 6);
    ck_assert_mem_ne(open_file("a.txt")->etag, before, 34);

    run_in(folder, "echo other > root/new && mv root/new root/a.txt"); /* as deployments do */
    pass(RECHECK_MS);
    ck_assert_mem_eq(open_file("a.txt")->bytes, "other\n", 6);
}
END_TEST

/* The times of all files lie so far back that nothing more can happen at them. */
static void
settle(void)
{
    td_clock_cached_wall += 10;
}

/* The same size, the same time, the same inode: what is left is when the system saw it written. */
START_TEST(change_that_hides_its_time_is_seen)
{
    const struct timespec times[] = {{1000000000, 0}, {1000000000, 0}};
    char path[64];

    snprintf(path, sizeof(path), "%s/a.txt", root);
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    settle();
    ck_assert_mem_eq(open_file("a.txt")->bytes, "hello", 5);
    put("root/a.txt", "HELLO");
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    pass(RECHECK_MS);
    ck_assert_mem_eq(open_file("a.txt")->bytes, "HELLO", 5);
}
END_TEST

/* It was read so early that another change could have the same times, and is read once more. */
START_TEST(file_that_has_just_changed_is_read_again)
{
    td_cached_file *file = open_file("a.txt");
    uint64_t era = td_filecache_era(cache);

    pass(RECHECK_MS);
    open_file("a.txt");
    ck_assert(!td_filecache_again(cache, file, era));
    settle();
    pass(RECHECK_MS);
    file = open_file("a.txt");
    era = td_filecache_era(cache);
    pass(RECHECK_MS);
    open_file("a.txt");
    ck_assert(td_filecache_again(cache, file, era));
}
END_TEST

START_TEST(file_that_stays_is_not_read_again)
{
    settle();

    const td_cached_file *file = open_file("a.txt");
    const char *bytes = file->bytes;

    pass(10 * RECHECK_MS);
    ck_assert_ptr_eq(open_file("a.txt"), file);
    ck_assert_ptr_eq(file->bytes, bytes);
}
END_TEST

/* It is the same as to open it, or it is refused. */
START_TEST(coming_back_is_as_good_as_opening)
{
    settle();

    td_cached_file *file = open_file("a.txt");
    const uint64_t era = td_filecache_era(cache);

    ck_assert(td_filecache_again(cache, file, era));
    open_file("empty");
    ck_assert(td_filecache_again(cache, file, era)); /* others come */
    pass(RECHECK_MS);
    ck_assert(!td_filecache_again(cache, file, era)); /* it may have changed */
    open_file("a.txt");
    ck_assert(td_filecache_again(cache, file, era)); /* it has not */
    put("root/a.txt", "world!");
    pass(RECHECK_MS);
    open_file("a.txt");
    ck_assert(!td_filecache_again(cache, file, era)); /* the memory may be another one's */
    ck_assert(td_filecache_again(cache, open_file("a.txt"), td_filecache_era(cache)));
}
END_TEST

START_TEST(nobody_comes_back_to_what_was_let_go)
{
    td_cached_file *file, *kept;
    uint64_t era;

    td_filecache_destroy(&cache);
    ck_assert_int_eq(td_filecache_create(&cache, 1, MEMORY_MAX, RECHECK_MS, NULL, NULL), 0);
    file = open_file("a.txt");
    era = td_filecache_era(cache);
    open_file("empty"); /* there is room for one */
    ck_assert(!td_filecache_again(cache, file, era));

    kept = take_file("empty");
    era = td_filecache_era(cache);
    open_file("a.txt");
    ck_assert(!td_filecache_again(cache, kept, era)); /* it is there, but the cache knows it no more */
    td_filecache_done(cache, kept);
}
END_TEST

START_TEST(neighbours_are_looked_for_again)
{
    td_cached_file *file = open_file("a.txt");
    uint64_t era;

    td_filecache_codings(file);
    era = td_filecache_era(cache);
    ck_assert(td_filecache_again(cache, file, era));
    pass(RECHECK_MS);
    open_file("a.txt"); /* by somebody who asks for no neighbours */
    ck_assert(!td_filecache_again(cache, file, era));
}
END_TEST

START_TEST(removal_and_a_link_in_its_place_are_seen)
{
    td_cached_file *file;

    open_file("a.txt");
    run_in(folder, "ln -sf ../secret root/a.txt");
    pass(RECHECK_MS);
    ck_assert_int_eq(td_filecache_open(cache, root, TD_SYMLINKS_INSIDE, TD_STR("a.txt"), &file),
                     -EXDEV);
    run_in(folder, "rm root/a.txt");
    ck_assert_int_eq(td_filecache_open(cache, root, TD_SYMLINKS_INSIDE, TD_STR("a.txt"), &file),
                     -ENOENT);
    ck_assert_uint_eq(td_filecache_count(cache), 0);
}
END_TEST

START_TEST(root_that_is_replaced_is_seen)
{
    td_cached_file *file;

    open_file("a.txt");
    run_in(folder, "mv root old && mkdir root && echo new > root/a.txt");
    pass(RECHECK_MS);
    ck_assert_mem_eq(open_file("a.txt")->bytes, "new\n", 4);
    run_in(folder, "rm -r root && mv old root.old");
    pass(RECHECK_MS);
    ck_assert_int_eq(td_filecache_open(cache, root, TD_SYMLINKS_INSIDE, TD_STR("a.txt"), &file),
                     -ENOENT);
    run_in(folder, "mv root.old root");
    ck_assert_mem_eq(open_file("a.txt")->bytes, "hello", 5);
}
END_TEST

START_TEST(cache_is_bounded_and_keeps_what_is_used)
{
    char name[32];
    td_cached_file *file;

    td_filecache_destroy(&cache);
    ck_assert_int_eq(td_filecache_create(&cache, 3, MEMORY_MAX, RECHECK_MS, NULL, NULL), 0);
    file = open_file("a.txt");
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "root/%d", i);
        put(name, "x");
        open_file(name + 5);
        ck_assert_uint_le(td_filecache_count(cache), 3);
        ck_assert_ptr_eq(open_file("a.txt"), file);
    }
    ck_assert_uint_eq(td_filecache_count(cache), 3);
}
END_TEST

START_TEST(memory_of_small_files_is_bounded)
{
    char command[64], name[12];
    td_cached_file *file;

    for (int i = 0; i < 3; i++) {
        snprintf(command, sizeof(command), "head -c 90000 /dev/zero > root/%d", i);
        run_in(folder, command);
        snprintf(name, sizeof(name), "%d", i);
        file = open_file(name);
        ck_assert_uint_eq(file->size, 90000);
        ck_assert_int_eq(file->bytes != NULL, i < 2); /* MEMORY_MAX */
        ck_assert_int_eq(file->file != NULL, i == 2);
    }
    run_in(folder, "head -c 90001 /dev/zero > root/0 && echo > root/1");
    pass(RECHECK_MS);
    ck_assert_ptr_nonnull(open_file("1")->bytes);
    ck_assert_ptr_nonnull(open_file("0")->bytes); /* what it had was given back */
}
END_TEST

START_TEST(without_a_cache_nothing_is_kept)
{
    td_filecache_destroy(&cache);
    ck_assert_int_eq(td_filecache_create(&cache, 0, MEMORY_MAX, RECHECK_MS, NULL, NULL), 0);
    td_filecache_done(cache, take_file("a.txt"));
    ck_assert_uint_eq(td_filecache_count(cache), 0);
    put("root/a.txt", "world");

    td_cached_file *file = take_file("a.txt");
    ck_assert_mem_eq(file->bytes, "world", 5);
    td_filecache_done(cache, file);
}
END_TEST

/* Who sends a file keeps it, whatever the cache does. */
START_TEST(file_outlives_its_place_in_the_cache)
{
    td_file *file;
    char byte;

    run_in(folder, "head -c 150000 /dev/zero > root/large");
    file = td_file_ref(open_file("large")->file);
    run_in(folder, "rm root/large");
    td_filecache_destroy(&cache);
    ck_assert_int_eq(pread(file->fd, &byte, 1, 149999), 1);
    td_file_unref(file);
}
END_TEST

/* Between open and done nothing changes, whatever happens to the file and to the cache. */
START_TEST(file_in_use_stays_as_it_is)
{
    td_cached_file *old, *new;

    td_filecache_destroy(&cache);
    ck_assert_int_eq(td_filecache_create(&cache, 1, MEMORY_MAX, RECHECK_MS, NULL, NULL), 0);
    old = take_file("a.txt");
    put("root/a.txt", "world!");
    pass(RECHECK_MS);
    new = take_file("a.txt");
    ck_assert_mem_eq(old->bytes, "hello", 5);
    ck_assert_mem_eq(new->bytes, "world!", 6);
    ck_assert_uint_eq(td_filecache_count(cache), 1);
    open_file("empty"); /* there is room for one */
    ck_assert_mem_eq(new->bytes, "world!", 6);
    td_filecache_done(cache, old);
    td_filecache_done(cache, new);
    ck_assert_uint_eq(td_filecache_count(cache), 1);
}
END_TEST

/* A deployment that switches the link to the current release. */
START_TEST(new_root_is_served_within_the_time)
{
    run_in(folder, "mkdir -p r1 r2 && echo 1 > r1/a && cp r1/a r1/b && echo 2 > r2/a && cp r2/a r2/b");
    run_in(folder, "ln -s r1 current");
    strcat(strcpy(root, folder), "/current");
    ck_assert_mem_eq(open_file("a")->bytes, "1", 1); /* the root is opened */
    pass(RECHECK_MS - 1);
    ck_assert_mem_eq(open_file("b")->bytes, "1", 1); /* below the one that was opened then */
    run_in(folder, "ln -s r2 next && mv -T next current");
    pass(RECHECK_MS - 1); /* of the switch */
    ck_assert_mem_eq(open_file("a")->bytes, "2", 1);
    ck_assert_mem_eq(open_file("b")->bytes, "2", 1);
    run_in(folder, "rm -r r1 r2 current");
}
END_TEST

static const struct {
    const char *command;
    unsigned codings;
} neighbours[] = {
    {"true", 0},
    {"touch a.txt.gz", TD_CODING_BIT(TD_CODING_GZIP)},
    {"touch a.txt.gz a.txt.br a.txt.zst", TD_CODING_BIT(TD_CODING_GZIP) |
     TD_CODING_BIT(TD_CODING_BR) | TD_CODING_BIT(TD_CODING_ZSTD)},
    {"touch -d '2000-01-01' a.txt.gz", 0}, /* of another version */
    {"touch -d '2000-01-01' a.txt && touch -d '2000-01-01' a.txt.br", TD_CODING_BIT(TD_CODING_BR)},
    {"mkdir a.txt.gz", 0},
    {"mkfifo a.txt.gz", 0},
    {"ln -s ../secret a.txt.gz", 0},
    {"touch b && ln -s b a.txt.zst", TD_CODING_BIT(TD_CODING_ZSTD)},
    {"touch a.txt.GZ a.gz .gz a.txt.gzip a.txt.zstd", 0},
};

START_TEST(neighbours_are_found)
{
    char line[256];

    snprintf(line, sizeof(line), "cd root && %s", neighbours[_i].command);
    run_in(folder, line);
    ck_assert_uint_eq(td_filecache_codings(open_file("a.txt")), neighbours[_i].codings);
}
END_TEST

START_TEST(neighbours_that_come_and_go_are_seen)
{
    ck_assert_uint_eq(td_filecache_codings(open_file("a.txt")), 0);
    run_in(folder, "touch root/a.txt.br");
    ck_assert_uint_eq(td_filecache_codings(open_file("a.txt")), 0); /* within the time */
    pass(RECHECK_MS);
    ck_assert_uint_eq(td_filecache_codings(open_file("a.txt")), TD_CODING_BIT(TD_CODING_BR));
    run_in(folder, "rm root/a.txt.br");
    pass(RECHECK_MS);
    ck_assert_uint_eq(td_filecache_codings(open_file("a.txt")), 0);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    ADD_TABLE(tcase, only_what_is_below_the_root_is_opened, opens);
    tcase_add_test(tcase, small_file_is_in_memory_and_a_large_one_open);
    tcase_add_test(tcase, change_is_seen_after_the_time);
    tcase_add_test(tcase, change_that_hides_its_time_is_seen);
    tcase_add_test(tcase, file_that_has_just_changed_is_read_again);
    tcase_add_test(tcase, file_that_stays_is_not_read_again);
    tcase_add_test(tcase, coming_back_is_as_good_as_opening);
    tcase_add_test(tcase, nobody_comes_back_to_what_was_let_go);
    tcase_add_test(tcase, neighbours_are_looked_for_again);
    tcase_add_test(tcase, removal_and_a_link_in_its_place_are_seen);
    tcase_add_test(tcase, root_that_is_replaced_is_seen);
    tcase_add_test(tcase, cache_is_bounded_and_keeps_what_is_used);
    tcase_add_test(tcase, memory_of_small_files_is_bounded);
    tcase_add_test(tcase, without_a_cache_nothing_is_kept);
    tcase_add_test(tcase, file_outlives_its_place_in_the_cache);
    tcase_add_test(tcase, file_in_use_stays_as_it_is);
    tcase_add_test(tcase, new_root_is_served_within_the_time);
    ADD_TABLE(tcase, neighbours_are_found, neighbours);
    tcase_add_test(tcase, neighbours_that_come_and_go_are_seen);
}

int
main(void)
{
    return unit_run("filecache", fill);
}
