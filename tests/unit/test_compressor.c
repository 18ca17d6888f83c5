/*
 * Goal: what td_compress and td_compressor make is what zlib, brotli and zstd themselves decode, at
 * every level, whole or in pieces, on compressors that were used before; a flush lets all out, and
 * what was not ended is seen to be cut.
 */
#include <brotli/decode.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include "http/compressor.h"
#include "base/arena.h"
#include "unit.h"

#define TEXT_SIZE 300000

static char text[TEXT_SIZE], decoded[TEXT_SIZE + 1];

static void
set_up(void)
{
    uint32_t random = 1;

    static const char *const words[] = {"the ", "time ", "of ", "<p>", "and\n", "a ", "coroutine ",
                                        "waits ", "for ", "its ", "client", "s ", ", ", "123", "7"};

    for (size_t len = 0; len < TEXT_SIZE;) {
        random = random * 1664525 + 1013904223;
        for (const char *p = words[(random >> 20) % COUNT_OF(words)]; *p != 0 && len < TEXT_SIZE;)
            text[len++] = *p++;
    }
}

/* ---- decoding: how many bytes come out; *ended_out: the end was marked as such */

static size_t
decode_gzip(td_str in, bool *ended_out)
{
    z_stream z = {0};
    int result;
    size_t size;

    ck_assert_int_eq(inflateInit2(&z, 31), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)in.ptr;
    z.avail_in = (uInt)in.len;
    z.next_out = (Bytef *)decoded;
    z.avail_out = sizeof(decoded);
    result = inflate(&z, Z_SYNC_FLUSH);
    size = z.total_out;
    ck_assert(result == Z_OK || result == Z_STREAM_END);
    ck_assert_uint_eq(z.avail_in, 0);
    inflateEnd(&z);
    *ended_out = result == Z_STREAM_END;
    return size;
}

static size_t
decode_zstd(td_str in, bool *ended_out)
{
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    ZSTD_inBuffer input = {in.ptr, in.len, 0};
    ZSTD_outBuffer output = {decoded, sizeof(decoded), 0};
    const size_t left = ZSTD_decompressStream(zstd, &output, &input);

    ck_assert(!ZSTD_isError(left));
    ck_assert_uint_eq(input.pos, input.size);
    ZSTD_freeDCtx(zstd);
    *ended_out = left == 0;
    return output.pos;
}

static size_t
decode_brotli(td_str in, bool *ended_out)
{
    size_t size = sizeof(decoded);

    *ended_out = BrotliDecoderDecompress(in.len, (const uint8_t *)in.ptr, &size,
                                         (uint8_t *)decoded) == BROTLI_DECODER_RESULT_SUCCESS;
    return size;
}

static size_t
decode(td_coding coding, td_str in, bool *ended_out)
{
    return coding == TD_CODING_GZIP   ? decode_gzip(in, ended_out)
           : coding == TD_CODING_ZSTD ? decode_zstd(in, ended_out)
                                      : decode_brotli(in, ended_out);
}

static void
check(td_coding coding, const td_buf *out, size_t len, bool ends)
{
    bool ended;

    ck_assert_uint_eq(decode(coding, td_buf_str(out), &ended), len);
    ck_assert_int_eq(memcmp(decoded, text, len), 0);
    ck_assert_int_eq(ended, ends);
}

/* ---- whole bodies */

static const size_t sizes[] = {1, 2, 100, 2048, 16383, 16384, 16385, 65536, TEXT_SIZE};

START_TEST(whole_bodies_come_back)
{
    for (int coding = 0; coding < TD_CODING_IDENTITY; coding++)
        for (int level = 1; level <= 9; level++) {
            td_buf out = {0};

            td_buf_append(&out, TD_STR("in front"));
            td_compress((td_coding)coding, level, td_str_make(text, sizes[_i]), &out);
            td_buf_consume(&out, 8);
            check((td_coding)coding, &out, sizes[_i], true);
            td_buf_release(&out);
        }
}
END_TEST

START_TEST(a_higher_level_is_smaller)
{
    for (int coding = 0; coding < TD_CODING_IDENTITY; coding++) {
        td_buf fast = {0}, small = {0};

        td_compress((td_coding)coding, 9, td_str_make(text, 65536), &small);
        td_compress((td_coding)coding, 1, td_str_make(text, 65536), &fast);
        ck_assert_uint_lt(small.len, fast.len);
        td_buf_release(&fast);
        td_buf_release(&small);
    }
}
END_TEST

