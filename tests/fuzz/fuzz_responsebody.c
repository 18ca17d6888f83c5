/*
 * Goal: whatever a server sends behind a good head, the body is the same, or refused, however it
 * was cut; it is never larger than it may be, ends where its framing says, and nothing behind it is
 * taken.
 *
 * Input: a byte that says where it is cut, one that says what is asked for (enum below), the head
 * and what comes behind it; then the connection ends.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <tornado/error.h>
#include <xxhash.h>
#include "base/assert.h"
#include "http/responsebody.h"

enum { IS_HEAD = 1, INFLATE = 2, MAX_SHIFT = 2 }; /* of the second byte; what is left chooses max */

static const int64_t maxima[] = {INT64_MAX, 0, 1, 64, 4096, 100000};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    int rc;       /* 0, or how it was refused */
    bool is_over; /* before the connection has ended */
    size_t left;  /* bytes behind it, then */
    int64_t size;
    XXH64_hash_t sum; /* of the data */
};

/* One piece, in memory that ends where it does: 0, or why it was refused. */
static int
give(td_response_body *body, td_str piece, XXH64_state_t *sum, size_t *left)
{
    char *bytes = malloc(piece.len);
    const int64_t before = body->size;
    int64_t given = 0;
    td_str rest = {bytes, piece.len}, data;
    int rc;

    memcpy(bytes, piece.ptr, piece.len);
    while ((rc = td_response_body_next(body, &rest, &data)) > 0) {
        XXH64_update(sum, data.ptr, data.len);
        given += (int64_t)data.len;
    }
    TD_ASSERT(body->size == before + given && body->size <= body->max);
    TD_ASSERT(rc < 0 || rest.len == 0 || td_response_body_is_over(body));
    *left = rest.len;
    free(bytes);
    return rc;
}

static int
give_in_steps(td_response_body *body, td_str bytes, size_t step, XXH64_state_t *sum, size_t *left)
{
    int rc = 0;

    *left = bytes.len;
    while (rc == 0 && *left > 0 && !td_response_body_is_over(body)) {
        const td_str rest = td_str_make(bytes.ptr + bytes.len - *left, *left);
        const size_t len = step < rest.len ? step : rest.len;
        size_t back;

        rc = give(body, td_str_make(rest.ptr, len), sum, &back);
        *left -= len - back;
    }
    return rc;
}

/* As the client does it: fetchanswer.c. */
static struct outcome
receive(td_str head, td_str bytes, int asked, size_t step)
{
    const int64_t max = maxima[(size_t)(asked >> MAX_SHIFT) % (sizeof(maxima) / sizeof(*maxima))];
    struct outcome outcome = {0};
    XXH64_state_t *sum = XXH64_createState();
    td_response_head read;
    td_response_body body;
    const char *what;
    td_arena arena;

    XXH64_reset(sum, 0);
    td_arena_init(&arena);
    outcome.rc = td_response_head_read(head, &arena, &read, &what);
    if (outcome.rc == 0) {
        const bool has_body = !(asked & IS_HEAD) && read.status != 204 && read.status != 304;

        outcome.rc =
            td_response_body_begin(&body, &read, &arena, has_body, (asked & INFLATE) != 0, max);
        if (outcome.rc == 0)
            outcome.rc = give_in_steps(&body, bytes, step, sum, &outcome.left);
        outcome.is_over = outcome.rc == 0 && td_response_body_is_over(&body);
        TD_ASSERT(has_body || (outcome.is_over && body.size == 0 && outcome.left == bytes.len));
        if (outcome.is_over && body.framing == TD_BODY_LENGTH && body.decompressor == NULL)
            TD_ASSERT(body.size == read.content_length);
        if (outcome.rc == 0 && !outcome.is_over)
            outcome.rc = td_response_body_closed(&body);
        if (outcome.rc == 0)
            outcome.rc = td_response_body_check(&body);
        TD_ASSERT(outcome.rc != TD_EBADMSG || body.what != NULL);
        outcome.size = body.size;
        td_response_body_release(&body);
    }
    outcome.sum = XXH64_digest(sum);
    XXH64_freeState(sum);
    td_arena_fini(&arena);
    return outcome;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    td_response_scan scan = {0};
    const char *what;

    if (size < 3)
        return 0;

    const td_str bytes = td_str_make((const char *)data + 2, size - 2);
    const ssize_t head_len = td_response_head_scan(&scan, bytes, &what);

    if (head_len <= 0)
        return 0;

    const td_str head = td_str_make(bytes.ptr, (size_t)head_len);
    const td_str behind = td_str_make(bytes.ptr + head_len, bytes.len - (size_t)head_len);
    const struct outcome whole = receive(head, behind, data[1], behind.len);
    const struct outcome cut = receive(head, behind, data[1], data[0] + 1u);

    /* Of what is refused another reason may come first: too large, or not what it says it is. */
    TD_ASSERT((whole.rc < 0) == (cut.rc < 0));
    if (whole.rc == 0) {
        TD_ASSERT(whole.is_over == cut.is_over && whole.left == cut.left);
        TD_ASSERT(whole.size == cut.size && whole.sum == cut.sum);
    }
    return 0;
}
