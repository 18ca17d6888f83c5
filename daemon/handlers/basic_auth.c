/*
 * basic_auth: lets in who has a name and a password (RFC 7617).  Over https only, or they travel as
 * they are.
 *
 *     [handler:admin]
 *     middleware = basic_auth
 *     [handler:basic_auth]
 *     users = /etc/tornadod/users
 *
 * The file has a line for each, NAME:HASH, with a hash of crypt(5): SHA-256, SHA-512, bcrypt, scrypt
 * or yescrypt, as mkpasswd, openssl passwd -6 or htpasswd -B make them.
 *
 * Such hashes are slow on purpose, so they are computed on a thread of their own, one after the other:
 * guessing costs others nothing, and goes no faster with more connections.  Who was let in is known for
 * cache_time by a keyed hash of the password, and not asked again.  Handlers find the name as the
 * text td_current_user(h).  The file is read when a worker starts: reload after a change.
 */
#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <signal.h>
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

struct job {
    struct job *next;
    struct guard *guard;
    td_future *done; /* its result is not NULL if the password is right; ours until then */
    const char *hash;
    char *password;
    bool good;
};

struct guard {
    char *text; /* that names and hashes lie in */
    struct user *users;
    size_t count;
    unsigned char key[MAC_SIZE];
    td_ioloop *loop;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct job *first, **last;
    unsigned jobs;
    bool ends;
};

/* ---- the thread */

static struct job *
take(struct guard *guard)
{
    struct job *job;

    pthread_mutex_lock(&guard->lock);
    while (guard->first == NULL && !guard->ends)
        pthread_cond_wait(&guard->changed, &guard->lock);
    job = guard->first;
    if (job != NULL) {
        guard->first = job->next;
        if (guard->first == NULL)
            guard->last = &guard->first;
    }
    pthread_mutex_unlock(&guard->lock);
    return job;
}

/* On the loop again. */
static void
conclude(void *arg)
{
    struct job *job = arg;

    job->guard->jobs--;
    td_future_set_result(job->done, job->good ? job->guard : NULL);
    td_future_unref(job->done);
    OPENSSL_clear_free(job->password, strlen(job->password) + 1);
    free(job);
}

static void *
work(void *arg)
{
    struct guard *guard = arg;
    struct crypt_data *data = calloc(1, sizeof(*data));

    for (struct job *job; (job = take(guard)) != NULL;) {
        const char *hash = crypt_rn(job->password, job->hash, data, (int)sizeof(*data));

        job->good = hash != NULL && strlen(hash) == strlen(job->hash) &&
                    CRYPTO_memcmp(hash, job->hash, strlen(hash)) == 0;
        td_add_callback(guard->loop, conclude, job);
    }
    free(data);
    return NULL;
}

static bool
ask_thread(td_handler *h, struct guard *guard, const char *hash, const char *password)
{
    struct job *job;
    void *good = NULL;

    if (guard->jobs >= JOBS_MAX)
        td_raise(h, 503, "%d passwords wait to be verified", JOBS_MAX);
    job = calloc(1, sizeof(*job));
    *job = (struct job){.guard = guard, .done = td_future_create(), .hash = hash};
    job->password = OPENSSL_strdup(password);
    td_future *done = td_future_ref(job->done);
    guard->jobs++;
    pthread_mutex_lock(&guard->lock);
    *guard->last = job;
    guard->last = &job->next;
    pthread_cond_signal(&guard->changed);
    pthread_mutex_unlock(&guard->lock);
    return td_await(done, &good) == 0 && good != NULL;
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

    HMAC(EVP_sha256(), guard->key, sizeof(guard->key), (const unsigned char *)password,
         strlen(password), mac, NULL);
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
        td_raise(h, 500, "users is not set in [handler:basic_auth]");
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

/* Signals are the loop's. */
static int
start_thread(struct guard *guard, td_err *err)
{
    sigset_t all, before;
    int rc;

    guard->loop = td_ioloop_current();
    guard->last = &guard->first;
    pthread_mutex_init(&guard->lock, NULL);
    pthread_cond_init(&guard->changed, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&guard->thread, NULL, work, guard);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0 ? 0 : td_err_set(err, -rc, "a thread for passwords: %s", strerror(rc));
}

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    const struct settings *settings = td_instance_settings(instance);
    struct guard *guard;
    int rc;

    if (settings->users[0] == '\0')
        return 0; /* nobody uses it, or nobody gets in */
    if (strpbrk(settings->realm, "\"\\") != NULL)
        return td_err_set(err, TD_ECONFIG, "realm = %s: without quotes and backslashes, please",
                          settings->realm);
    guard = calloc(1, sizeof(*guard));
    rc = textfile_read("users", settings->users, FILE_SIZE_MAX, &guard->text, err);
    if (rc == 0)
        rc = parse(guard, settings->users, err);
    if (rc == 0 && getrandom(guard->key, sizeof(guard->key), 0) != sizeof(guard->key))
        rc = td_err_errno(err, "random numbers");
    if (rc == 0)
        rc = start_thread(guard, err);
    if (rc < 0) {
        destroy(guard);
        return rc;
    }
    *state_out = guard;
    return 0;
}

static void
stop(td_instance *instance)
{
    struct guard *guard = td_instance_state(instance);

    if (guard == NULL)
        return;
    pthread_mutex_lock(&guard->lock);
    guard->ends = true;
    pthread_cond_signal(&guard->changed);
    pthread_mutex_unlock(&guard->lock);
    pthread_join(guard->thread, NULL);
    while (guard->jobs > 0) /* concluded, but nobody has been told */
        td_sleep(0);
    destroy(guard);
}

TD_PLUGIN(.name = "basic_auth", .version = "1.0", .middleware = run, .load = load, .stop = stop,
          .options = TD_OPTIONS(
              struct settings,
              TD_OPT_STRING(struct settings, users, "",
                            "File of the users: lines of NAME:HASH. Unset: all are answered 500."),
              TD_OPT_STRING(struct settings, realm, "restricted", "What a browser tells its user."),
              TD_OPT_TIME(struct settings, cache_time, "1m", 0, 86400000,
                          "How long a password that was right is not verified again.")));
