/*
 * A key is prepared once: its HMAC context has hashed the padded secret, and starting it again
 * costs a copy of that state.  Nothing is decoded before the signature has been found good, and
 * signatures are compared in time that does not depend on where they differ.
 */
#include "http/signer.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include "base/assert.h"
#include "base/base64.h"
#include "base/put.h"
#include "base/value.h"

#define SECONDS_PER_DAY 86400
#define V1_FUTURE_MAX (31 * SECONDS_PER_DAY) /* seconds */
#define SHA256_HEX 64

struct key {
    int64_t version;
    EVP_MAC_CTX *sha256;
    EVP_MAC_CTX *sha1; /* NULL with versions, which version 1 of the format knows nothing of */
};

struct td_signer {
    bool has_versions;
    size_t count;
    struct key keys[];
};

static const td_str none = {NULL, 0};

/* ---- keys */

/* The algorithms are a part of every libcrypto: without them nothing can go on. */
static EVP_MAC_CTX *
prepare(const char *digest, td_str secret)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)digest, 0),
        OSSL_PARAM_construct_end(),
    };

    TD_ASSERT(context != NULL);
    TD_ASSERT(context != NULL); /* else memory is gone */
    TD_ASSERT(EVP_MAC_init(context, (const unsigned char *)secret.ptr, secret.len, params) == 1);
    EVP_MAC_free(mac);
    return context;
}

td_signer *
td_signer_create(const td_secrets *secrets)
{
    td_signer *signer = td_xcalloc(1, sizeof(*signer) + secrets->count * sizeof(struct key));

    signer->has_versions = secrets->has_versions;
    signer->count = secrets->count;
    for (size_t i = 0; i < secrets->count; i++) {
        const td_secret *secret = &secrets->items[i];

        signer->keys[i].version = secret->version;
        signer->keys[i].sha256 = prepare("SHA256", secret->text);
        if (!secrets->has_versions)
            signer->keys[i].sha1 = prepare("SHA1", secret->text);
    }
    return signer;
}

void
td_signer_destroy(td_signer **signer_)
{
    td_signer *signer = *signer_;

    if (signer == NULL)
        return;
    for (size_t i = 0; i < signer->count; i++) {
        EVP_MAC_CTX_free(signer->keys[i].sha256);
        EVP_MAC_CTX_free(signer->keys[i].sha1);
    }
    free(signer);
    *signer_ = NULL;
}

static const struct key *
find_key(const td_signer *signer, int64_t version)
{
    if (!signer->has_versions) /* the one secret is for all of them */
        return &signer->keys[0];
    for (size_t i = 0; i < signer->count; i++)
        if (signer->keys[i].version == version)
            return &signer->keys[i];
    return NULL;
}

/* ---- signatures */

/* The HMAC of the pieces one behind the other, in hex; returns the end of it. */
static char *
put_signature(char *out, EVP_MAC_CTX *context, const td_str *pieces, size_t count)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t len = 0;
    bool good = EVP_MAC_init(context, NULL, 0, NULL) == 1;

    for (size_t i = 0; i < count && good; i++)
        good = EVP_MAC_update(context, (const unsigned char *)pieces[i].ptr, pieces[i].len) == 1;
    TD_ASSERT(good && EVP_MAC_final(context, mac, &len, sizeof(mac)) == 1);
    return td_put_hex(out, td_str_make((const char *)mac, len));
}

static bool
is_signature(td_str given, EVP_MAC_CTX *context, const td_str *pieces, size_t count)
{
    char expected[SHA256_HEX];
    const size_t len = (size_t)(put_signature(expected, context, pieces, count) - expected);

    return given.len == len && CRYPTO_memcmp(given.ptr, expected, len) == 0;
}

/* ---- writing */

static char *
put_field(char *out, td_str field)
{
    out = td_put_decimal(out, field.len);
    *out++ = ':';
    if (field.len > 0)
        out = td_put(out, field);
    *out++ = '|';
    return out;
}

static char *
put_number_field(char *out, int64_t number)
{
    char digits[TD_DECIMAL_MAX];
    const char *end = td_put_decimal(digits, (uint64_t)number);

    return put_field(out, td_str_make(digits, (size_t)(end - digits)));
}

/* The length of the base64 is known before it is there, so it is written where it belongs. */
static char *
put_value_field(char *out, td_str value)
{
    out = td_put_decimal(out, TD_BASE64_LEN(value.len));
    *out++ = ':';
    out = td_base64_encode(out, value);
    *out++ = '|';
    return out;
}

