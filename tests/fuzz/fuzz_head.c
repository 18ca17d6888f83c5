/* Goal: no request head makes the parser crash, read astray, or answer differently in two ways. */
#include "tests/fuzz/head_every_way.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A first byte below 4 picks one of these; any other is the head's own, under the last ones. */
static const td_head_limits limits[] = {
    {16, 64, 2},
    {64, 256, 4},
    {100, 100, 100},
    {8192, 32768, 256},
};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    size_t choice = 3;

    if (size > 0 && data[0] < 4) {
        choice = data[0];
        bytes++;
        size--;
    }
    if (size > 1024) /* every way takes time that grows with the square */
        size = 1024;
    parse_every_way(td_str_make(bytes, size), &limits[choice], size <= 96 ? size : 24);
    return 0;
}
