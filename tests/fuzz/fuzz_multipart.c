/*
 * Goal: no multipart/form-data body makes the parser crash or say something else when it is cut,
 * and no name that it hands over is empty, not UTF-8 or has a control byte.
 *
 * Input: a Content-Type from its parameters on, a line feed, the body.
 */
#include <stdlib.h>
#include <string.h>
#include <tornado/error.h>
#include "base/assert.h"
#include "base/escape.h"
#include "http/headers.h"
#include "http/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const td_multipart_limits limits = {.parts_max = 8, .head_size_max = 256};

static void
note(td_buf *told, td_str s)
{
    td_buf_printf(told, "%zu:", s.ptr != NULL ? s.len : (size_t)-1);
    if (s.len > 0)
        td_buf_append(told, s);
}

static void
check_text(td_str s)
{
    TD_ASSERT(td_utf8_is_valid(s) && td_is_field_value(s));
}

static void
note_part(td_buf *told, const td_multipart *m)
{
    TD_ASSERT(m->name.len > 0);
    TD_ASSERT(td_str_is_null(m->filename) || m->filename.len > 0);
    check_text(m->name);
    check_text(m->filename);
    check_text(m->content_type);
    note(told, m->name);
    note(told, m->filename);
    note(told, m->content_type);
}

/* False: nothing more is wanted. */
static bool
feed(td_buf *told, td_multipart *m, td_str input)
{
    td_str data;

    for (;;) {
        const int event = td_multipart_next(m, &limits, &input, &data);

        switch (event) {
        case TD_MULTIPART_MORE:
            TD_ASSERT(input.len == 0);
            return true;
        case TD_MULTIPART_PART:
            note_part(told, m);
            break;
        case TD_MULTIPART_DATA:
            TD_ASSERT(data.len > 0);
            td_buf_append(told, data);
            break;
        case TD_MULTIPART_PART_END:
            note(told, TD_STR("end"));
            break;
        case TD_MULTIPART_END:
            note(told, TD_STR("all"));
            return false;
        default:
            TD_ASSERT(event == (m->status == 413 ? TD_ETOOBIG : TD_EBADMSG));
            note(told, td_str_of(m->what));
            return false;
        }
    }
}

/* All that is said about the body when it comes in pieces of that size. */
static td_buf
tell(td_str type, td_str body, size_t piece)
{
    td_multipart m = {.status = 0};
    td_buf told = {0};
    bool wants_more = td_multipart_init(&m, type) == 0;

    while (wants_more && body.len > 0) {
        const size_t len = body.len < piece ? body.len : piece;
        char *const copy = malloc(len);

        memcpy(copy, body.ptr, len);
        wants_more = feed(&told, &m, td_str_make(copy, len));
        free(copy);
        body = td_str_make(body.ptr + len, body.len - len);
    }
    td_multipart_fini(&m);
    return told;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *end = size > 0 ? memchr(text, '\n', size) : NULL;
    const td_str type = td_str_make(text, end != NULL ? (size_t)(end - text) : 0);
    const td_str body =
        end != NULL ? td_str_make(end + 1, size - type.len - 1) : td_str_make(text, size);
    td_buf whole;

    if (!td_is_field_value(type)) /* the parser of heads lets nothing else through */
        return 0;
    whole = tell(type, body, size + 1);
    for (size_t piece = 1; piece < 8; piece += 2) {
        td_buf cut = tell(type, body, piece);

        TD_ASSERT(td_str_equal(td_buf_str(&cut), td_buf_str(&whole)));
        td_buf_release(&cut);
    }
    td_buf_release(&whole);
    return 0;
}
