/*
 * Compressors that nobody uses lie in a list for each coding, the last used on top, so that one
 * does for all whole bodies of a worker.
 */
#include "http/compressor.h"

#include <brotli/encode.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include "base/arena.h"
#include "base/assert.h"
#include "base/budget.h"

#define IDLE_MAX 4        /* of each coding that are kept */
#define STREAM_ROOM 16384 /* bytes of room that a stream is given at a time */
#define STREAM_MEMORY ((size_t)350 * 1024) /* that it takes, at most */

/*
 * Memory: 2^(window + 2) + 2^(memory + 9) bytes; the same answers with half of what zlib takes by
 * itself for its tables.  31 is a window of 32 KiB with the frame of gzip.
 */
#define GZIP_WINDOW 31
#define GZIP_MEMORY 7

/*
 * A window as large as gzip's; the tables that zstd would take for it by itself are ten times
 * larger.
 */
#define ZSTD_WINDOW 15
#define ZSTD_TABLES 14

#define BROTLI_WINDOW_MAX 18

struct td_compressor {
    td_compressor *next; /* of those that are idle */
    td_coding coding;
    int level;
    union {
        z_stream gzip;
        ZSTD_CCtx *zstd;
    };
};

static struct {
    td_compressor *first;
    size_t count;
} idle[TD_CODINGS_COUNT];

static size_t streams_max = 128, streams_count;
static const char *refusal;

/* ---- compressors */

