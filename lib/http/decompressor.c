/*
 * zlib, which checks each member's length and CRC.  A gzip file is a series of members (RFC 1952
 * section 2.2), so another may follow the end of one; anything else that follows is an error, for
 * what is behind the data that was checked is nobody's.
 */
#include <stdlib.h>
#include <tornado/error.h>
#include <zlib.h>
#include "base/arena.h"
#include "base/assert.h"
#include "http/decompressor.h"

#define GZIP_ALONE (16 + MAX_WBITS) /* no zlib format, no raw deflate */
#define IDLE_MAX 4                  /* decompressors kept; they hold their window */

struct td_decompressor {
    z_stream stream;
    td_decompressor *next_idle;
    bool between; /* a member has ended, and no byte of another has come */
};

static td_decompressor *idle;
static unsigned idle_count;
static unsigned char output[TD_INFLATED_MAX];

static void *
allocate(void *arg, uInt count, uInt size)
{
    (void)arg;
    return td_xcalloc(count, size);
}

static void
release(void *arg, void *memory)
{
    (void)arg;
    free(memory);
}

td_decompressor *
td_decompressor_create(void)
{
    td_decompressor *d = idle;

    if (d != NULL) {
        idle = d->next_idle;
        idle_count--;
        TD_ASSERT(inflateReset(&d->stream) == Z_OK);
        d->between = false;
        return d;
    }
    d = td_xcalloc(1, sizeof(*d));
    d->stream.zalloc = allocate;
    d->stream.zfree = release;
    TD_ASSERT(inflateInit2(&d->stream, GZIP_ALONE) == Z_OK);
    return d;
}

void
td_decompressor_destroy(td_decompressor **decompressor)
{
    td_decompressor *d = *decompressor;

    *decompressor = NULL;
    if (d == NULL)
        return;
    if (idle_count < IDLE_MAX) {
        d->next_idle = idle;
        idle = d;
        idle_count++;
        return;
    }
    inflateEnd(&d->stream);
    free(d);
}

int
td_decompressor_next(td_decompressor *d, td_str *input, td_str *data_out)
{
    z_stream *stream = &d->stream;
    size_t taken;
    int rc;

    if (d->between && input->len > 0) {
        TD_ASSERT(inflateReset(stream) == Z_OK);
        d->between = false;
    }
    stream->next_in = (unsigned char *)(uintptr_t)input->ptr;
    stream->avail_in = input->len < UINT32_MAX ? (uInt)input->len : UINT32_MAX;
    stream->next_out = output;
    stream->avail_out = sizeof(output);
    taken = stream->avail_in;
    rc = inflate(stream, Z_NO_FLUSH);
    taken -= stream->avail_in;
    *input = td_str_make(input->ptr + taken, input->len - taken);
    *data_out = td_str_make((const char *)output, sizeof(output) - stream->avail_out);
    if (rc == Z_STREAM_END)
        d->between = true;
    else if (rc != Z_OK && rc != Z_BUF_ERROR) /* the latter: there was nothing to do */
        return TD_EBADMSG;
    return input->len > 0 || stream->avail_out == 0;
}

bool
td_decompressor_is_complete(const td_decompressor *d)
{
    return d->between;
}
