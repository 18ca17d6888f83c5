/*
 * Contexts and sessions of TLS.
 *
 * A context costs the reading of its files and is the same for all connections with the same
 * options; its key has what the files look like, so that a renewed certificate makes a new one.  A
 * session is kept under the key of its context and the server, for it proves as much as the context
 * asked for and no more.  RFC 8446 appendix C.4: a ticket of TLS 1.3 is used once, or who looks on
 * could tell that two connections are the same client's.
 */
#include "io/tls.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "base/arena.h"
#include "base/list.h"
#include "base/table.h"
#include "io/call.h"

#define CONTEXTS_MAX 32 /* kept; the one used longest ago goes */
#define SESSIONS_MAX 1000
#define ALPN_MAX 255
#define HOST_MAX 255

struct context {
    td_list link; /* the one used last in front */
    SSL_CTX *ctx;
    td_buf key;
};

struct session {
    td_list link; /* the oldest in front */
    SSL_SESSION *session;
    td_str key; /* behind this struct */
};

struct cache {
    td_list contexts;
    size_t contexts_count;
    td_list sessions;
    td_table sessions_by_key;
};

static const char *ca_certs_default;

static __thread struct cache *cache __attribute__((tls_model("initial-exec")));

void
td_tls_configure(const char *ca_certs)
{
    ca_certs_default = ca_certs;
}

/*
 * OpenSSL writes to sockets as to files: who has gone would end a program that has not thought of
 * it.
 */
static void
ignore_sigpipe(void)
{
    struct sigaction action;

    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

static void
open_cache(void)
{
    if (cache != NULL)
        return;
    ignore_sigpipe();
    cache = td_xcalloc(1, sizeof(*cache));
    td_list_init(&cache->contexts);
    td_list_init(&cache->sessions);
    td_table_init(&cache->sessions_by_key);
}

/* ---- options */

bool
td_ssl_options_read(const td_ssl_options *wanted, td_ssl_options *out, const char *function)
{
    *out = (td_ssl_options){0};
    if (wanted != NULL)
        memcpy(out, wanted, wanted->size < sizeof(*out) ? wanted->size : sizeof(*out));
    out->size = sizeof(*out);
    if ((unsigned)out->min_version > TD_TLS_1_3 || (out->keyfile != NULL && out->certfile == NULL) ||
        (out->alpn != NULL && strlen(out->alpn) >= ALPN_MAX)) {
        td_misuse(function, "the TLS version, the key without a certificate or the ALPN is wrong");
        return false;
    }
    if (out->ca_certs == NULL)
        out->ca_certs = ca_certs_default;
    return true;
}

static void
describe_text(td_buf *out, const char *text)
{
    td_buf_append(out, td_str_of(text != NULL ? text : ""));
    td_buf_append(out, TD_STR("\n"));
}

void
td_ssl_options_describe(const td_ssl_options *options, td_buf *out)
{
    td_buf_printf(out, "%d %d\n", options->no_validate_cert, (int)options->min_version);
    describe_text(out, options->ca_certs);
    describe_text(out, options->certfile);
    describe_text(out, options->keyfile);
    describe_text(out, options->server_hostname);
    describe_text(out, options->alpn);
    describe_text(out, options->ciphers);
}

/* What would be different if the file had been changed. */
static void
describe_file(td_buf *out, const char *path)
{
    struct stat status;

    if (path == NULL || stat(path, &status) < 0)
        return;
    td_buf_printf(out, "%llu %llu %lld.%09ld\n", (unsigned long long)status.st_ino,
                  (unsigned long long)status.st_size, (long long)status.st_mtim.tv_sec,
                  status.st_mtim.tv_nsec);
}

/* ---- contexts */

/* What OpenSSL says of a file. */
static int
fail_file(td_err *err, const char *what, const char *path)
{
    const unsigned long code = ERR_peek_error();
    const char *reason = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code))
                                                : ERR_reason_error_string(code);

    return td_err_set(err, TD_ECONFIG, "%s %s: %s", what, path,
                      reason != NULL ? reason : "it cannot be used");
}

