/* multipart/byteranges: several pieces of one file in one body (RFC 9110 section 14.6). */
#ifndef TORNADO_WEB_BYTERANGES_H
#define TORNADO_WEB_BYTERANGES_H

#include "web/conditional.h"
#include "web/filecache.h"
#include "web/handler.h"

typedef struct td_byteranges {
    td_str content_type; /* of the whole */
    td_piece *pieces;
    size_t count;
} td_byteranges;

/*
 * The body that has these ranges (two or more) of a file of that Content-Type.  All is in the
 * arena; the file is borrowed.
 */
TD_PRIVATE td_byteranges td_byteranges_make(td_arena *arena, const td_byte_ranges *ranges,
                                            const td_cached_file *file, td_str content_type);

#endif
