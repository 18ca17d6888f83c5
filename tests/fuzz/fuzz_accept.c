/*
 * Goal: whatever an Accept or Accept-Encoding says, a coding that is chosen was offered and is not
 * excluded, and what a client likes does not depend on blanks and empty elements around it.
 *
 * Input: a byte of codings that are offered, and the value.
 */
#include <stdint.h>
#include <string.h>
#include "base/assert.h"
#include "base/buf.h"
#include "http/accept.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same list with more around its elements. */
static void
decorate(td_buf *out, td_str value)
{
    td_buf_append(out, TD_STR(" ,\t,"));
    for (size_t i = 0; i < value.len; i++)
        td_buf_append(out, value.ptr[i] == ',' ? TD_STR(" ,\t, ") : td_str_make(value.ptr + i, 1));
    td_buf_append(out, TD_STR(" ,,"));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const td_str types[] = {{"text/html", 9}, {"application/json", 16}, {"x", 1}};
    td_buf decorated = {0};
    td_coding coding;
    td_str value;

    if (size < 1)
        return 0;
    value = td_str_make((const char *)data + 1, size - 1);
    decorate(&decorated, value);
    coding = td_accept_coding(value, data[0]);
    TD_ASSERT(coding == TD_CODING_IDENTITY || (data[0] & TD_CODING_BIT(coding)) != 0);
    TD_ASSERT(coding == td_accept_coding(td_buf_str(&decorated), data[0]));
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        const int quality = td_accept_media(value, types[i]);

        TD_ASSERT(quality >= 0 && quality <= TD_QUALITY_MAX);
        TD_ASSERT(quality == td_accept_media(td_buf_str(&decorated), types[i]));
        TD_ASSERT(!td_accept_names(value, types[i]) || quality > 0);
    }
    td_buf_release(&decorated);
    return 0;
}
