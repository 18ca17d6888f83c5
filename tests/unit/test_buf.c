/* Goal: a buffer keeps its bytes and their order, however they are added and consumed. */
#include "base/buf.h"

#include <stdio.h>
#include "unit.h"

static void
assert_holds(const td_buf *buf, const char *text)
{
    ck_assert_uint_eq(buf->len, strlen(text));
    ck_assert(buf->len == 0 || memcmp(td_buf_str(buf).ptr, text, buf->len) == 0);
    ck_assert_uint_le(buf->start + buf->len, buf->size);
}

START_TEST(an_empty_buffer_holds_no_memory)
{
    td_buf buf = {0};

    td_buf_append(&buf, TD_STR(""));
    td_buf_append(&buf, td_str_of(NULL));
    ck_assert_ptr_null(buf.base);
    td_buf_release(&buf);
}
END_TEST

START_TEST(what_is_appended_follows_what_is_there)
{
    td_buf buf = {0};

    td_buf_append(&buf, TD_STR("one "));
    td_buf_printf(&buf, "%d %s", 2, "three");
    assert_holds(&buf, "one 2 three");
    td_buf_consume(&buf, 4);
    assert_holds(&buf, "2 three");
    td_buf_consume(&buf, 7);
    assert_holds(&buf, "");
    ck_assert_uint_eq(buf.start, 0);
    td_buf_release(&buf);
    ck_assert_ptr_null(buf.base);
    ck_assert_uint_eq(buf.size, 0);
}
END_TEST

static const size_t lengths[] = {1, 100, 255, 256, 257, 5000};

START_TEST(printf_takes_any_length_at_any_fill)
{
    for (size_t fill = 0; fill < 300; fill += 23) {
        td_buf buf = {0};

        td_buf_printf(&buf, "%*s", (int)fill, "");
        td_buf_printf(&buf, "%0*d", (int)lengths[_i], 7);
        ck_assert_uint_eq(buf.len, fill + lengths[_i]);
        ck_assert_int_eq(td_buf_str(&buf).ptr[buf.len - 1], '7');
        td_buf_release(&buf);
    }
}
END_TEST

/* A queue of numbers: each that goes in comes out, in order, and memory stays bounded. */
START_TEST(a_stream_through_a_buffer_needs_bounded_memory)
{
    td_buf buf = {0};
    unsigned char in = 0, out = 0;

    for (int round = 0; round < 10000; round++) {
        const size_t added = (size_t)(round * 7 % 97), taken = (size_t)(round * 5 % 101);
        char *end = td_buf_reserve(&buf, added);

        for (size_t i = 0; i < added; i++)
            end[i] = (char)in++;
        td_buf_added(&buf, added);
        for (size_t i = 0; i < taken && buf.len > 0; i++) {
            ck_assert_int_eq((unsigned char)*td_buf_str(&buf).ptr, out++);
            td_buf_consume(&buf, 1);
        }
    }
    ck_assert_uint_le(buf.size, 4096);
    td_buf_release(&buf);
}
END_TEST

START_TEST(room_at_the_front_is_used_again)
{
    td_buf buf = {0};

    td_buf_reserve(&buf, 256);
    td_buf_added(&buf, 256);
    td_buf_consume(&buf, 200);

    const char *base = buf.base;

    td_buf_reserve(&buf, 100);
    ck_assert_ptr_eq(buf.base, base);
    ck_assert_uint_eq(buf.start, 0);
    ck_assert_uint_eq(buf.len, 56);
    td_buf_release(&buf);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_test(tcase, an_empty_buffer_holds_no_memory);
    tcase_add_test(tcase, what_is_appended_follows_what_is_there);
    ADD_TABLE(tcase, printf_takes_any_length_at_any_fill, lengths);
    tcase_add_test(tcase, a_stream_through_a_buffer_needs_bounded_memory);
    tcase_add_test(tcase, room_at_the_front_is_used_again);
}

int
main(void)
{
    return unit_run("buf", fill);
}
