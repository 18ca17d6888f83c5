/*
 * Goal: signed values are Tornado's, byte for byte, in both directions, and one that was changed in
 * any place, signed for something else or too long ago is none.  The texts here are what Tornado
 * 6.2 made of the same secrets.
 */
#include <stdio.h>
#include <time.h>
#include "http/signer.h"
#include "unit.h"

#define NOW INT64_C(1300000000)
#define DAY 86400

static const td_secret everybody[] = {{0, {"It's a secret to everybody", 26}}};
static const td_secret several[] = {{7, {"aslkjasaolwkjsdf", 16}}, {0, {"ajklasdf0ojaisdf", 16}}};
static const td_secrets one_secret = {everybody, 1, false};
static const td_secrets two_secrets = {several, 2, true};

static const char v1[] = "dmFsdWU=|1300000000|31c934969f53e48164c50768b40cbd7e2daaaa4f";
static const char v2[] = "2|1:0|10:1300000000|3:key|8:dmFsdWU=|"
                         "3d4e60b996ff9c5d5788e333a0cba6f238a22c6c0f94788870e1a9ecd482e152";
static const char v2_of_7[] = "2|1:7|10:1300000000|3:key|8:dmFsdWU=|"
                              "6ed0bdd6d187012a80588859ce69f77b9de51bc465d92f40bd1dd5b38eaa3ecf";
static const char v2_empty[] = "2|1:0|10:1300000000|1:k|0:|"
                               "9ac4ee9a0dde8d00f552b0b47b50173cab2bf02819c7151f485391db27e86d1d";

static td_arena arena;
static td_signer *signer, *versioned;

static void
setup(void)
{
    td_arena_init(&arena);
    signer = td_signer_create(&one_secret);
    versioned = td_signer_create(&two_secrets);
}

static void
teardown(void)
{
    td_signer_destroy(&signer);
    td_signer_destroy(&versioned);
    td_arena_fini(&arena);
}

static td_str
verify(const td_signer *by, const char *name, const char *text, double days, int64_t now)
{
    return td_signer_verify(by, &arena, td_str_of(name), td_str_of(text), days, now);
}

/* ---- with Tornado */

START_TEST(what_is_signed_is_what_Tornado_signs)
{
    const td_str key = TD_STR("key"), value = TD_STR("value");

    ck_assert_str_eq(td_signer_sign(signer, &arena, key, value, NOW).ptr, v2);
    ck_assert_str_eq(td_signer_sign(versioned, &arena, key, value, NOW).ptr, v2_of_7);
    ck_assert_str_eq(td_signer_sign(signer, &arena, TD_STR("k"), TD_STR(""), NOW).ptr, v2_empty);
}
END_TEST

static const struct {
    const char *text, *name;
    double days;
    int64_t now;
    const char *value; /* NULL: refused */
} given[] = {
    {v2, "key", 31, NOW, "value"},
    {v2, "key", 31, NOW + 31 * DAY, "value"},
    {v2, "key", 31, NOW + 31 * DAY + 1, NULL},
    {v2, "key", 0.5, NOW + DAY / 2, "value"},
    {v2, "key", 0.5, NOW + DAY / 2 + 1, NULL},
    {v2, "key", 1e300, NOW + 10000 * DAY, "value"},
    {v2, "key", -1, NOW, NULL},
    {v2, "key", 31, NOW - 100 * DAY, "value"},
    {v2, "kez", 31, NOW, NULL},
    {v2, "", 31, NOW, NULL},
    {v2_empty, "k", 31, NOW, ""},
    {v2_of_7, "key", 31, NOW, NULL},
    {v1, "key", 31, NOW, "value"},
    {v1, "key", 31, NOW + 31 * DAY, "value"},
    {v1, "key", 31, NOW + 31 * DAY + 1, NULL},
    {v1, "key", 31, NOW - 31 * DAY, "value"},
    {v1, "key", 31, NOW - 31 * DAY - 1, NULL},
    {v1, "kex", 31, NOW, NULL},
    {"", "key", 31, NOW, NULL},
    {"|", "key", 31, NOW, NULL},
    {"||", "key", 31, NOW, NULL},
    {"2|", "key", 31, NOW, NULL},
    {"2|1:0|10:1300000000|3:key|8:dmFsdWU=|", "key", 31, NOW, NULL},
    {"2|1:0|10:1300000000|3:key|8:dmFsdWU=", "key", 31, NOW, NULL},
    {"2|9:0|10:1300000000|3:key|8:dmFsdWU=|x", "key", 31, NOW, NULL},
    {"2|18446744073709551617:0|10:1300000000|3:key|8:dmFsdWU=|x", "key", 31, NOW, NULL},
    {"2|-1:0|10:1300000000|3:key|8:dmFsdWU=|x", "key", 31, NOW, NULL},
    {"2|:|:|:|:|", "key", 31, NOW, NULL},
    {"2|0:|0:|0:|0:|", "key", 31, NOW, NULL},
    {"3|1:0|10:1300000000|3:key|8:dmFsdWU=|x", "key", 31, NOW, NULL},
    {"1|x|y", "key", 31, NOW, NULL},
    {"999|x|y", "key", 31, NOW, NULL},
    {"1000|x|y", "key", 31, NOW, NULL},
};

