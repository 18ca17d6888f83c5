/*
 * JSON of any shape onto a buffer, as Python's json.dumps writes it: ", " between members, ": "
 * behind a key, numbers as repr shows them.  All JSON that we write comes from here.
 *
 *     td_jsontext text = {&buf};
 *
 *     td_jsontext_open_object(&text, NULL);
 *     td_jsontext_string(&text, "name", name);
 *     td_jsontext_open_array(&text, "rows");
 *     td_jsontext_number(&text, NULL, 3);
 *     td_jsontext_close(&text);
 *     td_jsontext_close(&text);
 *
 * Nesting is the caller's business: a key in an object and none elsewhere, and no deeper than
 * TD_JSONTEXT_DEPTH.  What is written may be taken out of the buffer at any time.
 */
#ifndef TORNADO_BASE_JSONTEXT_H
#define TORNADO_BASE_JSONTEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/str.h>
#include "base/buf.h"

#define TD_JSONTEXT_DEPTH 64 /* objects and arrays in one another */

typedef struct td_jsontext {
    td_buf *to;
    uint64_t arrays; /* bit n: what is open at depth n + 1 is an array */
    uint32_t depth;
    bool is_filled; /* there is something before the next value */
} td_jsontext;

/* key: NULL in an array and at the top.  Each wants a td_jsontext_close. */
TD_PRIVATE void td_jsontext_open_object(td_jsontext *text, const char *key);
TD_PRIVATE void td_jsontext_open_array(td_jsontext *text, const char *key);
TD_PRIVATE void td_jsontext_close(td_jsontext *text);
TD_PRIVATE bool td_jsontext_is_in_array(const td_jsontext *text);

/* value: NULL and what is not finite are null. */
TD_PRIVATE void td_jsontext_string(td_jsontext *text, const char *key, const char *value);
TD_PRIVATE void td_jsontext_str(td_jsontext *text, const char *key, td_str value);
TD_PRIVATE void td_jsontext_number(td_jsontext *text, const char *key, uint64_t value);
TD_PRIVATE void td_jsontext_signed(td_jsontext *text, const char *key, int64_t value);
TD_PRIVATE void td_jsontext_double(td_jsontext *text, const char *key, double value);
TD_PRIVATE void td_jsontext_bool(td_jsontext *text, const char *key, bool value);

/* A value that is JSON already; "" where the caller appends it to the buffer himself. */
TD_PRIVATE void td_jsontext_raw(td_jsontext *text, const char *key, td_str json);

#endif
