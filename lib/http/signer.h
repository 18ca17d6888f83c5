/*
 * Signed values: text that a client may keep but not change, in the formats of
 * Tornado's create_signed_value: version 2 is written and read, version 1 read.
 *
 *   2|LEN:KEY VERSION|LEN:TIME|LEN:NAME|LEN:BASE64 OF THE VALUE|HMAC-SHA256 of all before, in hex
 *   BASE64|TIME|HMAC-SHA1 of name, base64 and time, in hex
 */
#ifndef TORNADO_HTTP_SIGNER_H
#define TORNADO_HTTP_SIGNER_H

#include <tornado/str.h>
#include "base/arena.h"
#include "base/secrets.h"

typedef struct td_signer td_signer;

td_signer *td_signer_create(const td_secrets *secrets); /* at least one; they are copied */
void td_signer_destroy(td_signer **signer);

/* now: Unix time in seconds.  In the arena, with a NUL behind. */
td_str td_signer_sign(const td_signer *signer, td_arena *arena, td_str name, td_str value,
                      int64_t now);

/*
 * The value, in the arena, with a NUL behind; the null string for a text that was not signed under
 * this name with one of the secrets, or longer than max_age_days ago.
 */
td_str td_signer_verify(const td_signer *signer, td_arena *arena, td_str name, td_str text,
                        double max_age_days, int64_t now);

#endif
