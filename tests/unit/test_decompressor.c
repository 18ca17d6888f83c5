/*
 * Goal: what was gzipped comes out as it was at every split of the input, what is damaged, cut off
 * or followed by something else is refused, and a bomb goes off in small pieces.
 */
#include <string.h>
#include <tornado/error.h>
#include <zlib.h>
#include "http/decompressor.h"
#include "unit.h"

#define GZIP (16 + MAX_WBITS)

/* What `text` is in that format: window bits of deflateInit2. */
static td_str
deflated(td_str text, int window_bits)
{
    z_stream stream = {.zalloc = Z_NULL};
    char *out;

    ck_assert_int_eq(deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY), Z_OK);
    const size_t size = deflateBound(&stream, text.len);
    out = malloc(size);
    stream.next_in = (unsigned char *)(uintptr_t)text.ptr;
    stream.avail_in = (uInt)text.len;
    stream.next_out = (unsigned char *)out;
    stream.avail_out = (uInt)size;
    ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    return td_str_make(out, size - stream.avail_out);
}

static td_str
joined(td_str a, td_str b)
{
    char *out = malloc(a.len + b.len);

    memcpy(out, a.ptr, a.len);
    memcpy(out + a.len, b.ptr, b.len);
    return td_str_make(out, a.len + b.len);
}

static char out[1 << 16];
static size_t out_len;

/* Give one piece, in memory that ends where it does, as often as it takes. */
static int
give(td_decompressor *d, td_str piece)
{
    char *bytes = malloc(piece.len);
    td_str left = {bytes, piece.len}, data;
    int rc;

    memcpy(bytes, piece.ptr, piece.len);
    while ((rc = td_decompressor_next(d, &left, &data)) >= 0) {
        ck_assert_uint_le(out_len + data.len, sizeof(out));
        memcpy(out + out_len, data.ptr, data.len);
        out_len += data.len;
        if (rc == 0)
            break;
    }
    ck_assert(rc < 0 || left.len == 0);
    free(bytes);
    return rc;
}

/*
 * In pieces of `first` bytes and then `step` at a time: 0 or an error; *complete_out: may end so.
 */
static int
inflate_in_steps(td_str input, size_t first, size_t step, bool *complete_out)
{
    td_decompressor *d = td_decompressor_create();
    size_t len = first;
    int rc = 0;

    out_len = 0;
    for (size_t at = 0; at < input.len && rc == 0; at += len, len = step) {
        if (len > input.len - at)
            len = input.len - at;
        rc = give(d, td_str_make(input.ptr + at, len));
    }
    *complete_out = rc == 0 && td_decompressor_is_complete(d);
    td_decompressor_destroy(&d);
    ck_assert_ptr_null(d);
    return rc;
}

#define TEXT "Hello, hello, hello, this is what it was before, hello, hello.\n"

static const struct {
    const char *what;
    int window_bits;      /* of the text; 0: as it is */
    const char *behind;   /* it; NULL: the same once more */
    int cut, flip;        /* bytes off the end; the byte, from the end, whose bits are turned */
    int rc;
    bool is_complete;
    size_t times;         /* that the text comes out */
} inputs[] = {
    {"gzip, RFC 1952", GZIP, "", 0, 0, 0, true, 1},
    {"two members, 1952 2.2", GZIP, NULL, 0, 0, 0, true, 2},
    {"garbage behind it", GZIP, "garbage", 0, 0, TD_EBADMSG, false, 1},
    {"one byte behind it", GZIP, "\x1f", 0, 0, 0, false, 1},
    {"two bytes behind it", GZIP, "\1\1", 0, 0, TD_EBADMSG, false, 1},
    {"without its last byte", GZIP, "", 1, 0, 0, false, 1},
    {"without its trailer", GZIP, "", 8, 0, 0, false, 1},
    {"a second one without its last byte", GZIP, NULL, 1, 0, 0, false, 2},
    {"another length", GZIP, "", 0, 1, TD_EBADMSG, false, 1},
    {"another sum", GZIP, "", 0, 8, TD_EBADMSG, false, 1},
    {"zlib, RFC 1950", MAX_WBITS, "", 0, 0, TD_EBADMSG, false, 0},
    {"raw, RFC 1951", -MAX_WBITS, "", 0, 0, TD_EBADMSG, false, 0},
    {"not compressed", 0, "", 0, 0, TD_EBADMSG, false, 0},
};

