/*
 * bearer: lets in who brings a token (RFC 6750): programs, not people.
 *
 *     [handler:api]
 *     middleware = bearer
 *     [handler:bearer]
 *     tokens = /etc/tornadod/tokens
 *
 * The file has a line for each, NAME:SHA256, where SHA256 is what this says of the token:
 *
 *     printf %s "$TOKEN" | sha256sum
 *
 * A token is random and long (openssl rand -hex 32), so a fast hash keeps it; what is compared are
 * hashes, so time tells nothing.  Handlers find the name as the text td_current_user(h).  The file
 * is read when a worker starts: reload after a change.
 */
#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <strings.h>
#include "textfile.h"

#define FILE_SIZE_MAX (1 << 20)
#define TOKEN_SIZE_MAX 4096

struct settings {
    const char *tokens, *realm;
};

struct token {
    const char *name;
    unsigned char hash[SHA256_DIGEST_LENGTH];
};

struct keys {
    char *text; /* that the names lie in */
    struct token *tokens;
    size_t count;
};

/* RFC 9110 section 11.4: credentials = auth-scheme [ 1*SP token68 ] */
static td_str
token_of(td_handler *h)
{
    td_str s = td_request_header(h, "Authorization");

    if (s.len < 7 || strncasecmp(s.ptr, "Bearer ", 7) != 0 || s.len > TOKEN_SIZE_MAX)
        return td_str_make(NULL, 0);
    s = td_str_make(s.ptr + 7, s.len - 7);
    while (s.len > 0 && s.ptr[0] == ' ')
        s = td_str_make(s.ptr + 1, s.len - 1);
    return s;
}

/* All of them are compared, so that time does not tell which it is. */
static const struct token *
find_token(td_handler *h, const struct keys *keys, td_str text)
{
    unsigned char hash[SHA256_DIGEST_LENGTH];
    const struct token *found = NULL;

    if (SHA256((const unsigned char *)text.ptr, text.len, hash) == NULL)
        td_raise(h, 503, "no memory to hash a token");
    for (size_t i = 0; i < keys->count; i++)
        if (CRYPTO_memcmp(hash, keys->tokens[i].hash, sizeof(hash)) == 0)
            found = &keys->tokens[i];
    return found;
}

static void
demand(td_handler *h, void *error)
{
    const struct settings *settings = td_settings(h);

    td_set_header(h, "WWW-Authenticate",
                  td_sprintf(h, "Bearer realm=\"%s\"%s", settings->realm, (const char *)error).ptr);
}

static void
run(td_handler *h)
{
    const struct keys *keys = td_state(h);
    const td_str text = token_of(h);
    const struct token *token;

    if (keys == NULL)
        td_raise(h, 500, "tokens is not set in the section of this handler");
    token = td_str_is_null(text) ? NULL : find_token(h, keys, text);
    if (token == NULL) { /* RFC 6750 section 3.1 */
        td_on_head(h, demand,
                   (void *)(td_str_is_null(text) ? "" : ", error=\"invalid_token\""));
        td_raise(h, 401, NULL);
    }
    td_set_current_user(h, (void *)token->name);
    td_next(h);
}

/* ---- the file */

static int
parse_hash(const char *hex, unsigned char *out)
{
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        unsigned byte;

        if (!isxdigit((unsigned char)hex[2 * i]) || !isxdigit((unsigned char)hex[2 * i + 1]))
            return TD_EBADMSG;
        sscanf(hex + 2 * i, "%2x", &byte);
        out[i] = (unsigned char)byte;
    }
    return hex[2 * SHA256_DIGEST_LENGTH] == '\0' ? 0 : TD_EBADMSG;
}

static int
parse(struct keys *keys, const char *path, td_err *err)
{
    char *rest = keys->text;
    int number = 0;

    keys->tokens = calloc(strlen(keys->text) / 66 + 1, sizeof(struct token));
    if (keys->tokens == NULL)
        return td_err_errno(err, "tokens = %s", path);
    for (char *line; (line = textfile_line(&rest, &number)) != NULL; keys->count++) {
        struct token *token = &keys->tokens[keys->count];
        char *colon = strchr(line, ':');

        if (colon == NULL || colon == line || strlen(colon) != 1 + 2 * SHA256_DIGEST_LENGTH ||
            parse_hash(colon + 1, token->hash) < 0)
            return td_err_set(err, TD_ECONFIG,
                              "%s:%d: is not NAME:SHA256, as printf %%s TOKEN | sha256sum says it",
                              path, number);
        *colon = '\0';
        token->name = line;
    }
    if (keys->count == 0)
        return td_err_set(err, TD_ECONFIG, "tokens = %s: there is none in it", path);
    return 0;
}

static void
destroy(struct keys *keys)
{
    if (keys == NULL)
        return;
    free(keys->tokens);
    free(keys->text);
    free(keys);
}

/* NULL where there is no file. */
static int
make(const struct settings *settings, struct keys **out, td_err *err)
{
    struct keys *keys;
    int rc;

    *out = NULL;
    if (settings->tokens[0] == '\0')
        return 0; /* nobody uses it, or nobody gets in */
    if (strpbrk(settings->realm, "\"\\") != NULL)
        return td_err_set(err, TD_ECONFIG, "realm = %s: without quotes and backslashes, please",
                          settings->realm);
    keys = calloc(1, sizeof(*keys));
    if (keys == NULL)
        return td_err_errno(err, "tokens = %s", settings->tokens);
    rc = textfile_read("tokens", settings->tokens, FILE_SIZE_MAX, &keys->text, err);
    if (rc == 0)
        rc = parse(keys, settings->tokens, err);
    if (rc < 0) {
        destroy(keys);
        return rc;
    }
    *out = keys;
    return 0;
}

static int
check(const td_instance *instance, td_err *err)
{
    struct keys *keys;
    const int rc = make(td_instance_settings(instance), &keys, err);

    destroy(keys);
    return rc;
}

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    struct keys *keys;
    const int rc = make(td_instance_settings(instance), &keys, err);

    *state_out = keys;
    return rc;
}

static void
stop(td_instance *instance)
{
    destroy(td_instance_state(instance));
}

TD_PLUGIN(.name = "bearer", .version = "1.0", .middleware = run, .check = check,
          .load = load, .stop = stop,
          .options = TD_OPTIONS(
              struct settings,
              TD_OPT_STRING(struct settings, tokens, "",
                            "File of the tokens: lines of NAME:SHA256. Unset: all are answered 500."),
              TD_OPT_STRING(struct settings, realm, "restricted", "What a client is told.")));
