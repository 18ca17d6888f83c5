/*
 * Goal: no compressed body crashes the decompressor, makes it give too much at once or go on
 * without end, or becomes something else when it is cut.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "base/assert.h"
#include "http/decompressor.h"

#define INPUT_MAX 512
#define RATIO_MAX 1032 /* of deflate */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    int rc;
    bool is_complete;
    size_t total;
    XXH64_hash_t sum; /* of what came out */
};

/* One piece, in memory that ends where it does. */
static int
give(td_decompressor *d, td_str piece, XXH64_state_t *sum, size_t *total)
{
    char *bytes = malloc(piece.len);
    td_str left = {bytes, piece.len}, data;
    int rc;

    memcpy(bytes, piece.ptr, piece.len);
    while ((rc = td_decompressor_next(d, &left, &data)) >= 0) {
        TD_ASSERT(data.len <= TD_INFLATED_MAX);
        XXH64_update(sum, data.ptr, data.len);
        *total += data.len;
        TD_ASSERT(*total <= INPUT_MAX * RATIO_MAX);
        if (rc == 0)
            break;
    }
    TD_ASSERT(rc < 0 || left.len == 0);
    free(bytes);
    return rc;
}

static struct outcome
inflate_in_steps(td_str input, size_t step)
{
    td_decompressor *d = td_decompressor_create();
    XXH64_state_t *sum = XXH64_createState();
    struct outcome outcome = {0};

    XXH64_reset(sum, 0);
    for (size_t at = 0; at < input.len && outcome.rc == 0; at += step) {
        const size_t len = step < input.len - at ? step : input.len - at;

        outcome.rc = give(d, td_str_make(input.ptr + at, len), sum, &outcome.total);
    }
    outcome.is_complete = outcome.rc == 0 && td_decompressor_is_complete(d);
    outcome.sum = XXH64_digest(sum);
    XXH64_freeState(sum);
    td_decompressor_destroy(&d);
    return outcome;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const td_str input = {(const char *)data, size < INPUT_MAX ? size : INPUT_MAX};
    const struct outcome whole = inflate_in_steps(input, INPUT_MAX);

    for (size_t step = 1; step <= 64; step *= 4) {
        const struct outcome cut = inflate_in_steps(input, step);

        TD_ASSERT(cut.rc == whole.rc && cut.is_complete == whole.is_complete);
        TD_ASSERT(whole.rc < 0 || (cut.total == whole.total && cut.sum == whole.sum));
    }
    return 0;
}
