/* The other side of TLS: an SSL that accepts, with a certificate made here for "localhost". */
#ifndef TESTS_UNIT_TLS_PEER_H
#define TESTS_UNIT_TLS_PEER_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>
#include "unit.h"

static char tls_peer_file[] = "/tmp/test-tls-XXXXXX"; /* its certificate: who trusts it, trusts it */
static SSL_CTX *tls_peer_ctx;

static inline void
open_tls_peer(void)
{
    EVP_PKEY *key = EVP_EC_gen("prime256v1");
    X509 *certificate = X509_new();
    FILE *file = fdopen(mkstemp(tls_peer_file), "w");

    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));

    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost");

    X509_add_ext(certificate, names, -1);
    X509_EXTENSION_free(names);
    ck_assert_int_gt(X509_sign(certificate, key, EVP_sha256()), 0);
    PEM_write_X509(file, certificate);
    fclose(file);

    tls_peer_ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(tls_peer_ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    ck_assert_int_eq(SSL_CTX_use_certificate(tls_peer_ctx, certificate), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(tls_peer_ctx, key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

/* Its SSL on this descriptor, without a key of td_tls_free's. */
static inline SSL *
accept_tls(int fd)
{
    SSL *ssl = SSL_new(tls_peer_ctx);

    SSL_set_fd(ssl, fd);
    SSL_set_accept_state(ssl);
    return ssl;
}

static inline void
close_tls_peer(void)
{
    SSL_CTX_free(tls_peer_ctx);
    unlink(tls_peer_file);
}

#endif
