/*
 * Goal: whatever a server sends for a head, it is understood in the same way or refused in the same
 * way however it was cut, and what is understood has one framing.
 *
 * Input: a byte that says where it is cut, and the head.
 */
#include <stdint.h>
#include <string.h>
#include <tornado/error.h>
#include "base/assert.h"
#include "http/responsehead.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_same(td_str bytes, ssize_t len, const td_response_head *read, td_arena *arena,
           td_response_known *known)
{
    td_response_head plain;
    const size_t plain_len = td_response_head_plain(bytes, arena, known, &plain);

    if (plain_len == 0)
        return;
    TD_ASSERT(read != NULL && plain_len == (size_t)len);
    TD_ASSERT(plain.status == read->status && plain.minor == read->minor);
    TD_ASSERT(plain.content_length == read->content_length && plain.chunked == read->chunked);
    TD_ASSERT(plain.keep_alive == read->keep_alive && td_str_equal(plain.reason, read->reason));
    TD_ASSERT(plain.headers.count == read->headers.count);
    for (size_t i = 0; i < plain.headers.count; i++) {
        TD_ASSERT(td_str_equal(plain.headers.items[i].name, read->headers.items[i].name));
        TD_ASSERT(td_str_equal(plain.headers.items[i].value, read->headers.items[i].value));
    }
}

/* Seen through in one go it means the same, if it can be, and also when it is known. */
static void
check_plain(td_str bytes, ssize_t len, const td_response_head *read, td_arena *arena)
{
    td_response_known known = {0};

    for (int i = 0; i < 3; i++)
        check_same(bytes, len, read, arena, &known);
    td_response_known_release(&known);
}

static void
check_head(td_str bytes, ssize_t len)
{
    td_response_head read;
    const char *what = NULL;
    td_arena arena;

    td_arena_init(&arena);
    if (len <= 0 ||
        td_response_head_read(td_str_make(bytes.ptr, (size_t)len), &arena, &read, &what) < 0) {
        TD_ASSERT(len <= 0 || what != NULL);
        check_plain(bytes, len, NULL, &arena);
    } else {
        check_plain(bytes, len, &read, &arena);
        TD_ASSERT(read.status >= 100 && read.status <= 599);
        TD_ASSERT(!read.chunked || (read.content_length < 0 && read.minor > 0));
        for (size_t i = 0; i < read.headers.count; i++) {
            TD_ASSERT(td_is_token(read.headers.items[i].name));
            TD_ASSERT(td_is_field_value(read.headers.items[i].value));
        }
    }
    td_arena_fini(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    td_response_scan whole = {0}, pieces = {0};
    const char *what = NULL;
    ssize_t at_once, cut = 0;

    if (size < 2)
        return 0;

    const td_str bytes = td_str_make((const char *)data + 1, size - 1);
    const size_t step = data[0] + 1u;

    at_once = td_response_head_scan(&whole, bytes, &what);
    for (size_t len = step; cut == 0 && len < bytes.len + step; len += step)
        cut = td_response_head_scan(
            &pieces, td_str_make(bytes.ptr, len < bytes.len ? len : bytes.len), &what);
    TD_ASSERT(at_once == cut);
    TD_ASSERT((at_once < 0) == (what != NULL));
    check_head(bytes, at_once);
    return 0;
}