/* Whether `openssl rehash` has been there: names of 8 hexadecimal digits, a dot and a number. */
static bool
is_rehashed(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    bool found = false;

    if (directory == NULL)
        return false;
    while (!found && (entry = readdir(directory)) != NULL)
        found = strspn(entry->d_name, "0123456789abcdef") == 8 && strcmp(entry->d_name + 8, ".0") == 0;
    closedir(directory);
    return found;
}

/*
 * The file of all that the system trusts takes tens of milliseconds to read, in which the worker
 * stands still; a directory gives each CA when it is asked for.  Who names a file in the
 * environment means it.
 */
static bool
trust_system(SSL_CTX *ctx)
{
    const char *directory = getenv(X509_get_default_cert_dir_env());

    if (directory == NULL)
        directory = X509_get_default_cert_dir();
    if (getenv(X509_get_default_cert_file_env()) == NULL && is_rehashed(directory))
        return SSL_CTX_set_default_verify_dir(ctx) == 1;
    return SSL_CTX_set_default_verify_paths(ctx) == 1;
}

static int
trust(SSL_CTX *ctx, const char *path, td_err *err)
{
    struct stat status;
    int rc;

    if (path == NULL)
        return trust_system(ctx) ? 0 : td_err_set(err, -ENOMEM, "no memory for the system's CAs");
    rc = stat(path, &status) == 0 && S_ISDIR(status.st_mode)
             ? SSL_CTX_load_verify_dir(ctx, path)
             : SSL_CTX_load_verify_file(ctx, path);
    return rc == 1 ? 0 : fail_file(err, "ca_certs", path);
}

int
td_tls_check_ca_certs(const char *path, td_err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    int rc;

    if (ctx == NULL)
        return td_err_set(err, -ENOMEM, "no memory for the CAs");
    ERR_clear_error();
    rc = trust(ctx, path, err);
    SSL_CTX_free(ctx);
    ERR_clear_error();
    return rc;
}

/* OpenSSL would ask the terminal. */
static int
no_passphrase(char *to, int size, int for_writing, void *arg)
{
    (void)to, (void)size, (void)for_writing, (void)arg;
    return -1;
}

static int
use_certificate(SSL_CTX *ctx, const td_ssl_options *options, td_err *err)
{
    const char *key = options->keyfile != NULL ? options->keyfile : options->certfile;

    if (options->certfile == NULL)
        return 0;
    if (SSL_CTX_use_certificate_chain_file(ctx, options->certfile) != 1)
        return fail_file(err, "certfile", options->certfile);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return fail_file(err, "keyfile", key);
    return 0;
}

/* RFC 7301 section 3.1: each name behind its length. */
static int
offer(SSL_CTX *ctx, const char *names, td_err *err)
{
    unsigned char list[ALPN_MAX + 1];
    size_t len = 0;

    if (names == NULL)
        return 0;
    for (const char *at = names; *at != '\0';) {
        const size_t n = strcspn(at, ",");

        if (n > 0) { /* an empty name is none */
            list[len] = (unsigned char)n;
            memcpy(list + len + 1, at, n);
            len += n + 1;
        }
        at += n + (at[n] == ',');
    }
    if (len > 0 && SSL_CTX_set_alpn_protos(ctx, list, (unsigned)len) != 0)
        return td_err_set(err, TD_ECONFIG, "alpn %s: it cannot be used", names);
    return 0;
}

static int keep_session(SSL *ssl, SSL_SESSION *session);

