/* Goal: no chunked body makes the decoder crash, pass a limit, or decode differently when cut. */
#include <ctype.h>
#include "tests/fuzz/chunked_every_way.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const td_chunked_limits limits = {.body_max = 64, .trailer_size_max = 64, .trailers_max = 4};

/*
 * Decode once more what was accepted, the plain way: lines are what stands before CRLF, the number
 * in front of one says how many bytes follow.
 */
static void
must_be_chunks(td_str input, td_str data)
{
    const char *p = input.ptr, *const end = p + input.len;

    for (;;) {
        const char *line_end = memmem(p, (size_t)(end - p), "\r\n", 2);

        MUST_DECODE(line_end != NULL && isxdigit((unsigned char)*p));

        const unsigned long long size = strtoull(p, NULL, 16);

        p = line_end + 2;
        if (size == 0)
            break;
        MUST_DECODE(size <= data.len && (size_t)(end - p) >= size + 2);
        MUST_DECODE(memcmp(p, data.ptr, size) == 0 && memcmp(p + size, "\r\n", 2) == 0);
        data = td_str_make(data.ptr + size, data.len - size);
        p += size + 2;
    }
    MUST_DECODE(data.len == 0);
    while (memcmp(p, "\r\n", 2) != 0) {
        const char *line_end = memmem(p, (size_t)(end - p), "\r\n", 2);

        MUST_DECODE(line_end != NULL && memchr(p, ':', (size_t)(line_end - p)) != NULL);
        p = line_end + 2;
    }
    MUST_DECODE(p + 2 == end);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const td_str input = td_str_make((const char *)data, size < 512 ? size : 512);
    decoded d = decode_every_way(input, &limits);

    MUST_DECODE(d.data_len <= limits.body_max);
    if (d.end) {
        MUST_DECODE(d.data_len == d.decoder.body);
        must_be_chunks(td_str_make(input.ptr, d.taken), decoded_data(&d));
    }
    decoded_fini(&d);
    return 0;
}
