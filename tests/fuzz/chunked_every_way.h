/*
 * Goal: a chunked body means the same however its bytes are cut.
 *
 * Decodes the bytes whole, cut in two and byte by byte, each time in memory that ends where the
 * bytes do, and aborts when two ways differ in anything: the data, where it ends, or the error.
 */
#ifndef TORNADO_TESTS_CHUNKED_EVERY_WAY_H
#define TORNADO_TESTS_CHUNKED_EVERY_WAY_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/escape.h"
#include "http/chunked.h"

/* What one way of decoding gave. */
typedef struct decoded {
    int rc;       /* 0, or what td_chunked_decode returned below 0 */
    bool end;     /* the body is complete */
    size_t taken; /* when there was no error */
    td_chunked decoder;
    char *data; /* room for as many bytes as the input has */
    size_t data_len;
} decoded;

static td_str
decoded_data(const decoded *d)
{
    return td_str_make(d->data, d->data_len);
}

static void
decoded_fini(decoded *d)
{
    free(d->data);
}

static td_str decoding_now; /* for the message */

#define MUST_DECODE(condition) ((condition) ? (void)0 : must_decode_failed(__LINE__, #condition))

static TD_NORETURN void
must_decode_failed(int line, const char *condition)
{
    char text[4096];
    const size_t len = td_log_escape_into(text, sizeof text, decoding_now);

    fprintf(stderr, "%s:%d: not so: %s\nof: %.*s\n", __FILE__, line, condition, (int)len, text);
    abort();
}

/* Give the decoder one piece of the input, as often as it wants to be called. */
static void
decode_piece(decoded *d, td_str piece, const td_chunked_limits *limits)
{
    char *bytes = malloc(piece.len);

    memcpy(bytes, piece.ptr, piece.len);
    for (size_t at = 0; at < piece.len && !d->end && d->rc == 0;) {
        td_str data;
        const ssize_t n = td_chunked_decode(&d->decoder, limits, bytes + at, piece.len - at, &data,
                                            &d->end);

        if (n < 0) {
            d->rc = (int)n;
            break;
        }
        MUST_DECODE(n > 0 && (size_t)n <= piece.len - at);
        MUST_DECODE(data.len == 0 || (data.ptr >= bytes + at &&
                                      data.ptr + data.len <= bytes + at + n));
        memcpy(d->data + d->data_len, data.ptr, data.len);
        d->data_len += data.len;
        at += (size_t)n;
        d->taken += (size_t)n;
    }
    free(bytes);
}

/* Pieces of `first` bytes and then of `step` bytes. */
static decoded
decode_in_steps(td_str input, const td_chunked_limits *limits, size_t first, size_t step)
{
    decoded d = {.data = malloc(input.len + 1)};
    size_t len = first;

    decoding_now = input;
    for (size_t at = 0; at < input.len && !d.end && d.rc == 0; at += len, len = step) {
        if (len > input.len - at)
            len = input.len - at;
        if (len > 0)
            decode_piece(&d, td_str_make(input.ptr + at, len), limits);
    }
    return d;
}

static void
compare_decoding(const decoded *whole, td_str input, const td_chunked_limits *limits, size_t first,
                 size_t step)
{
    decoded other = decode_in_steps(input, limits, first, step);

    MUST_DECODE(other.rc == whole->rc && other.end == whole->end);
    MUST_DECODE(td_str_equal(decoded_data(&other), decoded_data(whole)));
    MUST_DECODE(other.rc < 0 || other.taken == whole->taken);
    MUST_DECODE(other.rc == 0 || (other.decoder.status == whole->decoder.status &&
                                  strcmp(other.decoder.what, whole->decoder.what) == 0));
    decoded_fini(&other);
}

/* Returns what all ways gave; to be given to decoded_fini. */
static decoded
decode_every_way(td_str input, const td_chunked_limits *limits)
{
    decoded whole = decode_in_steps(input, limits, input.len, 1);

    compare_decoding(&whole, input, limits, 0, 1);
    for (size_t split = 1; split < input.len; split++)
        compare_decoding(&whole, input, limits, split, input.len);
    return whole;
}

#endif