static int
fill_context(SSL_CTX *ctx, const td_ssl_options *options, td_err *err)
{
    int rc;

    SSL_CTX_set_min_proto_version(
        ctx, options->min_version == TD_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1); /* a record in one read, not two */
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    SSL_CTX_set_verify(ctx, options->no_validate_cert ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    if (options->ciphers != NULL && SSL_CTX_set_cipher_list(ctx, options->ciphers) != 1)
        return td_err_set(err, TD_ECONFIG, "ciphers %s: none of them is known", options->ciphers);
    rc = options->no_validate_cert ? 0 : trust(ctx, options->ca_certs, err);
    if (rc == 0)
        rc = use_certificate(ctx, options, err);
    return rc == 0 ? offer(ctx, options->alpn, err) : rc;
}

static void
drop_context(struct context *context)
{
    td_list_remove(&context->link);
    cache->contexts_count--;
    SSL_CTX_free(context->ctx); /* those that use it have references of their own */
    td_buf_release(&context->key);
    free(context);
}

static void
add_context(SSL_CTX *ctx, td_buf *key)
{
    struct context *context = td_xcalloc(1, sizeof(*context));

    if (cache->contexts_count == CONTEXTS_MAX)
        drop_context(TD_CONTAINER_OF(cache->contexts.prev, struct context, link));
    context->ctx = ctx;
    context->key = *key;
    *key = (td_buf){0};
    td_list_append(cache->contexts.next, &context->link); /* in front of the first */
    cache->contexts_count++;
}

static SSL_CTX *
find_context(td_str key)
{
    TD_LIST_FOREACH(link, &cache->contexts) {
        struct context *context = TD_CONTAINER_OF(link, struct context, link);

        if (td_str_equal(td_buf_str(&context->key), key)) {
            td_list_remove(link);
            td_list_append(cache->contexts.next, link);
            return context->ctx;
        }
    }
    return NULL;
}

/* The context of these options, the cache's own, which has `key`. */
static int
get_context(const td_ssl_options *options, const td_buf *key, SSL_CTX **out, td_err *err)
{
    SSL_CTX *ctx = find_context(td_buf_str(key));
    td_buf copy = {0};
    int rc;

    *out = ctx;
    if (ctx != NULL)
        return 0;
    ERR_clear_error();
    ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL)
        return td_err_set(err, TD_ECONFIG, "OpenSSL cannot be used");
    rc = fill_context(ctx, options, err);
    if (rc < 0) {
        SSL_CTX_free(ctx);
        return rc;
    }
    td_buf_append(&copy, td_buf_str(key));
    add_context(ctx, &copy);
    *out = ctx;
    return 0;
}

/* ---- sessions.  An SSL's app_data is the key of its own: struct session's without the rest. */

static void
drop_session(struct session *kept)
{
    td_table_remove(&cache->sessions_by_key, kept->key);
    td_list_remove(&kept->link);
    SSL_SESSION_free(kept->session);
    free(kept);
}

/* OpenSSL has got one; 1: we keep the reference. */
static int
keep_session(SSL *ssl, SSL_SESSION *session)
{
    const char *key = SSL_get_app_data(ssl);
    const size_t len = strlen(key);
    struct session *kept;

    if (cache == NULL)
        return 0;
    kept = td_table_get(&cache->sessions_by_key, td_str_make(key, len));
    if (kept != NULL)
        drop_session(kept);
    else if (cache->sessions_by_key.count == SESSIONS_MAX)
        drop_session(TD_CONTAINER_OF(cache->sessions.next, struct session, link));
    kept = td_xcalloc(1, sizeof(*kept) + len);
    kept->session = session;
    kept->key = td_str_make(memcpy(kept + 1, key, len), len);
    td_list_append(&cache->sessions, &kept->link);
    td_table_set(&cache->sessions_by_key, kept->key, kept);
    return 1;
}

static void
resume_session(SSL *ssl)
{
    const char *key = SSL_get_app_data(ssl);
    struct session *kept = td_table_get(&cache->sessions_by_key, td_str_of(key));

    if (kept == NULL)
        return;
    if (SSL_SESSION_is_resumable(kept->session))
        SSL_set_session(ssl, kept->session);
    if (SSL_SESSION_get_protocol_version(kept->session) >= TLS1_3_VERSION)
        drop_session(kept);
}

