/*
 * Goal: whatever a Range, an If-Range or a list of entity tags says, the pieces that are sent lie
 * within the file and apart from each other, and a Range that is understood means what its numbers
 * say.
 *
 * Input: two bytes for the size of the file, a Range, a line feed, an If-Range, a line feed, an
 * If-None-Match.
 */
#include <stdlib.h>
#include <string.h>
#include "base/assert.h"
#include "base/clock.h"
#include "http/request_internal.h"
#include "web/conditional.h"

#define RANGES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static td_str
next_line(td_str *input)
{
    const char *end = input->len > 0 ? memchr(input->ptr, '\n', input->len) : NULL;
    const size_t len = end != NULL ? (size_t)(end - input->ptr) : input->len;
    const td_str line = {input->ptr, len};

    *input = td_str_make(input->ptr + len + (end != NULL), input->len - len - (end != NULL));
    return line;
}

static void
check_pieces(int status, const td_byte_ranges *pieces, uint64_t size)
{
    TD_ASSERT(status == 200 || status == 206 || status == 416);
    if (status != 206)
        return;
    TD_ASSERT(pieces->count > 0 && pieces->count <= RANGES_MAX);
    for (size_t i = 0; i < pieces->count; i++) {
        const td_byte_range a = pieces->items[i];

        TD_ASSERT(a.length > 0 && a.length < size);
        TD_ASSERT(a.first <= size - a.length);
        for (size_t j = 0; j < i; j++) { /* never is a byte sent twice, nor a piece in two */
            const td_byte_range b = pieces->items[j];

            TD_ASSERT(a.first + a.length < b.first || b.first + b.length < a.first);
        }
    }
}

/* The plain case read with strtoull: digits without a sign that fit, and nothing behind them. */
static void
check_numbers(td_str value, int status, td_byte_range range, uint64_t size)
{
    char text[32] = "", *end;
    unsigned long long first, last;

    if (value.len >= sizeof(text) || value.len < 9 || memcmp(value.ptr, "bytes=", 6) != 0)
        return;
    memcpy(text, value.ptr, value.len);
    if (strlen(text) != value.len || strspn(text + 6, "0123456789-") != value.len - 6 ||
        text[6] == '-')
        return;
    first = strtoull(text + 6, &end, 10);
    if (*end != '-' || end[1] == '-' || end[1] == '\0')
        return;
    last = strtoull(end + 1, &end, 10);
    if (*end != '\0' || last < first) {
        TD_ASSERT(status == 200);
        return;
    }
    if (last >= size)
        last = size - 1;
    if (first >= size)
        TD_ASSERT(status == 416);
    else if (last - first + 1 == size)
        TD_ASSERT(status == 200);
    else
        TD_ASSERT(status == 206 && range.first == first && range.length == last - first + 1);
}

/* The same among headers, as a request has them. */
static int
ask(td_str range, td_str if_range, td_str if_none_match, uint64_t size)
{
    const td_validators file = {.etag = TD_STR("\"e\""), .modified = 784111777, .size = size};
    td_request *request = td_request_create();
    td_byte_ranges pieces = {0};
    int status;

    request->head.method = TD_METHOD_GET;
    td_headers_init(&request->head.headers, &request->arena);
    td_headers_add(&request->head.headers, &request->arena, TD_STR("Range"), range);
    if (if_range.len > 0)
        td_headers_add(&request->head.headers, &request->arena, TD_STR("If-Range"), if_range);
    if (if_none_match.len > 0)
        td_headers_add(&request->head.headers, &request->arena, TD_STR("If-None-Match"),
                       if_none_match);
    status = td_conditional_status(request, &file, RANGES_MAX, &pieces);
    td_request_unref(request);
    if (status != 304)
        check_pieces(status, &pieces, size);
    return status;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    td_str input, range, if_range, if_none_match;
    td_byte_ranges pieces = {0};
    uint64_t size;
    int alone, status;

    if (len < 2)
        return 0;
    size = (uint64_t)data[0] << 8 | data[1];
    input = td_str_make((const char *)data + 2, len - 2);
    range = next_line(&input);
    if_range = next_line(&input);
    if_none_match = next_line(&input);

    alone = td_ranges_parse(range, size, RANGES_MAX, &pieces);
    check_pieces(alone, &pieces, size);
    check_numbers(range, alone, pieces.items[0], size);
    status = ask(range, if_range, if_none_match, size);
    if (status == 304)
        TD_ASSERT(td_etag_is_in(TD_STR("\"e\""), if_none_match, true));
    else
        TD_ASSERT(status == alone || (status == 200 && if_range.len > 0));
    return 0;
}
