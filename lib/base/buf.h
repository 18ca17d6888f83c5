/*
 * td_buf: bytes that grow at the end and are consumed from the front.  Holds no memory while empty
 * after td_buf_release; what it holds counts in the budget.  Who appends what a peer sent compares
 * with a limit first.
 */
#ifndef TORNADO_BASE_BUF_H
#define TORNADO_BASE_BUF_H

#include <stdarg.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/str.h>

typedef struct td_buf {
    char *base;   /* NULL: no memory is held */
    size_t start; /* offset of the first byte that was not consumed */
    size_t len;   /* bytes from start on */
    size_t size;  /* bytes allocated */
    /* Invariant: start + len <= size. */
} td_buf;

static inline td_str
td_buf_str(const td_buf *buf)
{
    td_str s = {buf->base != NULL ? buf->base + buf->start : NULL, buf->len};
    return s;
}

/* Room for n more bytes; returns where they go.  td_buf_added tells how many were written. */
TD_PRIVATE char *td_buf_reserve(td_buf *buf, size_t n);
static inline void
td_buf_added(td_buf *buf, size_t n)
{
    buf->len += n;
}

TD_PRIVATE void td_buf_append(td_buf *buf, td_str s);
TD_PRIVATE void td_buf_decimal(td_buf *buf, uint64_t number);
TD_PRIVATE void td_buf_printf(td_buf *buf, const char *format, ...) TD_PRINTF(2, 3);
TD_PRIVATE void td_buf_vprintf(td_buf *buf, const char *format, va_list args) TD_PRINTF(2, 0);

/* Drop n bytes from the front; n <= buf->len. */
static inline void
td_buf_consume(td_buf *buf, size_t n)
{
    buf->start += n;
    buf->len -= n;
    if (buf->len == 0)
        buf->start = 0;
}

/* Free the memory; the buffer is empty and may be used again. */
TD_PRIVATE void td_buf_free(td_buf *buf); /* of one that has some */
static inline void
td_buf_release(td_buf *buf)
{
    if (buf->base != NULL)
        td_buf_free(buf);
}

#endif