/* ---- connections */

/* Whom the certificate has to be for, without brackets and the root's dot. */
static bool
bare_host(const char *host, char *bare, size_t size)
{
    size_t len = host != NULL ? strlen(host) : 0;

    if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (len > 1 && host[len - 1] == '.') {
        len--;
    }
    if (len >= size)
        return false;
    memcpy(bare, len > 0 ? host : "", len);
    bare[len] = '\0';
    return true;
}

static bool
is_number(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* RFC 6066 section 3 (numbers are no server names), RFC 9525 section 6 (nor is the subject one). */
static bool
expect_host(SSL *ssl, const char *host, bool is_validated)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    if (host[0] == '\0')
        return !is_validated;
    X509_VERIFY_PARAM_set_hostflags(
        param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (is_number(host))
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    return SSL_set_tlsext_host_name(ssl, host) == 1 &&
           X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

/* Where it leads to, as far as it makes a difference for a session. */
static void
describe_peer(td_buf *out, const char *host, int fd)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    unsigned port = 0;

    if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
        (peer.ss_family == AF_INET || peer.ss_family == AF_INET6))
        port = ntohs(((struct sockaddr_in *)&peer)->sin_port); /* that of IPv6 is in the same place */
    td_buf_printf(out, "%s:%u", host, port);
}

/* An SSL for that descriptor, which has a copy of the key; NULL: there is no memory for it. */
static SSL *
make_ssl(SSL_CTX *ctx, const char *key, int fd)
{
    SSL *ssl = SSL_new(ctx);
    char *copy = td_xstrdup(key);

    if (ssl == NULL || SSL_set_app_data(ssl, copy) != 1) {
        SSL_free(ssl);
        free(copy);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    if (SSL_set_fd(ssl, fd) == 1)
        return ssl;
    td_tls_free(ssl);
    return NULL;
}

int
td_tls_connect(const td_ssl_options *options, const char *host, int fd, SSL **out, td_err *err)
{
    td_buf key = {0};
    char bare[HOST_MAX + 1];
    SSL_CTX *ctx;
    SSL *ssl;
    int rc;

    open_cache();
    if (options->server_hostname != NULL)
        host = options->server_hostname;
    if (!bare_host(host, bare, sizeof(bare)))
        return td_err_set(err, TD_ECONFIG, "the host name is longer than a name can be");
    td_ssl_options_describe(options, &key);
    describe_file(&key, options->ca_certs);
    describe_file(&key, options->certfile);
    describe_file(&key, options->keyfile);
    rc = get_context(options, &key, &ctx, err);
    if (rc < 0) {
        td_buf_release(&key);
        return rc;
    }
    describe_peer(&key, bare, fd);
    td_buf_append(&key, td_str_make("", 1)); /* its NUL */
    ssl = make_ssl(ctx, td_buf_str(&key).ptr, fd);
    td_buf_release(&key);
    if (ssl == NULL)
        return td_err_set(err, -ENOMEM, "no memory for a connection with TLS");
    if (!expect_host(ssl, bare, !options->no_validate_cert)) {
        td_tls_free(ssl);
        return td_err_set(err, TD_ECONFIG, "there is no host that the server could prove to be");
    }
    resume_session(ssl);
    *out = ssl;
    return 0;
}

void
td_tls_free(SSL *ssl)
{
    char *key = SSL_get_app_data(ssl);

    SSL_free(ssl);
    free(key);
}

void
td_tls_close(void)
{
    if (cache == NULL)
        return;
    while (!td_list_is_empty(&cache->sessions))
        drop_session(TD_CONTAINER_OF(cache->sessions.next, struct session, link));
    while (!td_list_is_empty(&cache->contexts))
        drop_context(TD_CONTAINER_OF(cache->contexts.next, struct context, link));
    td_table_fini(&cache->sessions_by_key);
    free(cache);
    cache = NULL;
}