/* ---- streams */

static const td_coding stream_codings[] = {TD_CODING_GZIP, TD_CODING_ZSTD};

static void
run(td_compressor *stream, size_t from, size_t to, td_compress_mode mode, td_buf *out)
{
    td_compressor_run(stream, td_str_make(text + from, to - from), mode, out);
}

START_TEST(a_flush_lets_everything_out)
{
    static const size_t ends[] = {1, 2, 1000, 1001, 40000, 200000, TEXT_SIZE};
    td_compressor *stream = td_compressor_open(stream_codings[_i], 6);
    td_buf out = {0};
    size_t from = 0, before;

    for (size_t i = 0; i < COUNT_OF(ends); from = ends[i++]) {
        run(stream, from, ends[i], TD_COMPRESS_FLUSH, &out);
        check(stream_codings[_i], &out, ends[i], false);
    }
    before = out.len;
    run(stream, TEXT_SIZE, TEXT_SIZE, TD_COMPRESS_FLUSH, &out);
    ck_assert_uint_eq(out.len, before);
    run(stream, TEXT_SIZE, TEXT_SIZE, TD_COMPRESS_END, &out);
    check(stream_codings[_i], &out, TEXT_SIZE, true);
    td_compressor_close(&stream);
    ck_assert_ptr_null(stream);
    td_compressor_close(&stream);
    td_buf_release(&out);
}
END_TEST

START_TEST(what_need_not_leave_is_there_in_the_end)
{
    td_compressor *stream = td_compressor_open(stream_codings[_i], 9);
    td_buf out = {0};

    for (size_t i = 0; i < TEXT_SIZE; i += 30000)
        run(stream, i, i + 30000, TD_COMPRESS_MORE, &out);
    run(stream, TEXT_SIZE, TEXT_SIZE, TD_COMPRESS_END, &out);
    check(stream_codings[_i], &out, TEXT_SIZE, true);
    td_compressor_close(&stream);
    td_buf_release(&out);
}
END_TEST

/* One that was left in the middle of something else must not show. */
START_TEST(a_used_compressor_is_as_good_as_new)
{
    for (int i = 0; i < 20; i++) {
        td_compressor *stream = td_compressor_open(stream_codings[_i], 1 + i % 9);
        td_buf out = {0};

        run(stream, 5000, 90000, TD_COMPRESS_MORE, &out);
        td_compressor_close(&stream);
        td_buf_consume(&out, out.len);
        td_compress(stream_codings[_i], 1 + i % 9, td_str_make(text, 3000), &out);
        check(stream_codings[_i], &out, 3000, true);
        td_buf_release(&out);
    }
}
END_TEST

START_TEST(streams_are_bounded)
{
    td_compressor *streams[3], *more;
    td_buf out = {0};

    td_compressor_configure(3);
    for (int i = 0; i < 3; i++)
        ck_assert_ptr_nonnull(streams[i] = td_compressor_open(TD_CODING_GZIP, 6));
    ck_assert_ptr_null(td_compressor_open(TD_CODING_ZSTD, 6));
    td_compress(TD_CODING_GZIP, 6, td_str_make(text, 100), &out); /* whole bodies need not wait */
    check(TD_CODING_GZIP, &out, 100, true);
    td_compressor_close(&streams[1]);
    ck_assert_ptr_nonnull(more = td_compressor_open(TD_CODING_ZSTD, 6));
    td_compressor_close(&more);
    td_compressor_close(&streams[0]);
    td_compressor_close(&streams[2]);
    td_buf_release(&out);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, NULL);
    ADD_TABLE(tcase, whole_bodies_come_back, sizes);
    tcase_add_test(tcase, a_higher_level_is_smaller);
    ADD_TABLE(tcase, a_flush_lets_everything_out, stream_codings);
    ADD_TABLE(tcase, what_need_not_leave_is_there_in_the_end, stream_codings);
    ADD_TABLE(tcase, a_used_compressor_is_as_good_as_new, stream_codings);
    tcase_add_test(tcase, streams_are_bounded);
}

int
main(void)
{
    return unit_run("compressor", fill);
}
