/*
 * Goal: what is saved is what was sent, wherever it lies and whatever the kernel can do; what is
 * not saved as a whole is not there.
 */
#include "web_fixture.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include "files.h"

#define SIZE (1024 * 1024 + 7)

/* ---- the kernel, more or less able */

static struct {
    int copies, copy_error; /* of copy_file_range; 0: it can */
    int write_error;        /* from a MiB on */
    size_t written;
} kernel;

__attribute__((visibility("default"))) ssize_t
copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t size, unsigned flags)
{
    ssize_t (*real)(int, off64_t *, int, off64_t *, size_t, unsigned);

    if (kernel.copy_error != 0) {
        errno = kernel.copy_error;
        return -1;
    }
    kernel.copies++;
    *(void **)&real = dlsym(RTLD_NEXT, "copy_file_range");
    return real(in, in_at, out, out_at, size, flags);
}

__attribute__((visibility("default"))) ssize_t
write(int fd, const void *bytes, size_t size)
{
    ssize_t (*real)(int, const void *, size_t);

    kernel.written += size;
    if (kernel.write_error != 0 && kernel.written > 1024 * 1024) {
        errno = kernel.write_error;
        return -1;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "write");
    return real(fd, bytes, size);
}

/* ---- a handler that saves, and a folder */

static char folder[] = "/tmp/test_save-XXXXXX", path[64], data[SIZE];
static td_str to_save; /* the null string: the body */
static int outcome;

static void
save(td_handler *h)
{
    const td_http_file file = {.body = to_save};

    outcome = 1;
    outcome = td_str_is_null(to_save) ? td_save_body(h, path) : td_save_file(h, &file, path);
}

static void
save_in_callback(void *arg)
{
    save(arg);
    td_finish(arg);
}

static void
save_later(td_handler *h)
{
    td_asynchronous(h);
    td_call_later(td_ioloop_current(), 0, save_in_callback, h);
}

static const td_handler_class Save = {.put = save, .flags = TD_CANCEL_ON_CLOSE};
static const td_handler_class Later = {.put = save_later};
static const td_url urls[] = {TD_URL("/", &Save), TD_URL("/later", &Later), {.pattern = NULL}};

static void
setup(void)
{
    web_setup();
    web_serve(urls);
    memset(&kernel, 0, sizeof(kernel));
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/saved", folder);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * i >> 7);
    to_save = td_str_make(NULL, 0);
    outcome = 2;
}

static void
teardown(void)
{
    char line[64];

    snprintf(line, sizeof(line), "rm -r %s", folder);
    ck_assert_int_eq(system(line), 0);
    web_teardown();
}

static void
check_saved(td_str bytes)
{
    static char back[SIZE + 1];
    const int fd = open(path, O_RDONLY);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(read(fd, back, sizeof(back)), (ssize_t)bytes.len);
    ck_assert_int_eq(memcmp(back, bytes.ptr, bytes.len), 0);
    close(fd);
    ck_assert_uint_eq(names_count(folder), 1);
}

/* A request whose body has come, to memory or to a file; it is handled. */
static web_exchange *
put(const char *target, td_str body, bool in_file)
{
    const td_spill_place place = {"/tmp", UINT64_MAX};
    web_exchange *x = web_route_to("PUT", target, "Content-Length: 1\r\n");

    x->request->body = body;
    if (in_file) {
        td_request_begin_spill(x->request);
        ck_assert_int_eq(td_request_spill(x->request, &place, body), 0);
        ck_assert_int_eq(td_spill_map(x->request->spill, &place, &x->request->body), 0);
    }
    web_execute(x);
    return x;
}

static const struct {
    bool in_file;
    int copy_error;
} ways[] = {{false, 0}, {true, 0}, {true, EXDEV}, {true, EOPNOTSUPP}};

START_TEST(a_body_is_saved_as_it_is)
{
    static const size_t sizes[] = {0, 1, 4096, 256 * 1024, SIZE};

    kernel.copy_error = ways[_i].copy_error;
    for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        const td_str body = td_str_make(data, sizes[k]);
        web_exchange *x;

        kernel.copies = 0;
        x = put("/", body, ways[_i].in_file && body.len > 0);
        WEB_UNTIL(outcome != 1);
        ck_assert_int_eq(outcome, 0);
        check_saved(body);
        if (body.len > 0)
            ck_assert_int_eq(kernel.copies > 0, ways[_i].in_file && ways[_i].copy_error == 0);
        WEB_UNTIL(x->finishes == 1);
        web_done(x);
    }
}
END_TEST

START_TEST(others_are_served_in_between)
{
    web_exchange *x = put("/", td_str_make(data, SIZE), ways[_i].in_file);

    kernel.copy_error = ways[_i].copy_error;
    ck_assert_int_eq(outcome, 1); /* it has waited, after 256 KiB */
    ck_assert_uint_eq(names_count(folder), 0);
    WEB_UNTIL(x->finishes == 1);
    WEB_UNTIL(outcome != 1);
    ck_assert_int_eq(outcome, 0);
    check_saved(td_str_make(data, SIZE));
    web_done(x);
}
END_TEST

START_TEST(a_file_is_a_part_of_the_body_or_anything)
{
    web_exchange *x;

    to_save = TD_STR("of the author");
    x = put("/", td_str_make(data, SIZE), true);
    WEB_UNTIL(outcome != 1);
    ck_assert_int_eq(outcome, 0);
    check_saved(to_save);
    ck_assert_int_eq(kernel.copies, 0);
    web_done(x);
}
END_TEST

START_TEST(what_goes_wrong_is_returned_and_leaves_nothing)
{
    web_exchange *x;

    kernel.copy_error = EXDEV;
    kernel.write_error = ENOSPC;
    x = put("/", td_str_make(data, SIZE), false);
    WEB_UNTIL(x->finishes == 1);
    ck_assert_int_eq(outcome, -ENOSPC);
    ck_assert_uint_eq(names_count(folder), 0);
    web_done(x);

    snprintf(path, sizeof(path), "%s/nowhere/saved", folder);
    x = put("/", td_str_make(data, 1), false);
    ck_assert_int_eq(outcome, -ENOENT);
    web_done(x);
}
END_TEST

START_TEST(who_is_cancelled_leaves_nothing)
{
    web_exchange *x = put("/", td_str_make(data, SIZE), ways[_i].in_file);

    ck_assert_int_eq(outcome, 1);
    web_client_leaves(x);
    web_turn();
    ck_assert_int_eq(outcome, 1);
    ck_assert_uint_eq(names_count(folder), 0);
    web_done(x);
}
END_TEST

START_TEST(a_callback_may_save_too)
{
    web_exchange *x = put("/later", td_str_make(data, SIZE), true);

    WEB_UNTIL(x->finishes == 1);
    WEB_UNTIL(outcome != 1);
    ck_assert_int_eq(outcome, 0);
    check_saved(td_str_make(data, SIZE));
    web_done(x);
}
END_TEST

static void
fill(TCase *tcase)
{
    const int ways_count = (int)(sizeof(ways) / sizeof(ways[0]));

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, a_body_is_saved_as_it_is, 0, ways_count);
    tcase_add_loop_test(tcase, others_are_served_in_between, 0, ways_count);
    tcase_add_test(tcase, a_file_is_a_part_of_the_body_or_anything);
    tcase_add_test(tcase, what_goes_wrong_is_returned_and_leaves_nothing);
    tcase_add_loop_test(tcase, who_is_cancelled_leaves_nothing, 0, ways_count);
    tcase_add_test(tcase, a_callback_may_save_too);
}

int
main(void)
{
    return unit_run("save", fill);
}
