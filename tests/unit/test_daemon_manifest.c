/* Goal: a manifest reads back as it was written, and nothing else reads at all. */
#include "daemon/site/manifest.h"

#include <string.h>
#include "on_arena.h"

static void
put_example(td_buf *to)
{
    manifest_put_instance(
        to, &(struct manifest_instance){"hello", "hello.so", "hello", "1.0", "default"});
    manifest_put_route(to,
                       &(struct manifest_route){1, 7, "/", ".*", "/hello/(?<name>[^/]+)", "greet",
                                                "GET, HEAD"});
    manifest_put_instance(to, &(struct manifest_instance){"b", "b.so", "b", NULL, "other"});
    manifest_put_route(to, &(struct manifest_route){2, 1, "/b", "x", "/", NULL, NULL});
    manifest_put_shared(to, &(struct manifest_shared){2, "counters", UINT64_C(1) << 33});
    manifest_put_metric(to, &(struct manifest_metric){2, 1, "orders", "Orders.", "of", "a b"});
    manifest_put_metric(to, &(struct manifest_metric){2, 1, "plain", "Plain.", NULL, NULL});
    manifest_put_end(to);
}

START_TEST(it_reads_back)
{
    td_buf bytes = {0};
    struct manifest manifest;

    put_example(&bytes);
    ck_assert_int_eq(manifest_read(&arena, td_buf_str(&bytes), &manifest), 0);
    td_buf_release(&bytes);
    ck_assert_uint_eq(manifest.instances_count, 2);
    ck_assert_str_eq(manifest.instances[0].version, "1.0");
    ck_assert_str_eq(manifest.instances[1].application, "other");
    ck_assert_ptr_null(manifest.instances[1].version);
    ck_assert_uint_eq(manifest.routes_count, 2);
    ck_assert_str_eq(manifest_find_route(&manifest, 1, 7)->pattern, "/hello/(?<name>[^/]+)");
    ck_assert_str_eq(manifest_find_route(&manifest, 1, 7)->wanted, "GET, HEAD");
    ck_assert_ptr_null(manifest_find_route(&manifest, 2, 1)->name);
    ck_assert_ptr_null(manifest_find_route(&manifest, 2, 1)->wanted);
    ck_assert_ptr_null(manifest_find_route(&manifest, 2, 7));
    ck_assert_uint_eq(manifest.shared_count, 1);
    ck_assert_uint_eq(manifest.shared[0].size, UINT64_C(1) << 33);
    ck_assert_uint_eq(manifest.metrics_count, 2);
    ck_assert_str_eq(manifest.metrics[0].label, "of");
    ck_assert_str_eq(manifest.metrics[0].value, "a b");
    ck_assert_ptr_null(manifest.metrics[1].label);
    ck_assert_ptr_null(manifest.metrics[1].value);
    ck_assert_uint_eq(manifest.metrics[0].kind, 1);
    ck_assert_str_eq(manifest.metrics[0].name, "orders");
    ck_assert_str_eq(manifest.metrics[0].help, "Orders.");
    ck_assert_uint_eq(manifest.failures_count, 0);
}
END_TEST

START_TEST(failures_are_told_in_order)
{
    td_buf bytes = {0};
    struct manifest manifest;

    manifest_put_failure(&bytes, "first");
    manifest_put_failure(&bytes, "");
    manifest_put_end(&bytes);
    ck_assert_int_eq(manifest_read(&arena, td_buf_str(&bytes), &manifest), 0);
    ck_assert_uint_eq(manifest.failures_count, 2);
    ck_assert_str_eq(manifest.failures[0], "first");
    ck_assert_str_eq(manifest.failures[1], "");
    td_buf_release(&bytes);
}
END_TEST

START_TEST(what_is_cut_anywhere_or_goes_on_is_refused)
{
    td_buf bytes = {0};
    struct manifest manifest;

    put_example(&bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        char *cut = malloc(len + 1); /* of that size, for the sanitizer to watch */
        memcpy(cut, td_buf_str(&bytes).ptr, len);
        ck_assert_int_eq(manifest_read(&arena, td_str_make(cut, len), &manifest), TD_EBADMSG);
        free(cut);
    }
    td_buf_append(&bytes, TD_STR("x"));
    ck_assert_int_eq(manifest_read(&arena, td_buf_str(&bytes), &manifest), TD_EBADMSG);
    td_buf_release(&bytes);
}
END_TEST

/* Whatever a byte is changed into, reading ends and stays inside; the sanitizers look on. */
START_TEST(no_byte_leads_astray)
{
    static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff, 'I', 'R', 'S', 'F', 'E'};
    td_buf bytes = {0};
    struct manifest manifest;

    put_example(&bytes);
    for (size_t at = 0; at < bytes.len; at++) {
        char *place = bytes.base + bytes.start + at, before = *place;
        for (size_t i = 0; i < COUNT_OF(values); i++) {
            *place = (char)values[i];
            int rc = manifest_read(&arena, td_buf_str(&bytes), &manifest);
            ck_assert(rc == 0 || rc == TD_EBADMSG);
            td_arena_fini(&arena);
            td_arena_init(&arena);
        }
        *place = before;
    }
    td_buf_release(&bytes);
}
END_TEST

START_TEST(routes_of_nobody_are_refused)
{
    static const uint32_t nobody[] = {0, 2, UINT32_MAX};
    struct manifest manifest;

    for (size_t i = 0; i < COUNT_OF(nobody); i++) {
        td_buf bytes = {0};
        manifest_put_instance(&bytes, &(struct manifest_instance){"a", "a", "a", "a", "a"});
        manifest_put_route(&bytes, &(struct manifest_route){nobody[i], 1, "/", ".*", "/", NULL, NULL});
        manifest_put_end(&bytes);
        ck_assert_int_eq(manifest_read(&arena, td_buf_str(&bytes), &manifest), TD_EBADMSG);
        td_buf_release(&bytes);
    }
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, arena_setup, arena_teardown);
    tcase_add_test(tcase, it_reads_back);
    tcase_add_test(tcase, failures_are_told_in_order);
    tcase_add_test(tcase, what_is_cut_anywhere_or_goes_on_is_refused);
    tcase_add_test(tcase, no_byte_leads_astray);
    tcase_add_test(tcase, routes_of_nobody_are_refused);
}

int
main(void)
{
    return unit_run("daemon_manifest", fill);
}
