/*
 * Writing JSON of any shape and size, piece by piece; for one flat object td_write_json is enough.
 *
 *     td_json_writer w = td_json_begin(h);
 *
 *     td_json_open_object(&w, NULL);
 *     td_json_write(&w, TD_JSON("page", 3), TD_JSON("title", title));
 *     td_json_open_array(&w, "rows");
 *     while (next_row(rows)) {
 *         td_json_open_object(&w, NULL);
 *         td_json_write(&w, TD_JSON("id", rows->id), TD_JSON("name", rows->name));
 *         td_json_close(&w);
 *         td_flush(h); // now and then: any number of rows takes no more memory than one
 *     }
 *     td_json_end(&w);
 *
 * Values are written as td_write_json does.  What comes out is well-formed whatever is called: what
 * fits nowhere (a key in an array, none in an object, a second value at the top, an object deeper
 * than TD_JSON_WRITER_DEPTH) is misuse, logged, and left out with all that is in it, and
 * td_json_end closes what is open.  All return 0, TD_EINVAL or TD_ECLOSED, and raise what td_write
 * raises.
 */
#ifndef TORNADO_JSON_WRITER_H
#define TORNADO_JSON_WRITER_H

#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/handler.h>

#define TD_JSON_WRITER_DEPTH 64 /* objects and arrays in one another */

typedef struct td_json_writer { /* ours: only to be passed on */
    td_handler *handler;
    uint64_t arrays; /* bit n: what is open at depth n + 1 is an array */
    uint32_t depth, left_out;
    int32_t rc;
    uint32_t filled; /* there is something before the next value */
} td_json_writer;

/* Sets Content-Type: application/json; charset=UTF-8 if the headers were not sent. */
TD_API td_json_writer td_json_begin(td_handler *h);

/* key: NULL in an array and at the top.  Each wants a td_json_close. */
TD_API int td_json_open_object(td_json_writer *w, const char *key);
TD_API int td_json_open_array(td_json_writer *w, const char *key);
TD_API int td_json_close(td_json_writer *w);

/*
 * Members of an object: td_json_write(&w, TD_JSON("a", 1), ...); of an array: TD_JSON_ITEM(1), ...
 */
TD_API int td_json_write_pairs(td_json_writer *w, const td_json_pair *pairs, size_t count);

/* Close what is open.  The first error that there was. */
TD_API int td_json_end(td_json_writer *w);

#define TD_JSON_ITEM(value) TD_JSON(NULL, value)

#ifndef __cplusplus
#define td_json_write(w, ...)                                                                      \
    td_json_write_pairs(w, (const td_json_pair[]){__VA_ARGS__},                                    \
                        sizeof((td_json_pair[]){__VA_ARGS__}) / sizeof(td_json_pair))
#else
extern "C++" {
template <class... Pairs> inline int td_json_write(td_json_writer *w, const Pairs &...pairs)
{
    const td_json_pair all[] = {pairs...};

    return td_json_write_pairs(w, all, sizeof...(pairs));
}
}
#endif

#endif