td_str
td_signer_sign(const td_signer *signer, td_arena *arena, td_str name, td_str value, int64_t now)
{
    const struct key *key = &signer->keys[0];
    const size_t field_max = TD_DECIMAL_MAX + 2;
    char *text = td_arena_alloc_raw(arena, 2 + 4 * field_max + 2 * TD_DECIMAL_MAX + name.len +
                                               TD_BASE64_LEN(value.len) + SHA256_HEX + 1);
    char *end = TD_PUT(text, "2|");

    end = put_number_field(end, key->version);
    end = put_number_field(end, now > 0 ? now : 0);
    end = put_field(end, name);
    end = put_value_field(end, value);

    const td_str signed_part = td_str_make(text, (size_t)(end - text));

    end = put_signature(end, key->sha256, &signed_part, 1);
    *end = '\0';
    return td_str_make(text, (size_t)(end - text));
}

/* ---- reading */

static td_str
rest_behind(td_str text, size_t taken)
{
    return td_str_make(text.ptr + taken, text.len - taken);
}

/* Take what stands before the next `separator`, and that itself, off the front. */
static bool
take_until(td_str *rest, char separator, td_str *out)
{
    const char *at = rest->len > 0 ? memchr(rest->ptr, separator, rest->len) : NULL;

    if (at == NULL)
        return false;
    *out = td_str_make(rest->ptr, (size_t)(at - rest->ptr));
    *rest = rest_behind(*rest, out->len + 1);
    return true;
}

/* LEN:BYTES| */
static bool
take_field(td_str *rest, td_str *out)
{
    td_str digits;
    int64_t len;

    if (!take_until(rest, ':', &digits) || !td_value_parse_digits(digits, &len) ||
        (uint64_t)len >= rest->len || rest->ptr[len] != '|')
        return false;
    *out = td_str_make(rest->ptr, (size_t)len);
    *rest = rest_behind(*rest, (size_t)len + 1);
    return true;
}

static bool
take_number_field(td_str *rest, int64_t *out)
{
    td_str field;

    return take_field(rest, &field) && td_value_parse_digits(field, out);
}

static bool
is_too_old(int64_t signed_at, double max_age_days, int64_t now)
{
    return (double)signed_at < (double)now - max_age_days * SECONDS_PER_DAY;
}

static td_str
decode_value(td_arena *arena, td_str base64)
{
    char *bytes = td_arena_alloc_raw(arena, TD_BASE64_BYTES(base64.len) + 1);
    size_t len;

    if (!td_base64_decode(bytes, base64, &len))
        return none;
    bytes[len] = '\0';
    return td_str_make(bytes, len);
}

static td_str
verify_v2(const td_signer *signer, td_arena *arena, td_str name, td_str text, double max_age_days,
          int64_t now)
{
    td_str rest = rest_behind(text, 2), named, value;
    int64_t version, signed_at;
    const struct key *key;

    if (!take_number_field(&rest, &version) || !take_number_field(&rest, &signed_at) ||
        !take_field(&rest, &named) || !take_field(&rest, &value))
        return none;
    const td_str signed_part = td_str_make(text.ptr, text.len - rest.len);

    key = find_key(signer, version);
    if (key == NULL || !is_signature(rest, key->sha256, &signed_part, 1) ||
        !td_str_equal(named, name) || is_too_old(signed_at, max_age_days, now))
        return none;
    return decode_value(arena, value);
}

/*
 * The parts that are signed are not separated there, so that digits may wander from the time into
 * the base64; a time that lies far ahead or begins with 0 tells of it.
 */
static td_str
verify_v1(const td_signer *signer, td_arena *arena, td_str name, td_str text, double max_age_days,
          int64_t now)
{
    td_str rest = text, value, time;
    int64_t signed_at;

    if (signer->has_versions || !take_until(&rest, '|', &value) ||
        !take_until(&rest, '|', &time) || !td_value_parse_digits(time, &signed_at))
        return none;
    const td_str pieces[] = {name, value, time};

    if (!is_signature(rest, signer->keys[0].sha1, pieces, 3) || time.ptr[0] == '0' ||
        signed_at > now + V1_FUTURE_MAX || is_too_old(signed_at, max_age_days, now))
        return none;
    return decode_value(arena, value);
}

/* 1..999 before the first '|'; anything else is the base64 of version 1. */
static int64_t
format_of(td_str text)
{
    td_str digits;
    int64_t version;

    if (!take_until(&text, '|', &digits) || !td_value_parse_digits(digits, &version) ||
        digits.ptr[0] == '0' || version > 999)
        return 1;
    return version;
}

td_str
td_signer_verify(const td_signer *signer, td_arena *arena, td_str name, td_str text,
                 double max_age_days, int64_t now)
{
    switch (format_of(text)) {
    case 1:
        return verify_v1(signer, arena, name, text, max_age_days, now);
    case 2:
        return verify_v2(signer, arena, name, text, max_age_days, now);
    default:
        return none;
    }
}
