/*
 * basic_auth: lets in who has a name and a password (RFC 7617).  Over https only, or they travel as
 * they are.
 *
 *     [handler:admin]
 *     middleware = basic_auth
 *     [handler:basic_auth]
 *     users = /etc/tornadod/users
 *
 * The file has a line for each, NAME:HASH, with a hash of crypt(5): SHA-256, SHA-512, bcrypt,
 * scrypt or yescrypt, as mkpasswd, openssl passwd -6 or htpasswd -B make them.
 *
 * Such hashes are slow on purpose, so they are computed on a thread of their own, one after the
 * other: guessing costs others nothing, and goes no faster with more connections.  Who was let in
 * is known for cache_time by a keyed hash of the password, and not asked again.  Handlers find the
 * name as the text td_current_user(h).  The file is read when a worker starts: reload after a
 * change.
 */
#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/random.h>
#include "textfile.h"

#define FILE_SIZE_MAX (1 << 20)
#define CREDENTIALS_SIZE_MAX 1024 /* bytes in base64 */
#define JOBS_MAX 64               /* that wait for the thread; then 503 */
#define MAC_SIZE 32

struct settings {
    const char *users, *realm;
    int64_t cache_time; /* ms */
};

struct user {
    const char *name, *hash;
    unsigned char mac[MAC_SIZE]; /* of the password that was right */
    int64_t known_until_ms;
};

struct guard {
    char *text; /* that names and hashes lie in */
    struct user *users;
    size_t count;
    unsigned char key[MAC_SIZE];
    td_executor *executor;
};

/* ---- on the thread */

struct verification { /* on the stack that waits for it, all else in the memory of its request */
    const char *hash, *password;
    bool is_verified; /* false: there was no memory for it */
    bool is_right;
};

static void *
verify(void *arg)
{
    struct verification *v = arg;

    errno = 0;
    struct crypt_data *data = calloc(1, sizeof(*data));
    const char *hash = data != NULL ? crypt_rn(v->password, v->hash, data, sizeof(*data)) : NULL;

    v->is_verified = hash != NULL || errno != ENOMEM;
    v->is_right = hash != NULL && strlen(hash) == strlen(v->hash) &&
                  CRYPTO_memcmp(hash, v->hash, strlen(hash)) == 0;
    free(data);
    return NULL;
}

static bool
ask_thread(td_handler *h, struct guard *guard, const char *hash, const char *password)
{
    struct verification v = {.hash = td_strdup(h, td_str_of(hash)).ptr, .password = password};

    if (td_executor_run(guard->executor, verify, &v, NULL) == TD_EBUSY)
        td_raise(h, 503, "%d passwords wait to be verified", JOBS_MAX);
    if (!v.is_verified)
        td_raise(h, 503, "a password could not be verified");
    return v.is_right;
}

/* ---- a request */

/* RFC 4648 section 4, with its padding; NULL: it is not. */
static char *
decode(td_handler *h, td_str text)
{
    char *out;
    int len, padding = 0;

    while (padding < 2 && text.len > (size_t)padding && text.ptr[text.len - 1 - padding] == '=')
        padding++;
    if (text.len == 0 || text.len > CREDENTIALS_SIZE_MAX || text.len % 4 != 0)
        return NULL;
    out = td_alloc(h, text.len);
    len = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text.ptr, (int)text.len);
    if (len < 0)
        return NULL;
    out[len - padding] = '\0';
    return strlen(out) == (size_t)(len - padding) ? out : NULL;
}

/* "name:password" of the request; false: there is none. */
static bool
credentials_of(td_handler *h, char **name_out, char **password_out)
{
    td_str s = td_request_header(h, "Authorization");
    char *colon;

    if (s.len < 6 || strncasecmp(s.ptr, "Basic ", 6) != 0)
        return false;
    s = td_str_make(s.ptr + 6, s.len - 6);
    while (s.len > 0 && s.ptr[0] == ' ')
        s = td_str_make(s.ptr + 1, s.len - 1);
    *name_out = decode(h, s);
    colon = *name_out != NULL ? strchr(*name_out, ':') : NULL;
    if (colon == NULL)
        return false;
    *colon = '\0';
    *password_out = colon + 1;
    return true;
}

static struct user *
find_user(struct guard *guard, const char *name)
{
    for (size_t i = 0; i < guard->count; i++)
        if (strcmp(guard->users[i].name, name) == 0)
            return &guard->users[i];
    return NULL;
}

static bool
is_right(td_handler *h, struct guard *guard, struct user *user, const char *password)
{
    const struct settings *settings = td_settings(h);
    unsigned char mac[MAC_SIZE];

    if (HMAC(EVP_sha256(), guard->key, sizeof(guard->key), (const unsigned char *)password,
             strlen(password), mac, NULL) == NULL)
        td_raise(h, 503, "no memory to look at a password");
    if (user->known_until_ms > td_ioloop_time_ms() &&
        CRYPTO_memcmp(mac, user->mac, sizeof(mac)) == 0)
        return true;
    if (!ask_thread(h, guard, user->hash, password))
        return false;
    memcpy(user->mac, mac, sizeof(mac));
    user->known_until_ms = td_ioloop_time_ms() + settings->cache_time;
    return true;
}

