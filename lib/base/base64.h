/* Base64 (RFC 4648 section 4), padded, without line breaks. */
#ifndef TORNADO_BASE_BASE64_H
#define TORNADO_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <tornado/str.h>

/* Bytes of text for so many bytes of data. */
#define TD_BASE64_LEN(len) (((len) + 2) / 3 * 4)

/* Room for this many is always enough for what a text of that length says. */
#define TD_BASE64_BYTES(len) ((len) / 4 * 3)

/* Write TD_BASE64_LEN(bytes.len) bytes, without a NUL; returns the end. */
char *td_base64_encode(char *out, td_str bytes);

/* false when the text is not exactly what td_base64_encode writes for some bytes. */
bool td_base64_decode(char *out, td_str text, size_t *len_out);

#endif
