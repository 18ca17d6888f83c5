/*
 * Bodies with Content-Encoding: gzip (RFC 1952), inflated piece by piece (Tornado's
 * GzipDecompressor).  Takes any split of its input.  How much a body may become is for the caller
 * to count: no call gives more than TD_INFLATED_MAX bytes.
 */
#ifndef TORNADO_HTTP_DECOMPRESSOR_H
#define TORNADO_HTTP_DECOMPRESSOR_H

#include <stdbool.h>
#include <tornado/abi.h>
#include <tornado/str.h>

#define TD_INFLATED_MAX (64 * 1024)

typedef struct td_decompressor td_decompressor;

/* Some 40 KiB each; a few are kept for the next body.  On the loop's thread only. */
TD_PRIVATE td_decompressor *td_decompressor_create(void);
TD_PRIVATE void td_decompressor_destroy(td_decompressor **decompressor);

/*
 * Take some of *input, which is advanced and may be empty; *data_out is what it has become, in a
 * buffer that the next call of any decompressor writes to.  Returns 1 when there may be more to
 * come without more input, 0 when there is not, and TD_EBADMSG when this is not gzip or not as its
 * sender made it; not to be called again then.
 */
TD_PRIVATE int td_decompressor_next(td_decompressor *decompressor, td_str *input,
                                    td_str *data_out);

/* The input may end here: one or more members are complete, and nothing is behind them. */
TD_PRIVATE bool td_decompressor_is_complete(const td_decompressor *decompressor);

#endif