static void
demand(td_handler *h, void *arg)
{
    const struct settings *settings = td_settings(h);

    (void)arg;
    td_set_header(h, "WWW-Authenticate",
                  td_sprintf(h, "Basic realm=\"%s\", charset=\"UTF-8\"", settings->realm).ptr);
}

static void
run(td_handler *h)
{
    struct guard *guard = td_state(h);
    const char *why = NULL; /* nobody is wrong who has not tried */
    struct user *user = NULL;
    char *name, *password;

    if (guard == NULL)
        td_raise(h, 500, "users is not set in the section of this handler");
    if (credentials_of(h, &name, &password)) {
        why = "wrong name or password";
        user = find_user(guard, name);
        if (user == NULL) /* takes as long, so that time does not tell who there is */
            ask_thread(h, guard, guard->users[0].hash, password);
        else if (!is_right(h, guard, user, password))
            user = NULL;
    }
    if (user == NULL) {
        td_on_head(h, demand, NULL);
        td_raise(h, 401, why != NULL ? "%s" : NULL, why);
    }
    td_set_current_user(h, (void *)user->name);
    td_next(h);
}

/* ---- the file */

/* SHA-256 is legacy to the library, which has better ones, but it holds. */
static bool
is_good_enough(const char *hash)
{
    const int verdict = crypt_checksalt(hash);

    return verdict == CRYPT_SALT_OK ||
           (verdict == CRYPT_SALT_METHOD_LEGACY && strncmp(hash, "$5$", 3) == 0);
}

static int
parse(struct guard *guard, const char *path, td_err *err)
{
    char *rest = guard->text;
    int number = 0;

    guard->users = calloc(strlen(guard->text) / 4 + 1, sizeof(struct user));
    if (guard->users == NULL)
        return td_err_errno(err, "users = %s", path);
    for (char *line; (line = textfile_line(&rest, &number)) != NULL; guard->count++) {
        struct user *user = &guard->users[guard->count];

        user->name = strsep(&line, ":");
        user->hash = strsep(&line, ":");
        if (user->hash == NULL || user->name[0] == '\0')
            return td_err_set(err, TD_ECONFIG, "%s:%d: is not NAME:HASH", path, number);
        if (!is_good_enough(user->hash))
            return td_err_set(err, TD_ECONFIG,
                              "%s:%d: the hash of '%s' is of no kind that is good enough: make it by "
                              "mkpasswd",
                              path, number, user->name);
        if (find_user(guard, user->name) != NULL)
            return td_err_set(err, TD_ECONFIG, "%s:%d: '%s' stands there twice", path, number,
                              user->name);
    }
    if (guard->count == 0)
        return td_err_set(err, TD_ECONFIG, "users = %s: there is none in it", path);
    return 0;
}

static void
destroy(struct guard *guard)
{
    free(guard->users);
    free(guard->text);
    free(guard);
}

/* NULL where there is no file. */
static int
make(const struct settings *settings, struct guard **out, td_err *err)
{
    struct guard *guard;
    int rc;

    *out = NULL;
    if (settings->users[0] == '\0')
        return 0; /* nobody uses it, or nobody gets in */
    if (strpbrk(settings->realm, "\"\\") != NULL)
        return td_err_set(err, TD_ECONFIG, "realm = %s: without quotes and backslashes, please",
                          settings->realm);
    guard = calloc(1, sizeof(*guard));
    if (guard == NULL)
        return td_err_errno(err, "users = %s", settings->users);
    rc = textfile_read("users", settings->users, FILE_SIZE_MAX, &guard->text, err);
    if (rc == 0)
        rc = parse(guard, settings->users, err);
    if (rc == 0 && getrandom(guard->key, sizeof(guard->key), 0) != sizeof(guard->key))
        rc = td_err_errno(err, "random numbers");
    if (rc < 0) {
        destroy(guard);
        return rc;
    }
    *out = guard;
    return 0;
}

static int
check(const td_instance *instance, td_err *err)
{
    struct guard *guard;
    const int rc = make(td_instance_settings(instance), &guard, err);

    if (guard != NULL)
        destroy(guard);
    return rc;
}

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    struct guard *guard;
    const int rc = make(td_instance_settings(instance), &guard, err);

    if (guard != NULL)
        guard->executor = td_executor_create(1, JOBS_MAX);
    *state_out = guard;
    return rc;
}

static void
stop(td_instance *instance)
{
    struct guard *guard = td_instance_state(instance);

    if (guard == NULL)
        return;
    td_executor_destroy(&guard->executor);
    destroy(guard);
}

TD_PLUGIN(.name = "basic_auth", .version = "1.0", .middleware = run, .check = check,
          .load = load, .stop = stop,
          .options = TD_OPTIONS(
              struct settings,
              TD_OPT_STRING(struct settings, users, "",
                            "File of the users: lines of NAME:HASH. Unset: all are answered 500."),
              TD_OPT_STRING(struct settings, realm, "restricted", "What a browser tells its user."),
              TD_OPT_TIME(struct settings, cache_time, "1m", 0, 86400000,
                          "How long a password that was right is not verified again.")));
