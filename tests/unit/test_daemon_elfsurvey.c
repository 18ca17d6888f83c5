/*
 * Goal: what the tables of a handler's file tell is found, and a file that is cut off or damaged
 * anywhere is an error or says less; it never reads past its end.
 */
#include "daemon/site/elfsurvey.h"

#include <stdio.h>
#include <string.h>
#include "unit.h"

static td_arena arena;
static char *bytes; /* malloced to its size, so that a sanitizer sees its end */
static size_t size;

static void
read_handler(const char *name)
{
    char path[512];
    const char *build = getenv("TD_BUILD");

    snprintf(path, sizeof(path), "%s/tests/handlers/%s.so", build != NULL ? build : "build", name);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s", path);
    fseek(file, 0, SEEK_END);
    size = (size_t)ftell(file);
    rewind(file);
    bytes = malloc(size);
    ck_assert_uint_eq(fread(bytes, 1, size, file), size);
    fclose(file);
    td_arena_init(&arena);
}

static void
forget(void)
{
    td_arena_fini(&arena);
    free(bytes);
}

static bool
has(const struct elf_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return false;
}

START_TEST(a_handler_is_described)
{
    struct elf_survey survey;
    td_err err;

    read_handler("faults");
    ck_assert_int_eq(elf_survey(&arena, bytes, size, &survey, &err), 0);
    ck_assert(survey.has_plugin);
    ck_assert_uint_eq(survey.abi_major, TD_ABI_MAJOR);
    ck_assert_uint_eq(survey.abi_minor, TD_ABI_MINOR);
    ck_assert(!survey.is_stripped && !survey.lacks_exceptions);
    ck_assert(has(&survey.libraries, "libtornado.so.1"));
    ck_assert(has(&survey.wanted, "td_writef"));
    ck_assert_uint_eq(survey.private_.count, 0);
    ck_assert(has(&survey.writable, "depth"));
    ck_assert(!has(&survey.writable, "tornado_plugin"));
    ck_assert_uint_eq(survey.unwindless.count, 0);
    forget();
}
END_TEST

START_TEST(private_symbols_are_named)
{
    struct elf_survey survey;
    td_err err;

    read_handler("private_symbol");
    ck_assert_int_eq(elf_survey(&arena, bytes, size, &survey, &err), 0);
    ck_assert(has(&survey.private_, "td_clock_ns"));
    forget();
}
END_TEST

START_TEST(no_prefix_is_read_past_its_end)
{
    struct elf_survey survey;
    td_err err;

    read_handler("hostile");
    for (size_t len = 0; len < size; len += len < 4096 ? 1 : 997) {
        char *cut = malloc(len + 1);
        memcpy(cut, bytes, len);
        cut = realloc(cut, len > 0 ? len : 1);
        td_arena_rewind(&arena, (td_arena_mark){0});
        if (elf_survey(&arena, cut, len, &survey, &err) < 0)
            ck_assert_int_eq(err.code, TD_EPLUGIN);
        free(cut);
    }
    forget();
}
END_TEST

/* A step of a generator of numbers, always the same. */
static uint32_t
next_number(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

START_TEST(damage_anywhere_is_survived)
{
    struct elf_survey survey;
    uint32_t state = 7;
    td_err err;

    read_handler("hostile");
    const size_t sections_at = size - 64 * 64 < size ? size - 64 * 64 : 0;
    for (int round = 0; round < 3000; round++) {
        char saved[8];
        size_t places[8];
        for (int i = 0; i < 8; i++) { /* in the header, or where the tables of sections are */
            places[i] = round % 2 == 0 ? next_number(&state) % 1024
                                       : sections_at + next_number(&state) % (size - sections_at);
            saved[i] = bytes[places[i]];
            bytes[places[i]] = (char)next_number(&state);
        }
        td_arena_rewind(&arena, (td_arena_mark){0});
        elf_survey(&arena, bytes, size, &survey, &err);
        for (int i = 8; i-- > 0;)
            bytes[places[i]] = saved[i];
    }
    forget();
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_test(tcase, a_handler_is_described);
    tcase_add_test(tcase, private_symbols_are_named);
    tcase_add_test(tcase, no_prefix_is_read_past_its_end);
    tcase_add_test(tcase, damage_anywhere_is_survived);
}

int
main(void)
{
    return unit_run("elfsurvey", fill);
}