START_TEST(what_is_read_is_what_Tornado_reads)
{
    const td_str value = verify(signer, given[_i].name, given[_i].text, given[_i].days,
                                given[_i].now);

    if (given[_i].value == NULL) {
        ck_assert(td_str_is_null(value));
        return;
    }
    ck_assert(td_str_equal(value, td_str_of(given[_i].value)));
    ck_assert_int_eq(value.ptr[value.len], '\0');
}
END_TEST

START_TEST(a_key_is_chosen_by_its_version)
{
    const td_secrets old = {several + 1, 1, true};
    td_signer *before = td_signer_create(&old);
    const td_str text = td_signer_sign(before, &arena, TD_STR("key"), TD_STR("value"), NOW);

    ck_assert(!strncmp(text.ptr, "2|1:0|", 6));
    ck_assert(td_str_equal(verify(versioned, "key", text.ptr, 31, NOW), TD_STR("value")));
    ck_assert(td_str_equal(verify(versioned, "key", v2_of_7, 31, NOW), TD_STR("value")));
    ck_assert(td_str_is_null(verify(before, "key", v2_of_7, 31, NOW)));
    ck_assert(td_str_is_null(verify(versioned, "key", v2, 31, NOW)));
    ck_assert(td_str_is_null(verify(versioned, "key", v1, 31, NOW))); /* knows no versions */
    td_signer_destroy(&before);
    ck_assert_ptr_null(before);
}
END_TEST

/* ---- forgeries */

START_TEST(no_byte_can_be_changed_and_none_left_out)
{
    const char *const texts[] = {v1, v2, v2_empty};
    const char *const names[] = {"key", "key", "k"};
    const size_t len = strlen(texts[_i]);
    char text[256];

    for (size_t at = 0; at < len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(text, texts[_i], len + 1);
            text[at] = (char)(text[at] ^ 1 << bit);
            ck_assert_msg(td_str_is_null(verify(signer, names[_i], text, 31, NOW)), "%s", text);
        }
        memcpy(text, texts[_i], at);
        text[at] = '\0';
        ck_assert(td_str_is_null(verify(signer, names[_i], text, 31, NOW)));
    }
    snprintf(text, sizeof(text), "%sx", texts[_i]);
    ck_assert(td_str_is_null(verify(signer, names[_i], text, 31, NOW)));
}
END_TEST

/* What is signed is name, base64 and time without anything between them. */
START_TEST(digits_cannot_wander_in_version_1)
{
    static const char *const wandering[] = {
        "dmFsdWU=1|300000000|31c934969f53e48164c50768b40cbd7e2daaaa4f",
        "dmFsdWU=13|00000000|31c934969f53e48164c50768b40cbd7e2daaaa4f",
        "dmFsdWU|=1300000000|31c934969f53e48164c50768b40cbd7e2daaaa4f",
        "eydmFsdWU=|1300000000|31c934969f53e48164c50768b40cbd7e2daaaa4f",
    };

    for (size_t i = 0; i < COUNT_OF(wandering); i++)
        ck_assert(td_str_is_null(verify(signer, i == 3 ? "k" : "key", wandering[i], 31, NOW)));
}
END_TEST

/* ---- any bytes */

START_TEST(any_value_and_any_name_come_back)
{
    char bytes[256];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)i;
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        const td_str value = td_str_make(bytes, len), name = td_str_make(bytes + 256 - len, len);
        const td_str text = td_signer_sign(signer, &arena, name, value, NOW);
        const td_str back = td_signer_verify(signer, &arena, name, text, 31, NOW);

        ck_assert(!td_str_is_null(back) && td_str_equal(back, value));
    }
}
END_TEST

static int64_t
cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The least of many runs, which others on the machine do not make longer. */
START_TEST(a_value_is_verified_in_a_microsecond)
{
    const td_arena_mark mark = td_arena_mark_now(&arena);
    const td_str name = td_str_of("key"), text = td_str_of(v2);
    int64_t least = INT64_MAX;
    int good = 0;

    for (int run = 0; run < 50; run++) {
        const int64_t begin = cpu_ns();

        for (int i = 0; i < 100; i++) {
            good += !td_str_is_null(td_signer_verify(signer, &arena, name, text, 31, NOW));
            td_arena_rewind(&arena, mark);
        }
        const int64_t ns = cpu_ns() - begin;
        least = ns < least ? ns : least;
    }
    ck_assert_int_eq(good, 50 * 100);
    printf("INFO %lld ns to verify a signed value\n", (long long)least / 100);
#ifndef __SANITIZE_ADDRESS__ /* which takes several times as long */
    ck_assert_int_le(least / 100, 1000);
#endif
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_is_signed_is_what_Tornado_signs);
    ADD_TABLE(tcase, what_is_read_is_what_Tornado_reads, given);
    tcase_add_test(tcase, a_key_is_chosen_by_its_version);
    tcase_add_loop_test(tcase, no_byte_can_be_changed_and_none_left_out, 0, 3);
    tcase_add_test(tcase, digits_cannot_wander_in_version_1);
    tcase_add_test(tcase, any_value_and_any_name_come_back);
    tcase_add_test(tcase, a_value_is_verified_in_a_microsecond);
}

int
main(void)
{
    return unit_run("signer", fill);
}
