/* Goal: what a dead worker left is told in one line, whatever it has written into its slot. */
#include "daemon/master/postmortem.h"

#include <signal.h>
#include <string.h>
#include "unit.h"

static struct manifest_instance instances[] = {{"hello", "hello.so", "hello", "1.0", "default"}};
static struct manifest_route routes[] = {
    {.instance = 1, .route = 3, .mount = "/", .hosts = ".*", .pattern = "/hello/(?<name>[^/]+)"}};
static const struct manifest manifest = {
    .instances = instances, .instances_count = 1, .routes = routes, .routes_count = 1};

static const struct {
    struct slot slot;
    const char *text;
} deaths[] = {
    {{.worker = 0}, ""},
    {{.activity = {1, 3, 17}}, "handler hello (hello.so), route /hello/(?<name>[^/]+), request 17"},
    {{.activity = {1, 0, 0}}, "handler hello (hello.so), a hook or timer"},
    {{.starting = 1}, "handler hello (hello.so), its load or start"},
    {{.starting = 2}, ""},
    {{.activity = {2, 3, 17}}, ""},
    {{.activity = {UINT32_MAX, 3, 17}}, ""},
    {{.activity = {1, 99, 17}}, "handler hello (hello.so), a hook or timer, request 17"},
    {{.activity = {1, 3, 17},
      .crash = {.signal = SIGSEGV,
                .code = SEGV_MAPERR,
                .address = 0x10,
                .at = {"hello.so", 0x1139},
                .request = "GET /hello/x HTTP/1.1",
                .frames_count = 2,
                .frames = {{"libtornado.so.1", 0x200}, {"", 0x7f00}}}},
     "SIGSEGV at address 0x10 in hello.so+0x1139, handler hello (hello.so), route "
     "/hello/(?<name>[^/]+), request 17 \"GET /hello/x HTTP/1.1\"; called from "
     "libtornado.so.1+0x200, 0x7f00"},
    {{.crash = {.signal = SIGABRT, .code = SI_TKILL, .at = {"libc.so.6", 0x8a000}}},
     "SIGABRT in libc.so.6+0x8a000"},
    {{.crash = {.signal = SIGSEGV, .code = SEGV_ACCERR, .is_overflow = 1, .at = {"a.so", 1}}},
     "overflowed the stack of its coroutine (see coroutine_stack), SIGSEGV at address 0x0 in "
     "a.so+0x1"},
    {{.crash = {.signal = 77777, .at = {"a\nb", 1}}}, "SIG? in a\\x0ab+0x1"},
};

static td_arena arena;

START_TEST(a_death_is_described)
{
    td_arena_init(&arena);
    ck_assert_str_eq(postmortem_describe(&arena, &deaths[_i].slot, &manifest).ptr, deaths[_i].text);
    td_arena_fini(&arena);
}
END_TEST

/* No NUL anywhere, counts and indices beyond every array. */
START_TEST(a_slot_full_of_garbage_is_described_too)
{
    struct slot slot;

    td_arena_init(&arena);
    for (int byte = 1; byte < 256; byte++) {
        memset(&slot, byte, sizeof(slot));
        ck_assert_ptr_nonnull(postmortem_describe(&arena, &slot, &manifest).ptr);
    }
    td_arena_fini(&arena);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, a_death_is_described, deaths);
    tcase_add_test(tcase, a_slot_full_of_garbage_is_described_too);
}

int
main(void)
{
    return unit_run("daemon_postmortem", fill);
}
