/*
 * The boundary is random: who has written the file cannot have put it there.  Who reads the body
 * need not look for it, as each part says how long it is.
 */
#include "web/byteranges.h"

#include <inttypes.h>
#include <sys/random.h>
#include "base/assert.h"
#include "base/put.h"

#define BOUNDARY_BYTES 16

static td_str
make_boundary(td_arena *arena)
{
    unsigned char random[BOUNDARY_BYTES];
    char *text = td_arena_alloc_raw(arena, 2 * BOUNDARY_BYTES);

    TD_ASSERT(getrandom(random, sizeof(random), 0) == sizeof(random));
    td_put_hex(text, td_str_make((const char *)random, sizeof(random)));
    return td_str_make(text, 2 * BOUNDARY_BYTES);
}

static td_piece
piece_of(const td_cached_file *file, td_byte_range range)
{
    if (file->file != NULL)
        return (td_piece){.file = file->file, .offset = range.first, .length = range.length};
    return (td_piece){.bytes = {file->bytes + range.first, range.length}};
}

td_byteranges
td_byteranges_make(td_arena *arena, const td_byte_ranges *ranges, const td_cached_file *file,
                   td_str content_type)
{
    const td_str boundary = make_boundary(arena);
    td_byteranges body = {.pieces = TD_ARENA_ARRAY(arena, td_piece, 2 * ranges->count + 1)};

    for (size_t i = 0; i < ranges->count; i++) {
        const td_byte_range range = ranges->items[i];

        body.pieces[body.count++].bytes =
            td_arena_sprintf(arena,
                             "%s--%.*s\r\nContent-Type: %.*s\r\nContent-Range: bytes %" PRIu64
                             "-%" PRIu64 "/%" PRIu64 "\r\n\r\n",
                             i > 0 ? "\r\n" : "", TD_STR_FMT(boundary), TD_STR_FMT(content_type),
                             range.first, range.first + range.length - 1, file->size);
        body.pieces[body.count++] = piece_of(file, range);
    }
    body.pieces[body.count++].bytes =
        td_arena_sprintf(arena, "\r\n--%.*s--\r\n", TD_STR_FMT(boundary));
    body.content_type =
        td_arena_sprintf(arena, "multipart/byteranges; boundary=%.*s", TD_STR_FMT(boundary));
    return body;
}