static td_str
make_input(int i)
{
    td_str text = TD_STR(TEXT), input, whole;

    input = inputs[i].window_bits != 0 ? deflated(text, inputs[i].window_bits)
                                       : joined(text, TD_STR(""));
    whole = joined(input, inputs[i].behind != NULL ? td_str_of(inputs[i].behind) : input);
    free((char *)(uintptr_t)input.ptr);
    whole.len -= (size_t)inputs[i].cut;
    if (inputs[i].flip > 0)
        ((char *)(uintptr_t)whole.ptr)[whole.len - (size_t)inputs[i].flip] ^= 0x55;
    return whole;
}

static void
check_inflated(int i, td_str input, size_t first, size_t step)
{
    const td_str text = TD_STR(TEXT);
    bool is_complete;
    int rc = inflate_in_steps(input, first, step, &is_complete);

    ck_assert_msg(rc == inputs[i].rc, "%s, cut at %zu: %d", inputs[i].what, first, rc);
    ck_assert_msg(is_complete == inputs[i].is_complete, "%s, cut at %zu", inputs[i].what, first);
    ck_assert_uint_le(out_len, inputs[i].times * text.len);
    if (rc == 0)
        ck_assert_uint_eq(out_len, inputs[i].times * text.len);
    for (size_t at = 0; at < out_len; at++)
        if (out[at] != text.ptr[at % text.len])
            ck_abort_msg("%s, cut at %zu: byte %zu", inputs[i].what, first, at);
}

START_TEST(every_split_gives_the_same)
{
    const td_str input = make_input(_i);

    for (size_t split = 0; split <= input.len; split++)
        check_inflated(_i, input, split, input.len);
    check_inflated(_i, input, 1, 1);
    free((char *)(uintptr_t)input.ptr);
}
END_TEST

START_TEST(nothing_is_not_complete)
{
    bool is_complete;

    ck_assert_int_eq(inflate_in_steps(TD_STR(""), 0, 1, &is_complete), 0);
    ck_assert(!is_complete);
}
END_TEST

/* A thousandth of its size on the wire; no call gives or costs more than a piece. */
START_TEST(bomb_goes_off_in_pieces)
{
    static char zeros[1 << 24];
    const td_str bomb = deflated(td_str_make(zeros, sizeof(zeros)), GZIP);
    td_decompressor *d = td_decompressor_create();
    td_str left = bomb, data;
    size_t total = 0, calls = 0;
    int rc;

    ck_assert_uint_lt(bomb.len, sizeof(zeros) / 1000);
    while ((rc = td_decompressor_next(d, &left, &data)) > 0) {
        ck_assert_uint_le(data.len, TD_INFLATED_MAX);
        total += data.len;
        calls++;
    }
    total += data.len;
    ck_assert_int_eq(rc, 0);
    ck_assert_uint_eq(total, sizeof(zeros));
    ck_assert_uint_le(calls, sizeof(zeros) / TD_INFLATED_MAX + 1);
    ck_assert(td_decompressor_is_complete(d));
    td_decompressor_destroy(&d);
    free((char *)(uintptr_t)bomb.ptr);
}
END_TEST

/*
 * One that is used again knows nothing of what it did before; no more are kept than are worth it.
 */
START_TEST(used_ones_are_as_new)
{
    const td_str input = deflated(TD_STR(TEXT), GZIP);
    td_decompressor *all[8];
    td_str data, left;

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 8; i++) {
            all[i] = td_decompressor_create();
            ck_assert(!td_decompressor_is_complete(all[i]));
            left = td_str_make(input.ptr, i % 2 == 0 ? input.len : input.len / 2);
            ck_assert_int_eq(td_decompressor_next(all[i], &left, &data), 0);
            ck_assert_int_eq(td_decompressor_is_complete(all[i]), i % 2 == 0);
            if (i % 2 == 0)
                ck_assert(td_str_equal(data, TD_STR(TEXT)));
        }
        for (int i = 0; i < 8; i++)
            td_decompressor_destroy(&all[i]);
    }
    td_decompressor_destroy(&all[0]);
    free((char *)(uintptr_t)input.ptr);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, every_split_gives_the_same, inputs);
    tcase_add_test(tcase, nothing_is_not_complete);
    tcase_add_test(tcase, bomb_goes_off_in_pieces);
    tcase_add_test(tcase, used_ones_are_as_new);
}

int
main(void)
{
    return unit_run("decompressor", fill);
}