static td_compressor *
create(td_coding coding, int level)
{
    td_compressor *compressor = td_xcalloc(1, sizeof(*compressor));

    compressor->coding = coding;
    compressor->level = level;
    if (coding == TD_CODING_GZIP) {
        const int rc = deflateInit2(&compressor->gzip, level, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
                                    Z_DEFAULT_STRATEGY);

        TD_ASSERT(rc == Z_OK); /* else memory is gone */
        return compressor;
    }
    compressor->zstd = ZSTD_createCCtx();
    TD_ASSERT(compressor->zstd != NULL);
    ZSTD_CCtx_setParameter(compressor->zstd, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(compressor->zstd, ZSTD_c_windowLog, ZSTD_WINDOW);
    ZSTD_CCtx_setParameter(compressor->zstd, ZSTD_c_hashLog, ZSTD_TABLES);
    ZSTD_CCtx_setParameter(compressor->zstd, ZSTD_c_chainLog, ZSTD_TABLES);
    return compressor;
}

static void
destroy(td_compressor *compressor)
{
    if (compressor->coding == TD_CODING_GZIP)
        deflateEnd(&compressor->gzip);
    else
        ZSTD_freeCCtx(compressor->zstd);
    free(compressor);
}

static void
set_level(td_compressor *compressor, int level)
{
    if (compressor->level == level)
        return;
    compressor->level = level;
    if (compressor->coding == TD_CODING_GZIP)
        deflateParams(&compressor->gzip, level, Z_DEFAULT_STRATEGY);
    else
        ZSTD_CCtx_setParameter(compressor->zstd, ZSTD_c_compressionLevel, level);
}

/* One that has compressed nothing yet. */
static td_compressor *
take(td_coding coding, int level)
{
    td_compressor *compressor = idle[coding].first;

    if (compressor == NULL)
        return create(coding, level);
    idle[coding].first = compressor->next;
    idle[coding].count--;
    set_level(compressor, level);
    return compressor;
}

static void
give_back(td_compressor *compressor)
{
    const td_coding coding = compressor->coding;

    if (idle[coding].count == IDLE_MAX) {
        destroy(compressor);
        return;
    }
    if (coding == TD_CODING_GZIP)
        deflateReset(&compressor->gzip);
    else
        ZSTD_CCtx_reset(compressor->zstd, ZSTD_reset_session_only);
    compressor->next = idle[coding].first;
    idle[coding].first = compressor;
    idle[coding].count++;
}

/* ---- running them */

/* zlib counts in unsigned int, so what is larger goes in pieces. */
static void
run_gzip(z_stream *z, td_str in, int last, td_buf *out, size_t room)
{
    int rc;

    do {
        const size_t piece = in.len < INT_MAX ? in.len : INT_MAX;
        const int mode = piece == in.len ? last : Z_NO_FLUSH;

        z->next_in = (Bytef *)(uintptr_t)in.ptr;
        z->avail_in = (uInt)piece;
        do {
            z->next_out = (Bytef *)td_buf_reserve(out, room);
            z->avail_out = (uInt)room;
            rc = deflate(z, mode);
            TD_ASSERT(rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR);
            td_buf_added(out, room - z->avail_out);
        } while (z->avail_out == 0 && rc != Z_STREAM_END);
        in = td_str_make(in.ptr + piece, in.len - piece);
    } while (in.len > 0);
}

static void
run_zstd(ZSTD_CCtx *zstd, td_str in, ZSTD_EndDirective mode, td_buf *out, size_t room)
{
    ZSTD_inBuffer input = {in.ptr, in.len, 0};
    size_t left;

    do {
        ZSTD_outBuffer output = {td_buf_reserve(out, room), room, 0};

        left = ZSTD_compressStream2(zstd, &output, &input, mode);
        TD_ASSERT(!ZSTD_isError(left));
        td_buf_added(out, output.pos);
    } while (mode == ZSTD_e_continue ? input.pos < input.size : left > 0);
}

static void
compress_brotli(int level, td_str in, td_buf *out)
{
    size_t size = BrotliEncoderMaxCompressedSize(in.len);
    int window = BROTLI_MIN_WINDOW_BITS;

    while (window < BROTLI_WINDOW_MAX && ((size_t)1 << window) - 16 < in.len)
        window++;
    char *at = td_buf_reserve(out, size);

    const bool is_done =
        BrotliEncoderCompress(level > 1 ? level - 1 : 1, window, BROTLI_MODE_GENERIC, in.len,
                              (const uint8_t *)in.ptr, &size, (uint8_t *)at) == BROTLI_TRUE;
    TD_ASSERT(is_done); /* else memory is gone */
    td_buf_added(out, size);
}

void
td_compress(td_coding coding, int level, td_str in, td_buf *out)
{
    td_compressor *compressor;

    if (coding == TD_CODING_BR) {
        compress_brotli(level, in, out);
        return;
    }
    compressor = take(coding, level);
    if (coding == TD_CODING_GZIP) {
        const size_t bound = deflateBound(&compressor->gzip, in.len);

        run_gzip(&compressor->gzip, in, Z_FINISH, out, bound < INT_MAX ? bound : INT_MAX);
    } else {
        ZSTD_CCtx_setPledgedSrcSize(compressor->zstd, in.len);
        run_zstd(compressor->zstd, in, ZSTD_e_end, out, ZSTD_compressBound(in.len));
    }
    give_back(compressor);
}

/* ---- streams */

void
td_compressor_configure(size_t max)
{
    streams_max = max;
}

td_compressor *
td_compressor_open(td_coding coding, int level)
{
    if (streams_count >= streams_max) {
        refusal = "max_compressors are in use";
        return NULL;
    }
    if (!td_budget_take(TD_BUDGET_COMPRESSORS, STREAM_MEMORY)) {
        td_budget_refused(TD_BUDGET_COMPRESSORS, NULL);
        refusal = td_budget_text();
        return NULL;
    }
    streams_count++;
    return take(coding, level);
}

const char *
td_compressor_refusal(void)
{
    return refusal;
}

void
td_compressor_close(td_compressor **stream)
{
    if (*stream == NULL)
        return;
    streams_count--;
    td_budget_give(TD_BUDGET_COMPRESSORS, STREAM_MEMORY);
    give_back(*stream);
    *stream = NULL;
}

void
td_compressor_run(td_compressor *stream, td_str in, td_compress_mode mode, td_buf *out)
{
    static const int gzip_modes[] = {Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH};
    static const ZSTD_EndDirective zstd_modes[] = {ZSTD_e_continue, ZSTD_e_flush, ZSTD_e_end};

    if (in.len == 0 && mode != TD_COMPRESS_END)
        return;
    if (stream->coding == TD_CODING_GZIP)
        run_gzip(&stream->gzip, in, gzip_modes[mode], out, STREAM_ROOM);
    else
        run_zstd(stream->zstd, in, zstd_modes[mode], out, STREAM_ROOM);
}
