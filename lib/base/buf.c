/*
 * The first room is what was asked for, as its size may be all there ever is; from then on growth
 * doubles, so appending is linear in all.  Consumed room at the front is used again once it is at
 * least as large as what has to be moved.
 */
#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/arena.h"
#include "base/assert.h"
#include "base/budget.h"
#include "base/put.h"

#define BUF_SIZE_MIN 256

static size_t
grown_size(size_t size, size_t needed)
{
    if (size == 0)
        return needed > BUF_SIZE_MIN ? needed : BUF_SIZE_MIN;
    while (size < needed)
        size *= 2;
    return size;
}

static void
move(td_buf *buf, size_t size)
{
    char *base = td_xmalloc(size);

    td_budget_note(TD_BUDGET_BUFFERS, size - buf->size);
    if (buf->len > 0)
        memcpy(base, buf->base + buf->start, buf->len);
    free(buf->base);
    buf->base = base;
    buf->start = 0;
    buf->size = size;
}

char *
td_buf_reserve(td_buf *buf, size_t n)
{
    TD_ASSERT(n <= PTRDIFF_MAX / 2 - buf->len);
    if (buf->size - buf->start - buf->len < n) {
        if (buf->len + n <= buf->size && buf->start >= buf->len) {
            memcpy(buf->base, buf->base + buf->start, buf->len);
            buf->start = 0;
        } else {
            move(buf, grown_size(buf->size, buf->len + n));
        }
    }
    return buf->base + buf->start + buf->len;
}

void
td_buf_append(td_buf *buf, td_str s)
{
    if (s.len == 0)
        return;
    memcpy(td_buf_reserve(buf, s.len), s.ptr, s.len);
    td_buf_added(buf, s.len);
}

void
td_buf_decimal(td_buf *buf, uint64_t number)
{
    char *at = td_buf_reserve(buf, TD_DECIMAL_MAX);

    td_buf_added(buf, (size_t)(td_put_decimal(at, number) - at));
}

void
td_buf_vprintf(td_buf *buf, const char *format, va_list args)
{
    const size_t room = buf->size - buf->start - buf->len;
    char *end = room > 0 ? buf->base + buf->start + buf->len : NULL;
    va_list again;

    va_copy(again, args);
    const int len = vsnprintf(end, room, format, args);

    TD_ASSERT(len >= 0);
    if ((size_t)len >= room)
        vsnprintf(td_buf_reserve(buf, (size_t)len + 1), (size_t)len + 1, format, again);
    va_end(again);
    td_buf_added(buf, (size_t)len);
}

void
td_buf_printf(td_buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    td_buf_vprintf(buf, format, args);
    va_end(args);
}

void
td_buf_free(td_buf *buf)
{
    if (buf->size > 0)
        td_budget_give(TD_BUDGET_BUFFERS, buf->size);
    td_note_large(buf->size);
    free(buf->base);
    *buf = (td_buf){0};
}
