/*
 * Goal: no text that claims to be signed, or to be an XSRF token, does harm; only what we have
 * signed is taken for it, and a token is the same under another mask.
 *
 * Input: a name, a line feed, a text, which is first read as signed and then signed itself.
 */
#include <stdint.h>
#include <string.h>
#include "base/assert.h"
#include "http/signer.h"
#include "web/visitor.h"

#define NOW INT64_C(1300000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const td_signer *
signer_of(bool has_versions)
{
    static td_signer *signers[2];
    static const td_secret secrets[] = {{1, {"new secret", 10}}, {0, {"old secret", 10}}};

    if (signers[0] == NULL) {
        signers[0] = td_signer_create(&(td_secrets){secrets, 1, false});
        signers[1] = td_signer_create(&(td_secrets){secrets, 2, true});
    }
    return signers[has_versions];
}

/* Nobody guesses a signature: what is good was copied from the corpus, which has the value "v". */
static void
check_reading(const td_signer *signer, td_arena *arena, td_str name, td_str text)
{
    const td_str value = td_signer_verify(signer, arena, name, text, 1, NOW);

    TD_ASSERT(td_str_is_null(value) || td_str_equal(value, TD_STR("v")));
}

static void
check_writing(const td_signer *signer, td_arena *arena, td_str name, td_str value)
{
    const td_str text = td_signer_sign(signer, arena, name, value, NOW);
    const td_str back = td_signer_verify(signer, arena, name, text, 1, NOW + 86400);

    TD_ASSERT(text.ptr[text.len] == '\0' && memchr(text.ptr, '\n', text.len) == NULL);
    TD_ASSERT(!td_str_is_null(back) && td_str_equal(back, value));
    TD_ASSERT(td_str_is_null(td_signer_verify(signer, arena, name, text, 1, NOW + 86401)));
}

static void
check_token(td_arena *arena, td_str text)
{
    td_str token, again;
    int64_t made, made_again;

    if (!td_xsrf_decode(arena, text, &token, &made))
        return;
    TD_ASSERT(token.len > 0 && token.len <= text.len);
    text = td_xsrf_encode(arena, token, TD_STR("\x7f\x80\x00\xff"), made);
    TD_ASSERT(td_xsrf_decode(arena, text, &again, &made_again));
    TD_ASSERT(td_str_equal(again, token) && made_again == made);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *end = size > 0 ? memchr(text, '\n', size) : NULL;
    const size_t len = end != NULL ? (size_t)(end - text) : 0;
    const td_str name = td_str_make(len > 0 ? text : "", len);
    const td_str rest = td_str_make(text + len + (end != NULL), size - len - (end != NULL));
    td_arena arena;

    td_arena_init(&arena);
    check_token(&arena, rest);
    for (int i = 0; i < 2; i++) {
        check_reading(signer_of(i), &arena, name, rest);
        check_writing(signer_of(i), &arena, name, rest);
    }
    td_arena_fini(&arena);
    return 0;
}
