#include "http/responsebody.h"

#include <tornado/error.h>
#include "base/escape.h"

static int
refuse(td_response_body *body, const char *what)
{
    body->what = what;
    return TD_EBADMSG;
}

/* ---- what the head says */

/* More than one coding is left to the caller, as one that we do not have. */
static void
begin_inflating(td_response_body *body, td_response_head *head, td_arena *arena)
{
    const td_header *coding = td_headers_find(&head->headers, TD_STR("Content-Encoding"));

    if (td_headers_next(&head->headers, coding) != NULL)
        return;
    if (!td_str_equal_nocase(coding->value, TD_STR("gzip")) &&
        !td_str_equal_nocase(coding->value, TD_STR("x-gzip")))
        return;
    body->decompressor = td_decompressor_create();
    td_headers_add(&head->headers, arena, TD_STR("X-Consumed-Content-Encoding"), coding->value);
    td_headers_remove(&head->headers, TD_STR("Content-Encoding"));
    td_headers_remove(&head->headers, TD_STR("Content-Length"));
}

int
td_response_body_begin(td_response_body *body, td_response_head *head, td_arena *arena,
                       bool has_body, bool inflate, int64_t max)
{
    *body = (td_response_body){.max = max, .is_framed = !has_body};
    if (!has_body)
        return 0;
    if (inflate && head->is_encoded)
        begin_inflating(body, head, arena);
    if (head->chunked) {
        body->framing = TD_BODY_CHUNKS;
    } else if (head->content_length >= 0) {
        body->framing = TD_BODY_LENGTH;
        body->left = (uint64_t)head->content_length;
        body->is_framed = head->content_length == 0;
    } else {
        body->framing = TD_BODY_UNTIL_CLOSE;
    }
    return head->content_length > max ? TD_ETOOBIG : 0;
}

/* ---- how it is framed */

static int
take_chunks(td_response_body *body, td_str *input, td_str *data_out)
{
    const td_chunked_limits limits = {.body_max = (uint64_t)body->max,
                                      .trailer_size_max = TD_RESPONSE_HEAD_MAX,
                                      .trailers_max = TD_RESPONSE_LINES_MAX};
    const ssize_t n = td_chunked_decode(&body->chunks, &limits, input->ptr, input->len, data_out,
                                        &body->is_framed);

    if (n == TD_EBADMSG)
        return refuse(body, body->chunks.what);
    if (n < 0)
        return (int)n;
    *input = td_str_make(input->ptr + n, input->len - (size_t)n);
    return data_out->len > 0;
}

static int
take_length(td_response_body *body, td_str *input, td_str *data_out)
{
    const size_t n = input->len < body->left ? input->len : (size_t)body->left;

    *data_out = td_str_make(input->ptr, n);
    *input = td_str_make(input->ptr + n, input->len - n);
    body->left -= n;
    body->is_framed = body->left == 0;
    return 1;
}

/* Bytes as they are framed: 1, 0, or an error. */
static int
unframe(td_response_body *body, td_str *input, td_str *data_out)
{
    int rc = 0;

    while (rc == 0 && input->len > 0 && !body->is_framed) {
        if (body->framing == TD_BODY_CHUNKS) {
            rc = take_chunks(body, input, data_out);
        } else if (body->framing == TD_BODY_LENGTH) {
            rc = take_length(body, input, data_out);
        } else {
            *data_out = *input;
            *input = td_str_make(NULL, 0);
            rc = 1;
        }
    }
    return rc;
}

/* ---- and packed */

static int
inflate(td_response_body *body, td_str *input, td_str *data_out)
{
    for (;;) {
        int rc = 1;

        if (body->packed.len == 0 && !body->is_packed_left)
            rc = unframe(body, input, &body->packed);
        if (rc <= 0)
            return rc;
        body->is_begun = true;
        rc = td_decompressor_next(body->decompressor, &body->packed, data_out);
        if (rc < 0)
            return refuse(body, "the body is not gzip");
        body->is_packed_left = rc > 0;
        if (data_out->len > 0)
            return 1;
    }
}

int
td_response_body_next(td_response_body *body, td_str *input, td_str *data_out)
{
    const int rc = body->decompressor != NULL ? inflate(body, input, data_out)
                                              : unframe(body, input, data_out);

    if (rc <= 0)
        return rc;
    if ((int64_t)data_out->len > body->max - body->size)
        return TD_ETOOBIG;
    body->size += (int64_t)data_out->len;
    return 1;
}

/* ---- its end */

/* RFC 9112 section 6.3, item 8, and section 8. */
int
td_response_body_closed(td_response_body *body)
{
    if (body->framing != TD_BODY_UNTIL_CLOSE)
        return TD_ECLOSED;
    body->is_framed = true;
    return 0;
}

int
td_response_body_check(td_response_body *body)
{
    if (body->decompressor == NULL || !body->is_begun ||
        td_decompressor_is_complete(body->decompressor))
        return 0;
    return refuse(body, "the body is not gzip, or it was cut off");
}

void
td_response_body_release(td_response_body *body)
{
    td_decompressor_destroy(&body->decompressor);
}
