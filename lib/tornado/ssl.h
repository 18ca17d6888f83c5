/*
 * TLS, as one asks another server for it (Tornado's ssl_options): for td_iostream_start_tls,
 * td_tcpclient_connect and td_fetch.
 *
 *     td_tcpclient_connect("mail.internal", 993, TD_CONNECT(.ssl_options = TD_SSL()), &stream);
 *
 * Versions are 1.2 and 1.3.  A server has to prove that it is server_hostname by a certificate that
 * a CA of ca_certs stands for, or the connection fails with TD_ECERTIFICATE.  Files are in PEM;
 * they are read again when they have changed.  Sessions are resumed where the server allows it.  A
 * program that has not said what SIGPIPE is to do ignores it from the first connection on.
 */
#ifndef TORNADO_SSL_H
#define TORNADO_SSL_H

#include <stdbool.h>
#include <stddef.h>
#include <tornado/abi.h>

typedef enum td_ssl_version {
    TD_SSL_DEFAULT, /* TD_TLS_1_2 */
    TD_TLS_1_2,
    TD_TLS_1_3,
} td_ssl_version;

typedef struct td_ssl_options {
    size_t size TD_ZERO;                 /* of the struct; set by TD_SSL */
    bool no_validate_cert TD_ZERO;       /* any certificate will do: whoever stands in between reads along */
    const char *ca_certs TD_ZERO;        /* file of CAs, or a directory as made by `openssl rehash`; NULL: the
                                            worker's (ca_certs of [tornadod]), or else the system's */
    const char *certfile TD_ZERO;        /* our certificate and those that stand for it; NULL: we have none */
    const char *keyfile TD_ZERO;         /* its key, without a passphrase; NULL: in certfile */
    const char *server_hostname TD_ZERO; /* a name or an address; NULL: what was connected to */
    const char *alpn TD_ZERO;            /* protocols to offer (RFC 7301), as in "http/1.1"; commas between */
    const char *ciphers TD_ZERO;         /* of TLS 1.2, as openssl-ciphers(1) has them; NULL: as usual */
    td_ssl_version min_version TD_ZERO;
} td_ssl_options;

#ifndef __cplusplus
#define TD_SSL(...) (&(const td_ssl_options){.size = sizeof(td_ssl_options), __VA_ARGS__})
#else
#define TD_SSL(...) TD_OPTIONS_OF(td_ssl_options, __VA_ARGS__)
#endif

#endif
