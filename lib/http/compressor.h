/*
 * Making bodies smaller: a whole one at once, or a stream piece by piece.
 *
 * What zlib and zstd need is kept for the next response: setting it up anew costs as much as a
 * small body.  Brotli has no way to use its memory again, and its streams need 0.7 to 1.7 MB each,
 * so it is for whole bodies only; a stream of gzip takes 200 KiB, one of zstd 345 KiB.
 *
 * A level is 1..9 in all codings: as zlib's, and the others take about as long for it at most.
 */
#ifndef TORNADO_HTTP_COMPRESSOR_H
#define TORNADO_HTTP_COMPRESSOR_H

#include <stddef.h>
#include <tornado/abi.h>
#include <tornado/str.h>
#include "base/buf.h"
#include "http/accept.h"

/* The codings of streams: TD_CODING_BITs. */
#define TD_COMPRESS_STREAM_CODINGS (TD_CODING_BIT(TD_CODING_ZSTD) | TD_CODING_BIT(TD_CODING_GZIP))

/* Append the whole of `in` to out, in any coding but identity. */
TD_PRIVATE void td_compress(td_coding coding, int level, td_str in, td_buf *out);

typedef struct td_compressor td_compressor; /* one stream */

typedef enum td_compress_mode {
    TD_COMPRESS_MORE,  /* it may stay inside */
    TD_COMPRESS_FLUSH, /* all of it can be decoded when out has come */
    TD_COMPRESS_END,   /* that was the last; without it the other side sees that some is missing */
} td_compress_mode;

/* How many streams this worker may have open at once; 128 until this is called. */
TD_PRIVATE void td_compressor_configure(size_t streams_max);

/*
 * coding: one of TD_COMPRESS_STREAM_CODINGS.  NULL: streams_max are open, or the budget has no
 * room.
 */
TD_PRIVATE td_compressor *td_compressor_open(td_coding coding, int level);
TD_PRIVATE const char *td_compressor_refusal(void); /* why the last one was NULL; names the setting */
TD_PRIVATE void td_compressor_close(td_compressor **stream); /* NULL and a stream not ended, too */

/* Append what `in` becomes to out; a flush of nothing gives nothing. */
TD_PRIVATE void td_compressor_run(td_compressor *stream, td_str in, td_compress_mode mode,
                                  td_buf *out);

#endif
