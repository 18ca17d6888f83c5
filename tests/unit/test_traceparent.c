/* Goal: a traceparent is taken strictly as the Recommendation has it. */
#include "http/traceparent.h"

#include <string.h>
#include "base/arena.h"
#include "unit.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
#define ZEROS "00000000000000000000000000000000"

static const struct {
    const char *text;
    bool good, sampled;
} values[] = {
    {"00-" TRACE "-" PARENT "-01", true, true},
    {"00-" TRACE "-" PARENT "-00", true, false},
    {"00-" TRACE "-" PARENT "-ff", true, true},
    {"00-" TRACE "-" PARENT "-02", true, false},
    {"01-" TRACE "-" PARENT "-01", true, true},
    {"cc-" TRACE "-" PARENT "-01-what-comes-later", true, true},
    {"cc-" TRACE "-" PARENT "-01-", true, true},
    {"cc-" TRACE "-" PARENT "-01.what", false, false},
    {"00-" TRACE "-" PARENT "-01-", false, false},
    {"00-" TRACE "-" PARENT "-01-x", false, false},
    {"ff-" TRACE "-" PARENT "-01", false, false},
    {"0-" TRACE "-" PARENT "-01", false, false},
    {"0G-" TRACE "-" PARENT "-01", false, false},
    {"00-" ZEROS "-" PARENT "-01", false, false},
    {"00-" TRACE "-0000000000000000-01", false, false},
    {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false, false},
    {"00-4bf92f3577b34da6a3ce929d0e0e473g-" PARENT "-01", false, false},
    {"00-" TRACE "-00f067aa0ba902bG-01", false, false},
    {"00-" TRACE "-" PARENT "-0g", false, false},
    {"00-" TRACE "-" PARENT "-1", false, false},
    {"00-" TRACE "-" PARENT, false, false},
    {"00_" TRACE "-" PARENT "-01", false, false},
    {"00-" TRACE "_" PARENT "-01", false, false},
    {"00-" TRACE "-" PARENT "_01", false, false},
    {"", false, false},
    {"00-" TRACE "-" PARENT "-01, 00-" TRACE "-" PARENT "-01", false, false},
};

START_TEST(values_are_judged)
{
    td_trace trace;

    ck_assert_int_eq(td_traceparent_parse(td_str_of(values[_i].text), &trace), values[_i].good);
    if (!values[_i].good)
        return;
    ck_assert(td_str_equal(trace.text, td_str_of(values[_i].text)));
    ck_assert(td_str_equal(trace.trace_id, TD_STR(TRACE)));
    ck_assert(td_str_equal(trace.parent_id, TD_STR(PARENT)));
    ck_assert_int_eq(trace.sampled, values[_i].sampled);
}
END_TEST

/* Each byte of a good one replaced by each other: nothing is read beyond it, whatever comes out. */
START_TEST(nothing_beyond_it_is_read)
{
    const td_str good = TD_STR("00-" TRACE "-" PARENT "-01");
    td_trace trace;

    for (size_t len = 0; len <= good.len; len++) {
        char *copy = malloc(len > 0 ? len : 1); /* a sanitizer knows its end */

        memcpy(copy, good.ptr, len);
        ck_assert_int_eq(td_traceparent_parse(td_str_make(copy, len), &trace), len == good.len);
        for (size_t i = 0; i < len; i++) {
            for (int byte = 0; byte < 256; byte++) {
                copy[i] = (char)byte;
                td_traceparent_parse(td_str_make(copy, len), &trace);
            }
            copy[i] = good.ptr[i];
        }
        free(copy);
    }
}
END_TEST

START_TEST(several_are_none)
{
    td_arena arena;
    td_headers headers = {.count = 0};
    td_trace trace;

    td_arena_init(&arena);
    ck_assert(!td_traceparent_find(&headers, &trace));
    td_headers_add(&headers, &arena, TD_STR("TraceParent"), TD_STR("00-" TRACE "-" PARENT "-01"));
    ck_assert(td_traceparent_find(&headers, &trace));
    td_headers_add(&headers, &arena, TD_STR("traceparent"), TD_STR("00-" TRACE "-" PARENT "-01"));
    ck_assert(!td_traceparent_find(&headers, &trace));
    td_arena_fini(&arena);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, values_are_judged, values);
    tcase_add_test(tcase, nothing_beyond_it_is_read);
    tcase_add_test(tcase, several_are_none);
}

int
main(void)
{
    return unit_run("traceparent", fill);
}
